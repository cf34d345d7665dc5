//! Writes rows in the chosen format, a bounded number at a time.

use super::options::QueryFormat;
use super::rows::{ListRecord, Look, QueryRow};
use crate::exit::Failure;
use crate::model::Invalid;
use crate::scanpush::formats::{WrittenAddresses, csv};
use crate::scanpush::output::Output;
use crate::scanpush::table::{Column, Layout, Row};
use std::str::FromStr;

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
            QueryFormat::Csv => csv_row(row, self.count == 1, self.output),
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
            csv_header::<R>(self.output)?;
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
}

/// Format of records that are not about addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecordFormat {
    /// A header, then one record on each line.
    Csv,
    /// One object on each line.
    Ndjson,
}

impl FromStr for RecordFormat {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<RecordFormat, Invalid> {
        match text {
            "csv" => Ok(RecordFormat::Csv),
            "ndjson" => Ok(RecordFormat::Ndjson),
            _ => Err(Invalid::new(
                text,
                "is not a format of this list: use csv or ndjson",
            )),
        }
    }
}

/// Writes records of one kind.
pub struct RecordWriter<'a, 'o> {
    format: RecordFormat,
    output: &'a mut Output<'o>,
    count: u64,
}

impl<'a, 'o> RecordWriter<'a, 'o> {
    /// A writer that has written nothing.
    pub fn new(format: RecordFormat, output: &'a mut Output<'o>) -> RecordWriter<'a, 'o> {
        RecordWriter {
            format,
            output,
            count: 0,
        }
    }

    /// Writes a record.
    pub fn record<R: ListRecord>(&mut self, record: &R) -> Result<(), Failure> {
        self.count += 1;
        match self.format {
            RecordFormat::Csv => csv_row(record, self.count == 1, self.output),
            RecordFormat::Ndjson => self.output.json(record),
        }
    }

    /// Writes what is still held back, and the header of a CSV document without records of this kind.
    pub fn end<R: ListRecord>(self) -> Result<(), Failure> {
        if self.format == RecordFormat::Csv && self.count == 0 {
            csv_header::<R>(self.output)?;
        }
        self.output.flush()
    }
}

fn csv_row<R: ListRecord>(
    record: &R,
    is_first: bool,
    output: &mut Output<'_>,
) -> Result<(), Failure> {
    if is_first {
        csv_header::<R>(output)?;
    }
    let fields = record.fields();
    csv_line(fields.iter().map(String::as_str), output)
}

fn csv_header<R: ListRecord>(output: &mut Output<'_>) -> Result<(), Failure> {
    csv_line(R::NAMES.iter().copied(), output)
}

fn csv_line<'f>(
    fields: impl Iterator<Item = &'f str>,
    output: &mut Output<'_>,
) -> Result<(), Failure> {
    let mut text = String::new();
    csv::push_line(&mut text, fields);
    output.text(&text)
}
