//! Tasks are distributed evenly among servers and by priority, whatever the number of partitions.

use crate::support::{Fleet, SOON, addresses};
use crate::{Needs, Test};
use scan::model::State;
use serde_json::Value;
use std::collections::BTreeMap;

pub const TESTS: &[Test] = &[
    ("two_pushes_go_to_two_servers", Needs::Lab, two_pushes),
    (
        "two_pushes_go_to_two_servers_with_five_partitions",
        Needs::Lab,
        two_pushes_five_partitions,
    ),
    (
        "eight_pushes_are_split_evenly_between_two_servers",
        Needs::Lab,
        eight_pushes,
    ),
    (
        "higher_priority_runs_first_and_equal_priorities_run_in_order",
        Needs::KafkaAndRedis,
        priorities,
    ),
    (
        "the_sum_of_rates_stays_within_max_rate",
        Needs::KafkaAndRedis,
        max_rate,
    ),
];

fn two_pushes() {
    each_server_runs_one(Fleet::new("two"));
}

fn two_pushes_five_partitions() {
    each_server_runs_one(Fleet::new("two-of-five").with_partitions(5));
}

fn each_server_runs_one(fleet: Fleet) {
    let servers = [fleet.ready_scand("a", &[]), fleet.ready_scand("b", &[])];
    let networks = [fleet.network(0), fleet.network(1)];
    let ids: Vec<String> = networks
        .iter()
        .map(|network| fleet.push_network(network, 800, &["-wait", "3"]))
        .collect();
    let ended: Vec<_> = ids.iter().map(|id| fleet.wait_ended(id, SOON)).collect();
    let mut servers_used: Vec<_> = ended
        .iter()
        .map(|task| task.server.clone().unwrap())
        .collect();
    servers_used.sort();
    assert_eq!(servers_used, ["a", "b"], "each server runs one");
    let [first, second] = &ended[..] else {
        panic!()
    };
    assert!(
        second.started_ms < first.finished_ms && first.started_ms < second.finished_ms,
        "they ran at the same time: {first:?} {second:?}"
    );
    for ((id, network), task) in ids.iter().zip(&networks).zip(&ended) {
        assert_eq!(
            (task.status, task.found, task.progress),
            (State::Completed, 256, 100.0)
        );
        assert_eq!(fleet.findings(id), addresses(network, 443));
    }
    drop(servers);
}

fn eight_pushes() {
    let fleet = Fleet::new("eight");
    let _servers = [
        fleet.ready_scand("a", &["-slots", "2"]),
        fleet.ready_scand("b", &["-slots", "2"]),
    ];
    // No scan ends before the last push, even on a busy machine: a server whose scan has ended would get more.
    let ids: Vec<String> = (0..8)
        .map(|n| fleet.push_network(&fleet.network(n), 800, &["-wait", "8"]))
        .collect();
    let mut tasks_of: BTreeMap<String, u32> = BTreeMap::new();
    for id in &ids {
        let task = fleet.wait_ended(id, SOON);
        assert_eq!(task.status, State::Completed, "{task:?}");
        *tasks_of.entry(task.server.unwrap()).or_default() += 1;
    }
    assert_eq!(tasks_of, BTreeMap::from([("a".into(), 4), ("b".into(), 4)]));
}

fn priorities() {
    let fleet = Fleet::new("priorities").with_standin(&serde_json::json!({}));
    let push =
        |n, priority: &str| fleet.push_network(&fleet.network(n), 1000, &["-priority", priority]);
    let (low, first, second, high) = (push(0, "1"), push(1, "5"), push(2, "5"), push(3, "9"));
    let _server = fleet.ready_scand("a", &["-slots", "1"]);
    let mut started: Vec<_> = [&high, &first, &second, &low]
        .map(|id| fleet.wait_ended(id, SOON).started_ms.unwrap())
        .into();
    let as_expected = started.clone();
    started.sort_unstable();
    assert_eq!(
        started, as_expected,
        "high, then both of priority 5 in order, then low"
    );
}

fn max_rate() {
    let fleet = Fleet::new("max-rate").with_standin(&serde_json::json!({}));
    let _server = fleet.ready_scand("a", &["-slots", "4", "-max-rate", "500"]);
    let ids = [
        fleet.push_network(&fleet.network(0), 300, &[]),
        fleet.push_network(&fleet.network(1), 300, &[]),
        fleet.push_network(&fleet.network(2), 9000, &[]),
    ];
    for id in &ids {
        assert_eq!(fleet.wait_ended(id, SOON).status, State::Completed);
    }
    let events = fleet.standin_events();
    let rates: Vec<u64> = events_named(&events, "start")
        .map(|event| event["rate"].as_u64().unwrap())
        .collect();
    assert_eq!(rates, [300, 300, 500], "the last one runs at the limit");
    assert_eq!(peak_rate(&events), 500, "never above the limit together");
}

pub fn events_named<'a>(events: &'a [Value], name: &'a str) -> impl Iterator<Item = &'a Value> {
    events.iter().filter(move |event| event["event"] == name)
}

/// The highest sum of the rates of runs that were sending at the same time, in packets per second.
pub fn peak_rate(events: &[Value]) -> u64 {
    let (mut sending, mut most) = (BTreeMap::new(), 0);
    for event in events {
        let pid = event["pid"].as_u64();
        match event["event"].as_str() {
            Some("start") => drop(sending.insert(pid, event["rate"].as_u64().unwrap())),
            Some("sent") => drop(sending.remove(&pid)),
            _ => {}
        }
        most = most.max(sending.values().sum());
    }
    most
}
