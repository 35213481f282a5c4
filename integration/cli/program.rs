//! Runs the program.

use std::process::{Command, Output, Stdio};

/// Gives the program, without the caller's variables.
pub fn program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tunctl"));
    command.stdin(Stdio::null());
    for variable in ["TUNCTL_SOCKET", "TUNCTL_LOG", "RUST_LOG", "NOTIFY_SOCKET", "JOURNAL_STREAM"] {
        command.env_remove(variable);
    }
    command
}

/// How a run of the program ended.
#[derive(Debug, PartialEq, Eq)]
pub struct Ended {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

/// Runs the program to its end with the words of `line`.
pub fn tunctl(line: &str) -> Ended {
    ended(program().args(line.split_whitespace()))
}

/// Runs a command to its end.
pub fn ended(command: &mut Command) -> Ended {
    let Output { status, stdout, stderr } = command.output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Ended { code: status.code(), stdout: text(stdout), stderr: text(stderr) }
}
