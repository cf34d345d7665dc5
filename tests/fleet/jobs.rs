//! Jobs: tasks that share one limit across all servers, and shards.

use crate::distribution::{events_named, peak_rate};
use crate::support::{
    Fleet, SOON, addresses, count_probes_of_silent, new_network, peak_probe_rate, probes_counted,
    wait_for, wait_until,
};
use crate::{Needs, Test};
use scan::claim_table::LiveTask;
use scan::masscan::SHARD_IN_ORDER;
use scan::model::State;
use serde_json::{Value, json};
use std::collections::BTreeSet;

pub const TESTS: &[Test] = &[
    (
        "a_jobs_limit_holds_across_all_servers",
        Needs::KafkaAndRedis,
        limit,
    ),
    (
        "a_job_at_its_limit_does_not_block_other_tasks",
        Needs::KafkaAndRedis,
        does_not_block,
    ),
    (
        "a_jobs_limit_survives_a_redis_flush",
        Needs::KafkaAndRedis,
        flushed,
    ),
    (
        "the_shards_of_a_job_find_every_address_once",
        Needs::Lab,
        all_shards,
    ),
    (
        "the_packet_rate_of_a_job_stays_within_its_limit",
        Needs::Lab,
        probes,
    ),
    (
        "a_task_above_max_rate_is_sent_and_reported_at_max_rate",
        Needs::Lab,
        above_max_rate,
    ),
    (
        "shards_use_one_rate_and_probe_order_on_all_servers_and_after_a_redis_flush",
        Needs::KafkaAndRedis,
        same_order,
    ),
    (
        "shards_that_no_server_can_send_are_rejected_and_can_be_retried",
        Needs::KafkaAndRedis,
        impossible_shards,
    ),
    (
        "a_masscan_with_another_probe_order_gets_no_shards_until_it_is_replaced",
        Needs::KafkaAndRedis,
        replaced_masscan,
    ),
    (
        "a_masscan_that_announces_other_targets_is_stopped",
        Needs::KafkaAndRedis,
        other_targets,
    ),
    (
        "masscan_sends_a_shard_in_the_order_that_it_lists",
        Needs::Lab,
        as_listed,
    ),
];

/// Task records for the shards of one job. At most `parallel` of them may send at the same time, each at `rate` packets per second.
fn shards(network: &str, count: u32, parallel: u32, rate: u32) -> Vec<Value> {
    (1..=count)
        .map(|n| {
            json!({
                "task_id": format!("shard-{n}"), "ip_range": network, "ports": "443", "band_width": rate.to_string(),
                "wait_s": 1, "seed": 7, "shard": format!("{n}/{count}"), "job_id": "job", "parallel": parallel,
            })
        })
        .collect()
}

fn push(fleet: &Fleet, records: &[Value]) {
    let lines: Vec<String> = records.iter().map(Value::to_string).collect();
    fleet.push_raw(&lines);
}

/// The job's tasks in Redis.
fn job_of(fleet: &Fleet) -> Vec<LiveTask> {
    let mut claim_table = fleet.claim_table();
    let ids = claim_table.job(&"job".parse().unwrap()).unwrap();
    claim_table
        .tasks_of(&ids)
        .unwrap()
        .into_iter()
        .flatten()
        .collect()
}

/// Waits until all tasks of the job have completed. Returns their distinct findings.
fn wait_job(fleet: &Fleet, count: usize) -> BTreeSet<(String, u64)> {
    let ended = wait_for("the end of the job", SOON, || {
        let tasks = job_of(fleet);
        let all_ended = tasks.iter().all(|task| task.finished_ms.is_some());
        (tasks.len() == count && all_ended).then_some(tasks)
    });
    for task in &ended {
        assert_eq!(task.status, State::Completed, "{task:?}");
    }
    ended
        .iter()
        .flat_map(|task| fleet.findings(&task.task_id))
        .collect()
}

fn limit() {
    let fleet = Fleet::new("job").with_standin(&json!({}));
    let _servers = ["a", "b", "c"].map(|name| fleet.ready_scand(name, &["-slots", "4"]));
    let network = fleet.network(0);
    push(&fleet, &shards(&network, 16, 4, 20));
    assert_eq!(wait_job(&fleet, 16), addresses(&network, 443));
    let events = fleet.standin_events();
    assert_eq!(
        peak_rate(&events),
        4 * 20,
        "exactly four tasks send at the same time"
    );
    let first = fleet.task("shard-1").unwrap();
    assert_eq!(
        (first.job_id.as_deref(), first.shard.as_deref()),
        (Some("job"), Some("1/16"))
    );
    let servers: BTreeSet<_> = (1..=16)
        .filter_map(|n| fleet.task(&format!("shard-{n}"))?.server)
        .collect();
    assert_eq!(servers.len(), 3, "every server ran some: {servers:?}");
}

/// Factor by which masscan may exceed its rate for a moment: it sends in batches, and catches up after it slept too long.
const RATE_SLACK: f64 = 1.1;

/// Three servers with enough slots for all tasks, real masscan, and probes counted at the targets.
fn probes() {
    let fleet = Fleet::new("job-packets");
    let network = &new_network(20);
    let _servers = ["a", "b", "c"].map(|name| fleet.ready_scand(name, &["-slots", "8"]));
    count_probes_of_silent(network);
    let ids = fleet.push(&[
        "-ip",
        network,
        "-ports",
        "443",
        "-bandwidth",
        "800",
        "-shards",
        "8",
        "-parallel",
        "4",
        "-wait",
        "1",
    ]);
    assert_eq!(ids.len(), 8);
    let is_over = |id: &String| {
        fleet
            .task(id)
            .is_some_and(|task| task.finished_ms.is_some())
    };
    let most = peak_probe_rate(network, || ids.iter().all(is_over));
    for id in &ids {
        let task = fleet.task(id).unwrap();
        assert_eq!(
            (task.status, task.band_width),
            (State::Completed, 200),
            "{task:?}"
        );
    }
    assert!(most <= 800.0 * RATE_SLACK, "{most} probes a second");
    assert!(
        most > 800.0 * 0.7,
        "only {most} probes a second: the job's limit is not reached"
    );
    assert!(probes_counted(network) == 4096);
}

fn above_max_rate() {
    let fleet = Fleet::new("above-max-rate");
    let network = &new_network(21);
    let server = fleet.ready_scand("a", &["-max-rate", "400"]);
    count_probes_of_silent(network);
    let id = fleet.push_network(network, 4000, &[]);
    let mut reported: f64 = 0.0;
    let most = peak_probe_rate(network, || {
        let task = fleet.task(&id);
        reported = reported.max(task.as_ref().map_or(0.0, |task| task.rate_pps));
        task.is_some_and(|task| task.finished_ms.is_some())
    });
    assert_eq!(fleet.task(&id).unwrap().status, State::Completed);
    server.wait_for_log("sends at 400 pps (-max-rate; the task asks for 4000)");
    assert!(
        (320.0..=400.0 * RATE_SLACK).contains(&most),
        "{most} probes a second"
    );
    assert!(
        (320.0..=400.0 * RATE_SLACK).contains(&reported),
        "rate_pps {reported}"
    );
}

fn does_not_block() {
    let fleet = Fleet::new("job-long").with_standin(&json!({}));
    let many: Vec<Value> = (0..1500)
        .map(|n| {
            json!({
                "task_id": format!("t{n}"), "ip_range": fleet.network(0), "ports": "443", "band_width": "100",
                "job_id": "job", "parallel": 1,
            })
        })
        .collect();
    push(&fleet, &many);
    let behind = fleet.push_network(&fleet.network(1), 1000, &[]);
    let _server = fleet.ready_scand("a", &["-slots", "2"]);
    let ended = fleet.wait_ended(&behind, SOON);
    assert_eq!(ended.status, State::Completed);
    let job = job_of(&fleet);
    let queued = job
        .iter()
        .filter(|task| task.status == State::Queued)
        .count();
    assert!(queued > 1000, "it ran before them: {queued} are queued");
    assert!(job.iter().filter(|task| task.started_ms.is_some()).count() >= 1);
}

fn flushed() {
    let mut fleet = Fleet::new("job-flushed")
        .with_standin(&json!({}))
        .with_partitions(3);
    let _redis = fleet.start_redis(&[]);
    let _servers = ["a", "b"].map(|name| fleet.ready_scand(name, &["-slots", "4"]));
    let network = fleet.network(0);
    push(&fleet, &shards(&network, 8, 2, 10));
    let two_run = || {
        let tasks = job_of(&fleet);
        tasks.iter().filter(|task| task.progress > 10.0).count() >= 2
    };
    wait_until("two tasks to run", SOON, two_run);
    fleet.flush_redis();
    for n in 1..=8 {
        let task = fleet.wait_ended(&format!("shard-{n}"), SOON);
        assert_eq!(
            (task.status, task.attempt),
            (State::Completed, 1),
            "{task:?}"
        );
    }
    assert_eq!(wait_job(&fleet, 8), addresses(&network, 443));
    assert_eq!(peak_rate(&fleet.standin_events()), 2 * 10);
}

fn same_order() {
    let mut fleet = Fleet::new("job-alike").with_standin(&json!({}));
    let _redis = fleet.start_redis(&[]);
    let network = fleet.network(0);
    let quarter = network.replace("0/24", "0/26");
    let _servers = [
        fleet.ready_scand("slow", &["-max-rate", "13"]),
        fleet.ready_scand("limited", &["-exclude", &quarter]),
        fleet.ready_scand("able", &["-slots", "2"]),
    ];
    push(&fleet, &shards(&network, 6, 4, 20));
    fleet.wait_ended("shard-1", SOON);
    fleet.flush_redis();
    // If the first task's offset is already committed, the rebuild does not bring it back, so the ends are read from scan-status.
    let ids: Vec<String> = (1..=6).map(|n| format!("shard-{n}")).collect();
    wait_until("the end of the job", SOON, || {
        ids.iter().all(|id| {
            let records = fleet.status_records(id);
            records.iter().any(|record| record["status"] == "completed")
        })
    });
    // With different rates or addresses the shards would not cover all probes.
    let rates: BTreeSet<u64> = events_named(&fleet.standin_events(), "start")
        .map(|event| event["rate"].as_u64().unwrap())
        .collect();
    assert_eq!(rates, BTreeSet::from([20]));
    let found: BTreeSet<_> = ids.iter().flat_map(|id| fleet.findings(id)).collect();
    assert_eq!(found, addresses(&network, 443));
}

fn replaced_masscan() {
    let fleet = Fleet::new("job-order").with_standin(&json!({}));
    let network = fleet.network(0);
    let other = fleet.with_standin_in("other", &json!({"version": "1.0.5"}));
    let older = other.ready_scand("older", &["-slots", "1"]);
    older.wait_for_log(
        "the shards of jobs are left to other servers: masscan 1.0.5 is not known to use",
    );
    push(&fleet, &shards(&network, 4, 4, 50));
    older.wait_for_log(
        "task shard-4: refused by every server of the group; it will be rejected after 60 s unless one can run it; this server's reason: masscan 1.0.5 is",
    );
    assert!(fleet.standin_events().is_empty());

    // masscan is replaced by a suitable version; the server is not restarted.
    let masscan = other.masscan.parent().unwrap();
    std::fs::write(masscan.join("plan.json"), json!({}).to_string()).unwrap();
    let new = masscan.join("new");
    std::fs::copy(&fleet.masscan, &new).unwrap();
    std::fs::rename(&new, &other.masscan).unwrap();
    older.wait_for_log("masscan 1.3.2");
    assert_eq!(wait_job(&fleet, 4), addresses(&network, 443));

    // The version is read again for each shard, even if masscan's file has not changed.
    let plan = json!({"version": "1.3.9"}).to_string();
    std::fs::write(masscan.join("plan.json"), plan).unwrap();
    let mut shard = shards(&network, 4, 4, 50).remove(0);
    (shard["task_id"], shard["job_id"]) = ("late".into(), "late-job".into());
    push(&fleet, &[shard]);
    let late = fleet.wait_ended("late", SOON);
    assert_eq!((late.status, late.attempt), (State::Completed, 1));
    older.wait_for_log("masscan 1.3.9");
}

/// masscan's configuration file excludes some addresses. Which probes a shard sends depends on all of them.
fn other_targets() {
    let fleet = Fleet::new("job-targets").with_standin(&json!({"announces": 200}));
    let _server = fleet.ready_scand("a", &[]);
    let mut records = shards(&fleet.network(0), 2, 2, 200);
    records[0]["attempts"] = 1.into();
    let mut unsharded = records.remove(1);
    unsharded["attempts"] = 1.into();
    unsharded.as_object_mut().unwrap().remove("shard");
    push(&fleet, &[records.remove(0), unsharded]);
    let shard = fleet.wait_ended("shard-1", SOON);
    assert_eq!(shard.status, State::Failed);
    let error = shard.error.unwrap();
    assert!(error.contains("masscan.conf"), "{error}");
    // A task that is not a shard fails too: what is scanned is what was pushed.
    let unsharded = fleet.wait_ended("shard-2", SOON);
    assert_eq!(unsharded.status, State::Failed);
    let error = unsharded.error.unwrap();
    assert!(
        error.contains("masscan scans 200 addresses × 1 ports instead of 256 × 1"),
        "{error}"
    );
}

/// `masscan/binary.rs` checks the order in which `masscan -sL` lists a shard. masscan sends in the same order: answers arrive in the order of
/// the probes.
fn as_listed() {
    let fleet = Fleet::new("job-listed");
    let _server = fleet.ready_scand("a", &[]);
    let network = fleet.network(0);
    let first = network.strip_suffix("0/24").unwrap();
    // Four ports as in the list; two of them are open.
    push(
        &fleet,
        &[json!({
            "task_id": "listed", "ip_range": format!("{first}0/28"), "ports": "79-80,442-443", "band_width": "64", "wait_s": 1,
            "seed": 5, "shard": "2/3",
        })],
    );
    assert_eq!(fleet.wait_ended("listed", SOON).status, State::Completed);
    let mut found: Vec<_> = Vec::new();
    for finding in fleet.records("results") {
        let probe = format!("{}:{}", finding["ip"].as_str().unwrap(), finding["port"]);
        // After a standstill of this machine, some probes are sent again.
        if !found.contains(&probe) {
            found.push(probe);
        }
    }
    let listed: Vec<_> = SHARD_IN_ORDER
        .split(' ')
        .filter_map(|probe| {
            let (ip, port) = probe.split_once(':')?;
            let host = ip.rsplit_once('.')?.1;
            let open = match port {
                "2" => 80,
                "4" => 443,
                _ => return None,
            };
            Some(format!("{first}{host}:{open}"))
        })
        .collect();
    assert_eq!(found, listed);
}

fn impossible_shards() {
    let fleet = Fleet::new("job-unlike").with_standin(&json!({}));
    let network = fleet.network(0);
    let denied = network.replace("0/24", "7");
    let _limited = fleet.ready_scand("a", &["-exclude", &denied]);
    let _slow = fleet.ready_scand("b", &["-max-rate", "37"]);
    push(&fleet, &shards(&network, 2, 1, 50));
    for id in ["shard-1", "shard-2"] {
        fleet.wait_refused_by_all(id);
        let task = fleet.wait_ended(id, SOON);
        assert_eq!(task.status, State::Rejected);
        let error = task.error.unwrap();
        let reasons = [
            "on a: its job has 1 address outside this server's scope (",
            "on b: a shard is sent at exactly 50 packets per second, which is above this server's -max-rate",
        ];
        assert!(
            reasons.iter().any(|reason| error.contains(reason)),
            "{error}"
        );
    }
    assert!(fleet.standin_events().is_empty(), "nothing was started");
    // A server that may run them joins, so they can be retried. A record that was never a valid task cannot be, not even with a valid record of
    // the same id.
    fleet.push_raw(&["{\"task_id\":\"no-task\"}".to_owned()]);
    fleet.wait_ended("no-task", SOON);
    let _able = fleet.ready_scand("c", &[]);
    let output = fleet.scanpush(&["retry", "shard-1", "shard-2", "no-task"]);
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert!(
        stderr.contains("\"no-task\": it was rejected: not a valid task"),
        "{stderr}"
    );
    assert_eq!(wait_job(&fleet, 2), addresses(&network, 443));
    let mut late = shards(&network, 1, 1, 50).remove(0);
    late["task_id"] = "no-task".into();
    late["retry"] = 1.into();
    push(&fleet, &[late]);
    let refusal = "it would start task no-task again: it has ended as rejected";
    wait_until("the record to be rejected", SOON, || {
        let records = fleet.records("status");
        records
            .iter()
            .any(|record| record["error"] == refusal && record["status"] == "rejected")
    });
    assert_eq!(fleet.task("no-task").unwrap().status, State::Rejected);
}

fn all_shards() {
    let fleet = Fleet::new("job-lab");
    let _servers = ["a", "b"].map(|name| fleet.ready_scand(name, &["-slots", "2"]));
    let network = fleet.network(0);
    push(&fleet, &shards(&network, 5, 3, 200));
    assert_eq!(wait_job(&fleet, 5), addresses(&network, 443));
    let found: u64 = job_of(&fleet).iter().map(|task| task.found).sum();
    assert_eq!(found, 256, "no shard reports the answers of another one");
}
