//! The line that says where a run is, written again and again.

use std::io::Write;
use std::time::Duration;

use crate::bench::run::Progress;

/// Takes the cursor to the start of the line, and clears the line.
const CLEAR: &str = "\r\x1b[K";

/// A line of a terminal; cleared when this value goes.
pub(super) struct Line<W: Write> {
    out: W,
}

impl<W: Write> Line<W> {
    pub(super) fn new(out: W) -> Self {
        Self { out }
    }

    /// Shows where the run is, in place of what was there.
    pub(super) fn show(&mut self, at: &Progress) {
        // Where the terminal is gone the run is still of use.
        let _ = write!(self.out, "{CLEAR}{}", text(at)).and_then(|()| self.out.flush());
    }
}

impl<W: Write> Drop for Line<W> {
    fn drop(&mut self) {
        let _ = write!(self.out, "{CLEAR}").and_then(|()| self.out.flush());
    }
}

fn text(at: &Progress) -> String {
    match at {
        Progress::Roofline => "what this machine could do at best; about 15 s".to_owned(),
        Progress::SettingUp { case } => format!("setting up {case}"),
        Progress::Sampling { round, measure, case, is_repeated, left } => {
            let again = if *is_repeated { " again: somebody else was busy" } else { "" };
            format!("round {round}, {measure} of {case}{again}; about {} left", rounded(*left))
        }
    }
}

/// Gives a time as `1 min 5 s`.
pub(super) fn rounded(time: Duration) -> String {
    let secs = time.as_secs_f64().ceil() as u64;
    match (secs / 3600, secs / 60 % 60, secs % 60) {
        (0, 0, secs) => format!("{secs} s"),
        (0, minutes, 0) => format!("{minutes} min"),
        (0, minutes, secs) => format!("{minutes} min {secs} s"),
        (hours, minutes, _) => format!("{hours} h {minutes} min"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::case::Case;

    #[test]
    fn line_is_written_over_itself_and_gone_at_the_end() {
        let mut out = Vec::new();
        let mut line = Line::new(&mut out);
        line.show(&Progress::SettingUp { case: Case::Raw });
        let sampling = |is_repeated| Progress::Sampling {
            round: 2,
            measure: "tcp-1".into(),
            case: Case::VxlanTap,
            is_repeated,
            left: Duration::from_millis(64_100),
        };
        line.show(&sampling(false));
        line.show(&sampling(true));
        drop(line);
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "\r\x1b[Ksetting up raw\
             \r\x1b[Kround 2, tcp-1 of vxlan-tap; about 1 min 5 s left\
             \r\x1b[Kround 2, tcp-1 of vxlan-tap again: somebody else was busy; about 1 min 5 s left\
             \r\x1b[K"
        );
    }

    #[test]
    fn times_are_rounded_up_to_seconds() {
        let cases = [
            (0.0, "0 s"),
            (0.1, "1 s"),
            (59.0, "59 s"),
            (59.5, "1 min"),
            (119.2, "2 min"),
            (3599.0, "59 min 59 s"),
            (3661.0, "1 h 1 min"),
        ];
        for (secs, expected) in cases {
            assert_eq!(rounded(Duration::from_secs_f64(secs)), expected, "{secs}");
        }
    }
}
