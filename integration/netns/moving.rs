//! A node that is elsewhere from one moment to the next, while there is traffic.

use std::net::IpAddr;
use std::os::fd::AsRawFd;
use std::thread;
use std::time::Duration;

use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, recv, send, socket,
};
use tunctl::lab::Host;

use crate::flow::{Arrivals, Flow};
use crate::harness::note;
use crate::pair::{Pair, overlay};
use crate::place::{Family, Node, UNDERLAY, detour, run};
use crate::tcp::{Rate, Transfer};
use crate::wait;

/// Bytes of a transfer, and bytes a second: it takes four seconds.
const BYTES: u64 = 16 << 20;
const PACING: u64 = 4 << 20;

/// Gives a node another underlay address in the place of its own.
pub fn move_to(node: &Node, family: Family, after: IpAddr) {
    let (length, nodad) = if family == Family::V4 { (24, "") } else { (64, "nodad") };
    let before = node.address;
    node.ip(&format!("addr del {before}/{length} dev {UNDERLAY}"));
    node.ip(&format!("addr add {after}/{length} dev {UNDERLAY} {nodad}"));
}

/// A router that gives end 0 a port of its own towards end 1.
pub struct Router(Host);

impl Router {
    /// Makes two nodes with the router between them.
    pub fn between(family: Family) -> (Self, [Node; 2]) {
        let place = detour(family);
        let router = place.middle;
        for sysctl in ["net/ipv4/ip_forward", "net/ipv6/conf/all/forwarding"] {
            router.set_sysctl(sysctl, "1").unwrap();
        }
        place.ends[0].ip(&format!("route add default via {}", place.proxies[0]));
        run(&router, "nft", "add table inet nat");
        let hook = "{ type nat hook postrouting priority 100 ; }";
        run(&router, "nft", &format!("add chain inet nat post {hook}"));
        (Self(router), place.ends)
    }

    /// Has end 0's datagrams come from a port, from now on.
    ///
    /// Nothing crosses meanwhile: what end 1 sends to the port before end 0 has used it would be a
    /// flow of its own to the router, and keep the port for itself as long as end 1 goes on.
    pub fn map_to(&self, port: u16) {
        let router = &self.0;
        let hook = "{ type filter hook prerouting priority raw ; policy drop ; }";
        let rule = format!("oifname right0 meta l4proto udp masquerade to :{port}");
        let commands = [
            "add table inet hold",
            &format!("add chain inet hold pre {hook}"),
            "flush chain inet nat post",
            &format!("add rule inet nat post {rule}"),
        ];
        run(router, "nft", &commands.join(" ; "));
        forget_mappings(router);
        run(router, "nft", "delete table inet hold");
    }
}

/// A transfer and a flow from one end go on when something changes; where an end and a place are
/// given, that end says that its peer is seen at that place. Gives how the flow fared.
#[track_caller]
pub fn goes_on(
    pair: &Pair,
    from: usize,
    place: Option<(usize, &str)>,
    change: impl Fn(),
) -> Arrivals {
    let (near, far) = (pair.host(from), pair.host(1 - from));
    let [v4, v6] = overlay(1 - from);
    let transfer =
        Transfer { from: near, to: far, address: v4, bytes: BYTES, pacing: Some(PACING) };
    let flow = Flow { from: near, to: far, address: v6, every: Duration::from_millis(2) };
    let (arrivals, rate): (Arrivals, Rate) = flow.during(|| {
        thread::scope(|scope| {
            let carried = || received(pair.host(1 - from));
            let before = carried();
            let transfer = scope.spawn(move || transfer.make());
            wait::until_true("a quarter is carried", || carried() - before > BYTES / 4);
            change();
            assert!(!transfer.is_finished(), "the transfer was too quick");
            if let Some((end, place)) = place {
                seen_at(pair, end, place);
            }
            transfer.join().unwrap_or_else(|_| panic!("the transfer failed"))
        })
    });
    note(&format!("{arrivals:?}; {rate}"));
    assert_eq!((arrivals.repeated, arrivals.changed), (0, 0), "{arrivals:?}");
    arrivals
}

/// An end says that its peer is there, if it is ours.
#[track_caller]
fn seen_at(pair: &Pair, end: usize, place: &str) {
    let Some(daemon) = &pair.daemons[end] else { return };
    wait::until_true(&format!("the peer is seen at {place}"), || {
        daemon.query("peers")[0]["endpoint"].to_string().contains(place)
    });
}

/// Bytes that a host has received on the underlay.
fn received(host: &Host) -> u64 {
    let text = host.run(|| std::fs::read_to_string("/proc/thread-self/net/dev")).unwrap();
    let line = text.lines().find_map(|line| line.trim().strip_prefix(&format!("{UNDERLAY}:")));
    let first = line.and_then(|line| line.split_whitespace().next());
    first.and_then(|bytes| bytes.parse().ok()).expect("bytes come first")
}

/// Has a router forget its mappings: IPCTNL_MSG_CT_DELETE of linux/netfilter/nfnetlink_conntrack.h
/// without an entry is for all of them.
#[track_caller]
fn forget_mappings(router: &Host) {
    const REQUEST_WITH_ANSWER: u16 = 0x1 | 0x4;
    let mut message = vec![];
    message.extend(20_u32.to_ne_bytes());
    message.extend(0x0102_u16.to_ne_bytes());
    message.extend(REQUEST_WITH_ANSWER.to_ne_bytes());
    message.extend([0; 12]);
    let error = router.run(|| {
        let (kind, flags) = (SockType::Raw, SockFlag::SOCK_CLOEXEC);
        let protocol = SockProtocol::NetlinkNetFilter;
        let socket = socket(AddressFamily::Netlink, kind, flags, protocol).unwrap();
        send(socket.as_raw_fd(), &message, MsgFlags::empty()).unwrap();
        let mut answer = [0; 64];
        recv(socket.as_raw_fd(), &mut answer, MsgFlags::empty()).unwrap();
        i32::from_ne_bytes(answer[16..20].try_into().unwrap())
    });
    assert_eq!(error, 0, "the mappings are not forgotten");
}
