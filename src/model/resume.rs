//! The form of a checkpoint: where the next attempt of a task continues, and the probe order for which that is valid. Pure.

use super::found_by_pass::FoundByPass;
use super::text::Invalid;
use serde::{Deserialize, Deserializer, Serialize};
use std::fmt;
use std::str::FromStr;

/// Identifies a probe order: two runs of a task with the same id send the same probes at the same index.
///
/// As text `<addresses>-<other>-<rate>-<masscan>`: hashes, and the rate in packets per second.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(into = "String")]
pub struct ProbeOrderId {
    /// Hash of the addresses less all exclusions.
    pub(super) addresses: u64,
    /// Hash of ports, seed, shard and number of passes.
    pub(super) other: u64,
    pub(super) rate_pps: u64,
    /// Hash of masscan's version.
    pub(super) masscan: u64,
}

/// Where the next attempt continues. The fields have the same names in Redis and in `scan-status` records.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resume {
    /// The place at which it continues.
    #[serde(flatten)]
    pub position: Position,
    /// Findings before that place.
    #[serde(
        rename = "resume_found_by_pass",
        default,
        skip_serializing_if = "FoundByPass::is_empty"
    )]
    pub found: FoundByPass,
    /// The probe order for which the index is valid.
    #[serde(
        rename = "resume_for",
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "parse_known"
    )]
    pub probe_order: Option<ProbeOrderId>,
}

/// A place in a task: a pass, and masscan's index in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Position {
    /// The pass, from 1.
    #[serde(
        rename = "resume_pass",
        default = "first_pass",
        skip_serializing_if = "is_first_pass"
    )]
    pub pass: u32,
    /// masscan's `--resume-index`; 0: at the first probe.
    #[serde(rename = "resume_index", default, skip_serializing_if = "is_zero")]
    pub index: u64,
}

impl Position {
    /// The beginning of a task.
    pub const START: Position = Position { pass: 1, index: 0 };
}

impl Default for Position {
    fn default() -> Position {
        Position::START
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.pass {
            1 => write!(f, "index {}", self.index),
            pass => write!(f, "pass {pass}, index {}", self.index),
        }
    }
}

fn first_pass() -> u32 {
    Position::START.pass
}

fn is_first_pass(pass: &u32) -> bool {
    *pass == first_pass()
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// An id of another version that cannot be parsed counts as none: the next attempt then begins at 0.
fn parse_known<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<ProbeOrderId>, D::Error> {
    let text = Option::<String>::deserialize(deserializer)?;
    Ok(text.and_then(|text| text.parse().ok()))
}

impl fmt::Display for ProbeOrderId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:016x}-{:016x}-{}-{:016x}",
            self.addresses, self.other, self.rate_pps, self.masscan
        )
    }
}

impl FromStr for ProbeOrderId {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<ProbeOrderId, Invalid> {
        let parse = || {
            let (addresses, rest) = text.split_once('-')?;
            let (other, rest) = rest.split_once('-')?;
            let (rate_pps, masscan) = rest.split_once('-')?;
            Some(ProbeOrderId {
                addresses: u64::from_str_radix(addresses, 16).ok()?,
                other: u64::from_str_radix(other, 16).ok()?,
                rate_pps: rate_pps.parse().ok()?,
                masscan: u64::from_str_radix(masscan, 16).ok()?,
            })
        };
        parse().ok_or_else(|| {
            Invalid::new(
                text,
                "is not a probe order like <addresses>-<other>-<rate>-<masscan>",
            )
        })
    }
}

impl From<ProbeOrderId> for String {
    fn from(id: ProbeOrderId) -> String {
        id.to_string()
    }
}
