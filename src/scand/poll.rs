//! The thread `poll`: reads every partition of `scan-tasks` from the group's shared cursor, validates each record and takes
//! it into the claim table. Every server does this; the compare-and-set on the cursor lets one of them win.
//!
//! **Invariant:** it keeps no position of its own: the cursor is read from Redis for every fetch.

use super::history::History;
use super::holdings::Holdings;
use super::outage::{Outage, Stop, stopped};
use super::settle::{Settlement, record_of};
use crate::bus::{Brokers, BusError, Fetched, GroupOffsets, LogRange, Reader, Record};
use crate::ledger::{
    Claim, Cursor, Ending, Fate, Ingest, Ingested, Ledger, LedgerError, NewTask, Outcome,
};
use crate::model::limits::{FETCH_WAIT, INGEST_BATCH_BYTES, INGEST_BATCH_MAX};
use crate::model::{State, Task, TaskId};
use crossbeam_channel::Sender;
use log::{debug, error, info, warn};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The thread's own things.
pub struct Poll {
    /// This server's name.
    pub server: String,
    /// Lease of what is taken up for a server, and of rejected records until they are ended.
    pub lease: Duration,
    /// Where Kafka is.
    pub brokers: Brokers,
    /// The topic of tasks.
    pub topic: String,
    /// The topic of changes, read when Redis lost its data.
    pub status_topic: String,
    /// The group's committed offsets.
    pub group_offsets: GroupOffsets,
    /// Its own connection to Redis.
    pub ledger: Ledger,
    /// The claims of this server.
    pub holdings: Arc<Holdings>,
    /// Where changes of state and rejected records go.
    pub settle: Sender<Settlement>,
    /// Nudges `dispatch`: there may be work.
    pub work: Sender<()>,
    /// Closed = stop.
    pub stop: Stop,
}

/// Any trouble of this thread: the round is given up and begun again.
enum Trouble {
    Bus(BusError),
    Ledger(LedgerError),
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Trouble::Bus(error) => error.fmt(f),
            Trouble::Ledger(error) => error.fmt(f),
        }
    }
}

impl From<BusError> for Trouble {
    fn from(error: BusError) -> Trouble {
        Trouble::Bus(error)
    }
}

impl From<LedgerError> for Trouble {
    fn from(error: LedgerError) -> Trouble {
        Trouble::Ledger(error)
    }
}

impl Poll {
    /// Runs until `stop` is closed.
    pub fn run(mut self) {
        let mut outage = Outage::new("read tasks");
        let mut reader = None;
        let mut histories: BTreeMap<(i32, String), History> = BTreeMap::new();
        while !stopped(&self.stop) {
            match self.round(&mut reader, &mut histories) {
                Ok(()) => outage.over(),
                Err(trouble) => {
                    if !outage.pause(&trouble, &self.stop) {
                        return;
                    }
                }
            }
        }
    }

    /// One fetch from every partition, and the ingest of what came.
    fn round(
        &mut self,
        reader: &mut Option<Reader>,
        histories: &mut BTreeMap<(i32, String), History>,
    ) -> Result<(), Trouble> {
        let reader = match reader {
            Some(reader) => reader,
            None => reader.insert(Reader::connect(&self.brokers, &self.topic)?),
        };
        let found = self.ledger.cursors(&reader.partitions())?;
        if found.values().any(Option::is_none) {
            return self.begin(reader, &found);
        }
        let cursors: BTreeMap<i32, Cursor> = found
            .into_iter()
            .filter_map(|(partition, cursor)| Some((partition, cursor?)))
            .collect();
        self.load_histories(&cursors, histories)?;
        let offsets = cursors
            .iter()
            .map(|(&p, cursor)| (p, cursor.next))
            .collect();
        for (partition, fetched) in reader.fetch(&offsets, FETCH_WAIT)? {
            let Some(cursor) = cursors.get(&partition) else {
                continue;
            };
            let history = histories.get(&(partition, cursor.epoch.clone()));
            match fetched {
                Fetched::Records(records) => self.take(partition, cursor, records, history)?,
                Fetched::OutOfRange => {
                    let range = reader.log_ranges()?.get(&partition).copied();
                    self.mend_cursor(partition, cursor, range)?;
                }
                Fetched::Unreadable { reason, next } => {
                    let lost = next - cursor.next;
                    error!(
                        "{} partition {partition} offset {}: {reason}; {lost} offsets are skipped, the tasks in them are lost",
                        self.topic, cursor.next
                    );
                    self.skip(partition, cursor, next, lost.unsigned_abs())?;
                }
                Fetched::Away { reason } => {
                    warn!("{} partition {partition}: {reason}", self.topic);
                }
                Fetched::Gone => {
                    return Err(BusError::topic_missing(&self.brokers, &self.topic).into());
                }
            }
        }
        Ok(())
    }

    /// Begins the partitions whose cursor is missing: a new group, or a Redis that lost its data.
    fn begin(
        &mut self,
        reader: &mut Reader,
        found: &BTreeMap<i32, Option<Cursor>>,
    ) -> Result<(), Trouble> {
        let committed = self.group_offsets.committed()?;
        let ranges = reader.log_ranges()?;
        let epoch = nanoid::nanoid!(10);
        for (&partition, _) in found.iter().filter(|(_, cursor)| cursor.is_none()) {
            let Some(&range) = ranges.get(&partition) else {
                continue;
            };
            let from = begin_at(committed.get(&partition).copied(), range);
            if self.ledger.begin(partition, from, range.next, &epoch)? {
                info!(
                    "{} partition {partition}: begins at offset {from} of {} to {} (committed: {})",
                    self.topic,
                    range.first,
                    range.next,
                    committed
                        .get(&partition)
                        .map_or("none".to_owned(), i64::to_string)
                );
            }
            if let Some(&lost) = committed.get(&partition).filter(|&&c| c < range.first) {
                error!(
                    "{} partition {partition}: Kafka no longer has offsets {lost} to {}: {} records are lost",
                    self.topic,
                    range.first - 1,
                    range.first - lost
                );
            }
        }
        Ok(())
    }

    /// Partitions that are being rebuilt need the history as it was after their beginning.
    fn load_histories(
        &self,
        cursors: &BTreeMap<i32, Cursor>,
        histories: &mut BTreeMap<(i32, String), History>,
    ) -> Result<(), Trouble> {
        let rebuilding = |cursor: &Cursor| cursor.next < cursor.until;
        histories.retain(|(partition, epoch), _| {
            cursors
                .get(partition)
                .is_some_and(|cursor| cursor.epoch == *epoch && rebuilding(cursor))
        });
        for (&partition, cursor) in cursors.iter().filter(|(_, cursor)| rebuilding(cursor)) {
            let key = (partition, cursor.epoch.clone());
            if let std::collections::btree_map::Entry::Vacant(vacant) = histories.entry(key) {
                let from = BTreeMap::from([(partition, cursor.next)]);
                vacant.insert(History::read(&self.brokers, &self.status_topic, &from)?);
            }
        }
        Ok(())
    }

    /// Ingests records in runs of bounded size.
    fn take(
        &mut self,
        partition: i32,
        cursor: &Cursor,
        records: Vec<Record>,
        history: Option<&History>,
    ) -> Result<(), Trouble> {
        let mut cursor = cursor.clone();
        for run in runs(&records) {
            let tasks: Vec<NewTask> = run
                .iter()
                .map(|record| {
                    new_task(
                        partition,
                        record,
                        history.filter(|_| record.offset < cursor.until),
                    )
                })
                .collect();
            let next = run.last().map_or(cursor.next, |record| record.offset + 1);
            let sent = Instant::now();
            let ingested = self.ledger.ingest(&Ingest {
                partition,
                cursor: &cursor,
                next,
                lost_records: 0,
                server: &self.server,
                lease: self.lease,
                tasks: &tasks,
            })?;
            // Whoever ingested: there may be work now.
            let _ = self.work.try_send(());
            let Ingested::Done(outcomes) = ingested else {
                debug!(
                    "{} partition {partition}: another server was first at offset {}",
                    self.topic, cursor.next
                );
                return Ok(());
            };
            for (task, outcome) in tasks.iter().zip(outcomes) {
                self.tell(partition, task, outcome, sent);
            }
            cursor.next = next;
        }
        Ok(())
    }

    /// Logs what ingest did with a record and hands on what follows.
    fn tell(&self, partition: i32, new: &NewTask, outcome: Outcome, sent: Instant) {
        let (id, offset) = (&new.task_id, new.offset);
        match (outcome, &new.fate) {
            (Outcome::Added, Fate::Held { server, .. }) => {
                info!(
                    "task {id}: was running on {server} when Redis was lost, kept for it for one lease"
                );
            }
            (Outcome::Added, Fate::Ready { attempt, .. }) => {
                if let Some(task) = &new.task {
                    info!(
                        "task {id}: ingested from partition {partition} offset {offset}: {} ports {} at {} pps, priority {}",
                        task.ip_range,
                        task.ports,
                        task.band_width.pps(),
                        task.priority.get()
                    );
                }
                let record = record_of(id, &self.server, *attempt, partition, offset);
                self.settle(Settlement::Announce { record, told: None });
            }
            (Outcome::Rejected { fence }, Fate::Rejected { reason }) => {
                warn!("task {id}: rejected, partition {partition} offset {offset}: {reason}");
                let claim = Claim {
                    task_id: id.clone(),
                    fence,
                };
                self.holdings.take(&claim, sent, self.lease);
                self.settle(Settlement::End(Ending {
                    claim,
                    status: State::Rejected,
                    error: Some(reason.clone()),
                    found: 0,
                    attempt: 0,
                    resume_index: 0,
                    partition,
                    offset,
                }));
            }
            (Outcome::Duplicate, _) => {
                warn!("task {id}: pushed again at partition {partition} offset {offset}, ignored");
            }
            (Outcome::Ended, _) => debug!("task {id}: had ended, not run again"),
            (outcome, _) => debug!("task {id}: {outcome:?}"),
        }
    }

    fn settle(&self, settlement: Settlement) {
        // Closed only when the server ends at once; then the lease brings it to another server.
        let _ = self.settle.send(settlement);
    }

    /// Kafka's log no longer holds the cursor: loud, counted, then on with what there is.
    fn mend_cursor(
        &mut self,
        partition: i32,
        cursor: &Cursor,
        range: Option<LogRange>,
    ) -> Result<(), Trouble> {
        let Some(range) = range else { return Ok(()) };
        if cursor.next < range.first {
            let lost = (range.first - cursor.next) as u64;
            error!(
                "{} partition {partition}: Kafka no longer has offsets {} to {}: {lost} records are lost (its retention is too short)",
                self.topic,
                cursor.next,
                range.first - 1
            );
            return self.skip(partition, cursor, range.first, lost);
        }
        if cursor.next > range.next {
            error!(
                "{} partition {partition}: ends at offset {}, below the group's {}: the topic was made anew; reading begins at {}",
                self.topic, range.next, cursor.next, range.first
            );
            return self.skip(partition, cursor, range.first, 0);
        }
        Ok(())
    }

    fn skip(
        &mut self,
        partition: i32,
        cursor: &Cursor,
        next: i64,
        lost_records: u64,
    ) -> Result<(), Trouble> {
        self.ledger.ingest(&Ingest {
            partition,
            cursor,
            next,
            lost_records,
            server: &self.server,
            lease: self.lease,
            tasks: &[],
        })?;
        Ok(())
    }
}

/// Where a partition without a cursor begins: at the committed offset where the log still has it, else at the log's start.
fn begin_at(committed: Option<i64>, range: LogRange) -> i64 {
    match committed {
        Some(offset) if (range.first..=range.next).contains(&offset) => offset,
        _ => range.first,
    }
}

fn new_task(partition: i32, record: &Record, history: Option<&History>) -> NewTask {
    let (task_id, task, fresh) = match Task::from_record(&record.value) {
        Ok(task) => (
            task.task_id.clone(),
            Some(task),
            Fate::Ready {
                attempt: 0,
                resume_index: 0,
            },
        ),
        Err(rejected) => (
            rejected
                .task_id
                .unwrap_or_else(|| TaskId::of_record(partition, record.offset)),
            None,
            Fate::Rejected {
                reason: rejected.reason,
            },
        ),
    };
    let known = history.map(|history| history.fate(task_id.as_str()));
    let fate = match (known, &task) {
        (Some(Fate::Ended), _) => Fate::Ended,
        (Some(known), Some(_)) => known,
        _ => fresh,
    };
    NewTask {
        offset: record.offset,
        task_id,
        task,
        fate,
    }
}

/// Cuts records into runs of at most [`INGEST_BATCH_MAX`] records and about [`INGEST_BATCH_BYTES`].
fn runs(records: &[Record]) -> Vec<&[Record]> {
    let mut runs = Vec::new();
    let (mut begin, mut bytes) = (0, 0);
    for (i, record) in records.iter().enumerate() {
        let full = i - begin >= INGEST_BATCH_MAX || bytes + record.value.len() > INGEST_BATCH_BYTES;
        if full && i > begin {
            runs.push(&records[begin..i]);
            (begin, bytes) = (i, 0);
        }
        bytes += record.value.len();
    }
    if begin < records.len() {
        runs.push(&records[begin..]);
    }
    runs
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_partition_begins_at_the_committed_offset_or_the_logs_start() {
        let range = LogRange { first: 5, next: 9 };
        for (committed, from) in [
            (None, 5),
            (Some(3), 5),
            (Some(5), 5),
            (Some(7), 7),
            (Some(9), 9),
            (Some(10), 5),
        ] {
            assert_eq!(begin_at(committed, range), from, "{committed:?}");
        }
    }

    #[test]
    fn runs_are_bounded_and_whole() {
        let record = |offset, bytes| Record {
            offset,
            value: vec![b'x'; bytes],
        };
        let many: Vec<Record> = (0..1200).map(|offset| record(offset, 1)).collect();
        let cut = runs(&many);
        assert_eq!(
            cut.iter().map(|run| run.len()).collect::<Vec<_>>(),
            [500, 500, 200]
        );
        let large: Vec<Record> = (0..3)
            .map(|offset| record(offset, INGEST_BATCH_BYTES))
            .collect();
        assert_eq!(
            runs(&large).len(),
            3,
            "one that is too large goes by itself"
        );
        assert!(runs(&[]).is_empty());
    }

    #[test]
    fn a_record_without_an_id_is_named_by_its_place() {
        let record = Record {
            offset: 7,
            value: b"{".to_vec(),
        };
        let new = new_task(3, &record, None);
        assert_eq!(new.task_id.as_str(), "record-3-7");
        assert!(matches!(new.fate, Fate::Rejected { .. }));
    }
}
