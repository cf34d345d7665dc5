//! Reads a topic with the crate's fetch requests.

use super::connection::{Client, Leader, METADATA_EVERY};
use super::errors::{describe_client_error, describe_code};
use super::fetch_window::isolate::{FETCH_BYTES, Found, isolate};
use super::fetch_window::size::Window;
use crate::kafka::brokers::Brokers;
use crate::kafka::client::ReaderClient;
use crate::kafka::error::KafkaError;
use crate::kafka::fetched::{Fetched, LogRange, Record};
use crossbeam_channel::Receiver;
use kafka::client::fetch::{Partition, Response};
use kafka::client::{FetchOffset, FetchPartition, KafkaClient};
use kafka::error::{Error, KafkaCode};
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::time::{Duration, Instant};

/// Minimum number of bytes to fetch from each of many partitions, which share [`FETCH_BYTES`].
const FETCH_PARTITION_BYTES_MIN: i32 = 128 * 1024;
/// Pause before a fetch is repeated that returned early without a record.
const FETCH_AGAIN_PAUSE: Duration = Duration::from_millis(50);
/// The same if a partition is gone or has no leader. The other partitions wait for this long too.
const FETCH_STALE_PAUSE: Duration = Duration::from_secs(1);

/// Reads one topic.
#[derive(Debug)]
pub(in crate::kafka) struct Reader {
    client: Client,
    /// Batches that cannot be decoded, by partition, so that they are not examined again with each fetch.
    unreadable: BTreeMap<i32, Unreadable>,
    /// The size of the fetch window, by partition.
    windows: BTreeMap<i32, Window>,
}

#[derive(Debug)]
struct Unreadable {
    cursor: i64,
    answer: Fetched,
    since: Instant,
}

impl Reader {
    /// Connects; see [`Reader::connect_until`](crate::kafka::Reader::connect_until).
    pub(in crate::kafka) fn connect(
        brokers: &Brokers,
        topic: &str,
        stop: Receiver<()>,
    ) -> Result<Reader, KafkaError> {
        let prepare: fn(&mut KafkaClient) = |kafka| kafka.set_fetch_min_bytes(1);
        let client = Client::connect(brokers, topic, prepare, stop)?;
        Ok(Reader {
            client,
            unreadable: BTreeMap::new(),
            windows: BTreeMap::new(),
        })
    }

    /// One fetch for all partitions, then [`isolate`] for those whose result may be incomplete.
    fn fetch_once(
        &mut self,
        cursors: &BTreeMap<i32, i64>,
        wait: Duration,
    ) -> Result<BTreeMap<i32, Fetched>, KafkaError> {
        let (mut answers, to_fetch) = self.known_answers(cursors)?;
        for (partition, found) in self.fetch_windows(&to_fetch, wait)? {
            let Some(&cursor) = to_fetch.get(&partition) else {
                continue;
            };
            let answer = match found {
                Found::Other(Fetched::Away { reason }) => away(partition, &reason),
                Found::Other(answer) => answer,
                found if !found.is_complete(cursor) => {
                    match self.isolate_batch(partition, cursor) {
                        Err(KafkaError::Stopped) => return Err(KafkaError::Stopped),
                        // The other partitions' records are delivered all the same.
                        Err(error) => away(partition, &error.to_string()),
                        Ok(answer) => answer,
                    }
                }
                Found::Log { records, .. } => Fetched::Records(records),
                Found::Undecodable(_) => unreachable!("it is never complete"),
            };
            answers.insert(partition, answer);
        }
        answers
            .retain(|_, answer| !matches!(answer, Fetched::Records(records) if records.is_empty()));
        if answers.values().any(Fetched::is_stale) {
            self.client.forget_if_cheap();
        }
        Ok(answers)
    }

    /// The results for partitions that cannot be fetched, and the cursors of the others.
    fn known_answers(
        &mut self,
        cursors: &BTreeMap<i32, i64>,
    ) -> Result<(Answers, BTreeMap<i32, i64>), KafkaError> {
        self.client.refresh()?;
        self.unreadable
            .retain(|_, known| known.since.elapsed() < METADATA_EVERY);
        let (mut answers, mut to_fetch) = (Answers::new(), BTreeMap::new());
        for (&partition, &cursor) in cursors {
            let leader = usize::try_from(partition)
                .ok()
                .and_then(|at| self.client.leaders().get(at));
            let unreadable = self.unreadable.get(&partition);
            let known = unreadable.filter(|known| known.cursor == cursor);
            let answer = match (leader, known) {
                (None, _) => Fetched::Gone,
                (Some(Leader::Missing), _) => {
                    away(partition, describe_code(KafkaCode::LeaderNotAvailable))
                }
                (Some(Leader::NotAnswering(error)), _) => away(partition, &error.to_string()),
                (Some(Leader::At(_)), Some(known)) => known.answer.clone(),
                (Some(Leader::At(_)), None) => {
                    to_fetch.insert(partition, cursor);
                    continue;
                }
            };
            answers.insert(partition, answer);
        }
        Ok((answers, to_fetch))
    }

    /// One fetch for all of `cursors`, and further ones for partitions whose window was too small.
    fn fetch_windows(
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
        let (mut all, mut to_fetch, mut wait) = (BTreeMap::new(), cursors.clone(), wait);
        while !to_fetch.is_empty() {
            let found = self.ask(&to_fetch, full, wait)?;
            to_fetch.retain(|partition, cursor| {
                let window = self.windows.get_mut(partition);
                window.is_some_and(|window| match found.get(partition) {
                    Some(Found::Log { records, end }) => {
                        !adapt(window, records, *cursor, *end, full)
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
                    .windows
                    .entry(partition)
                    .or_insert_with(|| Window::new(full))
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
    fn isolate_batch(&mut self, partition: i32, cursor: i64) -> Result<Fetched, KafkaError> {
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
            Fetched::Unreadable { reason, next } => {
                self.remember_unreadable(partition, cursor, &reason, next)
            }
            other => other,
        })
    }

    fn remember_unreadable(
        &mut self,
        partition: i32,
        cursor: i64,
        reason: &str,
        next: i64,
    ) -> Fetched {
        let answer = Fetched::Unreadable {
            reason: format!(
                "partition {partition} of {}, offsets {cursor} to {}: {reason}",
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

impl ReaderClient for Reader {
    fn leading_brokers(&self) -> usize {
        self.client
            .leaders()
            .iter()
            .filter_map(Leader::address)
            .collect::<BTreeSet<_>>()
            .len()
    }

    fn partitions(&self) -> Vec<i32> {
        (0..).take(self.client.leaders().len()).collect()
    }

    fn log_ranges(&mut self) -> Result<BTreeMap<i32, LogRange>, KafkaError> {
        self.client.refresh()?;
        let silent = self
            .client
            .leaders()
            .iter()
            .find_map(|leader| match leader {
                Leader::NotAnswering(error) => Some(error.clone()),
                Leader::At(_) | Leader::Missing => None,
            });
        if let Some(error) = silent {
            // Kafka elects another leader, which only new metadata names.
            self.client.forget_if_cheap();
            return Err(error);
        }
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

    fn fetch(
        &mut self,
        cursors: &BTreeMap<i32, i64>,
        wait: Duration,
    ) -> Result<BTreeMap<i32, Fetched>, KafkaError> {
        let deadline = Instant::now() + wait;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let found = self.fetch_once(cursors, left)?;
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() || found.values().any(Fetched::is_urgent) {
                return Ok(found);
            }
            // The broker answered early, with a result that is not urgent or with bytes that are not records.
            let pause = match found.values().any(Fetched::is_stale) {
                true => FETCH_STALE_PAUSE,
                false => FETCH_AGAIN_PAUSE,
            };
            self.client.pause(pause.min(left))?;
        }
    }
}

/// Adapts the window to an answer. Returns false if the fetch has to be repeated with a larger window.
fn adapt(window: &mut Window, records: &[Record], cursor: i64, end: i64, full: i32) -> bool {
    match records.last() {
        None if end > cursor => !window.was_too_small(full),
        Some(last) if last.offset + 1 < end => {
            let bytes = records.iter().map(|record| record.value.len()).sum();
            window.after_answer(records.len(), bytes);
            true
        }
        _ => true,
    }
}

type Answers = BTreeMap<i32, Fetched>;

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

/// One round of fetch requests. If the answer cannot be parsed, all of its partitions count as undecodable, because the cause is unknown.
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
            let reason = describe_client_error(&error);
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
                "the broker cannot convert it for this program, probably because of zstd compression: set the topic's compression.type to \
                 producer, snappy or gzip, and use snappy, gzip or none in its producers (the broker's log has the cause)"
                    .to_owned(),
            ),
            ref other => Found::Other(Fetched::Away { reason: describe_client_error(other) }),
        },
    }
}

/// Whether an answer arrived but cannot be decoded. Then the connection is still usable.
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
