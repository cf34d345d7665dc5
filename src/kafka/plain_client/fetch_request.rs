//! Fetch requests, on connections of their own: the `kafka` crate decompresses what it fetches without any bound, and makes the broker convert it
//! to a format that Kafka 4.0 no longer has.
//!
//! The first batch of an answer is complete even if it is larger than requested (KIP-74).

use super::api_versions::{CLIENT_ID, FETCH_VERSION, connect};
use super::bytes::Bytes;
use super::record_batches::{Budget, decode};
use crate::kafka::codes::describe_code;
use crate::kafka::fetched::Fetched;
use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

/// Bytes of one fetch.
const FETCH_BYTES: i32 = 4 * 1024 * 1024;
/// Largest answer that is read, in bytes. A batch may be larger than [`FETCH_BYTES`] if the topic accepts it (`max.message.bytes`).
const FETCH_ANSWER_MAX_BYTES: usize = 128 * 1024 * 1024;
/// A connection is made again after this time, because a broker closes one that is idle.
const CONNECTION_AGE_MAX: Duration = Duration::from_secs(60);

/// Request key of Fetch.
const FETCH: i16 = 1;

/// Where to read a partition: its number and offset.
pub(super) type Cursor = (i32, i64);

/// What to ask each broker, by its address. The order decides which partitions get the room of an answer, and of a [`Budget`].
pub(super) type Wanted = Vec<(String, Vec<Cursor>)>;

/// The result for one partition.
#[derive(Debug)]
pub(super) struct Portion {
    /// None if the answer contains no complete batch, or the budget is used up.
    pub(super) fetched: Option<Fetched>,
    /// Whether the log continues after the cursor.
    pub(super) has_more: bool,
}

impl Portion {
    /// Whether the log goes on after the cursor, but the answer contains no complete batch of it.
    pub(super) fn is_incomplete(&self) -> bool {
        self.fetched.is_none() && self.has_more
    }

    /// The result of a fetch of this partition alone, at `cursor`. None if the log has no more records.
    pub(super) fn result(self, cursor: i64) -> Option<Fetched> {
        match self.is_incomplete() {
            true => Some(Fetched::Away {
                reason: format!(
                    "the broker's answer has no complete batch of records at offset {cursor}"
                ),
            }),
            false => self.fetched,
        }
    }
}

/// Connections to brokers, by address.
#[derive(Debug, Default)]
pub(super) struct Connections(BTreeMap<String, Connection>);

#[derive(Debug)]
struct Connection {
    stream: TcpStream,
    since: Instant,
    requests: i32,
}

impl Connections {
    /// Fetches from all brokers at the same time: for each address the partitions that it leads. A broker answers after `wait` at the latest; each
    /// read may take `answer_wait` longer. Decodes as much as `budget` has room for. After an error the connections must not be used again.
    pub(super) fn fetch(
        &mut self,
        topic: &str,
        wanted: &Wanted,
        wait: Duration,
        answer_wait: Duration,
        budget: &mut Budget,
    ) -> io::Result<BTreeMap<i32, Portion>> {
        self.0
            .retain(|_, connection| connection.since.elapsed() < CONNECTION_AGE_MAX);
        for (address, cursors) in wanted {
            let connection = match self.0.remove(address) {
                Some(connection) => connection,
                None => Connection::open(address)?,
            };
            let connection = self.0.entry(address.clone()).or_insert(connection);
            connection.requests = connection.requests.wrapping_add(1);
            let request = request(connection.requests, topic, cursors, wait);
            connection.stream.set_write_timeout(Some(answer_wait))?;
            connection.stream.write_all(&request)?;
        }
        let mut portions = BTreeMap::new();
        for (address, cursors) in wanted {
            let Some(connection) = self.0.get_mut(address) else {
                continue;
            };
            connection
                .stream
                .set_read_timeout(Some(wait + answer_wait))?;
            let answer = read_answer(&mut connection.stream)?;
            let parsed = parse(&answer, connection.requests, cursors, budget);
            portions.extend(parsed.ok_or_else(malformed)?);
        }
        Ok(portions)
    }
}

impl Connection {
    fn open(address: &str) -> io::Result<Connection> {
        let stream = connect(address)?;
        stream.set_nodelay(true)?;
        Ok(Connection {
            stream,
            since: Instant::now(),
            requests: 0,
        })
    }
}

fn malformed() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "the answer is malformed")
}

/// Size, header and body of a request.
fn request(correlation: i32, topic: &str, cursors: &[Cursor], wait: Duration) -> Vec<u8> {
    let mut body = Vec::with_capacity(128);
    body.extend(FETCH.to_be_bytes());
    body.extend(FETCH_VERSION.to_be_bytes());
    body.extend(correlation.to_be_bytes());
    put_text(&mut body, CLIENT_ID);
    // Not a replica; the wait; at least one byte; at most this many; uncommitted records too.
    body.extend((-1i32).to_be_bytes());
    body.extend(
        i32::try_from(wait.as_millis())
            .unwrap_or(i32::MAX)
            .to_be_bytes(),
    );
    body.extend(1i32.to_be_bytes());
    body.extend(FETCH_BYTES.to_be_bytes());
    body.push(0);
    // Without a fetch session (KIP-227): its id and epoch.
    body.extend([0i32, -1].map(i32::to_be_bytes).concat());
    // One topic.
    body.extend(1i32.to_be_bytes());
    put_text(&mut body, topic);
    body.extend(
        i32::try_from(cursors.len())
            .unwrap_or(i32::MAX)
            .to_be_bytes(),
    );
    for (partition, offset) in cursors {
        body.extend(partition.to_be_bytes());
        // Whatever the epoch of its leader is (KIP-320).
        body.extend((-1i32).to_be_bytes());
        body.extend(offset.to_be_bytes());
        // The beginning of the log, which only a replica sends.
        body.extend((-1i64).to_be_bytes());
        body.extend(FETCH_BYTES.to_be_bytes());
    }
    // No forgotten topics.
    body.extend(0i32.to_be_bytes());
    let size = i32::try_from(body.len()).unwrap_or(i32::MAX).to_be_bytes();
    [&size[..], &body].concat()
}

fn put_text(body: &mut Vec<u8>, text: &str) {
    body.extend(i16::try_from(text.len()).unwrap_or(i16::MAX).to_be_bytes());
    body.extend(text.as_bytes());
}

fn read_answer(stream: &mut TcpStream) -> io::Result<Vec<u8>> {
    let mut size = [0; 4];
    stream.read_exact(&mut size)?;
    let size = usize::try_from(i32::from_be_bytes(size)).map_err(|_| malformed())?;
    if size > FETCH_ANSWER_MAX_BYTES {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "an answer of more than 128 MiB: the topic's max.message.bytes is too large",
        ));
    }
    let mut answer = Vec::new();
    let read = stream
        .take(u64::try_from(size).unwrap_or(0))
        .read_to_end(&mut answer)?;
    match read == size {
        true => Ok(answer),
        false => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}

/// The result of each partition, decoded in the order of `cursors`; none if the answer is malformed.
fn parse(
    answer: &[u8],
    correlation: i32,
    cursors: &[Cursor],
    budget: &mut Budget,
) -> Option<BTreeMap<i32, Portion>> {
    let mut bytes = Bytes(answer);
    if bytes.i32()? != correlation {
        return None;
    }
    let _throttle_ms = bytes.i32()?;
    let whole = bytes.i16()?;
    let _session = bytes.i32()?;
    let mut found = BTreeMap::new();
    for _ in 0..bytes.i32()? {
        let name = usize::try_from(bytes.i16()?).ok()?;
        let _topic = bytes.take(name)?;
        for _ in 0..bytes.i32()? {
            let partition = bytes.i32()?;
            let code = bytes.i16()?;
            let end = bytes.i64()?;
            let _last_stable = bytes.i64()?;
            let _log_start = bytes.i64()?;
            let aborted = usize::try_from(bytes.i32()?).unwrap_or(0);
            bytes.take(aborted.checked_mul(16)?)?;
            let records = usize::try_from(bytes.i32()?).unwrap_or(0);
            let records = bytes.take(records)?;
            cursors.iter().find(|known| known.0 == partition)?;
            found.insert(partition, (code, end, records));
        }
    }
    let mut portions = BTreeMap::new();
    for &(partition, cursor) in cursors {
        // An error of the whole request comes without partitions.
        let none: (i16, i64, &[u8]) = (whole, cursor, &[]);
        let (code, end, records) = match found.remove(&partition) {
            Some(found) => found,
            None if whole != 0 => none,
            None => continue,
        };
        let portion = Portion {
            fetched: match code {
                0 => decode(records, cursor, budget),
                code => Some(failure(code)),
            },
            has_more: end > cursor,
        };
        portions.insert(partition, portion);
    }
    Some(portions)
}

fn failure(code: i16) -> Fetched {
    match code {
        1 => Fetched::OutOfRange,
        3 => Fetched::Gone,
        code => Fetched::Away {
            reason: describe_code(code).to_owned(),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::{parse as parse_within, *};
    use proptest::prelude::*;

    fn parse(
        answer: &[u8],
        correlation: i32,
        cursors: &[Cursor],
    ) -> Option<BTreeMap<i32, Portion>> {
        parse_within(answer, correlation, cursors, &mut Budget::default())
    }

    /// An answer about `partition` of the topic `t`, without records.
    fn answer(correlation: i32, partition: i32, code: i16, end: i64) -> Vec<u8> {
        let mut bytes = [correlation, 0].map(i32::to_be_bytes).concat();
        bytes.extend(0i16.to_be_bytes());
        bytes.extend([0, 1].map(i32::to_be_bytes).concat());
        put_text(&mut bytes, "t");
        bytes.extend([1, partition].map(i32::to_be_bytes).concat());
        bytes.extend(code.to_be_bytes());
        bytes.extend([end, end, 0].map(i64::to_be_bytes).concat());
        // No list of aborted transactions, no records.
        bytes.extend([-1i32, 0].map(i32::to_be_bytes).concat());
        bytes
    }

    #[test]
    fn each_code_has_its_result() {
        for (code, end, expected, has_more) in [
            (0, 5, None, false),
            (0, 6, None, true),
            (1, -1, Some(Fetched::OutOfRange), false),
            (3, -1, Some(Fetched::Gone), false),
            (
                6,
                -1,
                Some(Fetched::Away {
                    reason: "the partition's leader has moved".to_owned(),
                }),
                false,
            ),
        ] {
            let portions = parse(&answer(7, 2, code, end), 7, &[(1, 0), (2, 5)]).unwrap();
            let portion = &portions[&2];
            assert_eq!(portion.fetched, expected);
            assert_eq!(portion.has_more, has_more);
        }
    }

    #[test]
    fn an_error_of_the_whole_request_is_one_of_each_partition() {
        let mut bytes = [7i32, 0].map(i32::to_be_bytes).concat();
        bytes.extend(70i16.to_be_bytes());
        bytes.extend([0, 0].map(i32::to_be_bytes).concat());
        let portions = parse(&bytes, 7, &[(0, 5), (2, 5)]).unwrap();
        for partition in [0, 2] {
            let fetched = portions[&partition].fetched.as_ref();
            assert!(matches!(fetched, Some(Fetched::Away { .. })), "{fetched:?}");
        }
    }

    #[test]
    fn an_answer_to_another_question_is_malformed() {
        let good = answer(7, 2, 0, 5);
        assert!(parse(&good, 8, &[(2, 5)]).is_none());
        assert!(parse(&good, 7, &[(3, 5)]).is_none());
        for length in 0..good.len() {
            assert!(parse(&good[..length], 7, &[(2, 5)]).is_none(), "{length}");
        }
    }

    #[test]
    fn a_request_has_its_size_and_every_partition() {
        let bytes = request(1, "topic", &[(0, 7), (3, 9)], Duration::from_millis(500));
        let size = i32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
        assert_eq!(usize::try_from(size), Ok(bytes.len() - 4));
        let last = [&3i32.to_be_bytes()[..], &[0xff; 4], &9i64.to_be_bytes()].concat();
        assert_eq!(bytes[bytes.len() - 32..bytes.len() - 16], last);
    }

    proptest! {
        #[test]
        fn any_answer_is_parsed_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
            parse(&bytes, 7, &[(2, 5)]);
            parse(&[&answer(7, 2, 0, 5)[..20], &bytes].concat(), 7, &[(2, 5)]);
        }
    }
}
