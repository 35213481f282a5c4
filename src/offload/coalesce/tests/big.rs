use super::*;

/// `count` segments of `size` bytes, every 44th pushed, as a sender's GSO packets end.
fn pushed_stream(packet: &Packet, count: usize, size: usize) -> Vec<Packet> {
    let packets = stream(packet, count, size).into_iter().enumerate();
    let push = |(index, packet): (usize, Packet)| match index % 44 {
        43 => packet.flags(flag::ACK | flag::PSH),
        _ => packet,
    };
    packets.map(push).collect()
}

fn merged(big_tcp: BigTcp, packets: &[Packet]) -> Vec<Written> {
    let mut bench = Bench::new(Coalesce { big_tcp, ..BOTH });
    packets.iter().for_each(|packet| {
        bench.push(packet);
    });
    bench.finish()
}

#[test]
fn tcp_for_the_host_becomes_larger_than_ip_has_a_length_for() {
    let own_mac = Packet::tcp4().tagged(&[]).headers().link.unwrap().dst;
    for (packet, big_tcp) in
        [(Packet::tcp4(), BigTcp::Always), (Packet::tcp4().tagged(&[]), BigTcp::To(own_mac))]
    {
        let packets = pushed_stream(&packet, 300, 1000);
        let writes = merged(big_tcp, &packets);
        let most = (256 * 1024 - 20 - 20) / 1000;
        assert_eq!(counts(&writes), [most, 300 - most]);
        let headers = packets[0].headers();
        let Written { vnet, bytes, .. } = &writes[0];
        assert_eq!(*vnet, VnetHeader::of(&headers, Gso::Tcp { size: 1000 }));
        let payload = headers.payload_start();
        assert_eq!(bytes.len(), payload + 1000 * most as usize);
        let (ip, segment) = (&bytes[headers.l3_at()..headers.l4_at()], &bytes[headers.l4_at()..]);
        assert_eq!(ip[2..4], [0, 0], "no length");
        assert_eq!(crate::frame::checksum::ipv4_header(ip).to_be_bytes(), ip[10..12]);
        assert_eq!(segment[13], flag::ACK | flag::PSH);
        let mut pseudo = crate::frame::checksum::Sum::new();
        pseudo.add_bytes(&ip[12..20]);
        pseudo.add_u16(6);
        pseudo.add_u32(segment.len() as u32);
        assert_eq!(segment[16..18], pseudo.fold().to_be_bytes(), "the sum of the pseudo-header");
        let mut expected = Vec::new();
        for packet in &packets[..most as usize] {
            expected.extend_from_slice(&packet.bytes()[payload..]);
        }
        assert!(bytes[payload..] == expected, "the payloads in their order");
        let len = |write: &Written| {
            u16::from_be_bytes([write.bytes[headers.l3_at() + 2], write.bytes[headers.l3_at() + 3]])
        };
        assert_eq!(usize::from(len(&writes[1])), 40 + 1000 * (300 - most as usize));
    }
}

#[test]
fn only_tcp_over_ipv4_for_the_host_becomes_that_large() {
    let other = Mac([2, 0, 0, 0, 9, 9]);
    let cases = [
        (Packet::tcp6(), BigTcp::Always),
        (Packet::udp4(), BigTcp::Always),
        (Packet::tcp4(), BigTcp::Never),
        (Packet::tcp4(), BigTcp::To(other)),
        (Packet::tcp4().tagged(&[]), BigTcp::To(other)),
    ];
    for (packet, big_tcp) in cases {
        let writes = merged(big_tcp, &stream(&packet, 200, 1000));
        assert!(writes.len() > 3, "{packet:?}");
        assert!(writes.iter().all(|write| write.bytes.len() <= 65_535 + 14), "{packet:?}");
    }
}

#[test]
fn push_ends_a_chain_of_usual_size() {
    let packets = pushed_stream(&Packet::tcp4(), 50, 1000);
    assert_eq!(counts(&merged(BigTcp::Never, &packets)), [44, 6]);
}
