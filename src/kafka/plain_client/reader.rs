//! Reads a topic from cursors that the caller keeps. No consumer group, no stored offsets, and no record is dropped.
//!
//! **Invariant:** an error of one partition (deleted, without a leader, not decodable) is that partition's result and does not stop the
//! others.

use super::connection::Client;
use super::connection::METADATA_EVERY;
use super::errors::{client_error_in_words, code_in_words};
use super::fetch_window::isolate::{FETCH_BYTES, Found, isolate};
use super::fetch_window::size::Portion;
use crate::kafka::brokers::Brokers;
use crate::kafka::error::KafkaError;
use crate::kafka::fetched::{Fetched, LogRange, Record};
use crossbeam_channel::{Receiver, never};
use kafka::client::fetch::{Partition, Response};
use kafka::client::{FetchOffset, FetchPartition, KafkaClient};
use kafka::error::{Error, KafkaCode};
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::time::{Duration, Instant};

/// Least bytes to fetch from one of many partitions, which share [`FETCH_BYTES`].
const FETCH_PARTITION_BYTES_MIN: i32 = 128 * 1024;
/// Pause before a fetch is repeated that returned early without a record.
const FETCH_AGAIN_PAUSE: Duration = Duration::from_millis(50);
/// The same if a partition is gone or has no leader. The other partitions wait for this long too.
const FETCH_STALE_PAUSE: Duration = Duration::from_secs(1);

/// Reads one topic. After an error, or if the topic is gone, the next call connects again; the caller only pauses and repeats.
#[derive(Debug)]
pub struct Reader {
    client: Client,
    /// Batches that cannot be decoded, by partition, so that they are not examined again with each fetch.
    unreadable: BTreeMap<i32, Unreadable>,
    /// The size of the fetch window, by partition.
    portions: BTreeMap<i32, Portion>,
}

#[derive(Debug)]
struct Unreadable {
    cursor: i64,
    answer: Fetched,
    since: Instant,
}

impl Reader {
    /// Connects, makes Kafka create the topic if it may, and waits a moment for its leaders. Errs if the topic is missing or no broker
    /// answers.
    ///
    /// Once `stop` is closed, each call errs with [`KafkaError::Stopped`] at once, and the process has to end soon.
    pub fn connect_until(
        brokers: &Brokers,
        topic: &str,
        stop: &Receiver<()>,
    ) -> Result<Reader, KafkaError> {
        let prepare: fn(&mut KafkaClient) = |kafka| kafka.set_fetch_min_bytes(1);
        let client = Client::connect(brokers, topic, prepare, stop.clone())?;
        Ok(Reader {
            client,
            unreadable: BTreeMap::new(),
            portions: BTreeMap::new(),
        })
    }

    /// As [`Reader::connect_until`], without `stop`.
    pub fn connect(brokers: &Brokers, topic: &str) -> Result<Reader, KafkaError> {
        Reader::connect_until(brokers, topic, &never())
    }

    /// How many brokers a fetch asks, one after the other.
    pub fn leading_brokers(&self) -> usize {
        self.client
            .leaders()
            .iter()
            .flatten()
            .collect::<BTreeSet<_>>()
            .len()
    }

    /// The partitions of the topic, ascending, by the last metadata. Added partitions appear within [`METADATA_EVERY`].
    pub fn partitions(&self) -> Vec<i32> {
        (0..).take(self.client.leaders().len()).collect()
    }

    /// Where each partition's log begins and ends. Partitions without a leader are absent.
    pub fn log_ranges(&mut self) -> Result<BTreeMap<i32, LogRange>, KafkaError> {
        let topic = self.client.topic().to_owned();
        let doing = format!("look up the offsets of {topic}");
        self.client.call(&doing, Duration::ZERO, move |kafka| {
            let firsts = offsets(kafka, &topic, FetchOffset::Earliest)?;
            let nexts = offsets(kafka, &topic, FetchOffset::Latest)?;
            let both = firsts.into_iter().filter_map(|(partition, first)| {
                nexts
                    .get(&partition)
                    .map(|&next| (partition, LogRange { first, next }))
            });
            Ok(both.collect())
        })
    }

    /// Reads from `cursors` (the next offset of each partition), waiting up to `wait` for a record. Partitions without news are absent. Returns at
    /// once with a record or a cursor that is out of range; with other news, or without any, after `wait`, so that a caller may simply
    /// repeat it.
    pub fn fetch(
        &mut self,
        cursors: &BTreeMap<i32, i64>,
        wait: Duration,
    ) -> Result<BTreeMap<i32, Fetched>, KafkaError> {
        let deadline = Instant::now() + wait;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let found = self.fetch_once(cursors, left)?;
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() || found.values().any(is_urgent) {
                return Ok(found);
            }
            // The broker answered early: because of news that is not urgent, or of bytes in the log that are not records.
            let pause = match found.values().any(is_stale) {
                true => FETCH_STALE_PAUSE,
                false => FETCH_AGAIN_PAUSE,
            };
            self.client.pause(pause.min(left))?;
        }
    }

    /// One fetch for all partitions, then a closer one for those whose result is not reliable.
    fn fetch_once(
        &mut self,
        cursors: &BTreeMap<i32, i64>,
        wait: Duration,
    ) -> Result<BTreeMap<i32, Fetched>, KafkaError> {
        let (mut answers, to_ask) = self.sort_out(cursors)?;
        for (partition, found) in self.ask_for_portions(&to_ask, wait)? {
            let Some(&cursor) = to_ask.get(&partition) else {
                continue;
            };
            let answer = match found {
                Found::Other(Fetched::Away { reason }) => away(partition, &reason),
                Found::Other(answer) => answer,
                found if !found.is_sound(cursor) => self.look_closer(partition, cursor)?,
                Found::Log { records, .. } => Fetched::Records(records),
                Found::Undecodable(_) => unreachable!("it is never sound"),
            };
            answers.insert(partition, answer);
        }
        answers
            .retain(|_, answer| !matches!(answer, Fetched::Records(records) if records.is_empty()));
        if answers.values().any(is_stale) {
            self.client.forget();
        }
        Ok(answers)
    }

    /// The partitions that can be fetched, and the results for those that cannot.
    fn sort_out(
        &mut self,
        cursors: &BTreeMap<i32, i64>,
    ) -> Result<(Answers, BTreeMap<i32, i64>), KafkaError> {
        self.client.refresh()?;
        self.unreadable.retain(|partition, known| {
            cursors.get(partition) == Some(&known.cursor) && known.since.elapsed() < METADATA_EVERY
        });
        let (mut answers, mut to_ask) = (Answers::new(), BTreeMap::new());
        for (&partition, &cursor) in cursors {
            let leader = usize::try_from(partition)
                .ok()
                .and_then(|at| self.client.leaders().get(at));
            let answer = match (leader, self.unreadable.get(&partition)) {
                (None, _) => Fetched::Gone,
                (Some(None), _) => away(partition, code_in_words(KafkaCode::LeaderNotAvailable)),
                (Some(Some(_)), Some(known)) => known.answer.clone(),
                (Some(Some(_)), None) => {
                    to_ask.insert(partition, cursor);
                    continue;
                }
            };
            answers.insert(partition, answer);
        }
        Ok((answers, to_ask))
    }

    /// One fetch for all of `cursors`, and further ones for partitions whose window was too small.
    fn ask_for_portions(
        &mut self,
        cursors: &BTreeMap<i32, i64>,
        wait: Duration,
    ) -> Result<BTreeMap<i32, Found>, KafkaError> {
        let Some(share) = i32::try_from(cursors.len())
            .ok()
            .and_then(|count| FETCH_BYTES.checked_div(count))
        else {
            return Ok(BTreeMap::new());
        };
        let full = share.max(FETCH_PARTITION_BYTES_MIN);
        let (mut all, mut to_ask, mut wait) = (BTreeMap::new(), cursors.clone(), wait);
        while !to_ask.is_empty() {
            let found = self.ask(&to_ask, full, wait)?;
            to_ask.retain(|partition, cursor| {
                let portion = self.portions.get_mut(partition);
                portion.is_some_and(|portion| match found.get(partition) {
                    Some(Found::Log { records, end }) => {
                        !suits(portion, records, *cursor, *end, full)
                    }
                    _ => false,
                })
            });
            all.extend(found);
            wait = Duration::ZERO;
        }
        Ok(all)
    }

    /// One fetch for all of `cursors`, with at most `full` bytes for each partition.
    fn ask(
        &mut self,
        cursors: &BTreeMap<i32, i64>,
        full: i32,
        wait: Duration,
    ) -> Result<BTreeMap<i32, Found>, KafkaError> {
        let requests: Vec<Request> = cursors
            .iter()
            .map(|(&partition, &offset)| Request {
                partition,
                offset,
                bytes: self
                    .portions
                    .entry(partition)
                    .or_insert_with(|| Portion::new(full))
                    .bytes(full),
            })
            .collect();
        // The crate asks one broker after the other, so they share the wait.
        let each = wait
            / u32::try_from(self.leading_brokers())
                .unwrap_or(u32::MAX)
                .max(1);
        let topic = self.client.topic().to_owned();
        self.client
            .call(&format!("read {topic}"), wait, move |kafka| {
                kafka.set_fetch_max_wait_time(each)?;
                fetch(kafka, &topic, &requests)
            })
    }

    /// The records of one partition at `cursor`, fetched separately.
    fn look_closer(&mut self, partition: i32, cursor: i64) -> Result<Fetched, KafkaError> {
        let topic = self.client.topic().to_owned();
        let doing = format!("read partition {partition} of {topic}");
        let fetched = self.client.call(&doing, Duration::ZERO, move |kafka| {
            kafka.set_fetch_max_wait_time(Duration::ZERO)?;
            isolate(cursor, &mut |offset, bytes| {
                let mut found = fetch(
                    kafka,
                    &topic,
                    &[Request {
                        partition,
                        offset,
                        bytes,
                    }],
                )?;
                Ok(found
                    .remove(&partition)
                    .unwrap_or(Found::Other(Fetched::Gone)))
            })
        })?;
        Ok(match fetched {
            Fetched::Away { reason } => away(partition, &reason),
            Fetched::Unreadable { reason, next } => self.remember(partition, cursor, &reason, next),
            other => other,
        })
    }

    fn remember(&mut self, partition: i32, cursor: i64, reason: &str, next: i64) -> Fetched {
        let answer = Fetched::Unreadable {
            reason: format!(
                "partition {partition} of {}, offsets {cursor} to {}: {reason}; its producer is to use snappy, gzip or no compression",
                self.client.topic(),
                next - 1
            ),
            next,
        };
        let known = Unreadable {
            cursor,
            answer: answer.clone(),
            since: Instant::now(),
        };
        self.unreadable.insert(partition, known);
        answer
    }
}

/// Adapts the window to an answer. Returns false if more has to be fetched.
fn suits(portion: &mut Portion, records: &[Record], cursor: i64, end: i64, full: i32) -> bool {
    match records.last() {
        None if end > cursor => !portion.was_too_small(full),
        Some(last) if last.offset + 1 < end => {
            let bytes = records.iter().map(|record| record.value.len()).sum();
            portion.brought(records.len(), bytes);
            true
        }
        _ => true,
    }
}

type Answers = BTreeMap<i32, Fetched>;

/// What the caller has to know at once.
fn is_urgent(answer: &Fetched) -> bool {
    matches!(answer, Fetched::Records(_) | Fetched::OutOfRange)
}

/// What may change with new metadata.
fn is_stale(answer: &Fetched) -> bool {
    matches!(answer, Fetched::Gone | Fetched::Away { .. })
}

fn away(partition: i32, reason: &str) -> Fetched {
    Fetched::Away {
        reason: format!("partition {partition}: {reason}"),
    }
}

/// Where to read one partition, and how much.
struct Request {
    partition: i32,
    offset: i64,
    bytes: i32,
}

/// One round of fetch requests. If the answer cannot be parsed, none of its partitions is reliable, whichever caused
/// it.
fn fetch(
    kafka: &mut KafkaClient,
    topic: &str,
    requests: &[Request],
) -> Result<BTreeMap<i32, Found>, Error> {
    let partitions = requests.iter().map(|request| {
        FetchPartition::new(topic, request.partition, request.offset).with_max_bytes(request.bytes)
    });
    match kafka.fetch_messages(partitions) {
        Ok(responses) => Ok(responses.iter().flat_map(found_in).collect()),
        Err(error) if is_undecodable(&error) => {
            let reason = client_error_in_words(&error);
            Ok(requests
                .iter()
                .map(|request| (request.partition, Found::Undecodable(reason.clone())))
                .collect())
        }
        Err(error) => Err(error),
    }
}

fn found_in(response: &Response) -> impl Iterator<Item = (i32, Found)> {
    let partitions = response
        .topics()
        .iter()
        .flat_map(|topic| topic.partitions());
    partitions.map(|partition| (partition.partition(), found(partition)))
}

fn found(partition: &Partition<'_>) -> Found {
    match partition.data() {
        Ok(data) => Found::Log {
            records: data
                .messages()
                .iter()
                .map(|message| Record { offset: message.offset, value: message.value.to_vec() })
                .collect(),
            end: data.highwatermark_offset(),
        },
        Err(error) => match *error {
            Error::Kafka(KafkaCode::OffsetOutOfRange) => Found::Other(Fetched::OutOfRange),
            Error::Kafka(KafkaCode::UnknownTopicOrPartition) => Found::Other(Fetched::Gone),
            // The crate's error for every code above 35, such as 76: unsupported compression.
            Error::Kafka(KafkaCode::Unknown) => Found::Undecodable(
                "the broker can't convert it for this program (zstd compression? the broker's log says more)".to_owned(),
            ),
            ref other => Found::Other(Fetched::Away { reason: client_error_in_words(other) }),
        },
    }
}

/// Whether an answer came but cannot be decoded: the connection is still good.
fn is_undecodable(error: &Error) -> bool {
    match error {
        Error::UnsupportedCompression
        | Error::UnsupportedProtocol
        | Error::InvalidSnappy(_)
        | Error::UnexpectedEOF
        | Error::CodecError
        | Error::StringDecodeError
        | Error::Kafka(KafkaCode::CorruptMessage) => true,
        // gzip errors appear as these.
        Error::Io(error) => matches!(
            error.kind(),
            io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput | io::ErrorKind::Other
        ),
        _ => false,
    }
}

/// The offset of each partition that has a leader.
fn offsets(
    kafka: &mut KafkaClient,
    topic: &str,
    which: FetchOffset,
) -> Result<BTreeMap<i32, i64>, Error> {
    let offsets = kafka.fetch_topic_offsets(topic, which)?;
    // The crate uses -1 for an answer without an offset.
    let known = offsets.iter().filter(|known| known.offset >= 0);
    Ok(known.map(|known| (known.partition, known.offset)).collect())
}
