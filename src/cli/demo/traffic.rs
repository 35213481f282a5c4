//! The traffic of the demonstration: a UDP echo and a TCP transfer between two hosts.

use std::fmt;
use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::panic::resume_unwind;
use std::thread;
use std::time::{Duration, Instant};

use socket2::SockRef;

use crate::lab::{Host, Interrupt};

/// Nothing in the demonstration waits longer.
const PATIENCE: Duration = Duration::from_secs(5);

/// How many echoes are sent, one after another.
const ECHOES: usize = 100;

/// Bytes of one echo.
const ECHO_LEN: usize = 64;

/// How long the echoes took, there and back.
pub(super) struct Echo {
    sorted: Vec<Duration>,
}

impl fmt::Display for Echo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let micros = |at: usize| self.sorted.get(at).map_or(0, Duration::as_micros);
        write!(
            f,
            "{} of {ECHOES} answers; round trip min {} µs, median {} µs, max {} µs",
            self.sorted.len(),
            micros(0),
            micros(self.sorted.len() / 2),
            micros(self.sorted.len().saturating_sub(1)),
        )
    }
}

/// Sends small UDP datagrams through the tunnel and has them sent back.
pub(super) fn echo(from: &Host, to: &Host, address: IpAddr) -> io::Result<Echo> {
    let far = to.run(|| UdpSocket::bind((address, 0)))?;
    far.set_read_timeout(Some(PATIENCE))?;
    let near = from.run(|| UdpSocket::bind("0.0.0.0:0"))?;
    near.set_read_timeout(Some(PATIENCE))?;
    near.connect(far.local_addr()?)?;
    let mut sorted = thread::scope(|scope| {
        let answering = scope.spawn(|| answer(&far));
        let asked = ask(&near);
        let answered = answering.join().unwrap_or_else(|panic| resume_unwind(panic));
        asked.and_then(|times| answered.map(|()| times))
    })?;
    sorted.sort_unstable();
    Ok(Echo { sorted })
}

fn ask(socket: &UdpSocket) -> io::Result<Vec<Duration>> {
    let mut buffer = [0; 2 * ECHO_LEN];
    (0..ECHOES)
        .map(|number| {
            let started = Instant::now();
            socket.send(&[number as u8; ECHO_LEN])?;
            let len = uninterrupted(|| socket.recv(&mut buffer))?;
            match buffer[..len] == [number as u8; ECHO_LEN] {
                true => Ok(started.elapsed()),
                false => Err(io::Error::new(io::ErrorKind::InvalidData, "another echo came back")),
            }
        })
        .collect()
}

fn answer(socket: &UdpSocket) -> io::Result<()> {
    let mut buffer = [0; 2 * ECHO_LEN];
    for _ in 0..ECHOES {
        let (len, from) = uninterrupted(|| socket.recv_from(&mut buffer))?;
        socket.send_to(&buffer[..len], from)?;
    }
    Ok(())
}

/// A TCP transfer of as much as goes through in a time.
#[derive(Clone, Copy)]
pub(super) struct Transfer<'a> {
    pub(super) from: &'a Host,
    pub(super) to: &'a Host,
    /// The address of `to` that `from` connects to.
    pub(super) address: IpAddr,
    pub(super) time: Duration,
}

/// How much a transfer carried, as its receiver saw it.
pub(super) struct Rate {
    bytes: u64,
    time: Duration,
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let secs = self.time.as_secs_f64();
        let bits = self.bytes as f64 * 8.0;
        write!(f, "{:.2} Gbit/s; {} MiB in {secs:.2} s", bits / secs / 1e9, self.bytes >> 20)
    }
}

impl Transfer<'_> {
    /// Makes the transfer; Ctrl-C ends it early.
    pub(super) fn run(self, interrupt: &Interrupt) -> io::Result<Rate> {
        let listener = self.to.run(|| TcpListener::bind((self.address, 0)))?;
        // The time limit holds for `accept` too.
        SockRef::from(&listener).set_read_timeout(Some(PATIENCE))?;
        let target = listener.local_addr()?;
        thread::scope(|scope| {
            let receiving = scope.spawn(|| receive(&listener));
            let sent = self.from.run(|| self.send(target, interrupt));
            let received = receiving.join().unwrap_or_else(|panic| resume_unwind(panic));
            sent.and(received)
        })
    }

    fn send(self, target: SocketAddr, interrupt: &Interrupt) -> io::Result<()> {
        let mut socket = TcpStream::connect_timeout(&target, PATIENCE)?;
        socket.set_write_timeout(Some(PATIENCE))?;
        let chunk = vec![0xa5; 256 * 1024];
        let started = Instant::now();
        while started.elapsed() < self.time && !interrupt.is_raised() {
            socket.write_all(&chunk)?;
        }
        Ok(())
    }
}

fn receive(listener: &TcpListener) -> io::Result<Rate> {
    let (mut socket, _) = listener.accept()?;
    socket.set_read_timeout(Some(PATIENCE))?;
    let started = Instant::now();
    let mut buffer = vec![0; 256 * 1024];
    let mut bytes = 0;
    loop {
        match uninterrupted(|| socket.read(&mut buffer))? {
            0 => return Ok(Rate { bytes, time: started.elapsed() }),
            len => bytes += len as u64,
        }
    }
}

/// Makes a call again that was interrupted: with a time limit it is so after SIGSTOP and SIGCONT
/// too (signal(7)).
fn uninterrupted<T>(mut call: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        match call() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}
