//! Network interfaces by name: their index and their driver.

use std::os::fd::AsRawFd;

use nix::errno::Errno;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};

/// The longest name of an interface, bytes (IFNAMSIZ less the closing zero).
pub const NAME_MAX: usize = libc::IFNAMSIZ - 1;

/// ETHTOOL_GDRVINFO in `include/uapi/linux/ethtool.h`.
const ETHTOOL_GDRVINFO: u32 = 0x3;
pub(super) const SIOCETHTOOL: libc::Ioctl = 0x8946;

/// What drives an interface, as `ethtool -i` prints it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Driver {
    /// The driver: "tun", "veth", "bridge".
    pub name: String,
    /// Where it sits; for the tun driver "tun" or "tap".
    pub bus: String,
}

/// Gives the index of an interface, or `None` if there is none of that name.
pub fn index(name: &str) -> Option<u32> {
    nix::net::if_::if_nametoindex(name).ok()
}

/// Gives the driver of an interface; `None` if there is no such interface or its driver is mute.
pub fn driver(name: &str) -> Option<Driver> {
    let mut info = DriverInfo::default();
    let mut request = request_for(name)?;
    request.ifr_ifru.ifru_data = (&raw mut info).cast();
    let socket =
        socket(AddressFamily::Inet, SockType::Datagram, SockFlag::SOCK_CLOEXEC, None).ok()?;
    // SAFETY: the descriptor is open, `request` is a complete ifreq whose data points to an
    // ethtool_drvinfo, which the kernel fills; both live until the call is over.
    let result = unsafe { libc::ioctl(socket.as_raw_fd(), SIOCETHTOOL, &raw mut request) };
    Errno::result(result).ok()?;
    Some(Driver { name: text(&info.driver), bus: text(&info.bus_info) })
}

/// Makes an interface request for a name; `None` if the name is too long.
pub(super) fn request_for(name: &str) -> Option<libc::ifreq> {
    if name.len() > NAME_MAX {
        return None;
    }
    // SAFETY: ifreq is made of integers and pointers, for which all zeroes is a value.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(name.bytes()) {
        *to = from as libc::c_char;
    }
    Some(request)
}

fn text(field: &[u8]) -> String {
    let end = field.iter().position(|byte| *byte == 0).unwrap_or(field.len());
    String::from_utf8_lossy(&field[..end]).into_owned()
}

/// `struct ethtool_drvinfo` in `include/uapi/linux/ethtool.h`.
#[repr(C)]
struct DriverInfo {
    cmd: u32,
    driver: [u8; 32],
    version: [u8; 32],
    fw_version: [u8; 32],
    bus_info: [u8; 32],
    erom_version: [u8; 32],
    reserved: [u8; 12],
    counts: [u32; 5],
}

const _: () = assert!(size_of::<DriverInfo>() == 196);

impl Default for DriverInfo {
    fn default() -> Self {
        Self {
            cmd: ETHTOOL_GDRVINFO,
            driver: [0; 32],
            version: [0; 32],
            fw_version: [0; 32],
            bus_info: [0; 32],
            erom_version: [0; 32],
            reserved: [0; 12],
            counts: [0; 5],
        }
    }
}
