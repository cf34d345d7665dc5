//! Errors of Redis for operators: the address and the cause, never a password.

use crate::model::text::{one_line, quoted, system_words};
use redis::{ErrorKind, RedisError, ServerErrorKind};
use std::fmt;

/// A failed call. The caller repeats it.
#[derive(Debug)]
pub enum ClaimTableError {
    /// Redis cannot be reached, refuses the connection, or answered with an error.
    Redis {
        /// The address, without the password.
        at: String,
        /// One line: the cause, and the remedy if there is one.
        cause: String,
    },
    /// A value in Redis that this program did not write.
    Malformed {
        /// The key or script, and the field.
        what: String,
        /// The value, quoted and shortened.
        value: String,
    },
}

impl ClaimTableError {
    pub(super) fn malformed(what: impl Into<String>, value: &str) -> ClaimTableError {
        ClaimTableError::Malformed {
            what: what.into(),
            value: quoted(value),
        }
    }

    pub(super) fn redis(at: &impl fmt::Display, error: &RedisError) -> ClaimTableError {
        ClaimTableError::Redis {
            at: at.to_string(),
            cause: cause(error),
        }
    }
}

impl fmt::Display for ClaimTableError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ClaimTableError::Redis { at, cause } => write!(f, "Redis at {at}: {cause}"),
            ClaimTableError::Malformed { what, value } => {
                write!(f, "unexpected data in Redis: {what} is {value}")
            }
        }
    }
}

impl std::error::Error for ClaimTableError {}

/// Whether a command met a key of another type than it needs. In a script, Redis 6 gives only its words.
pub(super) fn is_wrong_type(error: &RedisError) -> bool {
    error.code() == Some("WRONGTYPE")
        || error
            .detail()
            .is_some_and(|words| words.contains("WRONGTYPE"))
}

fn cause(error: &RedisError) -> String {
    let words = one_line(error.detail().unwrap_or_default());
    match error.kind() {
        ErrorKind::AuthenticationFailed => {
            "refuses the password: give the right one in -redis redis://:PASSWORD@HOST".to_owned()
        }
        ErrorKind::Server(ServerErrorKind::ReadOnly) => {
            "is a read-only replica: give the address of the primary".to_owned()
        }
        ErrorKind::Server(ServerErrorKind::NoPerm) => {
            format!("{words} (docs/claim-table.md lists the rights that are needed)")
        }
        ErrorKind::Server(ServerErrorKind::Moved | ServerErrorKind::Ask) => {
            let node = error
                .redirect_node()
                .map_or("another node", |(node, _)| node);
            format!(
                "is a node of a Redis Cluster, and the group's keys are on {}: give that node in -redis, or a Redis without cluster mode",
                one_line(node)
            )
        }
        _ if error.code() == Some("DENIED") => {
            let first = words
                .split_once(". ")
                .map_or(words.as_str(), |(first, _)| first);
            format!(
                "refuses the connection: {first}: set a password in Redis (requirepass), or protected-mode no"
            )
        }
        ErrorKind::Server(ServerErrorKind::BusyLoading) => "is still loading its data".to_owned(),
        ErrorKind::Server(ServerErrorKind::ResponseError) if words.contains("OOM") => {
            out_of_memory()
        }
        _ if error.code() == Some("OOM") => out_of_memory(),
        _ if error.code() == Some("NOAUTH") => {
            "requires a password: give it in -redis redis://:PASSWORD@HOST".to_owned()
        }
        _ if error.code() == Some("WRONGPASS") => {
            "refuses the password: give the right one in -redis redis://:PASSWORD@HOST".to_owned()
        }
        ErrorKind::Server(ServerErrorKind::ResponseError) if words.contains("DB index") => {
            "has no database with that number (its setting `databases`; by default 0 to 15)"
                .to_owned()
        }
        _ if error.is_timeout() => "did not answer in time".to_owned(),
        ErrorKind::Io => io_cause(error),
        // The crate's text for some errors is Rust debug output; Redis' own message is enough.
        ErrorKind::Server(_) if !words.is_empty() => {
            format!("answers with an error: {words}")
        }
        _ => one_line(&error.to_string()),
    }
}

fn out_of_memory() -> String {
    "is out of memory: raise its maxmemory (with maxmemory-policy noeviction)".to_owned()
}

/// The system's message for an I/O error, without the crate's text around it.
fn io_cause(error: &RedisError) -> String {
    let text = error.to_string();
    // The crate reports this as a refusal; only the path of a socket can be missing.
    if text.starts_with("No such file or directory") {
        return "no such socket".to_owned();
    }
    if error.is_connection_refusal() {
        return "connection refused".to_owned();
    }
    if error.is_connection_dropped() {
        return "the connection was closed".to_owned();
    }
    system_words(&text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io;

    #[test]
    fn causes_are_plain_text_without_debug_output() {
        let no_db = (
            ServerErrorKind::ResponseError.into(),
            "Redis server refused to switch database",
            "DB index is out of range".to_owned(),
        );
        let odd = (
            ServerErrorKind::ResponseError.into(),
            "something",
            "unknown command".to_owned(),
        );
        let lookup = "failed to lookup address information: Name or service not known";
        for (error, words) in [
            (no_db.into(), "has no database with that number"),
            (odd.into(), "answers with an error: unknown command"),
            (io::Error::other(lookup).into(), "name not known"),
            (io::Error::from_raw_os_error(2).into(), "no such socket"),
            (
                io::Error::from_raw_os_error(111).into(),
                "connection refused",
            ),
            (io::Error::from_raw_os_error(13).into(), "Permission denied"),
        ] {
            let error: RedisError = error;
            let shown = cause(&error);
            assert!(shown.starts_with(words), "{shown}");
            assert!(
                !shown.contains("(os error") && !shown.contains("ResponseError"),
                "{shown}"
            );
        }
    }
}
