//! The file of unacknowledged tasks that a push leaves if Kafka fails: one record on each line, for `-resume-push`.
//!
//! **Invariant:** an existing file is never changed. No task is lost silently: if no file can be written, the records go to
//! stderr.

use super::flags::REST;
use crate::model::{Invalid, Task};
use crate::scanpush::input_source::os_reason;
use crate::scanpush::output::Output;
use std::fs::OpenOptions;
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// Length of the random part of the file name.
const NAME_CHARS: usize = 10;

/// Checks that the file of `-rest` can be created. Called before anything is sent.
pub fn check(path: &Path) -> Result<(), Invalid> {
    let shown = path.to_string_lossy();
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty());
    let error = match folder {
        _ if path.symlink_metadata().is_ok() => "exists already: give the name of a new file",
        Some(folder) if !folder.is_dir() => "is in a folder that doesn't exist",
        _ => return Ok(()),
    };
    Err(Invalid::new(&shown, error).of(REST.shown()))
}

/// Writes `tasks` to a new file and returns its path: `path` (default: a file in the current folder), else a file in the folder
/// for temporary files. If neither can be written, the records are written to stderr.
pub fn write(path: Option<&Path>, tasks: &[&Task], output: &mut Output<'_>) -> Option<PathBuf> {
    let alphabet: Vec<char> = ('a'..='z').chain('0'..='9').collect();
    let name = format!(
        "scanpush-rest-{}.ndjson",
        nanoid::nanoid!(NAME_CHARS, &alphabet)
    );
    let paths = match path {
        Some(path) => vec![path.to_owned(), std::env::temp_dir().join(&name)],
        None => vec![PathBuf::from(&name), std::env::temp_dir().join(&name)],
    };
    for place in paths {
        match write_to(&place, tasks) {
            Ok(()) => return Some(place),
            Err(error) => output.problem(&format!(
                "scanpush: {} can't be written: {}",
                place.display(),
                os_reason(&error)
            )),
        }
    }
    output.problem("scanpush: their records follow; save them to a file for -resume-push:");
    for task in tasks {
        output.problem(&task.to_record());
    }
    None
}

fn write_to(path: &Path, tasks: &[&Task]) -> io::Result<()> {
    // The targets are nobody else's business.
    let file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)?;
    let mut file = BufWriter::new(file);
    let written = tasks
        .iter()
        .try_for_each(|task| writeln!(file, "{}", task.to_record()))
        .and_then(|()| file.flush())
        .and_then(|()| file.get_ref().sync_all());
    if written.is_err() {
        // An incomplete file would look like a complete one.
        let _ = std::fs::remove_file(path);
    }
    written
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::TaskId;
    use std::os::unix::fs::PermissionsExt;

    fn task() -> Task {
        Task::new(
            TaskId::random(),
            "10.0.0.1".parse().unwrap(),
            "80".parse().unwrap(),
            "1".parse().unwrap(),
        )
    }

    fn written(path: &Path, tasks: &[&Task]) -> (Option<PathBuf>, String) {
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let place = write(
            Some(path),
            tasks,
            &mut Output::new(&mut out, &mut err, None, false),
        );
        assert!(out.is_empty());
        (place, String::from_utf8(err).unwrap())
    }

    #[test]
    fn a_new_file_has_one_record_on_each_line() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("rest");
        let (one, other) = (task(), task());
        assert_eq!(
            written(&path, &[&one, &other]),
            (Some(path.clone()), String::new())
        );
        let mode = path.metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let text = std::fs::read_to_string(&path).unwrap();
        let tasks: Vec<Task> = text
            .lines()
            .map(|line| Task::from_record(line.as_bytes()).unwrap())
            .collect();
        assert_eq!(tasks, [one, other]);
    }

    #[test]
    fn an_existing_file_is_kept_and_another_one_written() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("rest");
        std::fs::write(&path, "mine").unwrap();
        let (place, err) = written(&path, &[&task()]);
        assert!(
            err.starts_with("scanpush: ") && err.contains("can't be written: File exists"),
            "{err}"
        );
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "mine");
        let place = place.unwrap();
        assert!(place.starts_with(std::env::temp_dir()) && place != path);
        std::fs::remove_file(place).unwrap();
    }

    #[test]
    fn an_unusable_path_is_refused_before_anything_is_sent() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(check(&folder.path().join("new")), Ok(()));
        assert_eq!(check(Path::new("new-in-this-folder")), Ok(()));
        for (path, wrong) in [
            (folder.path().to_owned(), "exists already"),
            (
                folder.path().join("a/b"),
                "is in a folder that doesn't exist",
            ),
        ] {
            let error = check(&path).unwrap_err().to_string();
            assert!(
                error.starts_with("-rest: \"") && error.contains(wrong),
                "{error}"
            );
        }
    }
}
