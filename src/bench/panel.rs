//! What of a report is drawn: one panel for each figure that people compare.

use super::measure::{Measure, Pace, Packets};
use super::quantity::Quantity;
use super::report::{Kind, Report};
use super::stat::Spread;

/// A figure of all cases, in the unit in which it is drawn.
#[derive(Clone, Debug, PartialEq)]
pub struct Panel {
    /// What was done.
    pub title: String,
    /// The unit.
    pub unit: &'static str,
    /// Whether more is better; else less is.
    pub is_more_better: bool,
    /// A row for each case.
    pub rows: Vec<Row>,
}

/// A case in a panel.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// The case's name.
    pub case: String,
    /// Whose it is.
    pub kind: Kind,
    /// The figure; `None` = not measured.
    pub spread: Option<Spread>,
}

/// How a figure of a measure is drawn.
struct View {
    quantity: Quantity,
    title: String,
    unit: &'static str,
    /// What its values are multiplied by.
    scale: f64,
    is_more_better: bool,
}

/// Gives the panels of a report, in the order of its measures.
///
/// A figure that no case has is left out.
pub fn panels(report: &Report) -> Vec<Panel> {
    let measures = report.settings.measures.iter();
    let views = measures.filter_map(|name| name.parse().ok()).flat_map(views);
    views.filter_map(|(measure, view)| panel(report, measure, view)).collect()
}

fn panel(report: &Report, measure: Measure, view: View) -> Option<Panel> {
    let name = measure.to_string();
    let scaled = |spread: Spread| Spread {
        median: spread.median * view.scale,
        min: spread.min * view.scale,
        max: spread.max * view.scale,
    };
    let applies = report
        .cases
        .iter()
        .filter(|case| !measure.is_of_scale() || case.figure(&name, view.quantity.key()).is_some());
    let rows: Vec<_> = applies
        .map(|case| {
            let figure = case.figure(&name, view.quantity.key());
            let spread = figure.map(|figure| scaled(figure.spread));
            Row { case: case.name.clone(), kind: case.kind, spread }
        })
        .collect();
    if rows.iter().all(|row| row.spread.is_none()) {
        return None;
    }
    let View { title, unit, is_more_better, .. } = view;
    Some(Panel { title, unit, is_more_better, rows })
}

/// Gives what is drawn of a measure.
fn views(measure: Measure) -> Vec<(Measure, View)> {
    let view = |quantity, title: String, unit, scale, is_more_better| {
        (measure, View { quantity, title, unit, scale, is_more_better })
    };
    match measure {
        Measure::Tcp(streams) => {
            let title = format!("TCP, {}", streams_text(streams));
            let rate = view(Quantity::BitsPerSec, title.clone(), "Gbit/s", 1e-9, true);
            let cost = format!("CPU time of the whole machine, {title}");
            let cost = view(Quantity::MachineCpuSecsPerGb, cost, "s per GB", 1.0, false);
            // The cost of more streams says little that of one does not.
            if streams == 1 { vec![rate, cost] } else { vec![rate] }
        }
        Measure::Udp(packets, pace) => {
            let packets = match packets {
                Packets::Small => "UDP, 64 bytes, one flow",
                Packets::Mixed => "UDP, 64 to 1400 bytes, 64 flows",
            };
            let pace = match pace {
                Pace::Overload => "received under overload",
                Pace::Lossless => "at most 0.1 % lost",
            };
            let title = format!("{packets}, {pace}");
            vec![view(Quantity::ReceivedPps, title, "1000 packets/s", 1e-3, true)]
        }
        Measure::Rtt | Measure::RttLoaded => {
            let beside = if measure == Measure::Rtt { "idle" } else { "beside one TCP stream" };
            let title = |share| format!("Half the round trip, {beside}, {share}");
            vec![
                view(Quantity::P50Us, title("median"), "µs", 1.0, false),
                view(Quantity::P99Us, title("99th percentile"), "µs", 1.0, false),
            ]
        }
        Measure::Table => {
            let title = "TCP with a full table, as a share of that with an empty one".to_owned();
            vec![view(Quantity::LargeToSmall, title, "%", 100.0, true)]
        }
        Measure::Spread => {
            let title = "UDP to many destinations, as a share of that to one".to_owned();
            vec![view(Quantity::ManyToOne, title, "%", 100.0, true)]
        }
    }
}

/// Gives `1 stream` or `8 streams`.
pub fn streams_text(streams: u32) -> String {
    format!("{streams} stream{}", if streams == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::made_up;

    #[test]
    fn values_are_in_the_unit_that_is_named() {
        let panels = panels(&made_up::report());
        let titles: Vec<_> =
            panels.iter().map(|panel| (panel.title.as_str(), panel.unit)).collect();
        assert_eq!(
            titles,
            [
                ("TCP, 1 stream", "Gbit/s"),
                ("CPU time of the whole machine, TCP, 1 stream", "s per GB"),
                ("TCP, 8 streams", "Gbit/s"),
                ("UDP, 64 bytes, one flow, received under overload", "1000 packets/s"),
                ("Half the round trip, idle, median", "µs"),
                ("Half the round trip, idle, 99th percentile", "µs"),
            ]
        );
        let raw = panels[0].rows[0].spread.unwrap();
        assert!((raw.median - 10.3).abs() < 1e-9 && raw.min < raw.median && raw.median < raw.max);
        assert!(panels[0].is_more_better && !panels[1].is_more_better);
    }

    #[test]
    fn case_that_was_not_measured_has_an_empty_row() {
        let panels = panels(&made_up::report());
        let row = panels[0].rows.last().unwrap();
        assert_eq!((row.case.as_str(), row.spread), ("wireguard-go", None));
    }

    #[test]
    fn figure_that_no_case_has_is_left_out() {
        let mut report = made_up::report();
        report.settings.measures.push("spread".into());
        report.settings.measures.push("of the future".into());
        assert_eq!(panels(&report).len(), 6);
    }
}
