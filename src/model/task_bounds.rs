//! How much of a server a task may use: time in all, wait for late answers, attempts and priority. Pure.
//!
//! Anyone who may write to Kafka can write a task's record. Its wait, attempts and priority are lowered to the server's bounds; a task that would
//! take too long is left to other servers, and one that does take too long ends.

use super::probe_order::ProbeOrder;
use super::resume::Position;
use super::targets::Targets;
use super::task::{Priority, Task};
use super::text::counted;
use std::time::Duration;

/// A server's bounds for each task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TaskBounds {
    /// For which a task may run, in all of its attempts together.
    pub time: Duration,
    /// Highest `wait_s`.
    pub wait_s: u32,
    /// Highest number of attempts.
    pub attempts: u32,
    /// Highest priority that a record may ask for.
    pub priority: Priority,
}

impl TaskBounds {
    /// Lowers the wait and the attempts of `task` to the bounds. Returns what was lowered, in one line for the log; none if nothing was.
    pub fn lower(&self, task: &mut Task) -> Option<String> {
        let wait = lowered(&mut task.wait_s, self.wait_s, "wait_s", "-max-wait");
        let attempts = lowered(
            &mut task.attempts,
            self.attempts,
            "attempts",
            "-max-attempts",
        );
        match (wait, attempts) {
            (Some(wait), Some(attempts)) => Some(format!("{wait}, {attempts}")),
            (wait, attempts) => wait.or(attempts),
        }
    }

    /// Lowers the priority of `task` to the bound.
    pub fn lower_priority(&self, task: &mut Task) {
        task.priority = task.priority.min(self.priority);
    }

    /// Why a server that sends `rate_pps` packets per second and leaves `denied` out does not begin `task` at `position`: the rest would take
    /// longer than a task may run.
    pub fn refusal(
        &self,
        task: &Task,
        denied: &Targets,
        rate_pps: u64,
        position: Position,
    ) -> Option<String> {
        let probe_order = ProbeOrder::new(task, denied, rate_pps);
        let left = (100.0 - probe_order.percent_at(position)).clamp(0.0, 100.0) / 100.0;
        let seconds = probe_order.sending_s(0.0) * f64::from(task.passes()) * left;
        (seconds > self.time.as_secs_f64()).then(|| {
            format!(
                "it would take {} at {}, longer than -max-task-time allows ({}): push it with a higher -bandwidth, or in \
                 smaller tasks",
                shown(seconds),
                counted(rate_pps, "packet per second", "packets per second"),
                shown(self.time.as_secs_f64())
            )
        })
    }

    /// Why a task that has run for `ran` in all must end; none if it may go on.
    pub fn is_over(&self, ran: Duration) -> Option<String> {
        (ran >= self.time).then(|| {
            format!(
                "it has run for {} in all, longer than -max-task-time allows ({})",
                shown(ran.as_secs_f64()),
                shown(self.time.as_secs_f64())
            )
        })
    }
}

/// Lowers `value` to `bound`, which `flag` sets. Returns what was done; none if nothing was.
fn lowered(value: &mut u32, bound: u32, field: &str, flag: &str) -> Option<String> {
    let asked = std::mem::replace(value, bound.min(*value));
    (asked > bound).then(|| format!("{field} {asked} lowered to {bound} ({flag})"))
}

/// Seconds as people read them: `45 s`, `12.5 min`, `3.0 h`, `7.0 d`.
fn shown(seconds: f64) -> String {
    match seconds {
        s if s < 120.0 => format!("{s:.0} s"),
        s if s < 7200.0 => format!("{:.1} min", s / 60.0),
        s if s < 172_800.0 => format!("{:.1} h", s / 3600.0),
        s => format!("{:.1} d", s / 86_400.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Resume;

    fn task(fields: &str) -> Task {
        let record = format!(r#"{{"task_id":"t","ports":"443",{fields}}}"#);
        Task::from_record(record.as_bytes()).unwrap()
    }

    fn bounds() -> TaskBounds {
        TaskBounds {
            time: Duration::from_secs(7 * 86_400),
            wait_s: 60,
            attempts: 10,
            priority: 6_u64.try_into().unwrap(),
        }
    }

    #[test]
    fn wait_attempts_and_priority_are_lowered_to_the_bounds() {
        for (fields, wait_s, attempts, priority, note) in [
            (r#""wait_s":60,"attempts":10,"priority":6"#, 60, 10, 6, None),
            (r#""wait_s":0,"attempts":1,"priority":0"#, 0, 1, 0, None),
            (
                r#""wait_s":61,"priority":9"#,
                60,
                3,
                6,
                Some("wait_s 61 lowered to 60 (-max-wait)"),
            ),
            (
                r#""attempts":100"#,
                10,
                10,
                5,
                Some("attempts 100 lowered to 10 (-max-attempts)"),
            ),
            (
                r#""wait_s":600,"attempts":11"#,
                60,
                10,
                5,
                Some(
                    "wait_s 600 lowered to 60 (-max-wait), attempts 11 lowered to 10 (-max-attempts)",
                ),
            ),
        ] {
            let fields = format!(r#""ip_range":"10.0.0.0/24","band_width":"800",{fields}"#);
            let mut task = task(&fields);
            assert_eq!(bounds().lower(&mut task).as_deref(), note, "{fields}");
            bounds().lower_priority(&mut task);
            let lowered = (task.wait_s, task.attempts, task.priority.get());
            assert_eq!(lowered, (wait_s, attempts, priority), "{fields}");
        }
    }

    #[test]
    fn a_task_that_would_take_too_long_is_refused() {
        // 7 days are 604 800 s.
        for (fields, rate, refused) in [
            (r#""ip_range":"10.0.0.0/24","band_width":"1""#, 1, None),
            (
                r#""ip_range":"10.0.0.0/8","band_width":"1""#,
                1,
                Some("194.2 d at 1 packet per second"),
            ),
            (r#""ip_range":"10.0.0.0/8","band_width":"1000""#, 1000, None),
            // The rate counts at which this server would send it.
            (
                r#""ip_range":"10.0.0.0/8","band_width":"1000""#,
                10,
                Some("19.4 d at 10 packets"),
            ),
            // A shard is a part of the whole, and passes add up.
            (
                r#""ip_range":"10.0.0.0/8","band_width":"10","shard":"1/16""#,
                10,
                None,
            ),
            (
                r#""ip_range":"10.0.0.0/8","band_width":"10","shard":"1/16","retries":15"#,
                10,
                Some("19.4 d"),
            ),
            // The most probes that a task may have.
            (
                r#""ip_range":"fd00::/73","band_width":"1","ports":"80""#,
                1,
                Some("longer than -max-task-time allows (7.0 d)"),
            ),
        ] {
            let task = match fields.contains("ports") {
                true => {
                    Task::from_record(format!(r#"{{"task_id":"t",{fields}}}"#).as_bytes()).unwrap()
                }
                false => task(fields),
            };
            let why = bounds().refusal(&task, &Targets::default(), rate, Position::START);
            match refused {
                None => assert_eq!(why, None, "{fields}"),
                Some(named) => assert!(why.clone().unwrap().contains(named), "{fields}: {why:?}"),
            }
        }
    }

    #[test]
    fn what_is_left_out_or_was_sent_takes_no_time() {
        let task = task(r#""ip_range":"10.0.0.0/8","band_width":"10""#);
        let denied = "10.16.0.0-10.255.255.255".parse().unwrap();
        assert_eq!(bounds().refusal(&task, &denied, 10, Position::START), None);
        let none = Targets::default();
        let begin = Resume::default().position;
        assert!(bounds().refusal(&task, &none, 10, begin).is_some());
        let late = Position {
            index: 15 << 20,
            ..begin
        };
        assert_eq!(bounds().refusal(&task, &none, 10, late), None);
    }

    #[test]
    fn a_task_ends_when_it_has_run_for_too_long() {
        let bounds = TaskBounds {
            time: Duration::from_secs(60),
            ..bounds()
        };
        assert_eq!(bounds.is_over(Duration::from_millis(59_999)), None);
        assert_eq!(
            bounds.is_over(Duration::from_secs(60)).unwrap(),
            "it has run for 60 s in all, longer than -max-task-time allows (60 s)"
        );
    }

    #[test]
    fn times_are_shown_in_a_unit_that_people_read() {
        for (seconds, expected) in [
            (5.0, "5 s"),
            (119.0, "119 s"),
            (750.0, "12.5 min"),
            (10_800.0, "3.0 h"),
            (604_800.0, "7.0 d"),
        ] {
            assert_eq!(shown(seconds), expected);
        }
    }
}
