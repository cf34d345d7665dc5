//! The flags that `scand` and the commands of `scanpush` share. Their defaults are defined once, so that both programs use the same Kafka, Redis,
//! topics and group if they are started without flags. `-kafka`, `-redis`, `-group` and the passwords can also be set by environment variables.

use super::Flag;

/// The brokers to connect to first.
pub const KAFKA: Flag = Flag::with_default(
    "--kafka",
    "HOST:PORT",
    "localhost:9092",
    "Kafka; separate several brokers with commas",
)
.or_variable("SCAN_KAFKA");

/// Which client library connects to Kafka.
pub const KAFKA_CLIENT: Flag = Flag::with_default(
    "--kafka-client",
    "NAME",
    "auto",
    "auto, kafka (plaintext, Kafka 2.1 to 3.9) or librdkafka (everything else); auto chooses by what the connection needs",
)
.one_of(&["auto", "kafka", "librdkafka"]);

/// TLS to Kafka.
pub const KAFKA_TLS: Flag = Flag::switch("--kafka-tls", "connect to Kafka with TLS");

/// The certification authorities that Kafka's certificates are checked with.
pub const KAFKA_CA: Flag = Flag::optional(
    "--kafka-ca",
    "FILE",
    "certificates (PEM) of the authorities that sign Kafka's certificates; implies -kafka-tls (default the system's)",
);

/// The client certificate for Kafka.
pub const KAFKA_CERT: Flag = Flag::optional(
    "--kafka-cert",
    "FILE",
    "client certificate (PEM) for Kafka, with its chain; implies -kafka-tls",
);

/// The key of the client certificate.
pub const KAFKA_KEY: Flag =
    Flag::optional("--kafka-key", "FILE", "private key (PEM) of -kafka-cert");

/// How to authenticate.
pub const KAFKA_SASL: Flag = Flag::optional(
    "--kafka-sasl",
    "MECHANISM",
    "authenticate with PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512, as -kafka-user",
)
.one_of(&["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"]);

/// The user.
pub const KAFKA_USER: Flag = Flag::optional("--kafka-user", "NAME", "user name for -kafka-sasl");

/// The user's password.
pub const KAFKA_PASSWORD_FILE: Flag = Flag::optional(
    "--kafka-password-file",
    "FILE",
    "file with the password of -kafka-user",
)
.or_secret_variable("SCAN_KAFKA_PASSWORD");

/// A file with more settings of librdkafka.
pub const KAFKA_CONFIG: Flag = Flag::optional(
    "--kafka-config",
    "FILE",
    "more settings of librdkafka, one per line, like ssl.keystore.location=scan.p12",
);

/// The Redis of the claim table and the live progress.
pub const REDIS: Flag = Flag::with_default(
    "--redis",
    "URL",
    "redis://localhost:6379",
    "Redis: redis://HOST:PORT/DB, rediss://… with TLS, unix:///PATH, or redis+sentinel://HOST:PORT,HOST:PORT/PRIMARY",
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

/// The topic of state changes that `scand` writes.
pub const STATUS_TOPIC: Flag = Flag::with_default(
    "--status-topic",
    "NAME",
    "scan-status",
    "Kafka topic of state changes",
);

/// The group: also the Kafka consumer group and the prefix of all Redis keys.
pub const GROUP: Flag = Flag::with_default(
    "--group",
    "NAME",
    "scanners",
    "servers with the same group share tasks",
)
.or_variable("SCAN_GROUP");

/// The certification authorities that Redis' certificate is checked with.
pub const REDIS_CA: Flag = Flag::optional(
    "--redis-ca",
    "FILE",
    "certificates (PEM) of the authorities that sign Redis' certificate (default the system's); needs rediss://",
);

/// The client certificate for Redis.
pub const REDIS_CERT: Flag = Flag::optional(
    "--redis-cert",
    "FILE",
    "client certificate (PEM) for Redis, with its chain; needs rediss://",
);

/// The key of the client certificate.
pub const REDIS_KEY: Flag =
    Flag::optional("--redis-key", "FILE", "private key (PEM) of -redis-cert");

/// The user.
pub const REDIS_USER: Flag = Flag::optional(
    "--redis-user",
    "NAME",
    "user name for Redis (default the URL's, else Redis' default user)",
);

/// The user's password.
pub const REDIS_PASSWORD_FILE: Flag = Flag::optional(
    "--redis-password-file",
    "FILE",
    "file with the password for Redis",
)
.or_secret_variable("SCAN_REDIS_PASSWORD");

/// The token for metrics and health. It is apart from the credentials of the web page.
pub const METRICS_TOKEN_FILE: Flag = Flag::optional(
    "--metrics-token-file",
    "FILE",
    "file with the token that readers of /metrics, /healthz and /readyz must send (Authorization: Bearer)",
)
.or_secret_variable("SCAN_METRICS_TOKEN");

/// The flags of both programs. Every command of `scanpush` accepts them, even if it does not need them, and also before its own name: so they can
/// be part of a shell alias.
pub const CONNECTION: &[Flag] = &[
    GROUP,
    TOPIC,
    KAFKA,
    KAFKA_CLIENT,
    KAFKA_TLS,
    KAFKA_CA,
    KAFKA_CERT,
    KAFKA_KEY,
    KAFKA_SASL,
    KAFKA_USER,
    KAFKA_PASSWORD_FILE,
    KAFKA_CONFIG,
    REDIS,
    REDIS_CA,
    REDIS_CERT,
    REDIS_KEY,
    REDIS_USER,
    REDIS_PASSWORD_FILE,
];
