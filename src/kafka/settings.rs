//! How to connect to Kafka, as validated settings. Pure: files are named here, not read.

use super::brokers::Brokers;
use crate::credentials::{CredentialFile, Password, Tls};
use crate::model::Invalid;
use std::fmt;
use std::str::FromStr;

/// How to connect to Kafka.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KafkaSettings {
    brokers: Brokers,
    client: ClientChoice,
    security: Security,
}

/// Encryption, authentication and further settings of a connection.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Security {
    /// TLS; none for plaintext.
    pub tls: Option<Tls>,
    /// Authentication by user name; none if the listener needs none, or for client certificates.
    pub sasl: Option<Sasl>,
    /// A file with settings of librdkafka.
    pub config: Option<CredentialFile>,
}

/// Authentication by user name and password.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sasl {
    /// How the password is proved.
    pub mechanism: SaslMechanism,
    /// The user name.
    pub user: String,
    /// The password.
    pub password: Password,
}

/// How a password is proved to the broker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SaslMechanism {
    /// The password is sent as it is. Only safe with TLS.
    Plain,
    /// RFC 5802 with SHA-256.
    ScramSha256,
    /// RFC 5802 with SHA-512.
    ScramSha512,
}

/// `-kafka-client`: which client library connects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientChoice {
    /// The `kafka` crate if it can, else librdkafka.
    Auto,
    /// The `kafka` crate: plaintext, Kafka 2.1 to 3.9.
    Crate,
    /// librdkafka.
    Librdkafka,
}

impl KafkaSettings {
    /// Settings for `brokers`. Errs if `client` cannot do what `security` needs.
    pub fn new(
        brokers: Brokers,
        client: ClientChoice,
        security: Security,
    ) -> Result<KafkaSettings, Invalid> {
        if client == ClientChoice::Crate
            && let Some(need) = security.needs_librdkafka()
        {
            return Err(Invalid::about(format!(
                "-kafka-client kafka cannot be combined with {need}, which only librdkafka supports: leave -kafka-client out"
            )));
        }
        Ok(KafkaSettings {
            brokers,
            client,
            security,
        })
    }

    /// Settings for a plaintext connection to `brokers`, with the client that suits them.
    pub fn plaintext(brokers: Brokers) -> KafkaSettings {
        KafkaSettings {
            brokers,
            client: ClientChoice::Auto,
            security: Security::default(),
        }
    }

    /// The brokers to connect to first.
    pub fn brokers(&self) -> &Brokers {
        &self.brokers
    }

    /// Which client library may connect.
    pub fn client(&self) -> ClientChoice {
        self.client
    }

    /// Encryption and authentication.
    pub fn security(&self) -> &Security {
        &self.security
    }
}

impl fmt::Display for KafkaSettings {
    /// The brokers.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.brokers.fmt(f)
    }
}

impl Security {
    /// What of it only librdkafka supports, as a flag; none for plaintext.
    pub(super) fn needs_librdkafka(&self) -> Option<&'static str> {
        if self.tls.is_some() {
            Some("-kafka-tls")
        } else if self.sasl.is_some() {
            Some("-kafka-sasl")
        } else if self.config.is_some() {
            Some("-kafka-config")
        } else {
            None
        }
    }

    /// The files with secrets.
    pub fn secret_files(&self) -> impl Iterator<Item = &CredentialFile> {
        let key = self
            .tls
            .iter()
            .flat_map(|tls| &tls.client)
            .map(|client| &client.key);
        let password = self.sasl.iter().filter_map(|sasl| sasl.password.file());
        key.chain(password).chain(&self.config)
    }
}

impl SaslMechanism {
    /// Its registered name.
    pub fn name(self) -> &'static str {
        match self {
            SaslMechanism::Plain => "PLAIN",
            SaslMechanism::ScramSha256 => "SCRAM-SHA-256",
            SaslMechanism::ScramSha512 => "SCRAM-SHA-512",
        }
    }
}

impl FromStr for SaslMechanism {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<SaslMechanism, Invalid> {
        let all = [
            SaslMechanism::Plain,
            SaslMechanism::ScramSha256,
            SaslMechanism::ScramSha512,
        ];
        all.into_iter()
            .find(|mechanism| mechanism.name().eq_ignore_ascii_case(text))
            .ok_or_else(|| {
                let expected = "is not PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512";
                Invalid::new(text, expected)
            })
    }
}

impl ClientChoice {
    /// Its name as a flag's value.
    pub fn name(self) -> &'static str {
        match self {
            ClientChoice::Auto => "auto",
            ClientChoice::Crate => "kafka",
            ClientChoice::Librdkafka => "librdkafka",
        }
    }
}

impl FromStr for ClientChoice {
    type Err = Invalid;

    /// Errs for librdkafka if this program was built without it.
    fn from_str(text: &str) -> Result<ClientChoice, Invalid> {
        let all = [
            ClientChoice::Auto,
            ClientChoice::Crate,
            ClientChoice::Librdkafka,
        ];
        let choice = all.into_iter().find(|choice| choice.name() == text);
        match choice {
            Some(ClientChoice::Librdkafka) if !cfg!(feature = "librdkafka") => Err(Invalid::about(
                "this program was built without librdkafka: build it with the cargo feature librdkafka",
            )),
            Some(choice) => Ok(choice),
            None => Err(Invalid::new(text, "is not auto, kafka or librdkafka")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(client: ClientChoice, security: Security) -> Result<KafkaSettings, Invalid> {
        KafkaSettings::new("localhost".parse().unwrap(), client, security)
    }

    #[test]
    fn the_crate_is_refused_for_what_it_cannot_do() {
        let tls = Security {
            tls: Some(Tls::default()),
            ..Security::default()
        };
        let file = CredentialFile::new("-kafka-config", "kafka.properties".into());
        let config = Security {
            config: Some(file),
            ..Security::default()
        };
        for (security, named) in [(tls, "-kafka-tls"), (config, "-kafka-config")] {
            let error = settings(ClientChoice::Crate, security.clone()).unwrap_err();
            assert!(error.to_string().contains(named), "{error}");
            assert!(settings(ClientChoice::Auto, security).is_ok());
        }
        assert!(settings(ClientChoice::Crate, Security::default()).is_ok());
    }

    #[test]
    fn names_are_parsed() {
        for name in ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] {
            assert_eq!(name.parse::<SaslMechanism>().unwrap().name(), name);
        }
        assert!("GSSAPI".parse::<SaslMechanism>().is_err());
        for name in ["auto", "kafka"] {
            assert_eq!(name.parse::<ClientChoice>().unwrap().name(), name);
        }
        assert!("java".parse::<ClientChoice>().is_err());
    }
}
