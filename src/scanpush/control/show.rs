//! Prints the reports: results on stdout, notes on stderr.

use super::report::{Outcome, Report};
use super::steer::LateTasks;
use crate::claim_table::Order;
use crate::exit::Failure;
use crate::model::TaskId;
use crate::model::text::quoted;
use crate::scanpush::ids::{TaskOptions, unknown_task};
use crate::scanpush::output::Output;

/// Notes that are printed in a line each; of the others only the number.
const CONTROL_NOTES_MAX: usize = 20;

/// Prints what became of each task.
pub fn reports(
    reports: &[Report],
    options: &TaskOptions,
    output: &mut Output<'_>,
) -> Result<(), Failure> {
    for report in reports {
        if options.json {
            output.json(report)?;
        } else if report.outcome == Outcome::Accepted {
            output.line(&format!("{}  {}", report.task_id, report.status))?;
        }
    }
    output.flush()?;
    let noted = || {
        reports
            .iter()
            .filter_map(|report| Some((report, report.note.as_ref()?)))
    };
    for (report, note) in noted().take(CONTROL_NOTES_MAX) {
        let id = &report.task_id;
        output.problem(&match report.outcome {
            Outcome::UnknownTask => {
                format!("scanpush: {}", unknown_task(id, &options.connection.group))
            }
            _ => format!(
                "scanpush: {}: {}: {note}",
                report.order,
                quoted(id.as_str())
            ),
        });
    }
    let more = noted().count().saturating_sub(CONTROL_NOTES_MAX);
    if more > 0 {
        output.problem(&format!("scanpush: … and {more} more"));
    }
    Ok(())
}

/// In a job, tasks that ended before the order was in force are not an error: their reports are removed, and their number is
/// printed. Returns false if all had ended before the order was given.
pub fn leave_out_ended(reports: &mut Vec<Report>, output: &mut Output<'_>) -> bool {
    let all = reports.len();
    let meanwhile = reports
        .iter()
        .filter(|report| report.outcome == Outcome::EndedMeanwhile)
        .count();
    reports.retain(|report| !report.outcome.has_ended());
    let before = all - reports.len() - meanwhile;
    if before > 0 {
        output.problem(&format!(
            "scanpush: {before} of {all} tasks of the job had already ended"
        ));
    }
    if meanwhile > 0 {
        output.problem(&format!(
            "scanpush: {meanwhile} of {all} tasks of the job ended before the order was in force"
        ));
    }
    all == 0 || before < all
}

/// Prints how many tasks of a job were ingested late, and whether there may be more.
pub fn late_tasks(order: Order, job: &TaskId, late: &LateTasks, output: &mut Output<'_>) {
    let tasks = late.steered;
    if tasks > 0 {
        output.problem(&format!(
            "scanpush: {tasks} more tasks of the job were ingested meanwhile; the {order} applies to them too"
        ));
    }
    if late.go_on {
        output.problem(&format!(
            "scanpush: servers are still ingesting tasks of the job: repeat the command; check with scanpush job {job}"
        ));
    } else if tasks > 0 {
        output.remark(&format!(
            "tasks that are ingested from now on are not affected: check with scanpush job {job}"
        ));
    }
}

#[cfg(test)]
mod tests {
    use super::super::CANCEL;
    use super::*;
    use crate::flags;
    use crate::model::{Invalid, State};
    use crate::scanpush::ids::TaskNames;

    fn options(line: &[&str]) -> Result<TaskOptions, Invalid> {
        flags::read_line(line, CANCEL.flags, |reader| {
            TaskOptions::read(reader, TaskNames::read)
        })
    }

    fn cancelled() -> Report {
        Report::accepted(Order::Cancel, &"t1".parse().unwrap(), State::Cancelled)
    }

    fn ended(outcome: Outcome) -> Report {
        let note = "already ended: completed".to_owned();
        Report::refused(
            Order::Cancel,
            &"t1".parse().unwrap(),
            "completed",
            note,
            outcome,
        )
    }

    #[test]
    fn of_a_job_those_that_had_ended_are_no_error_unless_all_had() {
        use Outcome::{EndedBefore, EndedMeanwhile, UnknownTask};
        let before =
            |count, all| format!("scanpush: {count} of {all} tasks of the job had already ended\n");
        let meanwhile = "scanpush: 1 of 1 tasks of the job ended before the order was in force\n";
        for (mut reports, left, is_done, said) in [
            (vec![ended(EndedBefore), cancelled()], 1, true, before(1, 2)),
            (
                vec![ended(EndedBefore), ended(UnknownTask)],
                0,
                false,
                before(2, 2),
            ),
            (vec![ended(EndedMeanwhile)], 0, true, meanwhile.to_owned()),
            (vec![], 0, true, String::new()),
        ] {
            let (mut out, mut err) = (Vec::new(), Vec::new());
            let mut output = Output::new(&mut out, &mut err, None, false);
            assert_eq!(
                leave_out_ended(&mut reports, &mut output),
                is_done,
                "{said}"
            );
            assert_eq!(reports.len(), left, "{said}");
            assert_eq!(String::from_utf8(err).unwrap(), said);
        }
    }

    #[test]
    fn a_line_a_task_and_problems_on_stderr() {
        let all = [cancelled(), ended(Outcome::EndedBefore)];
        for (line, expected) in [
            (&["t1"][..], "t1  cancelled\n"),
            (
                &["t1", "-json"],
                "{\"task_id\":\"t1\",\"order\":\"cancel\",\"status\":\"cancelled\"}\n\
{\"task_id\":\"t1\",\"order\":\"cancel\",\"status\":\"completed\",\
\"note\":\"already ended: completed\"}\n",
            ),
        ] {
            let (mut out, mut err) = (Vec::new(), Vec::new());
            let mut output = Output::new(&mut out, &mut err, None, false);
            reports(&all, &options(line).unwrap(), &mut output).unwrap();
            assert_eq!(String::from_utf8(out).unwrap(), expected);
            assert_eq!(
                String::from_utf8(err).unwrap(),
                "scanpush: cancel: \"t1\": already ended: completed\n"
            );
        }
    }
}
