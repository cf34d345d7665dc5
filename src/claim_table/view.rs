//! Reads tasks and servers for display. Changes nothing.

use super::connection::{ClaimTable, query_each};
use super::error::{ClaimTableError, is_wrong_type};
use super::fields::Fields;
use super::order::Order;
use crate::model::resume::Position;
use crate::model::text::one_line;
use crate::model::{FoundByPass, State, TaskId};
use redis::{RedisResult, Value};
use serde::Serialize;
use std::collections::BTreeSet;

/// Keys that one SCAN call examines.
const SCAN_COUNT: usize = 1000;
/// Keys that are read in one round trip.
const VIEW_PIPELINE: usize = 1000;

/// A task with its live state. Field names are those of the Redis hash and of `-json`.
#[derive(Clone, Debug, Serialize)]
#[allow(missing_docs, reason = "docs/claim-table.md describes the fields")]
pub struct LiveTask {
    pub task_id: String,
    pub status: State,
    pub progress: f64,
    pub rate_pps: f64,
    pub remaining_s: Option<u64>,
    pub found: u64,
    pub found_by_pass: FoundByPass,
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
    pub resume_pass: u32,
    pub resume_index: u64,
    pub retry: u32,
    pub order: Option<Order>,
    pub probes: Option<u128>,
    pub job_id: Option<String>,
    pub shard: Option<String>,
    pub parallel: Option<u32>,
}

/// A server as it last reported. Field names are those of the Redis hash and of `-json`.
#[derive(Clone, Debug, Serialize)]
pub struct LiveServer {
    /// Its name.
    pub server: String,
    /// Scans that may send at the same time.
    pub slots: u64,
    /// Slots without a sending scan.
    pub free: u64,
    /// Claims held, including those whose scans only wait for late answers.
    pub held: u64,
    /// Packets per second that its sending scans may use.
    pub rate_used: u64,
    /// Maximum packets per second.
    pub max_rate: u64,
    /// Why it cannot scan; it then claims nothing. None if it can.
    pub fault: Option<String>,
    /// Its version.
    pub version: String,
    /// Its last heartbeat, in unix milliseconds by Redis' clock as it is now.
    pub seen_ms: u64,
    /// How long ago that was, in milliseconds by the same clock.
    pub age_ms: u64,
}

impl ClaimTable {
    /// The task with this id; none if the group does not know it.
    pub fn task(&mut self, id: &TaskId) -> Result<Option<LiveTask>, ClaimTableError> {
        Ok(self.tasks_of(std::slice::from_ref(id))?.pop().flatten())
    }

    /// The tasks with these ids, in the same order; none for an unknown one, or one without a readable state. Pipelined: one round trip for many.
    pub fn tasks_of(&mut self, ids: &[TaskId]) -> Result<Vec<Option<LiveTask>>, ClaimTableError> {
        let keys: Vec<String> = ids.iter().map(|id| self.task_key(id)).collect();
        Ok(self.hashes(&keys)?.iter().map(live_task).collect())
    }

    /// The tasks that a server runs or ends, at most `limit`, those that started last first. Its cost does not depend on the number of other tasks.
    pub fn running(&mut self, limit: usize) -> Result<Vec<LiveTask>, ClaimTableError> {
        let key = self.key("running");
        let ids: Vec<String> = self.run(|connection| {
            redis::cmd("ZRANGE")
                .arg(&key)
                .arg(0)
                .arg(limit.saturating_sub(1))
                .query(connection)
        })?;
        let ids: Vec<TaskId> = ids.iter().filter_map(|id| id.parse().ok()).collect();
        let mut tasks: Vec<LiveTask> = self.tasks_of(&ids)?.into_iter().flatten().collect();
        tasks.sort_by(|a, b| (b.started_ms, &b.task_id).cmp(&(a.started_ms, &a.task_id)));
        Ok(tasks)
    }

    /// The newest `limit` tasks in one of `states` (empty: in any state), newest first. Examines every task's key, [`VIEW_PIPELINE`] in one
    /// round trip.
    pub fn tasks(
        &mut self,
        states: &[State],
        limit: usize,
    ) -> Result<Vec<LiveTask>, ClaimTableError> {
        let wanted =
            |status: &str| states.is_empty() || states.iter().any(|state| state.as_str() == status);
        let mut newest: Vec<(u64, String)> = Vec::new();
        let keys: Vec<String> = self.keys("task", "")?.into_iter().collect();
        for some in keys.chunks(VIEW_PIPELINE) {
            let found: Vec<RedisResult<(Option<String>, Option<String>)>> =
                self.run(|connection| {
                    let mut pipeline = redis::pipe();
                    for key in some {
                        pipeline
                            .cmd("HMGET")
                            .arg(key)
                            .arg("queued_ms")
                            .arg("status");
                    }
                    query_each(&mut pipeline, connection)
                })?;
            for (key, found) in some.iter().zip(found) {
                if let Ok((queued, Some(status))) = found
                    && wanted(&status)
                {
                    // A malformed time counts as missing, as in `live_task`.
                    let queued = queued.and_then(|queued| queued.parse().ok());
                    newest.push((queued.unwrap_or(0), key.clone()));
                }
            }
        }
        newest.sort_unstable_by(|a, b| b.cmp(a));
        newest.truncate(limit);
        let keys: Vec<String> = newest.into_iter().map(|(_, key)| key).collect();
        Ok(self.hashes(&keys)?.iter().filter_map(live_task).collect())
    }

    /// For each of `ids`, whether the group knows a task with it.
    pub fn knows(&mut self, ids: &[TaskId]) -> Result<Vec<bool>, ClaimTableError> {
        let keys: Vec<String> = ids.iter().map(|id| self.task_key(id)).collect();
        let mut known = Vec::with_capacity(ids.len());
        for some in keys.chunks(VIEW_PIPELINE) {
            known.extend(self.run(|connection| {
                let mut pipeline = redis::pipe();
                for key in some {
                    pipeline.cmd("EXISTS").arg(key);
                }
                let answers: Vec<RedisResult<bool>> = query_each(&mut pipeline, connection)?;
                answers.into_iter().collect::<RedisResult<Vec<bool>>>()
            })?);
        }
        Ok(known)
    }

    /// The key of a task's hash.
    pub(super) fn task_key(&self, id: &TaskId) -> String {
        self.key(&format!("task:{id}"))
    }

    /// The tasks of a job, ascending by id. Tasks that ended long ago may no longer have a hash. Empty for an unknown job.
    pub fn job(&mut self, job_id: &TaskId) -> Result<Vec<TaskId>, ClaimTableError> {
        let key = self.key(&format!("job:{job_id}"));
        let members: BTreeSet<String> =
            self.run(|connection| redis::cmd("SMEMBERS").arg(&key).query(connection))?;
        Ok(members.iter().filter_map(|id| id.parse().ok()).collect())
    }

    /// The ids of tasks that start with `beginning`, ascending. Examines every key.
    pub fn tasks_beginning(&mut self, beginning: &str) -> Result<Vec<TaskId>, ClaimTableError> {
        self.ids("task", beginning)
    }

    /// The ids of jobs that start with `beginning`, ascending. Examines every key.
    pub fn jobs_beginning(&mut self, beginning: &str) -> Result<Vec<TaskId>, ClaimTableError> {
        self.ids("job", beginning)
    }

    /// The servers of the group that have reported within [`SERVER_FORGOTTEN_AFTER`], by name. When is their score in `servers`, which a jump of
    /// Redis' clock moves too.
    pub fn servers(&mut self) -> Result<Vec<LiveServer>, ClaimTableError> {
        let key = self.key("servers");
        let ((now_s, now_us), seen): ((u64, u64), Vec<(String, f64)>) = self.run(|connection| {
            let seen = redis::cmd("ZRANGE")
                .arg(&key)
                .arg(0)
                .arg(-1)
                .arg("WITHSCORES")
                .query(connection)?;
            Ok((redis::cmd("TIME").query(connection)?, seen))
        })?;
        let now_ms = now_s * 1000 + now_us / 1000;
        let keys: Vec<String> = seen
            .iter()
            .map(|(name, _)| self.key(&format!("server:{name}")))
            .collect();
        let mut servers = Vec::with_capacity(seen.len());
        for ((name, seen_ms), fields) in seen.iter().zip(self.hashes(&keys)?) {
            servers.extend(live_server(name, &fields, *seen_ms as u64, now_ms));
        }
        servers.sort_by(|a, b| a.server.cmp(&b.server));
        Ok(servers)
    }

    /// The hashes at `keys`, in the same order; empty for a missing key, and for one of another type: a server removes those.
    pub(super) fn hashes(&mut self, keys: &[String]) -> Result<Vec<Fields>, ClaimTableError> {
        let mut hashes = Vec::with_capacity(keys.len());
        for some in keys.chunks(VIEW_PIPELINE) {
            let flat: Vec<RedisResult<Vec<String>>> = self.run(|connection| {
                let mut pipeline = redis::pipe();
                for key in some {
                    pipeline.cmd("HGETALL").arg(key);
                }
                query_each(&mut pipeline, connection)
            })?;
            for one in flat {
                match one {
                    Ok(flat) => hashes.push(Fields::from_flat(flat)),
                    Err(error) if is_wrong_type(&error) => hashes.push(Fields::default()),
                    Err(error) => return Err(self.error(&error)),
                }
            }
        }
        Ok(hashes)
    }

    fn ids(&mut self, kind: &str, beginning: &str) -> Result<Vec<TaskId>, ClaimTableError> {
        let prefix = self.key(&format!("{kind}:"));
        let keys = self.keys(kind, beginning)?;
        Ok(keys
            .iter()
            .filter_map(|key| key.strip_prefix(&prefix)?.parse().ok())
            .collect())
    }

    /// The keys `task:…` or `job:…` whose id starts with `beginning`.
    fn keys(&mut self, kind: &str, beginning: &str) -> Result<BTreeSet<String>, ClaimTableError> {
        self.keys_matching(&format!("{kind}:{beginning}"))
    }

    /// The group's keys whose name starts with `beginning`.
    pub(super) fn keys_matching(
        &mut self,
        beginning: &str,
    ) -> Result<BTreeSet<String>, ClaimTableError> {
        let pattern = format!("{}*", literal(&self.key(beginning)));
        let cursor = self.key("cursor");
        self.run(|connection| {
            let mut keys = BTreeSet::new();
            let mut at = 0u64;
            loop {
                // SCAN examines whatever node of a cluster it is sent to; EXISTS is refused by a node that does not have the group's keys.
                let mut pipeline = redis::pipe();
                pipeline.cmd("EXISTS").arg(&cursor);
                pipeline
                    .cmd("SCAN")
                    .arg(at)
                    .arg("MATCH")
                    .arg(&pattern)
                    .arg("COUNT")
                    .arg(SCAN_COUNT);
                let answers: Vec<RedisResult<Value>> = query_each(&mut pipeline, connection)?;
                let answers: Vec<Value> = answers.into_iter().collect::<RedisResult<_>>()?;
                let scanned = answers.into_iter().next_back().unwrap_or(Value::Nil);
                let (next, found): (u64, Vec<String>) = redis::from_redis_value(scanned)?;
                keys.extend(found);
                if next == 0 {
                    return Ok(keys);
                }
                at = next;
            }
        })
    }
}

/// `text` as a Redis pattern that matches only itself.
fn literal(text: &str) -> String {
    let mut pattern = String::with_capacity(text.len());
    for c in text.chars() {
        if matches!(c, '*' | '?' | '[' | ']' | '\\' | '^') {
            pattern.push('\\');
        }
        pattern.push(c);
    }
    pattern
}

pub(super) fn live_server(
    name: &str,
    fields: &Fields,
    seen_ms: u64,
    now_ms: u64,
) -> Option<LiveServer> {
    Some(LiveServer {
        server: one_line(name),
        slots: fields.readable("slots")?,
        free: fields.readable("free").unwrap_or(0),
        held: fields.readable("held").unwrap_or(0),
        rate_used: fields.readable("rate_used").unwrap_or(0),
        max_rate: fields.readable("max_rate").unwrap_or(0),
        fault: fields.text("fault").map(one_line),
        version: fields.text("version").map(one_line).unwrap_or_default(),
        seen_ms,
        age_ms: now_ms.saturating_sub(seen_ms),
    })
}

/// A task for display; none if it has no state that can be read. A malformed field counts as missing: it must not hide other tasks, and scand logs the
/// field when it reads the task.
pub(super) fn live_task(fields: &Fields) -> Option<LiveTask> {
    let text = |name: &str| fields.text(name).map(one_line);
    Some(LiveTask {
        task_id: text("task_id").unwrap_or_default(),
        status: fields.readable("status")?,
        progress: fields.readable("progress").unwrap_or(0.0),
        rate_pps: fields.readable("rate_pps").unwrap_or(0.0),
        remaining_s: fields.readable("remaining_s"),
        found: fields.readable("found").unwrap_or(0),
        found_by_pass: fields.readable("found_by_pass").unwrap_or_default(),
        server: text("server"),
        attempt: fields.readable("attempt").unwrap_or(0),
        ip_range: text("ip_range").unwrap_or_default(),
        ports: text("ports").unwrap_or_default(),
        band_width: fields.readable("band_width").unwrap_or(0),
        priority: fields.readable("priority").unwrap_or(0),
        error: text("error"),
        queued_ms: fields.readable("queued_ms").unwrap_or(0),
        started_ms: fields.readable("started_ms"),
        updated_ms: fields.readable("updated_ms").unwrap_or(0),
        finished_ms: fields.readable("finished_ms"),
        retry_ms: fields.readable("retry_ms"),
        resume_pass: fields
            .readable("resume_pass")
            .unwrap_or(Position::START.pass),
        resume_index: fields.readable("resume_index").unwrap_or(0),
        retry: fields.readable("retry").unwrap_or(0),
        order: fields.readable("order"),
        probes: fields.readable("probes"),
        job_id: text("job_id"),
        shard: text("shard"),
        parallel: fields.readable("parallel"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_matches_its_text_only() {
        assert_eq!(literal("scan:{g}:task:a-b_c"), "scan:{g}:task:a-b_c");
        assert_eq!(literal("a*b?[c]\\^"), "a\\*b\\?\\[c\\]\\\\\\^");
    }
}
