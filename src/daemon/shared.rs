//! What the workers share: the node and what is known of its devices, behind a lock.
//!
//! It is held for one read of a device, or for one batch of a socket, and never over a system call
//! of the packet path, which is where nine tenths of the time go. One worker alone never waits for it.

use std::io;
use std::mem;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tracing::warn;

use super::build::Port;
use super::turns::Turns;
use crate::api::report;
use crate::device;
use crate::drops::DropReason;
use crate::node::Node;
use crate::offload::{BigTcp, DeviceWrite};
use crate::socket::Underlay;
use crate::sys::poll::Wake;
use crate::transport::quic::Quic;
use crate::transport::wireguard::{Post, WireGuard};

/// How long workers may take to take up new sockets.
const TAKE_UP_TIME: Duration = Duration::from_secs(1);

/// The state of all workers.
pub(super) struct Shared {
    core: Mutex<Core>,
    stop: AtomicBool,
    /// What ends the waiting of each worker.
    wakes: Vec<Arc<Wake>>,
    /// Sessions with WireGuard peers, where there are any; each peer has a lock of its own.
    pub(super) wireguard: Option<Arc<WireGuard>>,
    /// Connections with QUIC peers, where there are any; each has a lock of its own.
    pub(super) quic: Option<Arc<Quic>>,
    /// New sockets for each worker, that it takes up when it is woken.
    underlays: Mutex<Vec<Option<Underlay>>>,
    /// Tells that one was taken up.
    taken_up: Condvar,
    /// What the first worker has to send and count, of somebody who has no sockets.
    posts: Mutex<Vec<Post>>,
    /// The system calls of each worker, as it said last.
    calls: Vec<Mutex<report::Worker>>,
}

/// What is behind the lock.
pub(super) struct Core {
    pub(super) node: Node,
    pub(super) ports: Vec<Port>,
    pub(super) turns: Turns,
}

impl Core {
    /// Counts a packet that a device refused, and stops merging where that is the reason: a kernel
    /// that refuses a merged packet will refuse the next.
    pub(super) fn refuse_write(&mut self, write: &DeviceWrite, error: &io::Error) {
        let (id, packets) = (write.network, u64::from(write.packets));
        self.node.count_drop(Some(id), None, DropReason::DeviceWriteFailed, packets);
        let Some(network) = self.node.network(id) else { return };
        let (merges, merges_big_tcp) = (network.is_coalescing, network.merges_big_tcp());
        let port = &mut self.ports[id.index()];
        if write.is_big() && merges_big_tcp && !device::is_down(error) {
            // Whatever the reason (memory, a filter): it takes what is no larger than usual.
            port.big_tcp.give_up();
            port.coalescing_refused.push(format!("big_tcp: {error}"));
            let (device, bytes) = (&port.interface, write.len);
            warn!(device, bytes, %error, "large packet refused: device_big_tcp is off now");
            self.node.set_big_tcp(id, BigTcp::Never);
        } else if merges && write.vnet.gso_size != 0 && error.raw_os_error() == Some(libc::EINVAL) {
            port.coalescing_refused.push(format!("gro: {error}"));
            warn!(device = port.interface, %error, "merged packet refused: device_gro is off now");
            self.node.stop_coalescing(id);
        }
    }
}

impl Shared {
    pub(super) fn new(
        node: Node,
        ports: Vec<Port>,
        wakes: Vec<Arc<Wake>>,
        wireguard: Option<Arc<WireGuard>>,
        quic: Option<Arc<Quic>>,
    ) -> Self {
        let calls = wakes.iter().map(|_| Mutex::default()).collect();
        let underlays = Mutex::new(wakes.iter().map(|_| None).collect());
        let core = Mutex::new(Core { node, ports, turns: Turns::default() });
        let (stop, posts) = (AtomicBool::new(false), Mutex::default());
        let taken_up = Condvar::new();
        Self { core, stop, wakes, wireguard, quic, underlays, taken_up, posts, calls }
    }

    /// Waits for the lock. A worker that panicked with it ends the daemon; until then what it left
    /// is as good as before.
    pub(super) fn core(&self) -> MutexGuard<'_, Core> {
        self.core.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks all workers to end after the batch in hand.
    pub(super) fn stop(&self) {
        self.stop.store(true, Ordering::Release);
        self.wakes.iter().for_each(|wake| wake.set());
    }

    pub(super) fn is_stopping(&self) -> bool {
        self.stop.load(Ordering::Acquire)
    }

    /// Hands new sockets to each worker, as many as there are workers, and waits until they are
    /// taken up: what is sent afterwards is sent by them. A worker that is late for long is not
    /// waited for.
    pub(super) fn hand_over(&self, underlays: impl IntoIterator<Item = Underlay>) {
        let mut places = self.underlays.lock().unwrap_or_else(PoisonError::into_inner);
        for (place, underlay) in places.iter_mut().zip(underlays) {
            *place = Some(underlay);
        }
        self.wakes.iter().for_each(|wake| wake.set());
        let is_waiting = |places: &mut Vec<Option<Underlay>>| places.iter().any(Option::is_some);
        let _ = self.taken_up.wait_timeout_while(places, TAKE_UP_TIME, is_waiting);
    }

    /// Takes the sockets that were handed to a worker.
    pub(super) fn take_underlay(&self, worker: usize) -> Option<Underlay> {
        let mut places = self.underlays.lock().unwrap_or_else(PoisonError::into_inner);
        places[worker].take().inspect(|_| self.taken_up.notify_all())
    }

    /// Has the first worker send and count something.
    pub(super) fn post(&self, post: Post) {
        if !post.is_empty() {
            self.posts.lock().unwrap_or_else(PoisonError::into_inner).push(post);
            self.wakes[0].set();
        }
    }

    /// Takes what is to be sent and counted.
    pub(super) fn take_posts(&self) -> Vec<Post> {
        mem::take(&mut *self.posts.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Gives the number of workers.
    pub(super) fn workers(&self) -> usize {
        self.wakes.len()
    }

    /// Keeps the system calls of a worker for an answer.
    pub(super) fn tell_calls(&self, worker: usize, calls: report::Worker) {
        *self.calls[worker].lock().unwrap_or_else(PoisonError::into_inner) = calls;
    }

    /// Gives the system calls of all workers together.
    pub(super) fn calls(&self) -> report::Worker {
        let each = self.calls.iter().map(|one| *one.lock().unwrap_or_else(PoisonError::into_inner));
        let sum = each.fold(report::Worker::default(), |sum, one| sum.and(&one));
        report::Worker { threads: self.calls.len() as u32, ..sum }
    }
}
