//! Batches that are small on the wire and expand to much more.

use crate::kafka_cluster::memory_mib;
use crate::support::{
    FindingsDb, Fleet, SOON, is_kafka_4, is_secure_run, shared_kafka, wait_until,
};
use crate::{Needs, Test};
use scan::model::State;
use serde_json::json;
use std::time::Instant;

pub const TESTS: &[Test] = &[
    (
        "batches_that_expand_to_400_mb_are_skipped_and_hold_up_nothing",
        Needs::KafkaAndRedis,
        tasks,
    ),
    (
        "many_batches_that_expand_to_30_mb_hold_up_nothing",
        Needs::KafkaAndRedis,
        below_the_limit,
    ),
    (
        "batches_that_expand_to_400_mb_are_skipped_by_readers_of_findings",
        Needs::KafkaAndRedis,
        findings,
    ),
    (
        "a_topic_with_the_documented_settings_refuses_batches_that_expand",
        Needs::KafkaAndRedis,
        refused_by_broker,
    ),
];

/// Memory that scand may have taken after the bombs, in MiB. It takes about 30 before.
const MEMORY_MAX_MIB: u64 = 200;

fn task(fleet: &Fleet, id: &str) -> String {
    json!({"task_id": id, "ip_range": fleet.network(0), "ports": "443", "band_width": "9000", "wait_s": 0}).to_string()
}

/// For each batch its codec, the number of its records, and the bytes of each record. The last two test that many records are skipped at once.
const BOMBS: [(&str, usize, usize); 5] = [
    ("gzip", 100, 1_000_000),
    ("gzip", 400, 1_000_000),
    ("zstd", 400, 1_000_000),
    ("gzip", 400_000, 100),
    ("zstd", 400_000, 100),
];

/// How many batches of one record are written over TLS.
const SMALL_BATCHES: usize = 300;

/// With TLS, or on Kafka 4, `auto` selects librdkafka.
fn clients() -> &'static [&'static str] {
    match is_secure_run() || is_kafka_4() {
        true => &["librdkafka"],
        false => &["auto", "librdkafka"],
    }
}

/// The reason that the log and `results` give.
fn reason() -> &'static str {
    match is_secure_run() {
        true => "compressed with gzip, which is not read over TLS",
        false => "expands to more than 32 MiB",
    }
}

fn tasks() {
    for &client in clients() {
        let fleet = Fleet::new(&format!("bombs-{client}")).with_standin(&json!({}));
        let server = fleet.ready_scand("a", &["-kafka-client", client]);
        fleet.push_raw(&[task(&fleet, "before")]);
        assert_eq!(fleet.wait_ended("before", SOON).status, State::Completed);
        for (number, (codec, records, bytes)) in BOMBS.into_iter().enumerate() {
            fleet.produce_bomb("tasks", codec, records, bytes);
            let id = format!("after-{number}");
            fleet.push_raw(&[task(&fleet, &id)]);
            assert_eq!(fleet.wait_ended(&id, SOON).status, State::Completed);
        }
        if is_secure_run() {
            fleet.produce_small_batches("tasks", "gzip", SMALL_BATCHES);
            fleet.push_raw(&[task(&fleet, "after-all")]);
            assert_eq!(fleet.wait_ended("after-all", SOON).status, State::Completed);
        }
        let log = server.log();
        // Every record of a bomb is counted, and no other.
        let bombs: usize = BOMBS.iter().map(|bomb| bomb.1).sum();
        let small = if is_secure_run() { SMALL_BATCHES } else { 0 };
        assert_eq!(
            records_said_to_be_skipped(&log),
            (bombs + small) as u64,
            "{log}"
        );
        let skipped = format!(
            "records are skipped: partition 0 of {}, offsets 1 to ",
            fleet.topic("tasks")
        );
        assert!(log.contains(&skipped), "{log}");
        assert!(log.contains(reason()), "{log}");
        let most = memory_mib(&server, "VmHWM");
        eprintln!("{client}: {most} MiB");
        assert!(most < MEMORY_MAX_MIB, "{client}: {most} MiB");
        fleet.wait_committed(shared_kafka());
        // Ordinary compressed batches are still read; gzip only without TLS.
        let codecs: &[&str] = match is_secure_run() {
            true => &["snappy", "lz4", "zstd"],
            false => &["gzip", "snappy", "lz4", "zstd"],
        };
        for &codec in codecs {
            fleet.produce_with("tasks", &[task(&fleet, codec)], codec);
            assert_eq!(fleet.wait_ended(codec, SOON).status, State::Completed);
        }
    }
}

/// Each batch is below the limit, but the 20 of one codec expand to 600 MB.
fn below_the_limit() {
    for &client in clients() {
        let fleet = Fleet::new(&format!("bombs-below-{client}")).with_standin(&json!({}));
        let server = fleet.ready_scand("a", &["-kafka-client", client]);
        for codec in ["gzip", "zstd"] {
            assert!(fleet.try_produce_bombs("tasks", codec, 20, (30, 1_000_000)));
            fleet.push_raw(&[task(&fleet, codec)]);
            let since = Instant::now();
            assert_eq!(fleet.wait_ended(codec, SOON).status, State::Completed);
            let most = memory_mib(&server, "VmHWM");
            eprintln!("{client} {codec}: {most} MiB, {:?}", since.elapsed());
            assert!(most < MEMORY_MAX_MIB, "{client} {codec}: {most} MiB");
        }
    }
}

fn findings() {
    let fleet = Fleet::new("bombs-findings").with_standin(&json!({}));
    let _server = fleet.ready_scand("a", &[]);
    fleet.push_raw(&[task(&fleet, "before")]);
    assert_eq!(fleet.wait_ended("before", SOON).status, State::Completed);
    fleet.produce_bomb("results", "gzip", 400, 1_000_000);
    fleet.push_raw(&[task(&fleet, "after")]);
    assert_eq!(fleet.wait_ended("after", SOON).status, State::Completed);
    let topic = fleet.topic("results");
    for &client in clients() {
        let words = [
            "results",
            "after",
            "-json",
            "-results-topic",
            &topic,
            "-kafka-client",
            client,
        ];
        wait_until("all findings", SOON, || {
            let output = fleet.scanpush(&words);
            let text = String::from_utf8_lossy(&output.stderr).into_owned();
            assert!(text.contains(reason()), "{text}");
            output.stdout.iter().filter(|&&byte| byte == b'\n').count() == 256
        });
        let db = FindingsDb::file(&fleet, &format!("{client}.db"));
        let said = fleet.stored_once(&db, &["-kafka-client", client]);
        assert_eq!(records_said_to_be_skipped(&said), lost(&db), "{said}");
        assert!(said.contains(reason()) && lost(&db) > 0, "{said}");
    }
}

/// The settings are those of docs/operations.md.
fn refused_by_broker() {
    let page = include_str!("../../docs/operations.md");
    let settings = page
        .lines()
        .find_map(|line| line.trim().strip_prefix("--add-config "))
        .unwrap();
    let fleet = Fleet::new("bombs-refused").with_standin(&json!({}));
    let topic = fleet.topic("tasks");
    let configs = settings.split(',').flat_map(|config| ["--config", config]);
    let words: Vec<&str> = ["--create", "--topic", &topic]
        .into_iter()
        .chain(configs)
        .collect();
    shared_kafka().tool("topic", &words).unwrap();
    for codec in ["gzip", "lz4", "zstd"] {
        assert!(
            !fleet.try_produce_bombs("tasks", codec, 1, (5, 1_000_000)),
            "{codec}"
        );
    }
    let _server = fleet.ready_scand("a", &[]);
    // Any other batch is stored in a form that every client reads.
    for codec in ["gzip", "snappy", "lz4", "zstd"] {
        fleet.produce_with("tasks", &[task(&fleet, codec)], codec);
        assert_eq!(fleet.wait_ended(codec, SOON).status, State::Completed);
    }
}

/// The records that the lines of a log say were skipped.
fn records_said_to_be_skipped(said: &str) -> u64 {
    let lines = said.lines();
    lines
        .filter_map(|line| {
            let words: Vec<&str> = line.split(' ').collect();
            let at = words
                .iter()
                .position(|word| matches!(*word, "record" | "records"))?;
            let is_sum = words.get(at - 1) == Some(&"more");
            let number = words[at - 1 - usize::from(is_sum)].parse::<u64>().ok()?;
            (line.contains("records are skipped") || line.contains("record is skipped"))
                .then_some(number)
        })
        .sum()
}

/// The records that the database counts as lost.
fn lost(db: &FindingsDb) -> u64 {
    let lines = db.lines("SELECT '' || sum(lost) AS line FROM positions");
    lines.concat().parse().unwrap()
}
