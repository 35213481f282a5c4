//! IP packets and frames over QUIC, ours with ours.

use std::time::{Duration, Instant};

use crate::harness::{Case, each};
use crate::need::OURS;
use crate::pair::{Kind, Pair, overlay};
use crate::place::{ping, try_run};
use crate::quic::Plan;
use crate::wait;

const TCP: u64 = 64 << 20;
const UDP: u64 = 4 << 20;

pub fn cases() -> Vec<Case> {
    let cases = [
        Case::over_both("quic_tun_to_tun_carries_everything", |family| {
            carries(&Plan::new(family, Kind::Tun));
        }),
        Case::over_both("quic_tap_to_tap_carries_everything", |family| {
            carries(&Plan::new(family, Kind::Tap));
        }),
        Case::over_both("quic_begins_at_either_end_and_after_a_restart", |family| {
            for dials in [[true, false], [false, true]] {
                restarts(Plan { dials, ..Plan::new(family, Kind::Tun) });
            }
        }),
    ];
    each(cases, |case| case.needs(OURS).alone())
}

#[track_caller]
fn carries(plan: &Plan) {
    let pair = plan.make();
    pair.ping_both_ways();
    pair.exchange_datagrams();
    pair.tcp_both_ways(TCP);
    pair.udp_runs_both_ways(UDP);
    for end in 0..2 {
        let peers = pair.daemon(end).ask("peers");
        let peer = &peers[0];
        assert_eq!(peer["transport"], "quic", "{peers}");
        assert_eq!(peer["path_mtu"], 1500, "{peers}");
        assert_eq!(peer["quic"]["group"], "X25519MLKEM768", "{peers}");
        assert!(peer["quic"]["certificate_expires"].as_u64() > Some(1 << 30), "{peers}");
        let socket = &pair.daemon(end).ask("status")["underlay"][0];
        assert_eq!(socket["carrier"], "quic", "{socket}");
    }
    nothing_refused(&pair);
}

#[track_caller]
fn restarts(plan: Plan) {
    let mut pair = plan.make();
    ping(pair.host(0), overlay(1)[0], "");
    for end in 0..2 {
        let daemon = pair.daemons[end].take().expect("it is ours");
        pair.daemons[end] = Some(daemon.kill_and_start());
        let started = Instant::now();
        let (near, far) = (pair.host(1 - end), overlay(end)[0]);
        wait::until_true("an echo", || {
            try_run(near, "ping", &format!("-n -q -c 1 -W 0.1 {far}")).status.success()
        });
        assert!(started.elapsed() < Duration::from_secs(3), "{:?}", started.elapsed());
    }
}

fn nothing_refused(pair: &Pair) {
    for end in 0..2 {
        for reason in ["quic_refused", "quic_malformed", "quic_budget", "malformed"] {
            let daemon = pair.daemon(end);
            assert_eq!(daemon.dropped(reason), 0, "{reason}: {:?}", daemon.ask("drops"));
        }
    }
}
