//! Questions to the findings' database: `services`, `changes` and `host`. None of them needs Kafka or Redis.
//!
//! **Invariant:** rows are written as they are read: memory does not grow with the answer.
//!
//! | file | purpose |
//! |---|---|
//! | `services.rs`, `changes.rs`, `host.rs` | the commands |
//! | `options.rs` | their common flags |
//! | `rows.rs` | services and changes in each format |
//! | `writer.rs` | writes rows in the chosen format |

mod changes;
mod host;
mod options;
mod rows;
mod services;
#[cfg(test)]
mod tests;
mod writer;

pub(super) use changes::COMMAND as CHANGES;
pub(super) use host::COMMAND as HOST;
pub(super) use services::COMMAND as SERVICES;
