//! The Internet checksum (RFC 1071), written apart from the product's: it is the judge.

use std::net::IpAddr;

/// The folded ones' complement sum of the bytes as 16-bit big-endian words.
pub fn sum(bytes: &[u8]) -> u16 {
    let mut total = 0_u64;
    let mut quads = bytes.chunks_exact(4);
    for quad in &mut quads {
        total += u64::from(u32::from_be_bytes([quad[0], quad[1], quad[2], quad[3]]));
    }
    let mut last = [0_u8; 4];
    last[..quads.remainder().len()].copy_from_slice(quads.remainder());
    fold(total + u64::from(u32::from_be_bytes(last)))
}

/// Adds two folded sums.
pub fn add(one: u16, other: u16) -> u16 {
    fold(u64::from(one) + u64::from(other))
}

/// The folded sum of the pseudo-header of TCP or UDP (RFC 9293 section 3.1, RFC 8200 section 8.1).
pub fn pseudo(src: IpAddr, dst: IpAddr, protocol: u8, len: usize) -> u16 {
    let addresses = match (src, dst) {
        (IpAddr::V4(src), IpAddr::V4(dst)) => add(sum(&src.octets()), sum(&dst.octets())),
        (IpAddr::V6(src), IpAddr::V6(dst)) => add(sum(&src.octets()), sum(&dst.octets())),
        (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => 0,
    };
    fold(u64::from(addresses) + u64::from(protocol) + len as u64)
}

fn fold(mut total: u64) -> u16 {
    while total > 0xffff {
        total = (total & 0xffff) + (total >> 16);
    }
    total as u16
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_of_rfc_1071_comes_out() {
        assert_eq!(sum(&[0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7]), 0xddf2);
        assert_eq!(sum(&[0x00, 0x01, 0xf2]), 0xf201);
    }
}
