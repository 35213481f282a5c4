//! What is measured when, and how long it takes at most.

use std::time::Duration;

use super::case::Case;
use super::measure::{Measure, Pace, STREAMS};

/// What connecting, ending and reading counters adds to a sample of TCP, or of requests.
const AROUND_SAMPLE: Duration = Duration::from_millis(60);

/// What a sample of UDP has around it: the first packet, and waiting for the last one.
const AROUND_UDP: Duration = Duration::from_millis(250);

/// How long it takes to make the hosts of a case, start its daemons, and end all of it.
const AROUND_CASE: Duration = Duration::from_millis(700);

/// How long it takes to fill a table before it is measured.
const FILLING: Duration = Duration::from_secs(20);

/// The most time that TCP is given to find its rate, before the window that counts.
const WARM_UP_MAX: Duration = Duration::from_millis(150);

/// The most rates that the search for the highest one without loss tries.
pub const LOSSLESS_STEPS_MAX: u32 = 12;

/// The shortest sample that still says something, and the step by which samples are made shorter.
pub const TIME_MIN: Duration = Duration::from_millis(100);
const TIME_STEP: Duration = Duration::from_millis(50);

/// What is to be measured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// The cases, in the order of the report.
    pub cases: Vec<Case>,
    /// The measures, in the order in which they are made.
    pub measures: Vec<Measure>,
    /// How often each is made of each case.
    pub rounds: u32,
    /// The length of a sample.
    pub time: Duration,
}

/// Samples that belong together: one measure of all cases, one after another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// The round, counted from 1.
    pub round: u32,
    /// What is measured.
    pub measure: Measure,
    /// The cases, by their index in [`Plan::cases`], in the order of this round.
    pub order: Vec<usize>,
}

impl Plan {
    /// Gives all groups in their order.
    ///
    /// Within a group case follows case, so that what the machine does meanwhile meets all of
    /// them. Each round begins with another case, so that none always has the same predecessor's
    /// place.
    pub fn groups(&self) -> impl Iterator<Item = Group> + '_ {
        (1..=self.rounds).flat_map(move |round| {
            self.measures.iter().map(move |&measure| self.group(round, measure))
        })
    }

    fn group(&self, round: u32, measure: Measure) -> Group {
        let applies = |index: &usize| measure.applies_to(self.cases[*index]);
        let mut order: Vec<_> = (0..self.cases.len()).filter(applies).collect();
        if !order.is_empty() {
            let first = (round as usize - 1) % order.len();
            order.rotate_left(first);
        }
        Group { round, measure, order }
    }

    /// Gives how many samples are made if no group has to be repeated.
    pub fn samples(&self) -> usize {
        self.groups().map(|group| group.order.len()).sum()
    }

    /// Gives how many groups may be repeated because somebody else disturbed them.
    pub fn repeats_max(&self) -> u32 {
        self.rounds
    }

    /// Gives the time that everything takes at most, repeats included.
    pub fn time_max(&self) -> Duration {
        let groups: Duration = self.groups().map(|group| self.group_time_max(&group)).sum();
        let longest = self.groups().map(|group| self.group_time_max(&group)).max();
        let filling = match self.measures.iter().any(|measure| measure.is_of_scale()) {
            true => FILLING,
            false => Duration::ZERO,
        };
        let around = AROUND_CASE * u32::try_from(self.cases.len()).unwrap_or(u32::MAX);
        around + filling + groups + longest.unwrap_or_default() * self.repeats_max()
    }

    /// Gives the time that a group takes at most.
    pub fn group_time_max(&self, group: &Group) -> Duration {
        let samples = u32::try_from(group.order.len()).unwrap_or(u32::MAX);
        self.sample_time_max(group.measure) * samples
    }

    /// Gives the time that TCP has to find its rate before its sample counts.
    pub fn warm_up(&self) -> Duration {
        (self.time / 4).min(WARM_UP_MAX)
    }

    /// Gives the time that a sample takes at most.
    pub fn sample_time_max(&self, measure: Measure) -> Duration {
        let tcp = self.warm_up() + self.time + AROUND_SAMPLE;
        let udp = self.time + AROUND_UDP;
        match measure {
            Measure::Tcp(_) => tcp,
            Measure::Rtt => self.time + AROUND_SAMPLE,
            Measure::RttLoaded => tcp + AROUND_SAMPLE,
            Measure::Udp(_, Pace::Overload) => udp,
            Measure::Udp(_, Pace::Lossless) => udp * LOSSLESS_STEPS_MAX,
            Measure::Table => tcp * 2,
            Measure::Spread => udp * 2,
        }
    }
}

/// Gives the longest samples with which a plan takes at most `limit`; not longer than those that it
/// has, and never shorter than [`TIME_MIN`].
pub fn time_within(plan: &Plan, limit: Duration) -> Duration {
    let mut fitting = plan.clone();
    while fitting.time_max() > limit && fitting.time > TIME_MIN {
        fitting.time = fitting.time.saturating_sub(TIME_STEP).max(TIME_MIN);
    }
    fitting.time
}

/// Gives the measures that are asked for, without doubles; `streams` stands for the 8 of `tcp-8`.
pub fn measures(wanted: &[Measure], streams: u32) -> Vec<Measure> {
    let mut measures = Vec::with_capacity(wanted.len());
    for &measure in wanted {
        let measure =
            if measure == Measure::Tcp(STREAMS) { Measure::Tcp(streams) } else { measure };
        if !measures.contains(&measure) {
            measures.push(measure);
        }
    }
    measures
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::measure::Packets;

    #[test]
    fn each_round_begins_with_another_case() {
        let plan = plan(&[Case::Raw, Case::KernelVxlan, Case::VxlanTap], &[Measure::Rtt], 4);
        let orders: Vec<_> = plan.groups().map(|group| group.order).collect();
        assert_eq!(orders, [[0, 1, 2], [1, 2, 0], [2, 0, 1], [0, 1, 2]]);
    }

    #[test]
    fn measures_follow_each_other_within_a_round() {
        let measures = [Measure::Tcp(1), Measure::Rtt];
        let plan = plan(&[Case::Raw], &measures, 2);
        let groups: Vec<_> = plan.groups().map(|group| (group.round, group.measure)).collect();
        assert_eq!(
            groups,
            [(1, measures[0]), (1, measures[1]), (2, measures[0]), (2, measures[1])]
        );
        assert_eq!(plan.samples(), 4);
    }

    #[test]
    fn measure_of_scale_is_made_of_its_case_only() {
        let cases = [Case::Raw, Case::VxlanTun, Case::VxlanTap];
        let plan = plan(&cases, &[Measure::Table, Measure::Rtt], 2);
        let orders: Vec<_> = plan.groups().map(|group| group.order).collect();
        assert_eq!(orders, [vec![2], vec![0, 1, 2], vec![2], vec![1, 2, 0]]);
    }

    #[test]
    fn default_takes_at_most_two_minutes() {
        let limit = Duration::from_secs(120);
        let ours = &Case::default_set()[..10];
        // The last is there where another program is installed.
        for (cases, least_ms) in [(ours, 550), (&[ours, &[Case::WireguardGo]].concat(), 450)] {
            let plan = plan(cases, &Measure::DEFAULT, 3);
            let plan = Plan { time: time_within(&plan, limit), ..plan };
            assert!(plan.time >= Duration::from_millis(least_ms), "{plan:?}");
            let secs = plan.time_max().as_secs_f64();
            assert!((110.0..=120.0).contains(&secs), "{secs}");
        }
    }

    #[test]
    fn samples_are_made_shorter_until_all_fits() {
        let plan = plan(&Case::ALL, &Measure::DEFAULT, 3);
        let limit = Duration::from_secs(120);
        assert!(plan.time_max() > limit);
        let shorter = Plan { time: time_within(&plan, limit), ..plan.clone() };
        assert!(shorter.time_max() <= limit && shorter.time_max() > limit * 9 / 10);
        assert_eq!(time_within(&plan, Duration::MAX), plan.time);
        assert_eq!(time_within(&plan, Duration::ZERO), TIME_MIN);
    }

    #[test]
    fn time_grows_with_what_is_asked_for() {
        let lossless = Measure::Udp(Packets::Small, Pace::Lossless);
        let one = plan(&[Case::VxlanTap], &[Measure::Tcp(1)], 1).time_max();
        assert!(plan(&[Case::VxlanTap], &[Measure::Tcp(1)], 2).time_max() > one);
        assert!(plan(&[Case::VxlanTap, Case::Raw], &[Measure::Tcp(1)], 1).time_max() > one);
        assert!(plan(&[Case::VxlanTap], &[lossless], 1).time_max() > one);
        assert!(plan(&[Case::VxlanTap], &[Measure::Table], 1).time_max() > one + FILLING);
        assert_eq!(plan(&[], &[Measure::Rtt], 1).time_max(), Duration::ZERO);
    }

    #[test]
    fn streams_take_the_place_of_eight_and_doubles_go() {
        assert_eq!(measures(&Measure::DEFAULT, 8), Measure::DEFAULT);
        assert_eq!(
            measures(&[Measure::Tcp(1), Measure::Tcp(8), Measure::Rtt], 16),
            [Measure::Tcp(1), Measure::Tcp(16), Measure::Rtt]
        );
        assert_eq!(
            measures(&[Measure::Tcp(1), Measure::Tcp(8), Measure::Rtt, Measure::Rtt], 1),
            [Measure::Tcp(1), Measure::Rtt]
        );
    }

    fn plan(cases: &[Case], measures: &[Measure], rounds: u32) -> Plan {
        Plan {
            cases: cases.to_vec(),
            measures: measures.to_vec(),
            rounds,
            time: Duration::from_secs(1),
        }
    }
}
