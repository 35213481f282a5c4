//! Over QUIC on a long way: what TCP inside reaches, how long its round trips take under load, and
//! what a flood inside leaves to others on the way. Each beside plain TCP on the same way, in turn.

use std::env;
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

/// What TCP's congestion control may be, inside and beside: loss makes the one slow and not the other.
const CONTROLS: [&str; 2] = ["cubic", "bbr"];

/// Names another congestion control for QUIC than the default.
const CONGESTION: &str = "TUNCTL_TEST_CONGESTION";

const ROUNDS: usize = 3;
const TIME: Duration = Duration::from_secs(8);

pub fn cases() -> Vec<Case> {
    let limit = Duration::from_secs(300);
    let mut cases = vec![Case::over_both("measure_way_is_as_said", way_is_as_said)];
    for control in CONTROLS {
        for (name, way) in [("rough", ROUGH), ("long", WAY)] {
            let case = |what, run: fn(Family, Way, &'static str)| {
                let name = format!("measure_quic_{what}_on_a_{name}_way::{control}");
                Case::over_both(&name, move |family| run(family, way, control))
            };
            cases.push(case("stream", stream));
            cases.push(case("round_trips", round_trips));
            // CUBIC alone reaches a fifteenth of the rough way.
            if (control, name) != ("cubic", "rough") {
                cases.push(case("flood", flood));
            }
        }
    }
    let needs = [Need::Program("ethtool")];
    each(cases, |case| case.needs(&needs).needs(OURS).alone().within(limit))
}

fn make(family: Family, way: Way) -> (Pair, Wan) {
    let (nodes, wan) = Wan::between(family, way, 7);
    let mut plan = Plan::new(family, Kind::Tun);
    if let Ok(congestion) = env::var(CONGESTION) {
        for end in &mut plan.ends {
            end.table = format!("congestion = \"{congestion}\"");
        }
    }
    let pair = plan.launch(nodes, None);
    until_up(&pair);
    (pair, wan)
}

/// The way beside the tunnel, and the one through it.
fn lines<'a>(pair: &'a Pair, control: &'static str) -> [Line<'a>; 2] {
    let [from, to] = [pair.host(0), pair.host(1)];
    [pair.nodes[1].address, overlay(1)[0]].map(|address| Line { from, to, address, control })
}

fn stream(family: Family, way: Way, control: &'static str) {
    let (pair, wan) = make(family, way);
    let ratios = (0..ROUNDS).map(|_| {
        let [plain, tunnel] =
            lines(&pair, control).map(|line| line.stream(|| thread::sleep(TIME)).0 / 1e6);
        note(&format!("plain {plain:.1}, tunnel {tunnel:.1} Mbit/s"));
        tunnel / plain
    });
    let ratio = median(ratios);
    note(&format!("tunnel / plain: {ratio:.3}; {:?}", wan.fates));
    assert!(ratio >= 0.7, "{ratio}");
}

/// One round trip in fifty has lost a packet, so that one in a hundred is told from few only by many of
/// them: those of all rounds together.
fn round_trips(family: Family, way: Way, control: &'static str) {
    let (pair, wan) = make(family, way);
    let mut trips = [Vec::new(), Vec::new()];
    for _ in 0..ROUNDS {
        for (line, trips) in lines(&pair, control).into_iter().zip(&mut trips) {
            let ask = || line.round_trips(2 * TIME, Duration::from_millis(5));
            trips.extend(line.stream(ask).1);
        }
    }
    let counts = trips.each_ref().map(Vec::len);
    let [plain, tunnel] = trips.map(|mut trips| {
        trips.sort();
        p99(&trips)
    });
    let ratio = tunnel.as_secs_f64() / plain.as_secs_f64();
    note(&format!("p99 under load: plain {plain:.1?}, tunnel {tunnel:.1?}, of {counts:?}"));
    note(&format!("tunnel / plain: {ratio:.3}; {:?}", wan.fates));
    assert!(ratio <= 3.0, "{ratio}");
}

fn flood(family: Family, way: Way, control: &'static str) {
    let (pair, wan) = make(family, way);
    let [plain, tunnel] = lines(&pair, control);
    let shares = (0..ROUNDS).map(|_| {
        let rate = tunnel.flood(2 * way.rate, || plain.stream(|| thread::sleep(TIME)).0);
        note(&format!("beside a flood: {:.1} Mbit/s", rate / 1e6));
        rate / way.rate as f64
    });
    let share = median(shares);
    note(&format!("share of the way: {share:.3}; {:?}", wan.fates));
    assert!(share >= 0.3, "{share}");
}

/// What is measured by is as it says: a yardstick that is wrong makes every figure wrong.
fn way_is_as_said(family: Family) {
    let ([left, right], _wan) = Wan::between(family, WAY, 7);
    let line =
        Line { from: &left.host, to: &right.host, address: right.address, control: CONTROLS[0] };
    let idle = line.round_trips(Duration::from_secs(1), Duration::from_millis(5));
    let (rate, ()) = line.stream(|| thread::sleep(Duration::from_secs(4)));
    note(&format!("{:.1?}, {:.1} Mbit/s", idle[idle.len() / 2], rate / 1e6));
    assert!((20..30).contains(&idle[idle.len() / 2].as_millis()), "{idle:?}");
    assert!((60e6..100e6).contains(&rate), "{rate}");
}
