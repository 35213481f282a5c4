//! The other end of the API: what `tunctl status` and its like use. Blocking.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::de::DeserializeOwned;
use thiserror::Error;

use super::Reply;
use super::query::{FDB_PAGE_MAX, Query};
use super::report;

/// How long the daemon may be silent; its own limit for an answer is shorter.
const SILENCE: Duration = Duration::from_secs(15);

/// The longest answer, bytes: far more than any has, so that a wrong server cannot fill our memory.
const ANSWER_LEN_MAX: u64 = 256 << 20;

/// Why the daemon gave no answer.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ClientError {
    /// There is no such socket.
    #[error("no daemon at {}: the socket does not exist", path.display())]
    Absent {
        /// The socket.
        path: PathBuf,
    },
    /// The socket's daemon is gone.
    #[error("no daemon answers on {}: the one that made it is gone", path.display())]
    Dead {
        /// The socket.
        path: PathBuf,
    },
    /// The socket belongs to another user.
    #[error("no permission for {}: only the user that runs the daemon may ask it", path.display())]
    NotOwner {
        /// The socket.
        path: PathBuf,
    },
    /// The connection failed.
    #[error("cannot talk to the daemon on {}: {source}", path.display())]
    Io {
        /// The socket.
        path: PathBuf,
        /// The kernel's answer.
        source: io::Error,
    },
    /// The daemon closed the connection.
    #[error("the daemon on {} closed the connection", path.display())]
    Closed {
        /// The socket.
        path: PathBuf,
    },
    /// The daemon is silent.
    #[error("the daemon on {} does not answer", path.display())]
    Silent {
        /// The socket.
        path: PathBuf,
    },
    /// The answer is not what was asked for.
    #[error("the daemon on {} gave an answer of another version: {source}", path.display())]
    Unreadable {
        /// The socket.
        path: PathBuf,
        /// What is wrong with it.
        source: serde_json::Error,
    },
    /// The daemon refused the question.
    #[error("{message}")]
    Refused {
        /// The daemon's words.
        message: String,
    },
}

/// A connection to the daemon.
#[derive(Debug)]
pub struct Client {
    stream: BufReader<UnixStream>,
    path: PathBuf,
}

impl Client {
    /// Connects to the daemon that listens on `path`.
    ///
    /// # Errors
    ///
    /// See [`ClientError`].
    pub fn connect(path: &Path) -> Result<Self, ClientError> {
        let at = |source: io::Error| match source.kind() {
            io::ErrorKind::NotFound => ClientError::Absent { path: path.to_owned() },
            io::ErrorKind::ConnectionRefused => ClientError::Dead { path: path.to_owned() },
            io::ErrorKind::PermissionDenied => ClientError::NotOwner { path: path.to_owned() },
            _ => ClientError::Io { path: path.to_owned(), source },
        };
        let stream = UnixStream::connect(path).map_err(at)?;
        stream.set_read_timeout(Some(SILENCE)).map_err(at)?;
        stream.set_write_timeout(Some(SILENCE)).map_err(at)?;
        Ok(Self { stream: BufReader::new(stream), path: path.to_owned() })
    }

    /// Asks for the daemon, its networks and its sockets.
    ///
    /// # Errors
    ///
    /// See [`ClientError`].
    pub fn status(&mut self) -> Result<report::Status, ClientError> {
        self.ask(&Query::Status)
    }

    /// Asks for the peers.
    ///
    /// # Errors
    ///
    /// See [`ClientError`].
    pub fn peers(&mut self) -> Result<Vec<report::Peer>, ClientError> {
        self.ask(&Query::Peers)
    }

    /// Asks for a part of a network's forwarding table: `cursor` is 0 at first, then
    /// [`report::FdbPage::next`].
    ///
    /// # Errors
    ///
    /// See [`ClientError`].
    pub fn fdb(&mut self, network: &str, cursor: u64) -> Result<report::FdbPage, ClientError> {
        let network = network.to_owned();
        self.ask(&Query::Fdb { network, cursor, max: FDB_PAGE_MAX })
    }

    /// Asks for the routes.
    ///
    /// # Errors
    ///
    /// See [`ClientError`].
    pub fn routes(&mut self) -> Result<Vec<report::Route>, ClientError> {
        self.ask(&Query::Routes)
    }

    /// Asks for the drops.
    ///
    /// # Errors
    ///
    /// See [`ClientError`].
    pub fn drops(&mut self) -> Result<report::Drops, ClientError> {
        self.ask(&Query::Drops)
    }

    fn ask<T: DeserializeOwned>(&mut self, query: &Query) -> Result<T, ClientError> {
        let line = self.exchange(query).map_err(|source| self.failed(source))?;
        if line.is_empty() {
            return Err(ClientError::Closed { path: self.path.clone() });
        }
        match serde_json::from_slice(&line) {
            Ok(Reply::Ok(report)) => Ok(report),
            Ok(Reply::Error(message)) => Err(ClientError::Refused { message }),
            Err(source) => Err(ClientError::Unreadable { path: self.path.clone(), source }),
        }
    }

    fn exchange(&mut self, query: &Query) -> io::Result<Vec<u8>> {
        let mut question = serde_json::to_vec(query)?;
        question.push(b'\n');
        // A daemon that refuses us has closed its side, but its words may still be there to read.
        match self.stream.get_mut().write_all(&question) {
            Err(error) if !is_hang_up(&error) => return Err(error),
            Ok(()) | Err(_) => {}
        }
        let mut line = Vec::new();
        self.stream.by_ref().take(ANSWER_LEN_MAX).read_until(b'\n', &mut line)?;
        Ok(line)
    }

    fn failed(&self, source: io::Error) -> ClientError {
        let path = self.path.clone();
        match source.kind() {
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => ClientError::Silent { path },
            _ if is_hang_up(&source) => ClientError::Closed { path },
            _ => ClientError::Io { path, source },
        }
    }
}

fn is_hang_up(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset)
}
