//! A packet socket: a copy of what arrives on an interface, GSO packets in one piece.

use std::io;
use std::mem::{MaybeUninit, size_of};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::net::if_::if_nametoindex;
use socket2::{Domain, Protocol, Socket, Type};

/// PACKET_VNET_HDR and PACKET_IGNORE_OUTGOING in `include/uapi/linux/if_packet.h`.
const PACKET_VNET_HDR: libc::c_int = 15;
const PACKET_IGNORE_OUTGOING: libc::c_int = 23;

/// What arrives on one interface; each packet begins with a `virtio_net_hdr` of 10 bytes, then
/// comes its frame.
#[derive(Debug)]
pub struct PacketSocket(OwnedFd);

impl PacketSocket {
    /// Opens one on an interface of the calling thread's network namespace, for frames of one
    /// EtherType. What leaves by the interface is not seen.
    ///
    /// # Errors
    ///
    /// Fails without CAP_NET_RAW in the namespace, or if there is no such interface.
    pub fn open(interface: &str, ethertype: u16) -> io::Result<Self> {
        let index = if_nametoindex(interface)?;
        // Without a protocol it is deaf until it is bound, so it hears no other interface.
        let socket = Socket::new(Domain::PACKET, Type::RAW, None::<Protocol>)?;
        for option in [PACKET_VNET_HDR, PACKET_IGNORE_OUTGOING] {
            set(socket.as_fd(), option)?;
        }
        bind(socket.as_fd(), index, ethertype)?;
        Ok(Self(socket.into()))
    }
}

impl AsFd for PacketSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

fn set(fd: BorrowedFd<'_>, option: libc::c_int) -> io::Result<()> {
    let value: libc::c_int = 1;
    // SAFETY: the value points to an int, the length is that of an int, and it outlives the call.
    let result = unsafe {
        libc::setsockopt(
            fd.as_raw_fd(),
            libc::SOL_PACKET,
            option,
            (&raw const value).cast(),
            size_of::<libc::c_int>() as libc::socklen_t,
        )
    };
    Errno::result(result)?;
    Ok(())
}

fn bind(fd: BorrowedFd<'_>, index: u32, ethertype: u16) -> io::Result<()> {
    // SAFETY: sockaddr_ll is made of integers, for which zero is a value.
    let mut address: libc::sockaddr_ll = unsafe { MaybeUninit::zeroed().assume_init() };
    address.sll_family = libc::AF_PACKET as libc::sa_family_t;
    address.sll_protocol = ethertype.to_be();
    address.sll_ifindex = index as libc::c_int;
    // SAFETY: the address is a sockaddr_ll of its size and outlives the call; the kernel reads it.
    let result = unsafe {
        libc::bind(
            fd.as_raw_fd(),
            (&raw const address).cast(),
            size_of::<libc::sockaddr_ll>() as libc::socklen_t,
        )
    };
    Errno::result(result)?;
    Ok(())
}
