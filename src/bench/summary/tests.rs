//! Figures of made-up samples.

use super::*;
use crate::bench::report::Cost;

const TCP: Measure = Measure::Tcp(1);

#[test]
fn figure_is_the_median_with_both_ends_and_ratios_of_rounds() {
    let samples = [
        sample(1, Case::Raw, &[("bits_per_sec", 10e9)]),
        sample(2, Case::Raw, &[("bits_per_sec", 20e9)]),
        sample(3, Case::Raw, &[("bits_per_sec", 10e9)]),
        sample(1, Case::VxlanTap, &[("bits_per_sec", 6e9)]),
        sample(2, Case::VxlanTap, &[("bits_per_sec", 10e9)]),
        sample(3, Case::VxlanTap, &[("bits_per_sec", 7e9)]),
    ];

    let (cases, _) =
        summarize(&[subject(Case::Raw), subject(Case::VxlanTap)], &[TCP], &samples, None);

    let figure = cases[1].figure("tcp-1", "bits_per_sec").unwrap();
    assert_eq!(figure.spread, Spread { median: 7e9, min: 6e9, max: 10e9 });
    assert_eq!(figure.to_raw, Some(Spread { median: 0.6, min: 0.5, max: 0.7 }));
    assert_eq!(figure.to_kernel_vxlan, None);
    let raw = cases[0].figure("tcp-1", "bits_per_sec").unwrap();
    assert_eq!(raw.to_raw, Some(Spread { median: 1.0, min: 1.0, max: 1.0 }));
}

#[test]
fn sample_that_was_repeated_is_not_in_the_figures() {
    let mut discarded = sample(1, Case::Raw, &[("bits_per_sec", 1.0)]);
    discarded.counted = false;
    let mut disturbed = sample(1, Case::Raw, &[("bits_per_sec", 8.0)]);
    disturbed.attempt = 2;
    disturbed.usage = Some(Cost { disturbed: true, ..cost() });

    let (cases, _) = summarize(&[subject(Case::Raw)], &[TCP], &[discarded, disturbed], None);

    let measure = cases[0].measures["tcp-1"].as_ref().unwrap();
    assert_eq!((measure.rounds, measure.disturbed_rounds), (1, 1));
    assert_eq!(measure.figures["bits_per_sec"].unwrap().spread.median, 8.0);
}

#[test]
fn figure_that_a_case_cannot_have_is_null_with_its_reason() {
    let samples = [sample(1, Case::Raw, &[("bits_per_sec", 1.0)])];

    let (cases, missing) = summarize(&[subject(Case::Raw)], &[TCP], &samples, None);

    assert_eq!(cases[0].measures["tcp-1"].as_ref().unwrap().figures["syscalls_per_gb"], None);
    let reason = |key: &str| {
        let found = missing.iter().find(|missing| missing.figures.iter().any(|name| name == key));
        found.map(|missing| missing.reason.as_str())
    };
    assert_eq!(reason("daemon_cpu_secs_per_gb"), Some("no daemon in this case"));
    assert_eq!(reason("syscalls_per_gb"), Some("no daemon of ours in this case"));
    assert_eq!(reason("datagrams_per_send"), Some("no daemon of ours at the sending end"));
    assert_eq!(reason("retransmits"), Some("nothing was carried"));
    assert_eq!(reason("resident_bytes"), Some("no daemon in this case"));
    assert_eq!(reason("bits_per_sec"), None);
}

#[test]
fn every_null_has_a_reason() {
    let mut failed = sample(1, Case::VxlanTap, &[]);
    failed.fault = Some("connection refused".into());
    let absent = Subject { fault: Some("no such program".into()), ..subject(Case::WireguardGo) };
    let samples = [failed, sample(1, Case::VxlanTun, &[("bits_per_sec", 1.0)])];
    let subjects = [subject(Case::VxlanTap), subject(Case::VxlanTun), absent];

    let (cases, missing) = summarize(&subjects, &[TCP, Measure::Table], &samples, None);

    for case in &cases {
        for (name, measure) in &case.measures {
            let is_told = |key: &str| {
                missing.iter().any(|missing| {
                    missing.case == case.name
                        && missing.measure.as_ref().is_none_or(|measure| measure == name)
                        && (missing.figures.is_empty() || missing.figures.iter().any(|k| k == key))
                })
            };
            let figures = measure.iter().flat_map(|measure| &measure.figures);
            let nulls: Vec<_> = figures.filter(|(_, figure)| figure.is_none()).collect();
            assert!(measure.is_some() || is_told(""), "{} {name}", case.name);
            assert!(nulls.iter().all(|(key, _)| is_told(key)), "{} {name}: {nulls:?}", case.name);
        }
    }
    let reasons: Vec<_> = missing.iter().map(|missing| missing.reason.as_str()).collect();
    assert!(reasons.contains(&"connection refused"), "{reasons:?}");
    assert!(reasons.contains(&"only vxlan-tap has it"), "{reasons:?}");
    assert!(reasons.contains(&"no such program"), "{reasons:?}");
}

#[test]
fn round_that_failed_is_left_out_of_the_figures() {
    let mut failed = sample(2, Case::Raw, &[]);
    failed.fault = Some("timed out".into());
    let samples = [sample(1, Case::Raw, &[("bits_per_sec", 4.0)]), failed];

    let (cases, _) = summarize(&[subject(Case::Raw)], &[TCP], &samples, None);

    let measure = cases[0].measures["tcp-1"].as_ref().unwrap();
    assert_eq!(measure.rounds, 1);
    assert_eq!(measure.figures["bits_per_sec"].unwrap().spread.median, 4.0);
}

#[test]
fn kinds_are_those_of_the_ends() {
    assert_eq!(kind_of(Case::Raw), Kind::Baseline);
    assert_eq!(kind_of(Case::KernelVxlan), Kind::Baseline);
    assert_eq!(kind_of(Case::VxlanTapToKernel), Kind::Ours);
    assert_eq!(kind_of(Case::KernelToVxlanTap), Kind::Ours);
    assert_eq!(kind_of(Case::WireguardGo), Kind::Rival);
}

fn subject(case: Case) -> Subject {
    Subject { case, fault: None, resident_bytes: None, drops: None }
}

fn sample(round: u32, case: Case, values: &[(&str, f64)]) -> Sample {
    Sample {
        round,
        attempt: 1,
        measure: TCP.to_string(),
        case: case.name().into(),
        counted: true,
        fault: None,
        values: values.iter().map(|&(key, value)| (key.into(), value)).collect(),
        usage: Some(cost()),
    }
}

fn cost() -> Cost {
    Cost {
        wall_secs: 1.0,
        machine_cpu_secs: 2.0,
        daemon_cpu_secs: 0.0,
        steal_secs: 0.0,
        foreign_cpu_secs: 0.0,
        disturbed: false,
    }
}
