//! The four messages of WireGuard: what a datagram is, by its type and length.
//!
//! Format: the WireGuard white paper, section 5.4; numbers are little-endian.

/// Bytes that a data message adds to its packet: type, receiver index, counter, and the tag.
pub const DATA_OVERHEAD: usize = 32;
/// Bytes in front of the sealed packet.
pub(super) const DATA_HEADER: usize = 16;
/// The longest message but for data: an initiation.
pub(super) const INITIATION_LEN: usize = 148;
const RESPONSE_LEN: usize = 92;
const COOKIE_REPLY_LEN: usize = 64;

/// The unit that packets are padded to (white paper, section 5.4.6), so that their lengths say
/// less.
const PADDING: usize = 16;

/// Messages under one key before a new one is wanted (white paper, section 6.1).
const REKEY_AFTER_MESSAGES: u64 = 1 << 60;
/// Messages under one key at most.
const REJECT_AFTER_MESSAGES: u64 = u64::MAX - (1 << 13);

/// What a datagram is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Message {
    /// Somebody wants a session.
    Initiation,
    /// The answer to an initiation of ours.
    Response {
        /// The index that we gave in the initiation.
        receiver: u32,
    },
    /// The answer of somebody who is under load.
    CookieReply {
        /// The index that we gave in what it answers.
        receiver: u32,
    },
    /// A sealed packet.
    Data {
        /// The index that we gave to the session.
        receiver: u32,
        /// The number of the message under its key.
        counter: u64,
    },
}

impl Message {
    /// Reads type, length and index; `None` if it is no message of WireGuard.
    pub(super) fn parse(datagram: &[u8]) -> Option<Self> {
        let kind = number(datagram, 0)?;
        match (kind, datagram.len()) {
            (1, INITIATION_LEN) => Some(Self::Initiation),
            (2, RESPONSE_LEN) => Some(Self::Response { receiver: number(datagram, 8)? }),
            (3, COOKIE_REPLY_LEN) => Some(Self::CookieReply { receiver: number(datagram, 4)? }),
            (4, DATA_OVERHEAD..) => {
                Some(Self::Data { receiver: number(datagram, 4)?, counter: counter(datagram)? })
            }
            _ => None,
        }
    }
}

/// Gives a number of four bytes.
pub(super) fn number(datagram: &[u8], at: usize) -> Option<u32> {
    let bytes = datagram.get(at..at + 4)?.first_chunk()?;
    Some(u32::from_le_bytes(*bytes))
}

/// Gives the number of a data message under its key.
pub(super) fn counter(datagram: &[u8]) -> Option<u64> {
    let bytes = datagram.get(8..DATA_HEADER)?.first_chunk()?;
    Some(u64::from_le_bytes(*bytes))
}

/// The length that a packet of `len` bytes is padded to, where `max` bytes fit.
pub(super) fn padded(len: usize, max: usize) -> usize {
    len.next_multiple_of(PADDING).min(max).max(len)
}

/// What the number of a message says of its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum KeyAge {
    /// It may be used.
    Fresh,
    /// It may be used, but it is time for another.
    Worn,
    /// It may not be used.
    Spent,
}

/// Judges a key by the number of a message.
pub(super) fn key_age(counter: u64) -> KeyAge {
    match counter {
        REJECT_AFTER_MESSAGES.. => KeyAge::Spent,
        REKEY_AFTER_MESSAGES.. => KeyAge::Worn,
        _ => KeyAge::Fresh,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(kind: u32, len: usize) -> Vec<u8> {
        let mut bytes: Vec<u8> = (0..len).map(|at| at as u8).collect();
        bytes[..4].copy_from_slice(&kind.to_le_bytes());
        bytes
    }

    #[test]
    fn messages_have_their_type_and_length() {
        let receiver = 0x0706_0504;
        let counter = 0x0f0e_0d0c_0b0a_0908;
        assert_eq!(Message::parse(&message(1, 148)), Some(Message::Initiation));
        let response = Message::Response { receiver: 0x0b0a_0908 };
        assert_eq!(Message::parse(&message(2, 92)), Some(response));
        assert_eq!(Message::parse(&message(3, 64)), Some(Message::CookieReply { receiver }));
        for len in [32, 33, 1452] {
            let data = Message::Data { receiver, counter };
            assert_eq!(Message::parse(&message(4, len)), Some(data));
        }
    }

    #[test]
    fn every_other_length_and_type_is_no_message() {
        for (kind, right) in [(1, 148..149), (2, 92..93), (3, 64..65), (4, 32..200), (0, 0..0)] {
            for len in (4..200).filter(|len| !right.contains(len)) {
                assert_eq!(Message::parse(&message(kind, len)), None, "type {kind}, {len} bytes");
            }
        }
        assert_eq!(Message::parse(&message(0x0100_0004, 64)), None);
        assert_eq!(Message::parse(&[4, 0, 0]), None);
        assert_eq!(Message::parse(&[]), None);
    }

    #[test]
    fn padding_ends_at_what_fits() {
        assert_eq!([0, 1, 16, 17, 1400].map(|len| padded(len, 1420)), [0, 16, 16, 32, 1408]);
        assert_eq!([1409, 1420].map(|len| padded(len, 1420)), [1420, 1420]);
        assert_eq!(padded(1430, 1420), 1430);
    }

    #[test]
    fn keys_wear_out() {
        let ages = [0, (1 << 60) - 1, 1 << 60, u64::MAX - 8193, u64::MAX - 8192, u64::MAX];
        use KeyAge::{Fresh, Spent, Worn};
        assert_eq!(ages.map(key_age), [Fresh, Fresh, Worn, Worn, Spent, Spent]);
    }
}
