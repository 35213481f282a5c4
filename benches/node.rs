//! A whole node between ends that are only memory: what a batch costs the worker apart from its
//! system calls, in both directions. `cargo bench --bench node`
//!
//! What the kernel would do (fill the slots) is done before each batch and not measured.

use std::time::{Duration, Instant};

use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, Criterion, Throughput};

use tunctl::bench::load::{Arrival, Flow, MSS, MTU, Moved, Protocol, Read, Rig, SEGMENTS};
use tunctl::frame::Layer;

const SMALL: usize = 64;
/// Reads in a batch of small packets, as in the daemon.
const READS: usize = 32;
const PEERS: usize = 10;

fn main() {
    let mut criterion = Criterion::default()
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_millis(700))
        .sample_size(50)
        .configure_from_args();
    for (name, layer) in [("tap", Layer::L2), ("tun", Layer::L3)] {
        outbound(&mut criterion, name, layer);
        inbound(&mut criterion, name, layer);
    }
    criterion.final_summary();
}

fn outbound(criterion: &mut Criterion, name: &str, layer: Layer) {
    let (tcp, udp) = (Flow::new(layer, Protocol::Tcp), Flow::new(layer, Protocol::Udp));
    let gso = |flow: Flow| vec![flow.read(SEGMENTS * MSS, MSS as u16)];
    let small = |flow: Flow| flow.read(SMALL, MTU);
    let mut group = criterion.benchmark_group(format!("{name} outbound"));
    let mut bench = |load: &str, reads: Vec<Read>| {
        let mut rig = Rig::new(layer, PEERS, false, Instant::now());
        measure(&mut group, load, || {
            rig.read(&reads);
            timed(|| rig.outbound())
        });
    };
    bench("TCP GSO packet", gso(tcp));
    bench("UDP 64 bytes, 1 flow", vec![small(udp); READS]);
    bench("UDP 64 bytes, 32 flows", (0..READS as u16).map(|n| small(udp.numbered(n))).collect());
    bench("UDP GSO packet of 64 bytes", vec![udp.read(SEGMENTS * SMALL, SMALL as u16)]);
    bench("TCP acknowledgements", vec![tcp.read(0, MTU); READS]);
    bench("TCP GSO packet to 10 peers", gso(tcp.flooded()));
    group.finish();
}

fn inbound(criterion: &mut Criterion, name: &str, layer: Layer) {
    let tcp = Flow::new(layer, Protocol::Tcp).inward();
    let udp = Flow::new(layer, Protocol::Udp).inward();
    let vni = Rig::VNI;
    let mut group = criterion.benchmark_group(format!("{name} inbound"));
    let mut bench = |load: &str, arrivals: Vec<Arrival>| {
        let mut rig = Rig::new(layer, PEERS, false, Instant::now());
        measure(&mut group, load, || {
            rig.receive(&arrivals);
            timed(|| rig.inbound())
        });
    };
    bench("TCP run", vec![tcp.run(vni, SEGMENTS, MSS)]);
    bench("TCP one by one", (0..READS).map(|index| tcp.arrival(vni, index, MSS)).collect());
    bench("TCP of a kernel peer", vec![tcp.uncut(vni, SEGMENTS * MSS)]);
    bench("UDP 64 bytes, a run", vec![udp.run(vni, READS, SMALL)]);
    bench("UDP 64 bytes, 1 flow", (0..READS).map(|n| udp.arrival(vni, n, SMALL)).collect());
    let flows = (0..READS as u16).map(|n| udp.numbered(n).arrival(vni, 0, SMALL));
    bench("UDP 64 bytes, 32 flows", flows.collect());
    bench("TCP acknowledgements", vec![tcp.arrival(vni, 0, 0); READS]);
    group.finish();
}

/// Measures batches; the throughput is that of one.
fn measure(
    group: &mut BenchmarkGroup<'_, WallTime>,
    load: &str,
    mut batch: impl FnMut() -> (Duration, Moved),
) {
    let (_, Moved { packets, bytes, .. }) = batch();
    group.throughput(Throughput::ElementsAndBytes { elements: packets, bytes });
    group.bench_function(load, |bencher| {
        bencher.iter_custom(|iterations| (0..iterations).map(|_| batch().0).sum());
    });
}

fn timed(work: impl FnOnce() -> Moved) -> (Duration, Moved) {
    let begin = Instant::now();
    let moved = work();
    (begin.elapsed(), moved)
}
