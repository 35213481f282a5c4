//! Speaks the protocol: one task for each connection, all of them limited.

use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use nix::errno::Errno;
use thiserror::Error;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;
use tokio::task::{JoinSet, spawn_blocking};
use tokio::time::timeout;
use tracing::{debug, error};
use zeroize::Zeroizing;

use super::Interface;
use super::uapi::{self, Incoming, Request, Unframed};
use crate::api::accept;
use crate::sys::link;

/// So much is read at once, bytes.
const READ_LEN: usize = 16 * 1024;

/// What wireguard-go answers to what it does not expect (`IpcErrorUnknown`).
const UNKNOWN: Errno = Errno::ENOANO;

/// What clients may take.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Connections at once; one more waits until another ends.
    pub connections: usize,
    /// From the first byte of a request to its last.
    pub request_time: Duration,
    /// From an answer to the first byte of the next request.
    pub idle_time: Duration,
    /// From the start of an answer until the client has taken it.
    pub answer_time: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 32,
            request_time: Duration::from_secs(10),
            idle_time: Duration::from_secs(60),
            answer_time: Duration::from_secs(10),
        }
    }
}

/// Serves clients until it is dropped; every connection ends with it.
pub async fn serve(
    listener: UnixListener,
    interface: Arc<dyn Interface>,
    limits: Limits,
) -> Infallible {
    let places = Arc::new(Semaphore::new(limits.connections));
    let mut connections = JoinSet::new();
    loop {
        // The semaphore is never closed, so there is a place some time.
        let place = Arc::clone(&places).acquire_owned().await;
        let stream = accept(&listener).await;
        while connections.try_join_next().is_some() {}
        let connection = Connection {
            stream,
            incoming: Incoming::default(),
            interface: Arc::clone(&interface),
            limits,
        };
        connections.spawn(async move {
            connection.run().await;
            drop(place);
        });
    }
}

/// Why a connection ends.
#[derive(Debug, Error)]
enum End {
    #[error("the client closed it")]
    Closed,
    #[error("the client was too slow")]
    Slow,
    #[error(transparent)]
    Unframed(#[from] Unframed),
    #[error(transparent)]
    Io(#[from] io::Error),
}

struct Connection {
    stream: UnixStream,
    incoming: Incoming,
    interface: Arc<dyn Interface>,
    limits: Limits,
}

impl Connection {
    async fn run(mut self) {
        let end = loop {
            if let Err(end) = self.exchange().await {
                break end;
            }
        };
        debug!(%end, "a connection ends");
        if let End::Unframed(fault) = end
            && let Some(errno) = fault.errno()
        {
            error!(%fault, "refused a request");
            let _ = self.send(uapi::status(Some(errno)).as_bytes()).await;
        }
    }

    /// Takes one request and answers it.
    async fn exchange(&mut self) -> Result<(), End> {
        match self.request().await? {
            Request::Get => {
                let interface = Arc::clone(&self.interface);
                match spawn_blocking(move || uapi::snapshot(&interface.get())).await {
                    Ok(text) => {
                        let end = uapi::status(None);
                        self.send(&Zeroizing::new([text.as_bytes(), end.as_bytes()].concat())).await
                    }
                    Err(fault) => {
                        error!(%fault, "the interface does not tell what it is");
                        self.send(uapi::status(Some(UNKNOWN)).as_bytes()).await
                    }
                }
            }
            Request::Set(lines) => {
                let done = self.change(lines).await;
                self.send(uapi::status(done.err()).as_bytes()).await
            }
        }
    }

    async fn change(&self, lines: Zeroizing<Vec<u8>>) -> Result<(), Errno> {
        let interface = Arc::clone(&self.interface);
        let change = move || {
            let change = uapi::parse(&lines, &link::index).map_err(|refusal| {
                error!(%refusal, "refused a change");
                refusal.errno()
            })?;
            interface.set(change).inspect_err(|errno| error!(%errno, "a change failed"))
        };
        spawn_blocking(change).await.unwrap_or_else(|fault| {
            error!(%fault, "a change ended in the middle");
            Err(UNKNOWN)
        })
    }

    /// Reads until there is a request.
    async fn request(&mut self) -> Result<Request, End> {
        if !self.incoming.is_within_request() {
            let idle = self.limits.idle_time;
            timeout(idle, self.read()).await.map_err(|_| End::Slow)??;
        }
        let time = self.limits.request_time;
        let rest = async {
            loop {
                match self.incoming.take()? {
                    Some(request) => return Ok(request),
                    None => self.read().await?,
                }
            }
        };
        timeout(time, rest).await.map_err(|_| End::Slow)?
    }

    async fn read(&mut self) -> Result<(), End> {
        let mut bytes = Zeroizing::new([0; READ_LEN]);
        let len = self.stream.read(bytes.as_mut()).await?;
        if len == 0 {
            return Err(End::Closed);
        }
        self.incoming.push(&bytes[..len]);
        Ok(())
    }

    async fn send(&mut self, bytes: &[u8]) -> Result<(), End> {
        let written = self.stream.write_all(bytes);
        Ok(timeout(self.limits.answer_time, written).await.map_err(|_| End::Slow)??)
    }
}

#[cfg(test)]
mod tests;
