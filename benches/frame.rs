//! Reading packets: what parsing headers, hashing a flow and checking a checksum costs.
//! `cargo bench --bench frame`

mod short;

use std::hint::black_box;

use criterion::{Criterion, Throughput};

use tunctl::bench::load::{Flow, MSS, MTU, Protocol, SEGMENTS};
use tunctl::frame::checksum::verify_transport;
use tunctl::frame::{Headers, Layer};

fn main() {
    let mut criterion = short::criterion(100);
    parse(&mut criterion);
    check(&mut criterion);
    criterion.final_summary();
}

fn parse(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("parse");
    group.throughput(Throughput::Elements(1));
    for (device, layer) in [("tap", Layer::L2), ("tun", Layer::L3)] {
        for (name, protocol) in [("TCP", Protocol::Tcp), ("UDP", Protocol::Udp)] {
            let packet = Flow::new(layer, protocol).packet(0, 64);
            group.bench_function(format!("{device}, {name}"), |bencher| {
                bencher.iter(|| Headers::parse(black_box(&packet), layer));
            });
        }
        let super_packet = Flow::new(layer, Protocol::Tcp).read(SEGMENTS * MSS, MTU).bytes;
        group.bench_function(format!("{device}, GSO packet"), |bencher| {
            bencher.iter(|| Headers::parse_super(black_box(&super_packet), layer));
        });
    }
    group.finish();
    let packet = Flow::new(Layer::L2, Protocol::Tcp).packet(0, 64);
    if let Ok(headers) = Headers::parse(&packet, Layer::L2) {
        criterion.bench_function("flow hash", |bencher| {
            bencher.iter(|| black_box(&headers).flow_hash());
        });
    }
}

fn check(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("checksum");
    for len in [64, MSS, SEGMENTS * MSS] {
        let packet = Flow::new(Layer::L3, Protocol::Tcp).packet(0, len);
        let Ok(headers) = Headers::parse(&packet, Layer::L3) else { continue };
        group.throughput(Throughput::Bytes(len as u64));
        group.bench_function(format!("verify {len} bytes"), |bencher| {
            bencher.iter(|| verify_transport(black_box(&packet), &headers));
        });
    }
    group.finish();
}
