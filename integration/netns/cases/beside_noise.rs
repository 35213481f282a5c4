//! A TCP transfer through the tunnel beside noise on the tunnel's port, of a peer or of a stranger.
//!
//! That the transfer arrives is a test; which part of its rate it keeps is measured on request.

use std::fmt;
use std::fs;
use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use tunctl::lab::Host;

use super::noise::{RUN, RUNS_UNDER_WAY, Scene, any, send_noise};
use crate::harness::{Case, each, note};
use crate::need::OURS;
use crate::place::Family;
use crate::stream::Random;
use crate::tcp::{self, Rate};
use crate::{udp, wait};

/// Bytes of a transfer: of the test, and of each one that is measured.
const TESTED: u64 = 128 << 20;
const MEASURED: u64 = 512 << 20;

/// Rounds of a measurement: an odd number, for a median.
const ROUNDS: usize = 9;

/// What a transfer keeps of its rate, at least.
const KEPT: f64 = 0.9;

/// Datagrams of noise have from no bytes to this many.
const LEN_MAX: usize = 100;

/// Why random datagrams are dropped.
const REASONS: [&str; 4] = ["unknown_peer", "vxlan_too_short", "vxlan_flags", "unknown_vni"];

pub fn cases() -> Vec<Case> {
    let cases = [Source::Peer, Source::Stranger].into_iter().flat_map(|source| {
        [
            Case::over_both(
                &format!("transfer_arrives_beside_noise_of_a_{source}"),
                move |family| {
                    arrives(family, source);
                },
            ),
            Case::over_both(&format!("measure_rate_beside_noise_of_a_{source}"), move |family| {
                measure(family, source);
            }),
        ]
    });
    each(cases, |case| case.needs(OURS).alone())
}

/// Who sends the noise.
#[derive(Clone, Copy)]
enum Source {
    Peer,
    Stranger,
}

impl Source {
    fn host(self, scene: &Scene) -> &Host {
        match self {
            Self::Peer => &scene.peer.host,
            Self::Stranger => &scene.stranger.host,
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Peer => "peer",
            Self::Stranger => "stranger",
        })
    }
}

/// Noise from one host to one address.
struct Noise {
    socket: UdpSocket,
    target: SocketAddr,
    random: Random,
    /// How many datagrams were sent.
    sent: u64,
}

impl Noise {
    fn new(host: &Host, target: SocketAddr) -> Self {
        let socket = udp::socket(host, any(target.ip()));
        Self { socket, target, random: Random::new(11), sent: 0 }
    }

    /// Sends a run of datagrams of one length, each time of another length.
    fn send_run(&mut self) {
        let len = (self.sent / RUN as u64) as usize % (LEN_MAX + 1);
        send_noise(&self.socket, self.target, &mut self.random, len);
        self.sent += RUN as u64;
    }

    /// Sends as many datagrams one by one: of all lengths, nothing on the way merges them.
    fn send_each(&mut self) {
        let payload = self.random.bytes(LEN_MAX);
        for _ in 0..RUN {
            let len = self.random.next() as usize % (LEN_MAX + 1);
            assert_eq!(self.socket.send_to(&payload[..len], self.target).unwrap(), len);
        }
        self.sent += RUN as u64;
    }
}

/// Makes a transfer from the peer to our node, with `more` again and again beside it.
fn transfer_beside(scene: &Scene, bytes: u64, mut more: impl FnMut() + Send) -> Rate {
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !is_over.load(Ordering::Relaxed) {
                more();
            }
        });
        let _end = End(&is_over);
        tcp::send(&scene.peer.host, &scene.ours.host, [10, 9, 0, 1].into(), bytes)
    })
}

/// Ends what is beside a transfer, also when the transfer fails.
struct End<'a>(&'a AtomicBool);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

fn arrives(family: Family, source: Source) {
    let scene = Scene::new(family);
    let mut noise = Noise::new(source.host(&scene), scene.target());
    let rate = transfer_beside(&scene, TESTED, || {
        // No more under way than the receive buffer has room for beside the transfer.
        (0..RUNS_UNDER_WAY).for_each(|_| noise.send_run());
        let at_least = || dropped(&scene) + lost(&scene) * RUN as u64;
        wait::until_true("each datagram is counted", || at_least() >= noise.sent);
    });
    let (dropped, lost) = (dropped(&scene), lost(&scene));
    note(&format!("{rate} beside {} datagrams of noise, {lost} runs lost", noise.sent));
    assert!(dropped <= noise.sent, "{dropped} dropped of {}", noise.sent);
}

/// Gives how many datagrams the daemon has dropped for one of the reasons.
fn dropped(scene: &Scene) -> u64 {
    REASONS.iter().map(|reason| scene.daemon.dropped(reason)).sum()
}

/// Gives how many runs did not fit in the daemon's receive buffer: where the machine is busy
/// otherwise, the transfer may fill it.
fn lost(scene: &Scene) -> u64 {
    let file = if scene.target().is_ipv4() { "udp" } else { "udp6" };
    let path = format!("/proc/thread-self/net/{file}");
    let table = scene.ours.host.run(|| fs::read_to_string(path)).unwrap();
    let port = format!(":{:04X}", scene.target().port());
    let rows = table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let listeners = rows.filter(|row| row[1].ends_with(&port));
    listeners.map(|row| row.last().expect("drops").parse::<u64>().unwrap()).sum()
}

/// Compares transfers beside noise with those beside the same noise to a socket that discards it.
fn measure(family: Family, source: Source) {
    let scene = Scene::new(family);
    let discards = udp::socket(&scene.ours.host, scene.ours.address);
    let targets = [discards.local_addr().unwrap(), scene.target()];
    measure_beside(&scene, source, scene.target());
    let rounds: Vec<_> = (0..ROUNDS).map(|round| compare(&scene, source, targets, round)).collect();
    let rate = median(rounds.iter().map(|ratios| ratios.rate));
    let work = median(rounds.iter().map(|ratios| ratios.work));
    note(&format!("median: {rate:.3} of the control's rate, {work:.3} of its processor time"));
    assert!(rate >= KEPT, "{rate:.3} of the control's rate");
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<_> = values.collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// How a transfer went: bytes a second, and seconds of processor time of our daemon.
///
/// The latter tells what the noise costs even where the machine is busy otherwise.
#[derive(Clone, Copy, Default)]
struct Figures {
    rate: f64,
    work: f64,
}

/// One round: both transfers, in another order than in the round before; gives their ratios.
fn compare(scene: &Scene, source: Source, targets: [SocketAddr; 2], round: usize) -> Figures {
    let mut figures = [Figures::default(); 2];
    for turn in 0..2 {
        let which = (round + turn) % 2;
        figures[which] = measure_beside(scene, source, targets[which]);
    }
    let [control, beside] = figures;
    let ratios = Figures { rate: beside.rate / control.rate, work: beside.work / control.work };
    note(&format!("round {round}: rate {:.3}, processor time {:.3}", ratios.rate, ratios.work));
    ratios
}

/// Makes a transfer beside noise at a steady rate.
fn measure_beside(scene: &Scene, source: Source, target: SocketAddr) -> Figures {
    let mut noise = Noise::new(source.host(scene), target);
    let (started, worked) = (Instant::now(), scene.daemon.processor_time());
    let rate = transfer_beside(scene, MEASURED, || {
        noise.send_each();
        thread::park_timeout(Duration::from_millis(1));
    });
    let work = (scene.daemon.processor_time() - worked).as_secs_f64();
    let per_sec = noise.sent as f64 / started.elapsed().as_secs_f64();
    let port = target.port();
    note(&format!("{rate}, {work:.2} s of work, {per_sec:.0} datagrams/s to port {port}"));
    Figures { rate: rate.bytes_per_sec(), work }
}
