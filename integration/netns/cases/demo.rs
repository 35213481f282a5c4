//! `tunctl demo`: shows what it should, ends with 0, leaves nothing.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tunctl::lab::Host;

use crate::daemon::program;
use crate::harness::{Case, each};
use crate::need::{Need, OURS};
use crate::surroundings::{as_ordinary_user, children_of, has_ended, traces};
use crate::wait;

pub fn cases() -> Vec<Case> {
    let cases = [vec![
        Case::new("demo_shows_both_devices_and_leaves_nothing", shows),
        Case::new("demo_ends_by_ctrl_c_with_0", ctrl_c),
        Case::new("killed_demo_leaves_nothing", killed),
        Case::new("demo_runs_as_an_ordinary_user", ordinary)
            .needs(&[Need::OrdinaryUser, Need::Program("setpriv")]),
        Case::new("demo_names_the_sysctl_that_is_off", names_the_sysctl).needs(&[
            Need::OrdinaryUser,
            Need::Program("setpriv"),
            Need::Program("unshare"),
        ]),
    ]];
    each(cases, |case| case.needs(OURS))
}

fn demo(arguments: &str) -> Command {
    let mut command = Command::new(program());
    command.arg("demo").args(arguments.split_whitespace());
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn shows() {
    let host = Host::new("surroundings").unwrap();
    let before = traces(&host);
    let devices = ["tun", "tap"].map(|device| format!("--device {device} --for 1"));
    for arguments in devices.into_iter().flat_map(|device| {
        ["vxlan", "wireguard"].map(|transport| format!("{device} --transport {transport}"))
    }) {
        let mut command = demo(&arguments);
        let output = host.spawn(&mut command).unwrap().wait_with_output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{text}{errors}");
        assert!(text.contains("100 of 100 answers"), "{text}");
        assert!(text.contains("Gbit/s"), "{text}");
        assert_eq!(traces(&host), before);
    }
}

/// Starts a demonstration and reads until its tables are there.
fn start(host: &Host, arguments: &str) -> (Child, Vec<u32>) {
    let mut child = host.spawn(&mut demo(arguments)).unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
    let reached = lines.into_iter().any(|line| line.contains("until Ctrl-C"));
    assert!(reached, "the demonstration ended early: {:?}", child.wait_with_output());
    let daemons = children_of(child.id());
    assert_eq!(daemons.len(), 2, "a daemon for each host");
    (child, daemons)
}

fn ctrl_c() {
    let host = Host::new("surroundings").unwrap();
    let before = traces(&host);
    let (mut child, daemons) = start(&host, "");
    kill(Pid::from_raw(child.id() as i32), Signal::SIGINT).unwrap();
    let status = wait::until("the demonstration ends", || child.try_wait().unwrap());
    assert!(status.success(), "{status}");
    assert!(daemons.into_iter().all(has_ended));
    assert_eq!(traces(&host), before);
}

fn killed() {
    let host = Host::new("surroundings").unwrap();
    let before = traces(&host);
    for transport in ["vxlan", "wireguard"] {
        let (mut child, daemons) = start(&host, &format!("--transport {transport}"));
        child.kill().unwrap();
        child.wait().unwrap();
        wait::until_true("the daemons end too", || daemons.iter().all(|pid| has_ended(*pid)));
        assert_eq!(traces(&host), before);
    }
}

fn ordinary() {
    let host = Host::new("surroundings").unwrap();
    let before = traces(&host);
    let mut command = as_ordinary_user("exec /proc/self/fd/9 demo --for 1");
    let output = host.spawn(&mut command).unwrap().wait_with_output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}{errors}");
    assert!(text.contains("100 of 100 answers"), "{text}");
    assert_eq!(traces(&host), before);
}

/// In a user namespace of its own a sysctl can be off for the demonstration alone.
fn names_the_sysctl() {
    let host = Host::new("surroundings").unwrap();
    for (sysctl, privileges) in [
        ("user.max_user_namespaces", "setpriv --bounding-set=-all --inh-caps=-all"),
        ("user.max_net_namespaces", ""),
    ] {
        let file = format!("/proc/sys/{}", sysctl.replace('.', "/"));
        let mut command = as_ordinary_user(&format!(
            "exec unshare -Ur sh -c 'echo 0 >{file}; exec {privileges} /proc/self/fd/9 demo'"
        ));
        let output = host.spawn(&mut command).unwrap().wait_with_output().unwrap();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{errors}");
        assert!(
            errors.contains(&format!("sysctl {sysctl} is 0; run `sysctl -w {sysctl}=")),
            "{errors}"
        );
    }
}
