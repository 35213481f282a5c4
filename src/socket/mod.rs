//! The underlay's UDP sockets: receiving and sending runs of datagrams, and an in-memory twin.
//!
//! For each address family there is a listening socket for each carrier, and a few sending sockets
//! whose ports are the entropy that the underlay spreads load by. This room knows nothing of what
//! is in a datagram. Read [`Underlay`] first.

mod answering;
mod memory;
mod open;
mod probe;
mod receive;
mod send;
mod status;

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::ops::Range;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use nix::errno::Errno;
use socket2::Socket;

use crate::buffer::{Memory, Piece};
use crate::drops::DropReason;
use crate::sys::datagram::ReceiveBatch;
use crate::sys::slices::Slices;
use crate::sys::udp::Family;
use crate::transport::{Carrier, Received, Transmit};

pub use crate::sys::Switch;
pub use memory::{MemArrival, MemUnderlay};
pub use open::SocketError;

/// What to open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SocketSpec {
    /// The address to listen on and to send from; `::` is every address of both families.
    pub listen: IpAddr,
    /// The port for VXLAN; `None`: no such socket.
    pub port: Option<u16>,
    /// The port for VXLAN-GPE; `None`: no such socket.
    pub gpe_port: Option<u16>,
    /// Where WireGuard listens, and sends from; `None`: no such socket. `::` is every address of
    /// both families.
    pub wireguard: Option<SocketAddr>,
    /// The same for QUIC.
    pub quic: Option<SocketAddr>,
    /// The mark on what is sent, for policy routing.
    pub fwmark: Option<u32>,
    /// The interface that everything passes through.
    pub bind_device: Option<String>,
    /// The outer TTL or hop limit, 1 to 255.
    pub ttl: u8,
    /// The number of sending sockets per address family, 1 to 16.
    pub source_ports: u8,
    /// The receive buffer of each listening socket.
    pub receive_buffer_bytes: usize,
    /// The send buffer of each sending socket.
    pub send_buffer_bytes: usize,
    /// Whether runs are sent in one call (UDP_SEGMENT).
    pub gso: Switch,
    /// Whether runs are received in one call (UDP_GRO).
    pub gro: Switch,
    /// Whether there will be siblings that listen on the same ports (SO_REUSEPORT).
    pub has_siblings: bool,
    /// Whether the ports are ours already: sockets that these take the place of have them.
    pub is_own_port: bool,
}

impl SocketSpec {
    /// Where a carrier listens that also sends from there.
    fn secured(&self, carrier: Carrier) -> Option<SocketAddr> {
        match carrier {
            Carrier::Vxlan | Carrier::VxlanGpe => None,
            Carrier::WireGuard => self.wireguard,
            Carrier::Quic => self.quic,
        }
    }
}

/// What a socket is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lane {
    /// Receives what is sent to a carrier's port.
    Listen(Carrier),
    /// Sends.
    Send,
}

/// A socket as `tunctl status` shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SocketStatus {
    /// The local address and port.
    pub address: SocketAddr,
    /// What it is for.
    pub lane: Lane,
    /// Runs are sent in one call.
    pub gso: bool,
    /// Runs are received in one call.
    pub gro: bool,
    /// What the kernel refused, and how.
    pub refused: Option<String>,
    /// The size of the receive buffer, bytes.
    pub receive_buffer: usize,
    /// The size of the send buffer, bytes.
    pub send_buffer: usize,
}

/// Why datagrams did not go out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SendFault {
    /// Larger than the path: cut smaller and send again. See [`Underlay::path_mtu`].
    TooBig,
    /// The send queue stayed full.
    QueueFull,
    /// No socket of the peer's address family is open.
    NoSocket,
    /// The kernel's error.
    Failed(Errno),
}

impl SendFault {
    /// Gives what is counted for the datagrams that did not go out.
    pub fn drop_reason(self) -> DropReason {
        match self {
            Self::TooBig => DropReason::TooBig,
            Self::QueueFull => DropReason::SendQueueFull,
            Self::NoSocket => DropReason::NoSourceAddress,
            Self::Failed(_) => DropReason::SendFailed,
        }
    }
}

/// A send that ended early.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SendError {
    /// Why.
    pub fault: SendFault,
    /// The datagrams that went out before, from the front of the transmit.
    pub sent: u16,
}

impl fmt::Display for SendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.fault {
            SendFault::TooBig => f.write_str("larger than the path"),
            SendFault::QueueFull => f.write_str("send queue full"),
            SendFault::NoSocket => f.write_str("no socket of the address family"),
            SendFault::Failed(errno) => f.write_str(errno.desc()),
        }
    }
}

impl std::error::Error for SendError {}

/// What has been sent since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sent {
    /// System calls.
    pub calls: u64,
    /// Datagrams that went out, those of a run one by one.
    pub datagrams: u64,
}

/// Receives datagrams from the underlay and sends datagrams to it.
pub trait UnderlayIo {
    /// Receives what is there on one socket, without waiting, each datagram or run into a slot of
    /// its own, and appends to `received`. Gives the number of slots used.
    ///
    /// # Errors
    ///
    /// Passes on the kernel's error; the next call may succeed.
    fn receive(
        &mut self,
        index: usize,
        memory: &mut Memory,
        slots: Range<usize>,
        received: &mut Vec<Received>,
    ) -> io::Result<usize>;

    /// Sends a datagram or a run. `pieces` is the whole batch's list; the transmit has a range in
    /// it. Waits at most 2 ms for room in the send queue, once in a batch.
    ///
    /// # Errors
    ///
    /// Says why datagrams did not go out, and how many did. The next call may succeed.
    fn send(
        &mut self,
        transmit: &Transmit,
        pieces: &[Piece],
        memory: &Memory,
    ) -> Result<(), SendError>;
}

/// A socket that listens for a carrier.
struct Listener {
    socket: Socket,
    family: Family,
    carrier: Carrier,
    gro: bool,
    refused: Option<String>,
    receive_buffer: usize,
}

/// A socket that sends.
struct Sender {
    socket: Socket,
    send_buffer: usize,
}

/// The sending sockets of one address family.
struct Senders {
    family: Family,
    sockets: Vec<Sender>,
    runs: Arc<Runs>,
}

/// Whether runs are sent in one call; siblings agree on it.
struct Runs {
    gso: AtomicBool,
    /// What the kernel refused, and how.
    refused: OnceLock<String>,
}

impl Runs {
    fn is_on(&self) -> bool {
        self.gso.load(Ordering::Relaxed)
    }
}

/// All sockets of the underlay.
pub struct Underlay {
    spec: SocketSpec,
    listeners: Vec<Listener>,
    senders: Vec<Senders>,
    /// WireGuard and QUIC answer from the port that they listen on: a second descriptor of each
    /// such listener.
    answering: Vec<(Carrier, Senders)>,
    probes: Vec<probe::Probe>,
    bound_index: Option<u32>,
    batch: ReceiveBatch,
    slices: Slices,
    /// A full send queue has not been waited for in this batch.
    may_wait: bool,
    sent: Sent,
}

impl Underlay {
    /// Opens the sockets.
    ///
    /// An address of ours that is not there yet is listened on all the same (IP_FREEBIND), with a
    /// warning: it may come later, or go and come again.
    ///
    /// # Errors
    ///
    /// Names the socket, the setting and the cause; nothing stays open then.
    pub fn open(spec: &SocketSpec) -> Result<Self, SocketError> {
        open::open(spec)
    }

    /// Opens listening sockets on the same ports, for another thread: the kernel gives each flow
    /// of the underlay to one of them. The sending sockets are shared, so that a flow leaves from
    /// the same port whoever sends it.
    ///
    /// # Errors
    ///
    /// As [`Underlay::open`].
    pub fn open_sibling(&self) -> Result<Self, SocketError> {
        open::open_sibling(self)
    }

    /// Has what comes to the ports of VXLAN shared evenly by the siblings, of which there are so
    /// many, this one included: by the source port, which stands for a lane of the sender's.
    pub fn share_with(&self, siblings: u8) {
        open::share(self, siblings);
    }

    /// Gives the sockets to wait for: the index for [`UnderlayIo::receive`], the descriptor and
    /// what arrives there.
    pub fn listeners(&self) -> impl Iterator<Item = (usize, BorrowedFd<'_>, Carrier)> {
        self.listeners
            .iter()
            .enumerate()
            .map(|(index, listener)| (index, listener.socket.as_fd(), listener.carrier))
    }

    /// Gives the path MTU to an address as the kernel knows it now, bytes of the outer IP packet;
    /// `None` if there is no route.
    pub fn path_mtu(&self, to: SocketAddr, from: Option<IpAddr>) -> Option<u32> {
        probe::path_mtu(self, to, from)
    }

    /// Whether runs to addresses of this family are sent in one call.
    pub fn sends_runs(&self, to: IpAddr) -> bool {
        let family = Family::of(to);
        self.senders.iter().any(|senders| senders.family == family && senders.runs.is_on())
    }

    /// Begins a batch of sends: a full send queue may be waited for again, once.
    pub fn start_batch(&mut self) {
        self.may_wait = true;
    }

    /// Gives what has been sent since the start.
    pub fn sent(&self) -> Sent {
        self.sent
    }

    /// Binds the sockets to `bind_device` again if that interface was replaced by another of its
    /// name. Call it once in a while; it costs one system call, and nothing without `bind_device`.
    ///
    /// # Errors
    ///
    /// Fails if a socket cannot be bound: CAP_NET_RAW is needed for it. The next call tries again.
    pub fn follow_device(&mut self) -> io::Result<()> {
        open::follow_device(self)
    }

    /// Gives the port that WireGuard listens on; 0 for none.
    pub fn port(&self) -> u16 {
        answering::port(self, Carrier::WireGuard)
    }

    /// Describes each socket, the listening ones first.
    pub fn status(&self) -> Vec<SocketStatus> {
        status::status(self)
    }
}

impl UnderlayIo for Underlay {
    fn receive(
        &mut self,
        index: usize,
        memory: &mut Memory,
        slots: Range<usize>,
        received: &mut Vec<Received>,
    ) -> io::Result<usize> {
        receive::receive(self, index, memory, slots, received)
    }

    fn send(
        &mut self,
        transmit: &Transmit,
        pieces: &[Piece],
        memory: &Memory,
    ) -> Result<(), SendError> {
        send::send(self, transmit, pieces, memory)
    }
}

#[cfg(test)]
mod tests;
