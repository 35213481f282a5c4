//! Aligned columns.

use std::io::{self, Write};

/// How a column is aligned; numbers are aligned to the right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Align {
    Left,
    Right,
}

/// Rows that are printed together so that their columns are aligned.
///
/// A long table is printed part by part: a column never gets narrower, so that parts look like one
/// table unless a later one has a wider value.
#[derive(Debug)]
pub(super) struct Table<const N: usize> {
    titles: Option<[&'static str; N]>,
    aligns: [Align; N],
    widths: [usize; N],
    rows: Vec<[String; N]>,
}

impl<const N: usize> Table<N> {
    pub(super) fn new(columns: [(&'static str, Align); N]) -> Self {
        let titles = columns.map(|(title, _)| title);
        Self {
            titles: Some(titles),
            aligns: columns.map(|(_, align)| align),
            widths: titles.map(|title| title.chars().count()),
            rows: Vec::new(),
        }
    }

    pub(super) fn row(&mut self, cells: [String; N]) {
        for (width, cell) in self.widths.iter_mut().zip(&cells) {
            *width = (*width).max(cell.chars().count());
        }
        self.rows.push(cells);
    }

    /// Prints the rows since the last call; the titles the first time.
    pub(super) fn print(&mut self, out: &mut impl Write) -> io::Result<()> {
        if let Some(titles) = self.titles.take() {
            self.print_row(out, &titles)?;
        }
        for cells in &self.rows {
            self.print_row(out, cells)?;
        }
        self.rows.clear();
        Ok(())
    }

    fn print_row(&self, out: &mut impl Write, cells: &[impl AsRef<str>; N]) -> io::Result<()> {
        let mut line = String::new();
        for ((cell, align), &width) in cells.iter().zip(self.aligns).zip(&self.widths) {
            let cell = cell.as_ref();
            let padding = " ".repeat(width.saturating_sub(cell.chars().count()));
            match align {
                Align::Left => line.extend([cell, &padding]),
                Align::Right => line.extend([&padding, cell]),
            }
            line.push_str("  ");
        }
        writeln!(out, "{}", line.trim_end())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_and_lines_have_no_blank_end() {
        let mut table =
            Table::new([("NAME", Align::Left), ("VNI", Align::Right), ("X", Align::Left)]);
        table.row(["office".into(), "42".into(), "a".into()]);
        table.row(["x".into(), "16777215".into(), String::new()]);

        assert_eq!(
            printed(&mut table),
            "NAME         VNI  X\n\
             office        42  a\n\
             x       16777215\n"
        );
    }

    #[test]
    fn titles_are_printed_once_and_widths_stay() {
        let mut table = Table::new([("A", Align::Left), ("B", Align::Left)]);
        table.row(["wide".into(), "1".into()]);
        assert_eq!(printed(&mut table), "A     B\nwide  1\n");

        table.row(["x".into(), "2".into()]);
        assert_eq!(printed(&mut table), "x     2\n");
    }

    fn printed<const N: usize>(table: &mut Table<N>) -> String {
        let mut out = Vec::new();
        table.print(&mut out).unwrap();
        String::from_utf8(out).unwrap()
    }
}
