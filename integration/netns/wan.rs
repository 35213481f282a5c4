//! A long way between two hosts: a link of a set rate with a queue in front of it, delay, loss and
//! reordering, for everything that the hosts say to each other.
//!
//! A third host takes whole frames from the wire of one node and puts them onto that of the other,
//! each direction in a thread of its own, whose losses depend on the seed alone.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use tunctl::lab::Host;

use crate::frames::Frames;
use crate::place::{Family, Node, UNDERLAY, apart, run};
use crate::relay::Random;

/// A direction looks at least this often whether it is to end.
const LOOK: Duration = Duration::from_millis(20);

/// How much later than the frames behind it one arrives that is overtaken.
const LATE: Duration = Duration::from_millis(2);

/// What the way is like, in each direction.
#[derive(Clone, Copy, Debug)]
pub struct Way {
    /// Bits a second of whole frames.
    pub rate: u64,
    /// From the queue's end to the other node.
    pub delay: Duration,
    /// Bytes that wait for the link; what comes then is lost.
    pub queue: u64,
    /// How often a frame is lost on the link, and overtaken, in 1000.
    pub loss: u64,
    pub overtaken: u64,
}

/// What became of the frames of both directions.
#[derive(Debug, Default)]
pub struct Fates {
    pub carried: AtomicU64,
    pub lost: AtomicU64,
    pub refused: AtomicU64,
    pub overtaken: AtomicU64,
}

/// A way at work; it ends with this value.
pub struct Wan {
    pub fates: Arc<Fates>,
    ends: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
    _middle: Host,
}

impl Wan {
    /// Makes two nodes and the way between them, which has to end before they do.
    pub fn between(family: Family, way: Way, seed: u64) -> ([Node; 2], Self) {
        let (nodes, middle) = apart(family);
        for node in &nodes {
            // Frames, and not what becomes frames later.
            let features = "tx off tso off gso off gro off tx-udp-segmentation off";
            run(&node.host, "ethtool", &format!("-K {} {features}", UNDERLAY));
        }
        let ends = Arc::new(AtomicBool::new(false));
        let fates = Arc::<Fates>::default();
        let start = |from: &str, to: &str, seed| {
            run(&middle, "ethtool", &format!("-K {from} gro off"));
            let mut direction = Direction {
                way,
                from: Frames::arriving(&middle, from),
                to: Frames::arriving(&middle, to),
                random: Random::new(seed),
                free_at: Instant::now(),
                flying: BinaryHeap::new(),
                number: 0,
                fates: Arc::clone(&fates),
            };
            let ends = Arc::clone(&ends);
            thread::spawn(move || direction.run(&ends))
        };
        let threads = vec![start("left0", "right0", seed), start("right0", "left0", !seed)];
        (nodes, Self { fates, ends, threads, _middle: middle })
    }
}

impl Drop for Wan {
    fn drop(&mut self) {
        self.ends.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

struct Direction {
    way: Way,
    from: Frames,
    to: Frames,
    random: Random,
    /// When the link will have sent everything that waits for it.
    free_at: Instant,
    /// Frames on the link or behind it: when they arrive, in which order they came.
    flying: BinaryHeap<Reverse<(Instant, u64, Vec<u8>)>>,
    number: u64,
    fates: Arc<Fates>,
}

impl Direction {
    fn run(&mut self, ends: &AtomicBool) {
        while !ends.load(Ordering::Relaxed) {
            let next = self.flying.peek().map(|Reverse((at, ..))| *at);
            let wait = next.map_or(LOOK, |at| at.saturating_duration_since(Instant::now()));
            if let Some(frame) = self.from.next_within(wait.min(LOOK)) {
                self.take(frame, Instant::now());
            }
            self.deliver(Instant::now());
        }
    }

    fn take(&mut self, frame: Vec<u8>, now: Instant) {
        let waiting = self.free_at.saturating_duration_since(now);
        let waiting_bytes = waiting.as_nanos() as u64 * self.way.rate / 8 / 1_000_000_000;
        if waiting_bytes + frame.len() as u64 > self.way.queue {
            self.fates.refused.fetch_add(1, Ordering::Relaxed);
            return;
        }
        let time = Duration::from_nanos(frame.len() as u64 * 8 * 1_000_000_000 / self.way.rate);
        self.free_at = self.free_at.max(now) + time;
        if self.random.below(1000) < self.way.loss {
            self.fates.lost.fetch_add(1, Ordering::Relaxed);
            return;
        }
        let mut at = self.free_at + self.way.delay;
        if self.random.below(1000) < self.way.overtaken {
            self.fates.overtaken.fetch_add(1, Ordering::Relaxed);
            at += LATE;
        }
        self.number += 1;
        self.flying.push(Reverse((at, self.number, frame)));
    }

    fn deliver(&mut self, now: Instant) {
        while self.flying.peek().is_some_and(|Reverse((at, ..))| *at <= now) {
            let Some(Reverse((.., frame))) = self.flying.pop() else { return };
            self.fates.carried.fetch_add(1, Ordering::Relaxed);
            self.to.send(&frame);
        }
    }
}
