//! The tunnel of a preshared key that the peer may not have yet: when it asks for a session.

use std::time::{Duration, Instant};

use super::index::random;
use super::peer::Tunnel;

/// Initiations one after the other: the first may be lost, or answered by a cookie.
const TRIES: u8 = 2;
/// The pause after them. The peer's boringtun keeps eight sessions and makes one for each
/// initiation, also for those whose preshared key it does not share: more than eight within the
/// 180 s of a session would take the place of the one in use.
const PAUSE: Duration = Duration::from_secs(30);
const JITTER_MS: u64 = 5000;
/// How long a session that the peer has asked for may take to be used before we ask for one: it
/// asks again every 5 s, and as long as it does, a question of ours would only use up its places.
const GRACE: Duration = Duration::from_secs(7);

/// A tunnel that takes the place of another when it has a session.
pub(super) struct Next {
    pub(super) tunnel: Box<Tunnel>,
    /// Initiations since the last pause.
    tries: u8,
    /// It asks for no session until then.
    quiet_until: Option<Instant>,
}

impl Next {
    pub(super) fn new(tunnel: Box<Tunnel>) -> Self {
        Self { tunnel, tries: 0, quiet_until: None }
    }

    /// The same with another tunnel, where boringtun has given up the first.
    pub(super) fn anew(self, tunnel: Box<Tunnel>) -> Self {
        Self { tunnel, ..self }
    }

    /// Whether it asks for no session now.
    pub(super) fn is_quiet(&self, now: Instant) -> bool {
        self.quiet_until.is_some_and(|until| now < until)
    }

    /// Notes that it has asked for a session.
    pub(super) fn note_try(&mut self, now: Instant) {
        self.tries += 1;
        if self.tries >= TRIES {
            self.pause(now);
        }
    }

    /// Notes that it has answered the peer, which will use the session if it shares the key.
    pub(super) fn note_answered(&mut self, now: Instant) {
        self.quiet_until = self.quiet_until.max(Some(now + GRACE));
    }

    /// Asks for no session for a while: the peer does not share the key yet.
    pub(super) fn pause(&mut self, now: Instant) {
        let jitter = Duration::from_millis(u64::from(random()) % JITTER_MS);
        (self.tries, self.quiet_until) = (0, Some(now + PAUSE + jitter));
    }
}
