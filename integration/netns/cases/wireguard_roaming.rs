//! The client is elsewhere from one moment to the next, and what is under way goes on.

use std::time::Duration;

use super::wireguard::NEEDS_GO;
use crate::harness::{Case, each};
use crate::moving::{Router, goes_on, move_to};
use crate::need::{Need, OURS};
use crate::pair::Pair;
use crate::place::{Family, two_nodes};
use crate::program::Brand;
use crate::wireguard::{Plan, Speaker};

const GO: Speaker = Speaker::Program(Brand::WireguardGo);

/// An upload stands still no longer than this.
const UPLOAD: Duration = Duration::from_secs(2);

/// A download stands still until the client's keepalive, which is due after one second, and no
/// more than one second longer.
const DOWNLOAD: Duration = Duration::from_secs(2);

pub fn cases() -> Vec<Case> {
    let ours = [
        Case::over_both("wireguard_upload_goes_on_from_another_address", |family| {
            another_address(family, Speaker::Tun, 0);
        }),
        Case::over_both("wireguard_download_goes_on_to_another_address", |family| {
            another_address(family, Speaker::Tun, 1);
        }),
        Case::over_both("wireguard_upload_goes_on_through_another_mapping", |family| {
            another_mapping(family, [Speaker::Tun; 2], 0);
        }),
        Case::over_both("wireguard_download_goes_on_through_another_mapping", |family| {
            another_mapping(family, [Speaker::Tun; 2], 1);
        }),
    ];
    let go = [
        Case::over_both("wireguard_go_sees_us_at_another_address", |family| {
            another_address(family, GO, 0);
            another_address(family, GO, 1);
        }),
        Case::over_both("wireguard_go_is_seen_through_another_mapping", |family| {
            another_mapping(family, [GO, Speaker::Tun], 0);
            another_mapping(family, [GO, Speaker::Tun], 1);
        }),
    ];
    let go = each(go, |case| case.needs(NEEDS_GO).needs(&[Need::Program("nft")]).needs(OURS));
    let ours = each(ours, |case| case.needs(&[Need::Program("nft")]).needs(OURS));
    ours.into_iter().chain(go).collect()
}

/// End 0 is the client: it begins, and keeps the way open; the server only knows its key.
fn plan(family: Family, speakers: [Speaker; 2]) -> Plan {
    Plan::new(family, speakers).begun_by(0).end(0, |end| {
        end.listens_on_any = true;
        end.peer = match end.speaker {
            Speaker::Tun | Speaker::Tap => "persistent_keepalive = 1".into(),
            _ => "PersistentKeepalive = 1".into(),
        };
    })
}

fn another_address(family: Family, server: Speaker, from: usize) {
    let plan = plan(family, [Speaker::Tun, server]);
    let pair = plan.launch(two_nodes(family), None);
    plan.begin(&pair);
    let after = family.address(0, 77);
    check(&pair, from, &after.to_string(), || move_to(&pair.nodes[0], family, after));
}

fn another_mapping(family: Family, speakers: [Speaker; 2], from: usize) {
    let (router, nodes) = Router::between(family);
    router.map_to(40_001);
    let plan = plan(family, speakers);
    let pair = plan.launch(nodes, None);
    plan.begin(&pair);
    check(&pair, from, ":40002", || router.map_to(40_002));
}

#[track_caller]
fn check(pair: &Pair, from: usize, place: &str, change: impl Fn()) {
    let arrivals = goes_on(pair, from, Some((1, place)), change);
    let limit = if from == 0 { UPLOAD } else { DOWNLOAD };
    assert!(arrivals.pause < limit, "{arrivals:?}");
}
