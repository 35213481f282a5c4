//! A thousand peers over QUIC: what they cost, and how soon they are all back.

use std::thread;
use std::time::{Duration, Instant};

use crate::daemon::Daemon;
use crate::harness::{Case, each, note};
use crate::need::OURS;
use crate::place::{Family, Node, two_nodes};
use crate::quic_crowd::{Crowd, Issuer, give_places};

/// Peers, all of them connected.
const MANY: usize = 1000;

/// The most memory that a daemon may take with them, bytes.
const MEMORY: u64 = 64 << 20;

/// The part of a processor that an idle daemon may take, and how long it is watched.
const IDLE: f64 = 0.01;
const IDLE_TIME: Duration = Duration::from_secs(30);

/// All are back in this time after the daemon is.
const BACK: Duration = Duration::from_secs(10);

/// All are there for the first time.
const PATIENCE: Duration = Duration::from_secs(30);

/// How often the daemon is asked.
const LOOK: Duration = Duration::from_millis(200);

pub fn cases() -> Vec<Case> {
    let cases = [
        Case::new("quic_crowd_comes_back_to_a_hub_that_was_killed", || crowd(MANY / 10, None)),
        // All have asked for a sign of life at one time.
        Case::new("measure_quic_crowd_comes_back_together", || crowd(MANY, None)),
        Case::new("measure_quic_crowd_connects_at_once_idles_and_comes_back", || {
            crowd(MANY, Some(IDLE_TIME));
        }),
    ];
    each([cases.into()], |case| case.needs(OURS).alone())
}

/// Waits until the daemon has connections with all, and gives the times at which it had one, nine
/// tenths, and all of them.
#[track_caller]
fn until_all(daemon: &Daemon, count: usize, patience: Duration) -> [Duration; 3] {
    let started = Instant::now();
    let mut times = [None; 3];
    loop {
        let there = connected(daemon);
        let passed = started.elapsed();
        for (time, least) in times.iter_mut().zip([1, count / 10 * 9, count]) {
            if there >= least {
                time.get_or_insert(passed);
            }
        }
        if let [Some(first), Some(most), Some(all)] = times {
            return [first, most, all];
        }
        assert!(passed < patience, "{there} of {count} after {passed:.2?}");
        // It has better to do than to answer.
        thread::park_timeout(LOOK);
    }
}

/// Peers that the daemon has a connection with.
#[track_caller]
fn connected(daemon: &Daemon) -> usize {
    let peers = daemon.query("peers");
    let peers = peers.as_array().expect("a list");
    peers.iter().filter(|peer| peer["last_handshake_secs"].is_u64()).count()
}

fn note_memory(daemon: &Daemon, what: &str) -> u64 {
    let memory = daemon.memory();
    note(&format!("{what}: {:.1} MiB of memory", memory as f64 / f64::from(1 << 20)));
    memory
}

fn note_drops(daemon: &Daemon) {
    let drops = daemon.query("drops");
    let reasons = drops["reasons"].as_array().expect("reasons is a list");
    let some: Vec<_> = reasons
        .iter()
        .filter(|entry| entry["packets"] != 0)
        .map(|entry| format!("{} {}", entry["reason"], entry["packets"]))
        .collect();
    note(&format!("drops: {}", some.join(", ")));
}

fn crowd(count: usize, idle_time: Option<Duration>) {
    let nodes: [Node; 2] = two_nodes(Family::V4);
    give_places(&nodes[0], &nodes[1]);
    let issuer = Issuer::new();
    let daemon = Daemon::start(&nodes[1], &issuer.config(&nodes[1], count, ""));
    note_memory(&daemon, &format!("{count} peers, no connection"));
    let before = daemon.processor_time();
    let crowd = Crowd::start(&nodes[0].host, &nodes[1], &issuer, 0..count);
    let times = until_all(&daemon, count, PATIENCE);
    let worked = daemon.processor_time() - before;
    let each = worked.as_secs_f64() * 1e6 / count as f64;
    note(&format!(
        "the first, nine tenths, all connected after {times:.2?}; {each:.0} us of the daemon's \
         processor time each"
    ));
    note_drops(&daemon);
    let memory = note_memory(&daemon, "all connected");
    let lost = crowd.lost();

    let idle = idle_time.map(|time| idle_part(&daemon, time));
    assert_eq!(crowd.lost(), lost, "a connection was lost for no reason");

    let daemon = daemon.kill_and_start();
    let times = until_all(&daemon, count, PATIENCE);
    note(&format!("after its return the first, nine tenths, all back after {times:.2?}"));
    note_drops(&daemon);
    let memory = memory.max(note_memory(&daemon, "all back"));
    assert!(memory <= MEMORY, "{memory} bytes");
    assert!(idle.is_none_or(|idle| idle < IDLE), "{idle:.4?} of a processor");
    assert!(times[2] < BACK, "{times:?}");
}

/// The part of a processor that a daemon takes over some time.
fn idle_part(daemon: &Daemon, time: Duration) -> f64 {
    // What follows from so many handshakes, the search for the path's MTU, is over by then.
    let pause = |time: Duration| {
        let started = Instant::now();
        while started.elapsed() < time {
            thread::park_timeout(time.saturating_sub(started.elapsed()));
        }
    };
    pause(Duration::from_secs(12));
    let (before, started) = (daemon.processor_time(), Instant::now());
    pause(time);
    let worked = daemon.processor_time() - before;
    let idle = worked.as_secs_f64() / started.elapsed().as_secs_f64();
    note(&format!("idle: {:.3} % of a processor", idle * 100.0));
    idle
}
