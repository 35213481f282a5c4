//! The hop limit, for packets that a relay passes on.

use super::{Headers, Net, be16, checksum, ipv4, ipv6, put_be16};
use crate::drops::DropReason;

/// Takes one hop from an IP packet; leaves what is not IP alone.
///
/// # Errors
///
/// [`DropReason::HopLimit`] if there is none left; the bytes are unchanged then.
///
/// # Panics
///
/// Panics if `headers` were not made from `bytes`.
pub fn decrement(bytes: &mut [u8], headers: &Headers) -> Result<(), DropReason> {
    let ip = &mut bytes[headers.l3_at()..];
    match &headers.net {
        Net::V4(info) if info.hop_limit <= 1 => Err(DropReason::HopLimit),
        Net::V6(info) if info.hop_limit <= 1 => Err(DropReason::HopLimit),
        Net::V4(_) => {
            let old = be16(ip, ipv4::field::TTL);
            ip[ipv4::field::TTL] -= 1;
            let sum = be16(ip, ipv4::field::CHECKSUM);
            let sum = checksum::update(sum, old, be16(ip, ipv4::field::TTL));
            put_be16(ip, ipv4::field::CHECKSUM, sum);
            Ok(())
        }
        Net::V6(_) => {
            ip[ipv6::field::HOP_LIMIT] -= 1;
            Ok(())
        }
        Net::Arp(_) | Net::Other => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::build::Packet;

    #[test]
    fn hop_limit_goes_down_to_one_and_then_drops() {
        for packet in [Packet::udp4(), Packet::udp6(), Packet::udp6().tagged(&[3])] {
            for hops in [255, 2] {
                let mut bytes = packet.clone().hop_limit(hops).bytes();
                let headers = Headers::parse(&bytes, packet.layer()).unwrap();
                assert_eq!(decrement(&mut bytes, &headers), Ok(()));
                assert_eq!(bytes, packet.clone().hop_limit(hops - 1).bytes());
            }
            for hops in [0, 1] {
                let mut bytes = packet.clone().hop_limit(hops).bytes();
                let headers = Headers::parse(&bytes, packet.layer()).unwrap();
                assert_eq!(decrement(&mut bytes, &headers), Err(DropReason::HopLimit));
                assert_eq!(bytes, packet.clone().hop_limit(hops).bytes());
            }
        }
    }
}
