//! The flags that all programs have. Their defaults are defined once: a `scanpush` and a `scand` that are started without flags must find each
//! other. Those about Kafka, Redis and the group may be set in the environment.

use super::Flag;

/// The address of Kafka.
pub const KAFKA: Flag = Flag::with_default(
    "--kafka",
    "HOST:PORT",
    "localhost:9092",
    "Kafka; several brokers comma-separated",
)
.or_variable("SCAN_KAFKA");

/// The address of Redis.
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

/// Kafka, Redis, the topic and the group. A shell alias may contain these flags, so every command accepts them, even those it does not need,
/// and also before its own name.
pub const CONNECTION: &[Flag] = &[KAFKA, REDIS, TOPIC, GROUP];
