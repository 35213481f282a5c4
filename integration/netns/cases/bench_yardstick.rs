//! What `tunctl bench` says of the wire and of the kernel's own device, beside what iperf3 says of the
//! same. Measured on request.

use std::fs;
use std::net::IpAddr;
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::Value;

use crate::daemon::program;
use crate::harness::{Case, note};
use crate::kernel::{DEVICE, KernelVxlan};
use crate::load::median;
use crate::need::Need;
use crate::place::{Family, Node, UNDERLAY, run, two_nodes};
use crate::wait;

/// Rounds of a measurement: an odd number, for a median.
const ROUNDS: usize = 9;
/// Seconds of each measurement.
const SECS: &str = "2";

/// How far both may be apart.
const APART: f64 = 0.1;

/// The congestion control of both, from the start: iperf3 sets another one too late.
const CONTROL: &str = "reno";

/// The port of iperf3, as `/proc/net/tcp` has it behind the address.
const LISTENS: &str = ":1451 00000000:0000 0A";

pub fn cases() -> Vec<Case> {
    let all = ["nic", "veth"].map(|underlay| ["raw", "kernel-vxlan"].map(|case| (underlay, case)));
    let cases = all.into_iter().flatten().map(|(underlay, case)| {
        let name = format!("measure_bench_agrees_with_iperf3::{underlay}::{case}");
        let needs = [Need::Link("vxlan"), Need::Program("iperf3"), Need::Program("ethtool")];
        Case::new(&name, move || agrees(underlay, case))
            .needs(&needs)
            .alone()
            .within(Duration::from_secs(240))
    });
    cases.collect()
}

fn agrees(underlay: &str, case: &str) {
    let nodes = two_nodes(Family::V4);
    for (node, other) in [(&nodes[0], &nodes[1]), (&nodes[1], &nodes[0])] {
        prepare(node, other, underlay, case);
    }
    let to = if case == "raw" { nodes[1].address } else { overlay(&nodes[1]) };
    let ratios = (0..ROUNDS).map(|round| {
        // Whoever is first finds the machine in another state.
        let early = (round % 2 == 0).then(|| bench(underlay, case));
        let theirs = iperf3(&nodes, to);
        let ours = early.unwrap_or_else(|| bench(underlay, case));
        note(&format!("bench {:.2}, iperf3 {:.2} Gbit/s", ours / 1e9, theirs / 1e9));
        ours / theirs
    });
    let ratio = median(ratios);
    note(&format!("{underlay}, {case}: the bench has {ratio:.3} times what iperf3 has"));
    assert!((ratio - 1.0).abs() <= APART, "{ratio}");
}

/// Makes the wire, and what is on it, as the bench does.
fn prepare(node: &Node, other: &Node, underlay: &str, case: &str) {
    for scope in ["all", "default"] {
        node.host.set_sysctl(&format!("net/ipv6/conf/{scope}/disable_ipv6"), "1").unwrap();
    }
    node.host.set_sysctl("net/ipv4/tcp_congestion_control", CONTROL).unwrap();
    let is_kernel = case == "kernel-vxlan";
    if underlay == "nic" {
        let sums = if is_kernel { "tx off" } else { "" };
        let features = "gro on gso off tso off tx-udp-segmentation off \
             tx-udp_tnl-segmentation off tx-udp_tnl-csum-segmentation off";
        run(&node.host, "ethtool", &format!("-K {UNDERLAY} {sums} {features}"));
    }
    if is_kernel {
        let (address, remote) = (format!("{}/24", overlay(node)), other.address);
        KernelVxlan {
            node,
            device: DEVICE,
            peers: &[],
            vni: 1,
            addresses: &[&address],
            options: &format!("remote {remote} udpcsum"),
        }
        .make();
    }
}

fn overlay(node: &Node) -> IpAddr {
    let IpAddr::V4(underlay) = node.address else { panic!("not IPv4") };
    let [.., number] = underlay.octets();
    [10, 9, 0, number].into()
}

/// What the bench says, bit/s.
fn bench(underlay: &str, case: &str) -> f64 {
    let mut command = Command::new(program());
    command.args(["bench", case, "--underlay", underlay, "--measure", "tcp-1", "--json"]);
    command.args(["--runs", "1", "--secs", SECS, "--cc", CONTROL]);
    let output = command.stderr(Stdio::null()).output().unwrap();
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let samples = report["samples"].as_array().unwrap();
    samples.last().unwrap()["values"]["bits_per_sec"].as_f64().unwrap()
}

/// What iperf3 says, bit/s.
fn iperf3(nodes: &[Node; 2], to: IpAddr) -> f64 {
    let mut command = Command::new("iperf3");
    command
        .args(["-4", "-s", "-1", "--idle-timeout", "20"])
        .stdin(Stdio::null())
        .stdout(Stdio::null());
    let mut server = nodes[1].host.spawn(&mut command).unwrap();
    wait::until_true("iperf3 listens", || {
        let sockets = nodes[1].host.run(|| fs::read_to_string("/proc/thread-self/net/tcp"));
        sockets.unwrap().contains(LISTENS)
    });
    let client = run(&nodes[0].host, "iperf3", &format!("-c {to} -t {SECS} -O 1 -J"));
    assert!(server.wait().unwrap().success());
    let report: Value = serde_json::from_str(&client).unwrap();
    report["end"]["sum_received"]["bits_per_second"].as_f64().unwrap()
}
