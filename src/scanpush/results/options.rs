//! The command line of `scanpush results`, parsed and checked. Opens no connection.

use super::diff::DiffForm;
use super::flags::{DIFF, FOLLOW, FORMAT, JSON};
use crate::connection::Connection;
use crate::flags::Reader;
use crate::flags::shared::RESULTS_TOPIC;
use crate::model::{Invalid, TopicName};
use crate::scanpush::formats::Format;
use crate::scanpush::ids::TaskNames;

/// What the command line asks for.
#[derive(Debug)]
pub struct Options {
    /// Kafka and Redis.
    pub connection: Connection,
    /// The topic of the findings.
    pub topic: TopicName,
    /// The tasks.
    pub names: TaskNames,
    /// What to write.
    pub mode: Mode,
}

/// What to write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// The findings; with `follow` until the tasks have ended.
    Findings {
        /// `-format`
        format: Format,
        /// `-follow`
        follow: bool,
    },
    /// The differences between two tasks.
    Diff(DiffForm),
}

impl Mode {
    /// Whether reading goes on until the tasks have ended.
    pub fn follows(self) -> bool {
        matches!(self, Mode::Findings { follow: true, .. })
    }
}

/// Reads and checks the whole command line.
pub fn read(mut reader: Reader) -> Result<Options, Invalid> {
    let connection = Connection::read(&mut reader)?;
    let topic = reader.value(&RESULTS_TOPIC, str::parse::<TopicName>)?;
    let format = read_format(&mut reader)?;
    let (follow, diff) = (reader.switch(&FOLLOW), reader.switch(&DIFF));
    let names = TaskNames::read(&mut reader)?;
    reader.finish()?;
    if topic == connection.topic {
        let reason = "is also the topic of -topic";
        return Err(Invalid::new(topic.as_str(), reason).of(RESULTS_TOPIC.shown()));
    }
    let mode = match (diff, follow) {
        (false, follow) => Mode::Findings { format, follow },
        (true, true) => {
            return Err(Invalid::about("-diff cannot be combined with -follow"));
        }
        (true, false) if names.ids.len() != 2 => {
            return Err(Invalid::about("-diff compares two tasks: give two ids"));
        }
        (true, false) => Mode::Diff(format.try_into()?),
    };
    Ok(Options {
        connection,
        topic,
        names,
        mode,
    })
}

fn read_format(reader: &mut Reader) -> Result<Format, Invalid> {
    let format = reader.optional(&FORMAT, str::parse::<Format>)?;
    match (format, reader.switch(&JSON)) {
        (None | Some(Format::Ndjson), true) => Ok(Format::Ndjson),
        (Some(_), true) => Err(Invalid::about(
            "-json means -format ndjson: give only one of the two",
        )),
        (format, false) => Ok(format.unwrap_or(Format::Table)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flags;
    use crate::scanpush::results::flags::FLAGS;

    fn options(line: &[&str]) -> Result<Options, Invalid> {
        flags::read_line(line, FLAGS, read)
    }

    #[test]
    fn flags_select_the_mode_and_format() {
        let findings = |format, follow| Mode::Findings { format, follow };
        for (line, mode) in [
            (&["a"][..], findings(Format::Table, false)),
            (&["a", "b", "-json"], findings(Format::Ndjson, false)),
            (
                &["-json", "-format=ndjson", "a"],
                findings(Format::Ndjson, false),
            ),
            (
                &["-follow", "-job", "j", "-format", "xml"],
                findings(Format::Xml, true),
            ),
            (&["-diff", "a", "b"], Mode::Diff(DiffForm::Lines)),
            (
                &["a", "b", "-diff", "-format=json"],
                Mode::Diff(DiffForm::Json),
            ),
        ] {
            assert_eq!(options(line).unwrap().mode, mode, "{line:?}");
        }
    }

    #[test]
    fn invalid_combinations_are_reported() {
        for (line, expected) in [
            (&[][..], "give ids of tasks or -job ID"),
            (&["a", "-job", "j"], "\"a\" cannot be combined with -job"),
            (
                &["a", "-format", "yaml"],
                "-format: \"yaml\" is not a format: use one of table",
            ),
            (
                &["a", "-format", "json", "-json"],
                "-json means -format ndjson: give only one of the two",
            ),
            (&["a", "-diff"], "-diff compares two tasks"),
            (&["-job", "j", "-diff"], "-diff compares two tasks"),
            (
                &["a", "b", "-diff", "-follow"],
                "-diff cannot be combined with -follow",
            ),
            (
                &["a", "b", "-diff", "-format", "csv"],
                "table, ndjson or json",
            ),
            (
                &["a", "-results-topic", "scan-tasks"],
                "-results-topic: \"scan-tasks\" is also the topic of -topic",
            ),
            (&["a", "-folow"], "did you mean -follow?"),
        ] {
            let error = options(line).unwrap_err().to_string();
            assert!(error.contains(expected), "{line:?}: {error}");
        }
    }
}
