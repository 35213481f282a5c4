//! Hosts made for a demonstration, a test or a measurement: network namespaces without names.
//!
//! A [`Host`] is held by a descriptor of this process and by the processes that were started in
//! it, which die with this one. So nothing is left behind, whatever ends the process. This room
//! never touches the machine's own namespaces. Read [`enter()`] first, then [`Host`].

mod certificate;
mod crossing;
mod daemon;
mod enter;
mod host;
mod interrupt;
mod key;
mod link;
mod process;
mod route;
#[cfg(test)]
pub(crate) mod testing;
mod vxlan;

pub use certificate::CertificateFiles;
pub use crossing::Crossing;
pub use daemon::Daemon;
pub use enter::{Entered, check_tun, enter};
pub use host::Host;
pub use interrupt::Interrupt;
pub use key::KeyFile;
pub use link::{End, add_address, connect, set_mtu, set_up};
pub use process::Process;
pub use route::{add_route, set_neighbours};
pub use vxlan::KernelVxlan;

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
    /// A process in a host ended, or did not do in time what it should.
    #[error("{title} in {host} {fault}; its log:\n{log}")]
    Process {
        /// What the process is.
        title: String,
        /// The host.
        host: String,
        /// What it did.
        fault: String,
        /// The end of what it printed.
        log: String,
    },
    /// A verb that asks a daemon failed.
    #[error("`tunctl {verb}` in {host} failed: {text}")]
    Verb {
        /// The host.
        host: String,
        /// The verb.
        verb: String,
        /// What it wrote to standard error.
        text: String,
    },
}

#[cfg(test)]
mod tests;
