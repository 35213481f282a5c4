//! From the configuration to everything that the worker needs: sockets, devices, node settings.
//!
//! The order is: sockets, then the MTU that their paths give, then each device and its set-up.
//! What is made is undone in reverse by the teardown, whether the start fails or the daemon stops.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::io;
use std::sync::Arc;
use std::thread::available_parallelism;
use std::time::Duration;

use ipnet::IpNet;
use thiserror::Error;
use tokio::runtime::{Builder, Runtime};
use tracing::warn;

use super::Teardown;
use super::big_tcp::Policy;
use super::certificates;
use super::cleaner::Cleaner;
use super::crossing::{self, Way, Ways};
use crate::config::key_file::KeyFileError;
use crate::config::{self, Config, DeviceKind, QuicFileError};
use crate::device::setup::{self, Setup, SetupError};
use crate::device::{self, Device, DeviceError, DeviceOffloads, DeviceSpec, Kind};
use crate::forward::{FloodRate, Learning, Limits, Place, Rules};
use crate::frame::{Layer, Mac};
use crate::node::{NetworkSettings, NodeSettings, PeerSettings};
use crate::offload::Coalesce;
use crate::peer::{NetworkId, PeerId};
use crate::socket::{SocketError, SocketSpec, Underlay};
use crate::sys::Switch;
use crate::sys::link;
use crate::sys::poll::Wake;
use crate::transport::quic::{Quic, TlsError};
use crate::transport::wireguard::WireGuard;

/// The most workers that nobody asked for. On two processors two move up to a sixth more than one,
/// of many flows, and no less of one.
const WORKERS_MAX: usize = 2;

/// Sending sockets for each address family, however many networks there are.
const SOURCE_PORTS_MAX: usize = 128;
/// If nobody asked for a number: at least so many for each network, at most so many for all.
const SHARES_MIN: u8 = 2;
const SHARES_MAX: u8 = 16;

/// Why the daemon could not be built.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum StartError {
    /// A socket.
    #[error(transparent)]
    Socket(#[from] SocketError),
    /// A device.
    #[error("network {network}: {source}")]
    Device {
        /// The network's name.
        network: String,
        /// What failed.
        source: DeviceError,
    },
    /// A device's addresses, bridge or routes.
    #[error("network {network}: {source}")]
    Setup {
        /// The network's name.
        network: String,
        /// What failed.
        source: SetupError,
    },
    /// The MTU leaves no room.
    #[error("network {network}: mtu auto: the path takes {path_mtu} bytes, too few for a tunnel")]
    Mtu {
        /// The network's name.
        network: String,
        /// The smallest path MTU of its peers.
        path_mtu: u16,
    },
    /// A key file.
    #[error(transparent)]
    Key(#[from] KeyFileError),
    /// A certificate or another file of `[quic]`.
    #[error(transparent)]
    Certificate(#[from] QuicFileError),
    /// The TLS library.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The kernel does not have what is switched on.
    #[error(
        "offload.device_big_tcp = \"on\": the kernel is {release:?}; expected Linux 6.3 or newer"
    )]
    BigTcp {
        /// The kernel's release.
        release: String,
    },
    /// Netlink, or the eventfd.
    #[error("cannot {step}: {source}")]
    Io {
        /// What was tried.
        step: &'static str,
        /// The kernel's answer.
        source: io::Error,
    },
}

/// Everything that is open and set up, ready for the workers.
pub struct Build {
    pub(super) node: NodeSettings,
    pub(super) ports: Vec<Port>,
    /// What each worker has for itself; at least one.
    pub(super) ends: Vec<Ends>,
    /// Sessions with WireGuard peers, where there are any.
    pub(super) wireguard: Option<Arc<WireGuard>>,
    /// Connections with QUIC peers, where there are any.
    pub(super) quic: Option<Arc<Quic>>,
    pub(super) busy_poll: Duration,
    teardown: Teardown,
}

/// A worker's own ends: a queue of each device, sockets, and what wakes it.
pub(super) struct Ends {
    pub(super) devices: Vec<Device>,
    pub(super) underlay: Underlay,
    pub(super) wake: Arc<Wake>,
}

/// What is known of a network's device.
pub(super) struct Port {
    pub(super) interface: String,
    pub(super) offloads: DeviceOffloads,
    pub(super) addresses: Vec<IpNet>,
    pub(super) max_entries: u32,
    /// The device's own MAC, where it has one that hosts use.
    own_mac: Option<Mac>,
    /// Which TCP is merged beyond 64 KiB.
    pub(super) big_tcp: Policy,
    /// Why merged packets, or large ones, are not written any more.
    pub(super) coalescing_refused: Vec<String>,
}

impl Port {
    /// What is known of the device of a single tunnel.
    pub(super) fn of_tunnel(device: &Device, big_tcp: Policy) -> Self {
        Self {
            interface: device.name().to_owned(),
            offloads: device.offloads().clone(),
            addresses: Vec::new(),
            max_entries: 0,
            own_mac: None,
            big_tcp,
            coalescing_refused: Vec::new(),
        }
    }
}

impl Build {
    /// What the workers of a single tunnel need; nothing is to be undone.
    pub(super) fn of_tunnel(
        node: NodeSettings,
        ports: Vec<Port>,
        ends: Vec<Ends>,
        engine: Arc<WireGuard>,
        busy_poll: Duration,
    ) -> Self {
        let teardown = Teardown::default();
        Self { node, ports, ends, wireguard: Some(engine), quic: None, busy_poll, teardown }
    }

    /// Gives what makes the first worker look at its questions.
    pub fn waker(&self) -> Arc<dyn Fn() + Send + Sync> {
        let wake = Arc::clone(&self.ends[0].wake);
        Arc::new(move || wake.set())
    }

    /// Gives the steps that undo the set-up; empty from then on.
    pub fn take_teardown(&mut self) -> Teardown {
        std::mem::take(&mut self.teardown)
    }
}

/// Opens and sets up everything.
///
/// # Errors
///
/// Names the network and the step; what was made before is undone.
pub fn build(config: &Config, mut cleaner: Cleaner) -> Result<Build, StartError> {
    let workers = workers(config);
    let sockets = socket_spec(config, workers);
    let underlay = Underlay::open(&sockets)?;
    let ways = Ways::look_up(config, &underlay);
    let wireguard = crossing::engine(config, &ways)?;
    let quic = certificates::engine(config, &ways)?;
    let netlink = Netlink::connect()?;
    let mut ports = Vec::new();
    let mut devices = Vec::new();
    let mut networks = Vec::new();
    for (index, network) in config.networks.iter().enumerate() {
        let id = NetworkId(index as u16);
        let mtu = ways.network_mtu(config, id)?;
        let (device, port) = open_port(config, id, &ways, workers > 1, &netlink, &mut cleaner)?;
        networks.push(network_settings(config, network, mtu, &port));
        ports.push(port);
        devices.push(device);
    }
    let node = NodeSettings {
        networks,
        peers: peer_settings(config, &ways),
        copy_dscp: config.underlay.copy_dscp,
        lanes: sockets.source_ports.into(),
        own_endpoints: crossing::own_endpoints(config),
        hash_seed: RandomState::new().build_hasher().finish(),
    };
    let mut teardown = Teardown::default();
    teardown.push("the set-up of devices that stay", move || {
        drop(cleaner);
        Ok::<_, StartError>(())
    });
    let ends = open_ends(workers, devices, underlay)?;
    Ok(Build { node, ports, ends, wireguard, quic, busy_poll: config.busy_poll, teardown })
}

/// What is configured, or what is best: a device that is there already has one queue as a rule.
fn workers(config: &Config) -> u8 {
    let is_there = |network: &config::Network| link::index(&network.interface).is_some();
    match config.workers {
        Some(workers) => workers,
        None if config.networks.iter().any(is_there) => 1,
        None => {
            available_parallelism().map_or(1, |processors| processors.get().min(WORKERS_MAX) as u8)
        }
    }
}

/// Opens for each further worker what the first has.
pub(super) fn open_ends(
    workers: u8,
    devices: Vec<Device>,
    underlay: Underlay,
) -> Result<Vec<Ends>, StartError> {
    let wake = || {
        let wake = Wake::new();
        wake.map(Arc::new).map_err(|source| StartError::Io { step: "make an eventfd", source })
    };
    let mut ends = vec![Ends { devices, underlay, wake: wake()? }];
    for _ in 1..workers {
        let queues = ends[0].devices.iter().map(|device| {
            let step = "open another queue of a device";
            device.open_queue().map_err(|source| StartError::Io { step, source })
        });
        let devices = queues.collect::<Result<_, _>>()?;
        let underlay = ends[0].underlay.open_sibling()?;
        ends.push(Ends { devices, underlay, wake: wake()? });
    }
    if workers > 1 {
        ends[0].underlay.share_with(workers);
    }
    Ok(ends)
}

fn socket_spec(config: &Config, workers: u8) -> SocketSpec {
    let (underlay, offload, vxlan) = (&config.underlay, &config.offload, config.vxlan.as_ref());
    let has = |kind| config.networks.iter().any(|network| network.device == kind);
    SocketSpec {
        listen: crossing::listen(config),
        wireguard: config.wireguard.as_ref().map(|wireguard| wireguard.listen),
        quic: config.quic.as_ref().map(|quic| quic.listen),
        port: vxlan.filter(|_| has(DeviceKind::Tap)).map(|vxlan| vxlan.port),
        gpe_port: vxlan.filter(|_| has(DeviceKind::Tun)).map(|vxlan| vxlan.gpe_port),
        fwmark: underlay.fwmark,
        bind_device: underlay.bind_device.clone(),
        ttl: underlay.ttl,
        source_ports: source_ports(config, workers),
        receive_buffer_bytes: underlay.receive_buffer_bytes as usize,
        send_buffer_bytes: underlay.send_buffer_bytes as usize,
        gso: switch(offload.udp_gso),
        gro: switch(offload.udp_gro),
        has_siblings: workers > 1,
        is_own_port: false,
    }
}

/// What is configured, or for each network as many as a peer like this one has workers: they share
/// what comes by its source port, and each port more makes runs of small packets shorter.
///
/// Or more: networks that share a source port could be merged into one run by a receiver's GRO, which
/// nobody can cut again without doubt.
fn source_ports(config: &Config, workers: u8) -> u8 {
    let of_kind = |kind| config.networks.iter().filter(|n| n.device == kind).count();
    let networks = of_kind(DeviceKind::Tun).max(of_kind(DeviceKind::Tap)).min(SOURCE_PORTS_MAX);
    let networks = networks as u8;
    let found = || networks.saturating_mul(workers.max(SHARES_MIN)).min(SHARES_MAX);
    config.underlay.source_ports.unwrap_or_else(found).max(networks)
}

fn switch(switch: config::Switch) -> Switch {
    match switch {
        config::Switch::Auto => Switch::Auto,
        config::Switch::On => Switch::On,
        config::Switch::Off => Switch::Off,
    }
}

/// Netlink on a runtime of its own: only the start and the stop use it.
pub(super) struct Netlink {
    pub(super) runtime: Runtime,
    pub(super) handle: rtnetlink::Handle,
}

impl Netlink {
    pub(super) fn connect() -> Result<Self, StartError> {
        let io = |source| StartError::Io { step: "open netlink", source };
        let runtime = Builder::new_current_thread().enable_all().build().map_err(io)?;
        let handle = {
            let _context = runtime.enter();
            let (connection, handle, _) = rtnetlink::new_connection().map_err(io)?;
            runtime.spawn(connection);
            handle
        };
        Ok(Self { runtime, handle })
    }
}

/// Opens a network's device and sets it up.
fn open_port(
    config: &Config,
    id: NetworkId,
    ways: &Ways,
    is_multi_queue: bool,
    netlink: &Netlink,
    cleaner: &mut Cleaner,
) -> Result<(Device, Port), StartError> {
    let network = config.network(id);
    let mtu = ways.network_mtu(config, id)?;
    let name = || network.name.clone();
    let kind = match network.device {
        DeviceKind::Tun => Kind::Tun,
        DeviceKind::Tap => Kind::Tap,
    };
    let gso = switch(config.offload.device_gso);
    let spec = DeviceSpec { name: network.interface.clone(), kind, gso, is_multi_queue };
    let device =
        Device::open(&spec).map_err(|source| StartError::Device { network: name(), source })?;
    let routes = routes(config, id);
    // What is forwarded into a device that takes fewer segments than a GSO packet has, the
    // processor cuts all of.
    let is_for_host = network.bridge.is_none() && !device::may_forward(device.name());
    let setup = Setup {
        // A bridged TAP takes the bridge's MTU: a smaller one would pull the bridge down.
        mtu: network.bridge.is_none().then_some(mtu.into()),
        txqueuelen: Some(network.txqueuelen),
        gso_max_segments: is_for_host.then(|| ways.run_segments(config, id, mtu)),
        addresses: &network.addresses,
        bridge: network.bridge.as_deref(),
        routes: &routes,
        table: match network.routes {
            config::Routes::Table(table) => Some(table),
            config::Routes::Auto | config::Routes::Off => None,
        },
        stays_down: false,
    };
    let applied = netlink
        .runtime
        .block_on(setup::apply(&netlink.handle, device.name(), &setup))
        .map_err(|source| StartError::Setup { network: name(), source })?;
    if device.was_there() {
        let io = |source| StartError::Io { step: "reach the clean-up process", source };
        cleaner.remember(&applied).map_err(io)?;
    }
    let own_mac = if kind == Kind::Tap && network.bridge.is_none() {
        let mac = netlink.runtime.block_on(setup::link_mac(&netlink.handle, device.name()));
        Some(Mac(mac.map_err(|source| StartError::Setup { network: name(), source })?))
    } else {
        None
    };
    if let Some(refused) = &device.offloads().refused {
        warn!(device = device.name(), refused, "the kernel refuses an offload");
    }
    let big_tcp = Policy::new(config.offload.device_big_tcp, kind, own_mac)?;
    let port = Port {
        interface: device.name().to_owned(),
        offloads: device.offloads().clone(),
        big_tcp,
        addresses: network.addresses.clone(),
        max_entries: network.learning.max_entries,
        own_mac,
        coalescing_refused: Vec::new(),
    };
    Ok((device, port))
}

/// The prefixes of a TUN network's peers that its own addresses do not cover already.
fn routes(config: &Config, id: NetworkId) -> Vec<IpNet> {
    let network = config.network(id);
    if network.device == DeviceKind::Tap || network.routes == config::Routes::Off {
        return Vec::new();
    }
    let members = config.peers.iter().filter(|peer| peer.networks.contains(&id));
    let is_covered = |prefix: &IpNet| {
        network.addresses.iter().any(|own| own.prefix_len() > 0 && own.trunc().contains(prefix))
    };
    let all = members.flat_map(|peer| peer.allowed_ips.iter().copied());
    let mut routes: Vec<_> = all.filter(|prefix| !is_covered(prefix)).collect();
    routes.sort();
    routes.dedup();
    routes
}

/// Whether the device takes UDP GSO packets: the kernel has them if it agreed to hand them over, or
/// was not asked to; a write that it refuses then ends it.
fn writes_uso(config: &Config, port: &Port) -> bool {
    port.offloads.uso || config.offload.device_gso == config::Switch::Off
}

fn network_settings(
    config: &Config,
    network: &config::Network,
    mtu: u16,
    port: &Port,
) -> NetworkSettings {
    let learning = &network.learning;
    let coalesces = config.offload.device_gro != config::Switch::Off;
    let entry = |entry: &config::StaticEntry| {
        let place = entry.peer.map_or(Place::Local, |peer| Place::Peer(PeerId::new(peer, 0)));
        (entry.vlan, entry.mac, place)
    };
    let flood = FloodRate { rate_pps: network.flood.rate_pps, burst: network.flood.burst };
    NetworkSettings {
        name: network.name.clone(),
        vni: network.vni,
        layer: match network.device {
            DeviceKind::Tun => Layer::L3,
            DeviceKind::Tap => Layer::L2,
        },
        mtu,
        mss_clamp: network.mss_clamp,
        own_mac: port.own_mac,
        addresses: network.addresses.clone(),
        rules: Rules {
            relay: network.relay,
            routes_groups: false,
            flood,
            learning: Learning {
                age: learning.ageing,
                limits: Limits {
                    network: learning.max_entries,
                    per_peer: learning.max_entries_per_peer,
                    local: learning.max_entries_local,
                },
                move_limit: learning.move_limit,
                move_window: learning.move_window,
                hold_down: learning.hold_down,
            },
        },
        static_entries: network.static_entries.iter().map(entry).collect(),
        coalesce: Coalesce {
            tcp: coalesces,
            udp: coalesces && writes_uso(config, port),
            big_tcp: port.big_tcp.given(device::may_forward(&port.interface)),
        },
    }
}

fn peer_settings(config: &Config, ways: &Ways) -> Vec<PeerSettings> {
    let peer = |(peer, way): (&config::Peer, &Way)| PeerSettings {
        name: peer.name.clone(),
        crossing: way.crossing,
        networks: peer.networks.clone(),
        allowed_ips: (!peer.allowed_ips.is_empty()).then(|| peer.allowed_ips.clone()),
        allowed_macs: (!peer.allowed_macs.is_empty()).then(|| peer.allowed_macs.clone()),
        path_mtu: way.path_mtu,
    };
    config.peers.iter().zip(ways.iter()).map(peer).collect()
}
