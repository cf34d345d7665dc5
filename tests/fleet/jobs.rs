//! Jobs: tasks that share one limit in the whole fleet, whatever the number of servers.

use crate::distribution::{most_at_a_time, of_event};
use crate::support::{
    Fleet, OwnPeer, SOON, addresses, count_probes_of_silent, peak_probe_rate, probes_counted,
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
        "a_jobs_limit_holds_over_the_whole_fleet",
        Needs::Servers,
        limit,
    ),
    (
        "a_job_at_its_limit_does_not_hold_up_others",
        Needs::Servers,
        in_nobodys_way,
    ),
    (
        "a_jobs_limit_survives_an_emptied_redis",
        Needs::Servers,
        emptied,
    ),
    ("shards_of_a_job_are_a_whole_scan", Needs::Lab, whole),
    (
        "a_jobs_probes_stay_within_its_limit_where_they_arrive",
        Needs::Lab,
        probes,
    ),
    (
        "a_task_above_max_rate_is_sent_at_the_limit_and_says_so",
        Needs::Lab,
        above_max_rate,
    ),
    (
        "shards_are_sent_alike_by_servers_that_differ_across_an_emptied_redis",
        Needs::Servers,
        alike,
    ),
    (
        "shards_that_no_server_can_send_alike_are_rejected_and_may_be_retried",
        Needs::Servers,
        unlike,
    ),
    (
        "a_masscan_of_another_order_gets_no_shards_until_it_is_replaced",
        Needs::Servers,
        one_order,
    ),
    (
        "a_shard_of_other_targets_than_the_jobs_is_not_called_complete",
        Needs::Servers,
        other_targets,
    ),
    (
        "masscan_sends_a_shard_in_the_order_in_which_it_lists_one",
        Needs::Lab,
        as_listed,
    ),
];

/// The shards of one job as records; `parallel` of them may send at a time, each at `rate`.
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

/// The job's tasks as Redis has them now.
fn job_of(fleet: &Fleet) -> Vec<LiveTask> {
    let mut ledger = fleet.claim_table();
    let ids = ledger.job(&"job".parse().unwrap()).unwrap();
    ledger
        .tasks_of(&ids)
        .unwrap()
        .into_iter()
        .flatten()
        .collect()
}

/// Waits for the whole job; the distinct addresses that its tasks found.
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
        most_at_a_time(&events),
        4 * 20,
        "four at a time: no more, and no fewer while there are any"
    );
    let first = fleet.task("shard-1").unwrap();
    assert_eq!(
        (first.job_id.as_deref(), first.shard.as_deref()),
        (Some("job"), Some("1/16"))
    );
    let servers: BTreeSet<_> = (1..=16)
        .filter_map(|n| fleet.task(&format!("shard-{n}"))?.server)
        .collect();
    assert_eq!(servers.len(), 3, "every server has its part: {servers:?}");
}

/// What a rate may be exceeded by for a moment: masscan sends in batches, and makes up for what it slept too long.
const RATE_SLACK: f64 = 1.1;

/// Three servers with slots for all of it, real masscan, and the count of what arrives.
fn probes() {
    let fleet = Fleet::new("job-packets");
    let network = "172.30.48.0/20";
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
        "only {most} probes a second: nothing was limited"
    );
    assert!(probes_counted(network) == 4096);
}

fn above_max_rate() {
    let fleet = Fleet::new("above-max-rate");
    let network = "172.30.64.0/21";
    let _server = fleet.ready_scand("a", &["-max-rate", "400"]);
    count_probes_of_silent(network);
    let id = fleet.push_network(network, 4000, &[]);
    let mut said: f64 = 0.0;
    let most = peak_probe_rate(network, || {
        let task = fleet.task(&id);
        said = said.max(task.as_ref().map_or(0.0, |task| task.rate_pps));
        task.is_some_and(|task| task.finished_ms.is_some())
    });
    assert_eq!(fleet.task(&id).unwrap().status, State::Completed);
    assert!(
        (320.0..=400.0 * RATE_SLACK).contains(&most),
        "{most} probes a second"
    );
    assert!(
        (320.0..=400.0 * RATE_SLACK).contains(&said),
        "rate_pps {said}"
    );
}

fn in_nobodys_way() {
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
    assert!(queued > 1000, "it went before them: {queued} are queued");
    assert!(job.iter().filter(|task| task.started_ms.is_some()).count() >= 1);
}

fn emptied() {
    let mut fleet = Fleet::new("job-flushed")
        .with_standin(&json!({}))
        .with_partitions(3);
    let redis = OwnPeer::start("redis", &fleet, &[]);
    fleet.redis = format!("redis://{}", redis.0.address());
    let _servers = ["a", "b"].map(|name| fleet.ready_scand(name, &["-slots", "4"]));
    let network = fleet.network(0);
    push(&fleet, &shards(&network, 8, 2, 10));
    let two_run = || {
        let tasks = job_of(&fleet);
        tasks.iter().filter(|task| task.progress > 10.0).count() >= 2
    };
    wait_until("two tasks to run", SOON, two_run);
    let client = redis::Client::open(fleet.redis.as_str()).unwrap();
    redis::cmd("FLUSHALL")
        .exec(&mut client.get_connection().unwrap())
        .unwrap();
    for n in 1..=8 {
        let task = fleet.wait_ended(&format!("shard-{n}"), SOON);
        assert_eq!(
            (task.status, task.attempt),
            (State::Completed, 1),
            "{task:?}"
        );
    }
    assert_eq!(wait_job(&fleet, 8), addresses(&network, 443));
    assert_eq!(most_at_a_time(&fleet.standin_events()), 2 * 10);
}

fn alike() {
    let mut fleet = Fleet::new("job-alike").with_standin(&json!({}));
    let redis = OwnPeer::start("redis", &fleet, &[]);
    fleet.redis = format!("redis://{}", redis.0.address());
    let network = fleet.network(0);
    let quarter = network.replace("0/24", "0/26");
    let _servers = [
        fleet.ready_scand("slow", &["-max-rate", "13"]),
        fleet.ready_scand("limited", &["-exclude", &quarter]),
        fleet.ready_scand("able", &["-slots", "2"]),
    ];
    push(&fleet, &shards(&network, 6, 4, 20));
    fleet.wait_ended("shard-1", SOON);
    let client = redis::Client::open(fleet.redis.as_str()).unwrap();
    redis::cmd("FLUSHALL")
        .exec(&mut client.get_connection().unwrap())
        .unwrap();
    // The first may have been committed: then Redis doesn't get it back.
    let ids: Vec<String> = (1..=6).map(|n| format!("shard-{n}")).collect();
    wait_until("the end of the job", SOON, || {
        ids.iter().all(|id| {
            let told = fleet.status_records(id);
            told.iter().any(|told| told["status"] == "completed")
        })
    });
    // Shards at two rates, or with two sets of addresses, would leave holes.
    let rates: BTreeSet<u64> = of_event(&fleet.standin_events(), "start")
        .map(|event| event["rate"].as_u64().unwrap())
        .collect();
    assert_eq!(rates, BTreeSet::from([20]));
    let found: BTreeSet<_> = ids.iter().flat_map(|id| fleet.findings(id)).collect();
    assert_eq!(found, addresses(&network, 443));
}

fn one_order() {
    let fleet = Fleet::new("job-order").with_standin(&json!({}));
    let network = fleet.network(0);
    let other = fleet.with_standin_in("other", &json!({"version": "1.0.5"}));
    let older = other.ready_scand("older", &["-slots", "1"]);
    older.wait_for_log(
        "the shards of jobs are left to other servers: masscan 1.0.5 is not known to use",
    );
    push(&fleet, &shards(&network, 4, 4, 50));
    older.wait_for_log("task shard-4: left to other servers: masscan 1.0.5 is");
    assert!(fleet.standin_events().is_empty());

    // masscan is replaced by a suitable one, and the server is not restarted.
    let masscan = other.masscan.parent().unwrap();
    std::fs::write(masscan.join("plan.json"), json!({}).to_string()).unwrap();
    let new = masscan.join("new");
    std::fs::copy(&fleet.masscan, &new).unwrap();
    std::fs::rename(&new, &other.masscan).unwrap();
    older.wait_for_log("masscan 1.3.2");
    assert_eq!(wait_job(&fleet, 4), addresses(&network, 443));

    // Where its file stays as it is: it is asked again for each shard.
    let plan = json!({"version": "1.3.9"}).to_string();
    std::fs::write(masscan.join("plan.json"), plan).unwrap();
    let mut shard = shards(&network, 4, 4, 50).remove(0);
    (shard["task_id"], shard["job_id"]) = ("late".into(), "late-job".into());
    push(&fleet, &[shard]);
    let late = fleet.wait_ended("late", SOON);
    assert_eq!((late.status, late.attempt), (State::Completed, 1));
    older.wait_for_log("masscan 1.3.9");
}

/// masscan's configuration leaves some out: which probes a shard sends depends on all of them.
fn other_targets() {
    let fleet = Fleet::new("job-targets").with_standin(&json!({"announces": 200}));
    let _server = fleet.ready_scand("a", &[]);
    let mut records = shards(&fleet.network(0), 2, 2, 200);
    records[0]["attempts"] = 1.into();
    let mut whole = records.remove(1);
    whole.as_object_mut().unwrap().remove("shard");
    push(&fleet, &[records.remove(0), whole]);
    let shard = fleet.wait_ended("shard-1", SOON);
    assert_eq!(shard.status, State::Failed);
    let error = shard.error.unwrap();
    assert!(error.contains("masscan.conf"), "{error}");
    // By itself a task is what masscan makes of it.
    assert_eq!(fleet.wait_ended("shard-2", SOON).status, State::Completed);
}

/// What `masscan/installed.rs` concludes from a list holds for what is sent: the answers come in the order of the probes.
fn as_listed() {
    let fleet = Fleet::new("job-listed");
    let _server = fleet.ready_scand("a", &[]);
    let network = fleet.network(0);
    let first = network.strip_suffix("0/24").unwrap();
    // Four ports, as in the list, of which two are open.
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
        // Some are sent again if this machine did not run for a while.
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

fn unlike() {
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
            "on a: 1 of the addresses of its job are outside this server's scope",
            "on b: a shard is sent at exactly 50 packets per second, which is above this server's -max-rate",
        ];
        assert!(
            reasons.iter().any(|reason| error.contains(reason)),
            "{error}"
        );
    }
    assert!(fleet.standin_events().is_empty(), "nothing was started");
    // A server that may run them has joined, so they start again. A record that was never a valid task does not, not even with a record of its id.
    fleet.push_raw(&["{\"task_id\":\"no-task\"}".to_owned()]);
    fleet.wait_ended("no-task", SOON);
    let _able = fleet.ready_scand("c", &[]);
    let output = fleet.scanpush(&["retry", "shard-1", "shard-2", "no-task"]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(
        said.contains("\"no-task\": it was rejected: not a valid task"),
        "{said}"
    );
    assert_eq!(wait_job(&fleet, 2), addresses(&network, 443));
    let mut late = shards(&network, 1, 1, 50).remove(0);
    late["task_id"] = "no-task".into();
    late["retry"] = 1.into();
    push(&fleet, &[late]);
    wait_until("the record to be taken for a duplicate", SOON, || {
        let logs = ["a", "b", "c"].map(|name| fleet.folder.join(format!("{name}.log")));
        logs.iter().any(|log| {
            let log = std::fs::read_to_string(log).unwrap();
            log.contains("task no-task: pushed again")
        })
    });
    assert_eq!(fleet.task("no-task").unwrap().status, State::Rejected);
}

fn whole() {
    let fleet = Fleet::new("job-lab");
    let _servers = ["a", "b"].map(|name| fleet.ready_scand(name, &["-slots", "2"]));
    let network = fleet.network(0);
    push(&fleet, &shards(&network, 5, 3, 200));
    assert_eq!(wait_job(&fleet, 5), addresses(&network, 443));
    let found: u64 = job_of(&fleet).iter().map(|task| task.found).sum();
    assert_eq!(
        found, 256,
        "no shard takes another one's answers for its own"
    );
}
