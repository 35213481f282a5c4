//! TCP that is merged beyond 64 KiB: for the host's own sockets, and forwarded where that is wanted.

use std::net::IpAddr;

use ipnet::IpNet;
use tunctl::lab::{self, End, Host};

use crate::daemon::{Config, Daemon};
use crate::harness::{Case, each, note};
use crate::need::OURS;
use crate::pair::{Kind, Pair, VNI, overlay};
use crate::place::{Family, Node, run, two_nodes};
use crate::tcp;
use crate::wait::until_true;

/// What a transfer carries: enough for many large packets.
const BYTES: u64 = 256 << 20;

/// Transfers until one had a large packet: how many come at once depends on the machine.
const TRIES: usize = 8;

pub fn cases() -> Vec<Case> {
    let of = |kind: Kind| {
        let name = kind.interface().trim_end_matches(char::is_numeric).to_owned();
        [
            Case::over_both(
                &format!("large_packets_reach_the_sockets_behind_a_{name}"),
                move |f| {
                    own_sockets(f, kind);
                },
            ),
            Case::over_both(&format!("host_that_forwards_has_no_large_packets_{name}"), move |f| {
                follows_forwarding(f, kind);
            }),
        ]
    };
    let refused = Case::over_both("refused_large_packets_degrade_visibly", refused);
    let forwarded = Case::over_both("large_packets_that_are_forwarded_arrive_whole", forwarded);
    let cases = [Kind::Tap, Kind::Tun].into_iter().flat_map(of).chain([refused, forwarded]);
    each(cases, |case| case.needs(OURS))
}

fn big_writes(daemon: &Daemon) -> u64 {
    daemon.ask("status")["worker"]["device_big_writes"].as_u64().expect("a counter")
}

fn merges_big_tcp(daemon: &Daemon) -> bool {
    let status = daemon.ask("status");
    status["networks"][0]["device_offload"]["big_tcp"].as_bool().expect("a switch")
}

/// Sends until the receiving daemon has written a large packet. What arrives is compared by hash.
#[track_caller]
fn send_until_large(from: &Host, to: &Host, address: IpAddr, receiver: &Daemon) {
    for _ in 0..TRIES {
        note(&format!("TCP to {address}: {}", tcp::send(from, to, address, BYTES)));
        if big_writes(receiver) > 0 {
            return;
        }
    }
    panic!("no packet above 64 KiB in {TRIES} transfers");
}

fn own_sockets(family: Family, kind: Kind) {
    let pair = Pair::new(family, [kind, kind]);
    assert!(merges_big_tcp(pair.daemon(1)));
    let [v4, v6] = overlay(1);
    send_until_large(pair.host(0), pair.host(1), v4, pair.daemon(1));
    let before = big_writes(pair.daemon(1));
    tcp::send(pair.host(0), pair.host(1), v6, BYTES);
    assert_eq!(big_writes(pair.daemon(1)), before, "IPv6 stays as it is");
}

fn follows_forwarding(family: Family, kind: Kind) {
    let pair = Pair::new(family, [kind, kind]);
    set_forwarding(pair.host(1), "1");
    until_true("large packets are off", || !merges_big_tcp(pair.daemon(1)));
    let before = big_writes(pair.daemon(1));
    let [v4, _] = overlay(1);
    tcp::send(pair.host(0), pair.host(1), v4, BYTES);
    assert_eq!(big_writes(pair.daemon(1)), before);
    set_forwarding(pair.host(1), "0");
    until_true("large packets are on", || merges_big_tcp(pair.daemon(1)));
}

fn refused(family: Family) {
    let variables = [("TUNCTL_FAULT", "tun_write_big:ENOBUFS")];
    let pair = Pair::between(two_nodes(family), None, [Kind::Tap, Kind::Tap], "", &variables);
    let receiver = pair.daemon(1);
    let [v4, _] = overlay(1);
    for _ in 0..TRIES {
        tcp::send(pair.host(0), pair.host(1), v4, BYTES);
        if !merges_big_tcp(receiver) {
            break;
        }
    }
    let status = receiver.ask("status");
    let offload = &status["networks"][0]["device_offload"];
    assert_eq!((&offload["big_tcp"], &offload["gro"]), (&false.into(), &true.into()), "{status}");
    assert!(offload["refused"].to_string().contains("big_tcp: "), "{status}");
    assert_eq!(big_writes(receiver), 0);
    assert!(receiver.dropped("device_write_failed") > 0);
    let lines = receiver.log().into_iter().filter(|line| line.contains("device_big_tcp is off"));
    assert_eq!(lines.count(), 1);
}

/// To a third host behind the second, on a wire that takes 64 KiB: the kernel cuts what is larger.
fn forwarded(family: Family) {
    let [first, second] = two_nodes(family);
    let third = Host::new("behind").unwrap();
    let net = |text: &str| [text.parse::<IpNet>().expect("a prefix")];
    lab::connect(
        End { host: &second.host, interface: "lan0", addresses: &net("10.77.0.1/24") },
        End { host: &third, interface: "eth0", addresses: &net("10.77.0.2/24") },
        1500,
    )
    .unwrap();
    run(&third, "ip", "route add default via 10.77.0.1");
    set_forwarding(&second.host, "1");
    let start = |node: &Node, own: &str, far: IpAddr, behind: &str| {
        let config = Config::new(node)
            .tables("[offload]\ndevice_big_tcp = \"on\"")
            .network("tun", "tun0", VNI, &format!("addresses = [\"{own}\"]"))
            .peer("far", far, &format!("allowed_ips = [{behind}]"));
        Daemon::start(node, &config)
    };
    let behind = "\"10.9.0.2/32\", \"10.77.0.0/24\"";
    let _sender = start(&first, "10.9.0.1/24", second.address, behind);
    let receiver = start(&second, "10.9.0.2/24", first.address, "\"10.9.0.1/32\"");
    send_until_large(&first.host, &third, "10.77.0.2".parse().unwrap(), &receiver);
}

fn set_forwarding(host: &Host, value: &str) {
    host.set_sysctl("net/ipv4/ip_forward", value).unwrap();
}
