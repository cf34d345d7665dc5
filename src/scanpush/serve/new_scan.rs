//! Pushes tasks from the page and the API: the same fields and checks as `scanpush push`, but nothing names a file.
//!
//! **Invariant:** the ids of the tasks follow from the id of the push, so that a push that is sent twice, or again after an error, scans nothing twice.

use super::links;
use super::orders::note;
use super::problem::Problem;
use super::route::Context;
use crate::exit::Failure;
use crate::flags::{Flag, Reader};
use crate::model::text::one_line;
use crate::model::{Invalid, Task, TaskId};
use crate::scanpush::output::Output;
use crate::scanpush::push::{
    Size, UNCONFIRMED_ADDRESSES_MAX, deliver, flags, needs_confirmation, read_scan,
};
use crate::scanpush::task_topic;

/// Longest id of a push, in bytes: the ids of its tasks are longer.
const PUSH_ID_MAX_BYTES: usize = 64;
/// What confirms a large push.
pub const CONFIRMATION: &str = "yes";

/// The id of a push.
pub const PUSH: Flag = Flag::optional(
    "--push",
    "ID",
    "the id of this push: the same again changes nothing (default a random one)",
);
/// The confirmation of a large push.
pub const CONFIRM: Flag = Flag::optional(
    "--confirm",
    "yes",
    "confirms a push of more than 16777216 addresses",
);

/// The fields that describe a push.
pub const SCAN_FIELDS: &[Flag] = &[
    flags::IP,
    flags::PORTS,
    flags::EXCLUDE,
    flags::BAND_WIDTH,
    flags::PRIORITY,
    flags::RETRIES,
    flags::WAIT,
    flags::TIMEOUT,
    flags::ATTEMPTS,
    flags::SHARDS,
    flags::PARALLEL,
    flags::PACK,
    flags::JOB,
    flags::ID,
];

/// All fields: those, the id of the push and its confirmation.
pub fn fields() -> Vec<Flag> {
    [SCAN_FIELDS, &[PUSH, CONFIRM]].concat()
}

/// A checked push that was not sent yet.
#[derive(Debug)]
pub struct Plan {
    /// The id of the push.
    pub push_id: TaskId,
    /// Its tasks; at least one.
    pub tasks: Vec<Task>,
    /// What the user may not expect, a line each.
    pub warnings: Vec<String>,
    /// Its size.
    pub size: Size,
    /// Whether a large push was confirmed.
    is_confirmed: bool,
}

impl Plan {
    /// Reads and checks the fields, and makes the tasks.
    pub fn read(mut reader: Reader) -> Result<Plan, Problem> {
        let push_id = reader.optional(&PUSH, parse_push_id)?;
        let push_id = push_id.unwrap_or_else(TaskId::random);
        let confirmation = reader.optional(&CONFIRM, |text| Ok(text.to_owned()))?;
        if !reader.has(&flags::IP) {
            return Err(Problem::bad_request(
                "ip: give addresses, CIDR blocks or ranges",
            ));
        }
        let mut scan = read_scan(&mut reader)?;
        reader.finish()?;
        scan.id_base = Some(push_id.clone());
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let tasks = scan
            .plan(&mut Output::new(&mut out, &mut err, None, false))
            .map_err(|failure| match failure {
                Failure::Usage(error) => Problem::from(error),
                _ => Problem::bad_request("the push cannot be planned"),
            })?;
        let warnings = String::from_utf8_lossy(&err);
        let warnings = warnings.lines().map(|line| {
            let line = line.strip_prefix("scanpush: ").unwrap_or(line);
            one_line(line)
        });
        Ok(Plan {
            push_id,
            size: Size::of_push(&tasks),
            warnings: warnings.collect(),
            is_confirmed: confirmation.as_deref().map(str::trim) == Some(CONFIRMATION),
            tasks,
        })
    }

    /// Whether it has to be confirmed and was not.
    pub fn lacks_confirmation(&self) -> bool {
        self.needs_confirmation() && !self.is_confirmed
    }

    /// Whether it is so large that it has to be confirmed.
    pub fn needs_confirmation(&self) -> bool {
        needs_confirmation(&self.size)
    }

    /// The job of its tasks, if there are several or a job was named.
    pub fn job_id(&self) -> Option<&TaskId> {
        self.tasks.first()?.job_id.as_ref()
    }

    /// The path of its job's page, or of its task's if there is only one.
    pub fn place(&self) -> Option<String> {
        match (&self.tasks[..], self.job_id()) {
            ([task], _) => Some(links::task(task.task_id.as_str())),
            (_, Some(job)) => Some(links::job(job.as_str())),
            _ => None,
        }
    }

    /// Sends the tasks. Errs if one is not acknowledged, or if a confirmation is missing.
    pub fn send(&self, context: &Context<'_>) -> Result<(), Problem> {
        if self.lacks_confirmation() {
            return Err(Problem::bad_request(format!(
                "more than {UNCONFIRMED_ADDRESSES_MAX} addresses need the field confirm with the value {CONFIRMATION}, and this push has {}: \
                 nothing was sent",
                self.size
            )));
        }
        let sent = self.deliver(context);
        let result = match &sent {
            Ok(()) => "sent".to_owned(),
            Err(problem) => format!("failed: {}", problem.detail),
        };
        note(
            context,
            &format!(
                "push {} of {} tasks, {}: {result}",
                self.push_id,
                self.tasks.len(),
                self.size
            ),
        );
        sent
    }

    fn deliver(&self, context: &Context<'_>) -> Result<(), Problem> {
        let connection = context.site.connection();
        let mut producer = task_topic::connect_for_request(connection)
            .map_err(|error| Problem::unavailable(format!("Kafka: {error}: nothing was sent")))?;
        let outcome = deliver(&mut producer, &self.tasks, |_| ());
        let Some(error) = outcome.error else {
            return Ok(());
        };
        Err(Problem::unavailable(match outcome.unacknowledged.len() {
            0 => format!(
                "{} of {} tasks are too large for the topic, the others were sent: {error}",
                outcome.too_large.len(),
                self.tasks.len()
            ),
            _ => format!(
                "Kafka has acknowledged {} of {} tasks: {error}: send it again, what is there already is not scanned twice",
                outcome.acknowledged,
                self.tasks.len()
            ),
        }))
    }
}

fn parse_push_id(text: &str) -> Result<TaskId, Invalid> {
    if text.len() > PUSH_ID_MAX_BYTES {
        let wrong = format!("is longer than {PUSH_ID_MAX_BYTES} bytes");
        return Err(Invalid::new(text, wrong));
    }
    text.parse()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scanpush::serve::fields;
    use std::borrow::Cow;

    fn plan(fields: &[(&str, &str)]) -> Result<Plan, String> {
        let fields = fields
            .iter()
            .map(|(name, value)| (Cow::from(*name), Cow::from(*value)));
        fields::reader(fields, &super::fields())
            .and_then(Plan::read)
            .map_err(|problem| problem.detail)
    }

    #[test]
    fn the_same_push_has_the_same_tasks_with_warnings_and_size() {
        let fields = [
            ("ip", "10.0.0.0/30,10.0.0.1,10.1.0.0/24"),
            ("ports", "80,443"),
            ("push", "p1"),
            ("priority", ""),
        ];
        let first = plan(&fields).unwrap();
        let ids: Vec<&str> = first
            .tasks
            .iter()
            .map(|task| task.task_id.as_str())
            .collect();
        assert_eq!(ids, ["p1-1", "p1-2"]);
        assert_eq!(first.job_id().map(TaskId::as_str), Some("p1"));
        assert!(
            first.warnings[0].starts_with("1 of 3 targets overlap others"),
            "{:?}",
            first.warnings
        );
        assert_eq!(first.size.probes, 520);
        assert!(!first.lacks_confirmation());
        assert_eq!(plan(&fields).unwrap().tasks, first.tasks);
    }

    #[test]
    fn a_large_push_needs_a_typed_confirmation() {
        let large = [("ip", "10.0.0.0/7"), ("ports", "80")];
        assert!(plan(&large).unwrap().lacks_confirmation());
        for (typed, is_enough) in [("yes", true), ("y", false)] {
            let plan = plan(&[&large[..], &[("confirm", typed)]].concat()).unwrap();
            assert_eq!(plan.lacks_confirmation(), !is_enough);
        }
    }

    #[test]
    fn no_field_names_a_file_and_errors_are_those_of_the_command() {
        for (fields, error) in [
            (&[("iL", "/etc/passwd")][..], "\"iL\" is an unknown field"),
            (
                &[("excludefile", "-")],
                "\"excludefile\" is an unknown field",
            ),
            (&[("kafka", "k:1")], "\"kafka\" is an unknown field"),
            (&[("ports", "80")], "ip: give addresses"),
            (&[("ip", "10.0.0.1")], "ports"),
            (
                &[("ip", "10.0.0.1"), ("ports", "99999")],
                "ports: \"99999\"",
            ),
            (&[("ip", "a<b"), ("ports", "80")], "ip: \"a<b\""),
            (
                &[("ip", "10.0.0.1"), ("ports", "80"), ("push", "a b")],
                "push: \"a b\" is not an id",
            ),
        ] {
            let found = plan(fields).unwrap_err();
            assert!(found.contains(error), "{fields:?}: {found}");
        }
    }
}
