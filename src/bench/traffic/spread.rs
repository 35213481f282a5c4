//! UDP packets to many addresses, whose frames carry MACs that the receiving host does not have.

use std::io;
use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use nix::sys::socket::{MsgFlags, SockaddrIn, sendto};

use super::stamp::{Numbers, Stamp, longest};
use super::udp::{UdpFigure, UdpLoad};
use super::volley::{self, Order, RECEIVE_BUFFER, Sink, Source};
use super::{GLANCE, Stop, context};
use crate::frame::{ethernet, ipv4};
use crate::lab::Host;
use crate::offload::{Gso, VnetHeader};
use crate::sys::packet_socket::PacketSocket;
use crate::sys::udp::set_receive_buffer;

/// The port that packets go to. Nobody listens: they end at the interface.
const PORT: u16 = 9;

/// Protocol number of UDP.
const UDP: u8 = 17;

/// Destinations that are chosen before the sending; then they come again in the same order.
const CHOICES: usize = 1 << 16;

/// How the destination of a packet is chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Choice {
    /// Each as often as the others.
    Uniform,
    /// The n-th 1/n as often as the first, as is usual in networks.
    Zipf,
}

/// Where packets go.
#[derive(Clone, Copy, Debug)]
pub struct Spread<'a> {
    /// The host that sends. It has to know a MAC for every destination.
    pub from: &'a Host,
    /// The host that receives.
    pub to: &'a Host,
    /// The interface in `to` that the frames arrive on.
    pub interface: &'a str,
    /// Addresses that `from` has routes to.
    pub destinations: &'a [Ipv4Addr],
    /// How one is chosen.
    pub choice: Choice,
}

/// Sends as [`super::udp()`] does, but to many destinations. A packet socket counts what arrives on
/// the interface, a GSO packet as the packets that it stands for.
///
/// # Errors
///
/// As [`super::udp()`].
pub fn udp_spread(spread: Spread<'_>, load: &UdpLoad, stop: Stop<'_>) -> io::Result<UdpFigure> {
    let Spread { from, to, interface, destinations, .. } = spread;
    let path = format!("UDP from {} to {interface} in {}", from.name(), to.name());
    let failed = || context(path.clone());
    let socket = to.run(|| PacketSocket::open(interface, ethernet::TYPE_IPV4)).map_err(failed())?;
    set_receive_buffer(socket.as_fd(), RECEIVE_BUFFER)?;
    let sink = SpreadSink { socket, destinations: destinations.len() };
    let mut source = from.run(|| SpreadSource::open(spread, load)).map_err(failed())?;
    let order = Order { time: load.time, rate_pps: load.rate_pps, path: &path };
    volley::run(&mut source, &sink, order, stop)
}

/// Sockets that are not connected. Each destination belongs to one of them, so its packets are one
/// flow.
#[derive(Debug)]
struct SpreadSource {
    sockets: Vec<UdpSocket>,
    targets: Vec<SockaddrIn>,
    choices: Vec<u32>,
    next_choice: usize,
    lengths: Vec<u16>,
    next_length: usize,
    payload: Vec<u8>,
    numbers: Numbers,
}

impl SpreadSource {
    /// Opens the sockets in the calling thread's namespace.
    fn open(spread: Spread<'_>, load: &UdpLoad) -> io::Result<Self> {
        let payload = vec![0xa5; longest(&load.lengths)?];
        let targets = spread.destinations.iter().map(|ip| SocketAddrV4::new(*ip, PORT).into());
        let targets: Vec<SockaddrIn> = targets.collect();
        if targets.is_empty() || load.flows == 0 {
            let nothing = "a load has a flow and a destination at least";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, nothing));
        }
        let socket = |_| {
            let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
            socket.set_write_timeout(Some(GLANCE))?;
            Ok(socket)
        };
        Ok(Self {
            sockets: (0..load.flows).map(socket).collect::<io::Result<_>>()?,
            choices: spread.choice.sequence(targets.len()),
            next_choice: 0,
            lengths: load.lengths.clone(),
            next_length: 0,
            payload,
            numbers: Numbers::new(targets.len()),
            targets,
        })
    }

    fn send(&mut self, destination: usize, stamp: Stamp, len: usize) -> io::Result<()> {
        let payload = &mut self.payload[..len];
        stamp.emit(payload);
        let socket = self.sockets[destination % self.sockets.len()].as_raw_fd();
        sendto(socket, payload, &self.targets[destination], MsgFlags::empty())?;
        Ok(())
    }
}

impl Source for SpreadSource {
    fn hello(&mut self) -> io::Result<()> {
        self.send(0, Stamp::HELLO, Stamp::LEN)
    }

    fn send_next(&mut self) -> io::Result<()> {
        let destination = self.choices[self.next_choice] as usize;
        self.next_choice = (self.next_choice + 1) % self.choices.len();
        let len = usize::from(self.lengths[self.next_length]);
        self.next_length = (self.next_length + 1) % self.lengths.len();
        let stamp = self.numbers.next(destination);
        self.send(destination, stamp, len)
    }
}

impl Choice {
    /// Chooses among `count`, the same each time.
    fn sequence(self, count: usize) -> Vec<u32> {
        let weight = |n: usize| match self {
            Self::Uniform => 1.0,
            Self::Zipf => 1.0 / (n + 1) as f64,
        };
        let sums: Vec<f64> = (0..count)
            .scan(0.0, |sum, n| {
                *sum += weight(n);
                Some(*sum)
            })
            .collect();
        let total = sums.last().copied().unwrap_or_default();
        let mut random = SplitMix(1);
        let choose = |_| {
            let at = random.next_fraction() * total;
            sums.partition_point(|sum| *sum <= at).min(count.saturating_sub(1)) as u32
        };
        (0..CHOICES).map(choose).collect()
    }
}

/// SplitMix64 (Steele, Lea, Flood 2014): even enough to choose by, and always the same.
struct SplitMix(u64);

impl SplitMix {
    /// Gives a number from 0 to below 1.
    fn next_fraction(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^= z >> 31;
        (z >> 11) as f64 / (1_u64 << 53) as f64
    }
}

#[derive(Debug)]
struct SpreadSink {
    socket: PacketSocket,
    destinations: usize,
}

impl Sink for SpreadSink {
    /// The vnet header, Ethernet, IPv4 with options, UDP, a stamp.
    const HEAD_LEN: usize = VnetHeader::LEN + ethernet::HEADER_LEN + 60 + 8 + Stamp::LEN;

    fn flows(&self) -> usize {
        self.destinations
    }

    fn fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    fn parse(head: &[u8]) -> Option<(Stamp, u64)> {
        let (vnet, frame) = head.split_first_chunk()?;
        let (_, packet) = frame.split_at_checked(ethernet::HEADER_LEN)?;
        let (ip, _) = packet.split_first_chunk::<{ ipv4::HEADER_LEN }>()?;
        let (_, datagram) = packet.split_at_checked(usize::from(ip[0] & 0x0f) * 4)?;
        let (udp, payload) = datagram.split_first_chunk::<8>()?;
        if ip[9] != UDP || u16::from_be_bytes([udp[2], udp[3]]) != PORT {
            return None;
        }
        let payload_len = usize::from(u16::from_be_bytes([udp[4], udp[5]])).saturating_sub(8);
        let run = match VnetHeader::from_bytes(*vnet).gso() {
            Ok(Gso::Udp { size }) => payload_len.div_ceil(usize::from(size)).max(1),
            _ => 1,
        };
        Some((Stamp::parse(payload)?, run as u64))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shares(choice: Choice, count: usize) -> Vec<f64> {
        let mut shares = vec![0.0; count];
        for chosen in choice.sequence(count) {
            shares[chosen as usize] += 1.0 / CHOICES as f64;
        }
        shares
    }

    #[test]
    fn uniform_choice_is_even() {
        assert!(shares(Choice::Uniform, 10).iter().all(|share| (share - 0.1).abs() < 0.01));
    }

    #[test]
    fn zipf_choice_falls_as_one_by_n() {
        let shares = shares(Choice::Zipf, 100);
        let first = 1.0 / (1..=100).map(|n| 1.0 / f64::from(n)).sum::<f64>();
        for (n, share) in shares.iter().take(10).enumerate() {
            let expected = first / (n + 1) as f64;
            assert!((share - expected).abs() < 0.01, "{n}: {share} of {expected}");
        }
        assert!(shares.iter().all(|share| *share > 0.0));
    }

    #[test]
    fn choice_of_one_is_that_one() {
        assert!(Choice::Zipf.sequence(1).iter().all(|chosen| *chosen == 0));
    }

    #[test]
    fn gso_packet_counts_as_its_packets() {
        let stamp = Stamp { flow: 3, number: 5 };
        let frame = |gso_type, payload_len: u16, port: u16| {
            let vnet = VnetHeader { gso_type, gso_size: 100, ..VnetHeader::default() };
            let mut bytes = vnet.to_bytes().to_vec();
            bytes.extend([0; ethernet::HEADER_LEN]);
            let mut ip = [0; ipv4::HEADER_LEN];
            (ip[0], ip[9]) = (0x45, UDP);
            bytes.extend(ip);
            bytes.extend([0, 1]);
            bytes.extend(port.to_be_bytes());
            bytes.extend((payload_len + 8).to_be_bytes());
            bytes.extend([0, 0]);
            let mut payload = [0; Stamp::LEN];
            stamp.emit(&mut payload);
            bytes.extend(payload);
            bytes
        };
        assert_eq!(SpreadSink::parse(&frame(0, 250, PORT)), Some((stamp, 1)));
        assert_eq!(SpreadSink::parse(&frame(5, 250, PORT)), Some((stamp, 3)));
        assert_eq!(SpreadSink::parse(&frame(0, 250, 53)), None);
        let whole = frame(5, 300, PORT);
        assert_eq!(SpreadSink::parse(&whole), Some((stamp, 3)));
        assert!((0..whole.len()).all(|len| SpreadSink::parse(&whole[..len]).is_none()));
    }
}
