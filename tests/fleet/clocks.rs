//! Redis' clock jumps by an hour, forward and back, while scans run and tasks wait.

use crate::support::{Fleet, OwnPeer, RedisClock, SOON, addresses, wait_for, wait_until};
use crate::{Needs, Test};
use scan::model::State;
use serde_json::{Value, json};
use std::thread;
use std::time::{Duration, Instant};

const HOUR_S: i64 = 3600;
/// Within this time another server has a task whose server died, with the lease of 3 s that tests use.
const TAKEN_OVER_WITHIN: Duration = Duration::from_secs(20);

pub const TESTS: &[Test] = &[
    (
        "running_scans_survive_jumps_of_redis_clock",
        Needs::KafkaAndRedis,
        scans_survive,
    ),
    (
        "a_dead_servers_lease_ends_in_time_after_redis_clock_went_back",
        Needs::KafkaAndRedis,
        lease_ends,
    ),
    (
        "a_delayed_task_runs_in_time_after_redis_clock_went_back",
        Needs::KafkaAndRedis,
        delayed,
    ),
];

fn with_clock(name: &str, plan: &Value) -> (Fleet, OwnPeer, RedisClock) {
    let mut fleet = Fleet::new(name).with_standin(plan);
    let (redis, clock) = fleet.start_redis_with_clock();
    (fleet, redis, clock)
}

fn scans_survive() {
    let (fleet, _redis, clock) = with_clock("clock-jumps", &json!({}));
    let servers = ["a", "b"].map(|name| fleet.ready_scand(name, &["-slots", "1"]));
    let networks = [0, 1].map(|n| fleet.network(n));
    let ids = networks
        .each_ref()
        .map(|network| fleet.push_network(network, 15, &[]));
    for id in &ids {
        fleet.wait_progress(id, 5.0);
    }
    assert_ne!(
        fleet.task(&ids[0]).unwrap().server,
        fleet.task(&ids[1]).unwrap().server
    );
    for ahead_s in [HOUR_S, 2 * HOUR_S, HOUR_S, -HOUR_S, 0] {
        clock.set_ahead(ahead_s);
        // Longer than both servers take to renew, and to reap what has expired.
        thread::sleep(Duration::from_millis(1500));
    }
    for (id, network) in ids.iter().zip(&networks) {
        let ended = fleet.wait_ended(id, SOON);
        assert_eq!((ended.status, ended.attempt), (State::Completed, 1));
        assert_eq!(fleet.task_field(id, "lost"), Some("0".to_owned()));
        assert_eq!(fleet.findings(id), addresses(network, 443));
    }
    assert_eq!(fleet.standin_starts(), 2, "no scan was started again");
    for jump in ["jumped by 3", "jumped by -3"] {
        let is_logged = servers.iter().any(|server| server.log().contains(jump));
        assert!(is_logged, "{jump}");
    }
    for server in &servers {
        assert!(
            !server.log().contains("stopped renewing"),
            "{}",
            server.log()
        );
    }
}

fn lease_ends() {
    let (fleet, _redis, clock) = with_clock("clock-dead-server", &json!({}));
    let mut dead = fleet.ready_scand("dead", &[]);
    let network = fleet.network(0);
    let id = fleet.push_network(&network, 15, &[]);
    fleet.wait_progress(&id, 5.0);
    let _alive = fleet.ready_scand("alive", &[]);
    dead.kill();
    clock.set_ahead(-HOUR_S);
    let since = Instant::now();
    wait_until("the other server to run the task", SOON, || {
        let task = fleet.task(&id).unwrap();
        task.status == State::Running && task.server.as_deref() == Some("alive")
    });
    assert!(since.elapsed() < TAKEN_OVER_WITHIN, "{:?}", since.elapsed());
    assert_eq!(fleet.task_field(&id, "lost"), Some("1".to_owned()));
    assert_eq!(fleet.wait_ended(&id, SOON).status, State::Completed);
    assert_eq!(fleet.findings(&id), addresses(&network, 443));
}

fn delayed() {
    let plan = json!({"only_first": 3, "fail": {"stderr": "FAIL: no", "exit_code": 1}});
    let (fleet, _redis, clock) = with_clock("clock-delayed", &plan);
    let _server = fleet.ready_scand("a", &[]);
    let id = fleet.push_network(&fleet.network(0), 10_000, &["-attempts", "5"]);
    // The third delay is 4 to 8 s long.
    wait_for("the third attempt to fail", SOON, || {
        fleet
            .task(&id)
            .filter(|task| task.attempt == 3 && task.retry_ms.is_some())
    });
    clock.set_ahead(-HOUR_S);
    let since = Instant::now();
    assert_eq!(fleet.wait_ended(&id, SOON).status, State::Completed);
    assert!(since.elapsed() < TAKEN_OVER_WITHIN, "{:?}", since.elapsed());
}
