//! A peer's state: where it is, its sessions, and what waits for one.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use boringtun::noise::errors::WireGuardError;
use boringtun::noise::{Tunn, TunnResult};

use super::index::{Index, random, tunnel_of};
use super::message::{INITIATION_LEN, KeyAge, counter, key_age, number};
use super::next::Next;
use super::waiting::Waiting;
use super::{Identity, Letter, PeerSpec, Post, PresharedKey, PublicKey};
use crate::drops::DropReason;
use crate::peer::PeerId;
use crate::transport::opened::Loss;

/// How often a peer's timers are looked at, and the jitter of a handshake's retries (white paper,
/// section 6.1).
const TIMER: Duration = Duration::from_millis(200);
const JITTER_MS: u64 = 333;

/// How long a session may be used (white paper, section 6.1).
const REJECT_AFTER_TIME: Duration = Duration::from_secs(180);

/// One key pair's sessions, by boringtun.
pub(super) struct Tunnel {
    tunn: Tunn,
    index: Index,
    /// The session that the peer has asked for and not used yet.
    answered: Option<u32>,
}

/// What a tunnel made of a message.
pub(super) enum Opened {
    /// A packet of this length, at the start of the room.
    Packet(usize),
    /// Nothing to deliver.
    Nothing,
}

/// What is known of a peer, and its sessions.
pub(super) struct State {
    pub(super) id: PeerId,
    key: PublicKey,
    pub(super) endpoint: Option<SocketAddr>,
    /// The address of ours that it sends to.
    pub(super) local: Option<IpAddr>,
    /// Where the directory has it.
    pub(super) noted_endpoint: Option<SocketAddr>,
    pub(super) is_removed: bool,
    preshared: Option<PresharedKey>,
    keepalive: Option<Duration>,
    pub(super) tunnel: Option<Box<Tunnel>>,
    /// With the next preshared key; takes the place of the other when it has a session.
    next: Option<Next>,
    pub(super) waiting: Waiting,
    /// When the newest session began, and whether we asked for it.
    pub(super) established: Option<Instant>,
    is_initiator: bool,
    last_handshake_try: Option<Instant>,
    last_data_sent: Option<Instant>,
    last_sent: Option<Instant>,
    last_received: Option<Instant>,
    /// Since when something has been sent that has to be answered, and nothing came.
    pub(super) unanswered_since: Option<Instant>,
    pub(super) sent_bytes: u64,
    pub(super) received_bytes: u64,
    pub(super) due: Instant,
}

impl State {
    pub(super) fn new(spec: PeerSpec, now: Instant) -> Self {
        let PeerSpec { id, key, preshared, keepalive, endpoint } = spec;
        Self {
            id,
            key,
            endpoint,
            local: None,
            noted_endpoint: None,
            is_removed: false,
            preshared,
            keepalive,
            tunnel: None,
            next: None,
            waiting: Waiting::default(),
            established: None,
            is_initiator: false,
            last_handshake_try: None,
            last_data_sent: None,
            last_sent: None,
            last_received: None,
            unanswered_since: None,
            sent_bytes: 0,
            received_bytes: 0,
            due: now,
        }
    }

    pub(super) fn last_received(&self) -> Option<Instant> {
        self.last_received
    }

    pub(super) fn keepalive(&self) -> Option<Duration> {
        self.keepalive
    }

    pub(super) fn set_keepalive(&mut self, keepalive: Option<Duration>) {
        self.keepalive = keepalive;
    }

    pub(super) fn preshared(&self) -> Option<&PresharedKey> {
        self.preshared.as_ref()
    }

    /// Takes another preshared key: the sessions there are go on until there is one with it.
    pub(super) fn set_preshared(
        &mut self,
        now: Instant,
        preshared: Option<PresharedKey>,
        identity: &Identity,
        post: &mut Post,
    ) {
        let bytes = |key: &Option<PresharedKey>| key.as_ref().map(|key| *key.as_bytes());
        if bytes(&self.preshared) == bytes(&preshared) {
            return;
        }
        self.preshared = preshared;
        self.next = None;
        if self.has_session(now) {
            self.next = Some(Next::new(self.make(identity)));
            self.initiate(now, identity, post);
        } else if self.tunnel.take().is_some() {
            self.initiate(now, identity, post);
        }
    }

    /// Forgets all sessions; what waits for one waits for the next.
    pub(super) fn end_sessions(&mut self) {
        (self.tunnel, self.next, self.established) = (None, None, None);
        self.last_handshake_try = None;
    }

    /// Gives the tunnel that a new handshake belongs to; makes it if there is none.
    fn newest(&mut self, identity: &Identity) -> &mut Tunnel {
        if self.next.is_none() && self.tunnel.is_none() {
            self.tunnel = Some(self.make(identity));
        }
        let next = self.next.as_mut().map(|next| &mut next.tunnel);
        next.or(self.tunnel.as_mut()).expect("one of both is there")
    }

    fn make(&self, identity: &Identity) -> Box<Tunnel> {
        let index = identity.indices.take(self.id);
        let preshared = self.preshared.as_ref().map(|key| *key.as_bytes());
        let limiter = Some(Arc::clone(&identity.limiter));
        let (secret, public) = (identity.private.to_secret(), self.key.to_x25519());
        let tunn = Tunn::new(secret, public, preshared, None, index.number(), limiter);
        Box::new(Tunnel { tunn, index, answered: None })
    }

    fn tunnel_mut(&mut self, index: u32) -> Option<&mut Tunnel> {
        let next = self.next.as_mut().map(|next| &mut next.tunnel);
        let both = self.tunnel.as_mut().into_iter().chain(next);
        both.map(|tunnel| &mut **tunnel).find(|tunnel| tunnel.index.number() == index)
    }

    /// Whether something can be sealed. boringtun forgets an old session when its timers are looked
    /// at; after a pause of the whole machine that is too late.
    pub(super) fn has_session(&self, now: Instant) -> bool {
        let is_young = |at| now.saturating_duration_since(at) < REJECT_AFTER_TIME;
        self.established.is_some_and(is_young)
            && self.tunnel.as_ref().is_some_and(|tunnel| tunnel.has_session())
    }
}

impl Tunnel {
    pub(super) fn has_session(&self) -> bool {
        self.tunn.time_since_last_handshake().is_some()
    }
}

impl State {
    /// Seals a packet into `room`, which has 32 bytes more; gives the length and what its number
    /// says of the key. Nothing if there is no session, or its key is spent.
    pub(super) fn seal(&mut self, packet: &[u8], room: &mut [u8]) -> Option<(usize, KeyAge)> {
        let tunnel = self.tunnel.as_mut().filter(|tunnel| tunnel.has_session())?;
        let TunnResult::WriteToNetwork(sealed) = tunnel.tunn.encapsulate(packet, room) else {
            return None;
        };
        let age = counter(sealed).map_or(KeyAge::Spent, key_age);
        let len = sealed.len();
        if age == KeyAge::Spent {
            // Never sent: what was sealed under a spent key is worth nothing.
            self.tunnel = None;
            return None;
        }
        Some((len, age))
    }

    /// Notes what was sent, once for a run.
    pub(super) fn note_sent(&mut self, now: Instant, bytes: usize, is_data: bool) {
        self.sent_bytes += bytes as u64;
        self.last_sent = Some(now);
        if is_data {
            self.last_data_sent = Some(now);
            self.unanswered_since.get_or_insert(now);
        }
    }

    /// Opens a message in `sealed` into `room`.
    pub(super) fn open(
        &mut self,
        now: Instant,
        receiver: u32,
        sealed: &[u8],
        room: &mut [u8],
    ) -> Result<Opened, DropReason> {
        let unknown = DropReason::WireGuardUnknownIndex;
        let tunnel = self.tunnel_mut(tunnel_of(receiver)).ok_or(unknown)?;
        let opened = match tunnel.tunn.decapsulate(None, sealed, room) {
            TunnResult::WriteToTunnelV4(packet, _) | TunnResult::WriteToTunnelV6(packet, _) => {
                Opened::Packet(packet.len())
            }
            TunnResult::Done | TunnResult::WriteToNetwork(_) => Opened::Nothing,
            TunnResult::Err(error) => return Err(reason(&error)),
        };
        if tunnel.answered == Some(receiver) {
            tunnel.answered = None;
            self.establish(now, tunnel_of(receiver), false);
        }
        Ok(opened)
    }

    /// Takes the answer to a handshake of ours, or a cookie; what has to go back is posted.
    pub(super) fn take_answer(
        &mut self,
        now: Instant,
        receiver: u32,
        message: &[u8],
        post: &mut Post,
    ) -> Result<bool, DropReason> {
        let unknown = DropReason::WireGuardUnknownIndex;
        let tunnel = self.tunnel_mut(tunnel_of(receiver)).ok_or(unknown)?;
        let mut room = [0; INITIATION_LEN];
        let letter = match tunnel.tunn.decapsulate(None, message, &mut room) {
            TunnResult::WriteToNetwork(bytes) => bytes.to_vec(),
            TunnResult::Err(WireGuardError::UnexpectedPacket) => {
                return Err(DropReason::WireGuardLateHandshake);
            }
            TunnResult::Err(_) => {
                if let Some(next) = self.next_of(tunnel_of(receiver)) {
                    next.pause(now);
                }
                return Err(DropReason::WireGuardHandshake);
            }
            _ => return Ok(false),
        };
        let mut rest = [0; INITIATION_LEN];
        // Only its own keepalives are ever in boringtun's queue, and one is enough.
        while let TunnResult::WriteToNetwork(_) = tunnel.tunn.decapsulate(None, &[], &mut rest) {}
        self.establish(now, tunnel_of(receiver), true);
        // Tells the peer that the session is good, also if nothing waits for it.
        self.post(now, letter, post);
        Ok(true)
    }

    /// Takes an initiation that the gate let pass; the answer is posted.
    pub(super) fn take_initiation(
        &mut self,
        now: Instant,
        identity: &Identity,
        message: &[u8],
        post: &mut Post,
    ) -> Result<(), DropReason> {
        let is_first = self.tunnel.is_none();
        let tunnel = self.newest(identity);
        let mut room = [0; INITIATION_LEN];
        let answer = match tunnel.tunn.decapsulate(None, message, &mut room) {
            TunnResult::WriteToNetwork(bytes) => bytes.to_vec(),
            _ => {
                if is_first {
                    self.tunnel = None;
                }
                return Err(DropReason::WireGuardHandshake);
            }
        };
        tunnel.answered = number(&answer, 4);
        if let Some(next) = &mut self.next {
            next.note_answered(now);
        }
        self.post(now, answer, post);
        Ok(())
    }

    /// A session began: a tunnel with a newer preshared key takes the other's place.
    fn establish(&mut self, now: Instant, tunnel: u32, is_initiator: bool) {
        self.established = Some(now);
        self.is_initiator = is_initiator;
        self.last_handshake_try = None;
        if self.next_of(tunnel).is_some() {
            self.tunnel = self.next.take().map(|next| next.tunnel);
        }
    }

    /// Gives the tunnel with the next preshared key if it has this index.
    fn next_of(&mut self, index: u32) -> Option<&mut Next> {
        self.next.as_mut().filter(|next| next.tunnel.index.number() == index)
    }

    /// Notes that the peer sent something authentic, from where; gives whether that is elsewhere
    /// than before.
    pub(super) fn note_received(
        &mut self,
        now: Instant,
        from: SocketAddr,
        local: Option<IpAddr>,
    ) -> bool {
        self.last_received = Some(now);
        self.unanswered_since = None;
        self.local = local.or(self.local);
        self.endpoint.replace(from) != Some(from)
    }

    /// Asks the peer for a session, unless that is under way.
    pub(super) fn initiate(&mut self, now: Instant, identity: &Identity, post: &mut Post) {
        if self.endpoint.is_none() || self.next.as_ref().is_some_and(|next| next.is_quiet(now)) {
            return;
        }
        let tunnel = self.newest(identity);
        let mut room = [0; INITIATION_LEN];
        if let TunnResult::WriteToNetwork(bytes) =
            tunnel.tunn.format_handshake_initiation(&mut room, false)
        {
            let bytes = bytes.to_vec();
            self.note_try(now);
            self.post(now, bytes, post);
        }
    }

    fn note_try(&mut self, now: Instant) {
        self.last_handshake_try = Some(now);
        self.unanswered_since.get_or_insert(now);
        if let Some(next) = &mut self.next {
            next.note_try(now);
        }
    }

    pub(super) fn post(&mut self, now: Instant, bytes: Vec<u8>, post: &mut Post) {
        let Some(to) = self.endpoint else { return };
        self.note_sent(now, bytes.len(), false);
        post.letters.push(Letter { to, from: self.local, peer: Some(self.id), tos: 0, bytes });
    }

    /// Does what is due by time.
    pub(super) fn tick(&mut self, now: Instant, identity: &Identity, post: &mut Post) {
        let jitter = match self.last_handshake_try {
            Some(_) => Duration::from_millis(u64::from(random()) % JITTER_MS),
            None => Duration::ZERO,
        };
        self.due = now + TIMER + jitter;
        if !self.has_session(now)
            && let Some(next) = self.next.take()
        {
            // The sessions that the former preshared key was kept for are over.
            self.tunnel = Some(next.tunnel);
        }
        self.tick_tunnel(now, post);
        self.tick_next(now, identity, post);
        self.keep_alive(now, identity, post);
    }

    fn tick_tunnel(&mut self, now: Instant, post: &mut Post) {
        let Some(tunnel) = &mut self.tunnel else { return };
        let mut room = [0; INITIATION_LEN];
        match tunnel.tunn.update_timers(&mut room) {
            TunnResult::WriteToNetwork(bytes) => {
                let bytes = bytes.to_vec();
                let is_initiation = bytes.len() == INITIATION_LEN;
                if is_initiation && self.next.is_some() {
                    // A former preshared key begins no session any more, also if nobody has the
                    // next.
                    return;
                }
                if is_initiation {
                    self.note_try(now);
                }
                self.post(now, bytes, post);
            }
            // Nobody answered for 90 s, or nothing was exchanged for long.
            TunnResult::Err(_) => {
                self.tunnel = None;
                if self.next.is_none() {
                    self.give_up(post);
                }
            }
            _ => {}
        }
    }

    fn tick_next(&mut self, now: Instant, identity: &Identity, post: &mut Post) {
        let Some(next) = &mut self.next else { return };
        let is_quiet = next.is_quiet(now);
        let mut room = [0; INITIATION_LEN];
        match next.tunnel.tunn.update_timers(&mut room) {
            TunnResult::WriteToNetwork(bytes) if !is_quiet => {
                let bytes = bytes.to_vec();
                self.note_try(now);
                self.post(now, bytes, post);
            }
            TunnResult::Err(_) => {
                let tunnel = self.make(identity);
                self.next = self.next.take().map(|next| next.anew(tunnel));
            }
            _ => {}
        }
        self.initiate(now, identity, post);
    }

    /// Nobody answers: what waits is lost.
    fn give_up(&mut self, post: &mut Post) {
        self.last_handshake_try = None;
        self.lose_waiting(post);
    }

    /// Counts what waits for a session as lost.
    pub(super) fn lose_waiting(&mut self, post: &mut Post) {
        for packet in self.waiting.take() {
            let (network, peer) = (packet.network, self.id);
            post.losses.push(Loss {
                network: Some(network),
                peer: Some(peer),
                reason: DropReason::WireGuardNoSession,
                packets: 1,
            });
        }
    }

    /// Renews an old session that we asked for, and keeps the way open.
    fn keep_alive(&mut self, now: Instant, identity: &Identity, post: &mut Post) {
        let age = |at: Option<Instant>| at.map(|at| now.saturating_duration_since(at));
        let is_used = self.last_data_sent >= self.established;
        if self.is_initiator
            && is_used
            && age(self.established).is_some_and(|age| age >= identity.rekey_after)
        {
            self.initiate(now, identity, post);
        }
        let Some(keepalive) = self.keepalive else { return };
        let last = self.last_sent.max(self.last_received);
        if age(last).is_none_or(|silent| silent >= keepalive) {
            let mut room = [0; INITIATION_LEN];
            match self.seal(&[], &mut room) {
                Some((len, _)) => self.post(now, room[..len].to_vec(), post),
                None => self.initiate(now, identity, post),
            }
        }
    }
}

fn reason(error: &WireGuardError) -> DropReason {
    use WireGuardError as E;
    match error {
        E::InvalidCounter | E::DuplicateCounter => DropReason::WireGuardReplayed,
        E::NoCurrentSession | E::WrongIndex => DropReason::WireGuardUnknownIndex,
        E::InvalidPacket => DropReason::WireGuardContent,
        _ => DropReason::WireGuardAuthentication,
    }
}
