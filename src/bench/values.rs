//! From one measurement to the values of its figures.

use std::collections::BTreeMap;

use super::case::Case;
use super::meter::Usage;
use super::quantity::Quantity;
use super::report::{Cost, Kind};
use super::scene::WireCounters;
use super::summary::{is_ours, kind_of};
use super::traffic::{LosslessFigure, RttFigure, TcpFigure, UdpFigure};
use crate::api::report::Worker;

/// The bytes that costs are told for.
const GIGABYTE: f64 = 1e9;

/// Bytes of an Ethernet header, which a packet of the MTU has before it.
const ETHERNET_HEADER: f64 = 14.0;

/// What daemons and wire have counted since they are there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// The workers of our daemons, the left one first.
    pub workers: Vec<Worker>,
    /// The wire.
    pub wire: WireCounters,
    /// The wire's MTU, bytes.
    pub mtu: u32,
}

/// Values by the keys of their figures.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Values(BTreeMap<String, f64>);

impl Counters {
    /// Gives what was counted after `earlier`.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        let workers = self.workers.iter().zip(&earlier.workers);
        Self {
            workers: workers.map(|(now, then)| now.since(then)).collect(),
            wire: self.wire.since(earlier.wire),
            mtu: self.mtu,
        }
    }
}

impl Values {
    /// Gives the values of TCP streams that cost this much.
    pub fn of_tcp(case: Case, figure: &TcpFigure, usage: &Usage, counted: &Counters) -> Self {
        let mut values = Self::default();
        values.put(Quantity::BitsPerSec, figure.bits_per_sec);
        values.put(Quantity::Fairness, fairness(&figure.streams));
        values.put(Quantity::Retransmits, figure.retransmits as f64);
        values.put_wire(counted);
        let gigabytes = figure.bytes_total as f64 / GIGABYTE;
        let daemons = usage.daemon_cpu.as_secs_f64();
        if kind_of(case) != Kind::Baseline {
            values.put_ratio(Quantity::DaemonCpuSecsPerGb, daemons, gigabytes);
        }
        values.put_ratio(Quantity::MachineCpuSecsPerGb, usage.machine_cpu.as_secs_f64(), gigabytes);
        if !counted.workers.is_empty() {
            let calls: u64 = counted.workers.iter().map(calls).sum();
            values.put_ratio(Quantity::SyscallsPerGb, calls as f64, gigabytes);
        }
        values.put_batches(case, &counted.workers);
        values
    }

    /// Gives the values of UDP packets that were sent as fast as they go.
    pub fn of_udp(case: Case, figure: &UdpFigure, usage: &Usage) -> Self {
        let mut values = Self::default();
        values.put(Quantity::ReceivedPps, figure.received_pps);
        values.put(Quantity::SentPps, figure.sent_pps);
        values.put(Quantity::LostShare, figure.loss());
        values.put(Quantity::Overrun, figure.overrun as f64);
        values.put(Quantity::Refused, figure.refused as f64);
        values.put(Quantity::Disordered, figure.duplicated_or_reordered as f64);
        let packets = figure.received as f64;
        if kind_of(case) != Kind::Baseline {
            let micros = usage.daemon_cpu.as_secs_f64() * 1e6;
            values.put_ratio(Quantity::DaemonCpuUsPerPacket, micros, packets);
        }
        let micros = usage.machine_cpu.as_secs_f64() * 1e6;
        values.put_ratio(Quantity::MachineCpuUsPerPacket, micros, packets);
        values
    }

    /// Gives the values of a search for the highest rate without loss.
    pub fn of_lossless(figure: &LosslessFigure) -> Self {
        let mut values = Self::default();
        values.put(Quantity::ReceivedPps, figure.received_pps);
        values.put(Quantity::Steps, f64::from(figure.steps));
        values
    }

    /// Gives the values of requests and responses, and of the stream beside them if there was one.
    pub fn of_rtt(figure: &RttFigure, load: Option<&TcpFigure>) -> Self {
        let mut values = Self::default();
        values.put(Quantity::P50Us, figure.p50_us);
        values.put(Quantity::P99Us, figure.p99_us);
        values.put(Quantity::P999Us, figure.p999_us);
        values.put(Quantity::Answered, figure.count as f64);
        values.put(Quantity::Lost, figure.lost as f64);
        if let Some(load) = load {
            values.put(Quantity::BitsPerSec, load.bits_per_sec);
        }
        values
    }

    /// Gives the values of TCP in a small scene and in a large one.
    pub fn of_table(small: &TcpFigure, large: &TcpFigure) -> Self {
        let mut values = Self::default();
        values.put(Quantity::SmallBitsPerSec, small.bits_per_sec);
        values.put(Quantity::LargeBitsPerSec, large.bits_per_sec);
        values.put_ratio(Quantity::LargeToSmall, large.bits_per_sec, small.bits_per_sec);
        values
    }

    /// Gives the values of UDP to one destination and to many.
    pub fn of_spread(one: &UdpFigure, many: &UdpFigure) -> Self {
        let mut values = Self::default();
        values.put(Quantity::OnePps, one.received_pps);
        values.put(Quantity::ManyPps, many.received_pps);
        values.put_ratio(Quantity::ManyToOne, many.received_pps, one.received_pps);
        values
    }

    /// Gives them as a report has them.
    pub fn into_map(self) -> BTreeMap<String, f64> {
        self.0
    }

    /// What is no number is left out: nothing was measured then.
    fn put(&mut self, quantity: Quantity, value: f64) {
        if value.is_finite() {
            self.0.insert(quantity.key().to_owned(), value);
        }
    }

    fn put_ratio(&mut self, quantity: Quantity, value: f64, by: f64) {
        if by > 0.0 {
            self.put(quantity, value / by);
        }
    }

    fn put_wire(&mut self, counted: &Counters) {
        let carried = counted.wire.left_to_right;
        let (bytes, packets) = (carried.bytes as f64, carried.packets as f64);
        self.put_ratio(Quantity::WirePacketBytes, bytes, packets);
        let full = f64::from(counted.mtu) + ETHERNET_HEADER;
        self.put_ratio(Quantity::PacketsPerWirePacket, bytes, packets * full);
    }

    /// Tells how well calls are used in the direction of the data: the left daemon reads from its
    /// device and sends, the right one receives and writes to its device.
    fn put_batches(&mut self, case: Case, workers: &[Worker]) {
        let [is_left, is_right] = case.ends().map(|end| is_ours(&end));
        if is_left && let Some(left) = workers.first() {
            let read = left.device_read_packets as f64;
            self.put_ratio(Quantity::SegmentsPerDeviceRead, read, left.device_reads as f64);
            self.put_ratio(
                Quantity::DatagramsPerSend,
                left.sent_datagrams as f64,
                left.sends as f64,
            );
        }
        if is_right && let Some(right) = workers.last() {
            let received = right.received_datagrams as f64;
            self.put_ratio(Quantity::DatagramsPerReceive, received, right.receives as f64);
            let written = right.device_written_packets as f64;
            self.put_ratio(Quantity::SegmentsPerDeviceWrite, written, right.device_writes as f64);
        }
    }
}

impl Cost {
    /// Gives the cost of a sample.
    pub fn of(usage: &Usage) -> Self {
        Self {
            wall_secs: usage.wall.as_secs_f64(),
            machine_cpu_secs: usage.machine_cpu.as_secs_f64(),
            daemon_cpu_secs: usage.daemon_cpu.as_secs_f64(),
            steal_secs: usage.steal.as_secs_f64(),
            foreign_cpu_secs: usage.foreign_cpu.as_secs_f64(),
            disturbed: usage.is_disturbed(),
        }
    }
}

/// Gives Jain's index of fairness.
fn fairness(rates: &[f64]) -> f64 {
    let sum: f64 = rates.iter().sum();
    let squares: f64 = rates.iter().map(|rate| rate * rate).sum();
    sum * sum / (rates.len() as f64 * squares)
}

fn calls(worker: &Worker) -> u64 {
    let Worker { waits, would_block, device_reads, device_writes, receives, sends, .. } = *worker;
    waits + would_block + device_reads + device_writes + receives + sends
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::bench::scene::Carried;

    #[test]
    fn batches_are_those_of_the_data_not_of_its_acknowledgements() {
        let values = Values::of_tcp(Case::VxlanTap, &tcp(), &usage(), &counted(2)).into_map();
        assert_eq!(values["segments_per_device_read"], 40.0);
        assert_eq!(values["datagrams_per_send"], 20.0);
        assert_eq!(values["datagrams_per_receive"], 10.0);
        assert_eq!(values["segments_per_device_write"], 5.0);
        assert_eq!(values["wire_packet_bytes"], 1500.0);
        assert_eq!(values["packets_per_wire_packet"], 2.0);
    }

    #[test]
    fn costs_are_for_a_gigabyte() {
        let values = Values::of_tcp(Case::VxlanTap, &tcp(), &usage(), &counted(2)).into_map();
        assert_eq!(values["daemon_cpu_secs_per_gb"], 0.5);
        assert_eq!(values["machine_cpu_secs_per_gb"], 1.0);
        // Both daemons: waits 1, would_block 1, reads 100, writes 400, receives 200, sends 200.
        assert_eq!(values["syscalls_per_gb"], 902.0);
        assert_eq!(values["bits_per_sec"], 8e9);
        assert_eq!(values["retransmits"], 3.0);
    }

    #[test]
    fn end_that_is_not_ours_has_no_counters() {
        let left = Values::of_tcp(Case::VxlanTapToKernel, &tcp(), &usage(), &counted(1)).into_map();
        assert!(left.contains_key("datagrams_per_send"));
        assert!(!left.contains_key("datagrams_per_receive"));
        let right =
            Values::of_tcp(Case::KernelToVxlanTap, &tcp(), &usage(), &counted(1)).into_map();
        assert!(!right.contains_key("datagrams_per_send"));
        assert!(right.contains_key("datagrams_per_receive"));
        let raw = Values::of_tcp(Case::Raw, &tcp(), &usage(), &counted(0)).into_map();
        assert!(
            !raw.contains_key("daemon_cpu_secs_per_gb") && !raw.contains_key("syscalls_per_gb")
        );
    }

    #[test]
    fn nothing_carried_gives_no_cost() {
        let figure = TcpFigure { bytes_total: 0, streams: vec![0.0], ..tcp() };
        let values = Values::of_tcp(Case::VxlanTap, &figure, &usage(), &Counters::default());
        assert_eq!(
            values.into_map().into_keys().collect::<Vec<_>>(),
            ["bits_per_sec", "retransmits"]
        );
    }

    #[test]
    fn fairness_is_one_for_equals_and_a_share_for_one_alone() {
        assert_eq!(fairness(&[3.0, 3.0]), 1.0);
        assert_eq!(fairness(&[4.0, 0.0, 0.0, 0.0]), 0.25);
        assert!(fairness(&[]).is_nan());
    }

    #[test]
    fn counters_are_taken_from_one_another() {
        let (before, after) = (counted(1), counted(1));
        let nothing = after.since(&before);
        assert_eq!(nothing.workers, [Worker { threads: 1, ..Worker::default() }]);
        assert_eq!(
            after.since(&Counters { workers: vec![Worker::default()], ..Counters::default() }),
            after
        );
    }

    fn tcp() -> TcpFigure {
        TcpFigure {
            bits_per_sec: 8e9,
            bytes_total: 1_000_000_000,
            retransmits: 3,
            streams: vec![8e9],
        }
    }

    fn usage() -> Usage {
        Usage {
            wall: Duration::from_secs(1),
            cores: 2,
            machine_cpu: Duration::from_secs(1),
            daemon_cpu: Duration::from_millis(500),
            steal: Duration::ZERO,
            foreign_cpu: Duration::ZERO,
        }
    }

    /// Gives the counters of up to two daemons, the left one with the reads and sends.
    fn counted(daemons: usize) -> Counters {
        let worker = Worker {
            threads: 1,
            waits: 1,
            would_block: 1,
            device_reads: 100,
            device_read_packets: 4000,
            device_writes: 0,
            device_written_packets: 0,
            device_big_writes: 0,
            receives: 0,
            received_datagrams: 0,
            sends: 200,
            sent_datagrams: 4000,
        };
        let other = Worker {
            waits: 0,
            would_block: 0,
            device_reads: 0,
            device_read_packets: 0,
            device_writes: 400,
            device_written_packets: 2000,
            receives: 200,
            received_datagrams: 2000,
            sends: 0,
            sent_datagrams: 0,
            ..worker
        };
        let workers = match daemons {
            0 => vec![],
            1 => vec![Worker {
                device_writes: 400,
                device_written_packets: 2000,
                receives: 200,
                received_datagrams: 2000,
                ..worker
            }],
            _ => vec![worker, other],
        };
        let carried = Carried { packets: 10, bytes: 15_000 };
        let wire = WireCounters { left_to_right: carried, right_to_left: Carried::default() };
        Counters { workers, wire, mtu: 736 }
    }
}
