//! Answers that take long to compute, kept for a short time for all requests. One is computed at a time.

use super::problem::Problem;
use crate::scanpush::tasks::{now_ms, span};
use crate::sync::lock;
use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// A request waits for the computation of another for this long; then it is refused with status 503.
const MEMO_WAIT: Duration = Duration::from_millis(500);

/// The latest answers by question.
#[derive(Debug)]
pub struct Memo<K, V> {
    kept_for: Duration,
    entries_max: usize,
    state: Mutex<State<K, V>>,
    /// Notified when a computation has ended.
    ended: Condvar,
}

#[derive(Debug)]
struct State<K, V> {
    /// The newest last.
    entries: VecDeque<Entry<K, V>>,
    is_computing: bool,
}

#[derive(Debug)]
struct Entry<K, V> {
    key: K,
    kept_until: Instant,
    answer: Remembered<V>,
}

/// An answer.
#[derive(Debug)]
pub struct Remembered<V> {
    /// The answer.
    pub value: Arc<V>,
    /// When it was computed, in unix milliseconds.
    at_ms: u64,
}

impl<V> Clone for Remembered<V> {
    fn clone(&self) -> Remembered<V> {
        Remembered {
            value: Arc::clone(&self.value),
            at_ms: self.at_ms,
        }
    }
}

impl<V> Remembered<V> {
    /// How old it is; none if it was computed just now.
    pub fn age(&self) -> Option<String> {
        let age_s = now_ms().saturating_sub(self.at_ms) / 1000;
        (age_s > 0).then(|| span(age_s))
    }
}

impl<K: PartialEq, V> Memo<K, V> {
    /// Keeps at most `entries_max` answers, each for `kept_for`.
    pub fn new(entries_max: usize, kept_for: Duration) -> Memo<K, V> {
        Memo {
            kept_for,
            entries_max,
            state: Mutex::new(State {
                entries: VecDeque::new(),
                is_computing: false,
            }),
            ended: Condvar::new(),
        }
    }

    /// The answer that is kept, or else the one that `compute` returns. Errs with 503 if another computation takes long.
    pub fn get(
        &self,
        key: K,
        compute: impl FnOnce() -> Result<V, Problem>,
    ) -> Result<Remembered<V>, Problem> {
        let deadline = Instant::now() + MEMO_WAIT;
        let mut state = self.lock();
        loop {
            let now = Instant::now();
            state.entries.retain(|entry| now < entry.kept_until);
            if let Some(entry) = state.entries.iter().find(|entry| entry.key == key) {
                return Ok(entry.answer.clone());
            }
            if !state.is_computing {
                break;
            }
            let wait = deadline.saturating_duration_since(now);
            if wait.is_zero() {
                return Err(Problem::unavailable(
                    "this takes long and is being computed for somebody else: try again soon",
                ));
            }
            let waited = self.ended.wait_timeout(state, wait);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        state.is_computing = true;
        drop(state);
        let permit = Permit(self);
        let answer = Remembered {
            value: Arc::new(compute()?),
            at_ms: now_ms(),
        };
        let mut state = self.lock();
        if state.entries.len() >= self.entries_max {
            state.entries.pop_front();
        }
        state.entries.push_back(Entry {
            key,
            kept_until: Instant::now() + self.kept_for,
            answer: answer.clone(),
        });
        drop(state);
        drop(permit);
        Ok(answer)
    }

    fn lock(&self) -> MutexGuard<'_, State<K, V>> {
        lock(&self.state)
    }
}

/// The only computation, until it has ended.
struct Permit<'a, K: PartialEq, V>(&'a Memo<K, V>);

impl<K: PartialEq, V> Drop for Permit<'_, K, V> {
    fn drop(&mut self) {
        self.0.lock().is_computing = false;
        self.0.ended.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::StatusCode;

    #[test]
    fn answers_are_kept_and_computed_one_at_a_time() {
        let memo = Memo::new(1, Duration::from_secs(60));
        let failed = memo.get("a", || Err(Problem::not_found("")));
        assert_eq!(failed.unwrap_err().status, StatusCode::NOT_FOUND);
        let first = memo.get("a", || {
            let other = memo.get("b", || Ok(2));
            assert_eq!(other.unwrap_err().status, StatusCode::SERVICE_UNAVAILABLE);
            Ok(1)
        });
        assert_eq!(*first.unwrap().value, 1);
        assert_eq!(*memo.get("a", || Ok(3)).unwrap().value, 1);
        assert_eq!(*memo.get("b", || Ok(2)).unwrap().value, 2);
        // "b" has taken its place.
        assert_eq!(*memo.get("a", || Ok(3)).unwrap().value, 3);
    }
}
