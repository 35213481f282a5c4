//! What the kernel counts for a socket: segments sent again, packets that found no room.

use std::io;
use std::mem::{MaybeUninit, size_of, size_of_val};
use std::os::fd::{AsRawFd, BorrowedFd};

use nix::errno::Errno;

/// Values that SO_MEMINFO gives (SK_MEMINFO_VARS in `include/uapi/linux/sock_diag.h`).
const MEMINFO_VARS: usize = 9;

/// Gives the segments that a TCP socket has sent again since it was made.
///
/// # Errors
///
/// Fails if it is no TCP socket.
pub fn tcp_retransmits(fd: BorrowedFd<'_>) -> io::Result<u32> {
    // SAFETY: tcp_info is made of integers, for which zero is a value.
    let mut info: libc::tcp_info = unsafe { MaybeUninit::zeroed().assume_init() };
    let mut len = size_of_val(&info) as libc::socklen_t;
    // SAFETY: the value is `len` bytes long and outlives the call; the kernel writes as many at
    // most, and only integers.
    let result = unsafe {
        libc::getsockopt(
            fd.as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_INFO,
            (&raw mut info).cast(),
            &raw mut len,
        )
    };
    Errno::result(result)?;
    Ok(info.tcpi_total_retrans)
}

/// Gives the packets that were dropped because the socket's receive buffer had no room (or its
/// filter refused them), since it was made; counts up to 2^32 and from 0 again.
///
/// # Errors
///
/// Passes on what the kernel says.
pub fn receive_drops(fd: BorrowedFd<'_>) -> io::Result<u32> {
    let mut values = [0_u32; MEMINFO_VARS];
    let mut len = size_of::<[u32; MEMINFO_VARS]>() as libc::socklen_t;
    // SAFETY: the values are `len` bytes long and outlive the call; the kernel writes as many at
    // most.
    let result = unsafe {
        libc::getsockopt(
            fd.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_MEMINFO,
            values.as_mut_ptr().cast(),
            &raw mut len,
        )
    };
    Errno::result(result)?;
    Ok(values[libc::SK_MEMINFO_DROPS as usize])
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;
    use std::os::fd::AsFd;

    use super::*;

    #[test]
    fn drops_are_those_that_found_no_room() {
        let to = UdpSocket::bind("127.0.0.1:0").unwrap();
        let from = UdpSocket::bind("127.0.0.1:0").unwrap();
        from.connect(to.local_addr().unwrap()).unwrap();
        assert_eq!(receive_drops(to.as_fd()).unwrap(), 0);
        crate::sys::udp::set_receive_buffer(to.as_fd(), 1).unwrap();
        for _ in 0..100 {
            from.send(&[0; 1000]).unwrap();
        }
        to.set_nonblocking(true).unwrap();
        let received = std::iter::from_fn(|| to.recv(&mut [0; 1000]).ok()).count();
        assert_eq!(receive_drops(to.as_fd()).unwrap() as usize, 100 - received);
    }

    #[test]
    fn only_tcp_sockets_retransmit() {
        let tcp = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        assert_eq!(tcp_retransmits(tcp.as_fd()).unwrap(), 0);
        let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
        assert!(tcp_retransmits(udp.as_fd()).is_err());
    }
}
