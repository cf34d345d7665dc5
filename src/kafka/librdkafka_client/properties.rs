//! The file of `-kafka-config`: settings in librdkafka's names, one `name=value` per line, as kcat reads it. Pure.

use crate::model::Invalid;
use crate::model::text::quoted;

/// Settings on which this program's guarantees depend, or that a flag sets, under each of their names.
const RESERVED: &[(&str, &str)] = &[
    ("bootstrap.servers", "-kafka sets it"),
    ("metadata.broker.list", "-kafka sets it"),
    ("client.id", "it names this program in the broker's log"),
    ("group.id", "-group sets it"),
    (
        "group.instance.id",
        "this program is not a member of the group",
    ),
    ("acks", NO_LOSS),
    ("request.required.acks", NO_LOSS),
    ("enable.idempotence", NO_LOSS),
    ("transactional.id", NO_LOSS),
    ("message.timeout.ms", NO_LOSS),
    ("delivery.report.only.error", NO_LOSS),
    (
        "check.crcs",
        "a wrong checksum may end this program (an error of librdkafka 2.12.1)",
    ),
    (
        "compression.codec",
        "the records are written uncompressed or with snappy",
    ),
    (
        "compression.type",
        "the records are written uncompressed or with snappy",
    ),
    (
        "allow.auto.create.topics",
        "the broker's auto.create.topics.enable decides",
    ),
    ("linger.ms", TUNED),
    ("queue.buffering.max.ms", TUNED),
    ("batch.size", TUNED),
    ("batch.num.messages", TUNED),
    ("request.timeout.ms", TUNED),
    ("fetch.wait.max.ms", TUNED),
    ("fetch.queue.backoff.ms", TUNED),
    ("fetch.error.backoff.ms", TUNED),
    ("message.max.bytes", MEMORY),
    ("queue.buffering.max.kbytes", MEMORY),
    ("queue.buffering.max.messages", MEMORY),
    ("queued.max.messages.kbytes", MEMORY),
    ("queued.min.messages", MEMORY),
    ("fetch.message.max.bytes", MEMORY),
    ("max.partition.fetch.bytes", MEMORY),
    ("delivery.timeout.ms", NO_LOSS),
    ("partitioner", "records of one key belong to one partition"),
    ("enable.auto.commit", OFFSETS),
    ("auto.commit.enable", OFFSETS),
    ("enable.auto.offset.store", OFFSETS),
    ("auto.offset.reset", OFFSETS),
    ("enable.partition.eof", OFFSETS),
    ("isolation.level", "only committed records are read"),
    ("partition.assignment.strategy", ASSIGNMENT),
    ("group.protocol", ASSIGNMENT),
    ("session.timeout.ms", ASSIGNMENT),
    ("statistics.interval.ms", "this program reads them"),
];
const TUNED: &str = "the time limits of this program depend on it";
const MEMORY: &str = "it bounds this program's memory";
const NO_LOSS: &str = "findings and tasks must not be lost";
const OFFSETS: &str = "this program keeps its own offsets";
const ASSIGNMENT: &str = "this program assigns partitions itself";

/// Settings of Java clients that librdkafka does not have, and what to use here.
const JAVA: &[(&str, &str)] = &[
    (
        "sasl.jaas.config",
        "sasl.username=… and sasl.password=…, or -kafka-user and -kafka-password-file",
    ),
    (
        "sasl.client.callback.handler.class",
        "sasl.username=… and sasl.password=…",
    ),
    (
        "ssl.truststore.location",
        "ssl.ca.location=ca.pem, or -kafka-ca",
    ),
    (
        "ssl.truststore.password",
        "ssl.ca.location=ca.pem, or -kafka-ca",
    ),
    (
        "ssl.truststore.type",
        "ssl.ca.location=ca.pem, or -kafka-ca",
    ),
    ("ssl.truststore.certificates", "ssl.ca.pem=…, or -kafka-ca"),
    (
        "ssl.keystore.type",
        "ssl.certificate.location and ssl.key.location, or -kafka-cert and -kafka-key",
    ),
    (
        "ssl.keystore.certificate.chain",
        "ssl.certificate.pem=…, or -kafka-cert",
    ),
    ("ssl.keystore.key", "ssl.key.pem=…, or -kafka-key"),
    ("key.serializer", NOTHING),
    ("value.serializer", NOTHING),
    ("key.deserializer", NOTHING),
    ("value.deserializer", NOTHING),
    ("max.poll.records", NOTHING),
];
const NOTHING: &str = "nothing: delete the line";

/// The settings of a file, as names and values in the order of the file. Errs with one line that names the line and what would be right; values
/// are never quoted, because they may be secrets.
pub(super) fn parse(text: &str) -> Result<Vec<(String, String)>, Invalid> {
    let mut settings = Vec::new();
    for (number, line) in (1..).zip(text.lines()) {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let setting =
            setting(line).map_err(|error| Invalid::about(format!("line {number}: {error}")))?;
        settings.push(setting);
    }
    Ok(settings)
}

fn setting(line: &str) -> Result<(String, String), Invalid> {
    let Some((name, value)) = line.split_once('=') else {
        return Err(Invalid::about(
            "is not NAME=VALUE, such as ssl.endpoint.identification.algorithm=none",
        ));
    };
    let (name, value) = (name.trim(), value.trim());
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    if name.is_empty() || !name.bytes().all(is_name) {
        return Err(Invalid::new(name, "is not the name of a setting"));
    }
    if let Some((_, instead)) = JAVA.iter().find(|(java, _)| *java == name) {
        return Err(java(name, instead));
    }
    // JKS stores; PKCS #12 is fine.
    let is_keystore = name == "ssl.keystore.location";
    if is_keystore && value.to_ascii_lowercase().ends_with(".jks") {
        let instead =
            "ssl.certificate.location and ssl.key.location, or -kafka-cert and -kafka-key";
        return Err(java(name, instead));
    }
    if let Some((_, reason)) = RESERVED.iter().find(|(reserved, _)| *reserved == name) {
        return Err(Invalid::about(format!(
            "{name} cannot be set here: {reason}"
        )));
    }
    // Of two names for one setting, the one that the flags set.
    let name = match name {
        "sasl.mechanisms" => "sasl.mechanism",
        other => other,
    };
    Ok((name.to_owned(), value.to_owned()))
}

fn java(name: &str, instead: &str) -> Invalid {
    Invalid::about(format!(
        "{} is a setting of Java clients, which librdkafka does not have; use {instead}",
        quoted(name)
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fuzz::{ACCEPTED, fuzz_text, one_bounded_line};

    #[test]
    fn any_file_of_settings_is_read_or_is_one_bounded_line() {
        let samples: [&[u8]; 2] = [
            b"# TLS\nsecurity.protocol=ssl\nssl.ca.location = /etc/ca.pem\n\nsasl.mechanisms=PLAIN",
            b"statistics.interval.ms=5\r\nclient.id=x=y",
        ];
        let words = [
            "sasl.jaas.config=",
            "acks=",
            "ssl.keystore.location=",
            ".jks",
        ];
        fuzz_text(
            "settings of librdkafka",
            &samples,
            &words,
            |text| match parse(text) {
                Ok(_) => ACCEPTED.to_owned(),
                Err(error) => one_bounded_line(&error),
            },
        );
    }

    #[test]
    fn settings_comments_and_blank_lines() {
        let text = "# for the proxy\n\n socket.keepalive.enable = true\r\nsasl.password=a=b c\n";
        let settings = parse(text).unwrap();
        let settings: Vec<(&str, &str)> = settings
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect();
        assert_eq!(
            settings,
            [
                ("socket.keepalive.enable", "true"),
                ("sasl.password", "a=b c")
            ]
        );
    }

    #[test]
    fn a_bad_line_is_named_without_its_value() {
        for (text, wrong) in [
            ("\nsecret", "line 2: is not NAME=VALUE"),
            ("=secret", "line 1: \"\" is not the name of a setting"),
            ("a b=secret", "\"a b\" is not the name of a setting"),
            (
                "acks=secret",
                "acks cannot be set here: findings and tasks must not be lost",
            ),
            ("enable.auto.commit=secret", "keeps its own offsets"),
            (
                "sasl.jaas.config=org.apache.kafka…ScramLoginModule required password=\"secret\";",
                "line 1: \"sasl.jaas.config\" is a setting of Java clients, which librdkafka does not have; use sasl.username",
            ),
            ("ssl.truststore.location=/secret.jks", "use ssl.ca.location"),
            (
                "ssl.keystore.location=/secret.JKS",
                "use ssl.certificate.location",
            ),
        ] {
            let error = parse(text).unwrap_err().to_string();
            assert!(
                error.contains(wrong) && !error.contains("secret"),
                "{error}"
            );
        }
        assert!(parse("ssl.keystore.location=/etc/scan.p12").is_ok());
    }
}
