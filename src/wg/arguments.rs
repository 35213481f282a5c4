//! How the program is called: words, its own name, and the variables of wireguard-go.

use std::ffi::{OsStr, OsString};
use std::os::fd::RawFd;
use std::path::Path;

use thiserror::Error;

use super::{InterfaceName, LogLevel};

/// The name of the program under which it is called as wireguard-go is: `tunctl-wg IFNAME`.
pub const PROGRAM: &str = "tunctl-wg";

/// The verb that the name of the program stands for.
const VERB: &str = "wg";

/// Set by wireguard-go for the process that stays, and by those who want no other.
pub(super) const FOREGROUND: &str = "WG_PROCESS_FOREGROUND";
/// The number of the descriptor of the device, if there is one already.
const TUN_FD: &str = "WG_TUN_FD";
/// The number of the descriptor of the listening socket, if there is one already.
const UAPI_FD: &str = "WG_UAPI_FD";
/// How much is logged.
const LOG_LEVEL: &str = "LOG_LEVEL";
/// Set for the process in the background: whoever started it reads its standard output until it is
/// ready.
pub(super) const BACKGROUND: &str = "TUNCTL_WG_BACKGROUND";

/// Adds the verb to the words that the program was called with, the first of which is its name, if
/// the name stands for it.
pub fn with_verb(words: impl IntoIterator<Item = OsString>) -> Vec<OsString> {
    let mut words: Vec<OsString> = words.into_iter().collect();
    let is_ours = words.first().is_some_and(|name| is_program(name));
    let is_version = words.get(1).is_some_and(|word| word == "--version");
    if is_ours && !is_version {
        words.insert(1, VERB.into());
    }
    words
}

fn is_program(name: &OsStr) -> bool {
    Path::new(name).file_name() == Some(OsStr::new(PROGRAM))
}

/// The words after the verb.
#[derive(Clone, Debug, clap::Args)]
pub struct Arguments {
    /// Stay in the foreground
    #[arg(short, long)]
    pub foreground: bool,
    /// The interface, which is made and goes with the program
    #[arg(value_name = "IFNAME")]
    pub interface: InterfaceName,
}

/// A variable has a value that it cannot have.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{variable} = {value:?}: expected the number of a descriptor")]
pub struct EnvironmentError {
    variable: &'static str,
    value: OsString,
}

/// What the variables say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Environment {
    /// Stay in the foreground.
    pub foreground: bool,
    /// This is the process in the background.
    pub is_background: bool,
    /// The device's descriptor.
    pub tun_fd: Option<RawFd>,
    /// The listening socket's descriptor.
    pub uapi_fd: Option<RawFd>,
    /// How much is logged.
    pub log_level: LogLevel,
    /// Whether the log is wanted from the background as well.
    pub keeps_log: bool,
}

impl Environment {
    /// Reads the variables; `value` gives a variable's value.
    ///
    /// # Errors
    ///
    /// See [`EnvironmentError`].
    pub fn read(value: impl Fn(&str) -> Option<OsString>) -> Result<Self, EnvironmentError> {
        let value = |name: &str| value(name).filter(|value| !value.is_empty());
        let is_one = |name| value(name).is_some_and(|value| value == "1");
        let descriptor = |variable| match value(variable) {
            None => Ok(None),
            Some(value) => match value.to_str().and_then(number) {
                Some(number) => Ok(Some(number)),
                None => Err(EnvironmentError { variable, value }),
            },
        };
        let log_level = LogLevel::of(value(LOG_LEVEL).as_deref());
        Ok(Self {
            foreground: is_one(FOREGROUND),
            is_background: is_one(BACKGROUND),
            tun_fd: descriptor(TUN_FD)?,
            uapi_fd: descriptor(UAPI_FD)?,
            log_level,
            keeps_log: value(LOG_LEVEL).is_some() && log_level != LogLevel::Silent,
        })
    }
}

fn number(text: &str) -> Option<RawFd> {
    text.parse().ok().filter(|number| *number >= 0 && !text.starts_with('+'))
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Program {
        #[command(flatten)]
        arguments: Arguments,
    }

    fn words(line: &str) -> Vec<OsString> {
        line.split_whitespace().map(OsString::from).collect()
    }

    #[test]
    fn name_of_the_program_stands_for_the_verb() {
        for (called, meant) in [
            ("tunctl-wg wg0", "tunctl-wg wg wg0"),
            ("/usr/bin/tunctl-wg -f wg0", "/usr/bin/tunctl-wg wg -f wg0"),
            ("tunctl-wg", "tunctl-wg wg"),
            ("tunctl-wg --version", "tunctl-wg --version"),
            ("tunctl wg wg0", "tunctl wg wg0"),
            ("not-tunctl-wg wg0", "not-tunctl-wg wg0"),
            ("", ""),
        ] {
            assert_eq!(with_verb(words(called)), words(meant));
        }
    }

    #[test]
    fn words_are_those_of_wireguard_go() {
        let parse = |line| Program::try_parse_from(words(line)).map(|program| program.arguments);
        for line in ["wg -f wg0", "wg --foreground wg0", "wg wg0 -f"] {
            let arguments = parse(line).unwrap();
            assert_eq!((arguments.foreground, arguments.interface.as_str()), (true, "wg0"));
        }
        assert!(!parse("wg wg0").unwrap().foreground);
        for line in ["wg", "wg -f", "wg a b", "wg -x wg0", "wg a/b", "wg sixteen-letters-"] {
            assert_eq!(parse(line).unwrap_err().exit_code(), 2, "{line}");
        }
    }

    #[test]
    fn variables_are_those_of_wireguard_go() {
        let read = |set: &[(&str, &str)]| {
            let find = |name: &str| set.iter().find(|(key, _)| *key == name);
            Environment::read(|name| find(name).map(|(_, value)| value.into()))
        };
        assert_eq!(read(&[]), Ok(Environment::default()));
        assert_eq!(read(&[(TUN_FD, ""), (FOREGROUND, "0"), (UAPI_FD, "")]), read(&[]));
        let all = [(TUN_FD, "3"), (UAPI_FD, "4"), (FOREGROUND, "1"), (LOG_LEVEL, "debug")];
        let expected = Environment {
            foreground: true,
            is_background: false,
            tun_fd: Some(3),
            uapi_fd: Some(4),
            log_level: LogLevel::Verbose,
            keeps_log: true,
        };
        assert_eq!(read(&all), Ok(expected));
        assert!(!read(&[(LOG_LEVEL, "silent")]).unwrap().keeps_log);
        for value in ["x", "-1", "+3", "99999999999"] {
            let message = format!("WG_TUN_FD = {value:?}: expected the number of a descriptor");
            assert_eq!(read(&[(TUN_FD, value)]).unwrap_err().to_string(), message);
        }
    }
}
