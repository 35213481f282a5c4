//! Transfers through a wire that loses, repeats, reorders and corrupts.

use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::Ordering;

use crate::harness::{Case, each, note};
use crate::need::{KERNEL_VXLAN, OURS};
use crate::pair::{KERNEL_WITHOUT_OFFLOADS, Kind, Pair, overlay};
use crate::place::{Detour, Family, detour};
use crate::relay::{Faults, Leg, Relay};
use crate::tcp;

const SEEDS: &[u64] = &[1, 2, 3];

const FAULTS: Faults = Faults { loss: 5, repeat: 10, reorder: 20, corrupt: 5 };

pub fn cases() -> Vec<Case> {
    let cases = [
        Case::over_both("tap_transfer_survives_a_bad_wire", |family| survives(family, Kind::Tap)),
        Case::over_both("tun_transfer_survives_a_bad_wire", |family| survives(family, Kind::Tun)),
    ];
    let kernel = [Case::over_both("kernel_transfer_survives_a_bad_wire", |family| {
        survives(family, KERNEL_WITHOUT_OFFLOADS);
    })];
    let kernel = each(kernel, |case| case.needs(KERNEL_VXLAN));
    kernel.into_iter().chain(each(cases, |case| case.needs(OURS))).collect()
}

fn survives(family: Family, kind: Kind) {
    for seed in SEEDS {
        let Detour { ends, middle, proxies } = detour(family);
        let port = if kind == Kind::Tun { 4790 } else { 4789 };
        let legs = [0, 1].map(|end| Leg {
            socket: middle.run(|| UdpSocket::bind((proxies[end], port))).unwrap(),
            node: SocketAddr::new(ends[end].address, port),
        });
        let relay = Relay::start(legs, *seed, FAULTS);
        let pair = Pair::between(ends, Some(proxies), [kind, kind], "", &[]);
        for (from, to) in [(0, 1), (1, 0)] {
            for address in overlay(to) {
                let rate = tcp::send(pair.host(from), pair.host(to), address, 8 << 20);
                note(&format!("seed {seed}, TCP to {address}: {rate}"));
            }
        }
        let counts = relay.counts();
        note(&format!("seed {seed}: {counts:?}"));
        for count in [&counts.lost, &counts.repeated, &counts.reordered, &counts.corrupted] {
            assert!(count.load(Ordering::Relaxed) > 0, "seed {seed}: {counts:?}");
        }
    }
}
