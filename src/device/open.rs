//! Opening a device: create or attach, then agree on offloads with the kernel.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use nix::errno::Errno;

use super::{Device, DeviceOffloads, DeviceSpec, Kind, Switch, janitor};
use crate::sys::link;
use crate::sys::slices::Slices;
use crate::sys::tun::{self, offload};

/// Why a device cannot be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DeviceError {
    /// The name cannot be an interface's.
    #[error("interface name {name:?}: {fault}")]
    Name {
        /// The name.
        name: String,
        /// What is wrong with it.
        fault: &'static str,
    },
    /// The name belongs to another kind of interface.
    #[error("interface {name}: exists and is {found}, not a {} device", wanted.name())]
    OtherKind {
        /// The name.
        name: String,
        /// What it is.
        found: String,
        /// What was to be opened.
        wanted: Kind,
    },
    /// Another process has the device open.
    #[error("interface {name}: busy, another process has it open")]
    Busy {
        /// The name.
        name: String,
    },
    /// The existing device was made with several queues.
    #[error("interface {name}: exists with several queues (multi_queue), make it without")]
    MultiQueue {
        /// The name.
        name: String,
    },
    /// The existing device was made with one queue.
    #[error("interface {name}: exists with one queue, make it with several (multi_queue)")]
    OneQueue {
        /// The name.
        name: String,
    },
    /// The device node is not there or not open to the process.
    #[error("/dev/net/tun: {cause} ({hint})")]
    Node {
        /// What to do about it.
        hint: &'static str,
        /// The kernel's error.
        cause: io::Error,
    },
    /// The process may not make devices.
    #[error("interface {name}: not permitted, CAP_NET_ADMIN is needed")]
    NotPermitted {
        /// The name.
        name: String,
    },
    /// The kernel refuses offloads that the configuration insists on.
    #[error("interface {name}: device_gso is on, but the kernel refuses it: {refused}")]
    Offload {
        /// The name.
        name: String,
        /// What was refused, and how.
        refused: String,
    },
    /// Any other refusal.
    #[error("interface {name}: {step}: {cause}")]
    Kernel {
        /// The name.
        name: String,
        /// What was asked of the kernel.
        step: &'static str,
        /// The kernel's error.
        cause: io::Error,
    },
}

/// Creates or attaches a device and agrees on its offloads.
pub(super) fn open(spec: &DeviceSpec) -> Result<Device, DeviceError> {
    check_name(&spec.name)?;
    check_kind(spec)?;
    let is_tap = spec.kind == Kind::Tap;
    let fd = match spec.is_multi_queue {
        true => tun::open_queue(&spec.name, is_tap),
        false => tun::open(&spec.name, is_tap),
    };
    let fd = fd.map_err(|cause| explain(spec, cause))?;
    let kernel = |step| {
        let name = spec.name.clone();
        move |cause| DeviceError::Kernel { name, step, cause }
    };
    let attached = tun::attached(fd.as_fd()).map_err(kernel("TUNGETIFF"))?;
    if attached.is_persistent {
        janitor::await_previous(&attached.name);
    }
    tun::reset_vnet_header(fd.as_fd()).map_err(kernel("TUNSETVNETHDRSZ"))?;
    let offloads = agree_offloads(fd.as_fd(), spec)?;
    let index = link::index(&attached.name)
        .ok_or(io::Error::from(Errno::ENODEV))
        .map_err(kernel("looking up its index"))?;
    Ok(Device {
        fd,
        name: attached.name,
        kind: spec.kind,
        index,
        was_there: attached.is_persistent,
        offloads,
        slices: Slices::default(),
    })
}

/// The kernel's rules (`dev_valid_name`), and no `%`, which it would replace by a number.
fn check_name(name: &str) -> Result<(), DeviceError> {
    let fault = if name.is_empty() || name == "." || name == ".." {
        "not a name"
    } else if name.len() > link::NAME_MAX {
        "longer than 15 bytes"
    } else if name.bytes().any(|b| b.is_ascii_whitespace() || b"/:%\0\x0b".contains(&b)) {
        "contains a blank, '/', ':' or '%'"
    } else {
        return Ok(());
    };
    Err(DeviceError::Name { name: name.into(), fault })
}

/// Refuses what has the name but is something else. The driver answers it with EINVAL only.
fn check_kind(spec: &DeviceSpec) -> Result<(), DeviceError> {
    if link::index(&spec.name).is_none() {
        return Ok(());
    }
    let found = match link::driver(&spec.name) {
        Some(driver) if driver.name == "tun" && driver.bus == spec.kind.name() => return Ok(()),
        Some(driver) if driver.name == "tun" => format!("a {} device", driver.bus),
        Some(driver) => format!("a {} interface", driver.name),
        None => "another interface".into(),
    };
    Err(DeviceError::OtherKind { name: spec.name.clone(), found, wanted: spec.kind })
}

fn explain(spec: &DeviceSpec, cause: io::Error) -> DeviceError {
    let name = spec.name.clone();
    match cause.raw_os_error().map(Errno::from_raw) {
        Some(Errno::EBUSY) => DeviceError::Busy { name },
        Some(Errno::EPERM) => DeviceError::NotPermitted { name },
        Some(Errno::EACCES) => {
            DeviceError::Node { hint: "the process may not open it: see its mode", cause }
        }
        Some(Errno::ENOENT) => {
            DeviceError::Node { hint: "make it: mknod /dev/net/tun c 10 200", cause }
        }
        Some(Errno::ENODEV | Errno::ENXIO) => {
            DeviceError::Node { hint: "the kernel has no tun driver: modprobe tun", cause }
        }
        // The kind was right a moment ago, so what the driver dislikes is the queues.
        Some(Errno::EINVAL) if link::driver(&spec.name).is_some() => match spec.is_multi_queue {
            true => DeviceError::OneQueue { name },
            false => DeviceError::MultiQueue { name },
        },
        _ => DeviceError::Kernel { name, step: "TUNSETIFF", cause },
    }
}

/// Asks for less and less until the kernel agrees. Always asks for something, because a
/// persistent device keeps the mask of whoever had it before.
fn agree_offloads(fd: BorrowedFd<'_>, spec: &DeviceSpec) -> Result<DeviceOffloads, DeviceError> {
    let masks: &[u32] = match spec.gso {
        Switch::Off => &[0],
        Switch::Auto | Switch::On => &[
            offload::CSUM | offload::TSO | offload::USO,
            offload::CSUM | offload::TSO,
            offload::CSUM,
            0,
        ],
    };
    let mut refused = None;
    for mask in masks {
        match tun::set_offload(fd, *mask) {
            Ok(()) => {
                let offloads = describe(*mask, refused);
                return match (spec.gso, offloads) {
                    // Kernels before 6.2 have no UDP segmentation here: not a refusal of GSO.
                    (Switch::On, DeviceOffloads { tso: false, refused: Some(refused), .. }) => {
                        Err(DeviceError::Offload { name: spec.name.clone(), refused })
                    }
                    (_, offloads) => Ok(offloads),
                };
            }
            Err(cause) => refused = Some((*mask, cause)),
        }
    }
    let cause = refused.map_or(Errno::EINVAL.into(), |(_, cause)| cause);
    Err(DeviceError::Kernel { name: spec.name.clone(), step: "TUNSETOFFLOAD", cause })
}

fn describe(mask: u32, refused: Option<(u32, io::Error)>) -> DeviceOffloads {
    DeviceOffloads {
        tso: mask & offload::TSO != 0,
        uso: mask & offload::USO != 0,
        csum: mask & offload::CSUM != 0,
        refused: refused.map(|(mask, cause)| format!("TUNSETOFFLOAD {mask:#04x}: {cause}")),
    }
}
