//! `tunctl bench`: short runs of it measure, report, draw, and leave nothing.

use std::fs;
use std::process::{Child, Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use tunctl::lab::Host;

use crate::daemon::program;
use crate::harness::{Case, each};
use crate::need::{Need, OURS};
use crate::surroundings::{as_ordinary_user, children_of, has_ended, traces};
use crate::wait;

/// How soon it ends after Ctrl-C. It promises a second; the rest is for a busy machine.
const END: Duration = Duration::from_millis(1500);

pub fn cases() -> Vec<Case> {
    let cases = [vec![
        Case::new("bench_measures_reports_and_leaves_nothing", measures),
        Case::new("bench_compares_with_the_kernel", compares).needs(&[Need::Link("vxlan")]),
        Case::new("bench_prints_tables_and_draws", draws),
        Case::new("bench_ends_by_ctrl_c_at_any_moment", ctrl_c),
        Case::new("bench_measures_what_is_set", settings),
        Case::new("bench_runs_as_an_ordinary_user", ordinary)
            .needs(&[Need::OrdinaryUser, Need::Program("setpriv")]),
    ]];
    each(cases, |case| case.needs(OURS).alone())
}

fn bench(arguments: &str) -> Command {
    let mut command = Command::new(program());
    command.arg("bench").args(arguments.split_whitespace());
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Runs it to its end in a host, where it must leave nothing.
fn run(command: &mut Command) -> Output {
    let host = Host::new("surroundings").unwrap();
    let before = traces(&host);
    let output = host.spawn(command).unwrap().wait_with_output().unwrap();
    assert_eq!(traces(&host), before);
    output
}

fn report(arguments: &str) -> Value {
    let output = run(&mut bench(&format!("{arguments} --json")));
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    // No terminal, so no progress: the announcement is all.
    let announced = errors.lines().all(|line| line.starts_with("Measuring ")) && !errors.is_empty();
    assert!(announced, "{errors:?}");
    serde_json::from_slice(&output.stdout).unwrap()
}

fn figure<'a>(report: &'a Value, case: &str, measure: &str, key: &str) -> &'a Value {
    let cases = report["cases"].as_array().unwrap();
    let case = cases.iter().find(|found| found["name"] == case).unwrap();
    &case["measures"][measure]["figures"][key]
}

fn keys(value: &Value) -> Vec<&str> {
    value.as_object().unwrap().keys().map(String::as_str).collect()
}

fn measures() {
    let report = report("raw vxlan-tap --runs 1 --secs 0.2 --measure tcp-1,tcp-2,udp-64,rtt");

    assert_eq!(
        keys(&report),
        [
            "announced_secs",
            "cases",
            "left_out_samples",
            "machine",
            "missing",
            "repeated_groups",
            "roofline",
            "samples",
            "settings",
            "started_unix_secs",
            "took_secs",
            "tunctl",
        ]
    );
    let settings = &report["settings"];
    assert_eq!((&settings["secs"], &settings["rounds"]), (&Value::from(0.2), &Value::from(1)));
    for case in ["raw", "vxlan-tap"] {
        for (measure, key) in [
            ("tcp-1", "bits_per_sec"),
            ("tcp-2", "fairness"),
            ("udp-64", "received_pps"),
            ("rtt", "p50_us"),
        ] {
            let figure = figure(&report, case, measure, key);
            let [median, min, max] = ["median", "min", "max"].map(|k| figure[k].as_f64().unwrap());
            assert!(median > 0.0 && min == median && max == median, "{case} {measure}: {figure}");
            assert!(figure["to_raw"]["median"].as_f64().unwrap() > 0.0, "{figure}");
            assert!(figure["to_kernel_vxlan"].is_null(), "{figure}");
        }
    }
    // One round of a packet each is far below this.
    let per_send = &figure(&report, "vxlan-tap", "tcp-1", "datagrams_per_send")["median"];
    assert!(per_send.as_f64().unwrap() > 2.0, "{per_send}");
    assert!(figure(&report, "raw", "tcp-1", "datagrams_per_send").is_null());
    let wire = figure(&report, "vxlan-tap", "tcp-1", "wire_packet_bytes")["median"].as_f64();
    assert!((1000.0..=1514.0).contains(&wire.unwrap()), "{wire:?}");
    let ours = &report["cases"][1];
    assert!(ours["resident_bytes"].as_u64().unwrap() > 0 && ours["drops"].is_object(), "{ours}");
    let samples = report["samples"].as_array().unwrap();
    assert_eq!(samples.iter().filter(|sample| sample["counted"] == true).count(), 8);
    assert!(samples.iter().all(|sample| sample["fault"].is_null()), "{samples:?}");
}

fn compares() {
    let report = report(
        "kernel-vxlan vxlan-tap-to-kernel kernel-to-vxlan-tap --runs 1 --secs 0.2 \
         --measure tcp-1 --underlay veth",
    );
    for case in ["kernel-vxlan", "vxlan-tap-to-kernel", "kernel-to-vxlan-tap"] {
        let rate = figure(&report, case, "tcp-1", "bits_per_sec");
        assert!(rate["to_kernel_vxlan"]["median"].as_f64().unwrap() > 0.0, "{case}: {rate}");
        assert!(rate["to_raw"].is_null(), "{case}: {rate}");
    }
    let wire = figure(&report, "kernel-vxlan", "tcp-1", "wire_packet_bytes")["median"].as_f64();
    assert!(wire.unwrap() > 5000.0, "aggregates cross a veth unsegmented: {wire:?}");
}

fn draws() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("figures.svg");
    let mut command = bench("vxlan-tun --runs 2 --secs 0.1 --measure rtt");
    let output = run(command.arg("--plot").arg(&file));

    let text = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && errors.is_empty(), "{text}{errors}");
    assert!(
        text.starts_with("Measuring rtt of 1 case in 2 rounds of 0.1 s each: at most "),
        "{text}"
    );
    for part in ["machine   ", "kernel    ", "tunctl    ", "wire      nic", "P50 µS", "vxlan-tun"]
    {
        assert!(text.contains(part), "{part}: {text}");
    }
    let drawing = fs::read_to_string(&file).unwrap();
    assert!(drawing.starts_with("<svg ") && drawing.contains(">vxlan-tun<"), "{drawing}");
}

fn ctrl_c() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("figures.svg");
    // While it sets up, between that and the first sample, and in the midst of a sample.
    for pause_ms in [0, 30, 150, 500, 1500] {
        let host = Host::new("surroundings").unwrap();
        let before = traces(&host);
        let mut command = bench("raw vxlan-tap vxlan-tun --secs 5 --measure tcp-1 --plot");
        let mut child = host.spawn(command.arg(&file)).unwrap();
        wait::until_true("it has announced what it does", || has_caught_signals(&child));
        thread::park_timeout(Duration::from_millis(pause_ms));
        let daemons = children_of(child.id());
        kill(Pid::from_raw(child.id() as i32), Signal::SIGINT).unwrap();
        let asked = Instant::now();
        let status = wait::until("it ends", || child.try_wait().unwrap());
        let (took, output) = (asked.elapsed(), child.wait_with_output().unwrap());
        let errors = String::from_utf8_lossy(&output.stderr);
        assert_eq!((status.code(), &*errors), (Some(1), "tunctl: interrupted\n"), "{pause_ms} ms");
        assert!(took < END, "{pause_ms} ms: {took:?}");
        wait::until_true("the daemons end too", || daemons.iter().all(|pid| has_ended(*pid)));
        assert_eq!(traces(&host), before);
        assert!(!file.exists());
    }
}

/// Whether Ctrl-C no longer kills a process: it waits for it then.
fn has_caught_signals(child: &Child) -> bool {
    let status = fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap_or_default();
    let blocked = status.lines().find_map(|line| line.strip_prefix("SigBlk:"));
    let mask = blocked.and_then(|text| u64::from_str_radix(text.trim(), 16).ok());
    mask.is_some_and(|mask| mask & 1 << (Signal::SIGINT as i32 - 1) != 0)
}

fn settings() {
    let mut command = bench("vxlan-tap --runs 1 --secs 0.2 --measure tcp-1 --json --cc reno");
    let output = run(command.args(["--set", "[offload]", "--set", "udp_gso = \"off\""]));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["settings"]["set"], "[offload]\nudp_gso = \"off\"");
    assert_eq!(report["settings"]["congestion"], "reno");
    assert!(
        figure(&report, "vxlan-tap", "tcp-1", "bits_per_sec")["median"].as_f64().unwrap() > 0.0
    );

    for (arguments, message) in [
        (["--set", "offload.udp_gso = 7"], "udp_gso"),
        (["--cc", "nonsense"], "tunctl: no congestion control nonsense: "),
    ] {
        let output = run(bench("vxlan-tap --runs 1 --secs 0.2").args(arguments));
        let errors = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{errors}");
        assert!(errors.contains(message), "{errors}");
    }
}

fn ordinary() {
    let arguments = "bench raw vxlan-tap --runs 1 --secs 0.2 --measure tcp-1,rtt";
    let output = run(&mut as_ordinary_user(&format!("exec /proc/self/fd/9 {arguments}")));
    let text = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}{errors}");
    assert!(text.contains("GBIT/S") && text.contains("P50 µS"), "{text}");
}
