//! `scanpush results` with real servers: third-party parsers read every format, `-follow` writes all findings, and possibly missing findings are
//! reported.

use crate::support::{Fleet, SOON, Scand, addresses, wait_for, wait_until};
use crate::{Needs, Test};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Output, Stdio};

pub const TESTS: &[Test] = &[
    (
        "results_are_readable_by_third_party_parsers",
        Needs::Parsers,
        parsers,
    ),
    ("results_follow_a_task_to_its_end", Needs::Lab, followed),
    (
        "interrupted_results_are_a_valid_document",
        Needs::KafkaAndRedis,
        interrupted,
    ),
    (
        "results_of_a_job_are_those_of_all_its_tasks",
        Needs::Lab,
        job,
    ),
    (
        "results_need_redis_only_for_jobs_and_abbreviated_ids",
        Needs::KafkaAndRedis,
        without_redis,
    ),
    (
        "results_diff_lists_opened_and_closed_ports",
        Needs::KafkaAndRedis,
        diff,
    ),
    (
        "results_into_a_closed_pipe_end_quietly",
        Needs::KafkaAndRedis,
        closed_pipe,
    ),
];

/// Reads CSV with Python's csv module and XML with python-libnmap, and prints both as JSON.
const PYTHON: &str = r#"
import csv, json, sys
from libnmap.parser import NmapParser
with open(sys.argv[1], newline="") as file:
    rows = list(csv.DictReader(file))
report = NmapParser.parse_fromfile(sys.argv[2])
ports = [[host.address, port, proto, host.get_service(port, proto).state]
         for host in report.hosts for (port, proto) in host.get_ports()]
print(json.dumps({"rows": rows, "ports": ports}))
"#;

/// The Python interpreter that has python-libnmap. Fails with the reason if a parser is missing.
pub fn find_parsers() -> Result<String, String> {
    for (program, words) in [("jq", &["--version"]), ("xmllint", &["--version"])] {
        run(program, words).map_err(|_| format!("{program} is not installed"))?;
    }
    ["/usr/bin/python3", "python3"]
        .into_iter()
        .find(|python| run(python, &["-c", "import libnmap.parser"]).is_ok())
        .map(str::to_owned)
        .ok_or_else(|| "no python3 has the module libnmap".to_owned())
}

/// Runs a program and returns its stdout. Fails if the program does not exist or fails.
fn run(program: &str, words: &[&str]) -> Result<String, String> {
    let output = Command::new(program)
        .args(words)
        .stdin(Stdio::null())
        .output()
        .map_err(|error| error.to_string())?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Runs `scanpush results` with this fleet's topic.
fn results(fleet: &Fleet, words: &[&str]) -> Output {
    let topic = fleet.topic("results");
    fleet.scanpush(&[&["results", "-results-topic", &topic], words].concat())
}

/// The stdout of `scanpush results`, which must succeed.
fn printed(fleet: &Fleet, words: &[&str]) -> String {
    let output = results(fleet, words);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{words:?}: {stderr}");
    String::from_utf8(output.stdout).unwrap()
}

/// Starts `scanpush results` and leaves it running.
fn started(fleet: &Fleet, words: &[&str]) -> Child {
    let topic = fleet.topic("results");
    fleet.start_scanpush(&[&["results", "-results-topic", &topic], words].concat())
}

fn finding(task: &str, ip: &str, port: u16) -> Value {
    json!({
        "task_id": task, "ip": ip, "port": port, "proto": "tcp", "status": "open", "reason": "syn-ack", "ttl": 64,
        "timestamp": 1_795_531_265, "server": "a", "attempt": 1,
    })
}

fn produce(fleet: &Fleet, records: &[Value]) {
    let lines: Vec<String> = records.iter().map(Value::to_string).collect();
    fleet.produce("results", &lines);
}

/// The (ip, port) of each line.
fn endpoints(ndjson: &str) -> BTreeSet<(String, u64)> {
    ndjson
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap())
        .map(|found| {
            (
                found["ip"].as_str().unwrap().to_owned(),
                found["port"].as_u64().unwrap(),
            )
        })
        .collect()
}

fn parsers() {
    let fleet = Fleet::new("parsers");
    let network = fleet.network(0);
    let _server = fleet.ready_scand("a", &[]);
    let id = fleet.push_network(&network, 2000, &[]);
    fleet.wait_ended(&id, SOON);
    // Duplicates of all findings, a closed port, an IPv6 address, another task's finding, and three records that are not findings: of a server whose
    // name is not one, with a status that is not a word, and no object at all.
    let mut more = fleet.records("results");
    let mut closed = finding(&id, "192.0.2.1", 81);
    closed["status"] = "closed".into();
    closed["reason"] = "rst-ack".into();
    let mut hostile = finding(&id, "192.0.2.2", 80);
    hostile["server"] = "</host>\",'\u{1b}[2J\n, x".into();
    let mut invalid = finding(&id, "192.0.2.3", 80);
    invalid["status"] = "</nmaprun>".into();
    more.extend([
        closed,
        hostile,
        invalid,
        finding(&id, "2001:db8::1", 443),
        finding("another", "192.0.2.4", 80),
        json!("not even an object"),
    ]);
    produce(&fleet, &more);
    let mut expected = addresses(&network, 443);
    expected
        .extend([("192.0.2.1", 81), ("2001:db8::1", 443)].map(|(ip, port)| (ip.to_owned(), port)));
    let count = expected.len();
    assert_eq!(count, 258);

    let output = results(&fleet, &[&id, "-json"]);
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(stderr.starts_with("scanpush: 3 records of "), "{stderr}");
    assert!(!stderr.trim_end().contains(char::is_control), "{stderr:?}");
    let ndjson = String::from_utf8(output.stdout).unwrap();
    assert_eq!(
        (ndjson.lines().count(), endpoints(&ndjson)),
        (count, expected.clone())
    );
    // An abbreviated id gives the same.
    assert_eq!(printed(&fleet, &[&id[..8], "-json"]), ndjson);

    let file = |format: &str| {
        let path = fleet.folder.join(format!("findings.{format}"));
        std::fs::write(&path, printed(&fleet, &[&id, "-format", format])).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let from_json = run(
        "jq",
        &["-c", ".[] | {ip, port: .ports[0].port}", &file("json")],
    )
    .unwrap();
    assert_eq!(
        (from_json.lines().count(), endpoints(&from_json)),
        (count, expected.clone())
    );
    assert_eq!(
        run("jq", &["-s", "length", &file("ndjson")])
            .unwrap()
            .trim(),
        count.to_string()
    );

    let (csv, xml) = (file("csv"), file("xml"));
    run("xmllint", &["--noout", &xml]).unwrap();
    let read = run(&find_parsers().unwrap(), &["-c", PYTHON, &csv, &xml]).unwrap();
    let read: Value = serde_json::from_str(&read).unwrap();
    let rows = read["rows"].as_array().unwrap();
    let from_csv: BTreeSet<(String, u64)> = rows
        .iter()
        .map(|row| {
            assert_eq!(row["task_id"], id.as_str(), "{row}");
            let text = |name: &str| row[name].as_str().unwrap();
            (text("ip").to_owned(), text("port").parse().unwrap())
        })
        .collect();
    assert_eq!((rows.len(), from_csv), (count, expected.clone()));
    let ports = read["ports"].as_array().unwrap();
    let from_xml: BTreeSet<(String, u64)> = ports
        .iter()
        .map(|port| {
            let state = if port[0] == "192.0.2.1" {
                "closed"
            } else {
                "open"
            };
            assert_eq!((&port[2], &port[3]), (&"tcp".into(), &state.into()));
            (
                port[0].as_str().unwrap().to_owned(),
                port[1].as_u64().unwrap(),
            )
        })
        .collect();
    assert_eq!((ports.len(), from_xml), (count, expected.clone()));

    let list = std::fs::read_to_string(file("list")).unwrap();
    let from_list: BTreeSet<(String, u64)> = list
        .lines()
        .filter(|line| !line.starts_with('#'))
        .map(|line| {
            let words: Vec<&str> = line.split(' ').collect();
            assert_eq!((words.len(), words[1]), (5, "tcp"));
            (words[3].to_owned(), words[2].parse().unwrap())
        })
        .collect();
    assert_eq!(from_list, expected);
    let grepable = std::fs::read_to_string(file("grepable")).unwrap();
    assert!(
        grepable.contains("# Ports scanned: TCP(1;443-443) UDP(0;)"),
        "{grepable}"
    );
    assert_eq!(
        grepable
            .lines()
            .filter(|line| line.contains("\tPorts: "))
            .count(),
        count
    );
    let table = printed(&fleet, &[&id]);
    assert_eq!(table.lines().count(), count + 1);
    assert!(
        table.lines().all(|line| line.chars().count() <= 80),
        "{table}"
    );
    assert!(!table.contains(|c: char| c.is_control() && c != '\n'));
}

fn followed() {
    let fleet = Fleet::new("followed");
    let network = fleet.network(0);
    let words = [
        "-ip",
        &network,
        "-ports",
        "443",
        "-bandwidth",
        "80",
        "-wait",
        "1",
    ];
    // Pushed before any server is running.
    let id = fleet.push(&words).remove(0);
    let mut reading = started(&fleet, &["-follow", "-json", &id]);
    let _server: Scand = fleet.ready_scand("a", &[]);
    let mut lines = BufReader::new(reading.stdout.take().unwrap()).lines();
    let first = lines.next().unwrap().unwrap();
    let task = fleet.task(&id).unwrap();
    assert!(
        task.finished_ms.is_none(),
        "findings arrive while the task runs"
    );
    let rest: Vec<String> = lines.map(Result::unwrap).collect();
    let all = [first].into_iter().chain(rest).collect::<Vec<_>>();
    assert_eq!(reading.wait().unwrap().code(), Some(0));
    assert_eq!(all.len(), 256, "each finding once");
    assert_eq!(endpoints(&all.join("\n")), addresses(&network, 443));
    assert!(fleet.task(&id).unwrap().finished_ms.is_some());
    // The task has ended, so this does not wait.
    assert_eq!(
        printed(&fleet, &["-follow", "-json", &id]).lines().count(),
        256
    );
}

fn interrupted() {
    let fleet = Fleet::new("results-ctrl-c");
    let id = fleet.push_network("192.0.2.0/24", 80, &[]);
    produce(
        &fleet,
        &[finding(&id, "192.0.2.1", 80), finding(&id, "192.0.2.2", 80)],
    );
    let mut reading = started(&fleet, &["-follow", "-format", "json", &id]);
    let mut out = BufReader::new(reading.stdout.take().unwrap());
    let mut text = String::new();
    while !text.contains("192.0.2.2") {
        assert!(out.read_line(&mut text).unwrap() > 0, "{text}");
    }
    let pid = rustix::process::Pid::from_child(&reading);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    let status = wait_for("scanpush to end", SOON, || reading.try_wait().unwrap());
    out.read_to_string(&mut text).unwrap();
    assert_eq!(status.code(), Some(130));
    let array: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(array.as_array().unwrap().len(), 2, "{text}");
    let mut stderr = String::new();
    reading
        .stderr
        .take()
        .unwrap()
        .read_to_string(&mut stderr)
        .unwrap();
    assert!(
        stderr.contains("stopped reading; the scan continues"),
        "{stderr}"
    );
}

fn job() {
    let fleet = Fleet::new("results-job");
    let network = fleet.network(0);
    let shards: Vec<String> = (1..=3)
        .map(|n| {
            json!({
                "task_id": format!("shard-{n}"), "ip_range": network, "ports": "443", "band_width": "500", "wait_s": 1,
                "seed": 7, "shard": format!("{n}/3"), "job_id": "whole-job",
            })
            .to_string()
        })
        .collect();
    // The job grows while it is followed.
    fleet.push_raw(&shards[..1]);
    let _server = fleet.ready_scand("a", &[]);
    wait_until("the first shard to be ingested", SOON, || {
        fleet.task("shard-1").is_some()
    });
    let mut reading = started(&fleet, &["-follow", "-json", "-job", "whole-job"]);
    fleet.push_raw(&shards[1..]);
    let mut text = String::new();
    reading
        .stdout
        .take()
        .unwrap()
        .read_to_string(&mut text)
        .unwrap();
    assert_eq!(reading.wait().unwrap().code(), Some(0));
    assert_eq!(text.lines().count(), 256);
    assert_eq!(endpoints(&text), addresses(&network, 443));
    // An abbreviated job id works too.
    let again = printed(&fleet, &["-json", "-job", "whole"]);
    assert_eq!(endpoints(&again), addresses(&network, 443));
    let unknown = results(&fleet, &["-job", "nobody"]);
    assert_eq!(unknown.status.code(), Some(1));
}

fn without_redis() {
    let mut fleet = Fleet::new("results-no-redis");
    produce(&fleet, &[finding("some-task", "192.0.2.1", 80)]);
    let unknown = results(&fleet, &["some-task", "nobody"]);
    assert_eq!(unknown.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&unknown.stdout).contains("192.0.2.1"));
    let stderr = String::from_utf8(unknown.stderr).unwrap();
    assert!(
        stderr.contains("\"nobody\" is not a task of group"),
        "{stderr}"
    );
    assert!(stderr.contains("it has no findings"), "{stderr}");
    // A task that Redis no longer has still has findings in Kafka.
    assert!(printed(&fleet, &["some-task"]).contains("192.0.2.1"));

    fleet.redis = "redis://localhost:1".to_owned();
    assert!(printed(&fleet, &["some-task"]).contains("192.0.2.1"));
    for (words, message) in [
        (&["some"][..], "only Redis knows"),
        (&["-job", "some"], "-job needs Redis"),
        (&["-follow", "some-task"], "-follow needs Redis"),
    ] {
        let output = results(&fleet, words);
        let text = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{words:?}");
        assert!(
            text.contains(message) && text.lines().count() == 1,
            "{text}"
        );
    }
    fleet.kafka = "localhost:1".to_owned();
    let output = results(&fleet, &["some-task", "-format", "json"]);
    assert_eq!((output.status.code(), output.stdout.len()), (Some(1), 0));
}

fn diff() {
    let fleet = Fleet::new("results-diff");
    let mut closed = finding("after", "192.0.2.3", 80);
    closed["status"] = "closed".into();
    produce(
        &fleet,
        &[
            finding("before", "192.0.2.1", 80),
            finding("before", "192.0.2.3", 80),
            finding("before", "192.0.2.20", 80),
            finding("after", "192.0.2.1", 80),
            finding("after", "192.0.2.1", 80),
            closed,
            finding("after", "192.0.2.20", 80),
            finding("after", "192.0.2.20", 443),
            finding("another", "192.0.2.99", 80),
        ],
    );
    assert_eq!(
        printed(&fleet, &["-diff", "before", "after"]),
        "- 192.0.2.3 80/tcp\n+ 192.0.2.20 443/tcp\n"
    );
    let json = printed(&fleet, &["-diff", "after", "before", "-format", "json"]);
    let array: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(
        array,
        json!([
            {"change": "opened", "ip": "192.0.2.3", "port": 80, "proto": "tcp"},
            {"change": "closed", "ip": "192.0.2.20", "port": 443, "proto": "tcp"},
        ])
    );
    let same = results(&fleet, &["-diff", "before", "before"]);
    assert_eq!(same.status.code(), Some(2));
}

fn closed_pipe() {
    let fleet = Fleet::new("results-pipe");
    let records: Vec<Value> = (0..20_000)
        .map(|n| finding("many", &format!("198.51.{}.{}", n / 256, n % 256), 80))
        .collect();
    produce(&fleet, &records);
    let mut reading = started(&fleet, &["many", "-json"]);
    let mut first = String::new();
    BufReader::new(reading.stdout.take().unwrap())
        .read_line(&mut first)
        .unwrap();
    assert!(first.contains("\"many\""));
    let status = wait_for("scanpush to end", SOON, || reading.try_wait().unwrap());
    let mut stderr = String::new();
    reading
        .stderr
        .take()
        .unwrap()
        .read_to_string(&mut stderr)
        .unwrap();
    assert_eq!((status.code(), stderr.as_str()), (Some(0), ""));
}
