//! Reads a topic from its beginning, and knows what of it could not be read. Where Kafka is away it tries again, up to a bound.
//!
//! **Invariant:** nothing is passed over in silence: what is gone or can't be decoded is counted, and a partition that can't be
//! read ends the reading in an error.

use super::super::interrupt::Interrupt;
use crate::exit::{Exit, Failure};
use crate::kafka::{Brokers, Fetched, KafkaError, LogRange, Reader, Record};
use crate::model::Backoff;
use crate::model::backoff::CLIENT_WAIT;
use std::collections::BTreeMap;
use std::thread;
use std::time::{Duration, Instant};

/// An offset in each partition.
pub type Offsets = BTreeMap<i32, i64>;

/// A topic that is being read.
pub struct Log {
    reader: Reader,
    topic: String,
    interrupt: Interrupt,
    /// How long Kafka may be away.
    patience: Duration,
    /// The next offset to read.
    cursors: Offsets,
    /// Where each partition began when it was first looked at.
    begins: Offsets,
    /// What is wrong at present, and since when.
    trouble: Option<(Instant, String)>,
    backoff: Backoff,
    lost: Lost,
}

/// What of the topic could not be read, besides what was gone before.
#[derive(Debug, Default)]
pub struct Lost {
    /// Records that Kafka removed while they were about to be read.
    pub removed: i64,
    /// Why records could not be decoded, the first time.
    pub undecodable: Option<String>,
}

impl Log {
    /// Connects, and begins at the beginning. `patience` is how long Kafka may be away later.
    pub fn open(
        brokers: &Brokers,
        topic: &str,
        interrupt: &Interrupt,
        patience: Duration,
    ) -> Result<Log, Failure> {
        let reader = Reader::connect(brokers, topic).map_err(runtime)?;
        let mut log = Log {
            reader,
            topic: topic.to_owned(),
            interrupt: interrupt.clone(),
            patience: CLIENT_WAIT,
            cursors: Offsets::new(),
            begins: Offsets::new(),
            trouble: None,
            backoff: Backoff::new(),
            lost: Lost::default(),
        };
        let ranges = log.ranges()?;
        log.begins = ranges.iter().map(|(&p, range)| (p, range.first)).collect();
        log.cursors = log.begins.clone();
        log.patience = patience;
        Ok(log)
    }

    /// The topic's name.
    pub fn topic(&self) -> &str {
        &self.topic
    }

    /// Where each partition began when it was first looked at: what was below is gone.
    pub fn begins(&self) -> &Offsets {
        &self.begins
    }

    /// Where reading is.
    pub fn cursors(&self) -> &Offsets {
        &self.cursors
    }

    /// What could not be read so far.
    pub fn lost(&self) -> &Lost {
        &self.lost
    }

    /// What keeps Kafka from answering at present.
    pub fn trouble(&self) -> Option<&str> {
        self.trouble.as_ref().map(|(_, reason)| reason.as_str())
    }

    /// Goes on reading at `cursors`, where reading has been before.
    pub fn go_back(&mut self, cursors: Offsets) {
        self.cursors = cursors;
    }

    /// Where every partition ends now.
    pub fn ends(&mut self) -> Result<Offsets, Failure> {
        let ranges = self.ranges()?;
        Ok(ranges
            .into_iter()
            .map(|(p, range)| (p, range.next))
            .collect())
    }

    /// True where everything below `ends` was read.
    pub fn has_reached(&self, ends: &Offsets) -> bool {
        ends.iter()
            .all(|(partition, end)| self.cursors.get(partition).unwrap_or(&0) >= end)
    }

    /// The next records, by partition, of those that are below `ends`; waits up to `wait` for one. Empty also where Kafka is
    /// away; errs where it stays away.
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
                self.suffer(Some(error.to_string()))?;
                thread::sleep(self.backoff.pause());
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
                Fetched::OutOfRange => self.catch_up(partition)?,
                Fetched::Unreadable { reason, next } => {
                    self.lost.undecodable.get_or_insert(reason);
                    self.cursors.insert(partition, next);
                }
                Fetched::Away { reason } => trouble = Some(reason),
                Fetched::Gone => {
                    trouble = Some(format!("partition {partition} of {} is gone", self.topic));
                }
            }
        }
        self.suffer(trouble)?;
        Ok(all)
    }

    /// Kafka's retention has overtaken the cursor.
    fn catch_up(&mut self, partition: i32) -> Result<(), Failure> {
        let ranges = self.ranges()?;
        let cursor = self.cursors.get(&partition).copied().unwrap_or(0);
        let first = ranges.get(&partition).map_or(0, |range| range.first);
        if first <= cursor {
            return Err(Failure::Runtime(format!(
                "partition {partition} of {} was made anew while it was read",
                self.topic
            )));
        }
        self.lost.removed += first - cursor;
        self.cursors.insert(partition, first);
        Ok(())
    }

    /// Where every partition begins and ends; waits for those that have no leader at present.
    fn ranges(&mut self) -> Result<BTreeMap<i32, LogRange>, Failure> {
        loop {
            let trouble = match self.reader.log_ranges() {
                Ok(ranges) => {
                    let mut partitions = self.reader.partitions().into_iter();
                    match partitions.find(|partition| !ranges.contains_key(partition)) {
                        None => return self.suffer(None).map(|()| ranges),
                        Some(partition) => format!(
                            "partition {partition} of {} has no leader at present",
                            self.topic
                        ),
                    }
                }
                Err(error) => error.to_string(),
            };
            self.suffer(Some(trouble))?;
            if self.interrupt.came() {
                return Err(Failure::Found(Exit::Interrupted));
            }
            thread::sleep(self.backoff.pause());
        }
    }

    /// Notes what is wrong now; errs where something was for too long.
    fn suffer(&mut self, trouble: Option<String>) -> Result<(), Failure> {
        let Some(reason) = trouble else {
            self.trouble = None;
            return Ok(());
        };
        let since = self.trouble.get_or_insert((Instant::now(), reason)).0;
        match &self.trouble {
            Some((_, reason)) if since.elapsed() >= self.patience => {
                Err(Failure::Runtime(reason.clone()))
            }
            _ => Ok(()),
        }
    }
}

fn runtime(error: KafkaError) -> Failure {
    Failure::Runtime(error.to_string())
}
