//! A GSO packet becomes wire packets: planning the cut, and writing every segment's headers; where
//! the payload stays, and where the segments are laid out in place.
//! `cargo bench --bench segment`

mod short;

use std::hint::black_box;

use criterion::Throughput;

use tunctl::bench::load::{Flow, MSS, MTU, Protocol, SEGMENTS};
use tunctl::frame::{Headers, Layer};
use tunctl::offload::Cut;

/// VXLAN's header.
const OUTER_LEN: usize = 8;

fn main() {
    let mut criterion = short::criterion(100);
    let mut group = criterion.benchmark_group("segment");
    for (device, layer) in [("tap", Layer::L2), ("tun", Layer::L3)] {
        let (tcp, udp) = (Flow::new(layer, Protocol::Tcp), Flow::new(layer, Protocol::Udp));
        let whole = usize::from(MTU) + 14;
        for (name, read, max_packet) in [
            ("TCP", tcp.read(SEGMENTS * MSS, MSS as u16), whole),
            ("TCP, cut smaller", tcp.read(SEGMENTS * MSS, MSS as u16), whole - 200),
            ("UDP of 64 bytes", udp.read(SEGMENTS * 64, 64), whole),
            ("UDP of 1200 bytes", udp.read(SEGMENTS * 1200, 1200), whole),
        ] {
            let Ok(headers) = Headers::parse_super(&read.bytes, layer) else { continue };
            let Ok(plan) = Cut::plan(&read.bytes, &headers, read.vnet, max_packet) else {
                continue;
            };
            let mut header = vec![0; plan.header_len()];
            group.throughput(Throughput::ElementsAndBytes {
                elements: plan.count() as u64,
                bytes: read.bytes.len() as u64,
            });
            group.bench_function(format!("{device}, {name}"), |bencher| {
                bencher.iter(|| {
                    let bytes = black_box(&read.bytes);
                    let plan = Cut::plan(bytes, &headers, read.vnet, max_packet);
                    for index in 0..plan.as_ref().map_or(0, Cut::count) {
                        if let Ok(plan) = &plan {
                            black_box(plan.segment(index, bytes, &mut header));
                        }
                    }
                });
            });
            // What the bytes are costs nothing: they may stay where the last round left them.
            let mut room = [vec![0; plan.front(OUTER_LEN)], read.bytes.clone()].concat();
            group.bench_function(format!("{device}, {name}, in place"), |bencher| {
                bencher.iter(|| {
                    let plan = Cut::plan(black_box(&read.bytes), &headers, read.vnet, max_packet);
                    for index in 0..plan.as_ref().map_or(0, Cut::count) {
                        if let Ok(plan) = &plan {
                            let room = black_box(&mut room);
                            black_box(plan.segment_in_place(index, &header, room, OUTER_LEN));
                        }
                    }
                });
            });
        }
    }
    group.finish();
    criterion.final_summary();
}
