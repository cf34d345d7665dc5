//! Cancel, pause, resume, retry: masscan stops within 2 seconds, no task is lost or delayed, and what is recorded in Kafka survives
//! a loss of Redis' data.

use crate::support::{
    Fleet, OwnPeer, SOON, addresses, masscans, shared_kafka, wait_for, wait_until,
};
use crate::{Needs, Test};
use rustix::process::Signal;
use scan::claim_table::{LiveTask, Order};
use scan::model::State;
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// An order is in force on the server within this.
const IN_FORCE_WITHIN: Duration = Duration::from_secs(2);

pub const TESTS: &[Test] = &[
    (
        "a_cancelled_scans_masscan_is_gone_within_2_seconds",
        Needs::Lab,
        cancel_running,
    ),
    (
        "a_paused_scan_goes_on_from_its_checkpoint_and_finds_all",
        Needs::Lab,
        pause_and_resume,
    ),
    (
        "a_cancelled_queued_task_never_runs",
        Needs::Servers,
        cancel_queued,
    ),
    (
        "a_cancel_without_a_server_is_carried_out_by_the_next_one",
        Needs::Servers,
        cancel_without_server,
    ),
    (
        "a_cancel_outlives_the_server_that_was_to_carry_it_out",
        Needs::Servers,
        cancel_on_dead_server,
    ),
    (
        "a_paused_task_stays_paused_in_a_rebuilt_redis",
        Needs::Servers,
        paused_and_flushed,
    ),
    (
        "a_resumed_task_is_not_paused_in_a_rebuilt_redis",
        Needs::Servers,
        resumed_and_flushed,
    ),
    (
        "a_failed_task_is_retried_from_its_checkpoint",
        Needs::Servers,
        retry_failed,
    ),
    (
        "a_retried_task_survives_an_emptied_redis",
        Needs::Servers,
        retried_and_flushed,
    ),
    (
        "an_order_that_is_refused_is_reported_with_exit_code_1",
        Needs::Servers,
        refused,
    ),
    ("a_whole_job_is_steered_at_once", Needs::Servers, whole_job),
    (
        "orders_at_any_moment_lose_nothing_and_end_nothing_twice",
        Needs::Servers,
        at_any_moment,
    ),
];

/// Runs a command; its exit code, stdout and stderr.
fn said(fleet: &Fleet, words: &[&str]) -> (i32, String, String) {
    let output = fleet.scanpush(words);
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (
        output.status.code().unwrap(),
        text(output.stdout),
        text(output.stderr),
    )
}

/// Runs a command that must succeed.
fn steer(fleet: &Fleet, words: &[&str]) -> String {
    let (code, out, err) = said(fleet, words);
    assert_eq!(code, 0, "{words:?}: {err}");
    out
}

fn wait_progress(fleet: &Fleet, id: &str, percent: f64) -> LiveTask {
    wait_for("some progress", SOON, || {
        fleet.task(id).filter(|task| task.progress > percent)
    })
}

/// Gives an order and measures how long the processes that scan `network` keep running.
fn in_force(fleet: &Fleet, order: &str, id: &str, network: &str) -> Duration {
    let pids = masscans(network);
    assert!(!pids.is_empty(), "masscan runs");
    let ordered = Instant::now();
    let steered = fleet
        .claim_table()
        .control(order.parse::<Order>().unwrap(), &[id.parse().unwrap()])
        .unwrap();
    assert_eq!(steered, [scan::claim_table::Steered::Ordered]);
    wait_until("masscan to be gone", SOON, || {
        pids.iter()
            .all(|pid| rustix::process::test_kill_process(*pid).is_err())
    });
    let took = ordered.elapsed();
    println!("{order}: masscan {pids:?} gone after {took:?}");
    took
}

fn starts(fleet: &Fleet) -> usize {
    fleet
        .standin_events()
        .iter()
        .filter(|event| event["event"] == "start")
        .count()
}

/// The status records of a task, without that of its ingestion: a claim may be announced before it.
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
    let before = wait_progress(&fleet, &id, 20.0);
    let took = in_force(&fleet, "cancel", &id, &network);
    assert!(took <= IN_FORCE_WITHIN, "{took:?}");
    assert_eq!(
        steer(&fleet, &["status", &id]).lines().count(),
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
    let (code, out, err) = said(&fleet, &["cancel", &id]);
    assert_eq!((code, out.as_str()), (1, ""));
    assert!(err.contains("already ended: cancelled"), "{err}");
    assert!(masscans(&network).is_empty());
}

fn pause_and_resume() {
    let fleet = Fleet::new("pause");
    let server = fleet.ready_scand("a", &[]);
    let network = fleet.network(0);
    let id = fleet.push_network(&network, 60, &[]);
    wait_progress(&fleet, &id, 50.0);
    let took = in_force(&fleet, "pause", &id, &network);
    assert!(took <= IN_FORCE_WITHIN, "{took:?}");
    // The same order again only waits for it.
    assert_eq!(steer(&fleet, &["pause", &id]), format!("{id}  paused\n"));
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
    assert!(masscans(&network).is_empty(), "nobody runs it");
    assert_eq!(
        steer(&fleet, &["resume", &id[..8]]),
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
    wait_progress(&fleet, &running, 1.0);
    let queued = fleet.push_network(&fleet.network(1), 40, &[]);
    wait_until("it to be queued", SOON, || fleet.task(&queued).is_some());
    let ordered = Instant::now();
    assert_eq!(
        steer(&fleet, &["cancel", &queued]),
        format!("{queued}  cancelled\n")
    );
    println!("cancel of a queued task took {:?}", ordered.elapsed());
    let task = fleet.task(&queued).unwrap();
    assert_eq!((task.status, task.attempt), (State::Cancelled, 0));
    assert_eq!(states(&fleet, &queued), ["cancelled"]);
    assert_eq!(
        steer(&fleet, &["cancel", &running, "-json"]),
        format!("{{\"task_id\":\"{running}\",\"order\":\"cancel\",\"status\":\"cancelled\"}}\n")
    );
    assert_eq!(starts(&fleet), 1);
    fleet.wait_committed(shared_kafka());
}

fn cancel_without_server() {
    let fleet = Fleet::new("cancel-alone").with_standin(&json!({}));
    let mut first = fleet.ready_scand("a", &["-slots", "1"]);
    let blocker = fleet.push_network(&fleet.network(0), 20, &[]);
    wait_progress(&fleet, &blocker, 1.0);
    let id = fleet.push_network(&fleet.network(1), 40, &[]);
    wait_until("it to be queued", SOON, || fleet.task(&id).is_some());
    first.signal(Signal::TERM);
    first.wait(SOON);
    let (code, out, err) = said(&fleet, &["cancel", &id]);
    assert_eq!((code, out), (0, format!("{id}  cancelling\n")));
    assert!(err.contains("no server is running"), "{err}");
    assert!(steer(&fleet, &["status", &id]).contains("cancelling"));
    let _second = fleet.ready_scand("b", &[]);
    let task = fleet.wait_ended(&id, SOON);
    assert_eq!((task.status, task.attempt), (State::Cancelled, 0));
    steer(&fleet, &["cancel", &blocker]);
    fleet.wait_committed(shared_kafka());
}

fn cancel_on_dead_server() {
    let fleet = Fleet::new("cancel-dead").with_standin(&json!({}));
    let mut first = fleet.ready_scand("a", &[]);
    let id = fleet.push_network(&fleet.network(0), 20, &[]);
    wait_progress(&fleet, &id, 5.0);
    first.kill();
    let steered = fleet
        .claim_table()
        .control(Order::Cancel, &[id.parse().unwrap()])
        .unwrap();
    assert_eq!(steered, [scan::claim_table::Steered::Ordered]);
    let _second = fleet.ready_scand("b", &[]);
    let task = fleet.wait_ended(&id, SOON);
    assert_eq!(task.status, State::Cancelled, "{task:?}");
    assert_eq!(starts(&fleet), 1, "nobody ran it again");
    fleet.wait_committed(shared_kafka());
}

fn flush(fleet: &Fleet) {
    let client = redis::Client::open(fleet.redis.as_str()).unwrap();
    redis::cmd("FLUSHALL")
        .exec(&mut client.get_connection().unwrap())
        .unwrap();
}

/// A fleet with a Redis of its own, one server with one slot.
fn with_own_redis(name: &str, plan: &Value) -> (Fleet, OwnPeer) {
    let mut fleet = Fleet::new(name).with_standin(plan);
    let redis = OwnPeer::start("redis", &fleet, &[]);
    fleet.redis = format!("redis://{}", redis.0.address());
    (fleet, redis)
}

fn paused_and_flushed() {
    let (fleet, _redis) = with_own_redis("paused", &json!({}));
    let server = fleet.ready_scand("a", &["-slots", "1"]);
    let ran = fleet.push_network(&fleet.network(0), 40, &[]);
    wait_progress(&fleet, &ran, 50.0);
    let queued = fleet.push_network(&fleet.network(1), 10_000, &[]);
    wait_until("it to be queued", SOON, || fleet.task(&queued).is_some());
    let out = steer(&fleet, &["pause", &queued, &ran]);
    assert_eq!(out, format!("{queued}  paused\n{ran}  paused\n"));
    let before = fleet.task(&ran).unwrap();
    flush(&fleet);
    let paused = |id: &str| fleet.task(id).filter(|task| task.status == State::Paused);
    for id in [&ran, &queued] {
        wait_for("it to be paused again", SOON, || paused(id));
        server.wait_for_log(&format!("task {id}: was paused when Redis lost its data"));
    }
    assert_eq!(fleet.task(&ran).unwrap().resume_index, before.resume_index);
    // One that was not paused shows that the server claims what there is.
    let other = fleet.push_network(&fleet.network(2), 10_000, &[]);
    assert_eq!(fleet.wait_ended(&other, SOON).status, State::Completed);
    assert!(paused(&ran).is_some() && paused(&queued).is_some());
    steer(&fleet, &["resume", &ran, &queued]);
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
    wait_progress(&fleet, &blocker, 1.0);
    let id = fleet.push_network(&fleet.network(1), 10_000, &[]);
    wait_until("it to be queued", SOON, || fleet.task(&id).is_some());
    steer(&fleet, &["pause", &id]);
    steer(&fleet, &["resume", &id]);
    wait_until("Kafka to have the records", SOON, || {
        states(&fleet, &id) == ["paused", "queued"]
    });
    flush(&fleet);
    wait_for("it to be queued again", SOON, || fleet.task(&id));
    assert_eq!(fleet.task(&id).unwrap().status, State::Queued);
    steer(&fleet, &["cancel", &blocker]);
    assert_eq!(fleet.wait_ended(&id, SOON).status, State::Completed);
}

fn retry_failed() {
    // The only attempt crashes half-way; the runs after it are whole.
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
    let out = steer(&fleet, &["retry", &id[..6]]);
    assert!(out.starts_with(&format!("{id}  retry 1 from ")), "{out}");
    let again = fleet.task(&id).unwrap();
    assert!(
        again.progress > 0.0,
        "it shows how far it is, from its checkpoint on: {again:?}"
    );
    let ended = fleet.wait_ended(&id, SOON);
    assert_eq!(
        (ended.status, ended.attempt, ended.retry),
        (State::Completed, 1, 1),
        "{ended:?}"
    );
    assert!(
        (256..=260).contains(&ended.found),
        "what was found before counts, a few at the checkpoint twice: {ended:?}"
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
    let (code, out, err) = said(&fleet, &["retry", &id]);
    assert_eq!((code, out.as_str()), (1, ""));
    assert!(err.contains("it is completed: push it again"), "{err}");
}

fn retried_and_flushed() {
    let plan = json!({"only_first": 2, "fail": {"stderr": "FAIL: no", "exit_code": 1}});
    let (fleet, _redis) = with_own_redis("retry-flushed", &plan);
    let _server = fleet.ready_scand("a", &["-slots", "1"]);
    // The first one holds the committed offset back, so that both records of the other one are read again.
    let held = fleet.push_network(&fleet.network(1), 10_000, &["-id", "held"]);
    wait_for("its first attempt to fail", SOON, || {
        fleet.task(&held).filter(|task| task.retry_ms.is_some())
    });
    steer(&fleet, &["pause", &held]);
    let id = fleet.push_network(&fleet.network(0), 30, &["-attempts", "1", "-id", "again"]);
    assert_eq!(fleet.wait_ended(&id, SOON).status, State::Failed);
    steer(&fleet, &["retry", &id]);
    wait_progress(&fleet, &id, 20.0);
    flush(&fleet);
    let ended = fleet.wait_ended(&id, SOON);
    assert_eq!(
        (ended.status, ended.retry, ended.attempt),
        (State::Completed, 1, 1),
        "{ended:?}"
    );
    assert_eq!(starts(&fleet), 3, "it was taken up again, not run again");
    assert_eq!(fleet.findings(&id), addresses(&fleet.network(0), 443));
    // Its end is known for both of its records.
    flush(&fleet);
    wait_for("the held one to be back", SOON, || fleet.task(&held));
    steer(&fleet, &["resume", &held]);
    assert_eq!(fleet.wait_ended(&held, SOON).status, State::Completed);
    assert_eq!(starts(&fleet), 4);
    fleet.wait_committed(shared_kafka());
}

fn refused() {
    let fleet = Fleet::new("refused").with_standin(&json!({}));
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
    wait_progress(&fleet, &running, 1.0);
    let (code, out, err) = said(&fleet, &["cancel", "nobody", "same", "same-a", "runs"]);
    assert_eq!(code, 1);
    assert_eq!(
        out, "runs  cancelled\n",
        "the others are cancelled nevertheless"
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
        let (code, out, err) = said(&fleet, words);
        assert_eq!((code, out.as_str()), (1, ""), "{words:?}");
        assert!(err.contains(needle), "{words:?}: {err}");
    }
    let (code, ..) = said(&fleet, &["cancel"]);
    assert_eq!(code, 2);
}

fn whole_job() {
    let fleet = Fleet::new("steer-job").with_standin(&json!({}));
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
    let out = steer(&fleet, &["pause", "-job", "the-job"]);
    assert_eq!(out.matches("  paused\n").count(), 5, "{out}");
    let job: Value = serde_json::from_str(&steer(&fleet, &["job", "the-j", "-json"])).unwrap();
    assert_eq!(
        (&job["state"], &job["states"]),
        (&json!("paused"), &json!({"completed": 1, "paused": 5}))
    );
    assert!((0..6).all(|n| masscans(&fleet.network(n)).is_empty()));
    let out = steer(&fleet, &["resume", "-job", "the-job"]);
    assert_eq!(out.matches("  queued\n").count(), 5, "{out}");
    wait_until("two to run", SOON, || {
        let running = (1..6).filter(|n| {
            fleet
                .task(&format!("job-task-{n}"))
                .is_some_and(|task| task.status == State::Running)
        });
        running.count() == 2
    });
    let out = steer(&fleet, &["cancel", "-job", "the-job"]);
    assert_eq!(out.matches("  cancelled\n").count(), 5, "{out}");
    assert!((0..6).all(|n| masscans(&fleet.network(n)).is_empty()));
    let (code, _, err) = said(&fleet, &["cancel", "-job", "the-job"]);
    assert_eq!(code, 1);
    assert!(
        err.contains("6 of 6 tasks of the job had already ended"),
        "{err}"
    );
    fleet.wait_committed(shared_kafka());
}

/// Orders from one client after the other, whatever the tasks are doing; one cancel in sixteen orders.
fn at_any_moment() {
    let fleet = Fleet::new("any-moment").with_standin(&json!({}));
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
    // A fixed sequence (Numerical Recipes' generator): the moments differ from run to run, the orders don't.
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
