//! scand's validated settings. Pure.

use super::flags::{
    ALLOW, ALLOW_FILE, BUFFER, CHECK, DEBUG, EXCLUDE, EXCLUDE_FILE, HTTP, INTERFACE, LEASE,
    LOG_FILE, MASSCAN, MASSCAN_USER, MAX_ATTEMPTS, MAX_PRIORITY, MAX_RATE, MAX_TASK_TIME, MAX_WAIT,
    NAME, ROUTER_MAC, SLOTS, SOURCE_IP, SOURCE_PORT,
};
use crate::connection::Connection;
use crate::flags::shared::{
    GROUP, KAFKA, METRICS_TOKEN_FILE, REDIS, RESULTS_TOPIC, STATUS_TOPIC, TOPIC,
};
use crate::flags::{Reader, values};
use crate::masscan::UserName;
use crate::model::source::Source;
use crate::model::task::{ATTEMPTS_MAX, BandWidth, WAIT_MAX_S};
use crate::model::task_bounds::TaskBounds;
use crate::model::{Invalid, ServerName, TopicName};
use crate::monitoring::Access;
use crate::scand::claims::scope::ScopeOptions;
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

/// The port that the documentation uses for metrics, for the error about an invalid address.
const USUAL_HTTP_PORT: u16 = 9101;

/// Shortest lease.
const LEASE_MIN: Duration = Duration::from_secs(2);
/// Longest lease.
const LEASE_MAX: Duration = Duration::from_secs(600);
/// Maximum number of slots.
const SLOTS_MAX: usize = 64;
/// Largest findings buffer, in MiB.
const RESULTS_BUFFER_MAX_MIB: u32 = 64 * 1024;

/// Longest `-max-task-time`.
const TASK_TIME_MAX: Duration = Duration::from_secs(365 * 24 * 3600);

/// The validated settings of a server.
#[derive(Clone, Debug)]
pub struct Options {
    /// Kafka, Redis, the topic of tasks, and the group: servers with the same group share tasks.
    pub connection: Connection,
    /// Topic of findings.
    pub results_topic: TopicName,
    /// Topic of state changes.
    pub status_topic: TopicName,
    /// This server's name, unique in the group.
    pub name: ServerName,
    /// Scans that may send at the same time.
    pub slots: usize,
    /// Maximum packets per second of all scans together.
    pub max_rate: BandWidth,
    /// How much a task may use.
    pub bounds: TaskBounds,
    /// The masscan program: a path, or a name to look up in `PATH`.
    pub masscan: PathBuf,
    /// As whom masscan runs; none means another user than root if possible.
    pub masscan_user: Option<UserName>,
    /// How long a claim lasts without renewal.
    pub lease: Duration,
    /// Bytes of findings that may wait for Kafka.
    pub buffer_bytes: usize,
    /// What the server may scan. The files are not read yet.
    pub scope: ScopeOptions,
    /// Where masscan sends from.
    pub source: Source,
    /// Where metrics and health are served; none means nowhere.
    pub http: Option<SocketAddr>,
    /// Who may read them.
    pub http_access: Access,
    /// A file to which the log is written besides stderr.
    pub log_file: Option<PathBuf>,
    /// Whether to check what a scan needs instead of running (`-check`).
    pub check: bool,
    /// Whether debug lines are logged.
    pub debug: bool,
}

impl Options {
    /// Errs if metrics would be served to other machines without a token, or the token cannot be read.
    pub fn check_http(&self) -> Result<(), Invalid> {
        let flag = METRICS_TOKEN_FILE.shown();
        match self.http {
            Some(address) => self
                .http_access
                .check_start(address, flag)
                .map_err(|error| error.of(HTTP.shown())),
            None => Ok(()),
        }
    }

    /// One warning for each secret file that every user of this machine can read.
    pub fn permission_warnings(&self) -> Vec<String> {
        let mut warnings = self.connection.permission_warnings();
        warnings.extend(self.http_access.permission_warning());
        warnings
    }
}

impl fmt::Display for Options {
    /// The settings as flags in one line, for the log; without the password of Redis.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (scope, source) = (&self.scope, &self.source);
        let flags = [
            (GROUP, Some(self.connection.group.to_string())),
            (NAME, Some(self.name.to_string())),
            (KAFKA, Some(self.connection.kafka.to_string())),
            (REDIS, Some(self.connection.redis.to_string())),
            (TOPIC, Some(self.connection.topic.to_string())),
            (RESULTS_TOPIC, Some(self.results_topic.to_string())),
            (STATUS_TOPIC, Some(self.status_topic.to_string())),
            (SLOTS, Some(self.slots.to_string())),
            (MAX_RATE, Some(self.max_rate.pps().to_string())),
            (MAX_TASK_TIME, Some(self.bounds.time.as_secs().to_string())),
            (MAX_WAIT, Some(self.bounds.wait_s.to_string())),
            (MAX_ATTEMPTS, Some(self.bounds.attempts.to_string())),
            (MAX_PRIORITY, Some(self.bounds.priority.get().to_string())),
            (MASSCAN, Some(self.masscan.display().to_string())),
            (MASSCAN_USER, text(&self.masscan_user)),
            (LEASE, Some(self.lease.as_secs().to_string())),
            (EXCLUDE, text(&scope.exclude)),
            (EXCLUDE_FILE, path(&scope.exclude_file)),
            (ALLOW, text(&scope.allow)),
            (ALLOW_FILE, path(&scope.allow_file)),
            (INTERFACE, text(&source.interface)),
            (SOURCE_IP, text(&source.addresses)),
            (SOURCE_PORT, text(&source.ports)),
            (ROUTER_MAC, text(&source.router_mac)),
            (HTTP, text(&self.http)),
            (LOG_FILE, path(&self.log_file)),
        ];
        let mut words: Vec<String> = flags
            .iter()
            .filter_map(|(flag, value)| Some(format!("{} {}", flag.shown(), value.as_ref()?)))
            .collect();
        words.extend(self.connection.kafka_security_flags());
        words.extend(self.connection.redis_security_flags());
        if self.debug {
            words.push(DEBUG.shown().to_owned());
        }
        f.write_str(&words.join(" "))
    }
}

/// Validates the values in `reader`. `default_name` makes the server's name if `-name` is not given.
pub(super) fn resolve(
    mut reader: Reader,
    default_name: impl FnOnce() -> ServerName,
) -> Result<Options, Invalid> {
    let path = |text: &str| Ok(PathBuf::from(text));
    let lease_s = values::seconds(LEASE_MIN.as_secs() as u32, LEASE_MAX.as_secs() as u32);
    let slots = values::number(1, SLOTS_MAX as u32);
    let buffer_mib = values::number(1, RESULTS_BUFFER_MAX_MIB);
    let options = Options {
        connection: Connection::read(&mut reader)?,
        results_topic: reader.value(&RESULTS_TOPIC, str::parse)?,
        status_topic: reader.value(&STATUS_TOPIC, str::parse)?,
        name: reader
            .optional(&NAME, str::parse)?
            .unwrap_or_else(default_name),
        slots: reader.value(&SLOTS, slots)? as usize,
        max_rate: reader.value(&MAX_RATE, str::parse)?,
        bounds: bounds(&mut reader)?,
        masscan: reader.value(&MASSCAN, path)?,
        masscan_user: reader.optional(&MASSCAN_USER, str::parse)?,
        lease: Duration::from_secs(reader.value(&LEASE, lease_s)?.into()),
        buffer_bytes: reader.value(&BUFFER, buffer_mib)? as usize * 1024 * 1024,
        scope: ScopeOptions {
            exclude: reader.optional(&EXCLUDE, str::parse)?,
            exclude_file: reader.optional(&EXCLUDE_FILE, path)?,
            allow: reader.optional(&ALLOW, str::parse)?,
            allow_file: reader.optional(&ALLOW_FILE, path)?,
        },
        source: Source {
            interface: reader.optional(&INTERFACE, str::parse)?,
            addresses: reader.optional(&SOURCE_IP, str::parse)?,
            ports: reader.optional(&SOURCE_PORT, str::parse)?,
            router_mac: reader.optional(&ROUTER_MAC, str::parse)?,
        },
        http: reader.optional(&HTTP, values::socket_address(USUAL_HTTP_PORT))?,
        http_access: Access::with(reader.password(&METRICS_TOKEN_FILE)?),
        log_file: reader.optional(&LOG_FILE, path)?,
        check: reader.switch(&CHECK),
        debug: reader.switch(&DEBUG),
    };
    reader.finish()?;
    topics_differ(&options)?;
    Ok(options)
}

/// Reads how much a task may use.
fn bounds(reader: &mut Reader) -> Result<TaskBounds, Invalid> {
    let time_s = values::seconds(1, TASK_TIME_MAX.as_secs() as u32);
    Ok(TaskBounds {
        time: Duration::from_secs(reader.value(&MAX_TASK_TIME, time_s)?.into()),
        wait_s: reader.value(&MAX_WAIT, values::seconds(0, WAIT_MAX_S))?,
        attempts: reader.value(&MAX_ATTEMPTS, values::number(1, ATTEMPTS_MAX))?,
        priority: reader.value(&MAX_PRIORITY, values::priority)?,
    })
}

/// Findings or status records on the topic of tasks would be ingested as invalid tasks, and each rejection writes another status record.
fn topics_differ(options: &Options) -> Result<(), Invalid> {
    let topics = [
        (TOPIC, &options.connection.topic),
        (RESULTS_TOPIC, &options.results_topic),
        (STATUS_TOPIC, &options.status_topic),
    ];
    for (i, (flag, topic)) in topics.iter().enumerate() {
        let Some((other, _)) = topics[..i].iter().find(|(_, earlier)| earlier == topic) else {
            continue;
        };
        let same = format!(
            "is also the topic of {}: each kind of record needs its own",
            other.shown()
        );
        return Err(Invalid::new(topic.as_str(), same).of(flag.shown()));
    }
    Ok(())
}

fn text(value: &Option<impl fmt::Display>) -> Option<String> {
    value.as_ref().map(ToString::to_string)
}

fn path(value: &Option<PathBuf>) -> Option<String> {
    value.as_ref().map(|path| path.display().to_string())
}

#[cfg(test)]
mod tests {
    use super::super::flags::FLAGS;
    use super::*;
    use crate::flags::read_line;

    fn resolved(line: &[&str]) -> Result<Options, Invalid> {
        read_line(line, FLAGS, |reader| {
            resolve(reader, || ServerName::of_host("host", "abcd"))
        })
    }

    fn options(line: &[&str]) -> Options {
        resolved(line).unwrap()
    }

    #[test]
    fn the_defaults_are_the_documented_ones() {
        let options = options(&[]);
        assert_eq!(options.connection.group.as_str(), "scanners");
        assert_eq!(options.connection.kafka.to_string(), "localhost:9092");
        assert_eq!(
            options.connection.redis.to_string(),
            "redis://localhost:6379"
        );
        assert_eq!(options.connection.topic.as_str(), "scan-tasks");
        assert_eq!(options.results_topic.as_str(), "scan-results");
        assert_eq!(options.status_topic.as_str(), "scan-status");
        assert_eq!(options.name.as_str(), "host-abcd");
        assert_eq!(options.slots, 2);
        assert_eq!(options.buffer_bytes, 64 << 20);
        assert_eq!(options.lease, Duration::from_secs(15));
        assert_eq!(options.masscan, PathBuf::from("masscan"));
        assert!(SLOTS.help().contains(&format!("1 to {SLOTS_MAX}")));
        assert!(LEASE.help().contains(&format!(
            "{} to {} s",
            LEASE_MIN.as_secs(),
            LEASE_MAX.as_secs()
        )));
        assert_eq!((options.log_file, options.debug), (None, false));
        assert_eq!(options.max_rate.pps(), 10_000);
        let bounds = TaskBounds {
            time: Duration::from_secs(7 * 24 * 3600),
            wait_s: 60,
            attempts: 10,
            priority: 9_u64.try_into().unwrap(),
        };
        assert_eq!(options.bounds, bounds);
    }

    #[test]
    fn the_line_for_the_log_has_no_password_and_is_a_valid_command_line() {
        let line = [
            "-group=g",
            "-name=n",
            "-kafka=k1:9092,k2:9093",
            "-redis=redis://:secret@r:7000/2",
            "-topic=a",
            "-results-topic=b",
            "-status-topic=c",
            "-slots=64",
            "-max-rate=50k",
            "-max-task-time=12h",
            "-max-wait=10m",
            "-max-attempts=100",
            "-max-priority=4",
            "-masscan=/opt/masscan",
            "-lease=1m",
            "-exclude=10.0.0.0/8,192.0.2.7",
            "-excludefile=/etc/e",
            "-allow=0.0.0.0/0",
            "-allowfile=/etc/a",
            "-interface=eth0",
            "-source-ip=192.0.2.8-192.0.2.15",
            "-source-port=40000-40255",
            "-router-mac=00:11:22:33:44:55",
            "-log-file=/tmp/l",
            "-v",
        ];
        assert_eq!(
            options(&line).to_string(),
            "-group g -name n -kafka k1:9092,k2:9093 -redis redis://r:7000/2 -topic a -results-topic b -status-topic c \
             -slots 64 -max-rate 50000 -max-task-time 43200 -max-wait 600 -max-attempts 100 -max-priority 4 -masscan /opt/masscan -lease 60 \
             -exclude 10.0.0.0/8,192.0.2.7 -excludefile /etc/e -allow 0.0.0.0/0 -allowfile /etc/a \
             -interface eth0 -source-ip 192.0.2.8/29 -source-port 40000-40255 -router-mac 00-11-22-33-44-55 -log-file /tmp/l -v"
        );
        let summary = options(&["-group=g", "-name=n"]).to_string();
        let again: Vec<&str> = summary.split(' ').collect();
        assert_eq!(options(&again).to_string(), summary);
    }

    #[test]
    fn a_bad_value_is_named_with_its_flag() {
        for (line, named) in [
            (
                &["-group", "a b"][..],
                "-group: \"a b\" is not a group name",
            ),
            (&["-group", "{a}"], "-group: \"{a}\""),
            (&["-kafka", "k1:x"], "-kafka: \"k1:x\""),
            (&["-kafka", "k1,"], "-kafka: \"\" is not HOST:PORT"),
            (&["-redis", "localhost:6379"], "-redis: "),
            (&["-redis", "http://x"], "-redis: the value is not a URL"),
            (&["-topic", ".."], "-topic: \"..\""),
            (&["-results-topic", "a/b"], "-results-topic: \"a/b\""),
            (
                &["-status-topic", "scan-tasks"],
                "-status-topic: \"scan-tasks\" is also the topic of -topic",
            ),
            (
                &["-topic", "x", "-results-topic", "x"],
                "-results-topic: \"x\" is also the topic of -topic",
            ),
            (&["-name", "é"], "-name: \"é\" is not a server name"),
            (
                &["-slots", "0"],
                "-slots: \"0\" is not a number from 1 to 64",
            ),
            (&["-slots", "65"], "-slots: \"65\""),
            (&["-max-rate", "0"], "-max-rate: \"0\" is not a rate"),
            (
                &["-max-task-time", "0"],
                "-max-task-time: \"0\" is not a duration from 1 to 31536000 seconds",
            ),
            (
                &["-max-wait", "601"],
                "-max-wait: \"601\" is not a duration from 0 to 600",
            ),
            (
                &["-max-attempts", "0"],
                "-max-attempts: \"0\" is not a number from 1 to 100",
            ),
            (
                &["-max-priority", "10"],
                "-max-priority: \"10\" is not a number from 0 to 9",
            ),
            (
                &["-lease", "1"],
                "-lease: \"1\" is not a duration from 2 to 600",
            ),
            (&["-lease", "601"], "-lease: \"601\""),
            (
                &["-exclude", "10.0.0.0/33"],
                "-exclude: \"10.0.0.0/33\" is not",
            ),
            (
                &["-interface", "a/b"],
                "-interface: \"a/b\" is not the name",
            ),
            (
                &["-source-ip", "192.0.2.1-192.0.2.3"],
                "-source-ip: \"192.0.2.1-192.0.2.3\" has 3 addresses",
            ),
            (&["-source-port", "0"], "-source-port: \"0\" is not a port"),
            (&["-router-mac", "x"], "-router-mac: \"x\" is not"),
            (
                &["-leese", "15"],
                "\"-leese\" is an unknown flag: did you mean -lease?",
            ),
            (&["start"], "\"start\" is an unexpected argument"),
        ] {
            let error = resolved(line).unwrap_err().to_string();
            assert!(error.contains(named), "{line:?}: {error}");
            assert!(!error.contains('\n'), "{error}");
        }
    }
}
