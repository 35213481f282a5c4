//! What a connection does when its time has come: it gives up, or asks for a sign of life.

use std::time::{Duration, Instant};

use super::{Closing, SILENCE, Stage, State};

/// A handshake that takes longer is given up.
const HANDSHAKE_TIME: Duration = Duration::from_secs(5);

/// A connection with traffic within this time is busy: its end is to be noticed soon.
const BUSY_TIME: Duration = Duration::from_secs(10);
/// How long a busy peer may be silent before it is asked for a sign of life.
const BUSY_PING: Duration = Duration::from_millis(500);
/// How long an idle one may: an end that was killed is noticed, and all are back within ten seconds
/// after it is. Less than what a NAT remembers, too.
const IDLE_PING: Duration = Duration::from_secs(6);
/// Idle peers are asked at multiples of this time since the start, many at once: waking up costs
/// more than asking. Those that came together are spread over so many of them.
const PING_GRID: Duration = Duration::from_millis(100);
const PING_STEPS: u32 = 10;

impl State {
    /// Does what is due by time.
    pub(in crate::transport::quic) fn handle_deadline(&mut self, now: Instant) {
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
        let since = self.last_received.max(self.last_ping);
        if is_busy || self.unanswered_since.is_some() {
            return since + BUSY_PING;
        }
        let grid = PING_GRID.as_nanos();
        let step = self.handle.0 as u32 % PING_STEPS;
        let passed = (since + IDLE_PING + PING_GRID * step).saturating_duration_since(self.start);
        let late = grid - passed.as_nanos() % grid;
        self.start + passed + Duration::from_nanos(late as u64)
    }

    /// Gives when something is due next.
    pub(in crate::transport::quic) fn due(&mut self, now: Instant) -> Option<Instant> {
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
