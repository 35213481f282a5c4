//! The places of a test: nodes with underlay addresses on a wire or a switch between them.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::process::{Command, Output, Stdio};

use ipnet::IpNet;
use tunctl::lab::{self, End, Host};

/// The interface of every node on the underlay.
pub const UNDERLAY: &str = "under0";

/// The address family of the underlay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    V4,
    V6,
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::V4 => "ipv4",
            Self::V6 => "ipv6",
        })
    }
}

impl Family {
    /// Gives the underlay address of node `number` on link `link`.
    pub fn address(self, link: u8, number: u8) -> IpAddr {
        match self {
            Self::V4 => Ipv4Addr::new(192, 0, 2 + link, number).into(),
            Self::V6 => {
                Ipv6Addr::new(0x2001, 0xdb8, u16::from(link), 0, 0, 0, 0, number.into()).into()
            }
        }
    }

    fn prefix_len(self) -> u8 {
        match self {
            Self::V4 => 24,
            Self::V6 => 64,
        }
    }

    fn net(self, link: u8, number: u8) -> IpNet {
        IpNet::new(self.address(link, number), self.prefix_len()).expect("a valid length")
    }
}

/// A host on the underlay.
#[derive(Clone, Debug)]
pub struct Node {
    pub host: Host,
    /// Its underlay address.
    pub address: IpAddr,
    /// The host with the switch, which is there as long as its nodes are.
    _switch: Option<Host>,
}

impl Node {
    /// Runs `ip` with the words of `arguments` in the node's host.
    ///
    /// # Panics
    ///
    /// Panics with what it printed if it fails.
    #[track_caller]
    pub fn ip(&self, arguments: &str) -> String {
        run(&self.host, "ip", arguments)
    }
}

/// Joins two nodes by a wire of 1500 bytes.
pub fn two_nodes(family: Family) -> [Node; 2] {
    let [left, right] = ["a", "b"].map(|name| Host::new(name).unwrap());
    wire(family, 0, (&left, UNDERLAY, 1), (&right, UNDERLAY, 2));
    [node(left, 0, family, 1), node(right, 0, family, 2)]
}

/// Joins three nodes by a switch.
pub fn three_nodes(family: Family) -> [Node; 3] {
    let switch = Host::new("switch").unwrap();
    run(&switch, "ip", "link add sw0 type bridge");
    run(&switch, "ip", "link set sw0 up");
    let mut number = 0;
    ["a", "b", "c"].map(|name| {
        number += 1;
        let host = Host::new(name).unwrap();
        let port = format!("port{number}");
        let address = [family.net(0, number)];
        lab::connect(
            End { host: &host, interface: UNDERLAY, addresses: &address },
            End { host: &switch, interface: &port, addresses: &[] },
            1500,
        )
        .unwrap();
        run(&switch, "ip", &format!("link set {port} master sw0"));
        Node { _switch: Some(switch.clone()), ..node(host, 0, family, number) }
    })
}

/// Two nodes that see each other only through a third host, which forwards nothing by itself.
pub struct Detour {
    pub ends: [Node; 2],
    pub middle: Host,
    /// What each end knows as the other's address: the middle host's on that end's wire.
    pub proxies: [IpAddr; 2],
}

/// Joins two nodes by a host in the middle.
pub fn detour(family: Family) -> Detour {
    let [left, right, middle] = ["a", "b", "middle"].map(|name| Host::new(name).unwrap());
    wire(family, 0, (&left, UNDERLAY, 1), (&middle, "left0", 9));
    wire(family, 1, (&right, UNDERLAY, 2), (&middle, "right0", 9));
    Detour {
        proxies: [family.address(0, 9), family.address(1, 9)],
        ends: [node(left, 0, family, 1), node(right, 1, family, 2)],
        middle,
    }
}

/// Makes two nodes of one subnet, each with a wire to a third host that has no address: what it does
/// not carry from `left0` to `right0` and back stays where it is.
pub fn apart(family: Family) -> ([Node; 2], Host) {
    let [left, right, middle] = ["a", "b", "middle"].map(|name| Host::new(name).unwrap());
    for (host, port, number) in [(&left, "left0", 1), (&right, "right0", 2)] {
        let address = [family.net(0, number)];
        lab::connect(
            End { host, interface: UNDERLAY, addresses: &address },
            End { host: &middle, interface: port, addresses: &[] },
            1500,
        )
        .unwrap();
    }
    ([node(left, 0, family, 1), node(right, 0, family, 2)], middle)
}

/// Joins two hosts by a wire of 1500 bytes: for each its interface there and its number on `link`.
pub fn wire(family: Family, link: u8, left: (&Host, &str, u8), right: (&Host, &str, u8)) {
    let addresses = [[family.net(link, left.2)], [family.net(link, right.2)]];
    lab::connect(
        End { host: left.0, interface: left.1, addresses: &addresses[0] },
        End { host: right.0, interface: right.1, addresses: &addresses[1] },
        1500,
    )
    .unwrap();
}

fn node(host: Host, link: u8, family: Family, number: u8) -> Node {
    Node { host, address: family.address(link, number), _switch: None }
}

/// Runs a program with the words of `arguments` in a host and gives its output.
///
/// # Panics
///
/// Panics with what it printed if it fails.
#[track_caller]
pub fn run(host: &Host, program: &str, arguments: &str) -> String {
    let output = try_run(host, program, arguments);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        output.status.success(),
        "{program} {arguments} in host {}: {}: {text}{}",
        host.name(),
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    text
}

/// Runs a program in a host, whatever comes of it.
#[track_caller]
pub fn try_run(host: &Host, program: &str, arguments: &str) -> Output {
    let mut command = Command::new(program);
    command.args(arguments.split_whitespace());
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    host.spawn(&mut command).unwrap().wait_with_output().unwrap()
}

/// Pings an address: `options` are those of `ping`.
///
/// # Panics
///
/// Panics unless every echo comes back.
#[track_caller]
pub fn ping(host: &Host, to: IpAddr, options: &str) {
    let text = run(host, "ping", &format!("-n -q -c 3 -i 0.05 -W 3 {options} {to}"));
    assert!(text.contains(" 0% packet loss"), "ping {options} {to} in {}: {text}", host.name());
}
