//! Distributed port scanning with masscan. `scanpush` pushes scan tasks to Kafka; any number of `scand` servers share them,
//! run masscan, write live progress to Redis and every finding to Kafka.
//!
//! # The map
//!
//! A file belongs to one room and knows only the rooms below it.
//!
//! | room | what | may not |
//! |---|---|---|
//! | [`scanpush`] | the client: options, a file for each command | know `scand` |
//! | [`scand`] | the daemon: options and the threads, a file each | be known by anything else |
//! | [`exit`], [`flags`] | how programs end; Go-style flags | know Kafka, Redis, masscan |
//! | [`claim_table`] | the one place that knows Redis; the Lua scripts | know Kafka |
//! | [`kafka`] | the one place that knows Kafka | know Redis |
//! | [`masscan`] | arguments, output, the child process | know Kafka or Redis |
//! | [`model`] | pure types: task, targets, ports, finding, progress, state | do I/O or read a clock |
//!
//! # Invariants
//!
//! Kafka is the ledger, Redis a claim table that can be rebuilt from it.
//!
//! 1. An acknowledged push ends in exactly one accepted terminal state: `claim_table/decide_end.lua` decides it, once.
//!    Only a retry begins it anew: a new record of the same id.
//! 2. The committed offset of a partition never exceeds its lowest unfinished offset; a missing Redis key never means "done":
//!    `claim_table/committable.lua`.
//! 3. The cursor moves only by compare-and-set (`claim_table/ingest.lua`); a log that begins after it is loud and counted.
//! 4. Fences strictly increase, and every write of a running task compares its fence: `claim_table/prelude.lua`.
//! 5. A task is in exactly one of ready, delayed, running, paused, ended.
//! 6. A server trusts its lease only until it *sent* the renewal + lease − margin: `model/lease.rs`; Redis judges expiry by its
//!    own clock.
//! 7. Attempts are counted at the claim; a drain gives the attempt back and leaves a checkpoint.
//! 8. A free slot and an eligible task meet within the poll time plus the deferral: `claim_table/claim.lua`.
//! 9. Every queue, buffer, retry and wait has a named bound with its unit, next to the code it bounds.
//! 10. masscan gets an argument vector built from parsed types: `masscan/arguments.rs`.

pub mod claim_table;
pub mod exit;
pub mod flags;
pub mod kafka;
pub mod masscan;
pub mod model;
pub mod scand;
pub mod scanpush;
