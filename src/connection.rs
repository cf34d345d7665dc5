//! Where Kafka and Redis are, and how to authenticate there: the values of the flags that both programs share.

use crate::claim_table::RedisSettings;
use crate::credentials::{ClientCertificate, CredentialFile, Tls};
use crate::flags::shared::{
    GROUP, KAFKA, KAFKA_CA, KAFKA_CERT, KAFKA_CLIENT, KAFKA_CONFIG, KAFKA_KEY, KAFKA_PASSWORD_FILE,
    KAFKA_SASL, KAFKA_TLS, KAFKA_USER, REDIS, REDIS_CA, REDIS_CERT, REDIS_KEY, REDIS_PASSWORD_FILE,
    REDIS_USER, TOPIC,
};
use crate::flags::{Flag, Reader};
use crate::kafka::{KafkaSettings, Sasl, Security};
use crate::model::{GroupName, Invalid, TopicName};

/// Longest user name, in bytes.
const USER_MAX_BYTES: usize = 256;

/// Where Kafka and Redis are. A command that needs only one of them accepts and checks the other flags too, because a shell alias may
/// contain them.
#[derive(Clone, Debug)]
pub struct Connection {
    /// Kafka.
    pub kafka: KafkaSettings,
    /// Redis.
    pub redis: RedisSettings,
    /// Topic of tasks.
    pub topic: TopicName,
    /// The servers' group.
    pub group: GroupName,
}

impl Connection {
    /// Takes the flags of [`CONNECTION`](crate::flags::shared::CONNECTION).
    pub fn read(reader: &mut Reader) -> Result<Connection, Invalid> {
        Ok(Connection {
            kafka: kafka(reader)?,
            redis: redis(reader)?,
            topic: reader.value(&TOPIC, str::parse)?,
            group: reader.value(&GROUP, str::parse)?,
        })
    }

    /// The flags that reproduce Kafka's client and security settings, without secrets.
    pub fn kafka_security_flags(&self) -> Vec<String> {
        let security = self.kafka.security();
        let sasl = security.sasl.as_ref();
        let choice = self.kafka.client().name();
        let is_chosen = KAFKA_CLIENT.default() != Some(choice);
        let client = (KAFKA_CLIENT, is_chosen.then(|| choice.to_owned()));
        let others = [
            (
                KAFKA_SASL,
                sasl.map(|sasl| sasl.mechanism.name().to_owned()),
            ),
            (KAFKA_USER, sasl.map(|sasl| sasl.user.clone())),
            (
                KAFKA_PASSWORD_FILE,
                sasl.and_then(|sasl| sasl.password.file()).map(path_of),
            ),
            (KAFKA_CONFIG, security.config.as_ref().map(path_of)),
        ];
        let files = tls_values(security.tls.as_ref(), KAFKA_TLS_FILES);
        let switch = security.tls.iter().map(|_| KAFKA_TLS.shown().to_owned());
        switch
            .chain(given([client].into_iter().chain(files).chain(others)))
            .collect()
    }

    /// The flags that reproduce the security settings of Redis, without secrets.
    pub fn redis_security_flags(&self) -> Vec<String> {
        let login = [
            (REDIS_USER, self.redis.user().map(str::to_owned)),
            (REDIS_PASSWORD_FILE, self.redis.password_file().map(path_of)),
        ];
        let files = tls_values(Some(self.redis.tls()), REDIS_TLS_FILES);
        given(files.into_iter().chain(login)).collect()
    }

    /// One warning for each secret file that every user of this machine can read.
    pub fn permission_warnings(&self) -> Vec<String> {
        let files = self.kafka.security().secret_files();
        files
            .chain(self.redis.secret_files())
            .filter_map(CredentialFile::permission_warning)
            .collect()
    }
}

/// The flags that name the CA, the certificate and the key.
type TlsFiles = [Flag; 3];
const KAFKA_TLS_FILES: TlsFiles = [KAFKA_CA, KAFKA_CERT, KAFKA_KEY];
const REDIS_TLS_FILES: TlsFiles = [REDIS_CA, REDIS_CERT, REDIS_KEY];

fn path_of(file: &CredentialFile) -> String {
    file.path().display().to_string()
}

/// The flags for the files of `tls`, with their values.
fn tls_values(tls: Option<&Tls>, [ca, cert, key]: TlsFiles) -> [(Flag, Option<String>); 3] {
    let client = tls.and_then(|tls| tls.client.as_ref());
    [
        (ca, tls.and_then(|tls| tls.ca.as_ref()).map(path_of)),
        (cert, client.map(|client| path_of(&client.certificate))),
        (key, client.map(|client| path_of(&client.key))),
    ]
}

/// The words of those flags that have a value.
fn given(values: impl Iterator<Item = (Flag, Option<String>)>) -> impl Iterator<Item = String> {
    values
        .filter_map(|(flag, value)| Some([flag.shown().to_owned(), value?]))
        .flatten()
}

fn kafka(reader: &mut Reader) -> Result<KafkaSettings, Invalid> {
    let files = tls(reader, KAFKA_TLS_FILES)?;
    let wants_tls = reader.switch(&KAFKA_TLS) || files != Tls::default();
    let security = Security {
        tls: wants_tls.then_some(files),
        sasl: sasl(reader)?,
        config: reader.credential_file(&KAFKA_CONFIG)?,
    };
    let client = reader.value(&KAFKA_CLIENT, str::parse)?;
    KafkaSettings::new(reader.value(&KAFKA, str::parse)?, client, security)
}

fn redis(reader: &mut Reader) -> Result<RedisSettings, Invalid> {
    let tls = tls(reader, REDIS_TLS_FILES)?;
    let user = reader.optional(&REDIS_USER, user_name)?;
    let password = reader.password(&REDIS_PASSWORD_FILE)?;
    RedisSettings::new(reader.value(&REDIS, str::parse)?, user, password, tls)
}

fn tls(reader: &mut Reader, [ca, cert, key]: TlsFiles) -> Result<Tls, Invalid> {
    Ok(Tls {
        ca: reader.credential_file(&ca)?,
        client: client_certificate(reader, &cert, &key)?,
    })
}

/// The client certificate. `certificate` and `key` must be given together.
fn client_certificate(
    reader: &mut Reader,
    certificate: &Flag,
    key: &Flag,
) -> Result<Option<ClientCertificate>, Invalid> {
    let files = (
        reader.credential_file(certificate)?,
        reader.credential_file(key)?,
    );
    match files {
        (None, None) => Ok(None),
        (Some(certificate), Some(key)) => Ok(Some(ClientCertificate { certificate, key })),
        (Some(_), None) => Err(needs(certificate, key)),
        (None, Some(_)) => Err(needs(key, certificate)),
    }
}

fn sasl(reader: &mut Reader) -> Result<Option<Sasl>, Invalid> {
    let mechanism = reader.optional(&KAFKA_SASL, str::parse)?;
    let user = reader.optional(&KAFKA_USER, user_name)?;
    let has_file = reader.has(&KAFKA_PASSWORD_FILE);
    let password = reader.password(&KAFKA_PASSWORD_FILE)?;
    match (mechanism, user, password) {
        (Some(mechanism), Some(user), Some(password)) => Ok(Some(Sasl {
            mechanism,
            user,
            password,
        })),
        (None, Some(_), _) => Err(needs(&KAFKA_USER, &KAFKA_SASL)),
        (None, None, Some(_)) if has_file => Err(needs(&KAFKA_PASSWORD_FILE, &KAFKA_SASL)),
        // $SCAN_KAFKA_PASSWORD alone is ignored: it may be set for other commands.
        (None, None, _) => Ok(None),
        (Some(_), None, _) => Err(needs(&KAFKA_SASL, &KAFKA_USER)),
        (Some(_), Some(_), None) => Err(Invalid::about(
            "needs a password: -kafka-password-file FILE or $SCAN_KAFKA_PASSWORD",
        )
        .of(KAFKA_SASL.shown())),
    }
}

fn needs(given: &Flag, missing: &Flag) -> Invalid {
    Invalid::about(format!("needs {} too: {}", missing.usage(), missing.help())).of(given.shown())
}

fn user_name(text: &str) -> Result<String, Invalid> {
    if text.len() > USER_MAX_BYTES || text.chars().any(char::is_control) {
        return Err(Invalid::new(
            text,
            format!(
                "is not a user name of at most {USER_MAX_BYTES} bytes without control characters"
            ),
        ));
    }
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flags::read_line;
    use crate::kafka::{ClientChoice, SaslMechanism};

    fn connection(line: &[&str]) -> Result<Connection, Invalid> {
        read_line(line, &[], |mut reader| {
            let connection = Connection::read(&mut reader)?;
            reader.finish()?;
            Ok(connection)
        })
    }

    #[test]
    fn a_connection_is_plaintext_by_default() {
        let connection = connection(&[]).unwrap();
        let local = KafkaSettings::plaintext("localhost:9092".parse().unwrap());
        assert_eq!(connection.kafka, local);
        assert_eq!(connection.redis.to_string(), "redis://localhost:6379");
        assert_eq!(connection.group.as_str(), "scanners");
        assert_eq!(connection.topic.as_str(), "scan-tasks");
    }

    #[test]
    fn certificates_imply_tls() {
        for line in [
            &["-kafka-tls"][..],
            &["-kafka-ca", "ca.pem"],
            &["-kafka-cert", "c.pem", "-kafka-key", "c.key"],
        ] {
            let kafka = connection(line).unwrap().kafka;
            assert!(kafka.security().tls.is_some(), "{line:?}");
        }
    }

    #[test]
    fn sasl_needs_a_user_and_a_password() {
        let line = [
            "-kafka-sasl",
            "SCRAM-SHA-512",
            "-kafka-user",
            "scan",
            "-kafka-password-file",
            "p",
        ];
        let kafka = connection(&line).unwrap().kafka;
        let sasl = kafka.security().sasl.as_ref().unwrap();
        assert_eq!(
            (sasl.mechanism, sasl.user.as_str()),
            (SaslMechanism::ScramSha512, "scan")
        );
        assert_eq!(kafka.client(), ClientChoice::Auto);
    }

    #[test]
    fn the_security_flags_are_a_command_line_without_the_password() {
        assert!(connection(&[]).unwrap().kafka_security_flags().is_empty());
        let line = [
            "-kafka-tls",
            "-kafka-ca",
            "ca.pem",
            "-kafka-cert",
            "c.pem",
            "-kafka-key",
            "c.key",
            "-kafka-sasl",
            "PLAIN",
            "-kafka-user",
            "scan",
            "-kafka-password-file",
            "p",
            "-kafka-config",
            "more",
        ];
        assert_eq!(connection(&line).unwrap().kafka_security_flags(), line);
        let named = connection(&["-kafka-client", "kafka"]).unwrap();
        assert_eq!(named.kafka_security_flags(), ["-kafka-client", "kafka"]);
    }

    #[test]
    fn the_security_flags_of_redis_are_a_command_line_without_the_password() {
        assert!(connection(&[]).unwrap().redis_security_flags().is_empty());
        let security = [
            "-redis-ca",
            "ca.pem",
            "-redis-cert",
            "c.pem",
            "-redis-key",
            "c.key",
            "-redis-user",
            "scan",
            "-redis-password-file",
            "p",
        ];
        let line = [&["-redis", "rediss://r:1/2"][..], &security].concat();
        let found = connection(&line).unwrap();
        assert_eq!(found.redis.to_string(), "rediss://r:1/2");
        assert_eq!(found.redis_security_flags(), security);
    }

    #[test]
    fn incomplete_credentials_are_named() {
        for (line, error) in [
            (
                &["-kafka-cert", "c.pem"][..],
                "-kafka-cert: needs -kafka-key FILE too",
            ),
            (
                &["-kafka-key", "c.key"],
                "-kafka-key: needs -kafka-cert FILE too",
            ),
            (
                &["-kafka-user", "scan"],
                "-kafka-user: needs -kafka-sasl MECHANISM too",
            ),
            (
                &["-kafka-password-file", "p"],
                "-kafka-password-file: needs -kafka-sasl MECHANISM too",
            ),
            (
                &["-kafka-sasl", "PLAIN"],
                "-kafka-sasl: needs -kafka-user NAME too",
            ),
            (
                &["-kafka-sasl", "PLAIN", "-kafka-user", "a"],
                "-kafka-sasl: needs a password: -kafka-password-file FILE or",
            ),
            (
                &["-kafka-sasl", "GSSAPI"],
                "-kafka-sasl: \"GSSAPI\" is not PLAIN",
            ),
            (
                &["-kafka-client", "java"],
                "-kafka-client: \"java\" is not auto",
            ),
            (
                &["-kafka-client", "kafka", "-kafka-tls"],
                "cannot be combined with -kafka-tls",
            ),
            (
                &["-redis", "rediss://h", "-redis-key", "c.key"],
                "-redis-key: needs -redis-cert FILE too",
            ),
            (
                &["-redis-ca", "ca.pem"],
                "-redis-ca: \"ca.pem\" is for TLS: give a rediss:// URL in -redis",
            ),
            (
                &["-redis-user", "scan"],
                "a user name for Redis needs a password too: give -redis-password-file",
            ),
            (
                &["-redis", "redis://scan@h"],
                "a user name for Redis needs a password too",
            ),
            (
                &["-redis", "redis://:s3cret@h", "-redis-password-file", "p"],
                "-redis has a password, and so has -redis-password-file: give only one",
            ),
        ] {
            let found = connection(line).unwrap_err().to_string();
            assert!(
                found.contains(error) && !found.contains("s3cret"),
                "{found}"
            );
        }
    }
}
