//! A run: all scenes side by side, the samples in their order, the report.
//!
//! The scenes are set up first and live together, so that every round meets all cases within
//! seconds. What happens in one sample is in `sampler`, the scenes are in `stage`.

mod sampler;
mod stage;

use std::collections::VecDeque;
use std::ops::Range;
use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

use self::sampler::Sampler;
use self::stage::Stage;
use super::BenchError;
use super::case::Case;
use super::machine;
use super::plan::{Group, Plan};
use super::report::{Report, Sample, Settings};
use super::roofline::{self, Roofline};
use super::scene::UnderlayKind;
use super::summary::summarize;
use super::traffic::Stop;

/// What is to be done.
#[derive(Clone, Debug)]
pub struct Task {
    /// What is measured, how often and how long.
    pub plan: Plan,
    /// Whether the cases were asked for by name: then one that cannot be set up ends the run. Else
    /// it is missing in the report.
    pub is_named: bool,
    /// What the wires carry.
    pub underlay: UnderlayKind,
    /// The MTU of the wires, bytes.
    pub mtu: u32,
    /// The congestion control of the TCP streams.
    pub congestion: String,
    /// TOML that is put into the configuration of our daemons.
    pub settings: String,
    /// Whether it is measured too what this machine could do at best.
    pub with_roofline: bool,
}

impl Task {
    /// Gives the time that everything takes at most.
    pub fn time_max(&self) -> Duration {
        let roofline = if self.with_roofline { ROOFLINE } else { Duration::ZERO };
        self.plan.time_max() + roofline
    }
}

/// How long the terms of the roofline take.
const ROOFLINE: Duration = Duration::from_secs(20);

/// Where a run is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Progress {
    /// The terms of the roofline are measured.
    Roofline,
    /// The hosts of a case are made.
    SettingUp {
        /// The case.
        case: Case,
    },
    /// A sample is made.
    Sampling {
        /// The round, counted from 1.
        round: u32,
        /// The measure's name.
        measure: String,
        /// The case.
        case: Case,
        /// Whether the group is made again because somebody else disturbed it.
        is_repeated: bool,
        /// The time until the end, if no group is repeated from now on.
        left: Duration,
    },
}

/// What came of a run.
#[derive(Debug)]
pub struct Outcome {
    /// What was measured.
    pub report: Report,
    /// What did not end well after the last sample; the figures are good all the same.
    pub end: Result<(), BenchError>,
}

/// Measures; files of the daemons are put into `directory`.
///
/// To be called from a thread that lasts as long as the run, after [`crate::lab::enter`].
///
/// # Errors
///
/// Fails if a case that was asked for cannot be set up, or no case at all; and with
/// [`BenchError::Interrupted`] if the user wants an end. A sample that failed is in the report.
pub fn run(
    task: &Task,
    directory: &Path,
    stop: Stop<'_>,
    progress: &mut dyn FnMut(&Progress),
) -> Result<Outcome, BenchError> {
    let started = Instant::now();
    let started_unix = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
    let machine = machine::machine();
    let roofline = match task.with_roofline {
        true => Some(measure_roofline(task, stop, progress)?),
        false => None,
    };
    let stage = Stage::set_up(task, directory, stop, progress)?;
    let mut run = Run {
        task,
        sampler: Sampler::new(task, &stage, stop),
        stage: &stage,
        deadline: started + task.time_max(),
        samples: Vec::with_capacity(task.plan.samples()),
        repeats: 0,
        left_out: 0,
        progress,
    };
    run.sample_all()?;
    let Run { samples, repeats, left_out, .. } = run;
    let subjects = stage.subjects();
    let (cases, missing) = summarize(&subjects, &task.plan.measures, &samples, roofline.as_ref());
    let end = stage.tear_down();
    let report = Report {
        tunctl: machine::build(),
        machine,
        settings: settings(task),
        started_unix_secs: started_unix.as_secs(),
        announced_secs: task.time_max().as_secs_f64(),
        took_secs: started.elapsed().as_secs_f64(),
        repeated_groups: repeats,
        left_out_samples: left_out,
        roofline,
        cases,
        missing,
        samples,
    };
    Ok(Outcome { report, end })
}

/// Measures the terms of the roofline before there is anything else.
fn measure_roofline(
    task: &Task,
    stop: Stop<'_>,
    progress: &mut dyn FnMut(&Progress),
) -> Result<Roofline, BenchError> {
    progress(&Progress::Roofline);
    let result = roofline::run(task.underlay, stop);
    if stop() { Err(BenchError::Interrupted) } else { result }
}

fn settings(task: &Task) -> Settings {
    Settings {
        underlay: task.underlay.name().to_owned(),
        mtu: task.mtu,
        congestion: task.congestion.clone(),
        set: task.settings.clone(),
        secs: task.plan.time.as_secs_f64(),
        rounds: task.plan.rounds,
        measures: task.plan.measures.iter().map(ToString::to_string).collect(),
    }
}

/// A run that is under way.
struct Run<'a> {
    task: &'a Task,
    sampler: Sampler<'a>,
    stage: &'a Stage,
    /// The end of the time that was announced.
    deadline: Instant,
    /// Everything that was made, in that order.
    samples: Vec<Sample>,
    /// Groups that were repeated.
    repeats: u32,
    /// Samples that were not made because the time was over.
    left_out: usize,
    progress: &'a mut dyn FnMut(&Progress),
}

/// A group, and where in the samples those of its attempts are.
struct Attempts {
    group: Group,
    made: Vec<Range<usize>>,
}

impl Run<'_> {
    /// Makes all groups, then those again that somebody disturbed: by then he may have gone.
    fn sample_all(&mut self) -> Result<(), BenchError> {
        let plan = &self.task.plan;
        let groups = plan.groups().map(|group| Attempts { group, made: Vec::new() });
        let mut all: Vec<_> = groups.collect();
        let mut left: Duration = all.iter().map(|it| plan.group_time_max(&it.group)).sum();
        for attempts in &mut all {
            if Instant::now() > self.deadline {
                self.left_out += attempts.group.order.len();
                continue;
            }
            self.attempt(attempts, left)?;
            left = left.saturating_sub(plan.group_time_max(&attempts.group));
        }
        self.repeat_disturbed(&mut all)?;
        for attempts in &all {
            count_best(&attempts.made, &mut self.samples);
        }
        Ok(())
    }

    /// Repeats disturbed groups in turn while there are repeats and time left.
    fn repeat_disturbed(&mut self, all: &mut [Attempts]) -> Result<(), BenchError> {
        let plan = &self.task.plan;
        let is_disturbed = |attempts: &&mut Attempts, samples: &[Sample]| match attempts.made.last()
        {
            Some(made) => disturbed(&samples[made.clone()]) > 0,
            None => false,
        };
        let mut queue: VecDeque<_> =
            all.iter_mut().filter(|attempts| is_disturbed(attempts, &self.samples)).collect();
        while let Some(attempts) = queue.pop_front() {
            let time = plan.group_time_max(&attempts.group);
            if self.repeats >= plan.repeats_max() || Instant::now() + time > self.deadline {
                break;
            }
            self.repeats += 1;
            self.attempt(attempts, time)?;
            if is_disturbed(&attempts, &self.samples) {
                queue.push_back(attempts);
            }
        }
        Ok(())
    }

    /// Makes a group; this much time is left for it and all that follows.
    fn attempt(&mut self, attempts: &mut Attempts, left: Duration) -> Result<(), BenchError> {
        let plan = &self.task.plan;
        let Attempts { group, made } = attempts;
        let first = self.samples.len();
        let each = plan.sample_time_max(group.measure);
        let present = group.order.iter().filter(|&&index| self.stage.scene(index).is_some());
        for (done, &index) in (0..).zip(present) {
            let case = plan.cases[index];
            (self.progress)(&Progress::Sampling {
                round: group.round,
                measure: group.measure.to_string(),
                case,
                is_repeated: !made.is_empty(),
                left: left.saturating_sub(each * done),
            });
            let mut sample = self.sampler.sample(group.measure, index)?;
            sample.round = group.round;
            sample.attempt = u32::try_from(made.len()).unwrap_or(u32::MAX).saturating_add(1);
            sample.measure = group.measure.to_string();
            sample.case = case.name().to_owned();
            self.samples.push(sample);
        }
        made.push(first..self.samples.len());
        Ok(())
    }
}

/// Marks the samples of the attempt that was disturbed least as those that count; of equal ones
/// the first.
fn count_best(attempts: &[Range<usize>], samples: &mut [Sample]) {
    let best = attempts.iter().min_by_key(|made| disturbed(&samples[(*made).clone()]));
    for sample in best.into_iter().flat_map(Range::clone) {
        samples[sample].counted = true;
    }
}

fn disturbed(samples: &[Sample]) -> usize {
    let is_disturbed = |sample: &&Sample| sample.usage.is_some_and(|usage| usage.disturbed);
    samples.iter().filter(is_disturbed).count()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::report::Cost;

    #[test]
    fn attempt_that_was_disturbed_least_counts() {
        let cases: [(&[&[bool]], usize); 4] = [
            (&[&[false, false]], 0),
            (&[&[true, false], &[false, false]], 1),
            (&[&[true, false], &[true, true], &[true, true]], 0),
            (&[&[true, true], &[true, false], &[false, true]], 1),
        ];
        for (attempts, best) in cases {
            let mut samples: Vec<_> = attempts.concat().into_iter().map(sample).collect();
            let made: Vec<_> = (0..attempts.len()).map(|i| 2 * i..2 * i + 2).collect();
            count_best(&made, &mut samples);
            for (i, sample) in samples.iter().enumerate() {
                assert_eq!(sample.counted, made[best].contains(&i), "{attempts:?}");
            }
        }
    }

    fn sample(disturbed: bool) -> Sample {
        let usage = Cost {
            wall_secs: 1.0,
            machine_cpu_secs: 1.0,
            daemon_cpu_secs: 0.0,
            steal_secs: 0.0,
            foreign_cpu_secs: 0.0,
            disturbed,
        };
        Sample { usage: Some(usage), ..Sample::default() }
    }
}
