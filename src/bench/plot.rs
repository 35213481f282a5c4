//! A report as a picture: an SVG file with a small panel of bars for each figure.

use std::fmt::Write;

use super::panel::{Panel, Row, panels};
use super::report::{Kind, Report};
use super::stat::three_digits;

/// The picture's width, and what is left free at its edges, in SVG units (px).
const WIDTH: f64 = 1000.0;
const MARGIN: f64 = 36.0;

/// Panels stand side by side in this many columns.
const COLUMNS: usize = 2;
const COLUMN_GAP: f64 = 44.0;
const PANEL_WIDTH: f64 = (WIDTH - 2.0 * MARGIN - COLUMN_GAP) / COLUMNS as f64;

/// The parts of a panel, from left to right: the names, the bars, room for the last value.
const NAME_WIDTH: f64 = 136.0;
const VALUE_WIDTH: f64 = 46.0;
const PLOT_WIDTH: f64 = PANEL_WIDTH - NAME_WIDTH - VALUE_WIDTH;

/// The parts of a panel, from top to bottom: title and unit, a row for each case, the axis.
const TITLE_HEIGHT: f64 = 44.0;
const ROW_HEIGHT: f64 = 23.0;
const BAR_HEIGHT: f64 = 14.0;
const AXIS_HEIGHT: f64 = 40.0;

/// Where the panels begin, below the title of the whole.
const HEAD_HEIGHT: f64 = 138.0;

/// Lines end at this many times the longest bar, if they would not before.
const FAR_OUT: f64 = 1.5;

/// The most marks that an axis has beside zero.
const MARKS: f64 = 5.0;

const STYLE: &str = "\
text{font-family:Helvetica,Arial,'Liberation Sans','DejaVu Sans',sans-serif;font-size:12px;fill:#1f2933}\
.head{font-size:20px;font-weight:bold}\
.title{font-size:13px;font-weight:bold}\
.soft{font-size:11px;fill:#616e7c}\
.name{text-anchor:end}\
.mark{font-size:10.5px;fill:#7b8794;text-anchor:middle}\
.grid{stroke:#e4e7eb;stroke-width:1}\
.zero{stroke:#9aa5b1;stroke-width:1}\
.whisker{stroke:#1f2933;stroke-width:1.2;fill:none}\
.none{fill:#9aa5b1;font-style:italic}";

/// Gives the picture of a report.
pub fn svg(report: &Report) -> String {
    let panels = panels(report);
    let rows = panels.iter().map(|panel| panel.rows.len()).max().unwrap_or(0);
    let panel_height = TITLE_HEIGHT + rows as f64 * ROW_HEIGHT + AXIS_HEIGHT;
    let lines = panels.len().div_ceil(COLUMNS);
    let height = HEAD_HEIGHT + lines as f64 * panel_height + MARGIN / 2.0;
    let mut drawing = Drawing::new(height);
    drawing.head(report);
    for (i, panel) in panels.iter().enumerate() {
        let x = MARGIN + (i % COLUMNS) as f64 * (PANEL_WIDTH + COLUMN_GAP);
        let y = HEAD_HEIGHT + (i / COLUMNS) as f64 * panel_height;
        drawing.panel(x, y, panel);
    }
    drawing.end()
}

/// The text of an SVG file, element by element.
struct Drawing(String);

impl Drawing {
    fn new(height: f64) -> Self {
        let mut drawing = Self(String::new());
        drawing.add(format_args!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{height}\" \
             viewBox=\"0 0 {WIDTH} {height}\" role=\"img\">\n<style>{STYLE}</style>\n\
             <rect width=\"{WIDTH}\" height=\"{height}\" fill=\"#ffffff\"/>"
        ));
        drawing
    }

    fn end(mut self) -> String {
        self.0.push_str("</svg>\n");
        self.0
    }

    fn add(&mut self, element: std::fmt::Arguments<'_>) {
        // Writing to a string cannot fail.
        let _ = writeln!(self.0, "{element}");
    }

    fn text(&mut self, class: &str, x: f64, y: f64, text: &str) {
        let text = escaped(text);
        self.add(format_args!("<text class=\"{class}\" x=\"{x:.1}\" y=\"{y:.1}\">{text}</text>"));
    }

    fn line(&mut self, class: &str, from: (f64, f64), to: (f64, f64)) {
        let ((x1, y1), (x2, y2)) = (from, to);
        self.add(format_args!(
            "<line class=\"{class}\" x1=\"{x1:.1}\" y1=\"{y1:.1}\" x2=\"{x2:.1}\" y2=\"{y2:.1}\"/>"
        ));
    }

    fn rect(&mut self, (x, y): (f64, f64), (width, height): (f64, f64), color: &str) {
        self.add(format_args!(
            "<rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{height:.1}\" \
             rx=\"1.5\" fill=\"{color}\"/>"
        ));
    }

    /// Draws what the figures belong to, and the legend.
    fn head(&mut self, report: &Report) {
        self.text("head", MARGIN, 42.0, "Tunnels compared: tunctl bench");
        self.text("soft", MARGIN, 64.0, &machine_line(report));
        self.text("soft", MARGIN, 81.0, &settings_line(report));
        let mut x = MARGIN;
        let is_there = |kind| report.cases.iter().any(|case| case.kind == kind);
        for kind in [Kind::Baseline, Kind::Ours, Kind::Rival].into_iter().filter(|k| is_there(*k)) {
            let (color, meaning) = look(kind);
            self.rect((x, 99.0), (12.0, 12.0), color);
            self.text("soft", x + 18.0, 109.0, meaning);
            x += 42.0 + meaning.len() as f64 * 5.6;
        }
        self.whisker((x, x + 26.0), 105.0);
        let rounds = report.settings.rounds;
        let bars = match rounds {
            1 => "one round, so no spread".to_owned(),
            _ => format!("bar: median of {rounds} rounds; line: smallest to largest"),
        };
        self.text("soft", x + 34.0, 109.0, &bars);
    }

    fn panel(&mut self, x: f64, y: f64, panel: &Panel) {
        let better = if panel.is_more_better { "more is better" } else { "less is better" };
        self.text("title", x, y + 14.0, &panel.title);
        self.text("soft", x, y + 30.0, &format!("{}, {better}", panel.unit));
        let left = x + NAME_WIDTH;
        let top = y + TITLE_HEIGHT;
        let bottom = top + panel.rows.len() as f64 * ROW_HEIGHT;
        let axis = Axis::up_to(most_drawn(panel));
        for mark in axis.marks() {
            let at = left + axis.position(mark);
            let class = if mark == 0.0 { "zero" } else { "grid" };
            self.line(class, (at, top), (at, bottom));
            self.text("mark", at, bottom + 14.0, &axis.mark_text(mark));
        }
        for (i, row) in panel.rows.iter().enumerate() {
            self.row(left, top + (i as f64 + 0.5) * ROW_HEIGHT, row, &axis);
        }
    }

    /// Draws a case; `middle` is the height of its bar's middle.
    fn row(&mut self, left: f64, middle: f64, row: &Row, axis: &Axis) {
        let baseline = middle + 4.2;
        self.text("name", left - 8.0, baseline, &row.case);
        let Some(spread) = row.spread else {
            self.text("none", left + 6.0, baseline, "not measured");
            return;
        };
        let at = |value| left + axis.position(value);
        let (color, _) = look(row.kind);
        let width = at(spread.median) - left;
        self.rect((left, middle - BAR_HEIGHT / 2.0), (width, BAR_HEIGHT), color);
        let end = at(spread.max);
        if spread.max > axis.end {
            self.cut_whisker((at(spread.min), end), middle);
        } else if spread.max > spread.min {
            self.whisker((at(spread.min), end), middle);
        }
        self.text("value", end + 7.0, baseline, &three_digits(spread.median));
    }

    /// Draws a line that would end outside: with an arrow.
    fn cut_whisker(&mut self, (from, to): (f64, f64), y: f64) {
        let (above, below, back) = (y - 3.5, y + 3.5, to - 5.0);
        self.add(format_args!(
            "<path class=\"whisker\" d=\"M{from:.1} {above:.1}V{below:.1}M{from:.1} {y:.1}H{to:.1}\
             M{back:.1} {above:.1}L{to:.1} {y:.1}L{back:.1} {below:.1}\"/>"
        ));
    }

    fn whisker(&mut self, (from, to): (f64, f64), y: f64) {
        let (above, below) = (y - 3.5, y + 3.5);
        self.add(format_args!(
            "<path class=\"whisker\" d=\"M{from:.1} {y:.1}H{to:.1}M{from:.1} {above:.1}V{below:.1}\
             M{to:.1} {above:.1}V{below:.1}\"/>"
        ));
    }
}

/// Gives the largest value that a panel shows: that of the longest line, unless it lies so far out
/// that the bars would be too small to be read.
fn most_drawn(panel: &Panel) -> f64 {
    let spreads = || panel.rows.iter().filter_map(|row| row.spread);
    let longest_bar = spreads().map(|spread| spread.median).fold(0.0, f64::max);
    spreads().map(|spread| spread.max).fold(0.0, f64::max).min(longest_bar * FAR_OUT)
}

/// The values along a panel, from zero.
struct Axis {
    end: f64,
    step: f64,
}

impl Axis {
    /// Makes an axis that ends at or above `most`, with marks at round numbers.
    fn up_to(most: f64) -> Self {
        let most = if most > 0.0 { most } else { 1.0 };
        let power = 10f64.powf((most / MARKS).log10().floor());
        let factors = [1.0, 2.0, 2.5, 5.0, 10.0];
        let step = factors.map(|factor| factor * power).into_iter().find(|s| s * MARKS >= most);
        let step = step.unwrap_or(most / MARKS);
        Self { end: most, step }
    }

    /// Gives the place of a value, from the left end.
    fn position(&self, value: f64) -> f64 {
        (value / self.end).clamp(0.0, 1.0) * PLOT_WIDTH
    }

    fn marks(&self) -> impl Iterator<Item = f64> {
        let count = (self.end / self.step + 1e-9).floor() as u32;
        let step = self.step;
        (0..=count).map(move |i| f64::from(i) * step)
    }

    fn mark_text(&self, mark: f64) -> String {
        let decimals = (0..4).find(|&digits| {
            let shifted = self.step * 10f64.powi(digits);
            (shifted - shifted.round()).abs() < 1e-6
        });
        let decimals = usize::try_from(decimals.unwrap_or(4)).unwrap_or(0);
        format!("{mark:.decimals$}")
    }
}

/// Gives the colour of a kind's bars, and what it stands for.
fn look(kind: Kind) -> (&'static str, &'static str) {
    match kind {
        Kind::Baseline => ("#a8b3bf", "the kernel alone"),
        Kind::Ours => ("#3574d4", "tunctl at one end or both"),
        Kind::Rival => ("#e0933a", "other programs"),
    }
}

fn machine_line(report: &Report) -> String {
    let machine = &report.machine;
    let cpu = machine.cpu.as_deref().unwrap_or("unknown processor");
    let kernel = machine.kernel.as_deref().unwrap_or("unknown");
    let commit = report.tunctl.commit.as_deref().unwrap_or("unknown commit");
    let cores = if machine.cores == 1 { "core" } else { "cores" };
    let build = if report.tunctl.optimized { "" } else { ", not optimized" };
    format!(
        "{cpu}, {} {cores} · Linux {kernel} · tunctl {} ({commit}{build})",
        machine.cores, report.tunctl.version
    )
}

fn settings_line(report: &Report) -> String {
    let settings = &report.settings;
    let wire = match settings.underlay.as_str() {
        "nic" => "packets on the wire as with a real network card",
        "veth" => {
            "unsegmented aggregates of up to 64 KiB on the wire, which no real network carries"
        }
        _ => "another wire",
    };
    format!(
        "underlay {}: {wire} · MTU {} · congestion control {} · samples of {} s",
        settings.underlay, settings.mtu, settings.congestion, settings.secs
    )
}

fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            c if c.is_control() => escaped.push(' '),
            c => escaped.push(c),
        }
    }
    escaped
}

#[cfg(test)]
mod tests;
