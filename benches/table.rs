//! The forwarding table with a million entries: what a lookup costs, what an entry costs, and how
//! long any one call delays a batch. `cargo bench --bench table`
//!
//! The limits are those of the design; the report says which are kept, and the run fails if one is
//! not. Pauses are measured in processes of their own (fresh memory, as in a daemon): the same
//! calls in each of them, of which the shortest time counts, so that a pause is one that the call
//! itself takes and not one that the machine took elsewhere.

mod order;

use std::hint::black_box;
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion, Throughput};

use tunctl::forward::{Learning, Limits, MacKey, Place, Table};
use tunctl::peer::PeerId;

use order::{SAMPLES, mix, uniform, zipf};

const ENTRIES: usize = 1_000_000;
const PEERS: usize = 10;
const BATCH: usize = 64;
const SWEEP_BUDGET: usize = 1024;
/// Lookups that are timed together.
const WINDOW: usize = 4096;
const ROUNDS: usize = 5;
/// Names what a child process of the report does.
const ROUND: &str = "TUNCTL_BENCH_TABLE_ROUND";

const PAUSE_MAX: Duration = Duration::from_millis(1);
const BYTES_MAX: f64 = 64.0;
const UNIFORM_NS_MAX: f64 = 150.0;
const ZIPF_NS_MAX: f64 = 40.0;

fn main() -> ExitCode {
    if std::env::var_os(ROUND).is_some() {
        round();
        return ExitCode::SUCCESS;
    }
    let mut criterion = Criterion::default()
        .warm_up_time(Duration::from_secs(1))
        .measurement_time(Duration::from_secs(2))
        .configure_from_args();
    lookup(&mut criterion);
    learn(&mut criterion);
    criterion.final_summary();
    let is_run = std::env::args().any(|argument| argument == "--bench");
    if is_run && !report() {
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

fn lookup(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("lookup");
    group.throughput(Throughput::Elements(1));
    for entries in [1, 1000, ENTRIES] {
        let now = Instant::now();
        let keys = keys(entries);
        let table = filled(&keys, now);
        for (name, order) in [("uniform", uniform(&keys)), ("zipf", zipf(&keys))] {
            let mut at = 0;
            group.bench_function(BenchmarkId::new(name, entries), |bencher| {
                bencher.iter(|| {
                    at = (at + 1) % SAMPLES;
                    table.lookup(black_box(&order[at]), now)
                });
            });
        }
    }
    group.finish();
}

fn learn(criterion: &mut Criterion) {
    let now = Instant::now();
    let keys = keys(ENTRIES);
    let mut table = filled(&keys, now);
    let mut group = criterion.benchmark_group("learn");
    group.throughput(Throughput::Elements(1));
    let first = (keys[0], place(0));
    group.bench_function("again, the same", |bencher| {
        bencher.iter(|| table.learn(black_box(first.0), first.1, now));
    });
    let mut at = 0;
    group.bench_function("again, uniform among 1000000", |bencher| {
        bencher.iter(|| {
            at = (at + 7919) % ENTRIES;
            table.learn(black_box(keys[at]), place(at), now)
        });
    });
    drop(table);
    let mut table = empty(now);
    group.bench_function("new, as the table grows", |bencher| {
        bencher.iter(|| {
            at += 1;
            if table.len() == ENTRIES {
                table = empty(now);
            }
            table.learn(key(at as u64), place(at), now)
        });
    });
    group.finish();
}

/// Measures and prints what the limits are about; says whether all are kept.
fn report() -> bool {
    println!("\nThe table with {ENTRIES} learned MACs of {PEERS} peers, {ROUNDS} processes");
    let rounds: Vec<Vec<(String, f64)>> = (0..ROUNDS).map(|_| run_round()).collect();
    let mut kept = true;
    for (at, (name, _)) in rounds[0].iter().enumerate() {
        let values = rounds.iter().map(|round| round[at].1);
        let (best, worst) = values
            .fold((f64::MAX, 0.0_f64), |(best, worst), value| (best.min(value), worst.max(value)));
        if !name.contains('#') {
            kept &= line(name, best, worst);
        }
    }
    for phase in ["learn 64 new", "sweep, none dead", "forget", "sweep, forgotten", "sweep, aged"] {
        let of_phase = |round: &[(String, f64)]| -> Vec<f64> {
            let prefix = format!("{phase} #");
            round.iter().filter(|(name, _)| name.starts_with(&prefix)).map(|(_, us)| *us).collect()
        };
        let all: Vec<Vec<f64>> = rounds.iter().map(|round| of_phase(round)).collect();
        let calls = all[0].len();
        let of_call = |call: usize| all.iter().map(move |round| round[call]);
        let best = (0..calls).map(|call| of_call(call).fold(f64::MAX, f64::min));
        let worst = (0..calls).flat_map(of_call).fold(0.0, f64::max);
        let name = format!("{phase}, longest of {calls} calls, us");
        kept &= line(&name, best.fold(0.0, f64::max), worst);
    }
    kept
}

/// Prints a measurement beside its limit, if it has one; says whether it is kept.
fn line(name: &str, best: f64, worst: f64) -> bool {
    let limit = match name {
        name if name.contains("waiting") => f64::INFINITY,
        name if name.starts_with("bytes") => BYTES_MAX,
        name if name.starts_with("uniform") => UNIFORM_NS_MAX,
        name if name.starts_with("zipf") => ZIPF_NS_MAX,
        _ => PAUSE_MAX.as_secs_f64() * 1e6,
    };
    let kept = best <= limit;
    let verdict = match kept {
        _ if limit.is_infinite() => "    ",
        true => "PASS",
        false => "FAIL",
    };
    println!("{verdict} {name:<58} {best:>9.1} (worst process {worst:.1}, limit {limit})");
    kept
}

fn run_round() -> Vec<(String, f64)> {
    let program = std::env::current_exe().expect("this program has a path");
    let output = Command::new(program).env(ROUND, "1").output().expect("it runs again");
    assert!(output.status.success(), "a round failed: {output:?}");
    let text = String::from_utf8(output.stdout).expect("a round prints text");
    let parse = |line: &str| {
        let (name, value) = line.split_once('\t')?;
        Some((name.to_owned(), value.parse().ok()?))
    };
    text.lines().filter_map(parse).collect()
}

/// One process of the report: prints what it measures, a line each.
fn round() {
    let mut now = Instant::now();
    let keys = keys(ENTRIES);
    let orders = [("uniform", uniform(&keys)), ("zipf", zipf(&keys))];
    let mut pauses = Pauses::default();

    let before = resident_bytes();
    let mut table = empty(now);
    let mut bytes_worst = 0.0_f64;
    for (at, batch) in keys.chunks(BATCH).enumerate() {
        pauses.measure("learn 64 new", || {
            for (key, n) in batch.iter().zip(at * BATCH..) {
                assert!(table.learn(*key, place(n), now).is_ok());
            }
        });
        if table.len() >= 100_000 && at % 500 == 0 {
            bytes_worst = bytes_worst.max((resident_bytes() - before) / table.len() as f64);
        }
    }
    println!("bytes an entry\t{}", (resident_bytes() - before) / table.len() as f64);
    println!("bytes an entry, most from 100000 entries on\t{bytes_worst}");
    for (name, order) in &orders {
        println!("{name} lookup, ns\t{}", lookup_ns::<false>(&table, order, now));
        println!(
            "{name} lookup, each waiting for the one before, ns\t{}",
            lookup_ns::<true>(&table, order, now)
        );
    }

    for _ in 0..4 * ENTRIES / SWEEP_BUDGET {
        pauses.measure("sweep, none dead", || table.sweep(now, SWEEP_BUDGET));
    }
    let forgotten = PeerId::new(0, 0);
    assert_eq!(table.len_of(Place::Peer(forgotten)), ENTRIES / PEERS);
    pauses.measure("forget", || table.forget_peer(forgotten));
    assert_eq!(table.len(), ENTRIES - ENTRIES / PEERS);
    for _ in 0..4 * ENTRIES / SWEEP_BUDGET {
        pauses.measure("sweep, forgotten", || table.sweep(now, SWEEP_BUDGET));
    }
    now += Duration::from_secs(300);
    for _ in 0..4 * ENTRIES / SWEEP_BUDGET {
        pauses.measure("sweep, aged", || table.sweep(now, SWEEP_BUDGET));
    }
    assert!(table.is_empty());
    pauses.print();
}

/// How long each call took.
#[derive(Default)]
struct Pauses(Vec<(&'static str, Duration)>);

impl Pauses {
    fn measure<T>(&mut self, phase: &'static str, call: impl FnOnce() -> T) {
        let begin = Instant::now();
        black_box(call());
        self.0.push((phase, begin.elapsed()));
    }

    fn print(&self) {
        for (at, (phase, took)) in self.0.iter().enumerate() {
            println!("{phase} #{at}\t{}", took.as_secs_f64() * 1e6);
        }
    }
}

/// Gives the median over windows: others who use the machine disturb some of them.
fn lookup_ns<const IS_CHAIN: bool>(table: &Table<MacKey>, order: &[MacKey], now: Instant) -> f64 {
    let mut windows: Vec<f64> = order
        .chunks(WINDOW)
        .map(|window| {
            let begin = Instant::now();
            let mut at = 0;
            for _ in window {
                let place = black_box(table.lookup(&window[at % WINDOW], now));
                // In a chain the next position depends on what was found: always there.
                at += if IS_CHAIN { usize::from(place.is_some()) } else { 1 };
            }
            begin.elapsed().as_secs_f64() * 1e9 / window.len() as f64
        })
        .collect();
    windows.sort_by(f64::total_cmp);
    windows[windows.len() / 2]
}

fn empty(now: Instant) -> Table<MacKey> {
    let entries = ENTRIES as u32;
    let limits = Limits { network: entries, per_peer: entries, local: entries };
    Table::new(Learning { limits, ..Learning::default() }, now, 0x5eed)
}

fn filled(keys: &[MacKey], now: Instant) -> Table<MacKey> {
    let mut table = empty(now);
    for (at, key) in keys.iter().enumerate() {
        assert!(table.learn(*key, place(at), now).is_ok());
    }
    table
}

fn place(at: usize) -> Place {
    Place::Peer(PeerId::new(at % PEERS, 0))
}

fn keys(count: usize) -> Vec<MacKey> {
    (0..count as u64).map(key).collect()
}

/// The nth MAC: unicast, and otherwise without pattern.
fn key(n: u64) -> MacKey {
    let [a, b, c, d, e, f, ..] = mix(n).to_be_bytes();
    MacKey::new(0, [a & 0xfe | 0x02, b, c, d, e, f])
}

fn resident_bytes() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux has /proc");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.trim().strip_suffix("kB"));
    kib.and_then(|kib| kib.trim().parse::<f64>().ok()).expect("VmRSS is in kB") * 1024.0
}
