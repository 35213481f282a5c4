//! Inbound: what a receive call gave, from QUIC's packets to the datagrams in them.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use super::Quic;
use super::connection::{Link, State};
use super::endpoint::{Arrival, Load};
use super::local::{Event, Local};
use crate::buffer::{Memory, SLOT_SIZE};
use crate::drops::DropReason;
use crate::transport::Received;
use crate::transport::opened::{Loss, Run};

impl Quic {
    /// Takes a receive buffer. The datagrams in it are written in its place, and appended to the
    /// contents of `local`; what is to be answered is sent by [`Quic::poll_transmit`].
    pub fn receive(
        &self,
        now: Instant,
        received: &Received,
        memory: &mut Memory,
        local: &mut Local,
    ) {
        if received.truncated {
            local.post.losses.push(Loss::of(None, DropReason::DatagramTruncated, 1));
            return;
        }
        self.sort(now, received, memory, local);
        let mut inbox = std::mem::take(&mut local.inbox);
        let mut parts = inbox.drain(..).peekable();
        while let Some((link, event)) = parts.next() {
            let mut state = link.lock();
            state.connection.handle_event(event);
            while let Some((_, event)) = parts.next_if(|(next, _)| Arc::ptr_eq(next, &link)) {
                state.connection.handle_event(event);
            }
            self.take(now, received, &link, &mut state, memory, local);
        }
        drop(parts);
        local.inbox = inbox;
    }

    /// Says whose the datagrams of a buffer are.
    fn sort(&self, now: Instant, received: &Received, memory: &Memory, local: &mut Local) {
        let bytes = memory.bytes(received.piece);
        local.arrived.reserve(bytes.len());
        local.arrived.extend_from_slice(bytes);
        let stride = received.stride.map_or(bytes.len(), usize::from).max(1);
        let from = received.from.ip();
        let mut load = Load {
            is_known: self.is_known(from),
            handshakes: 0,
            payload_max: self.payload_max(from),
        };
        let mut front = self.front();
        while !local.arrived.is_empty() {
            let len = stride.min(local.arrived.len());
            let datagram = local.arrived.split_to(len);
            load.handshakes = self.handshakes.load(Ordering::Relaxed);
            let mut answer = Vec::new();
            let arrival = front.handle(now, received, datagram, &load, &mut answer);
            match arrival {
                Arrival::Part(link, event) => local.inbox.push((link, event)),
                Arrival::New(link) => {
                    self.handshakes.fetch_add(1, Ordering::Relaxed);
                    local.activate(&link, &mut link.lock());
                }
                Arrival::Answer(transmit) => local.answers.push((transmit, answer)),
                Arrival::Reset(transmit) => {
                    local.answers.push((transmit, answer));
                    let reason = DropReason::QuicUnknownConnection;
                    local.post.losses.push(Loss::of(None, reason, 1));
                }
                Arrival::Nothing(reason) => {
                    local.post.losses.push(Loss::of(None, reason, 1));
                }
            }
        }
    }

    /// Takes the datagrams that a connection has got.
    fn take(
        &self,
        now: Instant,
        received: &Received,
        link: &Arc<Link>,
        state: &mut State,
        memory: &mut Memory,
        local: &mut Local,
    ) {
        let has_moved = state.note_received(now, received.local);
        local.activate(link, state);
        let Some(peer) = state.peer else { return };
        let first = local.contents.packets.len();
        // Payload has fewer bytes than the packets that it came in: it fits in their place.
        let mut room = received.piece;
        room.len = SLOT_SIZE as u32;
        let offset = local.taken_up_to(received.piece.start);
        let room = room.skip(offset);
        state.take_datagrams(now, memory, room, &mut local.contents.packets);
        local.contents.push(Run {
            peer,
            tos: 0,
            local: received.local,
            packets: first..local.contents.packets.len(),
        });
        if has_moved && state.is_up() {
            let (to, local_ip) = (state.remote, state.local);
            local.post.events.push(Event::Moved { peer, to, local: local_ip });
        }
    }
}

impl Local {
    /// The bytes of a buffer that hold datagrams already: it may have some of several connections.
    fn taken_up_to(&self, start: u32) -> usize {
        let last = self.contents.packets.last();
        let end =
            last.filter(|last| last.start >= start).map_or(start, |last| last.start + last.len);
        (end - start) as usize
    }
}
