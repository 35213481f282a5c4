//! A report as tables.

use std::collections::BTreeSet;
use std::io::{self, Write};
use std::time::Duration;

use super::progress::rounded;
use super::roofline;
use crate::bench::measure::{Measure, Pace, Packets};
use crate::bench::panel::streams_text;
use crate::bench::quantity::Quantity;
use crate::bench::report::{CaseReport, Figure, Missing, Report, Settings};
use crate::bench::run::Task;
use crate::bench::stat::{Spread, three_digits};
use crate::cli::table::Align::{Left, Right};
use crate::cli::table::Table;
use crate::cli::units;

/// Stands where there is no value.
pub(super) const NOTHING: &str = "-";

/// Stands beside a case that somebody disturbed.
const DISTURBED: &str = " *";

/// Gives what will be done, and how long it takes.
pub(super) fn announcement(task: &Task) -> String {
    let plan = &task.plan;
    let counted = |count: usize, one: &str| match count {
        1 => format!("1 {one}"),
        _ => format!("{count} {one}s"),
    };
    let names: Vec<_> = plan.measures.iter().map(Measure::to_string).collect();
    format!(
        "Measuring {} of {} in {} of {} s each: at most {}.",
        names.join(", "),
        counted(plan.cases.len(), "case"),
        counted(plan.rounds as usize, "round"),
        plan.time.as_secs_f64(),
        rounded(task.time_max())
    )
}

/// Prints what was measured.
pub(super) fn report(out: &mut impl Write, report: &Report) -> io::Result<()> {
    head(out, report)?;
    for name in &report.settings.measures {
        let Ok(measure) = name.parse() else { continue };
        print_measure(out, report, measure)?;
    }
    daemons(out, report)?;
    if let Some(of) = &report.roofline {
        roofline::roofline(out, of)?;
        roofline::shares(out, report)?;
    }
    remarks(out, report)
}

fn head(out: &mut impl Write, report: &Report) -> io::Result<()> {
    let machine = &report.machine;
    let load = machine
        .load_average
        .map_or(NOTHING.to_owned(), |load| load.map(|average| format!("{average:.2}")).join(" "));
    let commit = report.tunctl.commit.as_deref().unwrap_or("commit unknown");
    let build = if report.tunctl.optimized { "" } else { ", NOT OPTIMIZED: build with --release" };
    writeln!(
        out,
        "\nmachine   {}, {} cores; load average before {load}",
        machine.cpu.as_deref().unwrap_or("unknown processor"),
        machine.cores,
    )?;
    writeln!(out, "kernel    {}", machine.kernel.as_deref().unwrap_or("unknown"))?;
    writeln!(out, "tunctl    {} ({commit}{build})", report.tunctl.version)?;
    writeln!(out, "wire      {}", wire(&report.settings))?;
    writeln!(out, "TCP       congestion control {}", report.settings.congestion)?;
    if !report.settings.set.is_empty() {
        writeln!(out, "set       {}", report.settings.set.replace('\n', "; "))?;
    }
    Ok(())
}

fn wire(settings: &Settings) -> String {
    let kind = match settings.underlay.as_str() {
        "nic" => "packets of at most the MTU, as on a real network",
        "veth" => "unsegmented aggregates of up to 64 KiB, which no real network carries",
        _ => "unknown",
    };
    format!("{}: {kind}; MTU {}", settings.underlay, settings.mtu)
}

fn print_measure(out: &mut impl Write, report: &Report, measure: Measure) -> io::Result<()> {
    let name = measure.to_string();
    let cases: Vec<_> = report
        .cases
        .iter()
        .filter(|case| case.measures.get(&name).is_some_and(Option::is_some))
        .collect();
    if cases.is_empty() {
        return Ok(());
    }
    let title = match measure {
        Measure::Tcp(streams) => format!("TCP, {}", streams_text(streams)),
        Measure::Udp(Packets::Small, _) => "UDP, one flow, 64 bytes".to_owned(),
        Measure::Udp(Packets::Mixed, _) => "UDP, 64 flows, 64, 200 and 1400 bytes".to_owned(),
        Measure::Rtt => "request and response, half the round trip, nothing beside it".to_owned(),
        Measure::RttLoaded => {
            "request and response, half the round trip, beside a TCP stream".to_owned()
        }
        Measure::Table => {
            "TCP, 1 stream: 2 peers against 1000 peers and 1 000 000 learned MACs".to_owned()
        }
        Measure::Spread => {
            "UDP, 64 flows, 64 bytes: one destination against 10 000 (zipf)".to_owned()
        }
    };
    let suffix = match measure {
        Measure::Udp(_, Pace::Overload) => ", sent as fast as it goes",
        Measure::Udp(_, Pace::Lossless) => ", the highest rate with at most 0.1 % lost",
        _ => "",
    };
    writeln!(out, "\n{name}: {title}{suffix}")?;
    match measure {
        Measure::Tcp(_) => tcp(out, &name, &cases),
        Measure::Udp(_, Pace::Overload) => udp(out, &name, &cases),
        Measure::Udp(_, Pace::Lossless) => lossless(out, &name, &cases),
        Measure::Rtt | Measure::RttLoaded => rtt(out, &name, &cases),
        Measure::Table => two(
            out,
            &name,
            &cases,
            [Quantity::SmallBitsPerSec, Quantity::LargeBitsPerSec, Quantity::LargeToSmall],
            1e-9,
        ),
        Measure::Spread => two(
            out,
            &name,
            &cases,
            [Quantity::OnePps, Quantity::ManyPps, Quantity::ManyToOne],
            1e-3,
        ),
    }
}

fn tcp(out: &mut impl Write, name: &str, cases: &[&CaseReport]) -> io::Result<()> {
    let more = [
        ("RETR", Quantity::Retransmits, None),
        ("FAIR", Quantity::Fairness, Some(1.0)),
        ("CPU S/GB", Quantity::MachineCpuSecsPerGb, Some(1.0)),
        ("DAEMONS", Quantity::DaemonCpuSecsPerGb, Some(1.0)),
    ];
    comparison::<11, _>(out, name, cases, ("GBIT/S", Quantity::BitsPerSec, 1e-9), more)
}

fn udp(out: &mut impl Write, name: &str, cases: &[&CaseReport]) -> io::Result<()> {
    let more = [
        ("SENT KPPS", Quantity::SentPps, Some(1e-3)),
        ("LOST %", Quantity::LostShare, Some(100.0)),
        ("CPU µS/PACKET", Quantity::MachineCpuUsPerPacket, Some(1.0)),
        ("DAEMONS", Quantity::DaemonCpuUsPerPacket, Some(1.0)),
    ];
    comparison::<11, _>(out, name, cases, ("KPPS", Quantity::ReceivedPps, 1e-3), more)
}

fn lossless(out: &mut impl Write, name: &str, cases: &[&CaseReport]) -> io::Result<()> {
    comparison::<7, _>(out, name, cases, ("KPPS", Quantity::ReceivedPps, 1e-3), [])
}

fn rtt(out: &mut impl Write, name: &str, cases: &[&CaseReport]) -> io::Result<()> {
    let more = [
        ("P99 µS", Quantity::P99Us, Some(1.0)),
        ("P99.9 µS", Quantity::P999Us, Some(1.0)),
        ("ANSWERED", Quantity::Answered, None),
        ("LOST", Quantity::Lost, None),
    ];
    comparison::<11, _>(out, name, cases, ("P50 µS", Quantity::P50Us, 1.0), more)
}

/// Prints a quantity, its ratios to `raw` and to `kernel-vxlan`, and more: `N` columns in all.
///
/// A column has a title, a quantity and its scale; without a scale it is a count.
fn comparison<const N: usize, const MORE: usize>(
    out: &mut impl Write,
    name: &str,
    cases: &[&CaseReport],
    (title, quantity, scale): (&'static str, Quantity, f64),
    more: [(&'static str, Quantity, Option<f64>); MORE],
) -> io::Result<()> {
    let compared = [
        ("CASE", Left),
        (title, Right),
        ("MIN–MAX", Left),
        ("TO RAW", Right),
        ("MIN–MAX", Left),
        ("TO KERNEL", Right),
        ("MIN–MAX", Left),
    ];
    let mut table = Table::<N>::new(joined(compared, more.map(|(title, ..)| (title, Right))));
    for case in cases {
        let cells = Cells { case, name };
        let [median, range] = cells.spread(quantity, scale);
        let [raw, raw_range, kernel, kernel_range] = cells.ratios(quantity);
        let compared = [cells.title(), median, range, raw, raw_range, kernel, kernel_range];
        let more = more.map(|(_, quantity, scale)| match scale {
            Some(scale) => cells.median(quantity, scale),
            None => cells.count(quantity),
        });
        table.row(joined(compared, more));
    }
    table.print(out)
}

/// Gives one array of two, whose lengths must add up to its own.
fn joined<T, const A: usize, const B: usize, const N: usize>(
    first: [T; A],
    second: [T; B],
) -> [T; N] {
    const { assert!(N == A + B) };
    let mut both = first.into_iter().chain(second);
    std::array::from_fn(|_| both.next().expect("the lengths add up"))
}

/// Prints two rates and the second as a share of the first.
fn two(
    out: &mut impl Write,
    name: &str,
    cases: &[&CaseReport],
    [first, second, share]: [Quantity; 3],
    scale: f64,
) -> io::Result<()> {
    let unit =
        if scale < 1e-6 { ["SMALL GBIT/S", "LARGE GBIT/S"] } else { ["ONE KPPS", "MANY KPPS"] };
    let mut table = Table::new([
        ("CASE", Left),
        (unit[0], Right),
        (unit[1], Right),
        ("SHARE %", Right),
        ("MIN–MAX", Left),
    ]);
    for case in cases {
        let cells = Cells { case, name };
        let [median, range] = cells.spread(share, 100.0);
        let (first, second) = (cells.median(first, scale), cells.median(second, scale));
        table.row([cells.title(), first, second, median, range]);
    }
    table.print(out)
}

/// Prints how the daemons moved the packets, and what the wire carried.
fn daemons(out: &mut impl Write, report: &Report) -> io::Result<()> {
    let is_tcp = |name: &&String| matches!(name.parse(), Ok(Measure::Tcp(_)));
    let Some(name) = report.settings.measures.iter().find(is_tcp) else { return Ok(()) };
    let mut table = Table::new([
        ("CASE", Left),
        ("WIRE BYTES/PACKET", Right),
        ("SEGMENTS/READ", Right),
        ("DATAGRAMS/SEND", Right),
        ("DATAGRAMS/RECEIVE", Right),
        ("SEGMENTS/WRITE", Right),
        ("SYSCALLS/GB", Right),
        ("MEMORY", Right),
        ("DROPS", Left),
    ]);
    for case in &report.cases {
        if case.measures.get(name).is_none_or(Option::is_none) {
            continue;
        }
        let cells = Cells { case, name };
        table.row([
            case.name.clone(),
            cells.count(Quantity::WirePacketBytes),
            cells.median(Quantity::SegmentsPerDeviceRead, 1.0),
            cells.median(Quantity::DatagramsPerSend, 1.0),
            cells.median(Quantity::DatagramsPerReceive, 1.0),
            cells.median(Quantity::SegmentsPerDeviceWrite, 1.0),
            cells.count(Quantity::SyscallsPerGb),
            case.resident_bytes.map_or_else(|| NOTHING.to_owned(), units::bytes),
            drops(case),
        ]);
    }
    writeln!(
        out,
        "\nWhat the wire carried and how the daemons moved it, during {name}; memory of a daemon and drops after the run"
    )?;
    table.print(out)
}

fn drops(case: &CaseReport) -> String {
    let Some(drops) = &case.drops else { return NOTHING.to_owned() };
    let texts: Vec<_> =
        drops.iter().map(|(reason, packets)| format!("{reason} {packets}")).collect();
    if texts.is_empty() { "none".to_owned() } else { texts.join(", ") }
}

fn remarks(out: &mut impl Write, report: &Report) -> io::Result<()> {
    writeln!(out)?;
    let measures = report.cases.iter().flat_map(|case| case.measures.values().flatten());
    if measures.into_iter().any(|measure| measure.disturbed_rounds > 0) {
        writeln!(
            out,
            "* somebody else took processor time in some of its rounds, also when they were repeated"
        )?;
    }
    let mut told = BTreeSet::new();
    for missing in report.missing.iter().filter(|missing| is_worth_telling(missing)) {
        let reason = missing.reason.lines().next().unwrap_or_default();
        let what = match &missing.measure {
            Some(measure) => format!("{measure} of {}", missing.case),
            None => missing.case.clone(),
        };
        if told.insert((what.clone(), reason)) {
            writeln!(out, "not measured: {what}: {reason}")?;
        }
    }
    let repeats = match report.repeated_groups {
        0 => String::new(),
        1 => "; one measure of a round was repeated".to_owned(),
        groups => format!("; {groups} measures of a round were repeated"),
    };
    let took = Duration::from_secs_f64(report.took_secs.max(0.0));
    writeln!(out, "Done in {}{repeats}. Each figure is the median of its rounds.", rounded(took))
}

/// Whether a whole measure or case is missing that could have been measured.
fn is_worth_telling(missing: &Missing) -> bool {
    let measure: Option<Measure> = missing.measure.as_ref().and_then(|name| name.parse().ok());
    let applies = |case| measure.is_none_or(|measure| measure.applies_to(case));
    missing.figures.is_empty() && missing.case.parse().map_or(true, applies)
}

/// The cells of a case in the table of a measure.
struct Cells<'a> {
    case: &'a CaseReport,
    name: &'a str,
}

impl Cells<'_> {
    fn title(&self) -> String {
        let measure = self.case.measures.get(self.name).and_then(Option::as_ref);
        let is_disturbed = measure.is_some_and(|measure| measure.disturbed_rounds > 0);
        format!("{}{}", self.case.name, if is_disturbed { DISTURBED } else { "" })
    }

    fn figure(&self, quantity: Quantity) -> Option<&Figure> {
        self.case.figure(self.name, quantity.key())
    }

    fn median(&self, quantity: Quantity, scale: f64) -> String {
        let [median, _] = self.spread(quantity, scale);
        median
    }

    /// Gives a median without decimals.
    fn count(&self, quantity: Quantity) -> String {
        let median = self.figure(quantity).map(|figure| figure.spread.median);
        median.map_or_else(|| NOTHING.to_owned(), |median| format!("{median:.0}"))
    }

    /// Gives a median and its range.
    fn spread(&self, quantity: Quantity, scale: f64) -> [String; 2] {
        cells(self.figure(quantity).map(|figure| figure.spread), scale)
    }

    /// Gives the ratios to `raw` and to `kernel-vxlan`, with their ranges.
    fn ratios(&self, quantity: Quantity) -> [String; 4] {
        let figure = self.figure(quantity);
        let [raw, raw_range] = cells(figure.and_then(|figure| figure.to_raw), 1.0);
        let [kernel, kernel_range] = cells(figure.and_then(|figure| figure.to_kernel_vxlan), 1.0);
        [raw, raw_range, kernel, kernel_range]
    }
}

pub(super) fn cells(spread: Option<Spread>, scale: f64) -> [String; 2] {
    let Some(Spread { median, min, max }) = spread else {
        return [NOTHING.to_owned(), String::new()];
    };
    let text = |value: f64| three_digits(value * scale);
    let range = if min < max { format!("{}–{}", text(min), text(max)) } else { String::new() };
    [text(median), range]
}

#[cfg(test)]
mod tests;
