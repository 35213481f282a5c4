use std::net::{Ipv4Addr, UdpSocket};
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicU32, Ordering};

use super::*;
use crate::lab::testing::wired_hosts;
use crate::sys::testing::ip;

const SHORT: Duration = Duration::from_millis(200);

/// Two hosts with a wire between them.
struct Pair {
    left: Host,
    right: Host,
}

impl Pair {
    /// `None` where this machine cannot make hosts: then the test has nothing to say.
    fn new() -> Option<Self> {
        let [left, right] = wired_hosts(1500)?;
        Some(Self { left, right })
    }

    fn route(&self, address: &str) -> Route<'_> {
        Route { from: &self.left, to: &self.right, address: address.parse().unwrap() }
    }
}

/// Asks to stop at the given question.
fn stop_at(question: u32) -> impl Fn() -> bool + Sync {
    let asked = AtomicU32::new(0);
    move || asked.fetch_add(1, Ordering::Relaxed) + 1 >= question
}

fn tcp_load(streams: usize) -> TcpLoad<'static> {
    TcpLoad { streams, time: SHORT, warm_up: SHORT / 4, congestion: "reno" }
}

fn udp_load(rate_pps: Option<f64>) -> UdpLoad {
    UdpLoad { flows: 3, lengths: vec![64, 200], time: SHORT, rate_pps }
}

#[test]
fn tcp_figure_is_the_sum_of_its_streams() {
    let Some(pair) = Pair::new() else { return };
    for (address, streams) in [("192.0.2.2", 1), ("2001:db8::2", 3)] {
        let figure = tcp(pair.route(address), &tcp_load(streams), &|| false).unwrap();
        assert_eq!(figure.streams.len(), streams);
        assert!(figure.bits_per_sec > 0.0, "{figure:?}");
        let sum: f64 = figure.streams.iter().sum();
        assert!((sum - figure.bits_per_sec).abs() <= sum * 1e-9, "{figure:?}");
        let bytes_in_time = figure.bits_per_sec / 8.0 * SHORT.as_secs_f64();
        assert!(figure.bytes_total as f64 >= bytes_in_time, "{figure:?}");
    }
}

#[test]
fn unknown_congestion_control_is_named() {
    let Some(pair) = Pair::new() else { return };
    let load = TcpLoad { congestion: "nonsuch", ..tcp_load(1) };
    let error = tcp(pair.route("192.0.2.2"), &load, &|| false).unwrap_err();
    assert!(error.to_string().contains("nonsuch"), "{error}");
}

#[test]
fn address_that_the_receiver_does_not_have_is_named() {
    let Some(pair) = Pair::new() else { return };
    let route = pair.route("192.0.2.99");
    for error in [
        tcp(route, &tcp_load(1), &|| false).map(drop),
        udp(route, &udp_load(None), &|| false).map(drop),
        rtt(route, SHORT, &|| false).map(drop),
    ] {
        let error = error.unwrap_err();
        assert!(error.to_string().contains("192.0.2.99"), "{error}");
    }
}

#[test]
fn stop_ends_every_measurement() {
    let Some(pair) = Pair::new() else { return };
    let route = pair.route("192.0.2.2");
    let long = Duration::from_secs(3600);
    // At the first question (a way not open yet) and later (traffic under way).
    for question in [1, 8] {
        let tcp_load = TcpLoad { time: long, ..tcp_load(2) };
        let udp_load = UdpLoad { time: long, ..udp_load(Some(1.0)) };
        for ended in [
            tcp(route, &tcp_load, &stop_at(question)).map(drop),
            udp(route, &udp_load, &stop_at(question)).map(drop),
            udp_lossless(route, &udp_load, 0.001, &stop_at(question)).map(drop),
            rtt(route, long, &stop_at(question)).map(drop),
        ] {
            assert_eq!(ended.unwrap_err().kind(), io::ErrorKind::Interrupted);
        }
    }
}

#[test]
fn flood_is_counted_where_it_arrives() {
    let Some(pair) = Pair::new() else { return };
    for address in ["192.0.2.2", "2001:db8::2"] {
        let figure = udp(pair.route(address), &udp_load(None), &|| false).unwrap();
        assert!(figure.received > 0 && figure.received <= figure.sent, "{figure:?}");
        assert!(figure.sent_pps > 0.0 && figure.received_pps > 0.0, "{figure:?}");
        assert_eq!(figure.duplicated_or_reordered, 0, "{figure:?}");
    }
}

#[test]
fn paced_sender_never_exceeds_its_rate() {
    let Some(pair) = Pair::new() else { return };
    let rate = 20_000.0;
    let load = UdpLoad { lengths: vec![12], ..udp_load(Some(rate)) };
    let figure = udp(pair.route("192.0.2.2"), &load, &|| false).unwrap();
    assert!(figure.received > 0, "{figure:?}");
    // A sender that is a burst ahead at the end.
    assert!(figure.sent_pps <= rate * 1.01, "{figure:?}");
}

#[test]
fn payload_without_room_for_its_number_is_refused() {
    let Some(pair) = Pair::new() else { return };
    for load in [
        UdpLoad { lengths: vec![11], ..udp_load(None) },
        UdpLoad { lengths: vec![], ..udp_load(None) },
        UdpLoad { flows: 0, ..udp_load(None) },
    ] {
        let error = udp(pair.route("192.0.2.2"), &load, &|| false).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput, "{error}");
    }
}

#[test]
fn response_is_half_a_round_trip_away() {
    let Some(pair) = Pair::new() else { return };
    for address in ["192.0.2.2", "2001:db8::2"] {
        let figure = rtt(pair.route(address), SHORT, &|| false).unwrap();
        assert!(figure.count > 0, "{figure:?}");
        assert!(0.0 < figure.p50_us && figure.p50_us <= figure.p99_us, "{figure:?}");
        assert!(figure.p99_us <= figure.p999_us, "{figure:?}");
        // One after another: the halves fit into the time twice.
        let halves_us = figure.p50_us * (figure.count / 2) as f64;
        assert!(halves_us * 2.0 <= SHORT.as_secs_f64() * 1e6 * 1.1, "{figure:?}");
    }
}

#[test]
fn spread_is_counted_although_no_frame_is_for_the_receiver() {
    let Some(pair) = Pair::new() else { return };
    let destinations: Vec<Ipv4Addr> = (10..30).map(|n| Ipv4Addr::new(192, 0, 2, n)).collect();
    pair.left.run(|| {
        for ip_address in &destinations {
            let n = ip_address.octets()[3];
            ip(&format!("neigh add {ip_address} lladdr 02:00:00:00:00:{n} dev wire0"));
        }
    });
    for choice in [Choice::Zipf, Choice::Uniform] {
        let spread = Spread {
            from: &pair.left,
            to: &pair.right,
            interface: "wire0",
            destinations: &destinations,
            choice,
        };
        let figure = udp_spread(spread, &udp_load(None), &|| false).unwrap();
        assert!(figure.received > 0 && figure.received <= figure.sent, "{figure:?}");
        assert_eq!(figure.duplicated_or_reordered, 0, "{figure:?}");
    }
}

#[test]
fn packet_socket_sees_a_run_in_one_piece() {
    use crate::sys::datagram::{Envelope, send};
    use crate::sys::heads::Heads;
    use crate::sys::packet_socket::PacketSocket;

    let Some(pair) = Pair::new() else { return };
    let listener = pair.right.run(|| PacketSocket::open("wire0", 0x0800)).unwrap();
    let sender = pair.left.run(|| UdpSocket::bind("192.0.2.1:0")).unwrap();
    let mut envelope = Envelope::new("192.0.2.2:9".parse().unwrap());
    envelope.set_segment(100);
    let bytes = [7; 1000];
    send(sender.as_fd(), &mut envelope, &[io::IoSlice::new(&bytes)]).unwrap();
    let mut heads = Heads::new(128);
    crate::sys::testing::eventually(|| {
        (heads.receive(listener.as_fd()).unwrap() > 0).then_some(())
    });
    let (head, len) = heads.iter().next().unwrap();
    assert_eq!((head.len(), len), (128, 10 + 14 + 20 + 8 + 1000));
    assert_eq!((head[1], u16::from_ne_bytes([head[4], head[5]])), (5, 100), "kind and size");
}
