//! What a node is made from: networks, peers and limits, already checked.

use std::net::SocketAddr;

use ipnet::IpNet;

use crate::forward::{Place, Rules};
use crate::frame::{Layer, Mac};
use crate::offload::Coalesce;
use crate::peer::{NetworkId, Vni};
use crate::transport::outer::TunnelIps;

/// Everything that a [`Node`](super::Node) needs to know.
#[derive(Clone, Debug)]
pub struct NodeSettings {
    /// The networks; a [`NetworkId`] is a position here.
    pub networks: Vec<NetworkSettings>,
    /// The peers, at most 2^20.
    pub peers: Vec<PeerSettings>,
    /// Copy the inner DSCP to the outer header; zero otherwise.
    pub copy_dscp: bool,
    /// Number of sending sockets that flows are spread over, at least 1; better no fewer than
    /// there are networks of one layer, which then share none.
    pub lanes: u16,
    /// Our own listening endpoints; an unspecified address stands for any of ours.
    pub own_endpoints: Vec<SocketAddr>,
    /// Seeds the hash of the tables, so that nobody outside can aim at one bucket.
    pub hash_seed: u64,
}

/// One overlay segment.
#[derive(Clone, Debug)]
pub struct NetworkSettings {
    /// The name that users see.
    pub name: String,
    /// The VNI; unique among the networks of its layer.
    pub vni: Vni,
    /// Frames (TAP, VXLAN) or packets (TUN, VXLAN-GPE).
    pub layer: Layer,
    /// The largest IP packet carried, bytes.
    pub mtu: u16,
    /// Lower the MSS option of TCP SYN segments to what the network carries.
    pub mss_clamp: bool,
    /// How the table learns, how fast each side may flood, and whether peers reach each other.
    pub rules: Rules,
    /// The MAC of our own device, where hosts of ours use it (a TAP that is in no bridge).
    pub own_mac: Option<Mac>,
    /// Our own addresses in a network of packets, with their prefixes.
    pub addresses: Vec<IpNet>,
    /// Addresses that do not move: VLAN, MAC and place.
    pub static_entries: Vec<(u16, Mac, Place)>,
    /// What is merged before it is written to the device.
    pub coalesce: Coalesce,
}

/// How packets cross to a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Crossing {
    /// In the clear; the peer is known by its address.
    Vxlan {
        /// Where it takes VXLAN datagrams.
        vxlan: SocketAddr,
        /// Where it takes VXLAN-GPE datagrams; the address is the same.
        vxlan_gpe: SocketAddr,
    },
    /// Sealed by WireGuard.
    WireGuard {
        /// Where it is, as far as known; it may be elsewhere later.
        endpoint: Option<SocketAddr>,
        /// Between which addresses frames cross as VXLAN inside WireGuard; packets need none.
        tunnel: Option<TunnelIps>,
    },
    /// In datagrams of QUIC.
    Quic {
        /// Where it is, as far as known; it may be elsewhere later.
        endpoint: Option<SocketAddr>,
    },
}

/// Another node.
#[derive(Clone, Debug)]
pub struct PeerSettings {
    /// The name that users see.
    pub name: String,
    /// How packets cross to it.
    pub crossing: Crossing,
    /// The networks that it is in.
    pub networks: Vec<NetworkId>,
    /// TUN: its prefixes. TAP: the addresses it may send from; `None` is any.
    pub allowed_ips: Option<Vec<IpNet>>,
    /// TAP: the addresses it may send from; `None` is any.
    pub allowed_macs: Option<Vec<Mac>>,
    /// The largest outer IP packet on the way to it, bytes, as far as known.
    pub path_mtu: Option<u16>,
}
