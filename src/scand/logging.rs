//! Log lines: time, level, server, thread, task and message, to standard error and optionally to a file.
//!
//! The thread and the task come from the thread's context ([`with_task`]), so that no call writes them by hand. Whatever a message contains, it is
//! one visible line of bounded length. After [`reopen_file`] the next line goes to a file that is opened again under the same name, because
//! logrotate has renamed the one before.

use crate::files::{FileError, append_regular};
use crate::model::text::{shortened, system_words};
use crate::model::{Invalid, TaskId};
use crate::sync::lock;
use log::{Level, LevelFilter, Log, Metadata, Record};
use simplelog::{
    ColorChoice, CombinedLogger, Config, ConfigBuilder, SharedLogger, TermLogger, TerminalMode,
    WriteLogger,
};
use std::cell::RefCell;
use std::fmt;
use std::fs::File;
use std::io::{self, IsTerminal, Write};
use std::marker::PhantomData;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread;
use time::macros::format_description;

/// Only this crate's lines are logged: those of the Kafka client are debug output of Rust types.
const OWN_CRATE: &str = "scan";
/// Maximum length of a message, in characters. A longer one is its beginning and its size.
const LOG_MESSAGE_MAX_CHARS: usize = 4096;

/// Whether the log file is to be opened again before the next line.
static REOPEN_DUE: AtomicBool = AtomicBool::new(false);

/// Makes the next line open the log file again. Returns at once, for the thread that handles signals.
pub fn reopen_file() {
    REOPEN_DUE.store(true, Ordering::Relaxed);
}

thread_local! {
    /// The task that this thread is working on.
    static TASK: RefCell<Option<TaskId>> = const { RefCell::new(None) };
}

/// Sets the task of the current thread's log lines until it is dropped.
#[must_use = "the log lines carry the task only while this value lives"]
#[derive(Debug)]
pub struct TaskContext {
    outer: Option<TaskId>,
    /// A context belongs to the thread that made it.
    _not_send: PhantomData<*const ()>,
}

/// From now on the log lines of this thread carry `task ID:`. Contexts nest: dropping one restores the task before it.
pub fn with_task(id: &TaskId) -> TaskContext {
    TaskContext {
        outer: TASK.replace(Some(id.clone())),
        _not_send: PhantomData,
    }
}

impl Drop for TaskContext {
    fn drop(&mut self) {
        TASK.set(self.outer.take());
    }
}

/// The file of `-log-file`, which can be replaced while simplelog writes to it.
#[derive(Clone)]
struct LogFile {
    path: PathBuf,
    file: Arc<Mutex<File>>,
    /// The last line could not be written.
    has_failed: Arc<AtomicBool>,
}

impl LogFile {
    fn open(path: &Path) -> Result<LogFile, Invalid> {
        Ok(LogFile {
            path: path.to_owned(),
            file: Arc::new(Mutex::new(open(path)?)),
            has_failed: Arc::default(),
        })
    }

    fn file(&self) -> MutexGuard<'_, File> {
        lock(&self.file)
    }

    /// Opens the file again under its name. If that fails, the open one stays in use.
    fn reopen(&self) -> Result<(), Invalid> {
        let file = open(&self.path)?;
        *self.file() = file;
        Ok(())
    }
}

impl Write for LogFile {
    /// The first error, such as a full disk, and the end of the errors are lines on standard error: the log cannot say so.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.file().write(bytes);
        let has_failed = written.is_err();
        if self.has_failed.swap(has_failed, Ordering::Relaxed) != has_failed {
            let path = self.path.display();
            // Nothing is left to say it to if standard error is closed.
            let _ = match &written {
                Err(error) => writeln!(
                    io::stderr(),
                    "scand: {path} cannot be written, lines are missing there: {}",
                    system_words(&error.to_string())
                ),
                Ok(_) => writeln!(io::stderr(), "scand: {path} is written again"),
            };
        }
        written
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file().flush()
    }
}

/// Prefixes each message with the server, the thread and the task, and hands it to simplelog.
struct ContextLogger {
    server: String,
    file: Option<LogFile>,
    inner: Box<CombinedLogger>,
}

impl ContextLogger {
    fn line(&self, metadata: &Metadata<'_>, message: &fmt::Arguments<'_>) {
        let thread = thread::current();
        let thread = thread.name().unwrap_or("unnamed");
        TASK.with_borrow(|task| {
            let line = in_context(&self.server, thread, task.as_ref(), message);
            self.inner.log(
                &Record::builder()
                    .metadata(metadata.clone())
                    .args(format_args!("{line}"))
                    .build(),
            );
        });
    }

    fn reopen(&self, file: &LogFile) {
        let own_line = |level| {
            let mut metadata = Metadata::builder();
            metadata.level(level).target(module_path!()).build()
        };
        match file.reopen() {
            Ok(()) => self.line(
                &own_line(Level::Info),
                &format_args!("the log file was opened again"),
            ),
            Err(error) => self.line(
                &own_line(Level::Error),
                &format_args!("the log goes on in the file that is open: {error}"),
            ),
        }
    }
}

impl Log for ContextLogger {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        self.inner.enabled(metadata)
    }

    fn log(&self, record: &Record<'_>) {
        if let Some(file) = &self.file
            && REOPEN_DUE.swap(false, Ordering::Relaxed)
        {
            self.reopen(file);
        }
        self.line(record.metadata(), record.args());
    }

    fn flush(&self) {
        self.inner.flush();
    }
}

/// `SERVER THREAD task ID: MESSAGE`, or without a task `SERVER THREAD: MESSAGE`.
fn in_context(
    server: &str,
    thread: &str,
    task: Option<&TaskId>,
    message: &fmt::Arguments<'_>,
) -> String {
    let message = shortened(&message.to_string(), LOG_MESSAGE_MAX_CHARS);
    match task {
        Some(id) => format!("{server} {thread} task {id}: {message}"),
        None => format!("{server} {thread}: {message}"),
    }
}

/// Permissions of a log file that is created: it names targets, so other users cannot read it.
const LOG_FILE_MODE: u32 = 0o640;

/// Opens a log file for appending. The error names the flag, the file and the cause.
pub fn open(path: &Path) -> Result<File, Invalid> {
    append_regular(path, LOG_FILE_MODE).map_err(|error| {
        let wrong = match error {
            FileError::Io(error) => {
                let cause = system_words(&error.to_string());
                format!("can't be opened for writing: {cause}")
            }
            other => other.to_string(),
        };
        Invalid::new(&path.to_string_lossy(), wrong).of("-log-file")
    })
}

/// Starts logging for `server`. Fails if `file` cannot be opened for appending.
pub fn start(server: &str, verbose: bool, file: Option<&Path>) -> Result<(), Invalid> {
    let level = if verbose {
        LevelFilter::Debug
    } else {
        LevelFilter::Info
    };
    let mut loggers: Vec<Box<dyn SharedLogger>> = vec![TermLogger::new(
        level,
        config(),
        TerminalMode::Stderr,
        colours(),
    )];
    let file = file.map(LogFile::open).transpose()?;
    if let Some(file) = &file {
        loggers.push(WriteLogger::new(level, config(), file.clone()));
    }
    let logger = ContextLogger {
        server: server.to_owned(),
        file,
        inner: CombinedLogger::new(loggers),
    };
    log::set_max_level(level);
    log::set_boxed_logger(Box::new(logger)).map_err(Invalid::about)
}

fn colours() -> ColorChoice {
    let wanted = io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    if wanted {
        ColorChoice::Auto
    } else {
        ColorChoice::Never
    }
}

fn config() -> Config {
    ConfigBuilder::new()
        .set_time_format_custom(format_description!(
            "[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:3]Z"
        ))
        .set_time_level(LevelFilter::Error)
        .set_level_padding(simplelog::LevelPadding::Right)
        .set_thread_level(LevelFilter::Off)
        .set_target_level(LevelFilter::Off)
        .set_location_level(LevelFilter::Off)
        .add_filter_allow_str(OWN_CRATE)
        .build()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn current_task() -> Option<String> {
        TASK.with_borrow(|task| task.as_ref().map(TaskId::to_string))
    }

    #[test]
    fn other_users_cannot_read_a_new_log_file() {
        let folder = tempfile::tempdir().unwrap();
        let file = open(&folder.path().join("log")).unwrap();
        let mode = file.metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o137, 0, "{mode:o}");
    }

    #[test]
    fn a_line_names_server_thread_and_task() {
        let id = "t1".parse().unwrap();
        for (task, expected) in [
            (None, "scand-a poll: ready"),
            (Some(&id), "scand-a poll task t1: ready"),
        ] {
            let line = in_context("scand-a", "poll", task, &format_args!("ready"));
            assert_eq!(line, expected);
        }
    }

    #[test]
    fn a_message_is_one_visible_line_of_bounded_length() {
        let hostile = format!("a\nb\u{202e}{}", "x".repeat(77_000));
        let line = in_context("s", "t", None, &format_args!("{hostile}"));
        assert!(line.starts_with("s t: a\u{fffd}b\\u{202e}xx"), "{line}");
        assert!(line.ends_with("x… (77006 bytes)"), "{line}");
        assert!(line.chars().count() <= LOG_MESSAGE_MAX_CHARS + 5);
    }

    #[test]
    fn a_renamed_log_file_is_replaced_by_a_new_one() {
        let folder = tempfile::tempdir().unwrap();
        let (path, old) = (folder.path().join("log"), folder.path().join("log.1"));
        let mut writer = LogFile::open(&path).unwrap();
        let logger = writer.clone();
        writer.write_all(b"1").unwrap();
        std::fs::rename(&path, &old).unwrap();
        writer.write_all(b"2").unwrap();
        logger.reopen().unwrap();
        writer.write_all(b"3").unwrap();
        // What takes its place cannot be opened: the file that is open stays in use.
        std::fs::remove_file(&path).unwrap();
        std::fs::create_dir(&path).unwrap();
        assert!(logger.reopen().is_err());
        assert_eq!(std::fs::read(&old).unwrap(), b"12");
    }

    #[test]
    fn task_contexts_nest_and_end_with_their_scope() {
        let (outer, inner) = ("outer".parse().unwrap(), "inner".parse().unwrap());
        assert_eq!(current_task(), None);
        {
            let _outer = with_task(&outer);
            {
                let _inner = with_task(&inner);
                assert_eq!(current_task().as_deref(), Some("inner"));
            }
            assert_eq!(current_task().as_deref(), Some("outer"));
        }
        assert_eq!(current_task(), None);
    }
}
