//! Measuring what a piece of work costs on a machine that has other things to do as well.

use std::io;
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::bench::traffic::Stop;

/// How long the work of one measurement is repeated.
const TIME: Duration = Duration::from_millis(400);

/// How long a measurement may take on a machine that has hardly any time for it.
const PATIENCE: Duration = Duration::from_secs(30);

/// The time over which a mean is taken: short, so that some windows are free of disturbance.
const WINDOW: Duration = Duration::from_millis(1);

/// Windows that a measurement has at least, however slow the work.
const WINDOWS_MIN: usize = 20;

/// What one unit of work costs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Cost {
    /// In the best window, nanoseconds: what the work costs if nobody disturbs it.
    pub best_ns: f64,
    /// In the median window, nanoseconds.
    pub median_ns: f64,
}

impl Cost {
    /// Gives the cost of so many units.
    #[must_use]
    pub(super) fn times(self, units: f64) -> Self {
        Self { best_ns: self.best_ns * units, median_ns: self.median_ns * units }
    }

    /// Takes the means of some windows.
    fn of(mut means_ns: Vec<f64>) -> Self {
        means_ns.sort_by(f64::total_cmp);
        let at = |index: usize| means_ns.get(index).copied().unwrap_or(f64::NAN);
        Self { best_ns: at(0), median_ns: at(means_ns.len() / 2) }
    }
}

/// Measures costs until the user wants an end.
pub(super) struct Stopwatch<'a> {
    stop: Stop<'a>,
    /// What reading the clock twice takes.
    clock: Duration,
}

/// What was timed in a window: `N` kinds of work.
pub(super) struct Laps<const N: usize> {
    spent: [Duration; N],
    units: [usize; N],
    calls: [u32; N],
}

impl<'a> Stopwatch<'a> {
    pub(super) fn new(stop: Stop<'a>) -> Self {
        let reading = || {
            let begin = Instant::now();
            begin.elapsed()
        };
        let clock = (0..1000).map(|_| reading()).min().unwrap_or_default();
        Self { stop, clock }
    }

    /// Repeats `work`, which times its parts with [`Laps::time`], and gives the costs of these.
    ///
    /// # Errors
    ///
    /// Passes on what the work says; [`io::ErrorKind::Interrupted`] if the user wants an end,
    /// [`io::ErrorKind::TimedOut`] if the work gets too little done.
    pub(super) fn costs<const N: usize>(
        &self,
        mut work: impl FnMut(&mut Laps<N>) -> io::Result<()>,
    ) -> io::Result<[Cost; N]> {
        let mut means: [Vec<f64>; N] = std::array::from_fn(|_| Vec::new());
        let begin = Instant::now();
        while begin.elapsed() < TIME || means.iter().any(|of| of.len() < WINDOWS_MIN) {
            self.check()?;
            if begin.elapsed() > PATIENCE {
                return Err(io::Error::new(
                    io::ErrorKind::TimedOut,
                    "the machine has no time for it",
                ));
            }
            let mut laps = Laps { spent: [Duration::ZERO; N], units: [0; N], calls: [0; N] };
            let window = Instant::now();
            while window.elapsed() < WINDOW {
                work(&mut laps)?;
            }
            for (index, of) in means.iter_mut().enumerate() {
                of.extend(laps.mean_ns(index, self.clock));
            }
        }
        Ok(means.map(Cost::of))
    }

    /// Gives whom to ask whether the user wants an end.
    pub(super) fn stop(&self) -> Stop<'a> {
        self.stop
    }

    /// Fails if the user wants an end.
    pub(super) fn check(&self) -> io::Result<()> {
        if (self.stop)() { Err(io::ErrorKind::Interrupted.into()) } else { Ok(()) }
    }
}

impl<const N: usize> Laps<N> {
    /// Times one part of the work, which gives the number of units that it did. What did none, as
    /// it had to wait, does not count.
    pub(super) fn time(
        &mut self,
        part: usize,
        work: impl FnOnce() -> io::Result<usize>,
    ) -> io::Result<usize> {
        let begin = Instant::now();
        let units = work()?;
        let spent = begin.elapsed();
        if units > 0 {
            self.spent[part] += spent;
            self.units[part] += units;
            self.calls[part] += 1;
        }
        Ok(units)
    }

    fn mean_ns(&self, part: usize, clock: Duration) -> Option<f64> {
        let spent = self.spent[part].saturating_sub(clock * self.calls[part]);
        (self.units[part] > 0).then(|| spent.as_secs_f64() * 1e9 / self.units[part] as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cost_is_that_of_the_best_and_of_the_median_window() {
        assert_eq!(Cost::of(vec![5.0, 1.0, 3.0]), Cost { best_ns: 1.0, median_ns: 3.0 });
        assert!(Cost::of(Vec::new()).best_ns.is_nan());
    }

    #[test]
    fn slower_work_costs_more() {
        let spin = |laps: &mut Laps<2>, part: usize, micros: u64| {
            laps.time(part, || {
                let begin = Instant::now();
                while begin.elapsed() < Duration::from_micros(micros) {}
                Ok(1)
            })
        };
        let never = || false;
        let costs = Stopwatch::new(&never).costs(|laps| {
            spin(laps, 0, 10)?;
            spin(laps, 1, 30).map(drop)
        });
        let [short, long] = costs.unwrap();
        assert!((9_500.0..15_000.0).contains(&short.best_ns), "{short:?}");
        assert!((29_000.0..45_000.0).contains(&long.best_ns), "{long:?}");
    }

    #[test]
    fn user_ends_it() {
        let at_once = || true;
        let costs = Stopwatch::new(&at_once).costs::<1>(|_| Ok(()));
        assert_eq!(costs.unwrap_err().kind(), io::ErrorKind::Interrupted);
    }
}
