//! IP packets over WireGuard: ours with ours, with wireguard-go and with boringtun-cli.
//!
//! 1 GiB with another program at both families and in both directions takes minutes of its time:
//! `cargo test --release --test netns -- long_wireguard_gib --nocapture`.

use crate::harness::{Case, each, note};
use crate::need::{Need, OURS};
use crate::pair::{Pair, overlay};
use crate::place::Family;
use crate::program::Brand;
use crate::tcp;
use crate::wireguard::{Plan, Speaker};

const GIB: u64 = 1 << 30;
const UDP: u64 = 16 << 20;

const GO: Speaker = Speaker::Program(Brand::WireguardGo);
const BORINGTUN: Speaker = Speaker::Program(Brand::Boringtun);

/// What a case with wireguard-go takes.
pub const NEEDS_GO: &[Need] = &[Need::Program("wireguard-go"), Need::Program("wg")];

/// What a case with boringtun-cli takes.
pub const NEEDS_BORINGTUN: &[Need] = &[Need::Program("boringtun-cli"), Need::Program("wg")];

pub fn cases() -> Vec<Case> {
    let ours = each(
        [
            Case::over_both("wireguard_tun_to_tun_carries_1_gib", |family| {
                let plan = Plan::new(family, [Speaker::Tun; 2]).preshared();
                plan.make().carries_everything(GIB, UDP);
            }),
            Case::over_both("wireguard_begins_at_either_end", |family| {
                from_either_end(family, Speaker::Tun);
            }),
        ],
        |case| case.alone(),
    );
    let go = each(
        [
            Case::over_both("wireguard_go_gets_1_gib", |family| one_gib(family, GO)),
            Case::over_both("wireguard_go_begins_and_answers", |family| {
                from_either_end(family, GO);
            }),
            Case::over_both("long_wireguard_gib_with_wireguard_go", |family| {
                Plan::new(family, [Speaker::Tun, GO]).make().carries_everything(GIB, UDP);
            }),
        ],
        |case| case.needs(NEEDS_GO).alone(),
    );
    let boringtun = each(
        [
            Case::over_both("wireguard_boringtun_begins_and_answers", |family| {
                from_either_end(family, BORINGTUN);
            }),
            Case::over_both("long_wireguard_gib_with_boringtun", |family| {
                Plan::new(family, [Speaker::Tun, BORINGTUN]).make().carries_everything(GIB, UDP);
            }),
        ],
        |case| case.needs(NEEDS_BORINGTUN).alone(),
    );
    each([ours, go, boringtun], |case| case.needs(OURS))
}

fn one_gib(family: Family, far: Speaker) {
    let pair = Plan::new(family, [Speaker::Tun, far]).preshared().make();
    let [v4, v6] = overlay(1);
    let address = if family == Family::V4 { v6 } else { v4 };
    let rate = tcp::send(pair.host(0), pair.host(1), address, GIB);
    note(&format!("TCP to {}: {rate}", pair.kinds[1]));
    nothing_refused(&pair);
}

/// Each end begins once, with and without a preshared key.
fn from_either_end(family: Family, far: Speaker) {
    for begins in [0, 1] {
        for is_preshared in [false, true] {
            let plan = Plan::new(family, [Speaker::Tun, far]).begun_by(begins);
            let plan = if is_preshared { plan.preshared() } else { plan };
            let pair = plan.make();
            pair.ping_both_ways();
            pair.exchange_datagrams();
            pair.tcp_both_ways(16 << 20);
            nothing_refused(&pair);
        }
    }
}

/// What authentic peers say to each other is never refused.
#[track_caller]
pub fn nothing_refused(pair: &Pair) {
    for daemon in pair.daemons.iter().flatten() {
        let drops = daemon.query("drops");
        let reasons = drops["reasons"].as_array().expect("reasons is a list");
        let refused = |entry: &serde_json::Value| {
            entry["packets"] != 0 && entry["reason"].to_string().contains("wireguard_")
        };
        assert!(!reasons.iter().any(refused), "{drops}");
    }
}
