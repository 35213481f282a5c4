//! The default of every key that has one. `config/reference.toml` states them; a test compares.

use std::net::{IpAddr, Ipv6Addr, SocketAddr, SocketAddrV6};

use super::{Congestion, Switch};

/// `busy_poll_us`: how long the worker looks for the next packet before it sleeps.
pub const BUSY_POLL_US: u32 = 50;

/// `underlay.ttl`: hop limit of the outer header.
pub const TTL: u8 = 64;
/// `underlay.copy_dscp`: whether the inner DSCP goes to the outer header.
pub const COPY_DSCP: bool = false;
/// `underlay.receive_buffer_bytes` and `underlay.send_buffer_bytes`, per socket.
pub const SOCKET_BUFFER_BYTES: u32 = 4 << 20;

/// Every key of `[offload]`.
pub const OFFLOAD: Switch = Switch::Auto;

/// `vxlan.listen`: any address, IPv4 and IPv6.
pub const LISTEN: IpAddr = IpAddr::V6(Ipv6Addr::UNSPECIFIED);
/// `vxlan.port`: RFC 7348 section 5.
pub const VXLAN_PORT: u16 = 4789;
/// `vxlan.gpe_port`: draft-ietf-nvo3-vxlan-gpe section 7.1.
pub const VXLAN_GPE_PORT: u16 = 4790;

/// `wireguard.listen`: any address, IPv4 and IPv6, and the port that everybody uses.
pub const WIREGUARD_LISTEN: SocketAddr =
    SocketAddr::V6(SocketAddrV6::new(Ipv6Addr::UNSPECIFIED, 51_820, 0, 0));
/// `wireguard.rekey_after_secs`: REKEY_AFTER_TIME of the WireGuard paper, section 6.1.
pub const REKEY_AFTER_SECS: u16 = 120;

/// `quic.listen`: any address, IPv4 and IPv6, and the port of QUIC that is not HTTP/3's.
pub const QUIC_LISTEN: SocketAddr =
    SocketAddr::V6(SocketAddrV6::new(Ipv6Addr::UNSPECIFIED, 4433, 0, 0));
/// `quic.congestion`.
pub const CONGESTION: Congestion = Congestion::Tolerant;
/// `quic.max_handshakes`: as many peers as a large site has may dial at once.
pub const MAX_HANDSHAKES: u32 = 1024;

/// `network.relay`: whether frames of one peer may go to another.
pub const RELAY: bool = false;
/// `network.txqueuelen`, packets.
pub const TXQUEUELEN: u32 = 1000;
/// `network.mss_clamp`: whether the MSS in TCP SYNs is lowered to what fits.
pub const MSS_CLAMP: bool = true;
/// `network.flood_rate_pps`: broadcast, multicast and unknown unicast, packets a second.
pub const FLOOD_RATE_PPS: u32 = 10_000;
/// `network.flood_burst`, packets.
pub const FLOOD_BURST: u32 = 2000;
/// `network.ageing_secs`: as in IEEE 802.1Q (8.8.3) and the Linux bridge.
pub const AGEING_SECS: u32 = 300;
/// `network.max_entries`.
pub const ENTRIES_MAX: u32 = 131_072;
/// `network.max_entries_per_peer`, where `max_entries` is not smaller.
pub const ENTRIES_PER_PEER_MAX: u32 = 16_384;
/// `network.max_entries_local`, where `max_entries` is not smaller.
pub const ENTRIES_LOCAL_MAX: u32 = 16_384;
/// `network.move_limit`: moves within the window before an address is held.
pub const MOVE_LIMIT: u8 = 5;
/// `network.move_window_secs`.
pub const MOVE_WINDOW_SECS: u32 = 10;
/// `network.hold_down_secs`.
pub const HOLD_DOWN_SECS: u32 = 30;
