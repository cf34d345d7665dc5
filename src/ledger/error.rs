//! What can go wrong with Redis, in an operator's words: the address and the cause, never a password.

use crate::model::text::one_line;
use redis::{ErrorKind, RedisError, ServerErrorKind};
use std::fmt;

/// A failed call. Nothing is lost by it: the caller repeats.
#[derive(Debug)]
pub enum LedgerError {
    /// Redis can't be reached, refuses, or answered with an error.
    Redis {
        /// Where, without the password.
        at: String,
        /// One line: the cause, and the remedy where there is one.
        cause: String,
    },
    /// A value in Redis is not what this program writes.
    Malformed {
        /// The key or script, and the field.
        what: String,
        /// The value as it came, quoted and shortened.
        value: String,
    },
}

impl LedgerError {
    pub(super) fn redis(at: &impl fmt::Display, error: &RedisError) -> LedgerError {
        LedgerError::Redis {
            at: at.to_string(),
            cause: cause(error),
        }
    }
}

impl fmt::Display for LedgerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LedgerError::Redis { at, cause } => write!(f, "Redis at {at}: {cause}"),
            LedgerError::Malformed { what, value } => write!(
                f,
                "Redis holds something that this program did not write: {what} is {value}"
            ),
        }
    }
}

impl std::error::Error for LedgerError {}

fn cause(error: &RedisError) -> String {
    let words = one_line(error.detail().unwrap_or_default());
    match error.kind() {
        ErrorKind::AuthenticationFailed => {
            "refuses the password: give the right one in -redis redis://:PASSWORD@HOST".to_owned()
        }
        ErrorKind::Server(ServerErrorKind::ReadOnly) => {
            "is a read-only replica: give the address of the primary".to_owned()
        }
        ErrorKind::Server(ServerErrorKind::BusyLoading) => "is still loading its data".to_owned(),
        ErrorKind::Server(ServerErrorKind::ResponseError) if words.contains("OOM") => {
            out_of_memory()
        }
        _ if error.code() == Some("OOM") => out_of_memory(),
        _ if error.code() == Some("NOAUTH") => {
            "wants a password: give it in -redis redis://:PASSWORD@HOST".to_owned()
        }
        _ if error.code() == Some("WRONGPASS") => {
            "refuses the password: give the right one in -redis redis://:PASSWORD@HOST".to_owned()
        }
        _ if error.is_timeout() => "did not answer in time".to_owned(),
        ErrorKind::Io => io_cause(error),
        _ => one_line(&error.to_string()),
    }
}

fn out_of_memory() -> String {
    "is out of memory: raise its maxmemory (with maxmemory-policy noeviction)".to_owned()
}

/// The system's own words for an I/O error, without the crate's wrapping.
fn io_cause(error: &RedisError) -> String {
    if error.is_connection_refusal() {
        return "connection refused".to_owned();
    }
    if error.is_connection_dropped() {
        return "the connection was closed".to_owned();
    }
    one_line(&error.to_string())
}
