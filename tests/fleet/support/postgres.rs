//! Postgres: one that all tests of a run share, started when the first of them needs it, with a database for each test; and one that a test starts for
//! itself, to kill it.

use super::environment::{report, script, shared_postgres, text};
use super::fleet::Fleet;
use super::peer::Peer;
use std::path::{Path, PathBuf};

/// A Postgres on 127.0.0.1. Its only user is `scan`, a superuser with a password.
pub struct Postgres(Peer);

/// A database of a [`Postgres`].
#[derive(Clone)]
pub struct Database {
    /// The folder of its Postgres.
    folder: PathBuf,
    port: u16,
    name: String,
}

impl Postgres {
    /// Starts one in the subfolder `postgres` of `folder`. `settings` are `KEY=VALUE` of postgresql.conf.
    pub fn start(folder: &Path, settings: &[&str]) -> Result<Postgres, String> {
        Peer::start("postgres", &folder.join("postgres"), settings).map(Postgres)
    }

    /// Creates an empty database.
    pub fn create_database(&self, name: &str) -> Database {
        let database = |name: &str| Database {
            folder: self.0.folder.clone(),
            port: self.0.port,
            name: name.to_owned(),
        };
        database("postgres").query(&format!("CREATE DATABASE \"{name}\""));
        database(name)
    }

    /// Stops it and closes its connections.
    pub fn stop(&self) -> Result<(), String> {
        self.0.stop()
    }
}

impl Database {
    /// `postgres://scan@127.0.0.1:PORT/NAME`
    pub fn url(&self) -> String {
        format!("postgres://scan@127.0.0.1:{}/{}", self.port, self.name)
    }

    /// As [`Database::url`], over TLS only, and the server's certificate must be for this host.
    pub fn verified_url(&self) -> String {
        let authority = self.folder.join("certs/ca.pem");
        let url = self.url();
        format!("{url}?sslmode=verify-full&sslrootcert={}", text(&authority))
    }

    /// A file with the password of `scan`.
    pub fn password_file(&self) -> PathBuf {
        self.folder.join("password")
    }

    /// The rows that psql prints for `sql`, one on each line, with `|` between the columns.
    pub fn query(&self, sql: &str) -> String {
        self.try_query(sql).unwrap()
    }

    /// As [`Database::query`]; errs if Postgres does not run or refuses it.
    pub fn try_query(&self, sql: &str) -> Result<String, String> {
        self.psql(&self.name, sql)
    }

    /// As [`Database::try_query`], but over TCP, with the password, and as `url` says.
    pub fn try_query_at(&self, url: &str, sql: &str) -> Result<String, String> {
        self.psql(url, sql)
    }

    fn psql(&self, database: &str, sql: &str) -> Result<String, String> {
        let words = ["psql", text(&self.folder), "-d", database, "-c", sql];
        script("postgres.sh", &words).map(|rows| rows.trim_end().to_owned())
    }
}

/// A Postgres for one test, which may kill it. Stopped on drop.
pub struct OwnPostgres(Postgres);

impl OwnPostgres {
    /// Creates an empty database.
    pub fn create_database(&self, name: &str) -> Database {
        self.0.create_database(name)
    }

    /// Kills all of its processes with SIGKILL, as a crash would.
    pub fn kill(&self) {
        self.0.0.kill().unwrap();
    }

    /// Starts it again after [`OwnPostgres::kill`], and waits until it has recovered.
    pub fn restart(&self) {
        self.0.0.restart().unwrap();
    }
}

impl Drop for OwnPostgres {
    fn drop(&mut self) {
        report(self.0.stop());
    }
}

impl Fleet {
    /// A new database for this fleet in the shared Postgres.
    pub fn create_database(&self) -> Database {
        shared_postgres().create_database(&self.group)
    }

    /// Starts a Postgres for this fleet alone.
    pub fn start_postgres(&self, settings: &[&str]) -> OwnPostgres {
        OwnPostgres(Postgres::start(&self.folder, settings).unwrap())
    }
}
