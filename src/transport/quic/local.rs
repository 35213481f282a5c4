//! What a worker has for itself: buffers, deadlines, and what is left to be done.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Instant;

use bytes::BytesMut;
use quinn_proto::{ConnectionEvent, Transmit};

use super::connection::{Link, State};
use super::deadlines::Deadlines;
use crate::peer::PeerId;
use crate::transport::opened::{Contents, Loss};

/// What others may want to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// There is a connection with a peer.
    Established {
        /// With whom.
        peer: PeerId,
    },
    /// There is none any more.
    Lost {
        /// With whom.
        peer: PeerId,
        /// Why.
        why: String,
    },
    /// A peer is elsewhere.
    Moved {
        /// Which one.
        peer: PeerId,
        /// Where it is.
        to: SocketAddr,
        /// The address of ours that it sends to.
        local: Option<IpAddr>,
    },
    /// The path to a peer takes packets of this size, bytes of the outer IP packet.
    PathMtu {
        /// To whom.
        peer: PeerId,
        /// How large.
        mtu: u16,
    },
    /// One end does not accept the other.
    Refused {
        /// Who it was to be, where that is known.
        peer: Option<PeerId>,
        /// Where it is.
        at: SocketAddr,
        /// Why.
        why: String,
    },
}

/// What is left to be done after a call.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Post {
    /// To count.
    pub losses: Vec<Loss>,
    /// To know.
    pub events: Vec<Event>,
}

impl Post {
    /// Whether nothing is left to be done.
    pub fn is_empty(&self) -> bool {
        self.losses.is_empty() && self.events.is_empty()
    }
}

/// What one send takes; the bytes are in [`Local::sealed`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outgoing {
    /// Where it goes.
    pub to: SocketAddr,
    /// The address of ours to send from.
    pub from: Option<IpAddr>,
    /// The outer traffic class: QUIC's own marks.
    pub tos: u8,
    /// Length of each datagram but the last.
    pub datagram_len: u16,
    /// Number of datagrams.
    pub count: u16,
    /// For whom it is, where that is known.
    pub peer: Option<PeerId>,
    /// It finds out whether the path takes so much.
    pub is_probe: bool,
}

/// What a worker has for itself.
pub struct Local {
    /// Which worker it is.
    pub(super) worker: usize,
    pub(super) deadlines: Deadlines,
    /// Connections that this worker sends for.
    pub(super) active: Vec<Arc<Link>>,
    /// Sends in a row.
    pub(super) sends: u32,
    /// What belongs to no connection.
    pub(super) answers: Vec<(Transmit, Vec<u8>)>,
    pub(super) inbox: Vec<(Arc<Link>, ConnectionEvent)>,
    pub(super) arrived: BytesMut,
    pub(super) leaving: BytesMut,
    /// The bytes of what [`super::Quic::poll_transmit`] has given.
    pub sealed: Vec<u8>,
    /// The datagrams that [`super::Quic::receive`] has found.
    pub contents: Contents,
    /// What is left to be done.
    pub post: Post,
}

impl Local {
    /// What the worker with this number, from 0, has.
    pub fn new(worker: usize) -> Self {
        Self {
            worker,
            deadlines: Deadlines::default(),
            active: Vec::new(),
            sends: 0,
            answers: Vec::new(),
            inbox: Vec::new(),
            arrived: BytesMut::new(),
            leaving: BytesMut::new(),
            sealed: Vec::new(),
            contents: Contents::default(),
            post: Post::default(),
        }
    }

    /// Gives when something is due; `now` where it is.
    pub fn next_deadline(&self, now: Instant) -> Option<Instant> {
        if self.active.is_empty() { self.deadlines.first() } else { Some(now) }
    }

    /// Whether there are connections that something may have to be sent for.
    pub fn is_sending(&self) -> bool {
        !self.active.is_empty()
    }

    /// Has this worker send what a connection has to send, unless another one does.
    pub(super) fn activate(&mut self, link: &Arc<Link>, state: &mut State) {
        if !state.is_sending {
            state.is_sending = true;
            self.active.push(Arc::clone(link));
        }
    }
}
