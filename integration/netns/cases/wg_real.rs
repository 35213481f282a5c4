//! Tunnels by `wg-quick` and the real program, and the program's life.

use std::fs;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant, SystemTime};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::harness::{Case, each};
use crate::need::Need;
use crate::pair::overlay;
use crate::place::{Family, ping, try_run, two_nodes};
use crate::surroundings::as_ordinary_user;
use crate::tcp;
use crate::wg_end::{End, NEEDS, PORT, Program};

pub fn cases() -> Vec<Case> {
    let cases = [vec![
        Case::new("wg_real_quick_carries_everything::with_wireguard_go", || {
            quick("wgrq0", Program::WireguardGo);
        })
        .needs(&[Need::Program("wireguard-go")]),
        Case::new("wg_real_quick_carries_everything::with_itself", || {
            quick("wgrq2", Program::Ours);
        }),
        Case::new("wg_real_program_ends_with_its_socket_its_interface_and_a_signal", ends),
        Case::new("wg_real_program_tells_the_faults_of_its_start", faults)
            .needs(&[Need::Root, Need::Program("setpriv")]),
        Case::new("wg_real_sets_a_thousand_peers_at_once", many_peers),
    ]];
    each(cases, |case| case.needs(NEEDS))
}

fn quick(name: &str, far: Program) {
    const BYTES: u64 = 4 << 20;
    let nodes = two_nodes(Family::V4);
    let ours = End::new(&nodes[0], name, 0, Program::Ours);
    let theirs = End::new(&nodes[1], &format!("{name}b"), 1, far);
    let began = SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs();

    ours.up(&[&theirs]);
    theirs.up(&[&ours]);

    for (from, to) in [(&ours, &theirs), (&theirs, &ours)] {
        for address in overlay(to.number) {
            ping(&from.node.host, address, "");
            tcp::send(&from.node.host, &to.node.host, address, BYTES);
        }
    }
    assert_eq!(ours.dump()[0][2], PORT.to_string());
    let peer = ours.peer(&theirs.public);
    let [v4, v6] = overlay(1);
    assert_eq!(peer[2..4], [format!("{}:{PORT}", nodes[1].address), format!("{v4}/32,{v6}/128")]);
    let number = |text: &str| text.parse::<u64>().unwrap();
    let now = SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs();
    assert!((began..=now).contains(&number(&peer[4])), "handshake {}", peer[4]);
    // Both ways went as much, and its headers.
    for bytes in &peer[5..7] {
        assert!((2 * BYTES..3 * BYTES).contains(&number(bytes)), "{bytes} bytes");
    }
    ours.set(&format!("peer {} remove", theirs.public));
    assert_eq!(ours.dump().len(), 1);
    for (from, to) in [(&ours, v4), (&theirs, overlay(0)[0])] {
        let output = try_run(&from.node.host, "ping", &format!("-n -q -c 1 -W 1 {to}"));
        assert_eq!(output.status.code(), Some(1), "ping {to} without the peer");
    }
    ours.down();
    theirs.down();
}

fn ends() {
    let [node, _] = two_nodes(Family::V4);
    let endings: [fn(&End); 4] = [
        |end| fs::remove_file(&end.socket).unwrap(),
        |end| drop(end.node.ip(&format!("link del {}", end.name))),
        |end| kill(Pid::from_raw(end.pid() as i32), Signal::SIGTERM).unwrap(),
        |end| kill(Pid::from_raw(end.pid() as i32), Signal::SIGINT).unwrap(),
    ];
    for ending in endings {
        let end = End::new(&node, "wgrends", 0, Program::Ours);
        let mut child = end.start();
        end.wg("setconf wgrends /dev/stdin", &end.interface());
        end.node.ip("link set wgrends up");
        ending(&end);
        assert_eq!(child.wait().unwrap().code(), Some(0));
        end.until_gone(child.id());
    }
}

fn faults() {
    let [node, _] = two_nodes(Family::V4);
    let ended = |command: &mut Command| {
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let output = node.host.spawn(command).unwrap().wait_with_output().unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    let end = End::new(&node, "wgrfault", 0, Program::Ours);
    node.ip("link add wgrfault type veth peer name wgrfault2");
    let (code, said) = ended(&mut end.foreground());
    let expected = "tunctl: interface wgrfault: exists and is a veth interface, not a tun device\n";
    assert_eq!((code, said.as_str()), (Some(1), expected));
    assert!(node.ip("link show dev wgrfault").contains("wgrfault2"));

    let mut command = as_ordinary_user("exec /proc/self/fd/9 wg --foreground wgrperm");
    let child = node.host.spawn(&mut command).unwrap();
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    let expected = "tunctl: interface wgrperm: not permitted, CAP_NET_ADMIN is needed\n";
    assert_eq!((output.status.code(), said.as_str()), (Some(1), expected));
}

fn many_peers() {
    const BOUND: Duration = Duration::from_secs(20);
    let [node, _] = two_nodes(Family::V4);
    let end = End::new(&node, "wgrmany", 0, Program::Ours);
    let mut child = end.start();
    let keys: Vec<_> = (0..1_000).map(|i| format!("{i:0>5}{}", &end.public[5..])).collect();
    let configuration = |keys: &[String]| {
        let peers = keys.iter().enumerate().map(|(i, key)| {
            let (high, low) = (i / 256, i % 256);
            format!("[Peer]\nPublicKey = {key}\nAllowedIPs = 10.7.{high}.{low}/32, fd07::{i}/128\n")
        });
        end.interface() + &peers.collect::<String>()
    };
    let began = Instant::now();
    let mut reversed = keys.clone();
    reversed.reverse();
    for keys in [&keys, &reversed] {
        end.wg("setconf wgrmany /dev/stdin", &configuration(keys));
        let shown = end.wg("show wgrmany peers", "");
        assert_eq!(&shown.lines().collect::<Vec<_>>(), keys);
    }
    // Every address changes its owner while all are there.
    end.wg("syncconf wgrmany /dev/stdin", &configuration(&keys));
    assert_eq!(end.peer(&keys[0])[3], "10.7.0.0/32,fd07::/128");
    assert!(began.elapsed() < BOUND, "{:?}", began.elapsed());
    fs::remove_file(&end.socket).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0));
}
