//! scanpush, the client: pushes scan tasks, controls them and shows their results. Each command is a file or folder; this file finds the command,
//! shows help, and knows no command's own flags.
//!
//! **Invariant:** a command checks its whole command line before it connects to anything or prints a line. (Only a warning about the permissions of
//! a file with a secret may stand before an error.)
//!
//! | file | what |
//! |---|---|
//! | `push/` | pushes tasks; the default command |
//! | `status/` | shows tasks from Redis, or from the database or Kafka if Redis no longer knows them |
//! | `watch.rs`, `watched.rs`, `screen.rs` | follows tasks until they have ended; what is drawn |
//! | `ids/` | the tasks that a command line names |
//! | `control/`, `retry.rs` | cancel, pause and resume tasks; start them again |
//! | `list.rs`, `job.rs`, `servers.rs` | show the newest tasks, a job, the servers |
//! | `tasks.rs` | tasks as a table or JSON |
//! | `completion/` | completion scripts for shells, generated from the commands' tables |
//! | `results/`, `formats/` | writes findings; the output formats |
//! | `queries/` | services, changes and hosts in the database |
//! | `diff/` | compares two tasks or jobs in the database |
//! | `tags.rs` | reads the file of tagged networks |
//! | `input_source.rs` | reads a file or standard input up to a bound |
//! | `store/` | writes findings into a database |
//! | `serve/` | the web page and the API |
//! | `auth/` | users and tokens of the web page and the API |
//! | `interrupt.rs` | Ctrl-C for a command that has something to finish |
//! | `database.rs` | the flags for the findings' database |
//! | `options.rs` | flags that every command takes |
//! | `table.rs` | rows that fit a terminal |
//! | `output.rs` | stdout and stderr; keeps control characters away from the terminal |
//!
//! A new command is a file with a `COMMAND`, and its line in `COMMANDS`.

mod auth;
mod completion;
mod control;
mod database;
mod diff;
mod formats;
mod ids;
mod input_source;
mod interrupt;
mod job;
mod list;
mod options;
mod output;
mod push;
mod queries;
mod results;
mod retry;
#[cfg(test)]
mod sample_store;
mod screen;
mod serve;
mod servers;
mod status;
mod store;
mod table;
pub mod tags;
mod task_topic;
mod tasks;
mod watch;
mod watched;

use crate::connection::Connection;
use crate::exit::{self, Exit, Failure};
use crate::flags::shared::CONNECTION;
use crate::flags::suggest::nearest;
use crate::flags::{self, Asked, Flag, Reader};
use crate::model::Invalid;
use output::Output;
use std::ffi::OsString;
use std::io;

/// Every command; the first one is the default.
const COMMANDS: &[Command] = &[
    push::COMMAND,
    status::COMMAND,
    list::COMMAND,
    job::COMMAND,
    servers::COMMAND,
    watch::COMMAND,
    control::CANCEL,
    control::PAUSE,
    control::RESUME,
    retry::COMMAND,
    completion::COMMAND,
    results::COMMAND,
    store::COMMAND,
    serve::COMMAND,
    auth::COMMAND,
    queries::SERVICES,
    queries::CHANGES,
    queries::HOST,
    diff::COMMAND,
];

/// A command of scanpush.
struct Command {
    /// Its name on the command line.
    name: &'static str,
    /// What it does, as one line of the list of commands.
    about: &'static str,
    /// What follows `scanpush` in the usage line.
    usage: &'static str,
    /// Its own flags, besides [`CONNECTION`], which every command takes.
    flags: &'static [Flag],
    /// The end of its help text: examples and further information.
    more: &'static str,
    /// Takes its values from the reader, checks that nothing is left, then does the work.
    run: fn(Reader, &mut Output<'_>) -> Result<(), Failure>,
}

impl Command {
    /// All flags that it takes.
    fn all_flags(&self) -> impl Iterator<Item = &Flag> {
        self.flags.iter().chain(CONNECTION)
    }
}

/// Runs scanpush with `args` (without the program's name) on the process's own stdout and stderr. Returns the exit
/// code.
pub fn main(args: Vec<OsString>) -> Exit {
    let (mut out, mut err) = (io::BufWriter::new(io::stdout().lock()), io::stderr());
    let mut output = Output::of_process(&mut out, &mut err);
    let result = run(args, &mut output);
    // What was printed before an error stays printed, before the error's line.
    let flushed = output.flush();
    exit::report("scanpush", result.and(flushed), &mut err)
}

fn run(args: Vec<OsString>, output: &mut Output<'_>) -> Result<(), Failure> {
    let (command, args) = choose(as_flags(args))?;
    match flags::read(args, command.flags, |name| std::env::var_os(name))? {
        Asked::Help => output.text(&help(command)),
        Asked::Version => output.text(concat!("scanpush ", env!("CARGO_PKG_VERSION"), "\n")),
        Asked::Run(reader) => {
            warn_of_permissions(&reader, output);
            (command.run)(reader, output)
        }
    }
}

/// Prints a line on stderr for each file with a secret that every user of this machine can read. An invalid connection is reported by the command.
fn warn_of_permissions(reader: &Reader, output: &mut Output<'_>) {
    let connection = Connection::read(&mut reader.clone()).ok();
    let warnings = connection.map(|connection| connection.permission_warnings());
    let of_database = database::permission_warning(reader);
    let of_users = serve::permission_warnings(reader);
    for warning in warnings
        .into_iter()
        .flatten()
        .chain(of_database)
        .chain(of_users)
    {
        output.notice(&warning);
    }
}

/// Replaces `help`, `help COMMAND` and `version` by the equivalent flags.
fn as_flags(mut args: Vec<OsString>) -> Vec<OsString> {
    match args.first().and_then(|word| word.to_str()) {
        Some("version") => args[0] = "-version".into(),
        Some("help") => {
            args.remove(0);
            // After the command's name, if there is one.
            args.insert(args.len().min(1), "-help".into());
        }
        _ => {}
    }
    args
}

/// The command in `args`, and `args` without its name. The name is the first word, or follows flags of
/// [`CONNECTION`].
fn choose(mut args: Vec<OsString>) -> Result<(&'static Command, Vec<OsString>), Invalid> {
    let Some(at) = first_word(&args) else {
        return Ok((&COMMANDS[0], args));
    };
    let word = args.remove(at).to_string_lossy().into_owned();
    match COMMANDS.iter().find(|command| command.name == word) {
        Some(command) => Ok((command, args)),
        None => Err(no_command(&word)),
    }
}

fn first_word(args: &[OsString]) -> Option<usize> {
    let mut at = 0;
    loop {
        let word = args.get(at)?.to_str()?;
        if !flags::looks_like_a_flag(word) {
            return Some(at);
        }
        let (name, value) = flags::split(word);
        let flag = CONNECTION.iter().find(|flag| flag.name() == name)?;
        let is_one_word = value.is_some() || flag.value().is_none();
        at += if is_one_word { 1 } else { 2 };
    }
}

fn no_command(word: &str) -> Invalid {
    let names = || COMMANDS.iter().map(|command| command.name);
    let hint = match nearest(word, names()) {
        Some(near) => format!("did you mean {near}?"),
        None => format!(
            "the commands are {}; to push: scanpush -ip TARGETS -ports PORTS",
            names().collect::<Vec<_>>().join(", ")
        ),
    };
    Invalid::new(word, format!("is an unknown command: {hint}"))
}

fn help(command: &Command) -> String {
    let mut text = format!("usage: scanpush {}\n\n{}\n", command.usage, command.about);
    if command.name == COMMANDS[0].name {
        text += "\ncommands (scanpush COMMAND -help shows more):\n";
        for command in COMMANDS {
            text += &flags::entry(command.name, command.about);
        }
    }
    text += &format!(
        "\nflags (-name value, -name=value and --name are equivalent):\n{}",
        flags::help_of(command.flags)
    );
    text + "\n" + command.more
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(line: &[&str]) -> (Exit, String, String) {
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let args = line.iter().map(OsString::from).collect();
        let result = run(args, &mut Output::new(&mut out, &mut err, None, false));
        let exit = exit::report("scanpush", result, &mut err);
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (exit, text(out), text(err))
    }

    fn chosen(line: &[&str]) -> Result<(&'static str, Vec<OsString>), Invalid> {
        choose(line.iter().map(OsString::from).collect())
            .map(|(command, args)| (command.name, args))
    }

    #[test]
    fn the_first_word_is_the_command_and_push_needs_none() {
        for (line, name, rest) in [
            (&[][..], "push", &[][..]),
            (&["-ip", "status"], "push", &["-ip", "status"]),
            (&["push", "-ip", "a"], "push", &["-ip", "a"]),
            (&["status", "a"], "status", &["a"]),
            (
                &["-kafka", "k:1", "-kafka-tls", "--redis=r", "status", "a"],
                "status",
                &["-kafka", "k:1", "-kafka-tls", "--redis=r", "a"],
            ),
            (
                &["-kafka", "k:1", "-ip", "status"],
                "push",
                &["-kafka", "k:1", "-ip", "status"],
            ),
            (&["-kafka"], "push", &["-kafka"]),
        ] {
            let rest: Vec<OsString> = rest.iter().map(OsString::from).collect();
            assert_eq!(chosen(line).unwrap(), (name, rest), "{line:?}");
        }
        for (word, hint) in [
            ("statsu", "did you mean status?"),
            ("172.16.0.0/24", "the commands are push, status"),
            ("", "the commands are"),
        ] {
            let error = chosen(&[word]).unwrap_err().to_string();
            assert!(
                error.starts_with(&format!("\"{word}\" is an unknown command: {hint}")),
                "{error}"
            );
        }
    }

    #[test]
    fn every_command_has_help_within_80_columns_and_the_connection_flags() {
        for command in COMMANDS {
            let (exit, out, err) = said(&[command.name, "-help"]);
            assert_eq!((exit, err.as_str()), (Exit::Success, ""));
            assert!(out.lines().all(|line| line.chars().count() <= 80), "{out}");
            assert!(out.contains("examples:\n  scanpush "), "{out}");
            for flag in command.all_flags() {
                assert!(
                    out.contains(&format!("\n  {}", flag.usage())),
                    "{} {}",
                    command.name,
                    flag.shown()
                );
            }
        }
        assert!(said(&["-h"]).1.contains("\n  status "));
        assert_eq!(said(&["help"]), said(&["-help"]));
        assert_eq!(said(&["help", "status"]), said(&["status", "-help"]));
        assert_eq!(said(&["help", "-help"]), said(&["-help"]));
        let (exit, _, err) = said(&["help", "statsu"]);
        assert!(
            exit == Exit::Usage && err.contains("did you mean status?"),
            "{err}"
        );
    }

    #[test]
    fn the_version_is_a_line() {
        let version = format!("scanpush {}\n", env!("CARGO_PKG_VERSION"));
        assert_eq!(
            said(&["status", "--version"]),
            (Exit::Success, version, String::new())
        );
        assert_eq!(said(&["version"]), said(&["-version"]));
    }
}
