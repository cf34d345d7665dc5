//! A finding: one answer that masscan printed, and its record on `scan-results`.

use super::ports::Proto;
use super::task::TaskId;
use super::text::Invalid;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::net::IpAddr;

/// A short word of masscan's (`open`, `syn-ack`): 1 to 32 lower-case letters, digits and dashes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Word(Box<str>);

impl Word {
    const MAX_BYTES: usize = 32;

    /// The word as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for Word {
    type Error = Invalid;

    fn try_from(text: String) -> Result<Word, Invalid> {
        let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        if text.is_empty() || text.len() > Word::MAX_BYTES || !text.bytes().all(plain) {
            return Err(Invalid::new(&text, "is not a short lower-case word"));
        }
        Ok(Word(text.into()))
    }
}

impl From<Word> for String {
    fn from(word: Word) -> String {
        word.0.into()
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
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
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
