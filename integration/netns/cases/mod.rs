//! The cases, by what they are about.

mod bad_wire;
mod bench;
mod bench_yardstick;
mod beside_noise;
mod big_tcp;
mod bridged;
mod demo;
mod exact;
mod flood;
mod kernel_alone;
mod lifecycle;
mod nested;
mod noise;
mod offload;
mod order;
mod outer;
mod pairs;
mod quic;
mod quic_changes;
mod quic_crowd;
mod quic_far;
mod quic_flood;
mod quic_format;
mod quic_path_mtu;
mod quic_refusals;
mod scene;
mod security;
mod shared_prefix;
mod two_hosts;
mod underlay;
mod wg_program;
mod wg_real;
mod wg_real_changes;
mod wg_tool;
mod wireguard;
mod wireguard_crowd;
mod wireguard_flood;
mod wireguard_names;
mod wireguard_refusals;
mod wireguard_rekey;
mod wireguard_roaming;
mod wireguard_tap;
mod wireguard_wire;
mod workers;

use crate::harness::Case;

/// Gives every case.
pub fn all() -> Vec<Case> {
    let groups = [
        kernel_alone::cases(),
        pairs::cases(),
        flood::cases(),
        exact::cases(),
        shared_prefix::cases(),
        nested::cases(),
        security::cases(),
        bridged::cases(),
        underlay::cases(),
        outer::cases(),
        order::cases(),
        offload::cases(),
        big_tcp::cases(),
        workers::cases(),
        lifecycle::cases(),
        wg_tool::cases(),
        wg_program::cases(),
        quic::cases(),
        wireguard::cases(),
        wireguard_crowd::cases(),
        wireguard_flood::cases(),
        wireguard_names::cases(),
        wireguard_refusals::cases(),
        wireguard_rekey::cases(),
        wireguard_roaming::cases(),
        wireguard_tap::cases(),
        wireguard_wire::cases(),
        wg_real::cases(),
        wg_real_changes::cases(),
        two_hosts::cases(),
        quic_changes::cases(),
        quic_crowd::cases(),
        quic_flood::cases(),
        quic_format::cases(),
        quic_path_mtu::cases(),
        quic_refusals::cases(),
        quic_far::cases(),
        bad_wire::cases(),
        noise::cases(),
        beside_noise::cases(),
        demo::cases(),
        bench::cases(),
        bench_yardstick::cases(),
        scene::cases(),
    ];
    groups.into_iter().flatten().collect()
}
