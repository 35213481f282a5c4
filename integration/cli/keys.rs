//! Keys: new ones, public ones, and that `wg` has the same.

use std::fs::{self, File, Permissions};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};

use crate::program::{Ended, ended, program, tunctl};

/// A private key and its public key (RFC 7748 section 6.1).
const BOB: [&str; 2] = [
    "XasIfmJKikt54X+Lg4AO5m87sSkmGLb9HC+LJ/+I4Os=",
    "3p7bfXt9wbTTW2HC7OQ1Nz+DQ8hbeGdNrfx+FG+IK08=",
];

#[test]
fn public_key_is_that_of_the_rfc() {
    for input in [BOB[0].to_owned(), format!("{}\n", BOB[0]), format!(" {}\r\n", BOB[0])] {
        let ended = with_input(program().arg("pubkey"), input.as_bytes());
        let expected =
            Ended { code: Some(0), stdout: format!("{}\n", BOB[1]), stderr: String::new() };
        assert_eq!(ended, expected, "{input:?}");
    }
}

#[test]
fn what_is_no_private_key_is_refused_and_not_shown() {
    let zero = format!("{}=\n", "A".repeat(43));
    let two = format!("{0}\n{0}\n", BOB[0]);
    let long = "A".repeat(1 << 20);
    let none = "expected a key: 32 bytes as 44 characters of base64";
    let cases: [(&[u8], &str); 6] = [
        (b"", none),
        (b"c2VjcmV0\n", none),
        (b"\xff\xfe", none),
        (two.as_bytes(), none),
        (long.as_bytes(), none),
        (zero.as_bytes(), "expected a key: this one is all zeros, which means none"),
    ];
    for (input, message) in cases {
        let ended = with_input(program().arg("pubkey"), input);
        assert_eq!((ended.code, ended.stdout.as_str()), (Some(1), ""));
        assert_eq!(ended.stderr, format!("tunctl: standard input: {message}\n"));
    }
}

#[test]
fn new_keys_are_keys_and_differ() {
    for verb in ["genkey", "genpsk"] {
        let [a, b] = [tunctl(verb), tunctl(verb)];
        assert_eq!((a.code, a.stderr.as_str(), a.stdout.len()), (Some(0), "", 45), "{verb}");
        assert_ne!(a.stdout, b.stdout);
        let public = with_input(program().arg("pubkey"), a.stdout.as_bytes());
        assert_eq!((public.code, public.stdout.len()), (Some(0), 45));
    }
}

#[test]
fn keys_are_interchangeable_with_those_of_wg() {
    if Command::new("wg").arg("--version").output().is_err() {
        return;
    }
    for _ in 0..8 {
        for private in [tunctl("genkey"), ended(Command::new("wg").arg("genkey"))] {
            let input = private.stdout.as_bytes();
            let ours = with_input(program().arg("pubkey"), input);
            assert_eq!(ours, with_input(Command::new("wg").arg("pubkey"), input));
            assert_eq!(ours.code, Some(0));
        }
    }
}

#[test]
fn key_that_others_could_read_is_warned_of() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a.key");
    for (mode, is_open) in [(0o600, false), (0o644, true), (0o640, true)] {
        let file = File::create(&path).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();

        let output = program().arg("genkey").stdout(file).output().unwrap();

        assert_eq!(output.status.code(), Some(0));
        assert_eq!(fs::read(&path).unwrap().len(), 45);
        let warning = format!(
            "tunctl: warning: others can use the file that the key goes to (mode {mode:04o}): \
             chmod 600 it, and set umask 077 before the next\n"
        );
        let expected = if is_open { warning } else { String::new() };
        assert_eq!(String::from_utf8(output.stderr).unwrap(), expected);
    }
}

/// Runs a command to its end with this input.
fn with_input(command: &mut Command, input: &[u8]) -> Ended {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    // A program that has read enough goes away, which is no fault.
    let _ = child.stdin.take().unwrap().write_all(input);
    let output = child.wait_with_output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Ended { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
}
