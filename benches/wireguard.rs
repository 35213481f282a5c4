//! What WireGuard costs a run of packets: sealing them into one block, opening the messages in their
//! places. `cargo bench --bench wireguard`

mod short;

use std::hint::black_box;
use std::time::{Duration, Instant};

use criterion::Throughput;

use tunctl::bench::load::{Flow, Line, Protocol};
use tunctl::buffer::{Memory, Piece};
use tunctl::frame::Layer;

/// Packets of a run, and their lengths.
const PACKETS: usize = 44;
const LENGTHS: [usize; 2] = [1400, 64];

/// A run of packets, and a session to send them by: end 0 seals, end 1 opens.
struct Batch {
    line: Line,
    packet_len: u16,
    /// The packets are in the first slot; what arrives goes to the second.
    memory: Memory,
    run: Piece,
    now: Instant,
}

impl Batch {
    fn new(packet_len: usize) -> Self {
        let flow = Flow::new(Layer::L3, Protocol::Udp);
        let packet = |index| flow.packet(index, packet_len - flow.header_len());
        let bytes: Vec<u8> = (0..PACKETS).flat_map(packet).collect();
        let (mut memory, now) = (Memory::new(2), Instant::now());
        let run = memory.slot(0).part(0, bytes.len());
        memory.bytes_mut(run).copy_from_slice(&bytes);
        Self { line: Line::new(now), packet_len: packet_len as u16, memory, run, now }
    }

    fn seal(&mut self) {
        let (run, stride) = (self.run, Some(self.packet_len));
        let sealed = self.line.seal_run(self.now, 0, black_box(run), stride, &self.memory);
        assert_eq!(sealed, PACKETS as u64);
    }

    /// Each message is opened once only, so each run is a new one, whose sealing is not measured.
    fn open(&mut self) -> Duration {
        self.seal();
        let received = self.line.carry(self.memory.slot(1), &mut self.memory);
        self.line.forget();
        let begin = Instant::now();
        let opened = self.line.open(self.now, 1, black_box(&received), &mut self.memory);
        let elapsed = begin.elapsed();
        assert_eq!(opened.packets.len(), PACKETS);
        elapsed
    }
}

fn main() {
    let mut criterion = short::criterion(50);
    let mut group = criterion.benchmark_group("wireguard");
    for packet_len in LENGTHS {
        group.throughput(Throughput::ElementsAndBytes {
            elements: PACKETS as u64,
            bytes: (PACKETS * packet_len) as u64,
        });
        let mut batch = Batch::new(packet_len);
        group.bench_function(format!("seal, {packet_len} bytes"), |bencher| {
            bencher.iter(|| batch.seal());
        });
        group.bench_function(format!("open, {packet_len} bytes"), |bencher| {
            bencher.iter_custom(|iterations| (0..iterations).map(|_| batch.open()).sum());
        });
    }
    group.finish();
    criterion.final_summary();
}
