//! The findings of each pass of a task. Pure.

use super::text::Invalid;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::str::FromStr;

/// Most retries of a task (passes after the first).
pub const RETRIES_MAX: u32 = 16;
/// Most passes of a task.
pub const PASSES_MAX: usize = RETRIES_MAX as usize + 1;

/// How many findings each pass made, beginning with the first.
///
/// As JSON a list of numbers, as text the same separated by commas. Not the number of different services: nothing keeps a set of what was
/// found, so [`FoundByPass::most`] is the best lower bound.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FoundByPass {
    counts: [u64; PASSES_MAX],
    passes: usize,
}

impl FoundByPass {
    /// The findings of `pass` (from 1); 0 if it has not begun.
    pub fn of(&self, pass: u32) -> u64 {
        let index = pass.saturating_sub(1) as usize;
        self.counts.get(index).copied().unwrap_or(0)
    }

    /// The same with `found` findings in `pass` (from 1), and none in later passes. A pass beyond [`PASSES_MAX`] is ignored.
    pub fn with(mut self, pass: u32, found: u64) -> FoundByPass {
        let index = pass.saturating_sub(1) as usize;
        if index < PASSES_MAX {
            self.counts[index] = found;
            self.counts[index + 1..].fill(0);
            self.passes = index + 1;
        }
        self
    }

    /// The findings of the pass that found most.
    pub fn most(&self) -> u64 {
        self.as_slice().iter().copied().max().unwrap_or(0)
    }

    /// One number for each pass that has begun.
    pub fn as_slice(&self) -> &[u64] {
        &self.counts[..self.passes]
    }

    /// Whether no pass has begun.
    pub fn is_empty(&self) -> bool {
        self.passes == 0
    }

    /// Errs if there are more than [`PASSES_MAX`].
    pub(super) fn from_counts(found: &[u64]) -> Result<FoundByPass, Invalid> {
        if found.len() > PASSES_MAX {
            let wrong = format!("{} passes are more than {PASSES_MAX}", found.len());
            return Err(Invalid::about(wrong));
        }
        let mut counts = [0; PASSES_MAX];
        counts[..found.len()].copy_from_slice(found);
        Ok(FoundByPass {
            counts,
            passes: found.len(),
        })
    }
}

impl fmt::Display for FoundByPass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let numbers: Vec<String> = self.as_slice().iter().map(u64::to_string).collect();
        f.write_str(&numbers.join(","))
    }
}

impl FromStr for FoundByPass {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<FoundByPass, Invalid> {
        let numbers = text.split(',').filter(|number| !number.is_empty());
        let counts: Result<Vec<u64>, _> = numbers.take(PASSES_MAX + 1).map(str::parse).collect();
        let counts = counts
            .map_err(|_| Invalid::new(text, "is not a list of numbers separated by commas"))?;
        FoundByPass::from_counts(&counts)
    }
}

impl Serialize for FoundByPass {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.as_slice().serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for FoundByPass {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<FoundByPass, D::Error> {
        let counts = Vec::<u64>::deserialize(deserializer)?;
        FoundByPass::from_counts(&counts).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn findings_are_counted_for_each_pass() {
        let found = FoundByPass::default().with(1, 250).with(2, 256).with(3, 0);
        assert_eq!((found.of(1), found.of(2), found.of(9)), (250, 256, 0));
        assert_eq!((found.most(), found.to_string()), (256, "250,256,0".into()));
        assert_eq!("250,256,0".parse(), Ok(found));
        assert_eq!(serde_json::to_string(&found).unwrap(), "[250,256,0]");
        assert_eq!(
            serde_json::from_str::<FoundByPass>("[250,256,0]").unwrap(),
            found
        );
        let restarted = found.with(1, 3);
        assert_eq!(restarted.as_slice(), [3], "later passes begin again");
        assert_eq!("".parse(), Ok(FoundByPass::default()));
        let too_many = vec!["1"; PASSES_MAX + 1].join(",");
        for text in ["x", "1,-2", &too_many] {
            assert!(text.parse::<FoundByPass>().is_err(), "{text}");
        }
        assert!(serde_json::from_str::<FoundByPass>(&format!("[{too_many}]")).is_err());
    }
}
