//! The flags that every program of the project has. Their defaults stand here once: a `scanpush` and a `scand` that are
//! started without flags must meet. Those that say where the fleet is may stand in the environment too.

use super::Flag;

/// Where Kafka is.
pub const KAFKA: Flag = Flag::with_default(
    "--kafka",
    "HOST:PORT",
    "localhost:9092",
    "Kafka; several brokers comma-separated",
)
.or_variable("SCAN_KAFKA");

/// Where Redis is.
pub const REDIS: Flag = Flag::with_default(
    "--redis",
    "URL",
    "redis://localhost:6379",
    "Redis, like redis://:PASSWORD@HOST:PORT/DB or unix:///PATH",
)
.or_variable("SCAN_REDIS");

/// The topic of tasks.
pub const TOPIC: Flag = Flag::with_default("--topic", "NAME", "scan-tasks", "Kafka topic of tasks");

/// The topic of findings.
pub const RESULTS_TOPIC: Flag = Flag::with_default(
    "--results-topic",
    "NAME",
    "scan-results",
    "Kafka topic of findings",
);

/// The group of servers.
pub const GROUP: Flag = Flag::with_default(
    "--group",
    "NAME",
    "scanners",
    "group of servers that share their tasks",
)
.or_variable("SCAN_GROUP");

/// Where a fleet is. A shell alias may carry them, so every command takes them, the ones that it has no use for too, and
/// before its own name too.
pub const CONNECTION: &[Flag] = &[KAFKA, REDIS, TOPIC, GROUP];
