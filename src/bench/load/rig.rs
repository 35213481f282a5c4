//! A node with memory, a table that knows its hosts, and the loop of a worker around it.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use ipnet::IpNet;

use super::line::{self, Line, TUNNEL_IPS};
use super::{Arrival, Flow, MTU, Protocol, Read};
use crate::buffer::{HEADER_AREA, Memory, Piece};
use crate::drops::DropReason;
use crate::forward::{FloodRate, Rules};
use crate::frame::Layer;
use crate::node::{Crossing, NetworkSettings, Node, NodeSettings, Output, PeerSettings};
use crate::offload::{BigTcp, Coalesce, VnetHeader};
use crate::peer::{NetworkId, Vni};
use crate::transport::opened::Contents;
use crate::transport::outer::TunnelIps;
use crate::transport::{Carrier, Received};

/// Reads or receives in one batch.
const SLOTS: usize = 64;
/// A batch is flushed early when the header area has less than this left, as in the daemon.
const HEADER_RESERVE: usize = HEADER_AREA / 2;
/// What passes between two batches.
const BATCH_TIME: Duration = Duration::from_micros(50);

/// A path that takes the largest packet of the network with WireGuard around it.
const WIDE_PATH_MTU: u16 = 9000;

const NETWORK: NetworkId = NetworkId(0);

/// What came out of a batch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Moved {
    /// Sends and writes that it would take.
    pub calls: u64,
    /// Datagrams, and packets for the device; a merged one counts as its segments.
    pub packets: u64,
    /// Their bytes, a merged packet's headers once.
    pub bytes: u64,
}

/// A node between a device and an underlay that are only memory.
///
/// A batch is two steps, so that one can be measured without the other: [`Rig::read`] or
/// [`Rig::receive`] does what the kernel would do, then [`Rig::outbound`] or [`Rig::inbound`] what
/// the worker does, without its system calls.
pub struct Rig {
    node: Node,
    memory: Memory,
    out: Output,
    now: Instant,
    carrier: Carrier,
    reads: Vec<(Piece, VnetHeader)>,
    received: Vec<Received>,
    /// WireGuard between us, end 0, and the only peer.
    line: Option<Line>,
    moved: Moved,
}

impl Rig {
    /// Makes a rig of one network with `peers` peers, 1 to 200, that has seen both hosts of every
    /// [`Flow`] and no other. A relaying one hands on what peers send to peers.
    pub fn new(layer: Layer, peers: usize, relay: bool, now: Instant) -> Self {
        let flow = Flow::new(layer, Protocol::Udp);
        let first = flow.inward().arrival(Self::VNI, 0, 1);
        Self::with(settings(layer, peers.clamp(1, 200), relay), None, flow, &first, now)
    }

    /// Makes a rig with one peer, WireGuard between the two, and what else [`Rig::new`] says. What
    /// it receives are packets as [`Flow::run_inside`] gives them, which the peer seals.
    pub fn sealed(layer: Layer, now: Instant) -> Self {
        let flow = Flow::new(layer, Protocol::Udp);
        let first = flow.inward().run_inside(Self::VNI, 1, 1);
        let mut settings = settings(layer, 1, false);
        let [ours, theirs] = TUNNEL_IPS;
        for peer in &mut settings.peers {
            peer.crossing = Crossing::WireGuard {
                endpoint: Some(line::address(1)),
                tunnel: (layer == Layer::L2).then_some(TunnelIps::V4(ours, theirs)),
            };
            peer.path_mtu = Some(WIDE_PATH_MTU);
        }
        Self::with(settings, Some(Line::new(now)), flow, &first, now)
    }

    fn with(
        settings: NodeSettings,
        line: Option<Line>,
        flow: Flow,
        first: &Arrival,
        now: Instant,
    ) -> Self {
        let layer = flow.layer();
        let mut rig = Self {
            node: Node::new(settings, now),
            memory: Memory::new(SLOTS),
            out: Output::default(),
            now,
            carrier: Carrier::of(layer),
            reads: Vec::with_capacity(SLOTS),
            received: Vec::with_capacity(SLOTS),
            line,
            moved: Moved::default(),
        };
        rig.read(&[flow.read(1, MTU)]);
        rig.outbound();
        rig.receive(std::slice::from_ref(first));
        rig.inbound();
        rig
    }

    /// The VNI of its network.
    pub const VNI: Vni = Vni::from_bytes([0, 0, 42]);

    /// Puts packets into the slots, as a device does; at most 64.
    pub fn read(&mut self, reads: &[Read]) {
        self.reads.clear();
        for (slot, read) in reads.iter().take(SLOTS).enumerate() {
            let piece = self.store(slot, &read.bytes);
            self.reads.push((piece, read.vnet));
        }
    }

    /// Puts datagrams and runs into the slots, as a socket does; at most 64.
    pub fn receive(&mut self, arrivals: &[Arrival]) {
        self.received.clear();
        for (slot, arrival) in arrivals.iter().take(SLOTS).enumerate() {
            let piece = self.store(slot, &arrival.bytes);
            if let Some(line) = &mut self.line {
                line.seal_run(self.now, 1, piece, arrival.stride, &self.memory);
                self.received.push(line.carry(self.memory.slot(slot), &mut self.memory));
                continue;
            }
            self.received.push(Received {
                piece,
                stride: arrival.stride,
                from: SocketAddr::new(underlay(arrival.from), 50_000),
                local: Some(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1))),
                tos: 0,
                truncated: false,
                carrier: self.carrier,
            });
        }
    }

    /// Takes what was read from device to underlay.
    pub fn outbound(&mut self) -> Moved {
        self.begin();
        for index in 0..self.reads.len() {
            let (packet, vnet) = self.reads[index];
            let (memory, out) = (&mut self.memory, &mut self.out);
            self.node.handle_device(self.now, NETWORK, packet, vnet, memory, out);
            if self.memory.header_room() < HEADER_RESERVE {
                self.flush();
            }
        }
        self.node.finish_batch(&mut self.memory, &mut self.out);
        self.flush();
        self.moved
    }

    /// Takes what was received from underlay to device.
    pub fn inbound(&mut self) -> Moved {
        self.begin();
        match self.line.take() {
            Some(mut line) => {
                self.take_sealed(&mut line);
                self.line = Some(line);
            }
            None => self.take_received(),
        }
        self.node.finish_batch(&mut self.memory, &mut self.out);
        self.flush();
        self.moved
    }

    fn take_received(&mut self) {
        for index in 0..self.received.len() {
            let received = self.received[index];
            self.node.handle_received(self.now, &received, &mut self.memory, &mut self.out);
            if self.memory.header_room() < HEADER_RESERVE {
                self.flush();
            }
        }
    }

    fn take_sealed(&mut self, line: &mut Line) {
        line.forget();
        for received in &self.received {
            line.open(self.now, 0, received, &mut self.memory);
        }
        let Contents { runs, packets } = line.contents();
        for run in runs {
            let packets = &packets[run.packets.clone()];
            self.node.handle_opened(self.now, run, packets, &mut self.memory, &mut self.out);
        }
    }

    /// Ages the tables, as the worker does ten times a second.
    pub fn tick(&mut self) {
        self.now += Node::TICK;
        self.node.handle_tick(self.now);
    }

    /// Gives the packets that were dropped, for any reason.
    pub fn dropped(&self) -> u64 {
        let of_node: u64 = DropReason::ALL.iter().map(|it| self.node.drops().of(*it)).sum();
        of_node + self.line.as_ref().map_or(0, Line::lost)
    }

    fn store(&mut self, slot: usize, bytes: &[u8]) -> Piece {
        let piece = self.memory.slot(slot).part(0, bytes.len());
        self.memory.bytes_mut(piece).copy_from_slice(bytes);
        piece
    }

    fn begin(&mut self) {
        self.now += BATCH_TIME;
        self.moved = Moved::default();
    }

    /// Counts where the worker would send and write, and forgets the output as it does.
    fn flush(&mut self) {
        for transmit in &self.out.transmits {
            self.moved.calls += 1;
            let (packets, bytes) = match &mut self.line {
                Some(line) => line.seal(self.now, 0, transmit, &self.out.pieces, &self.memory),
                None => (transmit.count.into(), transmit.len.into()),
            };
            self.moved.packets += packets;
            self.moved.bytes += bytes;
        }
        for write in &self.out.writes {
            self.moved.calls += 1;
            self.moved.packets += u64::from(write.packets);
            self.moved.bytes += u64::from(write.len);
        }
        self.out.clear();
        self.memory.reset_headers();
    }
}

fn underlay(peer: usize) -> IpAddr {
    Ipv4Addr::new(192, 0, 2, peer as u8 + 2).into()
}

fn settings(layer: Layer, peers: usize, relay: bool) -> NodeSettings {
    let flood = FloodRate { rate_pps: 1_000_000_000, burst: u32::MAX };
    let network = NetworkSettings {
        name: "bench".into(),
        vni: Rig::VNI,
        layer,
        mtu: MTU,
        mss_clamp: true,
        rules: Rules { flood, relay, ..Rules::default() },
        own_mac: None,
        addresses: vec![net([10, 9, 0, 1], 16)],
        static_entries: Vec::new(),
        coalesce: Coalesce { tcp: true, udp: true, big_tcp: BigTcp::Never },
    };
    let peer = |number: usize| PeerSettings {
        name: format!("peer {number}"),
        crossing: Crossing::Vxlan {
            vxlan: SocketAddr::new(underlay(number), 4789),
            vxlan_gpe: SocketAddr::new(underlay(number), 4790),
        },
        networks: vec![NETWORK],
        allowed_ips: (layer == Layer::L3)
            .then(|| vec![net([10, 9, 1, number as u8], 32), net([10, 99, 0, 0], 16)]),
        allowed_macs: None,
        path_mtu: Some(1500),
    };
    NodeSettings {
        networks: vec![network],
        peers: (0..peers).map(peer).collect(),
        copy_dscp: false,
        lanes: 4,
        own_endpoints: vec![SocketAddr::from(([0; 4], 4789)), SocketAddr::from(([0; 4], 4790))],
        hash_seed: 7,
    }
}

fn net(address: [u8; 4], prefix_len: u8) -> IpNet {
    IpNet::new(IpAddr::from(address), prefix_len).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::load::{MSS, SEGMENTS};

    const LAYERS: [Layer; 2] = [Layer::L2, Layer::L3];

    #[test]
    fn gso_packet_leaves_as_one_run_and_comes_back_as_one_write() {
        for layer in LAYERS {
            let mut rig = Rig::new(layer, 1, false, Instant::now());
            let flow = Flow::new(layer, Protocol::Tcp);
            rig.read(&[flow.read(SEGMENTS * MSS, MSS as u16)]);
            let moved = rig.outbound();
            let datagram = 8 + flow.header_len() + MSS;
            assert_eq!((moved.calls, moved.packets), (1, SEGMENTS as u64));
            assert_eq!(moved.bytes, (SEGMENTS * datagram) as u64);
            rig.receive(&[flow.inward().run(Rig::VNI, SEGMENTS, MSS)]);
            let moved = rig.inbound();
            assert_eq!((moved.calls, moved.packets), (1, SEGMENTS as u64));
            assert_eq!(moved.bytes, (flow.header_len() + SEGMENTS * MSS) as u64);
            assert_eq!(rig.dropped(), 0);
        }
    }

    #[test]
    fn sealed_packets_leave_and_arrive_in_full() {
        for layer in LAYERS {
            let mut rig = Rig::sealed(layer, Instant::now());
            let flow = Flow::new(layer, Protocol::Tcp);
            rig.read(&[flow.read(SEGMENTS * MSS, MSS as u16)]);
            assert_eq!(rig.outbound().packets, SEGMENTS as u64);
            rig.receive(&[flow.inward().run_inside(Rig::VNI, 40, MSS)]);
            let moved = rig.inbound();
            assert_eq!((moved.calls, moved.packets), (1, 40));
            assert_eq!(moved.bytes, (flow.header_len() + 40 * MSS) as u64);
            assert_eq!(rig.dropped(), 0);
        }
    }

    #[test]
    fn flooded_packet_goes_to_every_peer() {
        for layer in LAYERS {
            let mut rig = Rig::new(layer, 5, false, Instant::now());
            rig.read(&[Flow::new(layer, Protocol::Udp).flooded().read(64, MTU)]);
            assert_eq!(rig.outbound().packets, 5);
            assert_eq!(rig.dropped(), 0);
        }
    }
}
