//! The underlay changes, or has several addresses: the tunnel goes on.

use std::net::IpAddr;

use crate::daemon::{Config, Daemon};
use crate::harness::{Case, each};
use crate::need::OURS;
use crate::pair::{Kind, Pair, VNI, overlay};
use crate::place::{Family, UNDERLAY, ping, try_run, two_nodes};
use crate::wireguard::{Plan, Speaker};
use crate::{tcp, wait};

pub fn cases() -> Vec<Case> {
    let cases = [
        Case::over_both("wildcard_answers_from_the_address_that_the_peer_used", wildcard),
        Case::over_both("address_that_goes_and_comes_is_survived", address_goes),
        Case::over_both("link_that_goes_down_and_up_is_survived", link_goes),
        Case::over_both("path_that_becomes_smaller_is_survived", |family| {
            smaller_path(&Pair::new(family, [Kind::Tap; 2]), 1400);
            smaller_path(&Pair::new(family, [Kind::Tun; 2]), 1400);
        }),
        Case::over_both("wireguard_path_that_becomes_smaller_is_survived", |family| {
            // With less, no IPv6 packet of 1280 bytes fits into both tunnels.
            smaller_path(&Plan::new(family, [Speaker::Tap; 2]).make(), 1440);
            smaller_path(&Plan::new(family, [Speaker::Tun; 2]).make(), 1440);
        }),
    ];
    each(cases, |case| case.needs(OURS))
}

fn wildcard(family: Family) {
    let [near, far] = two_nodes(family);
    let second = family.address(0, 200);
    let length = if second.is_ipv4() { 24 } else { 64 };
    let nodad = if second.is_ipv4() { "" } else { "nodad" };
    far.ip(&format!("addr add {second}/{length} dev {UNDERLAY} {nodad}"));
    let addresses = |number: u8| format!("addresses = [\"10.9.0.{number}/24\"]");
    let any = Config::listening(&far, "::").network("tap", "tap0", VNI, &addresses(2)).peer(
        "near",
        near.address,
        "",
    );
    let _far = Daemon::start(&far, &any);
    // The near end takes datagrams from the second address only.
    let config = Config::new(&near).network("tap", "tap0", VNI, &addresses(1));
    let daemon = Daemon::start(&near, &config.peer("far", second, ""));
    ping(&near.host, [10, 9, 0, 2].into(), "");
    tcp::send(&near.host, &far.host, [10, 9, 0, 2].into(), 16 << 20);
    let peers = daemon.ask("peers");
    assert!(peers[0]["received_packets"].as_u64() > Some(0), "{peers}");
}

/// Waits until one echo comes back: what a change has lost is lost.
#[track_caller]
fn works_again(pair: &Pair, to: IpAddr) {
    wait::until_true("the tunnel works again", || {
        try_run(pair.host(0), "ping", &format!("-n -q -c 1 -W 1 {to}")).status.success()
    });
    ping(pair.host(0), to, "");
}

fn address_goes(family: Family) {
    let pair = Pair::new(family, [Kind::Tap, Kind::Tap]);
    let [to, _] = overlay(1);
    ping(pair.host(0), to, "");
    let node = &pair.nodes[0];
    let (address, nodad) = match node.address {
        IpAddr::V4(address) => (format!("{address}/24"), ""),
        IpAddr::V6(address) => (format!("{address}/64"), "nodad"),
    };
    node.ip(&format!("addr del {address} dev {UNDERLAY}"));
    let lost = try_run(pair.host(0), "ping", &format!("-n -q -c 1 -W 1 {to}"));
    assert!(!lost.status.success(), "without its address the tunnel cannot work");
    node.ip(&format!("addr add {address} dev {UNDERLAY} {nodad}"));
    works_again(&pair, to);
}

fn link_goes(family: Family) {
    let pair = Pair::new(family, [Kind::Tap, Kind::Tap]);
    let [to, _] = overlay(1);
    ping(pair.host(0), to, "");
    let node = &pair.nodes[0];
    // By default IPv6 addresses are gone with the link.
    pair.nodes[0].host.set_sysctl("net/ipv6/conf/under0/keep_addr_on_down", "1").unwrap();
    node.ip(&format!("link set {UNDERLAY} down"));
    let lost = try_run(pair.host(0), "ping", &format!("-n -q -c 1 -W 1 {to}"));
    assert!(!lost.status.success(), "without its link the tunnel cannot work");
    node.ip(&format!("link set {UNDERLAY} up"));
    works_again(&pair, to);
}

fn smaller_path(pair: &Pair, mtu: u32) {
    pair.tcp_both_ways(8 << 20);
    for node in &pair.nodes {
        node.ip(&format!("link set {UNDERLAY} mtu {mtu}"));
    }
    pair.tcp_both_ways(64 << 20);
    // The first large echo each way is lost to teach the hosts the new MTU.
    for (from, to) in [(0, 1), (1, 0)] {
        for address in overlay(to) {
            try_run(pair.host(from), "ping", &format!("-n -q -c 2 -i 0.1 -W 1 -s 9000 {address}"));
        }
    }
    pair.ping_both_ways();
}
