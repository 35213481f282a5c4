use std::net::{Ipv6Addr, UdpSocket};
use std::time::Duration;

use super::*;
use crate::peer::{NetworkId, PeerId};
use crate::sys::fault::{self, Point};
use crate::sys::poll::Poller;
use crate::sys::testing::{eventually, in_network_namespace, ip, ip_output, skip};

mod share;

const PORT: u16 = 4789;
const GPE_PORT: u16 = 4790;

fn spec(listen: &str) -> SocketSpec {
    SocketSpec {
        listen: listen.parse().unwrap(),
        port: Some(PORT),
        gpe_port: Some(GPE_PORT),
        wireguard: None,
        quic: None,
        fwmark: None,
        bind_device: None,
        ttl: 64,
        source_ports: 4,
        receive_buffer_bytes: 4 << 20,
        send_buffer_bytes: 4 << 20,
        gso: Switch::Auto,
        gro: Switch::Auto,
        has_siblings: false,
        is_own_port: false,
    }
}

/// A memory whose first slot holds the bytes to send; slots from 1 on receive.
struct Bench {
    underlay: Underlay,
    memory: Memory,
    pieces: Vec<Piece>,
    received: Vec<Received>,
}

impl Bench {
    fn open(spec: &SocketSpec) -> Self {
        Self {
            underlay: open(spec),
            memory: Memory::new(9),
            pieces: Vec::new(),
            received: Vec::new(),
        }
    }

    /// Makes a transmit of `count` datagrams of `len` bytes, the last `last` bytes long, each in
    /// two pieces that do not touch the next.
    fn transmit(&mut self, to: SocketAddr, count: u16, len: u16, last: u16) -> Transmit {
        let total = u32::from(count - 1) * u32::from(len) + u32::from(last);
        let slot = self.memory.slot(0);
        for (index, byte) in self.memory.bytes_mut(slot).iter_mut().enumerate() {
            *byte = (index / 7) as u8;
        }
        self.pieces.clear();
        let mut offset = 0;
        for index in 0..count {
            let size = if index + 1 == count { last } else { len } as usize;
            let head = size.min(50);
            self.pieces.push(slot.part(offset, head));
            self.pieces.push(slot.part(offset + head, size - head));
            offset += size;
        }
        Transmit {
            carrier: Carrier::Vxlan,
            to,
            from: None,
            entropy: 1,
            tos: 0,
            room: u16::MAX,
            datagram_len: len,
            count,
            len: total,
            pieces: 0..self.pieces.len() as u32,
            peer: PeerId::new(0, 0),
            network: NetworkId(0),
            relayed_from: None,
        }
    }

    fn send(&mut self, transmit: &Transmit) -> Result<(), SendError> {
        self.underlay.send(transmit, &self.pieces, &self.memory)
    }

    fn bytes_sent(&self, transmit: &Transmit) -> Vec<u8> {
        self.memory.bytes(self.memory.slot(0).part(0, transmit.len as usize)).to_vec()
    }

    /// Receives until `len` bytes are there; gives the bytes.
    fn receive(&mut self, index: usize, len: usize) -> Vec<u8> {
        let mut poller = Poller::new().unwrap();
        for (index, fd, _) in self.underlay.listeners() {
            poller.add(fd, index as u64).unwrap();
        }
        self.received.clear();
        let mut bytes = Vec::new();
        while bytes.len() < len {
            assert_ne!(poller.wait(Some(Duration::from_secs(5))).unwrap(), 0, "datagrams arrive");
            let before = self.received.len();
            self.underlay.receive(index, &mut self.memory, 1..9, &mut self.received).unwrap();
            for received in &self.received[before..] {
                bytes.extend_from_slice(self.memory.bytes(received.piece));
            }
        }
        bytes
    }

    fn listener(&self, ip: IpAddr, carrier: Carrier) -> usize {
        let position =
            |listener: &Listener| listener.carrier == carrier && listener.family == Family::of(ip);
        self.underlay.listeners.iter().position(position).unwrap()
    }
}

/// Opens; waits until what an earlier one had is free.
fn open(spec: &SocketSpec) -> Underlay {
    eventually(|| match Underlay::open(spec) {
        Err(SocketError::Listen { cause, .. }) if cause.kind() == io::ErrorKind::AddrInUse => None,
        result => Some(result.unwrap()),
    })
}

/// Adds an address to a device that is up, and waits until it is local: with IPv6 the kernel does so a moment later.
fn add_address(address: &str, device: &str) {
    let family = if address.contains(':') { "-6" } else { "-4" };
    let nodad = if family == "-6" { "nodad" } else { "" };
    ip(&format!("addr add {address} dev {device} {nodad}"));
    let local = format!("local {} ", address.split('/').next().unwrap());
    let routes = || ip_output(&format!("{family} route show table local"));
    eventually(|| routes().contains(&local).then_some(()));
}

fn local(ip: &str, port: u16) -> SocketAddr {
    SocketAddr::new(ip.parse().unwrap(), port)
}

#[test]
fn run_arrives_as_a_run_on_both_families() {
    in_network_namespace(|| {
        for ip in ["127.0.0.1", "::1"] {
            let mut bench = Bench::open(&spec("::"));
            let to = local(ip, PORT);
            let transmit = bench.transmit(to, 44, 1472, 900);
            bench.send(&transmit).unwrap();
            let index = bench.listener(to.ip(), Carrier::Vxlan);
            let bytes = bench.receive(index, transmit.len as usize);
            assert_eq!(bytes, bench.bytes_sent(&transmit));
            assert_eq!(bench.received.len(), 1, "one receive for the whole run");
            let received = bench.received[0];
            assert_eq!(received.stride, Some(1472));
            assert_eq!(received.local, Some(to.ip()));
            assert_eq!(received.from.ip(), to.ip());
            assert!(received.from.port() >= 49_152);
            assert_eq!(received.carrier, Carrier::Vxlan);
            assert!(!received.truncated);
        }
    });
}

#[test]
fn single_datagram_has_no_stride_and_carries_its_class() {
    in_network_namespace(|| {
        for ip in ["127.0.0.1", "::1"] {
            let mut bench = Bench::open(&spec("::"));
            let to = local(ip, GPE_PORT);
            let mut transmit = bench.transmit(to, 1, 100, 100);
            transmit.tos = 0xb8 | 2;
            bench.send(&transmit).unwrap();
            let index = bench.listener(to.ip(), Carrier::VxlanGpe);
            assert_eq!(bench.receive(index, 100), bench.bytes_sent(&transmit));
            assert_eq!(bench.received[0].stride, None);
            assert_eq!(bench.received[0].tos, 0xb8 | 2);
            assert_eq!(bench.received[0].carrier, Carrier::VxlanGpe);
        }
    });
}

#[test]
fn flow_keeps_its_source_port_and_flows_are_spread() {
    in_network_namespace(|| {
        let mut bench = Bench::open(&spec("::"));
        let to = local("127.0.0.1", PORT);
        let index = bench.listener(to.ip(), Carrier::Vxlan);
        let mut ports = Vec::new();
        for entropy in [0, 1, 2, 3, 4, 5, 6, 7] {
            let mut transmit = bench.transmit(to, 1, 60, 60);
            transmit.entropy = entropy;
            bench.send(&transmit).unwrap();
            bench.receive(index, 60);
            ports.push(bench.received[0].from.port());
        }
        assert_eq!(ports[..4], ports[4..]);
        ports.sort_unstable();
        ports.dedup();
        assert_eq!(ports.len(), 4);
    });
}

#[test]
fn more_than_one_call_takes_is_sent_in_several() {
    in_network_namespace(|| {
        let mut bench = Bench::open(&spec("127.0.0.1"));
        let to = local("127.0.0.1", PORT);
        for (count, len, last) in [(200, 60, 60), (45, 1450, 1), (1000, 9, 3)] {
            let transmit = bench.transmit(to, count, len, last);
            bench.send(&transmit).unwrap();
            let bytes = bench.receive(0, transmit.len as usize);
            assert_eq!(bytes, bench.bytes_sent(&transmit), "{count} datagrams of {len}");
        }
    });
}

#[test]
fn refused_offload_is_switched_off_and_the_run_sent_one_by_one() {
    in_network_namespace(|| {
        for errno in [Errno::EIO, Errno::ENOPROTOOPT, Errno::EINVAL] {
            let mut bench = Bench::open(&spec("127.0.0.1"));
            let to = local("127.0.0.1", PORT);
            assert!(bench.underlay.sends_runs(to.ip()));
            fault::set_for_thread(Point::UdpSegment, Some(errno));
            let transmit = bench.transmit(to, 100, 600, 100);
            let result = bench.send(&transmit);
            fault::set_for_thread(Point::UdpSegment, None);
            result.unwrap();
            assert_eq!(bench.receive(0, transmit.len as usize), bench.bytes_sent(&transmit));
            assert!(!bench.underlay.sends_runs(to.ip()));
            let status = bench.underlay.status();
            let sender = status.iter().find(|socket| socket.lane == Lane::Send).unwrap();
            assert!(sender.refused.as_ref().unwrap().starts_with("UDP_SEGMENT: "));
            assert!(!sender.gso);
        }
    });
}

#[test]
fn larger_than_the_path_is_too_big_and_no_refused_offload() {
    in_network_namespace(|| {
        ip("link add v0 type veth peer name v1");
        ip("link set v0 up");
        ip("link set v1 up");
        add_address("192.0.2.1/24", "v0");
        add_address("2001:db8::1/64", "v0");
        ip("route add 198.51.100.0/24 via 192.0.2.9 mtu lock 1300");
        ip("route add 2001:db8:1::/64 via 2001:db8::9 mtu lock 1300");
        for (to, overhead) in [("198.51.100.1", 28), ("2001:db8:1::1", 48)] {
            let to = local(to, PORT);
            let mut bench = Bench::open(&spec("::"));
            assert_eq!(bench.underlay.path_mtu(to, None), Some(1300));
            let fitting = 1300 - overhead;
            for count in [1, 10] {
                let transmit = bench.transmit(to, count, fitting + 1, fitting + 1);
                let too_big = SendError { fault: SendFault::TooBig, sent: 0 };
                assert_eq!(bench.send(&transmit), Err(too_big), "{count} to {to}");
                let transmit = bench.transmit(to, count, fitting, fitting);
                bench.send(&transmit).unwrap();
            }
            assert!(bench.underlay.sends_runs(to.ip()));
        }
    });
}

#[test]
fn datagrams_that_went_out_before_a_fault_are_counted() {
    in_network_namespace(|| {
        ip("link add v0 type veth peer name v1");
        ip("link set v0 up");
        ip("link set v1 up");
        add_address("192.0.2.1/24", "v0");
        let mut spec = spec("192.0.2.1");
        spec.gso = Switch::Off;
        let mut bench = Bench::open(&spec);
        // Equal ones but for a last one, which alone is too large: made by hand.
        let mut transmit = bench.transmit(local("192.0.2.9", PORT), 3, 100, 100);
        transmit.len = 200 + 2000;
        let rest = bench.memory.slot(0).part(200, 2000);
        bench.pieces.truncate(4);
        bench.pieces.push(rest);
        transmit.pieces = 0..5;
        let error = SendError { fault: SendFault::TooBig, sent: 2 };
        assert_eq!(bench.send(&transmit), Err(error));
    });
}

#[test]
fn pinned_source_is_used_and_given_up_when_it_is_gone() {
    in_network_namespace(|| {
        add_address("10.0.0.1/32", "lo");
        add_address("2001:db8::1/128", "lo");
        for (pinned, gone, to) in
            [("10.0.0.1", "10.0.0.2", "127.0.0.1"), ("2001:db8::1", "2001:db8::2", "::1")]
        {
            let mut bench = Bench::open(&spec("::"));
            let to = local(to, PORT);
            let index = bench.listener(to.ip(), Carrier::Vxlan);
            for count in [1, 8] {
                let mut transmit = bench.transmit(to, count, 100, 100);
                transmit.from = Some(pinned.parse().unwrap());
                bench.send(&transmit).unwrap();
                bench.receive(index, transmit.len as usize);
                assert_eq!(Some(bench.received[0].from.ip()), transmit.from);

                transmit.from = Some(gone.parse().unwrap());
                bench.send(&transmit).unwrap();
                bench.receive(index, transmit.len as usize);
                assert_ne!(Some(bench.received[0].from.ip()), transmit.from);
            }
            assert!(bench.underlay.sends_runs(to.ip()));
        }
    });
}

#[test]
fn link_local_peer_is_reached_by_its_scope() {
    in_network_namespace(|| {
        ip("link add v0 type veth peer name v1");
        ip("link set v0 up");
        ip("link set v1 up");
        add_address("fe80::1/64", "v0");
        add_address("fe80::2/64", "v1");
        let mut bench = Bench::open(&spec("::"));
        let scope_id = crate::sys::link::index("v0").unwrap();
        let to = std::net::SocketAddrV6::new("fe80::2".parse().unwrap(), PORT, 0, scope_id);
        let index = bench.listener(IpAddr::V6(*to.ip()), Carrier::Vxlan);
        let mut transmit = bench.transmit(to.into(), 1, 100, 100);
        transmit.from = Some("fe80::1".parse().unwrap());
        bench.send(&transmit).unwrap();
        bench.receive(index, 100);
        let SocketAddr::V6(from) = bench.received[0].from else { panic!("IPv6 sender") };
        assert_eq!(Some(IpAddr::V6(*from.ip())), transmit.from);
        assert_eq!(from.scope_id(), crate::sys::link::index("v1").unwrap());
    });
}

#[test]
fn send_errors_are_reported_and_the_next_send_works() {
    in_network_namespace(|| {
        let mut bench = Bench::open(&spec("::"));
        let nowhere = bench.transmit(local("203.0.113.1", PORT), 4, 100, 100);
        let unreachable = SendError { fault: SendFault::Failed(Errno::ENETUNREACH), sent: 0 };
        assert_eq!(bench.send(&nowhere), Err(unreachable));
        let here = bench.transmit(local("127.0.0.1", PORT), 4, 100, 100);
        bench.send(&here).unwrap();
        assert!(bench.underlay.sends_runs(here.to.ip()));

        drop(bench);
        let mut bench = Bench::open(&spec("127.0.0.1"));
        let other_family = bench.transmit(local("::1", PORT), 1, 100, 100);
        let no_socket = SendError { fault: SendFault::NoSocket, sent: 0 };
        assert_eq!(bench.send(&other_family), Err(no_socket));
    });
}

#[test]
fn port_in_use_names_port_address_and_who_may_hold_it() {
    in_network_namespace(|| {
        let _holder = UdpSocket::bind("127.0.0.1:4789").unwrap();
        let error = Underlay::open(&spec("127.0.0.1")).err().unwrap().to_string();
        assert_eq!(
            error,
            "port 4789 on 127.0.0.1: address in use (a kernel vxlan device or another daemon \
             holds it)"
        );
        let mut same = spec("127.0.0.1");
        same.gpe_port = same.port;
        let error = Underlay::open(&same).err().unwrap().to_string();
        assert_eq!(error, "port 4789 is given both for VXLAN and for VXLAN-GPE");
        let mut bound = spec("127.0.0.1");
        bound.bind_device = Some("nowhere0".into());
        let error = Underlay::open(&bound).err().unwrap().to_string();
        assert_eq!(error, "bind_device nowhere0: no such interface");
    });
}

#[test]
fn address_that_comes_later_is_waited_for() {
    in_network_namespace(|| {
        for (ip_text, len) in [("10.0.0.7", 32), ("2001:db8::7", 128)] {
            let mut bench = Bench::open(&spec(ip_text));
            let to = local(ip_text, PORT);
            let transmit = bench.transmit(to, 4, 100, 100);
            assert!(matches!(
                bench.send(&transmit),
                Err(SendError { fault: SendFault::Failed(_), sent: 0 })
            ));
            for _ in 0..2 {
                add_address(&format!("{ip_text}/{len}"), "lo");
                bench.send(&transmit).unwrap();
                assert_eq!(bench.receive(0, 400), bench.bytes_sent(&transmit));
                ip(&format!("addr del {ip_text}/{len} dev lo"));
            }
            assert!(bench.underlay.sends_runs(to.ip()), "a missing address is no refused offload");
        }
    });
}

#[test]
fn replaced_interface_is_followed() {
    in_network_namespace(|| {
        let make = || {
            ip("link add v0 type veth peer name v1");
            ip("link set v0 up");
            ip("link set v1 up");
            add_address("192.0.2.1/24", "v0");
        };
        make();
        let mut spec = spec("0.0.0.0");
        spec.bind_device = Some("v0".into());
        let mut bench = Bench::open(&spec);
        let transmit = bench.transmit(local("192.0.2.9", PORT), 1, 100, 100);
        bench.send(&transmit).unwrap();
        ip("link del v0");
        assert!(matches!(
            bench.send(&transmit),
            Err(SendError { fault: SendFault::Failed(_), sent: 0 })
        ));
        bench.underlay.follow_device().unwrap();
        make();
        assert!(bench.send(&transmit).is_err());
        bench.underlay.follow_device().unwrap();
        bench.send(&transmit).unwrap();
    });
}

#[test]
fn refused_gro_is_seen_in_the_status_and_fails_where_it_is_demanded() {
    in_network_namespace(|| {
        fault::set_for_thread(Point::UdpGro, Some(Errno::ENOPROTOOPT));
        let status = open(&spec("127.0.0.1")).status();
        let demanding = SocketSpec { gro: Switch::On, port: Some(1), ..spec("127.0.0.1") };
        let error = Underlay::open(&demanding).err().unwrap().to_string();
        fault::set_for_thread(Point::UdpGro, None);
        assert!(!status[0].gro);
        assert!(status[0].refused.as_ref().unwrap().starts_with("UDP_GRO: "));
        assert!(error.starts_with("udp_gro is on, but the kernel refuses it: "), "{error}");
    });
}

#[test]
fn buffers_are_as_large_as_configured() {
    in_network_namespace(|| {
        let probe = UdpSocket::bind("127.0.0.1:0").unwrap();
        let limit = crate::sys::udp::set_receive_buffer(probe.as_fd(), 4 << 20).unwrap();
        if limit < 4 << 20 {
            return skip("no right to buffers beyond net.core.rmem_max");
        }
        let status = Underlay::open(&spec("::1")).unwrap().status();
        for socket in status {
            match socket.lane {
                Lane::Listen(_) => assert_eq!(socket.receive_buffer, 4 << 20),
                Lane::Send => assert_eq!(socket.send_buffer, 4 << 20),
            }
            assert_eq!(socket.address.ip(), IpAddr::V6(Ipv6Addr::LOCALHOST));
        }
    });
}

#[test]
fn sending_sockets_queue_nothing_that_arrives() {
    in_network_namespace(|| {
        let underlay = Underlay::open(&spec("127.0.0.1")).unwrap();
        let sender = underlay.status().into_iter().find(|s| s.lane == Lane::Send).unwrap();
        let stranger = UdpSocket::bind("127.0.0.1:0").unwrap();
        stranger.send_to(&[0; 100], sender.address).unwrap();
        let mut poller = Poller::new().unwrap();
        poller.add(&underlay.senders[0].sockets[0].socket, 0).unwrap();
        assert_eq!(poller.wait(Some(Duration::ZERO)).unwrap(), 0);
    });
}

#[test]
fn datagram_with_zero_checksum_is_taken() {
    in_network_namespace(|| {
        for ip in ["127.0.0.1", "::1"] {
            let mut bench = Bench::open(&spec("::"));
            let stranger = UdpSocket::bind(local(ip, 0)).unwrap();
            crate::sys::udp::set_zero_checksum_sent(
                stranger.as_fd(),
                Family::of(local(ip, 0).ip()),
            )
            .unwrap();
            stranger.send_to(&[7; 64], local(ip, PORT)).unwrap();
            let index = bench.listener(local(ip, 0).ip(), Carrier::Vxlan);
            assert_eq!(bench.receive(index, 64), [7; 64]);
        }
    });
}

#[test]
fn memory_twin_receives_what_is_put_in_and_keeps_what_is_sent() {
    let mut bench = MemUnderlay::default();
    let mut memory = Memory::new(2);
    let arrival = MemArrival {
        bytes: vec![1, 2, 3],
        stride: None,
        from: local("192.0.2.1", 50_000),
        local: None,
        tos: 0,
        carrier: Carrier::Vxlan,
    };
    bench.to_receive.extend([arrival.clone(), arrival.clone(), arrival]);
    let mut received = Vec::new();
    assert_eq!(bench.receive(0, &mut memory, 0..2, &mut received).unwrap(), 2);
    assert_eq!(memory.bytes(received[1].piece), [1, 2, 3]);
    assert_eq!(bench.to_receive.len(), 1);

    let transmit = Transmit {
        carrier: Carrier::Vxlan,
        to: local("192.0.2.1", PORT),
        from: None,
        entropy: 0,
        tos: 0,
        room: u16::MAX,
        datagram_len: 3,
        count: 2,
        len: 6,
        pieces: 1..3,
        peer: PeerId::new(0, 0),
        network: NetworkId(0),
        relayed_from: None,
    };
    let pieces = [Piece::default(), received[0].piece, received[1].piece];
    bench.send(&transmit, &pieces, &memory).unwrap();
    assert_eq!(bench.sent[0].1, [1, 2, 3, 1, 2, 3]);
}
