//! Writes rows in the chosen format, a bounded number at a time.

use super::options::QueryFormat;
use super::rows::{Look, QueryRow};
use crate::exit::Failure;
use crate::scanpush::formats::{WrittenAddresses, csv};
use crate::scanpush::output::Output;
use crate::scanpush::table::{Column, Layout, Row};

/// Rows of a table that are laid out together.
const BLOCK_ROWS: usize = 1_000;

/// Writes rows of one kind.
pub struct RowWriter<'a, 'o> {
    format: QueryFormat,
    look: Look<'a>,
    output: &'a mut Output<'o>,
    layout: Layout<'a>,
    block: Vec<Row>,
    /// The addresses that were written.
    written: WrittenAddresses,
    count: u64,
}

impl<'a, 'o> RowWriter<'a, 'o> {
    /// A writer of rows with these columns, which are those of the rows.
    pub fn new(
        format: QueryFormat,
        look: Look<'a>,
        columns: &'a [Column],
        output: &'a mut Output<'o>,
    ) -> RowWriter<'a, 'o> {
        RowWriter {
            format,
            look,
            layout: Layout::new(columns, look.columns),
            output,
            block: Vec::new(),
            written: WrittenAddresses::default(),
            count: 0,
        }
    }

    /// Writes a row.
    pub fn row<R: QueryRow>(&mut self, row: &R) -> Result<(), Failure> {
        self.count += 1;
        match self.format {
            QueryFormat::Table => {
                let cells = row.cells(&self.look);
                let below = Vec::new();
                self.block.push(Row { cells, below });
                match self.block.len() < BLOCK_ROWS {
                    true => Ok(()),
                    false => self.end_block(),
                }
            }
            QueryFormat::Ndjson => self.output.json(row),
            QueryFormat::Csv => {
                if self.count == 1 {
                    self.csv_line(R::NAMES.iter().copied())?;
                }
                let fields = row.fields();
                self.csv_line(fields.iter().map(String::as_str))
            }
            QueryFormat::Addresses if self.written.is_new(row.ip()) => {
                self.output.line(&row.ip().to_string())
            }
            QueryFormat::Addresses => Ok(()),
        }
    }

    /// Writes what is still held back, and the header of a CSV document without rows of this kind. Returns the number of rows.
    pub fn end<R: QueryRow>(mut self) -> Result<u64, Failure> {
        self.end_block()?;
        if self.format == QueryFormat::Csv && self.count == 0 {
            self.csv_line(R::NAMES.iter().copied())?;
        }
        self.output.flush()?;
        Ok(self.count)
    }

    fn end_block(&mut self) -> Result<(), Failure> {
        if self.block.is_empty() {
            return Ok(());
        }
        for line in self.layout.lines(&self.block) {
            self.output.line(&line)?;
        }
        self.block.clear();
        Ok(())
    }

    fn csv_line<'f>(&mut self, fields: impl Iterator<Item = &'f str>) -> Result<(), Failure> {
        let mut text = String::new();
        csv::push_line(&mut text, fields);
        self.output.text(&text)
    }
}
