//! Tests of the whole system: real Kafka, real Redis, real Postgres, real masscan in the lab, the built binaries.
//!
//! One test binary with the harness libtest-mimic, so that Kafka, Redis and the lab are started once for a run and stopped after the last test,
//! and so that a test that cannot run on a machine is reported as ignored, with the reason.

#![allow(
    clippy::unwrap_used,
    reason = "a test that meets what it did not expect fails with a panic"
)]

mod bombs;
mod bounds;
mod browser;
mod check;
mod clocks;
mod complete;
mod control;
mod distribution;
mod endings;
mod exhausted;
mod extent;
mod failover;
mod faults;
mod handover;
mod interrupted_run;
mod jobs;
mod kafka_cluster;
mod kafka_faults;
mod kafka_security;
mod librdkafka;
mod logs;
mod monitoring;
mod months;
mod passes;
mod postgres;
mod push;
mod random;
mod records;
mod redis_faults;
mod redis_security;
mod redis_servers;
mod results;
mod rights;
mod roles;
mod scans;
mod scope;
mod secured;
mod server_faults;
mod servers;
mod store;
mod store_pages;
mod support;
mod table;
mod watch;
mod web;
mod web_access;

use libtest_mimic::{Arguments, Trial};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use std::process::ExitCode;
use support::TestResult;

/// What a test needs to run. All but `Nothing` include Kafka and Redis.
#[derive(Clone, Copy, PartialEq)]
enum Needs {
    /// Nothing. The test does no I/O.
    Nothing,
    /// Kafka and Redis.
    KafkaAndRedis,
    /// Kafka and Redis, and a Kafka that the kafka crate can speak to.
    KafkaCrate,
    /// Kafka, Redis and Postgres.
    Postgres,
    /// The lab.
    Lab,
    /// The lab and Chromium.
    Browser,
    /// The programs that parse the output of scanpush.
    Parsers,
    /// Kafka, Redis, and the programs of Prometheus.
    Prometheus,
}

/// A test: name, requirement, function.
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

/// End to end, recovery, offsets and faults: what depends most on the client of Kafka. CI runs these on Kafka 4 too. The longest test first, because
/// the others run at the same time.
const ESSENTIAL: &[&[Test]] = &[
    random::TESTS,
    handover::TESTS,
    distribution::TESTS,
    endings::TESTS,
    extent::TESTS,
    push::TESTS,
    records::TESTS,
    logs::TESTS,
    results::TESTS,
    store::TESTS,
    faults::TESTS,
    kafka_faults::TESTS,
    bombs::TESTS,
    kafka_security::TESTS,
    librdkafka::TESTS,
    secured::TESTS,
    roles::TESTS,
];

/// The other tests.
const OTHERS: &[&[Test]] = &[
    complete::TESTS,
    scans::TESTS,
    passes::TESTS,
    table::TESTS,
    CHECKER,
    months::TESTS,
    exhausted::TESTS,
    server_faults::TESTS,
    servers::TESTS,
    redis_faults::TESTS,
    clocks::TESTS,
    redis_security::TESTS,
    redis_servers::TESTS,
    failover::TESTS,
    jobs::TESTS,
    control::TESTS,
    watch::TESTS,
    web::TESTS,
    web_access::TESTS,
    scope::TESTS,
    bounds::TESTS,
    check::TESTS,
    rights::TESTS,
    interrupted_run::TESTS,
    postgres::TESTS,
    store_pages::TESTS,
    browser::TESTS,
    monitoring::TESTS,
];

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    if arguments.list {
        return libtest_mimic::run(&arguments, trials(None, None)).exit_code();
    }
    end_on_signal();
    let no_services = support::start().err();
    let no_lab = match &no_services {
        None => support::start_lab().err(),
        Some(reason) => Some(reason.clone()),
    };
    let conclusion = libtest_mimic::run(&arguments, trials(no_services, no_lab));
    support::stop();
    conclusion.exit_code()
}

fn trials(no_services: Option<String>, no_lab: Option<String>) -> Vec<Trial> {
    for reason in no_services.iter().chain(&no_lab) {
        eprintln!(
            "tests are ignored, because this machine cannot run them: {reason} (tests/run.sh installs what is missing)"
        );
    }
    let no_parsers = no_lab.clone().or_else(|| {
        let reason = results::find_parsers().err()?;
        eprintln!("a test is ignored: {reason} (tests/run.sh installs what is missing)");
        Some(reason)
    });
    let no_browser = no_lab.clone().or_else(|| {
        let reason = support::find_browser().err()?;
        eprintln!("tests are ignored: {reason} (tests/run.sh installs what is missing)");
        Some(reason)
    });
    let no_crate = no_services.clone().or_else(|| {
        support::is_kafka_4().then(|| "the kafka crate cannot speak to Kafka 4".to_owned())
    });
    let no_postgres = no_services.clone().or_else(|| {
        let reason = support::script("postgres.sh", &["check"]).err()?;
        eprintln!("tests are ignored: {reason} (tests/run.sh installs what is missing)");
        Some(reason)
    });
    let no_prometheus = no_services.clone().or_else(|| {
        let reason = monitoring::find_prometheus().err()?;
        eprintln!("tests are ignored: {reason} (tests/run.sh installs what is missing)");
        Some(reason)
    });
    let asked_for = |variable: &str| std::env::var_os(variable).is_some();
    let mut tests = Vec::new();
    if !asked_for("SCAN_NO_CLUSTER_TESTS") {
        tests.extend(kafka_cluster::TESTS);
    }
    tests.extend(ESSENTIAL.concat());
    if !asked_for("SCAN_ESSENTIAL_TESTS") {
        tests.extend(OTHERS.concat());
    }
    tests
        .into_iter()
        .map(|(name, needs, test): Test| {
            let missing = match needs {
                Needs::Nothing => &None,
                Needs::KafkaAndRedis => &no_services,
                Needs::KafkaCrate => &no_crate,
                Needs::Postgres => &no_postgres,
                Needs::Lab => &no_lab,
                Needs::Browser => &no_browser,
                Needs::Parsers => &no_parsers,
                Needs::Prometheus => &no_prometheus,
            };
            Trial::test(name, move || -> TestResult {
                test();
                Ok(())
            })
            .with_ignored_flag(missing.is_some())
        })
        .collect()
}

/// After SIGINT or SIGTERM, stops everything that this run has started, and exits.
fn end_on_signal() {
    let mut signals = Signals::new([SIGINT, SIGTERM]).expect("the system takes signal handlers");
    std::thread::spawn(move || {
        if signals.forever().next().is_some() {
            support::cancel();
            std::process::exit(130);
        }
    });
}
