//! What the machine could do at best, as tables.

use std::io::{self, Write};

use super::render::{NOTHING, cells};
use crate::bench::report::{CaseReport, Report};
use crate::bench::roofline::Roofline;
use crate::bench::stat::three_digits;
use crate::cli::table::Align::{Left, Right};
use crate::cli::table::Table;

/// Prints what was measured of the machine, and what follows from it.
pub(super) fn roofline(out: &mut impl Write, roofline: &Roofline) -> io::Result<()> {
    let Roofline { run_bytes, run_segments, .. } = *roofline;
    writeln!(
        out,
        "\nroofline: what each part costs; a run is {run_segments} segments, {run_bytes} bytes"
    )?;
    let mut table = Table::new([("PART", Left), ("BEST NS", Right), ("MEDIAN NS", Right)]);
    for (name, cost) in roofline.terms.list() {
        let text = |time_ns: f64| three_digits(time_ns);
        table.row([name.to_owned(), text(cost.best_ns), text(cost.median_ns)]);
    }
    table.print(out)?;
    let cores = three_digits(roofline.terms.cores);
    writeln!(
        out,
        "\nroofline: the most that one TCP stream could reach with {cores} cores at work"
    )?;
    let mut table = Table::new([
        ("DEVICE", Left),
        ("CIPHER", Left),
        ("GBIT/S", Right),
        ("IF EACH RUN WAKES EACH STAGE", Right),
        ("BOUND BY", Left),
    ]);
    for limit in &roofline.limits {
        table.row([
            limit.device.to_owned(),
            limit.cipher.to_string(),
            three_digits(limit.gbit),
            three_digits(limit.woken_gbit),
            limit.bound.to_string(),
        ]);
    }
    table.print(out)
}

/// Prints which share of its limit each case reaches.
pub(super) fn shares(out: &mut impl Write, report: &Report) -> io::Result<()> {
    let mut table = Table::new([
        ("CASE", Left),
        ("GBIT/S", Right),
        ("LIMIT", Right),
        ("SHARE %", Right),
        ("MIN–MAX", Left),
    ]);
    for case in &report.cases {
        let Some(limit) = &case.limit else { continue };
        let [share, range] = cells(limit.share, 100.0);
        table.row([case.name.clone(), rate(case), three_digits(limit.limit.gbit), share, range]);
    }
    writeln!(out, "\nroofline: what tcp-1 reached of it")?;
    table.print(out)
}

fn rate(case: &CaseReport) -> String {
    let figure = case.figure("tcp-1", "bits_per_sec");
    figure.map_or_else(|| NOTHING.to_owned(), |figure| three_digits(figure.spread.median * 1e-9))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::made_up;

    #[test]
    fn cases_that_the_model_knows_have_a_share() {
        let mut out = Vec::new();
        shares(&mut out, &made_up::report()).unwrap();
        let text = String::from_utf8(out).unwrap();
        let lines: Vec<_> = text
            .lines()
            .skip(3)
            .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
            .collect();
        assert!(lines[0].starts_with("raw 10.3 "), "{text}");
        assert!(lines[1].starts_with("vxlan-tap 6.80 "), "{text}");
        assert!(lines[2].starts_with("vxlan-tun 7.11 "), "{text}");
        assert!(lines[3].starts_with("wireguard-tun 5.97 "), "{text}");
        assert!(lines[4].starts_with("wireguard-tap 5.97 "), "{text}");
        assert!(lines[5].starts_with("wireguard-go - ") && lines[5].ends_with(" -"), "{text}");
        assert_eq!(lines.len(), 6, "{text}");
    }

    #[test]
    fn every_part_and_limit_has_a_row() {
        let report = made_up::report();
        let of = report.roofline.as_ref().unwrap();
        let mut out = Vec::new();
        roofline(&mut out, of).unwrap();
        let text = String::from_utf8(out).unwrap();
        assert!(of.terms.list().iter().all(|(name, _)| text.contains(name)), "{text}");
        assert!(text.contains("a run is 44 segments, 61500 bytes"), "{text}");
        assert!(text.lines().any(|line| line.starts_with("none") && line.contains("the sender")));
    }
}
