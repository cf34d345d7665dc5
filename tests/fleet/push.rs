//! Pushes from the command line to the findings: target files with exclusions and shards, and a Kafka outage in the middle.

use crate::support::{Fleet, Proxy, SOON, addresses};
use crate::{Needs, Test};
use scan::model::State;
use serde_json::Value;
use std::collections::BTreeSet;
use std::fs;

pub const TESTS: &[Test] = &[
    (
        "shards_of_a_list_with_exclusions_find_everything_else",
        Needs::Lab,
        shards_of_a_list,
    ),
    (
        "a_push_interrupted_by_a_kafka_outage_can_be_resumed",
        Needs::KafkaAndRedis,
        resumed,
    ),
];

fn shards_of_a_list() {
    let fleet = Fleet::new("push-shards");
    let _server = fleet.ready_scand("a", &["-slots", "2"]);
    let (first, second) = (fleet.network(0), fleet.network(1));
    let (list, never) = (fleet.folder.join("targets"), fleet.folder.join("never"));
    let excluded = second.replace("0/24", "0/25");
    fs::write(
        &list,
        format!("# two networks\n{first}\n{second} # the second\n"),
    )
    .unwrap();
    fs::write(
        &never,
        format!("{}\r\n{excluded}\r\n", first.replace("0/24", "7")),
    )
    .unwrap();
    let files = [list.to_str().unwrap(), never.to_str().unwrap()];
    let mut words = vec!["-iL", files[0], "-excludefile", files[1], "-ports", "443"];
    words.extend([
        "-wait=1",
        "-shards=3",
        "-parallel=2",
        "-bandwidth=1k",
        "-job=shards",
    ]);
    let ids = fleet.push(&words);
    assert_eq!(ids.len(), 3);
    let records = fleet.records("tasks");
    let seeds: BTreeSet<u64> = records
        .iter()
        .map(|record| record["seed"].as_u64().unwrap())
        .collect();
    assert_eq!((records.len(), seeds.len()), (3, 1));
    for record in &records {
        assert_eq!(
            (&record["job_id"], &record["parallel"]),
            (&"shards".into(), &2.into())
        );
        assert_eq!(record["band_width"], "500");
    }
    let mut found = BTreeSet::new();
    for id in &ids {
        assert_eq!(fleet.wait_ended(id, SOON).status, State::Completed);
        let part = fleet.findings(id);
        assert!(part.is_disjoint(&found), "shards do not overlap");
        found.extend(part);
    }
    let mut expected = addresses(&first, 443);
    expected.remove(&(first.replace("0/24", "7"), 443));
    let upper_half = |ip: &str| ip.rsplit('.').next().unwrap().parse::<u8>().unwrap() >= 128;
    let of_second = addresses(&second, 443);
    expected.extend(of_second.into_iter().filter(|(ip, _)| upper_half(ip)));
    assert_eq!(found, expected);
}

fn resumed() {
    const TASKS: usize = 20_000;
    let mut fleet = Fleet::new("push-resumed");
    let proxy = Proxy::start();
    let kafka = fleet.start_kafka(&[&proxy.as_advertised_listener()]);
    proxy.set_target(kafka.0.port);
    // Creates the topic.
    let first = fleet.push(&["-ip", "10.0.0.1", "-ports", "80"]);

    let (list, rest) = (fleet.folder.join("targets"), fleet.folder.join("rest"));
    let targets: Vec<String> = (0..TASKS)
        .map(|n| format!("10.1.{}.{}", n / 250, n % 250))
        .collect();
    fs::write(&list, targets.join("\n")).unwrap();
    proxy.close_after(2_000_000);
    let rest_flag = format!("-rest={}", rest.display());
    let words = ["-iL", list.to_str().unwrap(), "-ports", "80", &rest_flag];
    let output = fleet.scanpush(&words);
    let (out, err) = (
        String::from_utf8(output.stdout).unwrap(),
        String::from_utf8(output.stderr).unwrap(),
    );
    assert_eq!(output.status.code(), Some(1), "{err}");
    let acknowledged: BTreeSet<String> = out.lines().map(str::to_owned).collect();
    assert!(
        (1..TASKS).contains(&acknowledged.len()),
        "{}: {err}",
        acknowledged.len()
    );
    assert!(
        err.contains(&format!(
            "{} of {TASKS} tasks acknowledged",
            acknowledged.len()
        )),
        "{err}"
    );
    assert!(
        err.contains(&format!("scanpush -resume-push {}", rest.display())),
        "{err}"
    );
    assert!(err.lines().count() < 30, "{err}");
    let unacknowledged: BTreeSet<String> = fs::read_to_string(&rest)
        .unwrap()
        .lines()
        .map(|line| {
            serde_json::from_str::<Value>(line).unwrap()["task_id"]
                .as_str()
                .unwrap()
                .to_owned()
        })
        .collect();
    assert_eq!(acknowledged.len() + unacknowledged.len(), TASKS);
    assert!(acknowledged.is_disjoint(&unacknowledged));

    proxy.close_after(i64::MAX);
    let ids_in_topic = || -> BTreeSet<String> {
        let records = fleet.records("tasks");
        records
            .iter()
            .map(|record| record["task_id"].as_str().unwrap().to_owned())
            .collect()
    };
    assert!(
        ids_in_topic().is_superset(&acknowledged),
        "acknowledged tasks are in the topic"
    );
    let resumed = fleet.push(&["-resume-push", rest.to_str().unwrap()]);
    assert_eq!(resumed.into_iter().collect::<BTreeSet<_>>(), unacknowledged);
    let all: BTreeSet<String> = first
        .into_iter()
        .chain(acknowledged)
        .chain(unacknowledged)
        .collect();
    assert_eq!(ids_in_topic(), all);
}
