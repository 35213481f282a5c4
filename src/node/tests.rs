//! The rules of the whole node, without devices and sockets: bytes in, bytes out, counters.

mod counters;
mod flood;
mod guard;
mod inbound;
mod marks;
mod outbound;
mod relay;
mod resend;
mod size;
mod sources;
mod supers;
mod unfinished;

use std::net::{IpAddr, SocketAddr};

use super::*;
use crate::buffer::{HEADER_AREA, HEADROOM};
use crate::forward::{FloodRate, Learning, Limits, Rules};
use crate::frame::build::{Packet, naive_sum};
use crate::frame::checksum::{self, Check};
use crate::frame::vxlan::{self, Next};
use crate::frame::{Headers, L4, Layer, Mac, Net, tcp};
use crate::offload::{BigTcp, Coalesce, Gso, VnetHeader};
use crate::peer::Vni;
use crate::transport::{Carrier, Received, Transmit};

const A: PeerId = PeerId::new(0, 0);
const B: PeerId = PeerId::new(1, 0);
const C: PeerId = PeerId::new(2, 0);
const NET: NetworkId = NetworkId(0);
/// A second network, which C is not in.
const OTHER: NetworkId = NetworkId(1);
const VNI: u32 = 42;
const OTHER_VNI: u32 = 77;
const MTU: u16 = 1450;

/// The addresses of [`Packet`]'s default: a host behind our device, and one behind A.
const MAC_HERE: [u8; 6] = [2, 0, 0, 0, 0, 1];
const MAC_A: [u8; 6] = [2, 0, 0, 0, 0, 2];
const MAC_B: [u8; 6] = [2, 0, 0, 0, 0, 3];
const BROADCAST: [u8; 6] = [0xff; 6];
const IP_HERE: [u8; 4] = [10, 9, 0, 1];
const IP_A: [u8; 4] = [10, 9, 0, 2];
const IP_B: [u8; 4] = [10, 9, 0, 3];
const IP_C: [u8; 4] = [10, 9, 0, 4];
const OUR_UNDERLAY: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));

/// A node with its memory and clock.
struct Bench {
    node: Node,
    memory: Memory,
    out: Output,
    now: Instant,
    layer: Layer,
    slot: usize,
}

/// A datagram that the node sends, with what surrounds it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Sent {
    to: SocketAddr,
    from: Option<IpAddr>,
    entropy: u16,
    tos: u8,
    peer: PeerId,
    network: NetworkId,
    bytes: Vec<u8>,
}

/// A write to a device.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Written {
    vnet: VnetHeader,
    bytes: Vec<u8>,
    packets: u32,
    network: NetworkId,
}

impl Bench {
    fn new(layer: Layer) -> Self {
        Self::with(layer, |_| {})
    }

    fn relay(layer: Layer) -> Self {
        Self::with(layer, |settings| settings.networks[0].rules.relay = true)
    }

    fn with(layer: Layer, change: impl FnOnce(&mut NodeSettings)) -> Self {
        let now = Instant::now();
        let mut settings = settings(layer);
        change(&mut settings);
        Self {
            node: Node::new(settings, now),
            memory: Memory::new(8),
            out: Output::default(),
            now,
            layer,
            slot: 0,
        }
    }

    /// Puts bytes into the next slot.
    fn store(&mut self, bytes: &[u8]) -> Piece {
        let piece = self.memory.slot(self.slot % self.memory.slots()).part(0, bytes.len());
        self.slot += 1;
        self.memory.bytes_mut(piece).copy_from_slice(bytes);
        piece
    }

    fn device_bytes(&mut self, bytes: &[u8], vnet: VnetHeader) {
        let piece = self.store(bytes);
        self.node.handle_device(self.now, NET, piece, vnet, &mut self.memory, &mut self.out);
    }

    /// A packet without offloads.
    fn device(&mut self, packet: &Packet) {
        self.device_bytes(&packet.bytes(), VnetHeader::default());
    }

    /// A GSO packet as the kernel hands it over; without GSO, one with a partial checksum.
    fn device_gso(&mut self, packet: &Packet, gso: Gso) {
        let packet = packet.clone().partial();
        self.device_bytes(&packet.bytes(), VnetHeader::of(&packet.headers(), gso));
    }

    fn receive_as(&mut self, from: PeerId, bytes: &[u8], change: impl FnOnce(&mut Received)) {
        let mut received = Received {
            piece: self.store(bytes),
            stride: None,
            from: SocketAddr::new(address_of(from), 50_000),
            local: Some(OUR_UNDERLAY),
            tos: 0,
            truncated: false,
            carrier: Carrier::of(self.layer),
        };
        change(&mut received);
        self.node.handle_received(self.now, &received, &mut self.memory, &mut self.out);
    }

    fn receive_bytes(&mut self, from: PeerId, bytes: &[u8]) {
        self.receive_as(from, bytes, |_| {});
    }

    fn receive(&mut self, from: PeerId, packet: &Packet) {
        self.receive_bytes(from, &datagram(VNI, packet));
    }

    /// A run as UDP_GRO gives it.
    fn receive_run(&mut self, from: PeerId, datagrams: &[Vec<u8>]) {
        let stride = Some(datagrams[0].len() as u16);
        self.receive_as(from, &datagrams.concat(), |received| received.stride = stride);
    }

    /// Lets a peer show that a host is behind it.
    fn teach(&mut self, peer: PeerId, mac: [u8; 6]) {
        self.receive(peer, &Packet::icmp4(0).tagged(&[]).src_mac(mac).dst_mac(BROADCAST));
        self.discard();
    }

    /// Ends the batch and gives what came out of it.
    fn finish(&mut self) -> (Vec<Sent>, Vec<Written>) {
        self.node.finish_batch(&mut self.memory, &mut self.out);
        let sent = self.out.transmits.iter().flat_map(|run| self.datagrams(run)).collect();
        let written = self.out.writes.iter().map(|write| {
            let bytes = self.gather(&write.pieces);
            assert_eq!(bytes.len(), write.len as usize);
            let (vnet, packets, network) = (write.vnet, write.packets, write.network);
            Written { vnet, bytes, packets, network }
        });
        let result = (sent, written.collect());
        self.out.clear();
        self.memory.reset_headers();
        result
    }

    /// Ends a batch of which nothing goes to the device.
    fn sent(&mut self) -> Vec<Sent> {
        let (sent, written) = self.finish();
        assert_eq!(written, []);
        sent
    }

    /// Ends a batch of which nothing goes to the underlay.
    fn written(&mut self) -> Vec<Written> {
        let (sent, written) = self.finish();
        assert_eq!(sent, []);
        written
    }

    fn discard(&mut self) {
        self.finish();
    }

    fn gather(&self, range: &std::ops::Range<u32>) -> Vec<u8> {
        let pieces = &self.out.pieces[range.start as usize..range.end as usize];
        pieces.iter().flat_map(|piece| self.memory.bytes(*piece)).copied().collect()
    }

    /// The datagrams of a run: of one length, only the last may be shorter.
    fn datagrams(&self, run: &Transmit) -> Vec<Sent> {
        let bytes = self.gather(&run.pieces);
        assert_eq!(bytes.len(), run.len as usize);
        let datagrams = bytes.chunks(run.datagram_len.into());
        assert_eq!(datagrams.len(), usize::from(run.count));
        let sent = datagrams.map(|bytes| Sent {
            to: run.to,
            from: run.from,
            entropy: run.entropy,
            tos: run.tos,
            peer: run.peer,
            network: run.network,
            bytes: bytes.to_vec(),
        });
        sent.collect()
    }

    /// Asserts that nothing else was ever dropped, in the total, the network's and the peer's
    /// counters, and that no other network and peer counted anything.
    #[track_caller]
    fn assert_drops(
        &self,
        reason: DropReason,
        network: Option<NetworkId>,
        peer: Option<PeerId>,
        packets: u64,
    ) {
        let mut counted = DropCounters::default();
        counted.count(reason, packets);
        let expected =
            |is_concerned| if is_concerned { counted.clone() } else { Default::default() };
        assert_eq!(named(self.node.drops()), [(reason, packets)]);
        for own in self.node.networks() {
            assert_eq!(own.drops, expected(network == Some(own.id)), "network {}", own.name);
        }
        for (id, own) in self.node.peers() {
            assert_eq!(own.drops, expected(peer == Some(id)), "peer {}", own.name);
        }
    }

    #[track_caller]
    fn assert_no_drops(&self) {
        assert_eq!(named(self.node.drops()), []);
    }

    fn network(&self) -> &Network {
        self.node.network(NET).unwrap()
    }

    fn peer(&self, id: PeerId) -> &Peer {
        self.node.peer(id).unwrap()
    }
}

fn named(drops: &DropCounters) -> Vec<(DropReason, u64)> {
    let all = DropReason::ALL.iter().map(|reason| (*reason, drops.of(*reason)));
    all.filter(|(_, count)| *count > 0).collect()
}

/// Two networks of one kind and three peers. Of the prefixes, B and C share 192.168.30.0/24.
fn settings(layer: Layer) -> NodeSettings {
    let network = |name: &str, vni| NetworkSettings {
        name: name.to_owned(),
        vni: Vni::new(vni).unwrap(),
        layer,
        mtu: MTU,
        mss_clamp: true,
        rules: Rules::default(),
        addresses: vec!["10.9.0.1/24".parse().unwrap(), "fd00:9::1/64".parse().unwrap()],
        own_mac: None,
        static_entries: Vec::new(),
        coalesce: Coalesce { tcp: true, udp: true, big_tcp: BigTcp::Never },
    };
    let peer = |id: PeerId, networks: &[NetworkId], prefixes: &[&str]| PeerSettings {
        name: format!("peer {}", id.slot()),
        crossing: Crossing::Vxlan {
            vxlan: SocketAddr::new(address_of(id), 4789),
            vxlan_gpe: SocketAddr::new(address_of(id), 4790),
        },
        networks: networks.to_vec(),
        allowed_ips: (layer == Layer::L3)
            .then(|| prefixes.iter().map(|prefix| prefix.parse().unwrap()).collect()),
        allowed_macs: None,
        path_mtu: Some(1500),
    };
    NodeSettings {
        networks: vec![network("net", VNI), network("other", OTHER_VNI)],
        peers: vec![
            peer(A, &[NET, OTHER], &["10.9.0.2/32", "fd00:9::2/128", "192.168.20.0/24"]),
            peer(B, &[NET, OTHER], &["10.9.0.3/32", "fd00:9::3/128", "192.168.30.0/24"]),
            peer(C, &[NET], &["10.9.0.4/32", "192.168.30.0/24"]),
        ],
        copy_dscp: false,
        lanes: 4,
        own_endpoints: vec!["[::]:4789".parse().unwrap(), "[::]:4790".parse().unwrap()],
        hash_seed: 7,
    }
}

fn address_of(peer: PeerId) -> IpAddr {
    IpAddr::from([192, 0, 2, peer.slot() as u8 + 2])
}

/// The packet as its layer's format has it on the underlay.
fn datagram(vni: u32, packet: &Packet) -> Vec<u8> {
    let vni = Vni::new(vni).unwrap();
    let bytes = packet.bytes();
    let header = match (packet.layer(), bytes[0] >> 4) {
        (Layer::L2, _) => vxlan::encode(vni),
        (Layer::L3, 4) => vxlan::encode_gpe(vni, Next::Ipv4),
        (Layer::L3, _) => vxlan::encode_gpe(vni, Next::Ipv6),
    };
    [&header[..], &bytes].concat()
}

/// The packet from the host behind A to the one behind our device.
fn inward(packet: Packet) -> Packet {
    let packet = packet.src_mac(MAC_A).dst_mac(MAC_HERE);
    packet.src4(IP_A).dst4(IP_HERE).src6("fd00:9::2").dst6("fd00:9::1")
}

/// As a frame, if the bench is one of frames.
fn on(layer: Layer, packet: Packet) -> Packet {
    match layer {
        Layer::L2 => packet.tagged(&[]),
        Layer::L3 => packet,
    }
}

fn arp(sender_mac: [u8; 6], sender: [u8; 4], target: [u8; 4]) -> Vec<u8> {
    let mut frame = [BROADCAST, sender_mac].concat();
    frame.extend([0x08, 0x06, 0, 1, 0x08, 0, 6, 4, 0, 1]);
    frame.extend([&sender_mac[..], &sender, &[0; 6], &target].concat());
    frame
}

/// A frame or bytes of one, as a VXLAN datagram.
fn framed(vni: u32, frame: &[u8]) -> Vec<u8> {
    [&vxlan::encode(Vni::new(vni).unwrap())[..], frame].concat()
}

/// The inner packets of datagrams.
fn inner(sent: &[Sent]) -> Vec<Vec<u8>> {
    sent.iter().map(|sent| sent.bytes[vxlan::HEADER_LEN..].to_vec()).collect()
}

fn peers_of(sent: &[Sent]) -> Vec<PeerId> {
    sent.iter().map(|sent| sent.peer).collect()
}

/// The segments that a TCP packet with `len` bytes of payload is cut into, built one by one.
fn tcp_segments(packet: &Packet, len: usize, size: usize) -> Vec<Vec<u8>> {
    let payload = payload_of(packet, len);
    let count = len.div_ceil(size);
    let segment = |(i, part): (usize, &[u8])| {
        let flags = if i + 1 == count { tcp::flag::ACK | tcp::flag::PSH } else { tcp::flag::ACK };
        let packet = packet.clone().flags(flags).id(0x1234 + i as u16);
        packet.seq(0x1000_0000 + (i * size) as u32).payload_bytes(part.to_vec()).bytes()
    };
    payload.chunks(size).enumerate().map(segment).collect()
}

fn payload_of(packet: &Packet, len: usize) -> Vec<u8> {
    let packet = packet.clone().payload(len);
    packet.bytes()[packet.headers().payload_start()..].to_vec()
}

/// A TCP packet to be cut.
fn pushed(packet: &Packet, len: usize) -> Packet {
    packet.clone().flags(tcp::flag::ACK | tcp::flag::PSH).payload(len)
}

/// Parses, and asserts that IPv4 header and transport checksums are right.
#[track_caller]
fn parse_valid(bytes: &[u8], layer: Layer) -> Headers {
    let headers = Headers::parse(bytes, layer).unwrap();
    if let Net::V4(_) = headers.net {
        assert_eq!(naive_sum(&bytes[headers.l3_at()..headers.l4_at()]), 0xffff);
    }
    let check = checksum::verify_transport(bytes, &headers);
    assert!(matches!(check, Check::Valid | Check::Absent), "{check:?}");
    headers
}

/// Puts IPv4 fragments together: what is behind the IP header.
fn reassemble(fragments: &[Vec<u8>], layer: Layer) -> Vec<u8> {
    let mut whole = Vec::new();
    for (i, fragment) in fragments.iter().enumerate() {
        let headers = Headers::parse(fragment, layer).unwrap();
        let ip = &fragment[headers.l3_at()..headers.l4_at()];
        assert_eq!(naive_sum(ip), 0xffff);
        let word = u16::from_be_bytes([ip[6], ip[7]]);
        assert_eq!(usize::from(word & 0x1fff) * 8, whole.len());
        assert_eq!(word & 0x2000 != 0, i + 1 < fragments.len());
        whole.extend(&fragment[headers.l4_at()..headers.end_at()]);
    }
    whole
}
