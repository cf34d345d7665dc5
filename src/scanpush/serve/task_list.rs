//! A page of the list of tasks or jobs, for the page and the API: the filter and the cursor.

use super::known_task::{KnownTask, with_live};
use super::problem::Problem;
use super::route::Context;
use crate::flags::{Flag, Reader, values};
use crate::model::{Invalid, State, TaskId};
use crate::store::{JobSummary, ListPlace, TaskListFilter};

/// Entries of one page at most.
const LIST_PAGE_MAX: u32 = 1000;
/// Longest text that is searched for, in bytes.
const SEARCH_TEXT_MAX_BYTES: usize = 200;

/// States, separated by commas.
pub const STATE: Flag = Flag::optional(
    "--state",
    "STATES",
    "only in these states, separated by commas",
);
/// A server.
pub const SERVER: Flag = Flag::optional("--server", "NAME", "only those of this server");
/// A text.
pub const TEXT: Flag = Flag::optional(
    "--text",
    "TEXT",
    "only those with this text in id, job, targets or error",
);
/// A job.
pub const JOB: Flag = Flag::optional("--job", "ID", "only those of this job");
/// A cursor.
pub const AFTER: Flag = Flag::optional(
    "--after",
    "CURSOR",
    "from the entry after this one on: next of the page before",
);
/// The size of a page.
pub const LIMIT: Flag = Flag::with_default("--limit", "N", "100", "entries of a page, 1 to 1000");

/// The fields of the list of tasks.
pub const TASK_FIELDS: &[Flag] = &[STATE, SERVER, TEXT, JOB, AFTER, LIMIT];
/// The fields of the list of jobs.
pub const JOB_FIELDS: &[Flag] = &[TEXT, AFTER, LIMIT];

/// A page of a list.
#[derive(Debug)]
pub struct ListPage<T> {
    /// Its entries.
    pub entries: Vec<T>,
    /// The cursor of the next page; none if this is the last one.
    pub next: Option<String>,
}

/// A page of the list of tasks.
pub fn tasks(context: &Context<'_>, reader: &mut Reader) -> Result<ListPage<KnownTask>, Problem> {
    let filter = TaskListFilter {
        states: reader.optional(&STATE, parse_states)?.unwrap_or_default(),
        server: reader.optional(&SERVER, text)?,
        text: reader.optional(&TEXT, text)?,
        job: reader.optional(&JOB, str::parse)?,
    };
    let (after, limit) = place(reader)?;
    // One more shows whether there is another page.
    let stored = context
        .site
        .readers
        .ask(|store| store.latest_tasks(&filter, after.as_ref(), limit + 1))?;
    let page = page(stored, limit, |task| ListPlace {
        changed_ms: task.changed_ms,
        id: task.task_id.clone(),
    });
    Ok(ListPage {
        entries: with_live(context, page.entries),
        next: page.next,
    })
}

/// A page of the list of jobs.
pub fn jobs(context: &Context<'_>, reader: &mut Reader) -> Result<ListPage<JobSummary>, Problem> {
    let searched = reader.optional(&TEXT, text)?;
    let (after, limit) = place(reader)?;
    let jobs = context
        .site
        .readers
        .ask(|store| store.latest_jobs(searched.as_deref(), after.as_ref(), limit + 1))?;
    Ok(page(jobs, limit, |job| ListPlace {
        changed_ms: job.changed_ms,
        id: job.job_id.clone(),
    }))
}

fn page<T>(mut entries: Vec<T>, limit: usize, place_of: impl Fn(&T) -> ListPlace) -> ListPage<T> {
    let has_more = entries.len() > limit;
    entries.truncate(limit);
    let last = entries.last().filter(|_| has_more).map(place_of);
    ListPage {
        next: last.map(|place| format!("{}-{}", place.changed_ms, place.id)),
        entries,
    }
}

fn place(reader: &mut Reader) -> Result<(Option<ListPlace>, usize), Problem> {
    let after = reader.optional(&AFTER, parse_place)?;
    let limit = reader.value(&LIMIT, values::number(1, LIST_PAGE_MAX))?;
    Ok((after, limit as usize))
}

fn parse_place(text: &str) -> Result<ListPlace, Invalid> {
    let parts = text.split_once('-').and_then(|(changed_ms, id)| {
        Some(ListPlace {
            changed_ms: changed_ms.parse().ok()?,
            id: id.parse::<TaskId>().ok()?,
        })
    });
    parts.ok_or_else(|| Invalid::new(text, "is not a cursor: use next of the page before"))
}

fn parse_states(text: &str) -> Result<Vec<State>, Invalid> {
    text.split(',').map(|state| state.trim().parse()).collect()
}

fn text(text: &str) -> Result<String, Invalid> {
    match text.len() <= SEARCH_TEXT_MAX_BYTES {
        true => Ok(text.to_owned()),
        false => Err(Invalid::new(
            text,
            format!("is longer than {SEARCH_TEXT_MAX_BYTES} bytes"),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cursors_parse_back_and_others_are_refused() {
        let entries = vec![(7u64, "a-b"), (5, "c")];
        let place_of = |(changed_ms, id): &(u64, &str)| ListPlace {
            changed_ms: *changed_ms,
            id: id.parse().unwrap(),
        };
        let first = page(entries.clone(), 1, place_of);
        assert_eq!(first.entries.len(), 1);
        assert_eq!(
            parse_place(&first.next.unwrap()).unwrap(),
            place_of(&entries[0])
        );
        assert_eq!(page(entries, 2, place_of).next, None);
        for text in ["", "7", "x-a", "7-", "-1-a", "7-a b"] {
            assert!(parse_place(text).is_err(), "{text}");
        }
        assert_eq!(
            parse_states("running, failed").unwrap(),
            [State::Running, State::Failed]
        );
    }
}
