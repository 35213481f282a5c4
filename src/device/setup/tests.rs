use std::future::Future;

use super::*;
use crate::device::{Device, DeviceError, DeviceSpec, Kind, Switch};
use crate::sys::testing::{eventually, ip, ip_output, with_devices};

fn open(name: &str, kind: Kind) -> Device {
    let spec = DeviceSpec { name: name.into(), kind, gso: Switch::Auto, is_multi_queue: false };
    eventually(|| match Device::open(&spec) {
        Err(DeviceError::Busy { .. }) => None,
        result => Some(result.unwrap()),
    })
}

fn nets(texts: &[&str]) -> Vec<IpNet> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

/// Runs a test with netlink in a namespace of its own.
fn with_netlink<F: Future<Output = ()>>(test: impl FnOnce(Handle) -> F + Send) {
    with_devices(|| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let (connection, handle, _) = rtnetlink::new_connection().unwrap();
            tokio::spawn(connection);
            test(handle).await;
        });
    });
}

/// What `ip` shows of a device that a set-up may change.
fn state_of(name: &str) -> String {
    let link = ip_output(&format!("-d link show dev {name}"));
    let words: Vec<_> = link.split_whitespace().collect();
    let is_up = if words[2].contains(",UP") { "up" } else { "down" };
    let settings = words
        .windows(2)
        .filter(|pair| ["mtu", "qlen", "master", "addrgenmode", "gso_max_segs"].contains(&pair[0]));
    let settings: Vec<_> = settings.map(|pair| pair.join(" ")).collect();
    let addresses = ip_output(&format!("addr show dev {name}"));
    let addresses = addresses.lines().filter(|line| line.contains("inet"));
    let routes = ip_output("route show table all") + &ip_output("-6 route show table all");
    let device = format!("dev {name}");
    let routes = routes.lines().filter(|line| line.contains(&device));
    let lines: Vec<_> = addresses.chain(routes).map(str::trim).collect();
    format!("{is_up} {}\n{}", settings.join(" "), lines.join("\n"))
}

#[test]
fn everything_is_applied() {
    with_netlink(async |handle| {
        let _device = open("tun0", Kind::Tun);
        let addresses = nets(&["10.9.0.1/24", "fd00:9::1/64"]);
        let routes = nets(&["10.9.0.0/24", "192.168.20.7/24", "fd00:20::/64", "10.7.0.0/16"]);
        let setup = Setup {
            mtu: Some(1450),
            txqueuelen: Some(1234),
            gso_max_segments: Some(44),
            addresses: &addresses,
            routes: &routes,
            ..Setup::default()
        };
        apply(&handle, "tun0", &setup).await.unwrap();
        let state = state_of("tun0");
        for expected in [
            "mtu 1450",
            "qlen 1234",
            "gso_max_segs 44",
            "addrgenmode none",
            "inet 10.9.0.1/24",
            "inet6 fd00:9::1/64",
            "192.168.20.0/24 dev tun0 proto 84 scope link",
            "10.7.0.0/16 dev tun0 proto 84 scope link",
            "fd00:20::/64 dev tun0 proto 84",
            "up mtu",
        ] {
            assert!(state.contains(expected), "{expected} in {state}");
        }
        assert!(!state.contains("tentative") && !state.contains("fe80"), "{state}");
        assert_eq!(link_mtu(&handle, "tun0").await.unwrap(), 1450);
    });
}

#[test]
fn routes_go_to_the_table_that_is_given() {
    with_netlink(async |handle| {
        let _device = open("tun0", Kind::Tun);
        let routes = nets(&["0.0.0.0/0", "::/0"]);
        let setup = Setup { routes: &routes, table: Some(51820), ..Setup::default() };
        apply(&handle, "tun0", &setup).await.unwrap();
        assert!(ip_output("route show table 51820").contains("default dev tun0 proto 84"));
        assert!(ip_output("-6 route show table 51820").contains("default dev tun0 proto 84"));
        assert_eq!(ip_output("route show"), "");
    });
}

#[test]
fn undo_leaves_a_persistent_device_as_it_was() {
    with_netlink(async |handle| {
        ip("tuntap add name old0 mode tun");
        ip("addr add 10.1.0.1/24 dev old0");
        ip("link set old0 mtu 1300");
        let before = state_of("old0");
        let device = open("old0", Kind::Tun);
        let addresses = nets(&["10.1.0.1/24", "10.9.0.1/24", "fd00:9::1/64"]);
        let routes = nets(&["10.7.0.0/16", "fd00:20::/64"]);
        let setup = Setup {
            mtu: Some(1450),
            txqueuelen: Some(1234),
            addresses: &addresses,
            routes: &routes,
            table: Some(100),
            ..Setup::default()
        };
        let applied = apply(&handle, "old0", &setup).await.unwrap();
        assert_ne!(state_of("old0"), before);
        let text = serde_json::to_string(&applied).unwrap();
        assert_eq!(serde_json::from_str::<Applied>(&text).unwrap(), applied);
        assert!(applied.undo(&handle).await.is_empty());
        drop(device);
        assert_eq!(state_of("old0"), before);
        // A second time there is nothing left to undo, and that is no error.
        ip("link del old0");
        assert!(applied.undo(&handle).await.is_empty());
    });
}

#[test]
fn failed_step_undoes_those_before_it() {
    with_netlink(async |handle| {
        ip("link add v0 type veth peer name v1");
        ip("link set v0 up");
        ip("link set v1 up");
        ip("route add 10.7.0.0/16 dev v0");
        ip("tuntap add name old0 mode tun");
        let before = state_of("old0");
        let device = open("old0", Kind::Tun);
        let addresses = nets(&["10.9.0.1/24"]);
        let routes = nets(&["10.6.0.0/16", "10.7.0.0/16"]);
        let setup =
            Setup { mtu: Some(1450), addresses: &addresses, routes: &routes, ..Setup::default() };
        let error = apply(&handle, "old0", &setup).await.unwrap_err();
        assert_eq!(
            error.to_string(),
            "route 10.7.0.0/16: exists already, to v0 (give `routes` a table of its own)"
        );
        drop(device);
        assert_eq!(state_of("old0"), before);
    });
}

#[test]
fn bridged_tap_takes_the_mtu_of_its_bridge_and_has_no_address() {
    with_netlink(async |handle| {
        ip("link add br0 type bridge");
        ip("link add v0 type veth peer name v1");
        for set in ["v0 mtu 1700", "v0 master br0", "v0 up", "br0 up"] {
            ip(&format!("link set {set}"));
        }
        ip("link set br0 mtu 1600");
        assert_eq!(bridge_mtu(&handle, "br0").await.unwrap(), 1600);
        let _device = open("tap0", Kind::Tap);
        let setup = Setup { mtu: Some(1450), bridge: Some("br0"), ..Setup::default() };
        apply(&handle, "tap0", &setup).await.unwrap();
        assert_eq!(link_mtu(&handle, "br0").await.unwrap(), 1600);
        assert_eq!(link_mtu(&handle, "tap0").await.unwrap(), 1600);
        assert_eq!(bridge_of(&handle, "tap0").await.unwrap().as_deref(), Some("br0"));
        assert!(link_mac(&handle, "tap0").await.unwrap() != [0; 6]);
        let state = state_of("tap0");
        assert!(state.contains("master br0") && !state.contains("fe80"), "{state}");
    });
}

#[test]
fn persistent_port_keeps_its_bridge_and_the_bridge_its_mtu() {
    with_netlink(async |handle| {
        ip("link add br0 type bridge");
        ip("tuntap add name old0 mode tap");
        ip("link set old0 master br0");
        ip("link set br0 up");
        let before = state_of("old0");
        let device = open("old0", Kind::Tap);
        let setup = Setup { mtu: Some(1300), ..Setup::default() };
        let applied = apply(&handle, "old0", &setup).await.unwrap();
        assert_eq!(link_mtu(&handle, "br0").await.unwrap(), 1500);
        ip("link add br1 type bridge");
        let other = Setup { bridge: Some("br1"), ..Setup::default() };
        let error = apply(&handle, "old0", &other).await.unwrap_err().to_string();
        assert_eq!(error, "interface old0: is a port of br0 already");
        assert!(applied.undo(&handle).await.is_empty());
        drop(device);
        assert_eq!(state_of("old0"), before);
    });
}

#[test]
fn what_a_killed_daemon_left_is_removed_at_the_next_start() {
    with_netlink(async |handle| {
        ip("tuntap add name old0 mode tun");
        ip("addr add 10.1.0.1/24 dev old0");
        let addresses = nets(&["10.9.0.1/24", "fd00:9::1/64"]);
        let routes = nets(&["10.7.0.0/16", "fd00:20::/64"]);
        let setup = Setup { addresses: &addresses, routes: &routes, ..Setup::default() };
        let device = open("old0", Kind::Tun);
        apply(&handle, "old0", &setup).await.unwrap();
        drop(device);

        let device = open("old0", Kind::Tun);
        let applied = apply(&handle, "old0", &Setup::default()).await.unwrap();
        assert!(applied.is_empty(), "{applied:?}");
        let state = state_of("old0");
        assert!(state.contains("10.1.0.1/24"), "{state}");
        for stale in ["10.9.0.1", "10.7.0.0", "fd00:9::1", "fd00:20::"] {
            assert!(!state.contains(stale), "{stale} in {state}");
        }
        drop(device);
    });
}

#[test]
fn what_cannot_work_is_refused_before_anything_changes() {
    with_netlink(async |handle| {
        let _tap = open("tap0", Kind::Tap);
        ip("link add br0 type bridge");
        let before = state_of("tap0");
        let v4 = nets(&["10.9.0.1/24"]);
        let v6 = nets(&["fd00:9::1/64"]);
        let cases = [
            (
                Setup { bridge: Some("lo"), ..Setup::default() },
                "bridge lo: is not a bridge but a device",
            ),
            (
                Setup { bridge: Some("tap0"), ..Setup::default() },
                "bridge tap0: is not a bridge but a tun interface",
            ),
            (
                Setup { bridge: Some("none0"), ..Setup::default() },
                "interface none0: does not exist",
            ),
            (
                Setup { bridge: Some("br0"), addresses: &v4, ..Setup::default() },
                "interface tap0: addresses and a bridge exclude each other",
            ),
            (
                Setup { mtu: Some(1200), addresses: &v6, ..Setup::default() },
                "interface tap0: IPv6 addresses need an MTU of 1280, not 1200",
            ),
        ];
        for (setup, expected) in cases {
            let error = apply(&handle, "tap0", &setup).await.unwrap_err();
            assert_eq!(error.to_string(), expected);
        }
        assert_eq!(state_of("tap0"), before);
        let error = apply(&handle, "none0", &Setup::default()).await.unwrap_err();
        assert_eq!(error.to_string(), "interface none0: does not exist");
    });
}

#[test]
fn disabled_ipv6_is_said() {
    with_netlink(async |handle| {
        let _device = open("tun0", Kind::Tun);
        std::process::Command::new("sysctl")
            .args(["-qw", "net.ipv6.conf.tun0.disable_ipv6=1"])
            .status()
            .unwrap();
        let addresses = nets(&["fd00:9::1/64"]);
        let setup = Setup { addresses: &addresses, ..Setup::default() };
        let error = apply(&handle, "tun0", &setup).await.unwrap_err();
        assert_eq!(
            error.to_string(),
            "interface tun0: address fd00:9::1/64: IPv6 is disabled (sysctl \
             net.ipv6.conf.*.disable_ipv6)"
        );
    });
}
