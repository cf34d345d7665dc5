//! Server crashes and shutdowns with real masscan in the lab, and restarts of Kafka and Redis.
//!
//! The tests of each fault that must not lose anything:
//!
//! - **A server dies**: `a_dead_servers_task_runs_elsewhere_within_a_lease`, `a_lost_server_costs_no_attempt`,
//!   `a_failure_after_a_lost_server_counts_as_the_first`, `masscans_error_message_becomes_the_tasks_error`.
//! - **A server freezes**: `a_frozen_server_writes_nothing_after_it_resumes`, `leases_are_renewed_while_kafka_is_frozen`.
//! - **A task times out**: `a_task_that_times_out_moves_to_another_server_and_then_fails`.
//! - **SIGTERM**: `sigterm_hands_over_a_running_scan`, `a_second_sigterm_ends_the_server_at_once`.
//! - **Priorities and starvation**: `higher_priority_runs_first_and_equal_priorities_run_in_order`,
//!   `a_long_task_blocks_no_other_task_and_holds_back_the_committed_offset`.
//! - **Redis**: all of `redis_faults.rs`, `a_flushed_redis_is_rebuilt_from_kafka`.
//! - **Kafka**: all of `kafka_faults.rs`, `a_scan_survives_a_restart_of_kafka_and_redis`.
//! - **Records**: `a_poison_task_fails_and_blocks_no_other_task`, `an_id_pushed_again_changes_nothing`,
//!   `bad_records_are_rejected_and_block_no_others`.
//! - **Group offsets**: `a_long_task_blocks_no_other_task_and_holds_back_the_committed_offset`; with kafka-consumer-groups in
//!   `a_flushed_redis_is_rebuilt_from_kafka`; `every_partition_is_committed_again_at_least_hourly` in src/scand/finalize/commit.rs.
//! - **All faults together**: `nothing_is_lost_under_random_faults`.
//!
//! The tests of each invariant in docs/architecture.md (those of the claim table are in `table.rs`):
//!
//! 1. One accepted end: the checker, in every test that calls `Proof::check`; `every_rule_of_the_checker_can_fail`.
//! 2. The committed offset is at most the lowest unfinished one: `the_committed_offset_never_passes_an_unfinished_task`,
//!    `a_missing_key_never_means_done`.
//! 3. Compare-and-set, lost ranges: `the_cursor_moves_only_by_compare_and_set`,
//!    `records_removed_before_they_were_ingested_are_reported_and_counted`.
//! 4. Fences: `a_stale_fence_changes_nothing`.
//! 5. Exactly one place: `random_operations_keep_the_table_consistent`.
//! 6. A server stops trusting a lease before it expires: `a_redis_outage_longer_than_a_lease_suspends_the_scan`,
//!    `a_lease_is_judged_by_the_clock_of_redis`; src/scand/claims/held_claims.rs, src/model/lease.rs.
//! 7. Attempts: `attempts_are_counted_at_the_claim_and_given_back_by_a_drain`.
//! 8. A queued task gets a free slot soon: `a_queued_task_gets_a_free_slot_soon`.
//! 9. Bounds: `a_full_buffer_suspends_the_scan_and_loses_nothing`; docs/limits.md lists them.
//! 10. No text of a task reaches masscan: `bad_records_are_rejected_and_block_no_others`; src/masscan/arguments.rs.
//! 11. Probes as announced: `retries_send_exactly_the_announced_probes`.
//! 12. Scope fails closed: `a_masscan_that_announces_other_targets_is_stopped`,
//!     `findings_outside_the_task_are_dropped_and_counted`.
//! 13. A fault of a server costs no attempt: all of `server_faults.rs`.
//!
//! tests/mutations.sh removes the safeguards one at a time and shows that the tests named there fail.

use crate::support::{Fleet, SOON, addresses, now_ms, shared_kafka, wait_for};
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
    ("sigterm_hands_over_a_running_scan", Needs::Lab, drain),
    (
        "a_server_started_before_kafka_and_redis_waits_and_logs_it",
        Needs::KafkaAndRedis,
        started_first,
    ),
    (
        "a_scan_survives_a_restart_of_kafka_and_redis",
        Needs::KafkaAndRedis,
        restarts,
    ),
    (
        "a_flushed_redis_is_rebuilt_from_kafka",
        Needs::KafkaAndRedis,
        flushed,
    ),
];

fn dead_server() {
    let fleet = Fleet::new("dead");
    let mut servers = [fleet.ready_scand("a", &[]), fleet.ready_scand("b", &[])];
    let network = fleet.network(0);
    let id = fleet.push_network(&network, 80, &[]);
    let running = fleet.wait_progress(&id, 30.0);
    let lost = running.server.unwrap();
    let other = if lost == "a" { "b" } else { "a" };
    servers
        .iter_mut()
        .find(|server| server.name == lost)
        .unwrap()
        .kill();
    let killed_ms = now_ms();
    let continued = wait_for("the other server to run it", SOON, || {
        fleet
            .task(&id)
            .filter(|task| task.server.as_deref() == Some(other))
    });
    let took = continued.started_ms.unwrap().saturating_sub(killed_ms);
    assert!(
        took <= u64::from(fleet.lease_s) * 1000 + 1000,
        "{took} ms; at most one lease and 1 s are allowed"
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
    fleet.wait_progress(&id, 60.0);
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
    let (kafka, redis) = (fleet.start_kafka(&[]), fleet.start_redis(&[]));
    kafka.0.stop().unwrap();
    redis.0.stop().unwrap();
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
    let (kafka, redis) = (fleet.start_kafka(&[]), fleet.start_redis(&[]));
    let server = fleet.ready_scand("a", &[]);
    let id = fleet.push_network(&fleet.network(0), 20, &[]);
    fleet.wait_progress(&id, 5.0);
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
    let _redis = fleet.start_redis(&[]);
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
        fleet.wait_progress(id, 10.0);
    }
    fleet.flush_redis();
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
        "a task that had ended is not run again"
    );
    assert_eq!(
        fleet.standin_starts(),
        4,
        "each ran once: the servers of running tasks kept them"
    );
    fleet.wait_committed(shared_kafka());
    for id in [&ended, &waiting].into_iter().chain(&running) {
        let terminal = fleet
            .status_records(id)
            .iter()
            .filter(|record| record["status"] == "completed")
            .count();
        assert_eq!(terminal, 1, "{id}");
    }
}
