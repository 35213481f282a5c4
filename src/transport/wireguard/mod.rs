//! WireGuard: sessions with peers, by the boringtun crate, for runs of packets instead of single
//! ones. The clock and the random numbers of the handshake are boringtun's own.
//!
//! Outbound, [`WireGuard::seal`] turns the packets of a transmit into messages for one send.
//! Inbound, [`WireGuard::open`] turns what a receive call gave into packets. [`WireGuard::tick`]
//! does what is due by time. Handshakes and what else has to be said comes out as a [`Post`].
//! Each peer has a lock of its own, so that workers seal and open side by side; none of them is
//! held over a system call. What boringtun leaves to its user is here: the demultiplexing, the
//! gate in front of handshakes, packets that wait, limits of a key, keepalives, roaming.

mod directory;
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

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::{Duration, Instant};

use boringtun::noise::rate_limiter::RateLimiter;

use self::directory::Directory;
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

    /// Becomes somebody else: all sessions end. What waits for one asks for the next.
    pub fn set_private(&self, private: PrivateKey, now: Instant, post: &mut Post) {
        let former = self.identity();
        let indices = Arc::clone(&former.indices);
        let identity = Identity::new(private, former.rekey_after, indices);
        *self.gate() = Gate::new(identity.public.as_bytes(), now);
        *self.identity.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(identity);
        for peer in self.peers() {
            let mut state = peer.lock();
            state.end_sessions();
            if !state.waiting.is_empty() {
                state.initiate(now, &self.identity(), post);
            }
        }
    }

    /// Gives our public key.
    pub fn public(&self) -> PublicKey {
        self.identity().public
    }

    /// Adds a peer, whose id and key nobody has: such a one is forgotten.
    pub fn add(&self, spec: PeerSpec, now: Instant) {
        let key = spec.key;
        let former = self.directory().find(&key);
        for id in former.into_iter().chain([spec.id]) {
            self.remove(id, &mut Post::default());
        }
        let (id, is_kept_alive) = (spec.id, spec.keepalive.is_some());
        let peer = Arc::new(Peer { key, state: Mutex::new(State::new(spec, now)) });
        self.directory_mut().add(id, &peer, is_kept_alive);
        self.note_endpoint(&mut peer.lock());
    }

    /// Removes a peer: its sessions end, and what waits for one is lost.
    pub fn remove(&self, id: PeerId, post: &mut Post) {
        let Some(peer) = self.directory_mut().remove(id) else { return };
        // Who has found it before may still be at work with it.
        let mut state = peer.lock();
        state.is_removed = true;
        state.end_sessions();
        state.lose_waiting(post);
        self.note_endpoint(&mut state);
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
        ids.extend(self.directory().kept_alive());
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
        let Some(peer) = self.peer(id) else { return };
        let mut state = peer.lock();
        // From which address of ours it is reached, the kernel says again.
        (state.endpoint, state.local) = (Some(endpoint), None);
        state.unanswered_since = None;
        self.note_endpoint(&mut state);
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
        self.directory_mut().keep_alive(id, keepalive.is_some());
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
        self.directory().peer(id)
    }

    fn peers(&self) -> impl Iterator<Item = Arc<Peer>> + use<> {
        let peers: Vec<_> = self.directory().peers().cloned().collect();
        peers.into_iter()
    }

    fn by_key(&self, key: &PublicKey) -> Option<Arc<Peer>> {
        let directory = self.directory();
        directory.peer(directory.find(key)?)
    }

    fn is_endpoint(&self, address: SocketAddr) -> bool {
        self.directory().is_endpoint(address)
    }

    /// Tells the directory where a peer is now; a peer that was removed is nowhere.
    fn note_endpoint(&self, state: &mut State) {
        let to = state.endpoint.filter(|_| !state.is_removed);
        let former = std::mem::replace(&mut state.noted_endpoint, to);
        if former != to {
            self.directory_mut().replace_endpoint(former, to);
        }
    }
}
