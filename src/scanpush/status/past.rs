//! Looks up tasks that Redis no longer knows: in the database if one is given, else in the topic of state changes.

use super::listing::{Listing, Options};
use super::past_task::PastTask;
use crate::exit::{Exit, Failure};
use crate::kafka::FETCH_WAIT;
use crate::model::backoff::CLIENT_WAIT;
use crate::model::text::one_line;
use crate::model::{StatusRecord, TaskId};
use crate::scanpush::database::failure;
use crate::scanpush::ids::{Match, ambiguous, complete, is_too_short, with_prefix};
use crate::scanpush::interrupt::Interrupt;
use crate::scanpush::results::topic_reader::TopicReader;
use crate::store::{StoreError, StoreReader};
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::time::{Duration, Instant};

/// How long the topic of state changes is read for tasks that Redis does not know.
const STATUS_READ_MAX: Duration = Duration::from_secs(10);

/// What was found.
#[derive(Debug, Default)]
pub struct Past {
    /// Tasks, in the order of the names.
    pub tasks: Vec<PastTask>,
    /// What to say if names are still unknown, a line each.
    pub notes: Vec<String>,
}

/// Looks up what Redis does not know, and removes from `listing` what was found. Fails if the database cannot be read.
pub fn look_up(options: &Options, listing: &mut Listing) -> Result<Past, Failure> {
    let job_is_unknown = options.tasks.names.job.is_some() && listing.found.job.is_none();
    let found = &listing.found;
    if found.unknown.is_empty() && listing.forgotten.is_empty() && !job_is_unknown {
        return Ok(Past::default());
    }
    match &options.database {
        Some(settings) => {
            let mut store = StoreReader::open(settings).map_err(failure)?;
            let mut past = in_database(&mut store, listing).map_err(failure)?;
            if job_is_unknown {
                let job = options.tasks.names.job.as_ref();
                past.tasks
                    .extend(job_in_database(&mut store, job, listing).map_err(failure)?);
            }
            past.notes
                .push(format!("it is not in {} either", settings.url));
            Ok(past)
        }
        // Each job may have many forgotten tasks: without a database they are only counted by `scanpush job`.
        None if found.unknown.is_empty() => Ok(Past::default()),
        None => in_kafka(options, listing),
    }
}

fn in_database(store: &mut StoreReader, listing: &mut Listing) -> Result<Past, StoreError> {
    let mut past = Past::default();
    for id in std::mem::take(&mut listing.forgotten) {
        past.tasks.extend(store.task(&id)?.map(PastTask::from));
    }
    for name in std::mem::take(&mut listing.found.unknown) {
        let known = store.task(&name)?;
        let matched = complete(&name, known.is_some(), |prefix| {
            store.tasks_beginning(prefix)
        })?;
        match matched {
            Match::One(id) => {
                let task = match known {
                    Some(task) => Some(task),
                    None => store.task(&id)?,
                };
                past.tasks.extend(task.map(PastTask::from));
            }
            Match::Several(ids) => {
                let problem = ambiguous(&name, "tasks", &ids);
                listing.found.problems.push(problem);
            }
            Match::None => listing.found.unknown.push(name),
        }
    }
    Ok(past)
}

/// The tasks of a job that Redis does not know. If it is found, the problem that it is unknown goes.
fn job_in_database(
    store: &mut StoreReader,
    name: Option<&TaskId>,
    listing: &mut Listing,
) -> Result<Vec<PastTask>, StoreError> {
    let Some(name) = name else {
        return Ok(Vec::new());
    };
    let known = store.job(name)?;
    let matched = complete(name, known.is_some(), |prefix| store.jobs_beginning(prefix))?;
    let job = match (known, matched) {
        (Some(job), _) => Some(job),
        (None, Match::One(id)) => store.job(&id)?,
        (None, Match::Several(ids)) => {
            listing.found.problems = vec![ambiguous(name, "jobs", &ids)];
            None
        }
        (None, Match::None) => None,
    };
    let Some(job) = job else {
        if listing.found.problems.is_empty() {
            // Redis could not be asked.
            listing.found.unknown.push(name.clone());
        }
        return Ok(Vec::new());
    };
    listing.found.problems.clear();
    Ok(job.tasks.into_iter().map(PastTask::from).collect())
}

fn in_kafka(options: &Options, listing: &mut Listing) -> Result<Past, Failure> {
    let names = std::mem::take(&mut listing.found.unknown);
    let mut past = Past::default();
    let mut history = History::default();
    let topic = options.status_topic.as_str();
    match read_topic(options, &names, &mut history) {
        Ok(true) => past
            .notes
            .push(format!("Kafka has no record of it in {topic} either")),
        Ok(false) => past.notes.push(format!(
            "{topic} has more than could be read within {} s",
            STATUS_READ_MAX.as_secs()
        )),
        Err(Failure::Runtime(why)) => {
            past.notes
                .push(format!("{topic} cannot be read: {}", one_line(&why)));
        }
        Err(other) => return Err(other),
    }
    let ids: Vec<TaskId> = history.last.keys().cloned().collect();
    for name in names {
        let known = history.last.contains_key(&name);
        let Ok(matched) = complete(&name, known, |prefix| {
            Ok::<_, Infallible>(with_prefix(&ids, prefix))
        });
        match matched {
            Match::One(id) => {
                let record = history.last.get(&id).cloned();
                past.tasks.extend(record.map(PastTask::from));
            }
            Match::Several(ids) => {
                let problem = ambiguous(&name, "tasks", &ids);
                listing.found.problems.push(problem);
            }
            Match::None => listing.found.unknown.push(name),
        }
    }
    Ok(past)
}

/// Reads the topic to its present end. Returns false if that took too long.
fn read_topic(options: &Options, names: &[TaskId], history: &mut History) -> Result<bool, Failure> {
    let until = Instant::now() + STATUS_READ_MAX;
    let interrupt = Interrupt::catch()?;
    let kafka = &options.tasks.connection.kafka;
    let mut topic = TopicReader::open(
        kafka,
        options.status_topic.as_str(),
        &interrupt,
        CLIENT_WAIT,
    )?;
    let ends = topic.end_offsets()?;
    while !topic.has_reached(&ends) {
        if interrupt.came() {
            return Err(Failure::Found(Exit::Interrupted));
        }
        if Instant::now() > until {
            return Ok(false);
        }
        for (_, records) in topic.read(Some(&ends), FETCH_WAIT)? {
            for record in &records {
                history.take(names, &record.value);
            }
        }
    }
    Ok(true)
}

/// The last state of each task whose id is one of some names, or is abbreviated by one.
#[derive(Debug, Default)]
struct History {
    last: BTreeMap<TaskId, StatusRecord>,
}

impl History {
    fn take(&mut self, names: &[TaskId], value: &[u8]) {
        // Records of other programs on this topic are ignored.
        let Ok(record) = serde_json::from_slice::<StatusRecord>(value) else {
            return;
        };
        let is_named = |name: &TaskId| {
            let is_it = record.task_id == name.as_str();
            is_it || (!is_too_short(name) && record.task_id.starts_with(name.as_str()))
        };
        let Some(id) = names.iter().any(is_named).then(|| record.task_id.parse()) else {
            return;
        };
        let Ok(id) = id else { return };
        match self.last.get(&id) {
            Some(known) if !record.replaces(known) => {}
            _ => {
                self.last.insert(id, record);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::COMMAND;
    use super::super::listing::resolve;
    use super::*;
    use crate::flags;
    use crate::model::State;
    use crate::scanpush::ids::FoundTasks;
    use crate::scanpush::sample_store::SampleStore;

    /// What is found for a command line of which Redis knows nothing: ids with their states, and names that stay unknown.
    fn found(store: &SampleStore, line: &[&str]) -> (Vec<String>, Vec<String>) {
        let url = store.url();
        let line = [line, &["-db", &url]].concat();
        let options = flags::read_line(&line, COMMAND.flags, resolve).unwrap();
        let mut listing = Listing {
            found: FoundTasks {
                unknown: options.tasks.names.ids.clone(),
                ..FoundTasks::default()
            },
            ..Listing::default()
        };
        let past = look_up(&options, &mut listing).unwrap();
        let shown = |task: &PastTask| format!("{} {}", task.task_id, task.status);
        let unknown = listing.found.unknown.iter().map(TaskId::to_string);
        (
            past.tasks.iter().map(shown).collect(),
            unknown.chain(listing.found.problems).collect(),
        )
    }

    #[test]
    fn tasks_and_jobs_are_found_in_the_database() {
        let mut store = SampleStore::new();
        for (id, status) in [
            ("night-a", State::Completed),
            ("night-b", State::Failed),
            ("night_c", State::Cancelled),
            ("NIGHT-a", State::Completed),
        ] {
            store.push(id, "10.0.0.1", "22", r#","job_id":"job-1""#);
            store.end(id, status, 1, 10, 20);
        }
        let expected = |tasks: &[&str], others: &[&str]| {
            let owned = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
            (owned(tasks), owned(others))
        };
        for (line, tasks, others) in [
            (
                &["night-b", "nobody"][..],
                &["night-b failed"][..],
                &["nobody"][..],
            ),
            // Neither a pattern nor another case.
            (&["night_"], &["night_c cancelled"], &[]),
            (&["NIGH"], &["NIGHT-a completed"], &[]),
            (&["nigh%"], &[], &["nigh%"]),
            (
                &["night-"],
                &[],
                &["\"night-\" is ambiguous: 2 tasks begin with it: night-a, night-b"],
            ),
            (
                &["-job", "job-"],
                &[
                    "NIGHT-a completed",
                    "night-a completed",
                    "night-b failed",
                    "night_c cancelled",
                ],
                &[],
            ),
            (&["-job", "other"], &[], &["other"]),
        ] {
            assert_eq!(found(&store, line), expected(tasks, others), "{line:?}");
        }
    }

    fn record(id: &str, status: &str, retry: u32, fence: u64) -> Vec<u8> {
        format!(
            r#"{{"task_id":"{id}","status":"{status}","server":"s","attempt":1,"fence":{fence},"found":0,"partition":0,"offset":1,"retry":{retry},"at_ms":1}}"#
        )
        .into_bytes()
    }

    #[test]
    fn the_last_record_of_each_named_task_counts() {
        let names: Vec<TaskId> = ["abcd", "x"].map(|name| name.parse().unwrap()).into();
        let mut history = History::default();
        for value in [
            record("abcdef", "running", 0, 5),
            record("abcdef", "completed", 0, 5),
            // Late or repeated.
            record("abcdef", "running", 0, 5),
            record("x", "failed", 0, 1),
            record("x", "queued", 1, 0),
            record("x", "cancelled", 0, 0),
            record("other", "completed", 0, 1),
            record("xother", "completed", 0, 1),
            b"{".to_vec(),
            record("x y", "completed", 0, 1),
        ] {
            history.take(&names, &value);
        }
        let last: Vec<String> = history
            .last
            .iter()
            .map(|(id, record)| format!("{id} {}", record.status))
            .collect();
        assert_eq!(last, ["abcdef completed", "x queued"]);
    }
}
