//! The node under test: three networks, four peers, and the addresses that packets are made of.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use ipnet::IpNet;
use tunctl::forward::{FloodRate, Learning, Limits, Place, Rules};
use tunctl::frame::{Layer, Mac};
use tunctl::node::{Crossing, NetworkSettings, NodeSettings, PeerSettings};
use tunctl::offload::{BigTcp, Coalesce};
use tunctl::peer::{NetworkId, PeerId, Vni};

use super::source::Source;

/// Frames; all peers.
pub const OFFICE: NetworkId = NetworkId(0);
/// Packets; all peers. Its VNI is the office's: the port tells them apart.
pub const PLANT: NetworkId = NetworkId(1);
/// Frames; only the last peer. Nothing sent to the others' networks may get in.
pub const VAULT: NetworkId = NetworkId(2);

pub const VNIS: [u32; 3] = [42, 42, 43];
pub const LAYERS: [Layer; 3] = [Layer::L2, Layer::L3, Layer::L2];

pub const VXLAN_PORT: u16 = 4789;
pub const GPE_PORT: u16 = 4790;

/// The source that only frames inside the payload of other packets have.
pub const TRAP: Mac = Mac([0x06, 0x66, 0x66, 0x66, 0x66, 0x66]);

/// Peers of the node; the last is reached by IPv6.
pub const PEERS: usize = 4;

/// Where a peer sends from.
pub fn underlay(peer: usize) -> IpAddr {
    if peer + 1 == PEERS {
        Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 3).into()
    } else {
        Ipv4Addr::new(192, 0, 2, peer as u8 + 1).into()
    }
}

/// Our own address on the underlay.
pub const OWN: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 100);

/// The broadcast address of the prefix that our own inner address is in.
pub const OWN_BROADCAST: [u8; 4] = [10, 9, PEERS as u8, 255];

/// An inner address behind a peer, or behind our own device (`PEERS`).
pub fn inner_v4(behind: usize, host: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 9, behind as u8, host)
}

/// The same, IPv6.
pub fn inner_v6(behind: usize, host: u8) -> Ipv6Addr {
    Ipv6Addr::new(0xfd00, 9, behind as u16, 0, 0, 0, 0, host.into())
}

/// A station behind a peer, or behind our own device (`PEERS`).
pub fn station(behind: usize, host: u8) -> Mac {
    Mac([2, 0, 0, 0, behind as u8, host])
}

/// Draws a node's settings.
pub fn settings(source: &mut Source) -> NodeSettings {
    let traits = source.byte();
    let mtu = source.pick(&[1450, 1450, 1280, 9000]);
    let networks = (0..3)
        .map(|index| NetworkSettings {
            name: format!("network-{index}"),
            vni: Vni::new(VNIS[index]).expect("a small number"),
            layer: LAYERS[index],
            mtu,
            mss_clamp: traits & 2 == 0,
            rules: Rules {
                learning: learning(source),
                flood: FloodRate { rate_pps: 1000, burst: source.pick(&[2000, 2000, 2000, 8]) },
                relay: traits & 1 == 0 && index != VAULT.index(),
                routes_groups: false,
            },
            own_mac: (traits & 64 != 0).then_some(station(PEERS, 1)),
            addresses: vec![prefix("10.9.4.1/24"), prefix("fd00:9:4::1/64")],
            static_entries: match index {
                0 => vec![
                    (0, station(0, 9), Place::Peer(PeerId::new(0, 0))),
                    (7, station(PEERS, 9), Place::Local),
                ],
                _ => vec![],
            },
            coalesce: Coalesce {
                tcp: traits & 4 == 0,
                udp: traits & 8 == 0,
                big_tcp: if traits & 128 != 0 { BigTcp::Always } else { BigTcp::Never },
            },
        })
        .collect();
    NodeSettings {
        networks,
        peers: (0..PEERS).map(|peer| peer_settings(peer, traits & 16 != 0, source)).collect(),
        copy_dscp: traits & 32 != 0,
        lanes: source.pick(&[4, 1, 16]),
        own_endpoints: vec![
            SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), VXLAN_PORT),
            SocketAddr::new(OWN.into(), GPE_PORT),
        ],
        hash_seed: 1,
    }
}

fn prefix(text: &str) -> IpNet {
    text.parse().expect("a prefix")
}

fn learning(source: &mut Source) -> Learning {
    let network = source.pick(&[1000, 1000, 6]);
    Learning {
        age: Duration::from_secs(300),
        limits: Limits { network, per_peer: network.min(500), local: network.min(500) },
        move_limit: 5,
        move_window: Duration::from_secs(10),
        hold_down: Duration::from_secs(30),
    }
}

fn peer_settings(peer: usize, is_strict: bool, source: &mut Source) -> PeerSettings {
    // The first two peers share a prefix.
    let shared = if peer < 2 { "10.9.200.0/24" } else { "10.9.201.0/24" };
    let allowed_ips = vec![
        prefix(&format!("10.9.{peer}.0/24")),
        prefix(&format!("fd00:9:{peer}::/48")),
        prefix(&format!("fd00:9:{peer}::/64")),
        prefix(shared),
    ];
    let mut networks = vec![OFFICE, PLANT];
    if peer + 1 == PEERS {
        networks.push(VAULT);
    }
    PeerSettings {
        name: format!("peer-{peer}"),
        crossing: Crossing::Vxlan {
            vxlan: SocketAddr::new(underlay(peer), VXLAN_PORT),
            vxlan_gpe: SocketAddr::new(underlay(peer), GPE_PORT),
        },
        networks,
        allowed_ips: Some(allowed_ips),
        allowed_macs: (is_strict && peer == 0)
            .then(|| (0..4).map(|host| station(0, host)).collect()),
        path_mtu: source.pick(&[None, Some(1500), Some(1400), Some(600), Some(9000)]),
    }
}
