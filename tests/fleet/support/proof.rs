//! Collects the evidence of a test run and has `checker.rs` check it.

use crate::support::checker::{self, Evidence, Finding, MasscanRun, StatusRecord};
use crate::support::{Fleet, Scand, addresses, wait_for, wait_until};
use scan::kafka::{GroupOffsets, KafkaSettings, Reader};
use scan::model::Task;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// The part of the evidence that only the test knows: what it pushed, and which servers it started and froze.
#[derive(Default)]
pub struct Proof {
    acknowledged: BTreeMap<String, BTreeSet<Finding>>,
    unacknowledged: BTreeSet<String>,
    /// Process id → server.
    servers: BTreeMap<u64, String>,
    frozen: Vec<(String, u64, u64)>,
}

impl Proof {
    /// Records that a server was started.
    pub fn server(&mut self, server: &Scand) {
        self.servers
            .insert(server.child.id().into(), server.name.clone());
    }

    /// Records that a push was acknowledged. A complete scan finds `findings`.
    pub fn pushed(&mut self, id: &str, findings: BTreeSet<Finding>) {
        self.acknowledged.insert(id.to_owned(), findings);
    }

    /// As [`Proof::pushed`], for port 443 of a /24.
    pub fn pushed_network(&mut self, id: &str, network: &str) {
        self.pushed(id, addresses(network, 443));
    }

    /// Records that a push failed: the task may be in Kafka or not.
    pub fn pushed_without_acknowledgement(&mut self, id: &str) {
        self.unacknowledged.insert(id.to_owned());
    }

    /// Records that a server was frozen between these times, in unix milliseconds.
    pub fn froze(&mut self, server: &str, from_ms: u64, to_ms: u64) {
        self.frozen.push((server.to_owned(), from_ms, to_ms));
    }

    /// Waits until every task has ended and all offsets are committed. Panics if the checker finds a violation.
    pub fn check(&self, fleet: &Fleet, within: Duration) {
        let mut missing = Vec::new();
        let all_ended = || {
            let ended: BTreeSet<String> = fleet
                .records("status")
                .iter()
                .map(status_record)
                .filter(StatusRecord::is_terminal)
                .map(|record| record.id)
                .collect();
            missing = self
                .acknowledged
                .keys()
                .filter(|id| !ended.contains(*id))
                .cloned()
                .collect();
            missing.is_empty()
        };
        if std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            wait_until("the end of all tasks", within, all_ended);
        }))
        .is_err()
        {
            for id in missing.iter().take(3) {
                eprintln!("{id} in Redis: {:?}", fleet.task(id));
                eprintln!("{id} in scan-status: {:?}", fleet.status_records(id));
            }
            panic!("{} tasks have not ended: {missing:?}", missing.len());
        }
        // The offset is committed a moment after the terminal record.
        let mut evidence = self.gather(fleet);
        let faults = wait_for("the offsets to be committed", within, || {
            let faults = checker::check(&evidence);
            if faults.uncommitted.is_empty() {
                return Some(faults);
            }
            evidence.offsets = offsets(fleet);
            None
        });
        assert!(faults.is_none(), "{faults:#?}");
    }

    fn gather(&self, fleet: &Fleet) -> Evidence {
        let mut found: BTreeMap<String, BTreeSet<Finding>> = BTreeMap::new();
        for record in fleet.records("results") {
            let id = record["task_id"].as_str().unwrap().to_owned();
            let ip = record["ip"].as_str().unwrap().to_owned();
            let finding = (ip, record["port"].as_u64().unwrap());
            found.entry(id).or_default().insert(finding);
        }
        Evidence {
            acknowledged: self.acknowledged.clone(),
            unacknowledged: self.unacknowledged.clone(),
            status: fleet.records("status").iter().map(status_record).collect(),
            found,
            runs: self.runs(fleet),
            offsets: offsets(fleet),
            frozen: self.frozen.clone(),
        }
    }

    fn runs(&self, fleet: &Fleet) -> Vec<MasscanRun> {
        let tasks: BTreeMap<u64, String> = fleet
            .records("tasks")
            .iter()
            .filter_map(|record| Task::from_record(record.to_string().as_bytes()).ok())
            .map(|task| (task.seed, task.task_id.to_string()))
            .collect();
        runs_of(&fleet.standin_events(), &tasks, &self.servers)
    }
}

/// The runs in the stand-in's log. The system reuses process ids (after 32 768 processes on many machines), so each `start` begins a new run.
fn runs_of(
    events: &[Value],
    tasks: &BTreeMap<u64, String>,
    servers: &BTreeMap<u64, String>,
) -> Vec<MasscanRun> {
    let mut runs: Vec<MasscanRun> = Vec::new();
    let mut run_of_pid: BTreeMap<u64, usize> = BTreeMap::new();
    for event in events {
        let (pid, at_ms) = (
            event["pid"].as_u64().unwrap(),
            event["at_ms"].as_u64().unwrap(),
        );
        if event["event"] == "start" || !run_of_pid.contains_key(&pid) {
            run_of_pid.insert(pid, runs.len());
            runs.push(MasscanRun {
                id: tasks.get(&event["seed"].as_u64().unwrap()).cloned(),
                server: servers.get(&event["parent"].as_u64().unwrap()).cloned(),
                began_ms: at_ms,
                last_ms: at_ms,
            });
        }
        runs[run_of_pid[&pid]].last_ms = at_ms;
    }
    runs
}

pub fn a_reused_process_id_is_another_run() {
    let event = |event: &str, seed: u64, at_ms: u64| serde_json::json!({"event": event, "pid": 77, "parent": 1, "seed": seed, "at_ms": at_ms});
    let events = [
        event("start", 5, 1_000),
        event("end", 5, 2_000),
        event("start", 6, 616_000),
        event("tick", 6, 617_000),
    ];
    let tasks = BTreeMap::from([(5, "first".to_owned()), (6, "second".to_owned())]);
    let runs = runs_of(&events, &tasks, &BTreeMap::new());
    let spans: Vec<_> = runs
        .iter()
        .map(|run| (run.id.as_deref(), run.began_ms, run.last_ms))
        .collect();
    assert_eq!(
        spans,
        [
            (Some("first"), 1_000, 2_000),
            (Some("second"), 616_000, 617_000)
        ]
    );
}

fn status_record(record: &Value) -> StatusRecord {
    let text = |name: &str| record[name].as_str().unwrap_or_default().to_owned();
    StatusRecord {
        id: text("task_id"),
        status: text("status"),
        server: text("server"),
        fence: record["fence"].as_u64().unwrap_or(0),
        at_ms: record["at_ms"].as_u64().unwrap_or(0),
    }
}

/// The group's committed offset and the end of the log of each partition of the task topic.
pub fn offsets(fleet: &Fleet) -> BTreeMap<i32, (i64, i64)> {
    let settings = KafkaSettings::plaintext(fleet.kafka.parse().unwrap());
    let topic = fleet.topic("tasks");
    let mut group = GroupOffsets::new(&settings, &fleet.group, &topic);
    let committed = group.committed().unwrap();
    let ranges = Reader::connect(&settings, &topic)
        .unwrap()
        .log_ranges()
        .unwrap();
    ranges
        .into_iter()
        .map(|(partition, range)| {
            let committed = committed.get(&partition).copied();
            // Nothing is committed for an empty partition.
            let none = if range.next == 0 { 0 } else { -1 };
            (partition, (committed.unwrap_or(none), range.next))
        })
        .collect()
}
