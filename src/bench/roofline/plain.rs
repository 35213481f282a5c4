//! Terms that need no host: system calls, wake-ups, checksums, ciphers.

use std::hint::black_box;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use ring::aead::{Aad, Algorithm, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};

use super::model::AeadTerms;
use super::stopwatch::{Cost, Stopwatch};
use crate::bench::load::MSS;
use crate::frame::checksum::Sum;
use crate::sys::poll::{Poller, Wake};

/// What is timed together, so that reading the clock does not matter.
const REPEATS: usize = 100;

/// How long a woken thread may take before the measurement is given up.
const PATIENCE: Duration = Duration::from_secs(5);

pub(super) fn system_call(watch: &Stopwatch<'_>) -> io::Result<Cost> {
    let [cost] = watch.costs(|laps| {
        laps.time(0, || {
            for _ in 0..REPEATS {
                black_box(nix::unistd::getppid());
            }
            Ok(REPEATS)
        })?;
        Ok(())
    })?;
    Ok(cost)
}

pub(super) fn checksum(watch: &Stopwatch<'_>) -> io::Result<Cost> {
    let segment = vec![0xa5; MSS];
    let [cost] = watch.costs(|laps| {
        laps.time(0, || {
            for _ in 0..REPEATS {
                let mut sum = Sum::new();
                sum.add_bytes(black_box(&segment));
                black_box(sum.checksum());
            }
            Ok(REPEATS)
        })?;
        Ok(())
    })?;
    Ok(cost)
}

/// Two threads wake each other in turn.
pub(super) fn wake_up(watch: &Stopwatch<'_>) -> io::Result<Cost> {
    let (near, far, over) = (Wake::new()?, Wake::new()?, AtomicBool::new(false));
    thread::scope(|scope| {
        let answer = || {
            let mut poller = Poller::new()?;
            poller.add(&far, 0)?;
            while poller.wait(Some(PATIENCE))? > 0 && !over.load(Ordering::Acquire) {
                far.clear();
                near.set();
            }
            io::Result::Ok(())
        };
        thread::Builder::new().name("woken".into()).spawn_scoped(scope, answer)?;
        let mut poller = Poller::new()?;
        poller.add(&near, 0)?;
        let costs = watch.costs(|laps| {
            laps.time(0, || {
                far.set();
                let ready = poller.wait(Some(PATIENCE))?;
                near.clear();
                // There and back.
                if ready > 0 { Ok(2) } else { Err(io::ErrorKind::TimedOut.into()) }
            })?;
            Ok(())
        });
        over.store(true, Ordering::Release);
        far.set();
        costs.map(|[cost]| cost)
    })
}

/// Seals and opens full segments, in place.
pub(super) fn aead(watch: &Stopwatch<'_>, cipher: &'static Algorithm) -> io::Result<AeadTerms> {
    // The key is one for measuring; what it encrypts is nobody's.
    let key = vec![7; cipher.key_len()];
    let key = LessSafeKey::new(UnboundKey::new(cipher, &key).map_err(refused)?);
    let nonce = || Nonce::assume_unique_for_key([9; NONCE_LEN]);
    let mut segment = vec![0xa5; MSS + cipher.tag_len()];
    let [seal, open] = watch.costs(|laps| {
        laps.time(0, || {
            let (text, tag) = segment.split_at_mut(MSS);
            let made = key.seal_in_place_separate_tag(nonce(), Aad::empty(), text);
            tag.copy_from_slice(made.map_err(refused)?.as_ref());
            Ok(1)
        })?;
        laps.time(1, || {
            key.open_in_place(nonce(), Aad::empty(), &mut segment).map_err(refused)?;
            Ok(1)
        })?;
        Ok(())
    })?;
    Ok(AeadTerms { seal, open })
}

fn refused(_: ring::error::Unspecified) -> io::Error {
    io::Error::other("the cipher refused")
}
