//! Serves the API: one task for each connection, all of them limited.

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::Serialize;
use thiserror::Error;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{UnixListener, UnixStream};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tracing::{debug, warn};

use super::Reply;
use super::query::{Answer, AskError, Query, QuerySender};
use super::report::Status;

/// How long to leave the listener alone after it failed (out of file descriptors).
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

/// What clients may take from the daemon.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Connections at once; one more is told so and closed.
    pub connections: usize,
    /// Length of a question with its newline, bytes.
    pub question_bytes: usize,
    /// From the end of an answer to the end of the next question.
    pub question_time: Duration,
    /// From the start of an answer until the client has taken it.
    pub answer_time: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 32,
            question_bytes: 4096,
            question_time: Duration::from_secs(10),
            answer_time: Duration::from_secs(10),
        }
    }
}

/// What the API itself knows of the daemon.
#[derive(Clone, Debug)]
pub struct Identity {
    /// The daemon's name.
    pub name: String,
    /// When it was ready.
    pub since: Instant,
}

/// Serves clients until it is dropped; every connection ends with it.
pub async fn serve(
    listener: UnixListener,
    identity: Identity,
    worker: QuerySender,
    limits: Limits,
) -> Infallible {
    let identity = Arc::new(identity);
    let mut connections = JoinSet::new();
    loop {
        let stream = accept(&listener).await;
        while connections.try_join_next().is_some() {}
        if connections.len() >= limits.connections {
            refuse(stream, &limits);
            continue;
        }
        let connection = Connection::new(stream, Arc::clone(&identity), worker.clone(), limits);
        connections.spawn(connection.run());
    }
}

/// Waits for the next client. A failure (out of file descriptors) lasts, and is not spun on.
pub async fn accept(listener: &UnixListener) -> UnixStream {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => return stream,
            Err(error) => {
                debug!(%error, "cannot accept a connection");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// Tells a client that there are too many. What does not fit into its socket is not sent.
fn refuse(stream: UnixStream, limits: &Limits) {
    let message = format!("{} clients are connected already", limits.connections);
    if let Ok(line) = encode(&Reply::<()>::Error(message)) {
        let _ = stream.try_write(&line);
    }
}

struct Connection {
    reader: BufReader<OwnedReadHalf>,
    writer: OwnedWriteHalf,
    identity: Arc<Identity>,
    worker: QuerySender,
    limits: Limits,
}

/// Why a connection ends.
#[derive(Debug, Error)]
enum End {
    #[error("the client closed it")]
    Closed,
    #[error("the client was too slow")]
    Slow,
    #[error("the question is longer than {limit} bytes")]
    TooLong { limit: usize },
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl Connection {
    fn new(
        stream: UnixStream,
        identity: Arc<Identity>,
        worker: QuerySender,
        limits: Limits,
    ) -> Self {
        let (reader, writer) = stream.into_split();
        Self { reader: BufReader::new(reader), writer, identity, worker, limits }
    }

    async fn run(mut self) {
        let end = loop {
            if let Err(end) = self.exchange().await {
                break end;
            }
        };
        debug!(%end, "API connection ends");
        if let End::TooLong { .. } = end {
            let _ = self.send(&Reply::<()>::Error(end.to_string())).await;
        }
    }

    /// Takes one question and answers it.
    async fn exchange(&mut self) -> Result<(), End> {
        let time = self.limits.question_time;
        let line = within(time, read_line(&mut self.reader, self.limits.question_bytes)).await?;
        let query = match serde_json::from_slice::<Query>(&line) {
            Ok(query) => query,
            Err(error) => {
                let message = format!("not a question: {error}");
                return self.send(&Reply::<()>::Error(message)).await;
            }
        };
        match self.worker.ask(query).await {
            Ok(answer) => self.send_answer(answer).await,
            Err(error) => {
                if error == AskError::TimedOut {
                    warn!("the worker did not answer the API in time");
                }
                self.send(&Reply::<()>::Error(error.to_string())).await
            }
        }
    }

    async fn send_answer(&mut self, answer: Answer) -> Result<(), End> {
        match answer {
            Answer::Status(state) => {
                let status = Status {
                    name: self.identity.name.clone(),
                    version: env!("CARGO_PKG_VERSION").to_owned(),
                    pid: std::process::id(),
                    uptime_secs: self.identity.since.elapsed().as_secs(),
                    state,
                };
                self.send(&Reply::Ok(status)).await
            }
            Answer::Peers(peers) => self.send(&Reply::Ok(peers)).await,
            Answer::Fdb(page) => self.send(&Reply::Ok(page)).await,
            Answer::Routes(routes) => self.send(&Reply::Ok(routes)).await,
            Answer::Drops(drops) => self.send(&Reply::Ok(drops)).await,
            Answer::NoSuchNetwork(name) => {
                self.send(&Reply::<()>::Error(format!("no network is named \"{name}\""))).await
            }
        }
    }

    async fn send<T: Serialize>(&mut self, reply: &Reply<T>) -> Result<(), End> {
        let line = encode(reply)?;
        within(self.limits.answer_time, async { Ok(self.writer.write_all(&line).await?) }).await
    }
}

async fn within<T>(
    limit: Duration,
    action: impl Future<Output = Result<T, End>>,
) -> Result<T, End> {
    timeout(limit, action).await.unwrap_or(Err(End::Slow))
}

/// Reads a line of at most `limit` bytes.
async fn read_line(reader: &mut BufReader<OwnedReadHalf>, limit: usize) -> Result<Vec<u8>, End> {
    let mut line = Vec::new();
    reader.take(limit as u64).read_until(b'\n', &mut line).await?;
    match line.last() {
        Some(b'\n') => Ok(line),
        Some(_) if line.len() == limit => Err(End::TooLong { limit }),
        // The last line may lack its newline if the client has closed its side.
        Some(_) => Ok(line),
        None => Err(End::Closed),
    }
}

fn encode<T: Serialize>(reply: &Reply<T>) -> io::Result<Vec<u8>> {
    let mut line = serde_json::to_vec(reply)?;
    line.push(b'\n');
    Ok(line)
}
