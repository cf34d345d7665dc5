//! Metrics and health over HTTP, the same for scand and `scanpush serve`: `/metrics` for Prometheus, `/healthz` (alive) and `/readyz` (able to work).
//!
//! | file | contents |
//! |---|---|
//! | `registry.rs` | the metrics of a program, by their names |
//! | `exposition.rs` | Prometheus' text format |
//! | `readiness.rs` | which parts are ready, and why not |
//! | `access.rs` | who may read them |
//! | `endpoints.rs` | the three addresses |
//!
//! **Invariants:** a metric has the name under which it is registered; no label has values that come from a task or from the network. Reading
//! metrics waits for nothing but memory.

mod access;
mod endpoints;
mod exposition;
mod readiness;
mod registry;

pub use access::Access;
pub use endpoints::Endpoints;
pub use readiness::Part;
pub use registry::{CounterBy, HistogramBy, Registry, Values, counters_by, histograms_by};

pub use prometheus_client::metrics::{counter::Counter, gauge::Gauge, histogram::Histogram};
