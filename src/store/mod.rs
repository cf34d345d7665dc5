//! Findings in a database, SQLite or Postgres: the one place that knows SQL.
//!
//! **Invariant:** what a record of Kafka changes, and the position after that record, are written in one transaction, which also checks the lease.
//! So each record counts exactly once, whatever ends the program or the database, and only one program writes.
//!
//! | file | what |
//! |---|---|
//! | `url.rs`, `error.rs` | where the database is; errors for operators |
//! | `connection.rs` | opens the database, creates the schema (`migrations/`) |
//! | `schema.rs` | tables and rows |
//! | `sqlite.rs`, `postgres.rs` | statements on many rows, which the two have not in common |
//! | `batch.rs` | what was read from Kafka and is written in one transaction |
//! | `writer.rs` | writes batches; the lease |
//! | `sightings.rs` | services that findings of a batch are about |
//! | `ends.rs` | what the end of a task proves |
//! | `tasks.rs` | tasks, as records and status records describe them |
//! | `stop.rs` | tells long work that the process has to end |
//! | `retention.rs` | deletes what is old |
//! | `conditions.rs` | conditions that several queries have in common |
//! | `merge.rs`, `places.rs` | pages of lists: which part was read, and where the next one begins |
//! | `services.rs`, `changes.rs`, `task_list.rs`, `jobs.rs` | the lists |
//! | `filter.rs`, `ranges.rs` | what a list is restricted to |
//! | `statistics.rs` | counts for plots and maps |
//! | `reader.rs` | single tasks, jobs and addresses |

mod batch;
mod changes;
mod conditions;
mod connection;
mod ends;
mod error;
mod filter;
mod jobs;
mod merge;
mod places;
mod postgres;
mod ranges;
mod reader;
mod retention;
mod schema;
mod services;
mod sightings;
mod sqlite;
mod statistics;
mod stop;
mod task_list;
mod tasks;
#[cfg(test)]
mod tests;
mod url;
mod writer;

pub use batch::{
    Batch, Completion, Event, Position, PositionChange, StatusChange, StoredFinding, TaskAt,
};
pub use connection::DatabaseSettings;
pub use error::StoreError;
pub use filter::{ChangeFilter, ServiceFilter, TaskFilter};
pub use jobs::JobSummary;
pub use merge::Page;
pub use places::{ChangePlace, ServicePlace, TaskPlace};
pub use reader::{Counts, NumberedChange, StoreReader, StoredJob, StoredTask};
pub use retention::Keep;
pub use statistics::{DayCount, PortCount, StateCount, Statistics, map_network};
pub use task_list::{TaskEvent, UnprovenScan, UnprovenScans};
pub use url::DatabaseUrl;
pub use writer::{Lease, StoreWriter, WriterOptions};
