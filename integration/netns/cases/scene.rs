//! The scenes that `tunctl bench` measures: what carries, what the wire carries, what is known.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream, UdpSocket};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;
use tunctl::api::client::Client;
use tunctl::bench::case::Case as Subject;
use tunctl::bench::scene::{Scale, Scene, SceneOptions, UnderlayKind};
use tunctl::lab::Host;

use crate::frames::Frames;
use crate::harness::{Case, each, note};
use crate::need::{KERNEL_VXLAN, OURS};
use crate::place::run;

/// The features that a wire which is like a NIC's does not have.
const SEGMENTATION: [&str; 8] = [
    "tx-tcp-segmentation",
    "tx-tcp-ecn-segmentation",
    "tx-tcp-mangleid-segmentation",
    "tx-tcp6-segmentation",
    "generic-segmentation-offload",
    "tx-udp-segmentation",
    "tx-udp_tnl-segmentation",
    "tx-udp_tnl-csum-segmentation",
];

pub fn cases() -> Vec<Case> {
    // No machine needs the programs of other projects.
    let subjects = Subject::ALL.into_iter().filter(|case| case.is_installed());
    let carries = subjects.flat_map(|case| {
        UnderlayKind::ALL.map(|underlay| {
            let name = format!("scene_carries::{case}_over_{underlay}");
            Case::new(&name, move || carries(case, underlay))
        })
    });
    let cases = [
        carries.collect(),
        vec![
            Case::new("scene_settings_reach_the_daemons", settings_reach),
            Case::new("scenes_live_side_by_side", side_by_side),
            Case::new("scaled_scene_knows_its_peers_and_macs", scaled),
            Case::new("spread_reaches_every_destination", spread),
            Case::new("scale_is_for_vxlan_tap_only", scale_elsewhere),
            Case::new("killed_daemon_is_told_with_its_log", killed),
        ],
    ];
    each(cases, |case| case.needs(OURS).needs(KERNEL_VXLAN))
}

/// A directory for the scenes of a case, where the harness has its own.
fn directory() -> TempDir {
    TempDir::new_in("/run").unwrap()
}

fn over(underlay: UnderlayKind) -> SceneOptions {
    SceneOptions { underlay, ..SceneOptions::default() }
}

fn carries(case: Subject, underlay: UnderlayKind) {
    let directory = directory();
    let scene = Scene::set_up(case, &over(underlay), directory.path()).unwrap();
    let before = scene.wire_counters().unwrap();
    let (sent, echoed) = (200, echo(&scene, 200));
    assert_eq!(echoed, sent);
    let carried = scene.wire_counters().unwrap().since(before);
    note(&format!("{carried:?}"));
    // QUIC acknowledges what came, and finds out what crosses the path.
    let is_quic = matches!(case, Subject::QuicTun | Subject::QuicTap);
    for direction in [carried.left_to_right, carried.right_to_left] {
        if is_quic {
            assert!((sent..3 * sent).contains(&direction.packets), "{carried:?}");
            continue;
        }
        assert!((sent..sent + 30).contains(&direction.packets), "{carried:?}");
        // 599 bytes on average, UDP, IPv4 and Ethernet, and on top what the tunnel adds; some pad.
        let added = direction.bytes as f64 / direction.packets as f64 - 598.0 - 42.0;
        assert!((0.0..overhead(case) + 20.0).contains(&added), "{carried:?}");
    }
    check_bulk(&scene, underlay);
    let route = scene.route();
    for host in [route.from, route.to] {
        check_features(host, underlay);
    }
    check_mtu(&scene);
    let statuses = scene.statuses().unwrap();
    assert_eq!(statuses.len(), scene.daemons().len());
    match case.program() {
        None => assert_eq!(statuses.iter().map(|s| s.pid).collect::<Vec<_>>(), scene.pids()),
        Some(_) => assert_eq!(scene.pids().len(), 2),
    }
    scene.tear_down().unwrap();
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
}

/// Sends packets of many lengths to the right host, which sends them back; gives how many came.
fn echo(scene: &Scene, count: u64) -> u64 {
    let route = scene.route();
    let far = route.to.run(|| UdpSocket::bind((route.address, 0))).unwrap();
    let near = route.from.run(|| UdpSocket::bind("0.0.0.0:0")).unwrap();
    near.connect(far.local_addr().unwrap()).unwrap();
    for socket in [&near, &far] {
        socket.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
    }
    let mut buffer = [0; 2048];
    let echoes = (0..count).take_while(|number| {
        let sent = vec![*number as u8; 1 + *number as usize * 6];
        near.send(&sent).unwrap();
        let Ok((len, from)) = far.recv_from(&mut buffer) else { return false };
        far.send_to(&buffer[..len], from).unwrap();
        near.recv(&mut buffer).is_ok_and(|len| buffer[..len] == sent)
    });
    echoes.count() as u64
}

/// What crosses during a TCP transfer is as large as the MTU on a wire that is like a NIC's.
fn check_bulk(scene: &Scene, underlay: UnderlayKind) {
    const TOTAL: usize = 16 << 20;
    let route = scene.route();
    let before = scene.wire_counters().unwrap();
    let listener = route.to.run(|| TcpListener::bind((route.address, 0))).unwrap();
    let target = listener.local_addr().unwrap();
    let received = thread::scope(|scope| {
        let receiving = scope.spawn(|| {
            let (mut socket, _) = listener.accept().unwrap();
            io::copy(&mut socket, &mut io::sink()).unwrap()
        });
        let mut socket = route.from.run(|| TcpStream::connect(target)).unwrap();
        socket.write_all(&vec![7; TOTAL]).unwrap();
        drop(socket);
        receiving.join().unwrap()
    });
    assert_eq!(received, TOTAL as u64);
    let carried = scene.wire_counters().unwrap().since(before).left_to_right;
    let mean = carried.bytes as f64 / carried.packets as f64;
    note(&format!("TCP: {mean:.0} bytes a packet on the wire"));
    match underlay {
        UnderlayKind::Nic => assert!((1300.0..=1514.0).contains(&mean), "{carried:?}"),
        UnderlayKind::Veth if scene.case().program().is_none() => {
            assert!(mean > 8000.0, "{carried:?}");
        }
        // Other programs need not send runs of datagrams at once.
        UnderlayKind::Veth => {}
    }
}

fn check_features(host: &Host, underlay: UnderlayKind) {
    let text = run(host, "ethtool", "-k wire0");
    let features: BTreeMap<_, _> =
        text.lines().filter_map(|line| line.trim().split_once(": ")).collect();
    let is_nic = underlay == UnderlayKind::Nic;
    for name in SEGMENTATION {
        assert_eq!(features[name].starts_with("off"), is_nic, "{name}: {text}");
    }
    assert_eq!(features["generic-receive-offload"].starts_with("on"), is_nic, "{text}");
}

/// The interfaces take packets as large as the underlay leaves room for.
fn check_mtu(scene: &Scene) {
    let mtu = 1500.0 - overhead(scene.case());
    let route = scene.route();
    for (host, interface) in [route.from, route.to].into_iter().zip(scene.interfaces()) {
        let text = run(host, "ip", &format!("-o link show {interface}"));
        assert!(text.contains(&format!(" mtu {mtu} ")), "{text}");
    }
}

/// What a tunnel adds to a packet.
fn overhead(case: Subject) -> f64 {
    match case {
        Subject::Raw => 0.0,
        Subject::VxlanTun => 36.0,
        Subject::KernelVxlan | Subject::VxlanTap => 50.0,
        Subject::VxlanTapToKernel | Subject::KernelToVxlanTap => 50.0,
        Subject::WireguardTap => 110.0,
        Subject::WireguardTun | Subject::WireguardGo => 60.0,
        Subject::BoringtunCli | Subject::Gotatun => 60.0,
        Subject::QuicTun => 74.0,
        Subject::QuicTap => 88.0,
        Subject::Vpncloud => 53.0,
        Subject::Openvpn => 52.0,
    }
}

fn settings_reach() {
    let directory = directory();
    let settings = "[offload]\nudp_gso = 'off'\n[[network]]\nmtu = 1300\n".into();
    let options = SceneOptions { settings, mtu: 9000, ..SceneOptions::default() };
    let scene = Scene::set_up(Subject::VxlanTun, &options, directory.path()).unwrap();
    for status in scene.statuses().unwrap() {
        assert!(status.state.underlay.iter().all(|socket| !socket.gso), "{status:?}");
        assert_eq!(status.state.networks[0].mtu, 1300);
    }
    let options = SceneOptions { settings: "[offload".into(), ..options };
    let error = Scene::set_up(Subject::VxlanTun, &options, directory.path()).unwrap_err();
    assert!(error.to_string().starts_with("the settings are not TOML"), "{error}");
}

fn side_by_side() {
    let directory = directory();
    let paths: [&Path; 2] = [directory.path(), &PathBuf::from(directory.path())];
    let scenes =
        paths.map(|path| Scene::set_up(Subject::VxlanTap, &SceneOptions::default(), path).unwrap());
    for scene in &scenes {
        assert_eq!(echo(scene, 10), 10);
    }
}

fn scaled() {
    for (underlay, peers, learned) in
        [(UnderlayKind::Nic, 100, 60_000), (UnderlayKind::Veth, 2, 1_000_000)]
    {
        let directory = directory();
        let options = SceneOptions { scale: Some(Scale { peers, learned }), ..over(underlay) };
        let started = Instant::now();
        let scene = Scene::set_up(Subject::VxlanTap, &options, directory.path()).unwrap();
        note(&format!("{peers} peers, {learned} MACs: ready after {:.1?}", started.elapsed()));
        let network = &scene.statuses().unwrap()[0].state.networks[0];
        assert_eq!(network.peers as usize, peers);
        assert!((learned..learned + 8).contains(&(network.entries as usize)), "{network:?}");
        let peers = Client::connect(&scene.daemons()[0].socket()).unwrap().peers().unwrap();
        let share = (learned / peers.len()) as u64;
        let uneven = peers.iter().find(|peer| !(share..share + 8).contains(&peer.entries));
        assert_eq!(uneven, None);
        assert_eq!(echo(&scene, 100), 100);
        scene.tear_down().unwrap();
    }
}

fn spread() {
    const DESTINATIONS: usize = 10_000;
    for underlay in UnderlayKind::ALL {
        let directory = directory();
        let scene = Scene::set_up(Subject::VxlanTap, &over(underlay), directory.path()).unwrap();
        let started = Instant::now();
        let destinations = scene.prepare_spread(DESTINATIONS).unwrap();
        note(&format!("{DESTINATIONS} destinations: ready after {:.1?}", started.elapsed()));
        assert_eq!(scene.prepare_spread(DESTINATIONS).unwrap(), destinations);
        let route = scene.route();
        let arrived = Frames::open(route.to, scene.interfaces()[1]);
        let socket = route.from.run(|| UdpSocket::bind("0.0.0.0:0")).unwrap();
        let mut left: BTreeSet<_> = destinations.iter().copied().collect();
        // Few at once, so that nothing is lost for want of room.
        for group in destinations.chunks(20) {
            for destination in group {
                socket.send_to(b"spread", (*destination, 9)).unwrap();
            }
            for _ in group {
                let frame = arrived.expect("what was sent", |frame| frame.ends_with(b"spread"));
                let address = <[u8; 4]>::try_from(&frame[30..34]).unwrap();
                assert_eq!(frame[..2], [0x02, 0x5d]);
                left.remove(&Ipv4Addr::from(address));
            }
        }
        assert!(left.is_empty(), "{left:?}");
        let drops = scene.daemons().iter().map(|daemon| daemon.ask("drops").unwrap());
        drops.for_each(|drops| note(drops.lines().next().unwrap_or_default()));
        scene.tear_down().unwrap();
    }
}

fn scale_elsewhere() {
    let directory = directory();
    let options =
        SceneOptions { scale: Some(Scale { peers: 2, learned: 10 }), ..over(UnderlayKind::Nic) };
    let error = Scene::set_up(Subject::VxlanTun, &options, directory.path()).unwrap_err();
    assert!(error.to_string().starts_with("case vxlan-tun has no forwarding table"), "{error}");
    let scene =
        Scene::set_up(Subject::VxlanTap, &over(UnderlayKind::Nic), directory.path()).unwrap();
    let error = scene.prepare_spread(65_536).unwrap_err();
    assert!(error.to_string().contains("at most 65279"), "{error}");
}

fn killed() {
    let directory = directory();
    let scene =
        Scene::set_up(Subject::VxlanTap, &over(UnderlayKind::Nic), directory.path()).unwrap();
    kill(Pid::from_raw(scene.pids()[1] as i32), Signal::SIGKILL).unwrap();
    let error = scene.tear_down().unwrap_err().to_string();
    assert!(error.starts_with("the daemon in right ended with signal: 9"), "{error}");
    assert!(error.contains("its log:\n"), "{error}");
}
