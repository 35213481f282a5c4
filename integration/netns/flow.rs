//! A steady flow of numbered datagrams: what of it is lost, what comes twice, how long none comes.

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use tunctl::lab::Host;

use crate::stream::Random;
use crate::udp;

/// How long the receiver looks for the rest when the sender has ended.
const REST: Duration = Duration::from_secs(1);

/// The shortest and the longest datagram.
const LENGTHS: (usize, usize) = (16, 1200);

/// A flow to make.
#[derive(Clone, Copy)]
pub struct Flow<'a> {
    pub from: &'a Host,
    pub to: &'a Host,
    /// The address of `to` that `from` sends to.
    pub address: IpAddr,
    /// The time between two datagrams.
    pub every: Duration,
}

/// What came of a flow.
#[derive(Clone, Copy, Debug, Default)]
pub struct Arrivals {
    pub sent: u64,
    /// Datagrams that did not come.
    pub lost: u64,
    /// Datagrams that came again.
    pub repeated: u64,
    /// Datagrams that are not what was sent.
    pub changed: u64,
    /// The longest time in which none came.
    pub pause: Duration,
}

impl Flow<'_> {
    /// Sends for as long as `work` takes; gives what came of it, and what the work gave.
    pub fn during<T>(self, work: impl FnOnce() -> T) -> (Arrivals, T) {
        self.of_lengths(LENGTHS, work)
    }

    /// As [`Flow::during`], with datagrams of these lengths: from 8 on, up to below the second.
    pub fn of_lengths<T>(self, lengths: (usize, usize), work: impl FnOnce() -> T) -> (Arrivals, T) {
        let receiver = udp::socket(self.to, self.address);
        receiver.set_read_timeout(Some(Duration::from_millis(10))).unwrap();
        let target = receiver.local_addr().unwrap();
        let any: IpAddr = if self.address.is_ipv4() { [0; 4].into() } else { [0; 16].into() };
        let sender = udp::socket(self.from, any);
        let (ends, sent) = (AtomicBool::new(false), AtomicU64::new(0));
        thread::scope(|scope| {
            let receiving = scope.spawn(|| receive(&receiver, lengths, &ends, &sent));
            let sending = scope.spawn(|| self.send(&sender, target, lengths, &ends, &sent));
            let done = {
                // Also if the work panics.
                let _end = End(&ends);
                work()
            };
            sending.join().unwrap_or_else(|_| panic!("the sender of the flow failed"));
            let arrivals = receiving.join();
            (arrivals.unwrap_or_else(|_| panic!("the receiver of the flow failed")), done)
        })
    }
}

impl Flow<'_> {
    fn send(
        self,
        socket: &UdpSocket,
        to: SocketAddr,
        lengths: (usize, usize),
        ends: &AtomicBool,
        sent: &AtomicU64,
    ) {
        let mut next = Instant::now();
        while !ends.load(Ordering::SeqCst) {
            // A refusal is one more way to lose a datagram.
            let _ = socket.send_to(&datagram(sent.load(Ordering::SeqCst), lengths), to);
            sent.fetch_add(1, Ordering::SeqCst);
            next += self.every;
            thread::park_timeout(next.saturating_duration_since(Instant::now()));
        }
    }
}

struct End<'a>(&'a AtomicBool);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// Makes a datagram: its number, then bytes that follow from it.
fn datagram(number: u64, (least, most): (usize, usize)) -> Vec<u8> {
    let mut random = Random::new(number);
    let len = least + random.next() as usize % (most - least);
    [&number.to_be_bytes()[..], &random.bytes(len - 8)].concat()
}

fn receive(
    socket: &UdpSocket,
    lengths: (usize, usize),
    ends: &AtomicBool,
    sent: &AtomicU64,
) -> Arrivals {
    let mut arrivals = Arrivals::default();
    let mut seen: Vec<bool> = vec![];
    let mut buffer = vec![0; 65_536];
    let mut last = Instant::now();
    let mut ended = None;
    loop {
        let result = socket.recv(&mut buffer);
        let now = Instant::now();
        if let Ok(len) = result {
            arrivals.take(&buffer[..len], lengths, &mut seen);
            arrivals.pause = arrivals.pause.max(now - last);
            last = now;
            continue;
        }
        let sent = sent.load(Ordering::SeqCst);
        let came = seen.iter().filter(|came| **came).count() as u64;
        if ended.is_none() && ends.load(Ordering::SeqCst) {
            ended = Some(now);
        }
        if ended.is_some_and(|ended| came == sent || now - ended > REST) {
            // What is silent up to the end is a pause too.
            let end = ended.unwrap_or(now);
            arrivals.pause = arrivals.pause.max(end.saturating_duration_since(last));
            return Arrivals { sent, lost: sent - came, ..arrivals };
        }
    }
}

impl Arrivals {
    fn take(&mut self, bytes: &[u8], lengths: (usize, usize), seen: &mut Vec<bool>) {
        let number = bytes.first_chunk().map(|bytes| u64::from_be_bytes(*bytes));
        let Some(number) = number.filter(|number| datagram(*number, lengths) == bytes) else {
            self.changed += 1;
            return;
        };
        let place = number as usize;
        if seen.len() <= place {
            seen.resize(place + 1, false);
        }
        self.repeated += u64::from(std::mem::replace(&mut seen[place], true));
    }
}
