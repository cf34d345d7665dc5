//! The claim table of a fleet, and its fields as they are in Redis.

use super::fleet::Fleet;
use super::wait::{SOON, wait_for, wait_until};
use scan::claim_table::{ClaimTable, LiveTask, RedisUrl};
use std::time::Duration;

impl Fleet {
    pub fn claim_table(&self) -> ClaimTable {
        let url: RedisUrl = self.redis.parse().unwrap();
        ClaimTable::new(&url, &self.group)
    }

    /// The task as Redis has it now.
    pub fn task(&self, id: &str) -> Option<LiveTask> {
        self.claim_table().task(&id.parse().unwrap()).ok().flatten()
    }

    /// A field of the task's hash as it is.
    pub fn field(&self, id: &str, field: &str) -> String {
        self.redis_says(&["HGET", &self.task_key(id), field])
    }

    /// Sets a field of the task's hash, as no program of ours would.
    pub fn set_field(&self, id: &str, field: &str, value: &str) {
        self.redis_says(&["HSET", &self.task_key(id), field, value]);
    }

    fn task_key(&self, id: &str) -> String {
        format!("scan:{{{}}}:task:{id}", self.group)
    }

    fn redis_says(&self, words: &[&str]) -> String {
        let client = redis::Client::open(self.redis.as_str()).unwrap();
        let mut command = redis::cmd(words[0]);
        command.arg(&words[1..]);
        let answer: Option<String> = command
            .query(&mut client.get_connection().unwrap())
            .unwrap();
        answer.unwrap_or_default()
    }

    /// Waits until the task is in a state from which nothing leads.
    pub fn wait_ended(&self, id: &str, within: Duration) -> LiveTask {
        wait_for(&format!("the end of task {id}"), within, || {
            self.task(id)
                .filter(|task| task.finished_ms.is_some() && task.status.is_terminal())
        })
    }

    /// The field of a task's hash, as it stands in Redis.
    pub fn task_field(&self, id: &str, field: &str) -> Option<String> {
        let key = format!("scan:{{{}}}:task:{id}", self.group);
        redis::cmd("HGET")
            .arg(key)
            .arg(field)
            .query(&mut self.redis_connection())
            .unwrap()
    }

    /// As if all servers had refused a task long ago, and none had left since.
    pub fn age_refusal(&self, id: &str) {
        let prefix = format!("scan:{{{}}}", self.group);
        redis::pipe()
            .del(format!("{prefix}:departed"))
            .hset(format!("{prefix}:task:{id}"), "refused_ms", 1)
            .exec(&mut self.redis_connection())
            .unwrap();
    }

    /// Waits until all servers refuse a task, and ages that.
    pub fn wait_refused_by_all(&self, id: &str) {
        wait_until("all servers to refuse the task", SOON, || {
            self.task_field(id, "refused_ms").is_some()
        });
        self.age_refusal(id);
    }

    fn redis_connection(&self) -> redis::Connection {
        redis::Client::open(self.redis.as_str())
            .unwrap()
            .get_connection()
            .unwrap()
    }
}
