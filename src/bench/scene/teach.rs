//! Frames that teach the left daemon where MACs are, sent from the right host as its peers.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::ifaddrs::getifaddrs;
use socket2::{Domain, Socket, Type};

use super::wire::Site;
use super::{PORT, TUNNEL, VNI};
use crate::api::client::Client;
use crate::api::report::Network;
use crate::bench::BenchError;
use crate::frame::vxlan;
use crate::lab::Daemon;
use crate::peer::Vni;
use crate::sys::datagram::{self, Envelope};

/// A MAC address.
pub(super) type Mac = [u8; 6];

/// Frames that are on the way at once: what surely fits into a receive buffer.
const WINDOW: usize = 4096;

/// How long a window may take before it is sent again, and how often it is sent at most.
const PATIENCE: Duration = Duration::from_secs(1);
const TRIES: usize = 5;

/// The most datagrams of one send call (UDP_MAX_SEGMENTS in `include/linux/udp.h` before 6.9).
const RUN: usize = 64;

/// Bytes of an Ethernet frame without its checksum, at least.
const FRAME_LEN: usize = 60;
const DATAGRAM_LEN: usize = vxlan::HEADER_LEN + FRAME_LEN;

/// An EtherType that no protocol has (IEEE 802, local experimental 1), so that nobody answers.
const ETHERTYPE: u16 = 0x88b5;

/// Gives a MAC of a kind of ours, which no device has: it is locally administered.
pub(super) fn mac(kind: u8, index: usize) -> Mac {
    let [.., a, b, c, d] = (index as u64).to_be_bytes();
    [0x02, kind, a, b, c, d]
}

/// Teaches one daemon.
pub(super) struct Teacher<'a> {
    /// The host that the frames come from.
    from: &'a Site,
    client: Client,
    target: SocketAddr,
    /// The MAC of the daemon's device, to which the frames are sent.
    own: Mac,
}

impl<'a> Teacher<'a> {
    /// Prepares to teach the daemon of `to`.
    pub(super) fn new(from: &'a Site, to: &Site, daemon: &Daemon) -> Result<Self, BenchError> {
        let own = to.host.run(own_mac);
        let own = own.map_err(|source| BenchError::step(format!("find {TUNNEL}"), source))?;
        let client = Client::connect(&daemon.socket())?;
        Ok(Self { from, client, target: (to.underlay, PORT).into(), own })
    }

    /// Teaches that MACs are behind the peer of the address `source`.
    pub(super) fn teach(&mut self, source: Ipv4Addr, macs: &[Mac]) -> Result<(), BenchError> {
        let failed = |error| BenchError::step(format!("teach MACs from {source}"), error);
        let socket = self.from.host.run(|| socket_from(source)).map_err(failed)?;
        macs.chunks(WINDOW).try_for_each(|window| self.teach_window(&socket, source, window))
    }

    /// Fails unless the table has as many entries as it should have by now.
    pub(super) fn check(&mut self, entries: usize) -> Result<(), BenchError> {
        let found = self.network()?.entries;
        if found >= entries as u64 {
            return Ok(());
        }
        let text = format!("it has {found} entries in its table, not {entries}");
        Err(BenchError::step("teach the daemon", io::Error::other(text)))
    }

    fn teach_window(
        &mut self,
        socket: &UdpSocket,
        source: Ipv4Addr,
        window: &[Mac],
    ) -> Result<(), BenchError> {
        let failed = |error| BenchError::step(format!("teach MACs from {source}"), error);
        for _ in 0..TRIES {
            let expected = self.network()?.received_packets + window.len() as u64;
            for run in window.chunks(RUN) {
                self.send(socket, run).map_err(failed)?;
            }
            let deadline = Instant::now() + PATIENCE;
            while Instant::now() < deadline {
                if self.network()?.received_packets >= expected {
                    return Ok(());
                }
                std::thread::yield_now();
            }
        }
        let text = format!("{} frames of {TRIES} times as many did not arrive", window.len());
        Err(failed(io::Error::new(io::ErrorKind::TimedOut, text)))
    }

    fn send(&self, socket: &UdpSocket, macs: &[Mac]) -> io::Result<()> {
        let bytes: Vec<u8> = macs.iter().flat_map(|mac| frame(self.own, *mac)).collect();
        let mut envelope = Envelope::new(self.target);
        if macs.len() > 1 {
            envelope.set_segment(DATAGRAM_LEN as u16);
        }
        let deadline = Instant::now() + PATIENCE;
        loop {
            match datagram::send(socket.as_fd(), &mut envelope, &[io::IoSlice::new(&bytes)]) {
                Err(Errno::EAGAIN | Errno::ENOBUFS) if Instant::now() < deadline => {
                    std::thread::yield_now();
                }
                result => return Ok(result?),
            }
        }
    }

    fn network(&mut self) -> Result<Network, BenchError> {
        let networks = self.client.status()?.state.networks;
        let none = || BenchError::step("teach the daemon", io::Error::other("it has no network"));
        networks.into_iter().next().ok_or_else(none)
    }
}

/// Makes a socket that sends from an address, which need not be one of the calling thread's host.
fn socket_from(source: Ipv4Addr) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::IPV4, Type::DGRAM, None)?;
    socket.set_ip_transparent_v4(true)?;
    socket.bind(&SocketAddr::from((source, 0)).into())?;
    Ok(socket.into())
}

/// Makes the VXLAN datagram of a frame.
fn frame(destination: Mac, source: Mac) -> [u8; DATAGRAM_LEN] {
    let mut bytes = [0; DATAGRAM_LEN];
    let vni = Vni::new(VNI).expect("it has 24 bits");
    let mut at = 0;
    for part in [&vxlan::encode(vni)[..], &destination, &source, &ETHERTYPE.to_be_bytes()] {
        bytes[at..at + part.len()].copy_from_slice(part);
        at += part.len();
    }
    bytes
}

/// Gives the MAC of the tunnel's interface in the calling thread's host.
fn own_mac() -> io::Result<Mac> {
    let found = getifaddrs()?.filter(|entry| entry.interface_name == TUNNEL);
    let mut macs = found.filter_map(|entry| entry.address?.as_link_addr()?.addr());
    macs.next().ok_or_else(|| io::ErrorKind::NotFound.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::{Headers, Layer};

    #[test]
    fn datagram_is_a_vxlan_frame_from_the_mac() {
        let source = mac(7, 0x0102_0304);
        assert_eq!(source, [2, 7, 1, 2, 3, 4]);
        let bytes = frame([2, 0, 0, 0, 0, 1], source);
        assert_eq!(vxlan::decode(&bytes), Ok(Vni::new(VNI).unwrap()));
        let headers = Headers::parse(&bytes[vxlan::HEADER_LEN..], Layer::L2).unwrap();
        let link = headers.link.unwrap();
        assert_eq!((link.src.0, link.dst.0), (source, [2, 0, 0, 0, 0, 1]));
    }
}
