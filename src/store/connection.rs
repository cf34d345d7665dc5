//! Opens a database: the file or server, the settings of the session, and the schema.

use super::error::StoreError;
use super::url::{DatabaseUrl, sqlite_uri, with_password};
use crate::credentials::Password;
use diesel::connection::LoadConnection;
use diesel::deserialize::QueryableByName;
use diesel::migration::MigrationSource;
use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::query_builder::SqlQuery;
use diesel::query_dsl::LoadQuery;
use diesel::result::ConnectionError;
use diesel::sql_types::{BigInt, Bool, Text};
use diesel::sqlite::Sqlite;
use diesel_migrations::{EmbeddedMigrations, MigrationHarness, embed_migrations};
use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// A function, because running migrations consumes their list.
type Migrations = fn() -> EmbeddedMigrations;
const SQLITE_MIGRATIONS: Migrations = || {
    const EMBEDDED: EmbeddedMigrations = embed_migrations!("src/store/migrations/sqlite");
    EMBEDDED
};
const POSTGRES_MIGRATIONS: Migrations = || {
    const EMBEDDED: EmbeddedMigrations = embed_migrations!("src/store/migrations/postgres");
    EMBEDDED
};

/// Whether the table with the versions of the schema exists, as 0 or 1.
const SQLITE_HAS_VERSIONS: &str = "SELECT COUNT(*) AS number FROM sqlite_master WHERE type = 'table' AND name = '__diesel_schema_migrations'";
const POSTGRES_HAS_VERSIONS: &str =
    "SELECT CAST(COUNT(to_regclass('__diesel_schema_migrations')) AS BIGINT) AS number";

/// Marks an SQLite file as ours (`PRAGMA application_id`): "SCAN".
const APPLICATION_ID: i64 = 0x5343_414e;
/// The advisory lock that Postgres holds while the schema is changed.
const MIGRATION_LOCK: i64 = 0x5343_414e;
/// How long a connection waits for a lock of another process, in milliseconds.
const LOCK_WAIT_MS: u32 = 5_000;
/// Memory for pages of SQLite, in KiB. Upserts at random places of a large table need its inner pages.
const SQLITE_CACHE_KIB: u32 = 64 * 1024;
/// Pages of 4 KiB after which SQLite copies its WAL into the file. The next batches change many of them again.
const SQLITE_WAL_PAGES: u32 = 16_000;
/// Bytes that SQLite's WAL keeps after it was copied.
const SQLITE_WAL_BYTES_KEPT: u64 = 64 * 1024 * 1024;
/// Added to a Postgres URL that does not set them: seconds until a server that does not answer counts as unreachable, and milliseconds until a
/// connection does whose packets are not acknowledged; seconds, and a number of probes, until a silent one is found broken.
const POSTGRES_DEFAULTS: [(&str, &str); 6] = [
    ("connect_timeout", "5"),
    ("tcp_user_timeout", "10000"),
    ("keepalives_idle", "10"),
    ("keepalives_interval", "5"),
    ("keepalives_count", "3"),
    ("application_name", "scanpush"),
];

/// Which database, and how to authenticate there.
#[derive(Clone, Debug)]
pub struct DatabaseSettings {
    /// The database.
    pub url: DatabaseUrl,
    /// The password; libpq's own (`~/.pgpass`, `PGPASSWORD`) if there is none.
    pub password: Option<Password>,
}

/// What a database is opened for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// Creates the database's file and schema, or brings the schema up to date.
    Writing,
    /// Changes nothing.
    Reading,
}

/// A connection to either kind of database. Statements that one of them does not have in common are in `sqlite.rs` and `postgres.rs`.
#[derive(diesel::MultiConnection)]
pub(super) enum AnyConnection {
    /// A file.
    Sqlite(SqliteConnection),
    /// A server.
    Postgres(PgConnection),
}

/// Connects, and creates or checks the schema.
pub(super) fn open(
    settings: &DatabaseSettings,
    purpose: Purpose,
) -> Result<AnyConnection, StoreError> {
    let at = &settings.url;
    let mut connection = match at {
        DatabaseUrl::Sqlite(file) => {
            if purpose == Purpose::Reading && !file.exists() {
                let cause = "the file does not exist; `scanpush store` creates it";
                return Err(StoreError::unusable(at, cause));
            }
            if purpose == Purpose::Writing {
                create_private(file);
            }
            let mode = match purpose {
                Purpose::Writing => "rwc",
                Purpose::Reading => "rw",
            };
            let uri = sqlite_uri(file, mode)
                .ok_or_else(|| StoreError::unusable(at, "the file's name is not UTF-8"))?;
            let connection =
                SqliteConnection::establish(&uri).map_err(|e| StoreError::connecting(at, &e))?;
            AnyConnection::Sqlite(connection)
        }
        DatabaseUrl::Postgres(url) => {
            let mut url = url.clone();
            for (name, value) in POSTGRES_DEFAULTS {
                if !url.contains(&format!("{name}=")) {
                    let separator = if url.contains('?') { '&' } else { '?' };
                    url += &format!("{separator}{name}={value}");
                }
            }
            let without_password = url.clone();
            if let Some(password) = &settings.password {
                let secret = password.read().map_err(StoreError::Credentials)?;
                url = with_password(&url, secret.reveal());
            }
            let connection = PgConnection::establish(&url).map_err(|error| {
                // libpq quotes a URL that it cannot parse.
                let text = error.to_string().replace(&url, &without_password);
                StoreError::connecting(at, &ConnectionError::BadConnection(text))
            })?;
            AnyConnection::Postgres(connection)
        }
    };
    prepare(&mut connection, at, purpose).map_err(|error| error.of(at))?;
    Ok(connection)
}

/// Creates the file so that other users cannot read it. Whatever is wrong with it is found when it is opened.
fn create_private(file: &Path) {
    let _ = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o640)
        .open(file);
}

fn prepare(
    connection: &mut AnyConnection,
    at: &DatabaseUrl,
    purpose: Purpose,
) -> Result<(), StoreError> {
    match connection {
        AnyConnection::Sqlite(connection) => {
            run(connection, &format!("PRAGMA busy_timeout = {LOCK_WAIT_MS}"))?;
            check_owner_of_file(connection, at)?;
            let known = known_versions::<Sqlite>(SQLITE_MIGRATIONS);
            check_not_newer(
                &applied_versions(connection, SQLITE_HAS_VERSIONS)?,
                &known,
                at,
            )?;
            if purpose == Purpose::Writing {
                // Readers do not block the writer, nor it them. A crash of the machine may lose the last transactions, with their offsets.
                run(connection, "PRAGMA journal_mode = WAL")?;
                run(connection, "PRAGMA synchronous = NORMAL")?;
                connection.immediate_transaction(|connection| {
                    run(
                        connection,
                        &format!("PRAGMA application_id = {APPLICATION_ID}"),
                    )?;
                    migrate(connection, SQLITE_MIGRATIONS, at)
                })?;
            }
            run(
                connection,
                &format!("PRAGMA cache_size = -{SQLITE_CACHE_KIB}"),
            )?;
            run(
                connection,
                &format!("PRAGMA wal_autocheckpoint = {SQLITE_WAL_PAGES}"),
            )?;
            // A batch of findings at scattered addresses may need a WAL of a gigabyte, which would stay that long.
            run(
                connection,
                &format!("PRAGMA journal_size_limit = {SQLITE_WAL_BYTES_KEPT}"),
            )?;
            run(connection, "PRAGMA temp_store = MEMORY")?;
            check_schema(
                &applied_versions(connection, SQLITE_HAS_VERSIONS)?,
                &known,
                at,
            )
        }
        AnyConnection::Postgres(connection) => {
            run(connection, "SET client_min_messages = warning")?;
            run(connection, &format!("SET lock_timeout = {LOCK_WAIT_MS}"))?;
            check_owner_of_schema(connection, at)?;
            let known = known_versions::<Pg>(POSTGRES_MIGRATIONS);
            check_not_newer(
                &applied_versions(connection, POSTGRES_HAS_VERSIONS)?,
                &known,
                at,
            )?;
            if purpose == Purpose::Writing {
                connection.transaction(|connection| {
                    run(
                        connection,
                        &format!("SELECT pg_advisory_xact_lock({MIGRATION_LOCK})"),
                    )?;
                    migrate(connection, POSTGRES_MIGRATIONS, at)
                })?;
            }
            check_schema(
                &applied_versions(connection, POSTGRES_HAS_VERSIONS)?,
                &known,
                at,
            )
        }
    }
}

fn run<C: diesel::connection::SimpleConnection>(
    connection: &mut C,
    statement: &str,
) -> Result<(), StoreError> {
    Ok(connection.batch_execute(statement)?)
}

/// Lets Postgres cancel statements that take longer.
pub(super) fn limit_statements(
    connection: &mut AnyConnection,
    limit: Duration,
) -> Result<(), StoreError> {
    match connection {
        AnyConnection::Sqlite(_) => Ok(()),
        AnyConnection::Postgres(connection) => {
            let limit_ms = limit.as_millis();
            run(connection, &format!("SET statement_timeout = {limit_ms}"))
        }
    }
}

#[derive(QueryableByName)]
struct Number {
    #[diesel(sql_type = BigInt)]
    number: i64,
}

#[derive(QueryableByName)]
struct YesNo {
    #[diesel(sql_type = Bool)]
    yes: bool,
}

/// Errs if the file has tables and is not marked as ours.
fn check_owner_of_file(
    connection: &mut SqliteConnection,
    at: &DatabaseUrl,
) -> Result<(), StoreError> {
    let id: Number =
        diesel::sql_query("SELECT application_id AS number FROM pragma_application_id")
            .get_result(connection)?;
    let tables: Number =
        diesel::sql_query("SELECT COUNT(*) AS number FROM sqlite_master").get_result(connection)?;
    match id.number == APPLICATION_ID || (id.number == 0 && tables.number == 0) {
        true => Ok(()),
        false => Err(StoreError::unusable(at, "it belongs to another program")),
    }
}

/// Errs if the schema has one of our tables, but not the one that marks it as ours.
fn check_owner_of_schema(
    connection: &mut PgConnection,
    at: &DatabaseUrl,
) -> Result<(), StoreError> {
    let foreign: YesNo = diesel::sql_query(
        "SELECT to_regclass('store_lease') IS NULL AND (to_regclass('services') IS NOT NULL OR to_regclass('tasks') IS NOT NULL \
         OR to_regclass('__diesel_schema_migrations') IS NOT NULL) AS yes",
    )
    .get_result(connection)?;
    match foreign.yes {
        true => Err(StoreError::unusable(at, "it belongs to another program")),
        false => Ok(()),
    }
}

/// Brings the schema up to date, inside of a transaction that excludes other processes.
fn migrate<C, B>(
    connection: &mut C,
    migrations: Migrations,
    at: &DatabaseUrl,
) -> Result<(), StoreError>
where
    C: MigrationHarness<B>,
    B: diesel::backend::Backend,
    EmbeddedMigrations: MigrationSource<B>,
{
    connection
        .run_pending_migrations(migrations())
        .map_err(|error| StoreError::unusable(at, one_cause(&*error)))?;
    Ok(())
}

/// The versions of the schema that this program knows.
fn known_versions<B>(migrations: Migrations) -> Vec<String>
where
    B: diesel::backend::Backend,
    EmbeddedMigrations: MigrationSource<B>,
{
    let embedded = MigrationSource::<B>::migrations(&migrations());
    embedded
        .expect("embedded migrations are always readable")
        .iter()
        .map(|migration| migration.name().version().to_string())
        .collect()
}

#[derive(QueryableByName)]
struct Version {
    #[diesel(sql_type = Text)]
    version: String,
}

/// The versions of the schema that were applied. diesel's own function would create the table in which they are, which a reader may not do.
fn applied_versions<C>(connection: &mut C, table_count: &str) -> Result<Vec<String>, StoreError>
where
    C: LoadConnection,
    SqlQuery: for<'a> LoadQuery<'a, C, Number> + for<'a> LoadQuery<'a, C, Version>,
{
    let tables: Number = diesel::sql_query(table_count).get_result(connection)?;
    if tables.number == 0 {
        return Ok(Vec::new());
    }
    let versions: Vec<Version> =
        diesel::sql_query("SELECT version FROM __diesel_schema_migrations").load(connection)?;
    Ok(versions.into_iter().map(|row| row.version).collect())
}

/// Errs if a newer program has changed the schema.
fn check_not_newer(
    applied: &[String],
    known: &[String],
    at: &DatabaseUrl,
) -> Result<(), StoreError> {
    match applied.iter().all(|version| known.contains(version)) {
        true => Ok(()),
        false => Err(StoreError::unusable(
            at,
            "its schema is newer than this program: install the newer version",
        )),
    }
}

/// Errs if the schema is not exactly the one of this program.
fn check_schema(applied: &[String], known: &[String], at: &DatabaseUrl) -> Result<(), StoreError> {
    check_not_newer(applied, known, at)?;
    match known.iter().all(|version| applied.contains(version)) {
        true => Ok(()),
        false => Err(StoreError::unusable(
            at,
            "its schema is missing or old; `scanpush store` creates or changes it",
        )),
    }
}

fn one_cause(error: &dyn std::error::Error) -> String {
    crate::model::text::one_line(&error.to_string())
}

/// Now, in unix milliseconds: by the clock that all processes share, the server's, or with SQLite the machine's.
pub(super) fn now_ms(connection: &mut AnyConnection) -> Result<i64, StoreError> {
    match connection {
        AnyConnection::Sqlite(_) => Ok(SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |since| since.as_millis() as i64)),
        AnyConnection::Postgres(connection) => {
            let now: Number = diesel::sql_query(
                "SELECT CAST(extract(epoch FROM clock_timestamp()) * 1000 AS BIGINT) AS number",
            )
            .get_result(connection)?;
            Ok(now.number)
        }
    }
}

/// Runs `work` in a transaction that may write, and rolls back if it errs.
pub(super) fn transaction<T>(
    connection: &mut AnyConnection,
    work: impl FnOnce(&mut AnyConnection) -> Result<T, StoreError>,
) -> Result<T, StoreError> {
    // SQLite must take the lock for writing first: a transaction that reads before it writes fails if another one has written in between.
    let is_sqlite = matches!(connection, AnyConnection::Sqlite(_));
    if is_sqlite {
        run(connection, "BEGIN IMMEDIATE")?;
        let result = work(connection);
        let end = if result.is_ok() { "COMMIT" } else { "ROLLBACK" };
        let ended = run(connection, end);
        if result.is_ok() && ended.is_err() {
            // The commit failed, for instance because the disk is full.
            let _ = run(connection, "ROLLBACK");
        }
        return result.and_then(|value| ended.map(|()| value));
    }
    connection.transaction(work)
}
