//! Database connections for requests. A database that does not answer occupies only some of the threads that handle requests, and only until this is
//! noticed: then other requests get 503 at once.

use super::live::Away;
use super::problem::Problem;
use crate::scanpush::tasks::now_ms;
use crate::store::{DatabaseSettings, StoreError, StoreReader};
use crate::sync::lock;
use std::fmt;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Questions that are asked at the same time, at most. Fewer than there are threads that handle requests, so that some stay free.
const READERS_MAX: usize = 5;
/// How long a question waits for a permit. It does not wait while the database is away.
const READERS_WAIT: Duration = Duration::from_millis(500);
/// The database counts as away if a short question has had no answer for this long, and no other question was answered meanwhile.
const ANSWER_MAX: Duration = Duration::from_secs(3);
/// While the database is away, it is asked this often.
const PROBE_INTERVAL: Duration = Duration::from_secs(1);
/// Time for a statement, after which Postgres cancels it.
const STATEMENT_MAX: Duration = Duration::from_secs(20);

/// Connections to the database.
pub struct Readers {
    settings: DatabaseSettings,
    state: Mutex<ReadersState>,
    /// Notified when a question has ended.
    ended: Condvar,
}

#[derive(Default)]
struct ReadersState {
    idle: Vec<StoreReader>,
    open: Vec<OpenQuestion>,
    last_number: u64,
    /// When a question was answered last.
    answered_at: Option<Instant>,
    /// Set while the last question failed because of the database.
    failed: Option<Away>,
    /// When the database was asked last while it was away.
    probed_at: Option<Instant>,
}

/// A question without an answer.
struct OpenQuestion {
    number: u64,
    began: Instant,
    kind: QuestionKind,
}

/// How long a question may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum QuestionKind {
    Short,
    /// Reads many rows: a long time does not mean that the database is away.
    Long,
}

/// Why the database did not answer.
#[derive(Debug)]
pub enum ReadError {
    /// Too many questions are asked at the same time.
    Busy,
    /// It did not answer before, and was not asked.
    Away(Away),
    /// The question failed.
    Failed(StoreError),
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ReadError::Busy => f.write_str("too many others are reading it"),
            ReadError::Away(away) => f.write_str(&away.cause),
            ReadError::Failed(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for ReadError {}

impl From<ReadError> for Problem {
    fn from(error: ReadError) -> Problem {
        Problem::unavailable(format!("the database cannot be read: {error}"))
    }
}

impl Readers {
    /// Connects when it is needed.
    pub fn new(settings: DatabaseSettings) -> Readers {
        Readers {
            settings,
            state: Mutex::default(),
            ended: Condvar::new(),
        }
    }

    /// Asks the database. Errs with 503 if it cannot be read.
    pub fn ask<T>(
        &self,
        question: impl FnOnce(&mut StoreReader) -> Result<T, StoreError>,
    ) -> Result<T, Problem> {
        Ok(self.try_ask(question)?)
    }

    /// The same, with the database's own error.
    pub fn try_ask<T>(
        &self,
        question: impl FnOnce(&mut StoreReader) -> Result<T, StoreError>,
    ) -> Result<T, ReadError> {
        self.ask_of(QuestionKind::Short, question)
    }

    /// Asks something that reads much.
    pub fn ask_long<T>(
        &self,
        question: impl FnOnce(&mut StoreReader) -> Result<T, StoreError>,
    ) -> Result<T, Problem> {
        Ok(self.ask_of(QuestionKind::Long, question)?)
    }

    /// A connection for use outside the threads that handle requests. Only connecting takes a permit; each statement is limited to [`STATEMENT_MAX`].
    pub fn open(&self) -> Result<StoreReader, ReadError> {
        let permit = self.begin(QuestionKind::Short)?;
        let opened = self.connect();
        self.note(opened.as_ref().map(|_| ()));
        drop(permit);
        opened.map_err(ReadError::Failed)
    }

    /// A connection without a limit for statements, for the threads that count: no request waits for them.
    pub fn open_unlimited(&self) -> Result<StoreReader, StoreError> {
        StoreReader::open(&self.settings)
    }

    fn ask_of<T>(
        &self,
        kind: QuestionKind,
        question: impl FnOnce(&mut StoreReader) -> Result<T, StoreError>,
    ) -> Result<T, ReadError> {
        let permit = self.begin(kind)?;
        let idle = self.lock().idle.pop();
        let asked = idle
            .map_or_else(|| self.connect(), Ok)
            .and_then(|mut reader| question(&mut reader).map(|answer| (answer, reader)));
        self.note(asked.as_ref().map(|_| ()));
        drop(permit);
        let (answer, reader) = asked.map_err(ReadError::Failed)?;
        self.lock().idle.push(reader);
        Ok(answer)
    }

    fn connect(&self) -> Result<StoreReader, StoreError> {
        let mut reader = StoreReader::open(&self.settings)?;
        reader.limit_statements(STATEMENT_MAX)?;
        Ok(reader)
    }

    /// Waits for a permit, unless the database is away.
    fn begin(&self, kind: QuestionKind) -> Result<Permit<'_>, ReadError> {
        let deadline = Instant::now() + READERS_WAIT;
        let mut state = self.lock();
        loop {
            let now = Instant::now();
            let is_full = state.open.len() >= READERS_MAX;
            if let Some(away) = state.away(now) {
                let next_probe_at = state.probed_at.map(|at| at + PROBE_INTERVAL);
                if is_full || next_probe_at.is_some_and(|next| now < next) {
                    return Err(ReadError::Away(away));
                }
                state.probed_at = Some(now);
            }
            if !is_full {
                state.last_number += 1;
                let number = state.last_number;
                state.open.push(OpenQuestion {
                    number,
                    began: now,
                    kind,
                });
                return Ok(Permit {
                    readers: self,
                    number,
                });
            }
            let wait = deadline.saturating_duration_since(now);
            if wait.is_zero() {
                return Err(ReadError::Busy);
            }
            let waited = self.ended.wait_timeout(state, wait);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Notes how a question has ended.
    fn note(&self, answered: Result<(), &StoreError>) {
        let mut state = self.lock();
        match answered {
            Ok(()) => {
                state.answered_at = Some(Instant::now());
                state.failed = None;
            }
            Err(error) if error.is_of_database() => {
                state.idle.clear();
                state.probed_at = Some(Instant::now());
                state.failed = Some(Away {
                    since_ms: state.failed.as_ref().map_or_else(now_ms, |it| it.since_ms),
                    cause: error.to_string(),
                });
            }
            // The database is not the cause: other questions may be answered.
            Err(_) => {}
        }
    }

    /// Why the database cannot be read.
    pub fn away(&self) -> Option<Away> {
        self.lock().away(Instant::now())
    }

    fn lock(&self) -> MutexGuard<'_, ReadersState> {
        lock(&self.state)
    }
}

impl ReadersState {
    fn away(&self, now: Instant) -> Option<Away> {
        self.failed.clone().or_else(|| self.silent(now))
    }

    /// The database has not answered a question, nor any other since.
    fn silent(&self, now: Instant) -> Option<Away> {
        let short = self
            .open
            .iter()
            .filter(|question| question.kind == QuestionKind::Short);
        let began = short.map(|question| question.began).min()?;
        let silent = now.saturating_duration_since(began.max(self.answered_at.unwrap_or(began)));
        (silent >= ANSWER_MAX).then(|| Away {
            since_ms: now_ms().saturating_sub(silent.as_millis() as u64),
            cause: "the database does not answer".to_owned(),
        })
    }
}

/// One of the [`READERS_MAX`] permits to ask, until the question has ended.
struct Permit<'a> {
    readers: &'a Readers,
    number: u64,
}

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        let mut state = self.readers.lock();
        state.open.retain(|question| question.number != self.number);
        drop(state);
        self.readers.ended.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scanpush::sample_store::SampleStore;
    use crossbeam_channel::bounded;
    use std::thread;

    fn readers(url: &str) -> Readers {
        Readers::new(DatabaseSettings {
            url: url.parse().unwrap(),
            password: None,
        })
    }

    #[test]
    fn a_database_that_does_not_answer_is_away_and_only_probed() {
        let store = SampleStore::new();
        let readers = readers(&store.url());
        readers.ask(|_| Ok(())).unwrap();
        let (answer, answers) = bounded::<()>(0);
        let (begun, begins) = bounded::<()>(0);
        let hang = |_: &mut StoreReader| {
            begun.send(()).unwrap();
            answers.recv().unwrap();
            Ok(())
        };
        thread::scope(|scope| {
            for _ in 1..READERS_MAX {
                scope.spawn(|| readers.ask(hang).unwrap());
                begins.recv().unwrap();
            }
            readers.ask(|_| Ok(())).unwrap();
            assert!(readers.away().is_none());
            thread::sleep(ANSWER_MAX);
            assert!(readers.away().is_some());
            // The probe takes the last place.
            scope.spawn(|| readers.ask(hang).unwrap());
            begins.recv().unwrap();
            let began = Instant::now();
            assert!(matches!(
                readers.try_ask(|_| Ok(())),
                Err(ReadError::Away(_))
            ));
            assert!(began.elapsed() < READERS_WAIT);
            for _ in 0..READERS_MAX {
                answer.send(()).unwrap();
            }
        });
        assert!(readers.away().is_none());
        readers.ask(|_| Ok(())).unwrap();
    }

    #[test]
    fn only_the_database_itself_is_away() {
        let store = SampleStore::new();
        let of_store = readers(&store.url());
        let malformed = || StoreError::Malformed {
            what: "tasks.state".to_owned(),
            value: "\"x\"".to_owned(),
        };
        assert!(of_store.ask(|_| Err::<(), _>(malformed())).is_err());
        assert!(of_store.away().is_none());
        let missing = readers("sqlite:/nowhere/scan.db");
        assert!(missing.ask(|_| Ok(())).is_err());
        assert!(missing.away().is_some());
        assert!(matches!(
            missing.try_ask(|_| Ok(())),
            Err(ReadError::Away(_))
        ));
    }
}
