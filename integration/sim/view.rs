//! Reads packets back, apart from the product's parser: what the checkers see.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use tunctl::frame::Layer;

use super::checksum;
use super::packet::{ICMP4, ICMP6, TCP, TYPE_IPV4, TYPE_IPV6, TYPE_TAG, UDP};

/// A frame or packet, as far as it can be read.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    pub bytes: &'a [u8],
    /// Length of the link header with its tags; 0 on L3.
    pub link_len: usize,
    pub ethertype: u16,
    /// `None` if it is not IP, or its IP headers cannot be read.
    pub ip: Option<IpView>,
}

/// An IP header. Offsets are from the start of the frame.
#[derive(Clone, Copy, Debug)]
pub struct IpView {
    pub src: IpAddr,
    pub dst: IpAddr,
    pub tos: u8,
    pub hop_limit: u8,
    pub label: u32,
    pub id: u32,
    pub dont_fragment: bool,
    /// Offset of this fragment in its datagram, and whether more follow.
    pub part: Option<(usize, bool)>,
    pub protocol: u8,
    /// First byte behind the IP headers.
    pub start: usize,
    /// End by the IP length field.
    pub end: usize,
    /// The IPv4 header checksum is right; true for IPv6, which has none.
    pub is_header_valid: bool,
}

/// A TCP header. Offsets are from the start of the frame.
#[derive(Clone, Copy, Debug)]
pub struct TcpView<'a> {
    pub ports: (u16, u16),
    pub seq: u32,
    pub ack: u32,
    pub flags: u8,
    pub options: &'a [u8],
    pub start: usize,
}

/// What the checksum of the transport header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sum {
    Valid,
    /// The field holds the sum of the pseudo-header: to be completed (NEEDS_CSUM).
    Partial,
    Invalid,
    /// There is none: UDP over IPv4 without one, another protocol, a fragment, not IP.
    Absent,
}

impl<'a> View<'a> {
    pub fn new(bytes: &'a [u8], layer: Layer) -> Self {
        let (link_len, ethertype) = match layer {
            Layer::L2 => link(bytes),
            Layer::L3 => {
                (0, if bytes.first().is_some_and(|b| b >> 4 == 6) { TYPE_IPV6 } else { TYPE_IPV4 })
            }
        };
        let ip = match ethertype {
            TYPE_IPV4 => ipv4(bytes, link_len, false),
            TYPE_IPV6 => ipv6(bytes, link_len, false),
            _ => None,
        };
        Self { bytes, link_len, ethertype, ip }
    }

    /// The packet that an ICMP error quotes: its end may be missing.
    pub fn quoted(bytes: &'a [u8]) -> Self {
        let is_v6 = bytes.first().is_some_and(|byte| byte >> 4 == 6);
        let (ethertype, ip) = match is_v6 {
            true => (TYPE_IPV6, ipv6(bytes, 0, true)),
            false => (TYPE_IPV4, ipv4(bytes, 0, true)),
        };
        Self { bytes, link_len: 0, ethertype, ip }
    }

    /// The link header with its tags.
    pub fn link(&self) -> &'a [u8] {
        &self.bytes[..self.link_len]
    }

    /// What IP carries, without padding behind it; the frame's payload if it is not IP.
    pub fn payload(&self) -> &'a [u8] {
        match self.ip {
            Some(ip) => &self.bytes[ip.start..ip.end],
            None => &self.bytes[self.link_len..],
        }
    }

    pub fn tcp(&self) -> Option<TcpView<'a>> {
        let ip = self.ip.filter(|ip| ip.protocol == TCP && ip.part.is_none())?;
        let bytes = self.payload();
        let header = bytes.get(..20)?;
        let header_len = usize::from(header[12] >> 4) * 4;
        Some(TcpView {
            ports: (be16(header, 0), be16(header, 2)),
            seq: be32(header, 4),
            ack: be32(header, 8),
            flags: header[13],
            options: bytes.get(20..header_len)?,
            start: ip.start + header_len,
        })
    }

    /// Ports of UDP, and where its payload begins.
    pub fn udp(&self) -> Option<((u16, u16), usize)> {
        let ip = self.ip.filter(|ip| ip.protocol == UDP && ip.part.is_none())?;
        let header = self.payload().get(..8)?;
        Some(((be16(header, 0), be16(header, 2)), ip.start + 8))
    }

    /// Where the transport checksum stands, from the start of the frame.
    pub fn checksum_at(&self) -> Option<usize> {
        let ip = self.ip.filter(|ip| ip.part.is_none())?;
        let offset = match ip.protocol {
            TCP => 16,
            UDP => 6,
            ICMP4 | ICMP6 => 2,
            _ => return None,
        };
        (ip.start + offset + 2 <= ip.end).then_some(ip.start + offset)
    }

    /// Whether the checksum field holds the sum of the pseudo-header. The whole may be right even
    /// so, by chance.
    pub fn is_partial(&self) -> bool {
        let (Some(ip), Some(at)) = (self.ip, self.checksum_at()) else { return false };
        let pseudo = checksum::pseudo(ip.src, ip.dst, ip.protocol, ip.end - ip.start);
        matches!(ip.protocol, TCP | UDP) && be16(self.bytes, at) == pseudo
    }

    pub fn sum(&self) -> Sum {
        let (Some(ip), Some(at)) = (self.ip, self.checksum_at()) else { return Sum::Absent };
        let bytes = self.payload();
        if ip.protocol == UDP && be16(self.bytes, at) == 0 && ip.src.is_ipv4() {
            return Sum::Absent;
        }
        let pseudo = match ip.protocol {
            ICMP4 => 0,
            _ => checksum::pseudo(ip.src, ip.dst, ip.protocol, bytes.len()),
        };
        if checksum::add(pseudo, checksum::sum(bytes)) == 0xffff {
            Sum::Valid
        } else if self.is_partial() {
            Sum::Partial
        } else {
            Sum::Invalid
        }
    }
}

fn link(bytes: &[u8]) -> (usize, u16) {
    let mut at = 12;
    loop {
        let Some(field) = bytes.get(at..at + 2) else { return (bytes.len(), 0) };
        let ethertype = be16(field, 0);
        if ethertype != TYPE_TAG && ethertype != 0x88a8 {
            return (at + 2, ethertype);
        }
        at += 4;
    }
}

fn ipv4(bytes: &[u8], at: usize, is_cut: bool) -> Option<IpView> {
    let packet = bytes.get(at..)?;
    let header_len = usize::from(packet.first()? & 0xf) * 4;
    let header = packet.get(..header_len).filter(|header| header.len() >= 20)?;
    let said = usize::from(be16(header, 2));
    let len = if is_cut { said.min(packet.len()) } else { said };
    if header[0] >> 4 != 4 || len < header_len || len > packet.len() {
        return None;
    }
    let flags = be16(header, 6);
    let (offset, more) = (usize::from(flags & 0x1fff) * 8, flags & 0x2000 != 0);
    Some(IpView {
        src: v4(header, 12),
        dst: v4(header, 16),
        tos: header[1],
        hop_limit: header[8],
        label: 0,
        id: be16(header, 4).into(),
        dont_fragment: flags & 0x4000 != 0,
        part: (offset != 0 || more).then_some((offset, more)),
        protocol: header[9],
        start: at + header_len,
        end: at + len,
        is_header_valid: checksum::sum(header) == 0xffff,
    })
}

fn ipv6(bytes: &[u8], at: usize, is_cut: bool) -> Option<IpView> {
    let packet = bytes.get(at..)?;
    let header = packet.get(..40)?;
    let said = 40 + usize::from(be16(header, 4));
    let end = if is_cut { said.min(packet.len()) } else { said };
    if header[0] >> 4 != 6 || end > packet.len() {
        return None;
    }
    let (mut next, mut start, mut part, mut id) = (header[6], 40, None, 0);
    while matches!(next, 0 | 43 | 44 | 60) {
        let extension = packet[..end].get(start..start + 8)?;
        let len = if next == 44 { 8 } else { 8 + usize::from(extension[1]) * 8 };
        if next == 44 {
            let field = be16(extension, 2);
            part = Some((usize::from(field & 0xfff8), field & 1 != 0));
            id = be32(extension, 4);
        }
        (next, start) = (extension[0], start + len);
        if part.is_some_and(|(offset, _)| offset != 0) {
            break;
        }
    }
    let word = be32(header, 0);
    (start <= end).then_some(IpView {
        src: v6(header, 8),
        dst: v6(header, 24),
        tos: (word >> 20) as u8,
        hop_limit: header[7],
        label: word & 0xf_ffff,
        id,
        dont_fragment: true,
        part,
        protocol: next,
        start: at + start,
        end: at + end,
        is_header_valid: true,
    })
}

fn v4(bytes: &[u8], at: usize) -> IpAddr {
    Ipv4Addr::from(be32(bytes, at)).into()
}

fn v6(bytes: &[u8], at: usize) -> IpAddr {
    let mut octets = [0; 16];
    octets.copy_from_slice(&bytes[at..at + 16]);
    Ipv6Addr::from(octets).into()
}

pub fn be16(bytes: &[u8], at: usize) -> u16 {
    u16::from_be_bytes([bytes[at], bytes[at + 1]])
}

pub fn be32(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}
