//! Pictures of made-up reports.

use super::*;
use crate::bench::made_up;

#[test]
fn every_case_is_in_every_panel() {
    let report = made_up::report();
    let svg = svg(&report);
    let panels = panels(&report);
    assert_eq!(panels.len(), 6);
    for panel in &panels {
        assert!(svg.contains(&format!(">{}<", panel.title)), "{}", panel.title);
    }
    for case in &report.cases {
        let label = format!(">{}</text>", case.name);
        let names = svg.lines().filter(|line| line.contains("class=\"name\""));
        let found = names.filter(|line| line.ends_with(&label));
        assert_eq!(found.count(), panels.len(), "{}", case.name);
    }
    assert_eq!(svg.matches("not measured").count(), panels.len(), "wireguard-go is missing");
}

#[test]
fn elements_are_well_formed_and_text_is_escaped() {
    let svg = svg(&made_up::report());
    assert!(svg.contains("Example &lt;Processor&gt; &amp; Co, 2 cores · Linux 6.18.44"), "{svg}");
    assert!(
        svg.starts_with("<svg xmlns=\"http://www.w3.org/2000/svg\"") && svg.ends_with("</svg>\n")
    );
    let body = svg.lines().skip(1).filter(|line| !line.starts_with("</svg>"));
    for line in body {
        let is_closed =
            line.ends_with("/>") || line.ends_with("</text>") || line.ends_with("</style>");
        assert!(line.starts_with('<') && is_closed, "{line}");
    }
    assert!(!svg.contains("NaN") && !svg.contains("inf"));
}

#[test]
fn bars_are_as_long_as_their_values() {
    let axis = Axis::up_to(12.0);
    assert_eq!(axis.position(0.0), 0.0);
    assert_eq!(axis.position(12.0), PLOT_WIDTH);
    assert!((axis.position(3.0) - PLOT_WIDTH / 4.0).abs() < 1e-9);
    assert_eq!(axis.position(13.0), PLOT_WIDTH);
}

#[test]
fn value_far_out_does_not_flatten_the_bars() {
    let mut report = made_up::report();
    let measures = &mut report.cases[1].measures;
    let rtt = measures.get_mut("rtt").unwrap().as_mut().unwrap();
    let figure = rtt.figures.get_mut("p50_us").unwrap().as_mut().unwrap();
    figure.spread.max = 5000.0;
    let panel = panels(&report).into_iter().find(|panel| panel.title.contains("median")).unwrap();
    let longest = panel.rows.iter().filter_map(|row| row.spread).map(|spread| spread.median);
    let expected = longest.fold(0.0, f64::max) * FAR_OUT;
    assert!((most_drawn(&panel) - expected).abs() < 1e-9);
    assert_eq!(svg(&report).matches("class=\"whisker\"").count(), 8 * 6 + 1);
}

#[test]
fn axis_has_few_marks_at_round_numbers() {
    let cases: [(f64, &[&str]); 7] = [
        (0.0, &["0.0", "0.2", "0.4", "0.6", "0.8", "1.0"]),
        (12.3, &["0.0", "2.5", "5.0", "7.5", "10.0"]),
        (10.0, &["0", "2", "4", "6", "8", "10"]),
        (248.0, &["0", "50", "100", "150", "200"]),
        (0.5, &["0.0", "0.1", "0.2", "0.3", "0.4", "0.5"]),
        (0.12, &["0.000", "0.025", "0.050", "0.075", "0.100"]),
        (99.0, &["0", "20", "40", "60", "80"]),
    ];
    for (most, expected) in cases {
        let axis = Axis::up_to(most);
        let marks: Vec<_> = axis.marks().map(|mark| axis.mark_text(mark)).collect();
        assert_eq!(marks, expected, "{most}");
    }
}

#[test]
fn report_without_figures_is_a_picture_too() {
    let mut report = made_up::report();
    report.cases.clear();
    let svg = svg(&report);
    assert!(svg.ends_with("</svg>\n") && !svg.contains("class=\"name\" x"), "{svg}");
}
