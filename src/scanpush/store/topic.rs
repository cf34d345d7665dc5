//! Reads one topic from the offsets in the database. Records that cannot be read are reported as lost, never left out silently.

use super::merge::{Offsets, Portion};
use crate::kafka::{Fetched, KafkaError, KafkaSettings, LogRange, Reader, Record};
use crossbeam_channel::Receiver;
use std::collections::BTreeMap;
use std::time::Duration;

/// A parsed record, or the reason why it changes nothing.
pub type Parsed<T> = Result<T, &'static str>;

/// Turns a record of a partition into a value. The last argument is the present time, in unix seconds.
pub type Parse<T> = fn(i32, &Record, u64) -> Parsed<T>;

/// What one read yields.
pub struct Answer<T> {
    /// Records, and what is lost.
    pub portions: Vec<Portion<T>>,
    /// Why some partitions could not be read now.
    pub trouble: Option<String>,
}

/// What is to be printed about a topic.
#[derive(Debug, PartialEq, Eq)]
pub enum Notice {
    /// A line.
    Line(String),
    /// A batch, or a part of it, that cannot be read.
    Skipped {
        /// Its records.
        records: u64,
        /// The topic, the partition, the offsets and the reason.
        cause: String,
    },
}

/// How a topic is read.
pub struct Topic<T> {
    name: String,
    reader: Reader,
    parse: Parse<T>,
    /// The time of a finding, in unix seconds; none in topics whose gaps have no time.
    time: fn(&T) -> Option<u64>,
    cursors: Offsets,
    /// Records that are lost and were not passed on yet, by partition.
    losses: BTreeMap<i32, u64>,
    /// Partitions whose log was found to be empty behind the cursor, and its end. No record tells what was lost.
    emptied: Offsets,
    /// What is to be printed.
    notices: Vec<Notice>,
}

/// Longest expected delay between finding a service and sending the finding to Kafka, in seconds. A gap is taken to end this much after the latest
/// finding that follows it.
const SENDING_DELAY_MAX_S: u64 = 3600;

impl<T> Topic<T> {
    /// Connects, and continues at `cursors`; partitions without one at their beginning. Errs if the topic is missing or no broker answers.
    pub fn open(
        kafka: &KafkaSettings,
        name: &str,
        cursors: Offsets,
        parse: Parse<T>,
        time: fn(&T) -> Option<u64>,
        stop: &Receiver<()>,
    ) -> Result<Topic<T>, String> {
        Ok(Topic {
            reader: Reader::connect_until(kafka, name, stop).map_err(kafka_message)?,
            name: name.to_owned(),
            parse,
            time,
            cursors,
            losses: BTreeMap::new(),
            emptied: Offsets::new(),
            notices: Vec::new(),
        })
    }

    /// The topic's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What is to be printed since the last call. Each read adds at most one notice for each partition.
    pub fn take_notices(&mut self) -> Vec<Notice> {
        std::mem::take(&mut self.notices)
    }

    /// The offset after the last record of each partition; partitions without a leader are absent. Also moves cursors that are outside of the log, and notes the loss.
    pub fn ends(&mut self) -> Result<Offsets, String> {
        let ranges = self.reader.log_ranges().map_err(kafka_message)?;
        for (&partition, range) in &ranges {
            self.adjust(partition, *range);
        }
        Ok(ranges
            .into_iter()
            .map(|(partition, range)| (partition, range.next))
            .collect())
    }

    /// Whether everything below `ends` was read.
    pub fn has_reached(&self, ends: &Offsets) -> bool {
        // What was emptied is passed on by the next read.
        self.emptied.is_empty()
            && ends
                .iter()
                .all(|(partition, end)| self.cursor(*partition) >= *end)
    }

    /// A partition that has no end in `ends`, because it has no leader.
    pub fn leaderless(&self, ends: &Offsets) -> Option<i32> {
        let mut partitions = self.reader.partitions().into_iter();
        partitions.find(|partition| !ends.contains_key(partition))
    }

    /// The next offset that is read.
    pub fn cursor(&self, partition: i32) -> i64 {
        self.cursors.get(&partition).copied().unwrap_or(0)
    }

    /// Moves the cursor into the log, and notes what is lost.
    fn adjust(&mut self, partition: i32, range: LogRange) {
        let cursor = self.cursor(partition);
        if cursor > range.next || cursor < range.first {
            self.emptied.remove(&partition);
            if range.first == range.next {
                self.emptied.insert(partition, range.next);
            }
        }
        if cursor > range.next {
            self.cursors.insert(partition, range.first);
            self.lose(partition, range.first);
            self.note(format!(
                "{} partition {partition} ends at offset {}, but was read up to {cursor}: the topic was recreated, and is read from its beginning",
                self.name, range.next
            ));
        } else if cursor < range.first {
            self.cursors.insert(partition, range.first);
            self.lose(partition, range.first - cursor);
            self.note(format!(
                "{} partition {partition}: {} records were removed by Kafka before they were read (offsets {cursor} to {})",
                self.name,
                range.first - cursor,
                range.first - 1
            ));
        }
    }

    fn note(&mut self, line: String) {
        self.notices.push(Notice::Line(line));
    }

    fn lose(&mut self, partition: i32, count: i64) {
        *self.losses.entry(partition).or_default() += u64::try_from(count).unwrap_or(0);
    }

    /// Reads the next records of each partition, waiting up to `wait` for one. With `ends`, only partitions that have not reached their offset there.
    /// `now`: unix seconds. Returns what could be read even if some partitions cannot be read.
    pub fn read(
        &mut self,
        ends: Option<&Offsets>,
        wait: Duration,
        now: u64,
    ) -> Result<Answer<T>, String> {
        for partition in self.reader.partitions() {
            self.cursors.entry(partition).or_insert(0);
        }
        let mut wanted = self.cursors.clone();
        if let Some(ends) = ends {
            wanted.retain(|partition, next| ends.get(partition).is_some_and(|end| *next < *end));
        }
        let mut portions = Vec::new();
        for (partition, next) in std::mem::take(&mut self.emptied) {
            portions.push(self.skip(partition, next, 0, now));
        }
        let mut trouble = None;
        if !portions.is_empty() {
            return Ok(Answer { portions, trouble });
        }
        for (partition, fetched) in self.reader.fetch(&wanted, wait).map_err(kafka_message)? {
            match fetched {
                Fetched::Records(records) => portions.push(self.portion(partition, &records, now)),
                Fetched::Gap { next } => portions.push(self.skip(partition, next, 0, now)),
                Fetched::OutOfRange => {
                    let ranges = self.reader.log_ranges().map_err(kafka_message)?;
                    if let Some(range) = ranges.get(&partition) {
                        self.adjust(partition, *range);
                    }
                }
                Fetched::Unreadable { reason, next } | Fetched::Refused { reason, next } => {
                    let lost = next - self.cursor(partition);
                    self.notices.push(Notice::Skipped {
                        records: u64::try_from(lost).unwrap_or(0),
                        cause: reason,
                    });
                    portions.push(self.skip(partition, next, lost, now));
                }
                Fetched::Away { reason } => trouble = Some(format!("Kafka: {reason}")),
                Fetched::Gone => {
                    self.cursors.remove(&partition);
                    self.lose(partition, 0);
                    self.note(format!(
                        "{} partition {partition} no longer exists: the topic was deleted, or recreated with fewer partitions",
                        self.name
                    ));
                }
            }
        }
        Ok(Answer { portions, trouble })
    }

    fn portion(&mut self, partition: i32, records: &[Record], now: u64) -> Portion<T> {
        let next_offset = records
            .last()
            .map_or(self.cursor(partition), |last| last.offset + 1);
        self.cursors.insert(partition, next_offset);
        let parse = self.parse;
        let records: Vec<(i64, Parsed<T>)> = records
            .iter()
            .map(|record| (record.offset, parse(partition, record, now)))
            .collect();
        // The latest time, because a single finding may be late or have a wrong time.
        let time_after = || {
            let valid = records
                .iter()
                .filter_map(|(_, record)| record.as_ref().ok());
            let latest = valid.filter_map(self.time).max();
            latest.map_or(now, |time| (time + SENDING_DELAY_MAX_S).min(now))
        };
        let loss = self.losses.remove(&partition);
        let gap_until = loss.map_or(0, |_| time_after());
        Portion {
            partition,
            records,
            next_offset,
            lost: loss.unwrap_or(0),
            gap_until,
        }
    }

    /// Moves on without records.
    fn skip(&mut self, partition: i32, next: i64, lost: i64, now: u64) -> Portion<T> {
        self.cursors.insert(partition, next);
        if lost > 0 {
            self.lose(partition, lost);
        }
        let loss = self.losses.remove(&partition);
        Portion {
            partition,
            records: Vec::new(),
            next_offset: next,
            lost: loss.unwrap_or(0),
            gap_until: loss.map_or(0, |_| now),
        }
    }
}

fn kafka_message(error: KafkaError) -> String {
    format!("Kafka: {error}")
}
