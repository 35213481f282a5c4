//! QUIC in a worker: what is sent and received by it, its timers, and what it has to say.
//!
//! Sealing and opening happen without the node's lock, under that of the connection.

use std::sync::Arc;
use std::time::Instant;

use tracing::{debug, info, warn};

use super::certificates::warn_of_expiry;
use super::log_limit::{Line, LineLimit};
use super::worker::{Fault, Worker};
use crate::buffer::{Memory, Piece};
use crate::peer::{NetworkId, PeerId};
use crate::socket::{SendError, SendFault, UnderlayIo};
use crate::transport::quic::{Event, Local, Outgoing, Quic};
use crate::transport::{Carrier, Transmit};

/// Bytes that fill a send, but for a packet or two.
const SEND: u32 = 60_000;

/// What a worker needs for QUIC.
pub(super) struct Connections {
    engine: Arc<Quic>,
    local: Local,
    /// Bytes that were queued since something was sent.
    queued: u32,
    /// Lines of connections that come and go.
    news: LineLimit,
}

impl Connections {
    pub(super) fn new(engine: Arc<Quic>, worker: usize) -> Self {
        Self { engine, local: Local::new(worker), queued: 0, news: LineLimit::default() }
    }

    /// When something is due; `now` where it is.
    pub(super) fn next_deadline(&self, now: Instant) -> Option<Instant> {
        self.local.next_deadline(now)
    }
}

impl Worker {
    /// Does what QUIC has to do by time: the first worker also what is not of one connection.
    pub(super) fn tick_quic(&mut self, now: Instant) {
        self.with_quic(|worker, quic| {
            quic.engine.tick(now, &mut quic.local);
            worker.send_quic(now, quic);
        });
    }

    /// Ends all connections, and says so to the other ends.
    pub(super) fn stop_quic(&mut self, now: Instant) {
        self.with_quic(|worker, quic| {
            quic.engine.stop(now, &mut quic.local);
            // A turn has a limit, and this is the last.
            loop {
                worker.underlay.start_batch();
                worker.send_quic(now, quic);
                if !quic.local.is_sending() {
                    break;
                }
            }
        });
    }

    /// Does what is due for the connections that this worker touched last.
    pub(super) fn handle_deadlines(&mut self, now: Instant) {
        self.with_quic(|worker, quic| {
            if quic.local.next_deadline(now).is_some_and(|at| at <= now) {
                quic.engine.handle_deadlines(now, &mut quic.local);
                worker.underlay.start_batch();
                worker.send_quic(now, quic);
            }
        });
    }

    /// Queues a transmit, and sends what was queued if that fills a send; the rest is sent at the
    /// end of the batch.
    pub(super) fn queue_quic(&mut self, now: Instant, transmit: &Transmit, pieces: &[Piece]) {
        self.with_quic(|worker, quic| {
            quic.engine.queue(now, transmit, pieces, &worker.memory, &mut quic.local);
            quic.queued += transmit.len;
            if quic.queued >= SEND {
                worker.send_quic(now, quic);
            }
        });
    }

    /// Sends what was queued.
    pub(super) fn flush_quic(&mut self, now: Instant) {
        self.with_quic(|worker, quic| worker.send_quic(now, quic));
    }

    /// Hands the datagrams in what was received to the node, and answers.
    pub(super) fn handle_quic(&mut self, now: Instant) {
        self.with_quic(|worker, quic| {
            let Connections { engine, local, .. } = &mut *quic;
            local.contents.clear();
            for received in &worker.received {
                worker.calls.received_datagrams += received.datagrams();
                worker.moved += received.piece.len as usize;
                engine.receive(now, received, &mut worker.memory, local);
            }
            // What is acknowledged only is not for the node, nor is what is made up.
            if !local.contents.runs.is_empty() {
                let mut core = worker.shared.core();
                for run in &local.contents.runs {
                    let packets = &local.contents.packets[run.packets.clone()];
                    let (memory, out) = (&mut worker.memory, &mut worker.out);
                    core.node.handle_datagrams(now, run, packets, memory, out);
                }
                core.node.finish_batch(&mut worker.memory, &mut worker.out);
            }
        });
        // The devices first, then what is relayed, and answers together with it.
        self.flush(now);
    }

    fn send_quic(&mut self, now: Instant, quic: &mut Connections) {
        quic.queued = 0;
        let Connections { engine, local, news, .. } = quic;
        // The time goes on between two sends: what may be sent by now depends on it.
        while let Some(outgoing) = engine.poll_transmit(Instant::now(), local) {
            self.send_outgoing(now, &outgoing, engine, local);
        }
        if local.post.is_empty() {
            return;
        }
        for event in std::mem::take(&mut local.post.events) {
            self.note_quic(now, engine, news, event);
        }
        let mut core = self.shared.core();
        for loss in local.post.losses.drain(..) {
            core.node.count_drop(loss.network, loss.peer, loss.reason, loss.packets);
        }
    }

    fn send_outgoing(&mut self, now: Instant, out: &Outgoing, engine: &Quic, local: &mut Local) {
        let memory = Memory::of_bytes(std::mem::take(&mut local.sealed));
        let whole = memory.whole();
        let transmit = Transmit {
            carrier: Carrier::Quic,
            to: out.to,
            from: out.from,
            entropy: 0,
            tos: out.tos,
            room: u16::MAX,
            datagram_len: out.datagram_len,
            count: out.count,
            len: whole.len,
            pieces: 0..1,
            peer: out.peer.unwrap_or(PeerId::new(0, 0)),
            network: NetworkId(0),
            relayed_from: None,
        };
        let result = self.underlay.send(&transmit, &[whole], &memory);
        local.sealed = memory.into_bytes();
        let Err(SendError { fault, sent }) = result else { return };
        // cold: QUIC notices by itself that nothing arrives.
        match (fault, out.peer) {
            // A probe of the path is larger than it as a rule.
            (SendFault::TooBig, _) if out.is_probe => return,
            (SendFault::TooBig, Some(peer)) => {
                let mtu = self.underlay.path_mtu(out.to, out.from);
                let mtu = mtu.and_then(|mtu| u16::try_from(mtu).ok());
                engine.shrink(peer, out.to.ip(), mtu, now);
            }
            (SendFault::Failed(error), _) => {
                if let Some(repeats) = self.log.allow(Fault::Send(error), now) {
                    warn!(to = %out.to, %error, repeats, "datagram refused");
                }
            }
            _ => {}
        }
        let unsent = u64::from(out.count.saturating_sub(sent));
        self.shared.core().node.count_drop(None, out.peer, fault.drop_reason(), unsent);
    }

    fn note_quic(&mut self, now: Instant, engine: &Quic, news: &mut LineLimit, event: Event) {
        let name = |worker: &Self, peer| {
            let core = worker.shared.core();
            core.node.peer(peer).map_or_else(String::new, |peer| peer.name.clone())
        };
        match event {
            Event::Established { peer } => {
                if !may_tell(news, now) {
                    return;
                }
                let name = name(self, peer);
                info!(peer = name, "connected");
                let status = engine.status(peer).and_then(|status| status.connection);
                if let Some(expires) = status.and_then(|connection| connection.expires) {
                    warn_of_expiry(&name, expires);
                }
            }
            Event::Lost { peer, why } => {
                if may_tell(news, now) {
                    info!(peer = name(self, peer), why, "connection lost");
                }
            }
            Event::Moved { peer, to, local } => {
                if let Some(mtu) = self.underlay.path_mtu(to, local) {
                    let mtu = u16::try_from(mtu).unwrap_or(u16::MAX);
                    engine.set_kernel_mtu(peer, to.ip(), mtu, now);
                }
                self.follow_peer(now, peer, to, local);
            }
            Event::PathMtu { peer, mtu } => {
                self.shared.core().node.handle_path_mtu(peer, mtu);
                debug!(peer = name(self, peer), mtu, "path MTU");
            }
            Event::Refused { peer, at, why } => {
                let fault = Fault::Handshake(peer);
                let peer = peer.map_or_else(String::new, |peer| name(self, peer));
                if let Some(repeats) = self.log.allow(fault, now) {
                    warn!(peer, %at, why, repeats, "connection refused");
                }
            }
        }
    }

    fn with_quic(&mut self, work: impl FnOnce(&mut Self, &mut Connections)) {
        let Some(mut quic) = self.quic.take() else { return };
        work(self, &mut quic);
        self.quic = Some(quic);
    }
}

/// Whether one more line of connections that come and go may be logged.
fn may_tell(news: &mut LineLimit, now: Instant) -> bool {
    let line = news.allow(now);
    if line == Line::Last {
        info!("connections come and go often: no more is logged of that for a minute");
    }
    line != Line::None
}
