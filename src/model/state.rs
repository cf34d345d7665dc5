//! The states of a task and the moves between them.

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

    /// Whether a task may go from `self` to `next`.
    pub fn may_become(self, next: State) -> bool {
        match self {
            State::Queued => matches!(
                next,
                State::Running | State::Paused | State::Cancelled | State::Failed | State::Rejected
            ),
            State::Running => next != State::Running,
            State::Paused => matches!(next, State::Queued | State::Cancelled),
            State::Failed | State::Cancelled | State::Rejected => next == State::Queued,
            State::Completed => false,
        }
    }

    /// Whether an operator may start the task again after this end. A rejected task only if it is valid and no server was allowed to
    /// run it.
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
    fn only_a_retry_leaves_a_terminal_state() {
        for from in State::ALL {
            let next: Vec<State> = State::ALL
                .into_iter()
                .filter(|&to| from.may_become(to))
                .collect();
            match (from.is_terminal(), from.may_be_retried()) {
                (false, retried) => assert!(!next.is_empty() && !retried, "{from}"),
                (true, true) => assert_eq!(next, [State::Queued], "{from}"),
                (true, false) => assert!(next.is_empty(), "{from}"),
            }
        }
    }

    #[test]
    fn orders_lead_where_they_should() {
        for from in [State::Queued, State::Running, State::Paused] {
            assert!(from.may_become(State::Cancelled), "{from}");
        }
        assert!(State::Queued.may_become(State::Paused));
        assert!(State::Running.may_become(State::Paused));
        assert!(State::Paused.may_become(State::Queued));
        assert!(!State::Paused.may_become(State::Running));
    }
}
