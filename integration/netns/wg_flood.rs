//! Floods of the WireGuard port from a host of no good name: frames made beforehand, each from
//! another address and port, sent at a fixed rate.

use std::io::IoSlice;
use std::net::{IpAddr, Ipv4Addr, SocketAddrV4};
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use blake2::digest::consts::U16;
use blake2::digest::{FixedOutput, KeyInit, Mac};
use blake2::{Blake2s256, Blake2sMac, Digest};
use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockType, bind, sendmsg, socket};

use crate::frames::{ethernet, link_address, mac};
use crate::place::{Node, UNDERLAY};
use crate::stream::Random;
use crate::udp;
use crate::wg_crowd::server_key;

/// The network that the flood claims to come from.
pub const SOURCES: &str = "10.77.0.0/16";

/// Frames of a flood, sent again and again.
const FRAMES: usize = 16_384;

/// How often the sender looks whether something is due.
const STEP: Duration = Duration::from_micros(500);

/// What a flood is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Datagrams of all types and lengths that mean nothing.
    Garbage,
    /// Initiations with the right first mac, and nothing else that is right.
    Initiations,
}

/// A flood to one port.
pub struct Flood {
    socket: OwnedFd,
    frames: Vec<Vec<u8>>,
}

impl Flood {
    /// Makes a flood from one node to a port of another.
    pub fn new(kind: Kind, from: &Node, to: &Node, port: u16) -> Self {
        let macs = [mac(&to.host, UNDERLAY), mac(&from.host, UNDERLAY)];
        let IpAddr::V4(address) = to.address else { panic!("floods are of IPv4") };
        let target = SocketAddrV4::new(address, port);
        let mut random = Random::new(kind as u64 + 1);
        let frame = |_| {
            let message = match kind {
                Kind::Garbage => garbage(&mut random),
                Kind::Initiations => initiation(&mut random),
            };
            let word = random.next() as u32;
            let source = Ipv4Addr::new(10, 77, (word >> 8) as u8, word as u8);
            let source = SocketAddrV4::new(source, 1024 + (word >> 16) as u16 % 60_000);
            ethernet(macs[0], macs[1], &[], 0x0800, &udp::packet(source, target, &message))
        };
        let frames = (0..FRAMES).map(frame).collect();
        let socket = from.host.run(|| {
            // It receives nothing: the protocol is none.
            let flags = SockFlag::SOCK_CLOEXEC;
            let socket = socket(AddressFamily::Packet, SockType::Raw, flags, None).unwrap();
            bind(socket.as_raw_fd(), &link_address(UNDERLAY)).unwrap();
            socket
        });
        Self { socket, frames }
    }

    /// Sends so many datagrams a second until `ends`; gives how many a second it were.
    pub fn send(&self, rate_pps: u64, ends: &AtomicBool) -> f64 {
        let started = Instant::now();
        let mut sent = 0_u64;
        while !ends.load(Ordering::Relaxed) {
            let due = (started.elapsed().as_secs_f64() * rate_pps as f64) as u64;
            while sent < due {
                let frame = &self.frames[sent as usize % FRAMES];
                let pieces = [IoSlice::new(frame)];
                let fd = self.socket.as_raw_fd();
                let len = sendmsg::<()>(fd, &pieces, &[], MsgFlags::empty(), None);
                assert_eq!(len, Ok(frame.len()), "a frame of the flood");
                sent += 1;
            }
            thread::park_timeout(STEP);
        }
        sent as f64 / started.elapsed().as_secs_f64()
    }
}

/// Every fourth looks like data for somebody, every other fourth like a handshake.
fn garbage(random: &mut Random) -> Vec<u8> {
    let len = match random.next() % 4 {
        0 => 32 + random.next() as usize % 1400,
        1 => [148, 92, 64][random.next() as usize % 3],
        _ => 1 + random.next() as usize % 200,
    };
    let mut message = random.bytes(len);
    let kind = match len {
        148 => 1,
        92 => 2,
        64 => 3,
        _ => 4,
    };
    if len >= 32 && random.next().is_multiple_of(2) {
        message[..4].copy_from_slice(&[kind, 0, 0, 0]);
    }
    message
}

/// White paper, section 5.4.2 and 5.4.4: who sends it knows the daemon's public key.
fn initiation(random: &mut Random) -> Vec<u8> {
    let mut message = random.bytes(148);
    message[..4].copy_from_slice(&[1, 0, 0, 0]);
    let key = Blake2s256::new().chain_update(b"mac1----").chain_update(server_key().as_bytes());
    let mut mac = <Blake2sMac<U16> as KeyInit>::new_from_slice(&key.finalize()).unwrap();
    Mac::update(&mut mac, &message[..116]);
    let mac: [u8; 16] = mac.finalize_fixed().into();
    message[116..132].copy_from_slice(&mac);
    message
}
