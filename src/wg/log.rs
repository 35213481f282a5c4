//! Where the log goes: standard error.

use std::ffi::OsStr;
use std::io::{self, IsTerminal};

use tracing::level_filters::LevelFilter;

/// How much is logged: wireguard-go's `LOG_LEVEL`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogLevel {
    /// Everything.
    Verbose,
    /// Errors.
    #[default]
    Error,
    /// Nothing.
    Silent,
}

impl LogLevel {
    /// Reads the variable; what is no level is the default, as in wireguard-go.
    pub fn of(value: Option<&OsStr>) -> Self {
        match value.and_then(OsStr::to_str) {
            Some("verbose" | "debug") => Self::Verbose,
            Some("silent") => Self::Silent,
            _ => Self::Error,
        }
    }

    /// Sends the log to standard error. Without effect if the process logs already.
    pub(super) fn init(self) {
        let lines = tracing_subscriber::fmt()
            .with_max_level(self.filter())
            .with_writer(io::stderr)
            .with_ansi(io::stderr().is_terminal())
            .with_target(false);
        if let Err(already) = lines.try_init() {
            tracing::debug!(%already, "the log stays as it is");
        }
    }

    fn filter(self) -> LevelFilter {
        match self {
            Self::Verbose => LevelFilter::DEBUG,
            Self::Error => LevelFilter::ERROR,
            Self::Silent => LevelFilter::OFF,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_are_those_of_wireguard_go() {
        for (value, level, filter) in [
            (Some("verbose"), LogLevel::Verbose, LevelFilter::DEBUG),
            (Some("debug"), LogLevel::Verbose, LevelFilter::DEBUG),
            (Some("error"), LogLevel::Error, LevelFilter::ERROR),
            (Some("silent"), LogLevel::Silent, LevelFilter::OFF),
            (Some("info"), LogLevel::Error, LevelFilter::ERROR),
            (None, LogLevel::Error, LevelFilter::ERROR),
        ] {
            let found = LogLevel::of(value.map(OsStr::new));
            assert_eq!((found, found.filter()), (level, filter), "{value:?}");
        }
    }
}
