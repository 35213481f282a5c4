//! Two ends of each kind: ping, datagrams, runs of datagrams and 1 GiB of TCP, both ways.

use crate::harness::{Case, each};
use crate::need::{KERNEL_VXLAN, OURS};
use crate::pair::{KERNEL, KERNEL_WITHOUT_OFFLOADS, Kind, Pair, kernel_without_outer_checksums};
use crate::place::{Family, Node, run};

const GIB: u64 = 1 << 30;
const UDP: u64 = 16 << 20;

pub fn cases() -> Vec<Case> {
    let with_kernel = [
        Case::over_both("tap_to_kernel_carries_1_gib", |family| to_kernel(family, KERNEL)),
        Case::over_both("tap_to_kernel_without_offloads_carries_1_gib", |family| {
            to_kernel(family, KERNEL_WITHOUT_OFFLOADS);
        }),
        Case::over_both("tap_to_kernel_without_outer_checksums_carries_1_gib", |family| {
            to_kernel(family, kernel_without_outer_checksums(family));
        }),
        Case::over_both("tun_to_kernel_gpe_carries_1_gib", |family| {
            Pair::new(family, [Kind::Tun, Kind::KernelGpe]).carries_everything(GIB, UDP);
        }),
    ];
    let ours = [
        Case::over_both("tap_to_tap_carries_1_gib", |family| {
            Pair::new(family, [Kind::Tap, Kind::Tap]).carries_everything(GIB, UDP);
        }),
        Case::over_both("tun_to_tun_carries_1_gib", |family| {
            Pair::new(family, [Kind::Tun, Kind::Tun]).carries_everything(GIB, UDP);
        }),
    ];
    let with_kernel = each(with_kernel, |case| case.needs(KERNEL_VXLAN).needs(OURS).alone());
    let ours = each(ours, |case| case.needs(OURS).alone());
    ours.into_iter().chain(with_kernel).collect()
}

fn to_kernel(family: Family, kernel: Kind) {
    let pair = Pair::new(family, [Kind::Tap, kernel]);
    pair.carries_everything(GIB, UDP);
    kernel_has_learned_our_mac(&pair.nodes[1], &pair);
    let theirs = text_of(pair.mac(1));
    let answer = pair.daemon(0).ask("fdb").to_string();
    assert!(answer.contains(&theirs), "{theirs} is not in {answer}");
}

fn kernel_has_learned_our_mac(node: &Node, pair: &Pair) {
    let ours = text_of(pair.mac(0));
    let from = pair.nodes[0].address;
    let table = run(&node.host, "bridge", "fdb show dev vx0");
    let entry = format!("{ours} dst {from}");
    assert!(table.lines().any(|line| line.starts_with(&entry)), "{entry} is not in\n{table}");
}

fn text_of(mac: [u8; 6]) -> String {
    mac.map(|byte| format!("{byte:02x}")).join(":")
}
