//! The command line of `scanpush store`.

use crate::connection::Connection;
use crate::flags::shared::{RESULTS_TOPIC, STATUS_TOPIC};
use crate::flags::{Flag, Reader, values};
use crate::model::{Invalid, ServerName, TopicName};
use crate::scanpush::database::{self, DB, DB_PASSWORD_FILE};
use crate::store::{DatabaseSettings, Keep};

/// Highest value of `-closed-after`.
const CLOSED_AFTER_MAX: u32 = 100;

/// `-closed-after`
pub const CLOSED_AFTER: Flag = Flag::with_default(
    "--closed-after",
    "N",
    "2",
    "a service is closed after N completed scans in a row that did not find it",
);
/// `-keep`
pub const KEEP: Flag = Flag::with_default(
    "--keep",
    "SPAN",
    "400d",
    "delete changes, tasks, and services that were not seen, after this time: 90d, 2y",
);
/// `-keep-findings`
pub const KEEP_FINDINGS: Flag = Flag::optional(
    "--keep-findings",
    "SPAN",
    "keep each task's findings for this time too, which scanpush diff needs: 30d",
);
const ONCE: Flag = Flag::switch("--once", "read to the present end of the topics, then end");

/// Its flags.
pub const FLAGS: &[Flag] = &[
    DB,
    DB_PASSWORD_FILE,
    CLOSED_AFTER,
    KEEP,
    KEEP_FINDINGS,
    ONCE,
    RESULTS_TOPIC,
    STATUS_TOPIC,
];

/// What the command line asks for.
#[derive(Clone, Debug)]
pub struct Options {
    /// Kafka, and the topic of tasks.
    pub connection: Connection,
    /// The database.
    pub database: DatabaseSettings,
    /// Scans in a row that close a service by not finding it.
    pub closed_after: u32,
    /// How long things are kept.
    pub keep: Keep,
    /// Whether to end at the present end of the topics.
    pub once: bool,
    results_topic: TopicName,
    status_topic: TopicName,
    /// The name of this process in the database's lease.
    pub holder: String,
}

impl Options {
    /// Takes all flags but [`ONCE`].
    pub fn read(reader: &mut Reader) -> Result<Options, Invalid> {
        let host = rustix::system::uname();
        let holder = ServerName::of_host(
            &host.nodename().to_string_lossy(),
            &std::process::id().to_string(),
        );
        let options = Options {
            database: database::read(reader)?,
            closed_after: reader.value(&CLOSED_AFTER, values::number(1, CLOSED_AFTER_MAX))?,
            keep: Keep {
                history: reader.value(&KEEP, str::parse)?,
                findings: reader.optional(&KEEP_FINDINGS, str::parse)?,
            },
            once: false,
            results_topic: reader.value(&RESULTS_TOPIC, str::parse)?,
            status_topic: reader.value(&STATUS_TOPIC, str::parse)?,
            connection: Connection::read(reader)?,
            // Containers may have the same host name and the same process id.
            holder: format!("{holder}-{}", nanoid::nanoid!(6)),
        };
        let (tasks, status, results) = options.topics();
        if tasks == status || status == results || tasks == results {
            return Err(Invalid::about(
                "-topic, -status-topic and -results-topic must be three different topics",
            ));
        }
        Ok(options)
    }

    /// The topics of tasks, state changes and findings.
    pub fn topics(&self) -> (&str, &str, &str) {
        (
            self.connection.topic.as_str(),
            self.status_topic.as_str(),
            self.results_topic.as_str(),
        )
    }
}

/// Reads the command line.
pub fn read(mut reader: Reader) -> Result<Options, Invalid> {
    let once = reader.switch(&ONCE);
    let options = Options {
        once,
        ..Options::read(&mut reader)?
    };
    reader.finish()?;
    Ok(options)
}
