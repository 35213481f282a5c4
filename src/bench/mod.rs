//! Measurements: real daemons in hosts of their own, traffic through them, and what it cost.
//!
//! It measures on hosts made by `lab` and never touches the machine's own namespaces. It prints no
//! number that it did not measure. Read [`case`] and [`measure`] first, then [`run`]; [`scene`] and
//! [`traffic`] are what it measures on and with.

use std::io;

use self::case::Case;
use crate::api::client::ClientError;
use crate::lab::LabError;

pub mod case;
pub mod load;
pub mod machine;
#[cfg(test)]
pub(crate) mod made_up;
pub mod measure;
pub mod meter;
pub mod panel;
pub mod plan;
pub mod plot;
pub mod quantity;
pub mod report;
pub mod roofline;
pub mod run;
pub mod scene;
pub mod stat;
pub mod summary;
pub mod traffic;
pub mod values;

/// Why something could not be measured.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BenchError {
    /// The hosts could not be made.
    #[error(transparent)]
    Lab(#[from] LabError),
    /// A step failed.
    #[error("cannot {action}: {source}")]
    Step {
        /// The step.
        action: String,
        /// The system's answer.
        source: io::Error,
    },
    /// The settings for our daemons are no TOML.
    #[error("the settings are not TOML: {0}")]
    Settings(toml::de::Error),
    /// The program that a case needs is not there.
    #[error("case {case} needs the program {program}, which is not in PATH")]
    NoProgram {
        /// The case.
        case: Case,
        /// The program.
        program: &'static str,
    },
    /// Many peers and addresses are asked for where they cannot be.
    #[error("case {case} has no forwarding table that can be filled; vxlan-tap has")]
    NoScale {
        /// The case.
        case: Case,
    },
    /// An offload feature of the wire could not be switched.
    #[error("cannot switch {feature} {wish} on {interface} in host {host}")]
    Feature {
        /// The host.
        host: String,
        /// The interface.
        interface: &'static str,
        /// The feature, as `ethtool -k` names it.
        feature: String,
        /// `on` or `off`.
        wish: &'static str,
    },
    /// A tunnel carries nothing.
    #[error("the tunnel of case {case} does not carry: {source}; the logs:\n{logs}")]
    NoCrossing {
        /// The case.
        case: Case,
        /// What happened instead.
        source: io::Error,
        /// The ends of the logs of its programs.
        logs: String,
    },
    /// The user wants an end.
    #[error("interrupted")]
    Interrupted,
    /// The measuring ended by a panic, whose message was printed.
    #[error("the measuring panicked")]
    Panicked,
    /// The kernel has no such congestion control.
    #[error("no congestion control {name}: {source}; the kernel has: {known}")]
    Congestion {
        /// The name.
        name: String,
        /// The system's answer.
        source: io::Error,
        /// Those that are there.
        known: String,
    },
    /// A daemon gave no answer.
    #[error(transparent)]
    Client(#[from] ClientError),
}
