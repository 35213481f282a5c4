//! A plan, as the configuration of each of its nodes.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use tunctl::forward::{FloodRate, Learning, Limits, Rules};
use tunctl::frame::{Layer, Mac};
use tunctl::node::{Crossing, NetworkSettings, NodeSettings, PeerSettings};
use tunctl::offload::{BigTcp, Coalesce};
use tunctl::peer::{NetworkId, Vni};

use super::plan::{NetIndex, NodeIndex, Plan};

pub const VXLAN: u16 = 4789;
pub const VXLAN_GPE: u16 = 4790;

/// How tables learn: short times, so that all of it happens in a run.
pub fn learning(plan: &Plan, net: NetIndex) -> Learning {
    let limits = match plan.networks[net].is_tight {
        true => Limits { network: 60, per_peer: 30, local: 16 },
        false => Limits { network: 4000, per_peer: 2000, local: 2000 },
    };
    Learning {
        age: Duration::from_secs(20),
        limits,
        move_limit: 3,
        move_window: Duration::from_secs(2),
        hold_down: Duration::from_secs(4),
    }
}

/// The peers of a node, in the order of its configuration.
pub fn peers(plan: &Plan, node: NodeIndex) -> Vec<NodeIndex> {
    (0..plan.nodes.len()).filter(|&peer| plan.are_peers(node, peer)).collect()
}

/// The configuration of a node. `path_mtu` knows the path to a peer.
pub fn settings(
    plan: &Plan,
    node: NodeIndex,
    path_mtu: impl Fn(NodeIndex) -> Option<u16>,
) -> NodeSettings {
    let own = &plan.nodes[node];
    let any: [IpAddr; 2] = [own.v4.into(), own.v6.into()];
    let endpoints = any.into_iter().flat_map(|ip| [VXLAN, VXLAN_GPE].map(|port| (ip, port).into()));
    NodeSettings {
        networks: own.networks.iter().map(|&net| network(plan, node, net)).collect(),
        peers: peers(plan, node)
            .into_iter()
            .map(|peer| self::peer(plan, node, peer, path_mtu(peer)))
            .collect(),
        copy_dscp: own.copy_dscp,
        lanes: own.lanes,
        own_endpoints: endpoints.collect(),
        hash_seed: plan.seed,
    }
}

fn network(plan: &Plan, node: NodeIndex, net: NetIndex) -> NetworkSettings {
    let network = &plan.networks[net];
    let addresses = match network.layer {
        Layer::L2 => Vec::new(),
        Layer::L3 => prefixes(node).to_vec(),
    };
    NetworkSettings {
        name: format!("net-{net}"),
        vni: Vni::new(network.vni).expect("a plan's VNIs are small"),
        layer: network.layer,
        mtu: network.mtu,
        mss_clamp: network.mss_clamp,
        rules: Rules {
            learning: learning(plan, net),
            flood: FloodRate { rate_pps: 1_000_000, burst: network.flood_burst },
            relay: plan.relays(node),
            routes_groups: false,
        },
        addresses,
        own_mac: None,
        static_entries: Vec::new(),
        coalesce: Coalesce { tcp: network.merges, udp: network.merges, big_tcp: BigTcp::Never },
    }
}

fn peer(plan: &Plan, node: NodeIndex, peer: NodeIndex, path_mtu: Option<u16>) -> PeerSettings {
    let own = &plan.nodes[node].networks;
    let has_peer = |net: &NetIndex| plan.networks[*net].members.contains(&peer);
    let networks: Vec<_> = own.iter().copied().filter(has_peer).collect();
    let address = plan.address(peer, node);
    PeerSettings {
        name: format!("node-{peer}"),
        crossing: Crossing::Vxlan {
            vxlan: SocketAddr::new(address, VXLAN),
            vxlan_gpe: SocketAddr::new(address, VXLAN_GPE),
        },
        allowed_ips: filters_ips(plan, node, peer).then(|| allowed(plan, node, peer)),
        allowed_macs: plan
            .filters_macs
            .then(|| plan.hosts.iter().map(|host| Mac(host.mac)).collect()),
        networks: (0..own.len() as u16)
            .map(NetworkId)
            .filter(|id| networks.contains(&own[id.index()]))
            .collect(),
        path_mtu,
    }
}

/// Whether a node checks the IP sources of a peer, also in its networks of frames.
pub fn filters_ips(plan: &Plan, node: NodeIndex, peer: NodeIndex) -> bool {
    let networks = plan.nodes[node].networks.iter().map(|net| &plan.networks[*net]);
    networks
        .into_iter()
        .any(|network| network.layer == Layer::L3 && network.members.contains(&peer))
}

/// Everything that is behind a peer, also what it relays; and the addresses of frames, which
/// are anybody's.
fn allowed(plan: &Plan, node: NodeIndex, peer: NodeIndex) -> Vec<IpNet> {
    let frames = [
        IpNet::from(Ipv4Net::new_assert(Ipv4Addr::new(10, 9, 0, 0), 16)),
        IpNet::from(Ipv6Net::new_assert(Ipv6Addr::new(0xfd09, 0, 0, 0, 0, 0, 0, 0), 32)),
    ];
    let behind = (0..plan.nodes.len())
        .filter(|&other| other != node && plan.next_hop(node, other) == peer)
        .collect::<Vec<_>>();
    let shares = plan.networks.iter().any(|network| {
        network.layer == Layer::L3 && network.sharing.iter().any(|other| behind.contains(other))
    });
    let shared = if shares { prefixes(200).to_vec() } else { Vec::new() };
    frames.into_iter().chain(behind.into_iter().flat_map(prefixes)).chain(shared).collect()
}

/// The prefixes of packets behind a node; "node 200" is the one that several share.
fn prefixes(node: NodeIndex) -> [IpNet; 2] {
    [
        Ipv4Net::new_assert(Ipv4Addr::new(10, 64, node as u8, 0), 24).into(),
        Ipv6Net::new_assert(Ipv6Addr::new(0xfd64, node as u16, 0, 0, 0, 0, 0, 0), 64).into(),
    ]
}
