//! The worker: one thread that owns the devices, the sockets and the node, and moves packets.
//!
//! A turn of the loop waits until something can be read, then reads a batch of it, hands it to the
//! node and flushes what comes out. Between batches it answers questions and ages the tables.

use std::io;
use std::mem;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Instant;

use nix::errno::Errno;
use thiserror::Error;
use tracing::warn;

use super::LogLimit;
use super::answer;
use super::build::{Build, Port};
use super::waiting::Waiting;
use crate::api::query::QueryReceiver;
use crate::api::report;
use crate::buffer::{HEADER_AREA, Memory};
use crate::device::{self, DeviceIo};
use crate::drops::DropReason;
use crate::frame::Layer;
use crate::node::{Node, Output};
use crate::offload::VnetHeader;
use crate::peer::NetworkId;
use crate::socket::{Underlay, UnderlayIo};
use crate::sys::poll::{Poller, Wake};
use crate::transport::Received;

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
    /// The underlay interface cannot be bound to.
    Follow,
}

/// A worker that runs.
pub struct WorkerHandle {
    thread: JoinHandle<Result<(), WorkerError>>,
    stop: Arc<AtomicBool>,
    wake: Arc<Wake>,
}

impl WorkerHandle {
    /// Asks the worker to end after the batch in hand.
    pub fn stop(&self) {
        self.stop.store(true, Ordering::Release);
        self.wake.set();
    }

    /// Waits for the worker's end.
    ///
    /// # Errors
    ///
    /// Returns why it ended, if not by [`WorkerHandle::stop`].
    pub fn join(self) -> Result<(), WorkerError> {
        self.thread.join().unwrap_or(Err(WorkerError::Panicked))
    }
}

/// The state of the worker thread.
pub(super) struct Worker {
    pub(super) node: Node,
    pub(super) ports: Vec<Port>,
    pub(super) underlay: Underlay,
    pub(super) memory: Memory,
    pub(super) out: Output,
    received: Vec<Received>,
    queries: QueryReceiver,
    wake: Arc<Wake>,
    stop: Arc<AtomicBool>,
    next_tick: Instant,
    /// The peer whose path MTU is looked up next.
    next_path: usize,
    /// The device that is looked at next.
    pub(super) next_port: usize,
    pub(super) log: LogLimit<Fault>,
    /// Bytes read since the worker last waited.
    moved: usize,
    /// System calls so far; what the sockets and the node count is added for an answer.
    pub(super) calls: report::Worker,
}

impl Worker {
    /// Starts the thread.
    ///
    /// # Errors
    ///
    /// Fails if the poller cannot be made or the thread not started.
    pub(super) fn spawn(build: Build, queries: QueryReceiver) -> Result<WorkerHandle, WorkerError> {
        Self::start(build, queries).map_err(WorkerError::Start)
    }

    fn start(build: Build, queries: QueryReceiver) -> io::Result<WorkerHandle> {
        let poller = watch(&build)?;
        let wake = Arc::clone(&build.wake);
        let stop = Arc::new(AtomicBool::new(false));
        let now = Instant::now();
        let worker = Self {
            node: Node::new(build.node, now),
            ports: build.ports,
            underlay: build.underlay,
            memory: Memory::new(SLOTS),
            out: Output::default(),
            received: Vec::with_capacity(BATCH),
            queries,
            wake: Arc::clone(&build.wake),
            stop: Arc::clone(&stop),
            next_tick: now + Node::TICK,
            next_path: 0,
            next_port: 0,
            moved: 0,
            log: LogLimit::default(),
            calls: report::Worker { threads: 1, ..report::Worker::default() },
        };
        let waiting = Waiting::new(poller, build.busy_poll);
        let thread =
            thread::Builder::new().name("worker".into()).spawn(move || worker.run(waiting))?;
        Ok(WorkerHandle { thread, stop, wake })
    }

    fn run(mut self, mut waiting: Waiting) -> Result<(), WorkerError> {
        while !self.stop.load(Ordering::Acquire) {
            let moved = mem::take(&mut self.moved);
            let now = waiting.wait(self.next_tick, moved).map_err(WorkerError::Poll)?;
            self.calls.waits = waiting.calls();
            for token in waiting.ready() {
                match token {
                    TOKEN_WAKE => self.handle_wake(now),
                    TOKEN_SOCKET.. => self.handle_socket(now, (token - TOKEN_SOCKET) as usize),
                    TOKEN_DEVICE.. => self.handle_device(now, (token - TOKEN_DEVICE) as usize)?,
                }
            }
            if now >= self.next_tick {
                self.handle_tick(now);
            }
        }
        Ok(())
    }

    fn handle_wake(&mut self, now: Instant) {
        self.wake.clear();
        // One at a time: packets go between two answers.
        if let Some(question) = self.queries.try_next() {
            let answer = answer::answer(self, question.query(), now);
            question.answer(answer);
            self.wake.set();
        }
    }

    fn handle_tick(&mut self, now: Instant) {
        self.next_tick = now + Node::TICK;
        self.node.handle_tick(now);
        self.check_paths();
        self.follow_device(now);
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
    fn check_paths(&mut self) {
        let next = self.node.peers().skip(self.next_path).take(PATHS_PER_TICK);
        let peers: Vec<_> =
            next.map(|(id, peer)| (id, peer.endpoint(Layer::L2), peer.local)).collect();
        let is_end = peers.len() < PATHS_PER_TICK;
        self.next_path = if is_end { 0 } else { self.next_path + PATHS_PER_TICK };
        for (id, to, from) in peers {
            if let Some(mtu) = self.underlay.path_mtu(to, from) {
                self.node.handle_path_mtu(id, u16::try_from(mtu).unwrap_or(u16::MAX));
            }
        }
    }

    /// A batch from a device to the underlay.
    fn handle_device(&mut self, now: Instant, index: usize) -> Result<(), WorkerError> {
        for slot in 0..BATCH {
            let slot = self.memory.slot(slot);
            let port = &mut self.ports[index];
            let (vnet, len) = match port.device.read(self.memory.bytes_mut(slot)) {
                Ok(Some(read)) => read,
                Ok(None) => {
                    self.calls.would_block += 1;
                    break;
                }
                Err(source) if device::is_gone(&source) => {
                    let name = port.device.name().to_owned();
                    return Err(WorkerError::Device { name, source });
                }
                Err(error) => {
                    // cold: a packet that the kernel cannot describe by a vnet_hdr; it is gone.
                    let device = port.device.name();
                    let fault = Fault::Read(NetworkId(index as u16), error.raw_os_error());
                    if let Some(repeats) = self.log.allow(fault, now) {
                        warn!(device, %error, repeats, "cannot read a packet");
                    }
                    let reason = DropReason::VnetHeader;
                    self.node.count_drop(Some(NetworkId(index as u16)), None, reason, 1);
                    break;
                }
            };
            self.calls.device_reads += 1;
            self.moved += len;
            let (network, vnet) = (NetworkId(index as u16), VnetHeader::from_bytes(vnet));
            let packet = slot.part(0, len);
            self.node.handle_device(now, network, packet, vnet, &mut self.memory, &mut self.out);
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
        for index in 0..self.received.len() {
            let received = self.received[index];
            self.calls.received_datagrams += received.datagrams();
            self.moved += received.piece.len as usize;
            self.node.handle_received(now, &received, &mut self.memory, &mut self.out);
            // What waits in the coalescer points into slots, not into the header area.
            if self.memory.header_room() < HEADER_RESERVE {
                self.flush(now);
            }
        }
        self.node.finish_batch(&mut self.memory, &mut self.out);
        self.flush(now);
    }
}

/// Watches everything that packets and questions come from.
fn watch(build: &Build) -> io::Result<Poller> {
    let poller = Poller::new()?;
    poller.add(build.wake.as_fd(), TOKEN_WAKE)?;
    for (index, port) in build.ports.iter().enumerate() {
        poller.add(port.device.as_fd(), TOKEN_DEVICE + index as u64)?;
    }
    for (index, fd, _) in build.underlay.listeners() {
        poller.add(fd, TOKEN_SOCKET + index as u64)?;
    }
    Ok(poller)
}
