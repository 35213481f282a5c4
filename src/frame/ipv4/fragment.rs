//! Fragmentation (RFC 791 section 3.2) of packets that allow it, without moving their payload.

use std::ops::Range;

use super::{DONT_FRAGMENT, MORE_FRAGMENTS, OFFSET_MASK, field};
use crate::frame::{Headers, Net, be16, checksum, put_be16};

/// Fragment offsets count in units of eight bytes.
const UNIT: usize = 8;
/// An offset and what is behind it stay inside the largest packet.
const END_MAX: usize = 65_535;

const OPTION_END: u8 = 0;
const OPTION_NOP: u8 = 1;
/// Only options with this bit go into every fragment.
const OPTION_COPIED: u8 = 0x80;

/// A packet's way into fragments: their headers are new, their payload stays where it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fragments {
    l3_start: usize,
    header_len: usize,
    end: usize,
    /// Payload of every fragment but the last; a multiple of eight.
    size: usize,
}

impl Fragments {
    /// Plans fragments of at most `max_packet` bytes with the link header.
    ///
    /// Gives `None` for what cannot be fragmented: not IPv4, DF set, no room for eight bytes of
    /// payload, a fragment whose offset would leave the largest packet, or a wrong header checksum:
    /// the fragments would get a right one. A transport checksum that is still partial has to be
    /// finished before. Padding behind the packet is left out.
    ///
    /// # Panics
    ///
    /// Panics if `headers` were not made from `bytes`.
    pub fn plan(bytes: &[u8], headers: &Headers, max_packet: usize) -> Option<Self> {
        let Net::V4(info) = &headers.net else { return None };
        let header_len = headers.l4_at();
        let size = max_packet.checked_sub(header_len)? / UNIT * UNIT;
        let ip = &bytes[headers.l3_at()..];
        let offset = usize::from(be16(ip, field::FRAGMENT) & OFFSET_MASK) * UNIT;
        let mut sum = checksum::Sum::new();
        sum.add_bytes(&ip[..header_len - headers.l3_at()]);
        let is_right = sum.fold() == 0xffff;
        let ends_inside = offset + (headers.end_at() - headers.l3_at()) <= END_MAX;
        if info.dont_fragment || size == 0 || !ends_inside || !is_right {
            return None;
        }
        Some(Self { l3_start: headers.l3_at(), header_len, end: headers.end_at(), size })
    }

    /// Gives the number of fragments, at least one.
    pub fn count(&self) -> usize {
        (self.end - self.header_len).div_ceil(self.size).max(1)
    }

    /// Gives the length of the header that each fragment needs, with the link header.
    pub fn header_len(&self) -> usize {
        self.header_len
    }

    /// Writes the header of fragment `index` and gives where its payload is in the original.
    ///
    /// # Panics
    ///
    /// Panics unless `index` is below [`Fragments::count`], `original` is what was planned, and
    /// `header` is [`Fragments::header_len`] bytes long.
    pub fn fragment(&self, index: usize, original: &[u8], header: &mut [u8]) -> Range<usize> {
        assert!(index < self.count(), "fragment {index} of {}", self.count());
        let start = self.header_len + index * self.size;
        let end = (start + self.size).min(self.end);
        header.copy_from_slice(&original[..self.header_len]);
        let ip = &mut header[self.l3_start..];
        if index > 0 {
            blank_uncopied_options(&mut ip[super::HEADER_LEN..]);
        }
        let len = (self.header_len - self.l3_start) + (end - start);
        put_be16(ip, field::TOTAL_LEN, len as u16);
        let word = be16(ip, field::FRAGMENT);
        let offset = (word & OFFSET_MASK) + (index * self.size / UNIT) as u16;
        let more = if end < self.end { MORE_FRAGMENTS } else { word & MORE_FRAGMENTS };
        put_be16(
            ip,
            field::FRAGMENT,
            (word & !(DONT_FRAGMENT | MORE_FRAGMENTS | OFFSET_MASK)) | more | offset,
        );
        let sum = checksum::ipv4_header(ip);
        put_be16(ip, field::CHECKSUM, sum);
        start..end
    }
}

/// Makes no-operations of the options that only the first fragment carries.
fn blank_uncopied_options(options: &mut [u8]) {
    let mut at = 0;
    while at < options.len() {
        let kind = options[at];
        let len = match kind {
            OPTION_END => return,
            OPTION_NOP => 1,
            _ => match options.get(at + 1) {
                Some(len) if *len >= 2 && at + usize::from(*len) <= options.len() => {
                    usize::from(*len)
                }
                _ => return,
            },
        };
        if kind & OPTION_COPIED == 0 {
            options[at..at + len].fill(OPTION_NOP);
        }
        at += len;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::frame::Layer;
    use crate::frame::build::Packet;

    fn fragments(bytes: &[u8], layer: Layer, max: usize) -> Vec<Vec<u8>> {
        let headers = Headers::parse(bytes, layer).unwrap();
        let plan = Fragments::plan(bytes, &headers, max).unwrap();
        (0..plan.count())
            .map(|index| {
                let mut fragment = vec![0; plan.header_len()];
                let payload = plan.fragment(index, bytes, &mut fragment);
                fragment.extend_from_slice(&bytes[payload]);
                fragment
            })
            .collect()
    }

    #[test]
    fn wrong_header_checksum_is_not_made_right() {
        let packet = Packet::udp4().payload(100).fragment(0, false);
        let (mut bytes, at) = (packet.bytes(), packet.headers().l3_at() + field::SRC);
        bytes[at] ^= 1;
        let headers = Headers::parse(&bytes, Layer::L3).unwrap();
        assert_eq!(Fragments::plan(&bytes, &headers, 100), None);
        bytes[at] ^= 1;
        assert!(Fragments::plan(&bytes, &headers, 100).is_some());
    }

    fn payload_at(fragment: &[u8], layer: Layer) -> (usize, bool, Vec<u8>) {
        let headers = Headers::parse(fragment, layer).unwrap();
        let ip = &fragment[headers.l3_at()..];
        assert_eq!(checksum::ipv4_header(&ip[..headers.l4_at() - headers.l3_at()]), be16(ip, 10));
        let word = be16(ip, field::FRAGMENT);
        let offset = usize::from(word & OFFSET_MASK) * UNIT;
        (offset, word & MORE_FRAGMENTS != 0, fragment[headers.l4_at()..].to_vec())
    }

    proptest! {
        #[test]
        fn fragments_put_together_are_the_packet(
            len in 0_usize..4000, max in 60_usize..2000, is_tagged: bool, first in 0_u16..100, more: bool,
        ) {
            let mut packet = Packet::udp4().payload(len).fragment(first * 8, more);
            if is_tagged {
                packet = packet.tagged(&[9]);
            }
            let bytes = packet.bytes();
            let headers = Headers::parse(&bytes, packet.layer()).unwrap();
            let mut rest = bytes[headers.l4_at()..headers.end_at()].to_vec();
            let mut next = usize::from(first) * 8;
            let all = fragments(&bytes, packet.layer(), max);
            for (index, fragment) in all.iter().enumerate() {
                prop_assert!(fragment.len() <= max);
                let (offset, has_more, payload) = payload_at(fragment, packet.layer());
                prop_assert_eq!(offset, next);
                prop_assert_eq!(has_more, index + 1 < all.len() || more);
                let tail = rest.split_off(payload.len());
                prop_assert_eq!(&payload, &rest);
                next += payload.len();
                rest = tail;
            }
            prop_assert!(rest.is_empty());
        }
    }

    #[test]
    fn options_without_the_copied_bit_stay_in_the_first_fragment() {
        // Record route (7), a strange one with the copied bit, end.
        let options = [7, 3, 4, 0x83, 3, 4, 0, 0];
        let packet = Packet::udp4().ip_options(&options).payload(3000);
        let all = fragments(&packet.bytes(), Layer::L3, 1000);
        assert_eq!(all[0][20..28], options);
        for fragment in &all[1..] {
            assert_eq!(fragment[20..28], [1, 1, 1, 0x83, 3, 4, 0, 0]);
        }
    }

    #[test]
    fn packets_that_must_not_be_fragmented_are_not() {
        let plan = |packet: Packet, max| {
            let bytes = packet.bytes();
            let headers = Headers::parse(&bytes, packet.layer()).unwrap();
            Fragments::plan(&bytes, &headers, max)
        };
        assert_eq!(plan(Packet::udp4().dont_fragment().payload(2000), 1000), None);
        assert_eq!(plan(Packet::udp6().payload(2000), 1000), None);
        assert_eq!(plan(Packet::udp4().payload(2000), 27), None);
        assert!(plan(Packet::udp4().payload(2000), 28).is_some());
        assert_eq!(plan(Packet::udp4().payload(2000).fragment(65_528, false), 1000), None);
    }
}
