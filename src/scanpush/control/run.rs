//! The work of `scanpush cancel`, `pause` and `resume`, step by step.

use super::report::Outcome;
use super::show;
use super::steer::{Patience, steer, steer_late};
use crate::claim_table::{ClaimTable, ClaimTableError, Order};
use crate::connection::Connection;
use crate::exit::Failure;
use crate::flags::Reader;
use crate::scanpush::ids::{TaskNames, TaskOptions};
use crate::scanpush::output::Output;

/// Runs one of the commands.
pub fn run(order: Order, reader: Reader, output: &mut Output<'_>) -> Result<(), Failure> {
    let options = TaskOptions::read(reader, TaskNames::read)?;
    let trouble = |error: ClaimTableError| Failure::Runtime(error.to_string());
    let Connection { redis, group, .. } = &options.connection;
    let mut claim_table = ClaimTable::connect(redis, group.as_str()).map_err(trouble)?;
    let found = options.names.find(&mut claim_table).map_err(trouble)?;
    let all_found = found.report(group, output);
    let patience = Patience::OF_COMMAND;
    let mut progress = |line: &str| output.remark(line);
    let tasks = &found.tasks;
    let mut reports =
        steer(order, tasks, &mut claim_table, patience, &mut progress).map_err(trouble)?;
    let mut job_steered = true;
    if let Some(job) = &found.job {
        let mut progress = |line: &str| output.remark(line);
        let late = steer_late(
            order,
            job,
            &mut reports,
            &mut claim_table,
            patience,
            &mut progress,
        )
        .map_err(trouble)?;
        job_steered = show::leave_out_ended(&mut reports, output) && !late.go_on;
        show::late_tasks(order, job, &late, output);
    }
    show::reports(&reports, &options, output)?;
    let all_accepted = reports
        .iter()
        .all(|report| report.outcome == Outcome::Accepted);
    match all_found && job_steered && all_accepted {
        true => Ok(()),
        false => Err(Failure::Said),
    }
}
