//! The outer header: what it costs to put it on and to take it off, a batch of datagrams at a time.
//! `cargo bench --bench encapsulate`

mod short;

use std::hint::black_box;

use criterion::Throughput;

use tunctl::bench::load::{Flow, MTU, Protocol, Rig};
use tunctl::buffer::{Memory, Piece};
use tunctl::frame::{Layer, ecn, vxlan};
use tunctl::offload::classify;

const BATCH: usize = 64;
const LEN: usize = 64;

fn main() {
    let mut criterion = short::criterion(100);
    let datagram = Flow::new(Layer::L2, Protocol::Udp).datagram(Rig::VNI, 0, LEN);
    let mut memory = Memory::new(BATCH);
    let datagrams: Vec<Piece> =
        (0..BATCH).map(|slot| memory.slot(slot).part(0, datagram.len())).collect();
    for piece in &datagrams {
        memory.bytes_mut(*piece).copy_from_slice(&datagram);
    }
    let mut group = criterion.benchmark_group("outer header");
    group.throughput(Throughput::ElementsAndBytes {
        elements: BATCH as u64,
        bytes: (BATCH * datagram.len()) as u64,
    });
    group.bench_function("on", |bencher| {
        bencher.iter(|| {
            for piece in &datagrams {
                let header = vxlan::encode(black_box(Rig::VNI));
                let head = piece.extend_front(header.len()).part(0, header.len());
                memory.bytes_mut(head).copy_from_slice(&header);
                black_box(ecn::encapsulate(black_box(0x02), false));
            }
        });
    });
    group.bench_function("off", |bencher| {
        bencher.iter(|| {
            for piece in &datagrams {
                let bytes = memory.bytes(black_box(*piece));
                let vni = vxlan::decode(bytes);
                let buffer = classify(bytes, None, Layer::L2, MTU);
                let tos = ecn::decapsulate(black_box(0x02), 0x02);
                let _ = black_box((vni, buffer, tos));
            }
        });
    });
    let run = Flow::new(Layer::L2, Protocol::Udp).run(Rig::VNI, BATCH, LEN);
    group.bench_function("what a run is", |bencher| {
        bencher.iter(|| classify(black_box(&run.bytes), run.stride, Layer::L2, MTU));
    });
    group.finish();
    criterion.final_summary();
}
