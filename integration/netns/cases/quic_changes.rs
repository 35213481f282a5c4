//! Over QUIC, what is under way goes on when an end is elsewhere, or is killed and comes back.

use std::time::{Duration, Instant};

use crate::harness::{Case, each, note};
use crate::moving::{Router, goes_on, move_to};
use crate::need::{Need, OURS};
use crate::pair::{Kind, Pair, overlay};
use crate::place::{Family, ping, try_run};
use crate::quic_pair::{Plan, peer, until_up};
use crate::wait;

/// What stands still when the end that dialled is elsewhere goes on in this time, and when the
/// other is.
const DIALLER: Duration = Duration::from_secs(2);
const ACCEPTOR: Duration = Duration::from_secs(3);

/// Traffic flows again in this time when an end is back.
const BACK: Duration = Duration::from_secs(3);

pub fn cases() -> Vec<Case> {
    let moves = [
        Case::over_both("quic_upload_goes_on_from_another_address", |family| {
            another_address(family, 0);
        }),
        Case::over_both("quic_download_goes_on_to_another_address", |family| {
            another_address(family, 1);
        }),
        Case::over_both("quic_upload_goes_on_through_another_mapping", |family| {
            another_mapping(family, 0);
        }),
        Case::over_both("quic_download_goes_on_through_another_mapping", |family| {
            another_mapping(family, 1);
        }),
        Case::over_both("quic_upload_survives_that_either_end_moves", |family| {
            either_moves(family, 0);
        }),
        Case::over_both("quic_download_survives_that_either_end_moves", |family| {
            either_moves(family, 1);
        }),
    ];
    let kills = [
        Case::over_both("quic_end_that_dialled_is_killed_and_comes_back", |family| {
            comes_back(family, 0);
        }),
        Case::over_both("quic_end_that_accepted_is_killed_and_comes_back", |family| {
            comes_back(family, 1);
        }),
    ];
    let moves = each(moves, |case| case.needs(&[Need::Program("nft")]).needs(OURS));
    moves.into_iter().chain(each(kills, |case| case.needs(OURS))).collect()
}

fn plan(family: Family) -> Plan {
    Plan::new(family, Kind::Tun).dialled_by(0).end(0, |end| end.listens_on_any = true)
}

fn another_address(family: Family, from: usize) {
    let pair = plan(family).make();
    let after = family.address(0, 77);
    stays(&pair, from, &after.to_string(), || move_to(&pair.nodes[0], family, after));
}

fn another_mapping(family: Family, from: usize) {
    let (router, nodes) = Router::between(family);
    router.map_to(40_001);
    let pair = plan(family).launch(nodes, None);
    until_up(&pair);
    stays(&pair, from, ":40002", || router.map_to(40_002));
}

/// The connection is the same before and after.
#[track_caller]
fn stays(pair: &Pair, from: usize, place: &str, change: impl Fn()) {
    let started = Instant::now();
    let arrivals = goes_on(pair, from, Some((1, place)), change);
    let least = started.elapsed().as_secs();
    for end in [0, 1] {
        let age = peer(pair, end)["last_handshake_secs"].as_u64();
        assert!(age >= Some(least), "end {end}: {age:?} of {least} s: another connection");
    }
    assert!(arrivals.pause < DIALLER, "{arrivals:?}");
}

/// Both know where the other is, so that one of the two has accepted: each is elsewhere once.
fn either_moves(family: Family, from: usize) {
    for moving in [0, 1] {
        let plan = Plan::new(family, Kind::Tun).end(moving, |end| end.listens_on_any = true);
        let pair = plan.make();
        let after = family.address(0, 77);
        let place = after.to_string();
        let arrivals = goes_on(&pair, from, Some((1 - moving, &place)), || {
            move_to(&pair.nodes[moving], family, after);
        });
        assert!(arrivals.pause < ACCEPTOR, "end {moving} moved: {arrivals:?}");
    }
}

fn comes_back(family: Family, end: usize) {
    let plan = plan(family);
    let mut pair = plan.make();
    let [v4, v6] = overlay(1);
    ping(pair.host(0), v4, "");
    let daemon = pair.daemons[end].take().expect("ours");
    pair.daemons[end] = Some(daemon.kill_and_start());
    let back = Instant::now();
    wait::until_true("an echo after the return", || {
        let text = try_run(pair.host(0), "ping", &format!("-c 1 -W 1 -n {v4}"));
        text.status.success()
    });
    let time = back.elapsed();
    note(&format!("end {end}: {time:.2?} after its return"));
    assert!(time < BACK, "{time:?}");
    ping(pair.host(0), v6, "");
    for end in [0, 1] {
        let peers = pair.daemons[end].as_ref().expect("ours").query("peers");
        assert_eq!(peers.as_array().map(Vec::len), Some(1), "one peer, one connection");
    }
}
