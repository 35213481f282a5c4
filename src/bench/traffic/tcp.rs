//! TCP streams, each with a thread at either end.
//!
//! One stream is what iperf3 measures, if both have the same congestion control from the start:
//! iperf3 sets it when the connection is made, and where the system's default is bbr, its pacing
//! stays with the connection. Several streams are more than iperf3 measures up to version 3.15, which
//! has one thread for all of them.

use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsFd;
use std::thread::{self, Builder};
use std::time::{Duration, Instant};

use socket2::{Domain, Socket, Type};

use super::{Count, GLANCE, Over, PATIENCE, Route, Stop, check, context, is_timeout, join};
use crate::sys::socket_stat::tcp_retransmits;

/// Bytes of one write and of one read, as iperf3 has them.
const CHUNK_LEN: usize = 128 * 1024;

/// What is sent.
#[derive(Clone, Copy, Debug)]
pub struct TcpLoad<'a> {
    /// Connections at once.
    pub streams: usize,
    /// How long it is measured, after the warm-up.
    pub time: Duration,
    /// How long it is sent before that.
    pub warm_up: Duration,
    /// The congestion control of both ends, by its kernel name: `cubic`, `bbr`.
    pub congestion: &'a str,
}

/// What arrived.
#[derive(Clone, Debug, PartialEq)]
pub struct TcpFigure {
    /// Bits that the receivers read per second, after the warm-up, all streams.
    pub bits_per_sec: f64,
    /// Bytes that the receivers read in all, in the warm-up too.
    pub bytes_total: u64,
    /// Segments that were sent again after the warm-up.
    pub retransmits: u64,
    /// Bits per second of each stream.
    pub streams: Vec<f64>,
}

/// Sends as much as goes through.
///
/// # Errors
///
/// Says if a connection cannot be made within 5 s or breaks, or if the kernel does not have the
/// congestion control.
pub fn tcp(route: Route<'_>, load: &TcpLoad<'_>, stop: Stop<'_>) -> io::Result<TcpFigure> {
    let streams = connect_all(route, load, stop)?;
    let over = Over::default();
    let window = thread::scope(|scope| {
        let mut threads = Vec::new();
        let window = streams
            .iter()
            .try_for_each(|stream| {
                let receive = || over.ended(stream.receive(&over));
                threads
                    .push(Builder::new().name("tcp receive".into()).spawn_scoped(scope, receive)?);
                let send = || over.ended(stream.send(&over));
                threads.push(Builder::new().name("tcp send".into()).spawn_scoped(scope, send)?);
                Ok(())
            })
            .and_then(|()| Window::measure(&streams, load, &over, stop));
        over.set();
        let ends: io::Result<Vec<()>> = threads.into_iter().map(join).collect();
        window.and_then(|window| ends.map(|_| window))
    })?;
    let bytes_total = streams.iter().map(|stream| stream.received.read()).sum();
    Ok(window.figure(bytes_total))
}

/// A connection with both its ends, and what its receiver has read.
#[derive(Debug)]
struct Stream {
    near: Socket,
    far: Socket,
    received: Count,
}

impl Stream {
    fn send(&self, over: &Over) -> io::Result<()> {
        let chunk = vec![0xa5; CHUNK_LEN];
        while !over.is_set() {
            match (&self.near).write(&chunk) {
                Ok(_) => {}
                Err(error) if is_timeout(&error) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn receive(&self, over: &Over) -> io::Result<()> {
        let mut chunk = vec![0; CHUNK_LEN];
        while !over.is_set() {
            match (&self.far).read(&mut chunk) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(len) => self.received.add(len as u64),
                Err(error) if is_timeout(&error) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

/// What was counted between two moments.
#[derive(Debug)]
struct Window {
    time: Duration,
    bytes: Vec<u64>,
    retransmits: u64,
}

impl Window {
    fn measure(
        streams: &[Stream],
        load: &TcpLoad<'_>,
        over: &Over,
        stop: Stop<'_>,
    ) -> io::Result<Self> {
        over.wait(load.warm_up, stop)?;
        let resent_before = retransmits(streams)?;
        let started = Instant::now();
        let before: Vec<u64> = streams.iter().map(|stream| stream.received.read()).collect();
        over.wait(load.time, stop)?;
        let time = started.elapsed();
        let bytes = streams.iter().zip(before).map(|(stream, n)| stream.received.read() - n);
        let bytes = bytes.collect();
        Ok(Self { time, bytes, retransmits: retransmits(streams)? - resent_before })
    }

    fn figure(self, bytes_total: u64) -> TcpFigure {
        let secs = self.time.as_secs_f64().max(f64::MIN_POSITIVE);
        let streams: Vec<f64> = self.bytes.iter().map(|n| *n as f64 * 8.0 / secs).collect();
        let retransmits = self.retransmits;
        TcpFigure { bits_per_sec: streams.iter().sum(), bytes_total, retransmits, streams }
    }
}

fn retransmits(streams: &[Stream]) -> io::Result<u64> {
    streams.iter().map(|stream| Ok(u64::from(tcp_retransmits(stream.near.as_fd())?))).sum()
}

fn connect_all(route: Route<'_>, load: &TcpLoad<'_>, stop: Stop<'_>) -> io::Result<Vec<Stream>> {
    let Route { from, to, address } = route;
    let failed = |host: &str| context(format!("{host}: TCP to {address}"));
    let listener = to
        .run(|| socket(address, load.congestion))
        .and_then(|listener| {
            listener.bind(&SocketAddr::new(address, 0).into())?;
            listener.listen(libc::SOMAXCONN)?;
            Ok(listener)
        })
        .map_err(failed(to.name()))?;
    let connect_one = || {
        let near = from.run(|| socket(address, load.congestion))?;
        // An end without lingering: what is still queued does not get into the next measurement.
        near.set_linger(Some(Duration::ZERO))?;
        let target = listener.local_addr()?;
        let connected = |error: &io::Error| error.raw_os_error() == Some(libc::EISCONN);
        retry(stop, || {
            near.connect(&target).or_else(|e| if connected(&e) { Ok(()) } else { Err(e) })
        })?;
        let (far, _) = retry(stop, || listener.accept())?;
        far.set_read_timeout(Some(GLANCE))?;
        Ok(Stream { near, far, received: Count::default() })
    };
    (0..load.streams).map(|_| connect_one().map_err(failed(from.name()))).collect()
}

/// Makes a socket whose calls wait no longer than a glance.
fn socket(address: IpAddr, congestion: &str) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(SocketAddr::new(address, 0)), Type::STREAM, None)?;
    socket.set_write_timeout(Some(GLANCE))?;
    socket.set_read_timeout(Some(GLANCE))?;
    socket
        .set_tcp_congestion(congestion.as_bytes())
        .map_err(context(format!("congestion control {congestion:?}")))?;
    Ok(socket)
}

/// Repeats what ran into its time limit, until the user or patience ends it.
fn retry<T>(stop: Stop<'_>, call: impl Fn() -> io::Result<T>) -> io::Result<T> {
    let start = Instant::now();
    loop {
        check(stop)?;
        match call() {
            // A call with a time limit ends so after SIGSTOP and SIGCONT too (signal(7)).
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if is_unfinished(&error) && start.elapsed() < PATIENCE => {}
            Err(error) if is_unfinished(&error) => return Err(io::ErrorKind::TimedOut.into()),
            result => return result,
        }
    }
}

/// Whether a call ran into its time limit; for `connect`, whether it goes on (connect(2)).
fn is_unfinished(error: &io::Error) -> bool {
    let goes_on = matches!(error.raw_os_error(), Some(libc::EINPROGRESS | libc::EALREADY));
    // TimedOut itself is the connection's own end, ETIMEDOUT.
    goes_on || error.kind() == io::ErrorKind::WouldBlock
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[test]
    fn interrupted_call_is_made_again() {
        let calls = Cell::new(0);
        let third = retry(&|| false, || {
            calls.set(calls.get() + 1);
            match calls.get() {
                1 => Err(io::ErrorKind::Interrupted.into()),
                2 => Err(io::ErrorKind::WouldBlock.into()),
                call => Ok(call),
            }
        });
        assert_eq!(third.unwrap(), 3);
        let stopped = retry(&|| true, || Ok(()));
        assert_eq!(stopped.unwrap_err().kind(), io::ErrorKind::Interrupted);
        let refused = retry(&|| false, || io::Result::<()>::Err(io::ErrorKind::NotFound.into()));
        assert_eq!(refused.unwrap_err().kind(), io::ErrorKind::NotFound);
    }
}
