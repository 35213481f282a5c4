//! Claims the API socket: owner-only, and never another daemon's.

use std::fs::{self, DirBuilder, File, Permissions};
use std::io;
use std::mem;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use nix::fcntl::{Flock, FlockArg};
use socket2::{Domain, SockAddr, Socket, Type};
use thiserror::Error;

/// Connections that the kernel keeps until they are accepted.
const BACKLOG: i32 = 32;

/// The longest path that a socket address holds, bytes (unix(7): `sun_path` has 108 with its NUL).
const PATH_LEN_MAX: usize = 107;

/// How long another daemon that starts in the same directory is waited for.
const LOCK_TIME: Duration = Duration::from_secs(2);

/// Why the API socket is not ours.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum BindError {
    /// A daemon listens there.
    #[error("another daemon answers on {}", path.display())]
    Live {
        /// The socket.
        path: PathBuf,
    },
    /// Something that must not be deleted is in the way.
    #[error("{} exists and is not a socket", path.display())]
    NotASocket {
        /// What is in the way.
        path: PathBuf,
    },
    /// The path does not fit into a socket address.
    #[error("the socket path {} has {len} bytes, expected at most {PATH_LEN_MAX}", path.display())]
    PathTooLong {
        /// The path.
        path: PathBuf,
        /// Its length, bytes.
        len: usize,
    },
    /// The kernel refused a step.
    #[error("cannot {step} {}: {source}", path.display())]
    Io {
        /// What was tried.
        step: &'static str,
        /// On what.
        path: PathBuf,
        /// The kernel's answer.
        source: io::Error,
    },
}

/// A claimed API socket. Dropping it removes the socket from the file system.
#[derive(Debug)]
pub struct Bound {
    listener: UnixListener,
    file: SocketFile,
}

impl Bound {
    /// Claims `path`: makes its directory (0755) if it is missing, replaces the socket of a dead
    /// daemon, and listens with mode 0600.
    ///
    /// # Errors
    ///
    /// See [`BindError`]. Nothing is left behind but the directory.
    pub fn claim(path: &Path) -> Result<Self, BindError> {
        if path.as_os_str().len() > PATH_LEN_MAX {
            let len = path.as_os_str().len();
            return Err(BindError::PathTooLong { path: path.to_owned(), len });
        }
        let directory = match path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        DirBuilder::new().recursive(true).mode(0o755).create(directory).at("create", directory)?;
        // Two daemons that start at once must not both find a dead socket and replace it.
        let _lock = lock(directory)?;
        remove_dead(path)?;
        let socket = Socket::new(Domain::UNIX, Type::STREAM, None).at("open a socket for", path)?;
        socket.bind(&SockAddr::unix(path).at("bind", path)?).at("bind", path)?;
        let file = SocketFile::of(path)?;
        // Nobody connects before `listen`, so nobody gets in before the mode is right.
        fs::set_permissions(path, Permissions::from_mode(0o600)).at("chmod", path)?;
        socket.listen(BACKLOG).at("listen on", path)?;
        socket.set_nonblocking(true).at("listen on", path)?;
        Ok(Self { listener: socket.into(), file })
    }

    /// Takes a socket that listens at `path` already, made by whoever started this process.
    ///
    /// # Errors
    ///
    /// It is no listening Unix socket, or there is nothing at the path.
    pub fn adopt(socket: OwnedFd, path: &Path) -> Result<Self, BindError> {
        let socket = Socket::from(socket);
        let is_unix = socket.local_addr().at("ask the socket for", path)?.is_unix();
        if !is_unix || !socket.is_listener().at("ask the socket for", path)? {
            return Err(io::Error::from(io::ErrorKind::InvalidInput)).at("listen on", path);
        }
        let file = SocketFile::of(path)?;
        socket.set_nonblocking(true).at("listen on", path)?;
        Ok(Self { listener: socket.into(), file })
    }

    /// Gives the path.
    pub fn path(&self) -> &Path {
        &self.file.path
    }

    /// Tells whether the file at the path is still our socket.
    pub fn is_in_place(&self) -> bool {
        self.file.is_in_place().unwrap_or(false)
    }

    /// Gives the listening socket, non-blocking.
    ///
    /// # Errors
    ///
    /// The process has no file descriptor left.
    pub fn listener(&self) -> io::Result<UnixListener> {
        self.listener.try_clone()
    }

    /// Removes the socket from the file system, if it is still the one that we made.
    ///
    /// # Errors
    ///
    /// What the kernel says, other than that it is gone already.
    pub fn remove(mut self) -> io::Result<()> {
        self.file.remove()
    }
}

/// The socket in the file system: its path, and which file it was when we made it.
#[derive(Debug)]
struct SocketFile {
    path: PathBuf,
    device: u64,
    inode: u64,
    is_removed: bool,
}

impl SocketFile {
    fn of(path: &Path) -> Result<Self, BindError> {
        let made = fs::symlink_metadata(path).at("stat", path)?;
        let (device, inode) = (made.dev(), made.ino());
        Ok(Self { path: path.to_owned(), device, inode, is_removed: false })
    }

    fn remove(&mut self) -> io::Result<()> {
        if mem::replace(&mut self.is_removed, true) {
            return Ok(());
        }
        if self.is_in_place()? { fs::remove_file(&self.path) } else { Ok(()) }
    }

    fn is_in_place(&self) -> io::Result<bool> {
        match fs::symlink_metadata(&self.path) {
            Ok(now) => Ok((now.dev(), now.ino()) == (self.device, self.inode)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        let _ = self.remove();
    }
}

/// Whether a daemon listens on a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Presence {
    /// It accepts connections, or would if we were its owner.
    Live,
    /// It is the socket of a process that ended.
    Dead,
    /// There is nothing.
    Absent,
}

impl Presence {
    /// Finds out by connecting.
    pub(super) fn of(path: &Path) -> io::Result<Self> {
        let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
        // A full backlog must not make us wait.
        socket.set_nonblocking(true)?;
        match socket.connect(&SockAddr::unix(path)?) {
            Ok(()) => Ok(Self::Live),
            Err(error) => match error.kind() {
                io::ErrorKind::WouldBlock | io::ErrorKind::PermissionDenied => Ok(Self::Live),
                io::ErrorKind::ConnectionRefused => Ok(Self::Dead),
                io::ErrorKind::NotFound => Ok(Self::Absent),
                _ => Err(error),
            },
        }
    }
}

fn remove_dead(path: &Path) -> Result<(), BindError> {
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error).at("stat", path),
        Ok(found) if !found.file_type().is_socket() => {
            return Err(BindError::NotASocket { path: path.to_owned() });
        }
        Ok(_) => {}
    }
    match Presence::of(path).at("connect to", path)? {
        Presence::Live => Err(BindError::Live { path: path.to_owned() }),
        Presence::Dead => fs::remove_file(path).at("replace", path),
        Presence::Absent => Ok(()),
    }
}

fn lock(directory: &Path) -> Result<Flock<File>, BindError> {
    let mut file = File::open(directory).at("open", directory)?;
    let deadline = Instant::now() + LOCK_TIME;
    loop {
        match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(lock) => return Ok(lock),
            Err((again, nix::Error::EWOULDBLOCK)) if Instant::now() < deadline => file = again,
            Err((_, errno)) => return Err(io::Error::from(errno)).at("lock", directory),
        }
        thread::sleep(Duration::from_millis(10));
    }
}

trait At<T> {
    fn at(self, step: &'static str, path: &Path) -> Result<T, BindError>;
}

impl<T> At<T> for io::Result<T> {
    fn at(self, step: &'static str, path: &Path) -> Result<T, BindError> {
        self.map_err(|source| BindError::Io { step, path: path.to_owned(), source })
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream;

    use super::*;

    #[test]
    fn socket_is_owner_only_and_gone_after_remove() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("made/a.sock");

        let bound = Bound::claim(&path).unwrap();

        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o600);
        let made = fs::metadata(path.parent().unwrap()).unwrap();
        assert_eq!(made.permissions().mode() & 0o022, 0);
        UnixStream::connect(&path).unwrap();
        bound.remove().unwrap();
        assert!(!path.exists());
    }

    #[test]
    fn socket_of_a_dead_daemon_is_replaced() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.sock");
        drop(UnixListener::bind(&path).unwrap());
        assert_eq!(Presence::of(&path).unwrap(), Presence::Dead);

        let _bound = Bound::claim(&path).unwrap();

        assert_eq!(Presence::of(&path).unwrap(), Presence::Live);
    }

    #[test]
    fn socket_of_a_live_daemon_is_refused_and_left() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.sock");
        let first = Bound::claim(&path).unwrap();

        let error = Bound::claim(&path).unwrap_err();

        assert!(matches!(error, BindError::Live { .. }), "{error}");
        assert_eq!(Presence::of(&path).unwrap(), Presence::Live);
        drop(first);
        assert_eq!(Presence::of(&path).unwrap(), Presence::Absent);
    }

    #[test]
    fn file_that_is_not_a_socket_is_never_deleted() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.sock");
        fs::write(&path, "precious").unwrap();

        let error = Bound::claim(&path).unwrap_err();

        assert!(matches!(error, BindError::NotASocket { .. }), "{error}");
        assert_eq!(fs::read(&path).unwrap(), b"precious");
    }

    #[test]
    fn socket_that_another_daemon_made_since_is_left() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.sock");
        let first = Bound::claim(&path).unwrap();
        fs::remove_file(&path).unwrap();
        let _second = Bound::claim(&path).unwrap();

        first.remove().unwrap();

        assert_eq!(Presence::of(&path).unwrap(), Presence::Live);
    }

    #[test]
    fn socket_that_listens_already_is_adopted_and_another_descriptor_is_not() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.sock");
        let listener = UnixListener::bind(&path).unwrap();
        let stream = UnixStream::connect(&path).unwrap();

        assert!(Bound::adopt(stream.into(), &path).is_err());
        let bound = Bound::adopt(listener.into(), &path).unwrap();
        assert!(bound.is_in_place());
        bound.listener().unwrap().accept().unwrap();
        fs::rename(&path, directory.path().join("b.sock")).unwrap();
        assert!(!bound.is_in_place());
    }

    #[test]
    fn path_that_no_socket_address_holds_is_refused() {
        let path = PathBuf::from(format!("/tmp/{}.sock", "x".repeat(120)));

        let error = Bound::claim(&path).unwrap_err();

        assert!(error.to_string().ends_with("has 130 bytes, expected at most 107"), "{error}");
    }
}
