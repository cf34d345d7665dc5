//! Tasks, jobs, servers and parts of a network as downloads have them.

use super::known_task::KnownTask;
use crate::claim_table::{LiveServer, LiveTask};
use crate::model::State;
use crate::scanpush::queries::rows::ListRecord;
use crate::scanpush::status::PastTask;
use crate::store::JobSummary;
use serde::Serialize;
use std::collections::BTreeMap;

fn text(value: Option<impl ToString>) -> String {
    value.map(|value| value.to_string()).unwrap_or_default()
}

impl ListRecord for KnownTask {
    const NAMES: &'static [&'static str] = &[
        "task_id",
        "status",
        "progress",
        "rate_pps",
        "found",
        "server",
        "attempt",
        "retry",
        "priority",
        "ip_range",
        "ports",
        "band_width",
        "job_id",
        "shard",
        "queued_ms",
        "started_ms",
        "updated_ms",
        "finished_ms",
        "error",
        "source",
    ];

    fn fields(&self) -> Vec<String> {
        match self {
            KnownTask::Live(task) => of_live(task),
            KnownTask::Stored(task) => of_stored(task),
        }
    }
}

fn of_live(task: &LiveTask) -> Vec<String> {
    vec![
        task.task_id.clone(),
        task.status.to_string(),
        task.progress.to_string(),
        task.rate_pps.to_string(),
        task.found.to_string(),
        text(task.server.as_ref()),
        task.attempt.to_string(),
        task.retry.to_string(),
        task.priority.to_string(),
        task.ip_range.clone(),
        task.ports.clone(),
        task.band_width.to_string(),
        text(task.job_id.as_ref()),
        text(task.shard.as_ref()),
        task.queued_ms.to_string(),
        text(task.started_ms),
        task.updated_ms.to_string(),
        text(task.finished_ms),
        text(task.error.as_ref()),
        "redis".to_owned(),
    ]
}

fn of_stored(task: &PastTask) -> Vec<String> {
    vec![
        task.task_id.clone(),
        task.status.to_string(),
        match task.status {
            State::Completed => "100".to_owned(),
            _ => String::new(),
        },
        String::new(),
        task.found.to_string(),
        text(task.server.as_ref()),
        task.attempt.to_string(),
        task.retry.to_string(),
        String::new(),
        text(task.ip_range.as_ref()),
        text(task.ports.as_ref()),
        text(task.band_width),
        text(task.job_id.as_ref()),
        text(task.shard.as_ref()),
        String::new(),
        text(task.started_ms),
        task.updated_ms.to_string(),
        text(task.finished_ms),
        text(task.error.as_ref()),
        "database".to_owned(),
    ]
}

/// A job. Field names are those of the API.
#[derive(Debug, Serialize)]
pub struct JobRecord {
    job_id: String,
    /// Its tasks in each state; states without tasks are left out.
    states: BTreeMap<&'static str, u64>,
    found: u64,
    updated_ms: u64,
}

impl From<&JobSummary> for JobRecord {
    fn from(job: &JobSummary) -> JobRecord {
        let states = job.by_state.iter();
        JobRecord {
            job_id: job.job_id.to_string(),
            states: states
                .map(|(state, count)| (state.as_str(), *count))
                .collect(),
            found: job.found,
            updated_ms: job.changed_ms,
        }
    }
}

impl ListRecord for JobRecord {
    /// A column for each state.
    const NAMES: &'static [&'static str] = &[
        "job_id",
        "found",
        "updated_ms",
        "queued",
        "running",
        "paused",
        "completed",
        "failed",
        "cancelled",
        "rejected",
    ];

    fn fields(&self) -> Vec<String> {
        let job = [
            self.job_id.clone(),
            self.found.to_string(),
            self.updated_ms.to_string(),
        ];
        let count = |state: State| self.states.get(state.as_str()).copied().unwrap_or(0);
        let counts = State::ALL.map(|state| count(state).to_string());
        job.into_iter().chain(counts).collect()
    }
}

impl ListRecord for LiveServer {
    const NAMES: &'static [&'static str] = &[
        "server",
        "slots",
        "free",
        "held",
        "rate_used",
        "max_rate",
        "fault",
        "version",
        "seen_ms",
        "age_ms",
    ];

    fn fields(&self) -> Vec<String> {
        vec![
            self.server.clone(),
            self.slots.to_string(),
            self.free.to_string(),
            self.held.to_string(),
            self.rate_used.to_string(),
            self.max_rate.to_string(),
            text(self.fault.as_ref()),
            self.version.clone(),
            self.seen_ms.to_string(),
            self.age_ms.to_string(),
        ]
    }
}

/// A part of a network.
#[derive(Clone, Debug, Serialize)]
pub struct PartRecord {
    /// The part.
    pub network: String,
    /// Its open services.
    pub open: u64,
}

impl ListRecord for PartRecord {
    const NAMES: &'static [&'static str] = &["network", "open"];

    fn fields(&self) -> Vec<String> {
        vec![self.network.clone(), self.open.to_string()]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scanpush::tasks::sample::task;
    use serde_json::Value;

    /// The CSV fields that have a value in JSON are equal to it.
    fn compare<R: ListRecord>(record: &R) {
        let json = serde_json::to_value(record).unwrap();
        let fields = record.fields();
        assert_eq!(fields.len(), R::NAMES.len());
        for (name, field) in R::NAMES.iter().zip(fields) {
            match &json[name] {
                Value::Null => {}
                Value::String(text) => assert_eq!(*text, field, "{name}"),
                value => assert_eq!(value.to_string().trim_end_matches(".0"), field, "{name}"),
            }
        }
    }

    #[test]
    fn csv_has_the_values_of_json() {
        let job = JobSummary {
            job_id: "night".parse().unwrap(),
            tasks: 3,
            by_state: vec![(State::Running, 1), (State::Failed, 2)],
            found: 4,
            begun_ms: None,
            ended_ms: None,
            changed_ms: 5,
        };
        let job = JobRecord::from(&job);
        compare(&job);
        assert_eq!(
            job.fields(),
            ["night", "4", "5", "0", "1", "0", "0", "2", "0", "0"]
        );
        assert_eq!(JobRecord::NAMES[3..], State::ALL.map(State::as_str));
        compare(&KnownTask::Live(Box::new(task())));
        let part = PartRecord {
            network: "10.0.0.0/24".into(),
            open: 7,
        };
        compare(&part);
        compare(&LiveServer {
            server: "a".into(),
            slots: 1,
            free: 2,
            held: 3,
            rate_used: 4,
            max_rate: 5,
            fault: Some("no masscan".into()),
            version: "6".into(),
            seen_ms: 7,
            age_ms: 8,
        });
    }
}
