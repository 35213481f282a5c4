//! What every UDP load is: one thread sends, one call for each packet; one thread counts.

use std::io;
use std::os::fd::BorrowedFd;
use std::thread::{self, Builder};
use std::time::{Duration, Instant};

use super::pace::Pace;
use super::stamp::{Arrivals, Stamp};
use super::udp::UdpFigure;
use super::{Count, GLANCE, Over, PATIENCE, Stop, check, join};
use crate::sys::heads::Heads;
use crate::sys::poll::wait_readable;
use crate::sys::socket_stat::receive_drops;

/// The receive buffer, bytes: some 10 000 small packets. Without privilege it is net.core.rmem_max.
pub(super) const RECEIVE_BUFFER: usize = 8 * 1024 * 1024;

/// Packets that one receive call gives at most; one that gives fewer has emptied the buffer.
const BATCH: usize = 64;

/// How long the receiver rests when it has emptied its buffer. A thread that sleeps in the receive
/// call, as iperf3's does, would be woken for every packet, at the cost of those who are measured.
const REST: Duration = Duration::from_micros(100);

/// How long nothing arrives after the end of the sending until nothing is awaited any more.
const SILENCE: Duration = Duration::from_millis(100);

/// How long packets are awaited after the end of the sending.
const AFTERMATH: Duration = Duration::from_millis(500);

/// How long an answer to a hello is waited for, in milliseconds, before the next.
const HELLO_MS: u16 = 50;

/// Where packets come from.
pub(super) trait Source: Send {
    /// Sends a packet that is not counted.
    fn hello(&mut self) -> io::Result<()>;

    /// Sends the next packet.
    fn send_next(&mut self) -> io::Result<()>;
}

/// Where packets arrive.
pub(super) trait Sink: Send + Sync {
    /// Bytes of a packet that [`Sink::parse`] wants to see.
    const HEAD_LEN: usize;

    /// The flows that there may be.
    fn flows(&self) -> usize;

    /// The socket.
    fn fd(&self) -> BorrowedFd<'_>;

    /// Gives the first stamp in what was received, and how many packets it is; `None` if it is
    /// something else.
    fn parse(head: &[u8]) -> Option<(Stamp, u64)>;
}

/// How a volley is sent.
#[derive(Clone, Copy, Debug)]
pub(super) struct Order<'a> {
    pub(super) time: Duration,
    pub(super) rate_pps: Option<f64>,
    /// From where and to where, for messages.
    pub(super) path: &'a str,
}

/// What a sender did.
#[derive(Debug, Default)]
struct Sent {
    sent: u64,
    refused: u64,
    time: Duration,
}

/// Sends for a time, waits for what is under way, and gives what arrived.
pub(super) fn run<T: Sink>(
    source: &mut impl Source,
    sink: &T,
    order: Order<'_>,
    stop: Stop<'_>,
) -> io::Result<UdpFigure> {
    let mut heads = Heads::new(T::HEAD_LEN);
    open_way(source, sink, &mut heads, order.path, stop)?;
    let dropped_before = receive_drops(sink.fd())?;
    let (sending, receiving) = (Over::default(), Over::default());
    let received = Count::default();
    let mut arrivals = Arrivals::new(sink.flows());
    let started = Instant::now();
    let (sent, in_time) = thread::scope(|scope| {
        let receive = || {
            let result = receive(sink, &mut heads, &mut arrivals, &received, &receiving);
            result.inspect_err(|_| sending.set())
        };
        let receiver = Builder::new().name("udp receive".into()).spawn_scoped(scope, receive)?;
        let send = || sending.ended(send(source, order.rate_pps, &sending));
        let sender = Builder::new().name("udp send".into()).spawn_scoped(scope, send);
        let waited = sender.and_then(|sender| {
            let waited = sending.wait(order.time, stop);
            sending.set();
            let in_time = (received.read(), started.elapsed());
            let sent = join(sender)?;
            waited.and_then(|()| await_stragglers(sent.sent, &received, stop))?;
            Ok((sent, in_time))
        });
        receiving.set();
        join(receiver)?;
        waited
    })?;
    let dropped = receive_drops(sink.fd())?.wrapping_sub(dropped_before);
    Ok(UdpFigure {
        sent: sent.sent,
        received: received.read(),
        refused: sent.refused,
        duplicated_or_reordered: arrivals.late,
        overrun: dropped.into(),
        sent_pps: per_sec(sent.sent, sent.time),
        received_pps: per_sec(in_time.0, in_time.1),
    })
}

/// Sends packets that are not counted until one arrives: neighbours are asked for by then.
fn open_way<T: Sink>(
    source: &mut impl Source,
    sink: &T,
    heads: &mut Heads,
    path: &str,
    stop: Stop<'_>,
) -> io::Result<()> {
    let start = Instant::now();
    while start.elapsed() < PATIENCE {
        check(stop)?;
        if let Err(error) = source.hello()
            && !is_refusal(&error)
        {
            return Err(error);
        }
        wait_readable(sink.fd(), HELLO_MS);
        while heads.receive(sink.fd())? > 0 {
            if heads.iter().any(|(head, _)| T::parse(head).is_some()) {
                return Ok(());
            }
        }
    }
    let silent = format!("{path}: nothing arrives within {} s", PATIENCE.as_secs());
    Err(io::Error::new(io::ErrorKind::TimedOut, silent))
}

fn send(source: &mut impl Source, rate_pps: Option<f64>, over: &Over) -> io::Result<Sent> {
    let mut pace = Pace::start(rate_pps);
    let mut sent = Sent::default();
    while !over.is_set() {
        for _ in 0..pace.wait() {
            match source.send_next() {
                Ok(()) => sent.sent += 1,
                // cold: a full queue, or an ICMP error for an earlier packet.
                Err(error) if is_refusal(&error) => sent.refused += 1,
                Err(error) => return Err(error),
            }
            if over.is_set() {
                break;
            }
        }
    }
    sent.time = pace.elapsed();
    Ok(sent)
}

fn receive<T: Sink>(
    sink: &T,
    heads: &mut Heads,
    arrivals: &mut Arrivals,
    count: &Count,
    over: &Over,
) -> io::Result<()> {
    loop {
        let is_last = over.is_set();
        let received = heads.receive(sink.fd())?;
        let packets = heads.iter().filter_map(|(head, _)| T::parse(head));
        count.add(packets.map(|(stamp, run)| arrivals.take(stamp, run)).sum());
        if is_last {
            return Ok(());
        }
        if received < BATCH {
            thread::sleep(REST);
        }
    }
}

/// Waits until all have arrived, or nothing arrives any more.
fn await_stragglers(sent: u64, received: &Count, stop: Stop<'_>) -> io::Result<()> {
    let start = Instant::now();
    let (mut last, mut since) = (received.read(), start);
    while last < sent && since.elapsed() < SILENCE && start.elapsed() < AFTERMATH {
        check(stop)?;
        thread::sleep(GLANCE / 4);
        let now = received.read();
        if now != last {
            (last, since) = (now, Instant::now());
        }
    }
    Ok(())
}

/// Whether a packet was not sent, but the next may be: a full queue or buffer, or an ICMP error that
/// an earlier packet met.
pub(super) fn is_refusal(error: &io::Error) -> bool {
    let refusals = [
        libc::ENOBUFS,
        libc::ENOMEM,
        libc::EAGAIN,
        libc::EINTR,
        libc::ECONNREFUSED,
        libc::EHOSTUNREACH,
        libc::ENETUNREACH,
    ];
    error.raw_os_error().is_some_and(|errno| refusals.contains(&errno))
}

fn per_sec(packets: u64, time: Duration) -> f64 {
    packets as f64 / time.as_secs_f64().max(f64::MIN_POSITIVE)
}
