//! Reads a topic from its beginning, and records what could not be read. If Kafka is unreachable it retries, up to a bound.
//!
//! **Invariant:** nothing is skipped silently: removed and undecodable records are noted, and a partition that stays unreadable ends
//! reading with an error.

use super::super::interrupt::Interrupt;
use crate::exit::{Exit, Failure};
use crate::kafka::{Fetched, KafkaError, KafkaSettings, LogRange, Reader, Record};
use crate::model::Backoff;
use crate::model::backoff::CLIENT_WAIT;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// An offset in each partition.
pub type Offsets = BTreeMap<i32, i64>;

/// A topic that is being read.
pub struct TopicReader {
    reader: Reader,
    topic: String,
    interrupt: Interrupt,
    /// Longest outage of Kafka that is waited for.
    outage_max: Duration,
    /// The next offset to read.
    cursors: Offsets,
    /// The first offset of each partition when reading started.
    starts: Offsets,
    /// The present outage: its start and its first error.
    trouble: Option<(Instant, String)>,
    backoff: Backoff,
    losses: Losses,
}

/// Records that could not be read, apart from those removed before reading started.
#[derive(Debug, Default)]
pub struct Losses {
    /// Number of records that Kafka removed before they were read.
    pub removed: i64,
    /// The first error of undecodable records.
    pub undecodable: Option<String>,
}

impl TopicReader {
    /// Connects and starts at the beginning. `outage_max` bounds later outages; during this call the bound is [`CLIENT_WAIT`].
    pub fn open(
        kafka: &KafkaSettings,
        topic: &str,
        interrupt: &Interrupt,
        outage_max: Duration,
    ) -> Result<TopicReader, Failure> {
        let reader = Reader::connect(kafka, topic).map_err(runtime)?;
        let mut log = TopicReader {
            reader,
            topic: topic.to_owned(),
            interrupt: interrupt.clone(),
            outage_max: CLIENT_WAIT,
            cursors: Offsets::new(),
            starts: Offsets::new(),
            trouble: None,
            backoff: Backoff::new(),
            losses: Losses::default(),
        };
        let ranges = log.ranges()?;
        log.starts = ranges.iter().map(|(&p, range)| (p, range.first)).collect();
        log.cursors = log.starts.clone();
        log.outage_max = outage_max;
        Ok(log)
    }

    /// The topic's name.
    pub fn name(&self) -> &str {
        &self.topic
    }

    /// The first offset of each partition when reading started. Records below it had been removed.
    pub fn starts(&self) -> &Offsets {
        &self.starts
    }

    /// The next offset of each partition.
    pub fn cursors(&self) -> &Offsets {
        &self.cursors
    }

    /// The records that could not be read so far.
    pub fn losses(&self) -> &Losses {
        &self.losses
    }

    /// The error of the present outage.
    pub fn trouble(&self) -> Option<&str> {
        self.trouble.as_ref().map(|(_, reason)| reason.as_str())
    }

    /// Continues at `cursors`, at which reading has been before.
    pub fn seek(&mut self, cursors: Offsets) {
        self.cursors = cursors;
    }

    /// The present end of each partition.
    pub fn end_offsets(&mut self) -> Result<Offsets, Failure> {
        let ranges = self.ranges()?;
        Ok(ranges
            .into_iter()
            .map(|(p, range)| (p, range.next))
            .collect())
    }

    /// True if everything below `ends` was read.
    pub fn has_reached(&self, ends: &Offsets) -> bool {
        ends.iter()
            .all(|(partition, end)| self.cursors.get(partition).unwrap_or(&0) >= end)
    }

    /// The next records of each partition that has not reached its offset in `ends`. Waits up to `wait` for a record. Returns
    /// nothing during an outage; fails if the outage lasts too long.
    pub fn read(
        &mut self,
        ends: Option<&Offsets>,
        wait: Duration,
    ) -> Result<Vec<(i32, Vec<Record>)>, Failure> {
        for partition in self.reader.partitions() {
            self.cursors.entry(partition).or_insert(0);
        }
        let mut wanted = self.cursors.clone();
        if let Some(ends) = ends {
            wanted.retain(|partition, next| ends.get(partition).is_some_and(|end| *next < *end));
        }
        let found = match self.reader.fetch(&wanted, wait) {
            Ok(found) => found,
            Err(error) => {
                self.note_trouble(Some(error.to_string()))?;
                // After Ctrl-C the caller does not read again.
                self.interrupt.wait(self.backoff.pause());
                return Ok(Vec::new());
            }
        };
        self.backoff.reset();
        let (mut all, mut trouble) = (Vec::new(), None);
        for (partition, fetched) in found {
            match fetched {
                Fetched::Records(records) => {
                    let last = records.last().map_or(0, |record| record.offset);
                    self.cursors.insert(partition, last + 1);
                    all.push((partition, records));
                }
                Fetched::Gap { next } => {
                    self.cursors.insert(partition, next);
                }
                Fetched::OutOfRange => self.skip_removed(partition)?,
                Fetched::Unreadable { reason, next } | Fetched::Refused { reason, next } => {
                    self.losses.undecodable.get_or_insert(reason);
                    self.cursors.insert(partition, next);
                }
                Fetched::Away { reason } => trouble = Some(reason),
                Fetched::Gone => {
                    trouble = Some(format!(
                        "partition {partition} of {} no longer exists",
                        self.topic
                    ));
                }
            }
        }
        self.note_trouble(trouble)?;
        Ok(all)
    }

    /// Moves the cursor to the first remaining record, after Kafka's retention has removed records above it.
    fn skip_removed(&mut self, partition: i32) -> Result<(), Failure> {
        let ranges = self.ranges()?;
        let cursor = self.cursors.get(&partition).copied().unwrap_or(0);
        let first = ranges.get(&partition).map_or(0, |range| range.first);
        if first <= cursor {
            return Err(Failure::Runtime(format!(
                "partition {partition} of {} was deleted and recreated during reading",
                self.topic
            )));
        }
        self.losses.removed += first - cursor;
        self.cursors.insert(partition, first);
        Ok(())
    }

    /// The offset range of every partition. Waits for partitions that have no leader.
    fn ranges(&mut self) -> Result<BTreeMap<i32, LogRange>, Failure> {
        loop {
            let trouble = match self.reader.log_ranges() {
                Ok(ranges) => {
                    let mut partitions = self.reader.partitions().into_iter();
                    match partitions.find(|partition| !ranges.contains_key(partition)) {
                        None => return self.note_trouble(None).map(|()| ranges),
                        Some(partition) => {
                            format!("partition {partition} of {} has no leader", self.topic)
                        }
                    }
                }
                Err(error) => error.to_string(),
            };
            self.note_trouble(Some(trouble))?;
            if self.interrupt.wait(self.backoff.pause()) {
                return Err(Failure::Found(Exit::Interrupted));
            }
        }
    }

    /// Notes the present error, or the end of an outage. Fails if the outage has lasted too long.
    fn note_trouble(&mut self, trouble: Option<String>) -> Result<(), Failure> {
        let Some(reason) = trouble else {
            self.trouble = None;
            return Ok(());
        };
        let since = self.trouble.get_or_insert((Instant::now(), reason)).0;
        match &self.trouble {
            Some((_, reason)) if since.elapsed() >= self.outage_max => {
                Err(Failure::Runtime(reason.clone()))
            }
            _ => Ok(()),
        }
    }
}

fn runtime(error: KafkaError) -> Failure {
    Failure::Runtime(error.to_string())
}
