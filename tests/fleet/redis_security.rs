//! Redis over TLS, with client certificates, users and passwords. No secret is shown anywhere.

use crate::check::check;
use crate::support::{Fleet, OwnPeer, SOON, documented_user, free_port, script, shown, words_of};
use crate::{Needs, Test};
use scan::model::State;
use serde_json::json;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

pub const TESTS: &[Test] = &[
    (
        "redis_with_tls_a_client_certificate_and_a_user_whose_secrets_change",
        Needs::KafkaAndRedis,
        secured,
    ),
    (
        "an_error_of_the_connection_to_redis_is_one_line_that_names_the_flag",
        Needs::KafkaAndRedis,
        refused,
    ),
];

const PASSWORD: &str = "first-s3cret";
const NEXT_PASSWORD: &str = "second-s3cret";
/// Time for an error of a connection.
const ERROR_WAIT: Duration = Duration::from_secs(5);

/// A Redis with a port for TLS with client certificates, besides the plaintext one, which is for the test.
struct SecuredRedis {
    fleet: Fleet,
    certs: PathBuf,
    tls_port: u16,
    _redis: OwnPeer,
}

impl SecuredRedis {
    fn start(name: &str) -> SecuredRedis {
        let mut fleet = Fleet::new(name).with_standin(&json!({}));
        fleet.lease_s = 15;
        let certs = fleet.folder.join("certs");
        script("certs.sh", &[certs.to_str().unwrap()]).unwrap();
        let tls_port = free_port();
        let settings = tls_settings(&certs, "server", tls_port);
        let settings: Vec<&str> = settings.iter().map(String::as_str).collect();
        let redis = fleet.start_redis(&settings);
        let secured = SecuredRedis {
            fleet,
            certs,
            tls_port,
            _redis: redis,
        };
        secured.set_user(&[]);
        secured
    }

    /// Gives the user `scan` the documented rights, then applies `more`.
    fn set_user(&self, more: &[&str]) {
        let mut words = documented_user(&self.fleet.group);
        words[2] = format!(">{PASSWORD}");
        words.extend(more.iter().map(|&word| word.to_owned()));
        redis::cmd("ACL")
            .arg("SETUSER")
            .arg(words)
            .exec(&mut self.fleet.redis_connection())
            .unwrap();
    }

    /// A file of certs.sh, or one that the test has written beside them.
    fn file(&self, name: &str) -> String {
        self.certs.join(name).to_str().unwrap().to_owned()
    }

    /// Writes a file that only its owner can read.
    fn write(&self, name: &str, content: &[u8]) -> String {
        let path = self.certs.join(name);
        fs::write(&path, content).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        self.file(name)
    }

    fn copy(&self, from: &str, to: &str) -> String {
        self.write(to, &fs::read(self.certs.join(from)).unwrap())
    }

    /// The flags of a connection that is accepted.
    fn flags(&self) -> Vec<(&'static str, String)> {
        vec![
            ("-redis", format!("rediss://localhost:{}", self.tls_port)),
            ("-redis-ca", self.file("ca.pem")),
            ("-redis-cert", self.copy("client.pem", "mine.pem")),
            ("-redis-key", self.copy("client.key", "mine.key")),
            ("-redis-user", "scan".to_owned()),
            (
                "-redis-password-file",
                self.write("password", format!("{PASSWORD}\n").as_bytes()),
            ),
        ]
    }
}

/// redis-server's settings for TLS with the certificate `name` of certs.sh.
fn tls_settings(certs: &Path, name: &str, port: u16) -> Vec<String> {
    let file = |name: &str| certs.join(name).to_str().unwrap().to_owned();
    let settings = [
        ("--tls-port", port.to_string()),
        ("--tls-cert-file", file(&format!("{name}.pem"))),
        ("--tls-key-file", file(&format!("{name}.key"))),
        ("--tls-ca-cert-file", file("ca.pem")),
    ];
    let words = settings.map(|(setting, value)| [setting.to_owned(), value]);
    words.into_iter().flatten().collect()
}

fn secured() {
    let mut secured = SecuredRedis::start("redis-tls");
    secured.fleet.redis_flags = words_of(&secured.flags());
    let fleet = &secured.fleet;
    let server = fleet.ready_scand("a", &["-v"]);
    let mut said = String::new();
    let mut run = |words: &[&str]| {
        let output = fleet.scanpush(words);
        let text = shown(&output);
        assert!(output.status.success(), "{words:?}: {text}");
        said += &text;
    };
    let scan = |network: u32| {
        let id = fleet.push_network(&fleet.network(network), 10_000, &[]);
        assert_eq!(fleet.wait_ended(&id, SOON).status, State::Completed);
        id
    };
    let first = scan(0);
    for words in [
        &["list"][..],
        &["servers"],
        &["status", &first],
        &["watch", &first],
    ] {
        run(words);
    }

    // Another password: the file is read for the next connection.
    secured.set_user(&["resetpass", &format!(">{NEXT_PASSWORD}")]);
    fleet.redis_command("CLIENT KILL USER scan");
    server.wait_for_log("refuses the user name or password: give it with -redis-password-file");
    secured.write("password", format!("{NEXT_PASSWORD}\n").as_bytes());
    let second = scan(1);
    run(&["status", &second]);

    // Another certificate.
    secured.copy("other-client.pem", "mine.pem");
    secured.copy("other-client.key", "mine.key");
    fleet.redis_command("CLIENT KILL USER scan");
    server.wait_for_log("refuses the client certificate of -redis-cert");
    secured.copy("client.pem", "mine.pem");
    secured.copy("client.key", "mine.key");
    let third = scan(2);
    run(&["status", &third]);

    // A file that others can read.
    let password = secured.certs.join("password");
    fs::set_permissions(&password, fs::Permissions::from_mode(0o644)).unwrap();
    let warning = "every user of this machine can read this file: chmod o-r ";
    let output = fleet.scanpush(&["status"]);
    assert!(shown(&output).contains(warning), "{}", shown(&output));
    assert!(output.status.success());
    let (_, checked) = check(fleet, &[]);
    assert!(
        checked.contains("warn  secrets    -redis-password-file "),
        "{checked}"
    );
    assert!(checked.contains("ok    redis      "), "{checked}");
    assert!(!server.log().contains(warning));
    let other = fleet.ready_scand("b", &["-v"]);
    other.wait_for_log(warning);

    // The system's authorities, and the password in a variable.
    let (mut flags, mut by_default) = (secured.flags(), fleet.clone_for_thread());
    flags.retain(|(flag, _)| !["-redis-ca", "-redis-password-file"].contains(flag));
    by_default.redis_flags = words_of(&flags);
    let variables = [
        ("SSL_CERT_FILE", secured.file("ca.pem")),
        ("SCAN_REDIS_PASSWORD", NEXT_PASSWORD.to_owned()),
    ];
    let variables: Vec<(&str, &str)> = variables
        .iter()
        .map(|(name, value)| (*name, value.as_str()))
        .collect();
    let third_server = by_default.scand_with("c", &["-v"], &variables);
    third_server.wait_for_log("ready: waiting for tasks");

    let command_line = fs::read(format!("/proc/{}/cmdline", server.child.id())).unwrap();
    let command_line = String::from_utf8_lossy(&command_line).into_owned();
    let key = fs::read_to_string(secured.certs.join("client.key")).unwrap();
    let key = key.lines().nth(1).unwrap();
    for text in [
        &server.log(),
        &other.log(),
        &third_server.log(),
        &said,
        &checked,
        &command_line,
    ] {
        for secret in [PASSWORD, NEXT_PASSWORD, key] {
            assert!(!text.contains(secret), "{text}");
        }
    }
}

/// Each case changes flags of a connection that is accepted; an empty value removes a flag.
fn refused() {
    let secured = SecuredRedis::start("redis-refused");
    let plain_port = secured.fleet.redis.rsplit_once(':').unwrap().1.to_owned();
    let wrong_host_port = free_port();
    let settings = tls_settings(&secured.certs, "wrong-host", wrong_host_port);
    let settings: Vec<&str> = settings.iter().map(String::as_str).collect();
    let _wrong_host = secured.fleet.another_redis("wrong-host", &settings);
    let url = |scheme: &str, port: &str| ("-redis", format!("{scheme}://localhost:{port}"));
    let tls_port = secured.tls_port.to_string();
    let no_tls = [
        ("-redis-ca", String::new()),
        ("-redis-cert", String::new()),
        ("-redis-key", String::new()),
    ];
    let encrypted = secured.file("encrypted.key");
    let openssl = Command::new("openssl")
        .args([
            "pkey",
            "-aes256",
            "-passout",
            "pass:x",
            "-in",
            &secured.file("client.key"),
            "-out",
            &encrypted,
        ])
        .status();
    assert!(openssl.unwrap().success());
    let with_no_tls = |changed: (&'static str, String)| [&[changed][..], &no_tls].concat();
    let cases: Vec<(Vec<(&str, String)>, &str)> = vec![
        (
            vec![("-redis-password-file", secured.write("wrong", b"wr0ng"))],
            "refuses the user name or password: give it with -redis-password-file",
        ),
        (
            vec![
                ("-redis-user", String::new()),
                ("-redis-password-file", String::new()),
            ],
            // The default user of this Redis has all rights.
            "",
        ),
        (
            vec![("-redis-ca", secured.file("other-ca.pem"))],
            "not signed by a known authority: give the authority's certificate in -redis-ca",
        ),
        (
            vec![("-redis-ca", String::new())],
            "not signed by a known authority: give the authority's certificate in -redis-ca",
        ),
        (
            vec![url("rediss", &wrong_host_port.to_string())],
            "is for another host: give a host name in -redis that the certificate has",
        ),
        (
            vec![
                ("-redis-cert", String::new()),
                ("-redis-key", String::new()),
            ],
            "requires a client certificate: give -redis-cert and -redis-key",
        ),
        (
            vec![
                ("-redis-cert", secured.file("other-client.pem")),
                ("-redis-key", secured.file("other-client.key")),
            ],
            "refuses the client certificate of -redis-cert",
        ),
        (
            vec![("-redis-key", secured.file("other-client.key"))],
            "the key of -redis-key does not belong to the certificate of -redis-cert",
        ),
        (
            vec![url("rediss", &plain_port)],
            "if the port has no TLS, give redis:// in -redis",
        ),
        (
            with_no_tls(url("redis", &tls_port)),
            "if the port has TLS, give rediss:// in -redis",
        ),
        (
            vec![("-redis-ca", secured.file("client.key"))],
            "-redis-ca: \"",
        ),
        (
            vec![(
                "-redis-ca",
                secured.write(
                    "bad.pem",
                    b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
                ),
            )],
            "bad.pem\" contains a certificate that cannot be parsed",
        ),
        (
            vec![("-redis-key", encrypted)],
            "contains an encrypted key: remove its password",
        ),
        (
            vec![("-redis-key", secured.copy("client.pem", "no.key"))],
            "contains no private key",
        ),
        (
            vec![("-redis-password-file", secured.file("none"))],
            "-redis-password-file: \"",
        ),
        (
            vec![("-redis-password-file", secured.write("empty", b""))],
            "is empty: it should contain the password",
        ),
    ];
    for (changed, words) in cases {
        let mut flags = secured.flags();
        for (flag, value) in changed {
            flags.retain(|(given, _)| *given != flag);
            if !value.is_empty() {
                flags.push((flag, value));
            }
        }
        expect(&secured, &words_of(&flags), words);
    }
    secured.set_user(&["-eval", "-evalsha", "-scan", "-hgetall"]);
    expect(
        &secured,
        &words_of(&secured.flags()),
        "docs/security.md lists the rights that the user of -redis-user needs",
    );
}

/// Requires that `scanpush status` and `scand -check` with these flags print one line with `words`, or that both are content if it is empty.
fn expect(secured: &SecuredRedis, flags: &[String], words: &str) {
    let mut fleet = secured.fleet.clone_for_thread();
    fleet.redis_flags = flags.to_vec();
    let began = Instant::now();
    let output = fleet.scanpush(&["status"]);
    let took = began.elapsed();
    let text = shown(&output);
    assert!(took < ERROR_WAIT, "{took:?}: {text}");
    let began = Instant::now();
    let (_, checked) = check(&fleet, &[]);
    let check_took = began.elapsed();
    let line = checked.lines().find(|line| line.contains("redis  "));
    let line = line.unwrap_or_else(|| panic!("{checked}"));
    println!("{took:.1?} {check_took:.1?} {line}");
    assert!(check_took < ERROR_WAIT, "{check_took:?}: {checked}");
    if words.is_empty() {
        assert!(
            output.status.success() && line.starts_with("ok "),
            "{text}{line}"
        );
        return;
    }
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(
        text.contains(words) && text.lines().count() == 1,
        "{words}: {text}"
    );
    assert!(
        line.starts_with("FAIL ") && line.contains(words),
        "{words}: {line}"
    );
    for shown in [&text, &checked] {
        assert!(
            !shown.contains(PASSWORD) && !shown.contains("wr0ng"),
            "{shown}"
        );
    }
}
