//! A peer that is known by a name: it is found where the name says, also when that changes.

use std::fs;
use std::net::IpAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::daemon::Daemon;
use crate::harness::{Case, each};
use crate::need::{Need, OURS};
use crate::pair::overlay;
use crate::place::{Family, UNDERLAY, ping, try_run, two_nodes};
use crate::wait;
use crate::wireguard::{PORT, Plan, Speaker};

/// The name of the other end.
const NAME: &str = "far.test";

/// Has what follows see a file of its own in the place of `/etc/hosts`.
const OWN_HOSTS: [&str; 5] =
    ["unshare", "--mount", "sh", "-c", "mount --bind \"$0\" /etc/hosts && exec \"$@\""];

/// Until a peer that moved is heard again: it is silent for 15 s, the name is asked for every 10 s,
/// and a handshake is tried every 5 s.
const PATIENCE: Duration = Duration::from_secs(40);

pub fn cases() -> Vec<Case> {
    let needs = [Need::Program("unshare"), Need::Program("mount")];
    each([Case::over_both("wireguard_name_leads_to_where_the_peer_is_now", moves)], |case| {
        case.needs(OURS).needs(&needs)
    })
}

fn moves(family: Family) {
    let nodes = two_nodes(family);
    let plan = Plan::new(family, [Speaker::Tun; 2])
        .each(|end| (end.knows_endpoint, end.listens_on_any) = (false, true))
        .end(0, |end| end.peer = format!("endpoint = \"{NAME}:{PORT}\""));
    let directory = tempfile::tempdir().unwrap();
    let hosts = directory.path().join("hosts");
    tell(&hosts, nodes[1].address);
    let words = [&OWN_HOSTS[..], &[hosts.to_str().unwrap()]].concat();
    let server_config = plan.config(&nodes[1], 1, None);
    let server = Daemon::start(&nodes[1], &server_config);
    let client = Daemon::start_by(&nodes[0], &plan.config(&nodes[0], 0, None), &words);
    let is_found = || client.query("peers")[0]["endpoint"] != serde_json::Value::Null;
    wait::until_true("the name is looked up", is_found);
    ping(&nodes[0].host, overlay(1)[0], "");
    // The server goes, and comes back elsewhere without a word.
    drop(server);
    let (length, nodad) = if family == Family::V4 { (24, "") } else { (64, "nodad") };
    let (before, after) = (nodes[1].address, family.address(0, 77));
    nodes[1].ip(&format!("addr del {before}/{length} dev {UNDERLAY}"));
    nodes[1].ip(&format!("addr add {after}/{length} dev {UNDERLAY} {nodad}"));
    let _server = Daemon::start(&nodes[1], &server_config);
    tell(&hosts, after);
    let echo = format!("-n -q -c 1 -W 1 {}", overlay(1)[0]);
    let gone = Instant::now();
    while !try_run(&nodes[0].host, "ping", &echo).status.success() {
        assert!(gone.elapsed() < PATIENCE, "{}", client.query("peers"));
    }
    let endpoint = client.query("peers")[0]["endpoint"].to_string();
    assert!(endpoint.contains(&after.to_string()), "{endpoint}");
}

/// Writes what the name means, into the same file: it is mounted.
fn tell(hosts: &Path, address: IpAddr) {
    fs::write(hosts, format!("{address} {NAME}\n")).unwrap();
}
