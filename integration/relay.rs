//! A UDP relay that loses, repeats, reorders and corrupts datagrams, as its seed says.
//!
//! It stands between two nodes that know it as each other: what arrives on one socket leaves by
//! the other, to the address that belongs to it. One thread for each direction, so what happens
//! to the n-th datagram of a direction depends on the seed alone.

use std::collections::VecDeque;
use std::io::ErrorKind;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// After this pause, what is held back for reordering leaves.
const PAUSE: Duration = Duration::from_millis(5);

/// Datagrams that a datagram is held back for, at most.
const DISTANCE: u64 = 8;

/// How often each fault happens, in 1000 datagrams.
#[derive(Clone, Copy, Debug, Default)]
pub struct Faults {
    pub loss: u64,
    pub repeat: u64,
    pub reorder: u64,
    pub corrupt: u64,
}

/// One side of the relay.
pub struct Leg {
    /// Bound to the address under which this side knows the other.
    pub socket: UdpSocket,
    /// The node on this side.
    pub node: SocketAddr,
}

/// How many datagrams met each fate.
#[derive(Debug, Default)]
pub struct Counts {
    pub seen: AtomicU64,
    pub lost: AtomicU64,
    pub repeated: AtomicU64,
    pub reordered: AtomicU64,
    pub corrupted: AtomicU64,
}

/// A running relay; it ends with this value.
pub struct Relay {
    counts: Arc<Counts>,
    ends: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Relay {
    /// Starts a relay between two legs.
    pub fn start(legs: [Leg; 2], seed: u64, faults: Faults) -> Self {
        let counts = Arc::new(Counts::default());
        let ends = Arc::new(AtomicBool::new(false));
        let [left, right] = &legs;
        let threads = [(left, right, seed), (right, left, !seed)]
            .map(|(from, to, seed)| {
                from.socket.set_read_timeout(Some(PAUSE)).expect("a pause is not zero");
                let mut direction = Direction {
                    from: from.socket.try_clone().expect("room for a descriptor"),
                    to: to.socket.try_clone().expect("room for a descriptor"),
                    target: to.node,
                    random: Random::new(seed),
                    faults,
                    held: VecDeque::new(),
                    counts: Arc::clone(&counts),
                };
                let ends = Arc::clone(&ends);
                thread::spawn(move || direction.run(&ends))
            })
            .into();
        Self { counts, ends, threads }
    }

    /// Gives the counts so far, of both directions.
    pub fn counts(&self) -> &Counts {
        &self.counts
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.ends.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

struct Direction {
    from: UdpSocket,
    to: UdpSocket,
    target: SocketAddr,
    random: Random,
    faults: Faults,
    /// Datagrams that are held back, with the number of datagrams that they wait for.
    held: VecDeque<(u64, Vec<u8>)>,
    counts: Arc<Counts>,
}

impl Direction {
    fn run(&mut self, ends: &AtomicBool) {
        let mut buffer = vec![0; 65_536];
        while !ends.load(Ordering::Relaxed) {
            match self.from.recv(&mut buffer) {
                Ok(len) => self.handle(&mut buffer[..len]),
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock) => self.release(true),
                // An ICMP error from a node that is not there yet: the next one may arrive.
                Err(_) => {}
            }
        }
    }

    fn handle(&mut self, datagram: &mut [u8]) {
        self.counts.seen.fetch_add(1, Ordering::Relaxed);
        if self.happens(self.faults.loss, |counts| &counts.lost) {
            return;
        }
        if self.happens(self.faults.corrupt, |counts| &counts.corrupted) && !datagram.is_empty() {
            let bit = self.random.below(datagram.len() as u64 * 8);
            datagram[(bit / 8) as usize] ^= 1 << (bit % 8);
        }
        if self.happens(self.faults.repeat, |counts| &counts.repeated) {
            self.send(datagram);
        }
        if self.happens(self.faults.reorder, |counts| &counts.reordered) {
            let wait = 1 + self.random.below(DISTANCE);
            self.held.push_back((wait, datagram.to_vec()));
            return;
        }
        self.send(datagram);
        self.release(false);
    }

    /// Whether a fault of this rate happens now; counts it.
    fn happens(&mut self, rate: u64, counter: fn(&Counts) -> &AtomicU64) -> bool {
        let happens = self.random.below(1000) < rate;
        counter(&self.counts).fetch_add(u64::from(happens), Ordering::Relaxed);
        happens
    }

    /// Sends what was held back long enough, or everything.
    fn release(&mut self, all: bool) {
        for (wait, _) in &mut self.held {
            *wait = if all { 0 } else { wait.saturating_sub(1) };
        }
        for (wait, datagram) in std::mem::take(&mut self.held) {
            match wait {
                0 => self.send(&datagram),
                _ => self.held.push_back((wait, datagram)),
            }
        }
    }

    fn send(&self, datagram: &[u8]) {
        // An error here is one more way to lose a datagram.
        let _ = self.to.send_to(datagram, self.target);
    }
}

/// xorshift64*: seeded, not secret.
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// Gives a number less than `limit`.
    pub fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) % limit
    }
}
