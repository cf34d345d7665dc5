//! Tests of the whole system: real Kafka, real Redis, real masscan in the lab, the built binaries.
//!
//! One binary with a harness of its own (libtest-mimic), so that Kafka, Redis and the lab are started once for a run and stopped after the last
//! test, and so that a test that cannot run on a machine is reported as ignored, with the reason.

#![allow(
    clippy::unwrap_used,
    reason = "a test that meets what it did not expect fails with a panic"
)]

mod broken_off;
mod check;
mod complete;
mod control;
mod distribution;
mod endings;
mod faults;
mod handover;
mod jobs;
mod kafka_faults;
mod passes;
mod push;
mod random;
mod records;
mod redis_faults;
mod results;
mod scans;
mod scope;
mod servers;
mod support;
mod table;
mod watch;

use libtest_mimic::{Arguments, Trial};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use std::process::ExitCode;
use support::TestResult;

/// What a test needs of the machine.
#[derive(Clone, Copy, PartialEq)]
enum Needs {
    /// Nothing: it is pure.
    Nothing,
    /// Kafka and Redis.
    Servers,
    /// The lab too.
    Lab,
    /// And the programs that read what scanpush writes.
    Parsers,
}

/// A test: its name, what it needs, what it does.
type Test = (&'static str, Needs, fn());

const CHECKER: &[Test] = &[
    (
        "every_rule_of_the_checker_can_fail",
        Needs::Nothing,
        support::checker::every_rule_can_fail,
    ),
    (
        "a_reused_process_id_is_another_run",
        Needs::Nothing,
        support::a_reused_process_id_is_another_run,
    ),
];

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    if arguments.list {
        return libtest_mimic::run(&arguments, trials(None, None)).exit_code();
    }
    end_on_signal();
    let servers = support::start().err();
    let lab = match &servers {
        None => support::start_lab().err(),
        Some(reason) => Some(reason.clone()),
    };
    let conclusion = libtest_mimic::run(&arguments, trials(servers, lab));
    support::stop();
    conclusion.exit_code()
}

fn trials(no_servers: Option<String>, no_lab: Option<String>) -> Vec<Trial> {
    for reason in no_servers.iter().chain(&no_lab) {
        eprintln!(
            "tests are ignored, since this machine can't run them: {reason} (tests/run.sh sets up what it can)"
        );
    }
    let no_parsers = no_lab.clone().or_else(|| {
        let reason = results::readers().err()?;
        eprintln!("a test is ignored: {reason} (tests/run.sh sets up what it can)");
        Some(reason)
    });
    // The longest first: the others run beside it.
    [
        random::TESTS,
        handover::TESTS,
        distribution::TESTS,
        complete::TESTS,
        endings::TESTS,
        push::TESTS,
        records::TESTS,
        results::TESTS,
        scans::TESTS,
        passes::TESTS,
        faults::TESTS,
        table::TESTS,
        CHECKER,
        servers::TESTS,
        redis_faults::TESTS,
        kafka_faults::TESTS,
        jobs::TESTS,
        control::TESTS,
        watch::TESTS,
        scope::TESTS,
        check::TESTS,
        broken_off::TESTS,
    ]
    .concat()
    .into_iter()
    .map(|(name, needs, test): Test| {
        let missing = match needs {
            Needs::Nothing => &None,
            Needs::Servers => &no_servers,
            Needs::Lab => &no_lab,
            Needs::Parsers => &no_parsers,
        };
        Trial::test(name, move || -> TestResult {
            test();
            Ok(())
        })
        .with_ignored_flag(missing.is_some())
    })
    .collect()
}

/// Ctrl-C must leave nothing running, nor may whoever ends this by a SIGTERM.
fn end_on_signal() {
    let mut signals = Signals::new([SIGINT, SIGTERM]).expect("the system takes signal handlers");
    std::thread::spawn(move || {
        if signals.forever().next().is_some() {
            support::cancel();
            std::process::exit(130);
        }
    });
}
