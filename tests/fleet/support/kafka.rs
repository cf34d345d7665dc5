//! The topics and offsets of a fleet, read and written by clients that are not ours (kcat and Kafka's own tools).

use super::environment::environment;
use super::fleet::Fleet;
use super::peer::Peer;
use super::wait::{SOON, wait_for, wait_until};
use scan::kafka::{KafkaError, KafkaSettings, Reader};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::process::{Command, Stdio};

/// kcat with the system's librdkafka: cargo's `LD_LIBRARY_PATH` has the folder of this project's own, which is built without zlib.
pub fn kcat_command() -> Command {
    let mut kcat = Command::new("kcat");
    kcat.env_remove("LD_LIBRARY_PATH");
    kcat
}

impl Fleet {
    /// Creates the task topic with this many partitions; otherwise Kafka creates it with one.
    pub fn with_partitions(self, count: u32) -> Fleet {
        self.with_topic("tasks", count)
    }

    /// Creates one of this fleet's topics with this many partitions.
    pub fn with_topic(self, kind: &str, count: u32) -> Fleet {
        let words = [
            "--create",
            "--topic",
            &self.topic(kind),
            "--partitions",
            &count.to_string(),
        ];
        environment().kafka.tool("topic", &words).unwrap();
        self
    }

    /// Puts raw records on the task topic with kcat.
    pub fn push_raw(&self, records: &[String]) {
        self.produce("tasks", records);
    }

    /// Puts raw records on one of this fleet's topics with kcat. A record must not contain a line break.
    pub fn produce(&self, kind: &str, records: &[String]) {
        self.produce_with(kind, records, "none");
    }

    /// As [`Fleet::produce`], compressed with `codec`.
    pub fn produce_with(&self, kind: &str, records: &[String], codec: &str) {
        self.kcat_produce(kind, &["-z", codec], records);
    }

    /// Writes one batch of `records` of `bytes` each, all zeros. With gzip 400 MB become 390 KB.
    pub fn produce_bomb(&self, kind: &str, codec: &str, records: usize, bytes: usize) {
        assert!(self.try_produce_bombs(kind, codec, 1, (records, bytes)));
    }

    /// Writes several such batches. Returns whether the broker has accepted them.
    pub fn try_produce_bombs(
        &self,
        kind: &str,
        codec: &str,
        batches: usize,
        (records, bytes): (usize, usize),
    ) -> bool {
        let batch_records = format!("batch.num.messages={records}");
        let words = [
            "message.max.bytes=1000000000",
            "batch.size=2147483647",
            &batch_records,
            "queue.buffering.max.kbytes=2000000",
            "queue.buffering.max.messages=0",
            // Long enough for all records to be in the batch.
            "linger.ms=5000",
        ];
        let words: Vec<&str> = words.iter().flat_map(|word| ["-X", word]).collect();
        let level = if codec == "gzip" { "9" } else { "-1" };
        let level = format!("compression.level={level}");
        let words = [&["-z", codec, "-X", &level][..], &words].concat();
        self.try_kcat_produce(kind, &words, &vec![vec![b'0'; bytes]; batches * records])
    }

    /// Writes batches of one record of 1000 zeros each.
    pub fn produce_small_batches(&self, kind: &str, codec: &str, batches: usize) {
        let words = ["-z", codec, "-X", "batch.num.messages=1"];
        self.kcat_produce(kind, &words, &vec![vec![b'0'; 1000]; batches]);
    }

    /// Writes one record to a partition of one of this fleet's topics.
    pub fn produce_to(&self, kind: &str, partition: u32, record: &str) {
        self.kcat_produce(kind, &["-p", &partition.to_string()], &[record.to_owned()]);
    }

    /// Writes records of any bytes but line breaks to a partition of one of this fleet's topics.
    pub fn produce_bytes_to(&self, kind: &str, partition: u32, records: &[Vec<u8>]) {
        self.kcat_produce(kind, &["-p", &partition.to_string()], records);
    }

    /// Damages a batch of partition 0 on the disk of `kafka`, the `number`th from 0 on: inverts a byte in the value of its first record.
    pub fn damage(&self, kafka: &Peer, kind: &str, number: usize) {
        let segment = format!("data/{}-0/00000000000000000000.log", self.topic(kind));
        let file = File::options()
            .read(true)
            .write(true)
            .open(kafka.folder.join(segment))
            .unwrap();
        let mut batch = 0;
        for _ in 0..number {
            let mut length = [0; 4];
            file.read_exact_at(&mut length, batch + 8).unwrap();
            batch += 12 + u64::from(u32::from_be_bytes(length));
        }
        // Beyond the headers of the batch and of the record.
        let mut byte = [0];
        file.read_exact_at(&mut byte, batch + 80).unwrap();
        file.write_all_at(&[!byte[0]], batch + 80).unwrap();
    }

    fn kcat_produce(&self, kind: &str, words: &[&str], records: &[impl AsRef<[u8]>]) {
        assert!(self.try_kcat_produce(kind, words, records));
    }

    fn try_kcat_produce(&self, kind: &str, words: &[&str], records: &[impl AsRef<[u8]>]) -> bool {
        let mut kcat = kcat_command()
            .args(["-P", "-b", &self.kafka, "-t", &self.topic(kind)])
            .args(words)
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        let mut input = kcat.stdin.take().unwrap();
        for record in records {
            let record = record.as_ref();
            assert!(!record.contains(&b'\n'), "kcat sends each line as a record");
            std::io::Write::write_all(&mut input, &[record, b"\n"].concat()).unwrap();
        }
        drop(input);
        kcat.wait().unwrap().success()
    }

    /// All records of one of this fleet's topics, read with kcat. Retries errors, because a broker that has just started may still be electing
    /// leaders.
    pub fn records(&self, kind: &str) -> Vec<Value> {
        let mut last = None;
        let what = format!("all records of {}", self.topic(kind));
        wait_for(&what, SOON, || match self.read_all(kind) {
            Ok(values) => Some(values),
            Err(error) => {
                let error = error.to_string();
                if last.as_ref() != Some(&error) {
                    eprintln!("{what}: {error}");
                }
                last = Some(error);
                None
            }
        })
    }

    /// The partition, offset and task of each finding.
    pub fn places_of_findings(&self) -> Vec<(usize, i64, String)> {
        let output = kcat_command()
            .args(["-C", "-q", "-e", "-o", "beginning", "-f", "%p\\t%o\\t%s\\n"])
            .args(["-b", &self.kafka, "-t", &self.topic("results")])
            .stdin(Stdio::null())
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
        let place = |line: &str| {
            let (partition, rest) = line.split_once('\t')?;
            let (offset, value) = rest.split_once('\t')?;
            let record: Value = serde_json::from_str(value).ok()?;
            let task = record["task_id"].as_str()?.to_owned();
            Some((partition.parse().ok()?, offset.parse().ok()?, task))
        };
        String::from_utf8_lossy(&output.stdout)
            .lines()
            .map(|line| place(line).unwrap_or_else(|| panic!("{line}")))
            .collect()
    }

    fn read_all(&self, kind: &str) -> Result<Vec<Value>, KafkaError> {
        const END: char = '\x1e'; // never occurs in JSON
        let settings = KafkaSettings::plaintext(self.kafka.parse().unwrap());
        let ranges = Reader::connect(&settings, &self.topic(kind))?.log_ranges()?;
        let count: i64 = ranges.values().map(|range| range.next - range.first).sum();
        if count == 0 {
            return Ok(Vec::new());
        }
        let output = kcat_command()
            .args(["-C", "-q", "-o", "beginning", "-f", "%s\\x1e"])
            .args(["-e", "-X", "fetch.wait.max.ms=10", "-c", &count.to_string()])
            .args(["-b", &self.kafka, "-t", &self.topic(kind)])
            .stdin(Stdio::null())
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
        Ok(String::from_utf8_lossy(&output.stdout)
            .split_terminator(END)
            .map(|value| serde_json::from_str(value).unwrap_or(Value::Null))
            .collect())
    }

    /// The distinct (ip, port) of a task's findings.
    pub fn findings(&self, id: &str) -> BTreeSet<(String, u64)> {
        self.records("results")
            .iter()
            .filter(|record| record["task_id"] == id)
            .map(|record| {
                (
                    record["ip"].as_str().unwrap().to_owned(),
                    record["port"].as_u64().unwrap(),
                )
            })
            .collect()
    }

    /// The records of a task on `scan-status`, in order.
    pub fn status_records(&self, id: &str) -> Vec<Value> {
        self.records("status")
            .into_iter()
            .filter(|record| record["task_id"] == id)
            .collect()
    }

    /// The group's offsets according to kafka-consumer-groups: partition → (committed, end of the log).
    pub fn offsets(&self, kafka: &Peer) -> BTreeMap<i32, (i64, i64)> {
        let table = kafka
            .tool("groups", &["--describe", "--group", &self.group])
            .unwrap_or_else(|error| {
                // Shown with a failed test: a wait for offsets reads them again.
                eprintln!("kafka-consumer-groups: {error}");
                String::new()
            });
        table
            .lines()
            .map(|line| line.split_whitespace().collect::<Vec<_>>())
            .filter(|row| row.first() == Some(&self.group.as_str()))
            .filter_map(|row| {
                Some((
                    row[2].parse().ok()?,
                    (row[3].parse().ok()?, row[4].parse().ok()?),
                ))
            })
            .collect()
    }

    /// Waits until the group has committed everything that was pushed.
    pub fn wait_committed(&self, kafka: &Peer) {
        wait_until("the committed offsets to reach the end", SOON, || {
            let offsets = self.offsets(kafka);
            !offsets.is_empty() && offsets.values().all(|(committed, end)| committed == end)
        });
    }
}
