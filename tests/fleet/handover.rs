//! Scans that move to another server in the middle: nothing is missing, and few probes are sent twice. With real masscan; probes are counted at
//! the targets.

use crate::support::{
    Fleet, SOON, Scand, count_probes, findings_of, new_network, probes_counted, wait_for,
    wait_until,
};
use crate::{Needs, Test};
use scan::model::State;
use serde_json::json;
use std::time::Duration;

pub const TESTS: &[Test] = &[
    (
        "a_scan_whose_server_is_killed_twice_is_complete",
        Needs::Lab,
        killed_twice,
    ),
    (
        "ports_retries_exclusions_and_shards_survive_a_handover",
        Needs::Lab,
        several_kinds,
    ),
    (
        "a_scan_resumed_at_another_rate_starts_earlier_and_is_complete",
        Needs::Lab,
        other_rates,
    ),
    (
        "a_checkpoint_of_another_probe_order_is_not_used",
        Needs::KafkaAndRedis,
        other_probe_order,
    ),
];

/// If every address answers, half of masscan's packets are resets. So the scan sends for 65 s; the rest is for the handovers.
const LONG: Duration = Duration::from_secs(200);

fn killed_twice() {
    let network = &new_network(17);
    let fleet = Fleet::new("handover");
    let mut servers: Vec<Scand> = ["a", "b", "c"]
        .into_iter()
        .map(|name| fleet.ready_scand(name, &[]))
        .collect();
    count_probes(network);
    let id = fleet.push_network(network, 1000, &["-wait", "2"]);
    for percent in [30.0, 65.0] {
        let lost = wait_for("the scan to make progress", LONG, || {
            let task = fleet.task(&id)?;
            let running = task.status == State::Running && task.progress > percent;
            running.then_some(task.server).flatten()
        });
        let server = servers.iter_mut().find(|server| server.name == lost);
        server.unwrap().kill();
    }
    let ended = fleet.wait_ended(&id, LONG);
    assert_eq!(ended.status, State::Completed, "{ended:?}");
    let all = findings_of(network, &[443]);
    let missing = &all - &fleet.findings(&id);
    let some: Vec<_> = missing.iter().take(5).collect();
    assert!(
        missing.is_empty(),
        "{} addresses are missing, {some:?}; {} probes",
        missing.len(),
        probes_counted(network)
    );
    let probes = probes_counted(network);
    assert!(
        (32_768..=32_768 * 135 / 100).contains(&probes),
        "{probes} probes for 32768 addresses"
    );
    // Answers that were in flight at a checkpoint are counted by neither run.
    assert!((32_000..=32_768).contains(&ended.found), "{}", ended.found);
}

/// One task of each kind, all on the same server, which is killed twice.
fn several_kinds() {
    let fleet = Fleet::new("kinds");
    const RATE: u64 = 100;
    let record = |id: &str, ip_range: &str, more: serde_json::Value| {
        let mut record = json!({
            "task_id": id, "ip_range": ip_range, "ports": "443", "band_width": RATE.to_string(), "wait_s": 1, "seed": 11
        });
        for (name, value) in more.as_object().unwrap() {
            record[name] = value.clone();
        }
        record.to_string()
    };
    let range = new_network(16);
    let range = range.trim_end_matches(".0.0/16");
    let holes = format!("{range}.8.7,{range}.8.64/27,{range}.9.200-{range}.10.9");
    let of_ports = format!("{range}.0.0/23");
    let of_retries = format!("{range}.4.0/23");
    let of_exclude = format!("{range}.8.0/22");
    let of_shards = format!("{range}.16.0/21");
    let records = [
        record("ports", &of_ports, json!({"ports": "80,443"})),
        record("retries", &of_retries, json!({"retries": 1})),
        record("exclude", &of_exclude, json!({"exclude": holes})),
        record(
            "shard-1",
            &of_shards,
            json!({"shard": "1/3", "band_width": "50"}),
        ),
        record(
            "shard-2",
            &of_shards,
            json!({"shard": "2/3", "band_width": "50"}),
        ),
        record(
            "shard-3",
            &of_shards,
            json!({"shard": "3/3", "band_width": "50"}),
        ),
    ];
    let ids = [
        "ports", "retries", "exclude", "shard-1", "shard-2", "shard-3",
    ];
    let networks = [&of_ports, &of_retries, &of_exclude, &of_shards];
    networks
        .into_iter()
        .for_each(|network| count_probes(network));

    let mut server = fleet.ready_scand("a", &["-slots", "6"]);
    fleet.push_raw(&records);
    for (next, percent) in [("b", 25.0), ("c", 55.0)] {
        wait_until("all scans to make progress", SOON, || {
            ids.iter().all(|id| {
                fleet.task(id).is_some_and(|task| {
                    task.progress > percent
                        && task.resume_index > 0
                        && task.server.as_deref() == Some(&server.name)
                })
            })
        });
        let resumes: Vec<(u32, u64)> = ids
            .iter()
            .map(|id| fleet.task(id).unwrap())
            .map(|task| (task.resume_pass, task.resume_index))
            .collect();
        server.kill();
        server = fleet.ready_scand(next, &["-slots", "6"]);
        for (id, resume) in ids.iter().zip(resumes) {
            // The checkpoint may have advanced between the read and the kill.
            server.wait_for_log(&format!("task {id}: continues at "));
            let start = resumed_at(&server, id);
            assert!(
                start >= resume,
                "{id}: started at {start:?}, checkpoint {resume:?}"
            );
        }
    }
    for id in ids {
        let ended = fleet.wait_ended(id, SOON);
        assert_eq!(ended.status, State::Completed, "{ended:?}");
    }
    let found = |ids: &[&str]| ids.iter().flat_map(|id| fleet.findings(id)).collect();
    assert!(findings_of(&of_ports, &[80, 443]) == found(&["ports"]));
    assert!(findings_of(&of_retries, &[443]) == found(&["retries"]));
    let excluded = findings_of(&holes, &[443]);
    let all = findings_of(&of_exclude, &[443]);
    assert!(
        &all - &excluded == found(&["exclude"]),
        "everything except the exclusions"
    );
    assert!(findings_of(&of_shards, &[443]) == found(&ids[3..]));

    // At each of the two kills, the probes of the last 4 s (3 s and a wait of 1 s) are repeated, and one percent because masscan's percentage is
    // rounded.
    let repeated = |probes: u64| 2 * (RATE * (1 + 3) + probes / 100);
    for (network, probes, tasks) in [
        (networks[0], 1024, 1),
        (networks[1], 2 * (512 + RATE), 1),
        (networks[2], 1024 - excluded.len() as u64, 1),
        (networks[3], 2048, 3),
    ] {
        let counted = probes_counted(network);
        let most = probes + tasks * repeated(probes);
        assert!(
            (probes..=most).contains(&counted),
            "{network}: {counted} probes, at most {most}"
        );
    }
}

/// The pass and index at which the last run of a task on this server started.
fn resumed_at(server: &Scand, id: &str) -> (u32, u64) {
    let log = server.log();
    let (_, rest) = log
        .rsplit_once(&format!("task {id}: continues at "))
        .unwrap();
    let words: Vec<&str> = rest.split([' ', ',']).collect();
    match words[..] {
        ["pass", pass, "", "index", index, ..] => (pass.parse().unwrap(), index.parse().unwrap()),
        ["index", index, ..] => (1, index.parse().unwrap()),
        _ => panic!("{rest}"),
    }
}

fn other_rates() {
    let fleet = Fleet::new("rates");
    let network = &new_network(22);
    let id = fleet.push_network(network, 150, &[]);
    let mut server = fleet.ready_scand("slow", &["-max-rate", "100"]);
    for (next, rate, percent) in [("fast", "150", 45.0), ("slower", "120", 60.0)] {
        wait_until("the scan to make progress", SOON, || {
            fleet.task(&id).is_some_and(|task| {
                task.progress > percent && task.server.as_deref() == Some(&server.name)
            })
        });
        let checkpoint = fleet.task(&id).unwrap().resume_index;
        server.kill();
        server = fleet.ready_scand(next, &["-max-rate", rate]);
        server.wait_for_log("an index stands for other probes");
        let (_, start) = resumed_at(&server, &id);
        if next == "fast" {
            assert!(
                start >= checkpoint - 50 && start > 0,
                "started at {start}, checkpoint {checkpoint}"
            );
        } else {
            assert_eq!(start, 0, "a slower run would skip the first indexes");
        }
    }
    let ended = fleet.wait_ended(&id, SOON);
    assert_eq!(ended.status, State::Completed);
    assert!(fleet.findings(&id) == findings_of(network, &[443]));
}

/// A checkpoint without the name of its probe order is not used, and neither is one for other addresses.
fn other_probe_order() {
    let fleet = Fleet::new("probe-order").with_standin(&json!({}));
    let network = fleet.network(0);
    let hole = network.replace("0/24", "200");
    let id = fleet.push_network(&network, 60, &[]);
    let mut server = fleet.ready_scand("a", &[]);
    let with_hole = ["-exclude", hole.as_str()];
    for (next, words, why) in [
        ("b", &[][..], "the checkpoint has no probe order"),
        ("c", &with_hole[..], "exclusions leave other addresses"),
    ] {
        wait_until("a checkpoint of this server", SOON, || {
            let field = |name| fleet.task_field(&id, name).unwrap_or_default();
            field("server") == server.name
                && !field("resume_for").is_empty()
                && field("resume_index")
                    .parse::<u64>()
                    .is_ok_and(|index| index > 0)
        });
        server.kill();
        if next == "b" {
            fleet.set_task_field(&id, "resume_for", "");
        }
        server = fleet.ready_scand(next, words);
        server.wait_for_log(&format!("task {id}: continues at index 0 of "));
        server.wait_for_log(why);
    }
    let ended = fleet.wait_ended(&id, SOON);
    assert_eq!((ended.status, ended.found), (State::Completed, 255));
    let hole = findings_of(&hole, &[443]);
    assert!(&findings_of(&network, &[443]) - &hole == &fleet.findings(&id) - &hole);
}
