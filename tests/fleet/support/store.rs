//! Databases of findings, and `scanpush store`, which writes them.

use super::environment::{park_if_cancelled, text};
use super::fleet::Fleet;
use super::postgres::Database;
use super::server::Scand;
use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use diesel::sql_types::Text;
use scan::credentials::{CredentialFile, Password};
use scan::store::DatabaseSettings;
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{Output, Stdio};

/// A database of findings.
#[derive(Clone)]
pub enum FindingsDb {
    Sqlite(PathBuf),
    Postgres(Database),
}

/// The rows of all tables but the lease, each as a line, in order.
pub type Dump = BTreeMap<&'static str, Vec<String>>;

/// The tables. `ADDRESS` is the address in hexadecimal digits. Ids, and times at which something was read, are left out.
const TABLES: [(&str, &str, &str); 8] = [
    (
        "services",
        "services",
        "ADDRESS,port,protocol,first_seen,last_seen,last_task,state,state_since,misses,missed_since",
    ),
    (
        "changes",
        "changes",
        "ADDRESS,port,protocol,kind,at,task_id",
    ),
    ("tasks", "tasks", "task_id,state"),
    (
        "events",
        "task_events",
        "task_id,at_ms,retry,fence,state,server,attempt",
    ),
    (
        "records",
        "task_records",
        "topic_partition,topic_offset,task_id",
    ),
    (
        "findings",
        "findings",
        "task_id,ADDRESS,port,protocol,at,attempt",
    ),
    (
        "positions",
        "positions",
        "topic,topic_partition,next_offset,records,lost,gap_until",
    ),
    ("counters", "counters", "name,value"),
];

#[derive(QueryableByName)]
struct Line {
    #[diesel(sql_type = Text)]
    line: String,
}

impl FindingsDb {
    /// A file of SQLite in the fleet's folder, and an empty database in the shared Postgres.
    pub fn both(fleet: &Fleet) -> [FindingsDb; 2] {
        [
            FindingsDb::file(fleet, "findings.db"),
            FindingsDb::Postgres(fleet.create_database()),
        ]
    }

    /// A file of SQLite in the fleet's folder.
    pub fn file(fleet: &Fleet, name: &str) -> FindingsDb {
        FindingsDb::Sqlite(fleet.folder.join(name))
    }

    pub fn name(&self) -> &'static str {
        match self {
            FindingsDb::Sqlite(_) => "sqlite",
            FindingsDb::Postgres(_) => "postgres",
        }
    }

    pub fn url(&self) -> String {
        match self {
            FindingsDb::Sqlite(file) => format!("sqlite:{}", text(file)),
            FindingsDb::Postgres(database) => database.url(),
        }
    }

    /// The same for the library.
    pub fn settings(&self) -> DatabaseSettings {
        DatabaseSettings {
            url: self.url().parse().unwrap(),
            password: match self {
                FindingsDb::Sqlite(_) => None,
                FindingsDb::Postgres(database) => {
                    let file = CredentialFile::new("password", database.password_file());
                    Some(Password::File(file))
                }
            },
        }
    }

    /// The flags of scanpush for it.
    pub fn flags(&self) -> Vec<String> {
        let mut flags = vec!["-db".to_owned(), self.url()];
        if let FindingsDb::Postgres(database) = self {
            flags.push("-db-password-file".to_owned());
            flags.push(text(&database.password_file()).to_owned());
        }
        flags
    }

    fn password(&self) -> String {
        match self {
            FindingsDb::Sqlite(_) => String::new(),
            FindingsDb::Postgres(database) => fs::read_to_string(database.password_file())
                .unwrap()
                .trim_end()
                .to_owned(),
        }
    }

    /// The column `line` of a query. Errs if the database does not answer, or has no such tables.
    pub fn try_lines(&self, sql: &str) -> Result<Vec<String>, String> {
        let query = diesel::sql_query(sql);
        let rows: Vec<Line> = match self {
            FindingsDb::Sqlite(file) => query.load(&mut open_file(file)?),
            FindingsDb::Postgres(database) => {
                let url = database
                    .url()
                    .replace("scan@", &format!("scan:{}@", self.password()));
                let mut connection = PgConnection::establish(&url).map_err(|e| e.to_string())?;
                query.load(&mut connection)
            }
        }
        .map_err(|error| error.to_string())?;
        Ok(rows.into_iter().map(|row| row.line).collect())
    }

    /// As [`FindingsDb::try_lines`]; none if it errs.
    pub fn lines(&self, sql: &str) -> Vec<String> {
        self.try_lines(sql).unwrap_or_default()
    }

    /// Executes a statement.
    pub fn execute(&self, sql: &str) {
        match self {
            FindingsDb::Sqlite(file) => open_file(file).unwrap().batch_execute(sql).unwrap(),
            FindingsDb::Postgres(database) => drop(database.query(sql)),
        }
    }

    /// The rows of a table of [`TABLES`].
    pub fn table(&self, name: &str) -> Vec<String> {
        let address = match self {
            FindingsDb::Sqlite(_) => "hex(address)",
            FindingsDb::Postgres(_) => "upper(encode(address, 'hex'))",
        };
        let (_, table, columns) = TABLES.iter().find(|(known, ..)| *known == name).unwrap();
        let columns: Vec<&str> = columns
            .split(',')
            .map(|column| if column == "ADDRESS" { address } else { column })
            .collect();
        let text = columns.join(" || '|' || ");
        let mut lines = self
            .try_lines(&format!("SELECT '' || {text} AS line FROM {table}"))
            .unwrap();
        lines.sort_unstable();
        lines
    }

    /// All rows.
    pub fn dump(&self) -> Dump {
        TABLES
            .iter()
            .map(|(name, ..)| (*name, self.table(name)))
            .collect()
    }

    /// The process that holds the lease, if there is one.
    pub fn holder(&self) -> Option<u32> {
        let lines = self.lines("SELECT coalesce(holder, '') AS line FROM store_lease");
        let mut words = lines.first()?.rsplit('-').skip(1);
        words.find_map(|word| word.parse().ok())
    }

    /// Frees the lease of a process that was killed, so that a test need not wait until it expires.
    pub fn free_lease(&self) {
        self.execute("UPDATE store_lease SET holder = NULL");
    }
}

fn open_file(file: &std::path::Path) -> Result<SqliteConnection, String> {
    if !file.exists() {
        return Err("no such file".to_owned());
    }
    let mut connection = SqliteConnection::establish(text(file)).map_err(|e| e.to_string())?;
    connection
        .batch_execute("PRAGMA busy_timeout = 20000")
        .map_err(|e| e.to_string())?;
    Ok(connection)
}

impl Fleet {
    /// Starts `scanpush store` on this fleet's topics.
    pub fn start_store(&self, name: &str, db: &FindingsDb, words: &[&str]) -> Scand {
        park_if_cancelled();
        let log = self.folder.join(format!("{name}.log"));
        let file = File::options()
            .create(true)
            .append(true)
            .open(&log)
            .unwrap();
        let child = self
            .store_command(&db.flags(), words)
            .stdout(Stdio::null())
            .stderr(file)
            .spawn()
            .unwrap();
        Scand {
            name: name.to_owned(),
            child,
            log,
        }
    }

    /// Runs `scanpush store -once`.
    pub fn store_once(&self, db: &FindingsDb, words: &[&str]) -> Output {
        let words = [&["-once"], words].concat();
        self.store_command(&db.flags(), &words).output().unwrap()
    }

    /// Runs `scanpush store -once`, which has to succeed.
    pub fn stored_once(&self, db: &FindingsDb, words: &[&str]) -> String {
        let output = self.store_once(db, words);
        let shown = super::shown(&output);
        assert!(output.status.success(), "{}: {shown}", db.name());
        shown
    }

    /// `scanpush store` with these flags.
    pub fn store_command(&self, db: &[String], words: &[&str]) -> std::process::Command {
        let (results, status) = (self.topic("results"), self.topic("status"));
        let db: Vec<&str> = db.iter().map(String::as_str).collect();
        let topics = ["-results-topic", &results, "-status-topic", &status];
        self.scanpush_command(&[&["store"], &db[..], &topics, words].concat())
    }
}
