//! Errors of Redis for operators: the address and the cause, never a password.

use crate::model::Invalid;
use crate::model::text::{one_line, quoted, system_words};
use redis::{ErrorKind, RedisError, ServerErrorKind};
use rustls::{AlertDescription, CertificateError};
use std::error::Error;
use std::sync::Arc;
use std::{fmt, io};

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
    /// A password, certificate or key for Redis cannot be used; the error names its flag and file.
    Credentials(Invalid),
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

    pub(super) fn redis(
        at: &impl fmt::Display,
        error: &RedisError,
        stage: Stage,
    ) -> ClaimTableError {
        ClaimTableError::Redis {
            at: at.to_string(),
            cause: cause(error, stage),
        }
    }

    /// Whether it says that a password is required.
    pub(super) fn needs_password(&self) -> bool {
        matches!(self, ClaimTableError::Redis { cause, .. } if cause.starts_with(PASSWORD_REQUIRED))
    }
}

impl fmt::Display for ClaimTableError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ClaimTableError::Redis { at, cause } => write!(f, "Redis at {at}: {cause}"),
            ClaimTableError::Credentials(error) => error.fmt(f),
            ClaimTableError::Malformed { what, value } => {
                write!(f, "unexpected data in Redis: {what} is {value}")
            }
        }
    }
}

impl Error for ClaimTableError {}

/// When an error occurred. If nothing was answered before it, the two sides may disagree about TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// Before the first answer, without TLS.
    FirstPlaintext,
    /// Before the first answer, with TLS.
    HandshakeOfTls,
    /// Later.
    Connected,
}

/// Begins the cause of an error that a password mends.
const PASSWORD_REQUIRED: &str = "requires a password";
const PASSWORD_REMEDY: &str =
    "give it with -redis-password-file, or in -redis redis://USER:PASSWORD@HOST";

/// Where the rights are documented.
const RIGHTS_HINT: &str = "docs/security.md lists the rights that the user of -redis-user needs";

/// Whether a command met a key of another type than it needs. In a script, Redis 6 gives only its words.
pub(super) fn is_wrong_type(error: &RedisError) -> bool {
    error.code() == Some("WRONGTYPE")
        || error
            .detail()
            .is_some_and(|words| words.contains("WRONGTYPE"))
}

fn cause(error: &RedisError, stage: Stage) -> String {
    let words = one_line(error.detail().unwrap_or_default());
    match error.kind() {
        ErrorKind::AuthenticationFailed => wrong_password(),
        ErrorKind::Server(ServerErrorKind::ReadOnly) => {
            "is a read-only replica: give the address of the primary".to_owned()
        }
        ErrorKind::Server(ServerErrorKind::NoPerm) => {
            format!("{words} ({RIGHTS_HINT})")
        }
        // Redis 7 says no more about a command inside a script.
        ErrorKind::Server(_) if words.contains("The user executing the script can't") => {
            format!("this user has no permissions to run a command of a script ({RIGHTS_HINT})")
        }
        ErrorKind::Server(ServerErrorKind::Moved) => {
            format!(
                "the nodes of the Redis Cluster do not agree on which of them has the group's keys ({words})"
            )
        }
        ErrorKind::Server(ServerErrorKind::Ask | ServerErrorKind::TryAgain) => {
            "the group's keys are being moved to another node of the Redis Cluster".to_owned()
        }
        ErrorKind::Server(ServerErrorKind::ClusterDown) => {
            format!("the Redis Cluster is down: {words}")
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
        _ if error.code() == Some("NOAUTH") => format!("{PASSWORD_REQUIRED}: {PASSWORD_REMEDY}"),
        _ if error.code() == Some("WRONGPASS") => wrong_password(),
        ErrorKind::Server(ServerErrorKind::ResponseError) if words.contains("DB index") => {
            "has no database with that number (its setting `databases`; by default 0 to 15)"
                .to_owned()
        }
        ErrorKind::InvalidClientConfig if words.contains("KeyMismatch") => {
            "the key of -redis-key does not belong to the certificate of -redis-cert".to_owned()
        }
        _ if error.is_timeout() => match stage {
            Stage::HandshakeOfTls => {
                "did not answer the TLS handshake in time: if the port has no TLS, give redis:// in -redis"
                    .to_owned()
            }
            _ => "did not answer in time".to_owned(),
        },
        ErrorKind::Parse if stage == Stage::FirstPlaintext => no_redis(),
        ErrorKind::Io => tls_error(error).map_or_else(|| io_cause(error, stage), tls_cause),
        // The crate's text for some errors is Rust debug output; Redis' own message is enough.
        ErrorKind::Server(_) if !words.is_empty() => {
            format!("answers with an error: {words}")
        }
        _ => one_line(&error.to_string()),
    }
}

fn wrong_password() -> String {
    format!("refuses the user name or password: {PASSWORD_REMEDY}")
}

fn no_redis() -> String {
    "closed the connection before it answered: if the port has TLS, give rediss:// in -redis"
        .to_owned()
}

/// The error of TLS in an I/O error.
fn tls_error(error: &RedisError) -> Option<&rustls::Error> {
    let shared = error.source()?;
    let io = shared
        .downcast_ref::<Arc<dyn Error + Send + Sync>>()
        .map(|shared| shared.as_ref() as &(dyn Error + 'static))
        .unwrap_or(shared);
    if let Some(error) = io.downcast_ref::<rustls::Error>() {
        return Some(error);
    }
    let inner = io.downcast_ref::<io::Error>()?.get_ref()?;
    inner.downcast_ref()
}

fn tls_cause(error: &rustls::Error) -> String {
    match error {
        rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer) => {
            "its certificate is not signed by a known authority: give the authority's certificate in -redis-ca"
                .to_owned()
        }
        rustls::Error::InvalidCertificate(
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
        ) => "its certificate is for another host: give a host name in -redis that the certificate has"
            .to_owned(),
        rustls::Error::InvalidCertificate(
            CertificateError::Expired | CertificateError::ExpiredContext { .. },
        ) => "its certificate has expired".to_owned(),
        rustls::Error::InvalidCertificate(error) => {
            format!("its certificate is not valid: {}", one_line(&error.to_string()))
        }
        rustls::Error::AlertReceived(AlertDescription::CertificateRequired) => {
            "requires a client certificate: give -redis-cert and -redis-key".to_owned()
        }
        rustls::Error::AlertReceived(
            alert @ (AlertDescription::UnknownCA
            | AlertDescription::BadCertificate
            | AlertDescription::CertificateUnknown
            | AlertDescription::CertificateExpired
            | AlertDescription::DecryptError),
        ) => format!("refuses the client certificate of -redis-cert ({alert:?})"),
        rustls::Error::InvalidMessage(_) => {
            "answers without TLS: if the port has no TLS, give redis:// in -redis".to_owned()
        }
        other => format!("the TLS handshake failed: {}", one_line(&other.to_string())),
    }
}

fn out_of_memory() -> String {
    "is out of memory: raise its maxmemory (with maxmemory-policy noeviction)".to_owned()
}

/// The system's message for an I/O error, without the crate's text around it.
fn io_cause(error: &RedisError, stage: Stage) -> String {
    let text = error.to_string();
    let of_system_certificates = [
        "failed to read PEM",
        "failed to open file",
        "opening directory",
        "reading directory",
    ];
    if stage == Stage::HandshakeOfTls
        && of_system_certificates
            .iter()
            .any(|begin| text.starts_with(begin))
    {
        // Read for each connection with TLS, even if -redis-ca replaces them.
        return format!(
            "the system's certificates cannot be read (SSL_CERT_FILE and SSL_CERT_DIR name others): {}",
            one_line(&text)
        );
    }
    // The crate reports this as a refusal; only the path of a socket can be missing.
    if text.starts_with("No such file or directory") {
        return "no such socket".to_owned();
    }
    if error.is_connection_refusal() {
        return "connection refused".to_owned();
    }
    if error.is_connection_dropped() {
        return match stage {
            Stage::FirstPlaintext => no_redis(),
            Stage::HandshakeOfTls => {
                "closed the connection during the TLS handshake: if the port has no TLS, give redis:// in -redis"
                    .to_owned()
            }
            Stage::Connected => "the connection was closed".to_owned(),
        };
    }
    system_words(&text)
}

#[cfg(test)]
mod tests {
    use super::*;

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
            let shown = cause(&error, Stage::Connected);
            assert!(shown.starts_with(words), "{shown}");
            assert!(
                !shown.contains("(os error") && !shown.contains("ResponseError"),
                "{shown}"
            );
        }
    }

    #[test]
    fn an_error_before_the_first_answer_names_the_flag_that_mends_it() {
        let io = |kind: io::ErrorKind| RedisError::from(io::Error::from(kind));
        let tls = |error: rustls::Error| {
            RedisError::from(io::Error::new(io::ErrorKind::InvalidData, error))
        };
        let certificate = |error| tls(rustls::Error::InvalidCertificate(error));
        for (error, stage, words) in [
            (
                io(io::ErrorKind::WouldBlock),
                Stage::HandshakeOfTls,
                "did not answer the TLS handshake in time: if the port has no TLS, give redis://",
            ),
            (
                io(io::ErrorKind::ConnectionReset),
                Stage::FirstPlaintext,
                "closed the connection before it answered: if the port has TLS, give rediss://",
            ),
            (
                io(io::ErrorKind::UnexpectedEof),
                Stage::Connected,
                "the connection was closed",
            ),
            (
                certificate(CertificateError::UnknownIssuer),
                Stage::HandshakeOfTls,
                "is not signed by a known authority: give the authority's certificate in -redis-ca",
            ),
            (
                certificate(CertificateError::NotValidForName),
                Stage::HandshakeOfTls,
                "is for another host: give a host name in -redis",
            ),
            (
                certificate(CertificateError::Expired),
                Stage::HandshakeOfTls,
                "has expired",
            ),
            (
                tls(rustls::Error::AlertReceived(
                    AlertDescription::CertificateRequired,
                )),
                Stage::HandshakeOfTls,
                "requires a client certificate: give -redis-cert and -redis-key",
            ),
            (
                io::Error::other("failed to read PEM from file: No such file or directory").into(),
                Stage::HandshakeOfTls,
                "the system's certificates cannot be read (SSL_CERT_FILE",
            ),
            (
                tls(rustls::Error::AlertReceived(AlertDescription::UnknownCA)),
                Stage::HandshakeOfTls,
                "refuses the client certificate of -redis-cert",
            ),
        ] {
            let shown = cause(&error, stage);
            assert!(shown.contains(words), "{shown}");
        }
    }
}
