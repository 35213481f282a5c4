//! The tunnels of other projects' programs, to compare ours with.
//!
//! Each program runs as its project leaves it: its own defaults for threads, buffers and offloads,
//! and the widest inner MTU that the wire has room for. Keys are fixed and public: nothing here
//! leaves the machine.

use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use super::TUNNEL;
use super::wire::Site;
use crate::bench::BenchError;
use crate::bench::case::{Case, Protocol};
use crate::lab::{self, Process};
use crate::sys::link;

mod openvpn;
mod vpncloud;
mod wireguard;

/// How long a program may take to make its interface, and to answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// How often a wait looks.
const LOOK: Duration = Duration::from_millis(10);

/// The programs of a tunnel on both hosts, and their interfaces.
pub(super) struct Rivals {
    /// The left one first.
    pub(super) processes: [Process; 2],
    /// The left one's first.
    pub(super) interfaces: [String; 2],
}

/// One end of a tunnel, from its own view.
struct End<'a> {
    near: &'a Site,
    far: &'a Site,
    is_left: bool,
    interface: &'a str,
    /// Where the program may put files.
    directory: &'a Path,
    /// The inner MTU, bytes.
    mtu: u32,
}

/// What is started on both hosts.
#[derive(Clone, Copy)]
pub(super) struct Rival<'a> {
    pub(super) case: Case,
    pub(super) protocol: Protocol,
    pub(super) program: &'a Path,
    /// The inner MTU, bytes.
    pub(super) mtu: u32,
}

impl Rival<'_> {
    /// Starts the program on both hosts. `number` is the scene's own; files go to `directory`.
    pub(super) fn start(
        self,
        sites: &[Site; 2],
        number: u32,
        directory: &Path,
    ) -> Result<Rivals, BenchError> {
        let interfaces = match self.protocol {
            // The control sockets are in one directory for all hosts, named after the interfaces.
            Protocol::Wireguard => ["l", "r"].map(|side| format!("wg{number}{side}")),
            Protocol::Openvpn | Protocol::Vpncloud => [TUNNEL; 2].map(str::to_owned),
        };
        let [left, right] = sites;
        let mtu = self.mtu;
        let ends = [(left, right, true), (right, left, false)].map(|(near, far, is_left)| {
            let interface = &interfaces[usize::from(!is_left)];
            End { near, far, is_left, interface, directory, mtu }
        });
        let mut processes = [self.launch(&ends[0])?, self.launch(&ends[1])?];
        for (process, end) in processes.iter_mut().zip(&ends) {
            end.set_up_interface(process)?;
            match self.protocol {
                Protocol::Wireguard => wireguard::configure(end, process)?,
                // They know it from their command line.
                Protocol::Openvpn | Protocol::Vpncloud => {}
            }
        }
        Ok(Rivals { processes, interfaces })
    }

    fn launch(self, end: &End<'_>) -> Result<Process, BenchError> {
        let mut command = Command::new(self.program);
        match self.protocol {
            Protocol::Wireguard => wireguard::prepare(&mut command, self.case, end),
            Protocol::Openvpn => openvpn::prepare(&mut command, end)?,
            Protocol::Vpncloud => vpncloud::prepare(&mut command, end)?,
        }
        let host = &end.near.host;
        let log = end.directory.join(format!("{}.log", host.name()));
        Ok(Process::start(self.case.name(), host, &mut command, &log)?)
    }
}

impl End<'_> {
    /// Waits for the program's interface, and gives it what the tunnel's interfaces have.
    fn set_up_interface(&self, process: &mut Process) -> Result<(), BenchError> {
        self.wait_for_interface(process)?;
        lab::set_mtu(&self.near.host, self.interface, self.mtu)?;
        lab::add_address(&self.near.host, self.interface, self.near.overlay_net())?;
        lab::set_up(&self.near.host, self.interface)?;
        Ok(())
    }

    fn wait_for_interface(&self, process: &mut Process) -> Result<(), BenchError> {
        let deadline = Instant::now() + PATIENCE;
        while self.near.host.run(|| link::index(self.interface)).is_none() {
            process.check()?;
            if Instant::now() > deadline {
                let fault = format!("made no interface within {} s", PATIENCE.as_secs());
                return Err(process.fault(fault).into());
            }
            thread::park_timeout(LOOK);
        }
        Ok(())
    }
}
