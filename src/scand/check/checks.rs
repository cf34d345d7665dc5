//! The checks of `scand -check`: each examines the system, Kafka or Redis, and hands what it found to `judge.rs`.

use super::judge::{
    line_of_libpcap, line_of_network_error, line_of_rights, line_of_setsid, line_of_topic,
    lines_of_masscan, lines_of_network, lines_of_redis,
};
use super::line::{Line, fail, ok, warn};
use crate::claim_table::ClaimTable;
use crate::connection::Connection;
use crate::kafka::{self, GroupOffsets, KafkaSettings, Reader};
use crate::masscan::{self, MasscanBinary, MasscanInfo, NetworkError, Rights};
use crate::model::TopicName;
use crate::model::backoff::CLIENT_WAIT;
use crate::model::default_exclusions::PeerAddresses;
use crate::scand::logging;
use crate::scand::options::Options;
use std::path::PathBuf;
use std::thread;

/// One check.
pub(super) struct Check {
    /// Used if it does not answer.
    pub(super) name: &'static str,
    /// Has as many lines as it has results.
    pub(super) run: fn(&Options) -> Vec<Line>,
    pub(super) impact: Impact,
}

/// What fails if a check fails.
#[derive(Clone, Copy)]
pub(super) enum Impact {
    /// No scan can start.
    Scan,
    /// No scan can start, unless masscan's configuration file names an interface and a router.
    Route,
    /// The server cannot start, or cannot reach Kafka or Redis.
    Startup,
}

/// All checks, in the order of the output.
pub(super) const CHECKS: [Check; 13] = [
    check("masscan", check_masscan, Impact::Scan),
    check("rights", check_rights, Impact::Scan),
    check("setsid", check_setsid, Impact::Scan),
    check("resources", check_resources, Impact::Scan),
    check("interface", check_network, Impact::Route),
    check("kafka", check_kafka, Impact::Startup),
    check("topics", check_topics, Impact::Startup),
    check("group", check_group, Impact::Startup),
    check("redis", check_redis, Impact::Startup),
    check("secrets", check_secrets, Impact::Startup),
    check("exclusions", check_scope, Impact::Startup),
    check("metrics", check_http, Impact::Startup),
    check("log file", check_log_file, Impact::Startup),
];

const fn check(name: &'static str, run: fn(&Options) -> Vec<Line>, impact: Impact) -> Check {
    Check { name, run, impact }
}

fn check_masscan(options: &Options) -> Vec<Line> {
    let program = &options.masscan;
    let path = match masscan::find(program) {
        Ok(path) => path,
        Err(error) => return vec![fail("masscan", error)],
    };
    let mut lines = match MasscanInfo::of(program) {
        Ok(info) => lines_of_masscan(&info, &path),
        Err(error) => vec![fail("masscan", error)],
    };
    lines.push(match masscan::has_libpcap(program) {
        Ok(found) => line_of_libpcap(found),
        Err(error) => fail("libpcap", error),
    });
    lines
}

/// Prints nothing if masscan is missing: [`check_masscan`] reports that.
fn check_rights(options: &Options) -> Vec<Line> {
    let Ok(path) = masscan::find(&options.masscan) else {
        return Vec::new();
    };
    let rights = masscan::rights(&path);
    if masscan::is_script(&path) && rights == Rights::Missing {
        let text = format!(
            "{} is a script: it has to start masscan with the right to open raw sockets",
            path.display()
        );
        return vec![warn("rights", text)];
    }
    let binary = MasscanBinary::new(&path).as_user(options.masscan_user.clone());
    vec![line_of_rights(rights, &binary.run_as(), &path)]
}

fn check_setsid(_options: &Options) -> Vec<Line> {
    vec![line_of_setsid(masscan::has_setsid().ok())]
}

/// Opens what a scan needs besides masscan, as a scan does.
fn check_resources(_options: &Options) -> Vec<Line> {
    vec![match masscan::try_resources() {
        Ok(folder) => ok(
            "resources",
            format!("a folder in {}, a terminal, pipes", folder.display()),
        ),
        Err(error) => fail("resources", error),
    }]
}

/// If masscan is a script (which may enter a network namespace), examines the network in which the script starts masscan.
fn check_network(options: &Options) -> Vec<Line> {
    let interface = options.source.interface.as_ref();
    let program = masscan::find(&options.masscan).ok();
    let script: Option<PathBuf> = program.filter(|path| masscan::is_script(path));
    let mut lines = match masscan::inspect_for(&options.masscan, interface) {
        Ok(network) => lines_of_network(&network, &options.source),
        Err(error) => vec![line_of_network_error(&error)],
    };
    if script.is_some() {
        lines[0].text += " (as seen by the script that runs masscan)";
    }
    lines
}

/// A failure if the interface of -interface does not exist.
pub(super) fn check_named_interface(options: &Options) -> Option<Line> {
    let interface = options.source.interface.as_ref()?;
    match masscan::inspect_for(&options.masscan, Some(interface)) {
        Err(error @ NetworkError::NoInterface(_)) => Some(line_of_network_error(&error)),
        _ => None,
    }
}

fn check_kafka(options: &Options) -> Vec<Line> {
    vec![
        match kafka::preflight(&options.connection.kafka, CLIENT_WAIT) {
            Ok(client) => ok(
                "kafka",
                format!("{}, with {client}", options.connection.kafka),
            ),
            Err(error) => fail("kafka", error),
        },
    ]
}

/// Requests each topic as a starting server does, which creates it if the broker creates topics automatically.
fn check_topics(options: &Options) -> Vec<Line> {
    if kafka::preflight(&options.connection.kafka, CLIENT_WAIT).is_err() {
        return vec![fail("topics", "not known without Kafka")];
    }
    let topics = [
        &options.connection.topic,
        &options.results_topic,
        &options.status_topic,
    ];
    let checks = topics.map(|topic| {
        let (kafka, topic) = (options.connection.kafka.clone(), topic.clone());
        thread::spawn(move || check_topic(&kafka, &topic))
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

fn check_topic(kafka: &KafkaSettings, topic: &TopicName) -> Line {
    match Reader::connect(kafka, topic.as_str()) {
        Ok(mut reader) => {
            let removed = reader.log_ranges().map(|ranges| {
                let firsts = ranges.values().map(|range| range.first);
                firsts.sum::<i64>()
            });
            line_of_topic(topic, reader.partitions().len(), removed.ok())
        }
        Err(error) => fail("topics", error),
    }
}

/// Reads the group's offsets, which needs the same right as committing them.
fn check_group(options: &Options) -> Vec<Line> {
    let Connection {
        kafka,
        group,
        topic,
        ..
    } = &options.connection;
    if kafka::preflight(kafka, CLIENT_WAIT).is_err() {
        return vec![fail("group", "not known without Kafka")];
    }
    let mut offsets = GroupOffsets::new(kafka, group.as_str(), topic.as_str());
    vec![match offsets.committed() {
        Ok(_) => ok("group", format!("{group}, its offsets can be read")),
        Err(error) => fail("group", error),
    }]
}

fn check_redis(options: &Options) -> Vec<Line> {
    let connected =
        ClaimTable::connect(&options.connection.redis, options.connection.group.as_str());
    match connected.and_then(|mut table| table.examine()) {
        Ok(info) => lines_of_redis(&info),
        Err(error) => vec![fail("redis", error)],
    }
}

/// No line without a file that others can read.
fn check_secrets(options: &Options) -> Vec<Line> {
    let warnings = options.permission_warnings();
    warnings
        .into_iter()
        .map(|warning| warn("secrets", warning))
        .collect()
}

fn check_scope(options: &Options) -> Vec<Line> {
    vec![match options.scope.read() {
        Ok(lists) => {
            let scope = lists.scope(&PeerAddresses::default());
            let summary = scope.summary();
            ok(
                "exclusions",
                format!("{summary}, besides special networks, Kafka and Redis"),
            )
        }
        Err(error) => fail("exclusions", error),
    }]
}

/// Whether metrics may be served at -http; no line without it. The address is not used here, because a running server may have it.
fn check_http(options: &Options) -> Vec<Line> {
    let Some(address) = options.http else {
        return Vec::new();
    };
    vec![match options.check_http() {
        Ok(()) => ok("metrics", format!("http://{address}/metrics")),
        Err(error) => fail("metrics", error),
    }]
}

/// Opens the file as a starting server does; no line without -log-file.
fn check_log_file(options: &Options) -> Vec<Line> {
    let Some(path) = &options.log_file else {
        return Vec::new();
    };
    vec![match logging::open(path) {
        Ok(_) => ok("log file", path.display()),
        Err(error) => fail("log file", error),
    }]
}

#[cfg(test)]
mod tests {
    use super::super::line::Verdict;
    use super::*;
    use crate::scand::options::{Request, parse};
    use std::ffi::OsString;
    use std::os::unix::fs::PermissionsExt;

    fn options(line: &[&str]) -> Options {
        match parse(line.iter().map(OsString::from).collect()) {
            Ok(Request::Run(options)) => *options,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_secret_that_everybody_can_read_gives_a_warning() {
        assert_eq!(check_secrets(&options(&[])), []);
        let file = tempfile::NamedTempFile::new().unwrap();
        let path = file.path().to_str().unwrap();
        let line = ["-redis-user", "scan", "-redis-password-file", path];
        assert_eq!(check_secrets(&options(&line)), []);
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o644)).unwrap();
        let lines = check_secrets(&options(&line));
        assert_eq!(lines[0].verdict, Verdict::Warn);
        assert!(
            lines[0].text.starts_with("-redis-password-file "),
            "{lines:?}"
        );
    }

    #[test]
    fn metrics_for_other_machines_need_a_token() {
        assert_eq!(check_http(&options(&[])), []);
        let verdict = |address| check_http(&options(&["-http", address]))[0].verdict;
        assert_eq!(verdict("127.0.0.1:9101"), Verdict::Ok);
        assert_eq!(verdict("0.0.0.0:9101"), Verdict::Fail);
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
