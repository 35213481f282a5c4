//! `tunctl bench`: measures tunnels on hosts of its own, prints what it found.
//!
//! The measuring is done on a thread of its own, on which the daemons depend: when the user wants
//! an end and a step does not listen, the program ends without it, and everything goes with the
//! program.

mod file;
mod progress;
mod render;
mod roofline;

use std::fmt;
use std::io::{self, IsTerminal, Write};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use clap::Args;

use super::{Failure, unless_reader_left};
use crate::bench::case::Case;
use crate::bench::measure::{Measure, STREAMS, STREAMS_MAX};
use crate::bench::plan::{self, Plan, TIME_MIN};
use crate::bench::run::{self, Outcome, Task};
use crate::bench::scene::UnderlayKind;
use crate::bench::{BenchError, plot};
use crate::lab::{self, Interrupt};
use file::PlotFile;
use progress::Line;

/// The time of a run for which nothing was asked that takes longer.
const DEFAULT_LIMIT: Duration = Duration::from_secs(120);

/// The rounds if nothing else is asked for.
const ROUNDS: u32 = 3;

/// The length of a sample if nothing else is asked for, and the longest.
const TIME: Duration = Duration::from_secs(1);
const TIME_MAX: Duration = Duration::from_secs(3600);

/// The MTU of the wire if nothing else is asked for.
const MTU: u32 = 1500;

/// How long the measuring may take to end by itself after Ctrl-C.
const GRACE: Duration = Duration::from_millis(700);

/// How often it is looked for Ctrl-C.
const LOOK: Duration = Duration::from_millis(20);

/// The arguments of `tunctl bench`.
#[derive(Debug, Args)]
pub(super) struct BenchArgs {
    /// What is measured [default: all of tunctl's own, raw, kernel-vxlan; wireguard-go if installed]
    #[arg(value_name = "CASE")]
    cases: Vec<Case>,
    /// The length of a sample in seconds [default: 1, or less to stay within two minutes]
    #[arg(long, value_name = "N", value_parser = seconds)]
    secs: Option<Duration>,
    /// The rounds: how often each sample is made, for a median [default: 3]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1000))]
    runs: Option<u32>,
    /// The streams of the measure tcp-8, which is named by their number
    #[arg(long, value_name = "N", default_value_t = STREAMS, value_parser = clap::value_parser!(u32).range(1..=i64::from(STREAMS_MAX)))]
    streams: u32,
    /// What the wire carries: nic = packets of the MTU, as real networks do; veth = up to 64 KiB
    #[arg(long, value_name = "nic|veth", default_value_t = UnderlayKind::Nic)]
    underlay: UnderlayKind,
    /// The MTU of the wire, bytes
    #[arg(long, value_name = "N", default_value_t = MTU, value_parser = clap::value_parser!(u32).range(576..=65_535))]
    mtu: u32,
    /// The congestion control of TCP
    #[arg(long = "cc", value_name = "NAME", default_value = "cubic")]
    congestion: String,
    /// What is measured of each case, separated by commas [default: tcp-1,tcp-8,udp-64,rtt]
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    measure: Vec<Measure>,
    /// Measure all that every case has
    #[arg(long, conflicts_with = "measure")]
    full: bool,
    /// Print JSON with stable keys
    #[arg(long)]
    json: bool,
    /// Draw the figures into this file (SVG)
    #[arg(long, value_name = "FILE")]
    plot: Option<PathBuf>,
    /// Measure what this machine could do at best, and the share of it that tcp-1 reaches
    #[arg(long)]
    roofline: bool,
    /// A line of settings for the measured daemons, such as 'offload.udp_gso = "off"'
    #[arg(long, value_name = "TOML")]
    set: Vec<String>,
}

/// Measures.
///
/// To be called before the process has a second thread: without root it moves into a user
/// namespace.
pub(super) fn run(args: &BenchArgs) -> Result<(), Failure> {
    let task = args.task()?;
    let interrupt = Interrupt::catch().map_err(|error| failed("catch Ctrl-C", &error))?;
    let plot = args.plot.as_deref().map(PlotFile::open).transpose().map_err(Failure::failed)?;
    lab::check_tun().map_err(Failure::failed)?;
    let directory = lab::enter().map_err(Failure::failed)?.directory;
    announce(args, &task).map_err(|error| failed("write to standard output", &error))?;
    let outcome = measure(task, directory, interrupt)?;
    if let Some(plot) = plot {
        plot.write(&plot::svg(&outcome.report)).map_err(Failure::failed)?;
    }
    unless_reader_left(print(args, &outcome))
        .map_err(|error| failed("write to standard output", &error))?;
    judge(outcome)
}

impl BenchArgs {
    fn task(&self) -> Result<Task, Failure> {
        let settings = self.set.join("\n");
        settings.parse::<toml::Table>().map_err(|error| {
            Failure::wrong(format!("--set is no TOML: {} (try --help)", error.message()))
        })?;
        if self.roofline && self.mtu != MTU {
            return Err(Failure::wrong(format!(
                "the model of --roofline is one of MTU {MTU} (try --help)"
            )));
        }
        let mut cases: Vec<Case> = Vec::new();
        for &case in &self.cases {
            if !cases.contains(&case) {
                cases.push(case);
            }
        }
        let is_named = !cases.is_empty();
        let mut plan = Plan {
            cases: if is_named { cases } else { Case::default_set() },
            measures: plan::measures(&self.measures(), self.streams),
            rounds: self.runs.unwrap_or(ROUNDS),
            time: self.secs.unwrap_or(TIME),
        };
        let is_default = self.measure.is_empty() && !self.full && self.runs.is_none();
        if is_default && self.secs.is_none() {
            plan.time = plan::time_within(&plan, DEFAULT_LIMIT);
        }
        check_programs(&plan)?;
        check_measures(&plan)?;
        Ok(Task {
            plan,
            is_named,
            underlay: self.underlay,
            mtu: self.mtu,
            congestion: self.congestion.clone(),
            settings,
            with_roofline: self.roofline,
        })
    }

    fn measures(&self) -> Vec<Measure> {
        let stream = Measure::Tcp(1);
        let mut measures = match self.measure.as_slice() {
            [] if self.full => Measure::full(),
            [] if self.roofline => vec![stream],
            [] => Measure::DEFAULT.to_vec(),
            named => named.to_vec(),
        };
        if self.roofline && !measures.contains(&stream) {
            measures.insert(0, stream);
        }
        measures
    }
}

/// A case that was asked for and cannot be is told before two minutes are spent on the others.
fn check_programs(plan: &Plan) -> Result<(), Failure> {
    let absent = plan.cases.iter().copied().find(|case| !case.is_installed());
    match absent.and_then(|case| Some((case, case.program()?))) {
        Some((case, program)) => Err(Failure::failed(BenchError::NoProgram { case, program })),
        None => Ok(()),
    }
}

/// A measure that none of the cases has would be a run for nothing.
fn check_measures(plan: &Plan) -> Result<(), Failure> {
    let is_empty = |measure: &&Measure| !plan.cases.iter().any(|&case| measure.applies_to(case));
    match plan.measures.iter().find(is_empty) {
        Some(measure) => {
            let only = Case::VxlanTap;
            Err(Failure::wrong(format!("{measure} can be measured of {only} only (try --help)")))
        }
        None => Ok(()),
    }
}

/// Says what will be done and how long it takes; for people who want JSON to standard error.
fn announce(args: &BenchArgs, task: &Task) -> io::Result<()> {
    let text = render::announcement(task);
    match args.json {
        true => writeln!(io::stderr(), "{text}"),
        false => writeln!(io::stdout(), "{text}"),
    }
}

/// Measures on a thread of its own until that is done or the user wants an end.
fn measure(
    task: Task,
    directory: &'static std::path::Path,
    interrupt: Interrupt,
) -> Result<Outcome, Failure> {
    let interrupt = Arc::new(interrupt);
    let (sender, receiver) = mpsc::channel();
    let asked = Arc::clone(&interrupt);
    let work = move || {
        let mut line = io::stderr().is_terminal().then(|| Line::new(io::stderr()));
        let stop = || asked.is_raised();
        let result = run::run(&task, directory, &stop, &mut |at| {
            if let Some(line) = &mut line {
                line.show(at);
            }
        });
        drop(line);
        // Nobody listens any more if the end took too long.
        let _ = sender.send(result);
    };
    thread::Builder::new()
        .name("bench".into())
        .spawn(work)
        .map_err(|error| failed("start a thread", &error))?;
    wait(&receiver, &interrupt).map_err(Failure::failed)
}

fn wait(
    results: &Receiver<Result<Outcome, BenchError>>,
    interrupt: &Interrupt,
) -> Result<Outcome, BenchError> {
    let mut ends_at = None;
    loop {
        match results.recv_timeout(LOOK) {
            Ok(result) => return result,
            // It panicked, and has said why.
            Err(RecvTimeoutError::Disconnected) => return Err(BenchError::Panicked),
            Err(RecvTimeoutError::Timeout) => {}
        }
        if interrupt.is_raised() {
            let ends_at = *ends_at.get_or_insert_with(|| Instant::now() + GRACE);
            if Instant::now() > ends_at {
                return Err(BenchError::Interrupted);
            }
        }
    }
}

fn print(args: &BenchArgs, outcome: &Outcome) -> io::Result<()> {
    let mut out = io::BufWriter::new(io::stdout().lock());
    if args.json {
        serde_json::to_writer_pretty(&mut out, &outcome.report)?;
        writeln!(out)?;
    } else {
        render::report(&mut out, &outcome.report)?;
    }
    out.flush()
}

/// Fails if something that was tried gave no figures, or did not end well.
fn judge(outcome: Outcome) -> Result<(), Failure> {
    outcome.end.map_err(Failure::failed)?;
    let left_out = outcome.report.left_out_samples;
    if left_out > 0 {
        return Err(Failure::failed(format!(
            "the announced time was over before all was measured: {left_out} samples are left out"
        )));
    }
    let faults: Vec<_> = outcome.report.faults().collect();
    let Some(first) = faults.first() else { return Ok(()) };
    let reason = first.fault.as_deref().unwrap_or_default();
    Err(Failure::failed(format!(
        "{} of {} samples failed; the first, {} of {} in round {}: {reason}",
        faults.len(),
        outcome.report.samples.len(),
        first.measure,
        first.case,
        first.round,
    )))
}

fn failed(action: &str, error: &dyn fmt::Display) -> Failure {
    Failure::failed(format!("cannot {action}: {error}"))
}

fn seconds(text: &str) -> Result<Duration, String> {
    let is_right = |secs: &f64| (TIME_MIN.as_secs_f64()..=TIME_MAX.as_secs_f64()).contains(secs);
    let secs = text.parse().ok().filter(is_right).ok_or_else(|| {
        format!("expected seconds from {} to {}", TIME_MIN.as_secs_f64(), TIME_MAX.as_secs_f64())
    })?;
    Ok(Duration::from_secs_f64(secs))
}
