//! What moves the packets, behind the UAPI: [`Tunnel`], and whose key and addresses are whose.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use nix::errno::Errno;
use thiserror::Error;

use super::owners::Owners;
use super::uapi::{AllowedIp, PeerSet, PeerSnapshot, Set, Snapshot};
use super::{Interface, Start, Started};
use crate::daemon::{StartError, Tunnel};
use crate::device::DeviceError;
use crate::peer::PeerId;
use crate::socket::SocketError;
use crate::transport::wireguard::{PrivateKey, PublicKey};

/// Why the interface cannot be made.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum EngineError {
    /// The device is not made: here it belongs to no network with a name of its own.
    #[error(transparent)]
    Interface(DeviceError),
    /// A socket or the workers.
    #[error(transparent)]
    Start(StartError),
    /// A device that somebody else has opened.
    #[error("WG_TUN_FD: a device that is open already cannot be used; expected only a name")]
    Device,
    /// The descriptor.
    #[error("cannot duplicate the device's descriptor: {0}")]
    Duplicate(#[source] io::Error),
}

impl From<StartError> for EngineError {
    fn from(error: StartError) -> Self {
        match error {
            StartError::Device { source, .. } => Self::Interface(source),
            other => Self::Start(other),
        }
    }
}

/// Makes the interface; see [`super::run()`].
///
/// # Errors
///
/// See [`EngineError`]; nothing is left behind.
pub fn start(start: Start<'_>) -> Result<Started, EngineError> {
    if start.device.is_some() {
        return Err(EngineError::Device);
    }
    let tunnel = Tunnel::start(start.name.as_str())?;
    let device = tunnel.device().map_err(EngineError::Duplicate)?;
    let ended = Box::pin(tunnel.ended());
    let state = State {
        tunnel,
        private: None,
        own: None,
        fwmark: 0,
        peers: HashMap::new(),
        order: BTreeMap::new(),
        owners: Owners::default(),
    };
    Ok(Started { interface: Arc::new(Engine(Mutex::new(state))), device, ended })
}

/// The interface, as the UAPI sees it. Changes are made one after the other.
struct Engine(Mutex<State>);

struct State {
    tunnel: Tunnel,
    private: Option<PrivateKey>,
    /// The public key that belongs to it.
    own: Option<PublicKey>,
    fwmark: u32,
    peers: HashMap<PublicKey, Peer>,
    /// The keys in the order in which they came, by [`Peer::number`].
    order: BTreeMap<u64, PublicKey>,
    owners: Owners,
}

struct Peer {
    id: PeerId,
    number: u64,
}

impl Engine {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Interface for Engine {
    fn get(&self) -> Snapshot {
        let state = self.lock();
        let now = (Instant::now(), SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default());
        let peers = state.order.values().filter_map(|key| state.snapshot(key, now));
        Snapshot {
            private_key: state.private.as_ref().and_then(copy),
            listen_port: state.tunnel.port(),
            fwmark: state.fwmark,
            peers: peers.collect(),
        }
    }

    fn set(&self, change: Set) -> Result<(), Errno> {
        let mut state = self.lock();
        // What can fail comes first: after it nothing does.
        if change.listen_port.is_some() || change.fwmark.is_some() {
            let listened = state.tunnel.listen(change.listen_port, change.fwmark);
            listened.map_err(|error| errno(&error))?;
            state.fwmark = change.fwmark.unwrap_or(state.fwmark);
        }
        if let Some(private) = change.private_key {
            state.set_private(private)?;
        }
        if change.replace_peers {
            let all = std::mem::take(&mut state.order);
            all.values().for_each(|key| state.remove(key));
        }
        let has_routes = change.replace_peers
            || change
                .peers
                .iter()
                .any(|it| it.remove || it.replace_allowed_ips || !it.allowed_ips.is_empty());
        let result = change.peers.into_iter().try_for_each(|peer| state.set_peer(peer));
        if has_routes {
            state.set_routes();
        }
        state.tunnel.wake();
        result
    }
}

/// Gives what the kernel says to a port or a mark.
fn errno(error: &SocketError) -> Errno {
    let cause = match error {
        SocketError::Listen { cause, .. }
        | SocketError::SourcePort { cause, .. }
        | SocketError::Setting { cause, .. }
        | SocketError::Offload { cause, .. } => cause.raw_os_error(),
        SocketError::SamePort { .. } => None,
    };
    cause.map_or(Errno::EADDRINUSE, Errno::from_raw)
}

/// The private key is asked for by `wg showconf`.
fn copy(key: &PrivateKey) -> Option<PrivateKey> {
    PrivateKey::from_bytes(key.as_bytes()).ok()
}

impl State {
    fn set_private(&mut self, private: Option<PrivateKey>) -> Result<(), Errno> {
        let bytes = |key: &Option<PrivateKey>| key.as_ref().map(|key| *key.as_bytes());
        if bytes(&self.private) == bytes(&private) {
            return Ok(());
        }
        self.tunnel.set_private(private.as_ref().and_then(copy)).map_err(|_| Errno::EIO)?;
        self.own = private.as_ref().map(PrivateKey::public);
        self.private = private;
        // Nobody is his own peer.
        if let Some(own) = self.own {
            self.remove(&own);
            self.set_routes();
        }
        Ok(())
    }

    fn set_peer(&mut self, change: PeerSet) -> Result<(), Errno> {
        let key = change.public_key;
        if self.own == Some(key) {
            return Ok(());
        }
        if change.remove {
            self.remove(&key);
            return Ok(());
        }
        let id = match self.peers.get(&key) {
            Some(peer) => peer.id,
            None if change.update_only => return Ok(()),
            None => self.add(key)?,
        };
        if let Some(preshared) = change.preshared_key {
            self.tunnel.set_preshared(id, preshared);
        }
        if let Some(endpoint) = change.endpoint {
            self.tunnel.set_endpoint(id, endpoint);
        }
        if let Some(secs) = change.persistent_keepalive_interval {
            let keepalive = (secs != 0).then(|| Duration::from_secs(secs.into()));
            self.tunnel.set_keepalive(id, keepalive);
        }
        if change.replace_allowed_ips {
            self.owners.remove_all(&key);
        }
        for allowed in change.allowed_ips {
            match allowed {
                AllowedIp::Add(net) => self.owners.add(key, net),
                AllowedIp::Remove(net) => self.owners.remove(key, net),
            }
        }
        Ok(())
    }

    fn add(&mut self, key: PublicKey) -> Result<PeerId, Errno> {
        let id = self.tunnel.add_peer(key).ok_or(Errno::EINVAL)?;
        let number = self.order.last_key_value().map_or(0, |(last, _)| last + 1);
        self.peers.insert(key, Peer { id, number });
        self.order.insert(number, key);
        Ok(id)
    }

    fn remove(&mut self, key: &PublicKey) {
        if let Some(peer) = self.peers.remove(key) {
            self.tunnel.remove_peer(peer.id);
            self.order.remove(&peer.number);
            self.owners.remove_all(key);
        }
    }

    fn set_routes(&self) {
        let of = |(key, peer): (_, &Peer)| {
            let id = peer.id;
            self.owners.of(key).map(move |net| (net, id))
        };
        let routes: Vec<_> = self.peers.iter().flat_map(of).collect();
        self.tunnel.set_routes(&routes);
    }

    fn snapshot(&self, key: &PublicKey, now: (Instant, Duration)) -> Option<PeerSnapshot> {
        let peer = self.peers.get(key)?;
        let status = self.tunnel.status(peer.id)?;
        let since = |at| now.1.saturating_sub(now.0.saturating_duration_since(at));
        Some(PeerSnapshot {
            public_key: *key,
            preshared_key: self.tunnel.preshared(peer.id),
            endpoint: status.endpoint,
            last_handshake: status.established.map(since),
            tx_bytes: status.sent_bytes,
            rx_bytes: status.received_bytes,
            persistent_keepalive_interval: status
                .keepalive
                .map_or(0, |keepalive| u16::try_from(keepalive.as_secs()).unwrap_or(u16::MAX)),
            allowed_ips: self.owners.of(key).collect(),
        })
    }
}
