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
const REDIS_NEEDED: (u32, u32) = (6, 2);

static TRY: LazyLock<Script> = script!("try.lua");

/// What Redis reports about itself; none of it if the user has no right to INFO, which is not needed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RedisInfo {
    /// Its address, without user and password.
    pub at: String,
    /// Its version, such as `7.0.15`.
    pub version: Option<String>,
    /// Its `maxmemory-policy`, such as `noeviction`.
    pub maxmemory_policy: Option<String>,
    /// Its role: `master` or `slave`.
    pub role: Option<String>,
    /// Whether it writes an append-only file.
    pub is_append_only: Option<bool>,
    /// Replicas that are connected to it.
    pub replicas: u32,
    /// Whether it refuses writes while it has too few replicas.
    pub needs_replicas: bool,
}

/// A setting of Redis that may lose tasks or progress. The text has the consequence, then the remedy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RedisWarning {
    /// What it is about, in one word.
    pub about: &'static str,
    /// One line.
    pub text: String,
}

impl RedisInfo {
    /// `text` is the answer to INFO, of all sections.
    fn parsed(at: String, text: &str) -> RedisInfo {
        let field = |name: &str| {
            let mut lines = text.lines();
            lines
                .find_map(|line| Some(one_line(line.strip_prefix(name)?.strip_prefix(':')?.trim())))
        };
        RedisInfo {
            at,
            version: field("redis_version"),
            maxmemory_policy: field("maxmemory_policy"),
            role: field("role"),
            is_append_only: field("aof_enabled").map(|enabled| enabled != "0"),
            replicas: field("connected_slaves")
                .and_then(|count| count.parse().ok())
                .unwrap_or(0),
            // Redis has this line only with min-replicas-to-write and min-replicas-max-lag.
            needs_replicas: field("min_slaves_good_slaves").is_some(),
        }
    }

    /// Why this program cannot work with it, with the remedy.
    fn unusable(&self) -> Option<String> {
        let (major, minor) = REDIS_NEEDED;
        match (&self.version, self.role.as_deref()) {
            (Some(version), _) if !is_new_enough(version) => Some(format!(
                "has version {version}, which lacks commands that the scripts need: {major}.{minor} or newer is needed"
            )),
            (_, Some("slave")) => Some(
                "is a replica, and what is written to a replica is lost: give the address of the primary, or Sentinels (redis+sentinel://)"
                    .to_owned(),
            ),
            _ => None,
        }
    }

    /// Settings that may lose tasks or progress.
    pub fn warnings(&self) -> Vec<RedisWarning> {
        let policy = self.maxmemory_policy.as_deref();
        let evicting = policy.filter(|&policy| policy != "noeviction");
        let eviction = evicting.map(|policy| RedisWarning {
            about: "eviction",
            text: format!(
                "Redis may delete tasks when its memory is full ({policy}): CONFIG SET maxmemory-policy noeviction"
            ),
        });
        let persistence = (self.is_append_only == Some(false)).then(|| RedisWarning {
            about: "appendonly",
            text: "a restart of Redis loses its latest data (appendonly no): the servers rebuild it from Kafka, but checkpoints and orders are lost: CONFIG SET \
                   appendonly yes"
                .to_owned(),
        });
        let replicas = (self.replicas > 0 && !self.needs_replicas).then(|| RedisWarning {
            about: "replicas",
            text: "a primary without connection to its replicas goes on accepting writes, which a failover then discards (min-replicas-to-write 0): CONFIG SET \
                   min-replicas-to-write 1 and min-replicas-max-lag 2"
                .to_owned(),
        });
        [eviction, persistence, replicas]
            .into_iter()
            .flatten()
            .collect()
    }
}

/// The replicas in INFO's section `replication`: `slave0:ip=192.0.2.8,port=6379,state=online,…`.
fn replica_addresses(replication: &str) -> Vec<String> {
    let address = |line: &str| {
        let (name, fields) = line.strip_prefix("slave")?.split_once(':')?;
        let is_numbered = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_digit());
        let field = |wanted: &str| {
            let mut fields = fields.split(',').filter_map(|field| field.split_once('='));
            fields.find_map(|(name, value)| (name == wanted).then_some(value))
        };
        is_numbered.then_some(format!("{}:{}", field("ip")?, field("port")?))
    };
    replication.lines().filter_map(address).collect()
}

fn is_new_enough(version: &str) -> bool {
    let mut numbers = version.split('.').map_while(|n| n.parse::<u32>().ok());
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0)) >= REDIS_NEEDED
}

impl ClaimTable {
    /// What Redis reports about itself. Errs if this program cannot work with it: if it is too old or a replica, or if the user may not run one of the commands
    /// that the scripts need.
    pub fn examine(&mut self) -> Result<RedisInfo, ClaimTableError> {
        // The call finds the node of a Redis Cluster that has the group's keys; its result counts only after what Redis reports.
        let tried = self.try_commands();
        let info = self.redis_info()?;
        if let Some(cause) = info.unusable() {
            let at = info.at;
            return Err(ClaimTableError::Redis { at, cause });
        }
        tried.map(|()| info)
    }

    /// Runs every command that the scripts need. Errs with Redis' own words if the user may not run one of them.
    fn try_commands(&mut self) -> Result<(), ClaimTableError> {
        #[derive(Serialize)]
        struct Arguments {}
        self.call::<String>(&TRY, &Arguments {}).map(drop)
    }

    fn redis_info(&mut self) -> Result<RedisInfo, ClaimTableError> {
        let mut text = String::new();
        for section in ["server", "memory", "persistence", "replication"] {
            text += &self.info(section)?.unwrap_or_default();
        }
        Ok(RedisInfo::parsed(self.at(), &text))
    }

    /// The `HOST:PORT` of the server that has the group's keys, and of its replicas if the user may ask for them (INFO).
    pub fn addresses(&mut self) -> Result<Vec<String>, ClaimTableError> {
        // As in `examine`, the call finds the node. Whether the user may run all commands does not matter here.
        if let Err(error @ ClaimTableError::Credentials(_)) = self.try_commands() {
            return Err(error);
        }
        let replication = self.info("replication")?.unwrap_or_default();
        let mut addresses = replica_addresses(&replication);
        addresses.extend(self.connected_to().map(ToString::to_string));
        Ok(addresses)
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
    use super::super::url::RedisUrl;
    use super::*;
    use std::io::{Read, Write};
    use std::net::TcpListener;

    #[test]
    fn replicas_are_read_from_info() {
        let replication = "role:master\r\nconnected_slaves:2\r\nslave0:ip=192.0.2.8,port=6379,state=online,offset=1,lag=0\r\n\
            slave1:port=6380,ip=2001:db8::9\r\nslave_read_only:1\r\nslavex:ip=192.0.2.1,port=1\r\nslave2:ip=192.0.2.3\r\n";
        assert_eq!(
            replica_addresses(replication),
            ["192.0.2.8:6379", "2001:db8::9:6380"]
        );
        assert_eq!(replica_addresses(""), Vec::<String>::new());
    }

    /// Starts a server that sends `answer` on connection and again after each request. Returns the error that [`ClaimTable::connect`] gives.
    fn refused_with(answer: &'static str) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let answer = answer.replace("%PORT%", &address.port().to_string());
        let url = format!("redis://{address}");
        std::thread::spawn(move || {
            while let Ok((mut stream, _)) = listener.accept() {
                let mut request = [0; 4096];
                // The first request of a connection has several commands.
                while stream.write_all(answer.repeat(4).as_bytes()).is_ok()
                    && stream.read(&mut request).is_ok_and(|bytes| bytes > 0)
                {}
            }
        });
        let url: RedisUrl = url.parse().unwrap();
        let table = ClaimTable::connect(&url.into(), "g");
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
                // Its own address, again and again.
                "-MOVED 3999 :%PORT%\r\n",
                "the nodes of the Redis Cluster do not agree on which of them has the group's keys",
            ),
            (
                "-ASK 3999 192.0.2.7:6381\r\n",
                "the group's keys are being moved to another node of the Redis Cluster",
            ),
            (
                "-NOPERM this user has no permissions to run the 'ping' command\r\n",
                "this user has no permissions to run the 'ping' command (docs/security.md",
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

    fn info(text: &str) -> RedisInfo {
        RedisInfo::parsed("r".to_owned(), &text.replace(' ', "\r\n"))
    }

    #[test]
    fn a_setting_that_may_lose_something_gives_a_warning() {
        for (text, about) in [
            ("", &[][..]),
            ("maxmemory_policy:noeviction aof_enabled:1", &[]),
            ("maxmemory_policy:allkeys-lru", &["eviction"]),
            ("aof_enabled:0", &["appendonly"]),
            ("role:master connected_slaves:0", &[]),
            ("role:master connected_slaves:2", &["replicas"]),
            ("connected_slaves:2 min_slaves_good_slaves:2", &[]),
        ] {
            let warnings = info(text).warnings();
            let found: Vec<&str> = warnings.iter().map(|warning| warning.about).collect();
            assert_eq!(found, about, "{text}");
        }
    }

    #[test]
    fn an_old_redis_and_a_replica_are_refused() {
        for (text, unusable) in [
            ("", false),
            ("redis_version:6.0.16", true),
            ("redis_version:6.2.0", false),
            ("redis_version:7.0.15 role:master", false),
            ("redis_version:10.1", false),
            ("redis_version:7.0.15 role:slave", true),
        ] {
            assert_eq!(info(text).unusable().is_some(), unusable, "{text}");
        }
    }
}
