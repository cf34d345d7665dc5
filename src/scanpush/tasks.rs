//! Tasks as a table that fits the terminal, or as JSON; used by several commands.

use super::output::Output;
use super::table::{self, Column, Row, Side};
use crate::claim_table::{LiveTask, Order};
use crate::exit::Failure;
use crate::model::State;
use crate::model::text::one_line;
use std::time::{SystemTime, UNIX_EPOCH};

/// If the table is too wide, long ids are shortened first (ours have 21 characters), then servers, then targets; other columns are not
/// shortened.
const COLUMNS: &[Column] = &[
    Column::new("ID", Side::Left, Some(21)),
    Column::new("STATE", Side::Left, None),
    Column::new("DONE", Side::Right, None),
    Column::new("LEFT", Side::Right, None),
    Column::new("RATE", Side::Right, None),
    Column::new("FOUND", Side::Right, None),
    Column::new("SERVER", Side::Left, Some(10)),
    Column::new("TARGET", Side::Left, Some(13)),
];

/// Prints tasks in order; nothing if there are none.
pub fn show(
    tasks: &[LiveTask],
    json: bool,
    now_ms: u64,
    output: &mut Output<'_>,
) -> Result<(), Failure> {
    if json {
        return tasks.iter().try_for_each(|task| output.json(task));
    }
    let rows: Vec<Row> = tasks.iter().map(|task| row(task, now_ms)).collect();
    table::print(COLUMNS, &rows, output)
}

/// The state for people; it shows an order that is not in force yet.
pub fn state_of(task: &LiveTask) -> &'static str {
    match task.order.filter(|_| !task.status.is_terminal()) {
        Some(Order::Cancel) => "cancelling",
        Some(Order::Pause) => "pausing",
        _ => task.status.as_str(),
    }
}

fn row(task: &LiveTask, now_ms: u64) -> Row {
    let if_running = |text: String| match task.status {
        State::Running => text,
        _ => "-".to_owned(),
    };
    Row {
        cells: vec![
            one_line(&task.task_id),
            state_of(task).to_owned(),
            format!("{}%", task.progress.clamp(0.0, 100.0).floor()),
            if_running(task.remaining_s.map_or("-".to_owned(), span)),
            if_running(short(task.rate_pps)),
            task.found.to_string(),
            one_line(task.server.as_deref().unwrap_or("-")),
            target_of(task),
        ],
        below: below(task, now_ms).into_iter().collect(),
    }
}

/// Without this, the rows of a job's shards would be equal.
fn target_of(task: &LiveTask) -> String {
    let targets = one_line(&task.ip_range);
    match &task.shard {
        Some(shard) => format!("{targets} {}", one_line(shard)),
        None => targets,
    }
}

/// The error, and when the next attempt begins.
fn below(task: &LiveTask, now_ms: u64) -> Option<String> {
    let error = task.error.as_deref().map(one_line);
    let Some(retry_ms) = task.retry_ms.filter(|_| task.status == State::Queued) else {
        return error;
    };
    let wait = span(retry_ms.saturating_sub(now_ms).div_ceil(1000));
    let again = format!("attempt {} in {wait}", task.attempt + 1);
    Some(error.map_or(again.clone(), |error| format!("{again}: {error}")))
}

/// Seconds in at most six characters: `0:42`, `12:34`, `2h05m`, `3d04h`.
pub fn span(seconds: u64) -> String {
    const MINUTE: u64 = 60;
    const HOUR: u64 = 60 * MINUTE;
    const DAY: u64 = 24 * HOUR;
    match seconds {
        0..HOUR => format!("{}:{:02}", seconds / MINUTE, seconds % MINUTE),
        HOUR..DAY => format!("{}h{:02}m", seconds / HOUR, seconds % HOUR / MINUTE),
        _ if seconds / DAY < 100 => format!("{}d{:02}h", seconds / DAY, seconds % DAY / HOUR),
        _ => ">99d".to_owned(),
    }
}

/// A rate in at most five characters: `800`, `12.3k`, `812k`, `1.5m`.
pub fn short(rate_pps: f64) -> String {
    match rate_pps.max(0.0).round() {
        // As an integer, since a sum of no rates is -0.0.
        rate if rate < 10_000.0 => format!("{}", rate as u64),
        rate if rate < 99_950.0 => format!("{:.1}k", rate / 1e3),
        rate if rate < 999_500.0 => format!("{:.0}k", rate / 1e3),
        rate => format!("{:.1}m", rate / 1e6),
    }
}

/// Now, in unix milliseconds.
pub fn now_ms() -> u64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// A task for tests of what shows tasks.
#[cfg(test)]
pub mod sample {
    use super::*;
    use crate::model::FoundByPass;

    pub const NOW_MS: u64 = 1_795_333_296_000;

    pub fn task() -> LiveTask {
        LiveTask {
            task_id: "Wb3ZtqLk9Xe_fJ2vR0yAc".into(),
            status: State::Running,
            progress: 99.97,
            rate_pps: 812.4,
            remaining_s: Some(83),
            found: 785,
            found_by_pass: FoundByPass::default().with(1, 785),
            server: Some("scanhost-eu-1-k3f9".into()),
            attempt: 1,
            ip_range: "172.16.100.0/24".into(),
            ports: "443".into(),
            band_width: 800,
            priority: 5,
            error: None,
            queued_ms: NOW_MS - 9000,
            started_ms: Some(NOW_MS - 8000),
            updated_ms: NOW_MS,
            finished_ms: None,
            retry_ms: None,
            resume_pass: 1,
            resume_index: 0,
            retry: 0,
            order: None,
            probes: Some(256),
            job_id: None,
            shard: None,
            parallel: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::sample::{NOW_MS, task};
    use super::*;

    fn shown(tasks: &[LiveTask], json: bool) -> String {
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let mut output = Output::new(&mut out, &mut err, None, true);
        show(tasks, json, NOW_MS, &mut output).unwrap();
        assert!(err.is_empty());
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn the_table_fits_80_columns() {
        let waiting = LiveTask {
            status: State::Queued,
            error: Some("masscan: FAIL: could not determine default interface ".repeat(3)),
            retry_ms: Some(NOW_MS + 1500),
            ..task()
        };
        let foreign = LiveTask {
            task_id: "6f9619ff-8b86-d011-b42d-00c04fc964ff".into(),
            status: State::Completed,
            progress: 100.0,
            ip_range: "2001:db8:aaaa:bbbb::1-2001:db8:aaaa:bbbb::ffff".into(),
            ..task()
        };
        let shard = LiveTask {
            ip_range: "172.16.0.0/16".into(),
            shard: Some("1/3".into()),
            ..task()
        };
        let tasks = [task(), waiting, foreign, shard];
        let out = shown(&tasks, false);
        let expected = "\
ID                    STATE     DONE LEFT RATE FOUND SERVER     TARGET
Wb3ZtqLk9Xe_fJ2vR0yAc running    99% 1:23  812   785 scanh…k3f9 172.16.100.0/24
Wb3ZtqLk9Xe_fJ2vR0yAc queued     99%    -    -   785 scanh…k3f9 172.16.100.0/24
  attempt 2 in 0:02: masscan: FAIL: could not determine default interface massc…
6f9619ff-8…c04fc964ff completed 100%    -    -   785 scanh…k3f9 2001:db8…b::ffff
Wb3ZtqLk9Xe_fJ2vR0yAc running    99% 1:23  812   785 scanh…k3f9 172.16.0…/16 1/3
";
        assert!(out.lines().all(|line| line.chars().count() <= 80), "{out}");
        assert_eq!(out, expected);
    }

    #[test]
    fn json_is_an_object_a_line_with_the_fields_of_redis() {
        let tasks = [task(), task()];
        let out = shown(&tasks, true);
        assert_eq!(out.lines().count(), 2);
        let object: serde_json::Value = serde_json::from_str(out.lines().next().unwrap()).unwrap();
        assert_eq!(
            (&object["status"], &object["found"]),
            (&"running".into(), &785.into())
        );
    }

    #[test]
    fn hostile_text_from_redis_stays_harmless() {
        let hostile = LiveTask {
            task_id: "a\x1b[2J".into(),
            server: Some("b\r\nc".into()),
            ip_range: "\u{9b}x".into(),
            error: Some("d\x07\n".into()),
            progress: f64::NAN,
            rate_pps: f64::INFINITY,
            ..task()
        };
        let tasks = [hostile];
        for json in [false, true] {
            let out = shown(&tasks, json);
            assert!(out.chars().all(|c| c == '\n' || !c.is_control()), "{out:?}");
        }
    }

    #[test]
    fn spans_and_rates_are_short() {
        for (seconds, text) in [
            (0, "0:00"),
            (83, "1:23"),
            (3599, "59:59"),
            (3600, "1h00m"),
            (7500, "2h05m"),
            (273_600, "3d04h"),
            (u64::MAX, ">99d"),
        ] {
            assert_eq!(span(seconds), text);
        }
        for (rate, text) in [
            (-1.0, "0"),
            (-0.0, "0"),
            (812.4, "812"),
            (9999.4, "9999"),
            (10_000.0, "10.0k"),
            (99_949.0, "99.9k"),
            (812_345.0, "812k"),
            (1_500_000.0, "1.5m"),
        ] {
            assert_eq!(short(rate), text);
        }
    }
}
