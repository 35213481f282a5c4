//! Nothing is allocated for a packet: a whole node takes batch after batch, in both directions, and
//! asks for no memory once it has seen the first few. Nor do the device and the sockets around it.

// Clippy's exception for tests does not reach the helpers of an integration test.
#![allow(clippy::unwrap_used)]

use std::env;
use std::net::{SocketAddr, UdpSocket};
use std::time::Instant;

use tunctl::buffer::{Memory, Piece};
use tunctl::device::setup::{self, Setup};
use tunctl::device::{Device, DeviceIo, DeviceSpec, Kind, Switch};
use tunctl::lab::Host;
use tunctl::peer::{NetworkId, PeerId};
use tunctl::socket::{SocketSpec, Underlay, UnderlayIo};
use tunctl::transport::{Carrier, Transmit};

use tunctl::bench::load::{Arrival, Flow, MSS, MTU, Moved, Protocol, Read, Rig, SEGMENTS};
use tunctl::frame::Layer;

/// Batches after which every list has found its size.
const WARM_UP: usize = 3;
const BATCHES: usize = 100;
/// Full segments in the run that arrives as one.
const SEALED_SEGMENTS: usize = 42;
const SMALL: usize = 64;
const LAYERS: [Layer; 2] = [Layer::L2, Layer::L3];
const VNI: tunctl::peer::Vni = Rig::VNI;

#[test]
fn allocations_are_seen() {
    let info = allocation_counter::measure(|| {
        std::hint::black_box(Vec::<u8>::with_capacity(std::hint::black_box(1)));
    });
    assert_eq!(info.count_total, 1);
}

#[test]
fn tcp_super_packets_leave_without_allocation() {
    for layer in LAYERS {
        let read = tcp(layer).read(SEGMENTS * MSS, MSS as u16);
        for count in [1, 8] {
            let reads = vec![read.clone(); count];
            assert_outbound(rig(layer, 1), "GSO packets", &reads, count * SEGMENTS);
        }
    }
}

#[test]
fn small_packets_leave_without_allocation() {
    for layer in LAYERS {
        let one_flow = vec![udp(layer).read(SMALL, MTU); 64];
        assert_outbound(rig(layer, 1), "one flow", &one_flow, 64);
        let flows: Vec<_> = (0..64).map(|n| udp(layer).numbered(n).read(SMALL, MTU)).collect();
        assert_outbound(rig(layer, 1), "64 flows", &flows, 64);
        let acks = vec![tcp(layer).read(0, MTU); 64];
        assert_outbound(rig(layer, 1), "acknowledgements", &acks, 64);
        let uncut = vec![udp(layer).read(20 * SMALL, SMALL as u16); 16];
        assert_outbound(rig(layer, 1), "UDP GSO packets", &uncut, 16 * 20);
    }
}

#[test]
fn floods_leave_without_allocation() {
    for layer in LAYERS {
        let small = vec![udp(layer).flooded().read(SMALL, MTU); 16];
        assert_outbound(rig(layer, 50), "small", &small, 16 * 50);
        let large = [tcp(layer).flooded().read(SEGMENTS * MSS, MSS as u16)];
        assert_outbound(rig(layer, 50), "GSO packet", &large, SEGMENTS * 50);
    }
}

#[test]
fn packets_are_sealed_and_leave_without_allocation() {
    for layer in LAYERS {
        let read = tcp(layer).read(SEGMENTS * MSS, MSS as u16);
        for count in [1, 8] {
            let reads = vec![read.clone(); count];
            assert_outbound(sealed(layer), "GSO packets", &reads, count * SEGMENTS);
        }
        let one_flow = vec![udp(layer).read(SMALL, MTU); 64];
        assert_outbound(sealed(layer), "one flow", &one_flow, 64);
        let flows: Vec<_> = (0..64).map(|n| udp(layer).numbered(n).read(SMALL, MTU)).collect();
        assert_outbound(sealed(layer), "64 flows", &flows, 64);
        let acks = vec![tcp(layer).read(0, MTU); 64];
        assert_outbound(sealed(layer), "acknowledgements", &acks, 64);
    }
}

#[test]
fn sealed_packets_arrive_without_allocation() {
    for layer in LAYERS {
        let (tcp, udp) = (tcp(layer).inward(), udp(layer).inward());
        let run = vec![tcp.run_inside(VNI, SEALED_SEGMENTS, MSS); 8];
        assert_inbound(sealed(layer), "runs", &run, 8 * SEALED_SEGMENTS);
        let small = vec![udp.run_inside(VNI, 64, SMALL); 4];
        assert_inbound(sealed(layer), "runs of small ones", &small, 4 * 64);
        let flows: Vec<_> = (0..64).map(|n| udp.numbered(n).run_inside(VNI, 1, SMALL)).collect();
        assert_inbound(sealed(layer), "64 flows", &flows, 64);
        let acks = vec![tcp.run_inside(VNI, 1, 0); 64];
        assert_inbound(sealed(layer), "acknowledgements", &acks, 64);
    }
}

#[test]
fn tcp_segments_arrive_without_allocation() {
    for layer in LAYERS {
        let flow = tcp(layer).inward();
        let run = vec![flow.run(VNI, SEGMENTS, MSS); 8];
        assert_inbound(rig(layer, 1), "runs", &run, 8 * SEGMENTS);
        let single: Vec<_> = (0..64).map(|index| flow.arrival(VNI, index, MSS)).collect();
        assert_inbound(rig(layer, 1), "one by one", &single, 64);
        let flows: Vec<_> =
            (0..64).map(|n| flow.numbered(n % 8).arrival(VNI, usize::from(n / 8), MSS)).collect();
        assert_inbound(rig(layer, 1), "eight flows", &flows, 64);
        let uncut = [flow.uncut(VNI, SEGMENTS * MSS)];
        assert_inbound(rig(layer, 1), "uncut, of a kernel peer", &uncut, SEGMENTS);
    }
}

#[test]
fn small_packets_arrive_without_allocation() {
    for layer in LAYERS {
        let flow = udp(layer).inward();
        let run = vec![flow.run(VNI, 64, SMALL); 4];
        assert_inbound(rig(layer, 1), "runs", &run, 4 * 64);
        let flows: Vec<_> = (0..64).map(|n| flow.numbered(n).arrival(VNI, 0, SMALL)).collect();
        assert_inbound(rig(layer, 1), "64 flows", &flows, 64);
        let acks = vec![tcp(layer).inward().arrival(VNI, 0, 0); 64];
        assert_inbound(rig(layer, 1), "acknowledgements", &acks, 64);
    }
}

#[test]
fn relayed_floods_need_no_allocation() {
    for layer in LAYERS {
        let flow = udp(layer).inward().flooded();
        let arrivals = vec![flow.arrival(VNI, 0, SMALL); 16];
        let rig = Rig::new(layer, 50, true, Instant::now());
        // A frame goes to our device as well; a packet only to those that share its prefix.
        let copies = if layer == Layer::L2 { 50 } else { 49 };
        assert_inbound(rig, "relayed", &arrivals, 16 * copies);
    }
}

#[test]
fn ageing_needs_no_allocation() {
    for layer in LAYERS {
        let mut rig = rig(layer, 10);
        let info = allocation_counter::measure(|| (0..BATCHES).for_each(|_| rig.tick()));
        assert_eq!(info.count_total, 0, "{layer:?}");
    }
}

#[test]
fn device_reads_and_writes_without_allocation() {
    in_host(|| {
        let spec = DeviceSpec {
            name: "tun0".into(),
            kind: Kind::Tun,
            gso: Switch::Auto,
            is_multi_queue: false,
        };
        let mut device = Device::open(&spec).unwrap();
        set_up("tun0");
        let socket = UdpSocket::bind("10.9.0.1:0").unwrap();
        socket.connect("10.9.0.2:7000").unwrap();
        let mut memory = Memory::new(1);
        let slot = memory.slot(0);
        for batch in 0..WARM_UP {
            for _ in 0..BATCHES {
                socket.send(&[7; SMALL]).unwrap();
            }
            let mut moved = 0;
            let info = allocation_counter::measure(|| {
                while let Some((vnet, len)) = device.read(memory.bytes_mut(slot)).unwrap() {
                    let pieces = [slot.part(0, len - 20), slot.part(len - 20, 20)];
                    device.write(vnet, &pieces, &memory).unwrap();
                    moved += 1;
                }
            });
            assert!(moved >= BATCHES);
            assert!(batch == 0 || info.count_total == 0, "{info:?}");
        }
    });
}

#[test]
fn sockets_send_and_receive_without_allocation() {
    in_host(|| {
        let mut left = Underlay::open(&socket_spec("127.0.0.1")).unwrap();
        let mut right = Underlay::open(&socket_spec("127.0.0.2")).unwrap();
        let mut memory = Memory::new(SEGMENTS + 1);
        let source = memory.slot(SEGMENTS);
        let mut pieces = Vec::new();
        let transmits = [(1000, SEGMENTS), (SMALL, SEGMENTS), (SMALL, 1)]
            .map(|(len, count)| transmit(source, len, count, &mut pieces));
        let mut received = Vec::with_capacity(SEGMENTS);
        for batch in 0..BATCHES {
            received.clear();
            let info = allocation_counter::measure(|| {
                left.start_batch();
                for transmit in &transmits {
                    left.send(transmit, &pieces, &memory).unwrap();
                }
                right.receive(0, &mut memory, 0..SEGMENTS, &mut received).unwrap();
            });
            assert!(received.len() >= transmits.len());
            assert!(batch < WARM_UP || info.count_total == 0, "{info:?}");
        }
    });
}

/// Runs a test in a host of its own, unless this machine makes none.
fn in_host(test: impl FnOnce() + Send) {
    match Host::new("alloc") {
        Ok(host) => host.run(test),
        Err(error) => {
            assert!(env::var_os("TUNCTL_NO_SKIP").is_none(), "would skip: {error}");
            eprintln!("SKIPPED: {error}");
        }
    }
}

fn set_up(device: &str) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let (connection, handle, _) = rtnetlink::new_connection().unwrap();
        tokio::spawn(connection);
        let addresses = ["10.9.0.1/24".parse().unwrap()];
        let setup = Setup { mtu: Some(MTU.into()), addresses: &addresses, ..Setup::default() };
        setup::apply(&handle, device, &setup).await.unwrap();
    });
}

fn socket_spec(listen: &str) -> SocketSpec {
    SocketSpec {
        listen: listen.parse().unwrap(),
        port: Some(4789),
        gpe_port: None,
        wireguard: None,
        quic: None,
        fwmark: None,
        bind_device: None,
        ttl: 64,
        source_ports: 4,
        receive_buffer_bytes: 4 << 20,
        send_buffer_bytes: 1 << 20,
        gso: Switch::Auto,
        gro: Switch::Auto,
        has_siblings: false,
        is_own_port: false,
    }
}

/// A run of equal datagrams to the second host's socket.
fn transmit(source: Piece, len: usize, count: usize, pieces: &mut Vec<Piece>) -> Transmit {
    let first = pieces.len() as u32;
    pieces.extend((0..count).map(|at| source.part(at * len, len)));
    Transmit {
        carrier: Carrier::Vxlan,
        to: SocketAddr::from(([127, 0, 0, 2], 4789)),
        from: None,
        entropy: 0,
        tos: 0,
        room: u16::MAX,
        datagram_len: len as u16,
        count: count as u16,
        len: (count * len) as u32,
        pieces: first..pieces.len() as u32,
        peer: PeerId::new(0, 0),
        network: NetworkId(0),
        relayed_from: None,
    }
}

fn tcp(layer: Layer) -> Flow {
    Flow::new(layer, Protocol::Tcp)
}

fn udp(layer: Layer) -> Flow {
    Flow::new(layer, Protocol::Udp)
}

fn rig(layer: Layer, peers: usize) -> Rig {
    Rig::new(layer, peers, false, Instant::now())
}

/// With one peer, and WireGuard on the way to it.
fn sealed(layer: Layer) -> Rig {
    Rig::sealed(layer, Instant::now())
}

#[track_caller]
fn assert_outbound(rig: Rig, load: &str, reads: &[Read], packets: usize) {
    assert_no_allocation(rig, load, packets, |rig| {
        rig.read(reads);
        rig.outbound()
    });
}

#[track_caller]
fn assert_inbound(rig: Rig, load: &str, arrivals: &[Arrival], packets: usize) {
    assert_no_allocation(rig, load, packets, |rig| {
        rig.receive(arrivals);
        rig.inbound()
    });
}

/// Asserts that batches move so many packets each, drop none, and allocate nothing.
#[track_caller]
fn assert_no_allocation(
    mut rig: Rig,
    load: &str,
    packets: usize,
    mut batch: impl FnMut(&mut Rig) -> Moved,
) {
    for _ in 0..WARM_UP {
        assert_eq!(batch(&mut rig).packets, packets as u64, "{load}");
    }
    let mut moved = 0;
    let info = allocation_counter::measure(|| {
        moved = (0..BATCHES).map(|_| batch(&mut rig).packets).sum::<u64>();
    });
    assert_eq!(moved, (BATCHES * packets) as u64, "{load}");
    assert_eq!(rig.dropped(), 0, "{load}");
    assert_eq!(info.count_total, 0, "{load}: {} bytes", info.bytes_total);
}
