//! The secured Kafka of the tests itself: whom its listeners admit, and that rights come only from ACLs. kcat is the client.
//!
//! With SCRAM, Kafka 4 refuses the librdkafka 2.0 of Debian's kcat; hence PLAIN.

use crate::support::{SecuredKafka, kcat_command, secured_kafka};
use crate::{Needs, Test};
use std::io::Write;
use std::process::Stdio;

pub const TESTS: &[Test] = &[(
    "the_secured_kafka_admits_only_users_with_rights",
    Needs::KafkaAndRedis,
    admitted,
)];

fn admitted() {
    let kafka = secured_kafka();
    let topic = "secured-admits";
    let words = ["--create", "--topic", topic];
    kafka.peer.tool("topic", &words).unwrap();
    let tls = format!("ssl.ca.location={}", kafka.certs.join("ca.pem").display());
    let as_scan = [
        "security.protocol=SASL_SSL",
        &tls,
        "sasl.username=scan",
        &format!("sasl.password={}", SecuredKafka::PASSWORD),
    ];
    let by_certificate = |client: &str| {
        let file = |ending| kafka.certs.join(client).with_extension(ending);
        let settings = [
            "security.protocol=SSL",
            &tls,
            &format!("ssl.certificate.location={}", file("pem").display()),
            &format!("ssl.key.location={}", file("key").display()),
        ];
        produce(kafka.ssl, topic, &settings)
    };
    let with_password = |name: &str, password: &str| {
        let settings = [
            "security.protocol=SASL_PLAINTEXT",
            &format!("sasl.username={name}"),
            &format!("sasl.password={password}"),
        ];
        produce(kafka.sasl_plaintext, topic, &settings)
    };

    assert!(!produce(kafka.sasl_ssl, topic, &as_scan), "no right yet");
    let words = ["--add", "--allow-principal", "User:scan"];
    let words = [&words[..], &["--operation", "Write", "--topic", topic]].concat();
    assert!(kafka.acls(&words).contains("User:scan"));
    assert!(produce(kafka.sasl_ssl, topic, &as_scan));
    assert!(with_password("scan", SecuredKafka::PASSWORD));
    assert!(by_certificate("client"));

    assert!(!with_password("scan", "wrong"));
    assert!(!with_password("nobody", SecuredKafka::PASSWORD_OF_NOBODY));
    assert!(!by_certificate("other-client"), "an unknown CA");
}

/// Whether Kafka takes a record on that port of localhost, with these settings of kcat.
fn produce(port: u16, topic: &str, settings: &[&str]) -> bool {
    let mut kcat = kcat_command()
        .args(["-P", "-b", &format!("localhost:{port}"), "-t", topic])
        .args([
            "-X",
            "message.timeout.ms=3000",
            "-X",
            "sasl.mechanism=PLAIN",
        ])
        .args(settings.iter().flat_map(|setting| ["-X", setting]))
        .stdin(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    // kcat may have given up before it reads its input.
    let _ = kcat.stdin.take().unwrap().write_all(b"record\n");
    kcat.wait().unwrap().success()
}
