//! A host: a network namespace without a name, and what runs in it.

use std::fs;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::panic::resume_unwind;
use std::path::Path;
use std::process::{Child, Command};
use std::sync::Arc;
use std::thread;

use super::enter::network_namespace_advice;
use super::{LabError, link};
use crate::sys::netns;

/// A network namespace without a name, with `lo` up.
///
/// It ends when the last of the host, its processes and its threads has ended.
#[derive(Clone, Debug)]
pub struct Host {
    name: String,
    netns: Arc<OwnedFd>,
}

impl Host {
    /// Makes a host; the name is for messages only.
    ///
    /// IPv6 addresses in it are usable at once (no duplicate address detection).
    pub fn new(name: &str) -> Result<Self, LabError> {
        let made = thread::scope(|scope| join(scope.spawn(netns::unshare_network)));
        let netns = made.map_err(|source| LabError::NetworkNamespace {
            host: name.into(),
            advice: network_namespace_advice(&source),
            source,
        })?;
        let host = Self { name: name.into(), netns: Arc::new(netns) };
        host.set_sysctl("net/ipv6/conf/all/accept_dad", "0")?;
        host.set_sysctl("net/ipv6/conf/default/accept_dad", "0")?;
        link::set_up(&host, "lo")?;
        Ok(host)
    }

    /// Gives the name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Runs a closure in the host, on a thread of its own, and waits for it.
    ///
    /// Sockets and devices that it opens belong to the host and stay there when they are handed
    /// out; threads that it starts are in the host too.
    ///
    /// # Panics
    ///
    /// Panics with what the closure panicked with, or if the namespace cannot be entered (it is
    /// held open, and the process made it, so only a lost privilege could be the reason).
    pub fn run<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        thread::scope(|scope| {
            let inside = || {
                netns::enter(self.netns.as_fd()).expect("the process made this namespace");
                work()
            };
            let name = format!("host {}", self.name);
            let thread = thread::Builder::new().name(name).spawn_scoped(scope, inside);
            join(thread.expect("the system has room for a thread"))
        })
    }

    /// Starts a process in the host. The process dies when the calling thread ends: call this from
    /// a thread that lasts, not inside [`Host::run`].
    pub fn spawn(&self, command: &mut Command) -> Result<Child, LabError> {
        netns::start_inside(command, Arc::clone(&self.netns));
        command.spawn().map_err(|source| LabError::Spawn {
            host: self.name.clone(),
            program: command.get_program().to_string_lossy().into_owned(),
            source,
        })
    }

    /// Writes a network sysctl of the host, named by its path under `/proc/sys`.
    ///
    /// One that the kernel does not have is left out: what it would switch is not there either.
    pub fn set_sysctl(&self, path: &str, value: &str) -> Result<(), LabError> {
        match self.run(|| fs::write(Path::new("/proc/sys").join(path), value)) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => {
                Err(self.refused(format!("set {path} to {value}"), source))
            }
            _ => Ok(()),
        }
    }

    pub(super) fn netns(&self) -> BorrowedFd<'_> {
        self.netns.as_fd()
    }

    pub(super) fn refused(&self, action: String, source: io::Error) -> LabError {
        LabError::Setting { host: self.name.clone(), action, source }
    }
}

fn join<T>(thread: thread::ScopedJoinHandle<'_, T>) -> T {
    thread.join().unwrap_or_else(|panic| resume_unwind(panic))
}
