//! Where a packet goes: learning its source and giving the verdict on its destination, with one
//! address known, a thousand and a million. `cargo bench --bench forward`
//!
//! The table by itself is in `table.rs`.

mod order;
mod short;

use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Instant;

use criterion::{BenchmarkId, Criterion, Throughput};
use ipnet::{IpNet, Ipv4Net};

use tunctl::forward::{Ingress, L2Network, L3Network, Learning, Limits, Routes, Rules};
use tunctl::peer::PeerId;

use order::{SAMPLES, mix, uniform, zipf};

const PEERS: usize = 10;
const SIZES: [usize; 3] = [1, 1000, 1_000_000];
const LOCAL_MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];
const LOCAL_IP: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));

fn main() {
    let mut criterion = short::criterion(50);
    frames(&mut criterion);
    routes(&mut criterion);
    hosts(&mut criterion);
    criterion.final_summary();
}

/// TAP: MACs that were learned.
fn frames(criterion: &mut Criterion) {
    for entries in SIZES {
        let now = Instant::now();
        let macs: Vec<[u8; 6]> = (0..entries as u64).map(mac).collect();
        let mut network = L2Network::new(&rules(), now, 0x5eed);
        for (at, mac) in macs.iter().enumerate() {
            assert!(network.learn(0, *mac, Ingress::Peer(peer(at)), now).is_ok());
        }
        bench(criterion, "frames, learned MACs", &macs, |to| {
            let _ = black_box(network.learn(0, LOCAL_MAC, Ingress::Device, now));
            black_box(network.verdict(0, to, Ingress::Device, 1, now));
        });
    }
}

/// TUN: prefixes, each of one peer.
fn routes(criterion: &mut Criterion) {
    for entries in SIZES {
        let now = Instant::now();
        let hosts: Vec<IpAddr> = (0..entries as u32).map(host).collect();
        let prefixes = hosts.iter().enumerate().map(|(at, ip)| (IpNet::from(*ip), peer(at)));
        let mut network = L3Network::new(&rules(), &[], now, 0x5eed);
        network.set_routes(Routes::new(&prefixes.collect::<Vec<_>>()));
        bench(criterion, "packets, prefixes", &hosts, |to| {
            let _ = black_box(network.learn(LOCAL_IP, Ingress::Device, now));
            black_box(network.verdict(to, Ingress::Device, 1, now));
        });
    }
}

/// TUN: one prefix that all peers share, and hosts that were learned in it.
fn hosts(criterion: &mut Criterion) {
    for entries in SIZES {
        let now = Instant::now();
        let hosts: Vec<IpAddr> = (0..entries as u32).map(host).collect();
        let shared = Ipv4Net::new_assert(Ipv4Addr::new(10, 0, 0, 0), 8);
        let prefixes: Vec<_> = (0..PEERS).map(|at| (IpNet::V4(shared), peer(at))).collect();
        let mut network = L3Network::new(&rules(), &[], now, 0x5eed);
        network.set_routes(Routes::new(&prefixes));
        (0..PEERS).for_each(|at| network.add_peer(peer(at)));
        for (at, ip) in hosts.iter().enumerate() {
            assert!(network.learn(*ip, Ingress::Peer(peer(at)), now).is_ok());
        }
        bench(criterion, "packets, learned hosts", &hosts, |to| {
            let _ = black_box(network.learn(LOCAL_IP, Ingress::Device, now));
            black_box(network.verdict(to, Ingress::Device, 1, now));
        });
    }
}

fn bench<T: Copy>(criterion: &mut Criterion, name: &str, keys: &[T], mut packet: impl FnMut(T)) {
    let mut group = criterion.benchmark_group(name);
    group.throughput(Throughput::Elements(1));
    for (kind, order) in [("uniform", uniform(keys)), ("zipf", zipf(keys))] {
        let mut at = 0;
        group.bench_function(BenchmarkId::new(kind, keys.len()), |bencher| {
            bencher.iter(|| {
                at = (at + 1) % SAMPLES;
                packet(order[at]);
            });
        });
    }
    group.finish();
}

fn rules() -> Rules {
    let limits = Limits { network: 2_000_000, per_peer: 2_000_000, local: 1000 };
    Rules { learning: Learning { limits, ..Learning::default() }, ..Rules::default() }
}

fn peer(at: usize) -> PeerId {
    PeerId::new(at % PEERS, 0)
}

/// The nth MAC: unicast, and otherwise without pattern.
fn mac(n: u64) -> [u8; 6] {
    let [a, b, c, d, e, f, ..] = mix(n).to_be_bytes();
    [a & 0xfe | 0x02, b, c, d, e, f]
}

/// The nth address in 10.0.0.0/8, spread over it.
fn host(n: u32) -> IpAddr {
    // An odd factor: no address comes twice.
    Ipv4Addr::from(0x0a00_0000 | (n + 1).wrapping_mul(0x9e_3779) & 0x00ff_ffff).into()
}
