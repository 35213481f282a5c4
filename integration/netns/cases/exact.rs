//! Frames that are not a plain TCP or UDP packet arrive as they left, bit for bit.

use crate::frames::{Frames, ethernet};
use crate::harness::{Case, each};
use crate::need::{KERNEL_VXLAN, OURS};
use crate::pair::{KERNEL, Kind, Pair};
use crate::place::Family;
use crate::stream::Random;

/// The largest payload of a frame on the smallest overlay here: IPv6 underlay, 1500 bytes.
const LARGEST: usize = 1430;

pub fn cases() -> Vec<Case> {
    let cases = [
        Case::over_both("tagged_frames_arrive_bit_exact", |family| tagged(family, Kind::Tap)),
        Case::over_both("tagged_gso_frame_arrives_with_its_tag_and_bytes", |family| {
            tagged_gso(family, Kind::Tap);
        }),
        Case::over_both("unknown_ethertypes_arrive_bit_exact", |family| {
            unknown(family, Kind::Tap);
        }),
    ];
    let with_kernel = [
        Case::over_both("tagged_frames_arrive_bit_exact_with_kernel", |family| {
            tagged(family, KERNEL);
        }),
        Case::over_both("tagged_gso_frame_arrives_with_its_tag_and_bytes_with_kernel", |family| {
            tagged_gso(family, KERNEL);
        }),
        Case::over_both("unknown_ethertypes_arrive_bit_exact_with_kernel", |family| {
            unknown(family, KERNEL);
        }),
    ];
    let cases = each(cases, |case| case.needs(OURS));
    let with_kernel = each(with_kernel, |case| case.needs(OURS).needs(KERNEL_VXLAN));
    cases.into_iter().chain(with_kernel).collect()
}

/// Runs a check in both directions of a pair.
fn both_ways(family: Family, far: Kind, check: impl Fn(&Pair, usize, [&Frames; 2])) {
    let pair = Pair::new(family, [Kind::Tap, far]);
    let [left, right] = [0, 1].map(|end| pair.frames(end));
    check(&pair, 0, [&left, &right]);
    check(&pair, 1, [&right, &left]);
}

/// Every sort of frame that the other cases of this file send, over a pair that is there.
pub fn all(pair: &Pair) {
    for (from, to) in [(0, 1), (1, 0)] {
        tagged_one_way(pair, from, [&pair.frames(from), &pair.frames(to)]);
        unknown_one_way(pair, from, [&pair.frames(from), &pair.frames(to)]);
        tagged_gso_one_way(pair, from, [&pair.frames(from), &pair.frames(to)]);
    }
}

fn tagged(family: Family, far: Kind) {
    both_ways(family, far, tagged_one_way);
}

fn unknown(family: Family, far: Kind) {
    both_ways(family, far, unknown_one_way);
}

fn tagged_gso(family: Family, far: Kind) {
    both_ways(family, far, tagged_gso_one_way);
}

fn tagged_one_way(pair: &Pair, from: usize, [near, far]: [&Frames; 2]) {
    let (to_mac, from_mac) = (pair.mac(1 - from), pair.mac(from));
    let mut random = Random::new(7);
    // VLAN 7 with priority 3, VLAN 4094, a priority tag.
    for tag in [[0x81, 0x00, 0x60, 0x07], [0x81, 0x00, 0x0f, 0xfe], [0x81, 0x00, 0xa0, 0x00]] {
        for len in [46, 47, 500, LARGEST - 4] {
            let payload = random.bytes(len);
            let frame = ethernet(to_mac, from_mac, &tag, 0x88b5, &payload);
            arrives(&frame, near, far);
        }
    }
}

fn unknown_one_way(pair: &Pair, from: usize, [near, far]: [&Frames; 2]) {
    let (to_mac, from_mac) = (pair.mac(1 - from), pair.mac(from));
    let mut random = Random::new(8);
    // Experimental, MPLS, PPPoE, an IEEE 802.3 length, one that nobody has.
    for ethertype in [0x88b5, 0x8847, 0x8864, 0x0026, 0xffff] {
        for len in [16, 46, 999, LARGEST] {
            let payload = random.bytes(len);
            let frame = ethernet(to_mac, from_mac, &[], ethertype, &payload);
            arrives(&frame, near, far);
        }
    }
}

#[track_caller]
fn arrives(frame: &[u8], near: &Frames, far: &Frames) {
    near.send(frame);
    let tail = &frame[frame.len() - 12..];
    let arrived = far.expect("the frame", |bytes| bytes.ends_with(tail));
    assert!(arrived == frame, "sent     {frame:02x?}\nreceived {arrived:02x?}");
}

const GSO_SIZE: usize = 1000;
const GSO_PAYLOAD: usize = 8500;
const SEQUENCE: u32 = 0x0102_0304;
const TAG: [u8; 4] = [0x81, 0x00, 0x00, 0x07];

/// Offsets in the tagged frame.
const IP: usize = 18;
const TCP: usize = IP + 20;
const PAYLOAD: usize = TCP + 20;

fn tagged_gso_one_way(pair: &Pair, from: usize, [near, far]: [&Frames; 2]) {
    let payload = Random::new(9).bytes(GSO_PAYLOAD);
    let frame = tcp_frame(pair.mac(1 - from), pair.mac(from), &payload);
    // A socket of its own: it takes only frames with a virtio header from here on.
    pair.frames(from).send_gso(gso_header(), &frame);
    let _ = near;
    let mut arrived = vec![None; GSO_PAYLOAD];
    while arrived.iter().any(Option::is_none) {
        let piece = far.expect("the rest of the GSO frame", |bytes| {
            bytes.len() > PAYLOAD && bytes[..12] == frame[..12] && is_part(bytes)
        });
        assert_eq!(piece[12..16], TAG, "the tag");
        let sequence = u32::from_be_bytes(piece[TCP + 4..TCP + 8].try_into().unwrap());
        let start = sequence.wrapping_sub(SEQUENCE) as usize;
        let total = usize::from(u16::from_be_bytes([piece[IP + 2], piece[IP + 3]]));
        for (offset, byte) in piece[PAYLOAD..IP + total].iter().enumerate() {
            let once = arrived[start + offset].replace(*byte);
            assert_eq!(once, None, "byte {} came twice", start + offset);
        }
    }
    let arrived: Vec<u8> = arrived.into_iter().flatten().collect();
    assert!(arrived == payload, "the payload of the GSO frame changed");
}

fn is_part(frame: &[u8]) -> bool {
    frame[16..18] == [0x08, 0x00] && frame[IP + 9] == 6 && frame[TCP..TCP + 2] == [0x30, 0x39]
}

/// `struct virtio_net_hdr`: NEEDS_CSUM, TCPV4, both offsets from the start of the frame.
fn gso_header() -> [u8; 10] {
    let mut header = [0; 10];
    header[0] = 1;
    header[1] = 1;
    header[2..4].copy_from_slice(&(PAYLOAD as u16).to_ne_bytes());
    header[4..6].copy_from_slice(&(GSO_SIZE as u16).to_ne_bytes());
    header[6..8].copy_from_slice(&(TCP as u16).to_ne_bytes());
    header[8..10].copy_from_slice(&16_u16.to_ne_bytes());
    header
}

/// A TCP segment of `payload` in a tagged frame, with the checksum of its pseudo-header.
fn tcp_frame(to: [u8; 6], from: [u8; 6], payload: &[u8]) -> Vec<u8> {
    let (source, target) = ([10, 77, 0, 1], [10, 77, 0, 2]);
    let total = (40 + payload.len()) as u16;
    let mut ip = vec![0x45, 0, 0, 0, 0x12, 0x34, 0x40, 0, 64, 6, 0, 0];
    ip[2..4].copy_from_slice(&total.to_be_bytes());
    ip.extend([source, target].concat());
    let sum = !fold(&ip);
    ip[10..12].copy_from_slice(&sum.to_be_bytes());
    let mut tcp = [12345_u16.to_be_bytes(), 80_u16.to_be_bytes()].concat();
    tcp.extend(SEQUENCE.to_be_bytes());
    tcp.extend([0, 0, 0, 1, 0x50, 0x10, 0xff, 0xff, 0, 0, 0, 0]);
    let mut pseudo = [source, target].concat();
    pseudo.extend([0, 6]);
    pseudo.extend((total - 20).to_be_bytes());
    tcp[16..18].copy_from_slice(&fold(&pseudo).to_be_bytes());
    ethernet(to, from, &TAG, 0x0800, &[&ip, tcp.as_slice(), payload].concat())
}

/// The ones' complement sum of an even number of bytes.
fn fold(bytes: &[u8]) -> u16 {
    let mut sum: u32 =
        bytes.chunks(2).map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]]))).sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum as u16
}
