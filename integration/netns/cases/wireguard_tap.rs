//! Ethernet over WireGuard: VXLAN inside it, ours with ours and with the kernel's device over
//! wireguard-go.

use super::wireguard::{NEEDS_GO, nothing_refused};
use crate::frames::ethernet;
use crate::harness::{Case, each};
use crate::need::{KERNEL_VXLAN, OURS};
use crate::pair::{Pair, overlay};
use crate::place::{Family, run};
use crate::stream::Random;
use crate::wireguard::{Plan, Speaker};

const GIB: u64 = 1 << 30;
const UDP: u64 = 16 << 20;

pub fn cases() -> Vec<Case> {
    let ours = [
        Case::over_both("wireguard_tap_to_tap_carries_1_gib", |family| {
            // The other family inside than outside.
            let tunnel = if family == Family::V4 { Family::V6 } else { Family::V4 };
            let pair = made(family, tunnel, Speaker::Tap);
            pair.carries_everything(GIB, UDP);
            frames_cross(&pair);
        }),
        Case::over_both("wireguard_tap_to_tap_carries_frames_inside_the_same_family", |family| {
            let pair = made(family, family, Speaker::Tap);
            pair.carries_everything(16 << 20, UDP);
            frames_cross(&pair);
        }),
    ];
    let kernel = [
        Case::over_both("wireguard_tap_to_kernel_vxlan_over_wireguard_go_inside_ipv4", |family| {
            to_kernel(family, Family::V4);
        }),
        Case::over_both("wireguard_tap_to_kernel_vxlan_over_wireguard_go_inside_ipv6", |family| {
            to_kernel(family, Family::V6);
        }),
    ];
    let kernel = each(kernel, |case| case.needs(NEEDS_GO).needs(KERNEL_VXLAN).needs(OURS).alone());
    let ours = each(ours, |case| case.needs(OURS).alone());
    ours.into_iter().chain(kernel).collect()
}

#[track_caller]
fn made(family: Family, tunnel: Family, far: Speaker) -> Pair {
    let plan = Plan { tunnel, ..Plan::new(family, [Speaker::Tap, far]) };
    plan.begun_by(usize::from(tunnel == Family::V6)).make()
}

fn to_kernel(family: Family, tunnel: Family) {
    let pair = made(family, tunnel, Speaker::VxlanOverWireguardGo);
    pair.ping_both_ways();
    pair.exchange_datagrams();
    pair.tcp_both_ways(64 << 20);
    frames_cross(&pair);
    resolved_again(&pair);
    nothing_refused(&pair);
    let table = run(pair.host(1), "bridge", "fdb show dev vx0");
    let ours = pair.mac(0).map(|byte| format!("{byte:02x}")).join(":");
    assert!(table.lines().any(|line| line.starts_with(&ours)), "{ours} is not in\n{table}");
}

/// Broadcast, multicast and unicast frames cross bit for bit.
#[track_caller]
fn frames_cross(pair: &Pair) {
    let mut random = Random::new(11);
    for (from, to) in [(0, 1), (1, 0)] {
        let (near, far) = (pair.frames(from), pair.frames(to));
        for target in [[0xff; 6], [0x01, 0, 0x5e, 1, 2, 3], pair.mac(to)] {
            for len in [46, 999, 1300] {
                let frame = ethernet(target, pair.mac(from), &[], 0x88b5, &random.bytes(len));
                near.send(&frame);
                let tail = &frame[frame.len() - 12..];
                let arrived = far.expect("the frame", |bytes| bytes.ends_with(tail));
                assert!(arrived == frame, "sent     {frame:02x?}\nreceived {arrived:02x?}");
            }
        }
    }
}

/// Both ends ask anew who has the other's addresses.
#[track_caller]
fn resolved_again(pair: &Pair) {
    for end in [0, 1] {
        pair.nodes[end].ip(&format!("neigh flush dev {}", pair.kinds[end].interface()));
    }
    pair.ping_both_ways();
    for end in [0, 1] {
        for address in overlay(1 - end) {
            let shown = pair.nodes[end].ip(&format!("neigh show {address}"));
            assert!(shown.contains("lladdr"), "{shown}");
        }
    }
}
