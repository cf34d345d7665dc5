//! The states of a connection, their deadlines, and which connection is closed first. Pure: the clock is the caller's.

use super::limits::Limits;
use super::outbound::{Framing, Outbound};
use rustix::event::PollFlags;
use std::time::Instant;

/// What a connection is doing.
#[derive(Debug)]
pub enum State {
    /// Waits for the first byte of a request.
    Idle {
        /// When it was opened, or the last response was sent.
        since: Instant,
    },
    /// Receives a request.
    Receiving {
        /// When it was opened, or the last response was sent.
        since: Instant,
        /// When the first byte came.
        began: Instant,
    },
    /// Its request waits for a worker, or one runs its handler.
    Handling {
        /// When the request was complete.
        began: Instant,
        /// How its response is sent.
        framing: Framing,
    },
    /// Sends a response.
    Sending {
        /// The response.
        outbound: Outbound,
        /// When it began.
        began: Instant,
    },
    /// The last response was sent. What the client still sends is discarded until it closes the connection: closing it at once could
    /// destroy the response on its way.
    Closing {
        /// When the last response was sent.
        began: Instant,
    },
}

/// Which of several connections is closed first, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rank {
    /// It has had its last response.
    Closing(Instant),
    /// It has sent no complete request since.
    Waiting(Instant),
    /// It has not read its whole response since.
    Sending(Instant),
}

impl State {
    /// When the connection has to have left the state.
    pub fn deadline(&self, limits: &Limits) -> Option<Instant> {
        match self {
            State::Idle { since } => Some(*since + limits.idle),
            State::Receiving { began, .. } => Some(*began + limits.receive),
            State::Handling { began, .. } => Some(*began + limits.handle),
            State::Sending { began, .. } => Some(*began + limits.send),
            State::Closing { began } => Some(*began + limits.close_wait),
        }
    }

    /// What the connection's socket is polled for, if at all: a hang-up would be reported again and again.
    pub fn interest(&self) -> Option<PollFlags> {
        match self {
            State::Idle { .. } | State::Receiving { .. } | State::Closing { .. } => {
                Some(PollFlags::IN)
            }
            State::Sending { .. } => Some(PollFlags::OUT),
            State::Handling { .. } => None,
        }
    }

    /// Its place among the connections that may be closed in favour of others. The lowest is closed first.
    pub fn rank(&self) -> Option<Rank> {
        match self {
            State::Idle { since } | State::Receiving { since, .. } => Some(Rank::Waiting(*since)),
            State::Handling { .. } => None,
            State::Sending { began, .. } => Some(Rank::Sending(*began)),
            State::Closing { began } => Some(Rank::Closing(*began)),
        }
    }

    /// A request is being answered.
    pub fn is_answering(&self) -> bool {
        matches!(self, State::Handling { .. } | State::Sending { .. })
    }
}

#[cfg(test)]
mod tests {
    use super::super::outbound::encode_text;
    use super::*;
    use http::StatusCode;
    use std::time::{Duration, SystemTime};

    fn handling(began: Instant) -> State {
        State::Handling {
            began,
            framing: Framing::of_refusal(),
        }
    }

    fn sending(began: Instant) -> State {
        let framing = Framing::of_refusal();
        let outbound = encode_text(StatusCode::OK, "", None, &framing, SystemTime::UNIX_EPOCH);
        State::Sending { outbound, began }
    }

    #[test]
    fn each_state_has_a_deadline() {
        let limits = Limits::default();
        let since = Instant::now();
        let began = since + Duration::from_secs(5);
        let table = [
            (State::Idle { since }, since + limits.idle),
            (State::Receiving { since, began }, began + limits.receive),
            (handling(began), began + limits.handle),
            (sending(began), began + limits.send),
            (State::Closing { began }, began + limits.close_wait),
        ];
        for (state, deadline) in table {
            assert_eq!(state.deadline(&limits), Some(deadline), "{state:?}");
            let is_handling = matches!(state, State::Handling { .. });
            assert_eq!(state.rank().is_none(), is_handling, "{state:?}");
            assert_eq!(state.interest().is_none(), is_handling, "{state:?}");
        }
    }

    #[test]
    fn who_has_waited_longest_is_closed_first() {
        let at = |seconds| Instant::now() + Duration::from_secs(seconds);
        let (early, late) = (at(0), at(60));
        let receiving = State::Receiving {
            since: early,
            began: late,
        };
        let order = [
            State::Closing { began: late },
            receiving,
            State::Idle { since: late },
            sending(early),
            sending(late),
        ];
        let ranks: Vec<_> = order.iter().map(|state| state.rank().unwrap()).collect();
        assert!(ranks.is_sorted(), "{ranks:?}");
        assert_eq!(handling(at(0)).rank(), None);
    }
}
