//! Floods of a port from a host of no good name: frames made beforehand, each from another address
//! and port, sent at a fixed rate; and what they leave to a transfer beside them.

use std::io::IoSlice;
use std::net::{IpAddr, Ipv4Addr, SocketAddrV4};
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockType, bind, sendmsg, socket};

use crate::daemon::Daemon;
use crate::frames::{ethernet, link_address, mac};
use crate::harness::note;
use crate::load::median;
use crate::place::{Node, UNDERLAY};
use crate::stream::Random;
use crate::tcp::Rate;
use crate::udp;

/// The network that the flood claims to come from.
pub const SOURCES: &str = "10.77.0.0/16";

/// Frames of a flood, sent again and again.
const FRAMES: usize = 16_384;

/// How often the sender looks whether something is due.
const STEP: Duration = Duration::from_micros(500);

/// Rounds of a measurement: an odd number, for a median.
const ROUNDS: usize = 9;

/// A flood to one port.
pub struct Flood {
    socket: OwnedFd,
    frames: Vec<Vec<u8>>,
}

impl Flood {
    /// Makes a flood of such messages from one node to a port of another.
    pub fn new(
        from: &Node,
        to: &Node,
        port: u16,
        mut message: impl FnMut(&mut Random) -> Vec<u8>,
    ) -> Self {
        let macs = [mac(&to.host, UNDERLAY), mac(&from.host, UNDERLAY)];
        let IpAddr::V4(address) = to.address else { panic!("floods are of IPv4") };
        let target = SocketAddrV4::new(address, port);
        let mut random = Random::new(1);
        let frame = |_| {
            let message = message(&mut random);
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

/// Does something beside a flood, and gives what comes of it and the rate of the flood.
pub fn beside<T>(flood: &Flood, rate_pps: u64, work: impl FnOnce() -> T) -> (T, f64) {
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        let flooding = scope.spawn(|| flood.send(rate_pps, &is_over));
        let result = {
            let _end = End(&is_over);
            work()
        };
        (result, flooding.join().unwrap_or_else(|_| panic!("the flood failed")))
    })
}

/// Ends a flood, also when what is beside it fails.
struct End<'a>(&'a AtomicBool);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Compares transfers beside a flood of a daemon with those beside the same flood to a socket that
/// discards it, which comes first; gives the part of the rate that is kept.
pub fn kept(
    daemon: &Daemon,
    floods: &[Flood; 2],
    rate_pps: u64,
    transfer: impl Fn() -> Rate,
) -> f64 {
    let (mut ratios, mut work_ratios) = (vec![], vec![]);
    for round in 0..=ROUNDS {
        let mut rates = [0.0; 2];
        let mut works = [0.0; 2];
        let mut achieved = [0.0; 2];
        for turn in 0..2 {
            let which = (round + turn) % 2;
            let before = daemon.processor_time();
            let (transfer, rate) = beside(&floods[which], rate_pps, &transfer);
            works[which] = (daemon.processor_time() - before).as_secs_f64();
            (rates[which], achieved[which]) = (transfer.bytes_per_sec(), rate);
        }
        let [control, flooded] = rates.map(|rate| rate * 8.0 / 1e9);
        let ratio = flooded / control;
        note(&format!(
            "round {round}: {flooded:.2} of {control:.2} Gbit/s, {ratio:.3}; processor time {:.2} \
             of {:.2} s; {:.0} and {:.0} datagrams/s",
            works[1], works[0], achieved[1], achieved[0]
        ));
        // The first round finds everything cold.
        if round > 0 {
            ratios.push(ratio);
            work_ratios.push(works[1] / works[0]);
        }
    }
    let (ratio, work) = (median(ratios), median(work_ratios));
    note(&format!("median: {ratio:.3} of the control's rate, {work:.3} of its processor time"));
    ratio
}
