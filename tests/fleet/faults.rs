//! Crashes, freezes, shutdowns, and the other side going away: real masscan in the lab, and restarts of Kafka and Redis.
//!
//! What holds each line of the promise "nothing lost":
//!
//! - **A server dies**: `a_dead_servers_task_runs_elsewhere_within_a_lease`, `a_lost_server_costs_no_attempt`,
//!   `a_failure_after_a_lost_server_is_the_first`, `masscans_own_words_are_the_tasks_error`.
//! - **A server freezes**: `a_frozen_server_writes_nothing_when_it_wakes`, `leases_are_renewed_while_kafka_is_stuck`.
//! - **A task takes too long**: `a_task_that_takes_too_long_moves_on_and_fails_as_timed_out`.
//! - **SIGTERM**: `sigterm_hands_a_scan_over_half_done`, `a_second_signal_ends_at_once`.
//! - **Priorities and starvation**: `higher_priority_goes_first_and_equals_in_order`,
//!   `a_long_task_blocks_no_other_and_holds_the_committed_offset`.
//! - **Redis**: all of `redis_faults.rs`, `an_emptied_redis_is_rebuilt_from_kafka`.
//! - **Kafka**: all of `kafka_faults.rs`, `a_restart_of_kafka_and_redis_is_survived`.
//! - **Records**: `a_poison_task_fails_and_stops_no_other`, `an_id_pushed_again_changes_nothing`,
//!   `bad_records_are_rejected_and_hold_nothing_up`.
//! - **Group offsets**: `a_long_task_blocks_no_other_and_holds_the_committed_offset`; by Kafka's own tool in
//!   `an_emptied_redis_is_rebuilt_from_kafka`; `every_partition_is_committed_again_at_least_hourly` in src/scand/finalize/commit.rs.
//! - **All of them together**: `nothing_is_lost_under_random_faults`.
//!
//! And each invariant of the design (`table.rs` has those of the claim table):
//!
//! 1. One accepted end: the checker, in every test that calls `Proof::hold`; `every_rule_of_the_checker_can_fail`.
//! 2. Committed is at most the lowest unfinished: `the_committed_offset_never_passes_an_unfinished_task`,
//!    `a_missing_key_never_means_done`.
//! 3. Compare-and-set, lost ranges: `the_cursor_moves_only_by_compare_and_set`,
//!    `a_log_cut_below_the_cursor_is_reported_and_counted`.
//! 4. Fences: `a_stale_fence_changes_nothing`.
//! 5. Exactly one place: `random_operations_keep_the_table_whole`.
//! 6. Trust ends before the lease: `redis_away_for_longer_than_a_lease_suspends_the_scan`,
//!    `a_lease_is_judged_by_the_clock_of_redis`; src/scand/claims/held_claims.rs, src/model/lease.rs.
//! 7. Attempts: `attempts_count_at_the_claim_and_a_drain_gives_them_back`.
//! 8. A slot and a task meet: `a_free_slot_and_a_task_meet_soon`.
//! 9. Bounds: `a_full_buffer_suspends_the_scan_and_loses_nothing`; docs/limits.md lists them.
//! 10. No text reaches masscan: `bad_records_are_rejected_and_hold_nothing_up`; src/masscan/arguments.rs.
//!
//! tests/mutations.sh takes the safeguards out, one at a time, and shows that the tests named there fail.

use crate::support::{Fleet, OwnPeer, SOON, addresses, now_ms, shared_kafka, wait_for, wait_until};
use crate::{Needs, Test};
use rustix::process::Signal;
use scan::model::State;
use serde_json::json;
use std::time::Duration;

pub const TESTS: &[Test] = &[
    (
        "a_dead_servers_task_runs_elsewhere_within_a_lease",
        Needs::Lab,
        dead_server,
    ),
    ("sigterm_hands_a_scan_over_half_done", Needs::Lab, drain),
    (
        "a_server_started_before_kafka_and_redis_waits_and_says_so",
        Needs::Servers,
        started_first,
    ),
    (
        "a_restart_of_kafka_and_redis_is_survived",
        Needs::Servers,
        restarts,
    ),
    (
        "an_emptied_redis_is_rebuilt_from_kafka",
        Needs::Servers,
        flushed,
    ),
];

fn dead_server() {
    let fleet = Fleet::new("dead");
    let mut servers = [fleet.ready_scand("a", &[]), fleet.ready_scand("b", &[])];
    let network = fleet.network(0);
    let id = fleet.push_network(&network, 80, &[]);
    let running = wait_for("some progress", SOON, || {
        fleet.task(&id).filter(|task| task.progress > 30.0)
    });
    let lost = running.server.unwrap();
    let other = if lost == "a" { "b" } else { "a" };
    servers
        .iter_mut()
        .find(|server| server.name == lost)
        .unwrap()
        .kill();
    let killed_ms = now_ms();
    let taken = wait_for("the other server to run it", SOON, || {
        fleet
            .task(&id)
            .filter(|task| task.server.as_deref() == Some(other))
    });
    let took = taken.started_ms.unwrap().saturating_sub(killed_ms);
    assert!(
        took <= u64::from(fleet.lease_s) * 1000 + 1000,
        "within one lease + 1 s, not {took} ms"
    );
    let ended = fleet.wait_ended(&id, SOON);
    assert_eq!(ended.status, State::Completed);
    assert_eq!(fleet.findings(&id), addresses(&network, 443));
    fleet.wait_committed(shared_kafka());
}

fn drain() {
    let fleet = Fleet::new("drain");
    let mut first = fleet.ready_scand("a", &[]);
    let network = fleet.network(0);
    let id = fleet.push_network(&network, 60, &[]);
    wait_for("some progress", SOON, || {
        fleet.task(&id).filter(|task| task.progress > 60.0)
    });
    first.signal(Signal::TERM);
    assert_eq!(
        first.wait(Duration::from_secs(10)).code(),
        Some(0),
        "{}",
        first.log()
    );
    let queued = fleet.task(&id).unwrap();
    assert_eq!(
        (queued.status, queued.attempt),
        (State::Queued, 0),
        "the attempt is given back"
    );
    assert!(
        queued.resume_index > 0 && queued.progress > 0.0,
        "{queued:?}"
    );
    let second = fleet.ready_scand("b", &[]);
    let ended = fleet.wait_ended(&id, SOON);
    assert_eq!((ended.status, ended.attempt), (State::Completed, 1));
    assert!(
        second
            .log()
            .contains(&format!("--resume-index {}", queued.resume_index)),
        "{}",
        second.log()
    );
    assert_eq!(fleet.findings(&id), addresses(&network, 443));
}

fn started_first() {
    let mut fleet = Fleet::new("started-first").with_standin(&json!({}));
    let (kafka, redis) = (
        OwnPeer::start("kafka", &fleet, &[]),
        OwnPeer::start("redis", &fleet, &[]),
    );
    kafka.0.stop().unwrap();
    redis.0.stop().unwrap();
    fleet.kafka = kafka.0.address();
    fleet.redis = format!("redis://{}", redis.0.address());
    let server = fleet.scand("a", &[]);
    server.wait_for_log("cannot reach Redis, waiting");
    redis.0.restart().unwrap();
    server.wait_for_log("cannot reach Kafka, waiting");
    kafka.0.restart().unwrap();
    server.wait_for_log("ready: waiting for tasks");
    let id = fleet.push_network(&fleet.network(0), 1000, &[]);
    assert_eq!(fleet.wait_ended(&id, SOON).status, State::Completed);
}

fn restarts() {
    let mut fleet = Fleet::new("restarts").with_standin(&json!({}));
    fleet.lease_s = 15;
    let (kafka, redis) = (
        OwnPeer::start("kafka", &fleet, &[]),
        OwnPeer::start("redis", &fleet, &[]),
    );
    fleet.kafka = kafka.0.address();
    fleet.redis = format!("redis://{}", redis.0.address());
    let server = fleet.ready_scand("a", &[]);
    let id = fleet.push_network(&fleet.network(0), 20, &[]);
    wait_for("some progress", SOON, || {
        fleet.task(&id).filter(|task| task.progress > 5.0)
    });
    redis.0.kill().unwrap();
    kafka.0.kill().unwrap();
    server.wait_for_log("cannot write progress, waiting");
    redis.0.restart().unwrap();
    kafka.0.restart().unwrap();
    let ended = fleet.wait_ended(&id, SOON);
    assert_eq!(
        (ended.status, ended.attempt, ended.found),
        (State::Completed, 1, 256),
        "{}",
        server.log()
    );
    assert_eq!(fleet.findings(&id), addresses(&fleet.network(0), 443));
    let next = fleet.push_network(&fleet.network(1), 1000, &[]);
    assert_eq!(fleet.wait_ended(&next, SOON).status, State::Completed);
    fleet.wait_committed(&kafka.0);
}

fn flushed() {
    let mut fleet = Fleet::new("flushed").with_standin(&json!({}));
    let redis = OwnPeer::start("redis", &fleet, &[]);
    fleet.redis = format!("redis://{}", redis.0.address());
    let _servers = [
        fleet.ready_scand("a", &["-slots", "1"]),
        fleet.ready_scand("b", &["-slots", "1"]),
    ];
    let ended = fleet.push_network(&fleet.network(0), 10_000, &[]);
    fleet.wait_ended(&ended, SOON);
    let running: Vec<String> = (1..3)
        .map(|n| fleet.push_network(&fleet.network(n), 30, &[]))
        .collect();
    let waiting = fleet.push_network(&fleet.network(3), 10_000, &[]);
    for id in &running {
        wait_for("some progress", SOON, || {
            fleet.task(id).filter(|task| task.progress > 10.0)
        });
    }
    let client = redis::Client::open(fleet.redis.as_str()).unwrap();
    redis::cmd("FLUSHALL")
        .exec(&mut client.get_connection().unwrap())
        .unwrap();
    for id in running.iter().chain([&waiting]) {
        let task = fleet.wait_ended(id, SOON);
        assert_eq!(
            (task.status, task.attempt),
            (State::Completed, 1),
            "{task:?}"
        );
    }
    assert!(
        fleet.task(&ended).is_none(),
        "what had ended is not run again"
    );
    let starts = fleet
        .standin_events()
        .iter()
        .filter(|event| event["event"] == "start")
        .count();
    assert_eq!(
        starts, 4,
        "each ran once: the running ones were taken up again by their servers"
    );
    wait_until("the offsets to be committed", SOON, || {
        fleet
            .offsets(shared_kafka())
            .values()
            .all(|(committed, end)| committed == end)
    });
    for id in [&ended, &waiting].into_iter().chain(&running) {
        let terminal = fleet
            .status_records(id)
            .iter()
            .filter(|record| record["status"] == "completed")
            .count();
        assert_eq!(terminal, 1, "{id}");
    }
}
