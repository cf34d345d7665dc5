//! A Kafka with TLS, passwords, client certificates and ACLs. It is shared by all tests of a run, and started when the first of them needs it.

use super::environment::{script, text};
use super::peer::Peer;
use std::fs;
use std::path::{Path, PathBuf};

/// A Kafka that grants rights to `User:scan` (a password or the client certificate) and `User:nobody` (a password) only through
/// [`SecuredKafka::acls`]. Its plaintext port, which is that of `peer`, is for the tests and has all rights.
pub struct SecuredKafka {
    pub peer: Peer,
    /// The folder that tests/support/certs.sh filled: `ca.pem`, `client.pem`, `client.key` and more.
    pub certs: PathBuf,
    pub sasl_ssl: u16,
    pub sasl_plaintext: u16,
    pub ssl: u16,
}

impl SecuredKafka {
    /// The password of `scan`.
    pub const PASSWORD: &str = "scan-s3cret";
    /// The password of `nobody`.
    pub const PASSWORD_OF_NOBODY: &str = "nobody-s3cret";

    /// Starts one, with its certificates, in `folder`.
    pub fn start(folder: &Path) -> Result<SecuredKafka, String> {
        SecuredKafka::start_with(folder, &[])
    }

    /// As [`SecuredKafka::start`], but its SSL listener has a certificate for another host.
    pub fn start_with_wrong_host(folder: &Path) -> Result<SecuredKafka, String> {
        let store = folder.join("certs/wrong-host-keystore.pem");
        let setting = format!("listener.name.ssl.ssl.keystore.location={}", text(&store));
        SecuredKafka::start_with(folder, &[&setting])
    }

    fn start_with(folder: &Path, settings: &[&str]) -> Result<SecuredKafka, String> {
        let certs = folder.join("certs");
        script("certs.sh", &[text(&certs)])?;
        let settings = [&["acls"], settings].concat();
        let peer = Peer::start_secured_kafka(&folder.join("kafka"), &certs, &settings)?;
        let file = peer.folder.join("listeners");
        let listeners = fs::read_to_string(&file).map_err(|error| error.to_string())?;
        let port = |name: &str| {
            listeners
                .lines()
                .find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok())
                .ok_or(format!("{}: no {name}", file.display()))
        };
        Ok(SecuredKafka {
            sasl_ssl: port("SASL_SSL")?,
            sasl_plaintext: port("SASL_PLAINTEXT")?,
            ssl: port("SSL")?,
            peer,
            certs,
        })
    }

    /// Runs kafka-acls on it: `["--add", "--allow-principal", "User:scan", "--operation", "Read", "--topic", "t"]`.
    pub fn acls(&self, words: &[&str]) -> String {
        self.peer.tool("acls", words).unwrap()
    }
}
