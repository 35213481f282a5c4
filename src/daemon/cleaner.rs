//! Devices that were there before the daemon stay when it ends: what it set up on them is undone
//! by a process that outlives it, also after SIGKILL.

use std::io;

use crate::config::Config;
use crate::device::janitor::Janitor;
use crate::device::setup::Applied;
use crate::sys::link;

/// The clean-up process, where there is a device to clean up.
pub struct Cleaner(Option<Janitor>);

impl Cleaner {
    /// Starts the process if one of the devices exists already. It is forked, so this comes before
    /// threads, runtimes and signal handlers.
    ///
    /// # Errors
    ///
    /// Fails if no process can be made.
    pub fn start(config: &Config) -> io::Result<Self> {
        let is_there = config.networks.iter().any(|n| link::index(&n.interface).is_some());
        Ok(Self(if is_there { Some(Janitor::start()?) } else { None }))
    }

    /// Has what was set up on a device undone when the daemon ends.
    ///
    /// A device that appeared since the start is without the process: a daemon that is killed
    /// leaves its routes there until the next start, which removes them.
    ///
    /// # Errors
    ///
    /// Fails if the process is gone.
    pub fn remember(&mut self, applied: &Applied) -> io::Result<()> {
        self.0.as_mut().map_or(Ok(()), |janitor| janitor.remember(applied))
    }
}
