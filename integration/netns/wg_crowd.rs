//! Many WireGuard peers at once: a daemon that knows them all, and their ends, which are but keys
//! and sockets in the test's own process (boringtun speaks for them).

use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4, UdpSocket};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use boringtun::noise::{Tunn, TunnResult};
use boringtun::x25519::{PublicKey, StaticSecret};
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use tunctl::lab::Host;
use tunctl::transport::wireguard::{PrivateKey, PublicKey as Key};

use crate::daemon::Config;
use crate::pair::VNI;
use crate::place::Node;
use crate::udp;
use crate::wireguard::PORT;

/// The overlay address of the daemon.
pub const SERVER: Ipv4Addr = Ipv4Addr::new(10, 64, 0, 1);

/// The longest message of a handshake, and more than any keepalive.
const ROOM: usize = 256;

/// How often boringtun looks at a member's timers.
const TIMERS: Duration = Duration::from_millis(250);

/// Payload of a packet that a member sends; sealed and in its datagram it fills 1480 bytes.
pub const PACKET_LEN: usize = 1408;
/// Packets of a run, which is sent by one call.
pub const RUN: usize = 40;

fn server_private() -> PrivateKey {
    PrivateKey::from_bytes(&[0x42; 32]).unwrap()
}

/// Gives the public key of the daemon.
pub fn server_key() -> Key {
    server_private().public()
}

fn secret(number: usize) -> [u8; 32] {
    let mut bytes = [0x17; 32];
    bytes[8..16].copy_from_slice(&(number as u64).to_le_bytes());
    bytes
}

/// Gives the overlay address of a member.
pub fn address(number: usize) -> Ipv4Addr {
    Ipv4Addr::from_bits(SERVER.to_bits() + 0xff + number as u32)
}

/// Gives the configuration of a daemon that knows this many members; `peers` are further ones.
pub fn config(node: &Node, members: usize, peers: &str) -> Config {
    let mut tables = String::new();
    for number in 0..members {
        let key = PrivateKey::from_bytes(&secret(number)).unwrap().public();
        let address = address(number);
        writeln!(
            tables,
            "[[peer]]\nname = \"member-{number}\"\ntransport = \"wireguard\"\n\
             public_key = \"{key}\"\nallowed_ips = [\"{address}/32\"]"
        )
        .unwrap();
    }
    Config::bare(node)
        .secret("key", &server_private().to_base64())
        .tables("[wireguard]\nprivate_key_file = \"key\"\n")
        .network("tun", "tun0", VNI, &format!("addresses = [\"{SERVER}/10\"]"))
        .tables(&format!("{tables}{peers}"))
}

/// A member's end.
pub struct Member {
    pub number: usize,
    tunn: Tunn,
    socket: UdpSocket,
    has_session: bool,
    /// Cookies that it was given.
    pub cookies: usize,
}

/// Members with one socket each.
pub struct Crowd {
    pub members: Vec<Member>,
    epoll: Epoll,
}

impl Crowd {
    /// Makes members, who say nothing yet. `numbers` are those of the daemon's configuration.
    pub fn new(host: &Host, server: IpAddr, numbers: impl Iterator<Item = usize> + Send) -> Self {
        let to = SocketAddr::new(server, PORT);
        let any: IpAddr = if to.is_ipv4() { [0; 4].into() } else { [0; 16].into() };
        let key = PublicKey::from(*server_key().as_bytes());
        let member = |number| {
            let socket = UdpSocket::bind((any, 0)).unwrap();
            socket.connect(to).unwrap();
            socket.set_nonblocking(true).unwrap();
            let secret = StaticSecret::from(secret(number));
            let tunn = Tunn::new(secret, key, None, None, number as u32, None);
            Member { number, tunn, socket, has_session: false, cookies: 0 }
        };
        let members: Vec<_> = host.run(|| numbers.map(member).collect());
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC).unwrap();
        for (place, member) in members.iter().enumerate() {
            let event = EpollEvent::new(EpollFlags::EPOLLIN, place as u64);
            epoll.add(member.socket.as_fd(), event).unwrap();
        }
        Self { members, epoll }
    }

    /// Has all members ask for a session, and gives when they had one, the first one first. One
    /// that is given a cookie asks again at once if it `is_hasty`, and otherwise when it is due.
    ///
    /// # Panics
    ///
    /// Panics if one has none in time.
    #[track_caller]
    pub fn connect(&mut self, is_hasty: bool, patience: Duration) -> Vec<Duration> {
        // Made before anything is sent: what is measured is the daemon.
        let initiations: Vec<_> = self.members.iter_mut().map(Member::initiation).collect();
        let started = Instant::now();
        let mut looked = started;
        let mut times = vec![];
        let mut hear = |crowd: &mut Self, patience| {
            let new = crowd.hear(patience, is_hasty);
            times.resize(times.len() + new, started.elapsed());
            times.len()
        };
        for (place, initiation) in initiations.iter().enumerate() {
            self.members[place].send(initiation);
            if place % 16 == 0 {
                hear(self, Duration::ZERO);
            }
        }
        let mut done = 0;
        while done < self.members.len() {
            let left = self.members.len() - done;
            assert!(started.elapsed() < patience, "{left} members have no session in time");
            done = hear(self, Duration::from_millis(10));
            if looked.elapsed() > TIMERS {
                looked = Instant::now();
                self.members.iter_mut().for_each(Member::look);
            }
        }
        times
    }

    /// Takes what has come; gives how many have a session by that.
    fn hear(&mut self, patience: Duration, is_hasty: bool) -> usize {
        let mut events = [EpollEvent::empty(); 64];
        let timeout = EpollTimeout::try_from(patience).unwrap();
        let ready = self.epoll.wait(&mut events, timeout).unwrap();
        let places = events[..ready].iter().map(|event| event.data() as usize);
        places.map(|place| usize::from(self.members[place].hear(is_hasty))).sum()
    }

    /// Has the members send runs, one after the other, until the time is over; gives the bytes of
    /// the packets in them.
    pub fn send_for(&mut self, time: Duration) -> u64 {
        let started = Instant::now();
        let mut bytes = 0;
        while started.elapsed() < time {
            for member in &mut self.members {
                member.send_run();
                bytes += (RUN * PACKET_LEN) as u64;
            }
        }
        bytes
    }
}

impl Member {
    fn initiation(&mut self) -> Vec<u8> {
        let mut room = [0; ROOM];
        match self.tunn.format_handshake_initiation(&mut room, true) {
            TunnResult::WriteToNetwork(bytes) => bytes.to_vec(),
            other => panic!("no initiation: {other:?}"),
        }
    }

    /// A full queue is one more way to lose a datagram.
    fn send(&self, message: &[u8]) {
        let _ = self.socket.send(message);
    }

    /// Takes one datagram, if there is one; tells whether the session begins by it.
    fn hear(&mut self, is_hasty: bool) -> bool {
        let (mut bytes, mut room) = ([0; 2048], [0; 2048]);
        let Ok(len) = self.socket.recv(&mut bytes) else { return false };
        match self.tunn.decapsulate(None, &bytes[..len], &mut room) {
            TunnResult::WriteToNetwork(message) if !self.has_session => {
                let message = message.to_vec();
                self.send(&message);
                self.has_session = true;
                return true;
            }
            TunnResult::Done if bytes[0] == 3 => {
                self.cookies += 1;
                if is_hasty {
                    let initiation = self.initiation();
                    self.send(&initiation);
                }
            }
            _ => {}
        }
        false
    }

    /// Says what is due.
    fn look(&mut self) {
        let mut room = [0; ROOM];
        if let TunnResult::WriteToNetwork(message) = self.tunn.update_timers(&mut room) {
            let message = message.to_vec();
            self.send(&message);
        }
    }

    /// Sends a run of packets to the daemon's host, where nobody reads them.
    fn send_run(&mut self) {
        let packet = packet(address(self.number));
        let sealed_len = PACKET_LEN + 32;
        let mut run = vec![0; RUN * sealed_len];
        for room in run.chunks_mut(sealed_len) {
            let sealed = self.tunn.encapsulate(&packet, room);
            assert!(matches!(sealed, TunnResult::WriteToNetwork(_)), "{sealed:?}");
        }
        let to = self.socket.peer_addr().unwrap();
        udp::send_run(&self.socket, to, &run, sealed_len as u16);
    }
}

/// The UDP port that members send to.
pub const DISCARD: u16 = 9;

/// Builds the packet that a member sends.
fn packet(from: Ipv4Addr) -> Vec<u8> {
    let [from, to] =
        [(from, 40_000), (SERVER, DISCARD)].map(|(ip, port)| SocketAddrV4::new(ip, port));
    udp::packet(from, to, &[0; PACKET_LEN - udp::HEADERS_LEN])
}
