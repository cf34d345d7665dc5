//! `scand -check`: checks everything that a scan needs and prints one line each: verdict, name, result, and the remedy.
//!
//! **Invariants:** it scans nothing and claims no task. It ends shortly after [`CHECK_WAIT`] even if nothing answers: a check that takes longer
//! has failed. All checks run at the same time, each on a thread of its own.

use crate::claim_table::{ClaimTable, REDIS_NEEDED};
use crate::exit::Exit;
use crate::kafka::{self, Reader};
use crate::masscan::{self, MasscanInfo, Network, NetworkError, NetworkOf, Rights};
use crate::model::TopicName;
use crate::model::backoff::CLIENT_WAIT;
use crate::scand::logging;
use crate::scand::options::Options;
use crossbeam_channel::bounded;
use std::fmt;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;
use std::time::Instant;

/// How long `scand -check` may take.
const CHECK_WAIT: Duration = Duration::from_secs(9);

/// The verdict of one check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Ok,
    /// Scans run, but may lose something.
    Warn,
    /// No scan can run.
    Fail,
}

/// One line of output.
#[derive(Debug, PartialEq, Eq)]
struct Line {
    verdict: Verdict,
    name: &'static str,
    text: String,
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verdict = match self.verdict {
            Verdict::Ok => "ok",
            Verdict::Warn => "warn",
            Verdict::Fail => "FAIL",
        };
        write!(f, "{verdict:<5} {:<10} {}", self.name, self.text)
    }
}

fn ok(name: &'static str, text: impl fmt::Display) -> Line {
    line(Verdict::Ok, name, text)
}

fn warn(name: &'static str, text: impl fmt::Display) -> Line {
    line(Verdict::Warn, name, text)
}

fn fail(name: &'static str, text: impl fmt::Display) -> Line {
    line(Verdict::Fail, name, text)
}

fn line(verdict: Verdict, name: &'static str, text: impl fmt::Display) -> Line {
    let text = text.to_string();
    Line {
        verdict,
        name,
        text,
    }
}

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

fn line_of_shards(about: &MasscanInfo) -> Line {
    match about.unfit_for_shards() {
        None => ok("shards", "masscan sends in the order that they count on"),
        Some(why) => warn(
            "shards",
            format!("the shards of jobs are left to other servers: {why}"),
        ),
    }
}

fn check_rights(options: &Options) -> Vec<Line> {
    let Ok(path) = masscan::find(&options.masscan) else {
        return Vec::new();
    };
    vec![line_of_rights(masscan::rights(&path), &path)]
}

fn line_of_rights(rights: Rights, path: &Path) -> Line {
    match rights {
        Rights::Root => ok("rights", "root, with raw sockets"),
        Rights::Ambient => ok("rights", "CAP_NET_RAW, handed on to masscan"),
        Rights::File => ok("rights", "masscan's file may open raw sockets"),
        Rights::Missing => fail(
            "rights",
            format!(
                "masscan may not open raw sockets: run scand as root, or setcap cap_net_raw+ep \"$(readlink -f {})\"",
                path.display()
            ),
        ),
        Rights::Bounded => fail(
            "rights",
            "CAP_NET_RAW was removed from all processes here: start the container with --cap-add NET_RAW",
        ),
    }
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
        Ok(network) => lines_of_network(&network, options),
        Err(unseen) => vec![line_of_unseen(&unseen)],
    };
    if script.is_some() {
        lines[0].text += " (where the script runs masscan)";
    }
    lines
}

fn line_of_unseen(unseen: &NetworkError) -> Line {
    match unseen {
        NetworkError::NoRoute => fail(
            "interface",
            "no default route via a router, from which masscan would take its interface: ip route add default via ROUTER, or give -interface",
        ),
        NetworkError::NoInterface(_) => fail(
            "interface",
            format!("{unseen}: ip link lists the interfaces"),
        ),
        NetworkError::Elsewhere(_) | NetworkError::Unreadable(_) => warn("interface", unseen),
    }
}

fn lines_of_network(network: &Network, options: &Options) -> Vec<Line> {
    let name = &network.interface;
    let from = match options.source.interface {
        Some(_) => "from -interface",
        None => "from the default route",
    };
    let route = match (network.gateway, options.source.router_mac) {
        (_, Some(mac)) => ok("route", format!("via {mac} (-router-mac)")),
        (Some(gateway), None) => ok("route", format!("via {gateway} on {name}")),
        (None, None) => fail(
            "route",
            format!(
                "no default route on {name}: ip route add default via ROUTER dev {name}, or give the router with -router-mac"
            ),
        ),
    };
    let offloads = match &network.traps {
        Some(on) if on.is_empty() => ok("offloads", "off (those that make masscan lose answers)"),
        Some(on) => {
            let on: Vec<&str> = on.iter().map(String::as_str).collect();
            warn(
                "offloads",
                format!(
                    "{} on: masscan loses answers without any indication: {}",
                    on.join(", "),
                    network.remedy()
                ),
            )
        }
        None => warn(
            "offloads",
            format!(
                "the kernel does not report them; if ethtool -k {name} shows gro, gso or tso: {}",
                network.remedy()
            ),
        ),
    };
    let mtu = match (network.mtu_trap(), network.mtu) {
        (Some(trap), _) => warn("mtu", trap),
        (None, Some(mtu)) => ok("mtu", mtu),
        (None, None) => warn(
            "mtu",
            format!("the kernel does not report it: ip link show {name}"),
        ),
    };
    let interface = ok("interface", format!("{name}, {from}"));
    vec![interface, route, offloads, mtu]
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

fn lines_of_redis(at: &str, version: &str, evicting: Option<String>) -> Vec<Line> {
    let mut numbers = version.split('.').map_while(|n| n.parse::<u32>().ok());
    let found = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    let (major, minor) = REDIS_NEEDED;
    let version = match found >= REDIS_NEEDED {
        true => ok("redis", format!("{version} at {at}")),
        false => fail(
            "redis",
            format!("{version} at {at}: {major}.{minor} or newer is needed"),
        ),
    };
    let policy = match evicting {
        None => ok("eviction", "Redis keeps everything (noeviction)"),
        Some(policy) => warn(
            "eviction",
            format!(
                "Redis may evict tasks when its memory is full ({policy}): CONFIG SET maxmemory-policy noeviction"
            ),
        ),
    };
    vec![version, policy]
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
    use std::collections::BTreeSet;
    use std::ffi::OsString;

    fn options(line: &[&str]) -> Options {
        match parse(line.iter().map(OsString::from).collect()) {
            Ok(Request::Run(options)) => *options,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_line_consists_of_verdict_name_and_text() {
        assert_eq!(ok("redis", "7.0").to_string(), "ok    redis      7.0");
        assert_eq!(fail("exclusions", "x").to_string(), "FAIL  exclusions x");
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

    #[test]
    fn what_is_wrong_has_a_remedy() {
        let path = Path::new("/usr/bin/masscan");
        let redis =
            |version, policy: Option<&str>| lines_of_redis("r", version, policy.map(str::to_owned));
        for (line, verdict, named) in [
            (
                line_of_rights(Rights::Missing, path),
                Verdict::Fail,
                "setcap cap_net_raw+ep \"$(readlink -f /usr/bin/masscan)\"",
            ),
            (
                line_of_rights(Rights::Bounded, path),
                Verdict::Fail,
                "--cap-add NET_RAW",
            ),
            (line_of_rights(Rights::Root, path), Verdict::Ok, "root"),
            (
                line_of_unseen(&NetworkError::NoRoute),
                Verdict::Fail,
                "ip route add default",
            ),
            (
                line_of_unseen(&NetworkError::Elsewhere("x".into())),
                Verdict::Warn,
                "cannot be examined",
            ),
            (
                redis("6.0.16", None).remove(0),
                Verdict::Fail,
                "6.2 or newer",
            ),
            (redis("6.2.0", None).remove(0), Verdict::Ok, "6.2.0 at r"),
            (redis("10.1", None).remove(0), Verdict::Ok, "10.1"),
            (
                redis("7.0.15", Some("allkeys-lru")).remove(1),
                Verdict::Warn,
                "maxmemory-policy noeviction",
            ),
        ] {
            assert_eq!(line.verdict, verdict, "{line}");
            assert!(line.text.contains(named), "{line}");
        }
    }

    #[test]
    fn a_network_is_interface_route_offloads_and_mtu() {
        let lines = |gateway: Option<&str>, traps: Option<&[&str]>, mtu, words: &[&str]| {
            let network = Network {
                mtu,
                interface: "eth0".parse().unwrap(),
                gateway: gateway.map(|gateway| gateway.parse().unwrap()),
                traps: traps.map(|on| {
                    on.iter()
                        .map(|&trap| trap.to_owned())
                        .collect::<BTreeSet<_>>()
                }),
            };
            let lines = lines_of_network(&network, &options(words));
            lines
                .iter()
                .map(Line::to_string)
                .collect::<Vec<_>>()
                .join("\n")
        };
        assert_eq!(
            lines(Some("192.0.2.1"), Some(&[]), Some(1500), &[]),
            "ok    interface  eth0, from the default route\n\
             ok    route      via 192.0.2.1 on eth0\n\
             ok    offloads   off (those that make masscan lose answers)\n\
             ok    mtu        1500"
        );
        let text = lines(
            None,
            Some(&["rx-gro", "tx-tcp-segmentation"]),
            Some(9001),
            &["-interface", "eth0"],
        );
        assert!(
            text.contains("warn  mtu        9001: masscan loses answers without any indication: ip link set dev eth0 mtu 1500"),
            "{text}"
        );
        assert!(
            text.contains("FAIL  route      no default route on eth0"),
            "{text}"
        );
        assert!(
            text.contains("warn  offloads   rx-gro, tx-tcp-segmentation on: masscan loses answers without any indication: ethtool -K eth0 gro off"),
            "{text}"
        );
        let text = lines(None, None, None, &["-router-mac", "00:11:22:33:44:55"]);
        assert!(
            text.contains("ok    route      via 00-11-22-33-44-55 (-router-mac)"),
            "{text}"
        );
        assert!(
            text.contains("warn  offloads   the kernel does not report them"),
            "{text}"
        );
    }
}
