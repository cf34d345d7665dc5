//! A run in which the programs connect to the shared Kafka and Redis with TLS, user and password (`tests/run.sh --secure`). The tests themselves use
//! the plaintext ports.

use super::environment::text;
use super::peer::{Peer, free_port};
use super::redis::documented_user;
use super::secured_kafka::SecuredKafka;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

const REDIS_PASSWORD: &str = "redis-s3cret";

/// The flags of the programs for the shared Kafka and Redis.
pub struct SecureFlags {
    pub kafka: Vec<String>,
    pub redis: Vec<String>,
}

/// Whether the programs are to connect securely.
pub fn is_secure_run() -> bool {
    std::env::var_os("SCAN_SECURE_TESTS").is_some()
}

/// Starts Kafka and Redis in `folder`, each with a user `scan` that has the documented rights for every group, and creates topics.
pub fn start(folder: &Path) -> Result<(Peer, Peer, SecureFlags), String> {
    let SecuredKafka {
        peer: kafka,
        certs,
        sasl_ssl,
        ..
    } = SecuredKafka::start(folder)?;
    let grant = ["--add", "--allow-principal", "User:scan"];
    let topics = [
        "--operation",
        "Read",
        "--operation",
        "Write",
        "--operation",
        "Create",
        "--topic",
        "*",
    ];
    kafka.tool("acls", &[&grant[..], &topics].concat())?;
    kafka.tool(
        "acls",
        &[&grant[..], &["--operation", "Read", "--group", "*"]].concat(),
    )?;

    let file = |name: &str| text(&certs.join(name)).to_owned();
    let tls_port = free_port();
    let redis = Peer::start(
        "redis",
        &folder.join("redis"),
        &[
            "--tls-port",
            &tls_port.to_string(),
            "--tls-cert-file",
            &file("server.pem"),
            "--tls-key-file",
            &file("server.key"),
            "--tls-ca-cert-file",
            &file("ca.pem"),
            "--tls-auth-clients",
            "no",
        ],
    )?;
    let mut words = documented_user("any");
    for word in &mut words {
        if word.starts_with("~scan:") {
            "~scan:*".clone_into(word);
        } else if word.starts_with('>') {
            *word = format!(">{REDIS_PASSWORD}");
        }
    }
    let client = redis::Client::open(format!("redis://{}", redis.address()))
        .map_err(|error| error.to_string())?;
    let mut connection = client.get_connection().map_err(|error| error.to_string())?;
    redis::cmd("ACL")
        .arg("SETUSER")
        .arg(words)
        .exec(&mut connection)
        .map_err(|error| error.to_string())?;

    let flags = SecureFlags {
        kafka: words_of(&[
            ("-kafka", format!("localhost:{sasl_ssl}")),
            ("-kafka-ca", file("ca.pem")),
            ("-kafka-sasl", "SCRAM-SHA-512".to_owned()),
            ("-kafka-user", "scan".to_owned()),
            (
                "-kafka-password-file",
                password_file(&certs.join("kafka-password"), SecuredKafka::PASSWORD)?,
            ),
        ]),
        redis: words_of(&[
            ("-redis", format!("rediss://localhost:{tls_port}")),
            ("-redis-ca", file("ca.pem")),
            ("-redis-user", "scan".to_owned()),
            (
                "-redis-password-file",
                password_file(&certs.join("redis-password"), REDIS_PASSWORD)?,
            ),
        ]),
    };
    Ok((kafka, redis, flags))
}

/// Writes a file that only its owner can read.
fn password_file(path: &Path, password: &str) -> Result<String, String> {
    let written = fs::write(path, password)
        .and_then(|()| fs::set_permissions(path, fs::Permissions::from_mode(0o600)));
    written.map_err(|error| error.to_string())?;
    Ok(text(path).to_owned())
}

/// Flags and values as words of a command line. The value of a switch is empty.
pub fn words_of(flags: &[(&str, String)]) -> Vec<String> {
    let words = flags
        .iter()
        .map(|(flag, value)| [(*flag).to_owned(), value.clone()]);
    words.flatten().filter(|word| !word.is_empty()).collect()
}
