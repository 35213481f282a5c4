//! The highest rate of UDP packets that arrive: a bounded search over rates.

use std::io;

use super::udp::{UdpEnds, UdpFigure, UdpLoad};
use super::{Route, Stop};

/// Measurements at most, the first with more than can arrive.
const STEPS_MAX: u32 = 12;

/// How close the last two rates are: the search ends when nothing better than this can be found.
const CLOSE: f64 = 1.05;

/// A sender that reached less than this share of the wanted rate cannot send faster.
const REACHED: f64 = 0.95;

/// The first step down from a rate that is lossy; each is the square of the one before.
const STEP_DOWN: f64 = 0.9;

/// The highest rate that was found.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LosslessFigure {
    /// Packets that arrived per second, when the rate was confirmed.
    pub received_pps: f64,
    /// Measurements that it took.
    pub steps: u32,
}

/// Searches the highest rate with at most `loss` (0 to 1) lost.
///
/// The first step sends as fast as it goes; the others, each [`UdpLoad::time`] long, 11 at most,
/// bisect the rates below to within 5 %, and confirm what was found once. The load's own rate, if
/// it has one, is the highest that is tried.
///
/// # Errors
///
/// As [`super::udp()`]; and if no rate was lossless twice.
pub fn udp_lossless(
    route: Route<'_>,
    load: &UdpLoad,
    loss: f64,
    stop: Stop<'_>,
) -> io::Result<LosslessFigure> {
    let mut ends = UdpEnds::open(route, load)?;
    let mut attempt = |rate_pps: Option<f64>| {
        let figure = ends.run(load.time, rate_pps.or(load.rate_pps), stop)?;
        Ok(Attempt::of(&figure, loss))
    };
    search(&mut attempt)?.ok_or_else(|| io::Error::other("no rate was without loss twice"))
}

/// What came of one rate.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Attempt {
    is_lossless: bool,
    sent_pps: f64,
    received_pps: f64,
}

impl Attempt {
    fn of(figure: &UdpFigure, loss: f64) -> Self {
        Self {
            is_lossless: figure.sent > 0 && figure.loss() <= loss,
            sent_pps: figure.sent_pps,
            received_pps: figure.received_pps,
        }
    }
}

/// Searches by a function that tries a rate (`None`: as fast as it goes).
fn search(
    attempt: &mut impl FnMut(Option<f64>) -> io::Result<Attempt>,
) -> io::Result<Option<LosslessFigure>> {
    let overload = attempt(None)?;
    let mut range = Range::new(&overload);
    for steps in 2..=STEPS_MAX {
        // The last step confirms what there is.
        if let Some(found) = range.best()
            && (range.is_settled() || steps == STEPS_MAX)
        {
            let again = attempt((found < overload.sent_pps).then_some(found))?;
            if again.is_lossless {
                return Ok(Some(LosslessFigure { received_pps: again.received_pps, steps }));
            }
            range.take_lossy(found);
        } else {
            let rate = range.next;
            let tried = attempt(Some(rate))?;
            if tried.is_lossless {
                range.take_lossless(rate, tried.sent_pps);
            } else {
                range.take_lossy(rate);
            }
        }
    }
    Ok(None)
}

/// What is known of the rates.
#[derive(Debug)]
struct Range {
    /// Rates that were lossless, rising, all below `high`.
    lossless: Vec<f64>,
    /// Rates from here on are lossy, or more than the sender can do.
    high: f64,
    /// The rate to try next.
    next: f64,
    /// The factor of the next step down, while no rate is known to be lossless.
    down: f64,
}

impl Range {
    /// What arrived of too much is the first guess; it was made under more load.
    fn new(overload: &Attempt) -> Self {
        let sent = overload.sent_pps;
        let lossless = if overload.is_lossless { vec![sent] } else { Vec::new() };
        Self { lossless, high: sent, next: overload.received_pps.min(sent), down: STEP_DOWN }
    }

    fn best(&self) -> Option<f64> {
        self.lossless.last().copied()
    }

    fn is_settled(&self) -> bool {
        self.best().is_some_and(|best| self.high <= best * CLOSE)
    }

    fn take_lossless(&mut self, rate: f64, sent_pps: f64) {
        self.lossless.push(sent_pps.min(rate));
        if sent_pps < rate * REACHED {
            self.high = sent_pps;
        }
        self.choose();
    }

    fn take_lossy(&mut self, rate: f64) {
        self.high = rate;
        self.lossless.retain(|lossless| *lossless < rate);
        self.choose();
    }

    fn choose(&mut self) {
        self.next = match self.best() {
            Some(best) => f64::midpoint(best, self.high),
            None => {
                let next = self.high * self.down;
                self.down *= self.down;
                next
            }
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A way that carries `capacity` and collapses to `overloaded` beyond it, fed by a sender that
    /// can do `fastest`.
    fn way(
        capacity: f64,
        overloaded: f64,
        fastest: f64,
    ) -> impl FnMut(Option<f64>) -> io::Result<Attempt> {
        move |rate| {
            let sent_pps = rate.unwrap_or(f64::MAX).min(fastest);
            let is_lossless = sent_pps <= capacity;
            let received_pps = if is_lossless { sent_pps } else { overloaded };
            Ok(Attempt { is_lossless, sent_pps, received_pps })
        }
    }

    #[test]
    fn rate_is_found_within_five_percent_whatever_overload_does() {
        for capacity in [40.0, 99.0, 150.0, 199.0, 250.0] {
            for overloaded in [0.1, 0.5, 0.9, 1.0] {
                let mut way = way(capacity, capacity * overloaded, 300.0);
                let found = search(&mut way).unwrap().unwrap();
                assert!(found.received_pps <= capacity);
                assert!(found.received_pps * 1.06 >= capacity, "{capacity}: {found:?}");
                assert!(found.steps <= STEPS_MAX, "{found:?}");
            }
        }
    }

    #[test]
    fn sender_that_is_no_match_is_the_answer_in_two_steps() {
        let found = search(&mut way(500.0, 400.0, 300.0)).unwrap().unwrap();
        assert_eq!(found, LosslessFigure { received_pps: 300.0, steps: 2 });
    }

    #[test]
    fn rate_that_was_lossless_once_is_not_the_answer() {
        // Lossless up to 100, but each rate only at its second try below 80.
        let mut luck = 1;
        let mut way = |rate: Option<f64>| {
            let sent_pps = rate.unwrap_or(200.0);
            let is_lucky = (80.0..100.0).contains(&sent_pps) && luck > 0;
            luck -= i32::from(is_lucky);
            let is_lossless = sent_pps < 80.0 || is_lucky;
            Ok(Attempt { is_lossless, sent_pps, received_pps: sent_pps.min(90.0) })
        };
        let found = search(&mut way).unwrap().unwrap();
        assert!((70.0..80.0).contains(&found.received_pps), "{found:?}");
    }

    #[test]
    fn way_that_always_loses_has_no_answer_and_an_end() {
        let mut steps = 0;
        let mut lossy = |rate: Option<f64>| {
            steps += 1;
            let sent_pps = rate.unwrap_or(200.0);
            Ok(Attempt { is_lossless: false, sent_pps, received_pps: sent_pps / 2.0 })
        };
        assert_eq!(search(&mut lossy).unwrap(), None);
        assert_eq!(steps, STEPS_MAX);
    }
}
