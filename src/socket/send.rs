//! Sending: a run of datagrams in one system call, or what the kernel leaves of that.
//!
//! 1. Gather the pieces of as many datagrams as one call takes.
//! 2. Send them: with UDP_SEGMENT, or one by one.
//! 3. On an error decide: send without the pinned source, wait for the queue, give up the offload
//!    and send one by one, or report.

use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::Ordering;

use nix::errno::Errno;

use super::answering;
use super::{SendError, SendFault, Senders, Underlay};
use crate::buffer::{Memory, Piece};
use crate::sys::datagram::{self, BATCH_MAX, Envelope};
use crate::sys::poll::wait_writable;
use crate::sys::slices::{SLICES_MAX, SliceList, Slices};
use crate::sys::udp::Family;
use crate::transport::{Carrier, Transmit};

/// The most datagrams in one UDP_SEGMENT call that every kernel takes (UDP_MAX_SEGMENTS; 128 since
/// Linux 6.9).
const SEGMENTS_MAX: usize = 64;

/// How long a full send queue is waited for, once in a batch: other traffic waits as well.
const QUEUE_WAIT_MS: u16 = 2;

/// Sends a transmit; see [`super::UnderlayIo::send`].
pub(super) fn send(
    underlay: &mut Underlay,
    transmit: &Transmit,
    pieces: &[Piece],
    memory: &Memory,
) -> Result<(), SendError> {
    let family = Family::of(transmit.to.ip());
    let carrier = transmit.carrier;
    let (senders, listen) = match carrier {
        Carrier::Vxlan | Carrier::VxlanGpe => (
            underlay.senders.iter().find(|senders| senders.family == family),
            Some(underlay.spec.listen),
        ),
        Carrier::WireGuard | Carrier::Quic => (
            answering::find(&underlay.answering, carrier, family),
            underlay.spec.secured(carrier).map(|at| at.ip()),
        ),
    };
    let Some(senders) = senders else {
        return Err(SendError { fault: SendFault::NoSocket, sent: 0 });
    };
    // A socket that is bound to one address sends from it anyway.
    let is_pinned = transmit.from.is_some() && listen.is_some_and(|ip| ip.is_unspecified());
    let pieces = &pieces[transmit.pieces.start as usize..transmit.pieces.end as usize];
    let mut sending = Sending {
        transmit,
        cursor: Cursor { pieces, memory, index: 0, offset: 0 },
        left: transmit.count as usize,
        left_bytes: transmit.len as usize,
        is_pinned,
        is_suspect: None,
    };
    let result = loop {
        if sending.left == 0 {
            break Ok(());
        }
        underlay.sent.calls += 1;
        let result = sending.step(senders, &mut underlay.slices, &mut underlay.may_wait);
        if let Err(fault) = result {
            break Err(SendError { fault, sent: transmit.count - sending.left as u16 });
        }
    };
    underlay.sent.datagrams += u64::from(transmit.count) - sending.left as u64;
    result
}

/// A transmit on its way out.
struct Sending<'a> {
    transmit: &'a Transmit,
    cursor: Cursor<'a>,
    /// Datagrams that are still to be sent.
    left: usize,
    left_bytes: usize,
    /// The source address is set for each datagram.
    is_pinned: bool,
    /// UDP_SEGMENT failed in a way that may have another cause.
    is_suspect: Option<Errno>,
}

impl<'a> Sending<'a> {
    /// Sends what one call takes.
    fn step(
        &mut self,
        senders: &Senders,
        slices: &mut Slices,
        may_wait: &mut bool,
    ) -> Result<(), SendFault> {
        let entropy = self.transmit.entropy as usize;
        let socket = &senders.sockets[entropy % senders.sockets.len()].socket;
        let (cursor, left, left_bytes) = (self.cursor, self.left, self.left_bytes);
        let as_run = senders.runs.is_on() && left > 1 && self.is_suspect.is_none();
        let result = if as_run {
            self.send_run(socket.as_fd(), senders.family, slices)
        } else {
            self.send_each(socket.as_fd(), slices)
        };
        let Err(errno) = result else {
            if let Some(errno) = self.is_suspect.take() {
                give_up_gso(senders, errno);
            }
            return Ok(());
        };
        // Nothing of this step went out.
        (self.cursor, self.left, self.left_bytes) = (cursor, left, left_bytes);
        match errno {
            Errno::EAGAIN | Errno::ENOBUFS if *may_wait => {
                *may_wait = false;
                wait_writable(socket.as_fd(), QUEUE_WAIT_MS);
                Ok(())
            }
            Errno::EAGAIN | Errno::ENOBUFS => Err(SendFault::QueueFull),
            Errno::EMSGSIZE => Err(SendFault::TooBig),
            Errno::EINVAL | Errno::EADDRNOTAVAIL | Errno::ENETUNREACH if self.is_pinned => {
                // The address that the peer used may be gone (the error depends on the kernel and
                // the family): the kernel chooses another.
                self.is_pinned = false;
                Ok(())
            }
            Errno::EIO | Errno::ENOPROTOOPT | Errno::EOPNOTSUPP if as_run => {
                give_up_gso(senders, errno);
                Ok(())
            }
            Errno::EINVAL if as_run => {
                self.is_suspect = Some(errno);
                Ok(())
            }
            errno => Err(SendFault::Failed(errno)),
        }
    }

    /// Sends as many datagrams as fit in one call that the kernel cuts.
    fn send_run(
        &mut self,
        fd: BorrowedFd<'_>,
        family: Family,
        slices: &mut Slices,
    ) -> Result<(), Errno> {
        let len = usize::from(self.transmit.datagram_len);
        let count_max = (family.payload_max() / len.max(1)).clamp(1, SEGMENTS_MAX);
        let mut list = slices.start();
        let mut count = 0;
        if self.left <= count_max && self.cursor.gather_rest(&mut list) {
            count = self.left;
            (self.left, self.left_bytes) = (0, 0);
        }
        while count < count_max && self.gather_datagram(&mut list) {
            count += 1;
        }
        let mut envelope = self.envelope();
        match count {
            0 => Err(Errno::E2BIG),
            1 => datagram::send(fd, &mut envelope, list.as_slice()),
            _ => {
                envelope.set_segment(self.transmit.datagram_len);
                datagram::send(fd, &mut envelope, list.as_slice())
            }
        }
    }

    /// Sends as many datagrams as one call takes uncut. Succeeds if the first went out.
    fn send_each(&mut self, fd: BorrowedFd<'_>, slices: &mut Slices) -> Result<(), Errno> {
        let start = (self.cursor, self.left, self.left_bytes);
        let mut list = slices.start();
        let mut ends = [0; BATCH_MAX];
        let mut count = 0;
        while count < BATCH_MAX && self.gather_datagram(&mut list) {
            ends[count] = list.len();
            count += 1;
        }
        let mut envelope = self.envelope();
        let sent = match count {
            0 => return Err(Errno::E2BIG),
            1 => datagram::send(fd, &mut envelope, list.as_slice()).map(|()| 1)?,
            _ => datagram::send_each(fd, &mut envelope, list.as_slice(), &ends[..count])?,
        };
        if sent < count {
            // cold: the next step begins with the datagram that did not go out.
            (self.cursor, self.left, self.left_bytes) = start;
            let mut list = slices.start();
            for _ in 0..sent {
                self.gather_datagram(&mut list);
            }
        }
        Ok(())
    }

    /// Adds the next datagram's bytes to the list; `false`, and nothing added, if there is none or
    /// it does not fit.
    fn gather_datagram(&mut self, list: &mut SliceList<'_, 'a>) -> bool {
        let len = match self.left {
            0 => return false,
            1 => self.left_bytes,
            _ => self.left_bytes.min(self.transmit.datagram_len.into()),
        };
        let gathers = self.cursor.gather(len, list);
        if gathers {
            self.left -= 1;
            self.left_bytes -= len;
        }
        gathers
    }

    fn envelope(&self) -> Envelope {
        let mut envelope = Envelope::new(self.transmit.to);
        if let (true, Some(from)) = (self.is_pinned, self.transmit.from) {
            let scope_id = match self.transmit.to {
                SocketAddr::V6(to) => to.scope_id(),
                SocketAddr::V4(_) => 0,
            };
            envelope.set_source(from, scope_id);
        }
        if self.transmit.tos != 0 {
            envelope.set_tos(self.transmit.tos);
        }
        envelope
    }
}

/// Switches the sending of runs off, for all sockets of the family, and says so once.
fn give_up_gso(senders: &Senders, errno: Errno) {
    if !senders.runs.gso.swap(false, Ordering::Relaxed) {
        return;
    }
    let refused = format!("UDP_SEGMENT: {}", std::io::Error::from(errno));
    let _ = senders.runs.refused.set(refused);
    let family = match senders.family {
        Family::V4 => "IPv4",
        Family::V6 => "IPv6",
    };
    tracing::warn!(%errno, "the kernel refuses UDP_SEGMENT: udp_gso is off for {family}");
}

/// A position in the pieces of a transmit.
#[derive(Clone, Copy)]
struct Cursor<'a> {
    pieces: &'a [Piece],
    memory: &'a Memory,
    index: usize,
    offset: usize,
}

impl<'a> Cursor<'a> {
    /// Adds the next `len` bytes to the list and moves on; `false`, and nothing done, if they do
    /// not fit or the pieces end before.
    fn gather(&mut self, len: usize, list: &mut SliceList<'_, 'a>) -> bool {
        let (start, list_len) = (*self, list.len());
        let mut left = len;
        while left > 0 {
            let piece = self.take(left);
            left -= piece.len as usize;
            if piece.len == 0 || !list.push(self.memory.bytes(piece)) {
                *self = start;
                list.truncate(list_len);
                return false;
            }
        }
        // An empty datagram still needs a slice of its own to be counted by.
        len > 0 || list.push(&[])
    }

    /// Adds all that is left to the list; `false`, and nothing done, if it does not fit or a part of
    /// a piece is gone.
    fn gather_rest(&mut self, list: &mut SliceList<'_, 'a>) -> bool {
        let pieces = &self.pieces[self.index..];
        if self.offset > 0 || list.len() + pieces.len() > SLICES_MAX {
            return false;
        }
        for piece in pieces {
            list.push(self.memory.bytes(*piece));
        }
        self.index = self.pieces.len();
        true
    }

    /// Takes what lies in one stretch of memory, at most `max` bytes; an empty piece at the end.
    fn take(&mut self, max: usize) -> Piece {
        let mut taken = Piece::default();
        while let Some(piece) = self.pieces.get(self.index) {
            let rest = piece.skip(self.offset);
            if taken.len > 0 && (taken.len as usize == max || !taken.touches(rest)) {
                break;
            }
            let len = (rest.len as usize).min(max - taken.len as usize);
            if taken.len == 0 {
                taken.start = rest.start;
            }
            taken.len += len as u32;
            if len < rest.len as usize {
                self.offset += len;
                break;
            }
            (self.index, self.offset) = (self.index + 1, 0);
        }
        taken
    }
}
