//! Reads a topic from the caller's cursors.

use super::connection::{Client, KAFKA_ANSWER_WAIT, Leader, METADATA_EVERY};
use super::errors::describe_code;
use super::fetch_request::{Connections, Cursor, Portion, Wanted};
use super::record_batches::Budget;
use crate::kafka::brokers::Brokers;
use crate::kafka::client::ReaderClient;
use crate::kafka::error::KafkaError;
use crate::kafka::fetched::{Fetched, LogRange};
use crossbeam_channel::Receiver;
use kafka::client::{FetchOffset, KafkaClient};
use kafka::error::{Error, KafkaCode};
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

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
    /// Put back only after a successful fetch.
    connections: Connections,
    /// The partition that came first in the last fetch of several.
    last_first: i32,
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
        let client = Client::connect(brokers, topic, |_| {}, stop)?;
        Ok(Reader {
            client,
            unreadable: BTreeMap::new(),
            connections: Connections::default(),
            last_first: -1,
        })
    }

    /// One fetch for all partitions, and another one for each whose next batch did not fit beside those of the others, until the [`Budget`] of all of
    /// them is used up. Another partition comes first each time, so that all are read.
    fn fetch_once(
        &mut self,
        cursors: &BTreeMap<i32, i64>,
        wait: Duration,
    ) -> Result<BTreeMap<i32, Fetched>, KafkaError> {
        let (mut answers, to_fetch) = self.known_answers(cursors)?;
        let to_fetch = in_turn(&to_fetch, self.last_first);
        let is_alone = to_fetch.len() == 1;
        if let (Some(&(first, _)), false) = (to_fetch.first(), is_alone) {
            self.last_first = first;
        }
        let (mut portions, mut budget) = self.ask(&to_fetch, wait, Budget::default())?;
        for &(partition, cursor) in &to_fetch {
            let mut found = portions.remove(&partition);
            let is_incomplete = found.as_ref().is_some_and(Portion::is_incomplete);
            if !is_alone && budget.has_room() && is_incomplete {
                let mut alone;
                (alone, budget) = self.ask(&[(partition, cursor)], Duration::ZERO, budget)?;
                found = alone.remove(&partition);
            }
            // Without room it was not decoded.
            let fetched = found.and_then(|portion| match budget.has_room() {
                true => portion.result(cursor),
                false => portion.fetched,
            });
            let Some(fetched) = fetched else { continue };
            let answer = fetched.located(self.client.topic(), partition, cursor);
            if matches!(answer, Fetched::Unreadable { .. }) {
                self.remember_unreadable(partition, cursor, &answer);
            }
            answers.insert(partition, answer);
        }
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
                    Fetched::away(partition, describe_code(KafkaCode::LeaderNotAvailable))
                }
                (Some(Leader::NotAnswering(error)), _) => Fetched::away(partition, error),
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

    /// One fetch for all of `cursors`, and what is left of `budget`. Partitions without a leader, or without a result, are absent.
    fn ask(
        &mut self,
        cursors: &[Cursor],
        wait: Duration,
        mut budget: Budget,
    ) -> Result<(BTreeMap<i32, Portion>, Budget), KafkaError> {
        let mut wanted = Wanted::new();
        for &(partition, cursor) in cursors {
            let at = usize::try_from(partition).unwrap_or(usize::MAX);
            if let Some(address) = self.client.leaders().get(at).and_then(Leader::address) {
                match wanted.iter_mut().find(|of| of.0 == address) {
                    Some(of_leader) => of_leader.1.push((partition, cursor)),
                    None => wanted.push((address.to_owned(), vec![(partition, cursor)])),
                }
            }
        }
        // The answers are awaited one after the other.
        let each = wait / u32::try_from(wanted.len()).unwrap_or(u32::MAX).max(1);
        let topic = self.client.topic().to_owned();
        let doing = format!("read {topic}");
        let mut connections = std::mem::take(&mut self.connections);
        let (connections, portions, budget) = self.client.call(&doing, wait, move |_| {
            let portions = connections
                .fetch(&topic, &wanted, each, KAFKA_ANSWER_WAIT, &mut budget)
                .map_err(Error::Io)?;
            Ok((connections, portions, budget))
        })?;
        self.connections = connections;
        Ok((portions, budget))
    }

    fn remember_unreadable(&mut self, partition: i32, cursor: i64, answer: &Fetched) {
        let known = Unreadable {
            cursor,
            answer: answer.clone(),
            since: Instant::now(),
        };
        self.unreadable.insert(partition, known);
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

/// The result for one partition at `cursor`, fetched from the broker at `address` without TLS and login. None if the log has no more
/// records.
#[cfg(feature = "librdkafka")]
pub(in crate::kafka) fn fetch_partition(
    address: &str,
    topic: &str,
    partition: i32,
    cursor: i64,
) -> std::io::Result<Option<Fetched>> {
    let wanted = vec![(address.to_owned(), vec![(partition, cursor)])];
    let mut portions = Connections::default().fetch(
        topic,
        &wanted,
        Duration::ZERO,
        KAFKA_ANSWER_WAIT,
        &mut Budget::default(),
    )?;
    let portion = portions.remove(&partition);
    Ok(portion.and_then(|portion| portion.result(cursor)))
}

type Answers = BTreeMap<i32, Fetched>;

/// `cursors` in the order of their partitions, beginning with the one after `last_first`.
fn in_turn(cursors: &BTreeMap<i32, i64>, last_first: i32) -> Vec<Cursor> {
    let all = cursors
        .iter()
        .map(|(&partition, &cursor)| (partition, cursor));
    let (before, mut turn): (Vec<_>, Vec<_>) =
        all.partition(|&(partition, _)| partition <= last_first);
    turn.extend(before);
    turn
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_partition_comes_first_in_turn() {
        let cursors = BTreeMap::from([(0, 5), (2, 6), (7, 7)]);
        let mut last_first = -1;
        let mut firsts = Vec::new();
        for _ in 0..6 {
            let turn = in_turn(&cursors, last_first);
            assert_eq!(turn.iter().copied().collect::<BTreeMap<_, _>>(), cursors);
            last_first = turn[0].0;
            firsts.push(last_first);
        }
        assert_eq!(firsts, [0, 2, 7, 0, 2, 7]);
        assert_eq!(in_turn(&BTreeMap::new(), 3), []);
    }
}
