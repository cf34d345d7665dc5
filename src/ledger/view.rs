//! The claim table as people look at it. Reads only.

use super::connection::Ledger;
use super::error::LedgerError;
use super::fields::Fields;
use crate::model::text::one_line;
use crate::model::{State, TaskId};
use serde::Serialize;

/// Keys that one SCAN call looks at.
const SCAN_COUNT: usize = 1000;

/// A task with its live state. Field names are those of the Redis hash and of `-json`.
#[derive(Clone, Debug, Serialize)]
#[allow(
    missing_docs,
    reason = "README's table of the hash says what each field is"
)]
pub struct LiveTask {
    pub task_id: String,
    pub status: State,
    pub progress: f64,
    pub rate_pps: f64,
    pub remaining_s: Option<u64>,
    pub found: u64,
    pub server: Option<String>,
    pub attempt: u32,
    pub ip_range: String,
    pub ports: String,
    pub band_width: u64,
    pub priority: u8,
    pub error: Option<String>,
    pub queued_ms: u64,
    pub started_ms: Option<u64>,
    pub updated_ms: u64,
    pub finished_ms: Option<u64>,
    pub retry_ms: Option<u64>,
    pub resume_index: u64,
}

impl Ledger {
    /// The task with this id; none where the group knows none.
    pub fn task(&mut self, id: &TaskId) -> Result<Option<LiveTask>, LedgerError> {
        let key = self.key(&format!("task:{id}"));
        let flat: Vec<String> =
            self.run(|connection| redis::cmd("HGETALL").arg(&key).query(connection))?;
        let fields = Fields::from_flat(flat);
        if fields.is_empty() {
            return Ok(None);
        }
        live_task(&fields).map(Some)
    }

    /// The newest `limit` tasks of the group, newest first. Looks at every task's key.
    pub fn tasks(&mut self, limit: usize) -> Result<Vec<LiveTask>, LedgerError> {
        let mut newest: Vec<(u64, String)> = Vec::new();
        for key in self.task_keys()? {
            let queued: Option<u64> = self.run(|connection| {
                redis::cmd("HGET")
                    .arg(&key)
                    .arg("queued_ms")
                    .query(connection)
            })?;
            newest.extend(queued.map(|at| (at, key)));
        }
        newest.sort_unstable_by(|a, b| b.cmp(a));
        newest.truncate(limit);
        let mut tasks = Vec::with_capacity(newest.len());
        for (_, key) in newest {
            let flat: Vec<String> =
                self.run(|connection| redis::cmd("HGETALL").arg(&key).query(connection))?;
            let fields = Fields::from_flat(flat);
            if !fields.is_empty() {
                tasks.push(live_task(&fields)?);
            }
        }
        Ok(tasks)
    }

    fn task_keys(&mut self) -> Result<Vec<String>, LedgerError> {
        let pattern = self.key("task:*");
        let mut keys = std::collections::BTreeSet::new();
        let mut at = 0u64;
        loop {
            let (next, found): (u64, Vec<String>) = self.run(|connection| {
                redis::cmd("SCAN")
                    .arg(at)
                    .arg("MATCH")
                    .arg(&pattern)
                    .arg("COUNT")
                    .arg(SCAN_COUNT)
                    .query(connection)
            })?;
            keys.extend(found);
            if next == 0 {
                return Ok(keys.into_iter().collect());
            }
            at = next;
        }
    }

    /// Redis' policy for full memory where it would throw keys away; none where it keeps them or doesn't say.
    pub fn evicting_policy(&mut self) -> Result<Option<String>, LedgerError> {
        let memory: String =
            self.run(|connection| redis::cmd("INFO").arg("memory").query(connection))?;
        Ok(memory
            .lines()
            .find_map(|line| line.strip_prefix("maxmemory_policy:"))
            .map(str::trim)
            .filter(|policy| *policy != "noeviction")
            .map(one_line))
    }
}

fn live_task(fields: &Fields) -> Result<LiveTask, LedgerError> {
    let text = |name: &str| fields.text(name).map(one_line);
    Ok(LiveTask {
        task_id: text("task_id").unwrap_or_default(),
        status: fields.need("status")?,
        progress: fields.get("progress")?.unwrap_or(0.0),
        rate_pps: fields.get("rate_pps")?.unwrap_or(0.0),
        remaining_s: fields.get("remaining_s")?,
        found: fields.get("found")?.unwrap_or(0),
        server: text("server"),
        attempt: fields.get("attempt")?.unwrap_or(0),
        ip_range: text("ip_range").unwrap_or_default(),
        ports: text("ports").unwrap_or_default(),
        band_width: fields.get("band_width")?.unwrap_or(0),
        priority: fields.get("priority")?.unwrap_or(0),
        error: text("error"),
        queued_ms: fields.need("queued_ms")?,
        started_ms: fields.get("started_ms")?,
        updated_ms: fields.get("updated_ms")?.unwrap_or(0),
        finished_ms: fields.get("finished_ms")?,
        retry_ms: fields.get("retry_ms")?,
        resume_index: fields.get("resume_index")?.unwrap_or(0),
    })
}
