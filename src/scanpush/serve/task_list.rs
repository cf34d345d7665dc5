//! A page of the list of tasks or jobs, for the page and the API: the filter and the cursor.

use super::known_task::{KnownTask, with_live};
use super::problem::Problem;
use super::route::Context;
use crate::flags::{Flag, Reader, values};
use crate::model::{Invalid, State};
use crate::store::{JobSummary, Page, TaskFilter, TaskPlace};

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
pub const JOB_FIELDS: &[Flag] = &[AFTER, LIMIT];

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
    let filter = TaskFilter {
        states: reader.optional(&STATE, parse_states)?.unwrap_or_default(),
        server: reader.optional(&SERVER, text)?,
        text: reader.optional(&TEXT, text)?,
        job_id: reader.optional(&JOB, str::parse)?,
    };
    let (after, limit) = place(reader)?;
    let page = context
        .site
        .readers
        .ask(|store| store.tasks_page(&filter, after.as_ref(), limit))?;
    let Page { rows, next } = page;
    Ok(ListPage {
        entries: with_live(context, rows),
        next: next.map(|place| place.to_string()),
    })
}

/// A page of the list of jobs.
pub fn jobs(context: &Context<'_>, reader: &mut Reader) -> Result<ListPage<JobSummary>, Problem> {
    let (after, limit) = place(reader)?;
    let site = context.site;
    let page = site.answers.jobs.get((after.clone(), limit), || {
        site.readers
            .ask(|store| store.jobs_page(after.as_ref(), limit))
    })?;
    Ok(ListPage {
        entries: page.value.rows.clone(),
        next: page.value.next.as_ref().map(|place| place.to_string()),
    })
}

fn place(reader: &mut Reader) -> Result<(Option<TaskPlace>, usize), Problem> {
    let after = reader.optional(&AFTER, str::parse)?;
    let limit = reader.value(&LIMIT, values::number(1, LIST_PAGE_MAX))?;
    Ok((after, limit as usize))
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
    fn states_are_separated_by_commas() {
        assert_eq!(
            parse_states("running, failed").unwrap(),
            [State::Running, State::Failed]
        );
    }
}
