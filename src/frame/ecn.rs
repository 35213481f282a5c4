//! Congestion notification across the tunnel (RFC 6040, normal mode) and the traffic class byte.

use super::{Headers, Net, be16, checksum, ipv4, put_be16};
use crate::drops::DropReason;

const ECN_MASK: u8 = 0x03;
const NOT_ECT: u8 = 0x00;
const ECT_1: u8 = 0x01;
const CE: u8 = 0x03;

/// Gives the outer traffic class: the inner ECN, and the inner DSCP if it is to be copied.
#[inline]
pub fn encapsulate(inner_tos: u8, copy_dscp: bool) -> u8 {
    if copy_dscp { inner_tos } else { inner_tos & ECN_MASK }
}

/// Gives the inner traffic class after decapsulation (RFC 6040 section 4.2, figure 4).
///
/// # Errors
///
/// [`DropReason::EcnInvalid`] if the outer header says congestion experienced and the inner
/// transport does not speak ECN.
#[inline]
pub fn decapsulate(outer_tos: u8, inner_tos: u8) -> Result<u8, DropReason> {
    let ecn = match (inner_tos & ECN_MASK, outer_tos & ECN_MASK) {
        (NOT_ECT, CE) => return Err(DropReason::EcnInvalid),
        (NOT_ECT, _) => NOT_ECT,
        (CE, _) | (_, CE) => CE,
        (_, ECT_1) => ECT_1,
        (inner, _) => inner,
    };
    Ok((inner_tos & !ECN_MASK) | ecn)
}

/// Writes the traffic class of an IP packet and corrects the IPv4 header checksum.
///
/// # Panics
///
/// Panics if `headers` were not made from `bytes`.
pub fn set_tos(bytes: &mut [u8], headers: &Headers, tos: u8) {
    let ip = &mut bytes[headers.l3_at()..];
    match &headers.net {
        Net::V4(_) => {
            let old = be16(ip, 0);
            ip[ipv4::field::TOS] = tos;
            let sum = checksum::update(be16(ip, ipv4::field::CHECKSUM), old, be16(ip, 0));
            put_be16(ip, ipv4::field::CHECKSUM, sum);
        }
        Net::V6(_) => {
            ip[0] = (ip[0] & 0xf0) | (tos >> 4);
            ip[1] = (ip[1] & 0x0f) | (tos << 4);
        }
        Net::Arp(_) | Net::Other => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::Layer;
    use crate::frame::build::Packet;

    const DROP: u8 = 0xff;

    #[test]
    fn decapsulation_follows_the_table_of_rfc_6040() {
        // Rows: inner Not-ECT, ECT(1), ECT(0), CE. Columns: outer in the same order.
        let table = [[0, 0, 0, DROP], [1, 1, 1, 3], [2, 1, 2, 3], [3, 3, 3, 3]];
        for (inner, row) in table.iter().enumerate() {
            for (outer, expected) in row.iter().enumerate() {
                let result = decapsulate(0xb8 | outer as u8, 0x28 | inner as u8);
                match *expected {
                    DROP => assert_eq!(result, Err(DropReason::EcnInvalid)),
                    ecn => assert_eq!(result, Ok(0x28 | ecn), "inner {inner} outer {outer}"),
                }
            }
        }
    }

    #[test]
    fn encapsulation_copies_ecn_and_dscp_on_request() {
        assert_eq!(encapsulate(0xbb, false), 0x03);
        assert_eq!(encapsulate(0xbb, true), 0xbb);
    }

    #[test]
    fn set_tos_keeps_the_header_checksum_right() {
        for packet in [Packet::tcp4(), Packet::tcp6(), Packet::tcp4().tagged(&[7])] {
            for tos in [0, 1, 0x03, 0xb8, 0xff] {
                let mut bytes = packet.clone().tos(0x2a).bytes();
                let headers = Headers::parse(&bytes, packet.layer()).unwrap();
                set_tos(&mut bytes, &headers, tos);
                assert_eq!(bytes, packet.clone().tos(tos).bytes());
            }
        }
    }

    #[test]
    fn set_tos_leaves_other_frames_alone() {
        let mut frame = vec![0x55; 60];
        let headers = Headers::parse(&frame, Layer::L2).unwrap();
        set_tos(&mut frame, &headers, 3);
        assert_eq!(frame, vec![0x55; 60]);
    }
}
