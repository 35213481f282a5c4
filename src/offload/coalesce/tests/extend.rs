use super::*;

#[test]
fn packet_that_continues_the_last_extends_its_chain_unparsed() {
    for kind in kinds() {
        let packets = stream(&kind, 5, 1000);
        let mut bench = Bench::new(BOTH);
        bench.push(&packets[0]);
        for packet in &packets[1..] {
            assert!(bench.extend(&packet.bytes()), "{kind:?}");
        }
        assert_eq!(bench.finish(), coalesce(&packets));
        assert!(!bench.extend(&packets[1].bytes()), "nothing is open between batches");
    }
}

#[test]
fn chain_is_extended_unparsed_only_by_what_would_be_merged() {
    for kind in kinds() {
        let [first, second] = stream(&kind, 2, 40).try_into().unwrap();
        let good = second.bytes();
        for at in 0..good.len() {
            for bits in [0x01, 0x08, 0x80, 0xff] {
                let mut bytes = good.clone();
                bytes[at] ^= bits;
                let mut bench = Bench::new(BOTH);
                bench.push(&first);
                let is_extended = bench.extend(&bytes);
                let is_merged = is_merged(&first, &bytes);
                assert!(!is_extended || is_merged, "{kind:?}, byte {at} ^ {bits:#x}");
                let is_right_again = kind.layer() == Layer::L3 || at >= 14;
                assert!(is_extended || !is_merged || !is_right_again, "{kind:?}, {at} ^ {bits:#x}");
            }
        }
        for len in 0..good.len() {
            let mut bench = Bench::new(BOTH);
            bench.push(&first);
            assert!(!bench.extend(&good[..len]), "{kind:?} cut to {len}");
        }
    }
}

/// Whether a packet is merged with one before it when it is parsed.
fn is_merged(first: &Packet, bytes: &[u8]) -> bool {
    let Ok(headers) = Headers::parse(bytes, first.layer()) else { return false };
    let mut bench = Bench::new(BOTH);
    bench.push(first);
    let piece = bench.store(bytes);
    let check = bench.coalescer.check(bytes, &headers);
    bench.coalescer.push(&mut bench.memory, piece, &headers, first.layer(), check);
    bench.finish().len() == 1
}

#[test]
fn nothing_is_extended_behind_a_packet_that_did_not_merge() {
    let packets = stream(&Packet::tcp4(), 3, 100);
    let mut bench = Bench::new(BOTH);
    bench.push(&packets[0]);
    bench.push(&Packet::icmp4(8));
    assert!(!bench.extend(&packets[1].bytes()));
    bench.push(&packets[1]);
    assert!(bench.extend(&packets[2].bytes()));
    assert_eq!(counts(&bench.finish()), [3, 1]);
}
