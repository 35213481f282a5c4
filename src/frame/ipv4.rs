//! IPv4 (RFC 791): parsing, and fragmentation for paths smaller than the packet.

mod fragment;

use std::net::Ipv4Addr;

use super::{ParseError, be16};

pub use fragment::Fragments;

/// Length of a header without options.
pub const HEADER_LEN: usize = 20;

/// Offsets in the header.
pub(crate) mod field {
    pub(crate) const TOS: usize = 1;
    pub(crate) const TOTAL_LEN: usize = 2;
    pub(crate) const ID: usize = 4;
    pub(crate) const FRAGMENT: usize = 6;
    pub(crate) const TTL: usize = 8;
    pub(crate) const PROTOCOL: usize = 9;
    pub(crate) const CHECKSUM: usize = 10;
    pub(crate) const SRC: usize = 12;
    pub(crate) const DST: usize = 16;
}

pub(crate) const DONT_FRAGMENT: u16 = 0x4000;
pub(crate) const MORE_FRAGMENTS: u16 = 0x2000;
pub(crate) const OFFSET_MASK: u16 = 0x1fff;

/// What an IPv4 header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct V4Info {
    /// Source address.
    pub src: Ipv4Addr,
    /// Destination address.
    pub dst: Ipv4Addr,
    /// DSCP and ECN.
    pub tos: u8,
    /// Time to live.
    pub hop_limit: u8,
    /// The DF bit.
    pub dont_fragment: bool,
    /// Whether it is a fragment: more of them follow, or its offset is not zero.
    pub fragment: bool,
    /// Whether it is a fragment with offset zero.
    pub first_fragment: bool,
}

/// A parsed header with what is needed to go on behind it.
pub(super) struct Parsed {
    pub(super) info: V4Info,
    pub(super) header_len: usize,
    pub(super) protocol: u8,
    /// As it stands in the header.
    pub(super) total_len: usize,
}

#[inline(always)]
pub(super) fn parse(packet: &[u8]) -> Result<Parsed, ParseError> {
    let header: &[u8; HEADER_LEN] = packet.first_chunk().ok_or(ParseError::IpTruncated)?;
    if header[0] >> 4 != 4 {
        return Err(ParseError::IpVersion);
    }
    let header_len = usize::from(header[0] & 0x0f) * 4;
    if header_len < HEADER_LEN {
        return Err(ParseError::IpHeaderLength);
    }
    if packet.len() < header_len {
        return Err(ParseError::IpTruncated);
    }
    let fragment = be16(header, field::FRAGMENT);
    let is_fragment = fragment & (MORE_FRAGMENTS | OFFSET_MASK) != 0;
    let [.., s0, s1, s2, s3, d0, d1, d2, d3] = *header;
    let info = V4Info {
        src: Ipv4Addr::new(s0, s1, s2, s3),
        dst: Ipv4Addr::new(d0, d1, d2, d3),
        tos: header[field::TOS],
        hop_limit: header[field::TTL],
        dont_fragment: fragment & DONT_FRAGMENT != 0,
        fragment: is_fragment,
        first_fragment: is_fragment && fragment & OFFSET_MASK == 0,
    };
    let total_len = usize::from(be16(header, field::TOTAL_LEN));
    Ok(Parsed { info, header_len, protocol: header[field::PROTOCOL], total_len })
}
