//! A task that Redis no longer knows, as the database or Kafka knows it: as a table that fits the terminal, or as JSON.

use crate::exit::Failure;
use crate::model::text::one_line;
use crate::model::{State, StatusRecord};
use crate::scanpush::formats::time::short_form;
use crate::scanpush::output::Output;
use crate::scanpush::table::{self, Column, Row, Side};
use crate::store::StoredTask;
use serde::Serialize;

/// Where a state was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Source {
    /// The findings' database.
    Database,
    /// The last record of the topic of state changes.
    Kafka,
}

impl Source {
    fn shown(self) -> &'static str {
        match self {
            Source::Database => "database",
            Source::Kafka => "Kafka",
        }
    }
}

/// A task. The fields have the names that they have for a task in Redis.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PastTask {
    /// Where this comes from. A task in Redis does not have this field.
    pub source: Source,
    /// Its id.
    pub task_id: String,
    /// Its last known state.
    pub status: State,
    /// Findings.
    pub found: u64,
    /// The server that reported the state.
    pub server: Option<String>,
    /// Attempts started.
    pub attempt: u32,
    /// Its targets, if the source has them.
    pub ip_range: Option<String>,
    /// Its ports, if the source has them.
    pub ports: Option<String>,
    /// Packets per second, if the source has it.
    pub band_width: Option<u64>,
    /// The reason of the state.
    pub error: Option<String>,
    /// When it began, in unix milliseconds, if the source has it.
    pub started_ms: Option<u64>,
    /// When its state changed last, in unix milliseconds.
    pub updated_ms: u64,
    /// When it ended, in unix milliseconds.
    pub finished_ms: Option<u64>,
    /// How often it was retried after its end.
    pub retry: u32,
    /// Its job, if the source has it.
    pub job_id: Option<String>,
    /// Its share of the probes.
    pub shard: Option<String>,
}

impl From<StoredTask> for PastTask {
    fn from(task: StoredTask) -> PastTask {
        let (ip_range, ports) = match task.parameters {
            Some(parameters) => (Some(parameters.ip_range), Some(parameters.ports)),
            None => (None, None),
        };
        PastTask {
            source: Source::Database,
            task_id: task.task_id.to_string(),
            status: task.state,
            found: task.found,
            server: task.server,
            attempt: task.attempt,
            ip_range,
            ports,
            band_width: task.band_width,
            error: task.error,
            started_ms: task.begun_ms,
            updated_ms: task.changed_ms,
            finished_ms: task.ended_ms,
            retry: task.retry,
            job_id: task.job_id,
            shard: task.shard,
        }
    }
}

impl From<StatusRecord> for PastTask {
    fn from(record: StatusRecord) -> PastTask {
        PastTask {
            source: Source::Kafka,
            task_id: record.task_id,
            status: record.status,
            found: record.found,
            server: Some(record.server),
            attempt: record.lineage.attempt,
            ip_range: None,
            ports: None,
            band_width: None,
            error: record.error,
            started_ms: None,
            updated_ms: record.at_ms,
            finished_ms: record.status.is_terminal().then_some(record.at_ms),
            retry: record.lineage.retry,
            job_id: None,
            shard: None,
        }
    }
}

const COLUMNS: &[Column] = &[
    Column::new("ID", Side::Left, Some(21)),
    Column::new("STATE", Side::Left, None),
    Column::new("FOUND", Side::Right, None),
    Column::new("ATTEMPT", Side::Right, None),
    Column::new("BEGUN (UTC)", Side::Left, None),
    Column::new("ENDED (UTC)", Side::Left, None),
    Column::new("FROM", Side::Left, None),
];

/// Prints such tasks; nothing if there are none.
pub fn show_past(
    tasks: &[PastTask],
    json: bool,
    now_ms: u64,
    output: &mut Output<'_>,
) -> Result<(), Failure> {
    if json {
        return tasks.iter().try_for_each(|task| output.json(task));
    }
    let rows: Vec<Row> = tasks.iter().map(|task| row(task, now_ms / 1000)).collect();
    table::print(COLUMNS, &rows, output)
}

fn row(task: &PastTask, now_s: u64) -> Row {
    let time =
        |at_ms: Option<u64>| at_ms.map_or("-".to_owned(), |at_ms| short_form(at_ms / 1000, now_s));
    Row {
        cells: vec![
            one_line(&task.task_id),
            task.status.to_string(),
            task.found.to_string(),
            task.attempt.to_string(),
            time(task.started_ms),
            time(task.finished_ms),
            task.source.shown().to_owned(),
        ],
        below: task.error.as_deref().map(one_line).into_iter().collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RECORD: &str = r#"{"task_id":"a\u001b[2J","status":"failed","server":"s","attempt":3,"fence":1,"found":7,
        "partition":0,"offset":1,"error":"masscan: no\u009b","at_ms":1795333296123}"#;

    #[test]
    fn the_source_and_the_end_are_shown_within_80_columns() {
        let of_kafka: PastTask = serde_json::from_str::<StatusRecord>(RECORD).unwrap().into();
        let of_database = PastTask {
            source: Source::Database,
            task_id: "Wb3ZtqLk9Xe_fJ2vR0yAc".into(),
            status: State::Completed,
            started_ms: Some(1_700_000_000_000),
            error: None,
            ..of_kafka.clone()
        };
        let shown = |json| {
            let (mut out, mut err) = (Vec::new(), Vec::new());
            let mut output = Output::new(&mut out, &mut err, None, true);
            let tasks = [of_kafka.clone(), of_database.clone()];
            show_past(&tasks, json, 1_795_333_300_000, &mut output).unwrap();
            String::from_utf8(out).unwrap()
        };
        let table = shown(false);
        assert_eq!(
            table,
            "\
ID                    STATE     FOUND ATTEMPT BEGUN (UTC) ENDED (UTC) FROM
a\u{fffd}[2J                 failed        7       3 -           11-22 07:41 Kafka
  masscan: no\u{fffd}
Wb3ZtqLk9Xe_fJ2vR0yAc completed     7       3 2023-11-14  11-22 07:41 database
"
        );
        assert!(table.lines().all(|line| line.chars().count() <= 80));
        let json = shown(true);
        assert!(json.chars().all(|c| c == '\n' || !c.is_control()));
        let first: serde_json::Value = serde_json::from_str(json.lines().next().unwrap()).unwrap();
        assert_eq!(first["source"], "kafka");
        assert_eq!(first["status"], "failed");
        assert_eq!(first["finished_ms"], 1_795_333_296_123_u64);
    }
}
