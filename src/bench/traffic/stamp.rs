//! What each UDP packet of a load carries: its flow and its number.

use std::io;

/// Who sent a packet, and the how manieth it is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    /// The flow, from 0.
    pub(super) flow: u32,
    /// The number in the flow, from 0.
    pub(super) number: u64,
}

impl Stamp {
    /// Bytes of a stamp: the shortest payload.
    pub(super) const LEN: usize = 12;

    /// A packet that shows that the way is open. It is not counted.
    pub(super) const HELLO: Self = Self { flow: u32::MAX, number: 0 };

    /// Writes it to the front of a payload.
    pub(super) fn emit(self, payload: &mut [u8]) {
        if let Some((front, _)) = payload.split_first_chunk_mut::<{ Self::LEN }>() {
            let (flow, number) = front.split_at_mut(4);
            flow.copy_from_slice(&self.flow.to_ne_bytes());
            number.copy_from_slice(&self.number.to_ne_bytes());
        }
    }

    /// Reads it from the front of a payload; `None` for one that is too short.
    pub(super) fn parse(payload: &[u8]) -> Option<Self> {
        let (flow, rest) = payload.split_first_chunk()?;
        let (number, _) = rest.split_first_chunk()?;
        Some(Self { flow: u32::from_ne_bytes(*flow), number: u64::from_ne_bytes(*number) })
    }
}

/// The next number of each flow, at the sender.
#[derive(Debug)]
pub(super) struct Numbers(Vec<u64>);

impl Numbers {
    pub(super) fn new(flows: usize) -> Self {
        Self(vec![0; flows])
    }

    /// Gives the next stamp of a flow.
    pub(super) fn next(&mut self, flow: usize) -> Stamp {
        let number = self.0[flow];
        self.0[flow] += 1;
        Stamp { flow: flow as u32, number }
    }
}

/// The numbers that arrived of each flow, at the receiver.
#[derive(Debug)]
pub(super) struct Arrivals {
    expected: Vec<u64>,
    /// Packets that came after one of their flow with the same or a higher number.
    pub(super) late: u64,
}

impl Arrivals {
    pub(super) fn new(flows: usize) -> Self {
        Self { expected: vec![0; flows], late: 0 }
    }

    /// Takes a run of packets of one flow with consecutive numbers; gives how many it counted: none
    /// of a flow that is not of this load.
    pub(super) fn take(&mut self, first: Stamp, run: u64) -> u64 {
        let Some(expected) = self.expected.get_mut(first.flow as usize) else { return 0 };
        if first.number >= *expected {
            *expected = first.number + run;
        } else {
            self.late += run;
        }
        run
    }
}

/// Checks the payload lengths of a load, and gives the longest.
pub(super) fn longest(lengths: &[u16]) -> io::Result<usize> {
    match (lengths.iter().min(), lengths.iter().max()) {
        (Some(min), Some(max)) if usize::from(*min) >= Stamp::LEN => Ok(usize::from(*max)),
        _ => Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            format!("payloads have {} bytes at least, so not {lengths:?}", Stamp::LEN),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stamp_survives_the_way_and_needs_its_bytes() {
        let stamp = Stamp { flow: 7, number: 1 << 40 };
        let mut payload = [0xff; 20];
        stamp.emit(&mut payload);
        assert_eq!(Stamp::parse(&payload), Some(stamp));
        assert_eq!(Stamp::parse(&payload[..Stamp::LEN]), Some(stamp));
        assert!((0..Stamp::LEN).all(|len| Stamp::parse(&payload[..len]).is_none()));
    }

    #[test]
    fn late_is_what_comes_after_its_own_or_a_higher_number() {
        let mut arrivals = Arrivals::new(2);
        let mut take = |flow, number, run| arrivals.take(Stamp { flow, number }, run);
        assert_eq!((take(0, 0, 1), take(0, 2, 1)), (1, 1), "a gap is a loss");
        assert_eq!((take(0, 1, 1), take(0, 2, 1)), (1, 1), "reordered, duplicated");
        assert_eq!((take(1, 0, 5), take(1, 5, 1), take(1, 4, 1)), (5, 1, 1));
        assert_eq!((take(2, 0, 1), take(u32::MAX, 0, 1)), (0, 0), "not of this load");
        assert_eq!(arrivals.late, 3);
    }

    #[test]
    fn payload_without_room_for_a_stamp_is_refused() {
        assert_eq!(longest(&[64, 1400, 12]).unwrap(), 1400);
        assert!(longest(&[64, 11]).is_err());
        assert!(longest(&[]).is_err());
    }
}
