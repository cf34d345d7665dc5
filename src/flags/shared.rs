//! The flags that `scand` and the commands of `scanpush` share. Their defaults are defined once, so that both programs use the same Kafka, Redis,
//! topics and group if they are started without flags. `-kafka`, `-redis` and `-group` can also be set by environment variables.

use super::Flag;

/// The brokers to connect to first.
pub const KAFKA: Flag = Flag::with_default(
    "--kafka",
    "HOST:PORT",
    "localhost:9092",
    "Kafka; separate several brokers with commas",
)
.or_variable("SCAN_KAFKA");

/// The Redis of the claim table and the live progress.
pub const REDIS: Flag = Flag::with_default(
    "--redis",
    "URL",
    "redis://localhost:6379",
    "Redis, like redis://:PASSWORD@HOST:PORT/DB or unix:///PATH",
)
.or_variable("SCAN_REDIS");

/// The topic that `scanpush` writes and `scand` reads.
pub const TOPIC: Flag = Flag::with_default("--topic", "NAME", "scan-tasks", "Kafka topic of tasks");

/// The topic that `scand` writes and `scanpush results` reads.
pub const RESULTS_TOPIC: Flag = Flag::with_default(
    "--results-topic",
    "NAME",
    "scan-results",
    "Kafka topic of findings",
);

/// The group: also the Kafka consumer group and the prefix of all Redis keys.
pub const GROUP: Flag = Flag::with_default(
    "--group",
    "NAME",
    "scanners",
    "servers with the same group share tasks",
)
.or_variable("SCAN_GROUP");

/// The flags that every command of `scanpush` accepts, even if it does not need them, and also before its own name: so they can be part of a
/// shell alias.
pub const CONNECTION: &[Flag] = &[KAFKA, REDIS, TOPIC, GROUP];
