use std::io::Read;
use std::net::{TcpListener, TcpStream};
use std::process::Stdio;

use super::*;

/// Makes a host, or says why this machine cannot (then the test has nothing to say).
fn host(name: &str) -> Option<Host> {
    match Host::new(name) {
        Err(error @ LabError::NetworkNamespace { .. }) => {
            assert!(std::env::var_os("TUNCTL_NO_SKIP").is_none(), "{error}");
            let _ = std::io::Write::write_fmt(
                &mut std::io::stderr(),
                format_args!("SKIPPED lab: {error}\n"),
            );
            None
        }
        made => Some(made.unwrap()),
    }
}

#[test]
fn wire_carries_both_address_families_between_two_hosts() {
    let (Some(left), Some(right)) = (host("left"), host("right")) else { return };
    let addresses = |n: u8| [format!("192.0.2.{n}/24"), format!("2001:db8::{n}/64")];
    let [left4, left6] = addresses(1).map(|text| text.parse().unwrap());
    let [right4, right6] = addresses(2).map(|text| text.parse().unwrap());
    connect(
        End { host: &left, interface: "wire0", addresses: &[left4, left6] },
        End { host: &right, interface: "wire0", addresses: &[right4, right6] },
        1400,
    )
    .unwrap();
    for address in ["192.0.2.2:0", "[2001:db8::2]:0"] {
        let listener = right.run(|| TcpListener::bind(address)).unwrap();
        let to = listener.local_addr().unwrap();
        let _client = left.run(|| TcpStream::connect(to)).unwrap();
        listener.accept().unwrap();
    }
}

#[test]
fn process_runs_in_its_host_and_sees_only_its_interfaces() {
    let Some(only) = host("only") else { return };
    let mut command = std::process::Command::new("/bin/cat");
    command.arg("/proc/self/net/dev").stdout(Stdio::piped());
    let mut child = only.spawn(&mut command).unwrap();
    let mut text = String::new();
    child.stdout.take().unwrap().read_to_string(&mut text).unwrap();
    assert!(child.wait().unwrap().success());
    let interfaces: Vec<_> = text.lines().filter(|line| line.contains(':')).collect();
    assert!(interfaces.iter().any(|line| line.trim_start().starts_with("lo:")), "{text}");
    assert!(!text.contains("eth0"), "{text}");
}

#[test]
fn refused_setting_names_host_and_action() {
    let (Some(left), Some(right)) = (host("left"), host("right")) else { return };
    let too_long = End { host: &left, interface: "sixteen-letters-", addresses: &[] };
    let other = End { host: &right, interface: "wire0", addresses: &[] };
    let error = connect(too_long, other, 1500).unwrap_err();
    assert!(error.to_string().starts_with("host left: cannot make interface"), "{error}");
}
