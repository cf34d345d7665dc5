//! Questions to the findings' database: `services`, `changes` and `host`. None of them needs Kafka or Redis. The web page and the API ask the same
//! questions, with fields that are the flags of the commands.
//!
//! **Invariant:** rows are written as they are read: memory does not grow with the answer.
//!
//! | file | purpose |
//! |---|---|
//! | `services.rs`, `changes.rs`, `host.rs` | the commands |
//! | `options.rs` | their common flags |
//! | `rows.rs` | services and changes in each format |
//! | `writer.rs` | writes rows in the chosen format |

pub(super) mod changes;
pub(super) mod host;
pub(super) mod options;
pub(super) mod rows;
pub(super) mod services;
#[cfg(test)]
mod tests;
pub(super) mod writer;

pub(super) use changes::COMMAND as CHANGES;
pub(super) use host::COMMAND as HOST;
pub(super) use services::COMMAND as SERVICES;
