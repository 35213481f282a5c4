//! Interfaces of the real program that are changed while they carry something.

use std::fs;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use tunctl::lab::Host;

use crate::harness::{Case, each};
use crate::need::Need;
use crate::pair::overlay;
use crate::place::{Family, Node, ping, run, three_nodes, try_run, two_nodes};
use crate::udp;
use crate::wait::until_true;
use crate::wg_end::{End, NEEDS, PORT, Program};

pub fn cases() -> Vec<Case> {
    let cases = [vec![
        Case::new("wg_real_change_under_traffic_loses_nothing::with_wireguard_go", || {
            sync("wgrs0", Program::WireguardGo);
        })
        .needs(&[Need::Program("wireguard-go")]),
        Case::new("wg_real_change_under_traffic_loses_nothing::with_itself", || {
            sync("wgrs2", Program::Ours);
        }),
        Case::new("wg_real_port_and_mark_change_at_work", port_and_mark),
        Case::new("wg_real_program_keeps_two_capabilities", capabilities),
        Case::new("wg_real_port_of_somebody_else_changes_nothing", taken_port),
        Case::new("wg_real_other_private_key_begins_anew", private_key),
        Case::new("wg_real_address_moves_to_another_peer", moved_address),
    ]];
    each(cases, |case| case.needs(NEEDS))
}

/// Both ends up, with a session.
fn tunnel(name: &str, far: Program) -> [End; 2] {
    let nodes = two_nodes(Family::V4);
    let ends = [
        End::new(&nodes[0], name, 0, Program::Ours),
        End::new(&nodes[1], &format!("{name}b"), 1, far),
    ];
    ends[0].up(&[&ends[1]]);
    ends[1].up(&[&ends[0]]);
    ping(&nodes[0].host, overlay(1)[0], "");
    ends
}

fn sync(name: &str, far: Program) {
    let ends = tunnel(name, far);
    let preshared = ends[0].wg("genpsk", "");
    let former = ends.each_ref().map(End::handshake);
    let hosts = ends.each_ref().map(|end| &end.node.host);
    let traffic = Traffic::default();
    thread::scope(|scope| {
        let _end = traffic.ends_with_this();
        let running = scope.spawn(|| traffic.run(hosts[0], hosts[1], overlay(1)[0]));
        traffic.until_more_arrived();
        // The first changes nothing but takes all the steps.
        for further in ["", &format!("PresharedKey = {preshared}PersistentKeepalive = 7\n")] {
            for (end, peer) in [(&ends[1], &ends[0]), (&ends[0], &ends[1])] {
                // wireguard-go makes its socket anew for a port that stays, and loses datagrams.
                if far == Program::WireguardGo && end.number == 1 {
                    let file = end.file("preshared", &preshared);
                    let keys = format!("preshared-key {file} persistent-keepalive 7");
                    end.set(&format!("peer {} {keys}", peer.public));
                    traffic.until_more_arrived();
                    continue;
                }
                let text = format!("{}{}{further}", end.interface(), peer.as_peer());
                end.wg(&format!("syncconf {} /dev/stdin", end.name), &text);
                traffic.until_more_arrived();
            }
        }
        for (end, former) in ends.iter().zip(former) {
            end.until_handshake_after(former);
        }
        for mark in ["0x17", "off"] {
            ends[0].set(&format!("fwmark {mark}"));
            traffic.until_more_arrived();
        }
        traffic.stop();
        running.join().unwrap_or_else(|_| panic!("the traffic failed"));
    });
    for (end, peer) in [(&ends[0], &ends[1]), (&ends[1], &ends[0])] {
        let shown = end.peer(&peer.public);
        assert_eq!((shown[1].as_str(), shown[7].as_str()), (preshared.trim(), "7"));
    }
}

fn port_and_mark() {
    let ends = tunnel("wgrp0", Program::Ours);
    let (near, far) = (overlay(0)[0], overlay(1)[0]);
    ends[0].set("listen-port 40001");
    ping(&ends[0].node.host, far, "");
    assert_eq!(ends[0].dump()[0][2], "40001");
    let endpoint = &ends[1].peer(&ends[0].public)[2];
    assert_eq!(endpoint, &format!("{}:40001", ends[0].node.address));
    ping(&ends[1].node.host, near, "");

    let node = &ends[0].node;
    node.ip("route add blackhole default table 77");
    node.ip("rule add fwmark 0x17 table 77");
    ends[0].set("fwmark 0x17");
    assert_eq!(ends[0].dump()[0][3], "0x17");
    let output = try_run(&node.host, "ping", &format!("-n -q -c 1 -W 1 {far}"));
    assert_eq!(output.status.code(), Some(1), "the marked go into the black hole");
    ends[0].set("fwmark off");
    ping(&node.host, far, "");
    assert_eq!(ends[0].dump()[0][2..], ["40001", "off"]);
}

fn capabilities() {
    let ends = tunnel("wgrc0", Program::Ours);
    let pid = ends[0].pid();
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    for task in tasks {
        let status = fs::read_to_string(task.unwrap().path().join("status")).unwrap();
        // CAP_NET_BIND_SERVICE and CAP_NET_ADMIN, linux/capability.h.
        for field in ["CapPrm", "CapEff"] {
            let expected = format!("{field}:\t{:016x}\n", 1 << 10 | 1 << 12);
            assert!(status.contains(&expected), "{status}");
        }
    }
    for port in [701, 702] {
        ends[0].set(&format!("listen-port {port} fwmark 5"));
        ping(&ends[0].node.host, overlay(1)[0], "");
    }
    ends[0].down();
}

fn taken_port() {
    let ends = tunnel("wgrt0", Program::Ours);
    let node = &ends[0].node;
    for address in ["0.0.0.0", "::1"] {
        let address: IpAddr = address.parse().unwrap();
        let holder = node.host.run(|| UdpSocket::bind((address, 0))).unwrap();
        let port = holder.local_addr().unwrap().port();
        let said = ends[0].try_wg(&format!("set wgrt0 fwmark 5 listen-port {port}"), "");
        assert_eq!(said, Err("Unable to modify interface: Address already in use\n".into()));
        assert_eq!(ends[0].dump()[0][2..], [PORT.to_string(), "off".into()]);
    }
    ping(&node.host, overlay(1)[0], "");
}

fn private_key() {
    let mut ends = tunnel("wgrk0", Program::Ours);
    let former = ends[0].public.clone();
    let file = ends[0].make_key();
    ends[0].set(&format!("private-key {file}"));
    assert_eq!(ends[0].dump()[0][1], ends[0].public);
    assert_eq!(ends[0].peer(&ends[1].public)[4], "0", "no session of the former key is left");
    ends[1].set(&format!("peer {former} remove"));
    ends[1].wg("addconf wgrk0b /dev/stdin", &ends[0].as_peer());
    ping(&ends[1].node.host, overlay(0)[0], "");
    ping(&ends[0].node.host, overlay(1)[1], "");
    assert_eq!(ends[1].dump().len(), 2);
}

fn moved_address() {
    const SERVICE: &str = "10.9.0.100";
    let nodes: [Node; 3] = three_nodes(Family::V4);
    let mut number = 0;
    let ends = nodes.map(|node| {
        number += 1;
        End::new(&node, &format!("wgrm{number}"), number - 1, Program::Ours)
    });
    let [hub, first, second] = &ends;
    hub.up(&[first, second]);
    first.up(&[hub]);
    second.up(&[hub]);
    let own = |end: &End| format!("{}/32", overlay(end.number)[0]);
    hub.set(&format!("peer {} allowed-ips {},{SERVICE}/32", first.public, own(first)));
    first.node.ip(&format!("addr add {SERVICE}/32 dev {}", first.name));
    let service: IpAddr = SERVICE.parse().unwrap();
    ping(&hub.node.host, service, "");

    first.node.ip(&format!("addr del {SERVICE}/32 dev {}", first.name));
    second.node.ip(&format!("addr add {SERVICE}/32 dev {}", second.name));
    hub.set(&format!("peer {} allowed-ips {},{SERVICE}/32", second.public, own(second)));

    ping(&hub.node.host, service, "");
    assert_eq!(hub.peer(&first.public)[3], own(first));
    // What the former owner sends from there is refused.
    first.node.ip(&format!("addr add {SERVICE}/32 dev {}", first.name));
    let hub_address = overlay(0)[0];
    let spoof = format!("-n -q -c 1 -W 1 -I {SERVICE} {hub_address}");
    assert_eq!(try_run(&first.node.host, "ping", &spoof).status.code(), Some(1));
    run(&second.node.host, "ping", &spoof);
}

/// Numbered datagrams from one host to another, of which none may be lost or come late.
#[derive(Default)]
struct Traffic {
    arrived: AtomicU64,
    is_over: AtomicBool,
}

/// Ends the traffic, also when a check fails.
struct Ending<'a>(&'a Traffic);

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        self.0.stop();
    }
}

impl Traffic {
    /// How many may be under way.
    const WINDOW: u64 = 16;
    /// Between two of them.
    const PACE: Duration = Duration::from_micros(200);
    /// Nothing may stand still for longer.
    const STALL: Duration = Duration::from_secs(5);

    fn ends_with_this(&self) -> Ending<'_> {
        Ending(self)
    }

    fn stop(&self) {
        self.is_over.store(true, Ordering::Relaxed);
    }

    #[track_caller]
    fn until_more_arrived(&self) {
        let aim = self.arrived.load(Ordering::Relaxed) + 200;
        until_true("more arrived", || self.arrived.load(Ordering::Relaxed) >= aim);
    }

    fn run(&self, from: &Host, to: &Host, address: IpAddr) {
        let receiver = udp::socket(to, address);
        let target = receiver.local_addr().unwrap();
        let sender = udp::socket(from, [0; 4].into());
        thread::scope(|scope| {
            scope.spawn(|| self.send(&sender, target));
            let mut bytes = [0; 8];
            for number in 0.. {
                let len = receiver.recv(&mut bytes).unwrap_or_else(|error| {
                    panic!("datagram {number} does not come: {error}");
                });
                if len == 0 {
                    break;
                }
                assert_eq!(u64::from_be_bytes(bytes), number, "the next datagram");
                self.arrived.store(number + 1, Ordering::Relaxed);
            }
        });
    }

    fn send(&self, socket: &UdpSocket, to: SocketAddr) {
        for number in 0_u64.. {
            if self.is_over.load(Ordering::Relaxed) {
                socket.send_to(&[], to).unwrap();
                return;
            }
            socket.send_to(&number.to_be_bytes(), to).unwrap();
            let deadline = Instant::now() + Self::STALL;
            while self.arrived.load(Ordering::Relaxed) + Self::WINDOW <= number {
                assert!(Instant::now() < deadline, "a datagram before {number} is lost");
                thread::park_timeout(Self::PACE);
            }
            thread::park_timeout(Self::PACE);
        }
    }
}
