//! Keys are renewed under load, and nobody notices.
//!
//! Longer than the suite has time for:
//! `cargo test --release --test netns -- long_wireguard_keys --nocapture`: a minute and ten
//! minutes with new keys every two seconds, a minute of it as fast as it goes, 130 s with the keys'
//! natural age, and packets after a silence in which all keys expire (180 s) or are forgotten
//! (540 s).

use std::thread;
use std::time::{Duration, Instant};

use super::wireguard::{NEEDS_GO, nothing_refused};
use crate::daemon::Daemon;
use crate::flow::Flow;
use crate::harness::{Case, each, note};
use crate::load::Line;
use crate::need::OURS;
use crate::pair::{Pair, overlay};
use crate::place::{Family, ping};
use crate::program::Brand;
use crate::tcp::Transfer;
use crate::wireguard::{Plan, Speaker};

const GO: Speaker = Speaker::Program(Brand::WireguardGo);

/// Bytes a second of the transfer: far below what it could be.
const PACING: u64 = 8 << 20;

pub fn cases() -> Vec<Case> {
    let ours = [
        Case::over_both("wireguard_keys_are_renewed_under_load", |family| {
            renewed(family, [Speaker::Tun; 2], 20, Some(2));
        }),
        Case::over_both("long_wireguard_keys_for_a_minute", |family| {
            renewed(family, [Speaker::Tun; 2], 60, Some(2));
        }),
        Case::over_both("long_wireguard_keys_under_full_load", |family| {
            renewed_under_full_load(family, 60, 2);
        }),
        Case::over_both("long_wireguard_keys_for_130_s_of_their_natural_age", |family| {
            renewed(family, [Speaker::Tun; 2], 130, None);
        }),
        Case::over_both("long_wireguard_keys_for_ten_minutes", |family| {
            renewed(family, [Speaker::Tun; 2], 600, Some(2));
        })
        .into_iter()
        .map(|case| case.within(Duration::from_secs(660)))
        .collect(),
    ];
    let go = [
        Case::over_both("wireguard_keys_are_renewed_under_load_with_wireguard_go", |family| {
            renewed(family, [Speaker::Tun, GO], 20, Some(2));
        }),
        Case::over_both("long_wireguard_keys_for_130_s_with_wireguard_go", |family| {
            renewed(family, [Speaker::Tun, GO], 130, None);
        }),
        Case::over_both("long_wireguard_keys_for_130_s_from_wireguard_go", |family| {
            renewed(family, [GO, Speaker::Tun], 130, None);
        }),
    ];
    let silences = [
        Case::over_both("long_wireguard_keys_that_expired_in_silence", |family| {
            silence(family, Duration::from_secs(200));
        }),
        Case::over_both("long_wireguard_keys_that_were_forgotten_in_silence", |family| {
            silence(family, Duration::from_secs(560));
        }),
    ];
    let silences = each(silences, |case| case.needs(OURS).within(Duration::from_secs(600)));
    let go = each(go, |case| case.needs(NEEDS_GO).needs(OURS));
    each(ours, |case| case.needs(OURS)).into_iter().chain(go).chain(silences).collect()
}

/// End 0 begins, and renews the keys.
fn renewed(family: Family, speakers: [Speaker; 2], secs: u64, rekey_after_secs: Option<u64>) {
    renews(family, speakers, secs, rekey_after_secs, |pair, ours| {
        let [v4, _] = overlay(1);
        let bytes = secs * PACING;
        let pacing = Some(PACING);
        let [from, to] = [pair.host(0), pair.host(1)];
        let transfer = Transfer { from, to, address: v4, bytes, pacing };
        thread::scope(|scope| {
            let transfer = scope.spawn(move || transfer.make());
            let renewals = Renewals::looked_for(ours, || transfer.is_finished());
            let rate = transfer.join().unwrap_or_else(|_| panic!("the transfer failed"));
            note(&rate.to_string());
            renewals
        })
    });
}

/// The same, with as much as the tunnel carries.
fn renewed_under_full_load(family: Family, secs: u64, rekey_after_secs: u64) {
    renews(family, [Speaker::Tun; 2], secs, Some(rekey_after_secs), |pair, ours| {
        let [address, _] = overlay(1);
        let line = Line { from: pair.host(0), to: pair.host(1), address, control: "cubic" };
        let end = Instant::now() + Duration::from_secs(secs);
        let (rate, renewals) = line.stream(|| Renewals::looked_for(ours, || Instant::now() > end));
        note(&format!("{:.2} Gbit/s", rate / 1e9));
        renewals
    });
}

fn renews(
    family: Family,
    speakers: [Speaker; 2],
    secs: u64,
    rekey_after_secs: Option<u64>,
    load: impl FnOnce(&Pair, &Daemon) -> u64,
) {
    let table = rekey_after_secs.map(|secs| format!("rekey_after_secs = {secs}"));
    let plan = Plan::new(family, speakers).begun_by(0);
    let pair = plan.end(0, |end| end.table = table.unwrap_or_default()).make();
    pair.ping_both_ways();
    let drops = || pair.daemons.each_ref().map(|daemon| daemon.as_ref().map(all_drops));
    let ours = pair.daemons.iter().flatten().next().expect("an end is ours");
    let before = drops();
    let every = Duration::from_millis(2);
    // The other way round: both ends seal all the time.
    let [_, back] = overlay(0);
    let flow = Flow { from: pair.host(1), to: pair.host(0), address: back, every };
    let (arrivals, renewals) = flow.during(|| load(&pair, ours));
    note(&format!("{renewals} renewals; {arrivals:?}"));
    // Their age is looked at every few hundred milliseconds: it may be a second too late.
    let least = secs / (rekey_after_secs.unwrap_or(120) + 1);
    assert!(renewals >= least, "{renewals} renewals, {least} are due");
    assert_eq!((arrivals.lost, arrivals.repeated, arrivals.changed), (0, 0, 0), "{arrivals:?}");
    assert_eq!(drops(), before, "drops, before and after");
    nothing_refused(&pair);
}

/// After a silence either end can go on at once, and loses nothing.
fn silence(family: Family, time: Duration) {
    let pairs = [0, 1].map(|begins| {
        let pair = Plan::new(family, [Speaker::Tun; 2]).begun_by(begins).make();
        pair.ping_both_ways();
        pair
    });
    let end = Instant::now() + time;
    while Instant::now() < end {
        thread::park_timeout(end.saturating_duration_since(Instant::now()));
    }
    for pair in pairs {
        ping(pair.host(0), overlay(1)[0], "");
        pair.ping_both_ways();
        nothing_refused(&pair);
    }
}

fn all_drops(daemon: &Daemon) -> String {
    daemon.query("drops").to_string()
}

/// How often the newest keys were younger than the last time.
#[derive(Default)]
struct Renewals {
    age: u64,
    count: u64,
}

impl Renewals {
    /// Counts them until something has ended.
    fn looked_for(daemon: &Daemon, has_ended: impl Fn() -> bool) -> u64 {
        let mut renewals = Self::default();
        while !has_ended() {
            renewals.look(daemon);
            thread::park_timeout(Duration::from_millis(50));
        }
        renewals.count
    }

    fn look(&mut self, daemon: &Daemon) {
        let peers = daemon.query("peers");
        let age = peers[0]["last_handshake_secs"].as_u64().expect("there are keys");
        self.count += u64::from(age < self.age);
        self.age = age;
    }
}
