//! Gives an order to tasks through Redis and waits until it is in force.

use super::report::{Report, at_once, in_force, not_yet};
use super::{CONTROL_POLL_INTERVAL, CONTROL_WAIT};
use crate::claim_table::{ClaimTable, ClaimTableError, HEARTBEAT_FRESH, LiveTask, Order};
use crate::model::TaskId;
use std::collections::HashSet;
use std::thread;
use std::time::{Duration, Instant};

/// If tasks of the job are ingested while an order about it comes into force, the order is complete when none was ingested for
/// this long.
const CONTROL_QUIET: Duration = Duration::from_secs(1);
/// How long an order about a job is repeated for tasks that are ingested meanwhile.
const CONTROL_JOB_MAX: Duration = Duration::from_secs(600);
/// How long a request to the web page or the API waits for an order to come into force.
pub const CONTROL_REQUEST_WAIT: Duration = Duration::from_secs(2);
/// Until a cancel is in force, it is repeated this often: Redis may have lost it. A pause is not, because somebody may have withdrawn it.
const CANCEL_REPEAT_INTERVAL: Duration = Duration::from_secs(1);
/// Interval between two progress messages while a person waits for an order.
const CONTROL_PROGRESS_INTERVAL: Duration = Duration::from_secs(5);

/// How long to wait for an order to come into force.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    /// Counted from the last task for which it came into force.
    wait: Duration,
    /// Whether each task for which it came into force begins the wait again.
    extends: bool,
    /// How long an order about a job is repeated for tasks that are ingested meanwhile.
    job: Duration,
}

impl Patience {
    /// That of a command.
    pub const OF_COMMAND: Patience = Patience {
        wait: CONTROL_WAIT,
        extends: true,
        job: CONTROL_JOB_MAX,
    };
    /// That of a request.
    pub const OF_REQUEST: Patience = Patience {
        wait: CONTROL_REQUEST_WAIT,
        extends: false,
        job: CONTROL_REQUEST_WAIT,
    };
}

/// Gives the order about all tasks, waits until it is in force, and reports the results. Gives up when `patience` is at its end. `progress` gets a
/// line now and then while it waits.
pub fn steer(
    order: Order,
    tasks: &[TaskId],
    claim_table: &mut ClaimTable,
    patience: Patience,
    progress: &mut dyn FnMut(&str),
) -> Result<Vec<Report>, ClaimTableError> {
    let mut give_up_at = Instant::now() + patience.wait;
    let mut progress_at = Instant::now() + CONTROL_PROGRESS_INTERVAL;
    let mut repeat_at = Instant::now() + CANCEL_REPEAT_INTERVAL;
    let answers = claim_table.control(order, tasks)?;
    let mut reports: Vec<Option<Report>> = Vec::with_capacity(tasks.len());
    for (id, answer) in tasks.iter().zip(&answers) {
        reports.push(at_once(order, id, *answer));
    }
    loop {
        let open: Vec<usize> = (0..tasks.len()).filter(|&i| reports[i].is_none()).collect();
        if open.is_empty() {
            break;
        }
        let began = Instant::now();
        let late = began >= give_up_at;
        let ids: Vec<TaskId> = open.iter().map(|&i| tasks[i].clone()).collect();
        let repeats = order == Order::Cancel && began >= repeat_at;
        if repeats {
            repeat_at = began + CANCEL_REPEAT_INTERVAL;
        }
        let (states, unpublished) = match read_tasks(claim_table, &ids, repeats.then_some(order)) {
            // Redis is restarting, or another one takes over.
            Err(_) if !late => {
                thread::sleep(CONTROL_POLL_INTERVAL);
                continue;
            }
            looked => looked?,
        };
        let alone = late && !has_fresh_server(claim_table)?;
        for ((&i, task), unpublished) in open.iter().zip(states).zip(unpublished) {
            let not_yet = || {
                let waited = patience.wait;
                not_yet(order, &tasks[i], answers[i], task.as_ref(), alone, waited)
            };
            reports[i] = in_force(order, &tasks[i], task.as_ref(), unpublished)
                .or_else(|| late.then(not_yet));
        }
        if began >= progress_at {
            progress_at = began + CONTROL_PROGRESS_INTERVAL;
            let reported = reports.iter().flatten().count();
            progress(&format!("{order}: {reported} of {} tasks", tasks.len()));
        }
        if patience.extends && open.iter().any(|&i| reports[i].is_some()) {
            give_up_at = Instant::now() + patience.wait;
        }
        if !late {
            thread::sleep(CONTROL_POLL_INTERVAL.max(began.elapsed()));
        }
    }
    Ok(reports.into_iter().flatten().collect())
}

/// The tasks, and which of them have a change that is not on Kafka yet. Repeats the order before, if it is given.
fn read_tasks(
    claim_table: &mut ClaimTable,
    ids: &[TaskId],
    repeated: Option<Order>,
) -> Result<(Vec<Option<LiveTask>>, Vec<bool>), ClaimTableError> {
    if let Some(order) = repeated {
        claim_table.control(order, ids)?;
    }
    let states = claim_table.tasks_of(ids)?;
    // After the states: an entry is in the outbox from the moment at which the state shows the change.
    Ok((states, claim_table.are_in_outbox(ids)?))
}

fn has_fresh_server(claim_table: &mut ClaimTable) -> Result<bool, ClaimTableError> {
    let fresh_ms = HEARTBEAT_FRESH.as_millis() as u64;
    let servers = claim_table.servers()?;
    Ok(servers.iter().any(|server| server.age_ms <= fresh_ms))
}

/// Tasks of a job that were ingested while an order about it came into force.
#[derive(Debug)]
pub struct LateTasks {
    /// Tasks that got the order too.
    pub steered: usize,
    /// Whether tasks were still being ingested when the patience was at its end; these did not get the order.
    pub go_on: bool,
}

/// Gives the order to tasks of the job that were ingested since `reports` were made, repeatedly until none was ingested for
/// [`CONTROL_QUIET`], and adds their reports: a large push may still be being ingested when its end is ordered.
pub fn steer_late(
    order: Order,
    job: &TaskId,
    reports: &mut Vec<Report>,
    claim_table: &mut ClaimTable,
    patience: Patience,
    progress: &mut dyn FnMut(&str),
) -> Result<LateTasks, ClaimTableError> {
    let give_up_at = Instant::now() + patience.job;
    let mut known: HashSet<TaskId> = reports.iter().map(|one| one.task_id.clone()).collect();
    let mut late = LateTasks {
        steered: 0,
        go_on: false,
    };
    let mut quiet = true;
    loop {
        let mut new = claim_table.job(job)?;
        new.retain(|id| known.insert(id.clone()));
        match (new.is_empty(), quiet) {
            (true, true) => return Ok(late),
            (true, false) => {
                thread::sleep(CONTROL_QUIET);
                quiet = true;
            }
            (false, _) if Instant::now() >= give_up_at => {
                late.go_on = true;
                return Ok(late);
            }
            (false, _) => {
                late.steered += new.len();
                reports.extend(steer(order, &new, claim_table, patience, progress)?);
                quiet = false;
            }
        }
    }
}
