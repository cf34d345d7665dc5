//! The lists of tasks and of jobs, for the page and the API: filtered, one page at a time, or everything as a download.

use super::known_task::{KnownTask, with_live};
use super::list_export;
use super::list_records::JobRecord;
use super::lists::{Paging, RECORD_PAGING, Rows};
use super::problem::Problem;
use super::route::{Answer, Context};
use super::site::Site;
use crate::claim_table::LiveTask;
use crate::exit::Failure;
use crate::flags::Flag;
use crate::model::{Invalid, TaskId};
use crate::scanpush::database;
use crate::scanpush::list::parse_states;
use crate::scanpush::queries::writer::{RecordFormat, RecordWriter};
use crate::store::{JobSummary, Page, StoreError, StoreReader, TaskFilter, TaskPlace};
use std::sync::Arc;

/// Longest text that is searched for, in bytes.
const SEARCH_TEXT_MAX_BYTES: usize = 200;
/// Tasks of a download that are read from the database and Redis together.
const EXPORT_PAGE_TASKS: u64 = 1_000;
/// Jobs of a download that are read together. Each such page counts the tasks of all jobs.
const EXPORT_PAGE_JOBS: u64 = 10_000;

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

/// The fields that say which tasks are asked for.
pub const TASK_FILTER: &[Flag] = &[STATE, SERVER, TEXT, JOB];

/// A request for tasks.
#[derive(Debug)]
pub struct TaskQuery {
    filter: TaskFilter,
    after: Option<TaskPlace>,
    paging: Paging<RecordFormat>,
}

impl TaskQuery {
    /// Reads the query of a request.
    pub fn read(context: &Context<'_>) -> Result<TaskQuery, Problem> {
        let mut reader = context.query(&[TASK_FILTER, RECORD_PAGING].concat())?;
        let paging = Paging::of_records(&mut reader)?;
        let filter = TaskFilter {
            states: reader.optional(&STATE, parse_states)?.unwrap_or_default(),
            server: reader.optional(&SERVER, text)?,
            text: reader.optional(&TEXT, text)?,
            job_id: reader.optional(&JOB, str::parse)?,
        };
        reader.finish()?;
        Ok(TaskQuery {
            filter,
            after: paging.position()?,
            paging,
        })
    }

    /// The tasks of a page, those that changed last first. Errs with 503 if the database cannot be read.
    pub fn rows(&self, context: &Context<'_>) -> Result<Rows<KnownTask>, Problem> {
        let site = context.site;
        let page = site
            .readers
            .ask(|store| store.tasks_page(&self.filter, self.after.as_ref(), self.paging.rows()))?;
        let Rows { rows, next } = Rows::of(page);
        Ok(Rows {
            rows: with_live(site, rows),
            next,
        })
    }

    /// The running tasks that match, as last read from Redis.
    pub fn running(&self, context: &Context<'_>) -> Vec<KnownTask> {
        let (snapshot, _) = context.site.live.latest();
        let running = snapshot.running.iter();
        let running = running.filter(|task| matches(&self.filter, task));
        let running = running.take(self.paging.rows());
        running
            .map(|task| KnownTask::Live(Box::new(task.clone())))
            .collect()
    }

    /// All tasks as a document, if a format is asked for.
    pub fn export(&self, context: &Context<'_>) -> Option<Answer> {
        let format = self.paging.format?;
        let (filter, limit) = (self.filter.clone(), self.paging.limit);
        let write =
            move |site: &Site, store: &mut StoreReader, writer: &mut RecordWriter<'_, '_>| {
                each_page(
                    limit,
                    EXPORT_PAGE_TASKS,
                    |after, most| store.tasks_page(&filter, after, most),
                    |tasks| {
                        let tasks = with_live(site, tasks);
                        tasks.iter().try_for_each(|task| writer.record(task))
                    },
                )
            };
        Some(list_export::stream_records::<KnownTask>(
            context, "tasks", format, write,
        ))
    }
}

/// A request for jobs.
#[derive(Debug)]
pub struct JobQuery {
    after: Option<TaskPlace>,
    paging: Paging<RecordFormat>,
}

impl JobQuery {
    /// Reads the query of a request.
    pub fn read(context: &Context<'_>) -> Result<JobQuery, Problem> {
        let mut reader = context.query(RECORD_PAGING)?;
        let paging = Paging::of_records(&mut reader)?;
        reader.finish()?;
        Ok(JobQuery {
            after: paging.position()?,
            paging,
        })
    }

    /// The jobs of a page, those that changed last first. Errs with 503 if the database cannot be read.
    pub fn rows(&self, context: &Context<'_>) -> Result<Rows<JobSummary>, Problem> {
        let (site, limit) = (context.site, self.paging.rows());
        let page = site.answers.jobs.get((self.after.clone(), limit), || {
            site.readers
                .ask(|store| store.jobs_page(self.after.as_ref(), limit))
        })?;
        Ok(Rows::of(Arc::unwrap_or_clone(page.value)))
    }

    /// All jobs as a document, if a format is asked for.
    pub fn export(&self, context: &Context<'_>) -> Option<Answer> {
        let format = self.paging.format?;
        let limit = self.paging.limit;
        let write = move |_: &Site, store: &mut StoreReader, writer: &mut RecordWriter<'_, '_>| {
            each_page(
                limit,
                EXPORT_PAGE_JOBS,
                |after, most| store.jobs_page(after, most),
                |jobs| {
                    let mut jobs = jobs.iter().map(JobRecord::from);
                    jobs.try_for_each(|job| writer.record(&job))
                },
            )
        };
        Some(list_export::stream_records::<JobRecord>(
            context, "jobs", format, write,
        ))
    }
}

/// Reads a list page by page, at most `page_rows` rows at once, until its end or until `limit` rows were written.
fn each_page<T>(
    limit: Option<u64>,
    page_rows: u64,
    mut read: impl FnMut(Option<&TaskPlace>, usize) -> Result<Page<T, TaskPlace>, StoreError>,
    mut write: impl FnMut(Vec<T>) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let (mut after, mut left) = (None, limit.unwrap_or(u64::MAX));
    while left > 0 {
        let page = read(after.as_ref(), left.min(page_rows) as usize);
        let page = page.map_err(database::failure)?;
        left -= page.rows.len() as u64;
        write(page.rows)?;
        let Some(next) = page.next else { break };
        after = Some(next);
    }
    Ok(())
}

/// Applies the database's filter to a task of Redis.
fn matches(filter: &TaskFilter, task: &LiveTask) -> bool {
    let TaskFilter {
        states,
        server,
        text,
        job_id,
    } = filter;
    let job = task.job_id.as_deref();
    let has = |text: &String| {
        let error = task.error.as_deref().unwrap_or_default();
        [
            &task.task_id,
            job.unwrap_or_default(),
            &task.ip_range,
            error,
        ]
        .iter()
        .any(|part| part.to_lowercase().contains(&text.to_lowercase()))
    };
    (states.is_empty() || states.contains(&task.status))
        && (server.is_none() || *server == task.server)
        && (job_id.is_none() || job_id.as_ref().map(TaskId::as_str) == job)
        && text.as_ref().is_none_or(has)
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
    use crate::model::State;
    use crate::scanpush::tasks::sample::task;

    #[test]
    fn running_tasks_are_filtered_as_the_database_does() {
        let live = LiveTask {
            job_id: Some("Night".into()),
            server: Some("a".into()),
            ..task()
        };
        let wants = |filter: TaskFilter| matches(&filter, &live);
        let all = TaskFilter::default;
        let text = |text: &str| Some(text.to_owned());
        assert!(wants(all()));
        assert!(wants(TaskFilter {
            states: vec![live.status],
            ..all()
        }));
        assert!(!wants(TaskFilter {
            states: vec![State::Failed],
            ..all()
        }));
        assert!(wants(TaskFilter {
            server: text("a"),
            ..all()
        }));
        assert!(!wants(TaskFilter {
            server: text("b"),
            ..all()
        }));
        assert!(wants(TaskFilter {
            text: text("night"),
            ..all()
        }));
        assert!(!wants(TaskFilter {
            text: text("day"),
            ..all()
        }));
        assert!(wants(TaskFilter {
            job_id: Some("Night".parse().unwrap()),
            ..all()
        }));
        assert!(!wants(TaskFilter {
            job_id: Some("day".parse().unwrap()),
            ..all()
        }));
    }
}
