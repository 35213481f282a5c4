//! What the kernel and the processor offer beyond std: ioctls, control messages, epoll, vectors. The
//! only room with `unsafe`.
//!
//! Its modules give safe functions over file descriptors and bytes, and know nothing of packets,
//! peers or settings. Policy (what to try, what to fall back to) lives in `device` and `socket`.
//! Read [`tun`] and [`datagram`] first.

pub mod capability;
pub mod child;
pub mod datagram;
pub mod ethtool;
pub mod fault;
pub mod heads;
pub mod inherited;
pub mod link;
pub mod netns;
pub mod packet_socket;
pub mod poll;
pub mod readiness;
pub mod release;
pub mod slices;
pub mod socket_stat;
pub mod sum;
pub mod tun;
pub mod udp;

#[cfg(test)]
pub(crate) mod testing;

/// Whether an offload is used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Switch {
    /// Used where the kernel has it.
    #[default]
    Auto,
    /// Used; a kernel that refuses it is an error at start.
    On,
    /// Not used.
    Off,
}
