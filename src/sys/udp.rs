//! Options of UDP sockets that socket2 does not have.

use std::io;
use std::mem::size_of;
use std::net::IpAddr;
use std::os::fd::{AsRawFd, BorrowedFd};

use nix::errno::Errno;

use super::fault::{self, Point};

/// An address family, with its socket options.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl Family {
    /// The family of an address.
    pub fn of(ip: IpAddr) -> Self {
        if ip.is_ipv4() { Family::V4 } else { Family::V6 }
    }

    /// The most bytes that a datagram of the family carries.
    pub const fn payload_max(self) -> usize {
        match self {
            Family::V4 => 65_507,
            Family::V6 => 65_527,
        }
    }
}

/// What is refused instead of cut into fragments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// What is larger than the path, as the kernel knows it (PMTUDISC_DO).
    AbovePath,
    /// Only what is larger than the interface takes (PMTUDISC_PROBE): who finds out by himself what
    /// crosses a path may try what did not cross it some time ago.
    AboveInterface,
}

/// Sets DF on every datagram.
///
/// # Errors
///
/// Passes on what the kernel says.
pub fn set_dont_fragment(fd: BorrowedFd<'_>, family: Family, refused: Refused) -> io::Result<()> {
    let (v4, v6) = match refused {
        Refused::AbovePath => (libc::IP_PMTUDISC_DO, libc::IPV6_PMTUDISC_DO),
        Refused::AboveInterface => (libc::IP_PMTUDISC_PROBE, libc::IPV6_PMTUDISC_PROBE),
    };
    match family {
        Family::V4 => set(fd, libc::IPPROTO_IP, libc::IP_MTU_DISCOVER, v4),
        Family::V6 => set(fd, libc::IPPROTO_IPV6, libc::IPV6_MTU_DISCOVER, v6),
    }
}

/// Asks for the local address and the traffic class of each datagram received.
///
/// # Errors
///
/// Passes on what the kernel says.
pub fn set_receive_details(fd: BorrowedFd<'_>, family: Family) -> io::Result<()> {
    match family {
        Family::V4 => {
            set(fd, libc::IPPROTO_IP, libc::IP_PKTINFO, 1)?;
            set(fd, libc::IPPROTO_IP, libc::IP_RECVTOS, 1)
        }
        Family::V6 => {
            set(fd, libc::IPPROTO_IPV6, libc::IPV6_RECVPKTINFO, 1)?;
            set(fd, libc::IPPROTO_IPV6, libc::IPV6_RECVTCLASS, 1)
        }
    }
}

/// Takes IPv6 datagrams without a checksum, which VXLAN may send (RFC 6935, RFC 7348 section 4.3).
///
/// # Errors
///
/// Passes on what the kernel says.
pub fn set_zero_checksum_accepted(fd: BorrowedFd<'_>) -> io::Result<()> {
    set(fd, libc::SOL_UDP, libc::UDP_NO_CHECK6_RX, 1)
}

/// Sends without a checksum, as some VXLAN senders do. Such a socket cannot send runs.
#[cfg(test)]
pub(crate) fn set_zero_checksum_sent(fd: BorrowedFd<'_>, family: Family) -> io::Result<()> {
    /// UDP_NO_CHECK6_TX in `include/uapi/linux/udp.h`.
    const UDP_NO_CHECK6_TX: libc::c_int = 101;
    match family {
        Family::V4 => set(fd, libc::SOL_SOCKET, libc::SO_NO_CHECK, 1),
        Family::V6 => set(fd, libc::SOL_UDP, UDP_NO_CHECK6_TX, 1),
    }
}

/// Sets the hop limit of what is sent.
///
/// # Errors
///
/// Passes on what the kernel says.
pub fn set_hop_limit(fd: BorrowedFd<'_>, family: Family, hop_limit: u8) -> io::Result<()> {
    match family {
        Family::V4 => set(fd, libc::IPPROTO_IP, libc::IP_TTL, hop_limit.into()),
        Family::V6 => set(fd, libc::IPPROTO_IPV6, libc::IPV6_UNICAST_HOPS, hop_limit.into()),
    }
}

/// Lets the kernel merge runs of equal datagrams into one receive (Linux 5.0).
///
/// # Errors
///
/// Fails with ENOPROTOOPT on older kernels.
pub fn set_gro(fd: BorrowedFd<'_>) -> io::Result<()> {
    fault::check(Point::UdpGro)?;
    set(fd, libc::SOL_UDP, libc::UDP_GRO, 1)
}

/// Fails if the kernel cannot cut a send into datagrams (before Linux 4.18: ENOPROTOOPT).
///
/// # Errors
///
/// Passes on what the kernel says.
pub fn check_segment(fd: BorrowedFd<'_>) -> io::Result<()> {
    // Size 0 is "do not cut by default": the size comes with each send.
    set(fd, libc::SOL_UDP, libc::UDP_SEGMENT, 0)
}

/// Makes the receive buffer `bytes` large, beyond net.core.rmem_max where the right is there, and
/// gives the size that it has then.
///
/// # Errors
///
/// Passes on what the kernel says.
pub fn set_receive_buffer(fd: BorrowedFd<'_>, bytes: usize) -> io::Result<usize> {
    set_buffer(fd, bytes, libc::SO_RCVBUFFORCE, libc::SO_RCVBUF)
}

/// Makes the send buffer `bytes` large, as [`set_receive_buffer`] does.
///
/// # Errors
///
/// Passes on what the kernel says.
pub fn set_send_buffer(fd: BorrowedFd<'_>, bytes: usize) -> io::Result<usize> {
    set_buffer(fd, bytes, libc::SO_SNDBUFFORCE, libc::SO_SNDBUF)
}

fn set_buffer(
    fd: BorrowedFd<'_>,
    bytes: usize,
    force: libc::c_int,
    plain: libc::c_int,
) -> io::Result<usize> {
    let value = libc::c_int::try_from(bytes).unwrap_or(libc::c_int::MAX / 2);
    if set(fd, libc::SOL_SOCKET, force, value).is_err() {
        set(fd, libc::SOL_SOCKET, plain, value)?;
    }
    // The kernel doubles the value for its own bookkeeping (socket(7)).
    Ok(get(fd, libc::SOL_SOCKET, plain)? as usize / 2)
}

/// Drops whatever arrives on the socket before it is queued.
///
/// # Errors
///
/// Passes on what the kernel says.
pub fn set_receive_nothing(fd: BorrowedFd<'_>) -> io::Result<()> {
    // BPF_RET | BPF_K: accept 0 bytes.
    attach(fd, libc::SO_ATTACH_FILTER, &mut [instruction(0x06, 0)])
}

/// The class of a port is what is left of it by this number, which is the most workers that there are.
pub const PORT_CLASSES: u16 = 16;

/// Has the kernel give a datagram that comes from a source port of class C ([`PORT_CLASSES`]) to
/// socket C % `sockets` of those that share this one's port (SO_REUSEPORT), in the order in which they
/// were bound. By itself it chooses by a hash, which may give all of a few ports to one of them.
///
/// # Errors
///
/// Fails with EINVAL if the socket is not bound as one of several, with ENOPROTOOPT on Linux before
/// 4.5.
pub fn share_by_source_port(fd: BorrowedFd<'_>, family: Family, sockets: u8) -> io::Result<()> {
    /// Where the IP header is, for a load (SKF_NET_OFF, `include/uapi/linux/filter.h`).
    const NETWORK_HEADER: u32 = libc::SKF_NET_OFF as u32;
    const IPV6_HEADER: u32 = 40;
    let class = instruction(0x94, PORT_CLASSES.into()); // A %= PORT_CLASSES
    let chosen = instruction(0x94, sockets.into()); // A %= sockets
    let given = instruction(0x16, 0); // return A
    match family {
        Family::V4 => {
            let length = instruction(0xb1, NETWORK_HEADER); // X = 4 * (IHL), by BPF_MSH
            let port = instruction(0x48, NETWORK_HEADER); // A = the 16 bits at X
            let program = &mut [length, port, class, chosen, given];
            attach(fd, libc::SO_ATTACH_REUSEPORT_CBPF, program)
        }
        Family::V6 => {
            let port = instruction(0x28, NETWORK_HEADER.wrapping_add(IPV6_HEADER));
            attach(fd, libc::SO_ATTACH_REUSEPORT_CBPF, &mut [port, class, chosen, given])
        }
    }
}

/// An instruction of classic BPF that does not jump.
fn instruction(code: u16, k: u32) -> libc::sock_filter {
    libc::sock_filter { code, jt: 0, jf: 0, k }
}

fn attach(
    fd: BorrowedFd<'_>,
    option: libc::c_int,
    program: &mut [libc::sock_filter],
) -> io::Result<()> {
    let len = program.len() as libc::c_ushort;
    let filter = libc::sock_fprog { len, filter: program.as_mut_ptr() };
    // SAFETY: the value is a sock_fprog of its size whose filter points to as many instructions as
    // it says; both outlive the call, and the kernel copies the program.
    let result = unsafe {
        libc::setsockopt(
            fd.as_raw_fd(),
            libc::SOL_SOCKET,
            option,
            (&raw const filter).cast(),
            size_of::<libc::sock_fprog>() as libc::socklen_t,
        )
    };
    Errno::result(result)?;
    Ok(())
}

/// Gives the path MTU to the peer of a connected socket, bytes of the IP packet.
///
/// # Errors
///
/// Fails with ENOTCONN if the socket is not connected.
pub fn path_mtu(fd: BorrowedFd<'_>, family: Family) -> io::Result<u32> {
    let mtu = match family {
        Family::V4 => get(fd, libc::IPPROTO_IP, libc::IP_MTU),
        Family::V6 => get(fd, libc::IPPROTO_IPV6, libc::IPV6_MTU),
    }?;
    Ok(mtu as u32)
}

/// Takes back the connection of a socket, and the source address that it chose.
///
/// # Errors
///
/// Passes on what the kernel says.
pub fn disconnect(fd: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: sockaddr is made of integers, for which zero is a value.
    let mut nobody: libc::sockaddr = unsafe { std::mem::zeroed() };
    nobody.sa_family = libc::AF_UNSPEC as libc::sa_family_t;
    // SAFETY: the address points to a sockaddr of its length, which outlives the call.
    let result = unsafe {
        libc::connect(
            fd.as_raw_fd(),
            &raw const nobody,
            size_of::<libc::sockaddr>() as libc::socklen_t,
        )
    };
    Errno::result(result)?;
    Ok(())
}

fn set(
    fd: BorrowedFd<'_>,
    level: libc::c_int,
    name: libc::c_int,
    value: libc::c_int,
) -> io::Result<()> {
    // SAFETY: the value points to an int, the length is that of an int, and it outlives the call.
    let result = unsafe {
        libc::setsockopt(
            fd.as_raw_fd(),
            level,
            name,
            (&raw const value).cast(),
            size_of::<libc::c_int>() as libc::socklen_t,
        )
    };
    Errno::result(result)?;
    Ok(())
}

fn get(fd: BorrowedFd<'_>, level: libc::c_int, name: libc::c_int) -> io::Result<libc::c_int> {
    let mut value: libc::c_int = 0;
    let mut len = size_of::<libc::c_int>() as libc::socklen_t;
    // SAFETY: the value points to an int, `len` says so, and both outlive the call.
    let result = unsafe {
        libc::getsockopt(fd.as_raw_fd(), level, name, (&raw mut value).cast(), &raw mut len)
    };
    Errno::result(result)?;
    Ok(value)
}
