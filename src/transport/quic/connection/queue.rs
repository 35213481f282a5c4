//! What waits to be sent on a connection, and what becomes of it otherwise.

use std::time::Instant;

use bytes::Bytes;

use super::{Stage, State};
use crate::drops::DropReason;
use crate::peer::NetworkId;
use crate::transport::opened::Loss;
use crate::transport::quic::settings::{QUEUE_MAX, QUEUE_MIN};
use crate::transport::quic::waiting::Packet;

impl State {
    /// Queues the datagrams of a run, each `datagram_len` bytes long but for the last.
    pub(in crate::transport::quic) fn queue(
        &mut self,
        now: Instant,
        run: &Bytes,
        datagram_len: usize,
        network: NetworkId,
    ) {
        let datagram_len = datagram_len.max(1);
        if self.stage == Stage::Ended {
            let count = run.len().div_ceil(datagram_len) as u64;
            return self.lose(Some(network), DropReason::QuicNoConnection, count);
        }
        self.last_data = Some(now);
        let max_size = self.connection.datagrams().max_size().unwrap_or(0);
        let mut room = self.queue_room();
        let (mut too_big, mut no_room) = (0, 0);
        for start in (0..run.len()).step_by(datagram_len) {
            let datagram = run.slice(start..(start + datagram_len).min(run.len()));
            let len = datagram.len();
            if len > max_size {
                if self.is_settled {
                    too_big += 1;
                } else {
                    let packet = Packet { since: now, bytes: datagram, network };
                    too_big += u64::from(self.oversized.push(packet).is_some());
                }
            } else if len <= room && self.hand_over(datagram) {
                self.unheard_since.get_or_insert(now);
                room -= len;
            } else {
                no_room += 1;
            }
        }
        self.lose(Some(network), DropReason::QuicTooBig, too_big);
        self.lose(Some(network), DropReason::QuicQueueFull, no_room);
    }

    /// The bytes that may still be queued: about a window of them, what is sent in a round trip.
    fn queue_room(&mut self) -> usize {
        let window = self.connection.congestion_state().window();
        let max = usize::try_from(window).unwrap_or(QUEUE_MAX).clamp(QUEUE_MIN, QUEUE_MAX);
        let space = self.connection.datagrams().send_buffer_space();
        space.saturating_sub(QUEUE_MAX - max)
    }

    /// Gives a datagram to the library; tells whether it took it.
    fn hand_over(&mut self, datagram: Bytes) -> bool {
        let is_taken = self.connection.datagrams().send(datagram, false).is_ok();
        self.queued += u64::from(is_taken);
        is_taken
    }

    /// Queues what waited for a larger path.
    pub(super) fn release(&mut self) {
        if self.oversized.is_empty() {
            return;
        }
        for packet in self.oversized.take() {
            let network = Some(packet.network);
            if packet.bytes.len() <= self.max_size {
                if !self.hand_over(packet.bytes) {
                    self.lose(network, DropReason::QuicQueueFull, 1);
                }
            } else if self.is_settled {
                self.lose(network, DropReason::QuicTooBig, 1);
            } else {
                self.oversized.push(packet);
            }
        }
    }

    /// Counts what the library has forgotten: it does not tell which datagrams a path that has
    /// shrunk does not take any more.
    pub(super) fn note_forgotten(&mut self) {
        if self.connection.datagrams().send_buffer_space() < self.queue_size {
            return;
        }
        let unsent = self.unsent();
        self.queued -= unsent;
        self.lose(None, DropReason::QuicTooBig, unsent);
    }

    /// Counts what will not be sent: the connection is over.
    pub(super) fn give_up(&mut self) {
        let unsent = self.unsent();
        self.queued -= unsent;
        self.lose(None, DropReason::QuicNoConnection, unsent);
        for packet in self.oversized.take() {
            self.lose(Some(packet.network), DropReason::QuicNoConnection, 1);
        }
    }

    /// The datagrams that the library has taken, and did not send.
    fn unsent(&self) -> u64 {
        self.queued.saturating_sub(self.connection.stats().frame_tx.datagram)
    }

    pub(super) fn lose(&mut self, network: Option<NetworkId>, reason: DropReason, packets: u64) {
        if packets > 0 {
            self.losses.push(Loss { network, peer: self.peer, reason, packets });
        }
    }
}
