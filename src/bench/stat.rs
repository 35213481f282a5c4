//! Medians, spreads, and ratios between values of the same round.

use serde::Serialize;

/// The middle of several values, and how far they lie apart.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Spread {
    /// The middle value; of an even number of values the mean of the two in the middle.
    pub median: f64,
    /// The smallest value.
    pub min: f64,
    /// The largest value.
    pub max: f64,
}

impl Spread {
    /// Gives the spread of some values; `None` of none. Values that are not finite are left out.
    pub fn of(values: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut sorted: Vec<f64> = values.into_iter().filter(|value| value.is_finite()).collect();
        sorted.sort_by(f64::total_cmp);
        let (&min, &max) = (sorted.first()?, sorted.last()?);
        let middle = sorted.len() / 2;
        let median = match sorted.len() % 2 {
            0 => f64::midpoint(sorted[middle - 1], sorted[middle]),
            _ => sorted[middle],
        };
        Some(Self { median, min, max })
    }
}

/// A value and the round that it was measured in.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct InRound {
    /// The round, counted from 1.
    pub round: u32,
    /// The value.
    pub value: f64,
}

/// Gives the ratios of values to those of a baseline in the same round.
///
/// What the machine does to a whole round falls out of them. A round that one of the two lacks, or
/// in which the baseline is not above zero, has no ratio.
pub fn ratios(values: &[InRound], baseline: &[InRound]) -> Vec<InRound> {
    let ratio = |value: &InRound| {
        let base = baseline.iter().find(|base| base.round == value.round && base.value > 0.0)?;
        Some(InRound { round: value.round, value: value.value / base.value })
    };
    values.iter().filter_map(ratio).collect()
}

/// Gives a value as people read it: three digits that count, as `1234`, `123`, `12.3`, `1.23`,
/// `0.012`.
pub fn three_digits(value: f64) -> String {
    let decimals = match value.abs() {
        size if size >= 99.95 => 0,
        size if size >= 9.995 => 1,
        size if size >= 0.0995 || size == 0.0 => 2,
        _ => 3,
    };
    format!("{value:.decimals$}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spread_has_the_middle_and_both_ends() {
        let cases: [(&[f64], [f64; 3]); 4] = [
            (&[3.0], [3.0, 3.0, 3.0]),
            (&[4.0, 1.0], [2.5, 1.0, 4.0]),
            (&[9.0, 1.0, 2.0], [2.0, 1.0, 9.0]),
            (&[9.0, f64::NAN, 1.0, 2.0, 4.0], [3.0, 1.0, 9.0]),
        ];
        for (values, [median, min, max]) in cases {
            let spread = Spread::of(values.iter().copied());
            assert_eq!(spread, Some(Spread { median, min, max }), "{values:?}");
        }
        assert_eq!(Spread::of([]), None);
        assert_eq!(Spread::of([f64::NAN, f64::INFINITY]), None);
    }

    #[test]
    fn ratio_is_taken_within_a_round() {
        let values = rounds(&[(1, 5.0), (2, 20.0), (3, 6.0)]);
        // The machine was twice as fast in round 2: the ratios do not show it.
        let baseline = rounds(&[(3, 12.0), (1, 10.0), (2, 40.0)]);

        let ratios = ratios(&values, &baseline);

        assert_eq!(ratios, rounds(&[(1, 0.5), (2, 0.5), (3, 0.5)]));
    }

    #[test]
    fn round_without_a_baseline_has_no_ratio() {
        let values = rounds(&[(1, 5.0), (2, 20.0), (3, 1.0)]);
        let baseline = rounds(&[(2, 10.0), (3, 0.0), (4, 1.0)]);

        assert_eq!(ratios(&values, &baseline), rounds(&[(2, 2.0)]));
        assert_eq!(ratios(&values, &[]), []);
    }

    #[test]
    fn three_digits_count() {
        let cases = [
            (0.0, "0.00"),
            (0.0123, "0.012"),
            (0.0996, "0.10"),
            (0.5, "0.50"),
            (1.234, "1.23"),
            (9.994, "9.99"),
            (9.996, "10.0"),
            (99.94, "99.9"),
            (99.96, "100"),
            (1234.5, "1234"),
            (-12.34, "-12.3"),
        ];
        for (value, expected) in cases {
            assert_eq!(three_digits(value), expected, "{value}");
        }
    }

    fn rounds(values: &[(u32, f64)]) -> Vec<InRound> {
        values.iter().map(|&(round, value)| InRound { round, value }).collect()
    }
}
