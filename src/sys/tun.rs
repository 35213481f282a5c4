//! The TUN/TAP driver: `drivers/net/tun.c` of the kernel.

use std::fs::OpenOptions;
use std::io::{self, IoSlice, IoSliceMut};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, IntoRawFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;

use super::fault::{self, Point};

/// Length of the offload header in front of each packet, bytes (`struct virtio_net_hdr`).
pub const VNET_HEADER_LEN: usize = 10;

/// What the reader of a device takes: TUN_F_* in `include/uapi/linux/if_tun.h`.
pub mod offload {
    /// Checksums left to the reader.
    pub const CSUM: u32 = 0x01;
    /// TCP GSO packets, IPv4 and IPv6.
    pub const TSO: u32 = 0x02 | 0x04;
    /// UDP GSO packets, IPv4 and IPv6: the kernel takes both or none (since 6.2).
    pub const USO: u32 = 0x20 | 0x40;
}

/// The driver's ioctls: TUNSETOFFLOAD and so on in `include/uapi/linux/if_tun.h`.
mod request {
    #![allow(missing_docs)]
    nix::ioctl_write_ptr!(tunsetiff, b'T', 202, libc::c_int);
    nix::ioctl_write_int!(tunsetoffload, b'T', 208);
    nix::ioctl_read!(tungetiff, b'T', 210, libc::c_uint);
    nix::ioctl_write_ptr!(tunsetvnethdrsz, b'T', 216, libc::c_int);
    nix::ioctl_write_ptr!(tunsetvnetle, b'T', 220, libc::c_int);
    nix::ioctl_write_ptr!(tunsetvnetbe, b'T', 222, libc::c_int);
}

/// IFF_TUN, IFF_TAP, IFF_NO_PI, IFF_VNET_HDR and IFF_MULTI_QUEUE, `include/uapi/linux/if_tun.h`.
const IFF_TUN: libc::c_short = 0x0001;
const IFF_TAP: libc::c_short = 0x0002;
const IFF_NO_PI: libc::c_short = 0x1000;
const IFF_VNET_HDR: libc::c_short = 0x4000;
const IFF_MULTI_QUEUE: libc::c_short = 0x0100;

/// IFF_PERSIST: the device stays when the last descriptor is closed.
const IFF_PERSIST: libc::c_int = 0x0800;

/// What the kernel says of an attached descriptor's device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attached {
    /// The device's name.
    pub name: String,
    /// Whether the device stays when nobody has it open.
    pub is_persistent: bool,
}

/// Creates a device, or attaches to the existing persistent one of the name: non-blocking, with
/// an offload header in front of each packet and no packet information.
///
/// # Errors
///
/// Passes on the kernel's error: EBUSY if another process has the device, EINVAL if it is of
/// another kind, EPERM without the right, ENOENT without `/dev/net/tun`.
pub fn open(name: &str, is_tap: bool) -> io::Result<OwnedFd> {
    let mut configuration = tun::Configuration::default();
    configuration
        .tun_name(name)
        .layer(if is_tap { tun::Layer::L2 } else { tun::Layer::L3 })
        .platform_config(|platform| {
            // The device is configured by netlink, and the kernel says what it does not allow.
            platform.ensure_root_privileges(false).vnet_hdr(true);
        });
    let device = tun::create(&configuration)?;
    device.set_nonblock()?;
    // SAFETY: into_raw_fd gives up the device's descriptor, which is open and owned by nobody now.
    Ok(unsafe { OwnedFd::from_raw_fd(device.into_raw_fd()) })
}

/// Opens a queue of a device that has several; the first makes the device, if it is not there.
/// Otherwise as [`open`], whose library knows only one queue.
///
/// # Errors
///
/// As [`open`]; EINVAL also if the device was made with one queue, E2BIG if it has no more.
pub fn open_queue(name: &str, is_tap: bool) -> io::Result<OwnedFd> {
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .custom_flags(libc::O_NONBLOCK | libc::O_CLOEXEC)
        .open("/dev/net/tun")?;
    let mut ifreq = super::link::request_for(name).ok_or(io::ErrorKind::InvalidInput)?;
    let kind = if is_tap { IFF_TAP } else { IFF_TUN };
    ifreq.ifr_ifru.ifru_flags = kind | IFF_NO_PI | IFF_VNET_HDR | IFF_MULTI_QUEUE;
    // SAFETY: the descriptor is open and `ifreq` is complete and outlives the call (the ioctl's
    // number says int, its argument is an ifreq: tun.c, TUNSETIFF).
    unsafe { request::tunsetiff(file.as_raw_fd(), (&raw const ifreq).cast()) }?;
    Ok(file.into())
}

/// Gives the name and the persistence of the device behind a descriptor.
///
/// # Errors
///
/// Fails with EBADFD if the device was deleted.
pub fn attached(fd: BorrowedFd<'_>) -> io::Result<Attached> {
    let mut ifreq = super::link::request_for("").ok_or(io::ErrorKind::InvalidInput)?;
    // SAFETY: the descriptor is open; `ifreq` is complete, which the driver fills (the
    // ioctl's number says c_uint, its argument is an ifreq: tun.c, TUNGETIFF).
    unsafe { request::tungetiff(fd.as_raw_fd(), (&raw mut ifreq).cast()) }?;
    // SAFETY: TUNGETIFF writes ifru_flags; every bit pattern is a value of it.
    let flags = libc::c_int::from(unsafe { ifreq.ifr_ifru.ifru_flags });
    let name = ifreq.ifr_name.iter().take_while(|c| **c != 0).map(|c| *c as u8).collect();
    Ok(Attached {
        name: String::from_utf8(name).map_err(|_| io::ErrorKind::InvalidData)?,
        is_persistent: flags & IFF_PERSIST != 0,
    })
}

/// Sets the offload header to its ten bytes in the machine's byte order, whatever a former user
/// of a persistent device left.
///
/// # Errors
///
/// Passes on what the kernel says.
pub fn reset_vnet_header(fd: BorrowedFd<'_>) -> io::Result<()> {
    let fd = fd.as_raw_fd();
    let len = VNET_HEADER_LEN as libc::c_int;
    // SAFETY: the descriptor is open and the argument points to an int that outlives the call.
    unsafe { request::tunsetvnethdrsz(fd, &raw const len) }?;
    let native = 0;
    // SAFETY: as above. Kernels without cross-endian support refuse the second call and need none.
    unsafe {
        request::tunsetvnetle(fd, &raw const native)?;
        let _ = request::tunsetvnetbe(fd, &raw const native);
    }
    Ok(())
}

/// Tells the driver which unfinished packets the reader takes. Holds for the device, not for the
/// descriptor.
///
/// # Errors
///
/// Fails with EINVAL if the kernel does not know one of the bits.
pub fn set_offload(fd: BorrowedFd<'_>, mask: u32) -> io::Result<()> {
    if mask & offload::USO != 0 {
        fault::check(Point::TunOffloadUso)?;
    }
    if mask != 0 {
        fault::check(Point::TunOffload)?;
    }
    // SAFETY: the descriptor is open and the argument is a number.
    unsafe { request::tunsetoffload(fd.as_raw_fd(), mask.into()) }?;
    Ok(())
}

/// Reads one packet into a header and a buffer; `None` if there is none. Gives its length.
///
/// # Errors
///
/// Fails with EBADFD when the device was deleted.
pub fn read(
    fd: BorrowedFd<'_>,
    header: &mut [u8; VNET_HEADER_LEN],
    buffer: &mut [u8],
) -> io::Result<Option<usize>> {
    let mut slices = [IoSliceMut::new(header), IoSliceMut::new(buffer)];
    loop {
        match nix::sys::uio::readv(fd, &mut slices) {
            Ok(len) => return Ok(Some(len.saturating_sub(VNET_HEADER_LEN))),
            Err(nix::Error::EAGAIN) => return Ok(None),
            Err(nix::Error::EINTR) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
}

/// Writes one packet, gathered from its header and its parts.
///
/// # Errors
///
/// Fails with EBADFD when the device was deleted, EIO when it is down, EINVAL when the offload
/// header contradicts the packet.
pub fn write(fd: BorrowedFd<'_>, slices: &[IoSlice<'_>]) -> io::Result<()> {
    if let Err(errno) = fault::check(Point::TunWriteBig) {
        // cold: a test.
        let len: usize = slices.iter().map(|slice| slice.len()).sum();
        if len > usize::from(u16::MAX) + 64 {
            return Err(errno.into());
        }
    }
    loop {
        match nix::sys::uio::writev(fd, slices) {
            Ok(_) => return Ok(()),
            Err(nix::Error::EINTR) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
}
