//! Pure types without I/O: task, targets, ports, finding, state, checkpoint.
//!
//! **Invariant:** nothing here does I/O, sleeps, reads a clock, or knows Kafka, Redis or masscan's process. Times are arguments. Text from
//! outside is parsed into a type here, or becomes an [`Invalid`] that quotes it.

pub mod backoff;
pub mod checkpoint;
pub mod coverage;
pub mod default_exclusions;
pub mod estimate;
pub mod extent;
pub mod finding;
pub mod found_by_pass;
pub mod group_position;
pub mod lease;
pub mod lineage;
pub mod moment;
pub mod names;
pub mod passes;
pub mod ports;
pub mod probe_order;
pub mod progress;
pub mod reach;
pub mod record_fields;
pub mod report_limit;
pub mod resume;
pub mod scope;
pub mod service;
pub mod skip_log;
pub mod source;
pub mod span;
pub mod state;
pub mod status;
pub mod tags;
pub mod target_file;
pub mod targets;
pub mod task;
pub mod task_bounds;
pub mod text;
pub mod token_bucket;

pub use backoff::Backoff;
pub use estimate::Estimate;
pub use extent::Extent;
pub use finding::{Finding, FindingRecord};
pub use found_by_pass::FoundByPass;
pub use lineage::Lineage;
pub use moment::Moment;
pub use names::{GroupName, ServerName, TopicName};
pub use ports::Ports;
pub use probe_order::ProbeOrder;
pub use progress::Progress;
pub use reach::Reach;
pub use report_limit::ReportLimit;
pub use resume::{ProbeOrderId, Resume};
pub use scope::Scope;
pub use span::Retention;
pub use state::State;
pub use status::StatusRecord;
pub use tags::Tags;
pub use target_file::BadLine;
pub use targets::Targets;
pub use task::{TASK_RECORD_MAX_BYTES, Task, TaskId};
pub use text::Invalid;
pub use token_bucket::TokenBucket;
