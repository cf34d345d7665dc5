//! What Redis is and allows: its version and eviction policy, whether this program's user may run the commands that it needs, and keys of a type
//! that this program does not write.

use super::connection::ClaimTable;
use super::error::ClaimTableError;
use super::ingest::script;
use crate::model::text::one_line;
use redis::{ErrorKind, RedisError, Script, ServerErrorKind};
use serde::Serialize;
use std::sync::LazyLock;

/// The oldest version of Redis that has all commands, as major and minor number. The scripts need ZINTER.
pub const REDIS_NEEDED: (u32, u32) = (6, 2);

static TRY: LazyLock<Script> = script!("try.lua");

/// What Redis reports about itself; none if the user has no right to INFO, which is not needed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RedisInfo {
    /// Its version, such as `7.0.15`.
    pub version: Option<String>,
    /// Its `maxmemory-policy`, such as `noeviction`.
    pub maxmemory_policy: Option<String>,
}

impl RedisInfo {
    /// The policy by which it deletes keys when its memory is full; none if it deletes none, or it is not known.
    pub fn evicting_policy(&self) -> Option<&str> {
        let policy = self.maxmemory_policy.as_deref();
        policy.filter(|&policy| policy != "noeviction")
    }
}

impl ClaimTable {
    /// Runs every command that the scripts need. Errs with Redis' own words if the user may not run one of them, or if it is a node of a cluster
    /// that does not have the group's keys.
    pub fn try_commands(&mut self) -> Result<(), ClaimTableError> {
        #[derive(Serialize)]
        struct Arguments {}
        self.call::<String>(&TRY, &Arguments {}).map(drop)
    }

    /// What Redis reports about itself.
    pub fn redis_info(&mut self) -> Result<RedisInfo, ClaimTableError> {
        let (server, memory) = (self.info("server")?, self.info("memory")?);
        let field = |text: &Option<String>, name: &str| {
            let mut lines = text.as_deref().unwrap_or_default().lines();
            lines.find_map(|line| Some(one_line(line.strip_prefix(name)?.trim())))
        };
        Ok(RedisInfo {
            version: field(&server, "redis_version:"),
            maxmemory_policy: field(&memory, "maxmemory_policy:"),
        })
    }

    /// A section of INFO; none if the user has no right to it.
    pub(super) fn info(&mut self, section: &str) -> Result<Option<String>, ClaimTableError> {
        self.run(
            |connection| match redis::cmd("INFO").arg(section).query(connection) {
                Err(error) if is_refused(&error) => Ok(None),
                answer => answer.map(Some),
            },
        )
    }

    /// Removes the group's keys of a type that this program does not write, and returns their names. What is lost with them is restored as after
    /// any other loss. Examines every key.
    pub(super) fn remove_wrong_types(&mut self) -> Result<Vec<String>, ClaimTableError> {
        let mut removed = Vec::new();
        for key in self.keys_matching("")? {
            let name = key.strip_prefix(&self.key("")).unwrap_or(&key).to_owned();
            let found: String =
                self.run(|connection| redis::cmd("TYPE").arg(&key).query(connection))?;
            if expected_type(&name).is_some_and(|expected| expected != found && found != "none") {
                self.run(|connection| redis::cmd("DEL").arg(&key).query::<()>(connection))?;
                removed.push(name);
            }
        }
        Ok(removed)
    }
}

/// The type of the key with this name (without the group's prefix); none if this program has no such key.
fn expected_type(name: &str) -> Option<&'static str> {
    let kind = name.split_once(':').map_or(name, |(kind, _)| kind);
    match (kind, name.contains(':')) {
        ("cursor" | "watermarks", false) | ("task" | "server", true) => Some("hash"),
        (
            "ready" | "delayed" | "running" | "paused" | "servers" | "outbox" | "throttled",
            false,
        )
        | ("open" | "throttled", true) => Some("zset"),
        ("job" | "unfinished", true) => Some("set"),
        ("departed", false) => Some("string"),
        _ => None,
    }
}

/// Whether the user has no right to the command.
pub(super) fn is_refused(error: &RedisError) -> bool {
    error.kind() == ErrorKind::Server(ServerErrorKind::NoPerm)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::net::TcpListener;

    /// Starts a server that sends `answer` on connection and again after each request. Returns the error that [`ClaimTable::connect`] gives.
    fn refused_with(answer: &'static str) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("redis://{}", listener.local_addr().unwrap());
        std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = [0; 4096];
            // The first request of a connection has several commands.
            while stream.write_all(answer.repeat(4).as_bytes()).is_ok()
                && stream.read(&mut request).is_ok_and(|bytes| bytes > 0)
            {}
        });
        let table = ClaimTable::connect(&url.parse().unwrap(), "g");
        table.err().unwrap().to_string()
    }

    #[test]
    fn a_refusal_is_shown_with_the_remedy() {
        for (answer, shown) in [
            (
                "-DENIED Redis is running in protected mode because protected mode is enabled and no password is set for the default user. In this mode …\r\n",
                "refuses the connection: Redis is running in protected mode because",
            ),
            (
                "-MOVED 3999 192.0.2.7:6381\r\n",
                "the group's keys are on 192.0.2.7:6381: give that node in -redis",
            ),
            (
                "-NOPERM this user has no permissions to run the 'ping' command\r\n",
                "this user has no permissions to run the 'ping' command (docs/claim-table.md",
            ),
            (
                "-NOAUTH Authentication required.\r\n",
                "requires a password",
            ),
        ] {
            let error = refused_with(answer);
            assert!(error.contains(shown), "{error}");
        }
    }

    #[test]
    fn each_key_has_one_type() {
        for (name, expected) in [
            ("cursor", Some("hash")),
            ("task:cursor", Some("hash")),
            ("server:a:b", Some("hash")),
            ("throttled", Some("zset")),
            ("throttled:job", Some("zset")),
            ("open:12", Some("zset")),
            ("unfinished:job", Some("set")),
            ("watermarks", Some("hash")),
            ("departed", Some("string")),
            ("job", None),
            ("try:hash", None),
            ("someone else's", None),
        ] {
            assert_eq!(expected_type(name), expected, "{name}");
        }
    }

    #[test]
    fn only_a_policy_that_deletes_keys_is_an_eviction() {
        for (policy, evicting) in [
            (None, None),
            (Some("noeviction"), None),
            (Some("allkeys-lru"), Some("allkeys-lru")),
        ] {
            let info = RedisInfo {
                maxmemory_policy: policy.map(str::to_owned),
                ..RedisInfo::default()
            };
            assert_eq!(info.evicting_policy(), evicting);
        }
    }
}
