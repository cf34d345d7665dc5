//! Why brokers cannot be used. librdkafka reports causes as texts through a callback, and its calls fail only with "transport failure" or a
//! time-out. So the causes are kept here by broker. Pure.

use crate::kafka::error::{CLOSED_WITHOUT_LOGIN, Refusal};
use crate::kafka::settings::{KafkaSettings, Security};
use crate::model::text::one_line;
use rdkafka::types::RDKafkaErrorCode as Code;
use std::collections::BTreeMap;

/// Maximum number of brokers whose causes are kept.
const BROKERS_MAX: usize = 64;

/// Closed connections, on average per broker, after which waiting longer is useless.
const CLOSED_MAX: usize = 3;

/// The last cause of each broker.
#[derive(Debug, Default)]
pub(super) struct Causes {
    /// By address, as librdkafka names it.
    by_broker: BTreeMap<String, Cause>,
    /// How often any broker closed a connection without giving a reason, since the last answer.
    closed: usize,
}

/// Why a broker cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Cause {
    kind: Kind,
    text: String,
}

/// The category of a cause.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Password,
    Mechanism,
    Authentication,
    Name,
    Certificate,
    ClientCertificate,
    ListenerWithoutTls,
    Tls,
    Refused,
    Silent,
    NoRoute,
    Closed,
    Other,
}

impl Kind {
    /// The kind of librdkafka's code and text; none if it is not about a broker.
    fn of(code: Code, text: &str) -> Option<Kind> {
        let has = |words: &[&str]| words.iter().any(|word| text.contains(word));
        Some(match code {
            Code::Authentication if has(&["nvalid credentials", "Authentication failed"]) => {
                Kind::Password
            }
            Code::Authentication if has(&["mechanism"]) => Kind::Mechanism,
            Code::Authentication => Kind::Authentication,
            Code::Resolve => Kind::Name,
            Code::SSL | Code::BrokerTransportFailure => match () {
                () if has(&["certificate verify failed"]) => Kind::Certificate,
                // The broker's alerts about the certificate that it got, or did not get.
                () if has(&["alert"]) && has(&["certificate", "unknown ca"]) => {
                    Kind::ClientCertificate
                }
                () if has(&["connecting to a PLAINTEXT"]) => Kind::ListenerWithoutTls,
                () if has(&["Connection refused"]) => Kind::Refused,
                () if has(&["timed out", "timeout"]) => Kind::Silent,
                () if has(&["No route to host"]) => Kind::NoRoute,
                () if has(&["isconnected", "Broken pipe", "reset by peer"]) => Kind::Closed,
                () if code == Code::SSL => Kind::Tls,
                () => Kind::Other,
            },
            _ => return None,
        })
    }

    /// Whether a retry fails too until the settings or the broker are changed.
    fn is_decisive(self) -> bool {
        match self {
            Kind::Password
            | Kind::Mechanism
            | Kind::Authentication
            | Kind::Name
            | Kind::Certificate
            | Kind::ClientCertificate
            | Kind::ListenerWithoutTls
            | Kind::Tls => true,
            Kind::Refused | Kind::Silent | Kind::NoRoute | Kind::Closed | Kind::Other => false,
        }
    }
}

impl Causes {
    /// Keeps what librdkafka said: its code and its text, such as `localhost:9093/bootstrap: SSL handshake failed: …`.
    pub(super) fn add(&mut self, code: Code, said: &str) {
        let Some((address, text)) = split(said) else {
            return;
        };
        let Some(kind) = Kind::of(code, text) else {
            return;
        };
        if kind == Kind::Closed {
            self.add_closed();
        }
        // A broker that was refused because of a certificate is soon reported as "disconnected" too.
        let known = self.by_broker.get(address);
        if known.is_some_and(|known| known.kind.is_decisive()) && !kind.is_decisive() {
            return;
        }
        if known.is_some() || self.by_broker.len() < BROKERS_MAX {
            let text = text.to_owned();
            self.by_broker
                .insert(address.to_owned(), Cause { kind, text });
        }
    }

    /// Counts a connection that a broker closed. librdkafka may only log this.
    pub(super) fn add_closed(&mut self) {
        self.closed = self.closed.saturating_add(1);
    }

    /// Forgets everything: a broker has answered.
    pub(super) fn clear(&mut self) {
        self.by_broker.clear();
        self.closed = 0;
    }

    /// Whether every broker of `settings` has failed in a way that waiting cannot fix.
    pub(super) fn are_decisive(&self, settings: &KafkaSettings) -> bool {
        let brokers = settings.brokers().addresses();
        let is_decisive = |address: &String| {
            let cause = self.by_broker.get(address);
            cause.is_some_and(|cause| cause.kind.is_decisive())
        };
        brokers.iter().all(is_decisive) || self.closed >= CLOSED_MAX * brokers.len()
    }

    /// The reason for each address, for an operator. If no cause is known, every address of `settings` gets the same general reason.
    pub(super) fn refusals(&self, settings: &KafkaSettings) -> Vec<Refusal> {
        let security = settings.security();
        let refusal = |address: &str, reason: String| Refusal {
            address: address.to_owned(),
            reason,
        };
        if self.by_broker.is_empty() {
            let reason = match self.closed {
                0 => "no answer in time".to_owned(),
                _ => closed_by_the_broker(security),
            };
            let addresses = settings.brokers().addresses().iter();
            return addresses
                .map(|address| refusal(address, reason.clone()))
                .collect();
        }
        self.by_broker
            .iter()
            .map(|(address, cause)| refusal(address, describe(cause, security)))
            .collect()
    }

    /// Why the broker at `address` cannot be used, if that is known.
    pub(super) fn of(&self, address: &str, settings: &KafkaSettings) -> Option<String> {
        let cause = self.by_broker.get(address)?;
        Some(describe(cause, settings.security()))
    }
}

/// The address and the rest of a text such as `sasl_ssl://localhost:9093/bootstrap: connect failed`.
fn split(said: &str) -> Option<(&str, &str)> {
    // A text may begin with the name of the client.
    let said = match said.find("]: ") {
        Some(end) if said.starts_with('[') => &said[end + 3..],
        _ => said,
    };
    let said = said.split_once("://").map_or(said, |(_, rest)| rest);
    let (name, text) = said.split_once(": ")?;
    let address = name.split_once('/').map_or(name, |(address, _)| address);
    let is_address = address.rsplit_once(':').is_some_and(|(host, port)| {
        !host.is_empty() && !host.contains(' ') && port.bytes().all(|byte| byte.is_ascii_digit())
    });
    is_address.then_some((address, text))
}

/// A cause for an operator, with the flag to look at.
fn describe(cause: &Cause, security: &Security) -> String {
    let said = || one_line(cause.text.split(" (after ").next().unwrap_or_default());
    match cause.kind {
        Kind::Password => "wrong user name or password: see -kafka-user and -kafka-password-file".to_owned(),
        Kind::Mechanism => format!("the listener does not accept this SASL mechanism: see -kafka-sasl ({})", said()),
        Kind::Authentication => format!("authentication failed: {}", said()),
        Kind::Name => "name not known".to_owned(),
        Kind::Certificate => {
            "its certificate is not signed by a known authority, or is for another host name: see -kafka-ca, and the names in the certificate".to_owned()
        }
        Kind::ClientCertificate => {
            format!("the broker requires another client certificate: see -kafka-cert and -kafka-key ({})", said())
        }
        Kind::ListenerWithoutTls => {
            "the listener does not use TLS: leave out -kafka-tls, or use the port of a TLS listener".to_owned()
        }
        Kind::Tls => format!("TLS failed: {}", said()),
        Kind::Refused => "connection refused".to_owned(),
        Kind::Silent => "no answer in time".to_owned(),
        Kind::NoRoute => "no route to the host".to_owned(),
        Kind::Closed => closed_by_the_broker(security),
        Kind::Other => said(),
    }
}

/// The text for a connection that the broker closed without an error.
fn closed_by_the_broker(security: &Security) -> String {
    match (&security.tls, &security.sasl) {
        (None, None) => CLOSED_WITHOUT_LOGIN,
        (None, Some(_)) => "the broker closes the connection: its listener may need TLS (-kafka-tls)",
        (Some(_), None) => "the broker closes the connection: its listener may need a user name (-kafka-sasl) or a client certificate (-kafka-cert)",
        (Some(_), Some(_)) => "the broker closes the connection: see its log",
    }
    .to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::credentials::Tls;
    use crate::kafka::settings::ClientChoice;

    fn settings(brokers: &str, tls: bool) -> KafkaSettings {
        let security = Security {
            tls: tls.then(Tls::default),
            ..Security::default()
        };
        KafkaSettings::new(brokers.parse().unwrap(), ClientChoice::Librdkafka, security).unwrap()
    }

    #[test]
    fn texts_are_split_into_address_and_cause() {
        for (said, parts) in [
            (
                "sasl_ssl://localhost:9093/bootstrap: SASL failed: x",
                Some(("localhost:9093", "SASL failed: x")),
            ),
            (
                "127.0.0.1:9092/1: Disconnected",
                Some(("127.0.0.1:9092", "Disconnected")),
            ),
            (
                "[::1]:9092/bootstrap: Connect failed",
                Some(("[::1]:9092", "Connect failed")),
            ),
            ("2/2 brokers are down", None),
            ("", None),
        ] {
            assert_eq!(split(said), parts, "{said}");
        }
    }

    #[test]
    fn causes_name_the_setting() {
        for (code, said, tls, reason) in [
            (
                Code::Authentication,
                "sasl_ssl://a:1/bootstrap: SASL authentication error: Authentication failed during authentication due to invalid credentials with \
                 SASL mechanism SCRAM-SHA-512 (after 9ms in state AUTH_REQ)",
                true,
                "wrong user name or password: see -kafka-user",
            ),
            (
                Code::SSL,
                "ssl://a:1/bootstrap: SSL handshake failed: error:0A000086:SSL routines::certificate verify failed: broker certificate could not \
                 be verified, verify that ssl.ca.location is correctly configured or root CA certificates are installed (after 7ms in state SSL_HANDSHAKE)",
                true,
                "is for another host name: see -kafka-ca",
            ),
            (
                Code::BrokerTransportFailure,
                "ssl://a:1/bootstrap: SSL handshake failed: Disconnected: connecting to a PLAINTEXT broker listener? (after 2ms in state SSL_HANDSHAKE)",
                true,
                "the listener does not use TLS",
            ),
            (
                Code::BrokerTransportFailure,
                "a:1/bootstrap: Connect to ipv4#127.0.0.1:1 failed: Connection refused (after 0ms in state CONNECT)",
                false,
                "connection refused",
            ),
            (
                Code::BrokerTransportFailure,
                "ssl://a:1/bootstrap: Receive failed: error:0A000412:SSL routines::ssl/tls alert bad certificate: SSL alert number 42",
                true,
                "see -kafka-cert and -kafka-key",
            ),
            (
                Code::Resolve,
                "a:1/bootstrap: Failed to resolve 'a:1': Name or service not known",
                false,
                "name not known",
            ),
        ] {
            let settings = settings("a:1", tls);
            let mut causes = Causes::default();
            causes.add(code, said);
            let refusals = causes.refusals(&settings);
            assert_eq!(refusals[0].address, "a:1");
            assert!(refusals[0].reason.contains(reason), "{refusals:?}");
            let is_decisive = reason != "connection refused";
            assert_eq!(causes.are_decisive(&settings), is_decisive);
            assert!(causes.of("a:1", &settings).is_some());
            causes.clear();
            assert!(!causes.are_decisive(&settings));
        }
    }

    #[test]
    fn a_decisive_cause_is_kept_and_every_broker_counts() {
        let settings = settings("a:1,b:1", true);
        let mut causes = Causes::default();
        causes.add(
            Code::SSL,
            "ssl://a:1/bootstrap: SSL handshake failed: certificate verify failed",
        );
        causes.add(
            Code::BrokerTransportFailure,
            "ssl://a:1/bootstrap: Disconnected",
        );
        assert!(causes.refusals(&settings)[0].reason.contains("-kafka-ca"));
        assert!(!causes.are_decisive(&settings));
        causes.add(
            Code::Resolve,
            "ssl://b:1/bootstrap: Failed to resolve 'b:1'",
        );
        assert!(causes.are_decisive(&settings));
    }

    #[test]
    fn without_a_cause_every_address_is_named() {
        let settings = settings("a:1,b:1", false);
        let mut causes = Causes::default();
        assert_eq!(causes.refusals(&settings).len(), 2);
        assert_eq!(causes.refusals(&settings)[0].reason, "no answer in time");
        for _ in 0..CLOSED_MAX * 2 {
            assert!(!causes.are_decisive(&settings));
            causes.add_closed();
        }
        assert!(causes.are_decisive(&settings));
        assert!(causes.refusals(&settings)[1].reason.contains("-kafka-sasl"));
    }
}
