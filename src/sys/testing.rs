//! For tests: a network namespace of the test's own, and skips that are seen.

use std::fs::File;
use std::io::Write;
use std::process::Command;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use nix::sched::{CloneFlags, unshare};

/// Runs a test in a thread with a fresh network namespace whose loopback is up. One at a time: a
/// process that one test starts holds, for a moment, what another has just closed.
///
/// Without the right to make one the test is skipped with a message, or fails if TUNCTL_NO_SKIP is
/// set.
pub(crate) fn in_network_namespace(test: impl FnOnce() + Send) {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _turn = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    in_another_namespace(test);
}

/// The same for a test that makes devices; skipped too where `/dev/net/tun` cannot be opened.
pub(crate) fn with_devices(test: impl FnOnce() + Send) {
    let node = File::options().read(true).write(true).open("/dev/net/tun");
    match node {
        Ok(_) => in_network_namespace(test),
        Err(error) => skip(&format!("/dev/net/tun: {error}")),
    }
}

/// The same for a second host of a test that has its turn.
pub(crate) fn in_another_namespace(test: impl FnOnce() + Send) {
    let result = std::thread::scope(|scope| {
        scope
            .spawn(|| {
                if let Err(errno) = unshare(CloneFlags::CLONE_NEWNET) {
                    skip(&format!("no network namespace of its own: {errno}"));
                    return;
                }
                ip("link set lo up");
                test();
            })
            .join()
    });
    if let Err(panic) = result {
        std::panic::resume_unwind(panic);
    }
}

/// Asks again until there is an answer. For what a process that another test starts may hold for a
/// moment.
pub(crate) fn eventually<T>(mut ask: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(start.elapsed() < Duration::from_secs(5), "it happens within five seconds");
        std::thread::yield_now();
    }
}

/// Runs `ip` with the given arguments in the calling thread's namespace.
pub(crate) fn ip(arguments: &str) {
    let status = Command::new("ip").args(arguments.split_whitespace()).status();
    assert!(status.is_ok_and(|status| status.success()), "ip {arguments}");
}

/// Gives what `ip` prints.
pub(crate) fn ip_output(arguments: &str) -> String {
    let output = Command::new("ip").args(arguments.split_whitespace()).output();
    String::from_utf8(output.expect("ip is installed").stdout).expect("ip prints text")
}

/// Says that a test is skipped, and why.
pub(crate) fn skip(reason: &str) {
    assert!(std::env::var_os("TUNCTL_NO_SKIP").is_none(), "would skip: {reason}");
    // Not by `eprintln`: the harness keeps to itself what a passing test prints.
    let _ = writeln!(std::io::stderr(), "SKIPPED: {reason}");
}
