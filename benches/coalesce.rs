//! Packets of one batch become GSO packets: checking, merging, writing the merged headers.
//! `cargo bench --bench coalesce`

mod short;

use std::time::{Duration, Instant};

use criterion::Throughput;

use tunctl::bench::load::{Flow, MSS, Protocol, SEGMENTS};
use tunctl::buffer::{Memory, Piece};
use tunctl::frame::{Headers, Layer};
use tunctl::offload::{BigTcp, Coalesce, Coalescer, DeviceWrite};
use tunctl::peer::NetworkId;

/// Packets and what they were parsed to, in their slots.
struct Batch {
    layer: Layer,
    packets: Vec<(Vec<u8>, Piece, Headers)>,
    memory: Memory,
    coalescer: Coalescer,
    writes: Vec<DeviceWrite>,
    pieces: Vec<Piece>,
}

impl Batch {
    fn new(layer: Layer, packets: impl Iterator<Item = Vec<u8>>) -> Self {
        let memory = Memory::new(64);
        let placed = packets.zip(0..).filter_map(|(bytes, slot)| {
            let headers = Headers::parse(&bytes, layer).ok()?;
            let piece = memory.slot(slot).part(0, bytes.len());
            Some((bytes, piece, headers))
        });
        Self {
            layer,
            packets: placed.collect(),
            memory,
            coalescer: Coalescer::new(
                Coalesce { tcp: true, udp: true, big_tcp: BigTcp::Never },
                NetworkId(0),
            ),
            writes: Vec::new(),
            pieces: Vec::new(),
        }
    }

    /// Merging changes headers, so each batch starts with fresh ones.
    fn refill(&mut self) {
        for (bytes, piece, _) in &self.packets {
            self.memory.bytes_mut(*piece).copy_from_slice(bytes);
        }
    }

    fn merge(&mut self) -> Duration {
        self.refill();
        let begin = Instant::now();
        for (_, piece, headers) in &self.packets {
            let check = self.coalescer.check(self.memory.bytes(*piece), headers);
            self.coalescer.push(&mut self.memory, *piece, headers, self.layer, check);
        }
        self.coalescer.finish(&mut self.memory, &mut self.writes, &mut self.pieces);
        self.writes.clear();
        self.pieces.clear();
        begin.elapsed()
    }
}

fn main() {
    let mut criterion = short::criterion(50);
    let mut group = criterion.benchmark_group("coalesce");
    for (device, layer) in [("tap", Layer::L2), ("tun", Layer::L3)] {
        let (tcp, udp) = (Flow::new(layer, Protocol::Tcp), Flow::new(layer, Protocol::Udp));
        let mut bench = |name: &str, packets: Vec<Vec<u8>>| {
            group.throughput(Throughput::ElementsAndBytes {
                elements: packets.len() as u64,
                bytes: packets.iter().map(|packet| packet.len() as u64).sum(),
            });
            let mut batch = Batch::new(layer, packets.into_iter());
            group.bench_function(format!("{device}, {name}"), |bencher| {
                bencher.iter_custom(|iterations| (0..iterations).map(|_| batch.merge()).sum());
            });
        };
        bench("TCP, 1 flow", (0..SEGMENTS).map(|index| tcp.packet(index, MSS)).collect());
        let of_eight = |n: usize| tcp.numbered(n as u16 % 8).packet(n / 8, MSS);
        bench("TCP, 8 flows in turn", (0..SEGMENTS).map(of_eight).collect());
        bench("UDP 64 bytes, 1 flow", (0..SEGMENTS).map(|index| udp.packet(index, 64)).collect());
        let of_many = |n: usize| udp.numbered(n as u16).packet(0, 64);
        bench("UDP 64 bytes, 44 flows", (0..SEGMENTS).map(of_many).collect());
    }
    group.finish();
    criterion.final_summary();
}
