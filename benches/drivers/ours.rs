//! Our engine, driven as a worker does: what has come, what is due, what is to be sent.

use std::io::IoSliceMut;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::time::TimeSpec;
use quinn::udp::{self, RecvMeta, UdpSockRef, UdpSocketState};
use tunctl::buffer::{Memory, Piece};
use tunctl::drops::DropReason;
use tunctl::peer::{NetworkId, PeerId};
use tunctl::transport::quic::issue::{Dates, self_signed};
use tunctl::transport::quic::{
    Credentials, Fingerprint, Known, Local, PeerSpec, Quic, Settings, Tls, Trust,
};
use tunctl::transport::{Carrier, Received, Transmit};

use super::{PAYLOAD, Sample, Tally};

/// Datagrams of a run, as a GSO packet of a device gives them.
const RUN: usize = 44;

/// The other end, at either.
const PEER: PeerId = PeerId::new(0, 0);

/// How often what has no time of its own is looked at.
const TICK: Duration = Duration::from_millis(100);

/// Sends and receives for a while.
pub fn run(time: Duration) -> Sample {
    let now = Instant::now();
    let [own, other] = ["a", "b"].map(|name| {
        let dates = Dates { now: SystemTime::now(), days: 1 };
        let issued = self_signed(name, dates).expect("a certificate");
        Credentials::from_pem(issued.certificate.as_bytes(), issued.key.as_bytes()).expect("sound")
    });
    let prints = [own.fingerprint(), other.fingerprint()];
    let accepting = End::new(other, prints[0], None, now);
    let to = accepting.socket.local_addr().expect("it is bound");
    let dialling = End::new(own, prints[1], Some(to), now);
    let (ends, arrived) = (AtomicBool::new(false), AtomicU64::new(0));
    let (first, news) = mpsc::channel();
    let tally = Tally { bytes: &arrived, first };
    let sample = thread::scope(|scope| {
        scope.spawn(|| dialling.go_on(None, &ends));
        scope.spawn(|| accepting.go_on(Some(tally), &ends));
        let sample = Sample::of(time, &arrived, &news);
        ends.store(true, Ordering::Relaxed);
        sample
    });
    sample.expect("datagrams arrive")
}

struct End {
    quic: Quic,
    local: Local,
    socket: UdpSocket,
    state: UdpSocketState,
    memory: Memory,
    next_tick: Instant,
}

impl End {
    fn new(own: Credentials, other: Fingerprint, to: Option<SocketAddr>, now: Instant) -> Self {
        let trust = Trust::new(&[], &[], [(PEER, Known::Fingerprint(other))]).expect("sound");
        let quic = Quic::new(Tls::new(own, trust).expect("sound"), Settings::default(), now);
        quic.add(PeerSpec { id: PEER, endpoint: to }, now);
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        let state = UdpSocketState::new(UdpSockRef::from(&socket)).expect("a socket like quinn's");
        let (local, memory) = (Local::new(0), Memory::new(2));
        Self { quic, local, socket, state, memory, next_tick: now }
    }

    /// Counts what arrives, or sends where nothing is to be counted.
    fn go_on(mut self, tally: Option<Tally<'_>>, ends: &AtomicBool) {
        let slot = self.memory.slot(1);
        let run = slot.part(0, RUN * PAYLOAD);
        self.memory.bytes_mut(run).fill(0x5a);
        while !ends.load(Ordering::Relaxed) {
            let now = Instant::now();
            let bytes = self.hear(now);
            if let Some(tally) = &tally {
                tally.add(bytes);
            }
            if self.next_tick <= now {
                self.next_tick = now + TICK;
                self.quic.tick(now, &mut self.local);
            }
            self.quic.handle_deadlines(now, &mut self.local);
            let is_full = tally.is_some() || !self.queue(now, run);
            self.say();
            if is_full {
                self.wait();
            }
        }
    }

    /// Queues a run; tells whether there was room.
    fn queue(&mut self, now: Instant, run: Piece) -> bool {
        let transmit = Transmit {
            carrier: Carrier::Quic,
            to: ([127, 0, 0, 1], 0).into(),
            from: None,
            entropy: 0,
            tos: 0,
            room: u16::MAX,
            datagram_len: PAYLOAD as u16,
            count: RUN as u16,
            len: run.len,
            pieces: 0..1,
            peer: PEER,
            network: NetworkId(0),
            relayed_from: None,
        };
        self.quic.queue(now, &transmit, &[run], &self.memory, &mut self.local);
        let mut losses = self.local.post.losses.drain(..);
        losses.all(|loss| loss.reason == DropReason::QuicTooBig)
    }

    /// Takes what has come; gives the bytes of datagrams in it.
    fn hear(&mut self, now: Instant) -> u64 {
        let mut bytes = 0;
        let slot = self.memory.slot(0);
        let mut meta = [RecvMeta::default()];
        loop {
            let mut room = [IoSliceMut::new(self.memory.bytes_mut(slot))];
            if self.state.recv(UdpSockRef::from(&self.socket), &mut room, &mut meta).is_err() {
                return bytes;
            }
            let [meta] = &meta;
            let received = Received {
                piece: slot.part(0, meta.len),
                stride: (meta.stride < meta.len).then_some(meta.stride as u16),
                from: meta.addr,
                local: meta.dst_ip,
                tos: 0,
                truncated: false,
                carrier: Carrier::Quic,
            };
            self.quic.receive(now, &received, &mut self.memory, &mut self.local);
            let packets = self.local.contents.packets.iter();
            bytes += packets.map(|packet| u64::from(packet.len)).sum::<u64>();
            self.local.contents.clear();
        }
    }

    fn say(&mut self) {
        while let Some(out) = self.quic.poll_transmit(Instant::now(), &mut self.local) {
            let transmit = udp::Transmit {
                destination: out.to,
                ecn: udp::EcnCodepoint::from_bits(out.tos),
                contents: &self.local.sealed,
                segment_size: (out.count > 1).then_some(usize::from(out.datagram_len)),
                src_ip: out.from,
            };
            // A full socket is one more way to lose a datagram.
            let _ = self.state.try_send(UdpSockRef::from(&self.socket), &transmit);
        }
        self.local.post.events.clear();
    }

    fn wait(&self) {
        let now = Instant::now();
        let due = self.local.next_deadline(now).unwrap_or(self.next_tick).min(self.next_tick);
        let time = TimeSpec::from_duration(due.saturating_duration_since(now));
        let mut sockets = [PollFd::new(self.socket.as_fd(), PollFlags::POLLIN)];
        let _ = ppoll(&mut sockets, Some(time), None);
    }
}
