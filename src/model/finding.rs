//! A finding: one answer that masscan printed, and its record on `scan-results`.

use super::found_by_pass::PASSES_MAX;
use super::moment::MOMENT_MAX_S;
use super::names::ServerName;
use super::ports::Proto;
use super::task::TaskId;
use super::text::{Invalid, one_line, quoted};
use serde::de::Visitor;
use serde::{Deserialize, Deserializer};
use std::borrow::Cow;
use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

/// A short word in masscan's output (`open`, `syn-ack`): 1 to 32 lower-case letters, digits and dashes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Word(Cow<'static, str>);

/// Words that masscan 1.3.2 prints in nearly every finding; they need no allocation.
const WORDS: [&str; 8] = [
    "open",
    "closed",
    "syn-ack",
    "rst",
    "ack",
    "rst-ack",
    "udp-response",
    "none",
];

impl Word {
    const MAX_BYTES: usize = 32;

    /// The word as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Word {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Word, Invalid> {
        if let Some(known) = WORDS.into_iter().find(|&word| word == text) {
            return Ok(Word(Cow::Borrowed(known)));
        }
        let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        if text.is_empty() || text.len() > Word::MAX_BYTES || !text.bytes().all(plain) {
            return Err(Invalid::new(text, "is not a short lower-case word"));
        }
        Ok(Word(Cow::Owned(text.to_owned())))
    }
}

impl<'de> Deserialize<'de> for Word {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Word, D::Error> {
        struct Text;
        impl Visitor<'_> for Text {
            type Value = Word;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a short lower-case word")
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Word, E> {
                text.parse().map_err(E::custom)
            }
        }
        from.deserialize_str(Text)
    }
}

impl fmt::Display for Word {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// One answer, as masscan printed it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The address that answered.
    pub ip: IpAddr,
    /// The port.
    pub port: u16,
    /// The transport.
    pub proto: Proto,
    /// `open` or `closed`.
    pub status: Word,
    /// masscan's reason: `syn-ack`, `rst-ack`, …
    pub reason: Word,
    /// Time to live of the answer, in hops.
    pub ttl: u8,
    /// When masscan saw it, in unix seconds.
    pub timestamp: u64,
}

impl Finding {
    /// Passes the members of the finding's JSON object, from `ip` to `timestamp`, to `put`, piece by piece. Nothing in them has to be escaped.
    /// A scan writes many thousands of findings per second, and serde_json takes three times as long.
    pub fn write_members(&self, mut put: impl FnMut(&str)) {
        let mut digits = itoa::Buffer::new();
        put("\"ip\":\"");
        write_address(self.ip, &mut put);
        put("\",\"port\":");
        put(digits.format(self.port));
        put(",\"proto\":\"");
        put(self.proto.as_str());
        put("\",\"status\":\"");
        put(self.status.as_str());
        put("\",\"reason\":\"");
        put(self.reason.as_str());
        put("\",\"ttl\":");
        put(digits.format(self.ttl));
        put(",\"timestamp\":");
        put(digits.format(self.timestamp));
    }

    /// Passes the key of its record to `put`, piece by piece: the service, `172.16.0.130/443/tcp`. So a compacted topic keeps the last finding of
    /// each service.
    pub fn write_key(&self, mut put: impl FnMut(&str)) {
        write_address(self.ip, &mut put);
        put("/");
        put(itoa::Buffer::new().format(self.port));
        put("/");
        put(self.proto.as_str());
    }
}

/// Passes an address in the form of its `Display` to `put`, piece by piece; much faster than formatting it.
pub fn write_address(ip: IpAddr, mut put: impl FnMut(&str)) {
    let IpAddr::V4(ip) = ip else {
        return put(&ip.to_string());
    };
    for (place, octet) in ip.octets().into_iter().enumerate() {
        if place > 0 {
            put(".");
        }
        put(itoa::Buffer::new().format(octet));
    }
}

/// Writes the records of one attempt's findings. The parts that are the same in all of them are prepared once.
#[derive(Debug)]
pub struct FindingWriter {
    head: String,
    tail: String,
}

impl FindingWriter {
    /// For the findings of `pass` (from 1) in attempt `attempt` of the task `task_id`, by `server`.
    pub fn new(task_id: &TaskId, server: &str, attempt: u32, pass: u32) -> FindingWriter {
        let quoted =
            |text: &str| serde_json::to_string(text).expect("a text always serialises to JSON");
        FindingWriter {
            head: format!("{{\"task_id\":{},", quoted(task_id.as_str())),
            tail: format!(
                ",\"server\":{},\"attempt\":{attempt},\"pass\":{pass}}}",
                quoted(server)
            ),
        }
    }

    /// Appends the record of `finding`.
    pub fn write(&self, finding: &Finding, record: &mut Vec<u8>) {
        record.extend_from_slice(self.head.as_bytes());
        finding.write_members(|piece| record.extend_from_slice(piece.as_bytes()));
        record.extend_from_slice(self.tail.as_bytes());
    }
}

/// The value of a `scan-results` record, with borrowed text. (`task_id`, `ip`, `port`, `proto`) identifies a finding; delivery is at
/// least once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FindingRecord<'a> {
    /// The task that found it.
    pub task_id: Cow<'a, str>,
    /// What was found.
    pub finding: Finding,
    /// The server that ran masscan.
    pub server: Cow<'a, str>,
    /// The task's attempt, from 1.
    pub attempt: u32,
    /// The pass of the attempt, from 1. Records of versions without passes are of the first.
    pub pass: u32,
}

impl<'a> FindingRecord<'a> {
    /// Parses a record without copying its text. Errs if it is not what [`FindingWriter`] writes; unknown fields are ignored. serde's `flatten` would
    /// take several times as long.
    pub fn from_record(record: &'a [u8]) -> Result<Self, Invalid> {
        #[derive(Deserialize)]
        struct Flat<'a> {
            #[serde(borrow)]
            task_id: Cow<'a, str>,
            ip: IpAddr,
            port: u16,
            proto: Proto,
            status: Word,
            reason: Word,
            ttl: u8,
            timestamp: u64,
            #[serde(borrow)]
            server: Cow<'a, str>,
            attempt: u32,
            #[serde(default = "first_pass")]
            pass: u32,
        }
        let flat: Flat<'a> = serde_json::from_slice(record).map_err(|error| {
            // The error repeats text of the record, of any length and with line breaks.
            let error = one_line(&error.to_string());
            Invalid::about(format!("is not the record of a finding: {error}"))
        })?;
        if !(1..=PASSES_MAX as u32).contains(&flat.pass) {
            let wrong = format!("pass {} is not a number from 1 to {PASSES_MAX}", flat.pass);
            return Err(Invalid::about(wrong));
        }
        if flat.timestamp > MOMENT_MAX_S {
            let wrong = format!("timestamp {} is after the year 9999", flat.timestamp);
            return Err(Invalid::about(wrong));
        }
        if !ServerName::is_valid(&flat.server) {
            let wrong = format!("server {} is not a server's name", quoted(&flat.server));
            return Err(Invalid::about(wrong));
        }
        Ok(FindingRecord {
            task_id: flat.task_id,
            finding: Finding {
                ip: flat.ip,
                port: flat.port,
                proto: flat.proto,
                status: flat.status,
                reason: flat.reason,
                ttl: flat.ttl,
                timestamp: flat.timestamp,
            },
            server: flat.server,
            attempt: flat.attempt,
            pass: flat.pass,
        })
    }
}

fn first_pass() -> u32 {
    1
}

/// The task id in a finding's record, without parsing the rest; none if there is no id.
pub fn task_of_record(record: &[u8]) -> Option<Cow<'_, str>> {
    #[derive(Deserialize)]
    struct WithTaskId<'a> {
        #[serde(borrow)]
        task_id: Cow<'a, str>,
    }
    let record: WithTaskId<'_> = serde_json::from_slice(record).ok()?;
    Some(record.task_id)
}

#[cfg(test)]
mod tests {
    use super::*;

    const RECORD: &str = concat!(
        r#"{"task_id":"a","ip":"192.0.2.1","port":80,"proto":"tcp","status":"open","reason":"syn-ack","ttl":64,"timestamp":1795531265,"#,
        r#""server":"s","attempt":2,"pass":3}"#
    );

    #[test]
    fn a_record_is_written_as_it_is_read() {
        for (record, id, server) in [
            (RECORD.to_owned(), "a", "s"),
            (RECORD.replace("192.0.2.1", "2001:db8::1"), "a", "s"),
            (RECORD.replace(r#":"s""#, r#":"eu-1.b_2""#), "a", "eu-1.b_2"),
            (
                RECORD
                    .replace("syn-ack", "another-1")
                    .replace("tcp", "sctp"),
                "a",
                "s",
            ),
        ] {
            let read = FindingRecord::from_record(record.as_bytes()).unwrap();
            assert_eq!(
                (&*read.task_id, &*read.server, read.attempt, read.pass),
                (id, server, 2, 3)
            );
            let mut written = b"before".to_vec();
            FindingWriter::new(&id.parse().unwrap(), server, 2, 3)
                .write(&read.finding, &mut written);
            assert_eq!(str::from_utf8(&written[6..]), Ok(record.as_str()));
        }
    }

    #[test]
    fn each_field_is_read_from_its_place() {
        let read = FindingRecord::from_record(RECORD.as_bytes()).unwrap();
        let finding = Finding {
            ip: "192.0.2.1".parse().unwrap(),
            port: 80,
            proto: Proto::Tcp,
            status: "open".parse().unwrap(),
            reason: "syn-ack".parse().unwrap(),
            ttl: 64,
            timestamp: 1_795_531_265,
        };
        assert_eq!(read.finding, finding);
        assert_eq!(task_of_record(RECORD.as_bytes()).as_deref(), Some("a"));
        let newer = RECORD.replace("\"attempt\"", "\"banner\":[1,{}],\"attempt\"");
        assert!(FindingRecord::from_record(newer.as_bytes()).is_ok());
        let older = RECORD.replace(",\"pass\":3", "");
        assert_eq!(
            FindingRecord::from_record(older.as_bytes()).unwrap().pass,
            1
        );
    }

    #[test]
    fn an_address_is_written_as_it_is_displayed() {
        for ip in [
            "0.0.0.0",
            "192.0.2.10",
            "255.255.255.255",
            "2001:db8::1",
            "::",
        ] {
            let mut text = String::new();
            write_address(ip.parse().unwrap(), |piece| text.push_str(piece));
            assert_eq!(text, ip);
        }
    }

    #[test]
    fn an_invalid_record_is_refused() {
        for (part, instead) in [
            ("192.0.2.1", "192.0.2.300"),
            ("\"open\"", r#""\u001b[2J""#),
            (":80", ":70000"),
            ("tcp", "TCP"),
            (",\"ttl\":64", ""),
            ("1795531265", "253402300800"),
            ("1795531265", "18446744073709551615"),
            (r#":"s""#, r#":"""#),
            (r#":"s""#, r#":"=1+1""#),
            (r#":"s""#, r#":"a b""#),
            (r#":"s""#, r#":"\u202ea""#),
            (r#":"s""#, &format!(r#":"{}""#, "s".repeat(65))),
            (":3}", ":0}"),
            (":3}", ":18}"),
            ("}", ""),
        ] {
            let record = RECORD.replace(part, instead);
            assert!(
                FindingRecord::from_record(record.as_bytes()).is_err(),
                "{record}"
            );
        }
        assert_eq!(task_of_record(b"{\"task_id\":1}"), None);
        assert_eq!(task_of_record(b""), None);
        assert_eq!(
            task_of_record(br#"{"task_id":"\u0061\u001b"}"#).as_deref(),
            Some("a\u{1b}")
        );
    }
}
