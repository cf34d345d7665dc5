//! What anyone who can write to Kafka can make a server do: what it excludes by default, and how much of it a task may use.

use crate::support::{Fleet, SOON, addresses, count_probes, probes_counted, shared_kafka};
use crate::{Needs, Test};
use rustix::process::Signal;
use scan::model::State;
use serde_json::{Value, json};

pub const TESTS: &[Test] = &[
    (
        "special_networks_are_not_scanned_and_a_server_without_allow_warns",
        Needs::Lab,
        special_networks,
    ),
    (
        "kafka_and_redis_are_not_scanned_unless_allow_names_them",
        Needs::KafkaAndRedis,
        kafka_and_redis,
    ),
    (
        "a_server_says_at_its_start_what_it_will_do",
        Needs::KafkaAndRedis,
        said_at_start,
    ),
    (
        "a_task_that_runs_for_too_long_fails_and_keeps_its_findings",
        Needs::KafkaAndRedis,
        out_of_time,
    ),
    (
        "the_time_of_a_task_counts_on_all_servers_together",
        Needs::KafkaAndRedis,
        time_on_two_servers,
    ),
    (
        "a_task_that_would_take_too_long_is_not_begun_and_blocks_no_other",
        Needs::KafkaAndRedis,
        too_long,
    ),
    (
        "wait_attempts_and_priority_of_a_record_are_lowered",
        Needs::KafkaAndRedis,
        lowered,
    ),
];

/// The last record of the task on `scan-status`.
fn last_record(fleet: &Fleet, id: &str) -> Value {
    fleet.status_records(id).pop().unwrap()
}

fn record(id: &str, ip_range: &str, more: &Value) -> String {
    let mut record = json!({"task_id": id, "ip_range": ip_range, "ports": "443", "band_width": "1000", "wait_s": 1});
    for (name, value) in more.as_object().unwrap() {
        record[name] = value.clone();
    }
    record.to_string()
}

fn special_networks() {
    let fleet = Fleet::new("special");
    let server = fleet.ready_scand("a", &[]);
    let warning = format!(
        "no -allow: anyone who can write to the Kafka topic {} can make this server scan any address that is not excluded",
        fleet.topic("tasks")
    );
    assert_eq!(
        server.log().matches(&warning).count(),
        1,
        "{}",
        server.log()
    );
    let (network, special) = (fleet.network(0), "169.254.7.0/30");
    count_probes(special);
    count_probes(&network);
    fleet.push_raw(&[record("wide", &format!("{special},{network}"), &json!({}))]);
    for (n, all_special) in [
        "127.0.0.0/8",
        "127.0.0.1",
        "0.0.0.0/8",
        "224.0.0.1,240.0.0.0/4",
        "::1,fe80::1,ff02::1",
        "::ffff:127.0.0.1",
    ]
    .iter()
    .enumerate()
    {
        let id = format!("special-{n}");
        fleet.push_raw(&[record(&id, all_special, &json!({}))]);
        server.wait_for_log(&format!(
            "task {id}: refused by every server of the group; it will be rejected after 60 s unless one can run it; this server's reason: all of "
        ));
    }
    fleet.wait_refused_by_all("special-0");
    let rejected = fleet.wait_ended("special-0", SOON);
    assert_eq!(rejected.status, State::Rejected);
    let error = rejected.error.unwrap();
    assert!(
        error.contains("all of \"127.0.0.0/8\" is excluded by default"),
        "{error}"
    );
    let task = fleet.wait_ended("wide", SOON);
    assert_eq!((task.status, task.found), (State::Completed, 256));
    assert_eq!(fleet.findings("wide"), addresses(&network, 443));
    assert_eq!(last_record(&fleet, "wide")["server_exclude"], special);
    assert_eq!(probes_counted(special), 0);
    // More if this machine is busy and the scan was continued at its checkpoint.
    assert!(probes_counted(&network) >= 256);
}

fn kafka_and_redis() {
    let fleet = Fleet::new("peers").with_standin(&json!({}));
    // Loopback is named, but neither Kafka nor Redis, which are on it.
    let mut server = fleet.ready_scand("a", &["-allow", "127.0.0.0/8"]);
    server.wait_for_log(
        "Kafka and Redis, not scanned unless an entry of -allow names them: 127.0.0.1 (Kafka ",
    );
    server.wait_for_log("-allow names 127.0.0.0/8, which would be excluded by default");
    assert!(!server.log().contains("no -allow"));
    fleet.push_raw(&[
        record("wide", "127.0.0.0/30", &json!({})),
        record("kafka", "127.0.0.1", &json!({})),
    ]);
    server.wait_for_log(
        "task kafka: refused by every server of the group; it will be rejected after 60 s unless one can run it; this server's reason: all of \"127.0.0.1\" is excluded by default",
    );
    assert_eq!(fleet.wait_ended("wide", SOON).status, State::Completed);
    let found = fleet.findings("wide");
    assert_eq!(found.len(), 3, "{found:?}");
    assert!(!found.contains(&("127.0.0.1".to_owned(), 443)));
    assert_eq!(last_record(&fleet, "wide")["server_exclude"], "127.0.0.1");
    // A reload looks them up again.
    server.signal(Signal::HUP);
    server.wait_for_log("SIGHUP: the addresses in the files have not changed");
    fleet.push_raw(&[record("again", "127.0.0.1,127.0.0.2", &json!({}))]);
    assert_eq!(fleet.wait_ended("again", SOON).status, State::Completed);
    assert_eq!(last_record(&fleet, "again")["server_exclude"], "127.0.0.1");
    server.signal(Signal::TERM);
    assert!(server.wait(SOON).success());
    let _server = fleet.ready_scand("b", &["-allow", "127.0.0.0/8,127.0.0.1"]);
    assert_eq!(fleet.wait_ended("kafka", SOON).status, State::Completed);
}

fn said_at_start() {
    let fleet = Fleet::new("said").with_standin(&json!({}));
    let words = [
        "-max-rate",
        "10k",
        "-allow",
        "10.0.0.0/8",
        "-exclude",
        "10.1.2.3",
    ];
    let server = fleet.ready_scand("a", &words);
    for line in [
        "sends at most 10000 packets per second, all scans together (-max-rate)",
        "a task gets at most 604800 s in all (-max-task-time), a wait of 60 s (-max-wait), 10 attempts (-max-attempts) and priority 9 (-max-priority)",
        "scans only 10.0.0.0/8",
        "never scans 10.1.2.3",
        "does not scan, unless an entry of -allow names them: 0.0.0.0/8 (this network), 127.0.0.0/8 (loopback), 169.254.0.0/16 (link-local)",
    ] {
        assert_eq!(server.log().matches(line).count(), 1, "{}", server.log());
    }
    assert!(!server.log().contains("no -allow"), "{}", server.log());
}

/// A stand-in that is ten times slower than its rate: it would take 26 s instead of 2.6.
fn slow(name: &str) -> Fleet {
    Fleet::new(name).with_standin(&json!({"rate_factor": 0.1}))
}

fn out_of_time() {
    let fleet = slow("out-of-time");
    let server = fleet.ready_scand("a", &["-max-task-time", "4"]);
    let id = fleet.push_network(&fleet.network(0), 100, &["-priority", "9"]);
    let ended = fleet.wait_ended(&id, SOON);
    assert_eq!(
        (ended.status, ended.attempt),
        (State::Failed, 1),
        "not tried again"
    );
    let error = ended.error.unwrap();
    assert!(
        error.contains("in all, longer than -max-task-time allows (4 s)"),
        "{error}"
    );
    let found = fleet.findings(&id);
    assert!(!found.is_empty() && found.len() < 256, "{}", found.len());
    let last = last_record(&fleet, &id);
    assert_eq!(last["found"].as_u64(), Some(found.len() as u64));
    assert!(last["ran_ms"].as_u64().unwrap() >= 4000, "{last}");
    assert_eq!(server.log().matches("failed, the last one").count(), 1);
    fleet.wait_committed(shared_kafka());
    // A retry goes on where it ended, with a new limit.
    fleet.push(&["retry", &id]);
    let again = fleet.wait_ended(&id, SOON);
    assert_eq!((again.status, again.retry), (State::Failed, 1));
    assert!(again.progress > ended.progress, "{again:?}");
}

fn time_on_two_servers() {
    let mut fleet = slow("time-on-two");
    let _redis = fleet.start_redis(&[]);
    let mut a = fleet.ready_scand("a", &["-max-task-time", "6"]);
    let id = fleet.push_network(&fleet.network(0), 100, &[]);
    // About 3 s.
    fleet.wait_progress(&id, 12.0);
    a.signal(Signal::TERM);
    assert!(a.wait(SOON).success());
    let ran_ms: u64 = fleet.task_field(&id, "ran_ms").unwrap().parse().unwrap();
    assert!((1000..6000).contains(&ran_ms), "{ran_ms}");
    // Redis loses its data: it is known from Kafka.
    fleet.flush_redis();
    let _b = fleet.ready_scand("b", &["-max-task-time", "6"]);
    let ended = fleet.wait_ended(&id, SOON);
    assert_eq!(ended.status, State::Failed);
    let all = last_record(&fleet, &id)["ran_ms"].as_u64().unwrap();
    assert!((6000..9000).contains(&all), "{all}");
    assert!(ended.finished_ms.unwrap() - ended.started_ms.unwrap() < 6000);
}

fn too_long() {
    let fleet = Fleet::new("too-long").with_standin(&json!({}));
    let server = fleet.ready_scand("a", &["-slots", "1"]);
    let hostile = record(
        "hostile",
        "10.0.0.0/8",
        &json!({"band_width": "1", "priority": 9, "wait_s": 600, "attempts": 100}),
    );
    fleet.push_raw(&[hostile]);
    server.wait_for_log(
        "task hostile: refused by every server of the group; it will be rejected after 60 s unless one can run it; this server's reason: \
         it would take 194.2 d at 1 packet per second, longer than -max-task-time allows (7.0 d)",
    );
    let id = fleet.push_network(&fleet.network(0), 2000, &["-priority", "0"]);
    assert_eq!(fleet.wait_ended(&id, SOON).status, State::Completed);
    fleet.wait_refused_by_all("hostile");
    let rejected = fleet.wait_ended("hostile", SOON);
    assert_eq!(rejected.status, State::Rejected);
    assert_eq!(fleet.standin_starts(), 1);
    fleet.wait_committed(shared_kafka());
}

fn lowered() {
    let fleet = Fleet::new("lowered");
    let (waits, fails) = (fleet.network(0), fleet.network(1));
    let fleet = fleet.with_standin(&json!({"only_range": fails, "crash_after_s": 0.1}));
    let server = fleet.ready_scand(
        "a",
        &["-max-wait", "1", "-max-attempts", "2", "-max-priority", "3"],
    );
    let most = json!({"wait_s": 600, "attempts": 100, "priority": 9});
    fleet.push_raw(&[
        record("waits", &waits, &most),
        record("fails", &fails, &most),
        record(
            "modest",
            &waits,
            &json!({"wait_s": 0, "attempts": 1, "priority": 2}),
        ),
    ]);
    let waited = fleet.wait_ended("waits", SOON);
    assert_eq!((waited.status, waited.priority), (State::Completed, 3));
    server.wait_for_log(
        "task waits: wait_s 600 lowered to 1 (-max-wait), attempts 100 lowered to 2 (-max-attempts)",
    );
    assert!(!server.log().contains("--wait 600"));
    let failed = fleet.wait_ended("fails", SOON);
    assert_eq!((failed.status, failed.attempt), (State::Failed, 2));
    let modest = fleet.wait_ended("modest", SOON);
    assert_eq!((modest.status, modest.priority), (State::Completed, 2));
    assert!(!server.log().contains("task modest: wait_s"));
}
