//! Each offload off, by switch or by a kernel that refuses it: everything still passes.

use serde_json::Value;

use super::exact;
use crate::harness::{Case, each};
use crate::need::{KERNEL_VXLAN, OURS};
use crate::pair::{KERNEL, Kind, Pair};
use crate::place::{Family, two_nodes};

const KEYS: &[&str] = &["device_gso", "device_gro", "udp_gso", "udp_gro"];

/// Less than in the cases with offloads: it is slower without.
const TCP: u64 = 16 << 20;
const UDP: u64 = 2 << 20;

pub fn cases() -> Vec<Case> {
    let switches = KEYS.iter().map(|key| {
        Case::over_both(&format!("everything_passes_without_{key}"), move |family| {
            without(family, key);
        })
    });
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

fn without(family: Family, key: &str) {
    let offload = format!("{key} = \"off\"");
    for kinds in [
        [Kind::Tap, Kind::Tap],
        [Kind::Tap, KERNEL],
        [Kind::Tun, Kind::Tun],
        [Kind::Tun, Kind::KernelGpe],
    ] {
        let pair = Pair::with_offload(family, kinds, &offload);
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
