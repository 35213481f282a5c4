//! Over QUIC on a long way: what TCP inside reaches, how long its round trips take under load, and
//! what a flood inside leaves to others on the way. Each beside plain TCP on the same way, in turn.

use std::thread;
use std::time::Duration;

use crate::harness::{Case, each, note};
use crate::load::{Line, median, p99};
use crate::need::{Need, OURS};
use crate::pair::{Kind, Pair, overlay};
use crate::place::Family;
use crate::quic_pair::{Plan, until_up};
use crate::wan::{Wan, Way};

/// 100 Mbit/s, 20 ms there and back, and as much queue as is on the way.
const WAY: Way = Way {
    rate: 100_000_000,
    delay: Duration::from_millis(10),
    queue: 250_000,
    loss: 0,
    overtaken: 0,
};

/// The same with losses and reordering.
const ROUGH: Way = Way { loss: 10, overtaken: 10, ..WAY };

const ROUNDS: usize = 3;
const TIME: Duration = Duration::from_secs(8);

pub fn cases() -> Vec<Case> {
    let limit = Duration::from_secs(300);
    let cases = [
        Case::over_both("measure_quic_stream_on_a_rough_way", |family| stream(family, ROUGH)),
        Case::over_both("measure_quic_stream_on_a_long_way", |family| stream(family, WAY)),
        Case::over_both("measure_quic_round_trips_on_a_rough_way", |f| round_trips(f, ROUGH)),
        Case::over_both("measure_quic_round_trips_on_a_long_way", |f| round_trips(f, WAY)),
        Case::over_both("measure_quic_flood_leaves_room", flood),
        Case::over_both("measure_way_is_as_said", way_is_as_said),
    ];
    let needs = [Need::Program("ethtool")];
    each(cases, |case| case.needs(&needs).needs(OURS).alone().within(limit))
}

fn make(family: Family, way: Way) -> (Wan, Pair) {
    let (wan, nodes) = Wan::between(family, way, 7);
    let pair = Plan::new(family, Kind::Tun).launch(nodes, None);
    until_up(&pair);
    (wan, pair)
}

/// The way beside the tunnel, and the one through it.
fn lines(pair: &Pair) -> [Line<'_>; 2] {
    let [from, to] = [pair.host(0), pair.host(1)];
    [pair.nodes[1].address, overlay(1)[0]].map(|address| Line { from, to, address })
}

fn stream(family: Family, way: Way) {
    let (wan, pair) = make(family, way);
    let ratios = (0..ROUNDS).map(|_| {
        let [plain, tunnel] = lines(&pair).map(|line| line.stream(|| thread::sleep(TIME)).0 / 1e6);
        note(&format!("plain {plain:.1}, tunnel {tunnel:.1} Mbit/s"));
        tunnel / plain
    });
    let ratio = median(ratios);
    note(&format!("tunnel / plain: {ratio:.3}; {:?}", wan.fates));
    assert!(ratio >= 0.7, "{ratio}");
}

fn round_trips(family: Family, way: Way) {
    let (wan, pair) = make(family, way);
    let ratios = (0..ROUNDS).map(|_| {
        let [plain, tunnel] = lines(&pair).map(|line| {
            let ask = || line.round_trips(TIME, Duration::from_millis(5));
            p99(&line.stream(ask).1)
        });
        note(&format!("p99 under load: plain {plain:.1?}, tunnel {tunnel:.1?}"));
        tunnel.as_secs_f64() / plain.as_secs_f64()
    });
    let ratio = median(ratios);
    note(&format!("tunnel / plain: {ratio:.3}; {:?}", wan.fates));
    assert!(ratio <= 3.0, "{ratio}");
}

fn flood(family: Family) {
    let (wan, pair) = make(family, WAY);
    let [plain, tunnel] = lines(&pair);
    let shares = (0..ROUNDS).map(|_| {
        let rate = tunnel.flood(2 * WAY.rate, || plain.stream(|| thread::sleep(TIME)).0);
        note(&format!("beside a flood: {:.1} Mbit/s", rate / 1e6));
        rate / WAY.rate as f64
    });
    let share = median(shares);
    note(&format!("share of the way: {share:.3}; {:?}", wan.fates));
    assert!(share >= 0.3, "{share}");
}

/// What is measured by is as it says: a yardstick that is wrong makes every figure wrong.
fn way_is_as_said(family: Family) {
    let (_wan, [left, right]) = Wan::between(family, WAY, 7);
    let line = Line { from: &left.host, to: &right.host, address: right.address };
    let idle = line.round_trips(Duration::from_secs(1), Duration::from_millis(5));
    let (rate, ()) = line.stream(|| thread::sleep(Duration::from_secs(4)));
    note(&format!("{:.1?}, {:.1} Mbit/s", idle[idle.len() / 2], rate / 1e6));
    assert!((20..30).contains(&idle[idle.len() / 2].as_millis()), "{idle:?}");
    assert!((60e6..100e6).contains(&rate), "{rate}");
}
