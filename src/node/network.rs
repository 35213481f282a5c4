//! A network of the node: its forwarding, its limits, and what is being merged for its device.

use std::time::Instant;

use hashbrown::HashMap;

use super::peers::{Peer, Peers};
use super::{Forwarding, NetworkSettings, NodeSettings, Output, Traffic};
use crate::buffer::Memory;
use crate::drops::DropCounters;
use crate::forward::{FloodLimit, FloodRate};
use crate::frame::vxlan::{self, Next};
use crate::frame::{Headers, Layer, Net};
use crate::offload::{BigTcp, Coalesce, Coalescer};
use crate::peer::{NetworkId, Vni};
use crate::transport::Carrier;
use crate::transport::outer::Outer;

/// ICMP answers of a network: enough for every host behind it to learn of a smaller path.
const ANSWERS: FloodRate = FloodRate { rate_pps: 1000, burst: 100 };

/// Source ports of VXLAN inside WireGuard (RFC 7348 section 5: 49152 to 65535).
const SOURCE_PORTS: u16 = 49_152;
const SOURCE_PORTS_COUNT: u16 = 1 << 14;

/// One overlay segment of this node.
pub struct Network {
    /// Its position in the settings.
    pub id: NetworkId,
    /// The name that users see.
    pub name: String,
    /// Its VNI.
    pub vni: Vni,
    /// Frames or packets.
    pub layer: Layer,
    /// The largest IP packet carried, bytes.
    pub mtu: u16,
    /// Where its packets go.
    pub forwarding: Forwarding,
    /// What came from the device.
    pub from_device: Traffic,
    /// What went to the device.
    pub to_device: Traffic,
    /// Received packets whose inner checksum is wrong: delivered as they came.
    pub invalid_checksums: u64,
    /// What was dropped.
    pub drops: DropCounters,
    /// Whether packets are merged before they are written.
    pub is_coalescing: bool,
    pub(super) lanes: Lanes,
    pub(super) mss_clamp: bool,
    pub(super) coalescer: Coalescer,
    pub(super) answers: FloodLimit,
}

/// The sending sockets, and so the source ports, that a network's flows are spread over.
///
/// A receiver's GRO merges what comes from one port, and a run with two VNIs in it cannot be told
/// from inner payload that poses as a header: the receiver drops it. So no two networks with one
/// destination port share a lane, as long as there are enough.
#[derive(Clone, Copy, Debug)]
pub(super) struct Lanes {
    first: u16,
    count: u16,
}

impl Lanes {
    /// Gives the share of network `position` of `networks` in `lanes` sockets.
    fn share(position: u16, networks: u16, lanes: u16) -> Self {
        let count = (lanes / networks.max(1)).max(1);
        Self { first: (position * count) % lanes.max(1), count }
    }

    /// Chooses the lane of a flow.
    pub(super) fn of(&self, flow_hash: u32) -> u16 {
        self.first + (flow_hash % u32::from(self.count)) as u16
    }
}

impl Network {
    fn new(
        id: NetworkId,
        settings: NetworkSettings,
        lanes: Lanes,
        seed: u64,
        peers: &Peers,
        now: Instant,
    ) -> Self {
        let (members, routes) = (peers.members(id), peers.routes(id));
        Self {
            id,
            vni: settings.vni,
            layer: settings.layer,
            mtu: settings.mtu,
            forwarding: Forwarding::new(&settings, &members, &routes, seed, now),
            from_device: Traffic::default(),
            to_device: Traffic::default(),
            invalid_checksums: 0,
            drops: DropCounters::default(),
            is_coalescing: settings.coalesce.tcp || settings.coalesce.udp,
            lanes,
            mss_clamp: settings.mss_clamp,
            coalescer: Coalescer::new(settings.coalesce, id),
            answers: FloodLimit::new(ANSWERS),
            name: settings.name,
        }
    }

    /// What stands in front of a frame or packet of this network on the way to a peer.
    pub(super) fn outer(&self, peer: &Peer, headers: &Headers, tos: u8) -> Outer {
        let vxlan = match (self.layer, headers.net) {
            (Layer::L2, _) => vxlan::encode(self.vni),
            (Layer::L3, Net::V6(_)) => vxlan::encode_gpe(self.vni, Next::Ipv6),
            (Layer::L3, _) => vxlan::encode_gpe(self.vni, Next::Ipv4),
        };
        match (peer.carrier(self.layer), self.layer, peer.tunnel()) {
            (Carrier::WireGuard, Layer::L2, Some(ips)) => {
                let source_port = SOURCE_PORTS + headers.flow_hash() as u16 % SOURCE_PORTS_COUNT;
                Outer::Tunnel { ips, vxlan, source_port, tos }
            }
            (Carrier::WireGuard, ..) => Outer::None,
            _ => Outer::Vxlan(vxlan),
        }
    }

    /// The length of [`Network::outer`].
    pub(super) fn outer_len(&self, peer: &Peer) -> usize {
        match (peer.carrier(self.layer), self.layer, peer.tunnel()) {
            (Carrier::WireGuard, Layer::L2, Some(ips)) => ips.header_len(),
            (Carrier::WireGuard, ..) => 0,
            _ => vxlan::HEADER_LEN,
        }
    }

    pub(super) fn stop_coalescing(&mut self) {
        self.is_coalescing = false;
        let none = Coalesce { tcp: false, udp: false, big_tcp: BigTcp::Never };
        self.coalescer.enable(none);
    }

    /// Whether TCP is merged beyond 64 KiB.
    pub fn merges_big_tcp(&self) -> bool {
        self.coalescer.merges_big_tcp()
    }

    pub(super) fn set_big_tcp(&mut self, big_tcp: BigTcp) {
        self.coalescer.set_big_tcp(big_tcp);
    }

    pub(super) fn finish(&mut self, memory: &mut Memory, out: &mut Output) {
        self.coalescer.finish(memory, &mut out.writes, &mut out.pieces);
    }
}

/// All networks of a node.
pub(super) struct Networks {
    list: Vec<Network>,
    by_vni: HashMap<(Carrier, Vni), NetworkId, foldhash::quality::RandomState>,
}

impl Networks {
    pub(super) fn new(settings: NodeSettings, peers: &Peers, now: Instant) -> Self {
        let seed = settings.hash_seed;
        let layers: Vec<_> = settings.networks.iter().map(|network| network.layer).collect();
        let of_layer = |layer, before: usize| {
            layers[..before].iter().filter(|other| **other == layer).count() as u16
        };
        let list: Vec<_> = settings
            .networks
            .into_iter()
            .enumerate()
            .map(|(index, network)| {
                let seed = seed.wrapping_add(index as u64);
                let (position, all) =
                    (of_layer(network.layer, index), of_layer(network.layer, layers.len()));
                let lanes = Lanes::share(position, all, settings.lanes.max(1));
                Network::new(NetworkId(index as u16), network, lanes, seed, peers, now)
            })
            .collect();
        let by_vni = list.iter().map(|n| ((Carrier::of(n.layer), n.vni), n.id)).collect();
        Self { list, by_vni }
    }

    pub(super) fn by_vni(&self, carrier: Carrier, vni: Vni) -> Option<NetworkId> {
        self.by_vni.get(&(carrier, vni)).copied()
    }

    pub(super) fn at(&self, id: NetworkId) -> Option<&Network> {
        self.list.get(id.index())
    }

    pub(super) fn at_mut(&mut self, id: NetworkId) -> Option<&mut Network> {
        self.list.get_mut(id.index())
    }

    pub(super) fn len(&self) -> usize {
        self.list.len()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Network> {
        self.list.iter()
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Network> {
        self.list.iter_mut()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_share_no_lane_while_there_are_enough() {
        for lanes in 1..=16 {
            for networks in 1..=lanes {
                let shares: Vec<_> =
                    (0..networks).map(|position| Lanes::share(position, networks, lanes)).collect();
                for pair in shares.windows(2) {
                    assert!(pair[0].count > 0 && pair[0].first + pair[0].count <= pair[1].first);
                }
                let last = shares[shares.len() - 1];
                assert!(last.first + last.count <= lanes);
            }
        }
    }

    #[test]
    fn with_more_networks_than_lanes_each_has_one() {
        let firsts: Vec<_> = (0..5).map(|position| Lanes::share(position, 5, 2).first).collect();
        assert_eq!(firsts, [0, 1, 0, 1, 0]);
    }
}
