//! Inbound: what a receive call gave, from the messages to the packets in them.

use std::sync::Arc;
use std::time::Instant;

use boringtun::noise::handshake::parse_handshake_anon;
use boringtun::noise::{Packet, Tunn};

use super::gate::{Admission, check_mac1};
use super::message::{DATA_HEADER, KeyAge, Message, key_age};
use super::peer::{Opened, State};
use super::seal::release;
use super::{Event, Identity, Letter, Peer, Post, PublicKey, Scratch, WireGuard};
use crate::buffer::{Memory, Piece};
use crate::drops::DropReason;
use crate::peer::PeerId;
use crate::transport::Received;
use crate::transport::opened::{Contents, Loss, Run};

impl WireGuard {
    /// Opens the messages of a receive buffer, each in its place, and appends the packets in them
    /// to `contents`. What has to be answered is posted.
    pub fn open(
        &self,
        now: Instant,
        received: &Received,
        memory: &mut Memory,
        scratch: &mut Scratch,
        contents: &mut Contents,
        post: &mut Post,
    ) {
        if received.truncated {
            post.losses.push(Loss::of(None, DropReason::DatagramTruncated, 1));
            return;
        }
        let len = received.piece.len as usize;
        let stride = received.stride.map_or(len, usize::from).max(1);
        let mut at = 0;
        while at < len {
            let datagram = received.piece.part(at, stride.min(len - at));
            let opening = Opening { now, received, stride };
            at = match Message::parse(memory.bytes(datagram)) {
                Some(Message::Data { receiver, .. }) => {
                    opening.data(self, receiver, at, memory, scratch, contents, post)
                }
                message => {
                    self.control(&opening, message, memory.bytes(datagram), post);
                    at + stride
                }
            };
        }
    }

    /// Takes a message that holds no packet.
    fn control(
        &self,
        opening: &Opening<'_>,
        message: Option<Message>,
        bytes: &[u8],
        post: &mut Post,
    ) {
        let result = match message {
            Some(Message::Initiation) => self.initiation(opening, bytes, post),
            Some(Message::Response { receiver } | Message::CookieReply { receiver }) => {
                self.answer(opening, receiver, bytes, post)
            }
            Some(Message::Data { .. }) | None => Err((None, DropReason::WireGuardMalformed)),
        };
        if let Err((peer, reason)) = result {
            post.losses.push(Loss::of(peer, reason, 1));
        }
    }

    fn initiation(
        &self,
        opening: &Opening<'_>,
        bytes: &[u8],
        post: &mut Post,
    ) -> Result<(), (Option<PeerId>, DropReason)> {
        let Opening { now, received, .. } = *opening;
        let identity = self.identity();
        check_mac1(&identity.mac1_key, bytes).map_err(|reason| (None, reason))?;
        let is_known = self.is_endpoint(received.from);
        let how = self.gate().admit(now, received.from, is_known, bytes);
        match how {
            Admission::Pass | Admission::Proven => {}
            Admission::Refuse(reason) => return Err((None, reason)),
            Admission::Challenge(reply) => {
                post.letters.push(Letter {
                    to: received.from,
                    from: received.local,
                    peer: None,
                    tos: 0,
                    bytes: reply.to_vec(),
                });
                return Err((None, DropReason::WireGuardUnderLoad));
            }
        }
        let handshake = self.handshake(&identity, opening, bytes, post);
        // What is said in the name of a peer that is known is no reason to keep others waiting.
        if handshake.is_err() && !(is_known && how == Admission::Pass) {
            self.gate().note_failed(now, received.from, &how);
        }
        handshake
    }

    /// Answers an initiation that the gate let pass.
    fn handshake(
        &self,
        identity: &Identity,
        opening: &Opening<'_>,
        bytes: &[u8],
        post: &mut Post,
    ) -> Result<(), (Option<PeerId>, DropReason)> {
        let Opening { now, received, .. } = *opening;
        let peer = self.who_asks(identity, bytes).map_err(|reason| (None, reason))?;
        let mut state = peer.lock();
        if state.is_removed {
            return Err((None, DropReason::WireGuardUnknownKey));
        }
        let (id, before) = (state.id, (state.endpoint, state.local));
        // The answer goes where the initiation came from.
        state.endpoint = Some(received.from);
        state.local = received.local.or(state.local);
        // Who we are may have changed: then the initiation is for nobody.
        let taken = state.take_initiation(now, &self.identity(), bytes, post);
        // It may be an old one that somebody has kept: where the peer is, it shows when it uses
        // the session.
        let is_first = before.0.is_none();
        if taken.is_err() || !is_first {
            (state.endpoint, state.local) = before;
        }
        taken.map_err(|reason| (Some(id), reason))?;
        opening.note(self, &mut state, bytes.len(), is_first, post);
        Ok(())
    }

    /// Finds the peer that an initiation names; whether it is from that peer is not known yet.
    fn who_asks(&self, identity: &Identity, bytes: &[u8]) -> Result<Arc<Peer>, DropReason> {
        let Ok(Packet::HandshakeInit(init)) = Tunn::parse_incoming_packet(bytes) else {
            return Err(DropReason::WireGuardMalformed);
        };
        let (secret, public) = (identity.private.to_secret(), identity.public.to_x25519());
        let half = parse_handshake_anon(&secret, &public, &init)
            .map_err(|_| DropReason::WireGuardHandshake)?;
        let key = PublicKey::from_bytes(half.peer_static_public);
        self.by_key(&key).ok_or(DropReason::WireGuardUnknownKey)
    }

    fn answer(
        &self,
        opening: &Opening<'_>,
        receiver: u32,
        bytes: &[u8],
        post: &mut Post,
    ) -> Result<(), (Option<PeerId>, DropReason)> {
        let Opening { now, received, .. } = *opening;
        let unknown = (None, DropReason::WireGuardUnknownIndex);
        let id = self.identity().indices.peer(receiver).ok_or(unknown)?;
        let peer = self.peer(id).ok_or(unknown)?;
        let mut state = peer.lock();
        let is_session =
            state.take_answer(now, receiver, bytes, post).map_err(|reason| (Some(id), reason))?;
        if is_session {
            let moved = state.note_received(now, received.from, received.local);
            opening.note(self, &mut state, bytes.len(), moved, post);
            post.events.push(Event::Established { peer: id });
            release(now, &mut state, post);
        }
        Ok(())
    }
}

/// What the messages of a receive buffer have in common.
struct Opening<'a> {
    now: Instant,
    received: &'a Received,
    stride: usize,
}

impl Opening<'_> {
    /// Opens data messages of one session, from `at` on, as long as they follow each other; gives
    /// where that ends.
    #[expect(clippy::too_many_arguments, reason = "where from, where to, and what comes of it")]
    fn data(
        &self,
        wireguard: &WireGuard,
        receiver: u32,
        mut at: usize,
        memory: &mut Memory,
        scratch: &mut Scratch,
        contents: &mut Contents,
        post: &mut Post,
    ) -> usize {
        let Self { now, received, stride } = *self;
        let len = received.piece.len as usize;
        let id = wireguard.identity().indices.peer(receiver);
        let Some((id, peer)) = id.and_then(|id| Some((id, wireguard.peer(id)?))) else {
            post.losses.push(Loss::of(None, DropReason::WireGuardUnknownIndex, 1));
            return at + stride;
        };
        let mut state = peer.lock();
        let (first, mut bytes) = (contents.packets.len(), 0);
        let established = state.established;
        while at < len {
            let datagram = received.piece.part(at, stride.min(len - at));
            match Message::parse(memory.bytes(datagram)) {
                Some(Message::Data { receiver: own, counter }) if own == receiver => {
                    match open_one(now, &mut state, receiver, counter, datagram, memory, scratch) {
                        Ok(packet) => {
                            bytes += datagram.len as usize;
                            contents.packets.extend(packet);
                        }
                        Err(reason) => post.losses.push(Loss::of(Some(id), reason, 1)),
                    }
                }
                _ => break,
            }
            at += stride;
        }
        if bytes > 0 {
            let moved = state.note_received(now, received.from, received.local);
            self.note(wireguard, &mut state, bytes, moved, post);
            if state.established != established {
                post.events.push(Event::Established { peer: id });
                release(now, &mut state, post);
            }
        }
        contents.push(Run {
            peer: id,
            tos: received.tos,
            local: received.local,
            packets: first..contents.packets.len(),
        });
        at
    }

    /// Notes what was authentic, once for a run.
    fn note(
        &self,
        wireguard: &WireGuard,
        state: &mut State,
        bytes: usize,
        has_moved: bool,
        post: &mut Post,
    ) {
        state.received_bytes += bytes as u64;
        if has_moved {
            let (peer, to) = (state.id, self.received.from);
            wireguard.note_endpoint(state);
            post.events.push(Event::Moved { peer, to, local: state.local });
        }
    }
}

/// Opens a data message in its place; gives the packet, none for a keepalive.
fn open_one(
    now: Instant,
    state: &mut State,
    receiver: u32,
    counter: u64,
    datagram: Piece,
    memory: &mut Memory,
    scratch: &mut Scratch,
) -> Result<Option<Piece>, DropReason> {
    if key_age(counter) == KeyAge::Spent {
        return Err(DropReason::WireGuardMessageLimit);
    }
    let sealed = &mut scratch.0[..datagram.len as usize];
    sealed.copy_from_slice(memory.bytes(datagram));
    let room = datagram.skip(DATA_HEADER);
    match state.open(now, receiver, sealed, memory.bytes_mut(room))? {
        Opened::Packet(len) => Ok(Some(room.part(0, len))),
        Opened::Nothing => Ok(None),
    }
}
