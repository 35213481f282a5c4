//! One WireGuard interface that is configured while it is at work: what `tunctl wg` stands on.
//!
//! The same workers and the same node as the daemon's, with one TUN network, and neither a file
//! nor an API socket of ours. What changes is put under the node's lock; new sockets are handed to
//! each worker, which takes them up between two batches.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::io;
use std::net::{Ipv6Addr, SocketAddr};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::available_parallelism;
use std::time::{Duration, Instant};

use ipnet::IpNet;

use super::big_tcp::Policy;
use super::build::{self, Build, Netlink, Port, StartError};
use super::worker::{Worker, WorkerHandle};
use crate::api::query;
use crate::config::{self, defaults};
use crate::device::setup::{self, Setup};
use crate::device::{self, Device, DeviceSpec, Kind};
use crate::forward::{FloodRate, Learning, Limits, Routes, Rules};
use crate::frame::Layer;
use crate::node::{Crossing, NetworkSettings, NodeSettings, PeerSettings};
use crate::offload::Coalesce;
use crate::peer::{NetworkId, PeerId, Vni};
use crate::socket::{SocketError, SocketSpec, Underlay};
use crate::sys::Switch;
use crate::sys::capability::{self, Capability};
use crate::transport::overhead::{Wrap, run_segments};
use crate::transport::wireguard::{
    NoRandomness, PeerSpec, PeerStatus, Post, PresharedKey, PrivateKey, PublicKey, WireGuard,
};

/// The MTU that wireguard-go gives a new interface.
const MTU: u16 = 1420;

/// The only network.
const NETWORK: NetworkId = NetworkId(0);

/// A peer's name in the log: the start of its key, as `wg` shortens it.
const NAME_LEN: usize = 8;

/// A WireGuard interface.
pub struct Tunnel {
    engine: Arc<WireGuard>,
    workers: WorkerHandle,
    spec: Mutex<SocketSpec>,
    port: Mutex<u16>,
    /// A duplicate, to notice when the device is removed.
    device: OwnedFd,
    /// Nobody asks the workers by it; it tells that they have ended.
    queries: query::QuerySender,
}

impl Tunnel {
    /// Makes an interface without a key and without peers, down, on any port. The calling thread,
    /// and those that it starts, then have no capability but CAP_NET_ADMIN, for devices and marks,
    /// and CAP_NET_BIND_SERVICE, for ports.
    ///
    /// # Errors
    ///
    /// Names the step that failed; nothing is left behind.
    pub fn start(name: &str) -> Result<Self, StartError> {
        let workers = available_parallelism().map_or(1, |cores| cores.get().min(2)) as u8;
        let spec = DeviceSpec {
            name: name.to_owned(),
            kind: Kind::Tun,
            gso: Switch::Auto,
            is_multi_queue: workers > 1,
        };
        let network = || name.to_owned();
        let device = Device::open(&spec)
            .map_err(|source| StartError::Device { network: network(), source })?;
        let netlink = Netlink::connect()?;
        let setup = Setup {
            mtu: Some(MTU.into()),
            gso_max_segments: Some(run_segments(Wrap::WireGuard, MTU, false)),
            stays_down: true,
            ..Setup::default()
        };
        netlink
            .runtime
            .block_on(setup::apply(&netlink.handle, device.name(), &setup))
            .map_err(|source| StartError::Setup { network: network(), source })?;
        let io = |step| move |source| StartError::Io { step, source };
        let duplicate = device.as_fd().try_clone_to_owned().map_err(io("duplicate the device"))?;
        let spec = socket_spec();
        let underlay = Underlay::open(&spec)?;
        let port = underlay.port();
        let no_key = PrivateKey::generate().map_err(|NoRandomness| {
            io("make a key")(io::Error::other("the kernel gives no random numbers"))
        })?;
        let rekey_after = Duration::from_secs(defaults::REKEY_AFTER_SECS.into());
        let engine = Arc::new(WireGuard::new(no_key, rekey_after, Instant::now()));
        let big_tcp = Policy::new(config::Switch::Auto, Kind::Tun, None)?;
        let coalesce = Coalesce {
            tcp: true,
            udp: device.offloads().uso,
            big_tcp: big_tcp.given(device::may_forward(device.name())),
        };
        let node = node_settings(device.name(), coalesce);
        let ports = vec![Port::of_tunnel(&device, big_tcp)];
        let ends = build::open_ends(workers, vec![device], underlay)?;
        let busy_poll = Duration::from_micros(defaults::BUSY_POLL_US.into());
        let build = Build::of_tunnel(node, ports, ends, Arc::clone(&engine), busy_poll);
        let (queries, answers) = query::channel(build.waker());
        // All threads are started later: there is nobody who keeps more.
        capability::keep_only(&[Capability::NetAdmin, Capability::NetBindService])
            .map_err(io("drop capabilities"))?;
        let workers = Worker::spawn(build, answers)
            .map_err(|error| io("start the workers")(io::Error::other(error)))?;
        Ok(Self {
            engine,
            workers,
            spec: Mutex::new(spec),
            port: Mutex::new(port),
            device: duplicate,
            queries,
        })
    }

    /// Gives a duplicate of the device's descriptor.
    ///
    /// # Errors
    ///
    /// Fails if the process has no descriptor left.
    pub fn device(&self) -> io::Result<OwnedFd> {
        self.device.try_clone()
    }

    /// Waits for the end of the workers: the device is removed, or a fault.
    pub fn ended(&self) -> impl Future<Output = ()> + use<> {
        let queries = self.queries.clone();
        async move { queries.closed().await }
    }

    /// Gives the UDP port in use.
    pub fn port(&self) -> u16 {
        *self.port.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Listens on another port, zero for any; or with another mark on what is sent.
    ///
    /// # Errors
    ///
    /// Fails if the port is taken, or the mark not permitted; then nothing has changed.
    pub fn listen(&self, port: Option<u16>, mark: Option<u32>) -> Result<(), SocketError> {
        let mut spec = self.spec.lock().unwrap_or_else(PoisonError::into_inner);
        let mut current = self.port.lock().unwrap_or_else(PoisonError::into_inner);
        let mut wanted = spec.clone();
        if let Some(mark) = mark {
            wanted.fwmark = (mark != 0).then_some(mark);
        }
        // Sockets of ours that are bound to the port do not hinder new ones: they are siblings.
        let port = port.unwrap_or(*current);
        wanted.wireguard = Some(SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), port));
        wanted.is_own_port = port == *current;
        // New sockets lose what is under way to the former ones: not for nothing.
        let is_same_port = port == *current || wanted.wireguard == spec.wireguard;
        if is_same_port && wanted.fwmark == spec.fwmark {
            return Ok(());
        }
        let first = Underlay::open(&wanted)?;
        let bound = first.port();
        let mut all = vec![first];
        for _ in 1..self.workers.shared().workers() {
            all.push(all[0].open_sibling()?);
        }
        self.workers.shared().hand_over(all);
        (*spec, *current) = (wanted, bound);
        Ok(())
    }

    /// Becomes who has this key; without one, nobody whom a peer knows.
    ///
    /// # Errors
    ///
    /// Fails if a key is needed and the kernel has no random numbers.
    pub fn set_private(&self, key: Option<PrivateKey>) -> Result<(), NoRandomness> {
        let key = key.map_or_else(PrivateKey::generate, Ok)?;
        let mut post = Post::default();
        self.engine.set_private(key, Instant::now(), &mut post);
        self.workers.shared().post(post);
        Ok(())
    }

    /// Adds a peer; none if there are as many as there can be.
    pub fn add_peer(&self, key: PublicKey) -> Option<PeerId> {
        let name = key.to_string().chars().take(NAME_LEN).collect();
        let crossing = Crossing::WireGuard { endpoint: None, tunnel: None };
        let settings = PeerSettings {
            name,
            crossing,
            networks: vec![NETWORK],
            allowed_ips: None,
            allowed_macs: None,
            path_mtu: None,
        };
        let id = self.workers.shared().core().node.add_peer(&settings)?;
        let spec = PeerSpec { id, key, preshared: None, keepalive: None, endpoint: None };
        self.engine.add(spec, Instant::now());
        Some(id)
    }

    /// Removes a peer.
    pub fn remove_peer(&self, id: PeerId) {
        let mut post = Post::default();
        self.engine.remove(id, &mut post);
        let mut core = self.workers.shared().core();
        for loss in post.losses {
            core.node.count_drop(loss.network, loss.peer, loss.reason, loss.packets);
        }
        core.node.remove_peer(id);
    }

    /// Says where a peer is.
    pub fn set_endpoint(&self, id: PeerId, endpoint: SocketAddr) {
        self.engine.set_endpoint(id, endpoint);
        self.workers.shared().core().node.handle_moved(id, endpoint, None);
    }

    /// Changes a peer's preshared key; its session goes on until there is one with the new key.
    pub fn set_preshared(&self, id: PeerId, preshared: Option<PresharedKey>) {
        let mut post = Post::default();
        self.engine.set_preshared(id, preshared, Instant::now(), &mut post);
        self.workers.shared().post(post);
    }

    /// Changes how long the way to a peer may be silent.
    pub fn set_keepalive(&self, id: PeerId, keepalive: Option<Duration>) {
        self.engine.set_keepalive(id, keepalive);
    }

    /// Says which addresses belong to whom.
    pub fn set_routes(&self, routes: &[(IpNet, PeerId)]) {
        let routes = Routes::new(routes);
        let former = self.workers.shared().core().node.set_routes(NETWORK, routes);
        // Not in the hands of the lock.
        drop(former);
    }

    /// Gives a copy of a peer's preshared key.
    pub fn preshared(&self, id: PeerId) -> Option<PresharedKey> {
        self.engine.preshared(id)
    }

    /// Tells of a peer.
    pub fn status(&self, id: PeerId) -> Option<PeerStatus> {
        self.engine.status(id)
    }

    /// Asks for sessions with peers that something waits for, or whose way is kept open.
    pub fn wake(&self) {
        let mut post = Post::default();
        self.engine.tick(Instant::now(), &mut post);
        self.workers.shared().post(post);
    }
}

impl Drop for Tunnel {
    fn drop(&mut self) {
        self.workers.stop();
    }
}

fn socket_spec() -> SocketSpec {
    let any = Ipv6Addr::UNSPECIFIED.into();
    SocketSpec {
        listen: any,
        port: None,
        gpe_port: None,
        wireguard: Some(SocketAddr::new(any, 0)),
        quic: None,
        fwmark: None,
        bind_device: None,
        ttl: defaults::TTL,
        source_ports: 1,
        receive_buffer_bytes: defaults::SOCKET_BUFFER_BYTES as usize,
        send_buffer_bytes: defaults::SOCKET_BUFFER_BYTES as usize,
        gso: Switch::Auto,
        gro: Switch::Auto,
        // Also alone: the sockets that follow are bound before these are closed.
        has_siblings: true,
        is_own_port: false,
    }
}

fn node_settings(name: &str, coalesce: Coalesce) -> NodeSettings {
    let unlimited = FloodRate { rate_pps: u32::MAX, burst: u32::MAX };
    let network = NetworkSettings {
        name: name.to_owned(),
        vni: Vni::from_bytes([0; 3]),
        layer: Layer::L3,
        // The device's MTU is whatever its owner sets; the path limits what is larger.
        mtu: u16::MAX,
        mss_clamp: false,
        own_mac: None,
        addresses: Vec::new(),
        rules: Rules {
            relay: false,
            routes_groups: true,
            flood: unlimited,
            learning: Learning {
                age: Duration::from_secs(300),
                limits: Limits { network: 0, per_peer: 0, local: 0 },
                move_limit: 1,
                move_window: Duration::from_secs(1),
                hold_down: Duration::from_secs(1),
            },
        },
        static_entries: Vec::new(),
        coalesce,
    };
    NodeSettings {
        networks: vec![network],
        peers: Vec::new(),
        copy_dscp: false,
        lanes: 1,
        own_endpoints: Vec::new(),
        hash_seed: RandomState::new().build_hasher().finish(),
    }
}
