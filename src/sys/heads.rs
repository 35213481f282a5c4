//! Receiving to count: the first bytes and the true length of each datagram, with little else done.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr;

use super::datagram::received;

/// Datagrams that one call receives at most.
const BATCH_MAX: usize = 64;

/// What recvmmsg needs, allocated once, and what the last call received.
#[derive(Debug)]
pub struct Heads {
    headers: Box<[libc::mmsghdr]>,
    /// Pointed to by `headers`; never touched after it was filled.
    _slices: Box<[libc::iovec]>,
    /// Pointed to by `_slices`: `head_len` bytes for each datagram.
    bytes: Box<[u8]>,
    head_len: usize,
    received: usize,
}

// SAFETY: the raw pointers in `headers` and `_slices` point into heap memory that the same value
// owns, which does not move with it and is not shared.
unsafe impl Send for Heads {}

impl Heads {
    /// Makes room for `head_len` bytes of each datagram.
    ///
    /// # Panics
    ///
    /// Panics if `head_len` is zero.
    pub fn new(head_len: usize) -> Self {
        assert!(head_len > 0, "a head has bytes");
        let mut bytes = vec![0; BATCH_MAX * head_len].into_boxed_slice();
        let slice = |head: &mut [u8]| libc::iovec {
            iov_base: head.as_mut_ptr().cast(),
            iov_len: head.len(),
        };
        let mut slices: Box<[_]> = bytes.chunks_exact_mut(head_len).map(slice).collect();
        let header = |slice: &mut libc::iovec| {
            // SAFETY: mmsghdr is made of integers and pointers, for which zero is a value.
            let mut header: libc::mmsghdr = unsafe { MaybeUninit::zeroed().assume_init() };
            header.msg_hdr.msg_iov = slice;
            header.msg_hdr.msg_iovlen = 1;
            header
        };
        let headers = slices.iter_mut().map(header).collect();
        Self { headers, _slices: slices, bytes, head_len, received: 0 }
    }

    /// Receives what is there, without waiting, up to 64 datagrams; gives their number.
    ///
    /// # Errors
    ///
    /// Passes on the kernel's error, but for EAGAIN and EINTR.
    pub fn receive(&mut self, fd: BorrowedFd<'_>) -> io::Result<usize> {
        self.received = 0;
        // SAFETY: each header points to a slice in `_slices`, which points to its own `head_len`
        // bytes of `bytes`; all three are owned by self and not borrowed by anyone else during the
        // call. The kernel writes within these lengths, and to msg_len, msg_flags and (as there is
        // no room for them) zero lengths of name and control messages.
        let result = unsafe {
            libc::recvmmsg(
                fd.as_raw_fd(),
                self.headers.as_mut_ptr(),
                BATCH_MAX as libc::c_uint,
                (libc::MSG_DONTWAIT | libc::MSG_TRUNC) as _,
                ptr::null_mut(),
            )
        };
        self.received = received(result)?;
        Ok(self.received)
    }

    /// Gives the first bytes and the length on arrival of each datagram of the last call.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], usize)> {
        let headers = self.headers[..self.received].iter();
        headers.zip(self.bytes.chunks_exact(self.head_len)).map(|(header, head)| {
            let len = header.msg_len as usize;
            (&head[..len.min(head.len())], len)
        })
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;
    use std::os::unix::net::UnixDatagram;

    use super::*;

    #[test]
    fn heads_are_cut_and_lengths_are_true() {
        let (near, far) = UnixDatagram::pair().unwrap();
        let mut heads = Heads::new(4);
        assert_eq!(heads.receive(far.as_fd()).unwrap(), 0);
        for bytes in [&b"ab"[..], b"", b"cdefgh"] {
            near.send(bytes).unwrap();
        }
        assert_eq!(heads.receive(far.as_fd()).unwrap(), 3);
        let received: Vec<_> = heads.iter().collect();
        assert_eq!(received, [(&b"ab"[..], 2), (b"", 0), (b"cdef", 6)]);
        assert_eq!(heads.receive(far.as_fd()).unwrap(), 0);
        assert_eq!(heads.iter().count(), 0);
    }

    #[test]
    fn one_call_receives_a_batch_at_most() {
        let (near, far) = UnixDatagram::pair().unwrap();
        near.set_nonblocking(true).unwrap();
        let mut heads = Heads::new(1);
        let sent = (0..3 * BATCH_MAX).take_while(|i| near.send(&[*i as u8]).is_ok()).count();
        let received = heads.receive(far.as_fd()).unwrap();
        assert_eq!(received, sent.min(BATCH_MAX));
        assert!(heads.iter().zip(0..).all(|((head, _), i)| head == [i]));
    }
}
