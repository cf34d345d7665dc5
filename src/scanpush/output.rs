//! What scanpush prints: results on stdout, everything else on stderr.
//!
//! **Invariant:** no control or invisible character from outside reaches a terminal, and it is not an error if the reader of the output has
//! gone.

use crate::exit::Failure;
use crate::model::text::{is_invisible, visible};
use serde::Serialize;
use std::io::{IsTerminal, Write};

/// Width of a table if the output is not a terminal, or a narrower one.
const TABLE_COLUMNS: usize = 80;

/// The two streams and what is known about them.
pub struct Output<'a> {
    out: &'a mut dyn Write,
    err: &'a mut dyn Write,
    columns: Option<usize>,
    err_is_terminal: bool,
}

impl<'a> Output<'a> {
    /// For any streams; `columns` is the width of the terminal if `out` is one.
    pub fn new(
        out: &'a mut dyn Write,
        err: &'a mut dyn Write,
        columns: Option<usize>,
        err_is_terminal: bool,
    ) -> Output<'a> {
        Output {
            out,
            err,
            columns,
            err_is_terminal,
        }
    }

    /// For the process's own stdout and stderr; asks the system whether they are terminals.
    pub fn of_process(out: &'a mut dyn Write, err: &'a mut dyn Write) -> Output<'a> {
        let stdout = std::io::stdout();
        let columns = stdout.is_terminal().then(|| {
            let size = rustix::termios::tcgetwinsize(&stdout);
            size.map_or(0, |size| usize::from(size.ws_col))
        });
        Output::new(out, err, columns, std::io::stderr().is_terminal())
    }

    /// Whether a person reads stdout directly.
    pub fn is_terminal(&self) -> bool {
        self.columns.is_some()
    }

    /// Whether a person reads stderr directly.
    pub fn err_is_terminal(&self) -> bool {
        self.err_is_terminal
    }

    /// Columns that a table may use: the terminal's, at least [`TABLE_COLUMNS`].
    pub fn columns(&self) -> usize {
        self.columns.unwrap_or(0).max(TABLE_COLUMNS)
    }

    /// A text of our own, including its line breaks.
    pub fn text(&mut self, text: &str) -> Result<(), Failure> {
        Ok(self.out.write_all(text.as_bytes())?)
    }

    /// A line on stdout; control characters in it are replaced, invisible ones escaped.
    pub fn line(&mut self, line: &str) -> Result<(), Failure> {
        Ok(writeln!(self.out, "{}", visible(line))?)
    }

    /// A value as one line of JSON on stdout.
    pub fn json(&mut self, value: &impl Serialize) -> Result<(), Failure> {
        let json = serde_json::to_string(value)
            .map_err(|error| Failure::Runtime(format!("can't be written as JSON: {error}")))?;
        Ok(writeln!(self.out, "{}", escaped(&json))?)
    }

    /// A line on stderr that is part of an error. If stderr is closed, it is dropped.
    pub fn problem(&mut self, line: &str) {
        let _ = writeln!(self.err, "{}", visible(line));
    }

    /// A line on stderr about something that was done in another way than the command line says; also printed if stderr is not a terminal.
    pub fn notice(&mut self, line: &str) {
        self.problem(&format!("scanpush: {line}"));
    }

    /// A line on stderr for a person: only if stderr is a terminal.
    pub fn remark(&mut self, line: &str) {
        if self.err_is_terminal {
            self.problem(line);
        }
    }

    /// A question on stderr, without a line break at its end.
    pub fn question(&mut self, text: &str) {
        let lines: Vec<String> = text.split('\n').map(visible).collect();
        let _ = write!(self.err, "{}", lines.join("\n"));
        let _ = self.err.flush();
    }

    /// Flushes everything printed so far.
    pub fn flush(&mut self) -> Result<(), Failure> {
        Ok(self.out.flush()?)
    }
}

/// JSON does not escape DEL and U+0080 to U+009F, which some terminals obey, and invisible characters. They can only occur inside JSON strings.
fn escaped(json: &str) -> String {
    let mut escaped = String::with_capacity(json.len());
    for c in json.chars() {
        match c.is_control() || is_invisible(c) {
            true => {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    escaped += &format!("\\u{unit:04x}");
                }
            }
            false => escaped.push(c),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io;

    #[test]
    fn control_and_invisible_characters_do_not_get_through() {
        let hostile = "a\x1b[2J\n\u{9b}31m\x7fb\u{202e}\u{200b}\u{e0041}";
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let mut output = Output::new(&mut out, &mut err, None, true);
        output.line(hostile).unwrap();
        output.json(&hostile).unwrap();
        output.problem(hostile);
        output.remark(hostile);
        let json = String::from_utf8(out.clone())
            .unwrap()
            .lines()
            .nth(1)
            .unwrap()
            .to_owned();
        assert_eq!(serde_json::from_str::<String>(&json).unwrap(), hostile);
        for printed in [out, err] {
            let text = String::from_utf8(printed).unwrap();
            assert_eq!(
                text.chars().filter(|c| c.is_control()).collect::<String>(),
                "\n\n"
            );
            assert!(!text.chars().any(is_invisible), "{text:?}");
        }
    }

    #[test]
    fn a_closed_pipe_is_recognized() {
        struct Gone;
        impl Write for Gone {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(io::ErrorKind::BrokenPipe.into())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let (mut out, mut err) = (Gone, Gone);
        let mut output = Output::new(&mut out, &mut err, None, true);
        assert!(matches!(output.line("x"), Err(Failure::ClosedPipe)));
        assert!(matches!(output.json(&1), Err(Failure::ClosedPipe)));
        output.problem("a message");
    }

    #[test]
    fn tables_are_as_wide_as_the_terminal_but_not_narrower_than_80() {
        for (terminal, columns) in [(None, 80), (Some(0), 80), (Some(40), 80), (Some(132), 132)] {
            let (mut out, mut err) = (Vec::new(), Vec::new());
            assert_eq!(
                Output::new(&mut out, &mut err, terminal, false).columns(),
                columns
            );
        }
    }
}
