//! `scanpush store`: reads findings, state changes and tasks from Kafka into a database. Runs until SIGTERM or Ctrl-C.
//!
//! **Invariant:** the positions in Kafka are those of the database, never of this process: after any failure it continues from there.
//!
//! | file | what |
//! |---|---|
//! | `options.rs` | the command line |
//! | `run.rs` | the threads, and what happens if the database fails |
//! | `session.rs` | the working thread: from the topics to the database |
//! | `merge.rs` | the order in which records of three topics are applied |
//! | `topic.rs`, `feed.rs` | read a topic; the thread that reads findings |
//! | `records.rs` | records as values for the database |
//! | `stop.rs` | whether the process has to end |
//! | `outage.rs` | which errors of an outage are printed |
//! | `progress.rs` | what is printed |

mod feed;
mod merge;
mod options;
mod outage;
mod progress;
mod records;
mod run;
mod session;
mod stop;
mod topic;

pub use options::{CLOSED_AFTER, KEEP, KEEP_FINDINGS, Options};
pub use progress::{Lag, Need, Report};
pub use run::{STORE_STOP_WAIT, Work};
pub use session::End;

use super::Command;

pub(super) const COMMAND: Command = Command {
    name: "store",
    about: "writes findings into a database, SQLite or Postgres, as they come",
    usage: "store [-db URL] [-once] [flags]",
    flags: options::FLAGS,
    more: "\
Reads the topics of findings, state changes and tasks from where the database
has got to, and keeps: services (address, port, protocol: open or closed, first
and last seen), their changes (opened, closed, reopened), tasks and jobs. Each
record counts exactly once, whatever ends this program or the database. A
service closes only after N completed scans in a row that covered it and did not
find it. docs/store.md shows the tables and example queries.
Several can run with one database: one works, the others stand by. Runs until
SIGTERM or Ctrl-C. Redis is not used.
Exit code 0: ended by a signal, or -once is done; 1: the database cannot be used
or, with -once, Kafka cannot be read; 2: invalid flags.

examples:
  scanpush store
  scanpush store -once && scanpush services -port 3389
  scanpush store -db postgres://scan@db.example/scans -db-password-file db.pass
  scanpush store -db sqlite:/var/lib/scan/findings.db -keep-findings 30d
",
    run: run::run,
};
