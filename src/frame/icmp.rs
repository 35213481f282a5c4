//! The answer to a packet that is too large: ICMP fragmentation needed (RFC 1191) and ICMPv6 packet
//! too big (RFC 4443 section 3.2).

use std::net::{Ipv4Addr, Ipv6Addr};

use super::{Headers, L4, Net, V4Info, V6Info, checksum, ipv4, ipv6, protocol, put_be16};

/// The longest answer: the IPv6 minimum MTU behind a link header with eight tags.
pub const LEN_MAX: usize = V6_LEN_MAX + 14 + 8 * 4;

/// An ICMP error fits where every host must take a packet (RFC 1812 section 4.3.2.3).
const V4_LEN_MAX: usize = 576;
/// An ICMPv6 error fits the minimum MTU (RFC 4443 section 3.2).
const V6_LEN_MAX: usize = 1280;
const ICMP_LEN: usize = 8;

/// The smallest MTU that each version knows (RFC 791, RFC 8200 section 5).
const V4_MTU_MIN: u16 = 68;
const V6_MTU_MIN: u16 = 1280;

const UNREACHABLE: u8 = 3;
const FRAGMENTATION_NEEDED: u8 = 4;
const PACKET_TOO_BIG: u8 = 2;

const V4_HOP_LIMIT: u8 = 64;
const V6_HOP_LIMIT: u8 = 255;

/// Builds the answer to `original`, as the frame or packet that goes back where it came from.
///
/// It goes to the original's source, from its destination, since the tunnel has no address of its
/// own in the network. `mtu` is that of the IP packet. Gives the length written; `None` if nothing
/// may be answered (RFC 1122 section 3.2.2, RFC 4443 section 2.4): to errors, to fragments but the
/// first, to and from group addresses, to IPv4 packets that may be fragmented; or if `out` is
/// shorter than the answer ([`LEN_MAX`] is always enough). Callers limit the rate.
///
/// # Panics
///
/// Panics if `headers` were not made from `original`.
pub fn too_big(original: &[u8], headers: &Headers, mtu: u16, out: &mut [u8]) -> Option<usize> {
    let l3 = headers.l3_at();
    let quote = &original[l3..headers.end_at()];
    if headers.link.is_some_and(|link| link.dst.is_multicast() || link.src.is_multicast()) {
        return None;
    }
    let len = match &headers.net {
        Net::V4(info) if may_answer_v4(info, &headers.l4) => {
            emit_v4(info, quote, mtu, out.get_mut(l3..)?)?
        }
        Net::V6(info) if may_answer_v6(info, &headers.l4) => {
            emit_v6(info, quote, mtu, out.get_mut(l3..)?)?
        }
        Net::V4(_) | Net::V6(_) | Net::Arp(_) | Net::Other => return None,
    };
    out[..l3].copy_from_slice(&original[..l3]);
    if headers.link.is_some() {
        out[..6].copy_from_slice(&original[6..12]);
        out[6..12].copy_from_slice(&original[..6]);
    }
    Some(l3 + len)
}

fn may_answer_v4(info: &V4Info, l4: &L4) -> bool {
    let is_group = |ip: Ipv4Addr| ip.is_multicast() || ip.is_broadcast() || ip.is_unspecified();
    // Echo, router discovery, timestamp and address mask are no errors; what is unknown may be one.
    let is_error = matches!(l4, L4::Icmp4 { kind } if !matches!(kind, 0 | 8..=10 | 13..=18));
    info.dont_fragment
        && (!info.fragment || info.first_fragment)
        && !is_group(info.src)
        && !is_group(info.dst)
        && !info.src.is_loopback()
        && !is_error
}

fn may_answer_v6(info: &V6Info, l4: &L4) -> bool {
    let is_group = |ip: Ipv6Addr| ip.is_multicast() || ip.is_unspecified();
    // Below 128 are the errors (RFC 4443 section 2.1); 137 is the redirect.
    let is_error = matches!(l4, L4::Icmp6 { kind } if *kind < 128 || *kind == 137);
    (!info.fragment || info.first_fragment)
        && !is_group(info.src)
        && !is_group(info.dst)
        && !info.src.is_loopback()
        && !is_error
}

fn emit_v4(info: &V4Info, quote: &[u8], mtu: u16, out: &mut [u8]) -> Option<usize> {
    let quote = &quote[..quote.len().min(V4_LEN_MAX - ipv4::HEADER_LEN - ICMP_LEN)];
    let len = ipv4::HEADER_LEN + ICMP_LEN + quote.len();
    let (ip, icmp) = out.get_mut(..len)?.split_at_mut(ipv4::HEADER_LEN);
    ip.fill(0);
    ip[0] = 0x45;
    put_be16(ip, ipv4::field::TOTAL_LEN, len as u16);
    put_be16(ip, ipv4::field::FRAGMENT, ipv4::DONT_FRAGMENT);
    ip[ipv4::field::TTL] = V4_HOP_LIMIT;
    ip[ipv4::field::PROTOCOL] = protocol::ICMP4;
    ip[ipv4::field::SRC..][..4].copy_from_slice(&info.dst.octets());
    ip[ipv4::field::DST..][..4].copy_from_slice(&info.src.octets());
    let sum = checksum::ipv4_header(ip);
    put_be16(ip, ipv4::field::CHECKSUM, sum);

    icmp[..ICMP_LEN].fill(0);
    icmp[0] = UNREACHABLE;
    icmp[1] = FRAGMENTATION_NEEDED;
    put_be16(icmp, 6, mtu.max(V4_MTU_MIN));
    icmp[ICMP_LEN..].copy_from_slice(quote);
    let mut sum = checksum::Sum::new();
    sum.add_bytes(icmp);
    put_be16(icmp, 2, sum.checksum());
    Some(len)
}

fn emit_v6(info: &V6Info, quote: &[u8], mtu: u16, out: &mut [u8]) -> Option<usize> {
    let quote = &quote[..quote.len().min(V6_LEN_MAX - ipv6::HEADER_LEN - ICMP_LEN)];
    let len = ipv6::HEADER_LEN + ICMP_LEN + quote.len();
    let (ip, icmp) = out.get_mut(..len)?.split_at_mut(ipv6::HEADER_LEN);
    ip.fill(0);
    ip[0] = 0x60;
    put_be16(ip, ipv6::field::PAYLOAD_LEN, icmp.len() as u16);
    ip[6] = protocol::ICMP6;
    ip[ipv6::field::HOP_LIMIT] = V6_HOP_LIMIT;
    ip[ipv6::field::SRC..][..16].copy_from_slice(&info.dst.octets());
    ip[ipv6::field::DST..][..16].copy_from_slice(&info.src.octets());

    icmp[..ICMP_LEN].fill(0);
    icmp[0] = PACKET_TOO_BIG;
    put_be16(icmp, 6, mtu.max(V6_MTU_MIN));
    icmp[ICMP_LEN..].copy_from_slice(quote);
    let mut sum = checksum::pseudo_v6(info.dst, info.src, protocol::ICMP6, icmp.len() as u16);
    sum.add_bytes(icmp);
    put_be16(icmp, 2, sum.checksum());
    Some(len)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::Layer;
    use crate::frame::build::{Packet, icmp_is_valid};

    fn answer(packet: &Packet, mtu: u16) -> Option<Vec<u8>> {
        let bytes = packet.bytes();
        let headers = Headers::parse(&bytes, packet.layer()).unwrap();
        let mut out = [0xaa; LEN_MAX];
        too_big(&bytes, &headers, mtu, &mut out).map(|len| out[..len].to_vec())
    }

    #[test]
    fn ipv4_answer_goes_back_with_the_mtu_and_the_quoted_packet() {
        let packet = Packet::udp4().dont_fragment().payload(1400);
        let answer = answer(&packet, 1300).unwrap();
        let headers = Headers::parse(&answer, Layer::L3).unwrap();
        assert_eq!(headers.l4, L4::Icmp4 { kind: 3 });
        let original = Headers::parse(&packet.bytes(), Layer::L3).unwrap();
        assert_eq!(headers.source_ip(), original.destination_ip());
        assert_eq!(headers.destination_ip(), original.source_ip());
        assert_eq!(answer.len(), 576);
        assert_eq!(answer[20..22], [3, 4]);
        assert_eq!(answer[26..28], 1300_u16.to_be_bytes());
        assert_eq!(answer[28..], packet.bytes()[..548]);
        assert!(icmp_is_valid(&answer, &headers));
    }

    #[test]
    fn ipv6_answer_fits_the_minimum_mtu_and_never_says_less() {
        let packet = Packet::tcp6().payload(1400);
        let answer = answer(&packet, 1000).unwrap();
        let headers = Headers::parse(&answer, Layer::L3).unwrap();
        assert_eq!(headers.l4, L4::Icmp6 { kind: 2 });
        assert_eq!(answer.len(), 1280);
        assert_eq!(answer[44..48], 1280_u32.to_be_bytes());
        assert!(icmp_is_valid(&answer, &headers));
    }

    #[test]
    fn frame_answer_swaps_the_link_addresses_and_keeps_the_tags() {
        for tags in [&[][..], &[7], &[100, 7]] {
            let packet = Packet::udp4().dont_fragment().tagged(tags).payload(90);
            let bytes = packet.bytes();
            let original = Headers::parse(&bytes, Layer::L2).unwrap();
            let answer = answer(&packet, 1300).unwrap();
            let headers = Headers::parse(&answer, Layer::L2).unwrap();
            let (link, was) = (headers.link.unwrap(), original.link.unwrap());
            assert_eq!((link.src, link.dst, link.vlan), (was.dst, was.src, was.vlan));
            assert_eq!(answer[12..headers.l3_at()], bytes[12..original.l3_at()]);
            assert_eq!(answer[headers.l4_at() + 8..], bytes[original.l3_at()..]);
            assert!(icmp_is_valid(&answer, &headers));
        }
    }

    #[test]
    fn padding_is_not_quoted() {
        let packet = Packet::udp4().dont_fragment().tagged(&[]).payload(1).padding(17);
        assert_eq!(answer(&packet, 1300).unwrap().len(), 14 + 28 + 29);
    }

    #[test]
    fn nothing_answers_what_may_be_fragmented_or_went_to_a_group() {
        assert_eq!(answer(&Packet::udp4(), 1300), None);
        let v4 = Packet::udp4().dont_fragment();
        for dst in [[224, 0, 0, 1], [255; 4], [0; 4]] {
            assert_eq!(answer(&v4.clone().dst4(dst), 1300), None);
        }
        assert_eq!(answer(&v4.clone().src4([239, 1, 1, 1]), 1300), None);
        assert_eq!(answer(&v4.clone().tagged(&[]).dst_mac([0xff; 6]), 1300), None);
        assert_eq!(answer(&Packet::udp6().dst6("ff02::1"), 1300), None);
        assert_eq!(answer(&Packet::udp6().src6("::"), 1300), None);
    }

    #[test]
    fn nothing_answers_errors_and_later_fragments() {
        let v4 = Packet::icmp4(3).dont_fragment();
        assert_eq!(answer(&v4, 1300), None);
        assert!(answer(&Packet::icmp4(8).dont_fragment(), 1300).is_some());
        assert_eq!(answer(&Packet::icmp6(1), 1300), None);
        assert_eq!(answer(&Packet::icmp6(137), 1300), None);
        assert!(answer(&Packet::icmp6(128), 1300).is_some());
        let fragment = |offset, more| Packet::udp4().dont_fragment().fragment(offset, more);
        assert_eq!(answer(&fragment(8, true), 1300), None);
        assert!(answer(&fragment(0, true), 1300).is_some());
    }

    #[test]
    fn too_little_room_gives_nothing() {
        let packet = Packet::udp4().dont_fragment().tagged(&[]).payload(100);
        let bytes = packet.bytes();
        let headers = Headers::parse(&bytes, Layer::L2).unwrap();
        let len = 14 + 28 + 128;
        for room in 0..len {
            assert_eq!(too_big(&bytes, &headers, 500, &mut vec![0; room]), None);
        }
        assert_eq!(too_big(&bytes, &headers, 500, &mut vec![0; len]), Some(len));
    }
}
