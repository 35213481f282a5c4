//! What drives QUIC: our batches around `quinn-proto`, or the tasks that `quinn` has around it.
//! Datagrams of a tunnel's size between two sockets of the loopback device, as fast as they go, in
//! turn; rates and processor time. `cargo bench --bench quic`

mod drivers;

use std::time::Duration;

use drivers::{Sample, ours, stock};

/// Rounds, and how long each driver is measured in a round.
const ROUNDS: usize = 7;
const TIME: Duration = Duration::from_secs(1);

fn main() {
    // `cargo test --benches` runs it too, to see that it works.
    let is_measured = std::env::args().any(|argument| argument == "--bench");
    let (rounds, time) = if is_measured { (ROUNDS, TIME) } else { (1, TIME / 20) };
    let mut samples = Vec::new();
    for round in 0..rounds {
        let mut pair = [None; 2];
        // Whoever is first finds the machine in another state.
        for place in [round % 2, 1 - round % 2] {
            pair[place] = Some(if place == 0 { ours::run(time) } else { stock::run(time) });
        }
        samples.push(pair.map(|sample| sample.expect("both were measured")));
    }
    println!("driver  Gbit/s  min-max      CPU s/GB  of {rounds} rounds of {time:?}");
    for (place, name) in ["tunctl", "quinn"].into_iter().enumerate() {
        let rates = sorted(samples.iter().map(|pair| pair[place].gbits()));
        let costs = sorted(samples.iter().map(|pair| pair[place].secs_per_gb()));
        let (least, most) = (rates[0], rates[rates.len() - 1]);
        println!("{name:7} {:6.2}  {least:.2}-{most:.2}  {:12.2}", mid(&rates), mid(&costs));
    }
    let ratio = |of: fn(&Sample) -> f64| {
        mid(&sorted(samples.iter().map(|[ours, stock]| of(ours) / of(stock))))
    };
    println!(
        "tunctl / quinn, within a round: rate {:.2}, CPU {:.2}",
        ratio(Sample::gbits),
        ratio(Sample::secs_per_gb)
    );
}

fn sorted(figures: impl Iterator<Item = f64>) -> Vec<f64> {
    let mut figures: Vec<_> = figures.collect();
    figures.sort_by(f64::total_cmp);
    figures
}

fn mid(sorted: &[f64]) -> f64 {
    sorted[sorted.len() / 2]
}
