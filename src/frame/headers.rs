//! The gate: what every packet is, parsed once.

use std::net::IpAddr;

use super::{ArpInfo, L4, Layer, Link, V4Info, V6Info, arp, ethernet, ipv4, ipv6};
use crate::drops::DropReason;

/// Why bytes are not a frame or packet that may go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ParseError {
    /// The Ethernet header or a tag is cut short.
    #[error("Ethernet header is truncated")]
    LinkTruncated,
    /// More than eight 802.1Q or 802.1ad tags.
    #[error("too many VLAN tags")]
    TooManyTags,
    /// The ARP packet is cut short.
    #[error("ARP packet is truncated")]
    ArpTruncated,
    /// The IP header is cut short.
    #[error("IP header is truncated")]
    IpTruncated,
    /// The IP version is neither 4 nor 6, or not the one that the EtherType names.
    #[error("IP version is wrong")]
    IpVersion,
    /// The IPv4 header length is below 20 bytes.
    #[error("IPv4 header length is wrong")]
    IpHeaderLength,
    /// The IP length is shorter than the header, or longer than what is there.
    #[error("IP length says {len} bytes, {have} are there")]
    IpLength {
        /// Bytes from the IP header on, by its length field.
        len: usize,
        /// Bytes from the IP header on that are there.
        have: usize,
    },
    /// The IPv6 extension headers are cut short, or too many.
    #[error("IPv6 extension headers are truncated or too many")]
    Extension,
    /// The TCP or UDP header is cut short, or the TCP header length is wrong.
    #[error("TCP or UDP header is truncated or contradicts itself")]
    Transport,
}

impl From<ParseError> for DropReason {
    fn from(_: ParseError) -> Self {
        Self::Malformed
    }
}

/// The network layer of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Net {
    /// An IPv4 packet.
    V4(V4Info),
    /// An IPv6 packet.
    V6(V6Info),
    /// An ARP packet for IPv4.
    Arp(ArpInfo),
    /// Anything else; it is carried as it is.
    Other,
}

/// What a frame or packet is: made once, and every offset inside the bytes it was made from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Headers {
    /// The link header; `None` on L3.
    pub link: Option<Link>,
    /// The network layer.
    pub net: Net,
    /// The transport layer.
    pub l4: L4,
    /// Offset of the network header.
    pub l3_start: u16,
    /// Offset of the transport header; `l3_start` if it is not IP.
    pub l4_start: u16,
    /// End of the IP packet by its own length field; the end of the frame if it is not IP. What
    /// follows it is padding.
    pub end: u32,
}

impl Headers {
    /// Parses a frame or packet.
    ///
    /// # Errors
    ///
    /// Truncated or self-contradicting link, IP, ARP, TCP and UDP headers. Unknown EtherTypes are
    /// no error, on L3 all that is not IP is one.
    #[inline]
    pub fn parse(bytes: &[u8], layer: Layer) -> Result<Self, ParseError> {
        Self::parse_with(bytes, layer, false)
    }

    /// Parses a GSO packet, whose IP length may be 0 (then it ends where the bytes end).
    ///
    /// # Errors
    ///
    /// As [`Headers::parse`].
    #[inline]
    pub fn parse_super(bytes: &[u8], layer: Layer) -> Result<Self, ParseError> {
        Self::parse_with(bytes, layer, true)
    }

    /// Gives the offset of the first byte behind the TCP or UDP header, otherwise of the
    /// transport header.
    #[inline]
    pub fn payload_start(&self) -> usize {
        usize::from(self.l4_start) + self.l4.header_len()
    }

    /// Gives the offset of the network header.
    #[inline]
    pub fn l3_at(&self) -> usize {
        usize::from(self.l3_start)
    }

    /// Gives the offset of the transport header.
    #[inline]
    pub fn l4_at(&self) -> usize {
        usize::from(self.l4_start)
    }

    /// Gives the end of the IP packet, or of the frame if it is not IP.
    #[inline]
    pub fn end_at(&self) -> usize {
        self.end as usize
    }

    /// Gives the IP source; `None` for ARP, whose claim is in [`ArpInfo`].
    pub fn source_ip(&self) -> Option<IpAddr> {
        match &self.net {
            Net::V4(info) => Some(info.src.into()),
            Net::V6(info) => Some(info.src.into()),
            Net::Arp(_) | Net::Other => None,
        }
    }

    /// Gives the IP destination.
    pub fn destination_ip(&self) -> Option<IpAddr> {
        match &self.net {
            Net::V4(info) => Some(info.dst.into()),
            Net::V6(info) => Some(info.dst.into()),
            Net::Arp(_) | Net::Other => None,
        }
    }

    /// Gives DSCP and ECN of the IP header, 0 if it is not IP.
    #[inline]
    pub fn tos(&self) -> u8 {
        match &self.net {
            Net::V4(info) => info.tos,
            Net::V6(info) => info.tos,
            Net::Arp(_) | Net::Other => 0,
        }
    }

    /// Whether it is an IP fragment.
    #[inline]
    pub fn is_fragment(&self) -> bool {
        match &self.net {
            Net::V4(info) => info.fragment,
            Net::V6(info) => info.fragment,
            Net::Arp(_) | Net::Other => false,
        }
    }

    /// Gives a hash that all packets of a flow share: of addresses, protocol and ports; of the
    /// addresses only for fragments; of the link addresses for what is not IP.
    #[inline]
    pub fn flow_hash(&self) -> u32 {
        let hash = match &self.net {
            Net::V4(info) => {
                let pair = (u64::from(u32::from(info.src)) << 32) | u64::from(u32::from(info.dst));
                mix(pair ^ SEED[0], self.port_word(info.fragment) ^ SEED[1])
            }
            Net::V6(info) => {
                let (src, dst) = (u128::from(info.src), u128::from(info.dst));
                let a = mix(src as u64 ^ SEED[0], (src >> 64) as u64 ^ SEED[1]);
                let b = mix(dst as u64 ^ SEED[2], (dst >> 64) as u64 ^ SEED[3]);
                mix(a ^ b.rotate_left(32), self.port_word(info.fragment) ^ SEED[1])
            }
            Net::Arp(_) | Net::Other => self.link_hash(),
        };
        (hash ^ (hash >> 32)) as u32
    }

    fn port_word(&self, is_fragment: bool) -> u64 {
        let word = |src: u16, dst: u16| (u64::from(src) << 16) | u64::from(dst);
        match self.l4 {
            _ if is_fragment => 0,
            L4::Tcp { src_port, dst_port, .. } => word(src_port, dst_port) | 6 << 32,
            L4::Udp { src_port, dst_port } => word(src_port, dst_port) | 17 << 32,
            L4::Icmp4 { .. } => 1 << 32,
            L4::Icmp6 { .. } => 58 << 32,
            L4::Other(number) => u64::from(number) << 32,
            L4::None => 0,
        }
    }

    fn link_hash(&self) -> u64 {
        let Some(link) = &self.link else { return 0 };
        let word =
            |mac: [u8; 6]| mac.iter().fold(0, |word: u64, byte| (word << 8) | u64::from(*byte));
        mix(word(link.src.0) ^ SEED[0], word(link.dst.0) ^ SEED[1])
    }

    #[inline(always)]
    fn parse_with(bytes: &[u8], layer: Layer, is_super: bool) -> Result<Self, ParseError> {
        match layer {
            Layer::L3 => match bytes.first().map(|byte| byte >> 4) {
                Some(4) => Self::parse_v4(bytes, 0, None, is_super),
                Some(6) => Self::parse_v6(bytes, 0, None, is_super),
                Some(_) => Err(ParseError::IpVersion),
                None => Err(ParseError::IpTruncated),
            },
            Layer::L2 => {
                let (link, at) = Link::parse(bytes)?;
                match link.ethertype {
                    ethernet::TYPE_IPV4 => Self::parse_v4(bytes, at, Some(link), is_super),
                    ethernet::TYPE_IPV6 => Self::parse_v6(bytes, at, Some(link), is_super),
                    ethernet::TYPE_ARP => {
                        Ok(Self::not_ip(bytes, at, link, arp::parse(&bytes[at..])?))
                    }
                    _ => Ok(Self::not_ip(bytes, at, link, Net::Other)),
                }
            }
        }
    }

    fn not_ip(bytes: &[u8], at: usize, link: Link, net: Net) -> Self {
        Self {
            link: Some(link),
            net,
            l4: L4::None,
            l3_start: at as u16,
            l4_start: at as u16,
            end: bytes.len() as u32,
        }
    }

    #[inline(always)]
    fn parse_v4(
        bytes: &[u8],
        at: usize,
        link: Option<Link>,
        is_super: bool,
    ) -> Result<Self, ParseError> {
        let packet = &bytes[at..];
        let ip = ipv4::parse(packet)?;
        let len = checked_len(ip.total_len, ip.header_len, packet.len(), is_super)?;
        let l4 = if ip.info.fragment && !ip.info.first_fragment {
            L4::None
        } else {
            L4::parse(ip.protocol, &packet[ip.header_len..len], ip.info.fragment)?
        };
        Ok(Self {
            link,
            net: Net::V4(ip.info),
            l4,
            l3_start: at as u16,
            l4_start: (at + ip.header_len) as u16,
            end: (at + len) as u32,
        })
    }

    #[inline(always)]
    fn parse_v6(
        bytes: &[u8],
        at: usize,
        link: Option<Link>,
        is_super: bool,
    ) -> Result<Self, ParseError> {
        let packet = &bytes[at..];
        let ip = ipv6::parse(packet)?;
        let said =
            if ip.payload_len == 0 && is_super { 0 } else { ipv6::HEADER_LEN + ip.payload_len };
        let len = checked_len(said, ipv6::HEADER_LEN, packet.len(), is_super)?;
        let walked = ipv6::walk(&packet[..len], ip.next)?;
        let ipv6::Walked { next, at: l4_at, fragment, first_fragment } = walked;
        let l4 = if fragment && !first_fragment {
            L4::None
        } else {
            L4::parse(next, &packet[l4_at..len], fragment)?
        };
        Ok(Self {
            link,
            net: Net::V6(V6Info { fragment, first_fragment, ..ip.info }),
            l4,
            l3_start: at as u16,
            l4_start: (at + l4_at) as u16,
            end: (at + len) as u32,
        })
    }
}

/// Gives the length of an IP packet, from what its header says and what is there.
fn checked_len(
    said: usize,
    header_len: usize,
    have: usize,
    is_super: bool,
) -> Result<usize, ParseError> {
    if is_super && said == 0 {
        return Ok(have);
    }
    if said < header_len || said > have {
        return Err(ParseError::IpLength { len: said, have });
    }
    Ok(said)
}

/// Digits of pi; any odd-looking words do.
const SEED: [u64; 4] =
    [0x243f_6a88_85a3_08d3, 0x1319_8a2e_0370_7344, 0xa409_3822_299f_31d0, 0x082e_fa98_ec4e_6c89];

/// Multiplies to 128 bits and folds.
#[inline]
fn mix(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    product as u64 ^ (product >> 64) as u64
}

#[cfg(test)]
mod tests;
