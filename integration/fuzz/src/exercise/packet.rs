//! Inner packets: mostly right, wrong on purpose in one place or another.

use tunctl::frame::{Layer, Mac};

use super::reference::{self, Checksum, Parsed, TCP, UDP};
use super::source::Source;
use super::world::{self, PEERS};

/// How the IP length field stands to the bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Length {
    Right,
    Zero,
    Short,
    Long,
}

/// A packet to build.
#[derive(Clone, Debug)]
pub struct Plan {
    pub layer: Layer,
    pub src_mac: Mac,
    pub dst_mac: Mac,
    /// TPID and TCI.
    pub tags: Vec<(u16, u16)>,
    /// Of a frame that is neither IP nor ARP.
    pub ethertype: Option<u16>,
    pub is_arp: bool,
    pub is_v6: bool,
    /// Behind whom, and the host there.
    pub src: (usize, u8),
    pub dst: (usize, u8),
    pub tos: u8,
    pub hop_limit: u8,
    pub id: u16,
    /// Flags and offset of IPv4; with any offset or MF, a fragment header in IPv6.
    pub fragment: u16,
    /// IPv4 options or IPv6 extension headers, a multiple of 8 bytes (at most 40 in IPv4).
    pub extra_len: usize,
    /// Those say that the packet goes on to another destination, which the checksum is over.
    pub has_route: bool,
    pub protocol: u8,
    pub ports: (u16, u16),
    pub sequence: u32,
    pub acknowledgement: u32,
    pub flags: u8,
    pub window: u16,
    /// TCP options, a multiple of 4 bytes; behind the first 4 bytes of ICMP, the message.
    pub options: Vec<u8>,
    pub payload_len: usize,
    pub checksum: Checksum,
    pub ip_checksum_is_wrong: bool,
    pub length: Length,
    /// Bytes behind the IP packet, frames only.
    pub padding: usize,
    /// An IP address instead of one of `src`'s or `dst`'s.
    pub odd_source: Option<[u8; 4]>,
    pub odd_destination: Option<[u8; 4]>,
}

/// The TCP timestamp option with two paddings before it, as every Linux sends it.
fn timestamps(value: u8) -> Vec<u8> {
    vec![1, 1, 8, 10, 0, 0, 0, value, 0, 0, 0, 9]
}

const ICMP6: u8 = 58;

const ODD_ADDRESSES: [[u8; 4]; 8] = [
    [192, 0, 2, 1],
    [192, 0, 2, 100],
    [0, 0, 0, 0],
    [255, 255, 255, 255],
    [224, 0, 0, 251],
    [127, 0, 0, 1],
    [10, 9, 200, 7],
    [10, 9, 201, 7],
];

impl Plan {
    /// A TCP segment without a fault, from behind `from` to behind `to`.
    pub fn tcp(layer: Layer, from: usize, to: usize) -> Self {
        Self {
            layer,
            src_mac: world::station(from, 1),
            dst_mac: world::station(to, 1),
            tags: vec![],
            ethertype: None,
            is_arp: false,
            is_v6: false,
            src: (from, 1),
            dst: (to, 1),
            tos: 0,
            hop_limit: 64,
            id: 1,
            fragment: 0x4000,
            extra_len: 0,
            has_route: false,
            protocol: TCP,
            ports: (40_000, 443),
            sequence: 1,
            acknowledgement: 1,
            flags: 0x10,
            window: 500,
            options: timestamps(1),
            payload_len: 1000,
            checksum: Checksum::Right,
            ip_checksum_is_wrong: false,
            length: Length::Right,
            padding: 0,
            odd_source: None,
            odd_destination: None,
        }
    }

    /// Draws a flow: what all of its packets have in common.
    pub fn draw_flow(source: &mut Source, layer: Layer, from: usize) -> Self {
        let to = if source.one_in(3) { source.below(PEERS + 1) } else { PEERS };
        let to = if from == PEERS { source.below(PEERS) } else { to };
        let mut plan = Self::tcp(layer, from, to);
        let hosts = (source.below(4) as u8 + 1, source.below(4) as u8 + 1);
        (plan.src.1, plan.dst.1) = hosts;
        plan.src_mac = world::station(from, hosts.0);
        plan.dst_mac = world::station(to, hosts.1);
        let traits = source.u16();
        plan.is_v6 = traits & 1 != 0;
        if traits & 2 != 0 {
            plan.protocol = UDP;
        }
        if traits & 4 != 0 {
            plan.tags = vec![(0x8100, source.u16() & 0xe007)];
        }
        if traits & 8 != 0 {
            plan.tos = source.byte();
        }
        if traits & 0x10 != 0 {
            plan.options = option_bytes(source.pick(&[0, 4, 12, 40]));
        }
        if traits & 0x20 != 0 {
            plan.fragment = 0;
            plan.id = source.u16();
        }
        plan.sequence = source.u32();
        plan.ports = (source.u16(), source.pick(&[443, 53, 4789, 4790, 1]));
        if traits & 0xc0 == 0xc0 {
            plan.draw_oddity(source);
        }
        plan
    }

    /// Draws something that seldom is: another destination, more tags, options, fragments.
    pub fn draw_oddity(&mut self, source: &mut Source) {
        match source.below(19) {
            0 => self.dst_mac = Mac([0xff; 6]),
            1 => self.dst_mac = Mac([0x01, 0, 0x5e, 0, 0, 0xfb]),
            2 => {
                self.src_mac = source.pick(&[Mac([0; 6]), Mac([0xff; 6]), Mac([3, 0, 0, 0, 0, 1])])
            }
            3 => {
                let kinds = [0x8100, 0x88a8, 0x9100];
                let count = source.below(10);
                self.tags = (0..count).map(|_| (source.pick(&kinds), source.u16())).collect();
            }
            4 => self.ethertype = Some(source.pick(&[0x88cc, 0x0806, 0x0800, 0x86dd, 0x05dc, 0])),
            5 => self.is_arp = true,
            6 => {
                self.extra_len = source.pick(&[8, 16, 24, 40]);
                self.has_route = source.one_in(2);
            }
            7 => self.fragment = source.pick(&[0x2000, 0x2001, 0x00b9, 0x1fff, 0x6000]),
            8 => self.protocol = source.pick(&[1, 58, 47, 132, 0, 255]),
            9 => self.flags = source.byte(),
            10 => self.hop_limit = source.pick(&[0, 1, 2, 255]),
            11 => {
                self.checksum = source.pick(&[Checksum::Partial, Checksum::Wrong, Checksum::Zero])
            }
            12 => self.length = source.pick(&[Length::Zero, Length::Short, Length::Long]),
            13 => self.padding = source.pick(&[1, 6, 26, 1500]),
            14 => self.odd_source = Some(source.pick(&ODD_ADDRESSES)),
            15 => self.odd_destination = Some(source.pick(&ODD_ADDRESSES)),
            16 => self.ip_checksum_is_wrong = true,
            17 => self.make_neighbour_discovery(source),
            _ => {
                self.flags = 0x02;
                self.options = vec![2, 4, source.byte(), source.byte(), 1, 3, 3, 7];
            }
        }
    }

    /// Makes it a message of neighbour discovery (RFC 4861 section 4), its claims true or not.
    fn make_neighbour_discovery(&mut self, source: &mut Source) {
        (self.is_v6, self.protocol, self.hop_limit) = (true, ICMP6, 255);
        self.flags = source.pick(&[133, 134, 135, 136, 137]);
        let address = source.pick(&[self.src, self.src, self.dst, (1, 2)]);
        let mac = source.pick(&[self.src_mac, self.src_mac, world::station(1, 2)]);
        self.options = vec![0; 4];
        self.options.extend(world::inner_v6(address.0, address.1).octets());
        self.options.extend([source.pick(&[1, 2, 2, 5]), source.pick(&[1, 1, 0, 2])]);
        self.options.extend(mac.0);
        self.payload_len = source.pick(&[0, 0, 8]);
    }

    /// Builds the bytes. The payload counts the bytes of the stream, so each place looks different.
    pub fn build(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.payload_len + 160);
        if self.layer == Layer::L2 {
            bytes.extend(self.dst_mac.0);
            bytes.extend(self.src_mac.0);
            for (tpid, tci) in &self.tags {
                bytes.extend(tpid.to_be_bytes());
                bytes.extend(tci.to_be_bytes());
            }
            let kind = match (self.is_arp, self.is_v6) {
                (true, _) => 0x0806,
                (_, false) => 0x0800,
                (_, true) => 0x86dd,
            };
            bytes.extend(self.ethertype.unwrap_or(kind).to_be_bytes());
        }
        if self.is_arp && self.layer == Layer::L2 {
            self.push_arp(&mut bytes);
        } else {
            self.push_ip(&mut bytes);
        }
        if self.layer == Layer::L2 {
            bytes.resize(bytes.len() + self.padding, 0);
        }
        bytes
    }

    fn push_arp(&self, bytes: &mut Vec<u8>) {
        bytes.extend([0, 1, 8, 0, 6, 4, 0, 1 + (self.flags & 1)]);
        bytes.extend(self.src_mac.0);
        bytes.extend(self.source_v4());
        bytes.extend([0; 6]);
        bytes.extend(self.destination_v4());
    }

    fn source_v4(&self) -> [u8; 4] {
        self.odd_source.unwrap_or(world::inner_v4(self.src.0, self.src.1).octets())
    }

    fn destination_v4(&self) -> [u8; 4] {
        self.odd_destination.unwrap_or(world::inner_v4(self.dst.0, self.dst.1).octets())
    }

    fn push_ip(&self, bytes: &mut Vec<u8>) {
        let l3 = bytes.len();
        let l4_len = match self.protocol {
            TCP => 20 + self.options.len(),
            UDP => 8,
            ICMP6 => 4 + self.options.len(),
            _ => 4,
        };
        if self.is_v6 {
            self.push_v6(bytes, l4_len + self.payload_len);
        } else {
            self.push_v4(bytes, l4_len + self.payload_len);
        }
        let l4 = bytes.len();
        self.push_l4(bytes, l4_len);
        let payload = bytes.len();
        bytes.extend((0..self.payload_len as u32).map(|at| self.stream_byte(at)));
        let at = Parsed {
            l3,
            l4,
            payload,
            end: bytes.len(),
            is_v6: self.is_v6,
            protocol: self.protocol,
        };
        self.set_checksum(bytes, &at);
    }

    fn stream_byte(&self, at: u32) -> u8 {
        let position = self.sequence.wrapping_add(at);
        (position ^ (position >> 7) ^ (position >> 13)) as u8
    }

    fn said(&self, len: usize) -> u16 {
        let said = match self.length {
            Length::Right => len,
            Length::Zero => 0,
            Length::Short => len / 2,
            Length::Long => len + 1 + usize::from(self.id & 0xff),
        };
        u16::try_from(said).unwrap_or(0)
    }

    fn push_v4(&self, bytes: &mut Vec<u8>, l4_len: usize) {
        let extra = self.extra_len.min(40);
        let start = bytes.len();
        bytes.extend([0x45 + (extra / 4) as u8, self.tos]);
        bytes.extend(self.said(20 + extra + l4_len).to_be_bytes());
        bytes.extend(self.id.to_be_bytes());
        bytes.extend(self.fragment.to_be_bytes());
        bytes.extend([self.hop_limit, self.protocol, 0, 0]);
        bytes.extend(self.source_v4());
        bytes.extend(self.destination_v4());
        bytes.extend(std::iter::repeat_n(1, extra));
        let mut sum = !reference::fold(reference::sum(&bytes[start..], 0));
        if self.ip_checksum_is_wrong {
            sum ^= 0x0100;
        }
        bytes[start + 10..start + 12].copy_from_slice(&sum.to_be_bytes());
    }

    fn push_v6(&self, bytes: &mut Vec<u8>, l4_len: usize) {
        let is_fragment = self.fragment & 0x3fff != 0;
        let extra = self.extra_len + if is_fragment { 8 } else { 0 };
        bytes.extend([0x60 | (self.tos >> 4), self.tos << 4, 0, 0]);
        bytes.extend(self.said(extra + l4_len).to_be_bytes());
        let first = match (self.extra_len > 0, is_fragment) {
            (true, _) if self.has_route => 43,
            (true, _) => 60,
            (false, true) => 44,
            (false, false) => self.protocol,
        };
        bytes.extend([first, self.hop_limit]);
        bytes.extend(world::inner_v6(self.src.0, self.src.1).octets());
        bytes.extend(world::inner_v6(self.dst.0, self.dst.1).octets());
        if self.extra_len > 0 {
            let next = if is_fragment { 44 } else { self.protocol };
            bytes.extend([next, (self.extra_len / 8 - 1) as u8]);
            bytes.extend(std::iter::repeat_n(0, self.extra_len - 2));
        }
        if is_fragment {
            let more = u16::from(self.fragment & 0x2000 != 0);
            bytes.extend([self.protocol, 0]);
            bytes.extend(((self.fragment << 3) | more).to_be_bytes());
            bytes.extend(u32::from(self.id).to_be_bytes());
        }
    }

    fn push_l4(&self, bytes: &mut Vec<u8>, l4_len: usize) {
        match self.protocol {
            TCP => {
                bytes.extend(self.ports.0.to_be_bytes());
                bytes.extend(self.ports.1.to_be_bytes());
                bytes.extend(self.sequence.to_be_bytes());
                bytes.extend(self.acknowledgement.to_be_bytes());
                bytes.extend([(l4_len as u8 / 4) << 4, self.flags]);
                bytes.extend(self.window.to_be_bytes());
                bytes.extend([0; 4]);
                bytes.extend(&self.options);
            }
            UDP => {
                bytes.extend(self.ports.0.to_be_bytes());
                bytes.extend(self.ports.1.to_be_bytes());
                let len = u16::try_from(l4_len + self.payload_len).unwrap_or(0);
                bytes.extend(len.to_be_bytes());
                bytes.extend([0; 2]);
            }
            ICMP6 => {
                bytes.extend([self.flags, 0, 0, 0]);
                bytes.extend(&self.options);
            }
            _ => bytes.extend([self.flags, 0, 0, 0]),
        }
    }

    fn set_checksum(&self, bytes: &mut [u8], at: &Parsed) {
        if !matches!(at.protocol, TCP | UDP) {
            return;
        }
        let mut pseudo = reference::pseudo(bytes, at);
        if self.has_route {
            pseudo += 0x1234;
        }
        let mut right = !reference::fold(reference::sum(&bytes[at.l4..at.end], pseudo));
        if right == 0 && at.protocol == UDP {
            right = 0xffff;
        }
        let value = match self.checksum {
            Checksum::Right => right,
            Checksum::Partial => reference::fold(pseudo),
            Checksum::Wrong => right ^ 0x0180,
            Checksum::Zero => 0,
        };
        let place = reference::checksum_at(at);
        bytes[place..place + 2].copy_from_slice(&value.to_be_bytes());
    }
}

/// TCP options of a length: paddings, or timestamps with paddings behind.
fn option_bytes(len: u8) -> Vec<u8> {
    let mut options = if len < 12 { vec![] } else { timestamps(3) };
    options.resize(len.into(), 1);
    options
}
