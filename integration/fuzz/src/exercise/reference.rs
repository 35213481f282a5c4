//! A second opinion on packets: checksums, a parser and the kernel's rules, written plainly and
//! without the code under test.

use std::ops::Range;

pub const TCP: u8 = 6;
pub const UDP: u8 = 17;

const TAGS_MAX: usize = 8;

/// The part of a packet that is checked: TCP or UDP over IP without fragmentation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parsed {
    pub l3: usize,
    pub l4: usize,
    pub payload: usize,
    /// Where the IP packet ends by its own length.
    pub end: usize,
    pub is_v6: bool,
    pub protocol: u8,
}

pub fn be16(bytes: &[u8], at: usize) -> u16 {
    u16::from_be_bytes([bytes[at], bytes[at + 1]])
}

pub fn be32(bytes: &[u8], at: usize) -> u32 {
    u32::from(be16(bytes, at)) << 16 | u32::from(be16(bytes, at + 2))
}

/// Where the network header of a frame begins, behind all tags; `None` if it is cut short, or if
/// there are more tags than anybody has.
pub fn network_start(frame: &[u8]) -> Option<(usize, u16)> {
    let mut at = 12;
    for _ in 0..=TAGS_MAX {
        let kind = be16(frame.get(at..at + 2)?, 0);
        if !matches!(kind, 0x8100 | 0x88a8) {
            return Some((at + 2, kind));
        }
        at += 4;
    }
    None
}

/// Parses TCP and UDP packets that contradict themselves in nothing; `None` for all others.
///
/// With `is_whole` a packet of length 0 ends where the bytes end, as a GSO packet may.
pub fn parse(bytes: &[u8], is_frame: bool, is_whole: bool) -> Option<Parsed> {
    let l3 = match is_frame {
        true => match network_start(bytes)? {
            (at, 0x0800 | 0x86dd) => at,
            _ => return None,
        },
        false => 0,
    };
    let packet = bytes.get(l3..)?;
    let is_v6 = *packet.first()? >> 4 == 6;
    if is_frame && is_v6 != (be16(bytes, l3 - 2) == 0x86dd) {
        return None;
    }
    let (header_len, said, protocol) = if is_v6 {
        let said = match usize::from(be16(packet.get(..40)?, 4)) {
            0 if is_whole => 0,
            said => 40 + said,
        };
        let (protocol, at) = skip_extensions(packet)?;
        (at, said, protocol)
    } else {
        let header = packet.get(..20)?;
        let len = usize::from(header[0] & 15) * 4;
        if header[0] >> 4 != 4 || len < 20 || be16(header, 6) & 0x3fff != 0 {
            return None;
        }
        (len, usize::from(be16(header, 2)), header[9])
    };
    let end = if is_whole && said == 0 { packet.len() } else { said };
    let segment = packet.get(header_len..end)?;
    let l4_len = match protocol {
        TCP if segment.len() >= 20 => usize::from(segment[12] >> 4) * 4,
        UDP => 8,
        _ => return None,
    };
    if l4_len < 8 || (protocol == TCP && l4_len < 20) || l4_len > segment.len() {
        return None;
    }
    if protocol == UDP && !is_whole && usize::from(be16(segment, 4)) != segment.len() {
        return None;
    }
    let l4 = l3 + header_len;
    Some(Parsed { l3, l4, payload: l4 + l4_len, end: l3 + end, is_v6, protocol })
}

fn skip_extensions(packet: &[u8]) -> Option<(u8, usize)> {
    let (mut next, mut at) = (packet[6], 40);
    for _ in 0..12 {
        if !matches!(next, 0 | 43 | 60) {
            return Some((next, at));
        }
        let header = packet.get(at..at + 2)?;
        next = header[0];
        at += (usize::from(header[1]) + 1) * 8;
    }
    None
}

/// The sum of 16-bit words, the last padded with zero.
pub fn sum(bytes: &[u8], total: u64) -> u64 {
    let (pairs, rest) = bytes.as_chunks::<2>();
    let words: u64 = pairs.iter().map(|pair| u64::from(u16::from_be_bytes(*pair))).sum();
    total + words + rest.first().map_or(0, |last| u64::from(*last) << 8)
}

pub fn fold(mut total: u64) -> u16 {
    while total > 0xffff {
        total = (total & 0xffff) + (total >> 16);
    }
    total as u16
}

/// The sum of the pseudo-header.
pub fn pseudo(bytes: &[u8], at: &Parsed) -> u64 {
    let addresses = if at.is_v6 { at.l3 + 8..at.l3 + 40 } else { at.l3 + 12..at.l3 + 20 };
    sum(&bytes[addresses], 0) + u64::from(at.protocol) + (at.end - at.l4) as u64
}

pub fn checksum_at(at: &Parsed) -> usize {
    at.l4 + if at.protocol == TCP { 16 } else { 6 }
}

/// What the transport checksum is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Checksum {
    Right,
    Partial,
    Wrong,
    Zero,
}

pub fn transport_checksum(bytes: &[u8], at: &Parsed) -> Checksum {
    let field = be16(bytes, checksum_at(at));
    if at.protocol == UDP && field == 0 {
        return Checksum::Zero;
    }
    let pseudo = pseudo(bytes, at);
    if fold(sum(&bytes[at.l4..at.end], pseudo)) == 0xffff {
        Checksum::Right
    } else if is_partial(bytes, at) {
        Checksum::Partial
    } else {
        Checksum::Wrong
    }
}

/// Whether the field holds the sum of the pseudo-header; by chance it may be right as well.
pub fn is_partial(bytes: &[u8], at: &Parsed) -> bool {
    be16(bytes, checksum_at(at)) == fold(pseudo(bytes, at))
}

pub fn is_ip_header_valid(bytes: &[u8], at: &Parsed) -> bool {
    let header_len = usize::from(bytes[at.l3] & 15) * 4;
    at.is_v6 || fold(sum(&bytes[at.l3..at.l3 + header_len], 0)) == 0xffff
}

/// A vnet_hdr, as include/uapi/linux/virtio_net.h lays it out.
#[derive(Clone, Copy, Debug)]
pub struct Vnet {
    pub needs_csum: bool,
    pub gso_type: u8,
    pub hdr_len: usize,
    pub gso_size: usize,
    pub csum_start: usize,
    pub csum_offset: usize,
}

impl Vnet {
    pub fn from_bytes(bytes: [u8; 10]) -> Self {
        let word = |at: usize| usize::from(u16::from_ne_bytes([bytes[at], bytes[at + 1]]));
        Self {
            needs_csum: bytes[0] & 1 != 0,
            gso_type: bytes[1],
            hdr_len: word(2),
            gso_size: word(4),
            csum_start: word(6),
            csum_offset: word(8),
        }
    }
}

/// What the kernel refuses with EINVAL when it is written to a device: tun_get_user()
/// (drivers/net/tun.c) and __virtio_net_hdr_to_skb() (include/linux/virtio_net.h).
pub fn kernel_refuses(vnet: Vnet, bytes: &[u8], is_frame: bool) -> Option<&'static str> {
    let len = bytes.len();
    if vnet.hdr_len > len {
        return Some("hdr_len is larger than the packet");
    }
    if is_frame && (len < 14 || (vnet.hdr_len != 0 && vnet.hdr_len < 14)) {
        return Some("shorter than an Ethernet header");
    }
    if !is_frame && !matches!(bytes.first().map(|byte| byte >> 4), Some(4 | 6)) {
        return Some("not an IP packet");
    }
    let link_len = if is_frame { 14 } else { 0 };
    let (l4_len, csum_offset, net_len) = match vnet.gso_type & 0x7f {
        0 => (0, None, 20),
        1 => (20, Some(16), 20),
        4 => (20, Some(16), 40),
        5 => (8, Some(6), 20),
        _ => return Some("unknown GSO type"),
    };
    if vnet.gso_type & 0x7f != 0 {
        if vnet.gso_size == 0 || vnet.gso_size == 0xffff {
            return Some("GSO type with a bad size");
        }
        // Not the kernel's rule for TCP, but what gives wrong checksums there.
        if !vnet.needs_csum {
            return Some("GSO without NEEDS_CSUM");
        }
        if csum_offset != Some(vnet.csum_offset) {
            return Some("wrong checksum offset for the GSO type");
        }
    } else if vnet.gso_size != 0 {
        return Some("GSO size without a type");
    }
    if vnet.needs_csum {
        if vnet.csum_start + l4_len.max(vnet.csum_offset + 2) > len {
            return Some("checksum behind the end");
        }
        if vnet.csum_start < link_len + net_len {
            return Some("checksum start inside the network header");
        }
    }
    if vnet.gso_type == 5 && len - (vnet.csum_start + l4_len) > vnet.gso_size * 128 {
        return Some("more than 128 UDP segments");
    }
    None
}

/// What segmentation makes of a GSO packet's header for the segment with this payload.
pub struct Segment {
    pub payload: Range<usize>,
    pub sequence: u32,
    pub flags: u8,
}

/// Segments a GSO packet as tcp_gso_segment() and __udp_gso_segment() do.
pub fn segments(bytes: &[u8], at: &Parsed, size: usize) -> Vec<Segment> {
    let total = at.end - at.payload;
    let count = total.div_ceil(size).max(1);
    (0..count)
        .map(|index| {
            let start = index * size;
            let is_tcp = at.protocol == TCP;
            let mut flags = if is_tcp { bytes[at.l4 + 13] } else { 0 };
            if index + 1 < count {
                flags &= !0x09;
            }
            if index > 0 {
                flags &= !0x80;
            }
            Segment {
                payload: at.payload + start..at.payload + (start + size).min(total),
                sequence: if is_tcp {
                    be32(bytes, at.l4 + 4).wrapping_add(start as u32)
                } else {
                    0
                },
                flags,
            }
        })
        .collect()
}
