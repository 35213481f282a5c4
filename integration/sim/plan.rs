//! What a seed stands for: nodes, links, networks, hosts and faults.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use tunctl::frame::Layer;

use super::random::Random;

pub type NodeIndex = usize;
pub type NetIndex = usize;
pub type HostIndex = usize;

/// How the nodes know each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// Everybody knows everybody; nobody relays.
    Mesh,
    /// Node 0 relays between the others, which know only it.
    Hub,
    /// Nodes 0 and 1 relay; the others know one of them.
    Tree,
}

/// Everything that a run is made from.
#[derive(Clone, Debug)]
pub struct Plan {
    pub seed: u64,
    pub shape: Shape,
    pub nodes: Vec<NodePlan>,
    pub networks: Vec<NetworkPlan>,
    pub hosts: Vec<HostPlan>,
    pub faults: Faults,
    /// Number of things that hosts do.
    pub actions: usize,
    /// A path MTU between two nodes is one of these, bytes.
    pub path_mtus: Vec<u16>,
    /// Frames may come from the MACs of the hosts only.
    pub filters_macs: bool,
    /// Nodes are told the path MTU from the start.
    pub knows_paths: bool,
}

#[derive(Clone, Debug)]
pub struct NodePlan {
    pub v4: Ipv4Addr,
    pub v6: Ipv6Addr,
    pub lanes: u16,
    pub copy_dscp: bool,
    /// It sends as a kernel on the same machine does.
    pub is_local: bool,
    /// Its networks in the order of its own configuration.
    pub networks: Vec<NetIndex>,
}

#[derive(Clone, Debug)]
pub struct NetworkPlan {
    pub vni: u32,
    pub layer: Layer,
    pub mtu: u16,
    pub members: Vec<NodeIndex>,
    pub mss_clamp: bool,
    pub merges: bool,
    /// Nodes behind which hosts of the shared prefix may be (L3).
    pub sharing: Vec<NodeIndex>,
    /// Table limits that a flood of source addresses reaches.
    pub is_tight: bool,
    pub flood_burst: u32,
}

#[derive(Clone, Debug)]
pub struct HostPlan {
    pub net: NetIndex,
    /// The 802.1Q tag, with its priority bits.
    pub tag: Option<u16>,
    pub mac: [u8; 6],
    pub v4: Ipv4Addr,
    pub v6: Ipv6Addr,
    pub home: NodeIndex,
    /// May move to another node.
    pub is_mobile: bool,
}

/// How often the wire does what, of a thousand datagrams.
#[derive(Clone, Debug, Default)]
pub struct Faults {
    pub lose: u32,
    pub duplicate: u32,
    /// Datagrams that are late, so that others overtake them.
    pub reorder: u32,
    pub corrupt: u32,
    pub mark_congestion: u32,
    /// Receive calls in which datagrams of one flow are merged, as far as GRO would.
    pub merge: u32,
    /// Junk from known and unknown addresses, for each action of a host.
    pub junk: u32,
    /// Times that a host moves, for each action.
    pub moves: u32,
    /// Times that a path changes its MTU, for each action.
    pub path_changes: u32,
    /// Merged packets that a device refuses, of a thousand.
    pub refuse_merged: u32,
}

impl Plan {
    pub fn new(seed: u64) -> Self {
        let mut random = Random::new(seed);
        let shape = *random.pick(&[Shape::Mesh, Shape::Mesh, Shape::Hub, Shape::Hub, Shape::Tree]);
        let count = random.between(if shape == Shape::Tree { 4 } else { 3 }, 6);
        let nodes = (0..count).map(|index| node(&mut random, index)).collect();
        let mut plan = Self {
            seed,
            shape,
            nodes,
            networks: Vec::new(),
            hosts: Vec::new(),
            faults: faults(&mut random),
            actions: random.between(60, 120),
            path_mtus: random
                .pick(&[vec![1500], vec![1500, 1400, 1320], vec![9000, 1500], vec![1500, 1280]])
                .clone(),
            filters_macs: random.chance(200),
            knows_paths: random.chance(500),
        };
        for index in 0..random.between(2, 4) {
            let network = plan.network(&mut random, index);
            plan.networks.push(network);
        }
        for net in 0..plan.networks.len() {
            plan.add_hosts(&mut random, net);
        }
        for (index, node) in plan.nodes.iter_mut().enumerate() {
            let is_in = |net: &NetIndex| plan.networks[*net].members.contains(&index);
            node.networks = (0..plan.networks.len()).filter(is_in).collect();
            let turn = random.below(node.networks.len().max(1));
            node.networks.rotate_left(turn);
        }
        plan
    }

    fn network(&self, random: &mut Random, index: NetIndex) -> NetworkPlan {
        let layer = match index {
            0 => Layer::L2,
            1 => Layer::L3,
            _ => *random.pick(&[Layer::L2, Layer::L3]),
        };
        let nodes = self.nodes.len();
        let is_hub = |node: NodeIndex| self.relays(node);
        let is_whole = index == 0 || random.chance(500);
        let members: Vec<_> = (0..nodes)
            .filter(|&node| {
                is_whole || is_hub(node) || node % (nodes - 1) == 0 || random.chance(600)
            })
            .collect();
        let leaves: Vec<_> = members.iter().copied().filter(|&node| !is_hub(node)).collect();
        let sharing = match layer {
            Layer::L3 if leaves.len() >= 3 => leaves[leaves.len() - 2..].to_vec(),
            Layer::L2 | Layer::L3 => Vec::new(),
        };
        NetworkPlan {
            // A VNI of frames and one of packets may be equal: the port tells them apart.
            vni: 100 + self.networks.iter().filter(|network| network.layer == layer).count() as u32,
            layer,
            mtu: *random.pick(&[1500, 1450, 1400, 1280, 8000]),
            members,
            mss_clamp: random.chance(800),
            merges: random.chance(900),
            sharing,
            is_tight: layer == Layer::L2 && random.chance(300),
            flood_burst: if random.chance(100) { 20 } else { 1_000_000 },
        }
    }

    fn add_hosts(&mut self, random: &mut Random, net: NetIndex) {
        let network = self.networks[net].clone();
        let tags = [None, None, Some(10), Some(20 | 0x6000), Some(0x8000)];
        let mut number = 0;
        for &home in &network.members {
            for _ in 0..random.between(1, 2) {
                number += 1;
                let tag = if network.layer == Layer::L2 { *random.pick(&tags) } else { None };
                self.hosts.push(host(net, network.layer, number, home, tag));
            }
        }
        // The first two have a neighbour to talk to, whatever the dice say.
        for host in self.hosts.iter_mut().filter(|host| host.net == net).step_by(3) {
            host.tag = None;
        }
        for &home in &network.sharing {
            number += 1;
            let mut host = host(net, Layer::L3, number, home, None);
            host.v4 = Ipv4Addr::new(10, 64, 200, number);
            host.v6 = Ipv6Addr::new(0xfd64, 200, 0, 0, 0, 0, 0, number.into());
            host.is_mobile = true;
            self.hosts.push(host);
        }
    }

    /// Whether a node passes on what comes from one peer to another.
    pub fn relays(&self, node: NodeIndex) -> bool {
        match self.shape {
            Shape::Mesh => false,
            Shape::Hub => node == 0,
            Shape::Tree => node <= 1,
        }
    }

    /// Whether two nodes are peers.
    pub fn are_peers(&self, one: NodeIndex, other: NodeIndex) -> bool {
        one != other && self.next_hop(one, other) == other
    }

    /// The peer through which a node reaches another.
    pub fn next_hop(&self, from: NodeIndex, to: NodeIndex) -> NodeIndex {
        let hub_of = |node: NodeIndex| if node <= 1 { node } else { node % 2 };
        match self.shape {
            Shape::Mesh => to,
            Shape::Hub if from == 0 => to,
            Shape::Hub => 0,
            Shape::Tree if from > 1 => hub_of(from),
            Shape::Tree if hub_of(to) == from => to,
            Shape::Tree => hub_of(to),
        }
    }

    /// The peers of a node that are in a network.
    pub fn peers_in(&self, node: NodeIndex, net: NetIndex) -> impl Iterator<Item = NodeIndex> {
        let members = &self.networks[net].members;
        members.iter().copied().filter(move |&peer| self.are_peers(node, peer))
    }

    /// The address at which a node is reached from another: both have IPv4 and IPv6.
    pub fn address(&self, of: NodeIndex, from: NodeIndex) -> IpAddr {
        let node = &self.nodes[of];
        if (of + from + self.seed as usize).is_multiple_of(2) {
            node.v4.into()
        } else {
            node.v6.into()
        }
    }

    /// The most datagrams that carry one packet of a network.
    pub fn transmissions_max(&self, net: NetIndex) -> usize {
        self.networks[net].members.len() - 1
    }
}

fn node(random: &mut Random, index: NodeIndex) -> NodePlan {
    let last = index as u8 + 1;
    NodePlan {
        v4: Ipv4Addr::new(192, 0, 2, last),
        v6: Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, last.into()),
        // No fewer than networks: two of them in one lane would be merged by GRO, and dropped.
        lanes: *random.pick(&[4, 5, 16]),
        copy_dscp: random.chance(300),
        is_local: random.chance(120),
        networks: Vec::new(),
    }
}

fn host(net: NetIndex, layer: Layer, number: u8, home: NodeIndex, tag: Option<u16>) -> HostPlan {
    // The same addresses in every network: they are spaces of their own.
    let (v4, v6) = match layer {
        Layer::L2 => (
            Ipv4Addr::new(10, 9, 0, number),
            Ipv6Addr::new(0xfd09, 0, 0, 0, 0, 0, 0, number.into()),
        ),
        Layer::L3 => (
            Ipv4Addr::new(10, 64, home as u8, number),
            Ipv6Addr::new(0xfd64, home as u16, 0, 0, 0, 0, 0, number.into()),
        ),
    };
    let mac = [2, 0, 0, 0, 0, number];
    HostPlan { net, tag, mac, v4, v6, home, is_mobile: layer == Layer::L2 }
}

fn faults(random: &mut Random) -> Faults {
    let mut rate = |of_seeds: u32, high: usize| {
        if random.chance(of_seeds) { random.between(1, high) as u32 } else { 0 }
    };
    // A quarter of the seeds has a perfect wire: there nothing may be missing.
    let is_perfect = rate(250, 1) == 1;
    let mut faults = Faults {
        lose: rate(500, 50),
        duplicate: rate(500, 50),
        reorder: rate(400, 200),
        corrupt: rate(500, 80),
        mark_congestion: rate(400, 100),
        merge: 0,
        junk: rate(400, 300),
        moves: rate(500, 60),
        path_changes: rate(500, 100),
        refuse_merged: rate(100, 100),
    };
    if is_perfect {
        faults = Faults { path_changes: faults.path_changes, ..Faults::default() };
    }
    Faults { merge: *random.pick(&[0, 500, 900, 1000]), ..faults }
}
