//! Load of a set time between two hosts, and what it did: rates and round trips.

use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use socket2::SockRef;
use tunctl::lab::Host;

/// Nothing may stand still for longer.
const STALL: Duration = Duration::from_secs(10);

/// Bytes of a request, and of its answer.
const REQUEST: usize = 64;

/// Two hosts, and the address of the second that the first sends to.
#[derive(Clone, Copy)]
pub struct Line<'a> {
    pub from: &'a Host,
    pub to: &'a Host,
    pub address: IpAddr,
    /// The congestion control of TCP, by the kernel's name.
    pub control: &'static str,
}

impl Line<'_> {
    /// Sends by TCP as fast as it goes while `work` is done; gives bits a second that arrived.
    pub fn stream<T>(self, work: impl FnOnce() -> T) -> (f64, T) {
        let (sender, receiver) = self.connect();
        let (ends, arrived) = (AtomicBool::new(false), AtomicU64::new(0));
        thread::scope(|scope| {
            scope.spawn(|| {
                let chunk = vec![0x5a; 64 * 1024];
                while !ends.load(Ordering::Relaxed) {
                    if (&sender).write_all(&chunk).is_err() {
                        break;
                    }
                }
                let _ = sender.shutdown(std::net::Shutdown::Both);
            });
            scope.spawn(|| {
                let mut buffer = vec![0; 256 * 1024];
                while let Ok(len @ 1..) = (&receiver).read(&mut buffer) {
                    arrived.fetch_add(len as u64, Ordering::Relaxed);
                }
            });
            let started = Instant::now();
            let done = work();
            let rate =
                arrived.load(Ordering::Relaxed) as f64 * 8.0 / started.elapsed().as_secs_f64();
            ends.store(true, Ordering::Relaxed);
            (rate, done)
        })
    }

    /// Sends UDP datagrams at a rate, bits a second, while `work` is done.
    pub fn flood<T>(self, rate: u64, work: impl FnOnce() -> T) -> T {
        let sink = self.to.run(|| UdpSocket::bind((self.address, 0))).unwrap();
        let target = sink.local_addr().unwrap();
        let any: IpAddr = if target.is_ipv4() { [0; 4].into() } else { [0; 16].into() };
        let socket = self.from.run(|| UdpSocket::bind((any, 0))).unwrap();
        let ends = AtomicBool::new(false);
        thread::scope(|scope| {
            scope.spawn(|| {
                let datagram = [0; 1200];
                let pause = Duration::from_nanos(datagram.len() as u64 * 8 * 1_000_000_000 / rate);
                let mut next = Instant::now();
                while !ends.load(Ordering::Relaxed) {
                    let _ = socket.send_to(&datagram, target);
                    next += pause;
                    let now = Instant::now();
                    if next > now + Duration::from_millis(1) {
                        thread::park_timeout(next - now);
                    }
                }
            });
            let done = work();
            ends.store(true, Ordering::Relaxed);
            done
        })
    }

    /// Asks and waits for the answer, by TCP, for some time; gives the round trips, sorted.
    pub fn round_trips(self, time: Duration, every: Duration) -> Vec<Duration> {
        let (sender, receiver) = self.connect();
        thread::scope(|scope| {
            scope.spawn(move || {
                let mut buffer = [0; REQUEST];
                while (&receiver).read_exact(&mut buffer).is_ok() {
                    let _ = (&receiver).write_all(&buffer);
                }
            });
            let (started, mut trips, mut buffer) = (Instant::now(), vec![], [0; REQUEST]);
            while started.elapsed() < time {
                let asked = Instant::now();
                (&sender).write_all(&buffer).expect("a way there");
                (&sender).read_exact(&mut buffer).expect("an answer in time");
                trips.push(asked.elapsed());
                thread::park_timeout(every.saturating_sub(asked.elapsed()));
            }
            let _ = sender.shutdown(std::net::Shutdown::Both);
            trips.sort();
            trips
        })
    }

    fn connect(self) -> (TcpStream, TcpStream) {
        let listener = self.to.run(|| TcpListener::bind((self.address, 0))).unwrap();
        SockRef::from(&listener).set_read_timeout(Some(STALL)).unwrap();
        let target: SocketAddr = listener.local_addr().unwrap();
        let sender = self.from.run(|| TcpStream::connect_timeout(&target, STALL)).unwrap();
        let (receiver, _) = listener.accept().unwrap();
        for socket in [&sender, &receiver] {
            let control = self.control.as_bytes();
            SockRef::from(socket).set_tcp_congestion(control).expect("a control of this kernel");
            socket.set_nodelay(true).unwrap();
            socket.set_read_timeout(Some(STALL)).unwrap();
            socket.set_write_timeout(Some(STALL)).unwrap();
        }
        (sender, receiver)
    }
}

/// Gives the median of some figures.
pub fn median(figures: impl IntoIterator<Item = f64>) -> f64 {
    let mut all: Vec<_> = figures.into_iter().collect();
    all.sort_by(f64::total_cmp);
    all[all.len() / 2]
}

/// Gives the round trip that 99 of 100 are not longer than.
pub fn p99(sorted: &[Duration]) -> Duration {
    sorted[(sorted.len() * 99).div_ceil(100).saturating_sub(1)]
}
