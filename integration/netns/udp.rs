//! UDP between two hosts: runs sent with UDP_SEGMENT and received with UDP_GRO, single datagrams.

use std::io::IoSlice;
use std::net::{IpAddr, SocketAddr, SocketAddrV4, UdpSocket};
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::socket::{ControlMessage, MsgFlags, SockaddrStorage, sendmsg, setsockopt, sockopt};
use sha2::Digest;
use tunctl::lab::Host;

use crate::stream::{self, Random, Stream};
use crate::tcp::Rate;

/// Nothing may stand still for longer.
const STALL: Duration = Duration::from_secs(5);

/// Datagrams of one send call.
const RUN: usize = 30;

/// Makes a socket in a host, with a limit on how long it waits.
pub fn socket(host: &Host, address: IpAddr) -> UdpSocket {
    let socket = host.run(|| UdpSocket::bind((address, 0))).unwrap();
    socket.set_read_timeout(Some(STALL)).unwrap();
    socket
}

/// Sends `payload` as a run of datagrams of `segment` bytes, by one call.
pub fn send_run(socket: &UdpSocket, to: SocketAddr, payload: &[u8], segment: u16) {
    let control = [ControlMessage::UdpGsoSegments(&segment)];
    let to = SockaddrStorage::from(to);
    let pieces = [IoSlice::new(payload)];
    let sent = sendmsg(socket.as_raw_fd(), &pieces, &control, MsgFlags::empty(), Some(&to));
    assert_eq!(sent, Ok(payload.len()), "a run of {segment} bytes each to the far end");
}

/// Gives what arrives before the datagram `fence`, joined.
///
/// # Panics
///
/// Panics if the fence does not come.
#[track_caller]
pub fn receive_until(socket: &UdpSocket, fence: &[u8]) -> Vec<u8> {
    let mut buffer = vec![0; 65_536];
    let mut arrived = vec![];
    loop {
        let len = socket.recv(&mut buffer).expect("the last datagram comes");
        match &buffer[..len] {
            datagram if datagram == fence => return arrived,
            datagram => arrived.extend_from_slice(datagram),
        }
    }
}

/// Sends `bytes` bytes in runs of datagrams of `segment` bytes and compares the hashes.
///
/// The sender waits while a few runs are under way, so that only a fault loses anything.
///
/// # Panics
///
/// Panics if a datagram is lost, out of order or changed.
#[track_caller]
pub fn send_runs(from: &Host, to: &Host, address: IpAddr, bytes: u64, segment: u16) -> Rate {
    let receiver = socket(to, address);
    setsockopt(&receiver, sockopt::UdpGroSegment, &true).unwrap();
    // Without offloads each datagram takes a page: the window below fits in any case.
    setsockopt(&receiver, sockopt::RcvBuf, &(1 << 20)).unwrap();
    let target = receiver.local_addr().unwrap();
    let any: IpAddr = if address.is_ipv4() { [0; 4].into() } else { [0; 16].into() };
    let sender = socket(from, any);
    let arrived = AtomicU64::new(0);
    let started = Instant::now();
    let (sent, received) = thread::scope(|scope| {
        let receiving = scope.spawn(|| receive(&receiver, bytes, &arrived));
        let sent = emit(&sender, target, bytes, segment, &arrived);
        (sent, receiving.join().unwrap_or_else(|_| panic!("the receiver failed")))
    });
    assert_eq!(received, sent, "SHA-256 of {bytes} bytes in datagrams of {segment} to {target}");
    Rate { bytes, time: started.elapsed() }
}

fn emit(
    socket: &UdpSocket,
    to: SocketAddr,
    bytes: u64,
    segment: u16,
    arrived: &AtomicU64,
) -> String {
    let mut stream = Stream::new(bytes ^ u64::from(segment), bytes);
    let mut hasher = stream::hasher();
    let mut sent = 0;
    let window = 2 * (RUN * usize::from(segment)) as u64;
    loop {
        let chunk = stream.next_chunk();
        if chunk.is_empty() {
            return stream::hex(hasher);
        }
        hasher.update(chunk);
        for run in chunk.chunks(RUN * usize::from(segment)) {
            send_run(socket, to, run, segment);
            sent += run.len() as u64;
            wait_for(arrived, sent.saturating_sub(window));
        }
    }
}

fn wait_for(arrived: &AtomicU64, at_least: u64) {
    let deadline = Instant::now() + STALL;
    while arrived.load(Ordering::Relaxed) < at_least {
        assert!(
            Instant::now() < deadline,
            "only {} of {at_least} bytes arrived: a datagram is lost",
            arrived.load(Ordering::Relaxed)
        );
        thread::yield_now();
    }
}

fn receive(socket: &UdpSocket, bytes: u64, arrived: &AtomicU64) -> String {
    let mut hasher = stream::hasher();
    let mut buffer = vec![0; 65_536];
    let mut total = 0;
    while total < bytes {
        let len = socket
            .recv(&mut buffer)
            .unwrap_or_else(|error| panic!("nothing received after {total} bytes: {error}"));
        hasher.update(&buffer[..len]);
        total += len as u64;
        arrived.store(total, Ordering::Relaxed);
    }
    stream::hex(hasher)
}

/// Sends datagrams of each size there and back and compares every byte.
///
/// # Panics
///
/// Panics if one does not arrive, or changed.
#[track_caller]
pub fn exchange(from: &Host, to: &Host, address: IpAddr, sizes: &[usize]) {
    let far = socket(to, address);
    let target = far.local_addr().unwrap();
    let near = from.run(|| {
        let any: IpAddr = if address.is_ipv4() { [0; 4].into() } else { [0; 16].into() };
        UdpSocket::bind((any, 0)).unwrap()
    });
    near.set_read_timeout(Some(STALL)).unwrap();
    let mut buffer = vec![0; 65_536];
    for size in sizes {
        let payload = Random::new(*size as u64).bytes(*size);
        near.send_to(&payload, target).unwrap();
        let (len, back) = far
            .recv_from(&mut buffer)
            .unwrap_or_else(|error| panic!("datagram of {size} bytes to {target}: {error}"));
        assert!(buffer[..len] == payload, "datagram of {size} bytes changed on its way");
        far.send_to(&buffer[..len], back).unwrap();
        let len = near
            .recv(&mut buffer)
            .unwrap_or_else(|error| panic!("datagram of {size} bytes from {target}: {error}"));
        assert!(buffer[..len] == payload, "datagram of {size} bytes changed on its way back");
    }
}

/// Bytes of the headers of [`packet`].
pub const HEADERS_LEN: usize = 20 + 8;

/// Builds an IPv4 packet with a UDP datagram without a checksum (RFC 791, RFC 768).
pub fn packet(from: SocketAddrV4, to: SocketAddrV4, payload: &[u8]) -> Vec<u8> {
    let mut packet = vec![0; HEADERS_LEN];
    let len = (HEADERS_LEN + payload.len()) as u16;
    packet[0] = 0x45;
    packet[2..4].copy_from_slice(&len.to_be_bytes());
    (packet[8], packet[9]) = (64, 17);
    packet[12..16].copy_from_slice(&from.ip().octets());
    packet[16..20].copy_from_slice(&to.ip().octets());
    let words =
        packet[..20].chunks(2).map(|word| u32::from(u16::from_be_bytes([word[0], word[1]])));
    let sum: u32 = words.sum();
    let sum = !((sum & 0xffff) + (sum >> 16)) as u16;
    packet[10..12].copy_from_slice(&sum.to_be_bytes());
    packet[20..22].copy_from_slice(&from.port().to_be_bytes());
    packet[22..24].copy_from_slice(&to.port().to_be_bytes());
    packet[24..26].copy_from_slice(&(len - 20).to_be_bytes());
    packet.extend(payload);
    packet
}
