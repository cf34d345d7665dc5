//! A finding: one answer that masscan printed, and its record on `scan-results`.

use super::ports::Proto;
use super::task::TaskId;
use super::text::Invalid;
use serde::de::Visitor;
use serde::ser::SerializeStruct;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::borrow::Cow;
use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

/// A short word of masscan's (`open`, `syn-ack`): 1 to 32 lower-case letters, digits and dashes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Word(Cow<'static, str>);

/// Words that masscan 1.3.2 prints in nearly every finding: they take no memory of their own.
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
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// Who answered.
    pub ip: IpAddr,
    /// On which port.
    pub port: u16,
    /// Over which transport.
    pub proto: Proto,
    /// `open` or `closed`.
    pub status: Word,
    /// Why masscan says so: `syn-ack`, `rst-ack`, …
    pub reason: Word,
    /// Time to live of the answer, in hops.
    pub ttl: u8,
    /// When masscan saw it, in unix seconds.
    pub timestamp: u64,
}

/// The value of a `scan-results` record. (`task_id`, `ip`, `port`, `proto`) identifies a finding; delivery is at least once.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct FindingRecord<Id = TaskId, Name = String> {
    /// The task that found it.
    pub task_id: Id,
    /// What was found.
    #[serde(flatten)]
    pub finding: Finding,
    /// The server whose masscan found it.
    pub server: Name,
    /// The task's attempt, from 1.
    pub attempt: u32,
}

/// As a derived one with `flatten` would write it, which looks at each field as if it were a map's.
impl<Id: Serialize, Name: Serialize> Serialize for FindingRecord<Id, Name> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let finding = &self.finding;
        let mut record = to.serialize_struct("FindingRecord", 10)?;
        record.serialize_field("task_id", &self.task_id)?;
        record.serialize_field("ip", &finding.ip)?;
        record.serialize_field("port", &finding.port)?;
        record.serialize_field("proto", &finding.proto)?;
        record.serialize_field("status", &finding.status)?;
        record.serialize_field("reason", &finding.reason)?;
        record.serialize_field("ttl", &finding.ttl)?;
        record.serialize_field("timestamp", &finding.timestamp)?;
        record.serialize_field("server", &self.server)?;
        record.serialize_field("attempt", &self.attempt)?;
        record.end()
    }
}

/// Appends an address as its `Display` writes it, at a fraction of what that costs.
pub fn push_address(text: &mut Vec<u8>, ip: IpAddr) {
    let IpAddr::V4(ip) = ip else {
        text.extend_from_slice(ip.to_string().as_bytes());
        return;
    };
    for (place, octet) in ip.octets().into_iter().enumerate() {
        if place > 0 {
            text.push(b'.');
        }
        text.extend_from_slice(itoa::Buffer::new().format(octet).as_bytes());
    }
}

impl<'a> FindingRecord<Cow<'a, str>, Cow<'a, str>> {
    /// Reads a record; its texts are as they came. Errs where it is not what this type writes; unknown fields are ignored.
    /// (Reading through `flatten` would cost several times as much.)
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
        }
        let flat: Flat<'a> = serde_json::from_slice(record)
            .map_err(|error| Invalid::about(format!("is not the record of a finding: {error}")))?;
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
        })
    }
}

/// The task that the record of a finding names, the rest of it unread; none where it names none.
pub fn task_of_record(record: &[u8]) -> Option<Cow<'_, str>> {
    #[derive(Deserialize)]
    struct Whose<'a> {
        #[serde(borrow)]
        task_id: Cow<'a, str>,
    }
    let whose: Whose<'_> = serde_json::from_slice(record).ok()?;
    Some(whose.task_id)
}

#[cfg(test)]
mod tests {
    use super::*;

    const RECORD: &str = r#"{"task_id":"a","ip":"192.0.2.1","port":80,"proto":"tcp","status":"open","reason":"syn-ack","ttl":64,"timestamp":1795531265,"server":"s","attempt":2}"#;

    #[test]
    fn a_record_is_read_as_it_is_written() {
        let whole: FindingRecord<String, String> = serde_json::from_str(RECORD).unwrap();
        let read = FindingRecord::from_record(RECORD.as_bytes()).unwrap();
        assert_eq!(read.finding, whole.finding);
        assert_eq!((&*read.task_id, &*read.server, read.attempt), ("a", "s", 2));
        assert_eq!(serde_json::to_string(&read).unwrap(), RECORD);
        assert_eq!(task_of_record(RECORD.as_bytes()).as_deref(), Some("a"));
        let newer = RECORD.replace("\"attempt\"", "\"banner\":[1,{}],\"attempt\"");
        assert!(FindingRecord::from_record(newer.as_bytes()).is_ok());
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
            let mut text = vec![];
            push_address(&mut text, ip.parse().unwrap());
            assert_eq!(text, ip.as_bytes());
        }
    }

    #[test]
    fn what_is_no_record_is_refused() {
        for (part, instead) in [
            ("192.0.2.1", "192.0.2.300"),
            ("\"open\"", r#""\u001b[2J""#),
            (":80", ":70000"),
            ("tcp", "TCP"),
            (",\"ttl\":64", ""),
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
