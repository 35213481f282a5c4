//! A report of made-up samples, to try what is made of a report.

use std::collections::BTreeMap;

use super::case::Case;
use super::measure::{Measure, Pace, Packets};
use super::report::{self, Build, Kind, Machine, Report, Sample, Settings};
use super::roofline::model::{ApplicationTerms, DeviceTerms};
use super::roofline::{Cipher, Cost, Roofline, Terms};
use super::summary::{Subject, kind_of, summarize};
use crate::device;

/// The rounds of the report.
const ROUNDS: u32 = 3;

/// How far a round's values lie from those of the first.
const DRIFT: [f64; 3] = [1.0, 0.94, 1.05];

/// Gives a report of the usual cases and one that could not be measured.
pub fn report() -> Report {
    let cases = [
        Case::Raw,
        Case::KernelVxlan,
        Case::VxlanTap,
        Case::VxlanTun,
        Case::VxlanTapToKernel,
        Case::KernelToVxlanTap,
        Case::WireguardTun,
        Case::WireguardTap,
        Case::WireguardGo,
    ];
    let measures = [
        Measure::Tcp(1),
        Measure::Tcp(8),
        Measure::Udp(Packets::Small, Pace::Overload),
        Measure::Rtt,
    ];
    let subjects: Vec<_> = cases.into_iter().map(subject).collect();
    let measured: Vec<_> =
        subjects.iter().filter(|s| s.fault.is_none()).map(|subject| subject.case).collect();
    let mut samples = Vec::new();
    for round in 1..=ROUNDS {
        for measure in measures {
            samples.extend(measured.iter().map(|&case| sample(round, measure, case)));
        }
    }
    let roofline = roofline();
    let (cases, missing) = summarize(&subjects, &measures, &samples, Some(&roofline));
    Report {
        tunctl: Build {
            version: "0.1.0".into(),
            commit: Some("da6731f4224f".into()),
            optimized: true,
        },
        machine: Machine {
            cpu: Some("Example <Processor> & Co".into()),
            cores: 2,
            kernel: Some("6.18.44".into()),
            load_average: Some([0.25, 0.5, 1.0]),
        },
        settings: Settings {
            underlay: "nic".into(),
            mtu: 1500,
            congestion: "cubic".into(),
            set: String::new(),
            secs: 1.0,
            rounds: ROUNDS,
            measures: measures.iter().map(Measure::to_string).collect(),
        },
        started_unix_secs: 1_700_000_000,
        announced_secs: 110.0,
        took_secs: 86.5,
        repeated_groups: 1,
        left_out_samples: 0,
        roofline: Some(roofline),
        cases,
        missing,
        samples,
    }
}

fn roofline() -> Roofline {
    let cost = |best_ns| Cost { best_ns, median_ns: 1.1 * best_ns };
    let device = DeviceTerms {
        read_run: cost(3000.0),
        write_run: cost(4000.0),
        outbound_run: cost(2500.0),
        inbound_run: cost(5000.0),
        ..DeviceTerms::default()
    };
    let terms = Terms {
        wake_up: cost(2000.0),
        tun: device,
        tap: device,
        raw: ApplicationTerms { write: cost(40_000.0), read: cost(20_000.0) },
        application: ApplicationTerms { write: cost(5000.0), read: cost(4000.0) },
        cores: 2.0,
        ..Terms::default()
    };
    let limits = vec![terms.raw_limit(), terms.limit(device::Kind::Tun, Cipher::None)];
    Roofline { underlay: "nic", run_bytes: 61_500, run_segments: 44, terms, limits }
}

fn subject(case: Case) -> Subject {
    let is_ours = kind_of(case) == Kind::Ours;
    let fault = "case wireguard-go needs the program wireguard-go, which is not in PATH";
    Subject {
        case,
        fault: case.program().map(|_| fault.to_owned()),
        resident_bytes: is_ours.then_some(9 << 20),
        drops: is_ours.then(|| BTreeMap::from([("socket_full".to_owned(), 7)])),
    }
}

fn sample(round: u32, measure: Measure, case: Case) -> Sample {
    let drift = DRIFT[(round as usize - 1) % DRIFT.len()];
    // The second round of the kernel's device was disturbed.
    let disturbed = round == 2 && case == Case::KernelVxlan;
    Sample {
        round,
        attempt: 1,
        measure: measure.to_string(),
        case: case.name().to_owned(),
        counted: true,
        fault: None,
        values: values(measure, case, drift),
        usage: Some(report::Cost {
            wall_secs: 1.2,
            machine_cpu_secs: 2.1,
            daemon_cpu_secs: 0.9,
            steal_secs: 0.01,
            foreign_cpu_secs: if disturbed { 0.3 } else { 0.0 },
            disturbed,
        }),
    }
}

fn values(measure: Measure, case: Case, drift: f64) -> BTreeMap<String, f64> {
    // Of raw: the rate of the case as a share of it.
    let share = match case {
        Case::Raw => 1.0,
        Case::KernelVxlan => 0.71,
        Case::VxlanTap => 0.66,
        Case::VxlanTun => 0.69,
        Case::VxlanTapToKernel => 0.62,
        _ => 0.58,
    };
    let is_ours = kind_of(case) == Kind::Ours;
    let mut values: Vec<(&str, f64)> = match measure {
        Measure::Tcp(streams) => vec![
            ("bits_per_sec", 10.3e9 * share * drift * if streams > 1 { 1.15 } else { 1.0 }),
            ("fairness", 0.97),
            ("retransmits", (12.0 * drift).round()),
            ("machine_cpu_secs_per_gb", 1.0 / share / drift),
            ("wire_packet_bytes", 1498.0),
            ("packets_per_wire_packet", 0.989),
        ],
        Measure::Udp(..) => vec![
            ("received_pps", 236e3 * share * drift),
            ("sent_pps", 240e3),
            ("lost_share", 0.02 / share),
            ("overrun", 0.0),
            ("refused", 0.0),
            ("disordered", 0.0),
            ("machine_cpu_us_per_packet", 4.4 / share),
        ],
        _ => vec![
            ("p50_us", 27.0 / share * drift),
            ("p99_us", 44.0 / share / drift),
            ("p999_us", 96.0 / share),
            ("answered", 15_000.0),
            ("lost", 0.0),
        ],
    };
    if is_ours && matches!(measure, Measure::Tcp(_)) {
        values.extend([
            ("daemon_cpu_secs_per_gb", 0.8 / drift),
            ("syscalls_per_gb", 71_000.0),
            ("segments_per_device_read", 43.1),
            ("datagrams_per_send", 43.1),
            ("datagrams_per_receive", 40.2),
            ("segments_per_device_write", 39.8),
        ]);
    }
    values.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
}
