//! `scanpush status`: tasks with their progress, as Redis has them. Reads only; Kafka is not asked.

use super::Command;
use super::options::{Connection, JSON};
use super::output::Output;
use super::table::{self, Column, Row, Side};
use crate::exit::Failure;
use crate::flags::Reader;
use crate::flags::shared::{GROUP, KAFKA, REDIS, TOPIC};
use crate::ledger::{Ledger, LedgerError, LiveTask};
use crate::model::limits::STATUS_TASKS_MAX;
use crate::model::text::{one_line, quoted};
use crate::model::{Invalid, State, TaskId};
use std::time::{SystemTime, UNIX_EPOCH};

pub(super) const COMMAND: Command = Command {
    name: "status",
    about: "shows tasks with their state, progress, rate and server",
    usage: "status [flags] [ID…]",
    flags: &[JSON, REDIS, GROUP, KAFKA, TOPIC],
    more: "\
Without an ID it shows the 50 newest tasks, newest first. It needs Redis only:
-kafka and -topic are checked and not used. DONE is the part of the probes sent,
LEFT the time until all are, RATE in packets per second. -json has more fields.
Exit code 0: all were found; 1: an ID is unknown or Redis is away; 2: bad flags.

examples:
  scanpush status
  scanpush status -group dmz Wb3ZtqLk9Xe_fJ2vR0yAc
  scanpush status -json | jq -r 'select(.status == \"failed\") | .task_id'
",
    run,
};

/// Where they are too wide, foreign ids give way first (ours have 21 characters), then servers, then targets; the
/// rest can't be cut.
const COLUMNS: &[Column] = &[
    Column {
        header: "ID",
        side: Side::Left,
        least: Some(21),
    },
    Column {
        header: "STATE",
        side: Side::Left,
        least: None,
    },
    Column {
        header: "DONE",
        side: Side::Right,
        least: None,
    },
    Column {
        header: "LEFT",
        side: Side::Right,
        least: None,
    },
    Column {
        header: "RATE",
        side: Side::Right,
        least: None,
    },
    Column {
        header: "FOUND",
        side: Side::Right,
        least: None,
    },
    Column {
        header: "SERVER",
        side: Side::Left,
        least: Some(10),
    },
    Column {
        header: "TARGET",
        side: Side::Left,
        least: Some(13),
    },
];

/// What the command line asks for.
#[derive(Debug)]
struct Options {
    connection: Connection,
    json: bool,
    ids: Vec<TaskId>,
}

/// The tasks to show, and the ids that nobody knows.
#[derive(Default)]
struct Found {
    tasks: Vec<LiveTask>,
    unknown: Vec<TaskId>,
}

fn run(reader: Reader, output: &mut Output<'_>) -> Result<(), Failure> {
    let options = resolve(reader)?;
    let found = look(&options).map_err(|error| Failure::Runtime(error.to_string()))?;
    show(&options, &found, now_ms(), output)
}

fn resolve(mut reader: Reader) -> Result<Options, Invalid> {
    let options = Options {
        connection: Connection::read(&mut reader)?,
        json: reader.switch(&JSON),
        ids: reader
            .words()
            .iter()
            .map(|word| word.parse())
            .collect::<Result<_, _>>()?,
    };
    reader.finish()?;
    Ok(options)
}

fn look(options: &Options) -> Result<Found, LedgerError> {
    let Connection { redis, group, .. } = &options.connection;
    let mut ledger = Ledger::connect(redis, group.as_str())?;
    let mut found = Found::default();
    if options.ids.is_empty() {
        found.tasks = ledger.tasks(STATUS_TASKS_MAX)?;
    }
    for id in &options.ids {
        match ledger.task(id)? {
            Some(task) => found.tasks.push(task),
            None => found.unknown.push(id.clone()),
        }
    }
    Ok(found)
}

fn show(
    options: &Options,
    found: &Found,
    now_ms: u64,
    output: &mut Output<'_>,
) -> Result<(), Failure> {
    if options.json {
        for task in &found.tasks {
            output.json(task)?;
        }
    } else if !found.tasks.is_empty() {
        let rows: Vec<Row> = found.tasks.iter().map(|task| row(task, now_ms)).collect();
        for line in table::lines(COLUMNS, &rows, output.columns()) {
            output.line(&line)?;
        }
    }
    output.flush()?;
    let Connection { redis, group, .. } = &options.connection;
    if options.ids.is_empty() && found.tasks.is_empty() {
        output.remark(&format!("no tasks in group {group} at {redis}"));
    }
    if found.unknown.is_empty() {
        return Ok(());
    }
    for id in &found.unknown {
        output.problem(&format!(
            "scanpush: {} is no task of group {group} (no server has taken it in yet, or it ended long ago)",
            quoted(id.as_str())
        ));
    }
    Err(Failure::Said)
}

fn row(task: &LiveTask, now_ms: u64) -> Row {
    let running = task.status == State::Running;
    let when = |shown: bool, text: String| if shown { text } else { "-".to_owned() };
    Row {
        cells: vec![
            one_line(&task.task_id),
            task.status.to_string(),
            format!("{}%", task.progress.clamp(0.0, 100.0).floor()),
            when(running, task.remaining_s.map_or("-".to_owned(), span)),
            when(running, short(task.rate_pps)),
            task.found.to_string(),
            one_line(task.server.as_deref().unwrap_or("-")),
            one_line(&task.ip_range),
        ],
        below: below(task, now_ms),
    }
}

/// The error, and when the next attempt comes.
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
fn span(seconds: u64) -> String {
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
fn short(rate_pps: f64) -> String {
    match rate_pps.max(0.0).round() {
        rate if rate < 10_000.0 => format!("{rate}"),
        rate if rate < 99_950.0 => format!("{:.1}k", rate / 1e3),
        rate if rate < 999_500.0 => format!("{:.0}k", rate / 1e3),
        rate => format!("{:.1}m", rate / 1e6),
    }
}

fn now_ms() -> u64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flags::{self, Asked};
    use std::ffi::OsString;

    const NOW_MS: u64 = 1_795_333_296_000;

    fn options(line: &[&str]) -> Result<Options, Invalid> {
        let args = line.iter().map(OsString::from).collect();
        match flags::read(args, COMMAND.flags)? {
            Asked::Run(reader) => resolve(reader),
            other => panic!("{line:?}: {other:?}"),
        }
    }

    fn task() -> LiveTask {
        LiveTask {
            task_id: "Wb3ZtqLk9Xe_fJ2vR0yAc".into(),
            status: State::Running,
            progress: 99.97,
            rate_pps: 812.4,
            remaining_s: Some(83),
            found: 785,
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
            resume_index: 0,
        }
    }

    fn shown(line: &[&str], found: &Found) -> (bool, String, String) {
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let mut output = Output::new(&mut out, &mut err, None, true);
        let good = show(&options(line).unwrap(), found, NOW_MS, &mut output).is_ok();
        (
            good,
            String::from_utf8(out).unwrap(),
            String::from_utf8(err).unwrap(),
        )
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
        let found = Found {
            tasks: vec![task(), waiting, foreign],
            unknown: vec![],
        };
        let (good, out, err) = shown(&[], &found);
        assert!(good && err.is_empty());
        let expected = "\
ID                    STATE     DONE LEFT RATE FOUND SERVER     TARGET
Wb3ZtqLk9Xe_fJ2vR0yAc running    99% 1:23  812   785 scanh…k3f9 172.16.100.0/24
Wb3ZtqLk9Xe_fJ2vR0yAc queued     99%    -    -   785 scanh…k3f9 172.16.100.0/24
  attempt 2 in 0:02: masscan: FAIL: could not determine default interface massc…
6f9619ff-8…c04fc964ff completed 100%    -    -   785 scanh…k3f9 2001:db8…b::ffff
";
        assert!(out.lines().all(|line| line.chars().count() <= 80), "{out}");
        assert_eq!(out, expected);
    }

    #[test]
    fn json_is_an_object_a_line_with_the_fields_of_redis() {
        let found = Found {
            tasks: vec![task(), task()],
            unknown: vec![],
        };
        let (_, out, _) = shown(&["-json"], &found);
        assert_eq!(out.lines().count(), 2);
        let object: serde_json::Value = serde_json::from_str(out.lines().next().unwrap()).unwrap();
        assert_eq!(
            (&object["status"], &object["found"]),
            (&"running".into(), &785.into())
        );
    }

    #[test]
    fn an_unknown_id_is_said_and_the_others_are_shown() {
        let found = Found {
            tasks: vec![task()],
            unknown: vec!["nobody".parse().unwrap()],
        };
        let (good, out, err) = shown(&["Wb3ZtqLk9Xe_fJ2vR0yAc", "nobody"], &found);
        assert!(!good && out.contains("Wb3Z"));
        assert!(
            err.starts_with("scanpush: \"nobody\" is no task of group scanners"),
            "{err}"
        );
    }

    #[test]
    fn the_help_knows_the_limit() {
        assert!(
            COMMAND
                .more
                .contains(&format!("the {STATUS_TASKS_MAX} newest"))
        );
    }

    #[test]
    fn no_tasks_are_no_error() {
        let (good, out, err) = shown(&[], &Found::default());
        assert!(good && out.is_empty());
        assert_eq!(
            err,
            "no tasks in group scanners at redis://localhost:6379\n"
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
        let found = Found {
            tasks: vec![hostile],
            unknown: vec![],
        };
        for line in [&[][..], &["-json"]] {
            let (_, out, _) = shown(line, &found);
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

    #[test]
    fn a_bad_word_or_flag_is_named() {
        assert_eq!(
            options(&["a", "-group=g", "--", "-b"]).unwrap().ids.len(),
            2
        );
        for (line, named) in [
            (&["a b"][..], "\"a b\" is not an id"),
            (&[""], "\"\" is not an id"),
            (&["-ip", "x"], "\"-ip\" is no flag of this command"),
            (&["-jsno"], "did you mean -json?"),
            (&["-group", "a b"], "-group: \"a b\""),
        ] {
            let error = options(line).unwrap_err().to_string();
            assert!(error.contains(named), "{line:?}: {error}");
        }
    }
}
