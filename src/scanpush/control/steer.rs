//! Gives an order and waits until it is in force.

use super::report::{CONTROL_WAIT, Report, at_once, in_force, not_yet};
use crate::claim_table::{ClaimTable, ClaimTableError, HEARTBEAT_FRESH, Order, Steered};
use crate::model::TaskId;
use crate::scanpush::output::Output;
use std::collections::HashSet;
use std::thread;
use std::time::{Duration, Instant};

/// Interval between two checks.
pub(in crate::scanpush) const CONTROL_CHECK_EVERY: Duration = Duration::from_millis(100);
/// If tasks of the job are ingested while an order about it comes into force, the order is complete when none was ingested for
/// this long.
const CONTROL_QUIET: Duration = Duration::from_secs(1);
/// How long an order about a job is repeated for tasks that are ingested meanwhile.
const CONTROL_JOB_MAX: Duration = Duration::from_secs(600);
/// Interval between two progress messages while a person waits for an order.
const CONTROL_PROGRESS_EVERY: Duration = Duration::from_secs(5);

/// Gives the order about all tasks, waits until it is in force, and reports the results. Gives up [`CONTROL_WAIT`] after the last task for
/// which it came into force.
pub(super) fn steer(
    order: Order,
    tasks: &[TaskId],
    claim_table: &mut ClaimTable,
    output: &mut Output<'_>,
) -> Result<Vec<Report>, ClaimTableError> {
    let mut given = Given::new(order, tasks, claim_table.control(order, tasks)?);
    let mut give_up = Instant::now() + CONTROL_WAIT;
    let mut progress_at = Instant::now() + CONTROL_PROGRESS_EVERY;
    while !given.is_complete() {
        let began = Instant::now();
        let is_last_check = began >= give_up;
        let open_before = given.open().len();
        given.check(claim_table, is_last_check)?;
        let open = given.open().len();
        if began >= progress_at {
            progress_at = began + CONTROL_PROGRESS_EVERY;
            let all = tasks.len();
            output.remark(&format!("{order}: {} of {all} tasks", all - open));
        }
        if open < open_before {
            give_up = Instant::now() + CONTROL_WAIT;
        }
        if open > 0 {
            thread::sleep(CONTROL_CHECK_EVERY.max(began.elapsed()));
        }
    }
    Ok(given.reports.into_iter().flatten().collect())
}

/// An order that was given about some tasks.
struct Given<'a> {
    order: Order,
    tasks: &'a [TaskId],
    /// The answer about each task when the order was given.
    answers: Vec<Steered>,
    /// What became of each task; none while it is open.
    reports: Vec<Option<Report>>,
}

impl<'a> Given<'a> {
    fn new(order: Order, tasks: &'a [TaskId], answers: Vec<Steered>) -> Given<'a> {
        let reports = tasks
            .iter()
            .zip(&answers)
            .map(|(id, answer)| at_once(order, id, *answer))
            .collect();
        Given {
            order,
            tasks,
            answers,
            reports,
        }
    }

    fn open(&self) -> Vec<usize> {
        let all = 0..self.tasks.len();
        all.filter(|&i| self.reports[i].is_none()).collect()
    }

    fn is_complete(&self) -> bool {
        self.reports.iter().all(Option::is_some)
    }

    /// Checks the open tasks; the last check reports all of them.
    fn check(
        &mut self,
        claim_table: &mut ClaimTable,
        is_last_check: bool,
    ) -> Result<(), ClaimTableError> {
        let open = self.open();
        let ids: Vec<TaskId> = open.iter().map(|&i| self.tasks[i].clone()).collect();
        let states = claim_table.tasks_of(&ids)?;
        // After the states: an entry is in the outbox from the moment at which the state shows the change.
        let in_outbox = claim_table.are_in_outbox(&ids)?;
        let no_server = is_last_check && !has_fresh_server(claim_table)?;
        for ((&i, task), in_outbox) in open.iter().zip(states).zip(in_outbox) {
            let (order, id, task) = (self.order, &self.tasks[i], task.as_ref());
            let not_yet = || not_yet(order, id, self.answers[i], task, no_server);
            self.reports[i] =
                in_force(order, id, task, in_outbox).or_else(|| is_last_check.then(not_yet));
        }
        Ok(())
    }
}

fn has_fresh_server(claim_table: &mut ClaimTable) -> Result<bool, ClaimTableError> {
    let fresh_ms = HEARTBEAT_FRESH.as_millis() as u64;
    let servers = claim_table.servers()?;
    Ok(servers.iter().any(|server| server.age_ms <= fresh_ms))
}

/// Tasks of a job that were ingested while an order about it came into force.
#[derive(Debug)]
pub(super) struct LateTasks {
    /// Tasks that got the order too.
    pub(super) ordered: usize,
    /// Whether there were still new ones at the end of the wait.
    pub(super) go_on: bool,
}

/// Gives the order to tasks of the job that were ingested since `reports` were made, repeatedly until none was ingested for
/// [`CONTROL_QUIET`], and adds their reports: a large push may still be being ingested when its end is ordered.
pub(super) fn steer_late_tasks(
    order: Order,
    job: &TaskId,
    reports: &mut Vec<Report>,
    claim_table: &mut ClaimTable,
    output: &mut Output<'_>,
) -> Result<LateTasks, ClaimTableError> {
    let give_up = Instant::now() + CONTROL_JOB_MAX;
    let mut known: HashSet<TaskId> = reports.iter().map(|one| one.task_id.clone()).collect();
    let (mut ordered, mut is_quiet) = (0, true);
    loop {
        let mut new = claim_table.job(job)?;
        new.retain(|id| known.insert(id.clone()));
        if new.is_empty() {
            if is_quiet {
                break;
            }
            thread::sleep(CONTROL_QUIET);
            is_quiet = true;
            continue;
        }
        if Instant::now() >= give_up {
            return Ok(LateTasks {
                ordered,
                go_on: true,
            });
        }
        ordered += new.len();
        reports.extend(steer(order, &new, claim_table, output)?);
        is_quiet = false;
    }
    Ok(LateTasks {
        ordered,
        go_on: false,
    })
}
