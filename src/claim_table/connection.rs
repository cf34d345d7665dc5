//! A connection to Redis that is re-established after an error. Each thread has its own, so that no thread waits for another.

use super::error::{ClaimTableError, is_wrong_type};
use super::replicas::Replicas;
use super::url::RedisUrl;
use super::watermark::Caller;
use crate::model::backoff::CONNECT_WAIT;
use log::error;
use redis::{Client, Connection, FromRedisValue, RedisError, RedisResult, Script, Value};
use serde::Serialize;
use std::time::Duration;

/// How long a Redis command may take.
const REDIS_ANSWER_WAIT: Duration = Duration::from_secs(3);

/// The claim table of one group, over one connection.
pub struct ClaimTable {
    client: Client,
    at: RedisUrl,
    prefix: String,
    connection: Option<Connection>,
    /// The server that calls; none for scanpush, whose calls do not show whether Redis has lost anything.
    caller: Option<Caller>,
    /// Whether decisions wait for a replica.
    pub(super) replicas: Replicas,
}

impl ClaimTable {
    /// The table of `group` in the Redis at `at`. The first call connects, and so does the first call after an error.
    pub fn new(at: &RedisUrl, group: &str) -> ClaimTable {
        ClaimTable {
            client: Client::open(at.info())
                .expect("a RedisUrl holds connection info that the client has parsed itself"),
            at: at.clone(),
            prefix: format!("scan:{{{group}}}:"),
            connection: None,
            caller: None,
            replicas: Replicas::default(),
        }
    }

    /// The same table for calls of a server. Each call then notices if Redis has lost an earlier one of this server.
    pub fn called_by(self, caller: &Caller) -> ClaimTable {
        ClaimTable {
            caller: Some(caller.clone()),
            ..self
        }
    }

    /// As [`ClaimTable::new`], but connects at once. Errs if Redis cannot be reached or refuses.
    pub fn connect(at: &RedisUrl, group: &str) -> Result<ClaimTable, ClaimTableError> {
        let mut table = ClaimTable::new(at, group);
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
        let server = caller.as_ref().map_or("", Caller::server);
        let seen = caller.as_ref().map_or(0, Caller::seen);
        self.run(|connection| {
            let mut call = script.key(prefix);
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
            Ok(answer.next().map(redis::from_redis_value).transpose()?)
        })
    }

    pub(super) fn run<T>(
        &mut self,
        work: impl FnOnce(&mut Connection) -> RedisResult<T>,
    ) -> Result<T, ClaimTableError> {
        let result = match self.connected() {
            Ok(connection) => work(connection),
            Err(error) => Err(error),
        };
        result.map_err(|error| {
            // Never reuse the connection: a late answer would be mistaken for that of the next call.
            self.connection = None;
            self.error(&error)
        })
    }

    pub(super) fn error(&self, error: &RedisError) -> ClaimTableError {
        ClaimTableError::redis(&self.at, error)
    }

    fn connected(&mut self) -> RedisResult<&mut Connection> {
        if self.connection.is_none() {
            let connection = self.client.get_connection_with_timeout(CONNECT_WAIT)?;
            connection.set_read_timeout(Some(REDIS_ANSWER_WAIT))?;
            connection.set_write_timeout(Some(REDIS_ANSWER_WAIT))?;
            self.connection = Some(connection);
        }
        Ok(self
            .connection
            .as_mut()
            .expect("it was filled by the lines above"))
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
