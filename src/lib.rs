//! Distributed port scanning with masscan. `scanpush` pushes scan tasks to Kafka; any number of `scand` servers share them, run masscan,
//! write live progress to Redis and every finding to Kafka. `docs/architecture.md` describes the architecture.
//!
//! # Rooms
//!
//! A file belongs to one room and uses only the rooms below its own; `tests/repository.rs` checks this.
//!
//! | room | contents | must not |
//! |---|---|---|
//! | [`scanpush`] | the client: a file or folder for each command | use `scand` |
//! | [`scand`] | the daemon: options and threads | be used by any other room |
//! | [`connection`] | the flags for Kafka and Redis as values | connect |
//! | [`exit`], [`flags`] | exit codes; Go-style flags | know Kafka, Redis, masscan |
//! | [`http_server`] | an HTTP server with bounded threads, sizes and times | know what is served |
//! | [`monitoring`] | metrics and health over HTTP | know what is measured |
//! | [`claim_table`] | the one place that knows Redis; the Lua scripts | know Kafka |
//! | [`kafka`] | the one place that knows Kafka | know Redis |
//! | [`store`] | the one place that knows SQL: findings in a database | know Kafka or Redis |
//! | [`masscan`] | arguments, output, the process | know Kafka or Redis |
//! | [`credentials`] | the one place that reads passwords, certificates and keys | know what they are for |
//! | [`files`] | files that the user names: regular ones, up to a size | know what they are for |
//! | [`sync`] | locks shared by threads | know what they protect |
//! | [`model`] | pure types: task, targets, ports, finding, progress, state | do I/O or read a clock |
//!
//! # Threads of the daemon
//!
//! - `poll` (`scand/ingest/`) reads task records from Kafka and ingests them into the claim table.
//! - `scan-N` (`scand/scan/`) runs one masscan; `scan-N-reader` (`masscan/reader.rs`) reads its output.
//! - `progress` (`scand/scan/progress.rs`) writes live progress to Redis.
//! - `dispatch` (`scand/claims/dispatch.rs`) claims tasks, `lease` (`scand/claims/lease.rs`) renews the claims.
//! - `publish-N` (`scand/scan/publish.rs`) sends findings to Kafka.
//! - `finalize` (`scand/finalize/`) writes state changes to Kafka, then to Redis; `commit` (`scand/finalize/commit.rs`) commits offsets.
//!
//! The path of a task: `scanpush/push/` → Kafka `scan-tasks` → `poll` → claim table → `dispatch` → `scan-N` → masscan → `finalize` → Kafka
//! `scan-status` and claim table → `commit`.
//!
//! The path of a finding: masscan's standard output → `scan-N-reader` → `scan-N` → `publish-N` → Kafka `scan-results` → `scanpush/results/`, or
//! `scanpush/store/` → `store/` → the database → `scanpush/queries/`.
//!
//! # Invariants
//!
//! Kafka is the ledger; Redis is a claim table that can be rebuilt from it.
//!
//! 1. An acknowledged push ends in exactly one accepted terminal state, which `decide_end.lua` decides once. Only a retry, a new record with the
//!    same id, starts it again.
//! 2. The committed offset of a partition never exceeds its lowest unfinished offset (`positions.lua`). A missing Redis key never means that a
//!    task has ended.
//! 3. The cursor moves only by compare-and-set (`ingest.lua`). A log that begins after the cursor is logged as an error and counted.
//! 4. Fences strictly increase, and every write of a running task compares its fence (`prelude.lua`).
//! 5. A task is in exactly one of ready (or throttled), delayed, running, paused, ended.
//! 6. A server trusts its lease only until the time at which it *sent* the renewal, plus the lease, less a margin (`model/lease.rs`). Redis judges
//!    expiry by its own clock.
//! 7. Attempts are counted at the claim; a drain gives the attempt back and leaves a checkpoint.
//! 8. A free slot gets an eligible task within the poll time plus the deferral (`claim.lua`).
//! 9. Every queue, buffer, retry and wait has a named bound with a unit, next to the code it bounds.
//! 10. masscan gets an argument vector built from parsed types (`masscan/arguments.rs`).
//! 11. masscan sends exactly the probes that were announced: addresses × ports × passes (`scand/scan/pass.rs`).
//! 12. Scope fails closed: a masscan that announces other targets is stopped, and a finding outside the task is dropped
//!     (`scand/scan/task_filter.rs`).
//! 13. A fault of a server costs the server, not its tasks (`scand/claims/health.rs`).

pub mod claim_table;
pub mod connection;
pub mod credentials;
pub mod exit;
pub mod files;
pub mod flags;
pub mod http_server;
pub mod kafka;
pub mod masscan;
pub mod model;
pub mod monitoring;
pub mod scand;
pub mod scanpush;
pub mod store;
pub mod sync;

#[cfg(test)]
mod fuzz;
