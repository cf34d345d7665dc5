//! Cancel, pause, resume and retry: they stop masscan within 2 seconds, lose nothing, block no other task, and survive the loss of Redis.

use crate::support::{
    Fleet, OwnPeer, SOON, Scand, addresses, masscans, shared_kafka, wait_for, wait_until,
};
use crate::{Needs, Test};
use rustix::process::Signal;
use scan::claim_table::Order;
use scan::model::State;
use serde_json::{Value, json};
use std::process::Output;
use std::time::{Duration, Instant};

/// Maximum time from an order until masscan has ended.
const IN_FORCE_WITHIN: Duration = Duration::from_secs(2);

pub const TESTS: &[Test] = &[
    (
        "a_cancel_ends_masscan_within_2_seconds",
        Needs::Lab,
        cancel_running,
    ),
    (
        "a_resumed_scan_continues_from_its_checkpoint_and_finds_everything",
        Needs::Lab,
        pause_and_resume,
    ),
    (
        "a_cancelled_queued_task_never_runs",
        Needs::KafkaAndRedis,
        cancel_queued,
    ),
    (
        "a_cancel_with_no_server_running_is_carried_out_by_the_next_server",
        Needs::KafkaAndRedis,
        cancel_without_server,
    ),
    (
        "a_cancel_is_carried_out_even_if_its_server_dies",
        Needs::KafkaAndRedis,
        cancel_on_dead_server,
    ),
    (
        "a_paused_task_stays_paused_after_redis_is_rebuilt",
        Needs::KafkaAndRedis,
        paused_and_flushed,
    ),
    (
        "a_resumed_task_stays_resumed_after_redis_is_rebuilt",
        Needs::KafkaAndRedis,
        resumed_and_flushed,
    ),
    (
        "a_failed_task_is_retried_from_its_checkpoint",
        Needs::KafkaAndRedis,
        retry_failed,
    ),
    (
        "a_retried_task_survives_a_redis_flush",
        Needs::KafkaAndRedis,
        retried_and_flushed,
    ),
    (
        "a_retry_that_is_ordered_twice_at_once_gives_one_result",
        Needs::KafkaAndRedis,
        retried_twice,
    ),
    (
        "a_forged_retry_is_rejected_and_the_task_stays_as_it_was",
        Needs::KafkaAndRedis,
        forged_retry,
    ),
    (
        "in_a_rebuild_a_forged_retry_that_is_read_before_the_task_is_rejected",
        Needs::KafkaAndRedis,
        forged_retry_in_a_rebuild,
    ),
    (
        "a_retry_in_another_partition_survives_a_redis_flush",
        Needs::KafkaAndRedis,
        retried_elsewhere_and_flushed,
    ),
    (
        "tasks_that_cannot_be_controlled_are_named_with_exit_code_1",
        Needs::KafkaAndRedis,
        errors,
    ),
    (
        "a_whole_job_is_controlled_at_once",
        Needs::KafkaAndRedis,
        whole_job,
    ),
    (
        "orders_at_random_times_lose_nothing_and_end_nothing_twice",
        Needs::KafkaAndRedis,
        at_random_times,
    ),
];

/// Runs a scanpush command. Returns its exit code, stdout and stderr.
fn run(fleet: &Fleet, words: &[&str]) -> (i32, String, String) {
    let output = fleet.scanpush(words);
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (
        output.status.code().unwrap(),
        text(output.stdout),
        text(output.stderr),
    )
}

/// Runs a scanpush command that must succeed. Returns its stdout.
fn run_ok(fleet: &Fleet, words: &[&str]) -> String {
    let (code, out, err) = run(fleet, words);
    assert_eq!(code, 0, "{words:?}: {err}");
    out
}

/// Gives an order. Returns the time until the masscan processes that scan `network` have ended.
fn time_until_in_force(fleet: &Fleet, order: &str, id: &str, network: &str) -> Duration {
    let pids = masscans(network);
    assert!(!pids.is_empty(), "masscan runs");
    let ordered = Instant::now();
    let answers = fleet
        .claim_table()
        .control(order.parse::<Order>().unwrap(), &[id.parse().unwrap()])
        .unwrap();
    assert_eq!(answers, [scan::claim_table::Steered::Ordered]);
    wait_until("masscan to end", SOON, || {
        pids.iter()
            .all(|pid| rustix::process::test_kill_process(*pid).is_err())
    });
    let took = ordered.elapsed();
    println!("{order}: masscan {pids:?} ended after {took:?}");
    took
}

/// The states of a task on `scan-status`. The record of its ingestion is left out, because it may come after that of the claim.
fn states(fleet: &Fleet, id: &str) -> Vec<String> {
    fleet
        .status_records(id)
        .iter()
        .filter(|record| record["fence"] != 0)
        .map(|record| record["status"].as_str().unwrap().to_owned())
        .collect()
}

fn cancel_running() {
    let fleet = Fleet::new("cancel");
    let _server = fleet.ready_scand("a", &[]);
    let network = fleet.network(0);
    let id = fleet.push_network(&network, 40, &["-wait", "10"]);
    let before = fleet.wait_progress(&id, 20.0);
    let took = time_until_in_force(&fleet, "cancel", &id, &network);
    assert!(took <= IN_FORCE_WITHIN, "{took:?}");
    assert_eq!(
        run_ok(&fleet, &["status", &id]).lines().count(),
        2,
        "it is still shown"
    );
    let task = fleet.wait_ended(&id, SOON);
    assert_eq!(
        (task.status, task.error.as_deref()),
        (State::Cancelled, None)
    );
    assert!(
        task.progress >= before.progress && task.progress < 100.0,
        "{task:?}"
    );
    assert!(task.found > 0 && task.order.is_none());
    assert_eq!(fleet.findings(&id).len() as u64, task.found);
    assert_eq!(states(&fleet, &id), ["running", "cancelled"]);
    fleet.wait_committed(shared_kafka());
    let (code, out, err) = run(&fleet, &["cancel", &id]);
    assert_eq!((code, out.as_str()), (1, ""));
    assert!(err.contains("already ended: cancelled"), "{err}");
    assert!(masscans(&network).is_empty());
}

fn pause_and_resume() {
    let fleet = Fleet::new("pause");
    let server = fleet.ready_scand("a", &[]);
    let network = fleet.network(0);
    let id = fleet.push_network(&network, 60, &[]);
    fleet.wait_progress(&id, 50.0);
    let took = time_until_in_force(&fleet, "pause", &id, &network);
    assert!(took <= IN_FORCE_WITHIN, "{took:?}");
    // Repeating the order waits until it is in force.
    assert_eq!(run_ok(&fleet, &["pause", &id]), format!("{id}  paused\n"));
    let paused = fleet.task(&id).unwrap();
    assert_eq!(
        (paused.status, paused.attempt, paused.error.as_deref()),
        (State::Paused, 0, None),
        "the attempt is given back"
    );
    assert!(
        paused.progress > 50.0 && paused.resume_index > 0,
        "{paused:?}"
    );
    assert_eq!(states(&fleet, &id).last().unwrap(), "paused");
    assert!(masscans(&network).is_empty(), "no server runs it");
    assert_eq!(
        run_ok(&fleet, &["resume", &id[..8]]),
        format!("{id}  queued\n")
    );
    let ended = fleet.wait_ended(&id, SOON);
    assert_eq!((ended.status, ended.attempt), (State::Completed, 1));
    assert!(
        server
            .log()
            .contains(&format!("--resume-index {}", paused.resume_index)),
        "{}",
        server.log()
    );
    assert_eq!(fleet.findings(&id), addresses(&network, 443));
    fleet.wait_committed(shared_kafka());
}

fn cancel_queued() {
    let fleet = Fleet::new("cancel-queued").with_standin(&json!({}));
    let _server = fleet.ready_scand("a", &["-slots", "1"]);
    let running = fleet.push_network(&fleet.network(0), 40, &[]);
    fleet.wait_progress(&running, 1.0);
    let queued = fleet.push_network(&fleet.network(1), 40, &[]);
    wait_until("it to be queued", SOON, || fleet.task(&queued).is_some());
    let ordered = Instant::now();
    assert_eq!(
        run_ok(&fleet, &["cancel", &queued]),
        format!("{queued}  cancelled\n")
    );
    println!("cancel of a queued task took {:?}", ordered.elapsed());
    let task = fleet.task(&queued).unwrap();
    assert_eq!((task.status, task.attempt), (State::Cancelled, 0));
    assert_eq!(states(&fleet, &queued), ["cancelled"]);
    assert_eq!(
        run_ok(&fleet, &["cancel", &running, "-json"]),
        format!("{{\"task_id\":\"{running}\",\"order\":\"cancel\",\"status\":\"cancelled\"}}\n")
    );
    assert_eq!(fleet.standin_starts(), 1);
    fleet.wait_committed(shared_kafka());
}

fn cancel_without_server() {
    let fleet = Fleet::new("cancel-alone").with_standin(&json!({}));
    let mut first = fleet.ready_scand("a", &["-slots", "1"]);
    let blocker = fleet.push_network(&fleet.network(0), 20, &[]);
    fleet.wait_progress(&blocker, 1.0);
    let id = fleet.push_network(&fleet.network(1), 40, &[]);
    wait_until("it to be queued", SOON, || fleet.task(&id).is_some());
    first.signal(Signal::TERM);
    first.wait(SOON);
    let (code, out, err) = run(&fleet, &["cancel", &id]);
    assert_eq!((code, out), (0, format!("{id}  cancelling\n")));
    assert!(err.contains("no server is running"), "{err}");
    assert!(run_ok(&fleet, &["status", &id]).contains("cancelling"));
    let _second = fleet.ready_scand("b", &[]);
    let task = fleet.wait_ended(&id, SOON);
    assert_eq!((task.status, task.attempt), (State::Cancelled, 0));
    run_ok(&fleet, &["cancel", &blocker]);
    fleet.wait_committed(shared_kafka());
}

fn cancel_on_dead_server() {
    let fleet = Fleet::new("cancel-dead").with_standin(&json!({}));
    let mut first = fleet.ready_scand("a", &[]);
    let id = fleet.push_network(&fleet.network(0), 20, &[]);
    fleet.wait_progress(&id, 5.0);
    first.kill();
    let answers = fleet
        .claim_table()
        .control(Order::Cancel, &[id.parse().unwrap()])
        .unwrap();
    assert_eq!(answers, [scan::claim_table::Steered::Ordered]);
    let _second = fleet.ready_scand("b", &[]);
    let task = fleet.wait_ended(&id, SOON);
    assert_eq!(task.status, State::Cancelled, "{task:?}");
    assert_eq!(fleet.standin_starts(), 1, "no server ran it again");
    fleet.wait_committed(shared_kafka());
}

/// A fleet with its own Redis.
fn with_own_redis(name: &str, plan: &Value) -> (Fleet, OwnPeer) {
    let mut fleet = Fleet::new(name).with_standin(plan);
    let redis = fleet.start_redis(&[]);
    (fleet, redis)
}

fn paused_and_flushed() {
    let (fleet, _redis) = with_own_redis("paused", &json!({}));
    let server = fleet.ready_scand("a", &["-slots", "1"]);
    let ran = fleet.push_network(&fleet.network(0), 40, &[]);
    fleet.wait_progress(&ran, 50.0);
    let queued = fleet.push_network(&fleet.network(1), 10_000, &[]);
    wait_until("it to be queued", SOON, || fleet.task(&queued).is_some());
    let out = run_ok(&fleet, &["pause", &queued, &ran]);
    assert_eq!(out, format!("{queued}  paused\n{ran}  paused\n"));
    let before = fleet.task(&ran).unwrap();
    fleet.flush_redis();
    let paused = |id: &str| fleet.task(id).filter(|task| task.status == State::Paused);
    for id in [&ran, &queued] {
        wait_for("it to be paused again", SOON, || paused(id));
        server.wait_for_log(&format!("task {id}: was paused when Redis lost its data"));
    }
    assert_eq!(fleet.task(&ran).unwrap().resume_index, before.resume_index);
    // The server still claims tasks that are not paused.
    let other = fleet.push_network(&fleet.network(2), 10_000, &[]);
    assert_eq!(fleet.wait_ended(&other, SOON).status, State::Completed);
    assert!(paused(&ran).is_some() && paused(&queued).is_some());
    run_ok(&fleet, &["resume", &ran, &queued]);
    for (id, network) in [(&ran, 0), (&queued, 1)] {
        let task = fleet.wait_ended(id, SOON);
        assert_eq!(task.status, State::Completed, "{task:?}");
        assert_eq!(fleet.findings(id), addresses(&fleet.network(network), 443));
    }
    fleet.wait_committed(shared_kafka());
}

fn resumed_and_flushed() {
    let (fleet, _redis) = with_own_redis("resumed", &json!({}));
    let _server = fleet.ready_scand("a", &["-slots", "1"]);
    let blocker = fleet.push_network(&fleet.network(0), 20, &[]);
    fleet.wait_progress(&blocker, 1.0);
    let id = fleet.push_network(&fleet.network(1), 10_000, &[]);
    wait_until("it to be queued", SOON, || fleet.task(&id).is_some());
    run_ok(&fleet, &["pause", &id]);
    run_ok(&fleet, &["resume", &id]);
    wait_until("both changes to be on scan-status", SOON, || {
        states(&fleet, &id) == ["paused", "queued"]
    });
    fleet.flush_redis();
    wait_for("it to be queued again", SOON, || fleet.task(&id));
    assert_eq!(fleet.task(&id).unwrap().status, State::Queued);
    run_ok(&fleet, &["cancel", &blocker]);
    assert_eq!(fleet.wait_ended(&id, SOON).status, State::Completed);
}

fn retry_failed() {
    // The only attempt crashes half-way; later runs do not.
    let plan = json!({"only_first": 1, "crash_after_s": 5.0});
    let fleet = Fleet::new("retry").with_standin(&plan);
    let server = fleet.ready_scand("a", &[]);
    let network = fleet.network(0);
    let id = fleet.push_network(&network, 40, &["-attempts", "1", "-wait", "0"]);
    let failed = fleet.wait_ended(&id, SOON);
    assert_eq!(failed.status, State::Failed);
    assert!(
        failed.resume_index > 0 && failed.progress > 0.0,
        "{failed:?}"
    );
    fleet.wait_committed(shared_kafka());
    let out = run_ok(&fleet, &["retry", &id[..6]]);
    assert!(out.starts_with(&format!("{id}  retry 1 from ")), "{out}");
    let again = fleet.task(&id).unwrap();
    assert!(
        again.progress > 0.0,
        "its progress includes what was scanned before the checkpoint: {again:?}"
    );
    let ended = fleet.wait_ended(&id, SOON);
    assert_eq!(
        (ended.status, ended.attempt, ended.retry),
        (State::Completed, 1, 1),
        "{ended:?}"
    );
    assert!(
        (256..=260).contains(&ended.found),
        "findings of the first run count; a few at the checkpoint count twice: {ended:?}"
    );
    assert!(
        server
            .log()
            .contains(&format!("--resume-index {}", failed.resume_index))
    );
    assert_eq!(fleet.findings(&id), addresses(&network, 443));
    assert_eq!(
        states(&fleet, &id),
        ["running", "failed", "running", "completed"]
    );
    fleet.wait_committed(shared_kafka());
    let (code, out, err) = run(&fleet, &["retry", &id]);
    assert_eq!((code, out.as_str()), (1, ""));
    assert!(err.contains("it is completed: push it again"), "{err}");
}

fn retried_and_flushed() {
    let plan = json!({"only_first": 2, "fail": {"stderr": "FAIL: no", "exit_code": 1}});
    let (fleet, _redis) = with_own_redis("retry-flushed", &plan);
    let _server = fleet.ready_scand("a", &["-slots", "1"]);
    // `held` holds the committed offset back, so that both records of the other task are read again.
    let held = fleet.push_network(&fleet.network(1), 10_000, &["-id", "held"]);
    wait_for("its first attempt to fail", SOON, || {
        fleet.task(&held).filter(|task| task.retry_ms.is_some())
    });
    run_ok(&fleet, &["pause", &held]);
    let id = fleet.push_network(&fleet.network(0), 30, &["-attempts", "1", "-id", "again"]);
    assert_eq!(fleet.wait_ended(&id, SOON).status, State::Failed);
    run_ok(&fleet, &["retry", &id]);
    fleet.wait_progress(&id, 20.0);
    fleet.flush_redis();
    let ended = fleet.wait_ended(&id, SOON);
    assert_eq!(
        (ended.status, ended.retry, ended.attempt),
        (State::Completed, 1, 1),
        "{ended:?}"
    );
    assert_eq!(
        fleet.standin_starts(),
        3,
        "the running scan continued; it was not started again"
    );
    assert_eq!(fleet.findings(&id), addresses(&fleet.network(0), 443));
    // Both records of the task that has ended are recognised as ended.
    fleet.flush_redis();
    wait_for("the held task to be in Redis again", SOON, || {
        fleet.task(&held)
    });
    run_ok(&fleet, &["resume", &held]);
    assert_eq!(fleet.wait_ended(&held, SOON).status, State::Completed);
    assert_eq!(fleet.standin_starts(), 4);
    fleet.wait_committed(shared_kafka());
}

fn retried_twice() {
    let plan = json!({"only_first": 1, "fail": {"stderr": "FAIL: no", "exit_code": 1}});
    let fleet = Fleet::new("retry-twice").with_standin(&plan);
    let _server = fleet.ready_scand("a", &[]);
    let network = fleet.network(0);
    let id = fleet.push_network(&network, 30, &["-attempts", "1"]);
    assert_eq!(fleet.wait_ended(&id, SOON).status, State::Failed);
    let both = [(); 2].map(|()| fleet.start_scanpush(&["retry", &id]));
    let answers = both.map(|child| child.wait_with_output().unwrap());
    let is_accepted = |answer: &Output| answer.status.success();
    assert!(answers.iter().any(is_accepted), "{answers:?}");
    for answer in &answers {
        let (out, err) = (
            String::from_utf8_lossy(&answer.stdout),
            String::from_utf8_lossy(&answer.stderr),
        );
        let is_clear = match is_accepted(answer) {
            true => out.contains("retry 1 from"),
            false => err.contains("it has not ended"),
        };
        assert!(is_clear, "{out}{err}");
    }
    let ended = fleet.wait_ended(&id, SOON);
    assert_eq!((ended.status, ended.retry), (State::Completed, 1));
    assert_eq!(fleet.standin_starts(), 2);
    assert_eq!(fleet.findings(&id), addresses(&network, 443));
}

fn forged_retry() {
    let (fleet, _redis) = with_own_redis("forged-retry", &json!({}));
    let server = fleet.ready_scand("a", &[]);
    // It holds the committed offset back, so that all records are read again after Redis has lost its data.
    fleet.push_network(&fleet.network(1), 10, &["-id", "held"]);
    fleet.wait_progress("held", 1.0);
    run_ok(&fleet, &["pause", "held"]);
    let network = fleet.network(0);
    let id = fleet.push_network(&network, 40, &["-id", "target", "-wait", "0"]);
    fleet.wait_progress(&id, 40.0);
    run_ok(&fleet, &["cancel", &id]);
    let cancelled = fleet.wait_ended(&id, SOON);
    assert_eq!(cancelled.status, State::Cancelled);
    let record = |change: Value| {
        let mut record = json!({"task_id": id, "ip_range": network, "ports": "443", "band_width": "1000", "wait_s": 0, "retry": 1});
        for (name, value) in change.as_object().unwrap() {
            record[name] = value.clone();
        }
        record.to_string()
    };
    let forge = |changes: &[(Value, &str)]| {
        let records: Vec<String> = changes
            .iter()
            .map(|(change, _)| record(change.clone()))
            .collect();
        fleet.push_raw(&records);
        for (_, why) in changes {
            let rejected = wait_for("the record to be rejected", SOON, || {
                let mut all = fleet.records("status").into_iter();
                all.find(|status| {
                    status["error"]
                        .as_str()
                        .is_some_and(|text| text.contains(why))
                })
            });
            assert_eq!(rejected["status"], "rejected");
            let name = rejected["task_id"].as_str().unwrap();
            assert!(name.starts_with("record-0-"), "{name}");
            assert!(server.log().contains(why));
            let in_redis = wait_for("it to be in Redis", SOON, || fleet.task(name));
            assert_eq!(in_redis.status, State::Rejected);
        }
    };
    forge(&[
        (
            json!({"ip_range": fleet.network(2)}),
            "`ip_range` differs from the task's",
        ),
        (
            json!({"exclude": network.replace("/24", "/25")}),
            "`exclude` differs",
        ),
        (json!({"retry": 1000}), "not 1000"),
        (json!({"retry": 2, "ip_range": fleet.network(2)}), "not 2"),
    ]);
    let same =
        |task: &scan::claim_table::LiveTask| (task.status, task.retry, task.ip_range.clone());
    assert_eq!(same(&fleet.task(&id).unwrap()), same(&cancelled));
    fleet.flush_redis();
    let restored = wait_for("the ended task to be in Redis again", SOON, || {
        fleet.task(&id)
    });
    assert_eq!(same(&restored), same(&cancelled));
    // The terminal record may have a later checkpoint than the last one that was written to Redis.
    assert!(restored.resume_index >= cancelled.resume_index);
    forge(&[(json!({"ports": "22"}), "`ports` differs")]);
    // What servers wrote decides where the retry begins.
    fleet.push_raw(&[record(
        json!({"resume_index": 255, "resume_for": "1-1-1000-1"}),
    )]);
    let ended = wait_for("the retry to complete", SOON, || {
        fleet
            .task(&id)
            .filter(|task| task.status == State::Completed)
    });
    assert_eq!((ended.retry, ended.ip_range), (1, cancelled.ip_range));
    assert_eq!(fleet.findings(&id), addresses(&network, 443));
    assert_eq!(fleet.standin_starts(), 3);
    // What was rejected is not judged again, by what became of the task later.
    fleet.flush_redis();
    wait_for("the held task to be in Redis again", SOON, || {
        fleet.task("held")
    });
    run_ok(&fleet, &["cancel", "held"]);
    fleet.wait_committed(shared_kafka());
    assert_eq!(fleet.standin_starts(), 3);
}

/// A fleet of two partitions whose committed offsets are held back, and a cancelled task in partition 1: its id, and what it scans.
fn with_cancelled(name: &str) -> (Fleet, OwnPeer, Scand, String) {
    let (fleet, redis) = with_own_redis(name, &json!({}));
    let fleet = fleet.with_partitions(2);
    let server = fleet.ready_scand("a", &[]);
    for partition in [0, 1] {
        let id = format!("held-{partition}");
        let held = task_record(&id, &fleet.network(partition + 1), 0);
        fleet.produce_to("tasks", partition, &held);
        fleet.wait_progress(&id, 1.0);
        run_ok(&fleet, &["pause", &id]);
    }
    let network = fleet.network(0);
    fleet.produce_to("tasks", 1, &task_record("target", &network, 0));
    fleet.wait_progress("target", 20.0);
    run_ok(&fleet, &["cancel", "target"]);
    assert_eq!(fleet.wait_ended("target", SOON).status, State::Cancelled);
    (fleet, redis, server, network)
}

fn task_record(id: &str, network: &str, retry: u32) -> String {
    json!({"task_id": id, "ip_range": network, "ports": "443", "band_width": "40", "wait_s": 0, "retry": retry}).to_string()
}

/// Partition 0 is read before partition 1, where the task's own record is.
fn forged_retry_in_a_rebuild() {
    let (fleet, _redis, mut server, network) = with_cancelled("forged-in-rebuild");
    server.signal(Signal::TERM);
    server.wait(SOON);
    fleet.flush_redis();
    fleet.produce_to("tasks", 0, &task_record("target", &fleet.network(3), 1));
    // An honest one, which nobody has ingested either.
    fleet.produce_to("tasks", 1, &task_record("target", &network, 1));
    let server = fleet.ready_scand("a", &[]);
    let rejected = wait_for("the record to be rejected", SOON, || {
        fleet.task("record-0-1")
    });
    assert_eq!(rejected.status, State::Rejected);
    server.wait_for_log(
        "it is cancelled, and its record at partition 1 offset 1 has not been restored",
    );
    let ended = wait_for("the retry to complete", SOON, || {
        fleet
            .task("target")
            .filter(|task| task.status == State::Completed)
    });
    assert_eq!((ended.retry, ended.ip_range), (1, network.clone()));
    assert_eq!(fleet.findings("target"), addresses(&network, 443));
}

/// The key of a retry chooses another partition if partitions were added since the push.
fn retried_elsewhere_and_flushed() {
    let (fleet, _redis, _server, network) = with_cancelled("retried-elsewhere");
    fleet.produce_to("tasks", 0, &task_record("target", &network, 1));
    wait_for("the retry to run", SOON, || {
        fleet
            .task("target")
            .filter(|task| task.status == State::Running && task.retry == 1)
    });
    fleet.flush_redis();
    let ended = fleet.wait_ended("target", SOON);
    assert_eq!((ended.status, ended.retry), (State::Completed, 1));
    assert_eq!(fleet.findings("target"), addresses(&network, 443));
}

fn errors() {
    let fleet = Fleet::new("control-errors").with_standin(&json!({}));
    let _server = fleet.ready_scand("a", &["-slots", "1"]);
    let ids: Vec<String> = ["same-a", "same-b"]
        .iter()
        .enumerate()
        .map(|(n, id)| fleet.push_network(&fleet.network(n as u32), 10_000, &["-id", id]))
        .collect();
    for id in &ids {
        fleet.wait_ended(id, SOON);
    }
    let running = fleet.push_network(&fleet.network(2), 30, &["-id", "runs"]);
    fleet.wait_progress(&running, 1.0);
    let (code, out, err) = run(&fleet, &["cancel", "nobody", "same", "same-a", "runs"]);
    assert_eq!(code, 1);
    assert_eq!(
        out, "runs  cancelled\n",
        "the error of one id does not affect the others"
    );
    let lines: Vec<&str> = err.lines().collect();
    let [unknown, ambiguous, ended] = lines[..] else {
        panic!("{err}");
    };
    assert!(
        unknown.contains("\"nobody\" is not a task of group"),
        "{unknown}"
    );
    assert!(
        ambiguous.ends_with("\"same\" is ambiguous: 2 tasks begin with it: same-a, same-b"),
        "{ambiguous}"
    );
    assert!(
        ended.contains("\"same-a\": already ended: completed"),
        "{ended}"
    );
    for (words, needle) in [
        (&["pause", "same-a"][..], "already ended: completed"),
        (&["resume", "runs"], "already ended: cancelled"),
        (&["retry", "same-a"], "it is completed"),
        (&["retry", "nobody"], "is not a task of group"),
        (
            &["cancel", "-job", "none"],
            "\"none\" is not a job of group",
        ),
    ] {
        let (code, out, err) = run(&fleet, words);
        assert_eq!((code, out.as_str()), (1, ""), "{words:?}");
        assert!(err.contains(needle), "{words:?}: {err}");
    }
    let (code, ..) = run(&fleet, &["cancel"]);
    assert_eq!(code, 2);
}

fn whole_job() {
    let fleet = Fleet::new("control-job").with_standin(&json!({}));
    let _servers = [
        fleet.ready_scand("a", &["-slots", "2"]),
        fleet.ready_scand("b", &["-slots", "2"]),
    ];
    let records: Vec<String> = (0..6)
        .map(|n| {
            json!({
                "task_id": format!("job-task-{n}"), "ip_range": fleet.network(n), "ports": "443", "job_id": "the-job",
                "band_width": if n == 0 { "10000" } else { "40" }, "wait_s": 0, "parallel": 2,
            })
            .to_string()
        })
        .collect();
    fleet.push_raw(&records);
    fleet.wait_ended("job-task-0", SOON);
    wait_until("all to be known", SOON, || {
        fleet.task("job-task-5").is_some()
    });
    let out = run_ok(&fleet, &["pause", "-job", "the-job"]);
    assert_eq!(out.matches("  paused\n").count(), 5, "{out}");
    let job: Value = serde_json::from_str(&run_ok(&fleet, &["job", "the-j", "-json"])).unwrap();
    assert_eq!(
        (&job["state"], &job["states"]),
        (&json!("paused"), &json!({"completed": 1, "paused": 5}))
    );
    assert!((0..6).all(|n| masscans(&fleet.network(n)).is_empty()));
    let out = run_ok(&fleet, &["resume", "-job", "the-job"]);
    assert_eq!(out.matches("  queued\n").count(), 5, "{out}");
    wait_until("two to run", SOON, || {
        let running = (1..6).filter(|n| {
            fleet
                .task(&format!("job-task-{n}"))
                .is_some_and(|task| task.status == State::Running)
        });
        running.count() == 2
    });
    let out = run_ok(&fleet, &["cancel", "-job", "the-job"]);
    assert_eq!(out.matches("  cancelled\n").count(), 5, "{out}");
    assert!((0..6).all(|n| masscans(&fleet.network(n)).is_empty()));
    let (code, _, err) = run(&fleet, &["cancel", "-job", "the-job"]);
    assert_eq!(code, 1);
    assert!(
        err.contains("6 of 6 tasks of the job had already ended"),
        "{err}"
    );
    fleet.wait_committed(shared_kafka());
}

/// Gives orders at random times, whatever the tasks are doing. One order in sixteen is a cancel.
fn at_random_times() {
    let fleet = Fleet::new("random-orders").with_standin(&json!({}));
    let _servers = [
        fleet.ready_scand("a", &["-slots", "2"]),
        fleet.ready_scand("b", &["-slots", "2"]),
    ];
    let ids: Vec<String> = (0..12)
        .map(|n| fleet.push_network(&fleet.network(n), 150, &["-wait", "0"]))
        .collect();
    wait_until("all to be known", SOON, || {
        ids.iter().all(|id| fleet.task(id).is_some())
    });
    // A fixed pseudo-random sequence (Numerical Recipes' generator): the orders are the same in each run, their timing is not.
    let mut random: u32 = 7;
    let mut next = || {
        random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (random >> 16) as usize
    };
    let mut claim_table = fleet.claim_table();
    for _ in 0..150 {
        let id = ids[next() % ids.len()].parse().unwrap();
        let order = match next() % 16 {
            0 => Order::Cancel,
            1..=7 => Order::Pause,
            _ => Order::Resume,
        };
        claim_table.control(order, &[id]).unwrap();
        std::thread::sleep(Duration::from_millis(next() as u64 % 100));
    }
    let all: Vec<_> = ids.iter().map(|id| id.parse().unwrap()).collect();
    wait_until("all to end", SOON, || {
        claim_table.control(Order::Resume, &all).unwrap();
        ids.iter().all(|id| {
            fleet
                .task(id)
                .is_some_and(|task| task.finished_ms.is_some())
        })
    });
    for (n, id) in ids.iter().enumerate() {
        let task = fleet.task(id).unwrap();
        assert!(
            matches!(task.status, State::Completed | State::Cancelled) && task.order.is_none(),
            "{task:?}"
        );
        if task.status == State::Completed {
            assert_eq!(fleet.findings(id), addresses(&fleet.network(n as u32), 443));
        }
        let terminal = states(&fleet, id)
            .iter()
            .filter(|state| state.parse::<State>().unwrap().is_terminal())
            .count();
        assert_eq!(terminal, 1, "{id}: {:?}", states(&fleet, id));
    }
    fleet.wait_committed(shared_kafka());
}
