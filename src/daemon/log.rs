//! Where the log goes: standard error.

use std::env;
use std::ffi::OsString;
use std::io::{self, IsTerminal};
use std::os::fd::AsFd;

use nix::sys::stat::fstat;
use thiserror::Error;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::ParseError;

/// The variables that hold the filter; the first that is set counts.
const FILTERS: [&str; 2] = ["TUNCTL_LOG", "RUST_LOG"];

/// The filter where none is set.
const DEFAULT_FILTER: &str = "info";

/// In front of every filter, which may say otherwise: boringtun warns of each handshake that is
/// not answered, of every peer and without a limit, and what quinn-proto warns of, others can bring
/// about as often as they like. What of it matters we say ourselves.
const QUIET: &str = "boringtun=off,quinn_proto=off";

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
        .with_env_filter(filter(|variable| env::var_os(variable))?)
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

/// Gives the filter that the variables ask for; `value` gives a variable's value.
fn filter(value: impl Fn(&str) -> Option<OsString>) -> Result<EnvFilter, LogError> {
    for variable in FILTERS {
        let Some(value) = value(variable).filter(|value| !value.is_empty()) else {
            continue;
        };
        let value = value.to_string_lossy().into_owned();
        return quiet(&value).map_err(|error| LogError {
            variable,
            value,
            fault: error.to_string(),
        });
    }
    Ok(EnvFilter::new(format!("{QUIET},{DEFAULT_FILTER}")))
}

/// Reads a filter; of what it says twice of a target the last counts.
fn quiet(filter: &str) -> Result<EnvFilter, ParseError> {
    EnvFilter::try_new(format!("{QUIET},{filter}"))
}

/// Tells whether standard error is the journal: systemd.exec(5), `$JOURNAL_STREAM`.
fn is_journal() -> bool {
    let Ok(stream) = env::var("JOURNAL_STREAM") else { return false };
    fstat(io::stderr().as_fd())
        .is_ok_and(|file| stream == format!("{}:{}", file.st_dev, file.st_ino))
}

#[cfg(test)]
mod tests {
    use std::io::Seek;
    use std::sync::Arc;

    use tracing::{info, subscriber, warn};

    use super::*;

    /// Gives who logs what with TUNCTL_LOG set so.
    fn logged(set: Option<&str>) -> String {
        let filter = filter(|name| set.filter(|_| name == FILTERS[0]).map(OsString::from));
        let mut file = tempfile::tempfile().unwrap();
        let lines = tracing_subscriber::fmt().with_env_filter(filter.unwrap());
        let lines =
            lines.with_writer(Arc::new(file.try_clone().unwrap())).without_time().with_level(false);
        subscriber::with_default(lines.with_ansi(false).finish(), || {
            warn!(target: "boringtun::noise::timers", "HANDSHAKE(REKEY_TIMEOUT)");
            info!(target: "tunctl::daemon", "ready");
        });
        file.rewind().unwrap();
        io::read_to_string(file).unwrap()
    }

    #[test]
    fn boringtun_is_heard_only_if_a_filter_names_it() {
        let ours = "tunctl::daemon: ready\n";
        for set in [None, Some(""), Some("info"), Some("trace"), Some("tunctl=debug")] {
            assert_eq!(logged(set), ours, "{set:?}");
        }
        let its = "boringtun::noise::timers: HANDSHAKE(REKEY_TIMEOUT)\n";
        assert_eq!(logged(Some("info,boringtun=warn")), format!("{its}{ours}"));
        assert_eq!(logged(Some("boringtun=warn")), its);
        assert_eq!(logged(Some("warn,boringtun=error")), "");
    }

    #[test]
    fn wrong_filter_is_named() {
        let error = filter(|name| (name == FILTERS[1]).then(|| "tunctl=loud".into()));
        let error = error.unwrap_err().to_string();
        assert!(error.starts_with("RUST_LOG = \"tunctl=loud\": expected a log filter"), "{error}");
    }
}
