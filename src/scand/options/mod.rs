//! scand's options: the command line, parsed and validated. No other file reads the command line, and nothing here opens a connection or a
//! file.

mod flags;

pub use self::flags::{FLAGS, help};

use self::flags::{
    ALLOW, ALLOW_FILE, BUFFER, CHECK, DEBUG, EXCLUDE, EXCLUDE_FILE, INTERFACE, LEASE, LOG_FILE,
    MASSCAN, MAX_RATE, NAME, ROUTER_MAC, SLOTS, SOURCE_IP, SOURCE_PORT, STATUS_TOPIC,
};
use crate::claim_table::RedisUrl;
use crate::flags::shared::{GROUP, KAFKA, REDIS, RESULTS_TOPIC, TOPIC};
use crate::flags::{self as command_line, Asked, Flag, Reader, values};
use crate::kafka::Brokers;
use crate::model::source::Source;
use crate::model::task::BandWidth;
use crate::model::{GroupName, Invalid, ServerName, TopicName};
use crate::scand::claims::scope::ScopeOptions;
use std::ffi::OsString;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

/// Shortest lease.
const LEASE_MIN: Duration = Duration::from_secs(2);
/// Longest lease.
const LEASE_MAX: Duration = Duration::from_secs(600);
/// Maximum number of slots.
const SLOTS_MAX: usize = 64;
/// Largest findings buffer, in MiB; the default is 64.
const RESULTS_BUFFER_MAX_MIB: u32 = 64 * 1024;

/// Letters and digits after the host name in a server's name: the names of two servers of one host are equal once in 1.7 million.
const SUFFIX_CHARS: usize = 4;

/// What a command line asks for.
#[derive(Debug)]
pub enum Request {
    /// Print this text.
    Show(String),
    /// Run with these settings.
    Run(Box<Options>),
}

/// The validated settings of a server.
#[derive(Clone, Debug)]
pub struct Options {
    /// Servers with the same group share tasks.
    pub group: GroupName,
    /// The brokers to connect to first.
    pub kafka: Brokers,
    /// Redis, with its password.
    pub redis: RedisUrl,
    /// Topic of tasks.
    pub topic: TopicName,
    /// Topic of findings.
    pub results_topic: TopicName,
    /// Topic of state changes.
    pub status_topic: TopicName,
    /// This server's name.
    pub name: ServerName,
    /// Scans that may send at the same time.
    pub slots: usize,
    /// Packets per second of all scans together; none: no limit.
    pub max_rate: Option<BandWidth>,
    /// The masscan program.
    pub masscan: PathBuf,
    /// How long a claim lasts without renewal.
    pub lease: Duration,
    /// Bytes of findings that may wait for Kafka.
    pub buffer_bytes: usize,
    /// What it may scan; the files are not read yet.
    pub scope: ScopeOptions,
    /// Where masscan sends from.
    pub source: Source,
    /// A file for the log besides stderr.
    pub log_file: Option<PathBuf>,
    /// Only check what a scan needs.
    pub check: bool,
    /// Whether debug lines are logged.
    pub debug: bool,
}

/// Parses `args` (without the program's name). Errs with one line that names the flag and its value.
pub fn parse(args: Vec<OsString>) -> Result<Request, Invalid> {
    match command_line::read(args, FLAGS, |name| std::env::var_os(name))? {
        Asked::Help => Ok(Request::Show(help())),
        Asked::Version => Ok(Request::Show(format!(
            "scand {}\n",
            env!("CARGO_PKG_VERSION")
        ))),
        Asked::Run(reader) => Ok(Request::Run(Box::new(resolve(reader)?))),
    }
}

fn resolve(mut reader: Reader) -> Result<Options, Invalid> {
    let path = |text: &str| Ok(PathBuf::from(text));
    let lease_s = values::seconds(LEASE_MIN.as_secs() as u32, LEASE_MAX.as_secs() as u32);
    let slots = values::number(1, SLOTS_MAX as u32);
    let options = Options {
        group: reader.value(&GROUP, str::parse)?,
        kafka: reader.value(&KAFKA, str::parse)?,
        redis: reader.value(&REDIS, str::parse)?,
        topic: reader.value(&TOPIC, str::parse)?,
        results_topic: reader.value(&RESULTS_TOPIC, str::parse)?,
        status_topic: reader.value(&STATUS_TOPIC, str::parse)?,
        name: reader
            .optional(&NAME, str::parse)?
            .unwrap_or_else(default_name),
        slots: reader.value(&SLOTS, slots)? as usize,
        max_rate: reader.optional(&MAX_RATE, str::parse)?,
        masscan: reader.value(&MASSCAN, path)?,
        lease: Duration::from_secs(reader.value(&LEASE, lease_s)?.into()),
        buffer_bytes: reader.value(&BUFFER, values::number(1, RESULTS_BUFFER_MAX_MIB))? as usize
            * 1024
            * 1024,
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
        log_file: reader.optional(&LOG_FILE, path)?,
        check: reader.switch(&CHECK),
        debug: reader.switch(&DEBUG),
    };
    reader.finish()?;
    check_topics_differ(&options)?;
    Ok(options)
}

/// If a topic contained two kinds of records, one kind would be read as rejected tasks for ever.
fn check_topics_differ(options: &Options) -> Result<(), Invalid> {
    let topics = [
        (TOPIC, &options.topic),
        (RESULTS_TOPIC, &options.results_topic),
        (STATUS_TOPIC, &options.status_topic),
    ];
    for (i, (flag, topic)) in topics.iter().enumerate() {
        let Some((other, _)) = topics[..i].iter().find(|(_, earlier)| earlier == topic) else {
            continue;
        };
        let same = format!(
            "is the topic of {} too: each kind of record needs its own",
            other.shown()
        );
        return Err(Invalid::new(topic.as_str(), same).of(flag.shown()));
    }
    Ok(())
}

/// The host's name, so that a reader of logs knows the machine, and random characters, so that servers on one host differ.
fn default_name() -> ServerName {
    const ALPHABET: [char; 36] = [
        'a', 'b', 'c', 'd', 'e', 'f', 'g', 'h', 'i', 'j', 'k', 'l', 'm', 'n', 'o', 'p', 'q', 'r',
        's', 't', 'u', 'v', 'w', 'x', 'y', 'z', '0', '1', '2', '3', '4', '5', '6', '7', '8', '9',
    ];
    let system = rustix::system::uname();
    let suffix = nanoid::nanoid!(SUFFIX_CHARS, &ALPHABET);
    ServerName::of_host(&system.nodename().to_string_lossy(), &suffix)
}

impl fmt::Display for Options {
    /// The settings in one line for the log, as flags, without the password of Redis.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "-group {} -name {} -kafka {} -redis {} -topic {} -results-topic {} -status-topic {} -slots {}",
            self.group,
            self.name,
            self.kafka,
            self.redis,
            self.topic,
            self.results_topic,
            self.status_topic,
            self.slots
        )?;
        if let Some(rate) = self.max_rate {
            write!(f, " -max-rate {}", rate.pps())?;
        }
        write!(
            f,
            " -masscan {} -lease {}",
            self.masscan.display(),
            self.lease.as_secs()
        )?;
        let mut set = |flag: Flag, value: Option<&dyn fmt::Display>| match value {
            Some(value) => write!(f, " {} {value}", flag.shown()),
            None => Ok(()),
        };
        let scope = &self.scope;
        let files = [&scope.exclude_file, &scope.allow_file]
            .map(|file| file.as_ref().map(|file| file.display()));
        set(EXCLUDE, scope.exclude.as_ref().map(|v| v as _))?;
        set(EXCLUDE_FILE, files[0].as_ref().map(|v| v as _))?;
        set(ALLOW, scope.allow.as_ref().map(|v| v as _))?;
        set(ALLOW_FILE, files[1].as_ref().map(|v| v as _))?;
        let source = &self.source;
        set(INTERFACE, source.interface.as_ref().map(|v| v as _))?;
        set(SOURCE_IP, source.addresses.as_ref().map(|v| v as _))?;
        set(SOURCE_PORT, source.ports.as_ref().map(|v| v as _))?;
        set(ROUTER_MAC, source.router_mac.as_ref().map(|v| v as _))?;
        if let Some(file) = &self.log_file {
            write!(f, " -log-file {}", file.display())?;
        }
        f.write_str(if self.debug { " -v" } else { "" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(line: &[&str]) -> Result<Request, Invalid> {
        parse(line.iter().map(OsString::from).collect())
    }

    fn options(line: &[&str]) -> Options {
        match request(line) {
            Ok(Request::Run(options)) => *options,
            other => panic!("{line:?}: {other:?}"),
        }
    }

    #[test]
    fn the_defaults_are_those_of_the_documents() {
        let options = options(&[]);
        assert_eq!(options.group.as_str(), "scanners");
        assert_eq!(options.kafka.to_string(), "localhost:9092");
        assert_eq!(options.redis.to_string(), "redis://localhost:6379");
        assert_eq!(options.topic.as_str(), "scan-tasks");
        assert_eq!(options.results_topic.as_str(), "scan-results");
        assert_eq!(options.status_topic.as_str(), "scan-status");
        assert_eq!(options.slots, 2);
        assert_eq!(options.lease, Duration::from_secs(15));
        assert_eq!(options.masscan, PathBuf::from("masscan"));
        assert!(SLOTS.help().contains(&format!("1 to {SLOTS_MAX}")));
        assert!(LEASE.help().contains(&format!(
            "{} to {} s",
            LEASE_MIN.as_secs(),
            LEASE_MAX.as_secs()
        )));
        assert_eq!(
            (options.max_rate, options.log_file, options.debug),
            (None, None, false)
        );
    }

    #[test]
    fn two_servers_of_one_host_have_two_names() {
        let (one, other) = (options(&[]).name, options(&[]).name);
        assert_ne!(one, other);
        assert_eq!(one.as_str().parse::<ServerName>().as_ref(), Ok(&one));
    }

    #[test]
    fn the_summary_says_everything_but_the_password_and_can_be_given_again() {
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
             -slots 64 -max-rate 50000 -masscan /opt/masscan -lease 60 \
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
            (&["-redis", "rediss://x"], "-redis: rediss:// (TLS)"),
            (&["-topic", ".."], "-topic: \"..\""),
            (&["-results-topic", "a/b"], "-results-topic: \"a/b\""),
            (
                &["-status-topic", "scan-tasks"],
                "-status-topic: \"scan-tasks\" is the topic of -topic too",
            ),
            (
                &["-topic", "x", "-results-topic", "x"],
                "-results-topic: \"x\" is the topic of -topic too",
            ),
            (&["-name", "é"], "-name: \"é\" is not a server name"),
            (
                &["-slots", "0"],
                "-slots: \"0\" is not a number from 1 to 64",
            ),
            (&["-slots", "65"], "-slots: \"65\""),
            (&["-max-rate", "0"], "-max-rate: \"0\" is not a rate"),
            (
                &["-lease", "1"],
                "-lease: \"1\" is not a time from 2 to 600",
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
            let error = request(line).unwrap_err().to_string();
            assert!(error.contains(named), "{line:?}: {error}");
            assert!(!error.contains('\n'), "{error}");
        }
    }

    #[test]
    fn help_fits_80_columns_and_has_every_flag() {
        let Ok(Request::Show(text)) = request(&["-help"]) else {
            panic!("-help shows no text");
        };
        for flag in FLAGS {
            assert!(
                text.contains(&format!("\n  {}", flag.usage())),
                "{}",
                flag.shown()
            );
        }
        assert!(
            text.lines().all(|line| line.chars().count() <= 80),
            "{text}"
        );
        assert!(
            matches!(request(&["-version"]), Ok(Request::Show(text)) if text.starts_with("scand "))
        );
    }
}
