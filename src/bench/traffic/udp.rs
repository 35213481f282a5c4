//! UDP packets from some sources to one address.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use super::stamp::{Numbers, Stamp, longest};
use super::volley::{self, Order, RECEIVE_BUFFER, Sink, Source};
use super::{GLANCE, Route, Stop, context};
use crate::sys::udp::set_receive_buffer;

/// What is sent.
#[derive(Clone, Debug)]
pub struct UdpLoad {
    /// Sockets, each with a source port of its own, which send in turn.
    pub flows: usize,
    /// Payload bytes of the packets, in turn; each 12 at least.
    pub lengths: Vec<u16>,
    /// How long it is sent.
    pub time: Duration,
    /// Packets per second of all flows; `None` is as fast as it goes.
    pub rate_pps: Option<f64>,
}

/// What went out and what arrived.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct UdpFigure {
    /// Packets that the kernel took.
    pub sent: u64,
    /// Packets that arrived, those under way at the end too (for as long as some arrive every
    /// 100 ms, 500 ms at most).
    pub received: u64,
    /// Packets that the kernel did not take: ENOBUFS, or an ICMP error for an earlier one.
    pub refused: u64,
    /// Packets that arrived after one of their flow with the same or a higher number.
    pub duplicated_or_reordered: u64,
    /// Packets that crossed and found the receiver's socket full. It was measured, not the way to
    /// it, if these are many.
    pub overrun: u64,
    /// Packets that the kernel took per second of sending.
    pub sent_pps: f64,
    /// Packets that arrived per second, while it was sent.
    pub received_pps: f64,
}

impl UdpFigure {
    /// Gives the share of the sent packets that did not arrive, 0 to 1.
    pub fn loss(&self) -> f64 {
        let lost = self.sent.saturating_sub(self.received);
        if self.sent == 0 { 0.0 } else { lost as f64 / self.sent as f64 }
    }
}

/// Sends at a rate, or as fast as it goes, by one send call for each packet.
///
/// # Errors
///
/// Says if nothing arrives for 5 s before the measurement, or if the load cannot be sent.
pub fn udp(route: Route<'_>, load: &UdpLoad, stop: Stop<'_>) -> io::Result<UdpFigure> {
    let mut ends = UdpEnds::open(route, load)?;
    ends.run(load.time, load.rate_pps, stop)
}

/// The sockets of a load, for one measurement after another.
#[derive(Debug)]
pub(super) struct UdpEnds {
    sink: UdpSink,
    source: UdpSource,
    path: String,
}

impl UdpEnds {
    pub(super) fn open(route: Route<'_>, load: &UdpLoad) -> io::Result<Self> {
        let Route { from, to, address } = route;
        let path = format!("UDP from {} to {address} in {}", from.name(), to.name());
        let failed = || context(path.clone());
        let socket = to.run(|| UdpSocket::bind((address, 0))).map_err(failed())?;
        set_receive_buffer(socket.as_fd(), RECEIVE_BUFFER)?;
        let target = socket.local_addr()?;
        let source = from.run(|| UdpSource::open(target, load)).map_err(failed())?;
        Ok(Self { sink: UdpSink { socket, flows: load.flows }, source, path })
    }

    pub(super) fn run(
        &mut self,
        time: Duration,
        rate_pps: Option<f64>,
        stop: Stop<'_>,
    ) -> io::Result<UdpFigure> {
        self.source.numbers = Numbers::new(self.sink.flows);
        let order = Order { time, rate_pps, path: &self.path };
        volley::run(&mut self.source, &self.sink, order, stop)
    }
}

/// Connected sockets that send in turn, with payloads of the lengths in turn.
#[derive(Debug)]
struct UdpSource {
    sockets: Vec<UdpSocket>,
    next_socket: usize,
    lengths: Vec<u16>,
    next_length: usize,
    payload: Vec<u8>,
    numbers: Numbers,
}

impl UdpSource {
    /// Opens the sockets in the calling thread's namespace.
    fn open(target: SocketAddr, load: &UdpLoad) -> io::Result<Self> {
        let payload = vec![0xa5; longest(&load.lengths)?];
        if load.flows == 0 {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "a load has a flow at least"));
        }
        Ok(Self {
            sockets: (0..load.flows).map(|_| connected(target)).collect::<Result<_, _>>()?,
            next_socket: 0,
            lengths: load.lengths.clone(),
            next_length: 0,
            payload,
            numbers: Numbers::new(load.flows),
        })
    }

    fn send(&mut self, socket: usize, stamp: Stamp, len: usize) -> io::Result<()> {
        let payload = &mut self.payload[..len];
        stamp.emit(payload);
        self.sockets[socket].send(payload).map(drop)
    }
}

impl Source for UdpSource {
    fn hello(&mut self) -> io::Result<()> {
        self.send(0, Stamp::HELLO, Stamp::LEN)
    }

    fn send_next(&mut self) -> io::Result<()> {
        let socket = self.next_socket;
        self.next_socket = (socket + 1) % self.sockets.len();
        let len = usize::from(self.lengths[self.next_length]);
        self.next_length = (self.next_length + 1) % self.lengths.len();
        let stamp = self.numbers.next(socket);
        self.send(socket, stamp, len)
    }
}

/// Makes a socket that is connected, and waits in a call no longer than a glance.
pub(super) fn connected(target: SocketAddr) -> io::Result<UdpSocket> {
    let any: IpAddr = match target {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind((any, 0))?;
    socket.connect(target)?;
    socket.set_write_timeout(Some(GLANCE))?;
    socket.set_read_timeout(Some(GLANCE))?;
    Ok(socket)
}

#[derive(Debug)]
struct UdpSink {
    socket: UdpSocket,
    flows: usize,
}

impl Sink for UdpSink {
    const HEAD_LEN: usize = Stamp::LEN;

    fn flows(&self) -> usize {
        self.flows
    }

    fn fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    fn parse(head: &[u8]) -> Option<(Stamp, u64)> {
        Stamp::parse(head).map(|stamp| (stamp, 1))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn sockets_and_lengths_are_taken_in_turn() {
        let sink = UdpSocket::bind("127.0.0.1:0").unwrap();
        let load = UdpLoad {
            flows: 2,
            lengths: vec![64, 200, 1400],
            time: Duration::ZERO,
            rate_pps: None,
        };
        let mut source = UdpSource::open(sink.local_addr().unwrap(), &load).unwrap();
        let mut buffer = [0; 2000];
        let mut received = Vec::new();
        let mut ports = HashSet::new();
        for _ in 0..6 {
            source.send_next().unwrap();
            let (len, from) = sink.recv_from(&mut buffer).unwrap();
            let stamp = Stamp::parse(&buffer).unwrap();
            received.push((stamp.flow, stamp.number, len));
            ports.insert((stamp.flow, from.port()));
        }
        let expected =
            [(0, 0, 64), (1, 0, 200), (0, 1, 1400), (1, 1, 64), (0, 2, 200), (1, 2, 1400)];
        assert_eq!(received, expected);
        assert_eq!(ports.len(), 2, "one port for each flow");
    }

    #[test]
    fn loss_is_a_share_and_never_below_zero() {
        let figure = |sent, received| UdpFigure {
            sent,
            received,
            refused: 0,
            duplicated_or_reordered: 0,
            overrun: 0,
            sent_pps: 0.0,
            received_pps: 0.0,
        };
        assert_eq!(figure(1000, 999).loss(), 0.001);
        assert_eq!(figure(10, 11).loss(), 0.0, "duplicates");
        assert_eq!(figure(0, 0).loss(), 0.0);
    }
}
