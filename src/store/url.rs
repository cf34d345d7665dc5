//! Where the database is: `sqlite:FILE` or `postgres://USER@HOST/DB`.

use crate::model::Invalid;
use crate::model::text::one_line;
use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

const EXPECTED: &str = "is not a database: sqlite:FILE or postgres://USER@HOST:PORT/DATABASE";

/// A database without its password.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DatabaseUrl {
    /// A file of SQLite.
    Sqlite(PathBuf),
    /// A URL of libpq, with its parameters (`?sslmode=verify-full`).
    Postgres(String),
}

impl FromStr for DatabaseUrl {
    type Err = Invalid;

    /// Errs if the URL has a password: everybody who may list processes would see it.
    fn from_str(text: &str) -> Result<DatabaseUrl, Invalid> {
        if let Some(file) = text.strip_prefix("sqlite:") {
            let file = file.strip_prefix("//").unwrap_or(file);
            return match file.is_empty() || file.contains('\0') {
                true => Err(Invalid::new(text, EXPECTED)),
                false => Ok(DatabaseUrl::Sqlite(PathBuf::from(file))),
            };
        }
        let rest = text
            .strip_prefix("postgres://")
            .or_else(|| text.strip_prefix("postgresql://"))
            .ok_or_else(|| Invalid::new(text, EXPECTED))?;
        // A password may contain a slash.
        let before_parameters = rest.split('?').next().unwrap_or_default();
        let user = before_parameters.rsplit_once('@').map(|(user, _)| user);
        let parameters = rest
            .split_once('?')
            .map_or("", |(_, parameters)| parameters);
        let has_password = user.is_some_and(|user| user.contains(':'))
            || parameters.split('&').any(|one| {
                let name = one.split('=').next().unwrap_or_default();
                name == "password" || name == "sslpassword"
            });
        if has_password {
            // Not quoted: it has the password.
            return Err(Invalid::about(
                "the URL has a password, which every user of this machine could see: use -db-password-file or $SCAN_DB_PASSWORD",
            ));
        }
        if text.contains('#') || text.chars().any(|c| c.is_control() || c == ' ') {
            return Err(Invalid::new(text, EXPECTED));
        }
        Ok(DatabaseUrl::Postgres(text.to_owned()))
    }
}

impl fmt::Display for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DatabaseUrl::Sqlite(file) => {
                write!(f, "sqlite:{}", one_line(&file.display().to_string()))
            }
            DatabaseUrl::Postgres(url) => f.write_str(&one_line(url)),
        }
    }
}

/// SQLite's URI for `file`; `mode` is `rwc` to create it, or `rw`.
pub(super) fn sqlite_uri(file: &Path, mode: &str) -> Option<String> {
    let path = std::path::absolute(file).ok()?;
    Some(format!(
        "file://{}?mode={mode}",
        percent_encoded(path.to_str()?)
    ))
}

/// libpq's URL with this password.
pub(super) fn with_password(url: &str, password: &str) -> String {
    let separator = if url.contains('?') { '&' } else { '?' };
    format!("{url}{separator}password={}", percent_encoded(password))
}

/// RFC 3986: everything but unreserved characters and `/` as `%` and two digits.
fn percent_encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'/' => {
                encoded.push(char::from(byte));
            }
            _ => encoded += &format!("%{byte:02X}"),
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_checked_and_shown() {
        for (text, shown) in [
            ("sqlite:findings.db", "sqlite:findings.db"),
            ("sqlite:///var/lib/x.db", "sqlite:/var/lib/x.db"),
            ("postgres://scan@db/scans", "postgres://scan@db/scans"),
            (
                "postgresql:///scans?host=/run/postgresql",
                "postgresql:///scans?host=/run/postgresql",
            ),
        ] {
            let url: DatabaseUrl = text.parse().unwrap();
            assert_eq!(url.to_string(), shown);
        }
        for text in [
            "",
            "findings.db",
            "sqlite:",
            "mysql://x/y",
            "postgres://a b/c",
        ] {
            let error = text.parse::<DatabaseUrl>().unwrap_err().to_string();
            assert!(error.contains("is not a database"), "{error}");
        }
        for text in [
            "postgres://scan:hidden@db/x",
            "postgres://db/x?password=hidden",
        ] {
            let error = text.parse::<DatabaseUrl>().unwrap_err().to_string();
            assert!(
                error.contains("-db-password-file") && !error.contains("hid"),
                "{error}"
            );
        }
    }

    #[test]
    fn names_and_passwords_are_encoded() {
        assert_eq!(
            with_password("postgres://scan@db/x", "p&ä%"),
            "postgres://scan@db/x?password=p%26%C3%A4%25"
        );
        assert_eq!(
            sqlite_uri(Path::new("/a b/c?.db"), "rw").unwrap(),
            "file:///a%20b/c%3F.db?mode=rw"
        );
    }
}
