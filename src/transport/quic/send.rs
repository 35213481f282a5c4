//! Outbound: a run of datagrams is queued, and leaves as QUIC's packets, a whole send at a time.

use std::sync::Arc;
use std::time::{Duration, Instant};

use quinn_proto::Transmit as QuicTransmit;

use super::Quic;
use super::connection::{Happening, Link, State};
use super::local::{Local, Outgoing};
use super::waiting::Packet;
use crate::buffer::{Memory, Piece};
use crate::drops::DropReason;
use crate::peer::PeerId;
use crate::transport::Transmit;
use crate::transport::opened::Loss;

/// Datagrams in one send: the kernel's limit before 6.9 (UDP_MAX_SEGMENTS, include/linux/udp.h).
const DATAGRAMS_MAX: usize = 64;
/// Bytes in one send: an IPv4 packet without its IP and UDP headers.
const BYTES_MAX: usize = 65_535 - 20 - 8;

/// Sends in a row, before something else has its turn.
const SENDS_MAX: u32 = 64;

/// To wake up so much too early, once, costs less than to put it off each time.
const SOON: Duration = Duration::from_millis(4);

impl Quic {
    /// Queues what a transmit holds; it waits where there is no connection yet.
    /// [`Quic::poll_transmit`] is to be called afterwards.
    ///
    /// `pieces` are the whole batch's.
    pub fn queue(
        &self,
        now: Instant,
        transmit: &Transmit,
        pieces: &[Piece],
        memory: &Memory,
        local: &mut Local,
    ) {
        let Some(peer) = self.peer(transmit.peer) else {
            let lost = Loss::from(transmit, DropReason::NoPeers, transmit.count.into());
            local.post.losses.push(lost);
            return;
        };
        local.leaving.reserve(transmit.len as usize);
        for piece in &pieces[transmit.pieces.start as usize..transmit.pieces.end as usize] {
            local.leaving.extend_from_slice(memory.bytes(*piece));
        }
        let run = local.leaving.split().freeze();
        let (len, network) = (usize::from(transmit.datagram_len), transmit.network);
        let mut waiting = peer.lock();
        if let Some(link) = waiting.current.clone() {
            drop(waiting);
            let mut state = link.lock();
            state.queue(now, &run, len, network);
            local.activate(&link, &mut state);
            return;
        }
        for start in (0..run.len()).step_by(len.max(1)) {
            let bytes = run.slice(start..(start + len).min(run.len()));
            if let Some(oldest) = waiting.waiting.push(Packet { since: now, bytes, network }) {
                local.post.losses.push(Loss {
                    network: Some(oldest.network),
                    peer: Some(peer.id),
                    reason: DropReason::QuicNoConnection,
                    packets: 1,
                });
            }
        }
    }

    /// Gives the next send, with its bytes in [`Local::sealed`]; none when all is sent.
    pub fn poll_transmit(&self, now: Instant, local: &mut Local) -> Option<Outgoing> {
        local.sealed.clear();
        if let Some((transmit, bytes)) = local.answers.pop() {
            local.sealed.extend_from_slice(&bytes);
            return Some(Outgoing::new(&transmit, None, u16::MAX));
        }
        while let Some(link) = local.active.last().map(Arc::clone) {
            if local.sends >= SENDS_MAX {
                // Others have their turn: packets of the devices, and other connections.
                local.active.rotate_right(1);
                break;
            }
            let mut state = link.lock();
            if let Some(outgoing) = local.poll_link(now, &mut state) {
                return Some(outgoing);
            }
            let happenings = self.settle(now, &link, &mut state, local);
            drop(state);
            for happening in happenings {
                self.take_note(now, &link, happening, local);
            }
        }
        local.sends = 0;
        None
    }

    /// Has a connection and the endpoint tell each other what is new, and sets its deadline; then
    /// it is not sent for any more.
    fn settle(
        &self,
        now: Instant,
        link: &Arc<Link>,
        state: &mut State,
        local: &mut Local,
    ) -> Vec<Happening> {
        let mut happenings = Vec::new();
        while let Some(happening) = state.poll(now) {
            happenings.push(happening);
            if matches!(happenings.last(), Some(Happening::Shown)) {
                break;
            }
        }
        local.post.losses.append(&mut state.losses);
        let mut is_new = false;
        while let Some(event) = state.connection.poll_endpoint_events() {
            let handle = state.handle;
            let answer = self.front().handle_event(handle, event);
            if let Some(event) = answer {
                state.connection.handle_event(event);
                is_new = true;
            }
        }
        if is_new {
            return happenings;
        }
        local.active.retain(|other| !Arc::ptr_eq(other, link));
        state.is_sending = false;
        local.arm(now, link, state);
        happenings
    }

    /// Does what is due by time, for the connections that this worker touched last.
    /// [`Quic::poll_transmit`] is to be called afterwards.
    pub fn handle_deadlines(&self, now: Instant, local: &mut Local) {
        while let Some(link) = local.deadlines.take_due(now) {
            let mut state = link.lock();
            if state.owner != local.worker {
                continue;
            }
            state.armed = None;
            state.handle_deadline(now);
            local.activate(&link, &mut state);
        }
    }
}

impl Local {
    fn poll_link(&mut self, now: Instant, state: &mut State) -> Option<Outgoing> {
        let mtu = usize::from(state.connection.current_mtu()).max(1);
        let count = (BYTES_MAX / mtu).clamp(1, DATAGRAMS_MAX);
        let now = state.advance(now);
        let transmit = state.connection.poll_transmit(now, count, &mut self.sealed)?;
        self.sends += 1;
        Some(Outgoing::new(&transmit, state.peer, state.connection.current_mtu()))
    }

    /// Sets when this worker looks at a connection again, unless it will before.
    fn arm(&mut self, now: Instant, link: &Arc<Link>, state: &mut State) {
        if state.connection.is_drained() {
            self.deadlines.remove(link);
            return;
        }
        let Some(due) = state.due(now) else { return };
        // What is due later than it was is put off, unless that is hardly worth it: each ACK of a
        // busy connection puts something off.
        let is_new = |armed: Instant| due < armed || due > armed + SOON;
        if state.owner != self.worker || state.armed.is_none_or(is_new) {
            (state.owner, state.armed) = (self.worker, Some(due));
            self.deadlines.set(link, due);
        }
    }
}

impl Outgoing {
    fn new(transmit: &QuicTransmit, peer: Option<PeerId>, mtu: u16) -> Self {
        let len = transmit.segment_size.unwrap_or(transmit.size).max(1);
        Self {
            to: transmit.destination,
            from: transmit.src_ip,
            tos: transmit.ecn.map_or(0, |ecn| ecn as u8),
            datagram_len: len as u16,
            count: transmit.size.div_ceil(len) as u16,
            peer,
            is_probe: len > usize::from(mtu),
        }
    }
}
