//! What must hold of everything that a node gives.
//!
//! - Every piece lies where the batch put bytes, or in the header area.
//! - The kernel takes every write. Cut again as the kernel would, a merged write gives exactly the
//!   packets that arrived, and each of them had a right checksum; what was not merged is as it came.
//! - Every transmit is one that UDP_SEGMENT takes; every datagram has its network's header, fits
//!   the path, and holds a packet of the batch, whole or a right segment of it.
//! - What a kernel peer left unfinished is finished, or marked as unfinished; but for one packet that
//!   a peer's finished ones have made doubtful.
//! - The counters account for every packet.

use std::collections::{HashMap, HashSet};
use std::ops::RangeInclusive;

use tunctl::buffer::{Memory, Piece};
use tunctl::frame::Layer;
use tunctl::node::Node;
use tunctl::offload::DeviceWrite;
use tunctl::peer::NetworkId;
use tunctl::transport::Transmit;

use super::arrival;
use super::held::{Held, Inner, Origin, VXLAN_LEN, locate};
use super::reference::{self, Checksum, Parsed, TCP, Vnet, be16, be32};
use super::totals::Totals;
use super::world::{LAYERS, OWN, OWN_BROADCAST, VNIS};

/// Datagrams and bytes in one send (UDP_MAX_SEGMENTS before 6.9; IPv4).
const RUN_MAX: u16 = 64;
const RUN_BYTES_MAX: u32 = 65_507;
/// UIO_MAXIOV, less the vnet_hdr.
const PIECES_MAX: usize = 1023;
/// The largest IP packet; a device takes a link header in front of it.
const IP_LEN_MAX: usize = 65_535;
/// The largest that IPv4 has no length for.
const BIG_LEN_MAX: usize = 256 * 1024;
/// `VIRTIO_NET_HDR_GSO_TCPV4`, `include/uapi/linux/virtio_net.h`.
const GSO_TCPV4: u8 = 1;
/// The push flag of TCP (RFC 9293 section 3.1).
const PSH: u8 = 8;

/// Our own device among those that get segments.
const DEVICE: usize = usize::MAX;

/// What a batch gave so far.
#[derive(Default)]
pub struct Seen {
    /// Packets in writes, without the node's own answers.
    written: u64,
    /// Datagrams in transmits.
    sent: u64,
    /// Slot and offset of the last data packet written of each flow.
    order: HashMap<Vec<u8>, (usize, usize)>,
    /// Payload bytes in segments: by peer or device, slot and inner packet.
    cut: HashMap<(usize, usize, usize), usize>,
    /// Slot and offset of the unfinished packets that went on as they came.
    doubted: HashSet<(usize, usize)>,
}

impl Seen {
    /// Takes note of datagrams that were sent or, wrapped around, taken back outside of the flush.
    pub fn add_sent(&mut self, datagrams: u64) {
        self.sent = self.sent.wrapping_add(datagrams);
    }

    /// Each sender's first unfinished packet may be doubted, and speaks for the next.
    pub fn check_doubted(&self, senders: usize) {
        assert!(self.doubted.len() <= senders, "{:?} of {senders} senders", self.doubted);
    }

    /// What was cut went out whole, to each peer that got any of it.
    pub fn check_complete(&self, held: &[Held]) {
        for (&(peer, slot, start), &sent) in &self.cut {
            let held = &held[slot];
            let inner = held.inner_at(start).expect("was found before");
            let packet = &held.original[inner.range.clone()];
            let at = reference::parse(packet, held.is_frame(), true).expect("was parsed before");
            assert_eq!(sent, at.end - at.payload, "payload of slot {slot} to {peer}");
        }
    }
}

impl Held {
    fn is_frame(&self) -> bool {
        self.network.is_some_and(|id| LAYERS[id.index()] == Layer::L2)
    }
}

/// After one receive buffer: each of its packets ended somewhere.
pub fn check_received(change: &Totals, held: &Held, is_relay: bool) {
    let ended = change.drops + change.to_device + change.sent;
    let least = change.received.max(held.inner.len() as u64).max(1);
    assert!(ended >= least, "{least} packets arrived, {ended} ended somewhere: {change:?}");
    if !is_relay && held.network.is_some() {
        assert_eq!(change.sent, 0, "sent without relay");
        if change.to_device + change.received > 0 && held.inner.len() > 1 {
            assert_eq!(ended, least, "packets ended more than once: {change:?}");
        }
    }
}

/// After one packet from a device: it was sent, or counted as dropped.
pub fn check_device(change: &Totals) {
    let ended = change.drops + change.sent;
    let least = change.from_device.max(1);
    assert!(ended >= least, "{least} packets were read, {ended} ended somewhere: {change:?}");
}

/// After a batch: what was counted as written and sent is what there was to write and send.
pub fn check_counters(change: &Totals, seen: &Seen) {
    assert_eq!(change.to_device, seen.written, "packets counted and written");
    assert_eq!(change.sent, seen.sent, "datagrams counted and sent");
}

/// What the checks of one flush look at.
pub struct View<'a> {
    pub node: &'a Node,
    pub memory: &'a Memory,
    pub held: &'a [Held],
}

/// Whether the length is left out: TCP over IPv4 that is cut by whoever takes it.
fn is_big(vnet: Vnet, packet: &[u8]) -> bool {
    vnet.gso_type & 0x7f == GSO_TCPV4 && packet[2..4] == [0, 0]
}

impl View<'_> {
    /// Checks one write to a device.
    pub fn check_write(&self, write: &DeviceWrite, pieces: &[Piece], seen: &mut Seen) {
        let pieces = &pieces[write.pieces.start as usize..write.pieces.end as usize];
        let bytes = self.gather(pieces);
        assert_eq!(bytes.len(), write.len as usize, "length of a write");
        assert!(!pieces.is_empty() && pieces.len() <= PIECES_MAX, "{} pieces", pieces.len());
        assert!(write.packets > 0);
        let is_frame = LAYERS[write.network.index()] == Layer::L2;
        let l3 =
            if is_frame { reference::network_start(&bytes).map_or(0, |(at, _)| at) } else { 0 };
        let vnet = Vnet::from_bytes(write.vnet.to_bytes());
        let len_max = if is_big(vnet, &bytes[l3..]) { BIG_LEN_MAX } else { IP_LEN_MAX };
        assert!(bytes.len() - l3 <= len_max, "{} bytes behind {l3}", bytes.len() - l3);
        let refusal = reference::kernel_refuses(vnet, &bytes, is_frame);
        assert_eq!(refusal, None, "{vnet:?} of {} bytes", bytes.len());
        let origins: Vec<_> =
            pieces.iter().map(|piece| locate(*piece, self.memory, self.held)).collect();
        let Origin::Slot(slot, offset) = origins[0] else {
            assert!(vnet.gso_size == 0 && !vnet.needs_csum, "headers of our own are finished");
            if let [_, Origin::Slot(slot, offset)] = origins[..] {
                self.check_network(slot, write.network);
                self.check_cut_for_device(&bytes, slot, offset, seen);
            } else {
                assert_eq!(origins.len(), 1, "an answer");
            }
            return;
        };
        seen.written += u64::from(write.packets);
        self.check_network(slot, write.network);
        assert!(!self.held[slot].is_from_device, "from a device to a device");
        if pieces.len() > 1 {
            self.check_merged(write, vnet, &bytes, pieces, seen);
        } else if vnet.gso_size > 0 {
            self.check_super(vnet, &bytes, slot, offset);
        } else {
            self.check_single(vnet, &bytes, slot, offset, seen);
        }
    }

    fn gather(&self, pieces: &[Piece]) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(pieces.iter().map(|piece| piece.len as usize).sum());
        for piece in pieces {
            bytes.extend_from_slice(self.memory.bytes(*piece));
        }
        bytes
    }

    /// Output of a network comes from what arrived for this network.
    fn check_network(&self, slot: usize, network: NetworkId) {
        assert_eq!(self.held[slot].network, Some(network), "from slot {slot} to another network");
    }

    fn original(&self, slot: usize, offset: usize) -> (&[u8], &Inner) {
        let held = &self.held[slot];
        let inner = held.inner_at(offset);
        let inner = inner.unwrap_or_else(|| panic!("offset {offset} of slot {slot} is no packet"));
        (&held.original[inner.range.clone()], inner)
    }

    fn check_single(&self, vnet: Vnet, bytes: &[u8], slot: usize, offset: usize, seen: &mut Seen) {
        let is_frame = self.held[slot].is_frame();
        let (original, inner) = self.original(slot, offset);
        let is_shared = !is_frame && is_to_group(original);
        assert_eq!(inner.range.start, offset, "a packet is written from its first byte on");
        check_unchanged(original, inner, bytes, is_frame, 0..=u8::from(is_shared));
        let Some(at) = reference::parse(bytes, is_frame, false) else { return };
        let checksum = reference::transport_checksum(bytes, &at);
        let was = reference::transport_checksum(original, &at);
        if was == Checksum::Right || was == Checksum::Partial {
            assert!(
                matches!(checksum, Checksum::Right | Checksum::Partial),
                "a checksum was spoilt"
            );
        }
        if vnet.needs_csum {
            assert!(reference::is_partial(bytes, &at), "checksum of a packet to be finished");
            assert_eq!((vnet.csum_start, vnet.hdr_len), (at.l4, at.payload));
        } else if checksum == Checksum::Partial {
            seen.doubted.insert((slot, offset));
        }
        let is_pure_ack = at.protocol == TCP && at.payload == at.end;
        if !is_pure_ack {
            self.check_order(bytes, &at, (slot, offset), (slot, offset), seen);
        }
    }

    /// A segment of a kernel peer's GSO packet, for a device that takes none.
    fn check_cut_for_device(&self, bytes: &[u8], slot: usize, offset: usize, seen: &mut Seen) {
        let is_frame = self.held[slot].is_frame();
        let (original, inner) = self.original(slot, offset);
        let at = reference::parse(bytes, is_frame, false).expect("headers of a segment");
        let was = reference::parse(original, is_frame, true).expect("headers of a GSO packet");
        check_segment(original, &was, bytes, &at, offset - inner.range.start);
        seen.written += 1;
        *seen.cut.entry((DEVICE, slot, inner.range.start)).or_default() += at.end - at.payload;
        self.check_order(bytes, &at, (slot, offset), (slot, offset), seen);
    }

    /// A kernel peer's GSO packet, written as one.
    fn check_super(&self, vnet: Vnet, bytes: &[u8], slot: usize, offset: usize) {
        let is_frame = self.held[slot].is_frame();
        let (original, inner) = self.original(slot, offset);
        let is_shared = !is_frame && is_to_group(original);
        assert_eq!(inner.gso, Some(vnet.gso_size), "a GSO packet that arrived as one");
        check_unchanged(original, inner, bytes, is_frame, 0..=u8::from(is_shared));
        let Some(at) = reference::parse(bytes, is_frame, true) else { return };
        assert_eq!((vnet.csum_start, vnet.hdr_len), (at.l4, at.payload));
    }

    fn check_merged(
        &self,
        write: &DeviceWrite,
        vnet: Vnet,
        bytes: &[u8],
        pieces: &[Piece],
        seen: &mut Seen,
    ) {
        let is_frame = LAYERS[write.network.index()] == Layer::L2;
        let l3 = reference::network_start(bytes).map_or(0, |(at, _)| at);
        let is_big = is_big(vnet, &bytes[if is_frame { l3 } else { 0 }..]);
        let at = reference::parse(bytes, is_frame, is_big).expect("headers of a merged packet");
        assert_eq!(at.end, bytes.len(), "IP length of a merged packet");
        assert_eq!((vnet.csum_start, vnet.hdr_len), (at.l4, at.payload));
        assert!(reference::is_partial(bytes, &at), "checksum of a merged packet");
        assert!(reference::is_ip_header_valid(bytes, &at), "IP header of a merged packet");
        let segments = reference::segments(bytes, &at, vnet.gso_size);
        assert_eq!(segments.len() as u32, write.packets, "segments of a merged packet");
        let first_id = (!at.is_v6).then(|| be16(bytes, at.l3 + 4));
        let mut last = None;
        for (index, segment) in segments.iter().enumerate() {
            let start = address_of(pieces, segment.payload.start);
            let len = segment.payload.len() as u32;
            let Origin::Slot(slot, offset) = locate(Piece { start, len }, self.memory, self.held)
            else {
                panic!("payload in the header area");
            };
            self.check_network(slot, write.network);
            let (original, inner) = self.original(slot, offset);
            assert_eq!(offset - inner.range.start, at.payload, "payload behind its own headers");
            assert_eq!(original.len(), at.payload + segment.payload.len());
            let was = reference::parse(original, is_frame, false).expect("a packet that merged");
            assert_eq!((was.l3, was.l4, was.payload), (at.l3, at.l4, at.payload));
            assert_eq!(original[was.payload..], bytes[segment.payload.clone()]);
            assert_eq!(reference::transport_checksum(original, &was), Checksum::Right);
            assert!(reference::is_ip_header_valid(original, &was), "a wrong IP header was merged");
            check_same_flow(original, bytes, &at);
            if at.protocol == TCP {
                assert_eq!(be32(original, at.l4 + 4), segment.sequence, "sequence number");
                // A push in the middle means nothing to the host itself.
                let network = self.node.network(write.network).expect("a network");
                let hidden = if network.merges_big_tcp() && !at.is_v6 { PSH } else { 0 };
                let flags = original[at.l4 + 13] & !hidden;
                assert_eq!(flags, segment.flags & !hidden, "flags of segment {index}");
            }
            if let Some(id) = first_id
                && original[at.l3 + 6] & 0x40 == 0
            {
                assert_eq!(be16(original, at.l3 + 4), id.wrapping_add(index as u16));
            }
            let place = (slot, inner.range.start);
            assert!(last.is_none_or(|last| last < place), "segments are in order of arrival");
            last = Some(place);
        }
        let first = locate(pieces[0], self.memory, self.held);
        if let (Origin::Slot(slot, offset), Some(last)) = (first, last) {
            self.check_order(bytes, &at, (slot, offset), last, seen);
        }
    }

    /// Data of one flow is written in the order in which it arrived.
    fn check_order(
        &self,
        bytes: &[u8],
        at: &Parsed,
        first: (usize, usize),
        last: (usize, usize),
        seen: &mut Seen,
    ) {
        let addresses = if at.is_v6 { at.l3 + 8..at.l3 + 40 } else { at.l3 + 12..at.l3 + 20 };
        let mut flow = bytes[addresses].to_vec();
        flow.extend(&bytes[at.l4..at.l4 + 4]);
        flow.push(at.protocol);
        let network = self.held[first.0].network.map(|network| network.0);
        flow.extend(network.unwrap_or(u16::MAX).to_be_bytes());
        if let Some(before) = seen.order.insert(flow, last) {
            assert!(before < first, "{first:?} of a flow is written behind {before:?}");
        }
    }

    /// Checks one transmit and its datagrams.
    pub fn check_transmit(&self, transmit: &Transmit, pieces: &[Piece], seen: &mut Seen) {
        self.check_shape(transmit, pieces);
        let mut pieces =
            pieces[transmit.pieces.start as usize..transmit.pieces.end as usize].iter();
        let mut rest = Piece::default();
        let mut left = transmit.len as usize;
        while left > 0 {
            let size = usize::from(transmit.datagram_len).min(left);
            left -= size;
            let mut own = Vec::new();
            let mut missing = size;
            while missing > 0 {
                if rest.len == 0 {
                    rest = *pieces.next().expect("pieces of a datagram");
                }
                let len = missing.min(rest.len as usize);
                own.push(rest.part(0, len));
                rest = rest.skip(len);
                missing -= len;
            }
            assert!(
                own.len() == 1 || rest.len == 0,
                "a datagram of pieces ends where a piece does"
            );
            let datagram = self.gather(&own);
            self.check_datagram(transmit, &own, &datagram, seen);
        }
    }

    /// Checks what the kernel checks, and the addresses.
    pub fn check_shape(&self, transmit: &Transmit, pieces: &[Piece]) {
        let pieces = &pieces[transmit.pieces.start as usize..transmit.pieces.end as usize];
        let (size, count) = (u32::from(transmit.datagram_len), u32::from(transmit.count));
        let bytes = self.gather(pieces);
        assert_eq!(bytes.len(), transmit.len as usize, "length of a transmit");
        assert!(pieces.len() <= PIECES_MAX, "{} pieces", pieces.len());
        assert!((1..=RUN_MAX).contains(&transmit.count), "{count} datagrams");
        assert!(size > VXLAN_LEN as u32 && transmit.len <= RUN_BYTES_MAX, "{} bytes", transmit.len);
        assert_eq!(transmit.len.div_ceil(size), count, "equal datagrams, the last may be shorter");
        let peer = self.node.peer(transmit.peer).expect("a peer");
        let layer = LAYERS[transmit.network.index()];
        assert_eq!(Some(transmit.to), peer.endpoint(layer));
        assert!(transmit.from.is_none_or(|from| from == OWN));
        assert!(peer.networks.contains(&transmit.network), "peer is not in the network");
        for datagram in bytes.chunks(size as usize) {
            let vni = VNIS[transmit.network.index()];
            let is_v6 = layer == Layer::L3 && datagram.get(8).is_some_and(|byte| byte >> 4 == 6);
            let header = arrival::header(transmit.network, vni, is_v6);
            assert_eq!(datagram[..VXLAN_LEN], header, "VXLAN header");
        }
    }

    fn check_datagram(&self, transmit: &Transmit, pieces: &[Piece], bytes: &[u8], seen: &mut Seen) {
        let wire = &bytes[VXLAN_LEN..];
        let is_frame = LAYERS[transmit.network.index()] == Layer::L2;
        seen.sent = seen.sent.wrapping_add(1);
        let last = pieces[pieces.len() - 1];
        let Origin::Slot(slot, offset) = locate(last, self.memory, self.held) else {
            assert!(wire.len() <= 1280 + 14 + 32, "an answer, or a segment without payload");
            return;
        };
        let held = &self.held[slot];
        self.check_network(slot, transmit.network);
        self.check_fits(transmit, wire, is_frame);
        let (first, len) = (held.piece.start as usize, held.original.len());
        let is_whole = last.start as usize + VXLAN_LEN == first && wire.len() == len;
        if held.is_from_device && pieces.len() == 1 && !is_whole {
            let behind =
                (first + len).checked_sub(last.start as usize).expect("begins in its slot");
            self.check_laid_out(transmit, slot, behind, wire, seen);
            return;
        }
        // In place, the VXLAN header stands where it arrived, or in the headroom.
        let whole_from = offset + if held.is_from_device { 0 } else { VXLAN_LEN };
        let start = if pieces.len() == 1 { whole_from } else { offset };
        let (original, inner) = self.original(slot, start.min(held.original.len() - 1));
        let hops = u8::from(!is_frame && !held.is_from_device);
        if pieces.len() == 1 {
            assert_eq!(start, inner.range.start, "a packet is sent from its first byte on");
            check_unchanged(original, inner, wire, is_frame, hops..=hops);
            if is_left_unfinished(original, wire, is_frame, inner) {
                assert!(!held.is_from_device, "what a device's packet says is believed");
                seen.doubted.insert((slot, start));
            }
            return;
        }
        let payload_at = start - inner.range.start;
        let Some(was) = reference::parse(original, is_frame, true) else { return };
        // A fragment's payload begins behind the IP header, a segment's behind the transport's.
        let whole = reference::parse(wire, is_frame, false);
        if let Some(at) = whole.filter(|_| payload_at >= was.payload) {
            check_segment(original, &was, wire, &at, payload_at);
            let key = (transmit.peer.slot(), slot, inner.range.start);
            *seen.cut.entry(key).or_default() += at.end - at.payload;
        } else {
            check_fragment(original, wire, is_frame, payload_at);
        }
    }

    /// A segment that lies in its packet's place, `behind` bytes in front of the end of that: there
    /// are as many headers in these as segments, and the rest is payload.
    fn check_laid_out(
        &self,
        transmit: &Transmit,
        slot: usize,
        behind: usize,
        wire: &[u8],
        seen: &mut Seen,
    ) {
        let (original, inner) = self.original(slot, 0);
        assert!(inner.gso.is_some(), "only GSO packets are laid out as segments");
        let is_frame = LAYERS[transmit.network.index()] == Layer::L2;
        let was = reference::parse(original, is_frame, true).expect("a GSO packet");
        let behind = behind - (original.len() - was.end);
        // The last one may be shorter than those in front of it.
        let segments = behind.div_ceil(VXLAN_LEN + wire.len());
        let payload_at = was.end - (behind - segments * (VXLAN_LEN + was.payload));
        let at = reference::parse(wire, is_frame, false).expect("a segment");
        check_segment(original, &was, wire, &at, payload_at);
        let key = (transmit.peer.slot(), slot, 0);
        *seen.cut.entry(key).or_default() += at.end - at.payload;
    }

    fn check_fits(&self, transmit: &Transmit, wire: &[u8], is_frame: bool) {
        let network = self.node.network(transmit.network).expect("a network");
        let l3 = if is_frame { reference::network_start(wire).map_or(14, |(at, _)| at) } else { 0 };
        let most = l3 + usize::from(network.mtu);
        assert!(wire.len() <= most, "{} bytes in a network for {most}", wire.len());
        let Some(path) = self.node.peer(transmit.peer).and_then(|peer| peer.path_mtu) else {
            return;
        };
        let outer = if transmit.to.is_ipv6() { 56 } else { 36 };
        assert!(wire.len() + outer <= path.into(), "{} bytes on a path of {path}", wire.len());
    }
}

/// The address of the byte `at` bytes into what the pieces hold together.
fn address_of(pieces: &[Piece], mut at: usize) -> u32 {
    for piece in pieces {
        if at < piece.len as usize {
            return piece.start + at as u32;
        }
        at -= piece.len as usize;
    }
    panic!("behind the last piece");
}

/// Whether an IP packet is for a group: a relay takes it in as it passes it on, a hop less.
fn is_to_group(packet: &[u8]) -> bool {
    match packet[0] >> 4 {
        6 => packet[24] == 0xff,
        _ => {
            let destination = &packet[16..20];
            destination[0] >> 4 == 14 || [[0xff; 4], OWN_BROADCAST].iter().any(|g| g == destination)
        }
    }
}

/// A packet that was neither cut nor merged is as it came, but for congestion marks, the hop
/// limit at a relay, the MSS of a SYN and a checksum that was to be finished.
fn check_unchanged(
    original: &[u8],
    inner: &Inner,
    bytes: &[u8],
    is_frame: bool,
    hops: RangeInclusive<u8>,
) {
    assert_eq!(original.len(), bytes.len(), "length of a packet that was not cut");
    let l3 = match is_frame {
        true => reference::network_start(original).map_or(original.len(), |(at, _)| at),
        false => 0,
    };
    let (mut was, mut is) = (original.to_vec(), bytes.to_vec());
    let kind = if l3 >= 2 { be16(original, l3 - 2) } else { 0 };
    let version = original.get(l3).map_or(0, |byte| byte >> 4);
    match version {
        4 if !is_frame || kind == 0x0800 => {
            assert!(hops.contains(&was[l3 + 8].wrapping_sub(is[l3 + 8])), "hop limit");
            for at in [1, 8, 10, 11] {
                (was[l3 + at], is[l3 + at]) = (0, 0);
            }
        }
        6 if !is_frame || kind == 0x86dd => {
            assert!(hops.contains(&was[l3 + 7].wrapping_sub(is[l3 + 7])), "hop limit");
            for at in [0, 1, 7] {
                (was[l3 + at], is[l3 + at]) = (0, 0);
            }
        }
        _ => {}
    }
    if let Some(field) = inner.unfinished.filter(|field| field + 2 <= was.len()) {
        was[field..field + 2].fill(0);
        is[field..field + 2].fill(0);
    }
    let tcp = reference::parse(original, is_frame, true).filter(|at| at.protocol == TCP);
    if let Some(at) = tcp.filter(|at| original[at.l4 + 13] & 2 != 0) {
        for range in [at.l4 + 16..at.l4 + 18, at.l4 + 20..at.payload] {
            was[range.clone()].fill(0);
            is[range].fill(0);
        }
    }
    assert_eq!(was, is, "a packet changed on its way");
}

/// The checksum of a packet sent as it is: finished if it was to be, otherwise as right as before.
/// Tells whether one that was to be finished is as it came.
fn is_left_unfinished(original: &[u8], wire: &[u8], is_frame: bool, inner: &Inner) -> bool {
    let Some(at) = reference::parse(original, is_frame, false) else { return false };
    let was = reference::transport_checksum(original, &at);
    let is = reference::transport_checksum(wire, &at);
    match was {
        Checksum::Right => assert_eq!(is, Checksum::Right, "a right checksum was spoilt"),
        Checksum::Partial if inner.unfinished == Some(reference::checksum_at(&at)) => {
            assert!(matches!(is, Checksum::Right | Checksum::Partial), "not finished");
        }
        Checksum::Wrong => assert_ne!(is, Checksum::Right, "a wrong checksum was made right"),
        Checksum::Zero | Checksum::Partial => {}
    }
    if reference::is_ip_header_valid(original, &at) {
        assert!(reference::is_ip_header_valid(wire, &at), "IP header of a packet sent as it is");
    }
    is == Checksum::Partial && inner.unfinished == Some(reference::checksum_at(&at))
}

/// Two packets of one flow: the same addresses, ports, options.
fn check_same_flow(one: &[u8], other: &[u8], at: &Parsed) {
    let same = |from: usize, to: usize| one[from..to] == other[from..to];
    let link = same(0, at.l3);
    let ip = if at.is_v6 {
        same(at.l3 + 6, at.l4)
    } else {
        same(at.l3, at.l3 + 1) && same(at.l3 + 6, at.l3 + 10) && same(at.l3 + 12, at.l4)
    };
    let l4 = same(at.l4, at.l4 + 4);
    let tcp = at.protocol != TCP || (same(at.l4 + 8, at.l4 + 13) && same(at.l4 + 18, at.payload));
    assert!(link && ip && l4 && tcp, "packets with different headers became one");
}

/// A segment that was cut out of a GSO packet.
fn check_segment(original: &[u8], was: &Parsed, wire: &[u8], at: &Parsed, payload_at: usize) {
    assert_eq!((was.l3, was.l4, was.payload), (at.l3, at.l4, at.payload), "headers of a segment");
    assert_eq!(at.end, wire.len(), "IP length of a segment");
    assert!(reference::is_ip_header_valid(wire, at), "IP header of a segment");
    assert_eq!(reference::transport_checksum(wire, at), Checksum::Right, "of a segment");
    let payload = at.end - at.payload;
    assert_eq!(
        wire[at.payload..],
        original[payload_at..payload_at + payload],
        "payload of a segment at {payload_at}: {at:?} of {was:?}"
    );
    let is_first = payload_at == was.payload;
    let is_last = payload_at + payload == was.end;
    if at.protocol == TCP {
        let advance = (payload_at - was.payload) as u32;
        let sequence = be32(original, was.l4 + 4).wrapping_add(advance);
        assert_eq!(be32(wire, at.l4 + 4), sequence, "sequence number of a segment");
        let cleared = if is_last { 0 } else { 0x09 } | if is_first { 0 } else { 0x80 };
        assert_eq!(wire[at.l4 + 13], original[was.l4 + 13] & !cleared, "flags of a segment");
    }
    assert_eq!(wire[..at.l3], original[..was.l3], "link header of a segment");
    assert_eq!(wire[at.l4..at.l4 + 4], original[was.l4..was.l4 + 4], "ports of a segment");
}

/// A fragment of an IPv4 packet.
fn check_fragment(original: &[u8], wire: &[u8], is_frame: bool, payload_at: usize) {
    let l3 = if is_frame { reference::network_start(wire).map_or(0, |(at, _)| at) } else { 0 };
    assert_eq!(wire[l3] >> 4, 4, "only IPv4 is fragmented");
    let header_len = usize::from(wire[l3] & 15) * 4;
    let sum = reference::fold(reference::sum(&wire[l3..l3 + header_len], 0));
    assert_eq!(sum, 0xffff, "IP header of a fragment");
    assert_eq!(usize::from(be16(wire, l3 + 2)), wire.len() - l3, "length of a fragment");
    assert_eq!(original[l3 + 6] & 0x40, 0, "a packet with DF was fragmented");
    let original_header = usize::from(original[l3] & 15) * 4;
    let shift =
        usize::from(be16(wire, l3 + 6) & 0x1fff) - usize::from(be16(original, l3 + 6) & 0x1fff);
    assert_eq!(payload_at, l3 + original_header + shift * 8, "offset of a fragment");
}
