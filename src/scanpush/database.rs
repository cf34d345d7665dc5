//! The flags that say where the findings' database is, and its errors. The commands that write or read it have them in common.

use crate::credentials::{CredentialFile, Password};
use crate::exit::Failure;
use crate::flags::{Flag, Reader};
use crate::model::Invalid;
use crate::store::{DatabaseSettings, DatabaseUrl, StoreError};

/// `-db` of commands that need a database.
pub const DB: Flag = Flag::with_default(
    "--db",
    "URL",
    "sqlite:findings.db",
    "database of findings: sqlite:FILE or postgres://USER@HOST:PORT/DATABASE",
)
.or_variable("SCAN_DB");

/// `-db` of commands that also work without one.
pub const OPTIONAL_DB: Flag = Flag::optional(
    "--db",
    "URL",
    "database of findings for tasks that Redis no longer knows: sqlite:FILE or postgres://USER@HOST:PORT/DATABASE",
)
.or_variable("SCAN_DB");

/// `-db-password-file`
pub const DB_PASSWORD_FILE: Flag = Flag::optional(
    "--db-password-file",
    "FILE",
    "file with the password for Postgres",
)
.or_secret_variable("SCAN_DB_PASSWORD");

/// Takes [`DB`] and [`DB_PASSWORD_FILE`].
pub fn read(reader: &mut Reader) -> Result<DatabaseSettings, Invalid> {
    let url = reader.value(&DB, str::parse)?;
    with_password(reader, url)
}

/// Takes [`OPTIONAL_DB`] and [`DB_PASSWORD_FILE`]. None if no database is given.
pub fn read_optional(reader: &mut Reader) -> Result<Option<DatabaseSettings>, Invalid> {
    match reader.optional(&OPTIONAL_DB, str::parse)? {
        Some(url) => with_password(reader, url).map(Some),
        None if reader.credential_file(&DB_PASSWORD_FILE)?.is_some() => {
            Err(Invalid::about("needs -db URL or $SCAN_DB too").of(DB_PASSWORD_FILE.shown()))
        }
        None => Ok(None),
    }
}

/// The warning if every user of this machine can read the password file of a command line; none if it has no such file.
pub fn permission_warning(reader: &Reader) -> Option<String> {
    let password = reader.clone().password(&DB_PASSWORD_FILE).ok()??;
    password.file().and_then(CredentialFile::permission_warning)
}

/// The error of a database that was asked, in one line.
pub fn failure(error: StoreError) -> Failure {
    Failure::Runtime(error.to_string())
}

fn with_password(reader: &mut Reader, url: DatabaseUrl) -> Result<DatabaseSettings, Invalid> {
    let password = reader.password(&DB_PASSWORD_FILE)?;
    // $SCAN_DB_PASSWORD is ignored then: it may be set for other commands.
    let has_file = password.as_ref().and_then(Password::file).is_some();
    match url {
        DatabaseUrl::Sqlite(_) if has_file => Err(Invalid::about(
            "is for Postgres: SQLite has no password (-db postgres://USER@HOST/DATABASE)",
        )
        .of(DB_PASSWORD_FILE.shown())),
        url => Ok(DatabaseSettings { url, password }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flags::{self, Asked};
    use std::ffi::OsString;

    fn settings(
        line: &[&str],
        variables: &[(&str, &str)],
        read: fn(&mut Reader) -> Result<Option<DatabaseSettings>, Invalid>,
        db: Flag,
    ) -> Result<Option<DatabaseSettings>, Invalid> {
        let args = line.iter().map(OsString::from).collect();
        let variable = |name: &str| {
            let found = variables.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| OsString::from(value))
        };
        let Asked::Run(mut reader) = flags::read(args, &[db, DB_PASSWORD_FILE], variable)? else {
            panic!("{line:?}");
        };
        let settings = read(&mut reader)?;
        reader.finish()?;
        Ok(settings)
    }

    #[test]
    fn a_database_is_of_the_flag_the_variable_or_the_default() {
        let url = |line: &[&str], variables: &[(&str, &str)]| {
            let read = |reader: &mut Reader| read(reader).map(Some);
            let settings = settings(line, variables, read, DB);
            settings.map(|settings| settings.unwrap().url.to_string())
        };
        assert_eq!(url(&[], &[]).unwrap(), "sqlite:findings.db");
        assert_eq!(url(&[], &[("SCAN_DB", "sqlite:a")]).unwrap(), "sqlite:a");
        let line = ["-db", "sqlite:b"];
        assert_eq!(url(&line, &[("SCAN_DB", "sqlite:a")]).unwrap(), "sqlite:b");
        for (line, variables, wrong) in [
            (
                &["-db", "findings.db"][..],
                &[][..],
                "-db: \"findings.db\" is not a database: sqlite:FILE",
            ),
            (&[], &[("SCAN_DB", "x")], "SCAN_DB: \"x\" is not a database"),
            (
                &["-db-password-file", "p"],
                &[],
                "-db-password-file: is for Postgres",
            ),
        ] {
            let error = url(line, variables).unwrap_err().to_string();
            assert!(error.starts_with(wrong), "{error}");
        }
        // A secret for other commands.
        assert!(url(&[], &[("SCAN_DB_PASSWORD", "x")]).is_ok());
    }

    #[test]
    fn an_optional_database_has_no_default() {
        let read = |line: &[&str], variables: &[(&str, &str)]| {
            settings(line, variables, read_optional, OPTIONAL_DB)
        };
        assert!(read(&[], &[]).unwrap().is_none());
        assert!(read(&[], &[("SCAN_DB_PASSWORD", "x")]).unwrap().is_none());
        let of_variable = read(
            &[],
            &[("SCAN_DB", "postgres://a@b/c"), ("SCAN_DB_PASSWORD", "x")],
        );
        let of_variable = of_variable.unwrap().unwrap();
        assert_eq!(of_variable.url.to_string(), "postgres://a@b/c");
        assert!(of_variable.password.is_some());
        let error = read(&["-db-password-file", "p"], &[])
            .unwrap_err()
            .to_string();
        assert!(
            error.starts_with("-db-password-file: needs -db URL"),
            "{error}"
        );
    }
}
