//! Errors of the database for operators: which database, and one line with the cause.

use crate::model::Invalid;
use crate::model::text::{one_line, quoted};
use diesel::result::{ConnectionError, DatabaseErrorKind, Error as DieselError};
use std::error::Error;
use std::fmt;

/// How the cause begins if another process holds a lock.
const LOCKED: &str = "it is locked by";
/// Postgres' cause after `statement_timeout`.
const TIMED_OUT: &str = "canceling statement due to statement timeout";

/// A failed call.
#[derive(Debug)]
pub enum StoreError {
    /// The database cannot be reached, or cannot do what was asked for now. Repeating the call may help.
    Failed {
        /// The database, without a password.
        at: String,
        /// One line: the cause, and the remedy if there is one.
        cause: String,
    },
    /// The database cannot be used by this program: it is another program's, newer, read-only, or was refused by its password. Repeating does
    /// not help.
    Unusable {
        /// The database, without a password.
        at: String,
        /// One line: the cause, and the remedy if there is one.
        cause: String,
    },
    /// The password file cannot be used; the error names its flag and file.
    Credentials(Invalid),
    /// Another `scanpush store` has taken the lease over.
    LeaseLost {
        /// Its name; none if it has ended in the meantime.
        holder: Option<String>,
    },
    /// A value in the database that this program did not write.
    Malformed {
        /// The column.
        what: String,
        /// The value, quoted and shortened.
        value: String,
    },
    /// The process has to end.
    Stopped,
    /// diesel's error inside of a transaction, before the database's name was added.
    Inside(DieselError),
}

impl StoreError {
    pub(super) fn malformed(what: &str, value: &str) -> StoreError {
        StoreError::Malformed {
            what: what.to_owned(),
            value: quoted(value),
        }
    }

    /// The same with the database's name, and with the cause in words.
    pub(super) fn of(self, at: &impl fmt::Display) -> StoreError {
        match self {
            StoreError::Inside(error) => classified(at, &error),
            other => other,
        }
    }

    pub(super) fn connecting(at: &impl fmt::Display, error: &ConnectionError) -> StoreError {
        match error {
            ConnectionError::BadConnection(text) => by_text(at, text),
            other => by_text(at, &other.to_string()),
        }
    }

    pub(super) fn unusable(at: &impl fmt::Display, cause: impl Into<String>) -> StoreError {
        StoreError::Unusable {
            at: at.to_string(),
            cause: cause.into(),
        }
    }

    /// Whether another process holds a lock.
    pub fn is_locked(&self) -> bool {
        matches!(self, StoreError::Failed { cause, .. } if cause.starts_with(LOCKED))
    }

    /// Whether the database as a whole is the cause, not what was asked for or another process.
    pub fn is_of_database(&self) -> bool {
        match self {
            StoreError::Failed { cause, .. } => !self.is_locked() && cause != TIMED_OUT,
            StoreError::Unusable { .. } | StoreError::Credentials(_) => true,
            StoreError::LeaseLost { .. }
            | StoreError::Malformed { .. }
            | StoreError::Stopped
            | StoreError::Inside(_) => false,
        }
    }

    /// Whether the call may succeed if it is repeated.
    pub fn may_be_repeated(&self) -> bool {
        matches!(self, StoreError::Failed { .. })
    }
}

impl From<DieselError> for StoreError {
    fn from(error: DieselError) -> StoreError {
        StoreError::Inside(error)
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StoreError::Failed { at, cause } | StoreError::Unusable { at, cause } => {
                write!(f, "database {at}: {cause}")
            }
            StoreError::Credentials(error) => error.fmt(f),
            StoreError::LeaseLost {
                holder: Some(holder),
            } => {
                write!(f, "another scanpush store works on the database: {holder}")
            }
            StoreError::LeaseLost { holder: None } => {
                f.write_str("another scanpush store has worked on the database in the meantime")
            }
            StoreError::Malformed { what, value } => {
                write!(f, "unexpected data in the database: {what} is {value}")
            }
            StoreError::Stopped => f.write_str("stopped"),
            StoreError::Inside(error) => f.write_str(&one_line(&error.to_string())),
        }
    }
}

impl Error for StoreError {}

fn classified(at: &impl fmt::Display, error: &DieselError) -> StoreError {
    match error {
        DieselError::DatabaseError(DatabaseErrorKind::ReadOnlyTransaction, _) => {
            StoreError::unusable(at, "it is read-only")
        }
        DieselError::DatabaseError(_, information) => by_text(at, information.message()),
        DieselError::DeserializationError(error) => {
            StoreError::malformed("a row", &error.to_string())
        }
        other => by_text(at, &other.to_string()),
    }
}

/// libpq tries with TLS and without, and names both errors.
fn without_repetition(text: &str) -> String {
    let mut lines: Vec<&str> = text.lines().map(str::trim).collect();
    lines.dedup();
    lines.join(" ")
}

/// SQLite's and libpq's causes reach us as texts only.
fn by_text(at: &impl fmt::Display, text: &str) -> StoreError {
    let text = one_line(&without_repetition(text.trim()));
    let has = |part: &str| text.contains(part);
    let unusable = |cause: &str| StoreError::unusable(at, cause);
    if has("file is not a database") {
        return unusable("the file is not an SQLite database");
    }
    if has("readonly database") || has("read-only") {
        return unusable("it is read-only: the file and its folder must be writable");
    }
    if has("unable to open database file") {
        return unusable("the file cannot be opened: does its folder exist, and is it writable?");
    }
    if has("password authentication failed") || has("no password supplied") {
        return unusable(&format!(
            "{text} (the password: -db-password-file or $SCAN_DB_PASSWORD)"
        ));
    }
    if has("permission denied") || (has("does not exist") && (has("role ") || has("database "))) {
        return unusable(&text);
    }
    let cause = if has("database is locked") {
        format!("{LOCKED} another program")
    } else if has("lock timeout") {
        format!("{LOCKED} another transaction")
    } else if has("disk is full") || has("No space left on device") {
        "no space left on the disk".to_owned()
    } else {
        text
    };
    StoreError::Failed {
        at: at.to_string(),
        cause,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn causes_are_one_line_and_say_whether_repeating_helps() {
        for (text, shown, may_be_repeated) in [
            (
                "file is not a database",
                "the file is not an SQLite database",
                false,
            ),
            (
                "attempt to write a readonly database",
                "it is read-only",
                false,
            ),
            (
                "database is locked",
                "it is locked by another program",
                true,
            ),
            (
                "database or disk is full",
                "no space left on the disk",
                true,
            ),
            (
                "connection to server at \"127.0.0.1\", port 1 failed: Connection refused\n\tIs the server running",
                "Connection refused",
                true,
            ),
            (
                "FATAL:  password authentication failed for user \"scan\"\n",
                "-db-password-file",
                false,
            ),
            (
                "FATAL:  database \"x\" does not exist\n",
                "does not exist",
                false,
            ),
        ] {
            let error = by_text(&"sqlite:x", text);
            let line = error.to_string();
            assert!(
                line.starts_with("database sqlite:x: ") && line.contains(shown),
                "{line}"
            );
            assert!(!line.contains('\n'), "{line}");
            assert_eq!(error.may_be_repeated(), may_be_repeated, "{line}");
            assert_eq!(error.is_of_database(), !error.is_locked(), "{line}");
        }
    }
}
