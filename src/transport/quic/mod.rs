//! QUIC: connections with peers, by the quinn-proto crate, for runs of datagrams (RFC 9221)
//! instead of single ones. The clock and the random numbers of the handshake are rustls' own.
//!
//! Outbound, [`Quic::queue`] takes the datagrams of a transmit, each behind its VXLAN header.
//! Inbound, [`Quic::receive`] turns what a receive call gave into such datagrams. Both may leave
//! something to be sent: [`Quic::poll_transmit`] gives it, a whole send at a time.
//! [`Quic::handle_deadlines`] and [`Quic::tick`] do what is due by time. Each connection has a lock
//! of its own, so that workers work side by side; none is held over a system call. One worker at a
//! time sends what a connection has to send, so that it stays in order. Of two locks that are held
//! together, a connection's is taken before the endpoint's, unless nobody else has that connection
//! yet; a peer's never with a connection's.

mod congestion;
mod connection;
mod deadlines;
mod dial;
mod endpoint;
mod gate;
mod happening;
mod ids;
mod judged;
mod local;
mod peer;
mod receive;
mod send;
mod settings;
mod waiting;
mod ways;

pub mod certificate;
pub mod issue;
pub mod refusal;
mod session;
pub mod tls;
pub mod trust;

use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard};
use std::time::{Duration, Instant, SystemTime};

use rustls::pki_types::UnixTime;

use self::connection::{Closing, Link, Stage};
use self::endpoint::Front;
use self::judged::Judged;
use self::peer::Peer;
use self::ways::Ways;
use super::overhead;
use crate::peer::PeerId;

pub use certificate::{CertificateError, Credentials, Fingerprint, Validity};
pub use congestion::Congestion;
pub use local::{Event, Local, Outgoing, Post};
pub use refusal::{Refusal, Refused};
pub use session::{Agreed, VERSION};
pub use settings::Settings;
pub use tls::{ALPN, Tls, TlsError};
pub use trust::{Known, Trust, TrustError};

/// What a path takes while the kernel does not say: Ethernet.
const PATH_MTU: u16 = 1500;

/// How often the certificates of connections are judged again: they expire by and by.
const JUDGING: Duration = Duration::from_secs(1);

/// Certificates that are judged in a turn: each takes some hundred microseconds, in which the worker
/// moves no packets.
const JUDGED_MAX: u32 = 64;

/// A peer to speak with.
pub struct PeerSpec {
    /// Which one.
    pub id: PeerId,
    /// Where to dial it; none waits to be dialled.
    pub endpoint: Option<SocketAddr>,
}

/// What is known of a peer.
#[derive(Debug)]
pub struct PeerStatus {
    /// Where it is.
    pub endpoint: Option<SocketAddr>,
    /// The connection to it, if there is one.
    pub connection: Option<ConnectionStatus>,
}

/// What is known of a connection.
#[derive(Debug)]
pub struct ConnectionStatus {
    /// When both ends had accepted each other.
    pub established: Instant,
    /// When something authentic came last.
    pub last_received: Instant,
    /// Whether nothing comes although the peer was asked for a sign of life.
    pub is_silent: bool,
    /// Whether we have dialled it.
    pub is_dialled: bool,
    /// The peer's certificate.
    pub certificate: Option<Fingerprint>,
    /// When that ends.
    pub expires: Option<SystemTime>,
    /// What both ends agreed on.
    pub agreed: Option<Agreed>,
    /// The estimated round-trip time.
    pub rtt: Duration,
    /// Bytes that may be under way.
    pub window_bytes: u64,
    /// QUIC packets that were lost on the way to it.
    pub lost_packets: u64,
}

/// All QUIC peers of this node; shared by its workers.
pub struct Quic {
    tls: RwLock<Arc<Tls>>,
    front: Mutex<Front>,
    peers: RwLock<Vec<Option<Arc<Peer>>>>,
    ways: Ways,
    /// Handshakes of others that are under way.
    handshakes: AtomicUsize,
    /// Which peer is looked at first when peers are dialled.
    next_dial: AtomicUsize,
    /// When the certificates of connections are judged again.
    next_judging: Mutex<Instant>,
}

impl Quic {
    /// Makes it without peers.
    pub fn new(tls: Tls, settings: Settings, now: Instant) -> Self {
        let front = Mutex::new(Front::new(&tls, settings, now));
        Self {
            tls: RwLock::new(Arc::new(tls)),
            front,
            peers: RwLock::default(),
            ways: Ways::default(),
            handshakes: AtomicUsize::new(0),
            next_dial: AtomicUsize::new(0),
            next_judging: Mutex::new(now),
        }
    }

    /// Adds a peer, whose slot no other one has.
    pub fn add(&self, spec: PeerSpec, now: Instant) {
        let PeerSpec { id, endpoint } = spec;
        let mut peers = self.peers.write().unwrap_or_else(PoisonError::into_inner);
        if peers.len() <= id.slot() {
            peers.resize(id.slot() + 1, None);
        }
        debug_assert!(peers[id.slot()].is_none(), "{id:?} takes the slot of another peer");
        peers[id.slot()] = Some(Arc::new(Peer::new(id, endpoint, now)));
    }

    /// Changes where a peer is dialled: its name has an address now. Says whether it is another
    /// one than before.
    pub fn set_endpoint(&self, id: PeerId, endpoint: SocketAddr, now: Instant) -> bool {
        let Some(peer) = self.peer(id) else { return false };
        let mut state = peer.lock();
        let is_new = state.endpoint.replace(endpoint) != Some(endpoint);
        if is_new {
            state.dial.hurry(now);
        }
        is_new
    }

    /// Uses another certificate, and judges by other ones, from now on. Connections whose peer is
    /// not accepted any more end at the next [`Quic::tick`].
    pub fn set_tls(&self, tls: Tls, now: Instant) {
        self.front().set_tls(&tls);
        *self.tls.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(tls);
        *self.next_judging() = now;
    }

    /// Ends connections whose peer's certificate has expired, or is not accepted any more.
    fn judge_again(&self, now: Instant, local: &mut Local) {
        let mut next = self.next_judging();
        if *next > now {
            return;
        }
        *next = now + JUDGING;
        drop(next);
        let (tls, time) = (self.tls(), UnixTime::now());
        let links = self.front().links();
        let mut judged = 0;
        for link in links {
            let mut state = link.lock();
            let Some(peer) = state.peer.filter(|_| state.stage == Stage::Up) else { continue };
            if state.judged.as_ref().is_some_and(|judged| judged.holds(&tls, time)) {
                continue;
            }
            if judged == JUDGED_MAX {
                // The rest in the next turn.
                *self.next_judging() = now;
                return;
            }
            judged += 1;
            match tls.trust().judge_as(peer, &state.chain, time) {
                Ok(()) => state.judged = Some(Judged::new(&tls, &state.chain, time)),
                Err(refusal) => {
                    let (at, why) = (state.remote, refusal.to_string());
                    local.post.events.push(Event::Refused { peer: Some(peer), at, why });
                    state.close(now, Closing::Refused);
                    local.activate(&link, &mut state);
                }
            }
        }
    }

    /// Ends all connections, and says so to the other ends: [`Quic::poll_transmit`] is to be called
    /// until [`Local::is_sending`] says no.
    pub fn stop(&self, now: Instant, local: &mut Local) {
        let links = self.front().links();
        for link in links {
            let mut state = link.lock();
            state.close(now, Closing::Stopped);
            // Another worker that was sending for it may have stopped before.
            state.is_sending = true;
            local.active.push(Arc::clone(&link));
        }
    }

    /// Takes note of the largest packet that the kernel lets go to a peer.
    pub fn set_kernel_mtu(&self, id: PeerId, to: IpAddr, mtu: u16, now: Instant) {
        let Some(peer) = self.peer(id) else { return };
        let mut state = peer.lock();
        let former = state.way.replace((to, mtu));
        if former == Some((to, mtu)) {
            return;
        }
        self.ways.set(former.map(|(ip, _)| ip), to, mtu);
        let current = state.current.clone();
        drop(state);
        if let Some(link) = current {
            link.lock().bound_path(mtu, now);
        }
    }

    /// Gives the last second in which our certificate can be used.
    pub fn expires(&self) -> SystemTime {
        self.tls().credentials().expires()
    }

    /// Whether a peer is one of QUIC.
    pub fn has(&self, id: PeerId) -> bool {
        self.peer(id).is_some()
    }

    /// The kernel has refused datagrams to a peer as too large; `mtu` is what it says now.
    pub fn shrink(&self, id: PeerId, to: IpAddr, mtu: Option<u16>, now: Instant) {
        if let Some(mtu) = mtu {
            self.set_kernel_mtu(id, to, mtu, now);
        }
        let current = self.peer(id).and_then(|peer| peer.lock().current.clone());
        if let Some(link) = current {
            link.lock().refuse_size(now);
        }
    }

    /// Tells of a peer.
    pub fn status(&self, id: PeerId) -> Option<PeerStatus> {
        let peer = self.peer(id)?;
        let (endpoint, current) = {
            let state = peer.lock();
            (state.endpoint, state.current.clone())
        };
        let connection = current.as_ref().and_then(|link| self.connection_status(link));
        let endpoint = current.map_or(endpoint, |link| Some(link.lock().remote));
        Some(PeerStatus { endpoint, connection })
    }

    fn connection_status(&self, link: &Link) -> Option<ConnectionStatus> {
        let state = link.lock();
        let path = state.connection.stats().path;
        let own = state.chain.first();
        Some(ConnectionStatus {
            established: state.established?,
            last_received: state.last_received,
            is_silent: state.is_silent,
            is_dialled: state.is_dialled,
            certificate: own.map(|der| Fingerprint::of(der)),
            expires: own.and_then(Validity::of).map(Validity::expires),
            agreed: state.agreed(),
            rtt: path.rtt,
            window_bytes: path.cwnd,
            lost_packets: path.lost_packets,
        })
    }

    fn next_judging(&self) -> MutexGuard<'_, Instant> {
        self.next_judging.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tls(&self) -> Arc<Tls> {
        Arc::clone(&self.tls.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn front(&self) -> MutexGuard<'_, Front> {
        self.front.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn peers(&self) -> RwLockReadGuard<'_, Vec<Option<Arc<Peer>>>> {
        self.peers.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn peer(&self, id: PeerId) -> Option<Arc<Peer>> {
        let peers = self.peers();
        let peer = peers.get(id.slot())?.as_ref()?;
        (peer.id == id).then(|| Arc::clone(peer))
    }

    /// The largest payload of a datagram to an address, as far as the kernel knows.
    fn payload_max(&self, to: IpAddr) -> u16 {
        let mtu = self.ways.mtu(to).unwrap_or(PATH_MTU);
        mtu.saturating_sub(overhead::datagram_header_len(to.to_canonical()))
    }

    /// Whether a peer is thought to be there.
    fn is_known(&self, at: IpAddr) -> bool {
        self.ways.mtu(at).is_some()
    }
}

#[cfg(test)]
mod tests;
