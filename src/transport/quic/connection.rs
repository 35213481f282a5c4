//! One connection behind its lock: its queue, its timers, what its path takes.

mod path;
mod queue;
mod timers;

use std::net::{IpAddr, SocketAddr};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use quinn_proto::{Connection, ConnectionError, ConnectionHandle, Event, VarInt};
use rustls::pki_types::CertificateDer;

use super::judged::Judged;
use super::session::Agreed;
use super::waiting::Waiting;
use crate::buffer::{Memory, Piece};
use crate::drops::DropReason;
use crate::peer::PeerId;
use crate::transport::opened::Loss;

/// A peer that does not answer for this time may be elsewhere, or gone.
const SILENCE: Duration = Duration::from_millis(1500);

/// Connections that come up within this time, and some round trips, were dialled at once.
const TOGETHER: Duration = Duration::from_secs(1);
const TOGETHER_RTTS: u32 = 4;

/// Two connections to a peer go on side by side for this time: what is under way arrives.
const RETIRING: Duration = Duration::from_secs(1);

/// Why we end a connection: an application error code of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Closing {
    /// There is another one to the same peer.
    Duplicate = 1,
    /// The handshake took too long.
    Late = 2,
    /// The certificate is not accepted (any more).
    Refused = 3,
    /// We stop.
    Stopped = 4,
}

impl Closing {
    /// Whether this is what the other end gave as its reason.
    pub(super) fn is_code(self, code: VarInt) -> bool {
        code == VarInt::from_u32(self as u32)
    }

    pub(super) const fn text(self) -> &'static str {
        match self {
            Self::Duplicate => "duplicate",
            Self::Late => "handshake takes too long",
            Self::Refused => "certificate refused",
            Self::Stopped => "stopped",
        }
    }
}

/// A connection, shared by the workers.
pub(super) struct Link {
    pub(super) id: u64,
    pub(super) is_dialled: bool,
    state: Mutex<State>,
}

impl Link {
    pub(super) fn new(id: u64, state: State) -> Self {
        Self { id, is_dialled: state.is_dialled, state: Mutex::new(state) }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How far a connection is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// Who the other end is, or whether it takes us, is not known yet.
    Handshake,
    /// Both ends have accepted each other.
    Up,
    /// Over; what remains is to say so.
    Ended,
}

/// What becomes of a connection.
pub(super) enum Happening {
    /// The other end has shown this certificate chain: it has to be judged.
    Shown,
    /// Both ends have accepted each other.
    Up,
    /// The path is known, or is another than before, bytes of the outer packet.
    PathMtu(u16),
    /// Nothing has come for long.
    Silent,
    /// Something has come again.
    Heard,
    /// It is over, by the other end or for want of it.
    Ended(ConnectionError),
    /// It is over, by us.
    Closed(Closing),
}

/// The state of a connection.
pub(super) struct State {
    pub(super) connection: Connection,
    pub(super) handle: ConnectionHandle,
    pub(super) is_dialled: bool,
    pub(super) peer: Option<PeerId>,
    pub(super) stage: Stage,
    is_connected: bool,
    /// The certificates of the other end, its own first.
    pub(super) chain: Vec<CertificateDer<'static>>,
    /// That these were accepted.
    pub(super) judged: Option<Judged>,
    pub(super) begun: Instant,
    pub(super) established: Option<Instant>,
    pub(super) last_received: Instant,
    /// Frames that were authentic so far: what cannot be opened is no sign of life.
    authentic: u64,
    last_data: Option<Instant>,
    /// The first data that was queued since something came.
    unheard_since: Option<Instant>,
    last_ping: Instant,
    /// When the endpoint was made.
    start: Instant,
    unanswered_since: Option<Instant>,
    pub(super) is_silent: bool,
    /// It is not any more, which is not told yet.
    is_heard: bool,
    retire_at: Option<Instant>,
    /// The latest time that it was told: workers read the clock one after another, and may have
    /// the connection in another order.
    clock: Instant,
    /// Why we have ended it, until that is told.
    closing: Option<Closing>,
    /// Where the other end is.
    pub(super) remote: SocketAddr,
    /// The address of ours that it sends to.
    pub(super) local: Option<IpAddr>,
    payload_max: u16,
    max_size: usize,
    max_size_since: Instant,
    is_settled: bool,
    told_mtu: Option<u16>,
    oversized: Waiting,
    /// Datagrams that the library has taken so far; less those of which is known that it has
    /// forgotten them.
    queued: u64,
    /// The room in its queue while that is empty, bytes.
    queue_size: usize,
    /// What was lost, until that is told.
    pub(super) losses: Vec<Loss>,
    /// A worker is sending what this has to send; others leave it to that one.
    pub(super) is_sending: bool,
    /// The worker that looks at its timers, and when it will.
    pub(super) owner: usize,
    pub(super) armed: Option<Instant>,
}

impl State {
    pub(super) fn new(
        mut connection: Connection,
        handle: ConnectionHandle,
        dialled: Option<PeerId>,
        payload_max: u16,
        start: Instant,
        now: Instant,
    ) -> Self {
        let queue_size = connection.datagrams().send_buffer_space();
        Self {
            remote: connection.remote_address(),
            local: connection.local_ip(),
            connection,
            handle,
            is_dialled: dialled.is_some(),
            peer: dialled,
            stage: Stage::Handshake,
            is_connected: false,
            chain: Vec::new(),
            judged: None,
            begun: now,
            established: None,
            last_received: now,
            authentic: 0,
            last_data: None,
            unheard_since: None,
            last_ping: now,
            start,
            unanswered_since: None,
            is_silent: false,
            is_heard: false,
            retire_at: None,
            clock: now,
            closing: None,
            payload_max,
            max_size: 0,
            max_size_since: now,
            is_settled: false,
            told_mtu: None,
            oversized: Waiting::default(),
            queued: 0,
            queue_size,
            losses: Vec::new(),
            is_sending: false,
            owner: usize::MAX,
            armed: None,
        }
    }

    /// Gives the time for the connection, which never goes back.
    pub(super) fn advance(&mut self, now: Instant) -> Instant {
        self.clock = self.clock.max(now);
        self.clock
    }

    /// Takes what the connection says of itself; gives what becomes of it, one at a time.
    pub(super) fn poll(&mut self, now: Instant) -> Option<Happening> {
        while let Some(event) = self.connection.poll() {
            match event {
                Event::Connected => {
                    self.is_connected = true;
                    let chain = self.connection.crypto_session().peer_identity();
                    let chain = chain.and_then(|it| it.downcast().ok());
                    self.chain = chain.map_or_else(Vec::new, |chain| *chain);
                    return Some(Happening::Shown);
                }
                Event::ConnectionLost { reason } if self.stage != Stage::Ended => {
                    self.stage = Stage::Ended;
                    self.give_up();
                    return Some(Happening::Ended(reason));
                }
                _ => {}
            }
        }
        if let Some(why) = self.closing.take() {
            return Some(Happening::Closed(why));
        }
        if self.stage == Stage::Handshake && self.is_confirmed() {
            self.stage = Stage::Up;
            self.established = Some(now);
            (self.last_received, self.max_size_since) = (now, now);
            return Some(Happening::Up);
        }
        if self.stage != Stage::Up {
            return None;
        }
        if !self.is_silent && self.unanswered_since.is_some_and(|since| since + SILENCE <= now) {
            self.is_silent = true;
            return Some(Happening::Silent);
        }
        if std::mem::take(&mut self.is_heard) {
            return Some(Happening::Heard);
        }
        self.note_forgotten();
        self.poll_path(now).map(Happening::PathMtu)
    }

    /// What both ends agreed on.
    pub(super) fn agreed(&self) -> Option<Agreed> {
        let data = self.connection.crypto_session().handshake_data()?;
        data.downcast().ok().map(|agreed| *agreed)
    }

    /// Whether it came up just now.
    pub(super) fn is_new(&self, now: Instant) -> bool {
        let together = TOGETHER.max(self.connection.rtt() * TOGETHER_RTTS);
        self.established.is_none_or(|at| now < at + together)
    }

    /// Whether both ends have accepted each other.
    pub(super) fn is_up(&self) -> bool {
        self.stage == Stage::Up
    }

    /// Whether the other end has accepted us: a server is told by the last message of the
    /// handshake, a client by what follows (RFC 9001 section 4.1.2).
    fn is_confirmed(&self) -> bool {
        self.is_connected
            && self.peer.is_some()
            && (!self.is_dialled || self.connection.stats().frame_rx.handshake_done > 0)
    }

    /// Copies the datagrams that have come to the front of `room`, and gives where they are.
    pub(super) fn take_datagrams(
        &mut self,
        now: Instant,
        memory: &mut Memory,
        room: Piece,
        packets: &mut Vec<Piece>,
    ) {
        let mut at = 0;
        while let Some(datagram) = self.connection.datagrams().recv() {
            if at + datagram.len() > room.len as usize {
                self.lose(None, DropReason::DatagramTruncated, 1);
                continue;
            }
            let piece = room.part(at, datagram.len());
            memory.bytes_mut(piece).copy_from_slice(&datagram);
            packets.push(piece);
            at += datagram.len();
        }
        if at > 0 {
            self.last_data = Some(now);
        }
    }

    /// Notes that something has come, if it was authentic; gives whether the other end is
    /// elsewhere than before.
    pub(super) fn note_received(&mut self, now: Instant, local: Option<IpAddr>) -> bool {
        let frames = self.connection.stats().frame_rx;
        let authentic = frames.datagram + frames.acks + frames.ping;
        if authentic == self.authentic {
            return false;
        }
        self.authentic = authentic;
        self.last_received = now;
        (self.unanswered_since, self.unheard_since) = (None, None);
        self.is_heard |= std::mem::take(&mut self.is_silent);
        let remote = self.connection.remote_address();
        let has_moved = remote != self.remote || self.local != local;
        (self.remote, self.local) = (remote, local);
        has_moved
    }

    /// Ends the connection, and says so to the other end.
    pub(super) fn close(&mut self, now: Instant, why: Closing) {
        if self.stage == Stage::Ended {
            return;
        }
        let text = Bytes::from_static(why.text().as_bytes());
        self.connection.close(now, VarInt::from_u32(why as u32), text);
        (self.stage, self.closing) = (Stage::Ended, Some(why));
        self.give_up();
    }

    /// Ends the connection soon: there is another one.
    pub(super) fn retire(&mut self, now: Instant) {
        self.retire_at.get_or_insert(now + RETIRING);
    }

    /// Does not end the connection: there is no other one any more.
    pub(super) fn keep(&mut self) {
        self.retire_at = None;
    }
}
