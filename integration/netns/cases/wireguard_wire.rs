//! WireGuard over a wire that loses, repeats, reorders and corrupts, and ends that are killed.

use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::wireguard::NEEDS_GO;
use crate::daemon::Daemon;
use crate::flow::{Arrivals, Flow};
use crate::harness::{Case, each, note};
use crate::need::{Need, OURS};
use crate::pair::{Pair, overlay};
use crate::place::{Detour, Family, UNDERLAY, detour, run};
use crate::program::Brand;
use crate::relay::{Faults, Leg, Relay};
use crate::tcp;
use crate::wireguard::{PORT, Plan, Speaker};

const GO: Speaker = Speaker::Program(Brand::WireguardGo);

const SEEDS: &[u64] = &[1, 2, 3];

const FAULTS: Faults = Faults { loss: 5, repeat: 10, reorder: 20, corrupt: 5 };

/// Bytes of each of four transfers, over the wire of the relay and over the faster one.
const RELAYED: u64 = 8 << 20;
const BYTES: u64 = 64 << 20;

/// Until who sends and hears nothing asks for new keys: KEEPALIVE_TIMEOUT and REKEY_TIMEOUT of the
/// white paper, section 6.1.
const SILENCE: Duration = Duration::from_secs(15);

/// How much later that may be, so that not all ask at the same time: as in wireguard-go
/// (device/timers.go, RekeyTimeoutJitterMaxMs), and more than between two looks at our timers.
const JITTER: Duration = Duration::from_millis(334);

pub fn cases() -> Vec<Case> {
    let ours = [
        Case::over_both("wireguard_survives_the_loss_of_each_hundredth_datagram", |family| {
            loss(family, Speaker::Tun);
            loss(family, Speaker::Tap);
        }),
        Case::over_both("wireguard_survives_a_bad_wire", |family| {
            bad_wire(family, [Speaker::Tun; 2]);
        }),
        Case::over_both("wireguard_tap_survives_a_bad_wire", |family| {
            bad_wire(family, [Speaker::Tap; 2]);
        }),
        Case::over_both("wireguard_end_that_was_killed_and_begins_is_back_at_once", |family| {
            killed_and_begins(family, Speaker::Tun);
        }),
        Case::over_both("wireguard_end_that_was_killed_and_waits_is_back_after_15_s", |family| {
            killed_and_waits(family, Speaker::Tun);
        }),
    ];
    let go = [
        Case::over_both("wireguard_survives_a_bad_wire_with_wireguard_go", |family| {
            bad_wire(family, [Speaker::Tun, GO]);
        }),
        Case::over_both("wireguard_go_hears_who_was_killed_at_once", |family| {
            killed_and_begins(family, GO);
        }),
        Case::over_both("wireguard_go_hears_who_was_killed_and_waits_after_15_s", |family| {
            killed_and_waits(family, GO);
        }),
    ];
    let go = each(go, |case| case.needs(NEEDS_GO).needs(OURS));
    let ours = each(ours, |case| case.needs(OURS).needs(&[Need::Program("nft")]));
    ours.into_iter().chain(go).collect()
}

/// Transfers both ways beside a flow, of which nothing comes twice.
#[track_caller]
fn survives(pair: &Pair, bytes: u64) {
    let [_, address] = overlay(1);
    let every = Duration::from_millis(1);
    let flow = Flow { from: pair.host(0), to: pair.host(1), address, every };
    let (arrivals, ()) = flow.during(|| {
        for (from, to) in [(0, 1), (1, 0)] {
            for address in overlay(to) {
                let rate = tcp::send(pair.host(from), pair.host(to), address, bytes);
                note(&format!("TCP to {address}: {rate}"));
            }
        }
    });
    note(&format!("{arrivals:?}"));
    assert_eq!((arrivals.repeated, arrivals.changed), (0, 0), "{arrivals:?}");
    // The transfers fill every queue on the way, so more is lost than the wire loses.
    assert!(arrivals.lost < arrivals.sent / 4, "{arrivals:?}");
    no_panic(pair);
}

/// Messages that a daemon refused.
#[track_caller]
fn refused(daemon: &Daemon) -> u64 {
    let reasons = [
        "wireguard_malformed",
        "wireguard_mac",
        "wireguard_handshake",
        "wireguard_late_handshake",
        "wireguard_unknown_index",
        "wireguard_authentication",
        "wireguard_replayed",
        "wireguard_content",
    ];
    reasons.iter().map(|reason| daemon.dropped(reason)).sum()
}

#[track_caller]
fn no_panic(pair: &Pair) {
    for daemon in pair.daemons.iter().flatten() {
        let log = daemon.log();
        let bad = |line: &&String| line.contains("panic") || line.contains("ERROR");
        assert_eq!(log.iter().find(bad), None);
    }
}

fn loss(family: Family, kind: Speaker) {
    let pair = Plan::new(family, [kind; 2]).make();
    for node in &pair.nodes {
        let hook = format!("{{ type filter hook ingress device {UNDERLAY} priority 0 ; }}");
        run(&node.host, "nft", "add table netdev t");
        run(&node.host, "nft", &format!("add chain netdev t i {hook}"));
        let rule = format!("udp dport {PORT} numgen random mod 100 < 1 counter drop");
        run(&node.host, "nft", &format!("add rule netdev t i {rule}"));
    }
    survives(&pair, BYTES);
    for node in &pair.nodes {
        let rules = run(&node.host, "nft", "list table netdev t");
        assert!(!rules.contains("packets 0 "), "nothing was lost: {rules}");
    }
}

fn bad_wire(family: Family, speakers: [Speaker; 2]) {
    for seed in SEEDS {
        let Detour { ends, middle, proxies } = detour(family);
        let legs = [0, 1].map(|end| Leg {
            socket: middle.run(|| UdpSocket::bind((proxies[end], PORT))).unwrap(),
            node: SocketAddr::new(ends[end].address, PORT),
        });
        let relay = Relay::start(legs, *seed, FAULTS);
        let pair = Plan::new(family, speakers).launch(ends, Some(proxies));
        survives(&pair, RELAYED);
        let counts = relay.counts();
        note(&format!("seed {seed}: {counts:?}"));
        for count in [&counts.lost, &counts.repeated, &counts.reordered, &counts.corrupted] {
            assert!(count.load(Ordering::Relaxed) > 0, "seed {seed}: {counts:?}");
        }
        for reason in ["wireguard_replayed", "wireguard_authentication"] {
            assert!(pair.daemon(0).dropped(reason) > 0, "seed {seed}: {reason}");
        }
        // Nothing else is refused; what is corrupted and repeated is refused twice.
        let load = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let refused: u64 = pair.daemons.iter().flatten().map(refused).sum();
        let faults = load(&counts.repeated) + 2 * load(&counts.corrupted);
        assert!(refused <= faults, "seed {seed}: {refused} refused, {counts:?}");
    }
}

/// Kills end 0, which is ours, while the flow goes; gives what came of it and how long the end was
/// away.
fn killed(pair: &mut Pair, from: usize) -> (Arrivals, Duration) {
    let daemon = pair.daemons[0].take().expect("this end is ours");
    let [address, _] = overlay(1 - from);
    let every = Duration::from_millis(5);
    let flow = Flow { from: pair.host(from), to: pair.host(1 - from), address, every };
    let (arrivals, (daemon, away)) = flow.during(|| {
        let killed = Instant::now();
        let daemon = daemon.kill_and_start();
        let away = killed.elapsed();
        let deadline = killed + away + SILENCE + Duration::from_secs(2);
        while daemon.query("peers")[0]["received_packets"] == 0 && Instant::now() < deadline {
            std::thread::park_timeout(Duration::from_millis(5));
        }
        (daemon, away)
    });
    note(&format!("away for {away:?}; {arrivals:?}"));
    pair.daemons[0] = Some(daemon);
    (arrivals, away)
}

/// It knows where the other end is, and says so at its start.
fn killed_and_begins(family: Family, far: Speaker) {
    let mut pair = Plan::new(family, [Speaker::Tun, far]).begun_by(0).make();
    let (arrivals, away) = killed(&mut pair, 1);
    assert!(arrivals.pause < away + Duration::from_secs(1), "{arrivals:?}, away for {away:?}");
    assert!(arrivals.repeated == 0 && arrivals.changed == 0, "{arrivals:?}");
    pair.ping_both_ways();
    no_panic(&pair);
}

/// It does not know where the other end is, which has to find out that nobody hears it.
fn killed_and_waits(family: Family, far: Speaker) {
    let mut pair = Plan::new(family, [Speaker::Tun, far]).begun_by(1).make();
    let (arrivals, away) = killed(&mut pair, 1);
    assert!(arrivals.pause < away + SILENCE + JITTER, "{arrivals:?}, away for {away:?}");
    pair.ping_both_ways();
    no_panic(&pair);
}
