//! Peers that share a prefix: hosts in it are learned, move, and age out.

use std::net::{IpAddr, Ipv4Addr};

use crate::daemon::{Config, Daemon};
use crate::harness::{Case, each};
use crate::need::OURS;
use crate::pair::VNI;
use crate::place::{Family, Node, ping, three_nodes};
use crate::wait;

/// The host that moves, an address in the shared prefix.
const ROAMER: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 9, 1, 7));

const PREFIX: &str = "10.9.1.0/24";

pub fn cases() -> Vec<Case> {
    let cases =
        [Case::over_both("host_in_a_shared_prefix_is_learned_moves_and_ages_out", |family| {
            roams(family, "");
        })];
    each(cases, |case| case.needs(OURS))
}

/// Checks a roaming host; `tables` go into the configurations of the daemons.
pub fn roams(family: Family, tables: &str) {
    let nodes = three_nodes(family);
    let [a, b, c] = &nodes;
    let own = |number: u8| format!("10.9.0.{number}/32");
    let network = |number: u8, keys: &str| {
        format!("addresses = [\"10.9.0.{number}/24\"]\nageing_secs = 3\n{keys}")
    };
    let shares = |number: u8| format!("allowed_ips = [\"{}\", \"{PREFIX}\"]", own(number));
    let center = Config::new(a)
        .network("tun", "tun0", VNI, &network(1, ""))
        .peer("b", b.address, &shares(2))
        .peer("c", c.address, &shares(3))
        .tables(tables);
    let edge = |node: &Node, number: u8| {
        Config::new(node)
            .network("tun", "tun0", VNI, &network(number, ""))
            .peer("a", a.address, &format!("allowed_ips = [\"{}\"]", own(1)))
            .tables(tables)
    };
    let daemon = Daemon::start(a, &center);
    let _edges = [Daemon::start(b, &edge(b, 2)), Daemon::start(c, &edge(c, 3))];

    for (node, name) in [(b, "b"), (c, "c")] {
        node.ip(&format!("addr add {ROAMER}/32 dev lo"));
        ping(&node.host, Ipv4Addr::new(10, 9, 0, 1).into(), &format!("-I {ROAMER}"));
        assert_eq!(place_of(&daemon).as_deref(), Some(name));
        ping(&a.host, ROAMER, "");
        node.ip(&format!("addr del {ROAMER}/32 dev lo"));
    }
    wait::until_true("the silent host ages out", || place_of(&daemon).is_none());
}

/// Gives the peer behind which the daemon knows the roaming host.
fn place_of(daemon: &Daemon) -> Option<String> {
    let table = daemon.ask("fdb");
    let entries = table.as_array().expect("fdb --json is a list");
    let entry = entries.iter().find(|entry| entry["ip"] == ROAMER.to_string())?;
    Some(entry["place"].as_str().expect("a place is a text").into())
}
