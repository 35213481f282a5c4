//! Outbound: a run of packets becomes a run of data messages, sealed one by one into the block
//! that one send takes.

use std::time::Instant;

use super::message::{DATA_OVERHEAD, KeyAge, padded};
use super::peer::State;
use super::waiting::Packet;
use super::{Letter, Post, Scratch, WireGuard};
use crate::buffer::{Memory, Piece};
use crate::drops::DropReason;
use crate::transport::Transmit;
use crate::transport::opened::Loss;

impl WireGuard {
    /// Seals what a transmit holds into `sealed`, and gives the transmit of that; none where it
    /// cannot go yet (it waits for the session that is asked for) or never.
    ///
    /// `pieces` are the whole batch's; `sealed` has room for what one send takes.
    #[expect(clippy::too_many_arguments, reason = "what is sealed, where to, and what comes of it")]
    pub fn seal(
        &self,
        now: Instant,
        transmit: &Transmit,
        pieces: &[Piece],
        memory: &Memory,
        (sealed, room): (&mut Memory, Piece),
        scratch: &mut Scratch,
        post: &mut Post,
    ) -> Option<Transmit> {
        let Some(peer) = self.peer(transmit.peer) else {
            post.lose(transmit, DropReason::NoPeers, u64::from(transmit.count));
            return None;
        };
        let mut state = peer.lock();
        if state.is_removed {
            post.lose(transmit, DropReason::NoPeers, u64::from(transmit.count));
            return None;
        }
        let mut packets = Packets::of(transmit, pieces, memory);
        if !state.has_session(now) {
            self.wait(now, &mut state, &mut packets, scratch, post);
            return None;
        }
        let Some(to) = state.endpoint else {
            post.lose(transmit, DropReason::NoEndpoint, u64::from(transmit.count));
            return None;
        };
        let (mut count, mut len, mut first_len, mut is_worn) = (0, 0, 0, false);
        while let Some(packet) = packets.next(&mut scratch.0) {
            let place = room.skip(len);
            let Some((sealed_len, age)) = state.seal(packet, sealed.bytes_mut(place)) else {
                let lost = u64::from(transmit.count - count);
                post.lose(transmit, DropReason::WireGuardMessageLimit, lost);
                break;
            };
            is_worn |= age == KeyAge::Worn;
            if count == 0 {
                first_len = sealed_len;
            }
            (count, len) = (count + 1, len + sealed_len);
        }
        state.note_sent(now, len, true);
        if is_worn {
            state.initiate(now, &self.identity(), post);
        }
        (count > 0).then(|| Transmit {
            to,
            from: state.local,
            datagram_len: first_len as u16,
            count,
            len: len as u32,
            pieces: 0..1,
            ..transmit.clone()
        })
    }

    /// Keeps what cannot be sealed yet, and asks for a session.
    fn wait(
        &self,
        now: Instant,
        state: &mut State,
        packets: &mut Packets<'_>,
        scratch: &mut Scratch,
        post: &mut Post,
    ) {
        let transmit = packets.transmit;
        if state.endpoint.is_none() {
            post.lose(transmit, DropReason::NoEndpoint, u64::from(transmit.count));
            return;
        }
        while let Some(packet) = packets.next(&mut scratch.0) {
            let bytes = packet.into();
            let packet = Packet { bytes, network: transmit.network, tos: transmit.tos };
            if let Some(oldest) = state.waiting.push(packet) {
                post.losses.push(Loss {
                    network: Some(oldest.network),
                    peer: Some(state.id),
                    reason: DropReason::WireGuardNoSession,
                    packets: 1,
                });
            }
        }
        state.initiate(now, &self.identity(), post);
    }
}

/// Sends what waited for the session that there is now.
pub(super) fn release(now: Instant, state: &mut State, post: &mut Post) {
    if state.waiting.is_empty() || !state.has_session(now) {
        return;
    }
    let Some(to) = state.endpoint else { return };
    for packet in state.waiting.take() {
        let mut bytes = vec![0; packet.bytes.len() + DATA_OVERHEAD];
        if state.seal(&packet.bytes, &mut bytes).is_some() {
            state.note_sent(now, bytes.len(), true);
            let (from, peer) = (state.local, Some(state.id));
            post.letters.push(Letter { to, from, peer, tos: packet.tos, bytes });
        } else {
            post.losses.push(Loss {
                network: Some(packet.network),
                peer: Some(state.id),
                reason: DropReason::WireGuardMessageLimit,
                packets: 1,
            });
        }
    }
}

/// The packets of a transmit, read one after another.
struct Packets<'a> {
    transmit: &'a Transmit,
    /// What is left of the pieces.
    pieces: &'a [Piece],
    /// Bytes of the first piece that were read.
    done: usize,
    memory: &'a Memory,
    left: usize,
}

impl<'a> Packets<'a> {
    fn of(transmit: &'a Transmit, pieces: &'a [Piece], memory: &'a Memory) -> Self {
        let pieces = &pieces[transmit.pieces.start as usize..transmit.pieces.end as usize];
        Self { transmit, pieces, done: 0, memory, left: transmit.len as usize }
    }

    /// Gives the next packet, padded: where it lies, or from `room` if it has to be put together.
    fn next<'b>(&mut self, room: &'b mut [u8]) -> Option<&'b [u8]>
    where
        'a: 'b,
    {
        if self.left == 0 {
            return None;
        }
        let len = self.left.min(self.transmit.datagram_len.into());
        self.left -= len;
        let padded = padded(len, self.transmit.room.into());
        let first = self.take(len)?;
        if first.len() == padded {
            return Some(first);
        }
        let mut done = first.len();
        room.get_mut(..done)?.copy_from_slice(first);
        while done < len {
            // Pieces that end early would be a defect.
            let bytes = self.take(len - done)?;
            room.get_mut(done..done + bytes.len())?.copy_from_slice(bytes);
            done += bytes.len();
        }
        room.get_mut(len..padded)?.fill(0);
        room.get(..padded)
    }

    /// Reads at most `max` bytes of one piece.
    fn take(&mut self, max: usize) -> Option<&'a [u8]> {
        let piece = self.pieces.first()?.skip(self.done);
        let bytes = self.memory.bytes(piece.part(0, max.min(piece.len as usize)));
        self.done += bytes.len();
        if bytes.len() == piece.len as usize {
            (self.pieces, self.done) = (&self.pieces[1..], 0);
        }
        Some(bytes)
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use super::*;
    use crate::peer::{NetworkId, PeerId};
    use crate::transport::Carrier;

    /// Packets of 48 bytes and a last one of 21, in pieces of these lengths.
    fn packets(lens: &[usize], room: u16) -> Vec<Vec<u8>> {
        let bytes: Vec<u8> = (0..48 + 48 + 21).collect();
        let mut memory = Memory::new(lens.len());
        let mut at = 0;
        let pieces: Vec<_> = lens
            .iter()
            .enumerate()
            .map(|(index, len)| {
                let piece = memory.slot(index).part(0, *len);
                memory.bytes_mut(piece).copy_from_slice(&bytes[at..at + len]);
                at += len;
                piece
            })
            .collect();
        let transmit = Transmit {
            carrier: Carrier::WireGuard,
            to: SocketAddr::from(([192, 0, 2, 1], 51820)),
            from: None,
            entropy: 0,
            tos: 0,
            room,
            datagram_len: 48,
            count: 3,
            len: at as u32,
            pieces: 0..pieces.len() as u32,
            peer: PeerId::new(0, 0),
            network: NetworkId(0),
            relayed_from: None,
        };
        let mut packets = Packets::of(&transmit, &pieces, &memory);
        let mut scratch = [0xee; 64];
        let mut read = Vec::new();
        while let Some(packet) = packets.next(&mut scratch) {
            read.push(packet.to_vec());
        }
        read
    }

    #[test]
    fn packets_are_whole_and_padded_however_their_pieces_lie() {
        let bytes: Vec<u8> = (0..48 + 48 + 21).collect();
        let last = &bytes[96..];
        for lens in [&[117][..], &[48, 48, 21], &[8, 40, 8, 40, 8, 13], &[50, 66, 1], &[95, 22]] {
            let padded = [last, &[0; 11]].concat();
            assert_eq!(packets(lens, 1420), [&bytes[..48], &bytes[48..96], &padded], "{lens:?}");
            // No further than the path takes.
            let padded = [last, &[0; 1]].concat();
            assert_eq!(packets(lens, 22), [&bytes[..48], &bytes[48..96], &padded], "{lens:?}");
        }
    }
}
