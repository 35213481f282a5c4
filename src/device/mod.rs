//! TUN and TAP devices: opening, reading and writing GSO packets, and an in-memory twin.
//!
//! This room moves bytes between the kernel's device and the worker's memory and sets the device
//! up by netlink. It never looks into a packet. Read [`Device`] first; [`setup`] is what happens
//! around it at start and stop.

mod forwarding;
pub mod janitor;
mod memory;
mod open;
pub mod setup;

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;

use crate::buffer::{Memory, Piece};
use crate::sys::slices::Slices;
use crate::sys::tun;

pub use crate::sys::Switch;
pub use forwarding::may_forward;
pub use memory::MemDevice;
pub use open::DeviceError;

/// The offload header in front of each packet of a device, as the kernel lays it out.
pub type VnetBytes = [u8; tun::VNET_HEADER_LEN];

/// What a device carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// IP packets.
    Tun,
    /// Ethernet frames.
    Tap,
}

impl Kind {
    /// The word that users see.
    pub const fn name(self) -> &'static str {
        match self {
            Kind::Tun => "tun",
            Kind::Tap => "tap",
        }
    }
}

/// What to open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceSpec {
    /// The interface's name, 1 to 15 bytes.
    pub name: String,
    /// What it carries.
    pub kind: Kind,
    /// Whether GSO packets are taken from it (TUNSETOFFLOAD).
    pub gso: Switch,
    /// Whether it has several queues (IFF_MULTI_QUEUE), each for a reader of its own.
    pub is_multi_queue: bool,
}

/// What the kernel leaves to the reader of a device.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeviceOffloads {
    /// TCP GSO packets come unsegmented.
    pub tso: bool,
    /// UDP GSO packets come unsegmented.
    pub uso: bool,
    /// Checksums come unfinished.
    pub csum: bool,
    /// What the kernel refused, and how.
    pub refused: Option<String>,
}

/// Reads packets from a device and writes packets to it.
pub trait DeviceIo {
    /// Reads one packet into the buffer without waiting; gives its offload header and its length,
    /// or `None` if there is none.
    ///
    /// # Errors
    ///
    /// Passes on the kernel's error; see [`is_gone`].
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<Option<(VnetBytes, usize)>>;

    /// Writes one packet, gathered from the pieces, at most 1023 that do not touch.
    ///
    /// # Errors
    ///
    /// Passes on the kernel's error; see [`is_gone`] and [`is_down`]. EINVAL: the offload header
    /// contradicts the packet, or the kernel does not take GSO packets here.
    fn write(&mut self, vnet: VnetBytes, pieces: &[Piece], memory: &Memory) -> io::Result<()>;
}

/// An open TUN or TAP device.
///
/// A device that was made by opening it vanishes when this is dropped. One that was there stays.
#[derive(Debug)]
pub struct Device {
    fd: OwnedFd,
    name: String,
    kind: Kind,
    index: u32,
    was_there: bool,
    offloads: DeviceOffloads,
    slices: Slices,
}

impl Device {
    /// Creates a device, or attaches to the existing persistent one of that name and kind.
    ///
    /// # Errors
    ///
    /// Fails if the name is not usable, belongs to something else, or is taken; if the process may
    /// not make devices; if `gso` is [`Switch::On`] and the kernel refuses it.
    pub fn open(spec: &DeviceSpec) -> Result<Self, DeviceError> {
        open::open(spec)
    }

    /// Opens another queue of a device that has several. The kernel spreads the flows: each goes
    /// where its answers were written.
    ///
    /// # Errors
    ///
    /// Passes on the kernel's error; see [`DeviceSpec::is_multi_queue`].
    pub fn open_queue(&self) -> io::Result<Self> {
        let fd = tun::open_queue(&self.name, self.kind == Kind::Tap)?;
        Ok(Self {
            fd,
            name: self.name.clone(),
            kind: self.kind,
            index: self.index,
            // The first queue looks after what belongs to the device.
            was_there: false,
            offloads: self.offloads.clone(),
            slices: Slices::default(),
        })
    }

    /// Gives the interface's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Gives what the device carries.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Gives the interface's index.
    pub fn index(&self) -> u32 {
        self.index
    }

    /// Whether the device was there before it was opened, and stays.
    pub fn was_there(&self) -> bool {
        self.was_there
    }

    /// Gives what the kernel leaves to the reader.
    pub fn offloads(&self) -> &DeviceOffloads {
        &self.offloads
    }
}

impl DeviceIo for Device {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<Option<(VnetBytes, usize)>> {
        let mut vnet = VnetBytes::default();
        Ok(tun::read(self.fd.as_fd(), &mut vnet, buffer)?.map(|len| (vnet, len)))
    }

    fn write(&mut self, vnet: VnetBytes, pieces: &[Piece], memory: &Memory) -> io::Result<()> {
        let mut slices = self.slices.start();
        slices.push(&vnet);
        let mut pieces = pieces.iter().copied();
        let mut next = pieces.next();
        while let Some(mut piece) = next {
            next = pieces.next();
            while let Some(following) = next.filter(|following| piece.touches(*following)) {
                piece.len += following.len;
                next = pieces.next();
            }
            if !slices.push(memory.bytes(piece)) {
                return Err(Errno::EMSGSIZE.into());
            }
        }
        tun::write(self.fd.as_fd(), slices.as_slice())
    }
}

impl AsFd for Device {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl Drop for Device {
    fn drop(&mut self) {
        if self.was_there {
            // The mask belongs to the device: a later user who knows nothing of offloads must not
            // be handed unfinished packets. Fails only if the device is gone.
            let _ = tun::set_offload(self.fd.as_fd(), 0);
        }
    }
}

/// Whether an error of a device says that the interface was deleted (`ip link del`).
pub fn is_gone(error: &io::Error) -> bool {
    error.raw_os_error() == Some(Errno::EBADFD as i32)
}

/// Whether a write failed because the interface is down (`ip link set down`): it may come up again.
pub fn is_down(error: &io::Error) -> bool {
    error.raw_os_error() == Some(Errno::EIO as i32)
}

#[cfg(test)]
mod tests;
