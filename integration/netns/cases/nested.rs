//! A kernel VXLAN device that runs through our TUN: super-packets of a tunnel inside the tunnel.

use crate::harness::{Case, each};
use crate::need::{KERNEL_VXLAN, OURS};
use crate::pair::{Kind, Pair, overlay};
use crate::place::{Family, ping};
use crate::{tcp, udp};

pub fn cases() -> Vec<Case> {
    let cases = [Case::over_both("kernel_vxlan_through_our_tun_carries_runs_and_tcp", |family| {
        nested(family, "");
    })];
    each(cases, |case| case.needs(OURS).needs(KERNEL_VXLAN))
}

/// Checks a nested tunnel; `tables` go into the configurations of the daemons.
pub fn nested(family: Family, tables: &str) {
    let pair = Pair::with_tables(family, [Kind::Tun, Kind::Tun], tables);
    for end in [0, 1] {
        let node = &pair.nodes[end];
        let ([local, _], [remote, _]) = (overlay(end), overlay(1 - end));
        // Another port than the daemon's own.
        node.ip(&format!(
            "link add in0 type vxlan id 7 dstport 8472 local {local} remote {remote} dev tun0"
        ));
        node.ip(&format!("addr add 10.10.0.{}/24 dev in0", end + 1));
        node.ip("link set in0 up");
    }
    for (from, to) in [(0, 1), (1, 0)] {
        let address = [10, 10, 0, to as u8 + 1].into();
        ping(pair.host(from), address, "");
        for segment in [512, 1200] {
            udp::send_runs(pair.host(from), pair.host(to), address, 16 << 20, segment);
        }
        tcp::send(pair.host(from), pair.host(to), address, 64 << 20);
    }
}
