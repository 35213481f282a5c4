use proptest::prelude::*;

use super::*;
use crate::frame::Layer;
use crate::frame::build::{Packet, naive_sum};

#[test]
fn sum_of_the_rfc_1071_example() {
    let mut sum = Sum::new();
    sum.add_bytes(&[0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7]);
    assert_eq!(sum.fold(), 0xddf2);
    assert_eq!(sum.checksum(), 0x220d);
}

#[test]
fn ipv4_header_checksum_of_a_known_header() {
    let header = [
        0x45, 0, 0, 0x73, 0, 0, 0x40, 0, 0x40, 0x11, 0xb8, 0x61, 0xc0, 0xa8, 0, 1, 0xc0, 0xa8, 0,
        0xc7,
    ];
    assert_eq!(ipv4_header(&header), 0xb861);
}

#[test]
fn sum_of_64_kib_of_ones_does_not_overflow() {
    let mut sum = Sum::new();
    for _ in 0..1000 {
        sum.add_bytes(&[0xff; 65_536]);
    }
    assert_eq!(sum.fold(), 0xffff);
}

#[test]
fn checks_tell_valid_partial_invalid_and_absent_apart() {
    let check = |packet: Packet| verify_transport(&packet.bytes(), &packet.headers());
    for packet in [Packet::tcp4(), Packet::tcp6(), Packet::udp4(), Packet::udp6()] {
        for packet in [packet.clone(), packet.tagged(&[4])] {
            for len in [0, 1, 2, 63, 64, 65, 1400, 1401] {
                let packet = packet.clone().payload(len);
                assert_eq!(check(packet.clone()), Check::Valid);
                assert_eq!(check(packet.clone().partial()), Check::Partial);
                assert_eq!(check(packet.clone().wrong_checksum()), Check::Invalid);
                assert_eq!(check(packet.padding(5)), Check::Valid);
            }
        }
    }
    assert_eq!(check(Packet::udp4().zero_checksum()), Check::Absent);
    assert_eq!(check(Packet::icmp4(8)), Check::Absent);
    assert_eq!(check(Packet::udp4().fragment(0, true)), Check::Absent);
    assert_eq!(check(Packet::udp4().fragment(8, false)), Check::Absent);
}

#[test]
fn udp_length_that_leaves_the_packet_is_invalid() {
    let mut bytes = Packet::udp4().payload(10).bytes();
    let headers = Headers::parse(&bytes, Layer::L3).unwrap();
    for len in [0_u16, 7, 19, 65_535] {
        bytes[24..26].copy_from_slice(&len.to_be_bytes());
        assert_eq!(verify_transport(&bytes, &headers), Check::Invalid);
    }
}

#[test]
fn transport_checksum_gives_what_the_field_should_hold() {
    for packet in [Packet::tcp4(), Packet::tcp6(), Packet::udp4(), Packet::udp6()] {
        let packet = packet.payload(333);
        let (valid, headers) = (packet.bytes(), packet.headers());
        let (_, at) = headers.l4.checksum_place().unwrap();
        let expected = be16(&valid, headers.l4_at() + at);
        let unfinished = packet.partial().bytes();
        assert!(looks_partial(&unfinished, &headers) && !looks_partial(&valid, &headers));
        assert_eq!(transport_checksum(&unfinished, &headers), expected);
    }
}

#[test]
fn udp_whose_length_is_not_the_packet_s_is_not_taken_for_partial() {
    let packet = Packet::udp4().payload(100).partial();
    let (mut bytes, headers) = (packet.bytes(), packet.headers());
    assert!(looks_partial(&bytes, &headers));
    bytes[headers.l4_at() + 5] -= 1;
    assert!(!looks_partial(&bytes, &headers));
}

#[test]
fn udp_sum_of_zero_is_sent_as_ones() {
    // The payload is chosen so that everything sums to 0xffff.
    let packet = Packet::udp4().payload(2);
    let headers = packet.headers();
    let mut bytes = packet.payload_bytes(vec![0, 0]).bytes();
    let rest = transport_checksum(&bytes, &headers);
    bytes[28..30].copy_from_slice(&rest.to_be_bytes());
    assert_eq!(transport_checksum(&bytes, &headers), 0xffff);
}

proptest! {
    #[test]
    fn sum_equals_the_naive_sum(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let mut sum = Sum::new();
        sum.add_bytes(&bytes);
        prop_assert_eq!(sum.fold(), naive_sum(&bytes));
    }

    #[test]
    fn sums_of_parts_make_the_whole(
        words in prop::collection::vec(any::<[u8; 2]>(), 0..100), at: prop::sample::Index,
    ) {
        let bytes = words.as_flattened();
        let (left, right) = bytes.split_at(at.index(words.len() + 1) * 2);
        let (mut sum, mut other) = (Sum::new(), Sum::new());
        sum.add_bytes(left);
        other.add_bytes(right);
        sum.add(other);
        prop_assert_eq!(sum.fold(), naive_sum(bytes));
    }

    #[test]
    fn update_equals_a_new_sum(words in prop::collection::vec(any::<[u8; 2]>(), 2..20), new: [u8; 2]) {
        let mut words = words;
        let sum = |words: &[[u8; 2]]| !naive_sum(words.as_flattened());
        let (before, old) = (sum(&words), words[0]);
        words[0] = new;
        let updated = update(before, u16::from_be_bytes(old), u16::from_be_bytes(new));
        // 0x0000 and 0xffff are the same number; all-zero data alone has the latter as its sum.
        prop_assume!(words.iter().any(|word| *word != [0, 0]));
        prop_assert_eq!(updated, sum(&words));
    }
}
