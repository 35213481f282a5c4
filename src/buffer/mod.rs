//! The worker's packet memory: one allocation, addressed by [`Piece`]s.
//!
//! A batch of packets is read into slots; headers that a packet gains on its way are written into
//! the header area behind them; what leaves is a list of pieces that the kernel gathers. Nothing
//! here outlives its batch: the next read overwrites it.

/// Room in front of each slot for headers that a packet gains in place: those of all segments of a
/// GSO packet of 64 KiB whose segments are 800 bytes or more.
pub const HEADROOM: usize = 8 * 1024;

/// The largest packet or datagram that a slot takes: what IP can carry, and the link headers.
pub const SLOT_SIZE: usize = 65_536 + 64;

/// Room for the headers of one batch. One GSO packet of 64 KiB in segments of 64 bytes fits.
pub const HEADER_AREA: usize = 256 * 1024;

const STRIDE: usize = (HEADROOM + SLOT_SIZE).next_multiple_of(64);
const _: () = assert!(STRIDE * 1024 + HEADER_AREA < u32::MAX as usize);

/// A range of bytes in a [`Memory`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Piece {
    /// First byte.
    pub start: u32,
    /// Length in bytes.
    pub len: u32,
}

impl Piece {
    /// Gives the part that begins `offset` bytes in, `len` bytes long.
    ///
    /// # Panics
    ///
    /// Panics if the part is not inside the piece.
    pub fn part(self, offset: usize, len: usize) -> Self {
        assert!(offset + len <= self.len as usize, "part of a piece lies inside it");
        Self { start: self.start + offset as u32, len: len as u32 }
    }

    /// Gives what remains after the first `offset` bytes.
    ///
    /// # Panics
    ///
    /// Panics if the piece is shorter than that.
    pub fn skip(self, offset: usize) -> Self {
        self.part(offset, self.len as usize - offset)
    }

    /// Gives the piece made longer at its front; the caller owns the bytes there (headroom).
    pub fn extend_front(self, by: usize) -> Self {
        Self { start: self.start - by as u32, len: self.len + by as u32 }
    }

    /// Whether `next` begins where this piece ends.
    pub fn touches(self, next: Self) -> bool {
        self.start + self.len == next.start
    }

    fn range(self) -> std::ops::Range<usize> {
        self.start as usize..self.start as usize + self.len as usize
    }
}

/// Packet slots and a header area in one allocation, touched only as far as it is used.
pub struct Memory {
    bytes: Vec<u8>,
    slots: usize,
    header_start: usize,
    header_end: usize,
}

impl Memory {
    /// Makes a memory with `slots` packet slots.
    ///
    /// # Panics
    ///
    /// Panics for more than 1024 slots.
    pub fn new(slots: usize) -> Self {
        assert!(slots <= 1024, "a piece addresses 32 bits");
        let header_start = slots * STRIDE;
        Self {
            bytes: vec![0; header_start + HEADER_AREA],
            slots,
            header_start,
            header_end: header_start,
        }
    }

    /// Takes bytes that lie elsewhere: without slots and without room for headers.
    pub fn of_bytes(bytes: Vec<u8>) -> Self {
        let len = bytes.len();
        Self { bytes, slots: 0, header_start: len, header_end: len }
    }

    /// Gives the bytes back.
    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    /// Gives all bytes as a piece.
    pub fn whole(&self) -> Piece {
        Piece { start: 0, len: self.bytes.len() as u32 }
    }

    /// Gives the number of slots.
    pub fn slots(&self) -> usize {
        self.slots
    }

    /// Gives the whole of a slot behind its headroom, to read into.
    ///
    /// # Panics
    ///
    /// Panics if there is no such slot.
    pub fn slot(&self, index: usize) -> Piece {
        assert!(index < self.slots, "slot {index} of {}", self.slots);
        Piece { start: (index * STRIDE + HEADROOM) as u32, len: SLOT_SIZE as u32 }
    }

    /// Gives the bytes of a piece.
    pub fn bytes(&self, piece: Piece) -> &[u8] {
        &self.bytes[piece.range()]
    }

    /// Gives the bytes of a piece to change.
    pub fn bytes_mut(&mut self, piece: Piece) -> &mut [u8] {
        &mut self.bytes[piece.range()]
    }

    /// Takes `len` bytes from the header area; `None` when it is used up.
    pub fn take_header(&mut self, len: usize) -> Option<Piece> {
        if self.header_room() < len {
            return None;
        }
        let piece = Piece { start: self.header_end as u32, len: len as u32 };
        self.header_end += len;
        Some(piece)
    }

    /// Gives a header piece and the bytes of another, to build one from the other.
    ///
    /// # Panics
    ///
    /// Panics unless `header` came from [`Memory::take_header`] and `source` lies in a slot.
    pub fn header_and_source(&mut self, header: Piece, source: Piece) -> (&mut [u8], &[u8]) {
        let (slots, headers) = self.bytes.split_at_mut(self.header_start);
        let start = header.start as usize - self.header_start;
        (&mut headers[start..start + header.len as usize], &slots[source.range()])
    }

    /// Copies `len` bytes, `offset` into what the pieces hold together, to the front of `target`.
    /// Returns what was written: less than `len` where the pieces end before.
    ///
    /// # Panics
    ///
    /// Panics if `target` is shorter than `len`.
    pub fn gather(&mut self, pieces: &[Piece], offset: usize, len: usize, target: Piece) -> Piece {
        assert!(len <= target.len as usize, "the target takes what is gathered");
        let mut skip = offset;
        let mut done = 0;
        for piece in pieces {
            let range = piece.range();
            let from = range.start + skip.min(range.len());
            skip = skip.saturating_sub(range.len());
            let count = (range.end - from).min(len - done);
            self.bytes.copy_within(from..from + count, target.start as usize + done);
            done += count;
        }
        target.part(0, done)
    }

    /// Gives the bytes that the header area still has.
    pub fn header_room(&self) -> usize {
        self.bytes.len() - self.header_end
    }

    /// Forgets all headers, at the end of a batch.
    pub fn reset_headers(&mut self) {
        self.header_end = self.header_start;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn header_area_ends_with_none_and_starts_again() {
        let mut memory = Memory::new(1);
        let first = memory.take_header(HEADER_AREA - 10).unwrap();
        assert_eq!(memory.take_header(11), None);
        assert!(first.touches(memory.take_header(10).unwrap()));
        memory.reset_headers();
        assert_eq!(memory.take_header(4).unwrap().start, first.start);
    }

    #[test]
    fn gathering_takes_a_range_across_pieces() {
        let mut memory = Memory::new(2);
        let source = memory.slot(0).part(0, 10);
        memory.bytes_mut(source).copy_from_slice(b"abcdefghij");
        let pieces = [source.part(0, 3), source.part(5, 4)];
        let slot = memory.slot(1);
        let gathered = memory.gather(&pieces, 2, 3, slot);
        assert_eq!(memory.bytes(gathered), b"cfg");
        let gathered = memory.gather(&pieces, 5, 100, slot);
        assert_eq!(memory.bytes(gathered), b"hi");
    }

    #[test]
    fn slots_have_headroom_and_do_not_overlap() {
        let mut memory = Memory::new(3);
        for index in 0..3 {
            let slot = memory.slot(index).extend_front(HEADROOM);
            memory.bytes_mut(slot).fill(index as u8 + 1);
        }
        for index in 0..3 {
            let slot = memory.slot(index).extend_front(HEADROOM);
            assert!(memory.bytes(slot).iter().all(|b| *b == index as u8 + 1));
        }
    }
}
