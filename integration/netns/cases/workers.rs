//! Several workers: what they carry, and what they need.

use std::net::IpAddr;
use std::thread;
use std::time::Duration;

use crate::daemon::{Config, Daemon};
use crate::harness::{Case, each};
use crate::need::OURS;
use crate::pair::{KERNEL, Kind, Pair, VNI, overlay};
use crate::place::{Family, two_nodes};
use crate::tcp;

/// Streams at once. Which worker a stream comes to follows from its lane, and that from its hash: that
/// one of two workers has two of all streams at most is one case in four million.
const STREAMS: usize = 32;

pub fn cases() -> Vec<Case> {
    let cases = [
        Case::over_both("four_workers_carry_everything_through_a_tap", |family| {
            carries(family, [Kind::Tap, Kind::Tap]);
        }),
        Case::over_both("four_workers_carry_everything_through_a_tun", |family| {
            carries(family, [Kind::Tun, Kind::Tun]);
        }),
        Case::over_both("four_workers_and_a_kernel_peer_carry_everything", |family| {
            carries(family, [Kind::Tap, KERNEL]);
        }),
        Case::over_both("two_workers_share_the_streams", |family| share(family, 2)),
        Case::over_both("four_workers_share_the_streams", |family| share(family, 4)),
        Case::over_both("device_with_one_queue_has_one_worker", one_queue),
        Case::over_both("several_workers_do_not_share_a_port_with_another_daemon", port_in_use),
    ];
    each(cases, |case| case.needs(OURS))
}

fn with_workers(family: Family, kinds: [Kind; 2], workers: u8) -> Pair {
    Pair::with_keys(family, kinds, &format!("workers = {workers}"))
}

fn carries(family: Family, kinds: [Kind; 2]) {
    let pair = with_workers(family, kinds, 4);
    assert_eq!(pair.daemon(0).ask("status")["worker"]["threads"], 4);
    pair.carries_everything(64 << 20, 16 << 20);
}

/// Each stream stays whole, whoever moves it.
fn share(family: Family, workers: u8) {
    let pair = with_workers(family, [Kind::Tap, Kind::Tap], workers);
    let (from, to) = (pair.host(0), pair.host(1));
    thread::scope(|scope| {
        for number in 0..STREAMS {
            let [v4, v6] = overlay(1);
            let address: IpAddr = if number % 2 == 0 { v4 } else { v6 };
            scope.spawn(move || tcp::send(from, to, address, 8 << 20));
        }
    });
    for end in [0, 1] {
        let times = pair.daemon(end).thread_times();
        let all = pair.daemon(end).processor_time();
        let busy =
            |(name, time): &&(String, Duration)| name.starts_with("worker") && *time > all / 20;
        assert!(times.iter().filter(busy).count() > 1, "{times:?}");
    }
}

fn one_queue(family: Family) {
    let [node, far] = two_nodes(family);
    node.ip("tuntap add tap0 mode tap");
    let config = |keys: &str| {
        Config::new(&node).keys(keys).network("tap", "tap0", VNI, "").peer("far", far.address, "")
    };
    let daemon = Daemon::start(&node, &config(""));
    assert_eq!(daemon.ask("status")["worker"]["threads"], 1);
    daemon.stop();
    let ended = Daemon::refused(&node, &config("workers = 2"));
    assert_eq!(ended.status.code(), Some(1), "{ended:?}");
    let told = "interface tap0: exists with one queue, make it with several (multi_queue)";
    assert!(ended.log.iter().any(|line| line.contains(told)), "{:#?}", ended.log);
    node.ip("link delete tap0");
    node.ip("tuntap add tap0 mode tap multi_queue");
    let daemon = Daemon::start(&node, &config("workers = 3"));
    assert_eq!(daemon.ask("status")["worker"]["threads"], 3);
}

fn port_in_use(family: Family) {
    let pair = with_workers(family, [Kind::Tap, Kind::Tap], 2);
    let [node, far] = &pair.nodes;
    let config = Config::new(node).keys("workers = 2").network("tap", "tap9", VNI, "").peer(
        "far",
        far.address,
        "",
    );
    let ended = Daemon::refused(node, &config);
    assert!(ended.log.iter().any(|line| line.contains("address in use")), "{:#?}", ended.log);
}
