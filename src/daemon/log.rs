//! Where the log goes: standard error.

use std::env;
use std::io::{self, IsTerminal};
use std::os::fd::AsFd;

use nix::sys::stat::fstat;
use thiserror::Error;
use tracing_subscriber::EnvFilter;

/// The variables that hold the filter; the first that is set counts.
const FILTERS: [&str; 2] = ["TUNCTL_LOG", "RUST_LOG"];

/// The filter where none is set.
/// What quinn-proto warns of, others can bring about as often as they like.
const DEFAULT_FILTER: &str = "info,quinn_proto=error";

/// Why the log is not set up.
#[derive(Debug, Error)]
#[error(
    "{variable} = \"{value}\": expected a log filter such as \"info\" or \"tunctl=debug\": {fault}"
)]
pub struct LogError {
    variable: &'static str,
    value: String,
    fault: String,
}

/// Sends the log to standard error, filtered by TUNCTL_LOG or RUST_LOG. Without effect if the
/// process logs already.
///
/// # Errors
///
/// The variable's value is not a filter.
pub(super) fn init() -> Result<(), LogError> {
    let lines = tracing_subscriber::fmt()
        .with_env_filter(filter()?)
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal())
        .with_target(false);
    // The journal has a clock of its own.
    let result = if is_journal() { lines.without_time().try_init() } else { lines.try_init() };
    if let Err(already) = result {
        tracing::debug!(%already, "the log stays as it is");
    }
    Ok(())
}

fn filter() -> Result<EnvFilter, LogError> {
    for variable in FILTERS {
        let Some(value) = env::var_os(variable).filter(|value| !value.is_empty()) else {
            continue;
        };
        let value = value.to_string_lossy().into_owned();
        return EnvFilter::try_new(&value).map_err(|error| LogError {
            variable,
            value,
            fault: error.to_string(),
        });
    }
    Ok(EnvFilter::new(DEFAULT_FILTER))
}

/// Tells whether standard error is the journal: systemd.exec(5), `$JOURNAL_STREAM`.
fn is_journal() -> bool {
    let Ok(stream) = env::var("JOURNAL_STREAM") else { return false };
    fstat(io::stderr().as_fd())
        .is_ok_and(|file| stream == format!("{}:{}", file.st_dev, file.st_ino))
}
