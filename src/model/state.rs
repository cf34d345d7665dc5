//! The states of a task. docs/records.md shows the transitions between them.

use super::text::Invalid;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// The state of a task. A task that waits for its next attempt is `queued`, with `error` and `retry_ms`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Not claimed.
    Queued,
    /// Claimed by a server.
    Running,
    /// Paused by an operator.
    Paused,
    /// masscan reached 100 %, waited, and every finding is acknowledged.
    Completed,
    /// Attempts used up, or an error that no retry can fix.
    Failed,
    /// Ended by an operator.
    Cancelled,
    /// Not a valid task, or no server may run it.
    Rejected,
}

impl State {
    /// All states, in the order of a task's life.
    pub const ALL: [State; 7] = [
        State::Queued,
        State::Running,
        State::Paused,
        State::Completed,
        State::Failed,
        State::Cancelled,
        State::Rejected,
    ];

    /// The name in records, Redis and output.
    pub fn as_str(self) -> &'static str {
        match self {
            State::Queued => "queued",
            State::Running => "running",
            State::Paused => "paused",
            State::Completed => "completed",
            State::Failed => "failed",
            State::Cancelled => "cancelled",
            State::Rejected => "rejected",
        }
    }

    /// Whether the state is final: only a retry, a new record, starts the task again.
    pub fn is_terminal(self) -> bool {
        matches!(
            self,
            State::Completed | State::Failed | State::Cancelled | State::Rejected
        )
    }

    /// Whether an operator may start a task in this state again. A rejected task may only be retried if it is valid and was rejected because no
    /// server may run it.
    pub fn may_be_retried(self) -> bool {
        matches!(self, State::Failed | State::Cancelled | State::Rejected)
    }
}

impl FromStr for State {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<State, Invalid> {
        State::ALL
            .into_iter()
            .find(|state| state.as_str() == text)
            .ok_or_else(|| {
                Invalid::new(
                    text,
                    "is not a state: queued, running, paused, completed, failed, cancelled or rejected",
                )
            })
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_parse_back_and_match_json() {
        for state in State::ALL {
            assert_eq!(state.as_str().parse(), Ok(state));
            let json = serde_json::to_string(&state).unwrap();
            assert_eq!(json, format!("\"{state}\""));
        }
        assert!("done".parse::<State>().is_err());
    }

    #[test]
    fn terminal_states_except_completed_may_be_retried() {
        for state in State::ALL {
            let may_be_retried = state.is_terminal() && state != State::Completed;
            assert_eq!(state.may_be_retried(), may_be_retried, "{state}");
        }
    }
}
