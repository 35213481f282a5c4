//! Start and end: what the daemon made goes with it, what it found stays.

use std::thread;
use std::time::Duration;

use crate::daemon::{Config, Daemon, Ended};
use crate::harness::{Case, each, note};
use crate::need::{Need, OURS};
use crate::pair::{Kind, Pair, VNI, overlay};
use crate::place::{Family, Node, ping, two_nodes};
use crate::{tcp, wait};

pub fn cases() -> Vec<Case> {
    let cases = [
        Case::over_both("sigterm_under_load_ends_within_a_second", |family| {
            sigterm_under_load(family, Kind::Tap);
            sigterm_under_load(family, Kind::Tun);
        }),
        Case::over_both("killed_daemon_starts_again_at_once", |family| {
            killed(family, Kind::Tap);
            killed(family, Kind::Tun);
        }),
        Case::over_both("failed_start_leaves_nothing", failed_start),
        Case::over_both("persistent_device_is_used_and_left", |family| {
            persistent(family, Kind::Tap);
            persistent(family, Kind::Tun);
        }),
    ];
    each(cases, |case| case.needs(OURS).needs(&[Need::Link("bridge")]))
}

/// Gives what the daemon may change on a node: interfaces and routes, without those that the
/// kernel makes for the addresses of interfaces (they come some time after an interface is up).
fn traces(node: &Node) -> String {
    let routes = ["route show table all", "-6 route show table all"].map(|what| node.ip(what));
    let is_kept = |line: &&str| !line.contains(" proto kernel ");
    let routes: Vec<_> = routes.iter().flat_map(|text| text.lines().filter(is_kept)).collect();
    format!("{}\n{}", node.ip("-o link show").replace("qlen 1000", ""), routes.join("\n"))
}

#[track_caller]
fn ended_cleanly(ended: &Ended) {
    assert!(ended.status.success(), "{ended:?}");
    assert!(ended.time < Duration::from_secs(1), "{:?}", ended.time);
    let errors: Vec<_> = ended.log.iter().filter(|line| line.contains("ERROR")).collect();
    assert!(errors.is_empty(), "{errors:#?}");
}

fn sigterm_under_load(family: Family, kind: Kind) {
    let nodes = two_nodes(family);
    let before = nodes.each_ref().map(traces);
    let mut pair = Pair::between(nodes, None, [kind, kind], "", &[]);
    let [address, _] = overlay(1);
    let [left, right] = [0, 1].map(|end| pair.host(end).clone());
    // The transfer breaks off when the daemons are gone: its end is not of interest.
    let load = thread::Builder::new().name("load that breaks off".into());
    let load = load.spawn(move || tcp::flood_until_broken(&left, &right, address)).unwrap();
    let bytes = || {
        let status = pair.daemon(0).ask("status");
        status["networks"][0]["sent_bytes"].as_u64().expect("sent_bytes is a number")
    };
    wait::until_true("the load is on", || bytes() > 50_000_000);
    for end in [0, 1] {
        let ended = pair.daemons[end].take().expect("both ends are ours").stop();
        note(&format!("end {end} ended in {:?}", ended.time));
        ended_cleanly(&ended);
        assert_eq!(traces(&pair.nodes[end]), before[end]);
    }
    load.join().unwrap();
}

fn killed(family: Family, kind: Kind) {
    let mut pair = Pair::new(family, [kind, kind]);
    pair.ping_both_ways();
    for _ in 0..3 {
        let daemon = pair.daemons[0].take().expect("both ends are ours");
        pair.daemons[0] = Some(daemon.kill_and_start());
        ping(pair.host(0), overlay(1)[0], "");
    }
}

fn failed_start(family: Family) {
    let [node, other] = two_nodes(family);
    let before = traces(&node);
    let addresses = "addresses = [\"10.9.0.1/24\"]";
    let allowed = "allowed_ips = [\"10.9.0.2/32\", \"10.77.0.0/16\"]";
    let config = Config::new(&node)
        .network("tun", "tun0", VNI, addresses)
        .network("tap", "tap0", VNI + 1, "bridge = \"nobridge\"")
        .peer("far", other.address, allowed);
    let ended = Daemon::refused(&node, &config);
    assert_eq!(ended.status.code(), Some(1), "{ended:?}");
    assert!(ended.log.iter().any(|line| line.contains("nobridge")), "{:#?}", ended.log);
    assert_eq!(traces(&node), before);
}

fn persistent(family: Family, kind: Kind) {
    let nodes = two_nodes(family);
    let interface = kind.interface();
    let mode = if kind == Kind::Tap { "tap" } else { "tun" };
    for node in &nodes {
        node.ip(&format!("tuntap add {interface} mode {mode} vnet_hdr"));
    }
    let index = |node: &Node| {
        let link = node.ip(&format!("-o link show {interface}"));
        link.split_once(':').expect("the index comes first").0.to_owned()
    };
    let before = nodes.each_ref().map(index);
    let mut pair = Pair::between(nodes, None, [kind, kind], "", &[]);
    pair.ping_both_ways();
    pair.tcp_both_ways(16 << 20);
    for end in [0, 1] {
        ended_cleanly(&pair.daemons[end].take().expect("both ends are ours").stop());
        let node = &pair.nodes[end];
        assert_eq!(index(node), before[end], "the device is still the same");
        let addresses = node.ip(&format!("-o addr show {interface}"));
        assert!(!addresses.contains("10.9.0."), "{addresses}");
    }
}
