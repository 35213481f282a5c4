//! What this machine could do at best: its terms measured one by one, and a model of them.
//!
//! Each term is measured by itself, on hosts of its own, in one thread that does what the kernel
//! and the daemon would do for a run of full segments: so the whole of the work is timed, wherever
//! the kernel does it, and nothing of the waiting. Read [`model`] first: it says what the terms
//! make together. What a tunnel does in fact is compared by [`Limit::share`].

mod application;
mod device;
pub mod model;
mod plain;
mod stopwatch;
mod underlay;

use std::io;

use serde::Serialize;

use self::stopwatch::Stopwatch;
use super::BenchError;
use super::scene::UnderlayKind;
use super::scene::wire::{self, Site};
use super::traffic::Stop;
use crate::bench::case::Maker;
use crate::device::Kind;

pub use self::model::{Bound, Cipher, Limit, Terms};
pub use self::stopwatch::Cost;

/// The MTU of the wires.
const WIRE_MTU: u32 = 1500;

/// What was measured, and what follows from it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Roofline {
    /// What the wire carried, `nic` or `veth`.
    pub underlay: &'static str,
    /// Payload of a run, bytes.
    pub run_bytes: usize,
    /// Segments of a run.
    pub run_segments: usize,
    /// What was measured.
    pub terms: Terms,
    /// What follows: first without a tunnel, then tun and tap with every cipher.
    pub limits: Vec<Limit>,
}

impl Roofline {
    /// Gives the limit of a tunnel; `None` as the device is no tunnel at all.
    pub fn limit(&self, device: Option<Kind>, cipher: Cipher) -> Limit {
        match device {
            Some(kind) => self.terms.limit(kind, cipher),
            None => self.terms.raw_limit(),
        }
    }
}

/// Measures all terms; it takes about ten seconds.
///
/// Two cores that run nothing else are needed for numbers that mean something; of each term the
/// best of many short windows counts.
///
/// # Errors
///
/// Says which term could not be measured; the source is [`io::ErrorKind::Interrupted`] if the user
/// wanted an end.
pub fn run(underlay: UnderlayKind, stop: Stop<'_>) -> Result<Roofline, BenchError> {
    let watch = Stopwatch::new(stop);
    let aggregates = wire(UnderlayKind::Veth)?;
    let sites = wire(underlay)?;
    let aead = |cipher| named("measure a cipher", plain::aead(&watch, cipher));
    let terms = Terms {
        system_call: named("measure a system call", plain::system_call(&watch))?,
        wake_up: named("measure a wake-up", plain::wake_up(&watch))?,
        checksum: named("measure a checksum", plain::checksum(&watch))?,
        tun: device::measure(&watch, Kind::Tun)?,
        tap: device::measure(&watch, Kind::Tap)?,
        underlay: named("measure the underlay", underlay::measure(&watch, &sites))?,
        application: named("measure two programs", application::measure(&watch, &aggregates))?,
        raw: named("measure two programs", application::measure(&watch, &sites))?,
        aes_128_gcm: aead(&ring::aead::AES_128_GCM)?,
        chacha20_poly1305: aead(&ring::aead::CHACHA20_POLY1305)?,
        cores: named("measure all cores", application::cores(&watch, &aggregates))?,
    };
    let of_kind = |kind| Cipher::ALL.map(|cipher| terms.limit(kind, cipher));
    let limits = [vec![terms.raw_limit()], of_kind(Kind::Tun).into(), of_kind(Kind::Tap).into()];
    Ok(Roofline {
        underlay: underlay.name(),
        run_bytes: model::RUN_LEN,
        run_segments: super::load::SEGMENTS,
        terms,
        limits: limits.concat(),
    })
}

/// Makes two hosts with a wire that carries what its kind says.
fn wire(kind: UnderlayKind) -> Result<[Site; 2], BenchError> {
    let sites = Site::pair(WIRE_MTU)?;
    wire::adjust(&sites, kind, [Maker::Nobody; 2])?;
    Ok(sites)
}

fn named<T>(action: &str, result: io::Result<T>) -> Result<T, BenchError> {
    result.map_err(|source| BenchError::Step { action: action.into(), source })
}

#[cfg(test)]
mod tests;
