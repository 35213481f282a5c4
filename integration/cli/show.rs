//! `status`, `peers`, `fdb`, `routes`, `drops`: which daemon they ask, and what they print.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::net::UnixListener;
use std::process::Stdio;

use serde_json::Value;

use crate::fake::{FakeDaemon, OFFICE_ENTRIES};
use crate::program::{Ended, ended, program, tunctl};

#[test]
fn socket_is_taken_from_the_argument_then_from_the_variable() {
    let daemon = FakeDaemon::start();
    let path = daemon.path().to_str().unwrap();

    for line in [format!("--socket {path} peers"), format!("peers --socket {path}")] {
        let ended = ended(program().args(line.split(' ')).env("TUNCTL_SOCKET", "/missing.sock"));
        assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""), "tunctl {line}");
    }
    let ended = ended(program().arg("peers").env("TUNCTL_SOCKET", path));
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
}

#[test]
fn socket_without_a_daemon_is_said_in_one_line() {
    let directory = tempfile::tempdir().unwrap();
    let dead = directory.path().join("dead.sock");
    drop(UnixListener::bind(&dead).unwrap());
    let dead = dead.to_str().unwrap();

    assert_failed(
        &tunctl("--socket /missing.sock status"),
        "no daemon at /missing.sock: the socket does not exist",
    );
    assert_failed(
        &tunctl(&format!("--socket {dead} status")),
        &format!("no daemon answers on {dead}: the one that made it is gone"),
    );
}

#[test]
fn status_is_a_table_of_networks_and_one_of_sockets() {
    let table = printed(&FakeDaemon::start(), "status");

    let (head, rest) = table.split_once('\n').unwrap();
    let pid = std::process::id();
    assert!(head.starts_with("site-a: up 0s, tunctl 0.1.0, pid "), "{head}");
    assert!(head.ends_with(&format!("pid {pid}, packets dropped: 7")), "{head}");
    assert_eq!(
        rest,
        "
NETWORK       VNI  DEVICE  INTERFACE    MTU  PEERS      ENTRIES     SENT  RECEIVED  OFFLOAD       ADDRESSES
office         42  tap     tap-office  1450      2  1200/131072  1.4 MiB     120 B  gso csum gro  10.9.0.1/24 fd00:9::1/64
routed   16777215  tun     tun-routed  1464      1     1/131072      0 B       0 B  none          -

UNDERLAY    CARRIER  OFFLOAD  RECEIVE BUFFER  SEND BUFFER
[::]:4789   vxlan    gro             4.0 MiB            -
[::]:49152  sending  gso                   -    208.0 KiB

tap-office: refused by the kernel: uso: EINVAL
"
    );
}

#[test]
fn peers_are_a_table() {
    assert_eq!(
        printed(&FakeDaemon::start(), "peers"),
        "\
PEER    TRANSPORT  ENDPOINT            LOCAL      PATH MTU  ENTRIES     SENT  RECEIVED  LAST RECEIVED   HANDSHAKE  EXPIRES  DROPS  NETWORKS
site-b  vxlan      192.0.2.2:4789      192.0.2.1      1500     1200  1.4 MiB     120 B      1m 2s ago           -        -      4  office routed
site-c  quic       [2001:db8::3]:4433  -              1500        0      0 B       0 B          never       never  expired      0  office
site-d  wireguard  -                   -              1500        0      0 B       0 B          never  1m 59s ago        -      0  office
"
    );
}

#[test]
fn routes_are_a_table() {
    assert_eq!(
        printed(&FakeDaemon::start(), "routes"),
        "\
NETWORK  PREFIX        PEERS
routed   10.10.0.0/16  site-b site-c (shared)
routed   fd00:10::/64  site-b
"
    );
}

#[test]
fn drops_are_a_table_of_the_reasons_that_happened() {
    assert_eq!(
        printed(&FakeDaemon::start(), "drops"),
        "\
REASON              PACKETS  EXPLANATION
unknown_peer              3  The datagram came from an address that no peer is configured with.
source_not_allowed        4  The peer may not send from this address (allowed_ips, allowed_macs).

WHERE           REASON              PACKETS
network office  source_not_allowed        4
peer site-b     source_not_allowed        4
"
    );
}

#[test]
fn fdb_is_one_table_over_all_parts_and_networks() {
    let table = printed(&FakeDaemon::start(), "fdb");

    let lines: Vec<_> = table.lines().collect();
    assert_eq!(lines.len() as u64, 1 + OFFICE_ENTRIES + 1);
    assert_eq!(lines[0], "NETWORK  VLAN  ADDRESS            PLACE   KIND     IDLE  MOVES");
    assert_eq!(lines[1], "office      -  02:00:00:00:00:00  local   static      -      0");
    assert_eq!(lines[2], "office      7  02:00:00:00:00:01  site-b  learned    1s      0");
    assert_eq!(lines[1201], "routed      -  10.10.0.9          site-b  learned    3s      1");
}

#[test]
fn fdb_as_json_is_one_list_over_all_parts_and_networks() {
    let daemon = FakeDaemon::start();

    let Value::Array(entries) = json(&daemon, "fdb") else { panic!("not a list") };

    let macs: BTreeSet<_> = entries.iter().filter_map(|entry| entry["mac"].as_str()).collect();
    assert_eq!(macs.len() as u64, OFFICE_ENTRIES);
    assert_eq!(entries.len() as u64, OFFICE_ENTRIES + 1);
    assert_eq!(entries[0]["static"], true);
    assert_eq!(entries.last().unwrap()["ip"], "10.10.0.9");
}

#[test]
fn printed_keys_are_those_in_the_help_and_no_others() {
    let daemon = FakeDaemon::start();
    for verb in ["status", "peers", "fdb", "routes", "drops"] {
        let mut keys = BTreeSet::new();
        collect_keys(&json(&daemon, verb), &mut keys);
        let help = tunctl(&format!("{verb} --help")).stdout;
        let documented = documented_keys(&help);
        let documented: BTreeSet<_> = documented.iter().map(String::as_str).collect();
        assert_eq!(keys.iter().map(String::as_str).collect::<BTreeSet<_>>(), documented, "{verb}");
    }
}

#[test]
fn reader_that_has_enough_is_no_fault() {
    let daemon = FakeDaemon::start();
    let mut child = program()
        .arg("--socket")
        .arg(daemon.path())
        .arg("fdb")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();

    let mut line = String::new();
    BufReader::with_capacity(1, child.stdout.take().unwrap()).read_line(&mut line).unwrap();

    assert!(line.starts_with("NETWORK"), "{line}");
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), output.stderr.len()), (Some(0), 0));
}

#[test]
fn watch_prints_a_line_of_json_each_time() {
    let daemon = FakeDaemon::start();
    let mut child = program()
        .args(["status", "--watch", "--json", "--socket"])
        .arg(daemon.path())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();

    let lines = BufReader::new(child.stdout.take().unwrap()).lines().take(2);
    let names: Vec<Value> = lines
        .map(|line| serde_json::from_str::<Value>(&line.unwrap()).unwrap()["name"].take())
        .collect();

    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(names, ["site-a", "site-a"]);
}

#[test]
fn watch_ends_when_the_daemon_does() {
    let daemon = FakeDaemon::start();
    let mut child = program()
        .args(["peers", "--watch", "--socket"])
        .arg(daemon.path())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    stdout.read_line(&mut String::new()).unwrap();

    drop(daemon);

    stdout.read_to_end(&mut Vec::new()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(output.stderr.starts_with(b"tunctl: "));
}

/// Runs a verb and gives what it prints.
#[track_caller]
fn printed(daemon: &FakeDaemon, line: &str) -> String {
    let words = line.split_whitespace();
    let ended = ended(program().args(words).arg("--socket").arg(daemon.path()));
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""), "tunctl {line}");
    ended.stdout
}

#[track_caller]
fn json(daemon: &FakeDaemon, verb: &str) -> Value {
    serde_json::from_str(&printed(daemon, &format!("{verb} --json"))).unwrap()
}

#[track_caller]
fn assert_failed(ended: &Ended, message: &str) {
    assert_eq!(
        (ended.code, ended.stdout.as_str(), ended.stderr.as_str()),
        (Some(1), "", format!("tunctl: {message}\n").as_str())
    );
}

fn collect_keys(value: &Value, keys: &mut BTreeSet<String>) {
    match value {
        Value::Array(items) => items.iter().for_each(|item| collect_keys(item, keys)),
        Value::Object(fields) => {
            for (key, value) in fields {
                keys.insert(key.clone());
                collect_keys(value, keys);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// Takes the words inside braces from the help.
fn documented_keys(help: &str) -> BTreeSet<String> {
    let (_, json) = help.split_once("JSON: ").unwrap();
    let mut keys = BTreeSet::new();
    let mut depth = 0;
    let mut word = String::new();
    for character in json.chars() {
        if character.is_ascii_lowercase()
            || character == '_'
            || !word.is_empty() && character.is_ascii_digit()
        {
            word.push(character);
            continue;
        }
        if depth > 0 && !word.is_empty() && word != "or" {
            keys.insert(word.clone());
        }
        word.clear();
        match character {
            '{' => depth += 1,
            '}' => depth -= 1,
            _ => {}
        }
    }
    keys
}
