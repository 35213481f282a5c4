//! Packets for tests, with checksums computed the slow way.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::{Headers, Layer, Net, protocol};

/// A packet to be built; starts with sensible values.
#[derive(Clone, Debug)]
pub(crate) struct Packet {
    protocol: u8,
    link: Option<Vec<u16>>,
    src_mac: [u8; 6],
    dst_mac: [u8; 6],
    v4: Option<([u8; 4], [u8; 4])>,
    v6: (Ipv6Addr, Ipv6Addr),
    tos: u8,
    hop_limit: u8,
    id: u16,
    dont_fragment: bool,
    fragment: (u16, bool),
    ip_options: Vec<u8>,
    extensions: Vec<u8>,
    extension_kind: u8,
    flow_label: u32,
    ports: (u16, u16),
    kind: u8,
    seq: u32,
    ack: u32,
    flags: u8,
    window: u16,
    options: Vec<u8>,
    payload: Vec<u8>,
    padding: usize,
    sum: SumKind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum SumKind {
    Valid,
    Partial,
    Wrong,
    Zero,
}

impl Packet {
    fn new(protocol: u8, is_v4: bool) -> Self {
        Self {
            protocol,
            link: None,
            src_mac: [2, 0, 0, 0, 0, 1],
            dst_mac: [2, 0, 0, 0, 0, 2],
            v4: is_v4.then_some(([10, 9, 0, 1], [10, 9, 0, 2])),
            v6: ("fd00:9::1".parse().unwrap(), "fd00:9::2".parse().unwrap()),
            tos: 0,
            hop_limit: 64,
            id: 0x1234,
            dont_fragment: false,
            fragment: (0, false),
            ip_options: Vec::new(),
            extensions: Vec::new(),
            extension_kind: 0,
            flow_label: 0,
            ports: (40_000, 5201),
            kind: 0,
            seq: 0x1000_0000,
            ack: 0x2000_0000,
            flags: 0x10,
            window: 500,
            options: Vec::new(),
            payload: Vec::new(),
            padding: 0,
            sum: SumKind::Valid,
        }
    }

    pub(crate) fn tcp4() -> Self {
        Self::new(protocol::TCP, true)
    }

    pub(crate) fn tcp6() -> Self {
        Self::new(protocol::TCP, false)
    }

    pub(crate) fn udp4() -> Self {
        Self::new(protocol::UDP, true)
    }

    pub(crate) fn udp6() -> Self {
        Self::new(protocol::UDP, false)
    }

    pub(crate) fn icmp4(kind: u8) -> Self {
        Self { kind, ..Self::new(protocol::ICMP4, true) }
    }

    pub(crate) fn icmp6(kind: u8) -> Self {
        Self { kind, ..Self::new(protocol::ICMP6, false) }
    }

    /// Another protocol number, no transport header.
    pub(crate) fn protocol(mut self, number: u8) -> Self {
        self.protocol = number;
        self
    }

    /// As an Ethernet frame with these VLAN tags.
    pub(crate) fn tagged(mut self, tags: &[u16]) -> Self {
        self.link = Some(tags.to_vec());
        self
    }

    pub(crate) fn src_mac(mut self, mac: [u8; 6]) -> Self {
        self.src_mac = mac;
        self
    }

    pub(crate) fn dst_mac(mut self, mac: [u8; 6]) -> Self {
        self.dst_mac = mac;
        self
    }

    pub(crate) fn src4(mut self, src: [u8; 4]) -> Self {
        self.v4 = self.v4.map(|(_, dst)| (src, dst));
        self
    }

    pub(crate) fn dst4(mut self, dst: [u8; 4]) -> Self {
        self.v4 = self.v4.map(|(src, _)| (src, dst));
        self
    }

    pub(crate) fn src6(mut self, src: &str) -> Self {
        self.v6.0 = src.parse().unwrap();
        self
    }

    pub(crate) fn dst6(mut self, dst: &str) -> Self {
        self.v6.1 = dst.parse().unwrap();
        self
    }

    pub(crate) fn tos(mut self, tos: u8) -> Self {
        self.tos = tos;
        self
    }

    pub(crate) fn hop_limit(mut self, hops: u8) -> Self {
        self.hop_limit = hops;
        self
    }

    pub(crate) fn id(mut self, id: u16) -> Self {
        self.id = id;
        self
    }

    pub(crate) fn flow_label(mut self, label: u32) -> Self {
        self.flow_label = label;
        self
    }

    pub(crate) fn dont_fragment(mut self) -> Self {
        self.dont_fragment = true;
        self
    }

    /// Offset in bytes, a multiple of eight; behind an offset that is not zero is no L4 header.
    pub(crate) fn fragment(mut self, offset: u16, more: bool) -> Self {
        self.fragment = (offset, more);
        self
    }

    pub(crate) fn ip_options(mut self, options: &[u8]) -> Self {
        self.ip_options = options.to_vec();
        self
    }

    /// IPv6 extension headers as bytes; `kind` is the first's protocol number, and the last byte
    /// sequence names the transport itself.
    pub(crate) fn extensions(mut self, kind: u8, bytes: &[u8]) -> Self {
        self.extension_kind = kind;
        self.extensions = bytes.to_vec();
        self
    }

    pub(crate) fn ports(mut self, src: u16, dst: u16) -> Self {
        self.ports = (src, dst);
        self
    }

    pub(crate) fn seq(mut self, seq: u32) -> Self {
        self.seq = seq;
        self
    }

    pub(crate) fn ack(mut self, ack: u32) -> Self {
        self.ack = ack;
        self
    }

    pub(crate) fn flags(mut self, flags: u8) -> Self {
        self.flags = flags;
        self
    }

    pub(crate) fn window(mut self, window: u16) -> Self {
        self.window = window;
        self
    }

    pub(crate) fn options(mut self, options: &[u8]) -> Self {
        assert_eq!(options.len() % 4, 0);
        self.options = options.to_vec();
        self
    }

    /// A payload of `len` bytes that never repeat in step with a segment.
    pub(crate) fn payload(self, len: usize) -> Self {
        self.payload_bytes((0..len).map(|i| (i.wrapping_mul(31) ^ (i >> 8)) as u8).collect())
    }

    pub(crate) fn payload_bytes(mut self, payload: Vec<u8>) -> Self {
        self.payload = payload;
        self
    }

    pub(crate) fn padding(mut self, len: usize) -> Self {
        self.padding = len;
        self
    }

    /// The checksum field holds the pseudo-header sum only.
    pub(crate) fn partial(mut self) -> Self {
        self.sum = SumKind::Partial;
        self
    }

    pub(crate) fn wrong_checksum(mut self) -> Self {
        self.sum = SumKind::Wrong;
        self
    }

    pub(crate) fn zero_checksum(mut self) -> Self {
        self.sum = SumKind::Zero;
        self
    }

    pub(crate) fn layer(&self) -> Layer {
        if self.link.is_some() { Layer::L2 } else { Layer::L3 }
    }

    pub(crate) fn headers(&self) -> Headers {
        Headers::parse(&self.bytes(), self.layer()).unwrap()
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut bytes = self.link_header();
        let l4 = self.l4();
        match self.v4 {
            Some((src, dst)) => {
                let mut ip = vec![0x45 + (self.ip_options.len() / 4) as u8, self.tos];
                let len = 20 + self.ip_options.len() + l4.len();
                ip.extend((len as u16).to_be_bytes());
                ip.extend(self.id.to_be_bytes());
                let word = (self.fragment.0 / 8)
                    | if self.dont_fragment { 0x4000 } else { 0 }
                    | if self.fragment.1 { 0x2000 } else { 0 };
                ip.extend(word.to_be_bytes());
                ip.extend([self.hop_limit, self.protocol, 0, 0]);
                ip.extend(src);
                ip.extend(dst);
                ip.extend(&self.ip_options);
                let sum = !naive_sum(&ip);
                ip[10..12].copy_from_slice(&sum.to_be_bytes());
                bytes.extend(ip);
            }
            None => {
                let word = 0x6000_0000 | u32::from(self.tos) << 20 | self.flow_label & 0xf_ffff;
                bytes.extend(word.to_be_bytes());
                bytes.extend(((self.extensions.len() + l4.len()) as u16).to_be_bytes());
                let next =
                    if self.extensions.is_empty() { self.protocol } else { self.extension_kind };
                bytes.extend([next, self.hop_limit]);
                bytes.extend(self.v6.0.octets());
                bytes.extend(self.v6.1.octets());
                bytes.extend(&self.extensions);
            }
        }
        bytes.extend(l4);
        bytes.resize(bytes.len() + self.padding, 0);
        bytes
    }

    fn link_header(&self) -> Vec<u8> {
        let Some(tags) = &self.link else { return Vec::new() };
        let mut header = self.dst_mac.to_vec();
        header.extend(self.src_mac);
        for tag in tags {
            header.extend([0x81, 0x00]);
            header.extend(tag.to_be_bytes());
        }
        header.extend(if self.v4.is_some() { [0x08, 0x00] } else { [0x86, 0xdd] });
        header
    }

    fn l4(&self) -> Vec<u8> {
        if self.fragment.0 > 0 {
            return self.payload.clone();
        }
        let (mut l4, sum_at) = match self.protocol {
            protocol::TCP => {
                let mut tcp = Vec::new();
                tcp.extend(self.ports.0.to_be_bytes());
                tcp.extend(self.ports.1.to_be_bytes());
                tcp.extend(self.seq.to_be_bytes());
                tcp.extend(self.ack.to_be_bytes());
                tcp.extend([(((20 + self.options.len()) / 4) as u8) << 4, self.flags]);
                tcp.extend(self.window.to_be_bytes());
                tcp.extend([0; 4]);
                tcp.extend(&self.options);
                (tcp, Some(16))
            }
            protocol::UDP => {
                let mut udp = Vec::new();
                udp.extend(self.ports.0.to_be_bytes());
                udp.extend(self.ports.1.to_be_bytes());
                udp.extend((8 + self.payload.len() as u16).to_be_bytes());
                udp.extend([0; 2]);
                (udp, Some(6))
            }
            protocol::ICMP4 | protocol::ICMP6 => (vec![self.kind, 0, 0, 0, 0, 1, 0, 1], None),
            _ => (Vec::new(), None),
        };
        l4.extend(&self.payload);
        if let Some(at) = sum_at {
            let pseudo = self.pseudo(l4.len());
            let valid = match !naive_sum(&[pseudo.clone(), l4.clone()].concat()) {
                0 if self.protocol == protocol::UDP => 0xffff,
                sum => sum,
            };
            let sum = match self.sum {
                SumKind::Valid => valid,
                SumKind::Partial => naive_sum(&pseudo),
                SumKind::Wrong => valid ^ 0x0101,
                SumKind::Zero => 0,
            };
            l4[at..at + 2].copy_from_slice(&sum.to_be_bytes());
        }
        l4
    }

    fn pseudo(&self, len: usize) -> Vec<u8> {
        pseudo(self.v4.map(|(s, d)| (s.into(), d.into())), self.v6, self.protocol, len)
    }
}

/// Whether the checksum of an ICMP or ICMPv6 message is right.
pub(crate) fn icmp_is_valid(bytes: &[u8], headers: &Headers) -> bool {
    let l4 = bytes[headers.l4_at()..headers.end_at()].to_vec();
    match &headers.net {
        Net::V4(_) => naive_sum(&l4) == 0xffff,
        Net::V6(info) => {
            let pseudo = pseudo(None, (info.src, info.dst), protocol::ICMP6, l4.len());
            naive_sum(&[pseudo, l4].concat()) == 0xffff
        }
        Net::Arp(_) | Net::Other => false,
    }
}

fn pseudo(
    v4: Option<(Ipv4Addr, Ipv4Addr)>,
    v6: (Ipv6Addr, Ipv6Addr),
    protocol: u8,
    len: usize,
) -> Vec<u8> {
    let mut bytes = match v4 {
        Some((src, dst)) => [src.octets(), dst.octets()].concat(),
        None => [v6.0.octets(), v6.1.octets()].concat(),
    };
    bytes.extend((len as u32).to_be_bytes());
    bytes.extend([0, 0, 0, protocol]);
    bytes
}

/// RFC 1071, word by word.
pub(crate) fn naive_sum(bytes: &[u8]) -> u16 {
    let mut sum = 0_u32;
    for pair in bytes.chunks(2) {
        sum += u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0));
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum as u16
}
