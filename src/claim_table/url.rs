//! The address of Redis. The password in the URL is only used for the connection and never shown.

use crate::model::Invalid;
use redis::{ConnectionAddr, ConnectionInfo, IntoConnectionInfo};
use std::fmt;
use std::str::FromStr;

/// A validated `redis://[user:password@]host[:port][/db]` or `unix:///path` URL.
#[derive(Clone)]
pub struct RedisUrl(ConnectionInfo);

impl RedisUrl {
    pub(super) fn info(&self) -> ConnectionInfo {
        self.0.clone()
    }
}

impl FromStr for RedisUrl {
    type Err = Invalid;

    /// Errors quote no part of the text, because it may contain a password.
    fn from_str(text: &str) -> Result<RedisUrl, Invalid> {
        const EXPECTED: &str = "is not a URL like redis://localhost:6379, redis://:password@host:6379/0 or unix:///run/redis.sock";
        if has_unescaped_password(text) {
            return Err(Invalid::about(
                "the value contains #, or a / or ? before an @: in a user name or password write # as %23, / as %2F, ? as %3F, @ as %40, % as %25",
            ));
        }
        if text.starts_with("rediss://") {
            return Err(Invalid::about(
                "rediss:// (TLS) is not supported: give a redis:// URL, through a tunnel if the network is not private",
            ));
        }
        let known = ["redis://", "unix://", "redis+unix://"];
        if !known.iter().any(|scheme| text.starts_with(scheme)) {
            return Err(Invalid::about(format!("the value {EXPECTED}")));
        }
        text.into_connection_info()
            .map(RedisUrl)
            .map_err(|_| Invalid::about(format!("the value {EXPECTED}")))
    }
}

/// Whether a special character of the user name or password is not escaped. `redis://:a#b@host` would be parsed as the host `` with password
/// `a` cut off, or, worse, part of the password as the host.
fn has_unescaped_password(text: &str) -> bool {
    let after_scheme = text.split_once("://").map_or(text, |(_, rest)| rest);
    let authority_end = after_scheme.find(['/', '?', '#']);
    let is_socket = text.starts_with("unix://") || text.starts_with("redis+unix://");
    let has_late_at = authority_end.is_some_and(|end| after_scheme[end..].contains('@'));
    after_scheme.contains('#') || (has_late_at && !is_socket)
}

impl fmt::Display for RedisUrl {
    /// The URL without user and password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let db = self.0.redis_settings().db();
        match self.0.addr() {
            ConnectionAddr::Tcp(host, port) => write!(f, "redis://{host}:{port}")?,
            other => write!(f, "unix://{other}")?,
        }
        if db != 0 {
            write!(f, "/{db}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for RedisUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_displayed_url_has_no_password() {
        for (text, shown) in [
            ("redis://localhost", "redis://localhost:6379"),
            ("redis://localhost:7000", "redis://localhost:7000"),
            ("redis://me:secret@host:1/2", "redis://host:1/2"),
            ("redis://:secret@host", "redis://host:6379"),
            ("unix:///run/r.sock", "unix:///run/r.sock"),
        ] {
            let url: RedisUrl = text.parse().unwrap();
            assert_eq!(url.to_string(), shown);
            assert!(!format!("{url} {url:?}").contains("secret"));
        }
    }

    #[test]
    fn an_invalid_url_is_refused_without_quoting_it() {
        for text in [
            "",
            "localhost:6379",
            "http://:secret@x",
            "rediss://:secret@x",
            "redis://:secret@x:port",
            "redis://:P@ss#secret@host",
            "redis://:P/secret@host",
            "redis://:P?secret@host",
            "redis://me:secret@host/0#1",
        ] {
            let error = text.parse::<RedisUrl>().unwrap_err().to_string();
            assert!(!error.contains("secret"), "{error}");
        }
    }
}
