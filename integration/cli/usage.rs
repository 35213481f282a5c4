//! Help, version, wrong usage, wrong configuration.

use std::fs;

use crate::program::{Ended, ended, program, tunctl};

const VERBS: [&str; 14] = [
    "run", "check", "demo", "bench", "genkey", "genpsk", "pubkey", "gencert", "import", "status",
    "peers", "fdb", "routes", "drops",
];

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
        (
            "demo --transport tcp",
            "invalid value 'tcp' for '--transport <TRANSPORT>' [possible values: vxlan, \
             wireguard, quic]",
        ),
        (
            "bench vxlan",
            "invalid value 'vxlan' for '[CASE]...': no case is named vxlan; there are: raw, \
             kernel-vxlan, vxlan-tap, vxlan-tun, vxlan-tap-to-kernel, kernel-to-vxlan-tap, \
             wireguard-tun, wireguard-tap, quic-tun, quic-tap, wireguard-go, boringtun-cli, \
             gotatun, vpncloud, openvpn",
        ),
        (
            "bench --measure rtt,tcp",
            "invalid value 'tcp' for '--measure <LIST>': there is no measure \"tcp\"; there are \
             tcp-1, tcp-8, udp-64, udp-64-lossless, udp-mixed, udp-mixed-lossless, rtt, \
             rtt-loaded, table, spread",
        ),
        ("bench --secs 0", "invalid value '0' for '--secs <N>': expected seconds from 0.1 to 3600"),
        ("bench --runs 0", "invalid value '0' for '--runs <N>': 0 is not in 1..=1000"),
        (
            "bench --underlay lan",
            "invalid value 'lan' for '--underlay <nic|veth>': no underlay is named lan; there are: \
             nic, veth",
        ),
        (
            "bench --full --measure rtt",
            "the argument '--full' cannot be used with '--measure <LIST>'",
        ),
        ("bench raw --measure rtt,table", "table can be measured of vxlan-tap only"),
        ("bench --roofline --mtu 9000", "the model of --roofline is one of MTU 1500"),
        ("bench --set [offload", "--set is no TOML: unclosed table, expected `]`"),
        (
            "gencert",
            "the following required arguments were not provided: <NAME|--make-ca <DIR>|--revoke \
             <CERT>>",
        ),
        ("gencert a --days 0", "invalid value '0' for '--days <N>': 0 is not in 1..=36525"),
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
fn rival_that_is_not_installed_is_told_before_anything_is_measured() {
    let ended = ended(program().env("PATH", "/nowhere").args(["bench", "raw", "openvpn"]));
    let message = "tunctl: case openvpn needs the program openvpn, which is not in PATH\n";
    assert_eq!((ended.stderr.as_str(), ended.code, ended.stdout.as_str()), (message, Some(1), ""));
}

#[test]
fn picture_that_cannot_be_written_is_told_before_anything_is_measured() {
    let ended = tunctl("bench raw --plot /missing/a.svg");
    let message = "tunctl: cannot write /missing/a.svg: No such file or directory (os error 2)\n";
    assert_eq!((ended.stderr.as_str(), ended.code, ended.stdout.as_str()), (message, Some(1), ""));
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
