//! Two drivers of the same library, and what they are measured by.

pub mod ours;
pub mod stock;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender};
use std::time::{Duration, Instant};

use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;

/// Bytes of a datagram's payload: a full packet over an underlay of 1500 bytes, and its header.
pub const PAYLOAD: usize = 1426 + 8;

/// After this time a connection has found its rate.
const WARM_UP: Duration = Duration::from_millis(300);

/// Nothing takes longer, or it has failed.
const PATIENCE: Duration = Duration::from_secs(10);

/// Counts what arrives, for who looks at it; dropped when nobody receives any more.
struct Tally<'a> {
    bytes: &'a AtomicU64,
    first: Sender<()>,
}

impl Tally<'_> {
    fn add(&self, bytes: u64) {
        if bytes > 0 && self.bytes.fetch_add(bytes, Ordering::Relaxed) == 0 {
            // Nobody waits any more when the measurement has been given up.
            let _ = self.first.send(());
        }
    }
}

/// What a driver did.
#[derive(Clone, Copy, Debug)]
pub struct Sample {
    bytes: u64,
    wall: Duration,
    cpu: Duration,
}

impl Sample {
    /// Looks at what arrives while others send; none if they do not. `news` comes with the first that
    /// arrives, and is over when nobody receives any more.
    fn of(time: Duration, arrived: &AtomicU64, news: &Receiver<()>) -> Option<Self> {
        news.recv_timeout(PATIENCE).ok()?;
        go_on(news, WARM_UP.min(time))?;
        let (begin, cpu, bytes) = (Instant::now(), cpu_time(), arrived.load(Ordering::Relaxed));
        go_on(news, time)?;
        let bytes = arrived.load(Ordering::Relaxed) - bytes;
        (bytes > 0).then(|| Self { bytes, wall: begin.elapsed(), cpu: cpu_time() - cpu })
    }

    pub fn gbits(&self) -> f64 {
        self.bytes as f64 * 8.0 / 1e9 / self.wall.as_secs_f64()
    }

    pub fn secs_per_gb(&self) -> f64 {
        self.cpu.as_secs_f64() * 1e9 / self.bytes as f64
    }
}

/// Waits for so long, unless it is over before.
fn go_on(news: &Receiver<()>, time: Duration) -> Option<()> {
    (news.recv_timeout(time) == Err(RecvTimeoutError::Timeout)).then_some(())
}

/// Processor time of both ends, which are this process.
fn cpu_time() -> Duration {
    let usage = getrusage(UsageWho::RUSAGE_SELF).expect("the kernel counts it");
    let micros = usage.user_time().num_microseconds() + usage.system_time().num_microseconds();
    Duration::from_micros(micros as u64)
}
