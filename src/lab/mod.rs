//! Hosts made for a demonstration, a test or a measurement: network namespaces without names.
//!
//! A [`Host`] is held by a descriptor of this process and by the processes that were started in
//! it, which die with this one. So nothing is left behind, whatever ends the process. This room
//! never touches the machine's own namespaces. Read [`enter`] first, then [`Host`].

mod enter;
mod host;
mod link;

pub use enter::{Entered, check_tun, enter};
pub use host::Host;
pub use link::{End, connect};

/// Why a host cannot be made, with what the user can do about it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LabError {
    /// A user namespace is needed, as the process lacks the privilege, and cannot be had.
    #[error("no privilege to make network namespaces, and no user namespace either: {advice}")]
    UserNamespace {
        /// What is missing and how to get it.
        advice: String,
        /// The system's answer.
        source: std::io::Error,
    },
    /// A mount namespace with a directory of our own cannot be had.
    #[error("no mount namespace with a private {directory}: {source}")]
    MountNamespace {
        /// The directory that was to be private.
        directory: &'static str,
        /// The system's answer.
        source: std::io::Error,
    },
    /// A network namespace cannot be had.
    #[error("no network namespace for host {host}: {advice}")]
    NetworkNamespace {
        /// The host.
        host: String,
        /// What is missing and how to get it.
        advice: String,
        /// The system's answer.
        source: std::io::Error,
    },
    /// `/dev/net/tun` cannot be opened.
    #[error("/dev/net/tun cannot be opened: {advice}")]
    Tun {
        /// What is missing and how to get it.
        advice: String,
        /// The system's answer.
        source: std::io::Error,
    },
    /// A setting of a host was refused.
    #[error("host {host}: cannot {action}: {source}")]
    Setting {
        /// The host.
        host: String,
        /// What was to be done.
        action: String,
        /// The system's answer.
        source: std::io::Error,
    },
    /// A process could not be started in a host.
    #[error("host {host}: cannot start {program}: {source}")]
    Spawn {
        /// The host.
        host: String,
        /// The program.
        program: String,
        /// The system's answer.
        source: std::io::Error,
    },
}

#[cfg(test)]
mod tests;
