use std::fs;
use std::io::Read;
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::process::Stdio;

use super::testing::{host, wired_hosts};
use super::*;
use crate::api::report::DeviceKind;
use crate::config::key_file;
use crate::transport::wireguard::PrivateKey;

#[test]
fn wire_carries_both_address_families_between_two_hosts() {
    let Some([left, right]) = wired_hosts(1400) else { return };
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

#[test]
fn keys_are_in_files_that_only_their_owner_can_use() {
    let (Some(left), Some(right)) = (host("left"), host("right")) else { return };
    let listen = "192.0.2.1".parse().unwrap();
    let directory = tempfile::tempdir().unwrap();
    let crossing = Crossing::wireguard([&left, &right], directory.path()).unwrap();
    for (end, host) in [&left, &right].into_iter().enumerate() {
        let path = directory.path().join(host.name()).join("wireguard.key");
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o7777, 0o600);
        let key: PrivateKey = key_file::read(&path).unwrap();
        let own = crossing.table(end, listen, DeviceKind::Tap);
        let other = crossing.peer(end, listen, DeviceKind::Tap);
        assert!(own.contains(&format!("private_key_file = \"{}\"", path.display())), "{own}");
        assert!(other.contains(&format!("public_key = \"{}\"", key.public())), "{other}");
        assert!(!(own + &other).contains(key.to_base64().as_str()));
    }
    let error = Crossing::wireguard([&left, &right], directory.path()).unwrap_err();
    assert!(error.to_string().contains("wireguard.key: File exists"), "{error}");
}
