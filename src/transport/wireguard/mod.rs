//! WireGuard: sessions with peers, by the boringtun crate, for runs of packets instead of single
//! ones. The clock and the random numbers of the handshake are boringtun's own.
//!
//! Outbound, [`WireGuard::seal`] turns the packets of a transmit into messages for one send.
//! Inbound, [`WireGuard::open`] turns what a receive call gave into packets. [`WireGuard::tick`]
//! does what is due by time. Handshakes and what else has to be said comes out as a [`Post`].
//! Each peer has a lock of its own, so that workers seal and open side by side; none of them is
//! held over a system call. What boringtun leaves to its user is here: the demultiplexing, the
//! gate in front of handshakes, packets that wait, limits of a key, keepalives, roaming.

mod gate;
mod index;
mod key;
mod message;
mod next;
mod open;
mod peer;
mod seal;
#[cfg(test)]
mod tests;
mod waiting;

use std::collections::{HashMap, HashSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::{Duration, Instant};

use boringtun::noise::rate_limiter::RateLimiter;

use self::gate::Gate;
use self::index::Indices;
use self::peer::State;
use super::Transmit;
use super::opened::Loss;
use crate::drops::DropReason;
use crate::peer::PeerId;

pub use key::{KeyError, NoRandomness, PresharedKey, PrivateKey, PublicKey};
pub use message::DATA_OVERHEAD;

/// Peers that a handshake is begun with at the start, before there is anything to send; to the
/// others it is when there is.
const EAGER_MAX: usize = 64;

/// Endpoints that need no cookie while many come; more than that are not remembered.
const ENDPOINTS_MAX: usize = 65_536;

/// A peer to speak with.
pub struct PeerSpec {
    /// Which one.
    pub id: PeerId,
    /// Its public key.
    pub key: PublicKey,
    /// The key that both share beforehand, if there is one.
    pub preshared: Option<PresharedKey>,
    /// How long the way to it may be silent, if it has to stay open.
    pub keepalive: Option<Duration>,
    /// Where it is, as far as known.
    pub endpoint: Option<SocketAddr>,
}

/// A message that is not part of a run: of a handshake, a keepalive, or a packet that waited.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Letter {
    /// Where it goes.
    pub to: SocketAddr,
    /// The address of ours to send from.
    pub from: Option<IpAddr>,
    /// The peer, if it is one.
    pub peer: Option<PeerId>,
    /// The outer traffic class.
    pub tos: u8,
    /// The message.
    pub bytes: Vec<u8>,
}

/// What others may want to know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// A session began.
    Established {
        /// With whom.
        peer: PeerId,
    },
    /// A peer is elsewhere.
    Moved {
        /// Which one.
        peer: PeerId,
        /// Its endpoint.
        to: SocketAddr,
        /// The address of ours that it sends to.
        local: Option<IpAddr>,
    },
}

/// What is left to be done after a call: letters to send, losses to count.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Post {
    /// To send, in this order.
    pub letters: Vec<Letter>,
    /// To count.
    pub losses: Vec<Loss>,
    /// To know.
    pub events: Vec<Event>,
}

/// What is known of a peer.
#[derive(Debug)]
pub struct PeerStatus {
    /// Its public key.
    pub key: PublicKey,
    /// Where it is.
    pub endpoint: Option<SocketAddr>,
    /// When the newest session began.
    pub established: Option<Instant>,
    /// When something authentic came from it.
    pub last_received: Option<Instant>,
    /// Since when something has been sent that it has to answer, and nothing came from it: packets
    /// within ten seconds, and handshakes.
    pub unanswered_since: Option<Instant>,
    /// Bytes of messages to it.
    pub sent_bytes: u64,
    /// Bytes of authentic messages from it.
    pub received_bytes: u64,
    /// How long the way to it may be silent.
    pub keepalive: Option<Duration>,
}

/// Room for one message under way; a worker has its own.
pub struct Scratch(Box<[u8]>);

impl Default for Scratch {
    fn default() -> Self {
        Self(vec![0; crate::buffer::SLOT_SIZE].into())
    }
}

impl Post {
    fn lose(&mut self, transmit: &Transmit, reason: DropReason, packets: u64) {
        self.losses.push(Loss::from(transmit, reason, packets));
    }

    /// Whether nothing is left to be done.
    pub fn is_empty(&self) -> bool {
        self.letters.is_empty() && self.losses.is_empty() && self.events.is_empty()
    }
}

/// Who we are, and what all tunnels share.
struct Identity {
    private: PrivateKey,
    public: PublicKey,
    mac1_key: [u8; 32],
    limiter: Arc<RateLimiter>,
    indices: Arc<Indices>,
    rekey_after: Duration,
}

impl Identity {
    fn new(private: PrivateKey, rekey_after: Duration, indices: Arc<Indices>) -> Self {
        let public = private.public();
        // The gate has judged before: every tunnel lets pass what comes to it.
        let limiter = Arc::new(RateLimiter::new(&public.to_x25519(), u64::MAX));
        let mac1_key = gate::mac1_key(public.as_bytes());
        Self { private, public, mac1_key, limiter, indices, rekey_after }
    }
}

/// A peer behind its lock.
struct Peer {
    key: PublicKey,
    state: Mutex<State>,
}

impl Peer {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The peers, by what they are found by. It may be locked by who has a peer's lock, so nobody
/// waits for a peer who has this one.
#[derive(Default)]
struct Directory {
    slots: Vec<Option<(PeerId, Arc<Peer>)>>,
    by_key: HashMap<PublicKey, PeerId>,
    /// Peers with a keepalive: their timers run without a session too.
    kept_alive: HashSet<PeerId>,
    endpoints: HashSet<SocketAddr>,
}

/// All WireGuard peers of this node; shared by its workers.
pub struct WireGuard {
    identity: RwLock<Arc<Identity>>,
    gate: Mutex<Gate>,
    directory: RwLock<Directory>,
}

impl WireGuard {
    /// Makes it without peers. A session that we asked for is renewed after `rekey_after`, at most
    /// 120 seconds.
    pub fn new(private: PrivateKey, rekey_after: Duration, now: Instant) -> Self {
        let identity = Identity::new(private, rekey_after, Arc::default());
        let gate = Mutex::new(Gate::new(identity.public.as_bytes(), now));
        let identity = RwLock::new(Arc::new(identity));
        Self { identity, gate, directory: RwLock::default() }
    }

    /// Becomes somebody else: all sessions end.
    pub fn set_private(&self, private: PrivateKey, now: Instant) {
        let former = self.identity();
        let indices = Arc::clone(&former.indices);
        let identity = Identity::new(private, former.rekey_after, indices);
        *self.gate() = Gate::new(identity.public.as_bytes(), now);
        *self.identity.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(identity);
        for peer in self.peers() {
            peer.lock().end_sessions();
        }
    }

    /// Gives our public key.
    pub fn public(&self) -> PublicKey {
        self.identity().public
    }

    /// Adds a peer; one with the same id or key is forgotten.
    pub fn add(&self, spec: PeerSpec, now: Instant) {
        let PeerSpec { id, key, preshared, keepalive, endpoint } = spec;
        let mut directory = self.directory_mut();
        if let Some(former) = directory.by_key.insert(key, id)
            && let Some(slot) = directory.slots.get_mut(former.slot())
        {
            *slot = None;
        }
        if keepalive.is_some() {
            directory.kept_alive.insert(id);
        }
        directory.endpoints.extend(endpoint);
        let state = Mutex::new(State::new(id, key, preshared, keepalive, endpoint, now));
        if directory.slots.len() <= id.slot() {
            directory.slots.resize_with(id.slot() + 1, || None);
        }
        directory.slots[id.slot()] = Some((id, Arc::new(Peer { key, state })));
    }

    /// Removes a peer: its sessions end, and what waits for one is lost.
    pub fn remove(&self, id: PeerId) {
        let mut directory = self.directory_mut();
        let slot = directory.slots.get_mut(id.slot());
        let Some((_, peer)) = slot.and_then(|slot| slot.take_if(|(own, _)| *own == id)) else {
            return;
        };
        directory.kept_alive.remove(&id);
        if directory.by_key.get(&peer.key) == Some(&id) {
            directory.by_key.remove(&peer.key);
        }
    }

    /// Asks peers whose endpoint is known for a session, before there is anything to send.
    pub fn start(&self, now: Instant, post: &mut Post) {
        let eager: Vec<_> = self.peers().take(EAGER_MAX).collect();
        for peer in eager {
            peer.lock().initiate(now, &self.identity(), post);
        }
    }

    /// Does what is due by time; to be called every 100 ms or more often.
    pub fn tick(&self, now: Instant, post: &mut Post) {
        let mut ids = self.identity().indices.peers();
        ids.extend(&self.directory().kept_alive);
        for id in ids {
            let Some(peer) = self.peer(id) else { continue };
            let mut state = peer.lock();
            if state.due <= now {
                state.tick(now, &self.identity(), post);
            }
        }
    }

    /// Changes where a peer is: its name has another address now.
    pub fn set_endpoint(&self, id: PeerId, endpoint: SocketAddr) {
        if let Some(peer) = self.peer(id) {
            // From which address of ours it is reached, the kernel says again.
            let mut state = peer.lock();
            (state.endpoint, state.local) = (Some(endpoint), None);
            state.unanswered_since = None;
            drop(state);
            self.remember_endpoint(endpoint);
        }
    }

    /// Asks a peer for a session, unless that is under way.
    pub fn initiate(&self, id: PeerId, now: Instant, post: &mut Post) {
        if let Some(peer) = self.peer(id) {
            peer.lock().initiate(now, &self.identity(), post);
        }
    }

    /// Changes a peer's preshared key; its session goes on until there is one with the new key.
    pub fn set_preshared(
        &self,
        id: PeerId,
        preshared: Option<PresharedKey>,
        now: Instant,
        post: &mut Post,
    ) {
        if let Some(peer) = self.peer(id) {
            peer.lock().set_preshared(now, preshared, &self.identity(), post);
        }
    }

    /// Changes how long the way to a peer may be silent.
    pub fn set_keepalive(&self, id: PeerId, keepalive: Option<Duration>) {
        let Some(peer) = self.peer(id) else { return };
        peer.lock().set_keepalive(keepalive);
        let mut directory = self.directory_mut();
        match keepalive {
            Some(_) => directory.kept_alive.insert(id),
            None => directory.kept_alive.remove(&id),
        };
    }

    /// Tells of a peer.
    pub fn status(&self, id: PeerId) -> Option<PeerStatus> {
        let peer = self.peer(id)?;
        let state = peer.lock();
        Some(PeerStatus {
            key: peer.key,
            endpoint: state.endpoint,
            established: state.established,
            last_received: state.last_received(),
            unanswered_since: state.unanswered_since,
            sent_bytes: state.sent_bytes,
            received_bytes: state.received_bytes,
            keepalive: state.keepalive(),
        })
    }

    /// Gives a copy of a peer's preshared key.
    pub fn preshared(&self, id: PeerId) -> Option<PresharedKey> {
        self.peer(id)?.lock().preshared().cloned()
    }

    /// Gives who we are. For the making of a tunnel it is asked while its peer is locked:
    /// [`WireGuard::set_private`] changes it first, and then ends under each peer's lock what was
    /// made before.
    fn identity(&self) -> Arc<Identity> {
        Arc::clone(&self.identity.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn gate(&self) -> MutexGuard<'_, Gate> {
        self.gate.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn directory(&self) -> RwLockReadGuard<'_, Directory> {
        self.directory.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn directory_mut(&self) -> RwLockWriteGuard<'_, Directory> {
        self.directory.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn peer(&self, id: PeerId) -> Option<Arc<Peer>> {
        let directory = self.directory();
        let (own, peer) = directory.slots.get(id.slot())?.as_ref()?;
        (*own == id).then(|| Arc::clone(peer))
    }

    fn peers(&self) -> impl Iterator<Item = Arc<Peer>> + use<> {
        let peers: Vec<_> =
            self.directory().slots.iter().flatten().map(|it| it.1.clone()).collect();
        peers.into_iter()
    }

    fn by_key(&self, key: &PublicKey) -> Option<Arc<Peer>> {
        let id = *self.directory().by_key.get(key)?;
        self.peer(id)
    }

    fn is_endpoint(&self, address: SocketAddr) -> bool {
        self.directory().endpoints.contains(&address)
    }

    /// Peers move: addresses that none has any more stay known until there are too many.
    fn remember_endpoint(&self, address: SocketAddr) {
        let mut directory = self.directory_mut();
        if directory.endpoints.len() >= ENDPOINTS_MAX {
            directory.endpoints.clear();
        }
        directory.endpoints.insert(address);
    }
}
