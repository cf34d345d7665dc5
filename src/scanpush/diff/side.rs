//! One of the two that are compared: its tasks, and what they covered. Pure.

use crate::model::coverage::{Coverage, Proof, ScanParameters, are_complete};
use crate::model::service::ServiceKey;
use crate::model::task::Shard;
use crate::model::{Ports, State, Targets, TaskId};
use crate::scanpush::formats::time::date_form;
use crate::store::{StoredJob, StoredTask};
use std::collections::BTreeMap;

/// A completed task covers nothing if the database has less than this share of what it found, in percent: the rest was deleted, or was not kept. A
/// few may be missing because a scan that continued at a checkpoint counts some findings twice.
const KEPT_PERCENT_MIN: u64 = 95;
/// Longest text of targets or ports that is shown; of a longer one, only the number.
const SHOWN_CHARS_MAX: usize = 60;

/// A task or a job.
#[derive(Debug)]
pub struct Side {
    /// The job's id; none for a task.
    job: Option<TaskId>,
    tasks: Vec<StoredTask>,
    /// Findings in the database, for each task.
    kept: Vec<u64>,
    /// What was covered: the targets of each list of ports.
    covered: Vec<Coverage>,
}

impl Side {
    /// A task.
    pub fn of_task(task: StoredTask) -> Side {
        Side::new(None, vec![task])
    }

    /// A job.
    pub fn of_job(id: TaskId, job: StoredJob) -> Side {
        Side::new(Some(id), job.tasks)
    }

    fn new(job: Option<TaskId>, tasks: Vec<StoredTask>) -> Side {
        Side {
            job,
            kept: vec![0; tasks.len()],
            tasks,
            covered: Vec::new(),
        }
    }

    /// Its tasks.
    pub fn tasks(&self) -> &[StoredTask] {
        &self.tasks
    }

    /// Findings in the database.
    pub fn kept(&self) -> u64 {
        self.kept.iter().sum()
    }

    /// Whether all of its tasks have completed and it covered something.
    pub fn is_complete(&self) -> bool {
        let mut tasks = self.tasks.iter();
        tasks.all(|task| task.state == State::Completed) && !self.covered.is_empty()
    }

    /// Findings of all tasks, as their last states say.
    pub fn found(&self) -> u64 {
        self.tasks.iter().map(|task| task.found).sum()
    }

    /// The same, with the number of findings of each task in the database, from which follows what it covered. Until then it covers nothing.
    pub fn with_kept(self, kept: Vec<u64>) -> Side {
        Side {
            covered: covered(&self.tasks, &kept),
            kept,
            ..self
        }
    }

    /// Whether it would have found this service.
    pub fn covers(&self, key: &ServiceKey) -> bool {
        self.covered.iter().any(|coverage| coverage.contains(key))
    }

    /// `task a` or `job a`.
    pub fn name(&self) -> String {
        match (&self.job, self.tasks.first()) {
            (Some(job), _) => format!("job {job}"),
            (None, Some(task)) => format!("task {}", task.task_id),
            (None, None) => "nothing".to_owned(),
        }
    }

    /// Its state and what it covered, in one line.
    pub fn line(&self) -> String {
        let state = match &self.job {
            None => self.tasks.first().map(state_of).unwrap_or_default(),
            Some(_) => self.states(),
        };
        let covered = match self.covered[..] {
            [] => format!("covered nothing{}", self.why_nothing()),
            _ => format!("covered {}", self.shown_coverage()),
        };
        let (kept, found) = (self.kept(), self.found());
        let missing = match kept < found {
            true => format!(" (the database has {kept} findings of {found})"),
            false => String::new(),
        };
        format!("{}: {state}; {covered}{missing}", self.name())
    }

    fn states(&self) -> String {
        let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
        for task in &self.tasks {
            *counts.entry(task.state.as_str()).or_default() += 1;
        }
        let completed = counts.remove(State::Completed.as_str()).unwrap_or(0);
        let others: Vec<String> = counts
            .iter()
            .map(|(state, count)| format!(", {count} {state}"))
            .collect();
        let all = self.tasks.len();
        format!("{completed} of {all} tasks completed{}", others.concat())
    }

    /// Why a single task covered nothing; empty for a job, whose states say it.
    fn why_nothing(&self) -> &'static str {
        match (&self.job, &self.tasks[..], &self.kept[..]) {
            (None, [task], [kept]) if task.state == State::Completed => {
                if task.shard.is_some() {
                    " by itself, since it is a shard: compare jobs"
                } else if !has_enough(task, *kept) {
                    ", since findings are missing"
                } else {
                    ", as far as the database knows"
                }
            }
            (None, ..) => ", since it has not completed",
            (Some(_), ..) => "",
        }
    }

    fn shown_coverage(&self) -> String {
        let parts: Vec<String> = self
            .covered
            .iter()
            .map(|Coverage { targets, ports }| {
                let targets = short(targets.to_string())
                    .unwrap_or_else(|| format!("{} addresses", targets.count()));
                let ports =
                    short(ports.to_string()).unwrap_or_else(|| format!("{}", ports.count()));
                format!("{targets} ports {ports}")
            })
            .collect();
        let all = parts.join(" and ");
        short(all).unwrap_or_else(|| match &parts[..] {
            [one] => one.clone(),
            several => format!(
                "{} lists of ports, each with its own targets",
                several.len()
            ),
        })
    }
}

fn state_of(task: &StoredTask) -> String {
    match task.ended_ms {
        Some(ended_ms) => format!("{} {} UTC", task.state, date_form(ended_ms / 1000)),
        None => task.state.to_string(),
    }
}

fn short(text: String) -> Option<String> {
    (text.chars().count() <= SHOWN_CHARS_MAX).then_some(text)
}

fn has_enough(task: &StoredTask, kept: u64) -> bool {
    kept.saturating_mul(100) >= task.found.saturating_mul(KEPT_PERCENT_MIN)
}

/// What the completed tasks covered, one entry for each list of ports.
fn covered(tasks: &[StoredTask], kept: &[u64]) -> Vec<Coverage> {
    let mut scans: Vec<&ScanParameters> = Vec::new();
    let mut shards: Vec<(&ScanParameters, Vec<Shard>)> = Vec::new();
    for (task, kept) in tasks.iter().zip(kept) {
        let Some(parameters) = &task.parameters else {
            continue;
        };
        // Other proofs: what it scanned is unknown, or findings were lost.
        let has_proof = matches!(task.proof, Some(Proof::Covered | Proof::WaitsForShards));
        if task.state != State::Completed || !has_proof || !has_enough(task, *kept) {
            continue;
        }
        match task.shard.as_deref().map(str::parse::<Shard>) {
            None => scans.push(parameters),
            Some(Err(_)) => {}
            Some(Ok(shard)) => {
                let same = |(known, others): &&mut (&ScanParameters, Vec<Shard>)| {
                    *known == parameters && others[0].count == shard.count
                };
                match shards.iter_mut().find(same) {
                    Some((_, others)) => others.push(shard),
                    None => shards.push((parameters, vec![shard])),
                }
            }
        }
    }
    for (parameters, shards) in shards {
        if let Some(count) = shards.first().map(|shard| shard.count)
            && are_complete(count, shards)
        {
            scans.push(parameters);
        }
    }
    let mut ranges: BTreeMap<String, (Ports, Vec<_>)> = BTreeMap::new();
    for Coverage { targets, ports } in scans.iter().filter_map(|scan| scan.coverage().ok()) {
        let of_ports = ranges
            .entry(ports.to_string())
            .or_insert_with(|| (ports, Vec::new()));
        of_ports.1.extend_from_slice(targets.ranges());
    }
    ranges
        .into_values()
        .map(|(ports, ranges)| Coverage {
            targets: Targets::from_ranges(ranges),
            ports,
        })
        .filter(|coverage| !coverage.targets.is_empty())
        .collect()
}
