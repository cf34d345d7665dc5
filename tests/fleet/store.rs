//! `scanpush store`: what it writes is what the topics say, whatever ends it or the database.

use crate::random::{Numbers, setting};
use crate::support::{
    Dump, FindingsDb, Fleet, SOON, Scand, findings_of, free_port, lab, now_ms, shown, wait_for,
    wait_until,
};
use crate::{Needs, Test};
use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use rustix::process::{Pid, Signal, kill_process};
use scan::kafka::{KafkaSettings, Reader};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

pub const TESTS: &[Test] = &[
    (
        "a_killed_store_counts_each_record_once",
        Needs::Postgres,
        exactly_once,
    ),
    (
        "a_store_closes_and_opens_exactly_what_scans_changed",
        Needs::Lab,
        real_scans,
    ),
    (
        "a_store_closes_only_what_completed_scans_covered",
        Needs::Postgres,
        proofs,
    ),
    (
        "a_store_takes_over_from_another",
        Needs::Postgres,
        taken_over,
    ),
    (
        "a_store_ends_within_two_seconds_of_a_signal",
        Needs::Postgres,
        stopped,
    ),
    (
        "a_store_says_when_kafka_is_away_and_what_it_lost",
        Needs::KafkaAndRedis,
        kafka_faults,
    ),
    (
        "a_store_refuses_an_unusable_database_in_one_line",
        Needs::Postgres,
        unusable,
    ),
    (
        "a_store_waits_for_space_on_a_full_disk",
        Needs::Lab,
        full_disk,
    ),
    (
        "a_store_deletes_old_rows_and_keeps_findings_once",
        Needs::Postgres,
        kept,
    ),
];

/// A signal has to end a store within this time; the rest is for a busy machine.
const STOP_WITHIN: Duration = Duration::from_millis(2500);
/// A lease lasts 10 s, and a store that stands by asks every second.
const TAKE_OVER_WITHIN: Duration = Duration::from_secs(13);

// --- records

/// Records that are written to the first partition of each topic.
#[derive(Default)]
struct Log {
    tasks: Vec<String>,
    findings: Vec<String>,
    status: Vec<String>,
}

fn finding(task: &str, ip: &str, port: u16, at_s: u64) -> Value {
    json!({"task_id": task, "ip": ip, "port": port, "proto": "tcp", "status": "open", "reason": "syn-ack", "ttl": 64, "timestamp": at_s,
        "server": "a", "attempt": 1})
}

fn status(task: &str, state: &str, place: (u32, usize), at_s: u64) -> Value {
    json!({"task_id": task, "status": state, "server": "a", "attempt": 1, "fence": 7, "found": 1, "partition": place.0, "offset": place.1,
        "at_ms": at_s * 1000})
}

fn with(mut record: Value, more: &Value) -> Value {
    for (name, value) in more.as_object().unwrap() {
        record[name] = value.clone();
    }
    record
}

impl Log {
    #[allow(clippy::too_many_arguments)]
    /// A scan of `range` with port 80 from `at_s` on, that found these addresses. `task` is added to its record, `end` to its last status record.
    fn scan(
        &mut self,
        id: &str,
        range: &str,
        at_s: u64,
        found: &[&str],
        state: &str,
        task: Value,
        end: Value,
    ) {
        let record = json!({"task_id": id, "ip_range": range, "ports": "80", "band_width": "100", "seed": 1});
        let offset = self.tasks.len();
        self.tasks.push(with(record, &task).to_string());
        self.status
            .push(status(id, "running", (0, offset), at_s).to_string());
        for ip in found {
            self.findings
                .push(finding(id, ip, 80, at_s + 1).to_string());
        }
        let proof = match state {
            "completed" => json!({"begun_ms": at_s * 1000, "results_end": [self.findings.len()]}),
            _ => json!({}),
        };
        let last = with(status(id, state, (0, offset), at_s + 9), &proof);
        self.status.push(with(last, &end).to_string());
    }

    fn write(&mut self, fleet: &Fleet) {
        for (kind, records) in [
            ("tasks", &mut self.tasks),
            ("results", &mut self.findings),
            ("status", &mut self.status),
        ] {
            fleet.produce(kind, records);
            records.clear();
        }
    }
}

/// The changes as `kind address port at task`.
fn changes(db: &FindingsDb) -> Vec<String> {
    let lines = db.table("changes");
    let readable = |line: &String| {
        let words: Vec<&str> = line.split('|').collect();
        let octet = |n: usize| u8::from_str_radix(&words[0][24 + 2 * n..26 + 2 * n], 16).unwrap();
        let ip = [octet(0), octet(1), octet(2), octet(3)]
            .map(|n| n.to_string())
            .join(".");
        format!("{} {ip} {} {} {}", words[3], words[1], words[4], words[5])
    };
    let mut lines: Vec<String> = lines.iter().map(readable).collect();
    lines.sort_unstable();
    lines
}

/// How often a line of a log has this text.
fn count(log: &str, text: &str) -> usize {
    log.lines().filter(|line| line.contains(text)).count()
}

/// Sends SIGTERM; returns how long the process took to end.
fn terminate(store: &mut Scand) -> Duration {
    let from = Instant::now();
    store.signal(Signal::TERM);
    let status = store.wait(SOON);
    assert_eq!(status.code(), Some(0), "{}: {}", store.name, store.log());
    from.elapsed()
}

// --- real scans

/// Drops the probes of these addresses in the lab, in a table of this fleet.
fn block(fleet: &Fleet, addresses: &[&str]) {
    let table = format!("store-{}", fleet.number);
    let namespace = format!("{}-hosts", lab());
    let mut rules = format!(
        "add table ip {table}\ndelete table ip {table}\nadd table ip {table}\n\
         add chain ip {table} arriving {{ type filter hook prerouting priority -200; }}\n"
    );
    for address in addresses {
        rules += &format!("add rule ip {table} arriving ip daddr {address} drop\n");
    }
    let file = fleet.folder.join("rules");
    fs::write(&file, rules).unwrap();
    let status = Command::new("ip")
        .args(["netns", "exec", &namespace, "nft", "-f"])
        .arg(&file)
        .status();
    assert!(status.unwrap().success());
}

fn real_scans() {
    let fleet = Fleet::new("store-scans");
    let range = fleet.network(0).replace(".0/24", ".0/28");
    let address = |last: u32| fleet.network(0).replace(".0/24", &format!(".{last}"));
    let (closes, opens) = (address(5), address(9));
    let db = FindingsDb::file(&fleet, "live.db");
    let _server = fleet.ready_scand("a", &[]);
    let mut store = fleet.start_store("store", &db, &[]);
    let scan = || {
        let words = [
            "-ip",
            &range,
            "-ports",
            "443",
            "-bandwidth",
            "1000",
            "-wait",
            "2",
        ];
        let id = fleet.push(&words).remove(0);
        fleet.wait_ended(&id, SOON);
        let ended = format!(
            "SELECT proof AS line FROM tasks WHERE task_id = '{id}' AND state = 'completed'"
        );
        wait_until("the scan to be stored", SOON, || {
            db.lines(&ended) == ["covered"]
        });
        id
    };
    block(&fleet, &[&opens]);
    let first = scan();
    assert_eq!(fleet.findings(&first).len(), 15);
    let of_first = changes(&db);
    assert_eq!(of_first.len(), 15);
    block(&fleet, &[&closes]);
    let second = scan();
    let new = |known: &[String]| -> Vec<String> {
        let mut lines = changes(&db);
        lines.retain(|line| !known.contains(line));
        lines
    };
    let of_second = new(&of_first);
    assert_eq!(of_second.len(), 1, "{of_second:?}");
    assert!(
        of_second[0].starts_with(&format!("opened {opens} 443 "))
            && of_second[0].ends_with(&second)
    );
    let third = scan();
    let of_third = new(&[of_first, of_second].concat());
    assert_eq!(of_third.len(), 1, "{of_third:?}");
    assert!(
        of_third[0].starts_with(&format!("closed {closes} 443 ")) && of_third[0].ends_with(&third)
    );
    assert!(terminate(&mut store) < STOP_WITHIN);
    // A month later it is the same.
    let later = FindingsDb::file(&fleet, "later.db");
    fleet.stored_once(&later, &[]);
    assert_eq!(changes(&later), changes(&db));
    assert_eq!(
        findings_of(&range, &[443]).len(),
        later.table("services").len()
    );
    block(&fleet, &[]);
}

// --- what scans prove

fn proofs() {
    let fleet = Fleet::new("store-proofs");
    let now = now_ms() / 1000;
    let (before, from) = (now - 9000, now - 6000);
    let mut log = Log::default();
    let none = || json!({});
    // Each case has a network of its own, in which .1 is open at first. With -closed-after 1 a scan that proves closes it at once.
    let address = |case: usize| format!("10.0.{case}.1");
    let range = |case: usize| format!("10.0.{case}.0/24");
    let ended: &[(&str, &str, Value, Value, bool)] = &[
        ("plain", "completed", none(), none(), true),
        ("cancelled", "cancelled", none(), none(), false),
        (
            "failed",
            "failed",
            none(),
            json!({"error": "masscan failed"}),
            false,
        ),
        (
            "rejected",
            "rejected",
            none(),
            json!({"error": "outside of -allow"}),
            false,
        ),
        (
            "server-excludes",
            "completed",
            none(),
            json!({"server_exclude": "10.0.4.0/30"}),
            false,
        ),
        (
            "task-excludes",
            "completed",
            json!({"exclude": "10.0.5.1"}),
            none(),
            false,
        ),
        (
            "excludes-others",
            "completed",
            json!({"exclude": "10.0.6.2"}),
            json!({"server_exclude": "10.0.6.3"}),
            true,
        ),
        (
            "other-port",
            "completed",
            json!({"ports": "81"}),
            none(),
            false,
        ),
        (
            "without-ends",
            "completed",
            none(),
            json!({"results_end": null}),
            false,
        ),
        (
            "without-beginning",
            "completed",
            none(),
            json!({"begun_ms": null}),
            false,
        ),
        (
            "with-error",
            "completed",
            none(),
            json!({"error": "answers were lost"}),
            false,
        ),
        (
            "began-before",
            "completed",
            none(),
            json!({"begun_ms": before * 1000}),
            false,
        ),
        (
            "impossible-end",
            "completed",
            none(),
            json!({"results_end": [i64::MAX]}),
            false,
        ),
        (
            "invalid-exclusion",
            "completed",
            none(),
            json!({"server_exclude": "example.org"}),
            false,
        ),
        (
            "without-job",
            "completed",
            json!({"shard": "1/2"}),
            none(),
            false,
        ),
    ];
    let shards = ended.len();
    for case in 0..shards + 2 {
        let id = format!("before-{case}");
        log.scan(
            &id,
            &range(case),
            before,
            &[&address(case)],
            "completed",
            none(),
            none(),
        );
    }
    for (case, (id, state, task, end, _)) in ended.iter().enumerate() {
        log.scan(
            id,
            &range(case),
            from,
            &[],
            state,
            task.clone(),
            end.clone(),
        );
    }
    // Both shards of a job, and one of another, whose second one has failed.
    for (case, job, states) in [
        (shards, "whole", ["completed"; 2]),
        (shards + 1, "half", ["completed", "failed"]),
    ] {
        for (n, state) in (1..).zip(states) {
            let shard = json!({"job_id": job, "shard": format!("{n}/2")});
            log.scan(
                &format!("{job}-{n}"),
                &range(case),
                from,
                &[],
                state,
                shard,
                none(),
            );
        }
    }
    // Unlike a later record with the same state, which changes nothing.
    let repeated = log.status.last().unwrap().clone();
    log.status.push(repeated);
    log.write(&fleet);

    let mut closed: Vec<String> = ended
        .iter()
        .enumerate()
        .filter(|(_, (.., closes))| *closes)
        .map(|(case, (id, ..))| format!("closed {} 80 {} {id}", address(case), from + 9))
        .chain([format!(
            "closed {} 80 {} whole-2",
            address(shards),
            from + 9
        )])
        .collect();
    closed.sort_unstable();
    let mut dumps: Vec<Dump> = Vec::new();
    for db in FindingsDb::both(&fleet) {
        fleet.stored_once(&db, &["-closed-after", "1"]);
        let mut found = changes(&db);
        found.retain(|line| !line.starts_with("opened"));
        assert_eq!(found, closed, "{}", db.name());
        let proof = |id: &str| {
            db.lines(&format!(
                "SELECT proof AS line FROM tasks WHERE task_id = '{id}'"
            ))
            .concat()
        };
        for (id, expected) in [
            ("plain", "covered"),
            ("whole-1", "covered"),
            ("half-1", "waits for shards"),
            ("without-ends", "nothing: answers may be missing"),
            ("impossible-end", "nothing: answers may be missing"),
            ("without-job", "nothing: shard without job"),
        ] {
            assert_eq!(proof(id), expected, "{id}");
        }
        assert!(
            db.table("counters")
                .contains(&"late or repeated status records|1".to_owned())
        );
        let dump = db.dump();
        fleet.stored_once(&db, &["-closed-after", "1"]);
        assert_eq!(db.dump(), dump);
        dumps.push(dump);
    }
    assert_eq!(dumps[0], dumps[1]);

    // Topics that do not exist yet.
    let empty = fleet.with_group("empty");
    let db = FindingsDb::file(&fleet, "empty.db");
    empty.stored_once(&db, &[]);
    assert!(db.dump().values().all(Vec::is_empty), "{:?}", db.dump());
}

// --- exactly once

const PARTITIONS: usize = 3;
const STATUS_PARTITIONS: usize = 2;
const STORE_SECONDS_DEFAULT: u64 = 30;
/// Rounds are so far apart in the time of their records, in seconds.
const ROUND_S: u64 = 1000;
/// All services of the test: addresses × ports.
const ADDRESSES: u64 = 200;
const PORTS: [u16; 2] = [80, 443];
/// How long the stores may need after the last record.
const CAUGHT_UP_WITHIN: Duration = Duration::from_secs(120);

/// What the records say, counted without a database.
#[derive(Default)]
struct Model {
    services: BTreeMap<(String, u16), Known>,
    changes: Vec<String>,
    states: BTreeMap<String, &'static str>,
    counters: BTreeMap<&'static str, u64>,
    records: BTreeMap<(&'static str, usize), u64>,
}

#[derive(Clone)]
struct Known {
    first: (u64, String),
    last: (u64, String),
    is_open: bool,
    misses: Vec<u64>,
}

impl Model {
    fn see(&mut self, ip: &str, port: u16, at: u64, task: &str) {
        let seen = (at, task.to_owned());
        let known = self
            .services
            .entry((ip.to_owned(), port))
            .or_insert_with(|| Known {
                first: seen.clone(),
                last: seen.clone(),
                is_open: true,
                misses: Vec::new(),
            });
        if at < known.first.0 {
            known.first = seen.clone();
        }
        if at >= known.last.0 {
            known.last = seen;
        }
        let first_miss = match known.is_open {
            true => known.misses.iter().min(),
            false => known.misses.last(),
        };
        if first_miss.is_some_and(|begun| at >= *begun) {
            known.misses.clear();
            if !known.is_open {
                known.is_open = true;
                self.changes
                    .push(format!("reopened {ip} {port} {at} {task}"));
            }
        }
    }

    /// A scan of these addresses that proves.
    fn judge(&mut self, task: &str, begun: u64, ended: u64, covers: impl Fn(&str) -> bool) {
        for ((ip, port), known) in &mut self.services {
            if !known.is_open || !covers(ip) || known.last.1 == task || known.last.0 >= begun {
                continue;
            }
            known.misses.push(begun);
            if known.misses.len() == 2 {
                known.is_open = false;
                self.changes
                    .push(format!("closed {ip} {port} {ended} {task}"));
            }
        }
    }

    fn all_changes(&self) -> Vec<String> {
        let opened = self.services.iter().map(|((ip, port), known)| {
            format!("opened {ip} {port} {} {}", known.first.0, known.first.1)
        });
        let mut all: Vec<String> = self.changes.iter().cloned().chain(opened).collect();
        all.sort_unstable();
        all
    }

    /// As the table `services` has them, without what misses are counted.
    fn all_services(&self) -> Vec<String> {
        let line = |((ip, port), known): (&(String, u16), &Known)| {
            let octets: Vec<u8> = ip.split('.').map(|octet| octet.parse().unwrap()).collect();
            let address: String = octets.iter().map(|octet| format!("{octet:02X}")).collect();
            let state = if known.is_open { "open" } else { "closed" };
            let (first, (last, task)) = (known.first.0, &known.last);
            format!(
                "00000000000000000000FFFF{address}|{port}|6|{first}|{last}|{task}|{state}|{}",
                known.misses.len()
            )
        };
        let mut lines: Vec<String> = self.services.iter().map(line).collect();
        lines.sort_unstable();
        lines
    }

    fn ignore(&mut self, reason: &'static str) {
        *self.counters.entry(reason).or_default() += 1;
    }
}

/// The services of a database in the form of [`Model::all_services`].
fn services(db: &FindingsDb) -> Vec<String> {
    let lines = db.table("services");
    let short = |line: &String| {
        let words: Vec<&str> = line.split('|').collect();
        [&words[..7], &words[8..9]].concat().join("|")
    };
    let mut lines: Vec<String> = lines.iter().map(short).collect();
    lines.sort_unstable();
    lines
}

/// Writes rounds of scans, and counts what they say.
struct Writer {
    fleet: Fleet,
    numbers: Numbers,
    model: Model,
    began_s: u64,
    round: u64,
    /// What is not written yet, by topic and partition.
    pending: BTreeMap<(&'static str, usize), Vec<Vec<u8>>>,
    /// The last terminal status record of each partition.
    last_ends: [Option<Vec<u8>>; STATUS_PARTITIONS],
}

impl Writer {
    fn put(&mut self, topic: &'static str, partition: usize, record: Vec<u8>) {
        *self.model.records.entry((topic, partition)).or_default() += 1;
        self.pending
            .entry((topic, partition))
            .or_default()
            .push(record);
    }

    fn flush(&mut self, topic: &'static str) {
        for ((topic, partition), records) in self
            .pending
            .iter_mut()
            .filter(|((name, _), _)| *name == topic)
        {
            self.fleet
                .produce_bytes_to(topic, *partition as u32, records);
            records.clear();
        }
    }

    fn percent(&mut self, chance: u64) -> bool {
        self.numbers.between(0, 100) < chance
    }

    fn find(&mut self, task: &str, service: (u64, u16), at: u64, more: &Value) {
        let (last, port) = service;
        let ip = format!("198.18.0.{last}");
        let record = with(finding(task, &ip, port, at), more).to_string();
        self.put(
            "results",
            (last as usize + usize::from(port)) % PARTITIONS,
            record.into_bytes(),
        );
        self.model.see(&ip, port, at, task);
    }

    /// A record that must change nothing but a counter.
    fn annoy(&mut self, task: &str, now: u64) {
        let partition = self.numbers.between(0, PARTITIONS as u64) as usize;
        let valid = finding(task, "198.18.0.250", 80, now);
        let long = "x".repeat(900_000);
        let (record, reason) = match self.numbers.between(0, 9) {
            0 => (b"{not json".to_vec(), INVALID_FINDING),
            1 => (
                b"\xff\xfe\x00{\"task_id\":\"\xc3\x28\"}".to_vec(),
                INVALID_FINDING,
            ),
            2 => (
                with(valid, &json!({"server": long}))
                    .to_string()
                    .into_bytes(),
                INVALID_FINDING,
            ),
            3 => (
                with(valid, &json!({"port": 0})).to_string().into_bytes(),
                INVALID_FINDING,
            ),
            4 => (
                with(valid, &json!({"reason": "\u{1b}[31m"}))
                    .to_string()
                    .into_bytes(),
                INVALID_FINDING,
            ),
            5 => (
                with(valid, &json!({"task_id": "a\u{1b}[2J\n"}))
                    .to_string()
                    .into_bytes(),
                INVALID_FINDING,
            ),
            6 => (
                with(valid, &json!({"status": "closed"}))
                    .to_string()
                    .into_bytes(),
                "findings that are not open",
            ),
            7 => (
                with(valid, &json!({"timestamp": 253_402_300_799_u64}))
                    .to_string()
                    .into_bytes(),
                FUTURE_FINDING,
            ),
            _ => (
                with(valid, &json!({"timestamp": now_ms() / 1000 + 200_000}))
                    .to_string()
                    .into_bytes(),
                FUTURE_FINDING,
            ),
        };
        self.put("results", partition, record);
        self.model.ignore(reason);
        let status_partition = partition % STATUS_PARTITIONS;
        let valid = status(task, "running", (0, 0), now);
        let (record, reason) = match self.numbers.between(0, 4) {
            0 => (b"\x00\xff".to_vec(), INVALID_STATUS),
            1 => (
                with(valid, &json!({"at_ms": 253_402_300_799_999_u64}))
                    .to_string()
                    .into_bytes(),
                "status records from the future",
            ),
            2 => (
                with(valid, &json!({"error": long}))
                    .to_string()
                    .into_bytes(),
                INVALID_STATUS,
            ),
            _ => (
                with(valid, &json!({"status": "exploded"}))
                    .to_string()
                    .into_bytes(),
                INVALID_STATUS,
            ),
        };
        self.put("status", status_partition, record);
        self.model.ignore(reason);
        let record = format!("{{\"task_id\":\"{task}\",\"ip_range\":\"\u{1b}]0;x\u{7}\"}}");
        self.put("tasks", 0, record.into_bytes());
        self.model.ignore("tasks that are not valid");
        self.flush("tasks");
    }

    /// One scan: its task, findings, and end.
    fn scan(&mut self) {
        self.round += 1;
        let round = self.round;
        let (id, begun) = (format!("task-{round}"), self.began_s + round * ROUND_S);
        let ended = begun + 600;
        let partition = (round % STATUS_PARTITIONS as u64) as usize;
        let offset = *self.model.records.get(&("tasks", partition)).unwrap_or(&0) as usize;
        let task = json!({"task_id": id, "ip_range": "198.18.0.0/24", "ports": "80,443", "band_width": "1000", "seed": round});
        self.put("tasks", partition, task.to_string().into_bytes());
        self.flush("tasks");
        let place = (partition as u32, offset);
        let running = with(
            status(&id, "running", place, begun),
            &json!({"fence": round * 10}),
        );
        self.put("status", partition, running.to_string().into_bytes());
        self.flush("status");

        for last in 0..ADDRESSES {
            for port in PORTS {
                // Half of the services are there in each scan but a few.
                let chance = if last % 2 == 0 { 97 } else { 60 };
                if !self.percent(chance) {
                    continue;
                }
                let at = begun + 1 + self.numbers.between(0, 400);
                let service = (last, port);
                self.find(&id, service, at, &json!({}));
                match self.numbers.between(0, 20) {
                    0 => self.find(&id, service, at, &json!({})),
                    1 => self.find(&id, service, at + 90, &json!({"attempt": 2, "server": "b"})),
                    2 => self.find(&id, service, at + 50, &json!({"pass": 2})),
                    // Found long before, and delivered now.
                    3 => self.find(
                        &id,
                        service,
                        self.began_s + round,
                        &json!({"server": "late"}),
                    ),
                    _ => {}
                }
            }
        }
        if self.percent(50) {
            self.annoy(&id, ended);
        }
        self.flush("results");

        let ends: Vec<u64> = (0..PARTITIONS)
            .map(|partition| {
                *self
                    .model
                    .records
                    .get(&("results", partition))
                    .unwrap_or(&0)
            })
            .collect();
        let proof =
            json!({"begun_ms": begun * 1000 + 500, "results_end": ends, "fence": round * 10});
        let (state, more) = match self.numbers.between(0, 20) {
            0 => ("cancelled", json!({})),
            1 => ("failed", json!({"error": "\u{1b}[31mfailed\u{0}"})),
            2 => (
                "completed",
                json!({"begun_ms": begun * 1000, "fence": round * 10}),
            ),
            3 => (
                "completed",
                with(proof, &json!({"error": "answers were lost"})),
            ),
            4 => (
                "completed",
                with(proof, &json!({"results_end": [0, 0, i64::MAX]})),
            ),
            5 => (
                "completed",
                with(proof, &json!({"server_exclude": "198.18.0.0/25"})),
            ),
            _ => ("completed", proof),
        };
        let proves = state == "completed"
            && more["error"].is_null()
            && more["results_end"][2]
                .as_i64()
                .is_some_and(|end| end < i64::MAX);
        let end = with(
            with(
                status(&id, state, place, ended),
                &json!({"fence": round * 10}),
            ),
            &more,
        )
        .to_string()
        .into_bytes();
        self.put("status", partition, end.clone());
        if let Some(earlier) = self.last_ends[partition].replace(end) {
            self.put("status", partition, earlier);
            self.model.ignore("late or repeated status records");
        }
        self.flush("status");
        if proves {
            let left_out = more["server_exclude"].is_string();
            let covers = |ip: &str| {
                let last: u64 = ip.rsplit('.').next().unwrap().parse().unwrap();
                !left_out || last >= 128
            };
            self.model.judge(&id, begun, ended, covers);
        }
        self.model.states.insert(id, state);
    }
}

const INVALID_FINDING: &str = "findings that are not valid";
const FUTURE_FINDING: &str = "findings from the future";
const INVALID_STATUS: &str = "status records that are not valid";

fn exactly_once() {
    let seed = setting("SCAN_FAULT_SEED", now_ms());
    let seconds = setting("SCAN_FAULT_SECONDS", STORE_SECONDS_DEFAULT);
    eprintln!("store: SCAN_FAULT_SEED={seed} SCAN_FAULT_SECONDS={seconds} repeats this run");
    let fleet = Fleet::new("store-killed")
        .with_topic("results", PARTITIONS as u32)
        .with_topic("status", STATUS_PARTITIONS as u32)
        .with_topic("tasks", STATUS_PARTITIONS as u32);
    let server = fleet.start_postgres(&[]);
    let dbs = [
        FindingsDb::file(&fleet, "findings.db"),
        FindingsDb::Postgres(server.create_database("findings")),
    ];
    let mut writer = Writer {
        fleet: fleet.clone_for_thread(),
        numbers: Numbers(seed),
        model: Model::default(),
        began_s: now_ms() / 1000 - 300 * 24 * 3600,
        round: 0,
        pending: BTreeMap::new(),
        last_ends: Default::default(),
    };
    let is_written = AtomicBool::new(false);
    let began = Instant::now();
    let kills = thread::scope(|scope| {
        let killers = [0, 1].map(|n| {
            let (fleet, db, is_written, server) =
                (fleet.clone_for_thread(), &dbs[n], &is_written, &server);
            scope.spawn(move || {
                let mut numbers = Numbers(seed ^ (n as u64 + 1));
                let start = || {
                    fleet.start_store(db.name(), db, &["-keep", "100y", "-keep-findings", "100y"])
                };
                let (mut store, mut kills, mut restarts) = (start(), 0, 0);
                while !is_written.load(Ordering::SeqCst) {
                    thread::sleep(Duration::from_millis(numbers.between(50, 2500)));
                    if n == 1 && numbers.between(0, 4) == 0 {
                        server.kill();
                        thread::sleep(Duration::from_millis(numbers.between(0, 500)));
                        server.restart();
                        restarts += 1;
                        continue;
                    }
                    store.kill();
                    kills += 1;
                    // Else the next one waits until the lease has expired.
                    if numbers.between(0, 10) > 0 && db.holder().is_some() {
                        db.free_lease();
                    }
                    store = start();
                }
                wait_for_end(db, &fleet, &store);
                assert!(terminate(&mut store) < STOP_WITHIN);
                (kills, restarts)
            })
        });
        while began.elapsed() < Duration::from_secs(seconds) {
            writer.scan();
        }
        is_written.store(true, Ordering::SeqCst);
        killers.map(|killer| killer.join().unwrap())
    });
    let model = &writer.model;
    // The topics as this program's clients do not count them.
    for ((topic, partition), count) in &model.records {
        assert_eq!(ends(&fleet, topic)[&(*partition as i32)], *count as i64);
    }
    let backlog = FindingsDb::file(&fleet, "backlog.db");
    let keep = ["-keep", "100y", "-keep-findings", "100y"];
    fleet.stored_once(&backlog, &keep);
    let all = [&dbs[0], &dbs[1], &backlog];
    for db in all {
        let name = db.name();
        assert_same(name, &services(db), &model.all_services());
        assert_same(name, &changes(db), &model.all_changes());
        let states = model
            .states
            .iter()
            .map(|(id, state)| format!("{id}|{state}"));
        let mut states: Vec<String> = states.collect();
        states.sort_unstable();
        assert_eq!(db.table("tasks"), states, "{name}");
        let counters: Vec<String> = model
            .counters
            .iter()
            .map(|(reason, count)| format!("{reason}|{count}"))
            .collect();
        assert_eq!(db.table("counters"), counters, "{name}");
        let mut positions: Vec<String> = model
            .records
            .iter()
            .map(|((topic, partition), count)| {
                format!("{}|{partition}|{count}|{count}|0|0", fleet.topic(topic))
            })
            .collect();
        positions.sort_unstable();
        assert_eq!(db.table("positions"), positions, "{name}");
    }
    for (name, rows) in dbs[0].dump() {
        assert_same(name, &dbs[1].table(name), &rows);
        assert_same(name, &backlog.table(name), &rows);
    }
    let dump = backlog.dump();
    fleet.stored_once(&backlog, &keep);
    assert!(backlog.dump() == dump, "a second run changed something");
    let records: u64 = model.records.values().sum();
    eprintln!(
        "store: {records} records of {} scans, {} changes, SQLite's store killed {} times, Postgres' {} times and Postgres itself {} times, {:.0} s, seed {seed}",
        writer.round,
        model.all_changes().len(),
        kills[0].0,
        kills[1].0,
        kills[1].1,
        began.elapsed().as_secs_f64()
    );
}

/// Shows only what differs.
fn assert_same(name: &str, stored: &[String], counted: &[String]) {
    let without = |some: &[String], other: &[String]| -> Vec<String> {
        let rest = some.iter().filter(|line| !other.contains(line));
        rest.take(10).cloned().collect()
    };
    assert!(
        stored == counted,
        "{name}: {} rows instead of {}; only in the database: {:#?}; only counted: {:#?}",
        stored.len(),
        counted.len(),
        without(stored, counted),
        without(counted, stored)
    );
}

/// The end of each partition of a topic.
fn ends(fleet: &Fleet, kind: &str) -> BTreeMap<i32, i64> {
    let settings = KafkaSettings::plaintext(fleet.kafka.parse().unwrap());
    let ranges = Reader::connect(&settings, &fleet.topic(kind))
        .unwrap()
        .log_ranges()
        .unwrap();
    ranges
        .into_iter()
        .map(|(partition, range)| (partition, range.next))
        .collect()
}

/// Waits until the database has everything.
fn wait_for_end(db: &FindingsDb, fleet: &Fleet, store: &Scand) {
    let mut wanted: Vec<String> = ["results", "status", "tasks"]
        .iter()
        .flat_map(|kind| {
            let topic = fleet.topic(kind);
            let ends = ends(fleet, kind).into_iter().filter(|(_, end)| *end > 0);
            ends.map(move |(partition, end)| format!("{topic}|{partition}|{end}"))
        })
        .collect();
    wanted.sort_unstable();
    let sql = "SELECT topic || '|' || topic_partition || '|' || next_offset AS line FROM positions";
    let from = Instant::now();
    loop {
        let mut lines = db.lines(sql);
        lines.sort_unstable();
        if lines == wanted {
            return;
        }
        assert!(
            from.elapsed() < CAUGHT_UP_WITHIN,
            "{}: {lines:?}, not {wanted:?}; it logged:\n{}",
            db.name(),
            store.log()
        );
        thread::sleep(Duration::from_millis(100));
    }
}

// --- the lease and the end

fn wait_for_holder(db: &FindingsDb, store: &Scand, within: Duration) -> Duration {
    let from = Instant::now();
    let what = format!("{} to hold the lease of {}", store.name, db.name());
    wait_until(&what, within, || db.holder() == Some(store.child.id()));
    from.elapsed()
}

fn taken_over() {
    let fleet = Fleet::new("store-lease");
    let mut log = Log::default();
    log.scan(
        "a",
        "10.0.0.0/24",
        now_ms() / 1000 - 60,
        &["10.0.0.1"],
        "completed",
        json!({}),
        json!({}),
    );
    log.write(&fleet);
    thread::scope(|scope| {
        for db in FindingsDb::both(&fleet) {
            let fleet = fleet.clone_for_thread();
            scope.spawn(move || {
                let start = |name: &str| fleet.start_store(&format!("{}-{name}", db.name()), &db, &[]);
                let mut first = start("first");
                wait_for_holder(&db, &first, SOON);
                let mut second = start("second");
                second.wait_for_log("standing by");
                wait_for_end(&db, &fleet, &first);
                first.kill();
                let after_kill = wait_for_holder(&db, &second, TAKE_OVER_WITHIN);
                let third = start("third");
                third.wait_for_log("standing by");
                let end = terminate(&mut second);
                assert!(end < STOP_WITHIN, "{end:?}");
                let after_term = wait_for_holder(&db, &third, Duration::from_secs(4));
                let once = fleet.store_once(&db, &[]);
                assert_eq!(once.status.code(), Some(1));
                assert!(shown(&once).contains("another scanpush store works on the database"), "{}", shown(&once));
                assert_eq!(count(&third.log(), "standing by"), 1);
                eprintln!("{}: taken over {after_kill:.1?} after a kill, {after_term:.1?} after an end that took {end:.1?}", db.name());
            });
        }
    });
}

fn stopped() {
    let fleet = Fleet::new("store-stopped");
    let [file, server] = FindingsDb::both(&fleet);
    // Kafka is not there.
    let mut nowhere = fleet.clone_for_thread();
    nowhere.kafka = format!("localhost:{}", free_port());
    nowhere.kafka_flags = vec!["-kafka".to_owned(), nowhere.kafka.clone()];
    let mut store = nowhere.start_store("no-kafka", &file, &[]);
    store.wait_for_log("trying again");
    let end = terminate(&mut store);
    assert!(end < STOP_WITHIN, "without Kafka: {end:?}");
    assert_eq!(file.holder(), None);
    assert_eq!(count(&store.log(), "trying again"), 1, "{}", store.log());
    let from = Instant::now();
    let once = nowhere.store_once(&file, &[]);
    assert_eq!(
        (once.status.code(), count(&shown(&once), "Kafka")),
        (Some(1), 2),
        "{}",
        shown(&once)
    );
    assert!(from.elapsed() < Duration::from_secs(20));

    // SQLite is locked by another program.
    let mut store = fleet.start_store("locked", &file, &[]);
    wait_for_holder(&file, &store, SOON);
    let FindingsDb::Sqlite(path) = &file else {
        unreachable!()
    };
    let mut other = SqliteConnection::establish(path.to_str().unwrap()).unwrap();
    other
        .batch_execute("PRAGMA busy_timeout = 20000; BEGIN EXCLUSIVE")
        .unwrap();
    store.wait_for_log("it is locked by another program; trying again");
    other.batch_execute("ROLLBACK").unwrap();
    store.wait_for_log("can be used again");
    assert_eq!(count(&store.log(), "locked"), 1, "{}", store.log());
    other.batch_execute("BEGIN EXCLUSIVE").unwrap();
    let end = terminate(&mut store);
    assert!(end < STOP_WITHIN, "while SQLite is locked: {end:?}");
    other.batch_execute("ROLLBACK").unwrap();

    // The process of Postgres that serves the store is frozen.
    let mut store = fleet.start_store("frozen", &server, &[]);
    wait_for_holder(&server, &store, SOON);
    let pids = server.lines(
        "SELECT CAST(pid AS TEXT) AS line FROM pg_stat_activity WHERE application_name = 'scanpush' AND datname = current_database()",
    );
    assert_eq!(pids.len(), 1);
    let pid = Pid::from_raw(pids[0].parse().unwrap()).unwrap();
    kill_process(pid, Signal::STOP).unwrap();
    let end = terminate(&mut store);
    kill_process(pid, Signal::CONT).unwrap();
    assert!(end < STOP_WITHIN, "while Postgres is frozen: {end:?}");
}

// --- faults

fn kafka_faults() {
    let mut fleet = Fleet::new("store-kafka");
    let kafka = fleet.start_kafka(&[]);
    let now = now_ms() / 1000;
    let mut log = Log::default();
    let found = ["10.0.0.1", "10.0.0.2"];
    log.scan(
        "a",
        "10.0.0.0/24",
        now - 9000,
        &found,
        "completed",
        json!({}),
        json!({}),
    );
    log.write(&fleet);
    let db = FindingsDb::file(&fleet, "findings.db");
    let mut store = fleet.start_store("store", &db, &["-closed-after", "1"]);
    wait_for_end(&db, &fleet, &store);
    kafka.0.kill().unwrap();
    store.wait_for_log("trying again");
    kafka.0.restart().unwrap();
    store.wait_for_log("Kafka can be read again");
    let lines = store.log();
    assert_eq!(
        (count(&lines, "trying again"), count(&lines, "again")),
        (1, 2),
        "{lines}"
    );
    kafka.0.signal(Signal::STOP).unwrap();
    thread::sleep(Duration::from_millis(700));
    let end = terminate(&mut store);
    kafka.0.signal(Signal::CONT).unwrap();
    assert!(end < STOP_WITHIN, "while Kafka is frozen: {end:?}");

    // What this scan found is removed before it is read, but for the last finding; then that of the next one, and nothing follows.
    let remove = |offset: &str| {
        kafka
            .0
            .tool("cut", &[&fleet.topic("results"), "0", offset])
            .unwrap()
    };
    let mut write = |id: &str, at: u64, found: &[&str]| {
        log.findings = vec![String::new(); ends(&fleet, "results")[&0] as usize];
        log.tasks = vec![String::new(); ends(&fleet, "tasks")[&0] as usize];
        let (findings, tasks) = (log.findings.len(), log.tasks.len());
        log.scan(
            id,
            "10.0.0.0/24",
            at,
            found,
            "completed",
            json!({}),
            json!({}),
        );
        log.findings.drain(..findings);
        log.tasks.drain(..tasks);
        log.write(&fleet);
    };
    let proof = |id: &str| {
        db.lines(&format!(
            "SELECT proof AS line FROM tasks WHERE task_id = '{id}'"
        ))
        .concat()
    };
    let position = || {
        db.table("positions")
            .into_iter()
            .find(|line| line.contains("-results|"))
            .unwrap()
    };
    write("b", now - 600, &["10.0.0.1", "10.0.0.2", "10.0.0.3"]);
    remove("4");
    fleet.stored_once(&db, &["-closed-after", "1"]);
    assert_eq!(proof("b"), "nothing: findings lost");
    assert!(position().contains("|0|5|3|2|"), "{}", position());
    write("c", now - 400, &["10.0.0.1"]);
    remove("6");
    let said = fleet.stored_once(&db, &["-closed-after", "1"]);
    assert_eq!(proof("c"), "nothing: findings lost");
    assert!(position().contains("|0|6|3|3|"), "{}", position());
    assert_eq!(
        count(
            &said,
            "1 records were removed by Kafka before they were read"
        ),
        1,
        "{said}"
    );
    let gap_until: u64 = position().rsplit('|').next().unwrap().parse().unwrap();
    assert!(gap_until > now - 600 && gap_until <= now_ms() / 1000);
    // A scan that began after the gap proves again.
    write("d", gap_until + 1, &["10.0.0.2"]);
    fleet.stored_once(&db, &["-closed-after", "1"]);
    assert_eq!(proof("d"), "covered");
    let closed: Vec<String> = changes(&db)
        .into_iter()
        .filter(|line| line.starts_with("closed"))
        .collect();
    assert_eq!(closed.len(), 2, "{closed:?}");
    // Topics that were recreated have other records at the same offsets.
    for kind in ["results", "status", "tasks"] {
        let topic = fleet.topic(kind);
        kafka
            .0
            .tool("topic", &["--delete", "--topic", &topic])
            .unwrap();
        kafka
            .0
            .tool("topic", &["--create", "--topic", &topic])
            .unwrap();
    }
    write("e", gap_until - 1, &["10.0.0.7"]);
    let said = fleet.stored_once(&db, &["-closed-after", "1"]);
    assert_eq!(count(&said, "was recreated"), 3, "{said}");
    assert_eq!(proof("e"), "nothing: findings lost");
    assert!(
        changes(&db)
            .iter()
            .any(|line| line.starts_with("opened 10.0.0.7"))
    );
}

fn unusable() {
    let fleet = Fleet::new("store-unusable");
    let file = |name: &str| fleet.folder.join(name);
    let refused = |flags: &[&str], cause: &str| {
        let flags: Vec<String> = flags.iter().map(|&word| word.to_owned()).collect();
        let mut child = fleet
            .store_command(&flags, &[])
            .stderr(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let status = wait_for(
            &format!("the end of a store that says {cause}"),
            SOON,
            || child.try_wait().unwrap(),
        );
        let text = std::io::read_to_string(child.stderr.take().unwrap()).unwrap();
        assert!(
            status.code() == Some(1) && text.lines().count() == 1 && text.contains(cause),
            "{flags:?}: {text}"
        );
    };
    let url = |path: &Path| format!("sqlite:{}", path.display());
    fs::write(
        file("text.db"),
        "not a database, but a text that is longer than the header of one. ".repeat(9),
    )
    .unwrap();
    refused(&["-db", &url(&file("text.db"))], "not an SQLite database");
    let mut foreign = SqliteConnection::establish(file("foreign.db").to_str().unwrap()).unwrap();
    foreign
        .batch_execute("CREATE TABLE songs (name TEXT)")
        .unwrap();
    refused(
        &["-db", &url(&file("foreign.db"))],
        "belongs to another program",
    );
    refused(
        &["-db", &url(&file("no/such/folder.db"))],
        "the file cannot be opened",
    );
    let [sqlite, postgres] = FindingsDb::both(&fleet);
    let server = fleet.start_postgres(&[
        "ssl_cert_file=wrong-host.crt",
        "ssl_key_file=wrong-host.key",
    ]);
    for db in [&sqlite, &postgres] {
        fleet.stored_once(db, &[]);
        db.execute("INSERT INTO __diesel_schema_migrations (version) VALUES ('29991231000000')");
        let flags = db.flags();
        let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
        refused(&flags, "newer than this program");
    }

    let FindingsDb::Postgres(shared) = &postgres else {
        unreachable!()
    };
    let password = shared.password_file();
    let password = password.to_str().unwrap();
    fs::write(file("wrong"), "wrong\n").unwrap();
    fs::set_permissions(file("wrong"), fs::Permissions::from_mode(0o600)).unwrap();
    refused(
        &[
            "-db",
            &shared.url(),
            "-db-password-file",
            file("wrong").to_str().unwrap(),
        ],
        "-db-password-file",
    );
    // TLS: the shared one has a certificate of its host.
    let verified = fleet.with_group("verified").create_database();
    let flags = [
        "-db",
        &verified.verified_url(),
        "-db-password-file",
        password,
    ]
    .map(str::to_owned);
    let output = fleet.store_command(&flags, &["-once"]).output().unwrap();
    assert!(output.status.success(), "{}", shown(&output));
    let own = server.create_database("findings");
    let own_password = own.password_file();
    let own_flags = |url: &str| {
        [
            "-db",
            url,
            "-db-password-file",
            own_password.to_str().unwrap(),
        ]
        .map(str::to_owned)
    };
    let output = fleet
        .store_command(&own_flags(&own.verified_url()), &["-once"])
        .output()
        .unwrap();
    assert!(
        !output.status.success() && count(&shown(&output), "does not match host name") == 1,
        "{}",
        shown(&output)
    );

    // Postgres does not run, then it does.
    server.kill();
    let own = FindingsDb::Postgres(own);
    let mut store = fleet.start_store("own", &own, &[]);
    store.wait_for_log("trying again");
    server.restart();
    wait_for_holder(&own, &store, SOON);
    store.wait_for_log("can be used again");
    assert!(count(&store.log(), "trying again") == 1, "{}", store.log());
    assert!(terminate(&mut store) < STOP_WITHIN);
}

/// A small file system, removed on drop.
pub struct SmallDisk(pub PathBuf);

impl SmallDisk {
    fn mount(fleet: &Fleet, options: &str) -> SmallDisk {
        SmallDisk::mount_at(&fleet.folder.join("disk"), options)
    }

    /// Mounts one with these options of tmpfs, such as `size=4m`.
    pub fn mount_at(folder: &Path, options: &str) -> SmallDisk {
        fs::create_dir_all(folder).unwrap();
        let disk = SmallDisk(folder.to_owned());
        disk.run("mount", &["-t", "tmpfs", "-o", options, "tmpfs"]);
        disk
    }

    /// Writes a file until there is no space left.
    pub fn fill(&self) {
        let mut file = fs::File::create(self.0.join("ballast")).unwrap();
        for bytes in [1 << 16, 1 << 12, 1] {
            while std::io::Write::write_all(&mut file, &vec![0; bytes]).is_ok() {}
        }
    }

    /// Removes what [`SmallDisk::fill`] wrote.
    pub fn free(&self) {
        fs::remove_file(self.0.join("ballast")).unwrap();
    }

    fn run(&self, command: &str, words: &[&str]) {
        let output = Command::new(command)
            .args(words)
            .arg(&self.0)
            .output()
            .unwrap();
        assert!(output.status.success(), "{command}: {output:?}");
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

fn full_disk() {
    let fleet = Fleet::new("store-full");
    let disk = SmallDisk::mount(&fleet, "size=4m");
    let db = FindingsDb::Sqlite(disk.0.join("findings.db"));
    let mut store = fleet.start_store("store", &db, &[]);
    wait_for_holder(&db, &store, SOON);
    let filler = disk.0.join("filler");
    // Writes what fits, and fails.
    assert!(fs::write(&filler, vec![1; 8 << 20]).is_err());
    let now = now_ms() / 1000;
    let mut log = Log::default();
    let all: Vec<String> = (0..20_000u32)
        .map(|n| format!("10.0.{}.{}", n / 250, n % 250))
        .collect();
    let found: Vec<&str> = all.iter().map(String::as_str).collect();
    log.scan(
        "a",
        "10.0.0.0/16",
        now - 60,
        &found,
        "completed",
        json!({}),
        json!({}),
    );
    log.write(&fleet);
    store.wait_for_log("trying again");
    let lines = store.log();
    assert_eq!(count(&lines, "no space left on the disk"), 1, "{lines}");
    disk.run("mount", &["-o", "remount,size=64m"]);
    fs::remove_file(&filler).unwrap();
    wait_for_end(&db, &fleet, &store);
    assert_eq!(db.table("services").len(), all.len());
    assert_eq!(changes(&db).len(), all.len());
    assert!(terminate(&mut store) < STOP_WITHIN);
    disk.run("mount", &["-o", "remount,ro"]);
    let output = fleet.store_once(&db, &[]);
    assert_eq!(output.status.code(), Some(1));
    let text = shown(&output);
    assert!(
        text.contains("writable") && text.lines().count() == 1,
        "{text}"
    );
}

// --- retention

fn kept() {
    let fleet = Fleet::new("store-kept");
    let now = now_ms() / 1000;
    let day = 24 * 3600;
    let mut log = Log::default();
    // Two scans that are older than what is kept, and others: .2 was seen again, the findings of the second are too old.
    for (id, days, found) in [
        ("old", 40, &["10.0.0.1", "10.0.0.2"][..]),
        ("middle", 25, &["10.0.0.2", "10.0.0.3"]),
        ("new", 1, &["10.0.0.2", "10.0.0.4"]),
    ] {
        log.scan(
            id,
            "10.0.0.0/24",
            now - days * day,
            found,
            "completed",
            json!({}),
            json!({}),
        );
    }
    for (attempt, later) in [(1, 5), (2, 9)] {
        let again = with(
            finding("new", "10.0.0.4", 80, now - day + later),
            &json!({"attempt": attempt}),
        );
        log.findings.push(again.to_string());
    }
    log.write(&fleet);
    let mut dumps = Vec::new();
    for db in FindingsDb::both(&fleet) {
        fleet.stored_once(&db, &["-keep", "30d", "-keep-findings", "20d"]);
        let ids = |sql: &str| db.lines(sql).concat();
        assert_eq!(db.table("services").len(), 3, "{:?}", db.table("services"));
        let changes = changes(&db);
        assert_eq!(changes.len(), 3, "{changes:?}");
        assert_eq!(
            ids("SELECT task_id AS line FROM tasks ORDER BY task_id"),
            "middlenew"
        );
        let findings = db.table("findings");
        let at = now - day + 1;
        let expected =
            [2, 4].map(|last| format!("new|00000000000000000000FFFF0A00000{last}|80|6|{at}|1"));
        assert_eq!(findings, expected);
        dumps.push(db.dump());
    }
    assert_eq!(dumps[0], dumps[1]);
}
