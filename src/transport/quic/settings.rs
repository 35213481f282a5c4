//! What a connection is made with: limits, timers, and who says how fast it may send.

use std::time::Duration;

use quinn_proto::{AckFrequencyConfig, IdleTimeout, MtuDiscoveryConfig, TransportConfig, VarInt};

use super::congestion::Congestion;

/// A connection without a sign of life ends after this time, ms.
const IDLE_TIMEOUT_MS: u32 = 30_000;

/// The time to an answer that is assumed before the first: what is lost is sent again after three
/// times as long.
const INITIAL_RTT: Duration = Duration::from_millis(100);

/// Packets that the peer may receive before it acknowledges them, if it can be asked for that; and
/// for how long it may wait. A send has 44 as a rule.
const ACK_THRESHOLD: u32 = 32;
const ACK_DELAY: Duration = Duration::from_millis(2);

/// Packets that may overtake another before that is thought lost. Runs are sent and merged whole,
/// so that what is out of order is by much more than the 3 of RFC 9002.
const REORDERING: u32 = 64;

/// How often a larger path is looked for, after it was found, and after it shrank.
const DISCOVERY_INTERVAL: Duration = Duration::from_secs(30);
const DISCOVERY_COOLDOWN: Duration = Duration::from_secs(10);
/// Bytes that are not worth another probe.
const DISCOVERY_STEP: u16 = 4;

/// The largest queue of a connection, which its window makes smaller: see
/// [`super::connection`].
pub(super) const QUEUE_MAX: usize = 1 << 20;
/// The smallest.
pub(super) const QUEUE_MIN: usize = 128 << 10;
/// What the library counts for a datagram in its queue, beyond its bytes.
const QUEUE_OVERHEAD: usize = 64;
/// More than what a receive call gives: it is taken at once.
const RECEIVED_MAX: usize = 256 << 10;

/// Handshakes of others that may be under way, unless it is said.
const HANDSHAKES_MAX: usize = 256;

/// What all connections have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Who says how fast they may send.
    pub congestion: Congestion,
    /// Handshakes of others that may be under way.
    pub handshakes_max: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self { congestion: Congestion::default(), handshakes_max: HANDSHAKES_MAX }
    }
}

impl Settings {
    /// Gives the parameters of a connection over a path whose datagrams have at most
    /// `payload_max` bytes, as far as is known.
    pub(super) fn transport(self, payload_max: u16) -> TransportConfig {
        let mut discovery = MtuDiscoveryConfig::default();
        discovery
            .upper_bound(payload_max)
            .interval(DISCOVERY_INTERVAL)
            .black_hole_cooldown(DISCOVERY_COOLDOWN)
            .minimum_change(DISCOVERY_STEP);
        let mut acks = AckFrequencyConfig::default();
        acks.ack_eliciting_threshold(VarInt::from_u32(ACK_THRESHOLD))
            .max_ack_delay(Some(ACK_DELAY))
            .reordering_threshold(VarInt::from_u32(REORDERING - 1));
        let mut transport = TransportConfig::default();
        transport
            .max_concurrent_bidi_streams(VarInt::from_u32(0))
            .max_concurrent_uni_streams(VarInt::from_u32(0))
            .max_idle_timeout(Some(IdleTimeout::from(VarInt::from_u32(IDLE_TIMEOUT_MS))))
            .initial_rtt(INITIAL_RTT)
            .packet_threshold(REORDERING)
            .mtu_discovery_config(Some(discovery))
            .ack_frequency_config(Some(acks))
            .allow_spin(false)
            .datagram_receive_buffer_size(Some(RECEIVED_MAX))
            .datagram_send_buffer_size(QUEUE_MAX + QUEUE_MAX / QUEUE_OVERHEAD)
            .congestion_controller_factory(self.congestion.factory());
        transport
    }
}
