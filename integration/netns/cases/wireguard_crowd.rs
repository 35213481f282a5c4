//! Ten thousand peers: what they cost, and what they cost others.

use std::net::UdpSocket;
use std::thread;
use std::time::{Duration, Instant};

use crate::daemon::Daemon;
use crate::harness::{Case, each, note};
use crate::load::median;
use crate::need::OURS;
use crate::place::{Family, Node, two_nodes};
use crate::wait;
use crate::wg_crowd::{Crowd, DISCARD, PACKET_LEN, RUN, SERVER, config};

/// Peers that are configured, and those of them that have something to say.
const MANY: usize = 10_000;
const BUSY: usize = 50;

/// The most memory that many peers may take, few of them busy, bytes.
const MEMORY: u64 = 48_000_000;

/// The part of a processor that an idle daemon may take, and how long it is watched.
const IDLE: f64 = 0.01;
const IDLE_TIME: Duration = Duration::from_secs(20);

/// Members that ask for a session at once; each has a socket.
const STORM: usize = 4000;
/// What the rate is told of: a few who share a budget have to ask again, after five seconds.
const NEARLY_ALL: usize = STORM / 10 * 9;

/// Rounds of a measurement: an odd number, for a median; and how long a part of one takes.
const ROUNDS: usize = 15;
const PART: Duration = Duration::from_millis(600);

/// What the busy keep of their rate beside many who are silent, at least.
const KEPT: f64 = 0.9;

const PATIENCE: Duration = Duration::from_secs(30);

pub fn cases() -> Vec<Case> {
    let cases = vec![
        Case::new("wireguard_ten_thousand_peers_are_served", served),
        Case::new("measure_wireguard_idle_with_ten_thousand_peers", idle),
        Case::new("measure_wireguard_handshakes_in_a_storm", storm),
        Case::new("measure_wireguard_busy_among_ten_thousand", busy),
    ];
    each([cases], |case| case.needs(OURS).alone())
}

/// A daemon with its members' host.
struct Scene {
    nodes: [Node; 2],
    daemon: Daemon,
    /// Where the packets of the members end.
    _discards: UdpSocket,
}

impl Scene {
    #[track_caller]
    fn new(members: usize) -> Self {
        let nodes = two_nodes(Family::V4);
        let config = config(&nodes[1], members, "");
        let started = Instant::now();
        let daemon = Daemon::start(&nodes[1], &config);
        note(&format!("{members} peers: ready after {:.2?}", started.elapsed()));
        let discards = nodes[1].host.run(|| UdpSocket::bind((SERVER, DISCARD))).unwrap();
        Self { nodes, daemon, _discards: discards }
    }

    /// Makes members, spread over all that are configured.
    fn crowd(&self, count: usize, among: usize) -> Crowd {
        let step = among / count;
        let numbers = (0..count).map(move |place| place * step);
        Crowd::new(&self.nodes[0].host, self.nodes[1].address, numbers)
    }

    /// Bytes of packets that the daemon has written to its device.
    fn carried(&self) -> u64 {
        let status = self.daemon.query("status");
        status["networks"][0]["received_bytes"].as_u64().expect("a number")
    }

    /// Has members send for a while, and gives the bytes a second that arrive.
    fn rate(&self, crowd: &mut Crowd, time: Duration) -> f64 {
        let (before, started) = (self.carried(), Instant::now());
        crowd.send_for(time);
        (self.carried() - before) as f64 / started.elapsed().as_secs_f64()
    }
}

fn note_memory(scene: &Scene, what: &str) -> u64 {
    let memory = scene.daemon.memory();
    note(&format!("{what}: {:.1} MiB of memory", memory as f64 / f64::from(1 << 20)));
    memory
}

fn served() {
    let scene = Scene::new(MANY);
    let mut crowd = scene.crowd(BUSY, MANY);
    let times = crowd.connect(false, PATIENCE);
    note(&format!("{BUSY} handshakes in {:.2?}", times[BUSY - 1]));
    let least = (BUSY * RUN * PACKET_LEN) as u64;
    wait::until_true("each busy peer is heard", || {
        crowd.send_for(Duration::from_millis(50));
        scene.carried() > least
    });
    let memory = note_memory(&scene, "50 busy of 10000");
    assert!(memory <= MEMORY, "{memory} bytes");
    let peers = scene.daemon.query("peers");
    let heard = |peer: &&serde_json::Value| peer["received_packets"].as_u64() > Some(0);
    assert_eq!(peers.as_array().expect("a list").iter().filter(heard).count(), BUSY);
    note_memory(&scene, "having told of all");
}

fn idle() {
    let scene = Scene::new(MANY);
    note_memory(&scene, "at the start");
    let mut crowd = scene.crowd(BUSY, MANY);
    crowd.connect(false, PATIENCE);
    crowd.send_for(Duration::from_secs(1));
    let memory = note_memory(&scene, "after a second of traffic");
    let (before, started) = (scene.daemon.processor_time(), Instant::now());
    while started.elapsed() < IDLE_TIME {
        thread::park_timeout(IDLE_TIME.saturating_sub(started.elapsed()));
    }
    let worked = scene.daemon.processor_time() - before;
    let part = worked.as_secs_f64() / started.elapsed().as_secs_f64();
    note(&format!("idle: {:.3} % of a processor", part * 100.0));
    assert!(memory <= MEMORY, "{memory} bytes");
    assert!(part < IDLE, "{part:.4} of a processor");
}

fn storm() {
    let scene = Scene::new(MANY);
    for (round, is_hasty) in [true, true, true, false].into_iter().enumerate() {
        let mut crowd = scene.crowd(STORM, MANY);
        let worked = scene.daemon.processor_time();
        let times = crowd.connect(is_hasty, PATIENCE);
        let worked = scene.daemon.processor_time() - worked;
        let cookies: usize = crowd.members.iter().map(|member| member.cookies).sum();
        let (nearly, all) = (times[NEARLY_ALL], times[STORM - 1]);
        let per_sec = NEARLY_ALL as f64 / nearly.as_secs_f64();
        let each = worked.as_secs_f64() * 1e6 / STORM as f64;
        let wait = if is_hasty { "at once" } else { "after 5 s" };
        note(&format!(
            "round {round}: {NEARLY_ALL} handshakes in {nearly:.2?}, {per_sec:.0}/s, all {STORM} \
             in {all:.2?}; {each:.0} us of the daemon's processor time each; {cookies} cookies, \
             used {wait}"
        ));
    }
    note_memory(&scene, "4000 with sessions");
}

fn busy() {
    let scenes = [Scene::new(BUSY), Scene::new(MANY)];
    let mut crowds = [scenes[0].crowd(BUSY, BUSY), scenes[1].crowd(BUSY, MANY)];
    for crowd in &mut crowds {
        crowd.connect(false, PATIENCE);
    }
    let mut rates = [vec![], vec![]];
    for round in 0..=ROUNDS {
        for turn in 0..2 {
            let which = (round + turn) % 2;
            let rate = scenes[which].rate(&mut crowds[which], PART);
            // The first round finds everything cold.
            if round > 0 {
                rates[which].push(rate);
            }
        }
    }
    let [few, many] = rates.map(median);
    let ratio = many / few;
    let gigabits = |rate: f64| rate * 8.0 / 1e9;
    note(&format!(
        "50 busy of 50: {:.2} Gbit/s, of 10000: {:.2} Gbit/s, ratio {ratio:.3}",
        gigabits(few),
        gigabits(many)
    ));
    note_memory(&scenes[1], "50 busy of 10000");
    assert!(ratio >= KEPT, "{ratio:.3}");
}
