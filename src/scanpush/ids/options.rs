//! The command line of a command about tasks: ids or a job, parsed and checked. Opens no connection.

use crate::connection::Connection;
use crate::flags::{Flag, Reader};
use crate::model::{Invalid, TaskId};
use crate::scanpush::options::JSON;

/// `-job`
pub const JOB: Flag = Flag::optional("--job", "ID", "all tasks of this job, instead of ids");

/// What the command line of a command about tasks asks for.
#[derive(Debug)]
pub struct TaskOptions {
    /// Kafka and Redis.
    pub connection: Connection,
    /// The tasks.
    pub names: TaskNames,
    /// Print lines of JSON.
    pub json: bool,
}

impl TaskOptions {
    /// Reads and checks the whole command line; `names` is [`TaskNames::read`] or [`TaskNames::read_any`].
    pub fn read(
        mut reader: Reader,
        names: fn(&mut Reader) -> Result<TaskNames, Invalid>,
    ) -> Result<TaskOptions, Invalid> {
        let options = TaskOptions {
            names: names(&mut reader)?,
            json: reader.switch(&JSON),
            connection: Connection::read(&mut reader)?,
        };
        reader.finish()?;
        Ok(options)
    }
}

/// The tasks that a command line names. Nothing is known yet about what exists.
#[derive(Clone, Debug, Default)]
pub struct TaskNames {
    /// Ids, complete or abbreviated, in the order of the command line.
    pub ids: Vec<TaskId>,
    /// The job's id, complete or abbreviated. Then `ids` is empty.
    pub job: Option<TaskId>,
}

impl TaskNames {
    /// Takes the ids and [`JOB`]. Fails if neither or both are given.
    pub fn read(reader: &mut Reader) -> Result<TaskNames, Invalid> {
        let names = TaskNames::read_any(reader)?;
        if names.is_empty() {
            return Err(Invalid::about(
                "give ids of tasks or -job ID (scanpush list shows them)",
            ));
        }
        Ok(names)
    }

    /// As [`TaskNames::read`], for a command that also works without names.
    pub fn read_any(reader: &mut Reader) -> Result<TaskNames, Invalid> {
        let job = reader.optional(&JOB, str::parse)?;
        let ids: Vec<TaskId> = reader
            .words()
            .iter()
            .map(|word| word.parse())
            .collect::<Result<_, _>>()?;
        match (&job, ids.first()) {
            (Some(_), Some(id)) => Err(Invalid::new(
                id.as_str(),
                "cannot be combined with -job: give ids or a job",
            )),
            _ => Ok(TaskNames { ids, job }),
        }
    }

    /// Whether nothing is named.
    pub fn is_empty(&self) -> bool {
        self.ids.is_empty() && self.job.is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flags;

    #[test]
    fn something_must_be_named_and_only_ids_or_a_job() {
        let read = |line: &[&str]| {
            flags::read_line(line, &[JOB, JSON], |reader| {
                TaskOptions::read(reader, TaskNames::read)
            })
        };
        for (line, named) in [
            (&[][..], "give ids of tasks or -job ID"),
            (&["a", "-job", "b"], "\"a\" cannot be combined with -job"),
            (&["a b"], "\"a b\" is not an id"),
        ] {
            let error = read(line).unwrap_err().to_string();
            assert!(error.starts_with(named), "{line:?}: {error}");
        }
    }
}
