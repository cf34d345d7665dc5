//! The daemon: options and threads.
//!
//! | thread | file | waits for | does |
//! |---|---|---|---|
//! | `poll` | `ingest/` | Kafka's long poll | reads, validates and ingests tasks, wakes `dispatch` |
//! | `scan-N` | `scan/` | a task, then an event | runs one masscan |
//! | `progress` | `scan/progress.rs` | progress updates | the only writer of live progress |
//! | `dispatch` | `claims/dispatch.rs` | a wake-up, a timer | claims tasks and hands them to the scan threads |
//! | `publish-N` | `scan/publish.rs` | findings | sends findings to Kafka, reports acknowledgements to the scan |
//! | `lease` | `claims/lease.rs` | a timer | renews claims, reaps expired ones, publishes the outbox |
//! | `finalize` | `finalize/` | state changes | writes them to `scan-status`, then to Redis |
//! | `commit` | `finalize/commit.rs` | ended tasks, a timer | commits the group's offsets |
//! | `signals` | `signals.rs` | signals | the first SIGINT or SIGTERM drains, the second ends at once; SIGHUP opens the log file again and wakes `reload` |
//! | `reload` | `daemon.rs` | SIGHUP | reads the scope files again |
//! | `peers` | `daemon.rs` | SIGHUP, a timer | looks up Kafka and Redis again |
//!
//! `daemon.rs` starts the threads and joins them in the order that loses nothing. The other files belong to no thread.
//!
//! **Invariants:** channels are bounded; a closed channel means stop; threads are named and joined; each thread that talks to Kafka or Redis
//! has its own connection.

mod check;
mod claims;
mod daemon;
mod finalize;
mod ingest;
mod logging;
mod metrics;
mod options;
mod peer_error;
mod retry_log;
mod scan;
mod signals;

#[cfg(test)]
mod fuzzed;

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
