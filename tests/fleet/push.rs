//! Pushes as a whole: lists with exclusions and shards down to the findings, and a Kafka that goes away in the middle.

use crate::support::{Fleet, OwnPeer, SOON, addresses};
use crate::{Needs, Test};
use scan::model::State;
use serde_json::Value;
use std::collections::BTreeSet;
use std::fs;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU16, Ordering};
use std::thread;

pub const TESTS: &[Test] = &[
    (
        "shards_of_a_list_with_exclusions_find_the_rest_of_it",
        Needs::Lab,
        shards_of_a_list,
    ),
    (
        "a_push_that_kafka_leaves_in_the_middle_is_resumed",
        Needs::Servers,
        resumed,
    ),
];

fn shards_of_a_list() {
    let fleet = Fleet::new("push-shards");
    let _server = fleet.ready_scand("a", &["-slots", "2"]);
    let (one, other) = (fleet.network(0), fleet.network(1));
    let (list, never) = (fleet.folder.join("targets"), fleet.folder.join("never"));
    let left_out = other.replace("0/24", "0/25");
    fs::write(
        &list,
        format!("# two networks\n{one}\n{other} # the second\n"),
    )
    .unwrap();
    fs::write(
        &never,
        format!("{}\r\n{left_out}\r\n", one.replace("0/24", "7")),
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
        assert!(part.is_disjoint(&found), "a shard has what is no other's");
        found.extend(part);
    }
    let mut wanted = addresses(&one, 443);
    wanted.remove(&(one.replace("0/24", "7"), 443));
    let second = addresses(&other, 443);
    let upper = |ip: &str| ip.rsplit('.').next().unwrap().parse::<u8>().unwrap() >= 128;
    wanted.extend(second.into_iter().filter(|(ip, _)| upper(ip)));
    assert_eq!(found, wanted);
}

/// A proxy to a Kafka that closes after this many bytes were sent through it.
struct Way {
    port: u16,
    to: Arc<AtomicU16>,
    left: Arc<AtomicI64>,
}

impl Way {
    /// Open, without an end, to wherever [`Way::leads_to`] says. Its threads end with the tests.
    fn new() -> Way {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let way = Way {
            port: listener.local_addr().unwrap().port(),
            to: Arc::default(),
            left: Arc::new(AtomicI64::new(i64::MAX)),
        };
        let (to, left) = (way.to.clone(), way.left.clone());
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let Ok(kafka) = TcpStream::connect(("127.0.0.1", to.load(Ordering::SeqCst))) else {
                    continue;
                };
                let (back, forth) = (kafka.try_clone().unwrap(), client.try_clone().unwrap());
                let left = left.clone();
                thread::spawn(move || carry(forth, kafka, &left));
                thread::spawn(move || carry(back, client, &AtomicI64::new(i64::MAX)));
            }
        });
        way
    }

    fn leads_to(&self, port: u16) {
        self.to.store(port, Ordering::SeqCst);
    }

    fn ends_after(&self, bytes: i64) {
        self.left.store(bytes, Ordering::SeqCst);
    }
}

fn carry(mut from: TcpStream, mut to: TcpStream, left: &AtomicI64) {
    let mut bytes = [0; 16 * 1024];
    while let Ok(count @ 1..) = from.read(&mut bytes) {
        let before = left.fetch_sub(count as i64, Ordering::SeqCst);
        if before < count as i64 || to.write_all(&bytes[..count]).is_err() {
            break;
        }
    }
    let _ = from.shutdown(Shutdown::Both);
    let _ = to.shutdown(Shutdown::Both);
}

fn resumed() {
    const TASKS: usize = 20_000;
    let mut fleet = Fleet::new("push-resumed");
    let way = Way::new();
    let advertised = format!("advertised.listeners=BROKER://127.0.0.1:{}", way.port);
    // Kafka's own start asks it over the way too, so that must lead there first.
    let kafka = {
        let to = way.to.clone();
        let port_file = fleet.folder.join("kafka/kafka.port");
        thread::spawn(move || {
            crate::support::wait_for("the port of Kafka", SOON, || {
                let text = fs::read_to_string(&port_file).ok()?;
                to.store(text.trim().parse().ok()?, Ordering::SeqCst);
                Some(())
            });
        });
        OwnPeer::start("kafka", &fleet, &[&advertised])
    };
    way.leads_to(kafka.0.port);
    fleet.kafka = format!("127.0.0.1:{}", kafka.0.port);
    // Makes the topic.
    let first = fleet.push(&["-ip", "10.0.0.1", "-ports", "80"]);

    let (list, rest) = (fleet.folder.join("targets"), fleet.folder.join("rest"));
    let targets: Vec<String> = (0..TASKS)
        .map(|n| format!("10.1.{}.{}", n / 250, n % 250))
        .collect();
    fs::write(&list, targets.join("\n")).unwrap();
    way.ends_after(2_000_000);
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
    let of_rest: BTreeSet<String> = fs::read_to_string(&rest)
        .unwrap()
        .lines()
        .map(|line| {
            serde_json::from_str::<Value>(line).unwrap()["task_id"]
                .as_str()
                .unwrap()
                .to_owned()
        })
        .collect();
    assert_eq!(acknowledged.len() + of_rest.len(), TASKS);
    assert!(acknowledged.is_disjoint(&of_rest));

    way.ends_after(i64::MAX);
    let topics_ids = || -> BTreeSet<String> {
        let records = fleet.records("tasks");
        records
            .iter()
            .map(|record| record["task_id"].as_str().unwrap().to_owned())
            .collect()
    };
    assert!(
        topics_ids().is_superset(&acknowledged),
        "what was acknowledged is in"
    );
    let resumed = fleet.push(&["-resume-push", rest.to_str().unwrap()]);
    assert_eq!(resumed.into_iter().collect::<BTreeSet<_>>(), of_rest);
    let all: BTreeSet<String> = first
        .into_iter()
        .chain(acknowledged)
        .chain(of_rest)
        .collect();
    assert_eq!(topics_ids(), all);
}
