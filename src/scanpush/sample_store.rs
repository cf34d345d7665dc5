//! For tests: a database in a temporary file, filled through the same interface as by `scanpush store`.

use crate::model::ports::Proto;
use crate::model::service::{ServiceKey, Sighting};
use crate::model::{State, Targets, Task};
use crate::store::{
    Batch, Completion, DatabaseSettings, DatabaseUrl, Event, StatusChange, StoreWriter,
    StoredFinding, TaskAt, WriterOptions,
};
use std::collections::BTreeMap;
use tempfile::TempDir;

/// A database that is deleted at the end of the test.
pub struct SampleStore {
    folder: TempDir,
    writer: StoreWriter,
    /// Offsets of the tasks' records.
    offsets: BTreeMap<String, i64>,
    _running: crossbeam_channel::Sender<()>,
}

impl SampleStore {
    /// An empty database that keeps findings; services close after one scan that missed them.
    pub fn new() -> SampleStore {
        SampleStore::with(true)
    }

    /// An empty database.
    pub fn with(keeps_findings: bool) -> SampleStore {
        let folder = tempfile::tempdir().unwrap();
        let settings = DatabaseSettings {
            url: DatabaseUrl::Sqlite(folder.path().join("findings.db")),
            password: None,
        };
        let options = WriterOptions {
            holder: "test".into(),
            closed_after: 1,
            keeps_findings,
        };
        let (running, stop) = crossbeam_channel::bounded(0);
        let mut writer = StoreWriter::open(&settings, options, &stop).unwrap();
        writer.take_lease().unwrap();
        SampleStore {
            writer,
            folder,
            offsets: BTreeMap::new(),
            _running: running,
        }
    }

    /// The value of `-db`.
    pub fn url(&self) -> String {
        format!(
            "sqlite:{}",
            self.folder.path().join("findings.db").display()
        )
    }

    /// Adds findings: address, TCP port, time.
    pub fn find(&mut self, task: &str, found: &[(&str, u16, u64)]) {
        let finding = |&(ip, port, at): &(&str, u16, u64)| StoredFinding {
            sighting: Sighting {
                key: ServiceKey {
                    ip: ip.parse().unwrap(),
                    port,
                    proto: Proto::Tcp,
                },
                at,
                task_id: task.parse().unwrap(),
                reason: "syn-ack".parse().unwrap(),
                ttl: 64,
            },
            server: "s".into(),
            attempt: 1,
            pass: 1,
        };
        self.apply(Event::Findings(found.iter().map(finding).collect()));
    }

    /// Adds the record of a task; `more` are further fields, like `,"shard":"1/2"`.
    pub fn push(&mut self, task: &str, targets: &str, ports: &str, more: &str) {
        let json = format!(
            r#"{{"task_id":"{task}","ip_range":"{targets}","ports":"{ports}","band_width":"9","seed":7{more}}}"#
        );
        let offset = self.offsets.len() as i64;
        self.offsets.insert(task.into(), offset);
        self.apply(Event::Task(Box::new(TaskAt {
            partition: 0,
            offset,
            task: Task::from_record(json.as_bytes()).unwrap(),
        })));
    }

    /// Ends a task that began at `begun_s`.
    pub fn end(&mut self, task: &str, status: State, found: u64, begun_s: u64, ended_s: u64) {
        self.end_without(task, status, found, (begun_s, ended_s), "");
    }

    /// Ends a task whose server left some addresses out.
    pub fn end_without(
        &mut self,
        task: &str,
        status: State,
        found: u64,
        (begun_s, ended_s): (u64, u64),
        left_out: &str,
    ) {
        let server_exclude: Targets = match left_out {
            "" => Targets::default(),
            some => some.parse().unwrap(),
        };
        let change = StatusChange {
            task_id: task.parse().unwrap(),
            status,
            server: "s".into(),
            attempt: 1,
            lost: 0,
            fence: 1,
            retry: 0,
            record: (0, self.offsets.get(task).copied().unwrap_or(0)),
            found,
            found_by_pass: None,
            error: (status == State::Failed).then(|| "masscan: no route".into()),
            at_ms: ended_s * 1000,
            completion: (status == State::Completed).then(|| Completion {
                begun_ms: Some(begun_s * 1000),
                server_exclude,
            }),
        };
        self.apply(Event::Status(Box::new(change)));
    }

    fn apply(&mut self, event: Event) {
        let batch = Batch {
            events: vec![event],
            ..Batch::default()
        };
        self.writer.apply(&batch, "scan-results").unwrap();
    }
}
