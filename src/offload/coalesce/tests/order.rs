use super::*;

#[test]
fn pure_acknowledgement_does_not_end_the_chain() {
    let mut packets = stream(&Packet::tcp4(), 4, 1000);
    let ack = Packet::tcp4().seq(0x1000_0000 + 2000);
    packets.insert(2, ack.clone());
    let writes = coalesce(&packets);
    assert_eq!(counts(&writes), [4, 1]);
    assert_eq!(writes[1], as_it_came(&ack));
}

#[test]
fn packet_taken_alone_is_neither_changed_nor_overtaken() {
    let mut bench = Bench::new(BOTH);
    let packets = stream(&Packet::tcp4(), 4, 1000);
    bench.push(&packets[0]);
    let alone = bench.store(&packets[1].bytes());
    bench.coalescer.push_alone(alone, &packets[1].headers(), Check::Valid);
    bench.push(&packets[2]);
    bench.push(&packets[3]);
    let writes = bench.finish();
    assert_eq!(counts(&writes), [1, 1, 2]);
    assert_eq!(writes[..2], [as_it_came(&packets[0]), as_it_came(&packets[1])]);
}

#[test]
fn fragments_and_other_protocols_are_written_alone_and_keep_their_place() {
    let data = || Packet::udp4().dont_fragment().payload(100);
    let fragment = Packet::udp4().fragment(0, true).payload(100);
    let icmp = Packet::icmp4(8).payload(100);
    let writes = coalesce(&[data(), data(), fragment.clone(), data(), icmp.clone(), data()]);
    assert_eq!(counts(&writes), [2, 1, 2, 1]);
    assert_eq!((&writes[1], &writes[3]), (&as_it_came(&fragment), &as_it_came(&icmp)));
}

#[test]
fn mixed_flows_merge_each_for_itself_in_order_of_their_first_packets() {
    let flow = |port: u16| stream(&Packet::tcp4().ports(port, 80), 4, 500);
    let flows: Vec<_> = (0..10).map(flow).collect();
    let mut packets = Vec::new();
    for turn in 0..4 {
        packets.extend(flows.iter().map(|flow| flow[turn].clone()));
    }
    let writes = coalesce(&packets);
    assert_eq!(counts(&writes), [4; 10]);
    for (port, write) in writes.iter().enumerate() {
        assert_eq!(write.bytes[20..22], (port as u16).to_be_bytes());
    }
}

#[test]
fn more_flows_than_open_chains_lose_merges_and_nothing_else() {
    let mut packets = Vec::new();
    for turn in 0..3_usize {
        for port in 0..40 {
            packets.push(stream(&Packet::tcp4().ports(port, 80), 3, 100)[turn].clone());
        }
    }
    let writes = coalesce(&packets);
    assert_eq!(counts(&writes).iter().sum::<u32>(), 120);
    let bytes: usize = writes.iter().map(|write| write.bytes.len() - 40).sum();
    assert_eq!(bytes, 120 * 100);
}

#[test]
fn super_packet_is_never_overtaken_by_data_of_its_flow() {
    let mut bench = Bench::new(BOTH);
    let packets = stream(&Packet::tcp4(), 6, 1000);
    bench.push(&packets[0]);
    let large = Packet::tcp4().seq(0x1000_0000 + 1000).payload(4000).partial();
    let piece = bench.store(&large.bytes());
    let gso = Gso::Tcp { size: 1000 };
    bench.coalescer.push_super(&mut bench.memory, piece, &large.headers(), Layer::L3, gso);
    bench.push(&packets[5]);
    assert_eq!(counts(&bench.finish()), [1, 4, 1]);
}
