//! The face of wireguard-go: what `wg` and `wg-quick` expect of a userspace WireGuard.
//!
//! [`uapi`] is the protocol, [`Socket`] the place where it is spoken, [`run()`] the program's life:
//! how it is called, goes to the background, and ends when its socket or its interface is removed.
//! This room never sees a packet: what moves them is the daemon's tunnel, behind [`Interface`]. Read `uapi/mod.rs`
//! first, then `run.rs`.

mod arguments;
mod background;
mod engine;
mod log;
mod name;
mod owners;
mod removal;
mod run;
mod serve;
mod socket;
pub mod uapi;

pub use arguments::{Arguments, Environment, EnvironmentError, PROGRAM, with_verb};
pub use background::BackgroundError;
pub use engine::{EngineError, start};
pub use log::LogLevel;
pub use name::{InterfaceName, NameError};
pub use removal::wait_for_removal;
pub use run::{RunError, Start, Started, run};
pub use serve::{Limits, serve};
pub use socket::{DIRECTORY, Socket};

use nix::errno::Errno;

/// What the UAPI asks of the device behind it. It is called from several threads.
pub trait Interface: Send + Sync {
    /// Tells everything.
    fn get(&self) -> uapi::Snapshot;

    /// Makes a change, as a whole.
    ///
    /// A peer with the interface's own key is left out, and removed where the key becomes the
    /// interface's; an allowed address belongs to the peer that had it added last.
    ///
    /// # Errors
    ///
    /// `EADDRINUSE` or what else the kernel says where the port or the mark cannot be had; then
    /// nothing has changed. `EINVAL` for too many peers; those before the first too many are there.
    fn set(&self, change: uapi::Set) -> Result<(), Errno>;
}
