//! One TCP stream stays in order: the receiver never queues out-of-order segments.

use std::fs;

use crate::harness::{Case, each, note};
use crate::need::OURS;
use crate::pair::{Kind, Pair, overlay};
use crate::place::Family;
use crate::tcp::{self, Transfer};

/// What the paced stream is to have at least.
const SEGMENTS: u64 = 1_000_000;

/// More than a segment carries over a wire of 1500 bytes.
const SEGMENT_LEN: u64 = 1460;

pub fn cases() -> Vec<Case> {
    let cases = [
        Case::over_both("million_paced_segments_through_tap_stay_in_order", |family| {
            in_order(family, Kind::Tap);
        }),
        Case::over_both("million_paced_segments_through_tun_stay_in_order", |family| {
            in_order(family, Kind::Tun);
        }),
    ];
    each(cases, |case| case.needs(OURS).alone())
}

fn in_order(family: Family, kind: Kind) {
    let pair = Pair::new(family, [kind, kind]);
    let [address, _] = overlay(1);
    let maximum = tcp::send(pair.host(0), pair.host(1), address, 512 << 20);
    let pacing = (maximum.bytes_per_sec() * 0.8) as u64;
    let before = out_of_order(&pair);
    let rate = Transfer {
        from: pair.host(0),
        to: pair.host(1),
        address,
        bytes: SEGMENTS * SEGMENT_LEN,
        pacing: Some(pacing),
    }
    .make();
    note(&format!("maximum {maximum}; paced {rate}"));
    assert_eq!(out_of_order(&pair), before, "TCPOFOQueue of the receiver");
}

/// Gives the receiver's TCPOFOQueue (RFC-less; net/ipv4/proc.c).
fn out_of_order(pair: &Pair) -> u64 {
    let text = pair.host(1).run(|| fs::read_to_string("/proc/thread-self/net/netstat")).unwrap();
    let mut lines = text.lines().filter(|line| line.starts_with("TcpExt:"));
    let names = lines.next().unwrap().split_whitespace();
    let values = lines.next().unwrap().split_whitespace();
    let (_, value) = names.zip(values).find(|(name, _)| *name == "TCPOFOQueue").unwrap();
    value.parse().unwrap()
}
