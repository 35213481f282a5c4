//! Help, version, wrong usage, wrong configuration.

use std::fs;

use crate::program::{Ended, ended, program, tunctl};

const VERBS: [&str; 8] = ["run", "check", "demo", "status", "peers", "fdb", "routes", "drops"];

#[test]
fn help_names_every_verb_and_every_verb_has_help() {
    let help = tunctl("--help");
    assert_eq!((help.code, help.stderr.as_str()), (Some(0), ""));
    for verb in VERBS {
        assert!(help.stdout.contains(&format!("\n  {verb}")), "{verb}: {}", help.stdout);
        let help = tunctl(&format!("{verb} --help"));
        assert_eq!(help.code, Some(0), "{verb}");
        assert!(help.stdout.contains(&format!("Usage: tunctl {verb}")), "{}", help.stdout);
    }
}

#[test]
fn version_is_that_of_the_package() {
    let expected = format!("tunctl {}\n", env!("CARGO_PKG_VERSION"));
    assert_eq!(
        tunctl("--version"),
        Ended { code: Some(0), stdout: expected, stderr: String::new() }
    );
}

#[test]
fn no_verb_is_wrong_usage_and_answered_by_the_help() {
    let ended = tunctl("");
    assert_eq!((ended.code, ended.stdout.as_str()), (Some(2), ""));
    assert!(ended.stderr.contains("Usage: tunctl"), "{}", ended.stderr);
}

#[test]
fn wrong_usage_is_one_line_and_exit_code_2() {
    let cases = [
        ("stauts", "unrecognized subcommand 'stauts'; tip: a similar subcommand exists: 'status'"),
        ("run", "the following required arguments were not provided: --config <FILE>"),
        ("check", "the following required arguments were not provided: <FILE>"),
        ("check a b", "unexpected argument 'b' found"),
        (
            "fdb --jsn",
            "unexpected argument '--jsn' found; tip: a similar argument exists: '--json'",
        ),
        (
            "demo --device x",
            "invalid value 'x' for '--device <DEVICE>' [possible values: tun, tap]",
        ),
        ("--socket", "a value is required for '--socket <PATH>' but none was supplied"),
    ];
    for (line, message) in cases {
        let ended = tunctl(line);
        assert_eq!(
            (ended.stderr, ended.code, ended.stdout.as_str()),
            (format!("tunctl: {message} (try --help)\n"), Some(2), ""),
            "tunctl {line}"
        );
    }
}

#[test]
fn configuration_that_cannot_be_read_is_exit_code_2() {
    for line in ["run --config /missing.toml", "check /missing.toml"] {
        let ended = tunctl(line);
        assert_eq!((ended.code, ended.stdout.as_str()), (Some(2), ""), "tunctl {line}");
        assert_eq!(ended.stderr, "tunctl: /missing.toml: No such file or directory (os error 2)\n");
    }
}

#[test]
fn wrong_configuration_is_exit_code_2_and_nothing_is_made() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("wrong.toml");
    fs::write(&file, "name = [\n").unwrap();
    let socket = directory.path().join("made/a.sock");

    let ended = ended(program().arg("run").arg("--config").arg(&file).arg("--socket").arg(&socket));

    assert_eq!((ended.code, ended.stdout.as_str()), (Some(2), ""));
    let start = format!("tunctl: {}:", file.display());
    assert!(ended.stderr.lines().all(|line| line.starts_with(&start)), "{}", ended.stderr);
    assert!(!socket.parent().unwrap().exists());
}

#[test]
fn standard_output_that_is_closed_is_no_fault() {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);

    let ended = ended(program().arg("--help").stdout(writer));

    assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""));
}
