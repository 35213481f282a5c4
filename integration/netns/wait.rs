//! Waiting for a condition, with a deadline and without a fixed pause.

use std::thread;
use std::time::{Duration, Instant};

/// How long a condition may take to hold.
const PATIENCE: Duration = Duration::from_secs(10);

/// Looks again and again until `look` gives something.
///
/// # Panics
///
/// Panics if it does not in time.
#[track_caller]
pub fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "not in time: {what}");
        thread::park_timeout(Duration::from_millis(5));
    }
}

/// Looks again and again until `holds`.
#[track_caller]
pub fn until_true(what: &str, mut holds: impl FnMut() -> bool) {
    until(what, || holds().then_some(()));
}
