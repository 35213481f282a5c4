//! Finds the daemon's socket where the user names none.

use std::fmt::Write;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use thiserror::Error;

use super::SUFFIX;
use super::listen::Presence;

/// Why no socket was chosen.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum DiscoverError {
    /// No daemon runs.
    #[error(
        "no daemon is running: {} has no socket (name one with --socket or TUNCTL_SOCKET)",
        directory.display()
    )]
    None {
        /// Where it was looked for.
        directory: PathBuf,
    },
    /// Every socket is of a daemon that ended without removing it.
    #[error("no daemon is running: nobody answers on {}", one_line(sockets))]
    AllDead {
        /// What is left of them.
        sockets: Vec<PathBuf>,
    },
    /// There is more than one daemon.
    #[error("several daemons are running, choose one with --socket: {}", one_line(sockets))]
    Several {
        /// Their sockets, sorted.
        sockets: Vec<PathBuf>,
    },
    /// The directory cannot be read.
    #[error("cannot look for sockets in {}: {source}", directory.display())]
    Io {
        /// The directory.
        directory: PathBuf,
        /// The kernel's answer.
        source: io::Error,
    },
}

/// Gives the path of the socket in `directory` that a daemon listens on.
///
/// # Errors
///
/// See [`DiscoverError`]; none and several are errors.
pub fn discover(directory: &Path) -> Result<PathBuf, DiscoverError> {
    let mut sockets = sockets_in(directory)
        .map_err(|source| DiscoverError::Io { directory: directory.to_owned(), source })?;
    sockets.sort();
    let (mut live, dead): (Vec<_>, Vec<_>) = sockets.into_iter().partition(|path| is_live(path));
    match (live.len(), dead.len()) {
        (1, _) => Ok(live.remove(0)),
        (0, 0) => Err(DiscoverError::None { directory: directory.to_owned() }),
        (0, _) => Err(DiscoverError::AllDead { sockets: dead }),
        (_, _) => Err(DiscoverError::Several { sockets: live }),
    }
}

fn sockets_in(directory: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut sockets = Vec::new();
    for entry in entries {
        let path = entry?.path();
        if path.as_os_str().as_encoded_bytes().ends_with(SUFFIX.as_bytes()) {
            sockets.push(path);
        }
    }
    Ok(sockets)
}

/// Tells whether somebody listens. What cannot be found out is left to the one who connects.
fn is_live(path: &Path) -> bool {
    !matches!(Presence::of(path), Ok(Presence::Dead | Presence::Absent))
}

fn one_line(paths: &[PathBuf]) -> String {
    let mut line = String::new();
    for (position, path) in paths.iter().enumerate() {
        let separator = if position == 0 { "" } else { ", " };
        let _ = write!(line, "{separator}{}", path.display());
    }
    line
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;

    use super::*;

    #[test]
    fn only_socket_is_chosen_and_dead_ones_do_not_count() {
        let directory = tempfile::tempdir().unwrap();
        drop(UnixListener::bind(directory.path().join("dead.sock")).unwrap());
        let _live = UnixListener::bind(directory.path().join("live.sock")).unwrap();
        let _other = UnixListener::bind(directory.path().join("other")).unwrap();

        assert_eq!(discover(directory.path()).unwrap(), directory.path().join("live.sock"));
    }

    #[test]
    fn several_sockets_are_listed_in_order() {
        let directory = tempfile::tempdir().unwrap();
        let _b = UnixListener::bind(directory.path().join("b.sock")).unwrap();
        let _a = UnixListener::bind(directory.path().join("a.sock")).unwrap();

        let message = discover(directory.path()).unwrap_err().to_string();

        let at = directory.path().display();
        assert_eq!(
            message,
            format!(
                "several daemons are running, choose one with --socket: {at}/a.sock, {at}/b.sock"
            )
        );
    }

    #[test]
    fn no_socket_and_no_directory_say_that_no_daemon_runs() {
        let directory = tempfile::tempdir().unwrap();

        for place in [directory.path().to_owned(), directory.path().join("missing")] {
            let error = discover(&place).unwrap_err();
            assert!(matches!(error, DiscoverError::None { .. }), "{error}");
        }
    }

    #[test]
    fn only_dead_sockets_are_named() {
        let directory = tempfile::tempdir().unwrap();
        drop(UnixListener::bind(directory.path().join("dead.sock")).unwrap());

        let message = discover(directory.path()).unwrap_err().to_string();

        assert!(message.ends_with("dead.sock"), "{message}");
    }
}
