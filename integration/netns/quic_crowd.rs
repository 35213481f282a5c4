//! Many QUIC peers at once: a daemon that knows them all, and their ends, each an engine of ours
//! with an address and a socket of its own in the test's own process.

use std::fmt::Write as _;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use tunctl::buffer::Memory;
use tunctl::lab::Host;
use tunctl::peer::PeerId;
use tunctl::transport::quic::certificate::read_certificates;
use tunctl::transport::quic::{
    Credentials, Event, Known, Local, PeerSpec, Quic, Settings, Tls, Trust,
};
use tunctl::transport::{Carrier, Received};

use crate::certificates::{Authority, Paper, Validity};
use crate::daemon::Config;
use crate::pair::VNI;
use crate::place::{Node, UNDERLAY, run};
use crate::quic_pair::PORT;
use crate::udp;

/// The overlay address of the daemon.
pub const SERVER: Ipv4Addr = Ipv4Addr::new(10, 64, 0, 1);

/// The name that its certificate has.
const NAME: &str = "hub";

/// The underlay addresses of the members.
const PLACES: &str = "10.80.0.0/16";

/// The only peer of a member.
const HUB: PeerId = PeerId::new(0, 0);

/// How often the daemon and the members look at what has no time of its own.
const TICK: Duration = Duration::from_millis(100);
/// How late a member may do what is due.
const SLACK: Duration = Duration::from_millis(5);

/// Who issues the certificates of the daemon and of its members.
pub struct Issuer(Authority);

impl Issuer {
    pub fn new() -> Self {
        Self(Authority::new())
    }

    /// Gives the configuration of a daemon that knows this many members; `peers` are further ones.
    pub fn config(&self, node: &Node, members: usize, peers: &str) -> Config {
        let mut tables = String::new();
        for number in 0..members {
            let (name, address) = (name(number), address(number));
            writeln!(
                tables,
                "[[peer]]\nname = \"{name}\"\ntransport = \"quic\"\nallowed_ips = [\"{address}/32\"]"
            )
            .unwrap();
        }
        let own = self.0.issue(NAME, Validity::Now);
        let listen = SocketAddr::new(node.address, PORT);
        Config::bare(node)
            .secret("crt", &own.certificate)
            .secret("key", &own.key)
            .secret("ca", &self.0.certificate())
            .tables(&format!(
                "[quic]\nlisten = \"{listen}\"\ncertificate_file = \"crt\"\n\
                 private_key_file = \"key\"\nca_file = \"ca\"\n"
            ))
            .network("tun", "tun0", VNI, &format!("addresses = [\"{SERVER}/10\"]"))
            .tables(&format!("{tables}{peers}"))
    }

    /// Issues the certificate of somebody else.
    pub fn paper(&self, name: &str) -> Paper {
        self.0.issue(name, Validity::Now)
    }

    /// Gives the certificate of the authority, in PEM.
    pub fn certificate(&self) -> String {
        self.0.certificate()
    }

    fn tls(&self, number: usize) -> Tls {
        let own = self.paper(&name(number));
        let own = Credentials::from_pem(own.certificate.as_bytes(), own.key.as_bytes()).unwrap();
        let authorities = read_certificates(self.certificate().as_bytes()).unwrap();
        let known = [(HUB, Known::Name(NAME.into()))];
        Tls::new(own, Trust::new(&authorities, &[], known).unwrap()).unwrap()
    }
}

fn name(number: usize) -> String {
    format!("member-{number}")
}

/// The overlay address of a member.
fn address(number: usize) -> Ipv4Addr {
    Ipv4Addr::from_bits(SERVER.to_bits() + 0xff + number as u32)
}

/// Its underlay address.
fn place(number: usize) -> Ipv4Addr {
    Ipv4Addr::from_bits(Ipv4Addr::new(10, 80, 1, 0).to_bits() + number as u32)
}

/// Gives a host the addresses of members, and tells the daemon's node where they are.
pub fn give_places(node: &Node, server: &Node) {
    run(&node.host, "ip", &format!("route add local {PLACES} dev {UNDERLAY}"));
    server.ip(&format!("route add {PLACES} via {}", node.address));
}

/// A member's end.
struct Member {
    quic: Quic,
    local: Local,
    socket: UdpSocket,
}

/// What others are told while the members go on.
#[derive(Default)]
struct Told {
    ends: AtomicBool,
    begun: AtomicUsize,
    lost: AtomicUsize,
}

/// Members that do what has to be done, in a thread of their own.
pub struct Crowd {
    told: Arc<Told>,
    thread: Option<JoinHandle<()>>,
}

impl Crowd {
    /// Makes members, and has them dial at once and for as long as this value is there. `numbers`
    /// are those of the daemon's configuration.
    pub fn start(
        host: &Host,
        server: &Node,
        issuer: &Issuer,
        numbers: impl Iterator<Item = usize> + Send,
    ) -> Self {
        let to = SocketAddr::new(server.address, PORT);
        let now = Instant::now();
        let member = |number| {
            let socket = UdpSocket::bind((place(number), 0)).unwrap();
            socket.set_nonblocking(true).unwrap();
            let quic = Quic::new(issuer.tls(number), Settings::default(), now);
            quic.add(PeerSpec { id: HUB, endpoint: Some(to) }, now);
            Member { quic, local: Local::new(0), socket }
        };
        let members: Vec<_> = host.run(|| numbers.map(member).collect());
        let told = Arc::new(Told::default());
        let loops = Loop { members, memory: Memory::new(1), told: Arc::clone(&told) };
        let thread = thread::Builder::new().name("crowd".into()).spawn(move || loops.run());
        Self { told, thread: Some(thread.expect("room for a thread")) }
    }

    /// Connections that there are, as the members see it.
    pub fn up(&self) -> usize {
        self.told.begun.load(Ordering::Relaxed).saturating_sub(self.lost())
    }

    /// Connections that were lost so far.
    pub fn lost(&self) -> usize {
        self.told.lost.load(Ordering::Relaxed)
    }
}

impl Drop for Crowd {
    fn drop(&mut self) {
        self.told.ends.store(true, Ordering::Relaxed);
        let thread = self.thread.take().expect("taken here only").join();
        if !thread::panicking() {
            thread.expect("the members go on to the end");
        }
    }
}

/// The thread of the members.
struct Loop {
    members: Vec<Member>,
    memory: Memory,
    told: Arc<Told>,
}

impl Loop {
    fn run(mut self) {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC).unwrap();
        for (place, member) in self.members.iter().enumerate() {
            let event = EpollEvent::new(EpollFlags::EPOLLIN, place as u64);
            epoll.add(member.socket.as_fd(), event).unwrap();
        }
        let mut events = [EpollEvent::empty(); 64];
        let timeout = EpollTimeout::try_from(SLACK).unwrap();
        let mut next_look = Instant::now();
        let mut next_tick = next_look;
        while !self.told.ends.load(Ordering::Relaxed) {
            let ready = epoll.wait(&mut events, timeout).unwrap();
            let now = Instant::now();
            for event in &events[..ready] {
                let member = &mut self.members[event.data() as usize];
                member.hear(now, &mut self.memory);
                member.say(now, &self.told);
            }
            if next_look > now {
                continue;
            }
            next_look = now + SLACK;
            let ticks = next_tick <= now;
            if ticks {
                next_tick = now + TICK;
            }
            for member in &mut self.members {
                if ticks {
                    member.quic.tick(now, &mut member.local);
                }
                if ticks || member.local.next_deadline(now).is_some_and(|at| at <= now) {
                    member.quic.handle_deadlines(now, &mut member.local);
                    member.say(now, &self.told);
                }
            }
        }
    }
}

impl Member {
    /// Takes what has come.
    fn hear(&mut self, now: Instant, memory: &mut Memory) {
        let slot = memory.slot(0);
        while let Ok((len, from)) = self.socket.recv_from(memory.bytes_mut(slot)) {
            let received = Received {
                piece: slot.part(0, len),
                stride: None,
                from,
                local: None,
                tos: 0,
                truncated: false,
                carrier: Carrier::Quic,
            };
            self.quic.receive(now, &received, memory, &mut self.local);
            self.local.contents.clear();
        }
    }

    /// Sends what is to be sent. A full queue is one more way to lose a datagram.
    fn say(&mut self, now: Instant, told: &Told) {
        while let Some(out) = self.quic.poll_transmit(now, &mut self.local) {
            if out.count > 1 {
                udp::send_run(&self.socket, out.to, &self.local.sealed, out.datagram_len);
            } else {
                let _ = self.socket.send_to(&self.local.sealed, out.to);
            }
        }
        for event in self.local.post.events.drain(..) {
            match event {
                Event::Lost { .. } => _ = told.lost.fetch_add(1, Ordering::Relaxed),
                Event::Established { .. } => _ = told.begun.fetch_add(1, Ordering::Relaxed),
                Event::Moved { .. } | Event::PathMtu { .. } | Event::Refused { .. } => {}
            }
        }
        self.local.post.losses.clear();
    }
}
