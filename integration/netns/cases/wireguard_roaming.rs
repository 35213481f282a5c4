//! The client is elsewhere from one moment to the next, and what is under way goes on.

use std::os::fd::AsRawFd;
use std::thread;
use std::time::Duration;

use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, recv, send, socket,
};
use tunctl::lab::Host;

use super::wireguard::NEEDS_GO;
use crate::flow::{Arrivals, Flow};
use crate::harness::{Case, each, note};
use crate::need::{Need, OURS};
use crate::pair::{Pair, overlay};
use crate::place::{Family, UNDERLAY, detour, run, two_nodes};
use crate::program::Brand;
use crate::tcp::{Rate, Transfer};
use crate::wait;
use crate::wireguard::{Plan, Speaker};

const GO: Speaker = Speaker::Program(Brand::WireguardGo);

/// An upload stands still no longer than this.
const UPLOAD: Duration = Duration::from_secs(2);

/// A download stands still until the client's keepalive, which is due after one second, and no
/// more than one second longer.
const DOWNLOAD: Duration = Duration::from_secs(2);

/// Bytes of a transfer, and bytes a second: it takes four seconds.
const BYTES: u64 = 16 << 20;
const PACING: u64 = 4 << 20;

pub fn cases() -> Vec<Case> {
    let ours = [
        Case::over_both("wireguard_upload_goes_on_from_another_address", |family| {
            another_address(family, Speaker::Tun, 0);
        }),
        Case::over_both("wireguard_download_goes_on_to_another_address", |family| {
            another_address(family, Speaker::Tun, 1);
        }),
        Case::over_both("wireguard_upload_goes_on_through_another_mapping", |family| {
            another_mapping(family, [Speaker::Tun; 2], 0);
        }),
        Case::over_both("wireguard_download_goes_on_through_another_mapping", |family| {
            another_mapping(family, [Speaker::Tun; 2], 1);
        }),
    ];
    let go = [
        Case::over_both("wireguard_go_sees_us_at_another_address", |family| {
            another_address(family, GO, 0);
            another_address(family, GO, 1);
        }),
        Case::over_both("wireguard_go_is_seen_through_another_mapping", |family| {
            another_mapping(family, [GO, Speaker::Tun], 0);
            another_mapping(family, [GO, Speaker::Tun], 1);
        }),
    ];
    let go = each(go, |case| case.needs(NEEDS_GO).needs(&[Need::Program("nft")]).needs(OURS));
    let ours = each(ours, |case| case.needs(&[Need::Program("nft")]).needs(OURS));
    ours.into_iter().chain(go).collect()
}

/// End 0 is the client: it begins, and keeps the way open; the server only knows its key.
fn plan(family: Family, speakers: [Speaker; 2]) -> Plan {
    Plan::new(family, speakers).begun_by(0).end(0, |end| {
        end.listens_on_any = true;
        end.peer = match end.speaker {
            Speaker::Tun | Speaker::Tap => "persistent_keepalive = 1".into(),
            _ => "PersistentKeepalive = 1".into(),
        };
    })
}

fn another_address(family: Family, server: Speaker, from: usize) {
    let plan = plan(family, [Speaker::Tun, server]);
    let pair = plan.launch(two_nodes(family), None);
    plan.begin(&pair);
    let client = &pair.nodes[0];
    let (length, nodad) = if family == Family::V4 { (24, "") } else { (64, "nodad") };
    let (before, after) = (client.address, family.address(0, 77));
    goes_on(&pair, from, &after.to_string(), || {
        client.ip(&format!("addr del {before}/{length} dev {UNDERLAY}"));
        client.ip(&format!("addr add {after}/{length} dev {UNDERLAY} {nodad}"));
    });
}

fn another_mapping(family: Family, speakers: [Speaker; 2], from: usize) {
    let place = detour(family);
    let router = &place.middle;
    for sysctl in ["net/ipv4/ip_forward", "net/ipv6/conf/all/forwarding"] {
        router.set_sysctl(sysctl, "1").unwrap();
    }
    place.ends[0].ip(&format!("route add default via {}", place.proxies[0]));
    run(router, "nft", "add table inet nat");
    let hook = "{ type nat hook postrouting priority 100 ; }";
    run(router, "nft", &format!("add chain inet nat post {hook}"));
    let map_to = |port: u16| {
        run(router, "nft", "flush chain inet nat post");
        let rule = format!("oifname right0 meta l4proto udp masquerade to :{port}");
        run(router, "nft", &format!("add rule inet nat post {rule}"));
        forget_mappings(router);
    };
    map_to(40_001);
    let plan = plan(family, speakers);
    let pair = plan.launch(place.ends, None);
    plan.begin(&pair);
    goes_on(&pair, from, ":40002", || map_to(40_002));
}

/// A transfer and a flow from one end go on when the client is elsewhere.
#[track_caller]
fn goes_on(pair: &Pair, from: usize, place: &str, change: impl Fn()) {
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
            seen_at(pair, place);
            transfer.join().unwrap_or_else(|_| panic!("the transfer failed"))
        })
    });
    note(&format!("{arrivals:?}; {rate}"));
    let limit = if from == 0 { UPLOAD } else { DOWNLOAD };
    assert!(arrivals.pause < limit, "{arrivals:?}");
    assert_eq!((arrivals.repeated, arrivals.changed), (0, 0), "{arrivals:?}");
}

/// The server says that the client is there, if it is ours.
#[track_caller]
fn seen_at(pair: &Pair, place: &str) {
    let Some(server) = &pair.daemons[1] else { return };
    wait::until_true(&format!("the client is seen at {place}"), || {
        server.query("peers")[0]["endpoint"].to_string().contains(place)
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
