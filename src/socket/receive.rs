//! Receiving: one system call fills as many slots as there are datagrams or runs.

use std::io;
use std::ops::Range;
use std::os::fd::AsFd;

use super::Underlay;
use crate::buffer::{Memory, Piece, SLOT_SIZE};
use crate::transport::Received;

/// Receives into slots; see [`super::UnderlayIo::receive`].
pub(super) fn receive(
    underlay: &mut Underlay,
    index: usize,
    memory: &mut Memory,
    slots: Range<usize>,
    received: &mut Vec<Received>,
) -> io::Result<usize> {
    if slots.is_empty() {
        return Ok(0);
    }
    let listener = underlay.listeners.get(index).ok_or(io::ErrorKind::InvalidInput)?;
    let (span, stride) = span_of(memory, &slots);
    let buffers = memory.bytes_mut(span).chunks_mut(stride).map(|slot| &mut slot[..SLOT_SIZE]);
    let used = underlay.batch.receive(listener.socket.as_fd(), buffers)?;
    for (slot, arrival) in slots.zip(underlay.batch.arrivals()) {
        // A sender of another family than the socket's does not exist.
        let Some(arrival) = arrival else { continue };
        received.push(Received {
            piece: memory.slot(slot).part(0, arrival.len),
            stride: arrival.segment,
            from: arrival.from,
            local: arrival.local,
            tos: arrival.tos,
            truncated: arrival.is_truncated,
            carrier: listener.carrier,
        });
    }
    Ok(used)
}

/// Gives the bytes from the first slot's start to the last one's end, and the way from one slot
/// to the next.
fn span_of(memory: &Memory, slots: &Range<usize>) -> (Piece, usize) {
    let (first, last) = (memory.slot(slots.start), memory.slot(slots.end - 1));
    let len = last.start + last.len - first.start;
    let stride = match slots.len() {
        1 => SLOT_SIZE,
        _ => (memory.slot(slots.start + 1).start - first.start) as usize,
    };
    (Piece { start: first.start, len }, stride)
}
