//! IPv6 (RFC 8200) and its extension headers.

use std::net::Ipv6Addr;

use super::{ParseError, be16};

/// Length of the fixed header.
pub const HEADER_LEN: usize = 40;

/// Offsets in the fixed header.
pub(crate) mod field {
    pub(crate) const PAYLOAD_LEN: usize = 4;
    pub(crate) const HOP_LIMIT: usize = 7;
    pub(crate) const SRC: usize = 8;
    pub(crate) const DST: usize = 24;
}

const HOP_BY_HOP: u8 = 0;
const ROUTING: u8 = 43;
const FRAGMENT: u8 = 44;
const AUTHENTICATION: u8 = 51;
const DESTINATION: u8 = 60;

/// Extension headers that are walked: each kind once, destination options twice (RFC 8200 4.1),
/// and as many again.
const MAX_EXTENSIONS: usize = 12;

/// What an IPv6 header and its fragment header say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct V6Info {
    /// Source address.
    pub src: Ipv6Addr,
    /// Destination address.
    pub dst: Ipv6Addr,
    /// Traffic class: DSCP and ECN.
    pub tos: u8,
    /// Hop limit.
    pub hop_limit: u8,
    /// Whether it is a fragment: more of them follow, or its offset is not zero.
    pub fragment: bool,
    /// Whether it is a fragment with offset zero.
    pub first_fragment: bool,
}

/// The fixed header with what is needed to go on behind it.
pub(super) struct Parsed {
    pub(super) info: V6Info,
    pub(super) next: u8,
    /// As it stands in the header.
    pub(super) payload_len: usize,
}

#[inline(always)]
pub(super) fn parse(packet: &[u8]) -> Result<Parsed, ParseError> {
    let header: &[u8; HEADER_LEN] = packet.first_chunk().ok_or(ParseError::IpTruncated)?;
    if header[0] >> 4 != 6 {
        return Err(ParseError::IpVersion);
    }
    let address = |at: usize| {
        let mut octets = [0; 16];
        octets.copy_from_slice(&header[at..at + 16]);
        Ipv6Addr::from(octets)
    };
    let info = V6Info {
        src: address(field::SRC),
        dst: address(field::DST),
        tos: (header[0] << 4) | (header[1] >> 4),
        hop_limit: header[field::HOP_LIMIT],
        fragment: false,
        first_fragment: false,
    };
    let payload_len = usize::from(be16(header, field::PAYLOAD_LEN));
    Ok(Parsed { info, next: header[6], payload_len })
}

/// What is behind the extension headers.
pub(super) struct Walked {
    /// The protocol number.
    pub(super) next: u8,
    /// Its offset.
    pub(super) at: usize,
    pub(super) fragment: bool,
    pub(super) first_fragment: bool,
}

/// Walks the extension headers of `packet`, which ends where the IP packet does.
///
/// Behind the fragment header of a fragment that is not the first, nothing is a header.
#[inline(always)]
pub(super) fn walk(packet: &[u8], next: u8) -> Result<Walked, ParseError> {
    if is_extension(next) {
        // cold: extension headers are rare
        return walk_extensions(packet, next);
    }
    Ok(Walked { next, at: HEADER_LEN, fragment: false, first_fragment: false })
}

fn walk_extensions(packet: &[u8], next: u8) -> Result<Walked, ParseError> {
    let mut walked = Walked { next, at: HEADER_LEN, fragment: false, first_fragment: false };
    for _ in 0..MAX_EXTENSIONS {
        if !is_extension(walked.next) {
            return Ok(walked);
        }
        let rest = packet.get(walked.at..).unwrap_or_default();
        let header: &[u8; 8] = rest.first_chunk().ok_or(ParseError::Extension)?;
        let len = match walked.next {
            FRAGMENT => 8,
            AUTHENTICATION => (usize::from(header[1]) + 2) * 4,
            _ => (usize::from(header[1]) + 1) * 8,
        };
        if rest.len() < len {
            return Err(ParseError::Extension);
        }
        if walked.next == FRAGMENT {
            let offset = be16(header, 2);
            walked.fragment = offset & 0xfff9 != 0;
            walked.first_fragment = walked.fragment && offset & 0xfff8 == 0;
        }
        walked.next = header[0];
        walked.at += len;
        if walked.fragment && !walked.first_fragment {
            return Ok(walked);
        }
    }
    Err(ParseError::Extension)
}

fn is_extension(next: u8) -> bool {
    matches!(next, HOP_BY_HOP | ROUTING | FRAGMENT | AUTHENTICATION | DESTINATION)
}
