//! The comparison of two tasks or jobs of the database, for the command and the web page.

use super::compare::{Comparison, compare};
use super::side::Side;
use crate::model::TaskId;
use crate::model::service::Sighting;
use crate::model::text::quoted;
use crate::scanpush::ids::{Match, ambiguous, complete};
use crate::scanpush::results::endpoints::EndpointSet;
use crate::store::{StoreError, StoreReader};

/// Both sides and what differs.
#[derive(Debug)]
pub struct Report {
    /// The first of the two.
    pub before: Side,
    /// The second.
    pub after: Side,
    /// What opened and closed from the first to the second.
    pub comparison: Comparison,
}

/// Why two tasks or jobs cannot be compared.
#[derive(Debug)]
pub enum DiffError {
    /// An id is unknown or ambiguous: one line.
    Unknown(String),
    /// They are known, but cannot be compared: one line.
    Refused(String),
    /// The database cannot be read.
    Store(StoreError),
}

impl From<StoreError> for DiffError {
    fn from(error: StoreError) -> DiffError {
        DiffError::Store(error)
    }
}

impl Report {
    /// Reads the findings of both and compares them. Refuses sides that found more than `findings_max` together: findings are held in memory.
    pub fn read(
        store: &mut StoreReader,
        [first, second]: [&TaskId; 2],
        findings_max: Option<u64>,
    ) -> Result<Report, DiffError> {
        let (before, after) = (find(store, first)?, find(store, second)?);
        if before.name() == after.name() {
            let name = before.name();
            return Err(DiffError::Unknown(format!("both ids stand for {name}")));
        }
        let found = before.found().saturating_add(after.found());
        if let Some(most) = findings_max.filter(|most| found > *most) {
            return Err(DiffError::Refused(format!(
                "they have {found} findings, more than the {most} that are compared here: use scanpush diff {first} {second}"
            )));
        }
        let (before, found_before) = with_findings(store, before)?;
        let (after, found_after) = with_findings(store, after)?;
        let comparison = compare(&found_before, &found_after, &before, &after);
        Ok(Report {
            before,
            after,
            comparison,
        })
    }

    /// How many opened and how many closed.
    pub fn counts(&self) -> (usize, usize) {
        let changes = &self.comparison.changes;
        let opened = changes.iter().filter(|change| change.opened).count();
        (opened, changes.len() - opened)
    }

    /// What the differences do not say, a line each.
    pub fn summary(&self) -> Vec<String> {
        let Comparison {
            same,
            only_before,
            only_after,
            ..
        } = self.comparison;
        let (opened, closed) = self.counts();
        let mut lines = vec![format!(
            "{opened} opened, {closed} closed, {same} the same, {} not comparable",
            only_before + only_after
        )];
        for (not_comparable, finder, other) in [
            (only_before, &self.before, &self.after),
            (only_after, &self.after, &self.before),
        ] {
            if not_comparable > 0 {
                lines.push(format!(
                    "not comparable: {not_comparable} that only {} found and {} did not cover",
                    finder.name(),
                    other.name()
                ));
            }
        }
        lines
    }
}

/// The task or job with this id, complete or abbreviated.
fn find(store: &mut StoreReader, name: &TaskId) -> Result<Side, DiffError> {
    match (store.task(name)?, store.job(name)?) {
        (Some(_), Some(_)) => Err(DiffError::Unknown(format!(
            "{} is both a task and a job of the database: give the ids of single tasks",
            quoted(name.as_str())
        ))),
        (Some(task), None) => Ok(Side::of_task(task)),
        (None, Some(job)) => Ok(Side::of_job(name.clone(), job)),
        (None, None) => find_abbreviated(store, name),
    }
}

fn find_abbreviated(store: &mut StoreReader, name: &TaskId) -> Result<Side, DiffError> {
    let matched = complete(name, false, |prefix| {
        let mut ids = store.tasks_beginning(prefix)?;
        ids.extend(store.jobs_beginning(prefix)?);
        ids.sort();
        ids.dedup();
        Ok::<_, StoreError>(ids)
    });
    let unknown = || {
        let name = quoted(name.as_str());
        DiffError::Unknown(format!(
            "{name} is neither a task nor a job of the database"
        ))
    };
    match matched? {
        // A complete id: this does not come back here.
        Match::One(id) if id != *name => find(store, &id),
        Match::Several(ids) => Err(DiffError::Unknown(ambiguous(name, "tasks or jobs", &ids))),
        Match::One(_) | Match::None => Err(unknown()),
    }
}

/// Reads the kept findings of a side. Fails if none are kept, although there were some.
fn with_findings(store: &mut StoreReader, side: Side) -> Result<(Side, EndpointSet), DiffError> {
    let (mut found, mut kept) = (EndpointSet::default(), Vec::new());
    for task in side.tasks() {
        let mut of_task = 0;
        let take = |sighting: Sighting| {
            of_task += 1;
            found.insert(sighting.key, 1);
        };
        store.findings_of(&task.task_id, take)?;
        kept.push(of_task);
    }
    if found.len() == 0 && side.found() > 0 {
        return Err(DiffError::Refused(format!(
            "the database has no findings of {}, which found {}: scanpush store keeps them only with -keep-findings; \
             scanpush results -diff compares two tasks from Kafka",
            side.name(),
            side.found()
        )));
    }
    Ok((side.with_kept(kept), found))
}
