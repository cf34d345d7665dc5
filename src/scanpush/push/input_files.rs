//! Reads the input files of a push: lists of targets and exclusions, and task records. Each may be standard input.
//!
//! **Invariant:** a file is either accepted completely or refused with its invalid lines, up to a bound.

use crate::exit::Failure;
use crate::flags::Flag;
use crate::model::target_file;
use crate::model::target_file::BAD_LINES_MAX;
use crate::model::targets::AddressRange;
use crate::model::text::quoted;
use crate::model::{BadLine, Invalid, Task};
use crate::scanpush::input_source::{InputSource, utf8};
use crate::scanpush::output::Output;

/// Largest file of `-resume-push`, in bytes.
const RECORD_FILE_MAX_BYTES: usize = 1024 * 1024 * 1024;
/// Largest file of targets or exclusions (`-iL`, `-excludefile`), in bytes.
const TARGET_FILE_MAX_BYTES: usize = 64 * 1024 * 1024;
/// Invalid lines that are reported, over all files; the others are only counted.
const BAD_LINES_SHOWN_MAX: usize = 20;

/// The errors of all input files: one line for an unreadable file, else one for each invalid line.
#[derive(Debug, Default)]
pub struct InputErrors {
    lines: Vec<String>,
    /// Invalid lines that are not in `lines`.
    not_shown: usize,
    /// Reading stopped early, so that the count is a minimum.
    is_minimum: bool,
}

impl InputErrors {
    /// Fails if there are errors. One error is returned; several are written to `output`, and their number is returned.
    pub fn check(self, output: &mut Output<'_>) -> Result<(), Failure> {
        let count = self.lines.len() + self.not_shown;
        let mut lines = self.lines;
        if count > 1 {
            lines.truncate(BAD_LINES_SHOWN_MAX);
            let shown = match count > lines.len() {
                true => format!(", the first {} of them above", lines.len()),
                false => String::new(),
            };
            let minimum = if self.is_minimum { "at least " } else { "" };
            lines.push(format!("{minimum}{count} errors{shown}: nothing was sent"));
        }
        let Some(last) = lines.pop() else {
            return Ok(());
        };
        for line in lines {
            output.problem(&format!("scanpush: {line}"));
        }
        Err(Failure::Usage(Invalid::about(last)))
    }

    fn add_file(&mut self, flag: &Flag, source: &InputSource, reason: &str) {
        let line = format!("{}: {} {reason}", flag.shown(), quoted(&source.shown()));
        self.lines.push(line);
    }

    fn add_lines(&mut self, flag: &Flag, source: &InputSource, bad: &[BadLine]) {
        let room = BAD_LINES_SHOWN_MAX.saturating_sub(self.lines.len());
        let lines = bad
            .iter()
            .take(room)
            .map(|bad| format!("{}: {}:{bad}", flag.shown(), source.shown()));
        self.lines.extend(lines);
        self.not_shown += bad.len().saturating_sub(room);
        self.is_minimum |= bad.len() == BAD_LINES_MAX;
    }
}

/// The entries of a list. Empty if there is no list, or if it has errors, which are added to `errors`.
pub fn read_ranges(
    flag: &Flag,
    source: Option<&InputSource>,
    errors: &mut InputErrors,
) -> Vec<AddressRange> {
    let Some(source) = source else {
        return Vec::new();
    };
    let Some(bytes) = read_bytes(flag, source, TARGET_FILE_MAX_BYTES, errors) else {
        return Vec::new();
    };
    let parsed = utf8(&bytes)
        .map_err(|bad| vec![bad])
        .and_then(target_file::parse);
    parsed.unwrap_or_else(|bad| {
        errors.add_lines(flag, source, &bad);
        Vec::new()
    })
}

/// The tasks of a file with one record on each line. Errors are added to `errors`.
pub fn read_tasks(flag: &Flag, source: &InputSource, errors: &mut InputErrors) -> Vec<Task> {
    let Some(bytes) = read_bytes(flag, source, RECORD_FILE_MAX_BYTES, errors) else {
        return Vec::new();
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
        (true, true) => errors.add_file(flag, source, "contains no task"),
        _ => errors.add_lines(flag, source, &bad),
    }
    tasks
}

/// The bytes of a file; none if it has errors, which are added to `errors`.
fn read_bytes(
    flag: &Flag,
    source: &InputSource,
    bytes_max: usize,
    errors: &mut InputErrors,
) -> Option<Vec<u8>> {
    source
        .read(bytes_max)
        .map_err(|reason| errors.add_file(flag, source, &reason))
        .ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    const FLAG: Flag = Flag::optional("--iL", "FILE", "targets");

    fn file(bytes: &[u8]) -> (tempfile::TempDir, InputSource) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("list");
        fs::write(&path, bytes).unwrap();
        (folder, InputSource::File(path))
    }

    /// The lines before the last one, and the last one, of what is reported.
    fn reported(read: impl FnOnce(&mut InputErrors)) -> (String, String) {
        let mut errors = InputErrors::default();
        read(&mut errors);
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let mut output = Output::new(&mut out, &mut err, None, false);
        let last = match errors.check(&mut output) {
            Ok(()) => String::new(),
            Err(Failure::Usage(error)) => error.to_string(),
            Err(other) => panic!("{other:?}"),
        };
        (String::from_utf8(err).unwrap(), last)
    }

    #[test]
    fn a_list_is_read_completely() {
        let (_folder, source) = file(b"10.0.0.1 # a\r\n10.0.0.0/24\n");
        let mut errors = InputErrors::default();
        assert_eq!(read_ranges(&FLAG, Some(&source), &mut errors).len(), 2);
        assert_eq!(read_ranges(&FLAG, None, &mut errors), []);
        assert_eq!(reported(|all| *all = errors), Default::default());
    }

    #[test]
    fn a_single_invalid_line_is_the_error() {
        for (bytes, named) in [
            (
                &b"10.0.0.1\n10.0.0/8\n"[..],
                "list:2: \"10.0.0/8\" is not an address, a CIDR block or a range",
            ),
            (b"10.0.0.1\n\n\xff\n", "list:3: the line is not UTF-8 text"),
        ] {
            let (_folder, source) = file(bytes);
            let (above, last) = reported(|errors| drop(read_ranges(&FLAG, Some(&source), errors)));
            assert_eq!(above, "");
            assert!(last.starts_with("-iL: ") && last.contains(named), "{last}");
        }
    }

    #[test]
    fn several_invalid_lines_are_counted_and_20_shown() {
        let (_folder, source) = file(&b"x\n".repeat(35));
        let (above, last) = reported(|errors| drop(read_ranges(&FLAG, Some(&source), errors)));
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
        let (above, last) = reported(|errors| {
            let (_folder, two) = file(b"a\nb\n");
            read_ranges(&FLAG, Some(&two), errors);
            read_ranges(
                &FLAG,
                Some(&InputSource::File("/nowhere/list".into())),
                errors,
            );
        });
        assert_eq!(above.lines().count(), 3, "{above}");
        assert!(
            above.contains("-iL: \"/nowhere/list\" can't be read: No such file or directory\n"),
            "{above}"
        );
        assert_eq!(last, "3 errors: nothing was sent");
        let (_folder, source) = file(&b"x\n".repeat(5000));
        let (_, last) = reported(|errors| drop(read_ranges(&FLAG, Some(&source), errors)));
        assert!(last.starts_with("at least 1000 errors"), "{last}");
    }

    #[test]
    fn a_byte_order_mark_is_skipped_and_utf_16_is_named() {
        let (_folder, source) = file(b"\xef\xbb\xbf10.0.0.1\n10.0.0.2\n");
        let mut errors = InputErrors::default();
        assert_eq!(read_ranges(&FLAG, Some(&source), &mut errors).len(), 2);
        let (_folder, source) = file(b"\xff\xfe1\x000\x00");
        let (_, last) = reported(|errors| drop(read_ranges(&FLAG, Some(&source), errors)));
        assert!(last.contains("is UTF-16 text: save it as UTF-8"), "{last}");
    }

    #[test]
    fn records_are_read_and_invalid_ones_reported() {
        let record = r#"{"task_id":"a","ip_range":"10.0.0.1","ports":"80","band_width":"1"}"#;
        let (_folder, source) = file(format!("{record}\n\n{record}\r\n").as_bytes());
        assert_eq!(
            read_tasks(&FLAG, &source, &mut InputErrors::default()).len(),
            2
        );
        let (_folder, source) = file(format!("{record}\n{{}}\nx\n").as_bytes());
        let (above, last) = reported(|errors| drop(read_tasks(&FLAG, &source, errors)));
        assert!(
            above.contains("list:2: task_id: missing, a string is required"),
            "{above}"
        );
        assert!(above.contains("list:3: the record is not JSON"), "{above}");
        assert_eq!(last, "2 errors: nothing was sent");
        let (_folder, source) = file(b"\n");
        let (_, last) = reported(|errors| drop(read_tasks(&FLAG, &source, errors)));
        assert!(last.ends_with("contains no task"), "{last}");
    }
}
