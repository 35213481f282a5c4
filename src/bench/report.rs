//! What was measured: the JSON of `tunctl bench --json`.
//!
//! The fields are the keys. They are stable: a later version may add some, it renames and removes
//! none. Rates are in bits and packets a second, times in seconds or (`_us`) microseconds, a
//! gigabyte (`_gb`) is 10^9 bytes of payload. What could not be measured is null, and
//! [`Report::missing`] says why.
//!
//! The figures of a measure are those of [`Quantity`](super::quantity::Quantity), by their keys:
//!
//! | measure | figures |
//! | --- | --- |
//! | `tcp-N` | `bits_per_sec` `fairness` `retransmits` `daemon_cpu_secs_per_gb` `machine_cpu_secs_per_gb` `syscalls_per_gb` `segments_per_device_read` `datagrams_per_send` `datagrams_per_receive` `segments_per_device_write` `wire_packet_bytes` `packets_per_wire_packet` |
//! | `udp-64`, `udp-mixed` | `received_pps` `sent_pps` `lost_share` `overrun` `refused` `disordered` `daemon_cpu_us_per_packet` `machine_cpu_us_per_packet` |
//! | `udp-64-lossless`, `udp-mixed-lossless` | `received_pps` `steps` |
//! | `rtt`, `rtt-loaded` | `p50_us` `p99_us` `p999_us` (half the round trip) `answered` `lost`; loaded: `bits_per_sec` of the stream beside it |
//! | `table` | `large_to_small` `small_bits_per_sec` `large_bits_per_sec` |
//! | `spread` | `many_to_one` `one_pps` `many_pps` |

use std::collections::BTreeMap;

use serde::Serialize;

use super::roofline::{Limit, Roofline};
use super::stat::Spread;

/// `tunctl bench --json`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Report {
    /// The program that measured, and whose daemons were measured.
    pub tunctl: Build,
    /// What it ran on.
    pub machine: Machine,
    /// What was asked for.
    pub settings: Settings,
    /// When it began, seconds since 1970.
    pub started_unix_secs: u64,
    /// The time that was announced before, seconds: it should take no longer.
    pub announced_secs: f64,
    /// The time that it took, seconds.
    pub took_secs: f64,
    /// How many groups of samples were repeated because somebody else disturbed them.
    pub repeated_groups: u32,
    /// How many samples were not made because the announced time was over.
    pub left_out_samples: usize,
    /// What this machine could do at best; null unless it was asked for (`--roofline`).
    pub roofline: Option<Roofline>,
    /// The cases, in the order in which they were asked for.
    pub cases: Vec<CaseReport>,
    /// What is null above, and why.
    pub missing: Vec<Missing>,
    /// Every sample, in the order in which they were made.
    pub samples: Vec<Sample>,
}

/// A build of the program.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Build {
    /// The version, such as `0.1.0`.
    pub version: String,
    /// The commit that it was built from, with `-dirty` if the sources had changes; null if it was
    /// not built from a repository.
    pub commit: Option<String>,
    /// Whether it was built with optimisation (`--release`).
    pub optimized: bool,
}

/// A machine, as it was before the first sample.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Machine {
    /// The processor's name; null where the kernel does not tell it.
    pub cpu: Option<String>,
    /// The cores that the process may use.
    pub cores: u32,
    /// The kernel's release.
    pub kernel: Option<String>,
    /// The load averages of the last 1, 5 and 15 minutes.
    pub load_average: Option<[f64; 3]>,
}

/// What was asked for.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Settings {
    /// `"nic"`: packets on the wire are MTU-sized, as with a real network card. `"veth"`:
    /// aggregates of up to 64 KiB cross it unsegmented, which no real network does.
    pub underlay: String,
    /// What the wire carries, bytes.
    pub mtu: u32,
    /// The congestion control of the TCP streams.
    pub congestion: String,
    /// TOML that was put into the configuration of our daemons.
    pub set: String,
    /// The length of a sample, seconds.
    pub secs: f64,
    /// How often each sample was made.
    pub rounds: u32,
    /// The measures, in the order in which they were made.
    pub measures: Vec<String>,
}

/// A case and all that was measured of it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct CaseReport {
    /// The name, such as `"vxlan-tap"`.
    pub name: String,
    /// Whose it is.
    pub kind: Kind,
    /// Whether it encrypts.
    pub encrypted: bool,
    /// The memory in use after the run by that of its daemons that has more, bytes; null if it has
    /// none.
    pub resident_bytes: Option<u64>,
    /// The packets that our daemons dropped, by reason, both together; null if it has none of ours.
    pub drops: Option<BTreeMap<String, u64>>,
    /// What `tcp-1` could reach at best; null without [`Report::roofline`], and for a case that its
    /// model does not know.
    pub limit: Option<CaseLimit>,
    /// What was measured, by the measure's name; null if it cannot be measured in this case.
    pub measures: BTreeMap<String, Option<MeasureReport>>,
}

/// What one TCP stream of a case could reach at best, and what it did reach.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct CaseLimit {
    /// The limit: `device`, `cipher`, `gbit`, `woken_gbit`, `bound`.
    #[serde(flatten)]
    pub limit: Limit,
    /// The rate of `tcp-1` as a share of `gbit`; null if `tcp-1` has no rate.
    pub share: Option<Spread>,
}

/// Whose work carries the packets of a case.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// `"baseline"`: the kernel's alone.
    Baseline,
    /// `"ours"`: at least at one end a daemon of ours.
    Ours,
    /// `"rival"`: another program.
    Rival,
}

/// One measure of one case.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct MeasureReport {
    /// The rounds that its figures are made of.
    pub rounds: u32,
    /// The rounds among these in which somebody else took processor time.
    pub disturbed_rounds: u32,
    /// The figures by their keys.
    pub figures: BTreeMap<String, Option<Figure>>,
}

/// A figure over all rounds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Figure {
    /// Median, smallest and largest value.
    #[serde(flatten)]
    pub spread: Spread,
    /// The ratio to the same figure of `raw`: the median of each round's ratio, and its spread;
    /// null where `raw` has no such figure above zero.
    pub to_raw: Option<Spread>,
    /// The ratio to the same figure of `kernel-vxlan`, likewise.
    pub to_kernel_vxlan: Option<Spread>,
}

/// Something that has no value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Missing {
    /// The case.
    pub case: String,
    /// The measure; null = what is told of the case as a whole, or all of its measures.
    pub measure: Option<String>,
    /// The keys; empty = all.
    pub figures: Vec<String>,
    /// Why.
    pub reason: String,
}

/// One measurement: a measure of a case in a round.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Sample {
    /// The round, counted from 1.
    pub round: u32,
    /// 1 = the first in this round; more = repeated because of a disturbance.
    pub attempt: u32,
    /// The measure's name.
    pub measure: String,
    /// The case's name.
    pub case: String,
    /// Whether it is in the figures; one that was repeated is not.
    pub counted: bool,
    /// Why there are no values; null if there are.
    pub fault: Option<String>,
    /// The values by the keys of their figures.
    pub values: BTreeMap<String, f64>,
    /// What it cost; null where there are no values.
    pub usage: Option<Cost>,
}

/// What a sample cost, from before its first packet until after its last.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Cost {
    /// The time that it took.
    pub wall_secs: f64,
    /// Processor time of all cores, of everything that ran.
    pub machine_cpu_secs: f64,
    /// Processor time of the daemons of the case.
    pub daemon_cpu_secs: f64,
    /// Processor time that the hypervisor gave to others.
    pub steal_secs: f64,
    /// Processor time of processes that have nothing to do with it.
    pub foreign_cpu_secs: f64,
    /// Whether the two were so much that the sample says little.
    pub disturbed: bool,
}

impl Report {
    /// Gives the case of that name.
    pub fn case(&self, name: &str) -> Option<&CaseReport> {
        self.cases.iter().find(|case| case.name == name)
    }

    /// Gives what is missing although it was tried: what failed, not what a case cannot have.
    pub fn faults(&self) -> impl Iterator<Item = &Sample> {
        self.samples.iter().filter(|sample| sample.fault.is_some())
    }
}

impl CaseReport {
    /// Gives one figure of a measure.
    pub fn figure(&self, measure: &str, key: &str) -> Option<&Figure> {
        self.measures.get(measure)?.as_ref()?.figures.get(key)?.as_ref()
    }
}

#[cfg(test)]
mod tests {
    use crate::bench::made_up;

    #[test]
    fn figures_have_the_documented_keys() {
        let json = serde_json::to_value(made_up::report()).unwrap();
        let case = &json["cases"][2];
        assert_eq!(
            (&case["name"], &case["kind"], &case["encrypted"]),
            (&"vxlan-tap".into(), &"ours".into(), &false.into())
        );
        assert_eq!(case["drops"]["socket_full"], 7);
        let measure = &case["measures"]["rtt"];
        assert_eq!((&measure["rounds"], &measure["disturbed_rounds"]), (&3.into(), &0.into()));
        let figure = measure["figures"]["p50_us"].as_object().unwrap();
        let keys: Vec<_> = figure.keys().collect();
        assert_eq!(keys, ["max", "median", "min", "to_kernel_vxlan", "to_raw"]);
        let missing = json["missing"].as_array().unwrap();
        let rival = missing.iter().find(|missing| missing["case"] == "wireguard-go").unwrap();
        assert_eq!(
            (&rival["measure"], rival["figures"].as_array().unwrap().len()),
            (&().into(), 0)
        );
    }
}
