//! The socket where `wg` looks for a userspace interface: `/var/run/wireguard/IFNAME.sock`.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::time::sleep;
use tracing::debug;

use super::InterfaceName;
use crate::api::{BindError, Bound};
use crate::sys::readiness;

/// Where `wg` looks.
pub const DIRECTORY: &str = "/var/run/wireguard";

/// How often a socket is made anew that somebody takes for a dead one and removes.
const CLAIMS: usize = 3;

/// How often to look whether the socket is there, if the kernel does not tell.
const LOOK: Duration = Duration::from_secs(1);

/// The socket of an interface; its file is removed when it is dropped, if it is still ours.
#[derive(Debug)]
pub struct Socket {
    bound: Bound,
}

impl Socket {
    /// Gives the path of an interface's socket.
    pub fn path_of(name: &InterfaceName) -> PathBuf {
        Path::new(DIRECTORY).join(format!("{name}.sock"))
    }

    /// Makes the socket with mode 0600, and its directory with 0755 if there is none. One that
    /// refuses connections is replaced.
    ///
    /// # Errors
    ///
    /// [`BindError::Live`] if another process answers there; else what the kernel refuses.
    pub fn claim(path: &Path) -> Result<Self, BindError> {
        let mut bound = Bound::claim(path)?;
        for _ in 1..CLAIMS {
            // A `wg` that looks between bind and listen finds a dead socket, and removes it.
            if bound.is_in_place() {
                break;
            }
            bound = Bound::claim(path)?;
        }
        Ok(Self { bound })
    }

    /// Takes the listening socket that the process was started with.
    ///
    /// # Errors
    ///
    /// It is no listening Unix socket, or there is no file at `path`.
    pub fn adopt(socket: OwnedFd, path: &Path) -> Result<Self, BindError> {
        Ok(Self { bound: Bound::adopt(socket, path)? })
    }

    /// Gives the listener. To be called within a runtime.
    ///
    /// # Errors
    ///
    /// The process has no descriptor left.
    pub fn listener(&self) -> io::Result<tokio::net::UnixListener> {
        tokio::net::UnixListener::from_std(self.bound.listener()?)
    }

    /// Waits until the file of the socket is removed, renamed or replaced.
    pub async fn wait_for_removal(&self) {
        let mut watch = Watch::start(self.bound.path());
        // Looks after the watch has begun, so that nothing happens in between.
        while self.bound.is_in_place() {
            watch.wait().await;
        }
    }

    /// Removes the file, if it is still ours.
    ///
    /// # Errors
    ///
    /// What the kernel says, other than that it is gone already.
    pub fn remove(self) -> io::Result<()> {
        self.bound.remove()
    }
}

/// Tells when something happened to a file.
enum Watch {
    /// The kernel says so.
    Inotify {
        events: Inotify,
        /// A duplicate of its descriptor.
        readiness: AsyncFd<OwnedFd>,
    },
    /// It does not: somebody has to look from time to time.
    Clock,
}

impl Watch {
    fn start(path: &Path) -> Self {
        Self::inotify(path).unwrap_or_else(|error| {
            // cold: the user has no inotify instance left (fs.inotify.max_user_instances).
            debug!(%error, "no inotify, so the socket is looked at every second");
            Self::Clock
        })
    }

    fn inotify(path: &Path) -> io::Result<Self> {
        let events = Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK)?;
        // Removing a file that is open changes its count of links, which is an attribute.
        let flags = AddWatchFlags::IN_ATTRIB
            | AddWatchFlags::IN_DELETE_SELF
            | AddWatchFlags::IN_MOVE_SELF
            | AddWatchFlags::IN_DONT_FOLLOW;
        events.add_watch(path, flags)?;
        let readiness = readiness::readable(events.as_fd().try_clone_to_owned()?)?;
        Ok(Self::Inotify { events, readiness })
    }

    /// Waits until there may be something to see.
    async fn wait(&mut self) {
        if let Self::Inotify { events, readiness } = self {
            let take = |_: &OwnedFd| events.read_events().map_err(io::Error::from);
            match readiness.async_io(Interest::READABLE, take).await {
                Ok(_) => return,
                Err(error) if error.raw_os_error() == Some(Errno::EINTR as i32) => return,
                Err(_) => *self = Self::Clock,
            }
        }
        sleep(LOOK).await;
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;
    use std::os::unix::net::{UnixListener, UnixStream};

    use tokio::task::yield_now;
    use tokio::time::timeout;

    use super::*;

    fn in_runtime(test: impl Future<Output = ()>) {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(test);
    }

    #[test]
    fn socket_is_made_for_its_owner_in_a_directory_for_all() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("wireguard/wg0.sock");
        let socket = Socket::claim(&path).unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&path), mode(path.parent().unwrap())), (0o600, 0o755));
        socket.remove().unwrap();
        assert!(!path.exists());
    }

    #[test]
    fn dead_socket_is_replaced_and_a_live_one_is_left() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("wg0.sock");
        drop(UnixListener::bind(&path).unwrap());
        let _socket = Socket::claim(&path).unwrap();
        assert!(matches!(Socket::claim(&path), Err(BindError::Live { .. })));
        UnixStream::connect(&path).unwrap();
    }

    #[test]
    fn removed_renamed_and_replaced_sockets_are_noticed() {
        let changes: [fn(&Path); 3] = [
            |path| fs::remove_file(path).unwrap(),
            |path| fs::rename(path, path.with_extension("old")).unwrap(),
            |path| {
                let other = path.with_extension("new");
                drop(UnixListener::bind(&other).unwrap());
                fs::rename(other, path).unwrap();
            },
        ];
        for change in changes {
            in_runtime(async {
                let directory = tempfile::tempdir().unwrap();
                let path = directory.path().join("wg0.sock");
                let socket = Socket::claim(&path).unwrap();
                let mut removal = std::pin::pin!(socket.wait_for_removal());
                let is_early = tokio::select! {
                    biased;
                    () = &mut removal => true,
                    () = yield_now() => false,
                };
                assert!(!is_early);
                // What does not remove it wakes the watch, no more.
                fs::set_permissions(&path, fs::Permissions::from_mode(0o660)).unwrap();
                assert!(timeout(Duration::from_millis(20), &mut removal).await.is_err());
                change(&path);
                timeout(Duration::from_secs(5), removal).await.unwrap();
            });
        }
    }

    #[test]
    fn without_inotify_the_socket_is_looked_at() {
        in_runtime(async {
            assert!(matches!(Watch::start(Path::new("/missing/wg0.sock")), Watch::Clock));
            timeout(Duration::from_secs(10), Watch::Clock.wait()).await.unwrap();
        });
    }
}
