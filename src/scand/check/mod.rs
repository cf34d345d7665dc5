//! `scand -check`: checks everything that a scan needs and prints one line each: verdict, name, result, and the remedy.
//!
//! **Invariants:** it scans nothing and claims no task. It ends shortly after [`CHECK_WAIT`] even if nothing answers: a check that takes longer
//! has failed. All checks run at the same time, each on a thread of its own.

mod judge;
mod line;

use crate::claim_table::ClaimTable;
use crate::exit::Exit;
use crate::kafka::{self, Reader};
use crate::masscan::{self, MasscanInfo, NetworkOf};
use crate::model::TopicName;
use crate::model::backoff::CLIENT_WAIT;
use crate::scand::logging;
use crate::scand::options::Options;
use crossbeam_channel::bounded;
use judge::{line_of_rights, line_of_shards, line_of_unseen, lines_of_network, lines_of_redis};
use line::{Line, Verdict, fail, ok};
use std::io::{self, Write};
use std::path::PathBuf;
use std::thread;
use std::time::Duration;
use std::time::Instant;

/// How long `scand -check` may take.
const CHECK_WAIT: Duration = Duration::from_secs(9);

/// A group of checks: its name, for the case that it does not answer, and its work.
type Check = (&'static str, fn(&Options) -> Vec<Line>);

const CHECKS: [Check; 9] = [
    ("masscan", check_masscan),
    ("rights", check_rights),
    ("setsid", check_setsid),
    ("interface", check_network),
    ("kafka", check_kafka),
    ("topics", check_topics),
    ("redis", check_redis),
    ("exclusions", check_scope),
    ("log file", check_log_file),
];

/// Runs all checks and prints the results with a summary. [`Exit::Success`] only if nothing failed and there is no warning.
pub fn run(options: &Options, out: &mut dyn Write) -> io::Result<Exit> {
    let give_up = Instant::now() + CHECK_WAIT;
    let (mut warnings, mut failures) = (0, 0);
    let answers: Vec<_> = CHECKS
        .iter()
        .map(|&(name, check)| {
            let (done, answer) = bounded(1);
            let options = options.clone();
            let started = thread::Builder::new()
                .name(format!("check-{name}"))
                .spawn(move || {
                    // After a time-out nothing receives it.
                    let _ = done.send(check(&options));
                });
            (name, started.map(|_| answer))
        })
        .collect();
    for (name, answer) in answers {
        let lines = match answer {
            Ok(answer) => answer.recv_deadline(give_up).unwrap_or_else(|_| {
                let wait = CHECK_WAIT.as_secs();
                vec![fail(name, format!("no answer within {wait} s"))]
            }),
            Err(error) => vec![fail(name, format!("no thread: {error}"))],
        };
        for line in lines {
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

/// Why the exit code is not 0.
fn summary(warnings: usize, failures: usize) -> String {
    let counted = |count: usize, what: &str| match count {
        1 => format!("1 {what}"),
        _ => format!("{count} {what}s"),
    };
    format!(
        "{}, {}",
        counted(warnings, "warning"),
        counted(failures, "failure")
    )
}

/// Opens the file of -log-file as a server does when it starts.
fn check_log_file(options: &Options) -> Vec<Line> {
    let Some(path) = &options.log_file else {
        return Vec::new();
    };
    vec![match logging::open(path) {
        Ok(_) => ok("log file", path.display()),
        Err(error) => fail("log file", error),
    }]
}

fn check_masscan(options: &Options) -> Vec<Line> {
    let program = &options.masscan;
    let path = match masscan::find(program) {
        Ok(path) => path,
        Err(error) => return vec![fail("masscan", error)],
    };
    let mut lines = match MasscanInfo::of(program) {
        Ok(about) => vec![
            ok(
                "masscan",
                format!("{} at {}", about.version, path.display()),
            ),
            line_of_shards(&about),
        ],
        Err(error) => vec![fail("masscan", error)],
    };
    lines.push(match masscan::has_libpcap(program) {
        Ok(true) => ok("libpcap", "masscan finds it"),
        Ok(false) => fail(
            "libpcap",
            "masscan does not find it, so every scan fails: apt install libpcap0.8",
        ),
        Err(error) => fail("libpcap", error),
    });
    lines
}

fn check_rights(options: &Options) -> Vec<Line> {
    let Ok(path) = masscan::find(&options.masscan) else {
        return Vec::new();
    };
    vec![line_of_rights(masscan::rights(&path), &path)]
}

fn check_setsid(_options: &Options) -> Vec<Line> {
    let remedy = "apt install util-linux";
    vec![match masscan::has_setsid() {
        Ok(true) => ok("setsid", "of util-linux"),
        Ok(false) => fail(
            "setsid",
            format!("not the one of util-linux, which gives masscan its terminal: {remedy}"),
        ),
        Err(_) => fail(
            "setsid",
            format!("not found, so masscan cannot be started: {remedy}"),
        ),
    }]
}

fn check_network(options: &Options) -> Vec<Line> {
    let interface = options.source.interface.as_ref();
    let program = masscan::find(&options.masscan).ok();
    let script: Option<PathBuf> = program.filter(|path| masscan::is_script(path));
    let seen = match &script {
        Some(script) => masscan::inspect_through(script, interface),
        None => masscan::inspect(NetworkOf::Ours, interface),
    };
    let mut lines = match seen {
        Ok(network) => lines_of_network(&network, &options.source),
        Err(unseen) => vec![line_of_unseen(&unseen)],
    };
    if script.is_some() {
        lines[0].text += " (as seen by the script that runs masscan)";
    }
    lines
}

fn check_kafka(options: &Options) -> Vec<Line> {
    vec![match kafka::preflight(&options.kafka, CLIENT_WAIT) {
        Ok(()) => ok("kafka", format!("{}, a supported version", options.kafka)),
        Err(error) => fail("kafka", error),
    }]
}

/// Requests each topic as a server does at its start, which creates it if the broker creates topics automatically.
fn check_topics(options: &Options) -> Vec<Line> {
    if kafka::preflight(&options.kafka, CLIENT_WAIT).is_err() {
        return vec![fail("topics", "not known without Kafka")];
    }
    let topics = [
        &options.topic,
        &options.results_topic,
        &options.status_topic,
    ];
    let checks = topics.map(|topic| {
        let (brokers, topic) = (options.kafka.clone(), topic.clone());
        thread::spawn(move || line_of_topic(&brokers, &topic))
    });
    checks
        .into_iter()
        .map(|check| {
            check
                .join()
                .unwrap_or_else(|_| fail("topics", "the check ended with a panic"))
        })
        .collect()
}

fn line_of_topic(brokers: &kafka::Brokers, topic: &TopicName) -> Line {
    match Reader::connect(brokers, topic.as_str()) {
        Ok(reader) => {
            let partitions = reader.partitions().len();
            ok("topics", format!("{topic}, partitions: {partitions}"))
        }
        Err(error) => fail("topics", error),
    }
}

fn check_redis(options: &Options) -> Vec<Line> {
    let connected = ClaimTable::connect(&options.redis, options.group.as_str());
    let asked = connected.and_then(|mut table| Ok((table.version()?, table.evicting_policy()?)));
    match asked {
        Ok((version, policy)) => lines_of_redis(&options.redis.to_string(), &version, policy),
        Err(error) => vec![fail("redis", error)],
    }
}

fn check_scope(options: &Options) -> Vec<Line> {
    vec![match options.scope.read() {
        Ok(scope) => ok("exclusions", scope.summary()),
        Err(error) => fail("exclusions", error),
    }]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scand::options::{Request, parse};
    use std::ffi::OsString;

    fn options(line: &[&str]) -> Options {
        match parse(line.iter().map(OsString::from).collect()) {
            Ok(Request::Run(options)) => *options,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_end_says_why_the_exit_code_is_not_0() {
        assert_eq!(summary(1, 0), "1 warning, 0 failures");
        assert_eq!(summary(2, 1), "2 warnings, 1 failure");
    }

    #[test]
    fn a_log_file_that_cannot_be_opened_is_named() {
        assert_eq!(check_log_file(&options(&[])), []);
        let lines = check_log_file(&options(&["-log-file", "/nowhere/scand.log"]));
        assert_eq!(lines[0].verdict, Verdict::Fail);
        assert_eq!(
            lines[0].text,
            "-log-file: \"/nowhere/scand.log\" can't be opened for writing: No such file or directory"
        );
    }
}
