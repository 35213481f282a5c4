//! TCP (RFC 9293): offsets, flags, and the MSS clamp.

use super::{Headers, L4, be16, checksum, put_be16};

/// Length of a header without options.
pub const HEADER_LEN: usize = 20;

/// Offsets in the header.
pub(crate) mod field {
    pub(crate) const SEQUENCE: usize = 4;
    pub(crate) const ACKNOWLEDGEMENT: usize = 8;
    pub(crate) const DATA_OFFSET: usize = 12;
    pub(crate) const FLAGS: usize = 13;
    pub(crate) const WINDOW: usize = 14;
    pub(crate) const CHECKSUM: usize = 16;
    pub(crate) const URGENT: usize = 18;
}

/// Bits of the flags byte.
pub mod flag {
    /// No more data from the sender.
    pub const FIN: u8 = 0x01;
    /// Synchronise sequence numbers.
    pub const SYN: u8 = 0x02;
    /// Reset.
    pub const RST: u8 = 0x04;
    /// Push.
    pub const PSH: u8 = 0x08;
    /// The acknowledgement field counts.
    pub const ACK: u8 = 0x10;
    /// The urgent field counts.
    pub const URG: u8 = 0x20;
    /// ECN echo (RFC 3168).
    pub const ECE: u8 = 0x40;
    /// Congestion window reduced (RFC 3168).
    pub const CWR: u8 = 0x80;
}

const OPTION_END: u8 = 0;
const OPTION_NOP: u8 = 1;
const OPTION_MSS: u8 = 2;
const OPTION_MSS_LEN: u8 = 4;

/// Lowers the maximum segment size that a SYN offers, and corrects the TCP checksum.
///
/// Gives whether anything changed. A SYN without the option is left as it is: its meaning then is
/// 536 (RFC 9293 section 3.7.1), which every path carries. With `checksum_is_partial` the field
/// holds the sum of the pseudo-header only and stays.
///
/// # Panics
///
/// Panics if `headers` were not made from `bytes`.
pub fn clamp_mss(
    bytes: &mut [u8],
    headers: &Headers,
    max_mss: u16,
    checksum_is_partial: bool,
) -> bool {
    let L4::Tcp { flags, header_len, .. } = headers.l4 else { return false };
    if flags & flag::SYN == 0 || headers.is_fragment() {
        return false;
    }
    // cold: once per connection and direction
    let start = headers.l4_at();
    let tcp = &mut bytes[start..start + usize::from(header_len)];
    let Some(at) = mss_offset(tcp) else { return false };
    let offered = be16(tcp, at);
    if offered <= max_mss {
        return false;
    }
    put_be16(tcp, at, max_mss);
    if !checksum_is_partial {
        // At an odd offset the bytes of the value stand in two words, each in the other's half.
        let swap = |value: u16| if at % 2 == 0 { value } else { value.swap_bytes() };
        let sum = be16(tcp, field::CHECKSUM);
        put_be16(tcp, field::CHECKSUM, checksum::update(sum, swap(offered), swap(max_mss)));
    }
    true
}

/// Finds the value of the MSS option in a whole TCP header.
fn mss_offset(tcp: &[u8]) -> Option<usize> {
    let mut at = HEADER_LEN;
    while let Some(&kind) = tcp.get(at) {
        match kind {
            OPTION_END => return None,
            OPTION_NOP => at += 1,
            _ => {
                let len = *tcp.get(at + 1)?;
                if len < 2 || at + usize::from(len) > tcp.len() {
                    return None;
                }
                if kind == OPTION_MSS && len == OPTION_MSS_LEN {
                    return Some(at + 2);
                }
                at += usize::from(len);
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::frame::build::Packet;
    use crate::frame::checksum::{Check, verify_transport};

    const MSS_1460: [u8; 4] = [2, 4, 0x05, 0xb4];

    fn syn(packet: Packet, options: &[u8]) -> (Vec<u8>, Headers) {
        let packet = packet.flags(flag::SYN).options(options);
        let bytes = packet.bytes();
        let headers = Headers::parse(&bytes, packet.layer()).unwrap();
        (bytes, headers)
    }

    #[test]
    fn larger_mss_is_lowered_and_the_checksum_stays_valid() {
        for packet in [Packet::tcp4(), Packet::tcp6(), Packet::tcp4().tagged(&[5])] {
            // At an even offset, and at an odd one behind a NOP.
            for options in
                [&MSS_1460[..], &[1, 2, 4, 0x05, 0xb4, 1, 1, 1], &[3, 3, 7, 2, 4, 5, 0xb4, 0]]
            {
                let (mut bytes, headers) = syn(packet.clone(), options);
                assert!(clamp_mss(&mut bytes, &headers, 1398, false));
                assert_eq!(verify_transport(&bytes, &headers), Check::Valid);
                let at = mss_offset(&bytes[headers.l4_at()..]).unwrap();
                assert_eq!(be16(&bytes[headers.l4_at()..], at), 1398);
            }
        }
    }

    #[test]
    fn smaller_mss_and_other_segments_stay_as_they_are() {
        let (before, headers) = syn(Packet::tcp4(), &MSS_1460);
        let mut bytes = before.clone();
        assert!(!clamp_mss(&mut bytes, &headers, 1460, false));
        let (mut data, headers) = syn(Packet::tcp4(), &[]);
        assert!(!clamp_mss(&mut data, &headers, 100, false));
        let packet = Packet::tcp4().options(&MSS_1460);
        let mut ack = packet.bytes();
        let headers = Headers::parse(&ack, packet.layer()).unwrap();
        assert!(!clamp_mss(&mut ack, &headers, 100, false));
        assert_eq!((bytes, ack), (before, packet.bytes()));
    }

    #[test]
    fn partial_checksum_is_not_touched() {
        let packet = Packet::tcp4().flags(flag::SYN).options(&MSS_1460).partial();
        let mut bytes = packet.bytes();
        let headers = Headers::parse(&bytes, packet.layer()).unwrap();
        assert!(clamp_mss(&mut bytes, &headers, 1000, true));
        assert_eq!(verify_transport(&bytes, &headers), Check::Partial);
    }

    proptest! {
        #[test]
        fn options_of_any_bytes_never_panic_and_keep_the_checksum(
            words in prop::collection::vec(any::<[u8; 4]>(), 0..10),
            max_mss: u16,
        ) {
            let (mut bytes, headers) = syn(Packet::tcp6(), words.as_flattened());
            clamp_mss(&mut bytes, &headers, max_mss, false);
            prop_assert_eq!(verify_transport(&bytes, &headers), Check::Valid);
        }
    }
}
