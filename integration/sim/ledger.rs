//! Everything that hosts sent, and what became of it.

use std::collections::{BTreeMap, HashMap};
use std::ops::Range;

use tunctl::frame::Layer;

use super::coverage::Coverage;
use super::packet::{ICMP4, ICMP6, TCP, TYPE_ARP, TYPE_IPV4};
use super::plan::{HostIndex, NetIndex, NodeIndex};
use super::view::{View, be16, be32};

/// Stands in front of the number of a packet in its payload.
pub const MAGIC: u16 = 0x7ac7;
pub const TAG_LEN: usize = 6;

/// Who should get a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    Host(HostIndex),
    /// Broadcast or multicast.
    Everyone,
    /// An address that nobody has: it may be flooded, or dropped.
    Unknown,
    /// It must not be carried at all.
    Nobody,
}

/// Something that a host sent: one packet, or one TCP GSO packet.
#[derive(Clone, Debug)]
pub struct Sent {
    pub net: NetIndex,
    pub from: HostIndex,
    /// The node that the host was behind.
    pub origin: NodeIndex,
    pub to: Target,
    /// From a TAP device, with a link header.
    pub is_frame: bool,
    pub flow: u32,
    /// Its place in the flow, where the flow has an order.
    pub order: Option<u32>,
    /// As one packet: complete, whatever was left to the device's offloads.
    pub bytes: Vec<u8>,
    /// What is delivered in parts: TCP payload, else what IP carries, else the frame.
    pub content: Range<usize>,
    /// TCP data: where its content begins in the stream.
    pub stream: Option<u32>,
    /// A GSO packet: what arrives has other headers.
    pub is_gso: bool,
    /// Why it need not arrive everywhere.
    pub excuse: Option<String>,
    pub transmitted: Coverage,
    /// Copies that the wire made.
    pub copies: Coverage,
    pub delivered: BTreeMap<NodeIndex, Coverage>,
}

/// A part of what was sent: its number, and a range of its content.
pub type Part = (usize, Range<usize>);

/// What a packet is, as far as the ledger knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Identity {
    Content(Vec<Part>),
    /// A fragment of a TCP segment: which bytes of the stream it has cannot be told.
    TcpFragment(usize),
    /// An ICMP error about something sent.
    Answer(usize),
    Unknown,
}

impl Identity {
    pub fn parts(&self) -> &[Part] {
        match self {
            Self::Content(parts) => parts,
            Self::TcpFragment(_) | Self::Answer(_) | Self::Unknown => &[],
        }
    }

    /// Bytes of content that it covers.
    pub fn len(&self) -> usize {
        self.parts().iter().map(|(_, range)| range.len()).sum()
    }

    /// The number of what it is, is of, or is about.
    pub fn number(&self) -> Option<usize> {
        match self {
            Self::Content(parts) => parts.first().map(|part| part.0),
            Self::TcpFragment(number) | Self::Answer(number) => Some(*number),
            Self::Unknown => None,
        }
    }
}

#[derive(Debug, Default)]
struct Stream {
    base: u32,
    len: u32,
    /// Where each part begins, and its number.
    parts: Vec<(u32, usize)>,
}

/// The record of a run.
#[derive(Debug, Default)]
pub struct Ledger {
    pub sents: Vec<Sent>,
    by_ip_id: HashMap<u32, usize>,
    next_ip_id: u32,
    streams: HashMap<(u16, u16), Stream>,
    /// What the wire made of packets, by fingerprint, and what they were.
    corrupted: HashMap<u64, (Vec<u8>, Identity)>,
}

impl Ledger {
    /// The number that the next packet will have.
    pub fn next(&self) -> usize {
        self.sents.len()
    }

    /// Whether another packet can be told apart by its IPv4 identification.
    pub fn has_room(&self) -> bool {
        self.next_ip_id < 0xf000
    }

    /// Takes a run of IP identifications, all for the packet `number`.
    pub fn take_ip_ids(&mut self, number: usize, count: usize) -> u32 {
        let first = self.next_ip_id + 1;
        self.next_ip_id += count as u32;
        self.by_ip_id.extend((first..=self.next_ip_id).map(|id| (id, number)));
        first
    }

    /// Begins a TCP stream with its first sequence number.
    pub fn open_stream(&mut self, ports: (u16, u16), base: u32) {
        self.streams.insert(ports, Stream { base, ..Stream::default() });
    }

    /// Records a packet.
    pub fn add(&mut self, sent: Sent, ports: (u16, u16)) -> usize {
        let number = self.sents.len();
        if let (Some(at), Some(stream)) = (sent.stream, self.streams.get_mut(&ports)) {
            stream.parts.push((at, number));
            stream.len = at + sent.content.len() as u32;
        }
        self.sents.push(sent);
        number
    }

    /// Records that the wire changed a packet into this.
    pub fn add_corrupted(&mut self, view: &View<'_>, was: Identity) {
        self.corrupted.insert(fingerprint(view), (view.bytes.to_vec(), was));
    }

    /// What a packet was before the wire changed it, and what the wire made of it.
    pub fn corrupted(&self, view: &View<'_>) -> Option<&(Vec<u8>, Identity)> {
        if self.corrupted.is_empty() { None } else { self.corrupted.get(&fingerprint(view)) }
    }

    /// Whether this is what a relay made of a corrupted packet, by putting it into fragments.
    pub fn is_corrupted_piece(&self, view: &View<'_>, (number, range): &Part) -> bool {
        let layer = self.sents[*number].layer();
        self.corrupted.values().any(|(bytes, was)| {
            let [(whole, covers)] = was.parts() else { return false };
            if whole != number || covers.start > range.start || covers.end < range.end {
                return false;
            }
            let at = range.start - covers.start..range.end - covers.start;
            View::new(bytes, layer).payload().get(at) == Some(view.payload())
        })
    }

    pub fn excuse(&mut self, identity: &Identity, why: &str) {
        let numbers = match identity {
            Identity::Content(parts) => parts.iter().map(|part| part.0).collect(),
            Identity::TcpFragment(number) => vec![*number],
            Identity::Answer(_) | Identity::Unknown => Vec::new(),
        };
        for number in numbers {
            self.sents[number].excuse.get_or_insert_with(|| why.to_owned());
        }
    }

    /// Finds out what a packet is: by what the wire did to it, else by what it says.
    pub fn identify(&self, view: &View<'_>) -> Identity {
        match self.corrupted(view) {
            Some((_, identity)) => identity.clone(),
            None => self.read(view),
        }
    }

    fn read(&self, view: &View<'_>) -> Identity {
        let payload = view.payload();
        let Some(ip) = view.ip else {
            let at = if view.ethertype == TYPE_ARP { 28 } else { 0 };
            return self.tagged(payload.get(at..).unwrap_or(&[]), 0..view.bytes.len());
        };
        if let Some((offset, _)) = ip.part {
            return match self.by_ip_id.get(&ip.id) {
                Some(&number) if ip.protocol == TCP => Identity::TcpFragment(number),
                Some(&number) => Identity::Content(vec![(number, offset..offset + payload.len())]),
                None => Identity::Unknown,
            };
        }
        let whole = 0..payload.len();
        match ip.protocol {
            TCP => self.tcp(view),
            ICMP4 if payload.first() == Some(&3) => self.answer(payload),
            ICMP6 if payload.first() == Some(&2) => self.answer(payload),
            ICMP4 | ICMP6 | super::packet::UDP => {
                self.tagged(payload.get(8..).unwrap_or(&[]), whole)
            }
            _ => self.tagged(payload, whole),
        }
    }

    fn tagged(&self, bytes: &[u8], range: Range<usize>) -> Identity {
        let Some(tag) = bytes.get(..TAG_LEN) else { return Identity::Unknown };
        let number = be32(tag, 2) as usize;
        if be16(tag, 0) != MAGIC || number >= self.sents.len() {
            return Identity::Unknown;
        }
        Identity::Content(vec![(number, range)])
    }

    fn tcp(&self, view: &View<'_>) -> Identity {
        let (Some(ip), Some(tcp)) = (view.ip, view.tcp()) else { return Identity::Unknown };
        let Some(stream) = self.streams.get(&tcp.ports) else { return Identity::Unknown };
        let len = ip.end - tcp.start;
        if len == 0 {
            // A segment without payload has its number as acknowledgement.
            let number = tcp.ack as usize;
            return match self.sents.get(number) {
                Some(_) => Identity::Content(vec![(number, 0..ip.end - ip.start)]),
                None => Identity::Unknown,
            };
        }
        let start = tcp.seq.wrapping_sub(stream.base);
        let Some(end) = start.checked_add(len as u32).filter(|end| *end <= stream.len) else {
            return Identity::Unknown;
        };
        let first = stream.parts.partition_point(|(at, _)| *at <= start).saturating_sub(1);
        let parts =
            stream.parts[first..].iter().take_while(|(at, _)| *at < end).map(|&(at, sent)| {
                let len = self.sents[sent].content.len();
                let from = start.saturating_sub(at) as usize;
                (sent, from..((end - at) as usize).min(len))
            });
        Identity::Content(parts.collect())
    }

    fn answer(&self, payload: &[u8]) -> Identity {
        let quote = View::quoted(payload.get(8..).unwrap_or(&[]));
        let read = || match self.read(&quote) {
            Identity::Answer(_) => None,
            other => other.number(),
        };
        // What is cut off the quote may be the tag.
        let by_id = || self.by_ip_id.get(&quote.ip.filter(|_| quote.ethertype == TYPE_IPV4)?.id);
        // What a corrupted packet says of itself may be wrong.
        let number = self.corrupted_quote(quote.bytes).or_else(read);
        match number.or_else(|| by_id().copied()) {
            Some(number) => Identity::Answer(number),
            None => Identity::Unknown,
        }
    }

    /// A node may answer a corrupted packet: nobody verifies checksums on the way.
    fn corrupted_quote(&self, quote: &[u8]) -> Option<usize> {
        // From the addresses on, or near: what is in front may change on the way.
        let quote = quote.get(12..)?;
        let is_quoted = |(bytes, was): &&(Vec<u8>, Identity)| {
            let layer = was.number().map(|number| self.sents[number].layer());
            let link_len = layer.map_or(0, |layer| View::new(bytes, layer).link_len);
            bytes.get(link_len + 12..).is_some_and(|rest| rest.starts_with(quote))
        };
        self.corrupted.values().find(is_quoted)?.1.number()
    }
}

/// A hash of a packet without what may change on its way: hop limit, congestion marks, the MSS of
/// a SYN, and the checksums that cover them.
pub fn fingerprint(view: &View<'_>) -> u64 {
    use std::hash::BuildHasher;
    let mut bytes = view.bytes.to_vec();
    let l3 = view.link_len;
    match view.ip {
        Some(ip) if ip.src.is_ipv4() => {
            bytes[l3 + 1] &= 0xfc;
            bytes[l3 + 8] = 0;
            bytes[l3 + 10..l3 + 12].fill(0);
        }
        Some(_) => {
            bytes[l3 + 1] &= 0xcf;
            bytes[l3 + 7] = 0;
        }
        None => {}
    }
    if let Some(tcp) = view.tcp().filter(|tcp| tcp.flags & 2 != 0) {
        let at = tcp.start - tcp.options.len();
        bytes[at - 4..at - 2].fill(0);
        if tcp.options.starts_with(&[2, 4]) {
            bytes[at + 2..at + 4].fill(0);
        }
    }
    foldhash::quality::FixedState::with_seed(1).hash_one(bytes)
}

impl Sent {
    pub fn layer(&self) -> Layer {
        if self.is_frame { Layer::L2 } else { Layer::L3 }
    }
}

/// Small records for the tests of the checkers.
#[cfg(test)]
pub mod testing {
    use super::super::checksum;
    use super::super::packet::{self, IpHeader, LinkHeader, TcpHeader};
    use super::*;

    /// First sequence number of the stream of [`segment`]s.
    pub const BASE: u32 = u32::MAX - 20;
    const PORTS: (u16, u16) = (1000, 2000);

    pub fn header() -> IpHeader {
        IpHeader {
            src: [10, 0, 0, 1].into(),
            dst: [10, 0, 0, 2].into(),
            tos: 2,
            hop_limit: 64,
            dont_fragment: true,
            id: 1,
            label: 0,
            options: false,
        }
    }

    pub fn sent(bytes: Vec<u8>, content: Range<usize>, stream: Option<u32>) -> Sent {
        let len = content.len();
        Sent {
            net: 3,
            from: 0,
            origin: 0,
            to: Target::Everyone,
            is_frame: false,
            flow: 0,
            order: None,
            bytes,
            content,
            stream,
            is_gso: false,
            excuse: None,
            transmitted: Coverage::new(len),
            copies: Coverage::new(len),
            delivered: BTreeMap::new(),
        }
    }

    /// A frame without a tag.
    pub fn frame_sent() -> Sent {
        let link = LinkHeader { dst: [0xff; 6], src: [2, 0, 0, 0, 0, 1], tag: None };
        let bytes = packet::frame(Some(&link), 0x88b5, &[7; 10]);
        let len = bytes.len();
        Sent { is_frame: true, ..sent(bytes, 0..len, None) }
    }

    /// A UDP packet.
    pub fn datagram(payload: &[u8]) -> Vec<u8> {
        packet::ip(&header(), packet::UDP, None, &packet::udp(&header(), PORTS, payload))
    }

    /// A TCP packet.
    pub fn segment(seq: u32, payload: &[u8]) -> Vec<u8> {
        let tcp =
            TcpHeader { ports: PORTS, seq, ack: 0, flags: 0x10, window: 1, options: Vec::new() };
        packet::ip(&header(), TCP, None, &packet::tcp(&header(), &tcp, payload))
    }

    /// A ledger with one UDP packet.
    pub fn ledger_of(payload: &[u8]) -> (Ledger, Vec<u8>) {
        let mut payload = payload.to_vec();
        payload[..2].copy_from_slice(&MAGIC.to_be_bytes());
        payload[2..TAG_LEN].fill(0);
        let bytes = datagram(&payload);
        let mut ledger = Ledger::default();
        ledger.add(sent(bytes.clone(), 20..bytes.len(), None), PORTS);
        (ledger, bytes)
    }

    /// A ledger with a stream of two packets of 100 bytes.
    pub fn ledger_of_stream() -> (Ledger, Vec<u8>, Vec<u8>) {
        let first: Vec<u8> = (0..100).collect();
        let second: Vec<u8> = (100..200).collect();
        let mut ledger = Ledger::default();
        ledger.open_stream(PORTS, BASE);
        for (at, payload) in [(0, &first), (100, &second)] {
            let bytes = segment(BASE.wrapping_add(at), payload);
            ledger.add(sent(bytes, 40..140, Some(at)), PORTS);
        }
        (ledger, first, second)
    }

    pub fn set_hop_limit(packet: &mut [u8], hop_limit: u8) {
        packet[8] = hop_limit;
        fix_ip(packet);
    }

    pub fn set_tos(packet: &mut [u8], tos: u8) {
        packet[1] = tos;
        fix_ip(packet);
    }

    pub fn fix_ip(packet: &mut [u8]) {
        packet[10..12].fill(0);
        let check = !checksum::sum(&packet[..20]);
        packet[10..12].copy_from_slice(&check.to_be_bytes());
    }

    /// An ICMP error about a packet.
    pub fn too_big(about: &[u8], mtu: u16) -> Vec<u8> {
        let mut body = vec![3, 4, 0, 0, 0, 0];
        body.extend_from_slice(&mtu.to_be_bytes());
        body.extend_from_slice(about);
        let check = !checksum::sum(&body);
        body[2..4].copy_from_slice(&check.to_be_bytes());
        let header = IpHeader { src: header().dst, dst: header().src, ..header() };
        packet::ip(&header, ICMP4, None, &body)
    }

    /// Makes the checksum of a UDP packet right.
    pub fn fix_checksum(packet: &mut [u8]) {
        packet[26..28].fill(0);
        let header = header();
        let pseudo = checksum::pseudo(header.src, header.dst, packet::UDP, packet.len() - 20);
        let check = !checksum::add(pseudo, checksum::sum(&packet[20..]));
        packet[26..28].copy_from_slice(&check.to_be_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::testing::{BASE, ledger_of_stream, segment};
    use super::*;

    #[test]
    fn bytes_of_a_stream_are_found_across_packets_and_the_wrap_of_sequence_numbers() {
        let (ledger, ..) = ledger_of_stream();
        let bytes = segment(BASE.wrapping_add(50), &[0; 80]);
        let identity = ledger.identify(&View::new(&bytes, Layer::L3));
        assert_eq!(identity, Identity::Content(vec![(0, 50..100), (1, 0..30)]));
        let beyond = segment(BASE, &[0; 201]);
        assert_eq!(ledger.identify(&View::new(&beyond, Layer::L3)), Identity::Unknown);
    }

    #[test]
    fn a_corrupted_packet_is_known_also_after_a_hop() {
        let mut ledger = Ledger::default();
        let mut bytes = segment(0, &[1; 10]);
        bytes[45] ^= 4;
        let was = Identity::Content(vec![(0, 0..10)]);
        ledger.add_corrupted(&View::new(&bytes, Layer::L3), was.clone());
        bytes[8] -= 1;
        bytes[1] |= 3;
        assert_eq!(ledger.identify(&View::new(&bytes, Layer::L3)), was);
        bytes[44] ^= 1;
        assert_eq!(ledger.corrupted(&View::new(&bytes, Layer::L3)), None);
    }
}
