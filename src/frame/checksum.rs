//! The Internet checksum (RFC 1071), whole and incremental (RFC 1624).

use std::net::{Ipv4Addr, Ipv6Addr};
use std::ops::Range;

use super::{Headers, L4, Net, be16, l4};
use crate::sys::sum::{move_words, sum_words};

/// A running one's complement sum.
///
/// Kept in the machine's byte order, which the sum does not mind (RFC 1071 section 2 (B)), and
/// swapped once at the end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sum(u64);

impl Sum {
    /// Starts with nothing.
    pub const fn new() -> Self {
        Self(0)
    }

    /// Adds a number that stands in the packet in network byte order.
    #[inline]
    pub fn add_u16(&mut self, value: u16) {
        self.0 += u64::from(value.to_be());
    }

    /// Adds a number that stands in the packet in network byte order.
    #[inline]
    pub fn add_u32(&mut self, value: u32) {
        self.0 += u64::from(value.to_be());
    }

    /// Adds another sum.
    #[inline]
    pub fn add(&mut self, other: Self) {
        self.0 += u64::from(other.folded());
    }

    /// Adds bytes that begin at an even offset of what is summed; an odd last byte is padded with
    /// zero, so nothing may follow it. At most 64 KiB at once, and 2^15 times.
    #[inline]
    pub fn add_bytes(&mut self, bytes: &[u8]) {
        self.0 += sum_words(bytes);
    }

    /// Adds a part of `bytes`, as [`Sum::add_bytes`] does, and moves it to the front meanwhile.
    ///
    /// # Panics
    ///
    /// Panics if the part does not lie in `bytes`, or begins before `to`.
    #[inline]
    pub fn add_moved(&mut self, bytes: &mut [u8], part: Range<usize>, to: usize) {
        self.0 += move_words(bytes, part, to);
    }

    /// Gives the sum in 16 bits, not complemented.
    #[inline]
    pub fn fold(self) -> u16 {
        u16::from_be(self.folded())
    }

    /// Gives the checksum: the complement of the sum.
    #[inline]
    pub fn checksum(self) -> u16 {
        !self.fold()
    }

    #[inline]
    fn folded(self) -> u16 {
        let sum = (self.0 & 0xffff_ffff) + (self.0 >> 32);
        let sum = (sum & 0xffff) + ((sum >> 16) & 0xffff) + (sum >> 32);
        let sum = (sum & 0xffff) + (sum >> 16);
        ((sum & 0xffff) + (sum >> 16)) as u16
    }
}

/// What a transport checksum says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Check {
    /// It is right.
    Valid,
    /// The field holds the sum of the pseudo-header only, as the kernel leaves it for a device to
    /// finish (CHECKSUM_PARTIAL).
    Partial,
    /// It is wrong.
    Invalid,
    /// There is none to check: not TCP or UDP, UDP without checksum, a fragment.
    Absent,
    /// There is one, and it is not partial; more was not looked at.
    Unread,
}

/// Sums the IPv4 pseudo-header (RFC 9293 section 3.1).
#[inline]
pub fn pseudo_v4(src: Ipv4Addr, dst: Ipv4Addr, protocol: u8, len: u16) -> Sum {
    let mut sum = Sum::new();
    sum.add_u32(src.into());
    sum.add_u32(dst.into());
    sum.add_u16(u16::from(protocol));
    sum.add_u16(len);
    sum
}

/// Sums the IPv6 pseudo-header (RFC 8200 section 8.1).
#[inline]
pub fn pseudo_v6(src: Ipv6Addr, dst: Ipv6Addr, protocol: u8, len: u16) -> Sum {
    let mut sum = Sum::new();
    sum.add_bytes(&src.octets());
    sum.add_bytes(&dst.octets());
    sum.add_u16(u16::from(protocol));
    sum.add_u16(len);
    sum
}

/// Sums the pseudo-header of a TCP or UDP packet with the transport length given; `None` for
/// others.
#[inline]
pub fn pseudo(headers: &Headers, len: u16) -> Option<Sum> {
    let (protocol, _) = headers.l4.checksum_place()?;
    match &headers.net {
        Net::V4(info) => Some(pseudo_v4(info.src, info.dst, protocol, len)),
        Net::V6(info) => Some(pseudo_v6(info.src, info.dst, protocol, len)),
        Net::Arp(_) | Net::Other => None,
    }
}

/// Gives the right checksum of an IPv4 header, whatever its field holds.
pub fn ipv4_header(header: &[u8]) -> u16 {
    let mut sum = Sum::new();
    sum.add_bytes(&header[..10]);
    sum.add_bytes(&header[12..]);
    sum.checksum()
}

/// Gives the right TCP or UDP checksum, whatever the field holds; 0 for other protocols.
///
/// A UDP sum of zero is given as 0xffff (RFC 768).
///
/// # Panics
///
/// Panics if `headers` were not made from `bytes`.
pub fn transport_checksum(bytes: &[u8], headers: &Headers) -> u16 {
    let l4 = &bytes[headers.l4_at()..headers.end_at()];
    let Some((_, at)) = headers.l4.checksum_place() else { return 0 };
    let Some(mut sum) = pseudo(headers, l4.len() as u16) else { return 0 };
    sum.add_bytes(&l4[..at]);
    sum.add_bytes(&l4[at + 2..]);
    match sum.checksum() {
        0 if matches!(headers.l4, L4::Udp { .. }) => 0xffff,
        checksum => checksum,
    }
}

/// Checks the TCP or UDP checksum.
///
/// # Panics
///
/// Panics if `headers` were not made from `bytes`.
#[inline]
pub fn verify_transport(bytes: &[u8], headers: &Headers) -> Check {
    let Some((_, at)) = headers.l4.checksum_place() else { return Check::Absent };
    if headers.is_fragment() {
        return Check::Absent;
    }
    let mut segment = &bytes[headers.l4_at()..headers.end_at()];
    let field = be16(segment, at);
    if let L4::Udp { .. } = headers.l4 {
        if field == 0 {
            return Check::Absent;
        }
        let len = usize::from(be16(segment, l4::UDP_LENGTH));
        if len < l4::UDP_HEADER_LEN || len > segment.len() {
            return Check::Invalid;
        }
        segment = &segment[..len];
    }
    let Some(mut sum) = pseudo(headers, segment.len() as u16) else { return Check::Absent };
    let partial = sum.fold();
    sum.add_bytes(segment);
    match sum.fold() {
        0xffff => Check::Valid,
        _ if field == partial => Check::Partial,
        _ => Check::Invalid,
    }
}

/// As [`verify_transport`], but without reading the payload of a checksum that is not partial.
pub fn glance(bytes: &[u8], headers: &Headers) -> Check {
    let Some((_, at)) = headers.l4.checksum_place() else { return Check::Absent };
    let is_none = match headers.l4 {
        L4::Udp { .. } => be16(bytes, headers.l4_at() + at) == 0,
        _ => false,
    };
    if is_none || headers.is_fragment() {
        Check::Absent
    } else if looks_partial(bytes, headers) {
        verify_transport(bytes, headers)
    } else {
        Check::Unread
    }
}

/// Whether the field holds the sum of the pseudo-header only; reads no payload.
///
/// True by chance for one in 65 536 finished checksums: ask [`verify_transport`] where that
/// matters.
pub fn looks_partial(bytes: &[u8], headers: &Headers) -> bool {
    let len = headers.end_at() - headers.l4_at();
    let Some((_, at)) = headers.l4.checksum_place() else { return false };
    let Some(sum) = pseudo(headers, len as u16) else { return false };
    let l4 = &bytes[headers.l4_at()..];
    let is_whole = match headers.l4 {
        L4::Udp { .. } => usize::from(be16(l4, l4::UDP_LENGTH)) == len,
        _ => true,
    };
    is_whole && !headers.is_fragment() && be16(l4, at) == sum.fold()
}

/// Gives the checksum after one 16-bit word of what it covers has changed (RFC 1624, eqn. 3).
#[inline]
pub fn update(checksum: u16, old: u16, new: u16) -> u16 {
    let sum = u32::from(!checksum) + u32::from(!old) + u32::from(new);
    let sum = (sum & 0xffff) + (sum >> 16);
    !(((sum & 0xffff) + (sum >> 16)) as u16)
}

#[cfg(test)]
mod tests;
