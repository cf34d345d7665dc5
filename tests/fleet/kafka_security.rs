//! Kafka over TLS, with client certificates, user names and passwords, and with the documented rights only. No secret is shown anywhere.

use crate::check::check;
use crate::support::{Fleet, SOON, SecuredKafka, report, secured_kafka, shown, words_of};
use crate::{Needs, Test};
use scan::model::State;
use serde_json::json;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::time::{Duration, Instant};

pub const TESTS: &[Test] = &[
    (
        "every_way_to_authenticate_to_kafka_runs_scans_with_the_documented_rights",
        Needs::KafkaAndRedis,
        authenticated,
    ),
    (
        "an_error_of_the_connection_to_kafka_is_one_line_that_names_the_flag",
        Needs::KafkaAndRedis,
        refused,
    ),
    (
        "a_changed_password_or_certificate_of_kafka_needs_no_restart",
        Needs::KafkaAndRedis,
        rotated,
    ),
];

/// Time for an error of a connection.
const ERROR_WAIT: Duration = Duration::from_secs(5);

/// A fleet on the secured Kafka, whose topics exist and whose user has the documented rights.
struct Secured<'a> {
    fleet: Fleet,
    kafka: &'a SecuredKafka,
}

impl Secured<'_> {
    /// A fleet on the shared secured Kafka.
    fn start(name: &str) -> Secured<'static> {
        Secured::on(Fleet::new(name), secured_kafka())
    }

    fn on(fleet: Fleet, kafka: &SecuredKafka) -> Secured<'_> {
        let mut fleet = fleet.with_standin(&json!({}));
        fleet.kafka = kafka.peer.address();
        fleet.lease_s = 15;
        for kind in ["tasks", "results", "status"] {
            let topic = fleet.topic(kind);
            kafka
                .peer
                .tool("topic", &["--create", "--topic", &topic])
                .unwrap();
            for right in ["Read", "Write"] {
                grant(kafka, right, &["--topic", &topic]);
            }
        }
        grant(kafka, "Read", &["--group", &fleet.group]);
        Secured { fleet, kafka }
    }

    /// A file of certs.sh.
    fn cert(&self, name: &str) -> String {
        path(self.kafka.certs.join(name))
    }

    /// A file of this fleet that only its owner can read.
    fn write(&self, name: &str, content: &[u8]) -> String {
        let file = self.fleet.folder.join(name);
        fs::write(&file, content).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
        path(file)
    }

    /// The flags for TLS and a password with this mechanism.
    fn sasl_ssl(&self, mechanism: &str) -> Vec<(&'static str, String)> {
        vec![
            ("-kafka", format!("localhost:{}", self.kafka.sasl_ssl)),
            ("-kafka-ca", self.cert("ca.pem")),
            ("-kafka-sasl", mechanism.to_owned()),
            ("-kafka-user", "scan".to_owned()),
            (
                "-kafka-password-file",
                self.write(
                    "password",
                    format!("{}\n", SecuredKafka::PASSWORD).as_bytes(),
                ),
            ),
        ]
    }

    /// The flags for a client certificate.
    fn certificate(&self) -> Vec<(&'static str, String)> {
        vec![
            ("-kafka", format!("localhost:{}", self.kafka.ssl)),
            ("-kafka-ca", self.cert("ca.pem")),
            ("-kafka-cert", self.cert("client.pem")),
            ("-kafka-key", self.cert("client.key")),
        ]
    }

    /// The same fleet with these flags for Kafka.
    fn with(&self, flags: &[(&str, String)]) -> Fleet {
        let mut fleet = self.fleet.clone_for_thread();
        fleet.kafka_flags = words_of(flags);
        fleet
    }
}

fn grant(kafka: &SecuredKafka, right: &str, on: &[&str]) {
    let words = [
        "--add",
        "--allow-principal",
        "User:scan",
        "--operation",
        right,
    ];
    kafka.acls(&[&words[..], on].concat());
}

fn path(path: PathBuf) -> String {
    path.to_str().unwrap().to_owned()
}

fn authenticated() {
    let secured = Secured::start("authenticated");
    let config = format!(
        "# the same by librdkafka's own names\nsecurity.protocol=sasl_ssl\nssl.ca.location={}\nsasl.mechanism=SCRAM-SHA-512\nsasl.username=scan\n\
         sasl.password={}\n",
        secured.cert("ca.pem"),
        SecuredKafka::PASSWORD
    );
    let plaintext = {
        let mut flags = secured.sasl_ssl("SCRAM-SHA-256");
        flags[0].1 = format!("localhost:{}", secured.kafka.sasl_plaintext);
        flags.remove(1);
        flags
    };
    let ways = [
        ("scram-512", secured.sasl_ssl("SCRAM-SHA-512")),
        ("scram-256", secured.sasl_ssl("SCRAM-SHA-256")),
        ("plain", secured.sasl_ssl("PLAIN")),
        ("certificate", secured.certificate()),
        ("plaintext", plaintext),
        (
            "config",
            vec![
                ("-kafka", format!("localhost:{}", secured.kafka.sasl_ssl)),
                (
                    "-kafka-config",
                    secured.write("kafka.properties", config.as_bytes()),
                ),
            ],
        ),
    ];
    let mut said = String::new();
    for (network, (name, flags)) in (0..).zip(ways) {
        let fleet = secured.with(&flags);
        let mut server = fleet.ready_scand(name, &["-v"]);
        server.wait_for_log("connected with librdkafka (needed for -kafka-");
        let id = fleet.push_network(&fleet.network(network), 10_000, &[]);
        let ended = fleet.wait_ended(&id, SOON);
        assert_eq!(
            (ended.status, ended.server.as_deref()),
            (State::Completed, Some(name))
        );
        assert_eq!(fleet.findings(&id).len(), 256);
        let topic = fleet.topic("results");
        let output = fleet.scanpush(&["results", &id, "-results-topic", &topic]);
        assert!(output.status.success(), "{}", shown(&output));
        said += &shown(&output);
        let (_, checked) = check(&fleet, &[]);
        for line in ["ok    kafka ", "ok    topics ", "ok    group "] {
            assert!(checked.contains(line), "{checked}");
        }
        said += &checked;
        let command_line = fs::read(format!("/proc/{}/cmdline", server.child.id())).unwrap();
        said += &String::from_utf8_lossy(&command_line);
        server.signal(rustix::process::Signal::TERM);
        assert_eq!(server.wait(SOON).code(), Some(0), "{name}");
        said += &server.log();
    }
    assert!(!said.contains(SecuredKafka::PASSWORD), "{said}");
    let key = fs::read_to_string(secured.kafka.certs.join("client.key")).unwrap();
    assert!(!said.contains(key.lines().nth(1).unwrap()));
    secured.fleet.wait_committed(&secured.kafka.peer);
}

/// Each case changes flags of a connection that is accepted; an empty value removes a flag.
fn refused() {
    let secured = Secured::start("refused-by-kafka");
    let port = |port: u16| ("-kafka", format!("localhost:{port}"));
    let kafka = secured.kafka;
    let plain_port = kafka.peer.port;
    let none = |flag: &'static str| (flag, String::new());
    let no_sasl = [
        none("-kafka-sasl"),
        none("-kafka-user"),
        none("-kafka-password-file"),
    ];
    let without_sasl = |changed: &[(&'static str, String)]| [&no_sasl[..], changed].concat();
    let nobody = secured.write("nobody", SecuredKafka::PASSWORD_OF_NOBODY.as_bytes());
    let cases: Vec<(Vec<(&str, String)>, &str)> = vec![
        (
            vec![("-kafka-password-file", secured.write("wrong", b"wr0ng"))],
            "wrong user name or password: see -kafka-user and -kafka-password-file",
        ),
        (
            vec![("-kafka-user", "who".to_owned())],
            "wrong user name or password",
        ),
        (
            vec![("-kafka-ca", secured.cert("other-ca.pem"))],
            "not signed by a known authority",
        ),
        (
            vec![none("-kafka-ca"), ("-kafka-tls", String::new())],
            "not signed by a known authority",
        ),
        (
            vec![("-kafka", format!("127.0.0.2:{}", kafka.sasl_ssl))],
            "connection refused",
        ),
        (
            vec![port(plain_port)],
            "the listener does not use TLS: leave out -kafka-tls",
        ),
        (
            vec![port(kafka.sasl_ssl), none("-kafka-ca")],
            "the listener uses TLS: add -kafka-tls",
        ),
        (
            without_sasl(&[none("-kafka-ca"), port(kafka.ssl)]),
            "the listener uses TLS: add -kafka-tls",
        ),
        (
            without_sasl(&[none("-kafka-ca"), port(kafka.sasl_plaintext)]),
            "may need a user name (-kafka-sasl)",
        ),
        (
            without_sasl(&[port(kafka.sasl_ssl)]),
            "may need a user name (-kafka-sasl)",
        ),
        (without_sasl(&[port(kafka.ssl)]), "-kafka-cert"),
        (
            vec![
                ("-kafka-user", "nobody".to_owned()),
                ("-kafka-password-file", nobody),
            ],
            "this user has no right on the topic",
        ),
        (
            vec![("-kafka-ca", secured.cert("client.key"))],
            "contains no certificate in PEM form",
        ),
        (
            vec![("-kafka-password-file", secured.write("empty", b""))],
            "is empty: it should contain the password",
        ),
        (
            vec![("-kafka-password-file", secured.cert("none"))],
            "does not exist",
        ),
        (
            vec![(
                "-kafka-config",
                secured.write("java", b"sasl.jaas.config=x"),
            )],
            "is a setting of Java clients",
        ),
        (
            vec![("-kafka-config", secured.write("acks", b"acks=1"))],
            "acks cannot be set here",
        ),
        (
            vec![(
                "-kafka-config",
                secured.write("unknown", b"no.such.setting=1"),
            )],
            "librdkafka does not know the setting no.such.setting",
        ),
    ];
    for (changed, words) in cases {
        let mut flags = secured.sasl_ssl("SCRAM-SHA-512");
        let tls = changed.iter().any(|(flag, _)| *flag == "-kafka-tls");
        for (flag, value) in changed {
            flags.retain(|(given, _)| *given != flag);
            if !value.is_empty() || flag == "-kafka-tls" {
                flags.push((flag, value));
            }
        }
        assert_eq!(tls, flags.iter().any(|(flag, _)| *flag == "-kafka-tls"));
        expect(&secured.with(&flags), words);
    }
}

/// Requires that a push and `scand -check` print one line with `words`.
fn expect(fleet: &Fleet, words: &str) {
    let began = Instant::now();
    let push = ["-ip", "172.16.0.0/24", "-ports", "443"];
    let output = fleet.scanpush(&push);
    let took = began.elapsed();
    let text = shown(&output);
    let began = Instant::now();
    let (_, checked) = check(fleet, &[]);
    let check_took = began.elapsed();
    println!("{took:.1?} {check_took:.1?} {text}");
    assert!(took < ERROR_WAIT, "{took:?}: {text}");
    assert!(check_took < ERROR_WAIT, "{check_took:?}: {checked}");
    assert_eq!(output.status.code(), Some(1), "{words}: {text}");
    assert!(
        text.contains(words) && text.lines().count() == 1,
        "{words}: {text}"
    );
    let failed = |line: &&str| line.starts_with("FAIL ") && line.contains(words);
    assert!(
        checked.lines().any(|line| failed(&line)),
        "{words}: {checked}"
    );
    for shown in [&text, &checked] {
        assert!(
            !shown.contains("s3cret") && !shown.contains("wr0ng"),
            "{shown}"
        );
    }
}

/// A secured Kafka for one test. Killed on drop.
struct OwnSecuredKafka(SecuredKafka);

impl Drop for OwnSecuredKafka {
    fn drop(&mut self) {
        report(self.0.peer.kill());
    }
}

/// Existing connections outlive a change of the password, so the broker is restarted.
fn rotated() {
    let fleet = Fleet::new("rotated");
    let kafka = OwnSecuredKafka(SecuredKafka::start_with_wrong_host(&fleet.folder).unwrap());
    let secured = Secured::on(fleet, &kafka.0);
    let mut flags = secured.sasl_ssl("SCRAM-SHA-512");
    flags[1].1 = secured.write("ca.pem", &fs::read(secured.cert("ca.pem")).unwrap());
    let fleet = secured.with(&flags);
    let server = fleet.ready_scand("a", &[]);
    let scan = |network: u32| {
        let id = fleet.push_network(&fleet.network(network), 10_000, &[]);
        assert_eq!(fleet.wait_ended(&id, SOON).status, State::Completed);
    };
    scan(0);
    expect(
        &secured.with(&secured.certificate()),
        "or is for another host name: see -kafka-ca, and the names in the certificate",
    );

    let user = [
        "--alter",
        "--entity-type",
        "users",
        "--entity-name",
        "scan",
        "--add-config",
    ];
    let password = ["SCRAM-SHA-512=[password=next-s3cret]"];
    kafka
        .0
        .peer
        .tool("configs", &[&user[..], &password].concat())
        .unwrap();
    kafka.0.peer.stop().unwrap();
    secured.write("ca.pem", &fs::read(secured.cert("other-ca.pem")).unwrap());
    kafka.0.peer.restart().unwrap();
    server.wait_for_log("not signed by a known authority");
    secured.write("ca.pem", &fs::read(secured.cert("ca.pem")).unwrap());
    server.wait_for_log("wrong user name or password: see -kafka-user and -kafka-password-file");
    secured.write("password", b"next-s3cret");
    scan(1);
    assert!(!server.log().contains("s3cret"));
}
