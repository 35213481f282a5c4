//! A bridged site-to-site: hosts of 1500 bytes that know nothing of the tunnel.

use std::net::IpAddr;

use tunctl::lab::{self, End, Host};

use crate::daemon::{Config, Daemon};
use crate::harness::{Case, each, note};
use crate::need::{Need, OURS};
use crate::pair::VNI;
use crate::place::{Family, Node, ping, run, try_run, two_nodes};
use crate::{tcp, udp};

pub fn cases() -> Vec<Case> {
    let cases = [
        Case::over_both("bridged_hosts_of_1500_bytes_transfer_without_a_stall", |family| {
            transfers(family, "");
        }),
        Case::over_both("bridged_hosts_transfer_without_mss_clamp", |family| {
            transfers(family, "mss_clamp = false");
        }),
        Case::over_both("packet_of_1500_bytes_with_df_is_answered_by_icmp", answered),
    ];
    each(cases, |case| case.needs(OURS).needs(&[Need::Link("bridge")]))
}

/// Two sites: a node with a bridge, in it our TAP and the wire to a host.
struct Sites {
    nodes: [Node; 2],
    hosts: [Host; 2],
    _daemons: [Daemon; 2],
}

impl Sites {
    fn new(family: Family, keys: &str) -> Self {
        let nodes = two_nodes(family);
        let hosts = [0, 1].map(|site| {
            let host = Host::new(["left", "right"][site]).unwrap();
            nodes[site].ip("link add br0 type bridge");
            nodes[site].ip("link set br0 up");
            let addresses = overlay(site)
                .map(|(address, len)| ipnet::IpNet::new(address, len).expect("a valid length"));
            lab::connect(
                End { host: &host, interface: "eth0", addresses: &addresses },
                End { host: &nodes[site].host, interface: "port0", addresses: &[] },
                1500,
            )
            .unwrap();
            nodes[site].ip("link set port0 master br0");
            host
        });
        let daemons = [0, 1].map(|site| {
            let keys = format!("bridge = \"br0\"\n{keys}");
            let config = Config::new(&nodes[site]).network("tap", "tap0", VNI, &keys).peer(
                "far",
                nodes[1 - site].address,
                "",
            );
            Daemon::start(&nodes[site], &config)
        });
        Self { nodes, hosts, _daemons: daemons }
    }

    #[track_caller]
    fn bridges_keep_their_mtu(&self) {
        for node in &self.nodes {
            let link = node.ip("link show br0");
            assert!(link.contains(" mtu 1500 "), "{link}");
        }
    }
}

fn overlay(site: usize) -> [(IpAddr, u8); 2] {
    let number = site as u16 + 1;
    [([10, 9, 0, number as u8].into(), 24), ([0xfd00, 9, 0, 0, 0, 0, 0, number].into(), 64)]
}

fn transfers(family: Family, keys: &str) {
    let sites = Sites::new(family, keys);
    for (from, to) in [(0, 1), (1, 0)] {
        for (address, _) in overlay(to) {
            ping(&sites.hosts[from], address, "");
            let rate = tcp::send(&sites.hosts[from], &sites.hosts[to], address, 256 << 20);
            note(&format!("TCP to {address}: {rate}"));
            udp::exchange(&sites.hosts[from], &sites.hosts[to], address, &[64, 1372]);
        }
    }
    sites.bridges_keep_their_mtu();
}

fn answered(family: Family) {
    let sites = Sites::new(family, "");
    let mtu = if family == Family::V4 { 1450 } else { 1430 };
    for (from, to) in [(0, 1), (1, 0)] {
        for (address, _) in overlay(to) {
            // What a host has learned by the other direction is forgotten.
            for host in &sites.hosts {
                run(host, "ip", "route flush cache");
                run(host, "ip", "-6 route flush cache");
            }
            ping(&sites.hosts[from], address, "");
            // 1500 bytes with the headers of ICMP and of IPv4 or IPv6.
            let size = if address.is_ipv4() { 1472 } else { 1452 };
            let output = try_run(
                &sites.hosts[from],
                "ping",
                &format!("-n -c 1 -W 3 -M do -s {size} {address}"),
            );
            let text = String::from_utf8_lossy(&output.stdout).into_owned();
            let is_answer =
                |line: &str| line.starts_with("From ") && line.contains(&format!("{mtu}"));
            assert!(text.lines().any(is_answer), "ping of 1500 bytes to {address}: {text}");
            // The host has learned the path MTU: what fits is sent as it is, what does not is cut.
            // The answer to the first IPv6 echo of them is lost to teach the other host.
            ping(&sites.hosts[from], address, &format!("-M do -s {}", size - (1500 - mtu)));
            run(
                &sites.hosts[from],
                "ping",
                &format!("-n -q -c 3 -i 0.1 -W 3 -M want -s {size} {address}"),
            );
        }
    }
    sites.bridges_keep_their_mtu();
}
