//! `tunctl demo`: shows what it should, ends with 0, leaves nothing.

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tunctl::lab::Host;

use crate::daemon::program;
use crate::harness::{Case, each};
use crate::need::{Need, OURS};
use crate::place::run;
use crate::wait;

/// Somebody without privileges: `nobody`.
const ORDINARY_USER: &str = "65534";

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

/// Gives what a demonstration could leave behind in its surroundings.
fn traces(host: &Host) -> String {
    let list = |directory: &str| -> Vec<String> {
        let entries = fs::read_dir(directory).into_iter().flatten().flatten();
        let mut names: Vec<_> =
            entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    };
    let own = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    let files: Vec<_> = ["/run/tunctl", "/run/netns"].map(list).concat();
    let temporary: Vec<_> =
        list("/tmp").into_iter().filter(|name| name.contains("tunctl")).collect();
    format!("{}{own}{files:?}{temporary:?}", run(host, "ip", "-o link show"))
}

fn shows() {
    let host = Host::new("surroundings").unwrap();
    let before = traces(&host);
    for device in ["tun", "tap"] {
        let mut command = demo(&format!("--device {device} --for 1"));
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
fn start(host: &Host) -> (Child, Vec<u32>) {
    let mut child = host.spawn(&mut demo("")).unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
    let reached = lines.into_iter().any(|line| line.contains("until Ctrl-C"));
    assert!(reached, "the demonstration ended early: {:?}", child.wait_with_output());
    let daemons = children_of(child.id());
    assert_eq!(daemons.len(), 2, "a daemon for each host");
    (child, daemons)
}

fn children_of(parent: u32) -> Vec<u32> {
    let tasks = fs::read_dir(format!("/proc/{parent}/task")).unwrap().flatten();
    tasks
        .filter_map(|task| fs::read_to_string(task.path().join("children")).ok())
        .flat_map(|text| {
            text.split_whitespace().map(|pid| pid.parse().unwrap()).collect::<Vec<_>>()
        })
        .collect()
}

/// Whether a process has ended; one that nobody has waited for has.
fn has_ended(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_none_or(|(_, rest)| rest.starts_with(['Z', 'X']))
}

fn ctrl_c() {
    let host = Host::new("surroundings").unwrap();
    let before = traces(&host);
    let (mut child, daemons) = start(&host);
    kill(Pid::from_raw(child.id() as i32), Signal::SIGINT).unwrap();
    let status = wait::until("the demonstration ends", || child.try_wait().unwrap());
    assert!(status.success(), "{status}");
    assert!(daemons.into_iter().all(has_ended));
    assert_eq!(traces(&host), before);
}

fn killed() {
    let host = Host::new("surroundings").unwrap();
    let before = traces(&host);
    let (mut child, daemons) = start(&host);
    child.kill().unwrap();
    child.wait().unwrap();
    wait::until_true("the daemons end too", || daemons.iter().all(|pid| has_ended(*pid)));
    assert_eq!(traces(&host), before);
}

/// Gives a shell that runs as somebody without privileges, with the program as descriptor 9: it
/// may lie where only root can go.
fn as_ordinary_user(script: &str) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--reuid", ORDINARY_USER, "--regid", ORDINARY_USER, "--clear-groups"]);
    command.args(["sh", "-c", &format!("exec 9<&0 </dev/null; {script}")]);
    command.stdin(File::open(program()).unwrap()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.current_dir("/");
    command
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
