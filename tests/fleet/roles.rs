//! The users of docs/security.md: each may do its work, and nothing else. The rights are read from the page.

use crate::check::check;
use crate::support::{
    FindingsDb, Fleet, OwnPeer, SOON, Scand, SecuredKafka, documented_commands, documented_users,
    secured_kafka, shown, try_send, wait_for, wait_until, words_of,
};
use crate::{Needs, Test};
use scan::model::State;
use serde_json::json;
use std::cell::RefCell;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::thread;
use std::time::{Duration, Instant};

pub const TESTS: &[Test] = &[(
    "each_documented_user_may_do_its_work_and_no_more",
    Needs::KafkaAndRedis,
    roles,
)];

/// A refusal has to be shown within this time.
const REFUSED_WITHIN: Duration = Duration::from_secs(10);

/// Servers call Redis every second. After this time without a call the next one, an order, finds a gap.
const WITHOUT_SERVERS: Duration = Duration::from_secs(3);

/// A fleet on the secured Kafka and a Redis of its own, with the documented users.
struct Roles {
    fleet: Fleet,
    kafka: &'static SecuredKafka,
    _redis: OwnPeer,
    /// What is not as it should be: all of it is shown at the end.
    problems: RefCell<Vec<String>>,
}

impl Roles {
    fn start() -> Roles {
        let mut fleet = Fleet::new("roles").with_standin(&json!({}));
        let redis = fleet.start_redis(&[]);
        let kafka = secured_kafka();
        fleet.kafka = kafka.peer.address();
        fleet.lease_s = 15;
        for kind in ["tasks", "results", "status"] {
            let words = ["--create", "--topic", &fleet.topic(kind)];
            kafka.peer.tool("topic", &words).unwrap();
        }
        let mut commands = 0;
        for line in documented_commands("kafka-acls.sh ") {
            let at = line.find("--add ").unwrap();
            let words: Vec<String> = line[at..]
                .split(' ')
                .map(|word| match word.strip_prefix("scan-") {
                    Some(kind @ ("tasks" | "results" | "status")) => fleet.topic(kind),
                    _ if word == "scanners" => fleet.group.clone(),
                    _ => word.to_owned(),
                })
                .collect();
            kafka.acls(&words.iter().map(String::as_str).collect::<Vec<_>>());
            commands += 1;
        }
        assert!(commands >= 5, "only {commands} commands");
        let users = documented_users(&fleet.group);
        assert_eq!(users.len(), 4);
        for words in users {
            redis::cmd("ACL")
                .arg("SETUSER")
                .arg(words)
                .exec(&mut fleet.redis_connection())
                .unwrap();
        }
        Roles {
            fleet,
            kafka,
            _redis: redis,
            problems: RefCell::default(),
        }
    }

    /// The fleet with the connections of a user.
    fn user(&self, name: &str) -> Fleet {
        self.with(name, name)
    }

    /// The fleet with the connections of these users of Kafka and Redis.
    fn with(&self, kafka_user: &str, redis_user: &str) -> Fleet {
        let file = self.fleet.folder.join(format!("{kafka_user}.password"));
        fs::write(&file, format!("{kafka_user}-s3cret\n")).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
        let ca = self.kafka.certs.join("ca.pem");
        let mut fleet = self.fleet.clone_for_thread();
        fleet.kafka_flags = words_of(&[
            ("-kafka", format!("localhost:{}", self.kafka.sasl_ssl)),
            ("-kafka-ca", ca.to_str().unwrap().to_owned()),
            ("-kafka-sasl", "SCRAM-SHA-512".to_owned()),
            ("-kafka-user", kafka_user.to_owned()),
            ("-kafka-password-file", file.to_str().unwrap().to_owned()),
        ]);
        fleet.redis_flags = words_of(&[("-redis", self.redis_url(redis_user))]);
        fleet
    }

    fn problem(&self, what: String) {
        eprintln!("{what}");
        self.problems.borrow_mut().push(what);
    }

    fn redis_url(&self, user: &str) -> String {
        let address = self.fleet.redis.strip_prefix("redis://").unwrap();
        format!("redis://{user}:PASSWORD@{address}")
    }

    /// Requires that a command of scanpush succeeds. Returns what it prints.
    fn may(&self, user: &str, words: &[&str]) -> String {
        let output = self.user(user).scanpush(words);
        let text = shown(&output);
        if !output.status.success() {
            let what = format!("{user} may not {words:?}: {text}");
            self.problem(what);
        }
        text
    }

    /// Requires that a command of scanpush fails soon, with one line that has `cause`.
    fn may_not(&self, user: &str, words: &[&str], cause: &str) {
        let began = Instant::now();
        let output = self.user(user).scanpush(words);
        let (took, text) = (began.elapsed(), shown(&output));
        println!("{user} {}: {took:.1?} {}", words[0], text.trim_end());
        // A store logs the cause too, before it gives up; a push lists the tasks that it did not push.
        let first = text.lines().next().unwrap_or_default();
        let is_clear = output.status.code() == Some(1)
            && text.lines().count() <= 4
            && first.contains(cause)
            && first.contains("docs/security.md");
        if !is_clear || took > REFUSED_WITHIN {
            let what = format!("{user} {words:?} after {took:?}, not at once {cause:?}: {text}");
            self.problem(what);
        }
    }

    /// Requires that Redis refuses a command to a user.
    fn redis_refuses(&self, user: &str, command: &str) {
        let client = redis::Client::open(self.redis_url(user)).unwrap();
        let mut connection = client.get_connection().unwrap();
        let mut words = command.split(' ');
        let mut command = redis::cmd(words.next().unwrap());
        words.for_each(|word| {
            command.arg(word);
        });
        let answer = command.exec(&mut connection);
        let is_refused = matches!(&answer, Err(error) if error.code() == Some("NOPERM"));
        if !is_refused {
            let what = format!("{user} is not refused: {answer:?}");
            self.problem(what);
        }
    }
}

const NO_TOPIC: &str = "this user has no right on the topic";

fn roles() {
    let roles = Roles::start();
    let fleet = &roles.fleet;
    let (results, status) = (fleet.topic("results"), fleet.topic("status"));
    let server = roles.user("scan-server").ready_scand("a", &["-slots", "1"]);
    let (_, checked) = check(&roles.user("scan-server"), &[]);
    for line in [
        "ok    kafka ",
        "ok    topics ",
        "ok    group ",
        "ok    redis ",
    ] {
        assert!(checked.contains(line), "{checked}");
    }

    // A pusher pushes, and sees nothing.
    let pusher = roles.user("scan-push");
    let first = pusher.push_network(&fleet.network(0), 10_000, &[]);
    assert_eq!(fleet.wait_ended(&first, SOON).status, State::Completed);
    let findings = ["results", &first, "-results-topic", &results];
    let db = FindingsDb::file(fleet, "pusher").flags();
    let db: Vec<&str> = db.iter().map(String::as_str).collect();
    let topics = ["-results-topic", &results, "-status-topic", &status];
    let store = [&["store", "-once"], &db[..], &topics].concat();
    roles.may_not("scan-push", &findings, NO_TOPIC);
    roles.may_not("scan-push", &store, NO_TOPIC);
    let output = pusher.scanpush(&["cancel", &first]);
    assert!(
        shown(&output).contains("refuses the user name or password"),
        "{}",
        shown(&output)
    );

    // A reader sees everything, and changes nothing.
    for words in [
        &["status", &first, "-status-topic", &status][..],
        &["list"],
        &["servers"],
        &["watch", &first],
        &["status"],
    ] {
        roles.may("scan-read", words);
    }
    assert!(roles.may("scan-read", &findings).lines().count() >= 256);
    let reader = roles.user("scan-read");
    reader.stored_once(&FindingsDb::file(fleet, "reader"), &[]);
    roles.may_not("scan-read", &["-ip", "172.16.0.1", "-ports", "1"], NO_TOPIC);
    roles.may_not("scan-read", &["cancel", &first], "no permissions");
    let (_, checked) = check(&reader, &[]);
    for name in ["group", "redis"] {
        let refused =
            |line: &str| line.starts_with("FAIL ") && line.contains(name) && line.contains("no ");
        assert!(checked.lines().any(refused), "{name}: {checked}");
    }

    // A server cannot push, and cannot read findings.
    roles.may_not(
        "scan-server",
        &["-ip", "172.16.0.1", "-ports", "1"],
        NO_TOPIC,
    );
    roles.may_not("scan-server", &findings, NO_TOPIC);

    // An operator gives orders.
    let running = pusher.push_network(&fleet.network(1), 2, &[]);
    fleet.wait_progress(&running, 1.0);
    let queued = pusher.push_network(&fleet.network(2), 10_000, &[]);
    wait_until("it to be queued", SOON, || fleet.task(&queued).is_some());
    for user in ["scan-read", "scan-page"] {
        for order in ["cancel", "pause", "resume"] {
            roles.may_not(user, &[order, &queued], "no permissions");
        }
    }
    for order in ["pause", "resume", "cancel"] {
        roles.may("scan-operator", &[order, &queued]);
    }
    roles.may_not("scan-read", &["retry", &queued], NO_TOPIC);
    roles.may("scan-operator", &["retry", &queued]);
    roles.may_not("scan-operator", &findings, NO_TOPIC);

    pages(&roles, &queued);
    roles.may("scan-operator", &["cancel", &running]);
    assert_eq!(fleet.wait_ended(&running, SOON).status, State::Cancelled);
    assert_eq!(fleet.wait_ended(&queued, SOON).status, State::Completed);

    // Other keys and other commands.
    let (task, cursor) = (fleet.key(&format!("task:{first}")), fleet.key("cursor"));
    for user in ["scan-server", "scan-read", "scan-page", "scan-operator"] {
        for command in [
            "FLUSHALL",
            "FLUSHDB",
            "KEYS *",
            "CONFIG GET *",
            "ACL LIST",
            "MONITOR",
        ] {
            roles.redis_refuses(user, command);
        }
        roles.redis_refuses(user, "HGETALL scan:{others}:task:a");
        roles.redis_refuses(user, "EXISTS other");
        if user != "scan-server" {
            roles.redis_refuses(user, &format!("HSET {cursor} 0 999"));
            roles.redis_refuses(user, &format!("DEL {task}"));
        }
    }
    for user in ["scan-read", "scan-page"] {
        roles.redis_refuses(user, &format!("HSET {task} status queued"));
    }
    fleet.wait_committed(&roles.kafka.peer);
    order_without_servers(&roles, server);
    let problems = roles.problems.borrow();
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}

/// A page with `-read-only` shows the claim table. Its user has no right to change anything, whatever the page allows; with the operator's rights
/// a page changes tasks.
fn pages(roles: &Roles, queued: &str) {
    let db = FindingsDb::file(&roles.fleet, "page");
    let page = roles
        .user("scan-page")
        .start_serve("page", &db, &["-read-only"]);
    let shows_queue = |page: &crate::support::Serve| {
        wait_for("the page to show the queue", SOON, || {
            let queue = page.get("/api/v1/queue");
            (queue.status == 200 && queue.json()["running"] == 1).then_some(())
        });
    };
    shows_queue(&page);
    let post = |page: &crate::support::Serve, path: &str, body: &str| {
        let headers = [("content-type", "application/json")];
        try_send("POST", &page.url(path), &headers, body).unwrap()
    };
    let cancel = format!("/api/v1/tasks/{queued}/cancel");
    assert_eq!(post(&page, &cancel, "").status, 403);
    drop(page);

    let page = roles.user("scan-page").start_serve("no-rights", &db, &[]);
    shows_queue(&page);
    let refused = post(&page, &cancel, "");
    assert_eq!(refused.status, 503, "{}", refused.text);
    assert!(
        refused.text.contains("docs/security.md"),
        "{}",
        refused.text
    );
    drop(page);

    let page = roles
        .with("scan-page", "scan-operator")
        .start_serve("operator", &db, &[]);
    shows_queue(&page);
    let path = format!("/api/v1/tasks/{queued}/priority");
    let changed = post(&page, &path, &json!({"priority": 9}).to_string());
    assert_eq!(changed.status, 200, "{}", changed.text);
    for order in ["pause", "resume"] {
        let answer = post(&page, &format!("/api/v1/tasks/{queued}/{order}"), "");
        assert!([200, 202].contains(&answer.status), "{}", answer.text);
    }
}

/// An operator's order works too if no server has called for a while.
fn order_without_servers(roles: &Roles, mut server: Scand) {
    let fleet = &roles.fleet;
    let pusher = roles.user("scan-push");
    let running = pusher.push_network(&fleet.network(3), 2, &[]);
    fleet.wait_progress(&running, 1.0);
    let queued = pusher.push_network(&fleet.network(4), 10_000, &[]);
    wait_until("it to be queued", SOON, || fleet.task(&queued).is_some());
    server.signal(rustix::process::Signal::TERM);
    assert_eq!(server.wait(SOON).code(), Some(0));
    thread::sleep(WITHOUT_SERVERS);
    roles.may("scan-operator", &["pause", &running]);
    roles.may("scan-operator", &["cancel", &queued]);
}
