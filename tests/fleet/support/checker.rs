//! Checks that a run lost nothing and did nothing twice, like Jepsen's total-queue checker. Pure: it does no I/O. The tests below show for
//! each rule that it can fail.
//!
//! Acknowledged pushes come from scanpush's output, the times of runs from the stand-in's log, and state changes from the topics. A run of
//! masscan is matched to its claim as follows: the seed identifies the task, the parent process identifies the server, and that server's
//! last `running` record before the start has the fence.

use std::collections::{BTreeMap, BTreeSet};

/// How long two masscans of one task may overlap, in milliseconds, when the task moves to another server. A server that loses its lease kills
/// its masscan at the next tick; the rest is for a busy machine.
const OVERLAP_MAX_MS: u64 = 1000;

/// An address and a port.
pub type Finding = (String, u64);

/// Everything that a test run left behind. Times are unix milliseconds of one machine.
#[derive(Clone, Debug, Default)]
pub struct Evidence {
    /// Tasks whose push was acknowledged, with all findings of a complete scan of each.
    pub acknowledged: BTreeMap<String, BTreeSet<Finding>>,
    /// Tasks that were pushed, but whose acknowledgement did not arrive: they may exist or not.
    pub unacknowledged: BTreeSet<String>,
    /// All records of `scan-status`, in order.
    pub status: Vec<StatusRecord>,
    /// All of `scan-results`, without duplicates.
    pub found: BTreeMap<String, BTreeSet<Finding>>,
    /// Every run of masscan.
    pub runs: Vec<MasscanRun>,
    /// Partition → committed offset (−1 if there is none), end of the log.
    pub offsets: BTreeMap<i32, (i64, i64)>,
    /// The times during which a server was frozen: its name, beginning and end. Its masscan keeps running, which cannot be prevented.
    pub frozen: Vec<(String, u64, u64)>,
}

/// A record of `scan-status`.
#[derive(Clone, Debug)]
pub struct StatusRecord {
    pub id: String,
    pub status: String,
    pub server: String,
    pub fence: u64,
    pub at_ms: u64,
}

impl StatusRecord {
    pub fn is_terminal(&self) -> bool {
        ["completed", "failed", "cancelled", "rejected"].contains(&self.status.as_str())
    }
}

/// One run of masscan, from the stand-in's log.
#[derive(Clone, Debug)]
pub struct MasscanRun {
    /// The task that has the run's seed; none if no task has it.
    pub id: Option<String>,
    /// The server that started it; none if the parent is not a known server.
    pub server: Option<String>,
    pub began_ms: u64,
    /// Its last line in the log.
    pub last_ms: u64,
}

/// The violations of each rule, one text per violation.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Faults {
    pub lost: Vec<String>,
    pub unexpected: Vec<String>,
    pub accepted_twice: Vec<String>,
    pub same_window: Vec<String>,
    pub findings_missing: Vec<String>,
    pub uncommitted: Vec<String>,
}

impl Faults {
    pub fn is_none(&self) -> bool {
        *self == Faults::default()
    }
}

pub fn check(evidence: &Evidence) -> Faults {
    let ends = ends(&evidence.status);
    Faults {
        lost: lost(evidence, &ends),
        unexpected: unexpected(evidence),
        accepted_twice: accepted_twice(evidence, &ends),
        same_window: same_window(evidence),
        findings_missing: findings_missing(evidence, &ends),
        uncommitted: evidence
            .offsets
            .iter()
            .filter(|(_, (committed, end))| committed != end)
            .map(|(partition, (committed, end))| {
                format!("partition {partition}: {committed} of {end}")
            })
            .collect(),
    }
}

/// The terminal records of each task, in order.
fn ends(records: &[StatusRecord]) -> BTreeMap<&str, Vec<&StatusRecord>> {
    let mut ends: BTreeMap<&str, Vec<&StatusRecord>> = BTreeMap::new();
    for record in records.iter().filter(|record| record.is_terminal()) {
        ends.entry(&record.id).or_default().push(record);
    }
    ends
}

fn lost(evidence: &Evidence, ends: &BTreeMap<&str, Vec<&StatusRecord>>) -> Vec<String> {
    let ids = evidence.acknowledged.keys();
    ids.filter(|id| !ends.contains_key(id.as_str()))
        .map(|id| format!("{id}: acknowledged, but never ended"))
        .collect()
}

fn unexpected(evidence: &Evidence) -> Vec<String> {
    let pushed =
        |id: &str| evidence.acknowledged.contains_key(id) || evidence.unacknowledged.contains(id);
    let recorded = evidence.status.iter().map(|record| record.id.as_str());
    let found = evidence.found.keys().map(String::as_str);
    let ran = evidence
        .runs
        .iter()
        .map(|run| run.id.as_deref().unwrap_or("?"));
    let unknown: BTreeSet<&str> = recorded
        .chain(found)
        .chain(ran)
        .filter(|id| !pushed(id))
        .collect();
    let mut lines: Vec<String> = unknown
        .into_iter()
        .map(|id| format!("{id}: nobody pushed it"))
        .collect();
    for (id, expected) in &evidence.acknowledged {
        let found = evidence.found.get(id).into_iter().flatten();
        let extra: Vec<_> = found.filter(|found| !expected.contains(found)).collect();
        if let Some(first) = extra.first() {
            lines.push(format!(
                "{id}: {} unexpected findings such as {first:?}",
                extra.len()
            ));
        }
    }
    lines
}

/// Tasks that ended in two different states, or ran again after their end. Two terminal records with the same state are allowed: a server may
/// die between the record and `finish.lua`, and the next one sends the record again.
fn accepted_twice(evidence: &Evidence, ends: &BTreeMap<&str, Vec<&StatusRecord>>) -> Vec<String> {
    let mut lines = Vec::new();
    for (id, ends) in ends {
        let states: BTreeSet<&str> = ends.iter().map(|end| end.status.as_str()).collect();
        if states.len() > 1 {
            lines.push(format!("{id}: ended as {states:?}"));
        }
        let first_ms = ends.iter().map(|end| end.at_ms).min().unwrap_or(u64::MAX);
        let after = |run: &&MasscanRun| run.id.as_deref() == Some(*id) && run.began_ms > first_ms;
        if let Some(run) = evidence.runs.iter().find(after) {
            let late_ms = run.began_ms - first_ms;
            lines.push(format!("{id}: ran again {late_ms} ms after its end"));
        }
    }
    lines
}

fn same_window(evidence: &Evidence) -> Vec<String> {
    let mut lines = Vec::new();
    let mut windows: BTreeMap<(&str, u64), u32> = BTreeMap::new();
    for run in &evidence.runs {
        let (Some(id), Some(server)) = (&run.id, &run.server) else {
            continue;
        };
        match fence_of(evidence, id, server, run.began_ms) {
            Some(fence) => *windows.entry((id, fence)).or_default() += 1,
            None => lines.push(format!("{id}: {server} ran it without a running record")),
        }
    }
    for ((id, fence), runs) in windows.into_iter().filter(|(_, runs)| *runs > 1) {
        lines.push(format!("{id}: {runs} runs under fence {fence}"));
    }
    lines.extend(overlaps(evidence));
    lines
}

/// The fence under which `server` started `id` at `at_ms`.
fn fence_of(evidence: &Evidence, id: &str, server: &str, at_ms: u64) -> Option<u64> {
    let running = evidence.status.iter().filter(|record| {
        record.status == "running"
            && record.id == id
            && record.server == server
            && record.at_ms <= at_ms
    });
    running
        .max_by_key(|record| record.at_ms)
        .map(|record| record.fence)
}

/// Runs of one task that overlap, unless the first one's server was frozen.
fn overlaps(evidence: &Evidence) -> Vec<String> {
    let mut of_task: BTreeMap<&str, Vec<&MasscanRun>> = BTreeMap::new();
    for run in &evidence.runs {
        if let Some(id) = &run.id {
            of_task.entry(id).or_default().push(run);
        }
    }
    let mut lines = Vec::new();
    for (id, mut runs) in of_task {
        runs.sort_by_key(|run| run.began_ms);
        for (n, first) in runs.iter().enumerate() {
            for second in &runs[n + 1..] {
                let both_ms = first.last_ms.saturating_sub(second.began_ms);
                if both_ms > OVERLAP_MAX_MS && !was_frozen(evidence, first, second.began_ms) {
                    lines.push(format!("{id}: two runs overlap for {both_ms} ms"));
                }
            }
        }
    }
    lines
}

/// Whether the server of `run` was frozen before `at_ms` and had at most [`OVERLAP_MAX_MS`] to kill the run after it resumed.
fn was_frozen(evidence: &Evidence, run: &MasscanRun, at_ms: u64) -> bool {
    evidence.frozen.iter().any(|(server, from_ms, to_ms)| {
        run.server.as_ref() == Some(server)
            && *from_ms <= at_ms
            && run.last_ms <= to_ms + OVERLAP_MAX_MS
    })
}

fn findings_missing(evidence: &Evidence, ends: &BTreeMap<&str, Vec<&StatusRecord>>) -> Vec<String> {
    let nothing = BTreeSet::new();
    let mut lines = Vec::new();
    for (id, expected) in &evidence.acknowledged {
        let ends = ends.get(id.as_str()).into_iter().flatten();
        if !ends.into_iter().any(|end| end.status == "completed") {
            continue;
        }
        let found = evidence.found.get(id).unwrap_or(&nothing);
        let missing = expected.difference(found).count();
        if missing > 0 {
            lines.push(format!("{id}: {missing} of {} findings", expected.len()));
        }
    }
    lines
}

// --- tests of the checker, listed in main.rs because the harness does not support `#[test]`

/// Each change to a correct run violates exactly one rule.
pub fn every_rule_can_fail() {
    assert_eq!(check(&correct_run()), Faults::default(), "a correct run");
    type Break = fn(&mut Evidence);
    type Rule = fn(&Faults) -> &Vec<String>;
    let breaks: &[(&str, Break, Rule, &str)] = &[
        (
            "never ended",
            |e| drop(e.status.pop()),
            |f| &f.lost,
            "t: acknowledged",
        ),
        (
            "an end of an unknown task",
            |e| e.status.push(record("x", "completed", "a", 9, 9000)),
            |f| &f.unexpected,
            "x: nobody",
        ),
        (
            "a run of an unknown task",
            |e| e.runs.push(run(None, "a", 9000, 9100)),
            |f| &f.unexpected,
            "?: nobody",
        ),
        (
            "a finding of another network",
            |e| {
                e.found
                    .get_mut("t")
                    .unwrap()
                    .extend([("9.9.9.9".into(), 1)])
            },
            |f| &f.unexpected,
            "t: 1 unexpected",
        ),
        (
            "two ends",
            |e| e.status.push(record("t", "failed", "b", 3, 6000)),
            |f| &f.accepted_twice,
            "t: ended as",
        ),
        (
            "a run after the end",
            |e| {
                e.status.push(record("t", "running", "b", 3, 6000));
                e.runs.push(run(Some("t"), "b", 6001, 6100));
            },
            |f| &f.accepted_twice,
            "t: ran again 1001 ms",
        ),
        (
            "two runs under one claim",
            |e| e.runs.push(run(Some("t"), "b", 4900, 4950)),
            |f| &f.same_window,
            "t: 2 runs under fence 2",
        ),
        (
            "a run without a running record",
            |e| e.runs.push(run(Some("t"), "c", 4900, 4950)),
            |f| &f.same_window,
            "t: c ran it",
        ),
        (
            "overlapping runs",
            |e| e.runs[0].last_ms = 4500,
            |f| &f.same_window,
            "t: two runs overlap for 1500 ms",
        ),
        (
            "a missing finding",
            |e| drop(e.found.get_mut("t").unwrap().pop_first()),
            |f| &f.findings_missing,
            "t: 1 of 2",
        ),
        (
            "a committed offset that is too low",
            |e| e.offsets.extend([(0, (0, 1))]),
            |f| &f.uncommitted,
            "partition 0: 0 of 1",
        ),
        (
            "a committed offset that is too high",
            |e| e.offsets.extend([(0, (2, 1))]),
            |f| &f.uncommitted,
            "partition 0: 2 of 1",
        ),
    ];
    for (name, break_it, rule, begins) in breaks {
        let mut evidence = correct_run();
        break_it(&mut evidence);
        let faults = check(&evidence);
        let lines = rule(&faults);
        assert!(
            lines.first().is_some_and(|line| line.starts_with(begins)),
            "{name}: {faults:?}"
        );
        assert_eq!(lines.len(), 1, "{name}: {faults:?}");
    }
    allowed_irregularities_are_accepted();
}

/// Irregularities that faults cause and no rule forbids.
fn allowed_irregularities_are_accepted() {
    let mut evidence = correct_run();
    evidence.unacknowledged.insert("maybe".into());
    evidence
        .status
        .push(record("maybe", "completed", "a", 4, 7000));
    // Another server sends the terminal record again.
    evidence.status.push(record("t", "completed", "a", 3, 8000));
    // The masscan of a frozen server continues.
    evidence.runs[0].last_ms = 4800;
    evidence.frozen.push(("a".into(), 2000, 4900));
    assert!(check(&evidence).is_none(), "{:?}", check(&evidence));
}

/// One task: `a` loses it, `b` completes it.
fn correct_run() -> Evidence {
    let findings: BTreeSet<Finding> = [("1.1.1.1".into(), 80), ("1.1.1.2".into(), 80)].into();
    Evidence {
        acknowledged: [("t".into(), findings.clone())].into(),
        status: vec![
            record("t", "queued", "a", 0, 900),
            record("t", "running", "a", 1, 1000),
            record("t", "queued", "b", 1, 2900),
            record("t", "running", "b", 2, 2990),
            record("t", "completed", "b", 2, 5000),
        ],
        found: [("t".into(), findings)].into(),
        runs: vec![
            run(Some("t"), "a", 1001, 2800),
            run(Some("t"), "b", 3000, 4800),
        ],
        offsets: [(0, (1, 1))].into(),
        ..Evidence::default()
    }
}

fn record(id: &str, status: &str, server: &str, fence: u64, at_ms: u64) -> StatusRecord {
    StatusRecord {
        id: id.into(),
        status: status.into(),
        server: server.into(),
        fence,
        at_ms,
    }
}

fn run(id: Option<&str>, server: &str, began_ms: u64, last_ms: u64) -> MasscanRun {
    MasscanRun {
        id: id.map(str::to_owned),
        server: Some(server.into()),
        began_ms,
        last_ms,
    }
}
