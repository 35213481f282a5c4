//! Two hosts with a wire and a tunnel between them, for one case.
//!
//! The left host sends, the right host receives. Several scenes live at once: each has hosts of its
//! own. Read [`Scene::set_up`] first; `wire` makes the hosts, `config` says what our daemons are
//! told, `probe` finds out whether the tunnel carries.

use std::fs;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use crate::api::client::Client;
use crate::api::report::Status;
use crate::bench::BenchError;
use crate::bench::case::{self, Case, Maker, Transport};
use crate::bench::traffic::Route;
use crate::lab::{self, Crossing, Daemon, KernelVxlan, LabError, Process};

mod config;
mod probe;
mod rival;
mod scale;
mod teach;
pub(in crate::bench) mod wire;

use self::config::End;
use self::rival::Rival;
use self::wire::Site;
pub use self::wire::{Carried, UnderlayKind, WireCounters};

/// The tunnel's interface on both hosts; in a scene without a tunnel it is the wire's.
const TUNNEL: &str = "tunnel0";

/// The network identifier of the VXLAN tunnels, and their UDP port (RFC 7348, section 8).
const VNI: u32 = 42;
const PORT: u16 = 4789;

/// How a scene is made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SceneOptions {
    /// What the wire carries.
    pub underlay: UnderlayKind,
    /// The MTU of the wire, bytes.
    pub mtu: u32,
    /// TOML that is put into the configuration of our daemons, over what the scene has there. An
    /// array of tables (`[[network]]`) is put over the scene's one table after the other.
    pub settings: String,
    /// Many peers and learned addresses; for [`Case::VxlanTap`] only.
    pub scale: Option<Scale>,
}

/// How much the left daemon knows before anything is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scale {
    /// Configured peers, 1 to 65536; the first is the right host.
    pub peers: usize,
    /// Learned MACs, in equal parts behind the peers.
    pub learned: usize,
}

impl Default for SceneOptions {
    fn default() -> Self {
        Self { underlay: UnderlayKind::Nic, mtu: 1500, settings: String::new(), scale: None }
    }
}

/// Two hosts and the tunnel between them; all of it goes with this value.
#[derive(Debug)]
pub struct Scene {
    case: Case,
    underlay: UnderlayKind,
    scale: Option<Scale>,
    sites: [Site; 2],
    daemons: Vec<Daemon>,
    rivals: Vec<Process>,
    /// The interfaces of the tunnel, the left one first.
    interfaces: [String; 2],
    directory: PathBuf,
}

impl Scene {
    /// Makes the hosts, the wire and the tunnel, and waits until the tunnel carries packets both
    /// ways. Files are put into a new directory inside `directory`.
    ///
    /// To be called from a thread that lasts as long as the scene: the daemons die with it.
    ///
    /// # Errors
    ///
    /// Names the first step that could not be done.
    pub fn set_up(
        case: Case,
        options: &SceneOptions,
        directory: &Path,
    ) -> Result<Self, BenchError> {
        if options.scale.is_some() && case != Case::VxlanTap {
            return Err(BenchError::NoScale { case });
        }
        let program = find_program(case)?;
        let number = next_number();
        let directory = directory.join(format!("{case}-{number}"));
        fs::create_dir_all(&directory).map_err(|source| {
            BenchError::step(format!("make the directory {}", directory.display()), source)
        })?;
        let sites = Site::pair(options.mtu)?;
        let SceneOptions { underlay, scale, .. } = *options;
        wire::adjust(&sites, underlay, case.ends())?;
        if scale.is_some() {
            scale::prepare(&sites)?;
        }
        let interface = if case == Case::Raw { wire::INTERFACE } else { TUNNEL };
        let interfaces = [interface; 2].map(str::to_owned);
        let (daemons, rivals) = (vec![], vec![]);
        let mut scene =
            Self { case, underlay, scale, sites, daemons, rivals, interfaces, directory };
        scene.make_kernel_ends(options)?;
        scene.start_daemons(options)?;
        if let (Maker::Rival(protocol), Some(program)) = (case.ends()[0], program) {
            let mtu = options.mtu.saturating_sub(overhead(case));
            let rival = Rival { case, protocol, program: &program, mtu };
            let rivals = rival.start(&scene.sites, number, &scene.directory)?;
            (scene.rivals, scene.interfaces) = (rivals.processes.into(), rivals.interfaces);
        }
        scene.wait_until_it_carries()?;
        scene.set_rival_mtus(options)?;
        if let Some(scale) = scale {
            scene.teach_scale(scale)?;
        }
        Ok(scene)
    }

    /// Gives what it is a scene of.
    pub fn case(&self) -> Case {
        self.case
    }

    /// Gives the way of the traffic: from the left to the right host, inside the tunnel.
    pub fn route(&self) -> Route<'_> {
        route(&self.sites, self.case)
    }

    /// Gives the names of the interfaces that the traffic takes, the left host's first.
    pub fn interfaces(&self) -> [&str; 2] {
        [&self.interfaces[0], &self.interfaces[1]]
    }

    /// Gives the name of the interface by which the traffic arrives at the right host.
    pub fn interface(&self) -> &str {
        &self.interfaces[1]
    }

    /// Gives our daemons, the left one first.
    pub fn daemons(&self) -> &[Daemon] {
        &self.daemons
    }

    /// Gives the process ids of all programs that make the tunnel, ours and others.
    pub fn pids(&self) -> Vec<u32> {
        let ours = self.daemons.iter().map(Daemon::pid);
        ours.chain(self.rivals.iter().map(Process::pid)).collect()
    }

    /// Asks our daemons how they are, the left one first.
    ///
    /// # Errors
    ///
    /// Fails if one of them does not answer.
    pub fn statuses(&self) -> Result<Vec<Status>, BenchError> {
        let ask = |daemon: &Daemon| Ok(Client::connect(&daemon.socket())?.status()?);
        self.daemons.iter().map(ask).collect()
    }

    /// Gives what the wire has carried so far.
    ///
    /// # Errors
    ///
    /// Fails if the left host's counters cannot be read.
    pub fn wire_counters(&self) -> Result<WireCounters, BenchError> {
        wire::counters(&self.sites[0], self.underlay)
    }

    /// Stops all programs; the hosts and what is in them end with that.
    ///
    /// # Errors
    ///
    /// Tries everything, then gives the first error: a daemon of ours that did not end well.
    pub fn tear_down(self) -> Result<(), BenchError> {
        drop(self.rivals);
        let ends: Vec<_> = self.daemons.into_iter().map(Daemon::stop).collect();
        let removed = fs::remove_dir_all(&self.directory).map_err(|source| {
            BenchError::step(format!("remove {}", self.directory.display()), source)
        });
        ends.into_iter().collect::<Result<(), _>>()?;
        removed
    }

    fn make_kernel_ends(&self, options: &SceneOptions) -> Result<(), BenchError> {
        let [left, right] = &self.sites;
        for (maker, near, far) in
            [(self.case.ends()[0], left, right), (self.case.ends()[1], right, left)]
        {
            if maker != Maker::Kernel {
                continue;
            }
            let remote = SocketAddr::from((far.underlay, PORT));
            let local = near.underlay.into();
            let mtu = options.mtu.saturating_sub(overhead(self.case));
            KernelVxlan { interface: TUNNEL, vni: VNI, local, remote, mtu }.make(&near.host)?;
            lab::add_address(&near.host, TUNNEL, near.overlay_net())?;
            lab::set_up(&near.host, TUNNEL)?;
        }
        Ok(())
    }

    fn start_daemons(&mut self, options: &SceneOptions) -> Result<(), BenchError> {
        let crossing = self.crossing()?;
        let sites = &self.sites;
        for (place, maker) in self.case.ends().into_iter().enumerate() {
            if let Maker::Daemon(_, device) = maker {
                let end = End { place, sites, device, crossing: &crossing };
                let config = config::text(&end, options)?;
                self.daemons.push(Daemon::start(&sites[place].host, &config, &self.directory)?);
            }
        }
        self.daemons.iter_mut().try_for_each(Daemon::wait_until_ready)?;
        Ok(())
    }

    fn crossing(&self) -> Result<Crossing, LabError> {
        let [left, right] = &self.sites;
        let hosts = [&left.host, &right.host];
        let transport = self.case.ends().into_iter().find_map(|end| match end {
            Maker::Daemon(transport, _) => Some(transport),
            Maker::Nobody | Maker::Kernel | Maker::Rival(_) => None,
        });
        match transport {
            Some(Transport::Wireguard) => Crossing::wireguard(hosts, &self.directory),
            Some(Transport::Quic) => Crossing::quic(hosts, &self.directory),
            Some(Transport::Vxlan) | None => Ok(Crossing::Vxlan),
        }
    }

    fn wait_until_it_carries(&mut self) -> Result<(), BenchError> {
        let route = route(&self.sites, self.case);
        let rivals = &mut self.rivals;
        let carries = probe::wait_until_it_carries(route, || {
            rivals.iter_mut().try_for_each(Process::check).map_err(BenchError::from)
        });
        carries?.map_err(|source| BenchError::NoCrossing {
            case: self.case,
            source,
            logs: self.logs(),
        })
    }

    /// Sets the inner MTUs once more: some programs set another at their start.
    fn set_rival_mtus(&self, options: &SceneOptions) -> Result<(), BenchError> {
        let mtu = options.mtu.saturating_sub(overhead(self.case));
        for (site, interface) in self.sites.iter().zip(&self.interfaces) {
            if !self.rivals.is_empty() {
                lab::set_mtu(&site.host, interface, mtu)?;
            }
        }
        Ok(())
    }

    /// Gives the ends of the logs of all programs.
    fn logs(&self) -> String {
        let ours = self.daemons.iter().map(Daemon::log_tail);
        ours.chain(self.rivals.iter().map(Process::log_tail)).collect::<Vec<_>>().join("\n")
    }
}

/// Gives the path of the program of another project that a case needs; `None` if it needs none.
fn find_program(case: Case) -> Result<Option<PathBuf>, BenchError> {
    let find = |program| case::find_program(program).ok_or(BenchError::NoProgram { case, program });
    case.program().map(find).transpose()
}

fn route(sites: &[Site; 2], case: Case) -> Route<'_> {
    let [left, right] = sites;
    let address = if case == Case::Raw { right.underlay } else { right.overlay };
    Route { from: &left.host, to: &right.host, address: address.into() }
}

/// Gives what a tunnel over IPv4 takes of the underlay's MTU, bytes.
const fn overhead(case: Case) -> u32 {
    const UDP: u32 = 20 + 8;
    match case {
        Case::Raw => 0,
        // The inner Ethernet header and the VXLAN header.
        Case::KernelVxlan | Case::VxlanTap => UDP + 8 + 14,
        Case::VxlanTapToKernel | Case::KernelToVxlanTap => UDP + 8 + 14,
        Case::VxlanTun => UDP + 8,
        // Around an IP packet with a UDP datagram, which VXLAN is in.
        Case::WireguardTap => UDP + 16 + 16 + UDP + 8 + 14,
        // Type, receiver and counter; the tag.
        Case::WireguardTun => UDP + 16 + 16,
        // What QUIC leaves room for, and the VXLAN header.
        Case::QuicTun => UDP + 38 + 8,
        Case::QuicTap => UDP + 38 + 8 + 14,
        Case::WireguardGo | Case::BoringtunCli | Case::Gotatun => UDP + 16 + 16,
        // Key, counter and type; the tag.
        Case::Vpncloud => UDP + 8 + 1 + 16,
        // Type and peer; counter; the tag.
        Case::Openvpn => UDP + 4 + 4 + 16,
    }
}

/// Gives a number that no other scene of the process has.
fn next_number() -> u32 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// The address that a node has in the tunnel; all of them are in one network, which has room for
/// many more addresses behind the right node.
fn overlay(number: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 9, 0, number)
}

impl BenchError {
    fn step(action: impl Into<String>, source: io::Error) -> Self {
        Self::Step { action: action.into(), source }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn program_that_is_missing_is_named_with_its_case() {
        let error = BenchError::NoProgram { case: Case::Vpncloud, program: "vpncloud" };
        let text = "case vpncloud needs the program vpncloud, which is not in PATH";
        assert_eq!(error.to_string(), text);
        assert_eq!(find_program(Case::VxlanTap).unwrap(), None);
    }

    #[test]
    fn tunnels_take_of_the_mtu_what_their_headers_need() {
        let overheads = Case::ALL.map(overhead);
        assert_eq!(overheads, [0, 50, 50, 36, 50, 50, 60, 110, 74, 88, 60, 60, 60, 53, 52]);
    }
}
