//! Log lines: timestamp, level, server name, text; to the terminal's standard error and, when asked, to a file.
//! A line about a task begins with `task <id>`.

use crate::model::Invalid;
use crate::model::text::system_words;
use log::{LevelFilter, Log, Metadata, Record};
use simplelog::{
    ColorChoice, CombinedLogger, Config, ConfigBuilder, SharedLogger, TermLogger, TerminalMode,
    WriteLogger,
};
use std::fs::{File, OpenOptions};
use std::io::{self, IsTerminal};
use std::path::Path;
use time::macros::format_description;

/// Only this crate's own lines: the Kafka client's are Rust debug text.
const OWN_CRATE: &str = "scan";

/// Puts the server's name before each line of simplelog's.
struct Named {
    server: String,
    inner: Box<CombinedLogger>,
}

impl Log for Named {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        self.inner.enabled(metadata)
    }

    fn log(&self, record: &Record<'_>) {
        self.inner.log(
            &Record::builder()
                .metadata(record.metadata().clone())
                .module_path(record.module_path())
                .file(record.file())
                .line(record.line())
                .args(format_args!("{} {}", self.server, record.args()))
                .build(),
        );
    }

    fn flush(&self) {
        self.inner.flush();
    }
}

/// Opens a log file for appending. The error names the flag, the file and the cause.
pub fn open(path: &Path) -> Result<File, Invalid> {
    let opened = OpenOptions::new().create(true).append(true).open(path);
    opened.map_err(|error| {
        let cause = system_words(&error.to_string());
        let wrong = format!("can't be opened for writing: {cause}");
        Invalid::new(&path.to_string_lossy(), wrong).of("-log-file")
    })
}

/// Starts logging for `server`. Errs where `file` can't be opened for appending.
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
    if let Some(path) = file {
        loggers.push(WriteLogger::new(level, config(), open(path)?));
    }
    let named = Named {
        server: server.to_owned(),
        inner: CombinedLogger::new(loggers),
    };
    log::set_max_level(level);
    log::set_boxed_logger(Box::new(named)).map_err(Invalid::about)
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
