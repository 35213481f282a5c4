//! Where the log goes: standard error.

use std::ffi::OsStr;
use std::io::{self, IsTerminal};

use tracing_subscriber::EnvFilter;

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
            .with_env_filter(EnvFilter::new(self.filter()))
            .with_writer(io::stderr)
            .with_ansi(io::stderr().is_terminal())
            .with_target(false);
        if let Err(already) = lines.try_init() {
            tracing::debug!(%already, "the log stays as it is");
        }
    }

    /// boringtun calls each handshake that nobody answers an error, without a limit.
    fn filter(self) -> &'static str {
        match self {
            Self::Verbose => "debug",
            Self::Error => "error,boringtun=off",
            Self::Silent => "off",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_are_those_of_wireguard_go() {
        for (value, level, filter) in [
            (Some("verbose"), LogLevel::Verbose, "debug"),
            (Some("debug"), LogLevel::Verbose, "debug"),
            (Some("error"), LogLevel::Error, "error,boringtun=off"),
            (Some("silent"), LogLevel::Silent, "off"),
            (Some("info"), LogLevel::Error, "error,boringtun=off"),
            (None, LogLevel::Error, "error,boringtun=off"),
        ] {
            let found = LogLevel::of(value.map(OsStr::new));
            assert_eq!((found, found.filter()), (level, filter), "{value:?}");
        }
    }
}
