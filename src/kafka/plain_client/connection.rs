//! A connection to Kafka for one topic, re-established after errors.
//!
//! **Invariant:** a `KafkaClient` is never reused after an error. It is dropped, and the next call makes a new one. The same happens after
//! [`METADATA_EVERY`], because of moved leaders, added partitions and connections that the broker closed as idle. No call waits longer than its
//! bound, although the crate's sockets do (120 s).

use super::api_versions::{CLIENT_ID, first_that_answers, not_answering};
use super::errors::is_closed;
use crate::kafka::brokers::Brokers;
use crate::kafka::deadline::DeadlineThread;
use crate::kafka::error::{CLOSED_WITHOUT_LOGIN, KafkaError};
use crate::model::Backoff;
use crossbeam_channel::Receiver;
use kafka::client::KafkaClient;
use kafka::error::Error;
use std::collections::BTreeSet;
use std::thread;
use std::time::{Duration, Instant};

/// Interval at which metadata (leaders, added partitions) is read again.
pub(in crate::kafka) const METADATA_EVERY: Duration = Duration::from_secs(60);
/// Longest time for a request, beyond the wait that the request itself asks for. The crate's own is 120 s.
pub(in crate::kafka) const KAFKA_ANSWER_WAIT: Duration = Duration::from_secs(10);
/// Longest time until a topic has leaders after a first request has made Kafka create it.
const TOPIC_WAIT: Duration = Duration::from_secs(3);

/// A client for one topic, connected or not.
#[derive(Debug)]
pub(in crate::kafka) struct Client {
    brokers: Brokers,
    topic: String,
    prepare: fn(&mut KafkaClient),
    open: Option<Open>,
    caller: DeadlineThread,
    /// The leader of each partition by the last metadata.
    leaders: Vec<Leader>,
    /// Whether all partitions have had a leader. From then on, a call does not wait for a missing leader.
    complete: bool,
}

/// A connected client.
#[derive(Debug)]
struct Open {
    kafka: KafkaClient,
    since: Instant,
    /// How long it took to connect and to ask each leader.
    took: Duration,
}

/// The broker that leads a partition, by the last metadata.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::kafka) enum Leader {
    /// It answers at this address (`HOST:PORT`).
    At(String),
    /// The partition has none.
    Missing,
    /// It does not answer. The partitions of other leaders can be used all the same.
    NotAnswering(KafkaError),
}

impl Leader {
    /// Its address, if it answers.
    pub(in crate::kafka) fn address(&self) -> Option<&str> {
        match self {
            Leader::At(address) => Some(address),
            Leader::Missing | Leader::NotAnswering(_) => None,
        }
    }
}

impl Client {
    /// For `brokers`; `prepare` sets options of the crate's client. Connects with the first call.
    pub(in crate::kafka) fn new(
        brokers: &Brokers,
        topic: &str,
        prepare: fn(&mut KafkaClient),
    ) -> Client {
        Client {
            brokers: brokers.clone(),
            topic: topic.to_owned(),
            prepare,
            open: None,
            caller: DeadlineThread::default(),
            leaders: Vec::new(),
            complete: false,
        }
    }

    /// As [`Client::new`], but connects at once, and Kafka creates the topic if it is allowed to. Errs as [`Client::call`] does, and with
    /// [`KafkaError::TopicMissing`]. Once `stop` is closed, no call waits; see [`DeadlineThread::until`].
    pub(in crate::kafka) fn connect(
        brokers: &Brokers,
        topic: &str,
        prepare: fn(&mut KafkaClient),
        stop: Receiver<()>,
    ) -> Result<Client, KafkaError> {
        let mut client = Client::new(brokers, topic, prepare);
        client.caller = DeadlineThread::until(stop);
        client.refresh()?;
        Ok(client)
    }

    /// Waits for `pause`; errs if `stop` closes.
    pub(in crate::kafka) fn pause(&self, pause: Duration) -> Result<(), KafkaError> {
        self.caller.pause(pause)
    }

    /// The brokers as configured.
    pub(in crate::kafka) fn brokers(&self) -> &Brokers {
        &self.brokers
    }

    /// The topic's name.
    pub(in crate::kafka) fn topic(&self) -> &str {
        &self.topic
    }

    /// The leader of each partition by the last metadata.
    pub(in crate::kafka) fn leaders(&self) -> &[Leader] {
        &self.leaders
    }

    /// Connects again if that is due, so that [`Client::leaders`] is up to date.
    pub(in crate::kafka) fn refresh(&mut self) -> Result<(), KafkaError> {
        self.open = Some(self.take_or_connect()?);
        Ok(())
    }

    /// Runs `work` with a connected client. `doing` names the operation ("read scan-tasks"); `wait` is how long the request itself asks the broker
    /// to wait, to which [`KAFKA_ANSWER_WAIT`] is added. After any error the next call connects again.
    pub(in crate::kafka) fn call<T, W>(
        &mut self,
        doing: &str,
        wait: Duration,
        work: W,
    ) -> Result<T, KafkaError>
    where
        T: Send + 'static,
        W: FnOnce(&mut KafkaClient) -> Result<T, Error> + Send + 'static,
    {
        self.call_within(doing, wait + KAFKA_ANSWER_WAIT, work)
    }

    /// As [`Client::call`], but waits for `wait` only, once connected.
    pub(in crate::kafka) fn call_within<T, W>(
        &mut self,
        doing: &str,
        wait: Duration,
        work: W,
    ) -> Result<T, KafkaError>
    where
        T: Send + 'static,
        W: FnOnce(&mut KafkaClient) -> Result<T, Error> + Send + 'static,
    {
        let mut open = self.take_or_connect()?;
        let asked = format!("{}: {doing}", self.brokers);
        let (open, result) = self.caller.within(wait, &asked, move || {
            let result = work(&mut open.kafka);
            Ok((open, result))
        })?;
        let value = result.map_err(|error| KafkaError::client(&self.brokers, doing, &error))?;
        self.open = Some(open);
        Ok(value)
    }

    /// Makes the next call connect again: the metadata is out of date.
    pub(in crate::kafka) fn forget(&mut self) {
        self.open = None;
    }

    /// As [`Client::forget`], but only if the connection has lasted at least four times as long as it took to connect. Each reconnect waits for
    /// every leader that does not answer, so this limits connecting to a fifth of the time.
    pub(in crate::kafka) fn forget_if_cheap(&mut self) {
        if self
            .open
            .as_ref()
            .is_some_and(|open| open.since.elapsed() >= open.took * 4)
        {
            self.open = None;
        }
    }

    /// Takes the connected client, or makes a new one. It is put back only after a successful call.
    fn take_or_connect(&mut self) -> Result<Open, KafkaError> {
        match self.open.take() {
            Some(open) if open.since.elapsed() < METADATA_EVERY => Ok(open),
            _ => self.connect_now(),
        }
    }

    fn connect_now(&mut self) -> Result<Open, KafkaError> {
        let doing = format!("connect to {}", self.brokers);
        let (brokers, topic, prepare) = (self.brokers.clone(), self.topic.clone(), self.prepare);
        let wait_for_leaders = !self.complete;
        let (open, leaders) =
            self.caller
                .within(KAFKA_ANSWER_WAIT + TOPIC_WAIT, &doing, move || {
                    open(&brokers, &topic, prepare, wait_for_leaders)
                })?;
        self.complete |= !leaders.contains(&Leader::Missing);
        self.leaders = leaders;
        Ok(open)
    }
}

/// The address of each broker that leads a partition of any topic that the user may see. Has no time limit.
pub(in crate::kafka) fn broker_addresses(brokers: &Brokers) -> Result<Vec<String>, KafkaError> {
    let mut kafka = KafkaClient::new(vec![first_that_answers(brokers)?]);
    kafka.set_client_id(CLIENT_ID.to_owned());
    kafka
        .load_metadata_all()
        .map_err(|error| KafkaError::client(brokers, "read the brokers", &error))?;
    let mut addresses = BTreeSet::new();
    for topic in kafka.topics().iter() {
        let leaders = topic.partitions().iter().filter_map(|p| p.leader());
        addresses.extend(leaders.map(|broker| broker.host().to_owned()));
    }
    Ok(addresses.into_iter().collect())
}

/// Connects to a broker, reads the leaders of the topic, and asks each whether it answers. With `wait_for_leaders`, waits until all
/// partitions have one, because the topic may have been created just now.
fn open(
    brokers: &Brokers,
    topic: &str,
    prepare: fn(&mut KafkaClient),
    wait_for_leaders: bool,
) -> Result<(Open, Vec<Leader>), KafkaError> {
    let began = Instant::now();
    // The client gets only this address, so that it never uses one that was not checked.
    let address = first_that_answers(brokers)?;
    let mut kafka = KafkaClient::new(vec![address.clone()]);
    kafka.set_client_id(CLIENT_ID.to_owned());
    // The crate's refresh of idle connections panics if it fails (`get_conn_any().expect(…)`), so it is switched off.
    kafka.set_connection_idle_timeout(Duration::MAX);
    prepare(&mut kafka);
    let leaders = leaders_of(&mut kafka, brokers, topic, wait_for_leaders)?;
    let others: BTreeSet<String> = leaders
        .iter()
        .flatten()
        .filter(|&leader| *leader != address)
        .cloned()
        .collect();
    let silent = not_answering(others.into_iter().collect())?;
    let leaders = leaders
        .into_iter()
        .map(|leader| match leader {
            None => Leader::Missing,
            Some(address) => match silent.get(&address) {
                Some(error) => Leader::NotAnswering(error.clone()),
                None => Leader::At(address),
            },
        })
        .collect();
    let open = Open {
        kafka,
        since: Instant::now(),
        took: began.elapsed(),
    };
    Ok((open, leaders))
}

/// Asks for the topic's partitions and leaders. Kafka then creates the topic if it is allowed to. Until it is created, the topic looks missing,
/// so this waits for up to [`TOPIC_WAIT`].
fn leaders_of(
    kafka: &mut KafkaClient,
    brokers: &Brokers,
    topic: &str,
    wait_for_leaders: bool,
) -> Result<Vec<Option<String>>, KafkaError> {
    let doing = format!("look up topic {topic}");
    let deadline = Instant::now() + TOPIC_WAIT;
    let mut backoff = Backoff::new();
    loop {
        kafka
            .load_metadata(&[topic])
            .map_err(|error| match is_closed(&error) {
                // The first request after that for the versions, which every listener answers.
                true => KafkaError::Io {
                    address: brokers.to_string(),
                    doing: doing.clone(),
                    reason: CLOSED_WITHOUT_LOGIN.to_owned(),
                },
                false => KafkaError::client(brokers, &doing, &error),
            })?;
        let leaders: Vec<Option<String>> = match kafka.topics().partitions(topic) {
            Some(partitions) => partitions
                .iter()
                .map(|partition| partition.leader().map(|broker| broker.host().to_owned()))
                .collect(),
            None => Vec::new(),
        };
        let led = leaders.iter().flatten().count();
        if led > 0 && (led == leaders.len() || !wait_for_leaders) {
            return Ok(leaders);
        }
        let left = deadline.saturating_duration_since(Instant::now());
        if !left.is_zero() {
            thread::sleep(backoff.pause().min(left));
            continue;
        }
        return match (leaders.len(), led) {
            (0, _) => Err(KafkaError::topic_missing(brokers, topic)),
            (_, 0) => Err(KafkaError::NoLeader {
                address: brokers.to_string(),
                topic: topic.to_owned(),
            }),
            // Partitions with a leader are served.
            _ => Ok(leaders),
        };
    }
}
