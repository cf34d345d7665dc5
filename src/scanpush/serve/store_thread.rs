//! The thread that fills the database, and how it is doing.

use super::live::Away;
use crate::model::text::one_line;
use crate::scanpush::store::{self, Lag, Need, Report, Work};
use crate::scanpush::tasks::now_ms;
use crate::sync::lock;
use crossbeam_channel::Receiver;
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

/// How the thread is doing.
#[derive(Debug, Default)]
pub struct StoreState(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    kafka: Awaited,
    database: Awaited,
    lease: Awaited,
    lag: Vec<Lag>,
}

/// Whether something that the thread needs is there.
#[derive(Debug, Default)]
enum Awaited {
    /// Not known yet.
    #[default]
    Unknown,
    There,
    Away(Away),
}

impl Awaited {
    fn away(&self) -> Option<&Away> {
        match self {
            Awaited::Away(away) => Some(away),
            Awaited::Unknown | Awaited::There => None,
        }
    }

    fn fault(&self, unknown: &str) -> Option<String> {
        match self {
            Awaited::Unknown => Some(unknown.to_owned()),
            Awaited::There => None,
            Awaited::Away(away) => Some(away.cause.clone()),
        }
    }
}

impl StoreState {
    /// Why Kafka cannot be read. None while another process fills the database.
    pub fn kafka_away(&self) -> Option<Away> {
        self.lock().kafka.away().cloned()
    }

    /// Why the database cannot be written.
    pub fn database_away(&self) -> Option<Away> {
        self.lock().database.away().cloned()
    }

    /// Whether the thread has opened the database, or knows why it cannot.
    pub fn has_tried_database(&self) -> bool {
        let state = self.lock();
        !matches!(state.database, Awaited::Unknown) || state.lease.away().is_some()
    }

    /// Which other process fills the database, in a sentence, and since when.
    pub fn standing_by(&self) -> Option<Away> {
        self.lock().lease.away().cloned()
    }

    /// Why the thread does not fill the database, although no other process does; none if it does, or another one.
    pub fn fault(&self) -> Option<String> {
        let state = self.lock();
        let database = state.database.fault("not opened yet");
        match state.lease {
            // The other process tells how it is doing.
            Awaited::Away(_) => state.database.away().map(|away| away.cause.clone()),
            _ => database.or_else(|| state.kafka.fault("not read yet")),
        }
    }

    /// What is left to read; empty while another process fills the database.
    pub fn lag(&self) -> Vec<Lag> {
        self.lock().lag.clone()
    }

    /// Notes what the thread has reported.
    pub fn note(&self, report: &Report) {
        let mut state = self.lock();
        match report {
            Report::Awaits(need, cause) => {
                let awaited = state.of(*need);
                let since_ms = awaited.away().map_or_else(now_ms, |away| away.since_ms);
                *awaited = Awaited::Away(Away {
                    since_ms,
                    cause: cause.clone(),
                });
                if *need == Need::Lease {
                    state.kafka = Awaited::Unknown;
                    state.lag.clear();
                }
            }
            Report::Has(need) => *state.of(*need) = Awaited::There,
            Report::Behind { partitions, .. } => state.lag.clone_from(partitions),
            Report::Line(_) | Report::Written { .. } => {}
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        lock(&self.0)
    }
}

impl Inner {
    fn of(&mut self, need: Need) -> &mut Awaited {
        match need {
            Need::Kafka => &mut self.kafka,
            Need::Database => &mut self.database,
            Need::Lease => &mut self.lease,
        }
    }
}

/// What metrics count of the thread's work.
pub trait CountsBatches {
    /// A batch was written: its findings, the records that changed nothing, and how long the database took.
    fn count(&self, findings: u64, ignored: u64, took: Duration);
}

/// Starts the thread, which works until `stop` is closed.
pub fn start(options: &store::Options, stop: Receiver<()>) -> std::io::Result<Work> {
    Work::start(options, stop)
}

/// Takes what the thread has reported.
pub fn note(state: &StoreState, report: &Report, counts: &impl CountsBatches) {
    state.note(report);
    match report {
        Report::Line(line) => log::info!("{}", one_line(line)),
        Report::Written {
            findings,
            ignored,
            took,
        } => counts.count(*findings, *ignored, *took),
        Report::Behind { .. } | Report::Awaits(..) | Report::Has(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn awaits(need: Need, cause: &str) -> Report {
        Report::Awaits(need, cause.to_owned())
    }

    #[test]
    fn what_is_away_is_known_since_its_first_report_and_recovers() {
        let state = StoreState::default();
        assert_eq!(state.fault().as_deref(), Some("not opened yet"));
        assert!(state.kafka_away().is_none() && state.database_away().is_none());
        assert!(!state.has_tried_database());
        for need in [Need::Lease, Need::Database] {
            state.note(&Report::Has(need));
        }
        assert_eq!(state.fault().as_deref(), Some("not read yet"));
        assert!(state.has_tried_database());
        state.note(&awaits(Need::Kafka, "refused"));
        let first = state.kafka_away().unwrap();
        std::thread::sleep(Duration::from_millis(5));
        state.note(&awaits(Need::Kafka, "timed out"));
        let second = state.kafka_away().unwrap();
        assert_eq!(
            (second.since_ms, second.cause.as_str()),
            (first.since_ms, "timed out")
        );
        assert_eq!(state.fault().as_deref(), Some("timed out"));
        state.note(&Report::Has(Need::Kafka));
        assert!(state.kafka_away().is_none() && state.fault().is_none());
        state.note(&awaits(Need::Database, "disk full"));
        assert_eq!(state.fault().as_deref(), Some("disk full"));
    }

    #[test]
    fn a_store_that_stands_by_is_not_at_fault_and_knows_nothing_of_kafka() {
        let state = StoreState::default();
        state.note(&Report::Has(Need::Database));
        state.note(&awaits(Need::Kafka, "refused"));
        let lag = Lag {
            topic: "scan-results".to_owned(),
            partition: 0,
            records: 7,
        };
        let partitions = vec![lag];
        state.note(&Report::Behind {
            findings: 7,
            partitions: partitions.clone(),
        });
        assert_eq!(state.lag(), partitions);
        state.note(&awaits(
            Need::Lease,
            "another scanpush store (a) works on db",
        ));
        assert!(state.fault().is_none() && state.kafka_away().is_none());
        assert!(state.lag().is_empty() && state.standing_by().is_some());
        state.note(&Report::Has(Need::Lease));
        assert!(state.standing_by().is_none());
    }
}
