//! Each offload off, by switch or by a kernel that refuses it: everything still passes.

use serde_json::Value;

use super::{exact, flood, nested, shared_prefix};
use crate::harness::{Case, each};
use crate::need::{KERNEL_VXLAN, OURS};
use crate::pair::{KERNEL, KERNEL_WITHOUT_OFFLOADS, Kind, Pair, kernel_without_outer_checksums};
use crate::place::{Family, two_nodes};

const KEYS: &[&str] = &["device_gso", "device_gro", "udp_gso", "udp_gro"];

/// The check of a rule, with further tables for the daemons' configurations.
type Check = fn(Family, &str);

/// What holds without any of them.
const RULES: &[(&str, Check)] = &[
    ("everything_passes", everything_passes),
    ("floods_reach_each_node_once", flood::floods),
    ("spokes_reach_each_other_by_a_relaying_hub", flood::relays),
    ("host_in_a_shared_prefix_is_learned_moves_and_ages_out", shared_prefix::roams),
    ("kernel_vxlan_through_our_tun_carries_runs_and_tcp", nested::nested),
];

/// Less than in the cases with offloads: it is slower without.
const TCP: u64 = 32 << 20;
const UDP: u64 = 2 << 20;

pub fn cases() -> Vec<Case> {
    let each_rule = |&key| RULES.iter().map(move |(rule, check)| without(key, rule, *check));
    let switches = KEYS.iter().flat_map(each_rule);
    let refusals = [
        Case::over_both("refused_udp_segment_degrades_visibly", |family| {
            let expected = Refusal { fault: "udp_segment:EIO", place: "underlay", switch: "gso" };
            refused(family, expected);
        }),
        Case::over_both("refused_udp_gro_degrades_visibly", |family| {
            let expected =
                Refusal { fault: "udp_gro:ENOPROTOOPT", place: "underlay", switch: "gro" };
            refused(family, expected);
        }),
        Case::over_both("refused_tunsetoffload_degrades_visibly", |family| {
            let expected =
                Refusal { fault: "tunsetoffload:EINVAL", place: "networks", switch: "gso" };
            refused(family, expected);
        }),
    ];
    let switches = each(switches, |case| case.needs(OURS).needs(KERNEL_VXLAN));
    switches.into_iter().chain(each(refusals, |case| case.needs(OURS))).collect()
}

fn without(key: &'static str, rule: &str, check: Check) -> Vec<Case> {
    Case::over_both(&format!("{rule}_without_{key}"), move |family| {
        check(family, &format!("[offload]\n{key} = \"off\""));
    })
}

fn everything_passes(family: Family, tables: &str) {
    for kinds in [
        [Kind::Tap, Kind::Tap],
        [Kind::Tap, KERNEL],
        [Kind::Tap, KERNEL_WITHOUT_OFFLOADS],
        [Kind::Tap, kernel_without_outer_checksums(family)],
        [Kind::Tun, Kind::Tun],
        [Kind::Tun, Kind::KernelGpe],
    ] {
        let pair = Pair::with_tables(family, kinds, tables);
        pair.carries_everything(TCP, UDP);
        if kinds[0] == Kind::Tap {
            exact::all(&pair);
        }
    }
}

/// A refusal, and where `status` tells of it.
#[derive(Clone, Copy)]
struct Refusal {
    fault: &'static str,
    place: &'static str,
    switch: &'static str,
}

fn refused(family: Family, refusal: Refusal) {
    for kind in [Kind::Tap, Kind::Tun] {
        let variables = [("TUNCTL_FAULT", refusal.fault)];
        let pair = Pair::between(two_nodes(family), None, [kind, kind], "", &variables);
        pair.carries_everything(TCP, UDP);
        let status = pair.daemon(0).ask("status");
        let parts = status[refusal.place].as_array().expect("a list");
        let tells = |part: &Value| {
            let offload = if refusal.place == "networks" { &part["device_offload"] } else { part };
            offload[refusal.switch] == false
                && offload["refused"].as_array().is_some_and(|list| !list.is_empty())
        };
        assert!(parts.iter().any(tells), "{status}");
        // Beside the line that says that the fault is on.
        let log = pair.daemon(0).log();
        let lines: Vec<_> = log
            .iter()
            .filter(|line| line.contains("WARN") && !line.contains("TUNCTL_FAULT"))
            .collect();
        assert_eq!(lines.len(), 1, "one line tells of the refusal: {log:#?}");
    }
}
