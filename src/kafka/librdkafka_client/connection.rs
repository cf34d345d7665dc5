//! Connects to a broker and reads the leaders of a topic, with a cause for each failure within seconds.
//!
//! librdkafka connects in the background and reports causes only while a client is polled, so this asks for metadata in short steps and serves
//! the client between them.

use super::config;
use super::context::Context;
use crate::kafka::codes::describe_code;
use crate::kafka::deadline::pause;
use crate::kafka::error::KafkaError;
use crate::kafka::plain_client::api_versions::{first_that_accepts, first_that_answers};
use crate::kafka::settings::KafkaSettings;
use crate::model::{Backoff, Invalid};
use crossbeam_channel::{Receiver, never};
use rdkafka::client::Client;
use rdkafka::config::{ClientConfig, FromClientConfigAndContext};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError as Error;
use rdkafka::metadata::Metadata;
use rdkafka::types::RDKafkaErrorCode as Code;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// Longest time until a broker has answered, authentication included.
const CONNECT_WAIT: Duration = Duration::from_secs(4);
/// One request for metadata while connecting. librdkafka answers it as soon as a broker is connected.
const METADATA_STEP: Duration = Duration::from_millis(300);
/// Events that are handled between two such requests. Without a connection, librdkafka reports about 20 a second.
const EVENTS_MAX: usize = 20;
/// Kafka's code for a topic on which the user has no right.
const TOPIC_AUTHORIZATION_FAILED: i16 = 29;
/// Kafka's code for a topic whose name is not allowed.
const INVALID_TOPIC: i16 = 17;
/// Longest time until a topic has leaders after a first request has made Kafka create it.
const TOPIC_WAIT: Duration = Duration::from_secs(3);

/// The leader (`HOST:PORT`) of each partition, or `None` for a partition without a leader.
pub(super) type Leaders = BTreeMap<i32, Option<String>>;

/// Checks that a broker answers and accepts the credentials. Errs with the cause for each address.
pub(in crate::kafka) fn try_connection(settings: &KafkaSettings) -> Result<(), KafkaError> {
    let config = config::of_reader(settings).map_err(bad_settings)?;
    let consumer: BaseConsumer<Context> = open(settings, &config)?;
    connect(&consumer, settings, None, &never()).map(drop)
}

/// The address of each broker that Kafka names.
pub(in crate::kafka) fn broker_addresses(
    settings: &KafkaSettings,
) -> Result<Vec<String>, KafkaError> {
    let config = config::of_reader(settings).map_err(bad_settings)?;
    let consumer: BaseConsumer<Context> = open(settings, &config)?;
    let metadata = connect(&consumer, settings, None, &never())?;
    let brokers = metadata.brokers().iter();
    Ok(brokers
        .map(|broker| format!("{}:{}", broker.host(), broker.port()))
        .collect())
}

/// A client of librdkafka, not connected yet. Errs if no address accepts a connection, or librdkafka refuses a setting.
pub(super) fn open<T>(settings: &KafkaSettings, config: &ClientConfig) -> Result<T, KafkaError>
where
    T: FromClientConfigAndContext<Context>,
{
    // These connections tell why an address cannot be used, which librdkafka does not for a plaintext one.
    match settings.security().tls.is_some() || settings.security().config.is_some() {
        true => first_that_accepts(settings.brokers()).map(drop)?,
        false => match first_that_answers(settings.brokers()) {
            Ok(_) | Err(KafkaError::Incompatible { .. }) => {}
            Err(error) => return Err(error),
        },
    }
    T::from_config_and_context(config, Context::default()).map_err(|error| refused_setting(&error))
}

/// Anything with a client of librdkafka that can be served.
pub(super) trait Served {
    /// The client.
    fn client(&self) -> &Client<Context>;
    /// Handles events that wait, without waiting for more.
    fn serve(&self);
}

impl Served for BaseConsumer<Context> {
    fn client(&self) -> &Client<Context> {
        Consumer::client(self)
    }

    fn serve(&self) {
        // `poll` returns none for many events, so it does not tell when the last one was handled.
        for _ in 0..EVENTS_MAX {
            match self.poll(Duration::ZERO) {
                // Errors of brokers arrive in the context.
                None => {}
                Some(Err(error)) if !is_of_a_partition(&error) => {}
                // Only a consumer with assigned partitions has these. They are lost here, so it must not continue at its positions.
                Some(_) => self.context().note_discarded(),
            }
        }
    }
}

/// Waits until a broker answers a request for metadata, of `topic` or of all. Errs with the cause for each address.
pub(super) fn connect(
    served: &impl Served,
    settings: &KafkaSettings,
    topic: Option<&str>,
    stop: &Receiver<()>,
) -> Result<Metadata, KafkaError> {
    let deadline = Instant::now() + CONNECT_WAIT;
    let context = served.client().context();
    // Causes of the past say nothing about this attempt.
    context.causes().clear();
    loop {
        match served.client().fetch_metadata(topic, METADATA_STEP) {
            Ok(metadata) => {
                context.causes().clear();
                return Ok(metadata);
            }
            Err(error) => {
                served.serve();
                let causes = context.causes();
                if causes.are_decisive(settings) || Instant::now() >= deadline {
                    return Err(match code_of_broker(&error) {
                        Some(code) => broker_error(settings, "read metadata", code),
                        None => KafkaError::Unreachable(causes.refusals(settings)),
                    });
                }
            }
        }
        pause(stop, Duration::from_millis(10))?;
    }
}

/// The leaders of `topic`. Kafka creates the topic if it is allowed to. With `wait_for_leaders`, waits until all partitions have one, because
/// the topic may have been created just now. Errs if the topic is missing, or no partition has a leader.
pub(super) fn topic_leaders(
    served: &impl Served,
    settings: &KafkaSettings,
    topic: &str,
    wait_for_leaders: bool,
    stop: &Receiver<()>,
) -> Result<Leaders, KafkaError> {
    let deadline = Instant::now() + TOPIC_WAIT;
    let mut backoff = Backoff::new();
    loop {
        let metadata = connect(served, settings, Some(topic), stop)?;
        let error = topic_error(&metadata, topic);
        if let Some(code @ (TOPIC_AUTHORIZATION_FAILED | INVALID_TOPIC)) = error {
            return Err(broker_error(
                settings,
                &format!("look up topic {topic}"),
                code,
            ));
        }
        let leaders = leaders_in(&metadata, topic);
        let led = leaders.values().flatten().count();
        if led > 0 && (led == leaders.len() || !wait_for_leaders) {
            return Ok(leaders);
        }
        let left = deadline.saturating_duration_since(Instant::now());
        if !left.is_zero() {
            pause(stop, backoff.pause().min(left))?;
            continue;
        }
        return match (leaders.len(), led) {
            (0, _) => Err(KafkaError::topic_missing(settings.brokers(), topic)),
            (_, 0) => Err(KafkaError::NoLeader {
                address: settings.to_string(),
                topic: topic.to_owned(),
            }),
            _ => Ok(leaders),
        };
    }
}

fn topic_error(metadata: &Metadata, topic: &str) -> Option<i16> {
    let mut topics = metadata.topics().iter();
    let error = topics.find(|known| known.name() == topic)?.error()?;
    i16::try_from(error as i32).ok()
}

fn leaders_in(metadata: &Metadata, topic: &str) -> Leaders {
    let address_of = |id: i32| {
        let mut brokers = metadata.brokers().iter();
        let broker = brokers.find(|broker| broker.id() == id)?;
        Some(format!("{}:{}", broker.host(), broker.port()))
    };
    let topics = metadata.topics().iter();
    topics
        .filter(|known| known.name() == topic)
        .flat_map(|known| known.partitions())
        .map(|partition| (partition.id(), address_of(partition.leader())))
        .collect()
}

/// Whether an error is about a partition; the others are about brokers or the group. librdkafka's own codes are negative, Kafka's are positive.
pub(super) fn is_of_a_partition(error: &Error) -> bool {
    if matches!(error, Error::PartitionEOF(_)) {
        return true;
    }
    match error.rdkafka_error_code() {
        Some(
            Code::AutoOffsetReset
            | Code::UnknownTopic
            | Code::UnknownPartition
            | Code::BadMessage
            | Code::BadCompression
            | Code::NotImplemented
            | Code::Unknown,
        ) => true,
        Some(code) => code as i32 > 0 && !is_of_the_group(code as i32),
        None => false,
    }
}

/// Whether a code of Kafka is about a group; readers have one only because librdkafka requires it.
fn is_of_the_group(code: i32) -> bool {
    matches!(code, 14..=16 | 22..=27 | 30)
}

/// Kafka's error code, if the broker itself answered with one. librdkafka's own codes are negative.
pub(super) fn code_of_broker(error: &Error) -> Option<i16> {
    let code = error.rdkafka_error_code()? as i32;
    i16::try_from(code).ok().filter(|&code| code > 0)
}

/// The error for an answer with an error code of Kafka.
pub(super) fn broker_error(settings: &KafkaSettings, doing: &str, code: i16) -> KafkaError {
    KafkaError::Broker {
        address: settings.to_string(),
        doing: doing.to_owned(),
        code: describe_code(code),
    }
}

/// The error for a failed call: the broker's code, else the causes of the brokers, else librdkafka's own words.
pub(super) fn call_error(
    context: &Context,
    settings: &KafkaSettings,
    doing: &str,
    error: &Error,
) -> KafkaError {
    if let Some(code) = code_of_broker(error) {
        return broker_error(settings, doing, code);
    }
    let code = error.rdkafka_error_code();
    match code {
        Some(
            Code::OperationTimedOut
            | Code::RequestTimedOut
            | Code::MessageTimedOut
            | Code::TimedOutQueue
            | Code::BrokerTransportFailure
            | Code::AllBrokersDown
            | Code::WaitingForCoordinator,
        ) => KafkaError::Io {
            address: settings.to_string(),
            doing: doing.to_owned(),
            reason: KafkaError::Unreachable(context.causes().refusals(settings)).to_string(),
        },
        _ => KafkaError::Io {
            address: settings.to_string(),
            doing: doing.to_owned(),
            reason: code.map_or_else(|| error.to_string(), |code| code.to_string()),
        },
    }
}

/// The error for settings that cannot be used; the text names the flag.
pub(super) fn bad_settings(error: Invalid) -> KafkaError {
    KafkaError::Settings(error.to_string())
}

/// The error for a setting that librdkafka refuses. Values may be secrets and are not shown.
fn refused_setting(error: &Error) -> KafkaError {
    KafkaError::Settings(match error {
        Error::ClientConfig(_, description, name, _)
            if description.contains("No such configuration") =>
        {
            format!("-kafka-config: librdkafka does not know the setting {name}")
        }
        Error::ClientConfig(_, _, name, _) => {
            format!("-kafka-config: the value of {name} is not valid")
        }
        Error::ClientCreation(reason) => format!("librdkafka refuses the settings: {reason}"),
        other => format!("librdkafka refuses the settings: {other}"),
    })
}
