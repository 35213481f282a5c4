//! Two hosts that were given the same key take each other's packets away, and the end that both
//! talk to says so.

use crate::daemon::{Config, Daemon};
use crate::harness::{Case, each};
use crate::need::OURS;
use crate::pair::Kind;
use crate::place::{Family, Node, three_nodes};
use crate::quic_pair;
use crate::wait;
use crate::wireguard::{self, PORT, Speaker};

pub fn cases() -> Vec<Case> {
    let cases = [
        Case::over_both("wireguard_two_hosts_with_one_key_are_told_of", |family| {
            let plan = wireguard::Plan::new(family, [Speaker::Tun; 2])
                .begun_by(0)
                .end(0, |end| end.peer = "persistent_keepalive = 1".into());
            check(family, |nodes, number| {
                let far = nodes[1].address;
                plan.config(&nodes[number], number % 2, (number != 1).then(|| (far, PORT).into()))
            });
        }),
        Case::over_both("quic_two_hosts_with_one_certificate_are_told_of", |family| {
            let plan = quic_pair::Plan::new(family, Kind::Tun).dialled_by(0);
            check(family, |nodes, number| {
                plan.config(&nodes[number], number % 2, nodes[1 - number % 2].address)
            });
        }),
    ];
    each(cases, |case| case.needs(OURS))
}

/// Starts the two hosts and between them the one that both talk to.
#[track_caller]
fn check(family: Family, config: impl Fn(&[Node; 3], usize) -> Config) {
    let nodes = three_nodes(family);
    let daemons = [0, 1, 2].map(|number| Daemon::start(&nodes[number], &config(&nodes, number)));
    let [first, _, second] = nodes.each_ref().map(|node| node.address.to_string());
    wait::until_true("both endpoints are named", || {
        let log = daemons[1].log();
        log.iter().any(|line| {
            line.contains("two endpoints in turn")
                && line.contains(&first)
                && line.contains(&second)
        })
    });
}
