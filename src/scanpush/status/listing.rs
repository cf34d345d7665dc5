//! The command line of `scanpush status`, and what Redis knows about its names.

use crate::claim_table::{ClaimTable, ClaimTableError, LiveTask};
use crate::connection::Connection;
use crate::flags::Reader;
use crate::flags::shared::STATUS_TOPIC;
use crate::model::{Invalid, TaskId, TopicName};
use crate::scanpush::database;
use crate::scanpush::ids::{FoundTasks, TaskNames, TaskOptions};
use crate::store::DatabaseSettings;
use std::collections::HashSet;

/// Tasks that `scanpush status` shows without an id: the newest ones.
pub const STATUS_TASKS_MAX: usize = 50;

/// What the command line asks for.
#[derive(Debug)]
pub struct Options {
    /// The tasks.
    pub tasks: TaskOptions,
    /// The database, if one is given.
    pub database: Option<DatabaseSettings>,
    /// The topic of state changes.
    pub status_topic: TopicName,
}

/// The tasks to show, and what was found for the names.
#[derive(Default)]
pub struct Listing {
    /// What Redis knows.
    pub tasks: Vec<LiveTask>,
    /// What was found for the names.
    pub found: FoundTasks,
    /// Tasks of a job of which Redis has only the ids.
    pub forgotten: Vec<TaskId>,
}

/// Reads and checks the whole command line.
pub fn resolve(mut reader: Reader) -> Result<Options, Invalid> {
    let database = database::read_optional(&mut reader)?;
    let status_topic = reader.value(&STATUS_TOPIC, str::parse)?;
    Ok(Options {
        tasks: TaskOptions::read(reader, TaskNames::read_any)?,
        database,
        status_topic,
    })
}

/// What Redis knows.
pub fn read(options: &TaskOptions) -> Result<Listing, ClaimTableError> {
    let Connection { redis, group, .. } = &options.connection;
    let mut claim_table = ClaimTable::connect(redis, group.as_str())?;
    if options.names.is_empty() {
        return Ok(Listing {
            tasks: claim_table.tasks(&[], STATUS_TASKS_MAX)?,
            ..Listing::default()
        });
    }
    let found = options.names.find(&mut claim_table)?;
    let tasks: Vec<LiveTask> = claim_table
        .tasks_of(&found.tasks)?
        .into_iter()
        .flatten()
        .collect();
    let known: HashSet<&str> = tasks.iter().map(|task| task.task_id.as_str()).collect();
    let forgotten = found.tasks.iter();
    let forgotten = forgotten.filter(|id| !known.contains(id.as_str()));
    Ok(Listing {
        forgotten: forgotten.cloned().collect(),
        tasks,
        found,
    })
}

impl Listing {
    /// If Redis cannot be asked.
    pub fn all_unknown(names: &TaskNames) -> Listing {
        Listing {
            found: FoundTasks {
                unknown: names.ids.clone(),
                ..FoundTasks::default()
            },
            ..Listing::default()
        }
    }
}
