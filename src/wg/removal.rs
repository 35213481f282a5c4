//! Notices that the interface is deleted.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, recv, socket,
};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::time::sleep;
use tracing::debug;

use crate::sys::{link, readiness, tun};

/// RTMGRP_LINK, `include/uapi/linux/rtnetlink.h`.
const LINKS: u32 = 1;

/// How often to look where the kernel does not tell.
const LOOK: Duration = Duration::from_secs(1);

/// Messages of the kernel are cut to this length, bytes: that there is one says it all.
const MESSAGE_LEN: usize = 16;

/// So many messages are taken at once, so that others get their turn.
const BATCH: usize = 64;

/// Waits until the interface behind a descriptor of a TUN device is deleted.
///
/// An interface that is moved to another network namespace is still there, as WireGuard's users
/// expect: the datagrams stay where they were. The kernel does not tell of links in there, so from
/// then on the device is asked every second.
///
/// # Errors
///
/// The descriptor is not that of a device.
pub async fn wait_for_removal(device: BorrowedFd<'_>) -> io::Result<()> {
    let mut links = Links::open();
    loop {
        // Looks after the socket is open, so that nothing happens in between.
        let name = match tun::attached(device) {
            Ok(attached) => attached.name,
            Err(error) if error.raw_os_error() == Some(Errno::EBADFD as i32) => return Ok(()),
            Err(error) => return Err(error),
        };
        match &mut links {
            Ok(socket) if link::index(&name).is_some() => match socket.wait().await {
                Ok(()) => continue,
                Err(error) => links = Err(error),
            },
            Ok(_) => {}
            Err(error) => debug!(%error, "the kernel does not tell of links: they are looked at"),
        }
        // Nothing wakes whoever waits here: the kernel is silent about this device.
        sleep(LOOK).await;
    }
}

/// A socket on which the kernel tells of changes of links.
struct Links(AsyncFd<OwnedFd>);

impl Links {
    fn open() -> io::Result<Self> {
        let socket = socket(
            AddressFamily::Netlink,
            SockType::Raw,
            SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK,
            SockProtocol::NetlinkRoute,
        )?;
        bind(socket.as_raw_fd(), &NetlinkAddr::new(0, LINKS))?;
        Ok(Self(readiness::readable(socket)?))
    }

    /// Waits until something happened to a link.
    async fn wait(&mut self) -> io::Result<()> {
        self.0.async_io(Interest::READABLE, |socket| take_messages(socket.as_fd())).await
    }
}

/// Takes what is there; an error if there is nothing.
fn take_messages(socket: BorrowedFd<'_>) -> io::Result<()> {
    for i in 0..BATCH {
        match recv(socket.as_raw_fd(), &mut [0; MESSAGE_LEN], MsgFlags::MSG_DONTWAIT) {
            // Messages that were lost have been about links as well.
            Ok(_) | Err(Errno::ENOBUFS | Errno::EINTR) => {}
            Err(Errno::EAGAIN) if i > 0 => break,
            Err(errno) => return Err(errno.into()),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use tokio::time::timeout;

    use super::*;
    use crate::sys::netns;
    use crate::sys::testing::{in_another_namespace, ip, with_devices};

    /// What does not happen is waited for so long, which is longer than it takes to look.
    const SHORT: Duration = Duration::from_millis(1200);

    fn is_noticed(device: &OwnedFd, change: impl FnOnce()) -> bool {
        is_noticed_within(10 * LOOK, device, change)
    }

    /// Waits in a runtime for the removal, and runs `change` once the wait has begun.
    fn is_noticed_within(time: Duration, device: &OwnedFd, change: impl FnOnce()) -> bool {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut removal = std::pin::pin!(wait_for_removal(device.as_fd()));
            tokio::select! {
                biased;
                _ = &mut removal => panic!("it is there"),
                () = tokio::task::yield_now() => {}
            }
            change();
            timeout(time, removal).await.is_ok_and(|end| end.is_ok())
        })
    }

    #[test]
    fn deleted_interface_is_noticed() {
        with_devices(|| {
            let device = tun::open("wgr0", false).unwrap();
            assert!(is_noticed(&device, || ip("link del wgr0")));
        });
    }

    #[test]
    fn other_changes_are_none_of_its_removal() {
        with_devices(|| {
            let device = tun::open("wgr0", false).unwrap();
            let change = || {
                ip("link set wgr0 up");
                ip("link set wgr0 down");
                ip("link set wgr0 name wgr1");
                ip("link add wgr2 type veth peer name wgr3");
                ip("link del wgr2");
            };
            assert!(!is_noticed_within(SHORT, &device, change));
            assert!(is_noticed(&device, || ip("link del wgr1")));
        });
    }

    #[test]
    fn interface_that_moved_is_there_until_it_is_deleted() {
        with_devices(|| {
            let device = tun::open("wgr0", false).unwrap();
            let mut other = None;
            in_another_namespace(|| other = Some(netns::current().unwrap()));
            let Some(other) = other else { return };
            let path = format!("/proc/{}/fd/{}", std::process::id(), other.as_raw_fd());
            assert!(!is_noticed_within(SHORT, &device, || ip(&format!(
                "link set wgr0 netns {path}"
            ))));
            let delete = || {
                netns::enter(other.as_fd()).unwrap();
                ip("link del wgr0");
            };
            let delete = || std::thread::scope(|scope| scope.spawn(delete).join().unwrap());
            assert!(is_noticed(&device, delete));
        });
    }

    #[test]
    fn descriptor_of_something_else_is_an_error() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let file = File::open("/dev/null").unwrap();
        assert!(runtime.block_on(wait_for_removal(file.as_fd())).is_err());
    }
}
