//! The checks of what a scan needs. [`run`] (`scand -check`) runs all of them in parallel, one thread each, prints a line for each result
//! (verdict, name, result, remedy), and ends shortly after [`CHECKS_WAIT`] even if nothing answers. [`first_fault`] (a server's test of itself)
//! runs only those that a scan needs, one after another, and prints nothing.
//!
//! **Invariant:** no check scans anything or claims a task.
//!
//! | file | contents |
//! |---|---|
//! | `checks.rs` | the checks: they examine the system, Kafka and Redis |
//! | `judge.rs` | verdict and text for what they found, without I/O |
//! | `line.rs` | one line of output |

mod checks;
mod judge;
mod line;

use crate::exit::Exit;
use crate::model::text::one_line;
use crate::scand::options::Options;
use checks::{CHECKS, Impact, check_named_interface};
use crossbeam_channel::{Receiver, RecvTimeoutError, bounded};
use line::{Line, Verdict, fail};
use std::io::{self, Write};
use std::thread;
use std::time::{Duration, Instant};

/// How long `scand -check` may take.
const CHECKS_WAIT: Duration = Duration::from_secs(9);

/// Runs all checks and prints their lines in the order of [`CHECKS`], then a summary unless all are ok. Returns [`Exit::Success`] only without
/// warnings and failures. Errs if the output cannot be written.
pub fn run(options: &Options, out: &mut dyn Write) -> io::Result<Exit> {
    let deadline = Instant::now() + CHECKS_WAIT;
    let (mut warnings, mut failures) = (0, 0);
    for (name, answer) in start(options) {
        for line in lines_of(name, answer, deadline) {
            writeln!(out, "{line}")?;
            warnings += usize::from(line.verdict == Verdict::Warn);
            failures += usize::from(line.verdict == Verdict::Fail);
        }
    }
    if warnings + failures == 0 {
        return Ok(Exit::Success);
    }
    writeln!(out, "{}", summary(warnings, failures))?;
    Ok(Exit::Failed)
}

/// The first fault that keeps a scan from starting on this server, with its remedy; none if one can start. Asks neither Kafka nor Redis. Takes
/// some milliseconds, or some seconds if masscan hangs.
///
/// The routes count only if `masscan_has_failed` to start: its configuration file may name an interface and a router that this program does not
/// know. So they keep no server from trying again.
pub fn first_fault(options: &Options, masscan_has_failed: bool) -> Option<String> {
    let checks = CHECKS.iter().filter(|check| match check.impact {
        Impact::Scan => true,
        Impact::Route => masscan_has_failed,
        Impact::Startup => false,
    });
    let lines = checks.flat_map(|check| (check.run)(options));
    let named = lines.chain(check_named_interface(options));
    let mut faults = named.filter(|line| line.verdict == Verdict::Fail);
    faults.next().map(|line| one_line(&line.text))
}

/// The lines of a check, as soon as its thread has them.
type Answer = io::Result<Receiver<Vec<Line>>>;

fn start(options: &Options) -> Vec<(&'static str, Answer)> {
    let start_one = |check: &checks::Check| {
        let (name, run) = (check.name, check.run);
        let (done, answer) = bounded(1);
        let options = options.clone();
        let started = thread::Builder::new()
            .name(format!("check-{name}"))
            .spawn(move || {
                // Nothing receives it after the deadline.
                let _ = done.send(run(&options));
            });
        (name, started.map(|_| answer))
    };
    CHECKS.iter().map(start_one).collect()
}

fn lines_of(name: &'static str, answer: Answer, deadline: Instant) -> Vec<Line> {
    match answer.map(|answer| answer.recv_deadline(deadline)) {
        Ok(Ok(lines)) => lines,
        Ok(Err(RecvTimeoutError::Timeout)) => {
            let wait = CHECKS_WAIT.as_secs();
            vec![fail(name, format!("no answer within {wait} s"))]
        }
        Ok(Err(RecvTimeoutError::Disconnected)) => vec![fail(name, "the check ended with a panic")],
        Err(error) => vec![fail(name, format!("cannot start a thread: {error}"))],
    }
}

/// Why the exit code is not 0.
fn summary(warnings: usize, failures: usize) -> String {
    let count = |count: usize, what: &str| match count {
        1 => format!("1 {what}"),
        _ => format!("{count} {what}s"),
    };
    format!(
        "{}, {}",
        count(warnings, "warning"),
        count(failures, "failure")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_summary_counts_warnings_and_failures() {
        assert_eq!(summary(1, 0), "1 warning, 0 failures");
        assert_eq!(summary(2, 1), "2 warnings, 1 failure");
    }

    #[test]
    fn a_check_without_an_answer_has_failed() {
        let (done, answer) = bounded(1);
        let lines = lines_of("kafka", Ok(answer.clone()), Instant::now());
        assert_eq!(lines, [fail("kafka", "no answer within 9 s")]);
        drop(done);
        let lines = lines_of("kafka", Ok(answer), Instant::now() + CHECKS_WAIT);
        assert_eq!(lines, [fail("kafka", "the check ended with a panic")]);
        let lines = lines_of("kafka", Err(io::Error::other("x")), Instant::now());
        assert_eq!(lines, [fail("kafka", "cannot start a thread: x")]);
    }
}
