//! What a batch leaves behind: datagrams to send and packets to write, as lists of pieces.

use std::net::{IpAddr, SocketAddr};

use crate::buffer::Piece;
use crate::offload::DeviceWrite;
use crate::peer::{NetworkId, PeerId};
use crate::transport::Transmit;

/// Datagrams in one send: the kernel's limit before 6.9 (UDP_MAX_SEGMENTS, include/linux/udp.h).
const RUN_DATAGRAMS_MAX: u16 = 64;
/// Bytes in one send: an IPv4 packet without its IP and UDP headers.
const RUN_BYTES_MAX: u32 = 65_535 - 20 - 8;
/// Pieces in one send: below the kernel's UIO_MAXIOV (1024), with room for a datagram of many.
const RUN_PIECES_MAX: u32 = 960;

/// What to send and what to write, in order; reused from batch to batch.
#[derive(Default)]
pub struct Output {
    /// The pieces that the two lists point into.
    pub pieces: Vec<Piece>,
    /// Datagrams and runs of datagrams for the underlay.
    pub transmits: Vec<Transmit>,
    /// Packets and GSO packets for the devices.
    pub writes: Vec<DeviceWrite>,
}

/// Where a datagram goes, and as whose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Way {
    pub(super) to: SocketAddr,
    pub(super) from: Option<IpAddr>,
    pub(super) entropy: u16,
    pub(super) tos: u8,
    pub(super) peer: PeerId,
    pub(super) network: NetworkId,
    pub(super) relayed_from: Option<PeerId>,
}

impl Output {
    /// Forgets everything, at the end of a batch.
    pub fn clear(&mut self) {
        self.pieces.clear();
        self.transmits.clear();
        self.writes.clear();
    }

    /// Adds one datagram, made of `head` and `body`, to the open run or to a new one.
    ///
    /// A run is what one UDP_SEGMENT send takes: one way, equal lengths, only the last shorter.
    pub(super) fn send(&mut self, way: &Way, head: Piece, body: Piece) {
        let len = head.len + body.len;
        let open = self.transmits.last_mut().filter(|run| continues(run, way, len));
        let first = self.pieces.len() as u32;
        if head.touches(body) {
            self.pieces.push(Piece { start: head.start, len });
        } else {
            self.pieces.push(head);
            if body.len > 0 {
                self.pieces.push(body);
            }
        }
        let end = self.pieces.len() as u32;
        match open {
            Some(run) if run.pieces.end == first => {
                run.count += 1;
                run.len += len;
                run.pieces.end = end;
            }
            _ => self.transmits.push(Transmit {
                to: way.to,
                from: way.from,
                entropy: way.entropy,
                tos: way.tos,
                datagram_len: len as u16,
                count: 1,
                len,
                pieces: first..end,
                peer: way.peer,
                network: way.network,
                relayed_from: way.relayed_from,
            }),
        }
    }
}

/// Whether a datagram of `len` bytes may follow in the run.
fn continues(run: &Transmit, way: &Way, len: u32) -> bool {
    let size = u32::from(run.datagram_len);
    let is_open = run.len == size * u32::from(run.count);
    is_open
        && len <= size
        && run.count < RUN_DATAGRAMS_MAX
        && run.len + len <= RUN_BYTES_MAX
        && run.pieces.end - run.pieces.start < RUN_PIECES_MAX
        && run.to == way.to
        && run.from == way.from
        && run.entropy == way.entropy
        && run.tos == way.tos
        && run.peer == way.peer
        && run.network == way.network
        && run.relayed_from == way.relayed_from
}

#[cfg(test)]
mod tests {
    use super::*;

    fn way(entropy: u16) -> Way {
        Way {
            to: SocketAddr::from(([192, 0, 2, 1], 4789)),
            from: None,
            entropy,
            tos: 0,
            peer: PeerId::new(0, 0),
            network: NetworkId(0),
            relayed_from: None,
        }
    }

    fn piece(start: u32, len: u32) -> Piece {
        Piece { start, len }
    }

    #[test]
    fn equal_datagrams_share_a_run_and_a_shorter_one_ends_it() {
        let mut output = Output::default();
        for len in [100, 100, 60, 60] {
            output.send(&way(0), piece(5000, 8), piece(0, len));
        }
        let counts: Vec<_> = output.transmits.iter().map(|t| (t.count, t.len)).collect();
        assert_eq!(counts, [(3, 108 + 108 + 68), (1, 68)]);
        assert_eq!(output.transmits[1].pieces, 6..8);
    }

    #[test]
    fn another_lane_or_a_longer_datagram_begins_a_run() {
        let mut output = Output::default();
        output.send(&way(0), piece(5000, 8), piece(0, 100));
        output.send(&way(1), piece(5000, 8), piece(0, 100));
        output.send(&way(1), piece(5000, 8), piece(0, 101));
        assert_eq!(output.transmits.len(), 3);
    }

    #[test]
    fn a_run_holds_no_more_than_one_send_takes() {
        let mut output = Output::default();
        for _ in 0..200 {
            output.send(&way(0), piece(5000, 8), piece(0, 10));
        }
        assert!(output.transmits.iter().all(|t| t.count <= RUN_DATAGRAMS_MAX));
        let mut output = Output::default();
        for _ in 0..50 {
            output.send(&way(0), piece(70_000, 8), piece(0, 1500));
        }
        assert!(output.transmits.iter().all(|t| t.len <= RUN_BYTES_MAX));
        assert_eq!(output.transmits.iter().map(|t| t.count).sum::<u16>(), 50);
    }

    #[test]
    fn neighbours_become_one_piece() {
        let mut output = Output::default();
        output.send(&way(0), piece(92, 8), piece(100, 50));
        assert_eq!(output.pieces, [piece(92, 58)]);
    }
}
