//! Two drivers of the same library, and what they are measured by.

pub mod ours;
pub mod stock;

use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;

/// Bytes of a datagram's payload: a full packet over an underlay of 1500 bytes, and its header.
pub const PAYLOAD: usize = 1426 + 8;

/// After this time a connection has found its rate.
const WARM_UP: Duration = Duration::from_millis(300);

/// Nothing takes longer, or it has failed.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// What a driver did.
#[derive(Clone, Copy, Debug)]
pub struct Sample {
    bytes: u64,
    wall: Duration,
    cpu: Duration,
}

impl Sample {
    /// Waits while others send, and looks at what arrives.
    fn of(time: Duration, arrived: &AtomicU64) -> Self {
        let begin = Instant::now();
        while arrived.load(Ordering::Relaxed) == 0 {
            assert!(begin.elapsed() < PATIENCE, "nothing arrives");
            thread::sleep(Duration::from_millis(1));
        }
        thread::sleep(WARM_UP.min(time));
        let (begin, cpu, bytes) = (Instant::now(), cpu_time(), arrived.load(Ordering::Relaxed));
        thread::sleep(time);
        let bytes = arrived.load(Ordering::Relaxed) - bytes;
        assert!(bytes > 0, "nothing arrives any more");
        Self { bytes, wall: begin.elapsed(), cpu: cpu_time() - cpu }
    }

    pub fn gbits(&self) -> f64 {
        self.bytes as f64 * 8.0 / 1e9 / self.wall.as_secs_f64()
    }

    pub fn secs_per_gb(&self) -> f64 {
        self.cpu.as_secs_f64() * 1e9 / self.bytes as f64
    }
}

/// Processor time of both ends, which are this process.
fn cpu_time() -> Duration {
    let usage = getrusage(UsageWho::RUSAGE_SELF).expect("the kernel counts it");
    let micros = usage.user_time().num_microseconds() + usage.system_time().num_microseconds();
    Duration::from_micros(micros as u64)
}
