//! What a batch leaves behind: datagrams to send and packets to write, as lists of pieces.

use std::net::{IpAddr, SocketAddr};
use std::ops::Range;

use crate::buffer::Piece;
use crate::offload::DeviceWrite;
use crate::peer::{NetworkId, PeerId};
use crate::transport::wireguard::DATA_OVERHEAD;
use crate::transport::{Carrier, Transmit};

/// Datagrams in one send: the kernel's limit before 6.9 (UDP_MAX_SEGMENTS, include/linux/udp.h).
const RUN_DATAGRAMS_MAX: u16 = 64;
/// Bytes in one send: an IPv4 packet without its IP and UDP headers.
const RUN_BYTES_MAX: u32 = 65_535 - 20 - 8;
/// What sealing a packet adds at most: WireGuard's header and tag, and padding to 16 bytes.
const SEALING_MAX: u32 = DATA_OVERHEAD as u32 + 15;
/// Runs that are looked at for one that a datagram can join: a few sizes on a few source ports.
const OPEN_MAX: usize = 16;
/// Flows whose last run is remembered; those that share a place only keep more order than needed.
const FLOWS: usize = 256;

/// What to send and what to write; reused from batch to batch.
///
/// Datagrams of many flows are gathered into as few sends as may be, so that they may overtake each
/// other within a batch. Those of one flow never do.
pub struct Output {
    /// The pieces that the two lists point into.
    pub pieces: Vec<Piece>,
    /// Datagrams and runs of datagrams for the underlay, in the order to send them; complete when
    /// the batch is finished.
    pub transmits: Vec<Transmit>,
    /// Packets and GSO packets for the devices, in order.
    pub writes: Vec<DeviceWrite>,
    /// Datagrams in the order in which they came, whose pieces are not laid out yet.
    queue: Vec<Datagram>,
    /// Transmits whose pieces are laid out.
    finished: usize,
    /// The end of the transmits that hold a flow's datagrams: one behind its last, 0 for none.
    flow_ends: [u32; FLOWS],
}

/// A datagram in a run.
struct Datagram {
    run: u32,
    head: Piece,
    body: Piece,
}

/// Where a datagram goes, and as whose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Way {
    pub(super) carrier: Carrier,
    pub(super) to: SocketAddr,
    pub(super) from: Option<IpAddr>,
    pub(super) entropy: u16,
    pub(super) tos: u8,
    /// See [`Transmit::room`].
    pub(super) room: u16,
    pub(super) peer: PeerId,
    pub(super) network: NetworkId,
    pub(super) relayed_from: Option<PeerId>,
    /// The hash of the inner flow, whose order is kept.
    pub(super) flow: u32,
}

impl Default for Output {
    fn default() -> Self {
        Self {
            pieces: Vec::new(),
            transmits: Vec::new(),
            writes: Vec::new(),
            queue: Vec::new(),
            finished: 0,
            flow_ends: [0; FLOWS],
        }
    }
}

impl Output {
    /// Forgets everything, at the end of a batch.
    pub fn clear(&mut self) {
        self.pieces.clear();
        self.transmits.clear();
        self.writes.clear();
        self.queue.clear();
        self.finished = 0;
        self.flow_ends = [0; FLOWS];
    }

    /// Adds one datagram, made of `head` and `body`, to a run of its way or to a new one.
    ///
    /// A run is what one UDP_SEGMENT send takes: one way, equal lengths, only the last shorter.
    pub(super) fn send(&mut self, way: &Way, head: Piece, body: Piece) {
        self.send_all(way, &[(head, body)]);
    }

    /// Adds datagrams of one flow, each made of a head and a body, in their order.
    pub(super) fn send_all(&mut self, way: &Way, datagrams: &[(Piece, Piece)]) {
        let flow = way.flow.wrapping_add(way.peer.slot() as u32) as usize % FLOWS;
        let mut end = self.flow_ends[flow] as usize;
        // Whether the run before `end` was found for this way.
        let mut is_same_way = false;
        for &(head, body) in datagrams {
            let len = head.len + body.len;
            if !(is_same_way && has_room(&self.transmits[end - 1], len)) {
                end = self.find(way, len, end).unwrap_or_else(|| self.begin(way, len)) + 1;
                is_same_way = true;
            }
            let run = &mut self.transmits[end - 1];
            run.count += 1;
            run.len += len;
            self.queue.push(Datagram { run: end as u32 - 1, head, body });
        }
        self.flow_ends[flow] = end as u32;
    }

    /// Finds a run that takes the datagram and is not sent before its flow's last: one of its
    /// length, or else the flow's last, which it ends.
    fn find(&self, way: &Way, len: u32, flow_end: usize) -> Option<usize> {
        let last = flow_end.checked_sub(1).filter(|last| *last >= self.finished);
        let takes = |run: &usize| takes(&self.transmits[*run], way, len);
        let is_equal = |run: &usize| u32::from(self.transmits[*run].datagram_len) == len;
        let newest = (last.unwrap_or(self.finished)..self.transmits.len()).rev().take(OPEN_MAX);
        newest.filter(is_equal).find(takes).or_else(|| last.filter(takes))
    }

    fn begin(&mut self, way: &Way, len: u32) -> usize {
        self.transmits.push(Transmit {
            carrier: way.carrier,
            to: way.to,
            from: way.from,
            entropy: way.entropy,
            tos: way.tos,
            room: way.room,
            datagram_len: len as u16,
            count: 0,
            len: 0,
            pieces: 0..0,
            peer: way.peer,
            network: way.network,
            relayed_from: way.relayed_from,
        });
        self.transmits.len() - 1
    }

    /// Completes the transmits: lays out the pieces of each run one after another. Nothing joins
    /// them any more. [`Node::finish_batch`](super::Node::finish_batch) does it at a batch's end;
    /// an owner who sends earlier does it before.
    pub fn finish(&mut self) {
        let mut end = self.pieces.len() as u32;
        for run in &mut self.transmits[self.finished..] {
            run.pieces = end..end;
            // A datagram has two pieces at most.
            end += 2 * u32::from(run.count);
        }
        self.pieces.resize(end as usize, Piece::default());
        for Datagram { run, head, body } in self.queue.drain(..) {
            let Range { start, end } = &mut self.transmits[run as usize].pieces;
            for piece in [head, body].into_iter().filter(|piece| piece.len > 0) {
                match self.pieces[*start as usize..*end as usize].last_mut() {
                    Some(last) if last.touches(piece) => last.len += piece.len,
                    _ => {
                        self.pieces[*end as usize] = piece;
                        *end += 1;
                    }
                }
            }
        }
        self.finished = self.transmits.len();
    }
}

/// Whether a datagram of `len` bytes may follow in the run.
fn takes(run: &Transmit, way: &Way, len: u32) -> bool {
    has_room(run, len)
        && run.entropy == way.entropy
        && run.carrier == way.carrier
        && run.to == way.to
        && run.from == way.from
        && run.tos == way.tos
        && run.peer == way.peer
        && run.network == way.network
        && run.relayed_from == way.relayed_from
}

/// Whether the run is open and has room for a datagram of `len` bytes.
fn has_room(run: &Transmit, len: u32) -> bool {
    let size = u32::from(run.datagram_len);
    let sealing = match run.carrier {
        Carrier::Vxlan | Carrier::VxlanGpe | Carrier::Quic => 0,
        Carrier::WireGuard => SEALING_MAX * (u32::from(run.count) + 1),
    };
    run.len == size * u32::from(run.count)
        && len <= size
        && run.count < RUN_DATAGRAMS_MAX
        && run.len + len + sealing <= RUN_BYTES_MAX
}

#[cfg(test)]
mod tests {
    use super::*;

    fn way(entropy: u16, flow: u32) -> Way {
        Way {
            carrier: Carrier::Vxlan,
            to: SocketAddr::from(([192, 0, 2, 1], 4789)),
            from: None,
            entropy,
            tos: 0,
            room: u16::MAX,
            peer: PeerId::new(0, 0),
            network: NetworkId(0),
            relayed_from: None,
            flow,
        }
    }

    fn piece(start: u32, len: u32) -> Piece {
        Piece { start, len }
    }

    fn lens(output: &Output) -> Vec<(u16, u32)> {
        output.transmits.iter().map(|run| (run.count, run.len)).collect()
    }

    /// Sends datagrams of a flow with these lengths, 8 of which are the head.
    fn send(output: &mut Output, way: Way, lens: &[u32]) {
        for len in lens {
            output.send(&way, piece(5000, 8), piece(0, len - 8));
        }
    }

    #[test]
    fn equal_datagrams_share_a_run_and_a_shorter_one_ends_it() {
        let mut output = Output::default();
        send(&mut output, way(0, 0), &[108, 108, 68, 68]);
        assert_eq!(lens(&output), [(3, 108 + 108 + 68), (1, 68)]);
        output.finish();
        assert_eq!(output.transmits[1].pieces, 6..8);
    }

    #[test]
    fn another_lane_or_a_longer_datagram_begins_a_run() {
        let mut output = Output::default();
        send(&mut output, way(0, 0), &[108]);
        send(&mut output, way(1, 0), &[108, 109]);
        assert_eq!(output.transmits.len(), 3);
    }

    #[test]
    fn flows_that_take_turns_share_runs_of_their_lengths() {
        let mut output = Output::default();
        for round in 0..8 {
            let (lane, len) = (round % 2, [100, 200, 300][usize::from(round) % 3]);
            send(&mut output, way(lane, round.into()), &[len]);
        }
        let counts: Vec<_> = output.transmits.iter().map(|run| run.count).collect();
        assert_eq!(counts, [2, 2, 1, 1, 1, 1]);
    }

    #[test]
    fn datagrams_of_one_flow_keep_their_order() {
        let mut output = Output::default();
        // Flow 2 has room in the first run, but its own 200 stands behind that.
        send(&mut output, way(0, 1), &[100]);
        send(&mut output, way(0, 2), &[200, 300, 100]);
        send(&mut output, way(0, 1), &[100]);
        assert_eq!(lens(&output), [(2, 200), (1, 200), (2, 400)]);
    }

    #[test]
    fn shorter_datagram_ends_no_run_of_another_flow() {
        let mut output = Output::default();
        send(&mut output, way(0, 1), &[200]);
        send(&mut output, way(0, 2), &[100]);
        send(&mut output, way(0, 3), &[200]);
        assert_eq!(lens(&output), [(2, 400), (1, 100)]);
    }

    #[test]
    fn pieces_of_a_run_lie_one_after_another() {
        let mut output = Output::default();
        for number in 0..4 {
            let place = 1000 * (number + 1);
            let way = way(number as u16 % 2, number);
            output.send(&way, piece(10 * number, 8), piece(place, 92));
        }
        output.finish();
        let of = |run: usize| {
            let range = output.transmits[run].pieces.clone();
            &output.pieces[range.start as usize..range.end as usize]
        };
        assert_eq!(of(0), [piece(0, 8), piece(1000, 92), piece(20, 8), piece(3000, 92)]);
        assert_eq!(of(1), [piece(10, 8), piece(2000, 92), piece(30, 8), piece(4000, 92)]);
    }

    #[test]
    fn finished_run_takes_no_more() {
        let mut output = Output::default();
        send(&mut output, way(0, 0), &[100]);
        output.finish();
        send(&mut output, way(0, 0), &[100, 100]);
        output.finish();
        assert_eq!(lens(&output), [(1, 100), (2, 200)]);
        assert_eq!(output.transmits[1].pieces, 2..6);
    }

    #[test]
    fn a_run_holds_no_more_than_one_send_takes() {
        let mut output = Output::default();
        send(&mut output, way(0, 0), &[18; 200]);
        assert!(output.transmits.iter().all(|t| t.count <= RUN_DATAGRAMS_MAX));
        let mut output = Output::default();
        send(&mut output, way(0, 0), &[1508; 50]);
        assert!(output.transmits.iter().all(|t| t.len <= RUN_BYTES_MAX));
        assert_eq!(output.transmits.iter().map(|t| t.count).sum::<u16>(), 50);
    }

    #[test]
    fn neighbours_become_one_piece() {
        let mut output = Output::default();
        output.send(&way(0, 0), piece(92, 8), piece(100, 50));
        output.finish();
        let range = output.transmits[0].pieces.clone();
        assert_eq!(output.pieces[range.start as usize..range.end as usize], [piece(92, 58)]);
    }
}
