//! `-dry-run`: shows what a push would put on Kafka. Opens no connection.
//!
//! With `-json` each line is the record of a task with a few more fields. `-resume-push` accepts these lines, so that a checked
//! plan can be pushed unchanged, with the same ids and seeds.

use super::confirm;
use super::size::Size;
use crate::exit::Failure;
use crate::masscan::ScanArguments;
use crate::model::source::Source;
use crate::model::{Targets, Task};
use crate::scanpush::output::Output;
use serde_json::{Value, json};

/// Prints the tasks, and their total unless `as_json` is set.
pub fn show(tasks: &[Task], as_json: bool, output: &mut Output<'_>) -> Result<(), Failure> {
    for task in tasks {
        match as_json {
            true => output.json(&record(task))?,
            false => {
                output.line(&format!("{}  {}", task.task_id, Size::of_task(task)))?;
                output.line(&format!("  {}", command(task)))?;
            }
        }
    }
    if !as_json {
        output.line(&total(tasks))?;
    }
    output.flush()
}

fn total(tasks: &[Task]) -> String {
    let size = Size::of_push(tasks);
    let count = match tasks.len() {
        1 => "1 task".to_owned(),
        count => format!("{count} tasks"),
    };
    let needs = match confirm::is_needed(&size) {
        true => " (a push needs -yes)",
        false => "",
    };
    format!("{count}, {size}; nothing was sent{needs}")
}

/// The task's record, and `addresses`, `probes`, `duration_s` and `masscan` (the command line).
fn record(task: &Task) -> Value {
    let mut record: Value = serde_json::from_str(&task.to_record())
        .expect("a task's record is JSON, made by serde_json itself");
    let size = Size::of_task(task);
    // A task has at most 2^56 probes, and no more addresses than probes.
    let as_u64 = |count: u128| u64::try_from(count).unwrap_or(u64::MAX);
    record["addresses"] = as_u64(size.addresses).into();
    record["probes"] = as_u64(size.probes).into();
    record["duration_s"] = json!(size.duration_s.ceil() as u64);
    record["masscan"] = command(task).into();
    record
}

/// masscan's command line on a server without limits, exclusions or a source address; with several passes one after the other.
fn command(task: &Task) -> String {
    let command = |pass| {
        let arguments = ScanArguments {
            task,
            pass,
            rate_pps: task.band_width.pps(),
            resume_index: 0,
            exclude: &Targets::default(),
            source: &Source::default(),
        };
        format!("masscan {arguments}")
    };
    let commands: Vec<String> = (1..=task.passes()).map(command).collect();
    commands.join(" && ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tasks(records: &[Value]) -> Vec<Task> {
        let task = |record: &Value| Task::from_record(record.to_string().as_bytes()).unwrap();
        records.iter().map(task).collect()
    }

    fn shown(tasks: &[Task], as_json: bool) -> String {
        let (mut out, mut err) = (Vec::new(), Vec::new());
        show(
            tasks,
            as_json,
            &mut Output::new(&mut out, &mut err, None, false),
        )
        .unwrap();
        assert!(err.is_empty());
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn tasks_are_shown_with_their_size_and_command() {
        let tasks = tasks(&[
            json!({"task_id": "a", "ip_range": "10.0.0.0/24", "ports": "80,443", "band_width": "128", "seed": 7}),
            json!({"task_id": "b", "ip_range": "11.0.0.0/8,12.0.0.0", "ports": "80", "band_width": "10000", "seed": 8,
                "exclude": "11.0.0.9"}),
        ]);
        assert_eq!(
            shown(&tasks, false),
            "a  256 addresses, 512 probes, 14 s at 128 packets per second\n\
             \x20 masscan -oD - --range 10.0.0.0/24 -p 80,443 --rate 128 --wait 10 --seed 7\n\
             b  16777216 addresses, 16777216 probes, 28 min 8 s at 10000 packets per second\n\
             \x20 masscan -oD - --range 11.0.0.0-12.0.0.0 -p 80 --rate 10000 --wait 10 --seed 8 --exclude 11.0.0.9\n\
             2 tasks, 16777472 addresses, 16777728 probes, 28 min 12 s at 10000 packets per second; \
             nothing was sent (a push needs -yes)\n"
        );
        let json = shown(&tasks, true);
        let lines: Vec<Value> = json
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        assert_eq!(lines.len(), 2);
        assert_eq!(lines[0]["addresses"], 256);
        assert_eq!(lines[0]["probes"], 512);
        assert_eq!(lines[0]["duration_s"], 14);
        assert!(
            lines[1]["masscan"]
                .as_str()
                .unwrap()
                .starts_with("masscan -oD - --range 11.0.0.0-12.0.0.0")
        );
        // Each line is a valid task record.
        for (line, task) in json.lines().zip(&tasks) {
            assert_eq!(Task::from_record(line.as_bytes()).as_ref(), Ok(task));
        }
    }
}
