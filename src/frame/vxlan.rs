//! VXLAN (RFC 7348) and VXLAN-GPE (draft-ietf-nvo3-vxlan-gpe), as the kernel speaks them.
//!
//! ```text
//!  0                   1                   2                   3
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |R R Ver I P B O|            Reserved           | Next protocol |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |                       VNI                     |    Reserved   |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! ```
//!
//! Version, P, B, O and the next protocol are reserved in plain VXLAN. Reserved bits that are set
//! are refused, as drivers/net/vxlan/vxlan_core.c does: whoever sets them means an extension.

use crate::drops::DropReason;
use crate::peer::Vni;

/// Length of the header of both.
pub const HEADER_LEN: usize = 8;

const FLAG_VNI: u8 = 0x08;
const FLAG_NEXT_PROTOCOL: u8 = 0x04;

/// The payload that a VXLAN-GPE header names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Next {
    /// An IPv4 packet.
    Ipv4 = 1,
    /// An IPv6 packet.
    Ipv6 = 2,
}

/// Gives the header of a VXLAN datagram.
pub const fn encode(vni: Vni) -> [u8; HEADER_LEN] {
    let [_, a, b, c] = vni.number().to_be_bytes();
    [FLAG_VNI, 0, 0, 0, a, b, c, 0]
}

/// Gives the header of a VXLAN-GPE datagram.
pub const fn encode_gpe(vni: Vni, next: Next) -> [u8; HEADER_LEN] {
    let [_, a, b, c] = vni.number().to_be_bytes();
    [FLAG_VNI | FLAG_NEXT_PROTOCOL, 0, 0, next as u8, a, b, c, 0]
}

/// Reads the header of a VXLAN datagram.
///
/// # Errors
///
/// [`DropReason::VxlanTooShort`]; [`DropReason::VxlanFlags`] unless the VNI bit is set and every
/// reserved bit is zero.
#[inline]
pub fn decode(datagram: &[u8]) -> Result<Vni, DropReason> {
    match header(datagram)? {
        [FLAG_VNI, 0, 0, 0, a, b, c, 0] => Ok(Vni::from_bytes([a, b, c])),
        _ => Err(DropReason::VxlanFlags),
    }
}

/// Reads the header of a VXLAN-GPE datagram.
///
/// # Errors
///
/// [`DropReason::VxlanTooShort`]; [`DropReason::VxlanFlags`] unless the VNI and next protocol bits
/// are set, version 0, and every reserved bit zero; [`DropReason::VxlanNextProtocol`] if the
/// payload is neither IPv4 nor IPv6.
#[inline]
pub fn decode_gpe(datagram: &[u8]) -> Result<(Vni, Next), DropReason> {
    const FLAGS: u8 = FLAG_VNI | FLAG_NEXT_PROTOCOL;
    let [FLAGS, 0, 0, next, a, b, c, 0] = header(datagram)? else {
        return Err(DropReason::VxlanFlags);
    };
    let next = match next {
        1 => Next::Ipv4,
        2 => Next::Ipv6,
        _ => return Err(DropReason::VxlanNextProtocol),
    };
    Ok((Vni::from_bytes([a, b, c]), next))
}

fn header(datagram: &[u8]) -> Result<[u8; HEADER_LEN], DropReason> {
    datagram.first_chunk().copied().ok_or(DropReason::VxlanTooShort)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn headers_are_those_of_the_formats() {
        let vni = Vni::new(0x12_3456).unwrap();
        assert_eq!(encode(vni), [8, 0, 0, 0, 0x12, 0x34, 0x56, 0]);
        assert_eq!(encode_gpe(vni, Next::Ipv4), [0x0c, 0, 0, 1, 0x12, 0x34, 0x56, 0]);
        assert_eq!(encode_gpe(vni, Next::Ipv6), [0x0c, 0, 0, 2, 0x12, 0x34, 0x56, 0]);
    }

    #[test]
    fn truncated_header_is_refused_at_every_length() {
        let vni = Vni::new(42).unwrap();
        for len in 0..HEADER_LEN {
            assert_eq!(decode(&encode(vni)[..len]), Err(DropReason::VxlanTooShort));
            let gpe = encode_gpe(vni, Next::Ipv4);
            assert_eq!(decode_gpe(&gpe[..len]), Err(DropReason::VxlanTooShort));
        }
    }

    #[test]
    fn any_reserved_bit_is_refused() {
        let vni = Vni::new(42).unwrap();
        let (plain, gpe) = (encode(vni), encode_gpe(vni, Next::Ipv4));
        for bit in (0..32).chain(56..64) {
            let flip = |mut header: [u8; 8]| {
                header[bit / 8] ^= 0x80 >> (bit % 8);
                header
            };
            assert_eq!(decode(&flip(plain)), Err(DropReason::VxlanFlags), "bit {bit}");
            let reason = match bit {
                24..32 if bit == 30 => continue, // 1 becomes 3
                24..32 => DropReason::VxlanNextProtocol,
                _ => DropReason::VxlanFlags,
            };
            assert_eq!(decode_gpe(&flip(gpe)), Err(reason), "bit {bit}");
        }
    }

    #[test]
    fn next_protocols_other_than_ip_are_refused() {
        let mut header = encode_gpe(Vni::new(1).unwrap(), Next::Ipv4);
        for next in (0..=u8::MAX).filter(|next| !matches!(next, 1 | 2)) {
            header[3] = next;
            assert_eq!(decode_gpe(&header), Err(DropReason::VxlanNextProtocol));
        }
    }

    proptest! {
        #[test]
        fn encode_then_decode_gives_the_same(number in 0..=Vni::MAX, six: bool) {
            let vni = Vni::new(number).unwrap();
            let next = if six { Next::Ipv6 } else { Next::Ipv4 };
            prop_assert_eq!(decode(&encode(vni)), Ok(vni));
            prop_assert_eq!(decode_gpe(&encode_gpe(vni, next)), Ok((vni, next)));
        }

        #[test]
        fn what_decodes_encodes_to_the_same_bytes(header: [u8; 8]) {
            if let Ok(vni) = decode(&header) {
                prop_assert_eq!(encode(vni), header);
            }
            if let Ok((vni, next)) = decode_gpe(&header) {
                prop_assert_eq!(encode_gpe(vni, next), header);
            }
        }
    }
}
