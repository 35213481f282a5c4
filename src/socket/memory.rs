//! The in-memory twin of the underlay: what a test or a bench puts in is received, what is sent is
//! kept.

use std::collections::VecDeque;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::ops::Range;

use super::{SendError, UnderlayIo};
use crate::buffer::{Memory, Piece};
use crate::transport::{Carrier, Received, Transmit};

/// A datagram, or a run of them, to be received.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemArrival {
    /// The bytes.
    pub bytes: Vec<u8>,
    /// The segment size, if it is a run.
    pub stride: Option<u16>,
    /// The sender.
    pub from: SocketAddr,
    /// The address of ours that the sender used.
    pub local: Option<IpAddr>,
    /// The outer traffic class.
    pub tos: u8,
    /// The port on which it arrives.
    pub carrier: Carrier,
}

/// An underlay made of two queues.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MemUnderlay {
    /// What [`UnderlayIo::receive`] takes, whatever the index, first in first out.
    pub to_receive: VecDeque<MemArrival>,
    /// What [`UnderlayIo::send`] was given, with its bytes.
    pub sent: VecDeque<(Transmit, Vec<u8>)>,
}

impl UnderlayIo for MemUnderlay {
    fn receive(
        &mut self,
        _index: usize,
        memory: &mut Memory,
        slots: Range<usize>,
        received: &mut Vec<Received>,
    ) -> io::Result<usize> {
        let count = self.to_receive.len().min(slots.len());
        for (slot, arrival) in slots.zip(self.to_receive.drain(..count)) {
            let slot = memory.slot(slot);
            let len = arrival.bytes.len().min(slot.len as usize);
            let piece = slot.part(0, len);
            memory.bytes_mut(piece).copy_from_slice(&arrival.bytes[..len]);
            received.push(Received {
                piece,
                stride: arrival.stride,
                from: arrival.from,
                local: arrival.local,
                tos: arrival.tos,
                truncated: len < arrival.bytes.len(),
                carrier: arrival.carrier,
            });
        }
        Ok(count)
    }

    fn send(
        &mut self,
        transmit: &Transmit,
        pieces: &[Piece],
        memory: &Memory,
    ) -> Result<(), SendError> {
        let pieces = &pieces[transmit.pieces.start as usize..transmit.pieces.end as usize];
        let bytes = pieces.iter().flat_map(|piece| memory.bytes(*piece)).copied().collect();
        self.sent.push_back((transmit.clone(), bytes));
        Ok(())
    }
}
