//! Why a packet was dropped. Every packet ends in a device, in a socket, or in one of these.

/// Declares the reasons once: the variant, its name for users, and the sentence that explains it.
macro_rules! drop_reasons {
    ($($variant:ident $name:literal $text:literal,)*) => {
        /// The reason why a packet was dropped.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(u8)]
        pub enum DropReason {
            $(#[doc = $text] $variant,)*
        }

        impl DropReason {
            /// All reasons, in the order in which `tunctl drops` prints them.
            pub const ALL: &[DropReason] = &[$(DropReason::$variant,)*];

            /// The name that users and scripts see.
            pub const fn name(self) -> &'static str {
                match self { $(DropReason::$variant => $name,)* }
            }

            /// One sentence for users.
            pub const fn explanation(self) -> &'static str {
                match self { $(DropReason::$variant => $text,)* }
            }
        }
    };
}

drop_reasons! {
    // What arrives on the underlay.
    DatagramTruncated "datagram_truncated" "The datagram was longer than the receive buffer.",
    UnknownPeer "unknown_peer" "The datagram came from an address that no peer is configured with.",
    VxlanTooShort "vxlan_too_short" "The datagram is shorter than a VXLAN header (8 bytes).",
    VxlanFlags "vxlan_flags" "The VXLAN flags have no valid VNI bit, or bits that this port does not speak.",
    VxlanNextProtocol "vxlan_next_protocol" "The VXLAN-GPE next protocol is not the IP version of the payload, or not IP.",
    VxlanMixed "vxlan_mixed" "A datagram in a receive-offload run has another VXLAN header than the run's first.",
    UnknownVni "unknown_vni" "No network of this daemon has the VNI, on this port.",
    PeerNotInNetwork "peer_not_in_network" "The peer is known, but this network is not among its networks.",
    EcnInvalid "ecn_invalid" "The outer header says congestion experienced, the inner one cannot carry it (RFC 6040).",
    // What arrives on the underlay by WireGuard.
    WireGuardMalformed "wireguard_malformed" "The datagram is no message of WireGuard.",
    WireGuardMac "wireguard_mac" "The handshake is not meant for our public key (mac1).",
    WireGuardUnderLoad "wireguard_under_load" "Too many handshakes, and this one did not prove where it comes from.",
    WireGuardUnknownKey "wireguard_unknown_key" "The handshake is from a public key that no peer is configured with.",
    WireGuardHandshake "wireguard_handshake" "The handshake does not verify: another key, another preshared key, or a replay.",
    WireGuardLateHandshake "wireguard_late_handshake" "The answer to a handshake that another one has overtaken, as when both ends begin at once.",
    WireGuardUnknownIndex "wireguard_unknown_index" "No session has the message's receiver index (any more).",
    WireGuardAuthentication "wireguard_authentication" "The message is not what the peer sealed.",
    WireGuardReplayed "wireguard_replayed" "The message was received before, or is older than the last thousand.",
    WireGuardMessageLimit "wireguard_message_limit" "The session's key has been used as often as a key may be.",
    WireGuardContent "wireguard_content" "The message holds neither an IP packet of its length nor, where that is asked for, VXLAN between the tunnel addresses.",
    // What arrives on the underlay by QUIC.
    QuicMalformed "quic_malformed" "The datagram is no packet of QUIC.",
    QuicUnknownConnection "quic_unknown_connection" "The datagram is of a connection that is over, and its sender is told so.",
    QuicBudget "quic_budget" "Too many handshakes begin at once; addresses of peers have a share of their own.",
    QuicRefused "quic_refused" "The handshake ended without a connection: the log names who and why.",
    // What every packet is checked for.
    Malformed "malformed" "The headers are truncated or contradict themselves.",
    VnetHeader "vnet_header" "The device's offload header contradicts the packet.",
    SourceInvalid "source_invalid" "The source address is a multicast, broadcast or zero address.",
    SourceNotAllowed "source_not_allowed" "The peer may not send from this address (allowed_ips, allowed_macs).",
    OwnEndpoint "own_endpoint" "The packet is addressed to the tunnel itself: it would loop.",
    // Learning refused.
    NetworkTableFull "network_table_full" "The network's table is full and the source is new.",
    PeerTableFull "peer_table_full" "The peer's share of the table is full and the source is new.",
    LocalTableFull "local_table_full" "The share of the own device in the table is full and the source is new.",
    MoveHeldDown "move_held_down" "The source moved too often and is held where it was.",
    StaticSource "static_source" "The source is a static entry for another place.",
    // Forwarding.
    NoRoute "no_route" "No peer's prefix covers the destination.",
    NoPeers "no_peers" "The network has no peer to flood to.",
    FloodLimited "flood_limited" "Broadcast, multicast and unknown unicast came faster than the flood rate.",
    SplitHorizon "split_horizon" "From a peer to a peer, and the network does not relay.",
    SameSide "same_side" "The destination is on the side that the packet came from.",
    HopLimit "hop_limit" "The hop limit ended at this relay.",
    // Size.
    TooBig "too_big" "Larger than the path or the network carries; answered by ICMP where the packet allows it.",
    TooManySegments "too_many_segments" "The GSO packet would be cut into too many segments.",
    // Output.
    NoEndpoint "no_endpoint" "It is not known where the peer is: it has not spoken yet.",
    QuicNoConnection "quic_no_connection" "The packet waited for a connection, and there was none in time or too many waited.",
    QuicQueueFull "quic_queue_full" "The connection may not send faster, and its queue is full.",
    QuicTooBig "quic_too_big" "The packet is larger than the connection's path takes so far.",
    WireGuardNoSession "wireguard_no_session" "The packet waited for a session, and there was none in time or too many waited.",
    NoSourceAddress "no_source_address" "No socket of the peer's address family is open.",
    SendFailed "send_failed" "The kernel refused the datagram (see the log).",
    SendQueueFull "send_queue_full" "The socket's send queue stayed full.",
    DeviceWriteFailed "device_write_failed" "The kernel refused the packet on the device (see the log).",
}

/// A counter for each reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DropCounters([u64; DropReason::ALL.len()]);

impl Default for DropCounters {
    fn default() -> Self {
        Self([0; DropReason::ALL.len()])
    }
}

impl DropCounters {
    /// Counts `packets` drops.
    pub fn count(&mut self, reason: DropReason, packets: u64) {
        self.0[reason as usize] += packets;
    }

    /// Gives one reason's count.
    pub fn of(&self, reason: DropReason) -> u64 {
        self.0[reason as usize]
    }

    /// Gives the sum over all reasons.
    pub fn total(&self) -> u64 {
        self.0.iter().sum()
    }
}
