//! librdkafka's settings for each kind of client. Reads the files of the settings each time, so that a new connection uses new certificates and
//! passwords.

use super::properties;
use crate::credentials::{CredentialFile, Tls};
use crate::kafka::messages::PRODUCE_REQUEST_BYTES;
use crate::kafka::settings::{KafkaSettings, Sasl, Security};
use crate::model::Invalid;
use crate::model::backoff::CONNECT_WAIT;
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use std::time::Duration;

/// Name of this program in the broker's request log.
const CLIENT_ID: &str = "scan";
/// Time-out of one request (librdkafka's default: 60 s; consumers need at least 10 s).
pub(super) const REQUEST_WAIT: Duration = Duration::from_secs(10);
/// Interval at which metadata (leaders, added partitions) is read again.
pub(super) const METADATA_EVERY: Duration = Duration::from_secs(60);
/// Longest pause before librdkafka connects again; its own is 10 s.
const RECONNECT_MAX: Duration = Duration::from_secs(1);
/// Interval of the statistics that tell which brokers answer.
pub(super) const STATISTICS_EVERY: Duration = Duration::from_secs(1);
/// How long a broker may be without a connection before it counts as away: connecting again takes a moment.
pub(super) const AWAY_AFTER: Duration = Duration::from_secs(2);
/// Size of a reader's prefetch queue, in KiB. A fetch in progress may hold the same amount again.
const CONSUMER_QUEUE_KIB: u32 = 4096;
/// A reader fetches while fewer records than this, and less than [`CONSUMER_QUEUE_KIB`], are queued.
const CONSUMER_QUEUE_RECORDS: u32 = 10_000;
/// Bytes of one answer to a fetch. A larger batch is fetched all the same, alone. Few, because librdkafka decompresses all batches of an answer at once:
/// 1 KB of zstd may expand to [`ANSWER_MAX_BYTES`].
const ANSWER_WANTED_BYTES: u32 = 4 * 1024;
/// Largest answer of a broker, and size up to which librdkafka decompresses a batch with zstd, in bytes. It has no such limit for lz4, which expands
/// to at most 255 times its size, and snappy (22 times).
pub(super) const ANSWER_MAX_BYTES: u32 = 32 * 1024 * 1024;
/// How long a broker waits for records before it answers a fetch. Short, because reading at another offset begins only after that answer.
const LONG_POLL: Duration = Duration::from_millis(100);
/// Pause before a reader fetches again after its queue was full; librdkafka's own is 1 s.
const FULL_QUEUE_PAUSE: Duration = Duration::from_millis(20);
/// Size of messages that a producer holds until they are acknowledged, in KiB. More messages wait in the caller.
const PRODUCER_QUEUE_KIB: u32 = 16 * 1024;
/// Largest message that the producer sends, in bytes: the size of its queue. The broker enforces the topic's own limit.
const MESSAGE_MAX_BYTES: u32 = PRODUCER_QUEUE_KIB * 1024;
/// Number of messages in a batch at most: as many as fit.
const BATCH_MESSAGES_MAX: usize = 1_000_000;
/// At or below this batch size, each message is sent in a batch of its own.
pub(super) const SINGLE_MESSAGE_BYTES: usize = 1024;
/// How long a message may wait for its acknowledgement. The election of a new leader takes about 7 s after a broker was killed.
pub(super) const DELIVERY_WAIT: Duration = Duration::from_secs(30);
/// librdkafka gives up a commit after this session time-out if the coordinator does not answer.
const SESSION_WAIT: Duration = Duration::from_secs(6);

/// The group name of readers. librdkafka needs one to assign partitions, but nothing is stored under it.
const READER_GROUP: &str = "scan-reader";

/// Reads the files of `settings` and checks them, as each new client does.
pub(in crate::kafka) fn check_settings(settings: &KafkaSettings) -> Result<(), Invalid> {
    common(settings).map(drop)
}

/// The settings of a reader.
pub(super) fn of_reader(settings: &KafkaSettings) -> Result<ClientConfig, Invalid> {
    let mut config = of_consumer(settings, READER_GROUP)?;
    set(
        &mut config,
        &[
            (
                "queued.max.messages.kbytes",
                &CONSUMER_QUEUE_KIB.to_string(),
            ),
            ("queued.min.messages", &CONSUMER_QUEUE_RECORDS.to_string()),
            ("fetch.message.max.bytes", &ANSWER_WANTED_BYTES.to_string()),
            ("fetch.max.bytes", &ANSWER_WANTED_BYTES.to_string()),
            // librdkafka raises `fetch.max.bytes` to this. It is about what a producer sends.
            ("message.max.bytes", &ANSWER_WANTED_BYTES.to_string()),
            ("receive.message.max.bytes", &ANSWER_MAX_BYTES.to_string()),
            ("fetch.wait.max.ms", &ms(LONG_POLL)),
            ("fetch.queue.backoff.ms", &ms(FULL_QUEUE_PAUSE)),
            ("fetch.error.backoff.ms", "200"),
            // librdkafka 2.12.1 continues at a wrong place after a batch whose checksum is wrong (`rd_kafka_buf_skip_to` in
            // `rdkafka_msgset_reader.c`), and may then abort the process.
            ("check.crcs", "false"),
        ],
    );
    Ok(config)
}

/// The settings of a client for the offsets of `group`.
pub(super) fn of_offsets(settings: &KafkaSettings, group: &str) -> Result<ClientConfig, Invalid> {
    of_consumer(settings, group)
}

/// The settings of a producer. Batches have at most `batch_bytes`, or one message.
pub(super) fn of_producer(
    settings: &KafkaSettings,
    compression: bool,
    batch_bytes: usize,
) -> Result<ClientConfig, Invalid> {
    let mut config = common(settings)?;
    // snappy, which every version of this program reads.
    let codec = if compression { "snappy" } else { "none" };
    let batch_messages = match batch_bytes <= SINGLE_MESSAGE_BYTES {
        true => 1,
        false => BATCH_MESSAGES_MAX,
    };
    set(
        &mut config,
        &[
            ("acks", "all"),
            ("enable.idempotence", "true"),
            ("partitioner", "murmur2"),
            ("compression.codec", codec),
            ("linger.ms", "0"),
            (
                "batch.size",
                &batch_bytes.min(PRODUCE_REQUEST_BYTES).to_string(),
            ),
            ("batch.num.messages", &batch_messages.to_string()),
            ("message.max.bytes", &MESSAGE_MAX_BYTES.to_string()),
            (
                "queue.buffering.max.kbytes",
                &PRODUCER_QUEUE_KIB.to_string(),
            ),
            ("queue.buffering.max.messages", "0"),
            ("message.timeout.ms", &ms(DELIVERY_WAIT)),
            ("request.timeout.ms", &ms(REQUEST_WAIT)),
            ("delivery.report.only.error", "false"),
        ],
    );
    Ok(config)
}

fn of_consumer(settings: &KafkaSettings, group: &str) -> Result<ClientConfig, Invalid> {
    let mut config = common(settings)?;
    set(
        &mut config,
        &[
            ("group.id", group),
            ("enable.auto.commit", "false"),
            ("enable.auto.offset.store", "false"),
            // Without it, librdkafka jumps to the end of the log if the cursor is outside it.
            ("auto.offset.reset", "error"),
            ("enable.partition.eof", "true"),
            ("isolation.level", "read_committed"),
            ("allow.auto.create.topics", "true"),
            ("session.timeout.ms", &ms(SESSION_WAIT)),
        ],
    );
    Ok(config)
}

/// The settings of every client. Those of the file come first, so that nothing in it overrides this program's own.
fn common(settings: &KafkaSettings) -> Result<ClientConfig, Invalid> {
    let mut config = ClientConfig::new();
    let security = settings.security();
    let from_file = match &security.config {
        Some(file) => read_properties(file)?,
        None => Vec::new(),
    };
    set(
        &mut config,
        &[
            ("socket.timeout.ms", &ms(REQUEST_WAIT)),
            ("socket.connection.setup.timeout.ms", &ms(CONNECT_WAIT * 2)),
            ("socket.keepalive.enable", "true"),
            ("reconnect.backoff.ms", "100"),
            ("reconnect.backoff.max.ms", &ms(RECONNECT_MAX)),
            ("topic.metadata.refresh.interval.ms", &ms(METADATA_EVERY)),
        ],
    );
    for (name, value) in &from_file {
        config.set(name, value);
    }
    set(
        &mut config,
        &[
            ("bootstrap.servers", &settings.brokers().to_string()),
            ("client.id", CLIENT_ID),
            ("statistics.interval.ms", &ms(STATISTICS_EVERY)),
        ],
    );
    let protocol = protocol(
        security,
        config.get("security.protocol").unwrap_or_default(),
    );
    config.set("security.protocol", protocol);
    if let Some(tls) = &security.tls {
        set_tls(&mut config, tls)?;
    } else if config.get("ssl.ca.location").is_none() && config.get("ssl.ca.pem").is_none() {
        config.set("ssl.ca.location", SYSTEM_CA);
    }
    if let Some(sasl) = &security.sasl {
        set_sasl(&mut config, sasl)?;
    }
    config.set_log_level(RDKafkaLogLevel::Info);
    Ok(config)
}

/// librdkafka then tries the usual places of Linux distributions.
const SYSTEM_CA: &str = "probe";

/// The security protocol: TLS and SASL are each used if a flag or the file asks for it, so the file cannot turn off what a flag turns on.
fn protocol(security: &Security, in_file: &str) -> &'static str {
    let in_file = in_file.to_ascii_lowercase();
    let tls = security.tls.is_some() || in_file.ends_with("ssl");
    let sasl = security.sasl.is_some() || in_file.starts_with("sasl_");
    match (tls, sasl) {
        (true, true) => "sasl_ssl",
        (true, false) => "ssl",
        (false, true) => "sasl_plaintext",
        (false, false) => "plaintext",
    }
}

/// Checks the files, because librdkafka reports a bad one without its name.
fn set_tls(config: &mut ClientConfig, tls: &Tls) -> Result<(), Invalid> {
    let path = |file: &CredentialFile| file.path().to_string_lossy().into_owned();
    match &tls.ca {
        Some(ca) => {
            ca.certificates()?;
            config.set("ssl.ca.location", path(ca));
        }
        None => {
            config.set("ssl.ca.location", SYSTEM_CA);
        }
    }
    if let Some(client) = &tls.client {
        client.certificate.certificates()?;
        let key = client.key.private_key()?;
        if CredentialFile::is_encrypted(&key) && config.get("ssl.key.password").is_none() {
            return Err(client.key.invalid(
                "is encrypted: decrypt it, or give ssl.key.password in the file of -kafka-config",
            ));
        }
        config.set("ssl.certificate.location", path(&client.certificate));
        config.set("ssl.key.location", path(&client.key));
    }
    Ok(())
}

fn set_sasl(config: &mut ClientConfig, sasl: &Sasl) -> Result<(), Invalid> {
    let password = sasl.password.read()?;
    set(
        config,
        &[
            ("sasl.mechanism", sasl.mechanism.name()),
            ("sasl.username", &sasl.user),
            ("sasl.password", password.reveal()),
        ],
    );
    Ok(())
}

fn read_properties(file: &CredentialFile) -> Result<Vec<(String, String)>, Invalid> {
    let text = String::from_utf8(file.read()?).map_err(|_| file.invalid("is not UTF-8 text"))?;
    properties::parse(&text).map_err(|error| file.invalid(&error.to_string()))
}

fn set(config: &mut ClientConfig, settings: &[(&str, &str)]) {
    for (name, value) in settings {
        config.set(*name, *value);
    }
}

fn ms(duration: Duration) -> String {
    duration.as_millis().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::credentials::{Password, Secret};
    use crate::kafka::settings::SaslMechanism;

    #[test]
    fn a_file_takes_nothing_away_from_the_flags() {
        let sasl = || Sasl {
            mechanism: SaslMechanism::Plain,
            user: "scan".to_owned(),
            password: Password::Variable(Secret::new("s3cret").unwrap()),
        };
        for (tls, with_sasl, in_file, expected) in [
            (false, false, "", "plaintext"),
            (true, false, "", "ssl"),
            (false, true, "", "sasl_plaintext"),
            (true, true, "", "sasl_ssl"),
            (false, false, "SASL_SSL", "sasl_ssl"),
            (true, false, "sasl_plaintext", "sasl_ssl"),
            (true, false, "plaintext", "ssl"),
            (false, true, "ssl", "sasl_ssl"),
        ] {
            let security = Security {
                tls: tls.then(Tls::default),
                sasl: with_sasl.then(sasl),
                config: None,
            };
            assert_eq!(protocol(&security, in_file), expected, "{in_file}");
        }
    }
}
