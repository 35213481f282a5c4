//! Finds requests in the bytes of a connection.

use nix::errno::Errno;
use thiserror::Error;
use zeroize::Zeroizing;

/// The longest request, bytes: some 60,000 peers with three allowed addresses each.
pub const REQUEST_LEN_MAX: usize = 16 * 1024 * 1024;

const GET: &[u8] = b"get=1\n";
const SET: &[u8] = b"set=1\n";

/// A request as it stands on the connection.
#[derive(Debug, PartialEq, Eq)]
pub enum Request {
    /// What is there?
    Get,
    /// A change: the lines between the operation and the blank line.
    Set(Zeroizing<Vec<u8>>),
}

/// Why there is no telling where the next request begins: the connection is of no more use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Unframed {
    /// The first line is no operation.
    #[error("the first line is neither get=1 nor set=1")]
    Operation,
    /// There is more to `get=1` than a blank line.
    #[error("get=1 is not followed by a blank line")]
    Trailing,
    /// The request is too long.
    #[error("the request is longer than {REQUEST_LEN_MAX} bytes")]
    TooLong,
}

impl Unframed {
    /// Gives the error number to answer before the connection is closed; wireguard-go answers
    /// nothing to what is no operation.
    pub fn errno(self) -> Option<Errno> {
        match self {
            Self::Operation => None,
            Self::Trailing => Some(Errno::EINVAL),
            Self::TooLong => Some(Errno::EMSGSIZE),
        }
    }
}

/// What has come and is not taken yet. It is zeroed when it is not needed any more: it may have
/// keys.
#[derive(Debug, Default)]
pub struct Incoming {
    bytes: Zeroizing<Vec<u8>>,
    /// No blank line ends before here.
    searched: usize,
}

impl Incoming {
    /// Whether a request has begun.
    pub fn is_within_request(&self) -> bool {
        !self.bytes.is_empty()
    }

    /// Adds what came.
    pub fn push(&mut self, bytes: &[u8]) {
        let len = self.bytes.len() + bytes.len();
        if len > self.bytes.capacity() {
            // Not in place, because that would free the old memory as it is.
            let mut grown = Zeroizing::new(Vec::with_capacity(len.next_power_of_two()));
            grown.extend_from_slice(&self.bytes);
            self.bytes = grown;
        }
        self.bytes.extend_from_slice(bytes);
    }

    /// Takes the next request; `None` if its end has not come yet.
    ///
    /// # Errors
    ///
    /// See [`Unframed`].
    pub fn take(&mut self) -> Result<Option<Request>, Unframed> {
        let first = &self.bytes[..self.bytes.len().min(SET.len())];
        if first == GET {
            return match self.bytes.get(GET.len()) {
                None => Ok(None),
                Some(b'\n') => {
                    self.cut(GET.len() + 1);
                    Ok(Some(Request::Get))
                }
                Some(_) => Err(Unframed::Trailing),
            };
        }
        if first == SET {
            return self.take_set();
        }
        if SET.starts_with(first) || GET.starts_with(first) {
            return Ok(None);
        }
        Err(Unframed::Operation)
    }

    fn take_set(&mut self) -> Result<Option<Request>, Unframed> {
        // The blank line may follow the operation: its first byte is the operation's last.
        let from = self.searched.max(SET.len() - 1);
        let found = self.bytes[from..].windows(2).position(|pair| pair == b"\n\n");
        let len = found.map_or(self.bytes.len(), |at| from + at + 2);
        if len > REQUEST_LEN_MAX {
            return Err(Unframed::TooLong);
        }
        if found.is_none() {
            self.searched = self.bytes.len() - 1;
            return Ok(None);
        }
        let lines = Zeroizing::new(self.bytes[SET.len()..len - 1].to_vec());
        self.cut(len);
        Ok(Some(Request::Set(lines)))
    }

    /// Forgets the first bytes.
    fn cut(&mut self, len: usize) {
        let rest = Zeroizing::new(self.bytes[len..].to_vec());
        self.bytes = rest;
        self.searched = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(bytes: &[u8], piece: usize) -> (Vec<Request>, Result<(), Unframed>) {
        let mut incoming = Incoming::default();
        let mut requests = Vec::new();
        for piece in bytes.chunks(piece) {
            incoming.push(piece);
            loop {
                match incoming.take() {
                    Ok(Some(request)) => requests.push(request),
                    Ok(None) => break,
                    Err(fault) => return (requests, Err(fault)),
                }
            }
        }
        (requests, Ok(()))
    }

    fn set(lines: &str) -> Request {
        Request::Set(Zeroizing::new(lines.as_bytes().to_vec()))
    }

    #[test]
    fn requests_are_found_however_the_bytes_come() {
        let bytes = b"get=1\n\nset=1\n\nset=1\na=b\nc=d\n\nget=1\n\n";
        for piece in 1..=bytes.len() {
            let (requests, end) = all(bytes, piece);
            let expected = [Request::Get, set(""), set("a=b\nc=d\n"), Request::Get];
            assert_eq!((requests.as_slice(), end), (expected.as_slice(), Ok(())), "{piece}");
        }
    }

    #[test]
    fn request_without_its_end_is_not_there() {
        let bytes = b"set=1\na=b\n\n";
        for len in 0..bytes.len() {
            assert_eq!(all(&bytes[..len], 3), (vec![], Ok(())), "{len}");
        }
    }

    #[test]
    fn what_is_no_operation_is_told_at_its_first_byte_that_is_wrong() {
        for bytes in ["\n", "x", "get=2", "set=1\r", "get=1\r", "GET", "gset=1\n"] {
            assert_eq!(all(bytes.as_bytes(), 64).1, Err(Unframed::Operation), "{bytes:?}");
        }
        assert_eq!(all(b"get=1\nx", 64).1, Err(Unframed::Trailing));
    }

    #[test]
    fn request_that_is_too_long_is_refused_before_its_end() {
        let mut bytes = b"set=1\n".to_vec();
        bytes.resize(REQUEST_LEN_MAX + 1, b'x');
        let (requests, end) = all(&bytes, 65_536);
        assert_eq!((requests.len(), end), (0, Err(Unframed::TooLong)));
        bytes.truncate(REQUEST_LEN_MAX - 2);
        bytes.extend(b"\n\n");
        assert_eq!(all(&bytes, 65_536).0.len(), 1);
    }
}
