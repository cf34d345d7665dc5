//! Reading what the command line names: lists of targets and exclusions in files or on standard input, and files of task
//! records. The only place of a push that opens files for reading.
//!
//! **Invariant:** a file is either taken whole or refused, with all its bad lines up to a bound; nothing is guessed.

use crate::exit::Failure;
use crate::flags::Flag;
use crate::model::target_file;
use crate::model::target_file::BAD_LINES_MAX;
use crate::model::targets::AddressRange;
use crate::model::text::{one_line, quoted};
use crate::model::{BadLine, Invalid, Task};
use crate::scanpush::output::Output;
use std::fs::File;
use std::io::{self, Read};
use std::path::PathBuf;

/// Largest file of `-resume-push`, in bytes.
const REST_FILE_MAX_BYTES: usize = 1024 * 1024 * 1024;
/// Largest file of targets or exclusions, in bytes.
const TARGET_FILE_MAX_BYTES: usize = 64 * 1024 * 1024;
/// Bad lines of such a file that are shown, one a line.
const BAD_LINES_SHOWN_MAX: usize = 20;

/// Where a list is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// Standard input: `-`.
    Stdin,
    /// A file.
    File(PathBuf),
}

impl Source {
    /// What a flag's value means.
    pub fn parse(text: &str) -> Result<Source, Invalid> {
        Ok(match text {
            "-" => Source::Stdin,
            path => Source::File(path.into()),
        })
    }

    /// As messages name it.
    pub fn shown(&self) -> String {
        match self {
            Source::Stdin => "standard input".to_owned(),
            Source::File(path) => one_line(&path.to_string_lossy()),
        }
    }

    fn bytes(&self, most: usize) -> Result<Vec<u8>, String> {
        let take = |input: &mut dyn Read| {
            let mut bytes = Vec::new();
            input
                .take(most as u64 + 1)
                .read_to_end(&mut bytes)
                .map(|_| bytes)
        };
        let read = match self {
            Source::Stdin => take(&mut io::stdin().lock()),
            Source::File(path) => File::open(path).and_then(|mut file| take(&mut file)),
        };
        match read {
            Ok(bytes) if bytes.len() > most => Err(format!("has more than {most} bytes")),
            Ok(bytes) => Ok(bytes),
            Err(error) => Err(format!("can't be read: {}", reason(&error))),
        }
    }
}

/// What the system says, without its number for it.
pub fn reason(error: &io::Error) -> String {
    let text = error.to_string();
    one_line(text.split(" (os error").next().unwrap_or_default())
}

/// The files of a command line that could not be taken, a line each or one for each bad line.
#[derive(Debug, Default)]
pub struct Problems {
    lines: Vec<String>,
    /// Lines that are not kept.
    more: usize,
    /// There may be more than were counted.
    at_least: bool,
}

impl Problems {
    /// Errs where there is a problem: all lines but the last go to `output`, and the failure is the last.
    pub fn check(self, output: &mut Output<'_>) -> Result<(), Failure> {
        let count = self.lines.len() + self.more;
        let mut lines = self.lines;
        if count > 1 {
            lines.truncate(BAD_LINES_SHOWN_MAX);
            let part = match count > lines.len() {
                true => format!(", the first {} of them above", lines.len()),
                false => String::new(),
            };
            let least = if self.at_least { "at least " } else { "" };
            lines.push(format!("{least}{count} errors{part}: nothing was sent"));
        }
        let Some(last) = lines.pop() else {
            return Ok(());
        };
        for line in lines {
            output.problem(&format!("scanpush: {line}"));
        }
        Err(Failure::Usage(Invalid::about(last)))
    }

    fn of_file(&mut self, flag: &Flag, source: &Source, what: &str) {
        let line = format!("{}: {} {what}", flag.shown(), quoted(&source.shown()));
        self.lines.push(line);
    }

    fn of_lines(&mut self, flag: &Flag, source: &Source, bad: &[BadLine]) {
        let room = BAD_LINES_SHOWN_MAX.saturating_sub(self.lines.len());
        let lines = bad
            .iter()
            .take(room)
            .map(|bad| format!("{}: {}:{bad}", flag.shown(), source.shown()));
        self.lines.extend(lines);
        self.more += bad.len().saturating_sub(room);
        self.at_least |= bad.len() == BAD_LINES_MAX;
    }
}

/// The entries of a list; none where it isn't asked for, or where `problems` has more now.
pub fn targets(flag: &Flag, source: Option<&Source>, problems: &mut Problems) -> Vec<AddressRange> {
    let Some(source) = source else {
        return Vec::new();
    };
    let text = match source.bytes(TARGET_FILE_MAX_BYTES).map(String::from_utf8) {
        Ok(Ok(text)) => text,
        Ok(Err(error)) => {
            let line = line_of(error.as_bytes(), error.utf8_error().valid_up_to());
            let error = Invalid::about("the line is not UTF-8 text");
            problems.of_lines(flag, source, &[BadLine { line, error }]);
            return Vec::new();
        }
        Err(what) => {
            problems.of_file(flag, source, &what);
            return Vec::new();
        }
    };
    target_file::parse(&text).unwrap_or_else(|bad| {
        problems.of_lines(flag, source, &bad);
        Vec::new()
    })
}

/// The tasks of a file of records, one a line.
pub fn tasks(flag: &Flag, source: &Source, problems: &mut Problems) -> Vec<Task> {
    let bytes = match source.bytes(REST_FILE_MAX_BYTES) {
        Ok(bytes) => bytes,
        Err(what) => {
            problems.of_file(flag, source, &what);
            return Vec::new();
        }
    };
    let (mut tasks, mut bad) = (Vec::new(), Vec::new());
    for (line, record) in (1..).zip(bytes.split(|&byte| byte == b'\n')) {
        let record = record.trim_ascii();
        if record.is_empty() {
            continue;
        }
        match Task::from_record(record) {
            Ok(task) => tasks.push(task),
            Err(rejected) => bad.push(BadLine {
                line,
                error: Invalid::about(rejected.reason),
            }),
        }
        if bad.len() == BAD_LINES_MAX {
            break;
        }
    }
    match (tasks.is_empty(), bad.is_empty()) {
        (true, true) => problems.of_file(flag, source, "holds no task"),
        _ => problems.of_lines(flag, source, &bad),
    }
    tasks
}

/// The number of the line, from 1, in which the byte at `at` stands.
fn line_of(bytes: &[u8], at: usize) -> usize {
    1 + bytes[..at].iter().filter(|&&byte| byte == b'\n').count()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    const FLAG: Flag = Flag::optional("--iL", "FILE", "targets");

    fn file(bytes: &[u8]) -> (tempfile::TempDir, Source) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("list");
        fs::write(&path, bytes).unwrap();
        (folder, Source::File(path))
    }

    /// What is said about a file, its folder left out.
    fn said(take: impl FnOnce(&mut Problems)) -> (String, String) {
        let mut problems = Problems::default();
        take(&mut problems);
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let mut output = Output::new(&mut out, &mut err, None, false);
        let last = match problems.check(&mut output) {
            Ok(()) => String::new(),
            Err(Failure::Usage(error)) => error.to_string(),
            Err(other) => panic!("{other:?}"),
        };
        (String::from_utf8(err).unwrap(), last)
    }

    #[test]
    fn a_list_is_read_whole() {
        let (_folder, source) = file(b"10.0.0.1 # a\r\n10.0.0.0/24\n");
        let mut problems = Problems::default();
        assert_eq!(targets(&FLAG, Some(&source), &mut problems).len(), 2);
        assert_eq!(targets(&FLAG, None, &mut problems), []);
        assert_eq!(said(|all| *all = problems), Default::default());
    }

    #[test]
    fn one_bad_line_is_one_line() {
        for (bytes, named) in [
            (
                &b"10.0.0.1\n10.0.0/8\n"[..],
                "list:2: \"10.0.0/8\" is not an address, a CIDR block or a range",
            ),
            (b"10.0.0.1\n\n\xff\n", "list:3: the line is not UTF-8 text"),
        ] {
            let (_folder, source) = file(bytes);
            let (above, last) = said(|problems| drop(targets(&FLAG, Some(&source), problems)));
            assert_eq!(above, "");
            assert!(last.starts_with("-iL: ") && last.contains(named), "{last}");
        }
    }

    #[test]
    fn several_bad_lines_are_counted_and_20_shown() {
        let (_folder, source) = file(&b"x\n".repeat(35));
        let (above, last) = said(|problems| drop(targets(&FLAG, Some(&source), problems)));
        assert_eq!(above.lines().count(), 20);
        assert!(
            above
                .lines()
                .all(|line| line.starts_with("scanpush: -iL: ")),
            "{above}"
        );
        assert_eq!(
            last,
            "35 errors, the first 20 of them above: nothing was sent"
        );
        let (above, last) = said(|problems| {
            let (_folder, two) = file(b"a\nb\n");
            targets(&FLAG, Some(&two), problems);
            targets(&FLAG, Some(&Source::File("/nowhere/list".into())), problems);
        });
        assert_eq!(above.lines().count(), 3, "{above}");
        assert!(
            above.contains("-iL: \"/nowhere/list\" can't be read: No such file or directory\n"),
            "{above}"
        );
        assert_eq!(last, "3 errors: nothing was sent");
        let (_folder, source) = file(&b"x\n".repeat(5000));
        let (_, last) = said(|problems| drop(targets(&FLAG, Some(&source), problems)));
        assert!(last.starts_with("at least 1000 errors"), "{last}");
    }

    #[test]
    fn records_are_read_back() {
        let record = r#"{"task_id":"a","ip_range":"10.0.0.1","ports":"80","band_width":"1"}"#;
        let (_folder, source) = file(format!("{record}\n\n{record}\r\n").as_bytes());
        assert_eq!(tasks(&FLAG, &source, &mut Problems::default()).len(), 2);
        let (_folder, source) = file(format!("{record}\n{{}}\nx\n").as_bytes());
        let (above, last) = said(|problems| drop(tasks(&FLAG, &source, problems)));
        assert!(
            above.contains("list:2: the record is not a task: missing field"),
            "{above}"
        );
        assert!(above.contains("list:3: the record is not JSON"), "{above}");
        assert_eq!(last, "2 errors: nothing was sent");
        let (_folder, source) = file(b"\n");
        let (_, last) = said(|problems| drop(tasks(&FLAG, &source, problems)));
        assert!(last.ends_with("holds no task"), "{last}");
    }
}
