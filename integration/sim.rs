//! Whole networks of nodes in virtual time, over a wire that loses, reorders, copies and corrupts.
//!
//! A seed is a plan: nodes, networks, hosts, faults. Every packet that a host sends is recorded,
//! and everything that a node sends or delivers is held against the record (`sim/check`).
//!
//! `TUNCTL_SIM_SEEDS=N` runs N seeds instead of the default, `TUNCTL_SIM_SEED=N` only that one;
//! with `TUNCTL_SIM_TRACE=1` and `--nocapture` it tells everything that happens.

#[path = "sim/mod.rs"]
mod sim;

use std::num::NonZero;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::{env, iter, panic, thread};

use sim::{Plan, Stats, World};

/// Seeds of a plain run; they take seconds.
const SEEDS: u64 = 200;

/// Seeds that have found a fault once, and find it again when it is put back: checksums finished
/// twice (17, 155), ICMP errors to the wrong side (23, 362), the MSS of a SYN with a partial
/// checksum (134, 149), fragments of a packet with a wrong header checksum (140, 539), an answer to a packet that fits (52).
const REGRESSIONS: &[u64] = &[17, 23, 52, 134, 140, 149, 155, 362, 539];

#[test]
fn networks_keep_the_rules_under_every_seed() {
    if let Some(seed) = number("TUNCTL_SIM_SEED") {
        println!("{:?}", run(seed).expect("a rule is broken"));
        return;
    }
    run_all((0..number("TUNCTL_SIM_SEEDS").unwrap_or(SEEDS)).collect());
}

#[test]
fn networks_keep_the_rules_under_seeds_that_once_broke_one() {
    run_all(REGRESSIONS.to_vec());
}

/// Runs seeds on all processors; says which of them broke a rule.
fn run_all(seeds: Vec<u64>) {
    let next = AtomicUsize::new(0);
    let work = || {
        let turns = iter::from_fn(|| seeds.get(next.fetch_add(1, Ordering::Relaxed)));
        turns.filter_map(|seed| run(*seed).err()).collect::<Vec<_>>()
    };
    let workers = thread::available_parallelism().map_or(1, NonZero::get);
    let broken: Vec<_> = thread::scope(|scope| {
        let workers: Vec<_> = (0..workers).map(|_| scope.spawn(work)).collect();
        workers.into_iter().flat_map(|worker| worker.join().expect("panics are caught")).collect()
    });
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

fn run(seed: u64) -> Result<Stats, String> {
    match panic::catch_unwind(|| World::new(Plan::new(seed)).run()) {
        Ok(Ok(stats)) => Ok(stats),
        Ok(Err(violation)) => Err(format!("seed {seed}: {violation}")),
        Err(_) => Err(format!("seed {seed}: panic")),
    }
}

fn number(name: &str) -> Option<u64> {
    env::var(name).ok()?.parse().ok()
}
