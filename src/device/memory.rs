//! The in-memory twin of a device: what a test or a bench puts in is read, what is written is kept.

use std::collections::VecDeque;
use std::io;

use super::{DeviceIo, VnetBytes};
use crate::buffer::{Memory, Piece};

/// A device made of two queues.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MemDevice {
    /// What [`DeviceIo::read`] takes, first in first out.
    pub to_read: VecDeque<(VnetBytes, Vec<u8>)>,
    /// What [`DeviceIo::write`] was given.
    pub written: VecDeque<(VnetBytes, Vec<u8>)>,
}

impl DeviceIo for MemDevice {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<Option<(VnetBytes, usize)>> {
        Ok(self.to_read.pop_front().map(|(vnet, packet)| {
            // As the kernel does: what does not fit is cut off.
            let len = packet.len().min(buffer.len());
            buffer[..len].copy_from_slice(&packet[..len]);
            (vnet, len)
        }))
    }

    fn write(&mut self, vnet: VnetBytes, pieces: &[Piece], memory: &Memory) -> io::Result<()> {
        let packet = pieces.iter().flat_map(|piece| memory.bytes(*piece)).copied().collect();
        self.written.push_back((vnet, packet));
        Ok(())
    }
}
