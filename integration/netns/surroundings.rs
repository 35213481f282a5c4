//! What a program is run in: who runs it, and what it leaves behind.

use std::fs::{self, File};
use std::process::{Command, Stdio};

use tunctl::lab::Host;

use crate::daemon::program;
use crate::place::run;

/// Somebody without privileges: `nobody`.
const ORDINARY_USER: &str = "65534";

/// Gives what a program could leave behind in its surroundings.
pub fn traces(host: &Host) -> String {
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

/// Gives the processes that a process has started.
pub fn children_of(parent: u32) -> Vec<u32> {
    let tasks = fs::read_dir(format!("/proc/{parent}/task")).unwrap().flatten();
    tasks
        .filter_map(|task| fs::read_to_string(task.path().join("children")).ok())
        .flat_map(|text| {
            text.split_whitespace().map(|pid| pid.parse().unwrap()).collect::<Vec<_>>()
        })
        .collect()
}

/// Whether a process has ended; one that nobody has waited for has.
pub fn has_ended(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_none_or(|(_, rest)| rest.starts_with(['Z', 'X']))
}

/// Gives a shell that runs as somebody without privileges, with the program as descriptor 9: it
/// may lie where only root can go.
pub fn as_ordinary_user(script: &str) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--reuid", ORDINARY_USER, "--regid", ORDINARY_USER, "--clear-groups"]);
    command.args(["sh", "-c", &format!("exec 9<&0 </dev/null; {script}")]);
    command.stdin(File::open(program()).unwrap()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.current_dir("/");
    command
}
