//! A TUN or TAP device with a program on one side and us on the other.

use std::io::{self, IoSlice};
use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::os::fd::AsFd;
use std::time::Instant;

use ipnet::{IpNet, Ipv4Net};

use super::model::{DeviceTerms, RUN_LEN, SMALL_LEN};
use super::stopwatch::{Cost, Stopwatch};
use crate::bench::BenchError;
use crate::bench::load::{Flow, MSS, MTU, Protocol, Read, Rig, SEGMENTS};
use crate::buffer::{Memory, Piece};
use crate::device::setup::{self, Setup};
use crate::device::{Device, DeviceIo, DeviceSpec, Kind, Switch};
use crate::frame::Layer;
use crate::lab::{self, Host};
use crate::sys::datagram::{self, Envelope};
use crate::sys::udp;

const INTERFACE: &str = "device0";

/// Our end of the packets that [`Flow`] makes, and the far end.
const HERE: Ipv4Addr = Ipv4Addr::new(10, 9, 0, 1);
const THERE: Ipv4Addr = Ipv4Addr::new(10, 9, 1, 0);
const PORT: u16 = 5201;
const MAC_THERE: [u8; 6] = [2, 0, 0, 0, 1, 1];

/// What a device of a kind and our own work around it cost, on one core.
pub(super) fn measure(watch: &Stopwatch<'_>, kind: Kind) -> Result<DeviceTerms, BenchError> {
    let host = Host::new("device")?;
    host.set_sysctl("net/ipv6/conf/all/disable_ipv6", "1")?;
    host.set_sysctl("net/ipv6/conf/default/disable_ipv6", "1")?;
    let step = |action: &str| {
        let action = format!("{action} a {} device", kind.name());
        |source| BenchError::Step { action, source }
    };
    let mut end = host.run(|| End::open(kind)).map_err(step("make"))?;
    if kind == Kind::Tap {
        lab::set_neighbours(&host, INTERFACE, &[(THERE.into(), MAC_THERE)])?;
    }
    let read = end.measure_reads(watch).map_err(step("read from"))?;
    let write = host.run(|| end.measure_writes(watch)).map_err(step("write to"))?;
    let own = own_work(watch, kind).map_err(step("measure our work for"))?;
    Ok(DeviceTerms {
        read_run: read[0],
        read_one: read[1],
        write_run: write[0],
        write_one: write[1],
        outbound_run: own[0],
        inbound_run: own[1],
        acknowledgement: own[2],
    })
}

/// The device, and a program's socket behind it.
struct End {
    kind: Kind,
    device: Device,
    mac: Option<[u8; 6]>,
    socket: UdpSocket,
    memory: Memory,
}

impl End {
    /// Opens both in the calling thread's host.
    fn open(kind: Kind) -> io::Result<Self> {
        let spec =
            DeviceSpec { name: INTERFACE.into(), kind, gso: Switch::On, is_multi_queue: false };
        let device = Device::open(&spec).map_err(io::Error::other)?;
        if !device.offloads().uso {
            let reason = "the kernel has no UDP GSO packets for devices (Linux 6.2)";
            return Err(io::Error::new(io::ErrorKind::Unsupported, reason));
        }
        let mac = set_up(kind)?;
        let socket = UdpSocket::bind((HERE, PORT))?;
        Ok(Self { kind, device, mac, socket, memory: Memory::new(2) })
    }

    /// A program sends a run, or a packet; we read it.
    fn measure_reads(&mut self, watch: &Stopwatch<'_>) -> io::Result<[Cost; 2]> {
        let payload = vec![0xa5; RUN_LEN];
        let to = SocketAddrV4::new(THERE, PORT).into();
        let (slot, headers) = (self.memory.slot(0), self.flow().header_len());
        let mut costs = [Cost::default(); 2];
        for (cost, len) in costs.iter_mut().zip([RUN_LEN, SMALL_LEN]) {
            [*cost] = watch.costs(|laps| {
                let mut envelope = Envelope::new(to);
                if len > MSS {
                    envelope.set_segment(MSS as u16);
                }
                let slices = [IoSlice::new(&payload[..len])];
                datagram::send(self.socket.as_fd(), &mut envelope, &slices)?;
                laps.time(0, || match self.device.read(self.memory.bytes_mut(slot))? {
                    Some((_, read)) if read == headers + len => Ok(1),
                    Some((_, read)) => {
                        let message = format!("{read} bytes for {len} bytes of payload");
                        Err(io::Error::other(message))
                    }
                    None => Err(io::Error::other("nothing to read")),
                })?;
                Ok(())
            })?;
        }
        Ok(costs)
    }

    /// We write a run, or a packet; the program's socket takes it and drops it, before anything is
    /// copied: what TCP would do with it is part of what a program costs.
    fn measure_writes(&mut self, watch: &Stopwatch<'_>) -> io::Result<[Cost; 2]> {
        udp::set_gro(self.socket.as_fd())?;
        udp::set_receive_nothing(self.socket.as_fd())?;
        let mut costs = [Cost::default(); 2];
        for (cost, len) in costs.iter_mut().zip([RUN_LEN, SMALL_LEN]) {
            let mut packet = self.flow().inward().read(len, MSS as u16);
            if let (Some(mac), Some(to)) = (self.mac, packet.bytes.first_chunk_mut()) {
                *to = mac;
            }
            let pieces = self.scatter(&packet);
            [*cost] = watch.costs(|laps| {
                laps.time(0, || {
                    let vnet = packet.vnet.to_bytes();
                    self.device.write(vnet, &pieces, &self.memory).map(|()| 1)
                })?;
                Ok(())
            })?;
        }
        Ok(costs)
    }

    fn flow(&self) -> Flow {
        Flow::new(layer(self.kind), Protocol::Udp)
    }

    /// Stores a packet as a run arrives: each segment's payload by itself.
    fn scatter(&mut self, packet: &Read) -> Vec<Piece> {
        const GAP: usize = 74;
        let slot = self.memory.slot(1);
        let head = packet.bytes.len().min(self.flow().header_len() + MSS);
        let (first, rest) = packet.bytes.split_at(head);
        let mut at = 0;
        let mut pieces = Vec::new();
        for bytes in [first].into_iter().chain(rest.chunks(MSS)) {
            let piece = slot.part(at, bytes.len());
            self.memory.bytes_mut(piece).copy_from_slice(bytes);
            pieces.push(piece);
            at += bytes.len() + GAP;
        }
        pieces
    }
}

/// Gives the device its address and sets it up; gives its MAC, if it has one.
fn set_up(kind: Kind) -> io::Result<Option<[u8; 6]>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let (connection, handle, _) = rtnetlink::new_connection()?;
        tokio::spawn(connection);
        let addresses = [IpNet::V4(Ipv4Net::new_assert(HERE, 16))];
        let setup = Setup { mtu: Some(MTU.into()), addresses: &addresses, ..Setup::default() };
        setup::apply(&handle, INTERFACE, &setup).await.map_err(io::Error::other)?;
        match kind {
            Kind::Tun => Ok(None),
            Kind::Tap => {
                setup::link_mac(&handle, INTERFACE).await.map(Some).map_err(io::Error::other)
            }
        }
    })
}

/// What a node does for a run outbound, for a run inbound, and for an acknowledgement both ways.
fn own_work(watch: &Stopwatch<'_>, kind: Kind) -> io::Result<[Cost; 3]> {
    let layer = layer(kind);
    let (flow, small) = (Flow::new(layer, Protocol::Tcp), 0);
    let mut rig = Rig::new(layer, 1, false, Instant::now());
    let out = [flow.read(RUN_LEN, MSS as u16)];
    let back = [flow.inward().run(Rig::VNI, SEGMENTS, MSS)];
    let [outbound, inbound] = watch.costs(|laps| {
        rig.read(&out);
        laps.time(0, || Ok((rig.outbound().packets > 0).into()))?;
        rig.receive(&back);
        laps.time(1, || Ok((rig.inbound().packets > 0).into()))?;
        Ok(())
    })?;
    let out = [flow.read(small, MTU)];
    let back = [flow.inward().arrival(Rig::VNI, 0, small)];
    let [acknowledgement] = watch.costs(|laps| {
        rig.read(&out);
        rig.receive(&back);
        laps.time(0, || {
            let moved = rig.outbound().packets + rig.inbound().packets;
            Ok((moved > 0).into())
        })?;
        Ok(())
    })?;
    Ok([outbound, inbound, acknowledgement])
}

fn layer(kind: Kind) -> Layer {
    match kind {
        Kind::Tun => Layer::L3,
        Kind::Tap => Layer::L2,
    }
}
