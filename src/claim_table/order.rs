//! The orders of an operator: cancel, pause, resume.

use crate::model::Invalid;
use serde::Serialize;
use std::fmt;
use std::str::FromStr;

/// An operator's order about a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Order {
    /// End it now.
    Cancel,
    /// Stop it at its checkpoint; no server claims it until it is resumed.
    Pause,
    /// Queue a paused task again.
    Resume,
}

impl Order {
    /// The name in the hash, in scripts and on the command line.
    pub fn as_str(self) -> &'static str {
        match self {
            Order::Cancel => "cancel",
            Order::Pause => "pause",
            Order::Resume => "resume",
        }
    }
}

impl fmt::Display for Order {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Order {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Order, Invalid> {
        [Order::Cancel, Order::Pause, Order::Resume]
            .into_iter()
            .find(|order| order.as_str() == text)
            .ok_or_else(|| Invalid::new(text, "is not an order: cancel, pause or resume"))
    }
}
