//! IP packets and frames over QUIC, ours with ours.

use std::time::{Duration, Instant};

use crate::certificates::Validity;
use crate::harness::{Case, each, note};
use crate::need::OURS;
use crate::pair::{Kind, Pair, overlay};
use crate::place::{Family, UNDERLAY, ping, try_run};
use crate::quic_pair::Plan;
use crate::{tcp, wait};

const TCP: u64 = 64 << 20;
const GIB: u64 = 1 << 30;
const UDP: u64 = 4 << 20;

pub fn cases() -> Vec<Case> {
    let cases = [
        Case::over_both("quic_tun_to_tun_carries_everything", |family| {
            carries(&Plan::new(family, Kind::Tun).pinned(), TCP);
        }),
        Case::over_both("quic_tap_to_tap_carries_everything", |family| {
            carries(&Plan::new(family, Kind::Tap).pinned(), TCP);
        }),
        Case::over_both("long_quic_gib_from_tun_to_tun", |family| {
            carries(&Plan::new(family, Kind::Tun).pinned(), GIB);
        }),
        Case::over_both("long_quic_gib_from_tap_to_tap", |family| {
            carries(&Plan::new(family, Kind::Tap).pinned(), GIB);
        }),
        Case::over_both("quic_begins_at_either_end_and_after_a_restart", |family| {
            for end in 0..2 {
                restarts(Plan::new(family, Kind::Tun).pinned().dialled_by(end));
            }
        }),
        Case::over_both("quic_path_that_shrinks_and_grows_is_followed", followed_path),
        vec![Case::new("quic_peer_that_is_revoked_is_cut_off", revoked)],
        vec![Case::new("quic_certificates_are_taken_while_it_runs", renewed)],
    ];
    each(cases, |case| case.needs(OURS).alone().within(Duration::from_secs(120)))
}

#[track_caller]
fn carries(plan: &Plan, tcp: u64) {
    let pair = plan.make();
    pair.ping_both_ways();
    pair.exchange_datagrams();
    pair.tcp_both_ways(tcp);
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

fn path_mtu(pair: &Pair) -> u64 {
    pair.daemon(0).ask("peers")[0]["path_mtu"].as_u64().expect("the path is known")
}

/// The underlay's MTU, which the kernel knows at both ends.
fn set_wire(pair: &Pair, mtu: u16) {
    for node in &pair.nodes {
        node.ip(&format!("link set {UNDERLAY} mtu {mtu}"));
    }
}

fn followed_path(family: Family) {
    let pair = Plan::new(family, Kind::Tun).pinned().make();
    let [to, _] = overlay(1);
    ping(pair.host(0), to, "");
    wait::until_true("the path is known", || path_mtu(&pair) == 1500);
    set_wire(&pair, 1300);
    wait::until_true("the path has shrunk", || {
        let _ = try_run(pair.host(0), "ping", &format!("-n -q -c 1 -W 0.1 -s 1300 {to}"));
        (1200..=1300).contains(&path_mtu(&pair))
    });
    tcp::send(pair.host(0), pair.host(1), to, 16 << 20);
    // Its sender is told, by ICMP, what crosses.
    let told = try_run(pair.host(0), "ping", &format!("-n -c 2 -i 0.1 -W 1 -M do -s 1350 {to}"));
    // What its own kernel knows by then, ping says as an error.
    let told = String::from_utf8_lossy(&[told.stdout, told.stderr].concat()).into_owned();
    assert!(told.contains("too long") || told.contains("Frag needed"), "{told}");
    set_wire(&pair, 1500);
    let started = Instant::now();
    while path_mtu(&pair) != 1500 {
        ping(pair.host(0), to, "");
        assert!(started.elapsed() < Duration::from_secs(90), "{}", path_mtu(&pair));
    }
    note(&format!("grown after {:?}", started.elapsed()));
}

fn is_connected(pair: &Pair, end: usize) -> bool {
    !pair.daemon(end).ask("peers")[0]["quic"].is_null()
}

fn has_said(pair: &Pair, end: usize, what: &str) -> bool {
    pair.daemon(end).log().iter().any(|line| line.contains(what))
}

fn revoked() {
    let plan = Plan::new(Family::V4, Kind::Tun);
    let other = plan.authority.issue("other", Validity::Now);
    let list = plan.authority.revoke(&other);
    let plan = plan.end(0, |end| end.revocations = Some(list));
    let pair = plan.make();
    ping(pair.host(0), overlay(1)[0], "");
    let list = plan.authority.revoke(&plan.ends[1].own);
    // Noticed without being told.
    pair.daemon(0).replace("crl", &list);
    wait::until_true("it is cut off", || !is_connected(&pair, 0));
    wait::until_true("both say why", || {
        has_said(&pair, 0, "revoked") && has_said(&pair, 1, "revoked")
    });
    assert!(!is_connected(&pair, 0) && !is_connected(&pair, 1));
}

fn renewed() {
    let plan = Plan::new(Family::V4, Kind::Tun).pinned();
    let pair = plan.make();
    ping(pair.host(0), overlay(1)[0], "");
    pair.daemon(0).replace("crt", "broken");
    pair.daemon(0).hang_up();
    wait::until_true("it is refused", || has_said(&pair, 0, "certificates not taken"));
    ping(pair.host(0), overlay(1)[0], "");
    pair.daemon(0).replace("crt", &plan.ends[0].own.certificate);
    pair.daemon(0).hang_up();
    wait::until_true("it is taken", || has_said(&pair, 0, "certificates taken"));
    ping(pair.host(0), overlay(1)[0], "");
}

fn nothing_refused(pair: &Pair) {
    for end in 0..2 {
        for reason in ["quic_refused", "quic_malformed", "quic_budget", "malformed"] {
            let daemon = pair.daemon(end);
            assert_eq!(daemon.dropped(reason), 0, "{reason}: {:?}", daemon.ask("drops"));
        }
    }
}
