//! Tables of a made-up report.

use super::*;
use crate::bench::case::Case;
use crate::bench::made_up;
use crate::bench::plan::Plan;
use crate::bench::scene::UnderlayKind;

#[test]
fn announcement_names_what_is_done_and_the_time() {
    let task = Task {
        plan: Plan {
            cases: vec![Case::Raw],
            measures: vec![Measure::Tcp(1), Measure::Rtt],
            rounds: 1,
            time: Duration::from_millis(500),
        },
        is_named: true,
        underlay: UnderlayKind::Nic,
        mtu: 1500,
        congestion: "cubic".into(),
        settings: String::new(),
        with_roofline: false,
    };
    let text = announcement(&task);
    let start = "Measuring tcp-1, rtt of 1 case in 1 round of 0.5 s each: at most ";
    assert!(text.starts_with(start) && text.ends_with(" s."), "{text}");
}

#[test]
fn head_says_what_the_figures_belong_to() {
    let text = printed(&made_up::report());
    for line in [
        "machine   Example <Processor> & Co, 2 cores; load average before 0.25 0.50 1.00",
        "kernel    6.18.44",
        "tunctl    0.1.0 (da6731f4224f)",
        "wire      nic: packets of at most the MTU, as on a real network; MTU 1500",
        "TCP       congestion control cubic",
    ] {
        assert!(text.lines().any(|found| found == line), "{line}:\n{text}");
    }
    let mut report = made_up::report();
    report.tunctl.optimized = false;
    report.settings.set = "[offload]\nudp_gso = \"off\"".into();
    let text = printed(&report);
    assert!(text.contains("NOT OPTIMIZED"), "{text}");
    assert!(text.contains("\nset       [offload]; udp_gso = \"off\"\n"), "{text}");
}

#[test]
fn table_has_medians_ranges_and_ratios() {
    let text = printed(&made_up::report());
    let line = |start: &str| words(text.lines().find(|line| line.starts_with(start)).unwrap());
    assert!(text.contains("\ntcp-1: TCP, 1 stream\nCASE"), "{text}");
    assert_eq!(
        line("vxlan-tap "),
        "vxlan-tap 6.80 6.39–7.14 0.66 0.93 12 0.97 1.52 0.80",
        "{text}"
    );
    assert_eq!(line("kernel-vxlan * "), "kernel-vxlan * 7.31 6.87–7.68 0.71 1.00 12 0.97 1.41 -");
}

#[test]
fn every_measure_has_its_table() {
    let text = printed(&made_up::report());
    for title in ["tcp-1: ", "tcp-8: ", "udp-64: ", "rtt: ", "What the wire carried"] {
        assert!(text.contains(&format!("\n\n{title}")), "{title}: {text}");
    }
    let daemons = text.split("What the wire carried").nth(1).unwrap();
    let line = daemons.lines().find(|line| line.starts_with("vxlan-tap ")).unwrap();
    assert_eq!(words(line), "vxlan-tap 1498 43.1 43.1 40.2 39.8 71000 9.0 MiB socket_full 7");
}

#[test]
fn remarks_tell_what_is_missing_and_what_was_disturbed() {
    let text = printed(&made_up::report());
    let end: Vec<_> = text.lines().rev().take(3).collect();
    assert_eq!(
        end,
        [
            "Done in 1 min 27 s; one measure of a round was repeated. Each figure is the median of \
             its rounds.",
            "not measured: wireguard-go: case wireguard-go needs the program wireguard-go, which is \
             not in PATH",
            "* somebody else took processor time in some of its rounds, also when they were repeated",
        ]
    );
}

fn printed(of: &Report) -> String {
    let mut out = Vec::new();
    report(&mut out, of).unwrap();
    String::from_utf8(out).unwrap()
}

fn words(line: &str) -> String {
    line.split_whitespace().collect::<Vec<_>>().join(" ")
}
