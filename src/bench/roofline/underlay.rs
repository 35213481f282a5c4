//! Datagrams from one host to the other.

use std::io::{self, IoSlice};
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::AsFd;
use std::time::Duration;

use super::model::{SMALL_LEN, UnderlayTerms};
use super::stopwatch::Stopwatch;
use crate::bench::load::{Flow, MSS, Protocol, SEGMENTS};
use crate::bench::scene::wire::Site;
use crate::frame::{Layer, vxlan};
use crate::sys::datagram::{self, Envelope, ReceiveBatch};
use crate::sys::poll::Poller;
use crate::sys::udp::{self, Family, Refused};

/// What is in front of a segment: VXLAN, Ethernet, IP and TCP headers.
const HEAD_LEN: usize = vxlan::HEADER_LEN + Flow::new(Layer::L2, Protocol::Tcp).header_len();
const DATAGRAM_LEN: usize = HEAD_LEN + MSS;

/// Buffers of one receive call, as large as a run may be.
const BUFFERS: usize = 8;
const BUFFER_LEN: usize = 65_600;

/// Room for many runs, so that none is lost.
const RECEIVE_BUFFER: usize = 4 << 20;

/// How long a datagram may take.
const PATIENCE: Duration = Duration::from_secs(2);

/// What sending and receiving costs, on one core.
pub(super) fn measure(watch: &Stopwatch<'_>, sites: &[Site; 2]) -> io::Result<UnderlayTerms> {
    let mut path = Path::open(sites)?;
    let run_len = SEGMENTS * DATAGRAM_LEN;
    // As the daemon lays it out: in one piece.
    let bytes = vec![0xa5; run_len];
    let run = [IoSlice::new(&bytes)];
    let small = [IoSlice::new(&bytes[..HEAD_LEN + SMALL_LEN])];
    let [send_run, receive_run] = watch.costs(|laps| {
        laps.time(0, || path.send(&run, Some(DATAGRAM_LEN as u16)))?;
        path.wait()?;
        let first = laps.time(1, || path.receive(run_len))?;
        if first == 0 { path.receive_rest() } else { Ok(()) }
    })?;
    let [send_one, receive_one] = watch.costs(|laps| {
        laps.time(0, || path.send(&small, None))?;
        path.wait()?;
        laps.time(1, || path.receive(0))?;
        Ok(())
    })?;
    Ok(UnderlayTerms { send_run, receive_run, send_one, receive_one })
}

/// A sending and a receiving socket, as the daemon opens them.
struct Path {
    near: UdpSocket,
    far: UdpSocket,
    to: SocketAddr,
    poller: Poller,
    batch: ReceiveBatch,
    buffers: Vec<u8>,
}

impl Path {
    fn open([left, right]: &[Site; 2]) -> io::Result<Self> {
        let near = left.host.run(|| UdpSocket::bind((left.underlay, 0)))?;
        let far = right.host.run(|| UdpSocket::bind((right.underlay, 0)))?;
        udp::set_dont_fragment(near.as_fd(), Family::V4, Refused::AbovePath)?;
        udp::set_receive_details(far.as_fd(), Family::V4)?;
        udp::set_gro(far.as_fd())?;
        udp::set_receive_buffer(far.as_fd(), RECEIVE_BUFFER)?;
        let poller = Poller::new()?;
        poller.add(&far, 0)?;
        let to = far.local_addr()?;
        let buffers = vec![0; BUFFERS * BUFFER_LEN];
        Ok(Self { near, far, to, poller, batch: ReceiveBatch::default(), buffers })
    }

    fn send(&self, slices: &[IoSlice<'_>], segment: Option<u16>) -> io::Result<usize> {
        let mut envelope = Envelope::new(self.to);
        if let Some(len) = segment {
            envelope.set_segment(len);
        }
        datagram::send(self.near.as_fd(), &mut envelope, slices)?;
        Ok(1)
    }

    /// Waits for what was sent: the kernel may bring it later where it is busy.
    fn wait(&mut self) -> io::Result<()> {
        match self.poller.wait(Some(PATIENCE))? {
            0 => Err(io::ErrorKind::TimedOut.into()),
            _ => Ok(()),
        }
    }

    /// Receives by one call; gives 1 if so many bytes or more came, else 0.
    fn receive(&mut self, bytes: usize) -> io::Result<usize> {
        let buffers = self.buffers.chunks_mut(BUFFER_LEN);
        self.batch.receive(self.far.as_fd(), buffers)?;
        let len: usize = self.batch.arrivals().flatten().map(|arrival| arrival.len).sum();
        Ok(usize::from(len >= bytes))
    }

    /// Takes what is left of a run that came in parts.
    fn receive_rest(&mut self) -> io::Result<()> {
        while self.poller.wait(Some(Duration::from_millis(1)))? > 0 {
            self.receive(0)?;
        }
        Ok(())
    }
}
