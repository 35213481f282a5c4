//! Builds the packets that hosts send, apart from the product's own builders.

use std::net::IpAddr;

use super::checksum;

pub const TYPE_IPV4: u16 = 0x0800;
pub const TYPE_ARP: u16 = 0x0806;
pub const TYPE_IPV6: u16 = 0x86dd;
pub const TYPE_TAG: u16 = 0x8100;
pub const ICMP4: u8 = 1;
pub const TCP: u8 = 6;
pub const UDP: u8 = 17;
pub const ICMP6: u8 = 58;

/// An Ethernet header with its 802.1Q tag, if any.
#[derive(Clone, Debug)]
pub struct LinkHeader {
    pub dst: [u8; 6],
    pub src: [u8; 6],
    pub tag: Option<u16>,
}

/// What an IP header says beside its length and protocol.
#[derive(Clone, Debug)]
pub struct IpHeader {
    pub src: IpAddr,
    pub dst: IpAddr,
    pub tos: u8,
    pub hop_limit: u8,
    pub dont_fragment: bool,
    pub id: u32,
    pub label: u32,
    /// IPv4 options, or an IPv6 destination options header.
    pub options: bool,
}

/// The fields of a TCP header that differ from packet to packet.
#[derive(Clone, Debug)]
pub struct TcpHeader {
    pub ports: (u16, u16),
    pub seq: u32,
    pub ack: u32,
    pub flags: u8,
    pub window: u16,
    pub options: Vec<u8>,
}

/// Which part of a datagram a fragment is: offset in bytes, and whether more follow.
pub type Part = (usize, bool);

/// Puts the link header in front; without one (TUN) nothing.
pub fn frame(link: Option<&LinkHeader>, ethertype: u16, rest: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(18 + rest.len());
    if let Some(link) = link {
        bytes.extend_from_slice(&link.dst);
        bytes.extend_from_slice(&link.src);
        if let Some(tag) = link.tag {
            bytes.extend_from_slice(&TYPE_TAG.to_be_bytes());
            bytes.extend_from_slice(&tag.to_be_bytes());
        }
        bytes.extend_from_slice(&ethertype.to_be_bytes());
    }
    bytes.extend_from_slice(rest);
    bytes
}

/// The EtherType that goes with an address.
pub fn ethertype(address: IpAddr) -> u16 {
    match address {
        IpAddr::V4(_) => TYPE_IPV4,
        IpAddr::V6(_) => TYPE_IPV6,
    }
}

/// An IP packet, or a fragment of one.
pub fn ip(header: &IpHeader, protocol: u8, part: Option<Part>, payload: &[u8]) -> Vec<u8> {
    match (header.src, header.dst) {
        (IpAddr::V4(_), IpAddr::V4(_)) => ipv4(header, protocol, part, payload),
        _ => ipv6(header, protocol, part, payload),
    }
}

fn ipv4(header: &IpHeader, protocol: u8, part: Option<Part>, payload: &[u8]) -> Vec<u8> {
    let header_len = if header.options { 24 } else { 20 };
    let mut bytes = vec![0; header_len];
    bytes[0] = 0x40 | (header_len / 4) as u8;
    bytes[1] = header.tos;
    bytes[2..4].copy_from_slice(&((header_len + payload.len()) as u16).to_be_bytes());
    bytes[4..6].copy_from_slice(&(header.id as u16).to_be_bytes());
    let flags = match part {
        Some((offset, more)) => (offset / 8) as u16 | u16::from(more) << 13,
        None => u16::from(header.dont_fragment) << 14,
    };
    bytes[6..8].copy_from_slice(&flags.to_be_bytes());
    bytes[8] = header.hop_limit;
    bytes[9] = protocol;
    put_address(&mut bytes[12..16], header.src);
    put_address(&mut bytes[16..20], header.dst);
    if header.options {
        bytes[20..24].copy_from_slice(&[1, 1, 1, 0]);
    }
    let check = !checksum::sum(&bytes);
    bytes[10..12].copy_from_slice(&check.to_be_bytes());
    bytes.extend_from_slice(payload);
    bytes
}

fn ipv6(header: &IpHeader, protocol: u8, part: Option<Part>, payload: &[u8]) -> Vec<u8> {
    let mut extensions = Vec::new();
    let mut next = protocol;
    if let Some((offset, more)) = part {
        extensions.extend_from_slice(&[protocol, 0]);
        extensions.extend_from_slice(&((offset as u16) | u16::from(more)).to_be_bytes());
        extensions.extend_from_slice(&header.id.to_be_bytes());
        next = 44;
    }
    if header.options {
        let options = [next, 0, 1, 4, 0, 0, 0, 0];
        extensions.splice(0..0, options);
        next = 60;
    }
    let mut bytes = vec![0; 40];
    let word = 6 << 28 | u32::from(header.tos) << 20 | (header.label & 0xf_ffff);
    bytes[0..4].copy_from_slice(&word.to_be_bytes());
    bytes[4..6].copy_from_slice(&((extensions.len() + payload.len()) as u16).to_be_bytes());
    bytes[6] = next;
    bytes[7] = header.hop_limit;
    put_address(&mut bytes[8..24], header.src);
    put_address(&mut bytes[24..40], header.dst);
    bytes.extend_from_slice(&extensions);
    bytes.extend_from_slice(payload);
    bytes
}

fn put_address(field: &mut [u8], address: IpAddr) {
    match address {
        IpAddr::V4(address) => field.copy_from_slice(&address.octets()),
        IpAddr::V6(address) => field.copy_from_slice(&address.octets()),
    }
}

/// A UDP header and its payload, with a valid checksum.
pub fn udp(header: &IpHeader, ports: (u16, u16), payload: &[u8]) -> Vec<u8> {
    let len = 8 + payload.len();
    let mut bytes = Vec::with_capacity(len);
    bytes.extend_from_slice(&ports.0.to_be_bytes());
    bytes.extend_from_slice(&ports.1.to_be_bytes());
    bytes.extend_from_slice(&(len as u16).to_be_bytes());
    bytes.extend_from_slice(&[0, 0]);
    bytes.extend_from_slice(payload);
    put_checksum(header, UDP, &mut bytes, 6);
    bytes
}

/// A TCP header and its payload, with a valid checksum.
pub fn tcp(header: &IpHeader, tcp: &TcpHeader, payload: &[u8]) -> Vec<u8> {
    let header_len = 20 + tcp.options.len();
    let mut bytes = Vec::with_capacity(header_len + payload.len());
    bytes.extend_from_slice(&tcp.ports.0.to_be_bytes());
    bytes.extend_from_slice(&tcp.ports.1.to_be_bytes());
    bytes.extend_from_slice(&tcp.seq.to_be_bytes());
    bytes.extend_from_slice(&tcp.ack.to_be_bytes());
    bytes.extend_from_slice(&[((header_len / 4) << 4) as u8, tcp.flags]);
    bytes.extend_from_slice(&tcp.window.to_be_bytes());
    bytes.extend_from_slice(&[0; 4]);
    bytes.extend_from_slice(&tcp.options);
    bytes.extend_from_slice(payload);
    put_checksum(header, TCP, &mut bytes, 16);
    bytes
}

/// An echo request, ICMP or ICMPv6 by the addresses.
pub fn echo(header: &IpHeader, payload: &[u8]) -> (u8, Vec<u8>) {
    let (protocol, kind) = match header.src {
        IpAddr::V4(_) => (ICMP4, 8),
        IpAddr::V6(_) => (ICMP6, 128),
    };
    let mut bytes = vec![kind, 0, 0, 0, 0, 1, 0, 1];
    bytes.extend_from_slice(payload);
    put_checksum(header, protocol, &mut bytes, 2);
    (protocol, bytes)
}

fn put_checksum(header: &IpHeader, protocol: u8, bytes: &mut [u8], at: usize) {
    let pseudo = match protocol {
        ICMP4 => 0,
        _ => checksum::pseudo(header.src, header.dst, protocol, bytes.len()),
    };
    let check = match !checksum::add(pseudo, checksum::sum(bytes)) {
        0 if protocol == UDP => 0xffff,
        check => check,
    };
    bytes[at..at + 2].copy_from_slice(&check.to_be_bytes());
}

/// An ARP packet for IPv4 (RFC 826).
pub fn arp(request: bool, sender: ([u8; 6], [u8; 4]), target: ([u8; 6], [u8; 4])) -> Vec<u8> {
    let mut bytes = vec![0, 1, 8, 0, 6, 4, 0, if request { 1 } else { 2 }];
    bytes.extend_from_slice(&sender.0);
    bytes.extend_from_slice(&sender.1);
    bytes.extend_from_slice(&target.0);
    bytes.extend_from_slice(&target.1);
    bytes
}
