//! Traffic between two hosts: TCP streams, UDP packets, requests and responses.
//!
//! It sends and counts as a plain program does, by the kernel's sockets, and knows nothing of what
//! is between the hosts. It gives what the receiving end counted in a time that it measured. Start
//! with [`tcp()`]; `volley` is what all UDP loads share.

pub mod lossless;
pub mod rtt;
pub mod spread;
pub mod tcp;
pub mod udp;

mod pace;
mod stamp;
mod volley;

#[cfg(test)]
mod tests;

use std::io;
use std::net::IpAddr;
use std::panic::resume_unwind;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, ScopedJoinHandle};
use std::time::{Duration, Instant};

use crate::lab::Host;

pub use lossless::{LosslessFigure, udp_lossless};
pub use rtt::{RttFigure, rtt};
pub use spread::{Choice, Spread, udp_spread};
pub use tcp::{TcpFigure, TcpLoad, tcp};
pub use udp::{UdpFigure, UdpLoad, udp};

/// Where traffic goes: from a socket in `from` to `address` in `to`.
#[derive(Clone, Copy, Debug)]
pub struct Route<'a> {
    /// The host that sends.
    pub from: &'a Host,
    /// The host that receives.
    pub to: &'a Host,
    /// An address of `to`.
    pub address: IpAddr,
}

/// Whether the user wants an end (Ctrl-C). Asked at least every 50 ms; a measurement that was ended
/// by it fails with [`io::ErrorKind::Interrupted`].
pub type Stop<'a> = &'a (dyn Fn() -> bool + Sync);

/// How often a thread that waits looks whether it is still wanted.
const GLANCE: Duration = Duration::from_millis(20);

/// How long the first packet may take; for a route that carries nothing.
const PATIENCE: Duration = Duration::from_secs(5);

/// Ends the threads of a measurement together.
#[derive(Debug, Default)]
pub(super) struct Over(AtomicBool);

impl Over {
    pub(super) fn set(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    pub(super) fn is_set(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// Takes the end of a thread, and ends the others if it failed before the end. A failure after
    /// it is not one: the other end may be gone by then.
    fn ended<T: Default>(&self, result: io::Result<T>) -> io::Result<T> {
        match result {
            Err(_) if self.is_set() => Ok(T::default()),
            Err(error) => {
                self.set();
                Err(error)
            }
            ended => ended,
        }
    }

    /// Waits until it is set or the time is over; fails if the user wants an end.
    pub(super) fn wait(&self, time: Duration, stop: Stop<'_>) -> io::Result<()> {
        let start = Instant::now();
        while !self.is_set() {
            check(stop)?;
            let left = time.saturating_sub(start.elapsed());
            if left.is_zero() {
                break;
            }
            thread::sleep(left.min(GLANCE));
        }
        Ok(())
    }
}

/// A count that one thread keeps and another reads, alone on its cache lines.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Count(AtomicU64);

impl Count {
    fn add(&self, amount: u64) {
        self.0.fetch_add(amount, Ordering::Relaxed);
    }

    fn read(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Fails if the user wants an end.
fn check(stop: Stop<'_>) -> io::Result<()> {
    match stop() {
        true => Err(io::ErrorKind::Interrupted.into()),
        false => Ok(()),
    }
}

fn join<T>(thread: ScopedJoinHandle<'_, T>) -> T {
    thread.join().unwrap_or_else(|panic| resume_unwind(panic))
}

/// Adds what was done to what the system said.
fn context(action: String) -> impl FnOnce(io::Error) -> io::Error {
    move |error| io::Error::new(error.kind(), format!("{action}: {error}"))
}

/// Whether a read or write only ran into its time limit.
fn is_timeout(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut | io::ErrorKind::Interrupted
    )
}
