//! What the path of a connection takes: found out by probes, and doubted where nothing comes back.

use std::time::{Duration, Instant};

use super::State;
use crate::transport::overhead;

/// The path is known when no larger datagram has crossed it for so many round trips and this time.
const SETTLED_RTTS: u32 = 10;
const SETTLED_TIME: Duration = Duration::from_millis(500);

/// Where nothing is acknowledged for this time, and some round trips, large packets may vanish: the
/// probes of the library would be as large, as long as there is something queued.
const HOLE_TIME: Duration = Duration::from_millis(300);
const HOLE_RTTS: u32 = 3;

/// What every path takes (RFC 9000 section 14).
const PAYLOAD_MIN: u16 = 1200;

impl State {
    /// Says once more what the path takes.
    pub(in crate::transport::quic) fn retell_path(&mut self) {
        self.told_mtu = None;
    }

    /// The kernel knows a smaller path than datagrams are sent for: it is found out anew.
    pub(in crate::transport::quic) fn bound_path(&mut self, mtu: u16, now: Instant) {
        let header = overhead::datagram_header_len(self.remote.ip().to_canonical());
        if self.is_up() && self.connection.current_mtu() > mtu.saturating_sub(header) {
            self.shrink_path(now);
        }
    }

    /// Gives what the path takes, if that is known and was not told yet.
    pub(super) fn poll_path(&mut self, now: Instant) -> Option<u16> {
        let max_size = self.connection.datagrams().max_size().unwrap_or(0);
        if max_size != self.max_size {
            (self.max_size, self.max_size_since) = (max_size, now);
            self.release();
        }
        if !self.is_settled && self.settles_at() > now {
            return None;
        }
        if !self.is_settled {
            self.is_settled = true;
            self.release();
        }
        let header = overhead::datagram_header_len(self.remote.ip().to_canonical());
        let mtu = (max_size as u16).saturating_add(header + overhead::QUIC);
        (self.told_mtu.replace(mtu) != Some(mtu)).then_some(mtu)
    }

    pub(super) fn settles_at(&self) -> Instant {
        if self.connection.current_mtu() >= self.payload_max {
            return self.max_size_since;
        }
        self.max_size_since + (self.connection.rtt() * SETTLED_RTTS).max(SETTLED_TIME)
    }

    /// The kernel has refused a datagram that was no probe: unless it knows the path by now, which
    /// has been looked for since, that is another one.
    pub(in crate::transport::quic) fn refuse_size(&mut self, now: Instant) {
        if self.is_up() && self.is_settled {
            self.shrink_path(now);
        }
    }

    /// When large packets are thought to vanish, unless something comes.
    pub(super) fn suspects_hole_at(&self) -> Option<Instant> {
        let since = self.unheard_since.filter(|_| self.connection.current_mtu() > PAYLOAD_MIN)?;
        Some(since + HOLE_TIME.max(self.connection.rtt() * HOLE_RTTS))
    }

    /// The kernel knows a smaller path, or has refused a datagram: what crosses it is found out
    /// anew.
    pub(super) fn shrink_path(&mut self, now: Instant) {
        self.connection.path_changed(now);
        (self.is_settled, self.max_size_since) = (false, now);
    }
}
