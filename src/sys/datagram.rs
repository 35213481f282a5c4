//! Sending and receiving datagrams with control messages: UDP_SEGMENT, UDP_GRO, addresses, classes.

use std::io::{self, IoSlice};
use std::mem::{MaybeUninit, size_of};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr;

use nix::errno::Errno;
use socket2::SockAddr;

use super::fault::{self, Point};

/// Room for the control messages of one datagram: an address (36), a class and a size (20 each),
/// padded, with some to spare.
const CONTROL_LEN: usize = 128;

/// Datagrams that one call sends or receives at most.
pub const BATCH_MAX: usize = 64;

/// Control messages under construction or as received, aligned as the kernel wants them.
#[repr(C, align(8))]
#[derive(Clone, Copy)]
struct Control([u8; CONTROL_LEN]);

/// What a datagram is sent with, besides its bytes: the peer and the control messages.
pub struct Envelope {
    to: SockAddr,
    control: Control,
    control_len: usize,
    is_segmented: bool,
}

impl Envelope {
    /// Starts one for a peer.
    pub fn new(to: SocketAddr) -> Self {
        Self {
            to: to.into(),
            control: Control([0; CONTROL_LEN]),
            control_len: 0,
            is_segmented: false,
        }
    }

    /// Sets the address of ours that it leaves from; of the same family as the peer's, else the
    /// call is without effect. `scope_id` is the interface of a link-local address, or 0.
    pub fn set_source(&mut self, source: IpAddr, scope_id: u32) {
        match source {
            IpAddr::V4(ip) if self.to.is_ipv4() => {
                let info = libc::in_pktinfo {
                    ipi_ifindex: 0,
                    ipi_spec_dst: libc::in_addr { s_addr: u32::from(ip).to_be() },
                    ipi_addr: libc::in_addr { s_addr: 0 },
                };
                self.push(libc::IPPROTO_IP, libc::IP_PKTINFO, info);
            }
            IpAddr::V6(ip) if self.to.is_ipv6() => {
                let info = libc::in6_pktinfo {
                    ipi6_addr: libc::in6_addr { s6_addr: ip.octets() },
                    ipi6_ifindex: scope_id,
                };
                self.push(libc::IPPROTO_IPV6, libc::IPV6_PKTINFO, info);
            }
            IpAddr::V4(_) | IpAddr::V6(_) => {}
        }
    }

    /// Sets the traffic class: DSCP and ECN.
    pub fn set_tos(&mut self, tos: u8) {
        if self.to.is_ipv4() {
            self.push(libc::IPPROTO_IP, libc::IP_TOS, libc::c_int::from(tos));
        } else {
            self.push(libc::IPPROTO_IPV6, libc::IPV6_TCLASS, libc::c_int::from(tos));
        }
    }

    /// Has the kernel cut the bytes into datagrams of this length. Must be the last thing set;
    /// [`Envelope::clear_segment`] takes it back.
    pub fn set_segment(&mut self, len: u16) {
        self.push(libc::SOL_UDP, libc::UDP_SEGMENT, len);
        self.is_segmented = true;
    }

    /// Has the kernel send the bytes as one datagram again.
    pub fn clear_segment(&mut self) {
        if self.is_segmented {
            self.control_len -= space::<u16>();
            self.is_segmented = false;
        }
    }

    fn push<T: Copy>(&mut self, level: libc::c_int, kind: libc::c_int, value: T) {
        assert!(self.control_len + space::<T>() <= CONTROL_LEN, "each control message is set once");
        // SAFETY: cmsghdr is made of integers (and, with musl, padding): zero is a value of it.
        let mut header: libc::cmsghdr = unsafe { MaybeUninit::zeroed().assume_init() };
        // SAFETY: CMSG_LEN only computes.
        header.cmsg_len = unsafe { libc::CMSG_LEN(size_of::<T>() as u32) } as _;
        header.cmsg_level = level;
        header.cmsg_type = kind;
        // SAFETY: the assertion above leaves room for header, value and padding behind
        // `control_len`, which is a multiple of the alignment; CMSG_DATA computes an address
        // within that room; unaligned writes put plain integers there.
        unsafe {
            let at: *mut libc::cmsghdr = self.control.0.as_mut_ptr().add(self.control_len).cast();
            ptr::write_unaligned(at, header);
            ptr::write_unaligned(libc::CMSG_DATA(at).cast(), value);
        }
        self.control_len += space::<T>();
    }

    fn header(&mut self, slices: &[IoSlice<'_>]) -> libc::msghdr {
        // SAFETY: msghdr is made of integers and pointers, for which zero is a value.
        let mut header: libc::msghdr = unsafe { MaybeUninit::zeroed().assume_init() };
        header.msg_name = self.to.as_ptr().cast_mut().cast();
        header.msg_namelen = self.to.len();
        // An IoSlice is an iovec (std guarantees it on Unix); the kernel only reads a sender's.
        header.msg_iov = slices.as_ptr().cast_mut().cast();
        header.msg_iovlen = slices.len() as _;
        if self.control_len > 0 {
            header.msg_control = self.control.0.as_mut_ptr().cast();
            header.msg_controllen = self.control_len as _;
        }
        header
    }
}

/// Gives the room that a control message takes, its padding included.
const fn space<T>() -> usize {
    // SAFETY: CMSG_SPACE only computes.
    unsafe { libc::CMSG_SPACE(size_of::<T>() as u32) as usize }
}

/// Sends the slices in one call, as one datagram or as the run that the envelope says.
///
/// # Errors
///
/// Passes on the kernel's error, but for EINTR.
pub fn send(
    fd: BorrowedFd<'_>,
    envelope: &mut Envelope,
    slices: &[IoSlice<'_>],
) -> Result<(), Errno> {
    if envelope.is_segmented {
        fault::check(Point::UdpSegment)?;
    }
    let header = envelope.header(slices);
    let flags = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
    loop {
        // SAFETY: the header's pointers are to `envelope` and `slices`, which outlive the call,
        // with their lengths; the kernel reads only.
        let result = unsafe { libc::sendmsg(fd.as_raw_fd(), &raw const header, flags) };
        match Errno::result(result) {
            Ok(_) => return Ok(()),
            Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno),
        }
    }
}

/// Sends several datagrams to one peer in one call; each is the slices up to the next end.
///
/// `ends` are positions in `slices`, rising, at most [`BATCH_MAX`] of them. Gives the number of
/// datagrams that went out.
///
/// # Errors
///
/// Passes on the kernel's error for the first datagram.
///
/// # Panics
///
/// Panics if `ends` is longer than [`BATCH_MAX`], falls, or exceeds the slices.
pub fn send_each(
    fd: BorrowedFd<'_>,
    envelope: &mut Envelope,
    slices: &[IoSlice<'_>],
    ends: &[usize],
) -> Result<usize, Errno> {
    assert!(ends.len() <= BATCH_MAX, "one call takes {BATCH_MAX} datagrams");
    // SAFETY: mmsghdr is made of integers and pointers, for which zero is a value.
    let mut headers: [libc::mmsghdr; BATCH_MAX] = unsafe { MaybeUninit::zeroed().assume_init() };
    let mut start = 0;
    for (header, end) in headers.iter_mut().zip(ends) {
        header.msg_hdr = envelope.header(&slices[start..*end]);
        start = *end;
    }
    let flags = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
    loop {
        // SAFETY: as many headers as `ends` are filled; their pointers are to `envelope` and
        // `slices`, which outlive the call; the kernel writes msg_len of each only.
        let result = unsafe {
            libc::sendmmsg(
                fd.as_raw_fd(),
                headers.as_mut_ptr(),
                ends.len() as libc::c_uint,
                flags as _,
            )
        };
        match Errno::result(result) {
            Ok(sent) => return Ok(sent as usize),
            Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno),
        }
    }
}

/// A datagram, or a run of them merged by UDP GRO, as it was received.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arrival {
    /// The bytes that the buffer holds.
    pub len: usize,
    /// The datagram was longer than the buffer.
    pub is_truncated: bool,
    /// The sender.
    pub from: SocketAddr,
    /// The address of ours that it was sent to.
    pub local: Option<IpAddr>,
    /// The traffic class: DSCP and ECN.
    pub tos: u8,
    /// The segment size that UDP GRO gave.
    pub segment: Option<u16>,
}

/// What recvmmsg needs for [`BATCH_MAX`] datagrams, allocated once.
pub struct ReceiveBatch {
    headers: Box<[libc::mmsghdr]>,
    slices: Box<[libc::iovec]>,
    names: Box<[libc::sockaddr_storage]>,
    controls: Box<[Control]>,
    received: usize,
}

// SAFETY: the raw pointers in `headers` and `slices` are only used inside `receive`, which sets
// every one that it uses before the call; between calls they are not followed by anyone.
unsafe impl Send for ReceiveBatch {}

impl Default for ReceiveBatch {
    fn default() -> Self {
        // SAFETY: all four are made of integers and pointers, for which zero is a value.
        unsafe {
            Self {
                headers: vec![MaybeUninit::zeroed().assume_init(); BATCH_MAX].into(),
                slices: vec![MaybeUninit::zeroed().assume_init(); BATCH_MAX].into(),
                names: vec![MaybeUninit::zeroed().assume_init(); BATCH_MAX].into(),
                controls: vec![Control([0; CONTROL_LEN]); BATCH_MAX].into(),
                received: 0,
            }
        }
    }
}

impl ReceiveBatch {
    /// Receives what is there, one datagram into each buffer, without waiting. Gives their number,
    /// 0 if there is none; [`ReceiveBatch::arrivals`] describes them. Buffers beyond [`BATCH_MAX`]
    /// are not used.
    ///
    /// # Errors
    ///
    /// Passes on the kernel's error, but for EAGAIN and EINTR.
    pub fn receive<'a>(
        &mut self,
        fd: BorrowedFd<'_>,
        buffers: impl Iterator<Item = &'a mut [u8]>,
    ) -> io::Result<usize> {
        let mut count = 0;
        for (index, buffer) in buffers.take(BATCH_MAX).enumerate() {
            self.prepare(index, buffer);
            count = index + 1;
        }
        self.received = 0;
        // SAFETY: `prepare` has set the first `count` headers to point into `slices`, `names`,
        // `controls` (owned by self, not moved during the call) and the caller's buffers, each
        // borrowed mutably for 'a, which includes this call, and with its own length.
        let result = unsafe {
            libc::recvmmsg(
                fd.as_raw_fd(),
                self.headers.as_mut_ptr(),
                count as libc::c_uint,
                libc::MSG_DONTWAIT as _,
                ptr::null_mut(),
            )
        };
        self.received = received(result)?;
        Ok(self.received)
    }

    fn prepare(&mut self, index: usize, buffer: &mut [u8]) {
        self.slices[index] =
            libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() };
        let header = &mut self.headers[index].msg_hdr;
        header.msg_name = (&raw mut self.names[index]).cast();
        header.msg_namelen = size_of::<libc::sockaddr_storage>() as libc::socklen_t;
        header.msg_iov = &raw mut self.slices[index];
        header.msg_iovlen = 1;
        header.msg_control = (&raw mut self.controls[index]).cast();
        header.msg_controllen = CONTROL_LEN as _;
        header.msg_flags = 0;
    }

    /// Describes what the last [`ReceiveBatch::receive`] received, in the order of its buffers;
    /// `None` for one whose sender is neither IPv4 nor IPv6.
    pub fn arrivals(&self) -> impl Iterator<Item = Option<Arrival>> + '_ {
        (0..self.received).map(|index| self.arrival(index))
    }

    fn arrival(&self, index: usize) -> Option<Arrival> {
        let header = &self.headers[index];
        let mut arrival = Arrival {
            len: header.msg_len as usize,
            is_truncated: header.msg_hdr.msg_flags & libc::MSG_TRUNC != 0,
            from: socket_address(&self.names[index])?,
            local: None,
            tos: 0,
            segment: None,
        };
        // SAFETY: the kernel has filled msg_control, which `prepare` pointed to `controls[index]`,
        // with well-formed messages of msg_controllen bytes in all; nothing has moved since.
        let mut message = unsafe { libc::CMSG_FIRSTHDR(&raw const header.msg_hdr) };
        while !message.is_null() {
            // SAFETY: CMSG_FIRSTHDR and CMSG_NXTHDR give null or a complete message.
            unsafe {
                arrival.take_control(message);
                message = libc::CMSG_NXTHDR(&raw const header.msg_hdr, message);
            }
        }
        Some(arrival)
    }
}

impl Arrival {
    /// Reads one control message; those of other kinds are passed over.
    ///
    /// # Safety
    ///
    /// `message` points to a complete control message that the kernel wrote.
    unsafe fn take_control(&mut self, message: *const libc::cmsghdr) {
        // SAFETY: the caller's promise; each kind's data has the type that the kernel gives it
        // (ip(7), ipv6(7), udp_cmsg_recv in include/linux/udp.h), read unaligned.
        unsafe {
            let data = libc::CMSG_DATA(message);
            match ((*message).cmsg_level, (*message).cmsg_type) {
                (libc::IPPROTO_IP, libc::IP_PKTINFO) => {
                    let info: libc::in_pktinfo = ptr::read_unaligned(data.cast());
                    let ip = u32::from_be(info.ipi_spec_dst.s_addr);
                    self.local = Some(IpAddr::V4(Ipv4Addr::from(ip)));
                }
                (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO) => {
                    let info: libc::in6_pktinfo = ptr::read_unaligned(data.cast());
                    self.local = Some(IpAddr::V6(Ipv6Addr::from(info.ipi6_addr.s6_addr)));
                }
                (libc::IPPROTO_IP, libc::IP_TOS) => self.tos = *data,
                (libc::IPPROTO_IPV6, libc::IPV6_TCLASS) => {
                    self.tos = ptr::read_unaligned(data.cast::<libc::c_int>()) as u8;
                }
                (libc::SOL_UDP, libc::UDP_GRO) => {
                    let segment = ptr::read_unaligned(data.cast::<libc::c_int>());
                    self.segment = u16::try_from(segment).ok().filter(|segment| *segment > 0);
                }
                _ => {}
            }
        }
    }
}

/// Reads the result of recvmmsg: nothing there is none received.
pub(super) fn received(result: libc::c_int) -> io::Result<usize> {
    match Errno::result(result) {
        Ok(received) => Ok(received as usize),
        Err(Errno::EAGAIN | Errno::EINTR) => Ok(0),
        Err(errno) => Err(errno.into()),
    }
}

fn socket_address(name: &libc::sockaddr_storage) -> Option<SocketAddr> {
    let name: *const libc::sockaddr_storage = name;
    // SAFETY: a sockaddr_storage is as large and as aligned as any socket address, every bit
    // pattern is a value of the two types read, and ss_family says which of them the kernel wrote.
    unsafe {
        match libc::c_int::from((*name).ss_family) {
            libc::AF_INET => {
                let name = &*name.cast::<libc::sockaddr_in>();
                let ip = Ipv4Addr::from(u32::from_be(name.sin_addr.s_addr));
                Some(SocketAddrV4::new(ip, u16::from_be(name.sin_port)).into())
            }
            libc::AF_INET6 => {
                let name = &*name.cast::<libc::sockaddr_in6>();
                let ip = Ipv6Addr::from(name.sin6_addr.s6_addr);
                let port = u16::from_be(name.sin6_port);
                // The flow label is left out: it is the sender's choice per flow, not the peer.
                Some(SocketAddrV6::new(ip, port, 0, name.sin6_scope_id).into())
            }
            _ => None,
        }
    }
}
