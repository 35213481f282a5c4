//! What a connection does when its time has come.

use std::time::{Duration, Instant};

use super::{Closing, SILENCE, Stage, State};

/// A handshake that takes longer is given up.
const HANDSHAKE_TIME: Duration = Duration::from_secs(5);

/// A connection with traffic within this time is busy: its end is to be noticed soon.
const BUSY_TIME: Duration = Duration::from_secs(10);
/// How long a busy peer may be silent before it is asked for a sign of life.
const BUSY_PING: Duration = Duration::from_millis(500);
/// How long an idle one may: half the idle timeout, and less than what a NAT remembers.
const IDLE_PING: Duration = Duration::from_secs(15);

impl State {
    /// Does what is due by time.
    pub(in super::super) fn handle_deadline(&mut self, now: Instant) {
        let now = self.advance(now);
        if self.connection.poll_timeout().is_some_and(|at| at <= now) {
            self.connection.handle_timeout(now);
        }
        match self.stage {
            Stage::Handshake if self.begun + HANDSHAKE_TIME <= now => {
                self.close(now, Closing::Late);
            }
            Stage::Up if self.retire_at.is_some_and(|at| at <= now) => {
                self.close(now, Closing::Duplicate);
            }
            Stage::Up if self.suspects_hole_at().is_some_and(|at| at <= now) => {
                self.shrink_path(now);
            }
            Stage::Up if self.pings_at(now) <= now => {
                self.last_ping = now;
                self.unanswered_since.get_or_insert(now);
                self.connection.ping();
            }
            Stage::Handshake | Stage::Up | Stage::Ended => {}
        }
    }

    fn pings_at(&self, now: Instant) -> Instant {
        let is_busy = self.last_data.is_some_and(|at| at + BUSY_TIME > now);
        let after = if is_busy || self.unanswered_since.is_some() { BUSY_PING } else { IDLE_PING };
        self.last_received.max(self.last_ping) + after
    }

    /// Gives when something is due next.
    pub(in super::super) fn due(&mut self, now: Instant) -> Option<Instant> {
        let own = match self.stage {
            Stage::Handshake => Some(self.begun + HANDSHAKE_TIME),
            Stage::Up => {
                let silent = self.unanswered_since.filter(|_| !self.is_silent);
                let times = [
                    Some(self.pings_at(now)),
                    silent.map(|since| since + SILENCE),
                    (!self.is_settled).then(|| self.settles_at()),
                    self.retire_at,
                    self.suspects_hole_at(),
                ];
                times.into_iter().flatten().min()
            }
            Stage::Ended => None,
        };
        [own, self.connection.poll_timeout()].into_iter().flatten().min()
    }
}
