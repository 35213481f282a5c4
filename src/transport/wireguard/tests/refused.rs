//! What is refused, and counted.

use super::*;

#[test]
fn noise_of_every_length_is_refused() {
    let (_, mut b) = pair();
    for len in 1..300usize {
        for kind in 0..6u8 {
            let mut bytes = vec![0x5a; len];
            bytes[0] = kind;
            bytes.iter_mut().take(4).skip(1).for_each(|byte| *byte = 0);
            let from = address(9);
            assert!(b.receive(&Datagrams { from, bytes, stride: len }).is_empty());
            let losses = b.losses();
            assert_eq!(losses.len(), 1, "{kind}, {len} bytes");
            let expected = match (kind, len) {
                (1, 148) => DropReason::WireGuardMac,
                (2, 92) | (3, 64) | (4, 32..) => DropReason::WireGuardUnknownIndex,
                _ => DropReason::WireGuardMalformed,
            };
            assert_eq!(losses[0], (expected, 1), "{kind}, {len} bytes");
        }
    }
    assert!(b.post.letters.is_empty());
}

#[test]
fn stranger_is_refused() {
    let (_, mut b) = pair();
    let mut stranger = End::new(3, 2, Some(address(2)), None);
    stranger.start();
    for letter in stranger.letters() {
        assert!(b.receive(&letter).is_empty());
    }
    assert_eq!(b.losses(), [(DropReason::WireGuardUnknownKey, 1)]);
    assert!(b.post.letters.is_empty());
}

#[test]
fn who_takes_us_for_another_is_refused() {
    let (_, mut b) = pair();
    let mut lost = End::new(1, 9, Some(address(2)), None);
    lost.start();
    for letter in lost.letters() {
        assert!(b.receive(&letter).is_empty());
    }
    assert_eq!(b.losses(), [(DropReason::WireGuardMac, 1)]);
}

#[test]
fn another_preshared_key_gives_no_session() {
    for (at_a, at_b) in [(Some(5), Some(6)), (Some(5), None), (None, Some(6))] {
        let mut a = End::new(1, 2, Some(address(2)), at_a.map(preshared));
        let mut b = End::new(2, 1, None, at_b.map(preshared));
        a.send(&[packet(100, 1)]);
        let [_, arrived] = settle(&mut a, &mut b);
        assert!(arrived.is_empty() && !a.is_established() && !b.is_established());
        assert_eq!(a.losses(), [(DropReason::WireGuardHandshake, 1)]);
    }
}

#[test]
fn what_was_received_before_is_refused() {
    let (mut a, mut b) = pair();
    a.start();
    let initiation = a.letters().remove(0);
    b.receive(&initiation);
    settle(&mut a, &mut b);
    // A handshake.
    b.receive(&initiation);
    assert_eq!(b.losses(), [(DropReason::WireGuardHandshake, 1)]);
    assert!(b.post.letters.is_empty());
    // Packets: each of a run once.
    let run = a.send(&[packet(100, 1), packet(100, 2), packet(100, 3)]).unwrap();
    assert_eq!(b.receive(&run).len(), 3);
    assert_eq!(b.receive(&run).len(), 0);
    assert_eq!(b.losses(), [(DropReason::WireGuardReplayed, 1); 3]);
    // What is older than the window.
    let old = a.send(&[packet(100, 4)]).unwrap();
    for _ in 0..1100 {
        let run = a.send(&[packet(100, 5)]).unwrap();
        assert_eq!(b.receive(&run).len(), 1);
    }
    assert_eq!(b.receive(&old).len(), 0);
    assert_eq!(b.losses(), [(DropReason::WireGuardReplayed, 1)]);
}

#[test]
fn every_changed_byte_is_found() {
    let (mut a, mut b) = pair();
    a.start();
    settle(&mut a, &mut b);
    let run = a.send(&[packet(64, 1)]).unwrap();
    for at in 0..run.bytes.len() {
        let mut changed = run.clone();
        changed.bytes[at] ^= 0x10;
        assert!(b.receive(&changed).is_empty(), "byte {at}");
        assert_eq!(b.losses().len(), 1, "byte {at}");
    }
    for len in 1..run.bytes.len() {
        let bytes = run.bytes[..len].to_vec();
        assert!(b.receive(&Datagrams { stride: len, bytes, ..run.clone() }).is_empty());
        assert_eq!(b.losses().len(), 1, "{len} bytes");
    }
    assert_eq!(b.receive(&run).len(), 1);
}

#[test]
fn content_that_is_no_packet_is_refused() {
    let (mut a, mut b) = pair();
    a.start();
    settle(&mut a, &mut b);
    let mut too_long = packet(64, 1);
    too_long[3] = 255;
    for content in [vec![0x11; 64], too_long, vec![0x60; 16]] {
        let run = a.send(&[content]).unwrap();
        assert!(b.receive(&run).is_empty());
        assert_eq!(b.losses(), [(DropReason::WireGuardContent, 1)]);
    }
}

#[test]
fn spent_key_is_not_opened_with() {
    let (mut a, mut b) = pair();
    a.start();
    settle(&mut a, &mut b);
    let mut run = a.send(&[packet(64, 1)]).unwrap();
    run.bytes[8..16].copy_from_slice(&(u64::MAX - 8192).to_le_bytes());
    assert!(b.receive(&run).is_empty());
    assert_eq!(b.losses(), [(DropReason::WireGuardMessageLimit, 1)]);
}

#[test]
fn answer_that_comes_twice_is_late() {
    let (mut a, mut b) = pair();
    a.start();
    let initiation = a.letters().remove(0);
    b.receive(&initiation);
    let answer = b.letters().remove(0);
    a.receive(&answer);
    assert!(a.is_established());
    a.receive(&answer);
    assert_eq!(a.losses(), [(DropReason::WireGuardLateHandshake, 1)]);
    assert_eq!(a.letters().len(), 1, "the first was answered, the second not");
}

#[test]
fn nothing_is_sealed_with_an_old_key_even_if_no_timer_was_looked_at() {
    let (mut a, mut b) = pair();
    a.start();
    settle(&mut a, &mut b);
    a.now += Duration::from_secs(179);
    assert!(a.send(&[packet(64, 1)]).is_some());
    a.now += Duration::from_secs(1);
    assert!(a.send(&[packet(64, 2)]).is_none());
    assert_eq!(a.letters().len(), 1, "a handshake is begun");
}
