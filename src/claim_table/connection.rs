//! A connection to Redis that is re-established after an error. Each thread has its own, so that no thread waits for another.
//!
//! In a Redis Cluster, one node has all keys of a group. A call that another node answers with MOVED is repeated on the node that it names.

use super::connector::{Connector, Opened};
use super::error::{ClaimTableError, Stage, is_wrong_type};
use super::replicas::Replicas;
use super::settings::RedisSettings;
use super::url::Node;
use super::watermark::CallingServer;
use log::{error, warn};
use redis::{
    Connection, ErrorKind, FromRedisValue, Pipeline, RedisError, RedisResult, Script,
    ServerErrorKind, Value,
};
use serde::Serialize;
use std::time::Duration;

/// Nodes of a Redis Cluster that one call is repeated on.
const REDIRECTS_MAX: u32 = 5;

/// The claim table of one group, over one connection.
pub struct ClaimTable {
    connector: Connector,
    prefix: String,
    connection: Option<Opened>,
    /// The node of a Redis Cluster that had the group's keys last.
    node: Option<Node>,
    /// The server that calls; none for scanpush, whose calls do not show whether Redis has lost anything.
    caller: Option<CallingServer>,
    /// Whether decisions wait for a replica.
    pub(super) replicas: Replicas,
}

impl ClaimTable {
    /// The table of `group` in the Redis of `settings`. The first call connects, and so does the first call after an error.
    pub fn new(settings: &RedisSettings, group: &str) -> ClaimTable {
        ClaimTable {
            connector: Connector::new(settings),
            prefix: format!("scan:{{{group}}}:"),
            connection: None,
            node: None,
            caller: None,
            replicas: Replicas::default(),
        }
    }

    /// The same table for calls of a server. Each call then notices if Redis has lost an earlier one of this server.
    pub fn called_by(self, caller: &CallingServer) -> ClaimTable {
        ClaimTable {
            caller: Some(caller.clone()),
            ..self
        }
    }

    /// As [`ClaimTable::new`], but connects at once. Errs if Redis cannot be reached or refuses.
    pub fn connect(settings: &RedisSettings, group: &str) -> Result<ClaimTable, ClaimTableError> {
        let mut table = ClaimTable::new(settings, group);
        table.run(|connection| redis::cmd("PING").query::<()>(connection))?;
        Ok(table)
    }

    /// The group's name.
    pub fn group(&self) -> &str {
        let inside = self.prefix.strip_prefix("scan:{");
        inside
            .and_then(|rest| rest.strip_suffix("}:"))
            .unwrap_or(&self.prefix)
    }

    /// A key of this group.
    pub(super) fn key(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }

    /// Runs a script on this group's keys, with `arguments` as a JSON object. After an error the connection is dropped. If a key is of a type that
    /// this program does not write, such keys are removed first. If Redis has lost calls of this server, the script runs on the table that was
    /// cleared.
    pub(super) fn call<T: FromRedisValue>(
        &mut self,
        script: &Script,
        arguments: &impl Serialize,
    ) -> Result<T, ClaimTableError> {
        let json = serde_json::to_string(arguments)
            .expect("structs of strings, numbers and lists always serialise to JSON");
        let mut has_wrong_type = false;
        let mut answer = self.invoke(script, &json, &mut has_wrong_type);
        if has_wrong_type {
            for removed in self.remove_wrong_types()? {
                error!(
                    "removed {removed} from Redis: it has an unexpected type, so another program wrote it; lost tasks are restored from Kafka"
                );
            }
            answer = self.invoke(script, &json, &mut has_wrong_type);
        }
        match answer? {
            Some(answer) => Ok(answer),
            None => {
                error!(
                    "Redis went back in time (a failover that lost the last writes, an old snapshot, or deleted keys): the claim table was cleared and is rebuilt from Kafka"
                );
                let again = self.invoke(script, &json, &mut has_wrong_type)?;
                again.ok_or_else(|| {
                    ClaimTableError::malformed(
                        "the answer of a script",
                        "no answer on a cleared table",
                    )
                })
            }
        }
    }

    /// Runs a script once. Returns none if it was not run because Redis went back in time; the table is cleared then.
    fn invoke<T: FromRedisValue>(
        &mut self,
        script: &Script,
        json: &str,
        has_wrong_type: &mut bool,
    ) -> Result<Option<T>, ClaimTableError> {
        let prefix = self.prefix.clone();
        let caller = self.caller.clone();
        let server = caller.as_ref().map_or("", CallingServer::server);
        let seen = caller.as_ref().map_or(0, CallingServer::seen);
        self.run(|connection| {
            let mut call = script.key(prefix.as_str());
            let answer = call
                .arg(json)
                .arg(server)
                .arg(seen)
                .invoke::<Vec<Value>>(connection);
            *has_wrong_type = answer.as_ref().is_err_and(is_wrong_type);
            let mut answer = answer?.into_iter();
            if let (Some(caller), Some(watermark)) = (&caller, answer.next()) {
                caller.note(redis::from_redis_value(watermark)?);
            }
            let result = answer.next().map(read_lossy).transpose()?;
            if let Some(jump_ms) = answer.next() {
                warn_of_jump(redis::from_redis_value(jump_ms)?);
            }
            Ok(result)
        })
    }

    /// Runs `work` on the node that has the group's keys; it is repeated from its beginning if that is another one than before. After an error
    /// the connection is dropped: a late answer would be mistaken for that of the next call.
    pub(super) fn run<T>(
        &mut self,
        mut work: impl FnMut(&mut Connection) -> RedisResult<T>,
    ) -> Result<T, ClaimTableError> {
        let mut redirects = 0;
        loop {
            let mut opened = match self.connection.take() {
                Some(opened) => opened,
                None => self.open()?,
            };
            let error = match work(&mut opened.connection) {
                Ok(answer) => {
                    self.connection = Some(opened);
                    return Ok(answer);
                }
                Err(error) => error,
            };
            redirects += 1;
            match new_node(&error, &opened) {
                Some(node) if redirects <= REDIRECTS_MAX => self.node = Some(node),
                _ => return Err(ClaimTableError::redis(&opened.at, &error, Stage::Connected)),
            }
        }
    }

    /// The server of the connection; none for a socket, or without a connection.
    pub(super) fn connected_to(&self) -> Option<&Node> {
        self.connection.as_ref()?.node.as_ref()
    }

    /// An error that [`ClaimTable::run`] has not seen.
    pub(super) fn error(&self, error: &RedisError) -> ClaimTableError {
        ClaimTableError::redis(&self.at(), error, Stage::Connected)
    }

    /// The server of the connection, else the URL.
    pub(super) fn at(&self) -> String {
        match &self.connection {
            Some(opened) => opened.at.clone(),
            None => self.connector.shown(),
        }
    }

    fn open(&mut self) -> Result<Opened, ClaimTableError> {
        // The node may be gone, and another one have its keys.
        if let Some(node) = self.node.take()
            && let Ok(opened) = self.connector.open(Some(&node))
        {
            self.node = Some(node);
            return Ok(opened);
        }
        self.connector.open(None)
    }
}

fn warn_of_jump(jump_ms: i64) {
    warn!("{}", jump_shown(jump_ms));
}

/// Also a time in which no server called Redis is followed as a jump, but only forward.
fn jump_shown(jump_ms: i64) -> String {
    let or_none_called = match jump_ms > 0 {
        true => ", or no server called Redis for that long",
        false => "",
    };
    format!(
        "Redis' clock jumped by {} s{or_none_called}: leases and delays are moved with it",
        jump_ms / 1000
    )
}

/// The node of a Redis Cluster to which the group's keys have moved. None while they are being moved (ASK): a script would see only some of
/// them.
fn new_node(error: &RedisError, from: &Opened) -> Option<Node> {
    if error.kind() != ErrorKind::Server(ServerErrorKind::Moved) {
        return None;
    }
    Node::named(error.redirect_node()?.0, from.node.as_ref())
}

/// Runs commands that may fail one by one. Errs as a whole if one was not executed because the keys are on another node of a Redis Cluster.
pub(super) fn query_each<T: FromRedisValue>(
    pipeline: &mut Pipeline,
    connection: &mut Connection,
) -> RedisResult<Vec<RedisResult<T>>> {
    let answers: Vec<RedisResult<Value>> = pipeline.ignore_errors().query(connection)?;
    let answers: Vec<RedisResult<T>> = answers
        .into_iter()
        .map(|answer| answer.and_then(read_lossy))
        .collect();
    let errors = answers.iter().filter_map(|answer| answer.as_ref().err());
    match errors.into_iter().find(|error| error.is_cluster_error()) {
        Some(error) => Err(error.clone()),
        None => Ok(answers),
    }
}

/// Reads an answer with U+FFFD in place of what is not UTF-8: a field of one task must not make the answer about others unreadable.
fn read_lossy<T: FromRedisValue>(answer: Value) -> RedisResult<T> {
    Ok(redis::from_redis_value(lossy(answer))?)
}

fn lossy(answer: Value) -> Value {
    match answer {
        Value::BulkString(bytes) => {
            let text = String::from_utf8(bytes)
                .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned());
            Value::BulkString(text.into_bytes())
        }
        Value::Array(answers) => Value::Array(answers.into_iter().map(lossy).collect()),
        other => other,
    }
}

/// Whole milliseconds: the unit of times in the scripts.
pub(super) const fn ms(duration: Duration) -> u64 {
    let ms = duration.as_millis();
    if ms > u64::MAX as u128 {
        u64::MAX
    } else {
        ms as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_time_without_calls_looks_like_a_jump_back() {
        assert_eq!(
            jump_shown(-90_000),
            "Redis' clock jumped by -90 s: leases and delays are moved with it"
        );
        let forward = jump_shown(90_000);
        assert!(
            forward.contains("by 90 s, or no server called Redis for that long:"),
            "{forward}"
        );
    }
}
