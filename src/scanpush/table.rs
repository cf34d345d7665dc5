//! Rows of text in columns that fit a width.

use super::output::Output;
use crate::exit::Failure;

/// A column of a table.
pub struct Column {
    /// Its header.
    pub header: &'static str,
    /// How its cells are aligned.
    pub side: Side,
    /// How narrow it may become if the table is too wide, in characters; none: it keeps its width.
    pub least: Option<usize>,
}

impl Column {
    /// A column with these values.
    pub const fn new(header: &'static str, side: Side, least: Option<usize>) -> Column {
        Column {
            header,
            side,
            least,
        }
    }
}

/// The alignment of a column's cells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// Words.
    Left,
    /// Numbers.
    Right,
}

/// A row: a cell for each column, and lines of its own below.
pub struct Row {
    /// As many as there are columns.
    pub cells: Vec<String>,
    /// Indented lines below the cells, each cut to the table's width.
    pub below: Vec<String>,
}

/// The lines of a table, headers first, each at most `width` characters if the columns' minimum widths allow it. The first columns are
/// shortened first; text is cut in the middle, because names differ at their ends.
pub fn lines(columns: &[Column], rows: &[Row], width: usize) -> Vec<String> {
    Layout::new(columns, width).lines(rows)
}

/// Prints a table that fits the output; nothing if there are no rows.
pub fn print(columns: &[Column], rows: &[Row], output: &mut Output<'_>) -> Result<(), Failure> {
    if rows.is_empty() {
        return Ok(());
    }
    lines(columns, rows, output.columns())
        .iter()
        .try_for_each(|line| output.line(line))
}

/// A table that is made piece by piece. Columns become wider, but never narrower, as longer cells come.
pub struct Layout<'a> {
    columns: &'a [Column],
    width: usize,
    /// The longest cell of each column, its header included.
    longest: Vec<usize>,
    has_headers: bool,
}

impl<'a> Layout<'a> {
    /// A table of these columns, at most `width` characters wide if possible.
    pub fn new(columns: &'a [Column], width: usize) -> Layout<'a> {
        Layout {
            columns,
            width,
            longest: columns.iter().map(|column| length(column.header)).collect(),
            has_headers: false,
        }
    }

    /// The lines of the next rows; before the first ones, the headers.
    pub fn lines(&mut self, rows: &[Row]) -> Vec<String> {
        for row in rows {
            for (longest, cell) in self.longest.iter_mut().zip(&row.cells) {
                *longest = (*longest).max(length(cell));
            }
        }
        let widths = widths(self.columns, &self.longest, self.width);
        let mut lines = Vec::with_capacity(rows.len() + 1);
        if !std::mem::replace(&mut self.has_headers, true) {
            let headers: Vec<&str> = self.columns.iter().map(|column| column.header).collect();
            lines.push(line(self.columns, &widths, &headers));
        }
        push_rows(&mut lines, self.columns, &widths, rows, self.width);
        lines
    }
}

fn push_rows(
    lines: &mut Vec<String>,
    columns: &[Column],
    widths: &[usize],
    rows: &[Row],
    width: usize,
) {
    for row in rows {
        let cells: Vec<&str> = row.cells.iter().map(String::as_str).collect();
        lines.push(line(columns, widths, &cells));
        for below in &row.below {
            lines.push(format!("  {}", beginning(below, width.saturating_sub(2))));
        }
    }
}

fn widths(columns: &[Column], longest: &[usize], width: usize) -> Vec<usize> {
    let mut widths = longest.to_vec();
    let spaces = columns.len().saturating_sub(1);
    let mut excess = (widths.iter().sum::<usize>() + spaces).saturating_sub(width);
    for (width, column) in widths.iter_mut().zip(columns) {
        let Some(least) = column.least else { continue };
        let given = excess.min(width.saturating_sub(least));
        *width -= given;
        excess -= given;
    }
    widths
}

fn line(columns: &[Column], widths: &[usize], cells: &[&str]) -> String {
    let mut line = String::new();
    for ((column, &width), cell) in columns.iter().zip(widths).zip(cells) {
        let cell = shortened(cell, width);
        line += &match column.side {
            Side::Left => format!("{cell:<width$} "),
            Side::Right => format!("{cell:>width$} "),
        };
    }
    line.trim_end().to_owned()
}

/// At most `width` characters of `text`, cut in the middle.
fn shortened(text: &str, width: usize) -> String {
    let length = length(text);
    if length <= width {
        return text.to_owned();
    }
    let kept = width.saturating_sub(1);
    let front: String = text.chars().take(kept.div_ceil(2)).collect();
    let back: String = text.chars().skip(length - kept / 2).collect();
    format!("{front}…{back}")
}

/// At most `width` characters of `text`, cut at the end.
fn beginning(text: &str, width: usize) -> String {
    if length(text) <= width {
        return text.to_owned();
    }
    let front: String = text.chars().take(width.saturating_sub(1)).collect();
    front + "…"
}

fn length(text: &str) -> usize {
    text.chars().count()
}

#[cfg(test)]
mod tests {
    use super::*;

    const COLUMNS: &[Column] = &[
        Column {
            header: "ID",
            side: Side::Left,
            least: None,
        },
        Column {
            header: "N",
            side: Side::Right,
            least: None,
        },
        Column {
            header: "SERVER",
            side: Side::Left,
            least: Some(6),
        },
        Column {
            header: "TARGET",
            side: Side::Left,
            least: Some(8),
        },
    ];

    fn row(cells: [&str; 4], below: Option<&str>) -> Row {
        Row {
            cells: cells.map(str::to_owned).into(),
            below: below.map(str::to_owned).into_iter().collect(),
        }
    }

    #[test]
    fn columns_are_as_wide_as_they_need_to_be() {
        let rows = [
            row(["a", "1", "s", "t"], None),
            row(["bcd", "200", "-", ""], Some("why")),
        ];
        assert_eq!(
            lines(COLUMNS, &rows, 80),
            [
                "ID    N SERVER TARGET",
                "a     1 s      t",
                "bcd 200 -",
                "  why"
            ]
        );
        assert_eq!(lines(COLUMNS, &[], 80), ["ID N SERVER TARGET"]);
    }

    #[test]
    fn what_is_too_wide_gives_way_from_the_first_column_on() {
        let rows = [row(
            ["a", "1", "scanner-eu-1-k3f9", "10.0.0.1-10.0.0.200"],
            Some("a long reason for it all"),
        )];
        for (width, expected) in [
            (42, "a  1 scanner-eu-1-k3f9 10.0.0.1-10.0.0.200"),
            (36, "a  1 scann…-k3f9 10.0.0.1-10.0.0.200"),
            (28, "a  1 sca…f9 10.0.0.1…0.0.200"),
            (10, "a  1 sca…f9 10.0…200"),
        ] {
            let lines = lines(COLUMNS, &rows, width);
            assert_eq!(lines[1], expected);
            assert!(lines[2].chars().count() <= width);
        }
    }

    #[test]
    fn a_table_in_pieces_has_its_headers_once_and_only_becomes_wider() {
        let mut layout = Layout::new(COLUMNS, 80);
        let lines = layout.lines(&[row(["abc", "1", "s", "t"], None)]);
        assert_eq!(lines, ["ID  N SERVER TARGET", "abc 1 s      t"]);
        let lines = layout.lines(&[row(["abcde", "1", "s", "t"], None)]);
        assert_eq!(lines, ["abcde 1 s      t"]);
        let lines = layout.lines(&[row(["a", "1", "s", "t"], None)]);
        assert_eq!(lines, ["a     1 s      t"]);
    }

    #[test]
    fn texts_are_cut() {
        for (text, width, cut) in [
            ("abc", 3, "abc"),
            ("abcdef", 5, "ab…ef"),
            ("abcdef", 4, "ab…f"),
            ("äöüß", 3, "ä…ß"),
            ("ab", 1, "…"),
            ("ab", 0, "…"),
        ] {
            assert_eq!(shortened(text, width), cut);
        }
        assert_eq!(beginning("abcdef", 4), "abc…");
    }
}
