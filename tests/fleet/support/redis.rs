//! The claim table of a fleet, through the claim table's API and directly in Redis.

use super::fleet::Fleet;
use super::wait::{SOON, wait_for, wait_until};
use redis::Commands;
use scan::claim_table::{ClaimTable, LiveTask, RedisUrl};
use std::time::Duration;

impl Fleet {
    pub fn claim_table(&self) -> ClaimTable {
        let url: RedisUrl = self.redis.parse().unwrap();
        ClaimTable::new(&url.into(), &self.group)
    }

    /// The task as Redis has it now.
    pub fn task(&self, id: &str) -> Option<LiveTask> {
        self.claim_table().task(&id.parse().unwrap()).ok().flatten()
    }

    /// A field of the task's hash in Redis.
    pub fn task_field(&self, id: &str, field: &str) -> Option<String> {
        let key = self.key(&format!("task:{id}"));
        self.redis_connection().hget(key, field).unwrap()
    }

    /// Overwrites a field of the task's hash in Redis.
    pub fn set_task_field(&self, id: &str, field: &str, value: &str) {
        let key = self.key(&format!("task:{id}"));
        let _: () = self.redis_connection().hset(key, field, value).unwrap();
    }

    /// Waits until the running task has made more progress than this.
    pub fn wait_progress(&self, id: &str, percent: f64) -> LiveTask {
        wait_for("some progress", SOON, || {
            self.task(id).filter(|task| task.progress > percent)
        })
    }

    /// Waits until the task is in a terminal state.
    pub fn wait_ended(&self, id: &str, within: Duration) -> LiveTask {
        wait_for(&format!("the end of task {id}"), within, || {
            self.task(id)
                .filter(|task| task.finished_ms.is_some() && task.status.is_terminal())
        })
    }

    /// Changes Redis as if all servers had refused a task long ago, and none had left since.
    pub fn age_refusal(&self, id: &str) {
        redis::pipe()
            .del(self.key("departed"))
            .hset(self.key(&format!("task:{id}")), "refused_ms", 1)
            .exec(&mut self.redis_connection())
            .unwrap();
    }

    /// Waits until all servers have refused a task, then calls [`Fleet::age_refusal`].
    pub fn wait_refused_by_all(&self, id: &str) {
        wait_until("all servers to refuse the task", SOON, || {
            self.task_field(id, "refused_ms").is_some()
        });
        self.age_refusal(id);
    }

    /// A key of this fleet's group.
    pub fn key(&self, name: &str) -> String {
        format!("scan:{{{}}}:{name}", self.group)
    }

    /// Runs a Redis command given as words separated by spaces; `''` is an empty word.
    pub fn redis_command(&self, command: &str) {
        run_command(&mut self.redis_connection(), command);
    }

    pub fn flush_redis(&self) {
        self.redis_command("FLUSHALL");
    }

    pub fn redis_connection(&self) -> redis::Connection {
        redis::Client::open(self.redis.as_str())
            .unwrap()
            .get_connection()
            .unwrap()
    }
}

/// As [`Fleet::redis_command`], on an open connection.
pub fn run_command(connection: &mut redis::Connection, command: &str) {
    let mut words = command.split(' ');
    let mut command = redis::cmd(words.next().unwrap());
    for word in words {
        command.arg(if word == "''" { "" } else { word });
    }
    command.exec(connection).unwrap();
}

/// The words after `acl setuser` in the line of docs/security.md that creates a server's user with the password `PASSWORD`. Its name is `scan`.
pub fn documented_user(group: &str) -> Vec<String> {
    let mut words = documented_users(group)
        .into_iter()
        .find(|words| words[0] == "scan-server")
        .unwrap();
    "scan".clone_into(&mut words[0]);
    words
}

/// The words after `acl setuser` in each such line of docs/security.md.
pub fn documented_users(group: &str) -> Vec<Vec<String>> {
    super::documented_commands("redis-cli acl setuser ")
        .map(|line| {
            let words = line
                .replace('\'', "")
                .replace("{scanners}", &format!("{{{group}}}"));
            words.split_whitespace().map(str::to_owned).collect()
        })
        .collect()
}
