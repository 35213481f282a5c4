//! WireGuard in a worker: sealing what is sent, opening what was received, and its post.
//!
//! Sealing and opening happen without the node's lock, under that of the peer.

use std::sync::Arc;
use std::time::Instant;

use tracing::{debug, warn};

use super::worker::{Fault, Worker};
use crate::buffer::{Memory, Piece};
use crate::socket::{SendError, SendFault, UnderlayIo};
use crate::transport::opened::Contents;
use crate::transport::wireguard::{Event, Letter, Post, Scratch, WireGuard};
use crate::transport::{Carrier, Transmit};

/// What a worker needs for WireGuard.
pub(super) struct Sealing {
    engine: Arc<WireGuard>,
    /// One slot: what one send takes.
    sealed: Memory,
    scratch: Scratch,
    contents: Contents,
    post: Post,
}

impl Sealing {
    pub(super) fn new(engine: Arc<WireGuard>) -> Self {
        Self {
            engine,
            sealed: Memory::new(1),
            scratch: Scratch::default(),
            contents: Contents::default(),
            post: Post::default(),
        }
    }
}

impl Worker {
    /// Does what WireGuard has to do by time.
    pub(super) fn tick_sealing(&mut self, now: Instant) {
        self.with_sealing(|worker, sealing| {
            sealing.engine.tick(now, &mut sealing.post);
            worker.deliver_post(now, sealing);
        });
    }

    /// Sends and counts what others have left for this worker.
    pub(super) fn send_posts(&mut self, now: Instant) {
        let posts = self.shared.take_posts();
        if posts.is_empty() {
            return;
        }
        self.with_sealing(|worker, sealing| {
            for mut post in posts {
                sealing.post.letters.append(&mut post.letters);
                sealing.post.losses.append(&mut post.losses);
                sealing.post.events.append(&mut post.events);
            }
            worker.deliver_post(now, sealing);
        });
    }

    /// Seals a transmit and sends it. Fails with what was sent, of which the kernel refused a
    /// part.
    pub(super) fn send_sealed(
        &mut self,
        now: Instant,
        transmit: &Transmit,
        pieces: &[Piece],
    ) -> Result<(), (SendError, Transmit)> {
        let Some(mut sealing) = self.sealing.take() else { return Ok(()) };
        let Sealing { engine, sealed, scratch, post, .. } = &mut *sealing;
        let room = sealed.slot(0);
        let out = engine.seal(now, transmit, pieces, &self.memory, (sealed, room), scratch, post);
        let result = match out {
            Some(out) => {
                let run = room.part(0, out.len as usize);
                let sent = self.underlay.send(&out, &[run], sealed);
                sent.map_err(|error| (error, out))
            }
            None => Ok(()),
        };
        self.deliver_post(now, &mut sealing);
        self.sealing = Some(sealing);
        result
    }

    /// Opens the messages that were received, and hands the packets in them to the node.
    pub(super) fn handle_messages(&mut self, now: Instant) {
        self.with_sealing(|worker, sealing| {
            let Sealing { engine, scratch, contents, post, .. } = &mut *sealing;
            contents.clear();
            for received in &worker.received {
                worker.calls.received_datagrams += received.datagrams();
                worker.moved += received.piece.len as usize;
                engine.open(now, received, &mut worker.memory, scratch, contents, post);
            }
            // In a flood most batches hold nothing: others are not kept from the node for that.
            if !contents.runs.is_empty() {
                let mut core = worker.shared.core();
                for run in &contents.runs {
                    let packets = &contents.packets[run.packets.clone()];
                    let (memory, out) = (&mut worker.memory, &mut worker.out);
                    core.node.handle_opened(now, run, packets, memory, out);
                }
                core.node.finish_batch(&mut worker.memory, &mut worker.out);
            }
            worker.deliver_post(now, sealing);
        });
        self.flush(now);
    }

    /// Sends letters, counts losses, and takes note of where peers are.
    fn deliver_post(&mut self, now: Instant, sealing: &mut Sealing) {
        if sealing.post.is_empty() {
            return;
        }
        let Post { letters, losses, events } = &mut sealing.post;
        for letter in letters.drain(..) {
            send_letter(self, now, &letter, &mut sealing.sealed);
        }
        for event in events.drain(..) {
            self.take_note(now, event);
        }
        let mut core = self.shared.core();
        for loss in losses.drain(..) {
            core.node.count_drop(loss.network, loss.peer, loss.reason, loss.packets);
        }
    }

    fn take_note(&mut self, now: Instant, event: Event) {
        match event {
            Event::Established { peer } => {
                let core = self.shared.core();
                let name = core.node.peer(peer).map_or("", |peer| &peer.name);
                debug!(peer = name, "session established");
            }
            Event::Moved { peer, to, local } => {
                self.follow_peer(now, peer, to, local);
                if let Some(mtu) = self.underlay.path_mtu(to, local) {
                    let mtu = u16::try_from(mtu).unwrap_or(u16::MAX);
                    self.shared.core().node.handle_path_mtu(peer, mtu);
                }
            }
        }
    }

    fn with_sealing(&mut self, work: impl FnOnce(&mut Self, &mut Sealing)) {
        let Some(mut sealing) = self.sealing.take() else { return };
        work(self, &mut sealing);
        self.sealing = Some(sealing);
    }
}

fn send_letter(worker: &mut Worker, now: Instant, letter: &Letter, sealed: &mut Memory) {
    let Letter { to, from, peer, tos, ref bytes } = *letter;
    let room = sealed.slot(0).part(0, bytes.len());
    sealed.bytes_mut(room).copy_from_slice(bytes);
    let transmit = Transmit {
        carrier: Carrier::WireGuard,
        to,
        from,
        entropy: 0,
        tos,
        room: u16::MAX,
        datagram_len: bytes.len() as u16,
        count: 1,
        len: bytes.len() as u32,
        pieces: 0..1,
        peer: peer.unwrap_or(crate::peer::PeerId::new(0, 0)),
        network: crate::peer::NetworkId(0),
        relayed_from: None,
    };
    let Err(SendError { fault, .. }) = worker.underlay.send(&transmit, &[room], sealed) else {
        return;
    };
    // cold: said again later, by whoever waits for it.
    if let SendFault::Failed(error) = fault
        && let Some(repeats) = worker.log.allow(Fault::Send(error), now)
    {
        warn!(%to, %error, repeats, "handshake or keepalive refused");
    }
    worker.shared.core().node.count_drop(None, peer, fault.drop_reason(), 1);
}
