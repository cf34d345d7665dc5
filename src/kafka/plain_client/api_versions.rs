//! The first contact with a broker: is it reachable, is it Kafka, and does it support the protocol versions of the `kafka` crate? The answer
//! takes seconds, and is needed before the crate connects: the crate reports only "no host reachable", waits 120 s for a silent peer, and takes
//! the first four bytes of an HTTP answer for a length of 1.2 GB.

use super::errors::describe_answer;
use crate::kafka::brokers::Brokers;
use crate::kafka::error::{KafkaError, Refusal, describe_io_error};
use crate::model::backoff::CONNECT_WAIT;
use crossbeam_channel::{Receiver, bounded};
use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::thread;
use std::time::{Duration, Instant};

/// Largest first answer (to ApiVersions) that is accepted, in bytes; Kafka 3.9 sends about 400.
const API_VERSIONS_MAX_BYTES: usize = 64 * 1024;

/// Request key of ApiVersions, which every Kafka since 0.10 answers in version 0.
const API_VERSIONS: i16 = 18;
/// The correlation id.
const CORRELATION_ID: i32 = 0x5ca0;
/// Name of this program in the broker's request log.
pub(super) const CLIENT_ID: &str = "scan";
/// The version of Fetch: Kafka 2.1 and newer answer it. With an older version, a broker returns an error for topics with `compression.type=zstd` (KIP-110).
pub(super) const FETCH_VERSION: i16 = 10;
/// The requests that are used, with their versions: Produce, Fetch, ListOffsets, Metadata, OffsetCommit, OffsetFetch, FindCoordinator. Fetch is
/// this program's own; the others are those of the `kafka` crate (from its `protocol` folder).
const USED_VERSIONS: [(i16, i16); 7] = [
    (0, 0),
    (1, FETCH_VERSION),
    (2, 0),
    (3, 0),
    (8, 1),
    (9, 1),
    (10, 0),
];
/// Time for connecting and one answer, each at most [`CONNECT_WAIT`].
const CHECK_WAIT: Duration = Duration::from_secs(2 * CONNECT_WAIT.as_secs());

/// The address of the first broker that answers as Kafka. All are asked at the same time, so an unreachable one causes no delay.
pub(in crate::kafka) fn first_that_answers(brokers: &Brokers) -> Result<String, KafkaError> {
    first_that_passes(brokers, check)
}

/// The address of the first broker that accepts a connection. Nothing is sent, so the listener may use TLS.
#[cfg(feature = "librdkafka")]
pub(in crate::kafka) fn first_that_accepts(brokers: &Brokers) -> Result<String, KafkaError> {
    first_that_passes(brokers, accepts)
}

/// Connects to `address` and sends nothing.
#[cfg(feature = "librdkafka")]
fn accepts(address: &str) -> Result<(), KafkaError> {
    connect(address).map(drop).map_err(|error| {
        KafkaError::Unreachable(vec![refusal(address, &describe_io_error(&error))])
    })
}

/// The address of the first broker that passes `check`. Errs with the reason for each address, or as soon as a broker is too new.
fn first_that_passes(
    brokers: &Brokers,
    check: fn(&str) -> Result<(), KafkaError>,
) -> Result<String, KafkaError> {
    let answers = check_all(brokers.addresses().to_vec(), check)?;
    let deadline = Instant::now() + CHECK_WAIT;
    let (mut refusals, mut unusable) = (Vec::new(), None);
    for _ in brokers.addresses() {
        match answers.recv_deadline(deadline) {
            Ok((address, Ok(()))) => return Ok(address),
            Ok((_, Err(KafkaError::Unreachable(refusal)))) => refusals.extend(refusal),
            // This is Kafka; another broker that is frozen has to change neither the client library nor how long its choice takes.
            Ok((_, Err(error @ KafkaError::Incompatible { .. }))) => return Err(error),
            Ok((_, Err(error))) => unusable = Some(error),
            Err(_) => break,
        }
    }
    // The error of an unusable server is more helpful than that of an unreachable one.
    if let Some(error) = unusable {
        return Err(error);
    }
    for address in brokers.addresses() {
        if !refusals.iter().any(|refusal| refusal.address == *address) {
            refusals.push(refusal(address, "no answer in time"));
        }
    }
    Err(KafkaError::Unreachable(refusals))
}

/// Asks all `addresses` (advertised by brokers) at the same time. Returns those that do not answer as Kafka, each with its error.
pub(in crate::kafka) fn not_answering(
    addresses: Vec<String>,
) -> Result<BTreeMap<String, KafkaError>, KafkaError> {
    not_passing(addresses, check)
}

/// As [`not_answering`], for those that do not accept a connection. Nothing is sent, so the listeners may use TLS.
#[cfg(feature = "librdkafka")]
pub(in crate::kafka) fn not_accepting(
    addresses: Vec<String>,
) -> Result<BTreeMap<String, KafkaError>, KafkaError> {
    not_passing(addresses, accepts)
}

fn not_passing(
    addresses: Vec<String>,
    check: fn(&str) -> Result<(), KafkaError>,
) -> Result<BTreeMap<String, KafkaError>, KafkaError> {
    let silent = |address: String| {
        let error = KafkaError::Unreachable(vec![refusal(&address, "no answer in time")]);
        (address, KafkaError::Advertised(Box::new(error)))
    };
    let mut not_answering: BTreeMap<_, _> = addresses.iter().cloned().map(silent).collect();
    let asked = addresses.len();
    let answers = check_all(addresses, check)?;
    let deadline = Instant::now() + CHECK_WAIT;
    for _ in 0..asked {
        match answers.recv_deadline(deadline) {
            Ok((address, Ok(()))) => {
                not_answering.remove(&address);
            }
            Ok((address, Err(error))) => {
                not_answering.insert(address, KafkaError::Advertised(Box::new(error)));
            }
            Err(_) => break,
        }
    }
    Ok(not_answering)
}

type Answer = (String, Result<(), KafkaError>);

/// Checks each address in a separate thread. A thread whose answer is no longer needed ends by itself, at the latest [`CHECK_WAIT`] after the
/// host name was resolved.
fn check_all(
    addresses: Vec<String>,
    check: fn(&str) -> Result<(), KafkaError>,
) -> Result<Receiver<Answer>, KafkaError> {
    let (sender, answers) = bounded(addresses.len());
    for address in addresses {
        let sender = sender.clone();
        let doing = format!("connect to {address}");
        thread::Builder::new()
            .name("kafka-versions".to_owned())
            .spawn(move || {
                let answer = check(&address);
                // If another broker was faster, nothing receives this.
                let _ = sender.send((address, answer));
            })
            .map_err(|error| KafkaError::Broken {
                doing,
                reason: format!("no thread: {error}"),
            })?;
    }
    Ok(answers)
}

/// Connects to `address` and checks its protocol versions.
fn check(address: &str) -> Result<(), KafkaError> {
    let unreachable = |error: io::Error| {
        KafkaError::Unreachable(vec![refusal(address, &describe_io_error(&error))])
    };
    let not_kafka = |saw: String| KafkaError::NotKafka {
        address: address.to_owned(),
        saw,
    };
    let stream = connect(address).map_err(unreachable)?;
    match ask_versions(stream) {
        Ok(FirstAnswer::Versions(answer)) => match supports_used_versions(&answer) {
            Some(true) => Ok(()),
            Some(false) => Err(KafkaError::Incompatible {
                address: address.to_owned(),
            }),
            None => Err(not_kafka("its answer is malformed".to_owned())),
        },
        Ok(FirstAnswer::Other(first)) => Err(not_kafka(describe_answer(first))),
        Err(error) => Err(match error.kind() {
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => not_kafka(format!(
                "it takes connections but gave no answer within {} s",
                CONNECT_WAIT.as_secs()
            )),
            // A broker that is starting or stopping does this too.
            _ => unreachable(error),
        }),
    }
}

/// Connects to the first of the host's addresses that accepts, all within [`CONNECT_WAIT`].
pub(super) fn connect(address: &str) -> io::Result<TcpStream> {
    let deadline = Instant::now() + CONNECT_WAIT;
    let mut last = io::Error::other("failed to lookup address information: no address");
    for socket in address.to_socket_addrs()? {
        let left = deadline.saturating_duration_since(Instant::now());
        // A zero timeout would be an error.
        match TcpStream::connect_timeout(&socket, left.max(Duration::from_millis(1))) {
            Ok(stream) => return Ok(stream),
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// An answer with a plausible length, or the first bytes of any other.
enum FirstAnswer {
    Versions(Vec<u8>),
    Other([u8; 4]),
}

fn ask_versions(mut stream: TcpStream) -> io::Result<FirstAnswer> {
    stream.set_read_timeout(Some(CONNECT_WAIT))?;
    stream.set_write_timeout(Some(CONNECT_WAIT))?;
    stream.write_all(&request())?;
    let mut size = [0; 4];
    stream.read_exact(&mut size)?;
    let bytes = usize::try_from(i32::from_be_bytes(size)).unwrap_or(usize::MAX);
    if bytes > API_VERSIONS_MAX_BYTES {
        return Ok(FirstAnswer::Other(size));
    }
    let mut answer = vec![0; bytes];
    stream.read_exact(&mut answer)?;
    Ok(FirstAnswer::Versions(answer))
}

/// ApiVersions request v0: size, key, version, correlation id, client id.
fn request() -> Vec<u8> {
    let client_id = CLIENT_ID.as_bytes();
    let mut body = Vec::with_capacity(32);
    body.extend_from_slice(&API_VERSIONS.to_be_bytes());
    body.extend_from_slice(&0i16.to_be_bytes());
    body.extend_from_slice(&CORRELATION_ID.to_be_bytes());
    body.extend_from_slice(&(client_id.len() as i16).to_be_bytes());
    body.extend_from_slice(client_id);
    let mut request = (body.len() as i32).to_be_bytes().to_vec();
    request.append(&mut body);
    request
}

/// Whether an ApiVersions answer v0 (correlation id, error code, count, then key, lowest and highest version of each request)
/// covers [`USED_VERSIONS`]; `None` if it is not such an answer.
fn supports_used_versions(answer: &[u8]) -> Option<bool> {
    let (head, ranges) = answer.split_at_checked(10)?;
    if head[..6] != [&CORRELATION_ID.to_be_bytes()[..], &[0, 0]].concat() {
        return None;
    }
    let ranges: Vec<[i16; 3]> = ranges
        .chunks_exact(6)
        .map(|entry| [0, 2, 4].map(|at| i16::from_be_bytes([entry[at], entry[at + 1]])))
        .collect();
    Some(USED_VERSIONS.iter().all(|&(key, version)| {
        ranges
            .iter()
            .any(|&[of, lowest, highest]| of == key && (lowest..=highest).contains(&version))
    }))
}

fn refusal(address: &str, reason: &str) -> Refusal {
    Refusal {
        address: address.to_owned(),
        reason: reason.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    /// An answer with these lowest versions for Produce and ListOffsets.
    fn versions(produce: i16, list_offsets: i16) -> Vec<u8> {
        let mut answer = CORRELATION_ID.to_be_bytes().to_vec();
        answer.extend_from_slice(&[0, 0, 0, 0, 0, 7]);
        for (key, _) in USED_VERSIONS {
            let lowest = match key {
                0 => produce,
                2 => list_offsets,
                _ => 0,
            };
            for number in [key, lowest, 13] {
                answer.extend_from_slice(&number.to_be_bytes());
            }
        }
        answer
    }

    /// A server that sends `answer` to one client, then waits until it disconnects. Returns its address.
    fn server(answer: Vec<u8>) -> Brokers {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = [0; 18];
            stream.read_exact(&mut request).unwrap();
            stream.write_all(&answer).unwrap();
            let _ = stream.read(&mut request);
        });
        address.parse().unwrap()
    }

    fn sized(answer: Vec<u8>) -> Vec<u8> {
        [&(answer.len() as i32).to_be_bytes()[..], &answer].concat()
    }

    #[test]
    fn versions_are_compared() {
        assert_eq!(supports_used_versions(&versions(0, 0)), Some(true));
        // Kafka 4 still lists Produce v0, for old librdkafka, but refuses it.
        assert_eq!(supports_used_versions(&versions(0, 4)), Some(false));
        assert_eq!(supports_used_versions(&versions(0, 0)[..20]), Some(false));
        assert_eq!(supports_used_versions(b"short"), None);
        assert_eq!(supports_used_versions(&[0; 30]), None);
    }

    #[test]
    fn other_servers_are_recognised() {
        let ok = server(sized(versions(0, 0)));
        assert_eq!(first_that_answers(&ok), Ok(ok.to_string()));
        for (answer, expected) in [
            (sized(versions(3, 4)), "(Kafka 2.1 to 3.9 does)"),
            (
                b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec(),
                "its answer begins with \"HTTP\"",
            ),
            (
                b"-ERR unknown command\r\n".to_vec(),
                "its answer begins with \"-ERR\"",
            ),
            (vec![21, 3, 3, 0, 2, 2, 80], "uses TLS"),
            (sized(vec![0; 30]), "is malformed"),
            (vec![], "gave no answer within 2 s"),
        ] {
            let brokers = server(answer);
            let error = first_that_answers(&brokers).unwrap_err().to_string();
            assert!(
                error.starts_with(&brokers.to_string()) && error.contains(expected),
                "{error}"
            );
        }
    }

    #[test]
    fn refusals_name_address_and_reason() {
        let closed = TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap();
        let brokers: Brokers = format!("{closed},nohost.invalid").parse().unwrap();
        let error = first_that_answers(&brokers).unwrap_err().to_string();
        assert!(
            error.contains(&format!("{closed}: connection refused")),
            "{error}"
        );
        assert!(
            error.contains("nohost.invalid:9092: name not known"),
            "{error}"
        );
        let live = server(sized(versions(0, 0))).to_string();
        let silent = not_answering(vec![closed.to_string(), live]).unwrap();
        let (address, error) = silent.first_key_value().unwrap();
        assert_eq!((silent.len(), address), (1, &closed.to_string()));
        assert!(
            error.to_string().contains("advertised.listeners"),
            "{error}"
        );
    }

    #[test]
    fn a_frozen_broker_does_not_hide_that_another_one_is_too_new() {
        for is_frozen_first in [true, false] {
            let (frozen, new) = (server(Vec::new()), server(sized(versions(3, 4))));
            let brokers = match is_frozen_first {
                true => format!("{frozen},{new}"),
                false => format!("{new},{frozen}"),
            };
            let began = Instant::now();
            let error = first_that_answers(&brokers.parse().unwrap()).unwrap_err();
            let address = new.to_string();
            assert_eq!(error, KafkaError::Incompatible { address });
            assert!(began.elapsed() < CONNECT_WAIT);
        }
    }

    #[test]
    fn one_live_broker_is_enough() {
        let live = server(sized(versions(0, 0)));
        let brokers: Brokers = format!("127.0.0.1:1,{live}").parse().unwrap();
        assert_eq!(first_that_answers(&brokers), Ok(live.to_string()));
    }
}
