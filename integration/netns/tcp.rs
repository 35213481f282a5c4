//! A TCP transfer between two hosts, hashed at both ends.

use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use nix::{setsockopt_impl, sockopt_impl};
use sha2::Digest;
use socket2::SockRef;
use tunctl::lab::Host;

use crate::stream::{self, CHUNK, Stream};

sockopt_impl!(MaxPacingRate, SetOnly, libc::SOL_SOCKET, libc::SO_MAX_PACING_RATE, u64);

/// Nothing may stand still for longer.
const STALL: Duration = Duration::from_secs(15);

/// A transfer to make.
#[derive(Clone, Copy)]
pub struct Transfer<'a> {
    pub from: &'a Host,
    pub to: &'a Host,
    /// The address of `to` that `from` connects to.
    pub address: IpAddr,
    pub bytes: u64,
    /// Bytes a second that the sender keeps to.
    pub pacing: Option<u64>,
}

/// How a transfer went.
#[derive(Clone, Copy, Debug)]
pub struct Rate {
    pub bytes: u64,
    pub time: Duration,
}

impl Rate {
    pub fn bytes_per_sec(self) -> f64 {
        self.bytes as f64 / self.time.as_secs_f64()
    }
}

impl std::fmt::Display for Rate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let gigabits = self.bytes_per_sec() * 8.0 / 1e9;
        write!(f, "{} MiB in {:.2?}, {gigabits:.2} Gbit/s", self.bytes >> 20, self.time)
    }
}

/// Sends `bytes` bytes from one host to another.
///
/// # Panics
///
/// Panics if it stalls or if the hashes differ.
#[track_caller]
pub fn send(from: &Host, to: &Host, address: IpAddr, bytes: u64) -> Rate {
    Transfer { from, to, address, bytes, pacing: None }.make()
}

/// Sends as fast as it goes until the way is gone, and gives the bytes that were sent.
pub fn flood_until_broken(from: &Host, to: &Host, address: IpAddr) -> u64 {
    let listener = to.run(|| TcpListener::bind((address, 0))).unwrap();
    let target = listener.local_addr().unwrap();
    let sender = from.run(|| TcpStream::connect_timeout(&target, STALL)).unwrap();
    let (receiver, _) = listener.accept().unwrap();
    let patience = Some(Duration::from_millis(500));
    sender.set_write_timeout(patience).unwrap();
    receiver.set_read_timeout(patience).unwrap();
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut buffer = vec![0; 4 * CHUNK];
            while (&receiver).read(&mut buffer).is_ok_and(|len| len > 0) {}
        });
        let chunk = vec![0x5a; CHUNK];
        let mut sent = 0;
        while (&sender).write(&chunk).is_ok_and(|len| len > 0) {
            sent += CHUNK as u64;
        }
        sent
    })
}

impl Transfer<'_> {
    #[track_caller]
    pub fn make(self) -> Rate {
        let listener = self.to.run(|| TcpListener::bind((self.address, 0))).unwrap();
        // The time limit holds for `accept` too.
        SockRef::from(&listener).set_read_timeout(Some(STALL)).unwrap();
        let target = listener.local_addr().unwrap();
        let seed = u64::from(target.port());
        let started = Instant::now();
        let (sent, received) = thread::scope(|scope| {
            let receiver = scope.spawn(|| receive(&listener));
            let sent = self.from.run(|| self.emit(target, seed));
            (sent, receiver.join().unwrap_or_else(|_| panic!("the receiver failed")))
        });
        assert_eq!(received.0, self.bytes, "bytes received");
        assert_eq!(received.1, sent, "SHA-256 of {} bytes to {target}", self.bytes);
        Rate { bytes: self.bytes, time: started.elapsed() }
    }

    fn emit(self, target: SocketAddr, seed: u64) -> String {
        let mut socket = TcpStream::connect_timeout(&target, STALL)
            .unwrap_or_else(|error| panic!("connect to {target}: {error}"));
        socket.set_write_timeout(Some(STALL)).unwrap();
        if let Some(rate) = self.pacing {
            nix::sys::socket::setsockopt(&socket, MaxPacingRate, &rate).unwrap();
        }
        let mut stream = Stream::new(seed, self.bytes);
        let mut hasher = stream::hasher();
        let mut done = 0_u64;
        loop {
            let chunk = stream.next_chunk();
            if chunk.is_empty() {
                break stream::hex(hasher);
            }
            hasher.update(chunk);
            socket.write_all(chunk).unwrap_or_else(|error| {
                panic!("the transfer to {target} stands still after {done} bytes: {error}")
            });
            done += chunk.len() as u64;
        }
    }
}

fn receive(listener: &TcpListener) -> (u64, String) {
    let (mut socket, _) =
        listener.accept().unwrap_or_else(|error| panic!("nobody connects: {error}"));
    socket.set_read_timeout(Some(STALL)).unwrap();
    let mut buffer = vec![0; 4 * CHUNK];
    let mut hasher = stream::hasher();
    let mut total = 0;
    loop {
        let len = socket
            .read(&mut buffer)
            .unwrap_or_else(|error| panic!("nothing received after {total} bytes: {error}"));
        if len == 0 {
            return (total, stream::hex(hasher));
        }
        hasher.update(&buffer[..len]);
        total += len as u64;
    }
}
