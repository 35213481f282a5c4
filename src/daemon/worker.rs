//! A worker: a thread with a queue of each device and sockets of its own, which moves packets.
//!
//! A turn of the loop waits until something can be read, then reads a batch of it, hands it to the
//! node and flushes what comes out. The node is shared with the other workers, if there are any.
//! Between batches the first worker answers questions and ages the tables.

use std::io;
use std::mem;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use thiserror::Error;
use tracing::warn;

use super::LogLimit;
use super::answer::{self, Known};
use super::build::{Build, Ends};
use super::quic::Connections;
use super::sealing::Sealing;
use super::shared::Shared;
use super::waiting::Waiting;
use crate::api::query::QueryReceiver;
use crate::api::report;
use crate::buffer::{HEADER_AREA, Memory};
use crate::device::{self, Device, DeviceIo};
use crate::drops::DropReason;
use crate::frame::Layer;
use crate::node::{Node, Output};
use crate::offload::VnetHeader;
use crate::peer::{NetworkId, PeerId};
use crate::socket::{Underlay, UnderlayIo};
use crate::sys::poll::{Poller, Wake};
use crate::transport::wireguard::Post;
use crate::transport::{Carrier, Received};

/// Packets of one device, or receive calls of one socket, in a batch: enough to fill the sends,
/// few enough that the other sources wait less than a millisecond.
const BATCH: usize = 32;
/// One more slot than a batch, for what is cut again.
const SLOTS: usize = BATCH + 1;
pub(super) const SCRATCH_SLOT: usize = BATCH;
/// A batch is flushed early when the header area has less than this left.
const HEADER_RESERVE: usize = HEADER_AREA / 2;

/// Peers whose path MTU is looked up in one tick; a look-up takes microseconds.
const PATHS_PER_TICK: usize = 8;

/// Batches that are taken from a socket before it is closed: more than its buffer holds.
const LAST_BATCHES: usize = 256;

const TOKEN_WAKE: u64 = 0;
const TOKEN_DEVICE: u64 = 1;
const TOKEN_SOCKET: u64 = 1 << 32;

/// Why a worker ended by itself.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum WorkerError {
    /// The device was deleted by somebody else.
    #[error("device {name}: {source} (was it deleted?)")]
    Device {
        /// The interface.
        name: String,
        /// What reading it said.
        source: io::Error,
    },
    /// The thread, or what it waits with, could not be made.
    #[error("cannot start the worker: {0}")]
    Start(#[source] io::Error),
    /// The event loop could not wait.
    #[error("waiting for packets: {0}")]
    Poll(#[source] io::Error),
    /// A defect of ours.
    #[error("the worker panicked")]
    Panicked,
}

/// What the worker logs, once a minute each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// A device could not hand over a packet.
    Read(NetworkId, Option<i32>),
    /// A device refused a packet.
    Write(NetworkId, Option<i32>),
    /// A socket refused a datagram.
    Send(Errno),
    /// A handshake with a peer, or with somebody unknown, ended without a connection.
    Handshake(Option<PeerId>),
    /// The underlay interface cannot be bound to.
    Follow,
    /// A peer is at two endpoints in turn.
    Turns(PeerId),
}

/// The workers that run.
pub struct WorkerHandle {
    threads: Vec<JoinHandle<Result<(), WorkerError>>>,
    shared: Arc<Shared>,
}

impl WorkerHandle {
    /// Asks the workers to end after the batch in hand.
    pub fn stop(&self) {
        self.shared.stop();
    }

    /// Gives what the workers share.
    pub(super) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// Waits for the workers' end.
    ///
    /// # Errors
    ///
    /// Returns why the first ended that did not by [`WorkerHandle::stop`].
    pub fn join(self) -> Result<(), WorkerError> {
        let ends = self
            .threads
            .into_iter()
            .map(|thread| thread.join().unwrap_or(Err(WorkerError::Panicked)));
        // All, also behind one that failed.
        ends.collect::<Vec<_>>().into_iter().collect()
    }
}

/// The state of a worker's thread.
pub(super) struct Worker {
    index: usize,
    pub(super) shared: Arc<Shared>,
    pub(super) devices: Vec<Device>,
    pub(super) underlay: Underlay,
    pub(super) memory: Memory,
    pub(super) out: Output,
    pub(super) received: Vec<Received>,
    /// Only where there are WireGuard peers; absent while it is at work.
    pub(super) sealing: Option<Box<Sealing>>,
    /// Only where there are QUIC peers; absent while it is at work.
    pub(super) quic: Option<Box<Connections>>,
    /// Only the first worker has them, and what is done at times.
    queries: Option<QueryReceiver>,
    wake: Arc<Wake>,
    next_tick: Instant,
    /// The peer whose path MTU is looked up next.
    next_path: usize,
    /// The device that is looked at next.
    pub(super) next_port: usize,
    /// Bytes read since the worker last waited.
    pub(super) moved: usize,
    pub(super) log: LogLimit<Fault>,
    /// System calls so far; what the sockets count is added when they are told.
    pub(super) calls: report::Worker,
}

impl Worker {
    /// Starts the threads.
    ///
    /// # Errors
    ///
    /// Fails if a poller cannot be made or a thread not started; then none runs.
    pub(super) fn spawn(build: Build, queries: QueryReceiver) -> Result<WorkerHandle, WorkerError> {
        let now = Instant::now();
        let Build { node, ports, ends, busy_poll, wireguard, quic, .. } = build;
        let wakes = ends.iter().map(|ends| Arc::clone(&ends.wake)).collect();
        let shared = Arc::new(Shared::new(Node::new(node, now), ports, wakes, wireguard, quic));
        // Here and not by a thread that may be late: peers that come later are not asked.
        if let Some(engine) = &shared.wireguard {
            let mut post = Post::default();
            engine.start(now, &mut post);
            shared.post(post);
        }
        let mut handle = WorkerHandle { threads: Vec::new(), shared };
        let mut queries = Some(queries);
        for (index, ends) in ends.into_iter().enumerate() {
            let shared = Arc::clone(&handle.shared);
            match Self::start(index, ends, shared, busy_poll, queries.take(), now) {
                Ok(thread) => handle.threads.push(thread),
                Err(error) => {
                    handle.stop();
                    let _ = handle.join();
                    return Err(WorkerError::Start(error));
                }
            }
        }
        Ok(handle)
    }

    fn start(
        index: usize,
        ends: Ends,
        shared: Arc<Shared>,
        busy_poll: Duration,
        queries: Option<QueryReceiver>,
        now: Instant,
    ) -> io::Result<JoinHandle<Result<(), WorkerError>>> {
        let waiting = Waiting::new(watch(&ends)?, busy_poll);
        let Ends { devices, underlay, wake } = ends;
        let engine = shared.wireguard.as_ref().map(Arc::clone);
        let quic = shared.quic.as_ref().map(Arc::clone);
        let worker = Self {
            index,
            shared,
            devices,
            underlay,
            memory: Memory::new(SLOTS),
            out: Output::default(),
            received: Vec::with_capacity(BATCH),
            sealing: engine.map(|engine| Box::new(Sealing::new(engine))),
            quic: quic.map(|engine| Box::new(Connections::new(engine, index))),
            queries,
            wake,
            next_tick: now + Node::TICK,
            next_path: 0,
            next_port: 0,
            moved: 0,
            log: LogLimit::default(),
            calls: report::Worker::default(),
        };
        let name = if index == 0 { "worker".into() } else { format!("worker {index}") };
        thread::Builder::new().name(name).spawn(move || {
            // One that ends, and be it by a panic, ends all.
            let _last = StopAll(Arc::clone(&worker.shared));
            worker.run(waiting)
        })
    }

    fn run(mut self, mut waiting: Waiting) -> Result<(), WorkerError> {
        while !self.shared.is_stopping() {
            let moved = mem::take(&mut self.moved);
            let deadline = self.quic.as_ref().and_then(|quic| quic.next_deadline(Instant::now()));
            let until = deadline.map_or(self.next_tick, |at| at.min(self.next_tick));
            let now = waiting.wait(until, moved).map_err(WorkerError::Poll)?;
            self.calls.waits = waiting.calls();
            for token in waiting.ready() {
                match token {
                    TOKEN_WAKE => {
                        // What comes after is noticed by the next wake; what is sent is sent by
                        // the new sockets, if there are any.
                        self.wake.clear();
                        self.follow_underlay(now, &waiting).map_err(WorkerError::Poll)?;
                        self.handle_wake(now);
                    }
                    TOKEN_SOCKET.. => self.handle_socket(now, (token - TOKEN_SOCKET) as usize),
                    TOKEN_DEVICE.. => self.handle_device(now, (token - TOKEN_DEVICE) as usize)?,
                }
            }
            self.handle_deadlines(now);
            if now >= self.next_tick {
                self.handle_tick(now);
            }
            if self.index > 0 {
                // The first tells its own when it is asked.
                self.tell_calls();
            }
        }
        if self.index == 0 {
            self.stop_quic(Instant::now());
        }
        Ok(())
    }

    fn handle_wake(&mut self, now: Instant) {
        self.tell_calls();
        if self.index == 0 {
            self.send_posts(now);
        }
        // One at a time: packets go between two answers.
        if let Some(question) = self.queries.as_mut().and_then(QueryReceiver::try_next) {
            let calls = self.shared.calls();
            let core = self.shared.core();
            let wireguard = self.shared.wireguard.as_deref();
            let quic = self.shared.quic.as_deref();
            let known = Known { core: &core, underlay: &self.underlay, wireguard, quic, calls };
            let answer = answer::answer(known, question.query(), now);
            drop(core);
            question.answer(answer);
            self.wake.set();
        }
    }

    /// Takes up new sockets, if there are any; the former ones are closed when they are empty.
    fn follow_underlay(&mut self, now: Instant, waiting: &Waiting) -> io::Result<()> {
        let Some(underlay) = self.shared.take_underlay(self.index) else { return Ok(()) };
        for index in 0..self.underlay.listeners().count() {
            for _ in 0..LAST_BATCHES {
                self.handle_socket(now, index);
                if self.received.is_empty() {
                    break;
                }
            }
        }
        for (_, fd, _) in self.underlay.listeners() {
            waiting.poller().remove(fd)?;
        }
        watch_listeners(waiting.poller(), &underlay)?;
        self.underlay = underlay;
        Ok(())
    }

    fn tell_calls(&self) {
        let sent = self.underlay.sent();
        let calls =
            report::Worker { sends: sent.calls, sent_datagrams: sent.datagrams, ..self.calls };
        self.shared.tell_calls(self.index, calls);
    }

    fn handle_tick(&mut self, now: Instant) {
        self.next_tick = now + Node::TICK;
        self.follow_device(now);
        if self.index > 0 {
            return;
        }
        self.shared.core().node.handle_tick(now);
        self.tick_sealing(now);
        self.tick_quic(now);
        self.check_paths(now);
        self.follow_forwarding();
    }

    /// An interface named by `bind_device` may be deleted and made again: the sockets follow.
    fn follow_device(&mut self, now: Instant) {
        if let Err(error) = self.underlay.follow_device()
            && let Some(repeats) = self.log.allow(Fault::Follow, now)
        {
            warn!(%error, repeats, "cannot bind to the underlay interface");
        }
    }

    /// Looks up some peers' path MTU, in turn: paths shrink and grow again.
    fn check_paths(&mut self, now: Instant) {
        let peers: Vec<_> = {
            let core = self.shared.core();
            let next = core.node.peers().skip(self.next_path).take(PATHS_PER_TICK);
            next.map(|(id, peer)| (id, peer.endpoint(Layer::L2), peer.local)).collect()
        };
        let is_end = peers.len() < PATHS_PER_TICK;
        self.next_path = if is_end { 0 } else { self.next_path + PATHS_PER_TICK };
        for (id, to, from) in peers {
            if let Some(mtu) = to.and_then(|to| self.underlay.path_mtu(to, from)) {
                let mtu = u16::try_from(mtu).unwrap_or(u16::MAX);
                match &self.shared.quic {
                    // It finds out by itself what crosses the path, and knows no more by this.
                    Some(quic) if quic.has(id) => {
                        to.inspect(|to| quic.set_kernel_mtu(id, to.ip(), mtu, now));
                    }
                    _ => self.shared.core().node.handle_path_mtu(id, mtu),
                }
            }
        }
    }

    /// A batch from a device to the underlay.
    fn handle_device(&mut self, now: Instant, index: usize) -> Result<(), WorkerError> {
        let network = NetworkId(index as u16);
        for slot in 0..BATCH {
            let slot = self.memory.slot(slot);
            let device = &mut self.devices[index];
            let (vnet, len) = match device.read(self.memory.bytes_mut(slot)) {
                Ok(Some(read)) => read,
                Ok(None) => {
                    self.calls.would_block += 1;
                    break;
                }
                Err(source) if device::is_gone(&source) => {
                    let name = device.name().to_owned();
                    return Err(WorkerError::Device { name, source });
                }
                Err(error) => {
                    // cold: a packet that the kernel cannot describe by a vnet_hdr; it is gone.
                    let device = device.name();
                    let fault = Fault::Read(network, error.raw_os_error());
                    if let Some(repeats) = self.log.allow(fault, now) {
                        warn!(device, %error, repeats, "cannot read a packet");
                    }
                    let reason = DropReason::VnetHeader;
                    self.shared.core().node.count_drop(Some(network), None, reason, 1);
                    break;
                }
            };
            self.calls.device_reads += 1;
            self.moved += len;
            let (packet, vnet) = (slot.part(0, len), VnetHeader::from_bytes(vnet));
            let (memory, out) = (&mut self.memory, &mut self.out);
            self.shared.core().node.handle_device(now, network, packet, vnet, memory, out);
            if self.memory.header_room() < HEADER_RESERVE {
                self.flush(now);
            }
        }
        self.flush(now);
        Ok(())
    }

    /// A batch from a socket to the devices.
    fn handle_socket(&mut self, now: Instant, index: usize) {
        self.received.clear();
        let (memory, received) = (&mut self.memory, &mut self.received);
        // An error here is one that an ICMP message left on the socket; it is gone by being read.
        if self.underlay.receive(index, memory, 0..BATCH, received).is_err() {
            return;
        }
        match self.received.is_empty() {
            true => self.calls.would_block += 1,
            false => self.calls.receives += 1,
        }
        match self.received.first().map(|first| first.carrier) {
            Some(Carrier::WireGuard) => return self.handle_messages(now),
            Some(Carrier::Quic) => return self.handle_quic(now),
            _ => {}
        }
        let mut done = 0;
        while done < self.received.len() {
            done += self.handle_received(now, done);
            self.flush(now);
        }
    }

    /// Takes what was received, from the `first` on, as far as there is room for headers; merges
    /// it, and gives how many that were.
    fn handle_received(&mut self, now: Instant, first: usize) -> usize {
        let mut core = self.shared.core();
        let mut count = 0;
        for received in &self.received[first..] {
            self.calls.received_datagrams += received.datagrams();
            self.moved += received.piece.len as usize;
            core.node.handle_received(now, received, &mut self.memory, &mut self.out);
            count += 1;
            if self.memory.header_room() < HEADER_RESERVE {
                break;
            }
        }
        core.node.finish_batch(&mut self.memory, &mut self.out);
        count
    }
}

/// Stops all workers when it is dropped.
struct StopAll(Arc<Shared>);

impl Drop for StopAll {
    fn drop(&mut self) {
        self.0.stop();
    }
}

/// Watches everything that packets and questions come from.
fn watch(ends: &Ends) -> io::Result<Poller> {
    let poller = Poller::new()?;
    poller.add(ends.wake.as_fd(), TOKEN_WAKE)?;
    for (index, device) in ends.devices.iter().enumerate() {
        poller.add(device.as_fd(), TOKEN_DEVICE + index as u64)?;
    }
    watch_listeners(&poller, &ends.underlay)?;
    Ok(poller)
}

fn watch_listeners(poller: &Poller, underlay: &Underlay) -> io::Result<()> {
    for (index, fd, _) in underlay.listeners() {
        poller.add(fd, TOKEN_SOCKET + index as u64)?;
    }
    Ok(())
}
