//! Metrics and health of both programs, read by a real Prometheus. Each alert fires when its trouble is caused.

use crate::support::{
    FindingsDb, Fleet, Prometheus, SOON, Scand, free_port, http_get, is_kafka_4, new_network,
    wait_for, wait_until,
};
use crate::{Needs, Test};
use rustix::process::Signal;
use scan::model::State;
use serde_json::json;
use std::collections::BTreeSet;
use std::io::Write;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

pub const TESTS: &[Test] = &[
    (
        "each_alert_of_scand_fires_when_its_trouble_is_caused",
        Needs::Prometheus,
        alerts,
    ),
    (
        "each_alert_of_scanpush_fires_when_its_trouble_is_caused",
        Needs::Prometheus,
        alerts_of_serve,
    ),
    (
        "promtool_accepts_the_metrics_of_scand_and_the_rules",
        Needs::Prometheus,
        promtool,
    ),
    (
        "metrics_need_the_token_and_an_address_that_is_free",
        Needs::KafkaAndRedis,
        access,
    ),
];

/// What the tests shorten in the rules, besides every `for`.
const SHORTENED: [(&str, &str); 3] = [
    (
        "scand_checkpoint_age_seconds > 900",
        "scand_checkpoint_age_seconds > 8",
    ),
    (
        "scanpush_oldest_queued_seconds > 3600",
        "scanpush_oldest_queued_seconds > 1",
    ),
    (
        "(scanpush_store_lag_records) > 10000",
        "(scanpush_store_lag_records) > 10",
    ),
];
/// Findings in the backlog of a database: enough for several scrapes while it is read.
const BACKLOG_FINDINGS: usize = 300_000;

/// Whether the programs of Prometheus are installed.
pub fn find_prometheus() -> Result<(), String> {
    for program in ["prometheus", "promtool"] {
        let found = Command::new(program)
            .arg("--version")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
        found.map_err(|_| format!("{program} is not installed"))?;
    }
    Ok(())
}

fn folder_of_rules() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/monitoring")
}

/// A ready server with metrics at a free port.
fn server(fleet: &Fleet, name: &str, words: &[&str]) -> (Scand, u16) {
    let port = free_port();
    let address = format!("127.0.0.1:{port}");
    let server = fleet.ready_scand(name, &[&["-http", &address], words].concat());
    (server, port)
}

/// The value of a metric without labels, or with these.
fn metric(port: u16, name: &str) -> f64 {
    let (status, text) = http_get(port, "/metrics", None).unwrap();
    assert_eq!(status, 200, "{text}");
    let value = text
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    value
        .unwrap_or_else(|| panic!("no {name} in {text}"))
        .parse()
        .unwrap()
}

fn run_promtool(words: &[&str], input: &str) {
    let mut promtool = Command::new("promtool")
        .args(words)
        .current_dir(folder_of_rules())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = promtool.stdin.take().unwrap();
    stdin.write_all(input.as_bytes()).unwrap();
    drop(stdin);
    let output = promtool.wait_with_output().unwrap();
    let shown = crate::support::shown(&output);
    assert!(output.status.success(), "promtool {words:?}: {shown}");
    // It only prints what could be better.
    assert!(words[1] != "metrics" || shown.is_empty(), "{shown}");
}

fn promtool() {
    run_promtool(&["check", "rules", "alerts.yml"], "");
    run_promtool(&["check", "config", "prometheus.yml"], "");
    let fleet = Fleet::new("promtool").with_standin(&json!({}));
    let (_server, port) = server(&fleet, "a", &["-slots", "3"]);
    let id = fleet.push_network(&fleet.network(0), 2000, &["-priority", "7"]);
    assert_eq!(fleet.wait_ended(&id, SOON).status, State::Completed);
    wait_until("the end of the task to be counted", SOON, || {
        metric(port, "scand_tasks_ended_total{status=\"completed\"}") == 1.0
    });
    for (name, expected) in [
        ("scand_tasks_claimed_total", 1.0),
        ("scand_probes_sent_total", 256.0),
        ("scand_findings_total{proto=\"tcp\"}", 256.0),
        ("scand_findings_acknowledged_total", 256.0),
        ("scand_findings_buffered_bytes", 0.0),
        ("scand_findings_buffer_limit_bytes", 67_108_864.0),
        ("scand_slots", 3.0),
        ("scand_ready{part=\"kafka\"}", 1.0),
        ("scand_ready{part=\"redis\"}", 1.0),
        ("scand_ready{part=\"masscan\"}", 1.0),
        ("scand_task_queue_seconds_count{priority=\"7\"}", 1.0),
        (
            "scand_attempt_duration_seconds_count{end=\"completed\"}",
            1.0,
        ),
    ] {
        assert_eq!(metric(port, name), expected, "{name}");
    }
    wait_until("the scan to be over", SOON, || {
        metric(port, "scand_scans_running") == 0.0
            && metric(port, "scand_checkpoint_age_seconds") == 0.0
    });
    assert!(metric(port, "scand_lease_renewal_seconds_count") > 0.0);
    let (_, text) = http_get(port, "/metrics", None).unwrap();
    run_promtool(&["check", "metrics"], &text);
    assert!(!text.contains(&id), "no label has the id of a task");
    let ready = "ok    kafka\nok    redis\nok    masscan\n".to_owned();
    assert_eq!(http_get(port, "/readyz", None).unwrap(), (200, ready));
    assert_eq!(http_get(port, "/healthz", None).unwrap().0, 200);
}

fn access() {
    let fleet = Fleet::new("token").with_standin(&json!({}));
    let token = fleet.folder.join("token");
    std::fs::write(&token, "s3cret\n").unwrap();
    let (_server, port) = server(
        &fleet,
        "a",
        &["-metrics-token-file", token.to_str().unwrap()],
    );
    for path in ["/metrics", "/healthz", "/readyz"] {
        assert_eq!(http_get(port, path, None).unwrap().0, 401, "{path}");
        let wrong = Some("s3cre");
        assert_eq!(http_get(port, path, wrong).unwrap().0, 401, "{path}");
        let right = Some("s3cret");
        assert_eq!(http_get(port, path, right).unwrap().0, 200, "{path}");
    }
    let taken = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let mut refused = fleet.scand("b", &["-http", &address]);
    assert_eq!(refused.wait(SOON).code(), Some(1));
    let log = refused.log();
    assert!(
        log.contains(&format!("-http: cannot listen on {address}: ")),
        "{log}"
    );
    let mut open = fleet.scand("c", &["-http", "0.0.0.0:0"]);
    assert_eq!(open.wait(SOON).code(), Some(2));
    assert!(open.log().contains("-metrics-token-file"), "{}", open.log());
}

/// The rules, which fire at once and after a short time only.
fn shortened_rules() -> String {
    let rules = std::fs::read_to_string(folder_of_rules().join("alerts.yml")).unwrap();
    let replaced = SHORTENED.iter().fold(rules, |rules, (long, short)| {
        assert!(rules.contains(long), "{long}");
        rules.replace(long, short)
    });
    replaced
        .lines()
        .filter(|line| !line.trim_start().starts_with("for: "))
        .map(|line| format!("{line}\n"))
        .collect()
}

/// The names of the alerts about metrics of one program.
fn alerts_of(rules: &str, program: &str) -> BTreeSet<String> {
    rules
        .lines()
        .filter_map(|line| line.trim().strip_prefix("- alert: "))
        .filter(|name| name.starts_with(program))
        .map(str::to_owned)
        .collect()
}

/// Notes which alerts have fired.
struct Watch {
    prometheus: Prometheus,
    fired: BTreeSet<String>,
}

impl Watch {
    fn wait(&mut self, alert: &str, port: u16) {
        let expected = (alert.to_owned(), port);
        wait_for(&format!("the alert {alert}"), SOON, || {
            self.prometheus.firing().contains(&expected).then_some(())
        });
        self.fired.insert(expected.0);
    }
}

/// A Kafka and a Redis with a group for each trouble, so that the troubles do not disturb each other.
fn alerts() {
    let mut fleet = Fleet::new("alerts").with_standin(&json!({}));
    fleet.lease_s = 30;
    let kafka = fleet.start_kafka(&[]);
    let redis = fleet.start_redis(&[]);
    let answer = json!({"ip": "172.17.0.1", "timestamp": "1795333296", "port": 443, "proto": "tcp", "rec_type": "status",
        "data": {"status": "open", "reason": "syn-ack", "ttl": 64}});
    let foreign_plan = json!({"extra_stdout": [answer.to_string()]});
    let foreign = fleet.with_group("foreign");
    let foreign = foreign.with_standin_in("foreign", &foreign_plan);
    let failing = fleet.with_group("failing");
    let failing = failing.with_standin_in("failing", &json!({"crash_after_s": 0.3}));
    let missing = Fleet {
        masscan: fleet.folder.join("nowhere"),
        ..fleet.with_group("missing")
    };
    let (full, lost, stuck) = (
        fleet.with_group("full"),
        fleet.with_group("lost"),
        fleet.with_group("stuck"),
    );

    let (plain_server, plain_port) = server(&fleet, "a", &[]);
    let (_foreign_server, foreign_port) = server(&foreign, "foreign", &[]);
    let (_failing_server, failing_port) = server(&failing, "failing", &["-slots", "3"]);
    let (mut missing_server, missing_port) = server(&missing, "missing", &[]);
    let (_full_server, full_port) = server(&full, "full", &["-buffer", "1"]);
    let (mut lost_server, lost_port) = server(&lost, "lost", &[]);
    // The kafka crate's client waits at a damaged record. librdkafka, which is used for Kafka 4, does not check it.
    if !is_kafka_4() {
        stuck.produce("tasks", &["x".repeat(200)]);
        stuck.damage(&kafka.0, "tasks", 0);
    }
    let (_stuck_server, stuck_port) = server(&stuck, "stuck", &[]);
    let ports = [
        stuck_port,
        plain_port,
        foreign_port,
        failing_port,
        missing_port,
        full_port,
        lost_port,
    ];
    let rules = shortened_rules();
    let prometheus = Prometheus::start(
        &fleet.folder.join("prometheus"),
        &rules,
        &[("scand", &ports)],
    );
    let mut watch = Watch {
        prometheus,
        fired: BTreeSet::new(),
    };

    watch.wait("ScandCannotScan", missing_port);
    let mut expected = BTreeSet::from([("ScandCannotScan".to_owned(), missing_port)]);
    if is_kafka_4() {
        watch.fired.insert("ScandIngestionStopped".to_owned());
    } else {
        watch.wait("ScandIngestionStopped", stuck_port);
        expected.insert(("ScandIngestionStopped".to_owned(), stuck_port));
        let (status, text) = http_get(stuck_port, "/readyz", None).unwrap();
        assert_eq!(status, 200, "Kafka is reachable: {text}");
    }
    assert_eq!(watch.prometheus.firing(), expected, "nothing else is wrong");

    let lost_id = lost.push_network(&lost.network(0), 10_000, &[]);
    lost.wait_ended(&lost_id, SOON);
    lost_server.signal(Signal::TERM);
    lost_server.wait(SOON);
    lost.push_raw(&["one".to_owned(), "two".to_owned()]);
    let words = [&lost.topic("tasks"), "0", "3"];
    kafka.0.tool("cut", &words).unwrap();
    let address = format!("127.0.0.1:{lost_port}");
    let _lost_server = lost.ready_scand("lost", &["-http", &address]);

    foreign.push_network(&foreign.network(1), 10_000, &[]);
    for n in 2..5 {
        failing.push_network(&failing.network(n), 100, &["-attempts", "1"]);
    }
    let still = fleet.push_network(&fleet.network(5), 25, &[]);
    fleet.wait_progress(&still, 1.0);
    plain_server.signal(Signal::STOP);
    thread::sleep(Duration::from_secs(4));
    plain_server.signal(Signal::CONT);
    watch.wait("ScandStandstill", plain_port);
    watch.wait("ScandForeignFindings", foreign_port);
    watch.wait("ScandAttemptsFail", failing_port);
    watch.wait("ScandTaskRecordsLost", lost_port);

    let slow = fleet.push_network(&fleet.network(6), 5, &[]);
    let range = new_network(20);
    let words = ["-ip", &range, "-ports", "1-4", "-bandwidth", "2000"];
    let fast = full.push(&words).remove(0);
    fleet.wait_progress(&slow, 0.5);
    full.wait_progress(&fast, 1.0);
    kafka.0.signal(Signal::STOP).unwrap();
    watch.wait("ScandScansSuspended", full_port);
    watch.wait("ScandKafkaUnreachable", plain_port);
    watch.wait("ScandCheckpointOld", plain_port);
    let (status, text) = http_get(plain_port, "/readyz", None).unwrap();
    assert!(
        status == 503 && text.contains("FAIL  kafka: cannot "),
        "{text}"
    );
    kafka.0.signal(Signal::CONT).unwrap();
    wait_until("Kafka to be reachable again", SOON, || {
        http_get(plain_port, "/readyz", None).unwrap().0 == 200
    });

    redis.0.signal(Signal::STOP).unwrap();
    watch.wait("ScandRedisUnreachable", plain_port);
    redis.0.signal(Signal::CONT).unwrap();

    missing_server.kill();
    watch.wait("ScandDown", missing_port);
    assert_eq!(
        watch.fired,
        alerts_of(&rules, "Scand"),
        "every alert is tested"
    );
}

fn alerts_of_serve() {
    let mut fleet = Fleet::new("serve-alerts").with_standin(&json!({}));
    let redis = fleet.start_redis(&[]);
    let rules = shortened_rules();
    // A first server creates the topics, ingests a task with another's scope, and ends.
    let mut first = fleet.ready_scand("first", &["-allow", "192.0.2.0/24"]);
    fleet.push_network(&fleet.network(0), 100, &[]);
    wait_until("the task to be ingested", SOON, || {
        let tasks = fleet.scanpush(&["list", "-json"]);
        !tasks.stdout.is_empty()
    });
    let backlog: Vec<String> = (0..BACKLOG_FINDINGS)
        .map(|n| {
            let ip = format!("10.{}.{}.{}", n >> 16, n >> 8 & 255, n & 255);
            json!({"task_id": "backlog", "ip": ip, "port": 443, "proto": "tcp", "status": "open", "reason": "syn-ack", "ttl": 64,
                "timestamp": 1_795_333_296, "server": "a", "attempt": 1})
            .to_string()
        })
        .collect();
    fleet.produce("results", &backlog);

    let mut serve = fleet.start_serve("serve", &FindingsDb::file(&fleet, "web"), &[]);
    let port: u16 = serve.origin.rsplit(':').next().unwrap().parse().unwrap();
    let prometheus = Prometheus::start(
        &fleet.folder.join("prometheus"),
        &rules,
        &[("scanpush", &[port])],
    );
    let mut watch = Watch {
        prometheus,
        fired: BTreeSet::new(),
    };
    watch.wait("ScanpushStoreBehind", port);
    watch.wait("ScanpushTasksWait", port);
    assert!(
        !watch
            .prometheus
            .firing()
            .contains(&("ScanpushNoServers".to_owned(), port))
    );
    first.signal(Signal::TERM);
    first.wait(SOON);
    watch.wait("ScanpushNoServers", port);
    redis.0.signal(Signal::STOP).unwrap();
    watch.wait("ScanpushNotReady", port);
    redis.0.signal(Signal::CONT).unwrap();
    wait_until("the page to be ready again", SOON, || {
        http_get(port, "/readyz", None).unwrap().0 == 200
    });
    let (status, metrics) = http_get(port, "/metrics", None).unwrap();
    assert_eq!(status, 200);
    run_promtool(&["check", "metrics"], &metrics);
    serve.process.kill();
    watch.wait("ScanpushDown", port);
    assert_eq!(
        watch.fired,
        alerts_of(&rules, "Scanpush"),
        "every alert is tested"
    );
}
