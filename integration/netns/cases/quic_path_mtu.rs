//! Over QUIC, a path whose MTU shrinks and grows again: nothing stands still for long, the peer's
//! path MTU follows, and who sends what is too large is told.

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use tunctl::lab::{self, Host};

use crate::flow::{Arrivals, Flow};
use crate::harness::{Case, each, note};
use crate::need::{Need, OURS};
use crate::pair::{Kind, Pair, overlay};
use crate::place::{Detour, Family, UNDERLAY, detour, run, try_run};
use crate::quic_pair::{Plan, peer, until_up};
use crate::tcp::Transfer;

/// Nothing stands still for longer, and the path MTU has shrunk by then.
const STALL: Duration = Duration::from_secs(2);

/// The path MTU has grown again by then.
const GROWN: Duration = Duration::from_secs(90);

/// The path at first, and the narrow one.
const WIDE: u32 = 1500;
const NARROW: u32 = 1280;

/// Bytes of a transfer, and bytes a second: it takes six seconds.
const BYTES: u64 = 24 << 20;
const PACING: u64 = 4 << 20;

/// Datagrams that fit the wide path and not the narrow one. What is said of the path is about IPv4
/// inside: a tunnel over 1280 bytes has no room for the 1280 that IPv6 asks of every link (RFC 8200
/// section 5).
const LARGE: (usize, usize) = (1250, 1300);

/// How a path becomes narrow.
#[derive(Clone, Copy, Debug)]
enum Narrowing {
    /// A router answers by ICMP.
    Answered,
    /// What is too large vanishes.
    Silent,
}

pub fn cases() -> Vec<Case> {
    let cases = [Narrowing::Answered, Narrowing::Silent].map(|narrowing| {
        let how = format!("{narrowing:?}").to_lowercase();
        let shrinks = format!("quic_path_shrinks_and_nothing_stalls::{how}");
        let grows = format!("long_quic_path_shrinks_and_grows_again::{how}");
        [
            Case::over_both(&shrinks, move |family| shrinks_only(family, narrowing)),
            Case::over_both(&grows, move |family| grows_again(family, narrowing)),
        ]
    });
    let needs = [Need::Program("nft"), Need::Program("ethtool")];
    each(cases.into_iter().flatten(), |case| case.needs(&needs).needs(OURS))
}

fn shrinks_only(family: Family, narrowing: Narrowing) {
    let (pair, router) = make(family);
    shrinks(&pair, || narrow(&router, &pair, narrowing));
}

fn grows_again(family: Family, narrowing: Narrowing) {
    let (pair, router) = make(family);
    shrinks(&pair, || narrow(&router, &pair, narrowing));
    widen(&router, &pair);
    let wide = Instant::now();
    let [address, _] = overlay(1);
    let (from, to) = (pair.host(0), pair.host(1));
    let flow = Flow { from, to, address, every: Duration::from_millis(5) };
    let (arrivals, grown) = flow.of_lengths(LARGE, || until_path_mtu(&pair, WIDE, GROWN));
    note(&format!("grown after {grown:.2?}; {arrivals:?}"));
    assert!(wide.elapsed() < GROWN + STALL);
    assert!(arrivals.pause < STALL, "{arrivals:?}");
    // What the kernel has noted of the way is forgotten: this is a new flow.
    pair.nodes[0].ip("-4 route flush cache");
    let full = mtu_of(from) - 28;
    let echo = try_run(from, "ping", &format!("-n -c 3 -i 0.05 -M do -s {full} {address}"));
    let text = String::from_utf8_lossy(&echo.stdout);
    assert!(text.contains(" 0% packet loss"), "full size: {text}");
}

#[track_caller]
fn make(family: Family) -> (Pair, Host) {
    let Detour { ends, middle, proxies } = detour(family);
    for sysctl in ["net/ipv4/ip_forward", "net/ipv6/conf/all/forwarding"] {
        middle.set_sysctl(sysctl, "1").unwrap();
    }
    for (node, router) in ends.iter().zip(proxies) {
        node.ip(&format!("route add default via {router}"));
        // Each datagram by itself, so that the length of each is seen on the way.
        run(
            &node.host,
            "ethtool",
            &format!("-K {UNDERLAY} gso off tso off tx-udp-segmentation off"),
        );
    }
    for port in ["left0", "right0"] {
        run(&middle, "ethtool", &format!("-K {port} gro off"));
    }
    let plan = Plan::new(family, Kind::Tun);
    let pair = plan.launch(ends, None);
    until_up(&pair);
    until_path_mtu(&pair, WIDE, STALL);
    (pair, middle)
}

fn narrow(router: &Host, pair: &Pair, narrowing: Narrowing) {
    match narrowing {
        Narrowing::Answered => {
            lab::set_mtu(router, "right0", NARROW).unwrap();
            lab::set_mtu(&pair.nodes[1].host, UNDERLAY, NARROW).unwrap();
        }
        Narrowing::Silent => {
            run(router, "nft", "add table inet path");
            let hook = "{ type filter hook forward priority 0 ; }";
            run(router, "nft", &format!("add chain inet path forward {hook}"));
            run(router, "nft", &format!("add rule inet path forward meta length > {NARROW} drop"));
        }
    }
}

fn widen(router: &Host, pair: &Pair) {
    let _ = try_run(router, "nft", "delete table inet path");
    lab::set_mtu(router, "right0", WIDE).unwrap();
    lab::set_mtu(&pair.nodes[1].host, UNDERLAY, WIDE).unwrap();
}

/// The path becomes narrow under a transfer and a flow of large datagrams.
#[track_caller]
fn shrinks(pair: &Pair, narrow: impl Fn()) {
    let [address, _] = overlay(1);
    let (from, to) = (pair.host(0), pair.host(1));
    let transfer = Transfer { from, to, address, bytes: BYTES, pacing: Some(PACING) };
    let flow = Flow { from, to, address, every: Duration::from_millis(5) };
    let before = told(from);
    let (arrivals, shrunk): (Arrivals, Duration) = flow.of_lengths(LARGE, || {
        thread::scope(|scope| {
            let transfer = scope.spawn(move || transfer.make());
            narrow();
            let shrunk = until_path_mtu(pair, NARROW, STALL);
            transfer.join().unwrap_or_else(|_| panic!("the transfer failed"));
            shrunk
        })
    });
    note(&format!("shrunk after {shrunk:.2?}; {arrivals:?}"));
    assert!(arrivals.pause < STALL, "{arrivals:?}");
    assert!(told(from) > before, "no ICMP fragmentation needed");
}

/// Less than this is not needed of a path: QUIC's 1200 bytes (RFC 9000 section 14), and IPv4.
const LEAST: u32 = 1228;

/// Waits until end 0 takes the path for this wide, or a little less, or, while larger packets are
/// not tried yet, for the least; gives how long that took.
#[track_caller]
fn until_path_mtu(pair: &Pair, mtu: u32, limit: Duration) -> Duration {
    let started = Instant::now();
    loop {
        let seen = peer(pair, 0)["path_mtu"].as_u64().unwrap_or(0);
        let least = if mtu == NARROW { LEAST } else { mtu - 40 };
        let is_there = (u64::from(least)..=u64::from(mtu)).contains(&seen);
        let time = started.elapsed();
        if is_there {
            return time;
        }
        assert!(time < limit, "the path MTU is {seen} after {time:.2?}, not {mtu}");
        thread::park_timeout(Duration::from_millis(20));
    }
}

/// How often a host was told by ICMP that something cannot be delivered.
fn told(host: &Host) -> u64 {
    let text = host.run(|| fs::read_to_string("/proc/thread-self/net/snmp").unwrap());
    let mut lines = text.lines().filter(|line| line.starts_with("Icmp: "));
    let (names, values) = (lines.next().unwrap(), lines.next().unwrap());
    let found = names.split(' ').zip(values.split(' ')).find(|(name, _)| *name == "InDestUnreachs");
    found.unwrap().1.parse().unwrap()
}

/// The MTU of the tunnel's device.
fn mtu_of(host: &Host) -> u32 {
    let text = run(host, "ip", "-o link show dev tun0");
    let mut words = text.split_whitespace().skip_while(|word| *word != "mtu").skip(1);
    words.next().and_then(|word| word.parse().ok()).expect("an MTU")
}
