//! The daemon: options and the threads, a file each.
//!
//! | file | thread | waits on | does |
//! |---|---|---|---|
//! | `signals.rs` | `signals` | signal-hook | first SIGINT or SIGTERM drains, the second ends at once; SIGHUP reads files again |
//! | `poll.rs` | `poll` | Kafka's long poll | decodes, validates, ingests, nudges `dispatch` |
//! | `dispatch.rs` | `dispatch` | nudge, slot freed, tick | claims, hands tasks to the scan threads |
//! | `scan.rs` | `scan-N` | a task, then a pause between two looks | one masscan each |
//! | `results.rs` | `results-N` | findings | produces them, acknowledges back to the scan |
//! | `progress.rs` | `progress` | progress updates | the only writer of live progress |
//! | `lease.rs` | `lease` | tick | renews claims, reaps expired ones |
//! | `settle.rs` | `finalize` | ends of claims | `scan-status`, then Redis |
//! | `commit.rs` | `commit` | ends of tasks, tick | commits the group's offsets |
//!
//! Without a thread: `daemon.rs` (starts and joins them, in the order that loses nothing), `held_claims.rs`, `budget.rs`,
//! `retry_log.rs`, `history.rs`, `outcome.rs`, `scope.rs`, `offloads.rs`, `check.rs`, `logging.rs`, `options.rs`.
//!
//! **Invariants:** channels are bounded; a closed channel means stop; threads are named and joined; each thread that speaks
//! to Kafka or Redis has its own connection.

mod check;
mod claims;
mod daemon;
mod finalize;
mod ingest;
mod logging;
mod options;
mod retry_log;
mod scan;
mod signals;

pub use claims::dispatch::DISPATCH_IDLE_TICK;

use crate::exit::{self, Exit, Failure};
use options::Request;
use std::ffi::OsString;
use std::io::{self, Write};
use std::process::ExitCode;

/// Runs scand with `args` (without the program's name) until a signal ends it.
pub fn main(args: Vec<OsString>) -> ExitCode {
    let result = match options::parse(args) {
        Ok(Request::Show(text)) => io::stdout()
            .write_all(text.as_bytes())
            .map_err(Failure::from),
        Ok(Request::Run(options)) if options.check => {
            match check::run(&options, &mut io::stdout().lock()) {
                Ok(exit) => return exit.into(),
                Err(error) => Err(error.into()),
            }
        }
        Ok(Request::Run(options)) => return daemon::run(&options).into(),
        Err(error) => Err(error.into()),
    };
    let exit: Exit = exit::report("scand", result, &mut io::stderr());
    exit.into()
}
