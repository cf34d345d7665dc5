//! `scanpush -ip … -ports …`: makes tasks and puts them on Kafka. It needs Kafka only; nothing is sent unless
//! everything is valid, and an id is printed only for a task that Kafka has acknowledged.
//!
//! On stdout stands one line a task: on a terminal `ID  TARGET`, which a person wants to see; elsewhere the id alone,
//! so that `id=$(scanpush …)` and `scanpush … | xargs scanpush status` need no cutting; with `-json` the task's
//! record. All else goes to stderr.

use super::Command;
use super::options::{Connection, JSON};
use super::output::Output;
use crate::bus::{Message, Producer};
use crate::exit::Failure;
use crate::flags::shared::{GROUP, KAFKA, REDIS, TOPIC};
use crate::flags::{Flag, Reader, values};
use crate::model::limits::{ATTEMPTS_MAX, PUSH_TASKS_MAX, RETRIES_MAX, TIMEOUT_MAX_S, WAIT_MAX_S};
use crate::model::targets::AddressRange;
use crate::model::task::{BandWidth, Priority};
use crate::model::{Invalid, Ports, Targets, Task, TaskId};

const IP: Flag = Flag::required(
    "--ip",
    "TARGETS",
    "addresses, CIDR blocks and a-b ranges, IPv4 or IPv6, comma-separated; each becomes a task of its own",
);
const PORTS: Flag = Flag::required(
    "--ports",
    "PORTS",
    "TCP ports like 80,443,8000-8100; after U: they are UDP, after S: SCTP",
);
const BAND_WIDTH: Flag = Flag::with_default(
    "--bandwidth",
    "PPS",
    "1000",
    "packets per second of each task, like 800, 10k, 1.5m",
);
const PRIORITY: Flag = Flag::with_default("--priority", "N", "5", "0 to 9, higher ones first");
const RETRIES: Flag = Flag::with_default(
    "--retries",
    "N",
    "0",
    "probes after the first for each address and port, 0 to 16",
);
const WAIT: Flag = Flag::with_default(
    "--wait",
    "TIME",
    "10",
    "seconds that masscan waits for late answers, 0 to 600",
);
const ATTEMPTS: Flag = Flag::with_default(
    "--attempts",
    "N",
    "3",
    "times that a failing task is begun, 1 to 100",
);
const TIMEOUT: Flag = Flag::optional(
    "--timeout",
    "TIME",
    "an attempt that takes longer has failed: 90s, 30m, 2h, or seconds (default no limit)",
);
const ID: Flag = Flag::optional(
    "--id",
    "ID",
    "an id of your own for a single target; pushing an id again changes nothing (default a random one)",
);

pub(super) const COMMAND: Command = Command {
    name: "push",
    about: "puts scan tasks on Kafka for the servers (scand) to share, and prints their ids",
    usage: "[push] -ip TARGETS -ports PORTS [flags]",
    flags: &[
        IP, PORTS, BAND_WIDTH, PRIORITY, RETRIES, WAIT, ATTEMPTS, TIMEOUT, ID, JSON, KAFKA, TOPIC,
        GROUP, REDIS,
    ],
    more: "\
A push needs Kafka only: -group and -redis are checked and not used. Each task
gets a line: its id and target on a terminal, the id alone in a pipe.
Exit code 0: all are acknowledged by Kafka; 1: some are not; 2: bad flags,
nothing was sent.

examples:
  scanpush -ip 172.16.0.0/24 -ports 443 -bandwidth 800
  scanpush -ip 10.0.0.1-10.0.0.99,fd00::/120 -ports 80,443,U:53 -priority 9
  id=$(scanpush -ip 10.1.0.0/16 -ports 22 -bandwidth 10k -timeout 2h)
",
    run,
};

/// What the command line asks for.
#[derive(Debug)]
struct Options {
    connection: Connection,
    json: bool,
    tasks: Vec<Task>,
}

fn run(reader: Reader, output: &mut Output<'_>) -> Result<(), Failure> {
    let options = resolve(reader)?;
    let Connection { kafka, topic, .. } = &options.connection;
    let records: Vec<Message> = options.tasks.iter().map(record).collect();
    let mut producer = Producer::connect(kafka, topic.as_str(), false)
        .map_err(|error| Failure::Runtime(format!("Kafka: {error}")))?;
    match producer.send(&records) {
        Ok(()) => report_all(&options, output),
        Err(error) => report_some(&options, &error.acknowledged, &error.to_string(), output),
    }
}

/// The task's record, keyed by its id.
fn record(task: &Task) -> Message {
    Message {
        key: task.task_id.as_str().into(),
        value: task.to_record().into_bytes(),
    }
}

fn report_all(options: &Options, output: &mut Output<'_>) -> Result<(), Failure> {
    for task in &options.tasks {
        print(task, options.json, output)?;
    }
    output.flush()?;
    let (which, ids) = match options.tasks.as_slice() {
        [task] => ("the task is".to_owned(), format!(" {}", task.task_id)),
        tasks => (format!("{} tasks are", tasks.len()), String::new()),
    };
    let Connection { kafka, topic, .. } = &options.connection;
    output.remark(&format!(
        "{which} in topic {topic} of Kafka at {kafka}; look with: scanpush status{ids}"
    ));
    Ok(())
}

/// Says which tasks are in (stdout) and which are not acknowledged (stderr). `acknowledged` are their indices,
/// ascending.
fn report_some(
    options: &Options,
    acknowledged: &[usize],
    cause: &str,
    output: &mut Output<'_>,
) -> Result<(), Failure> {
    for &index in acknowledged {
        // Even if nobody reads stdout any more, stderr must say what is missing.
        let _ = print(&options.tasks[index], options.json, output);
    }
    let _ = output.flush();
    output.problem(&format!(
        "scanpush: Kafka: {cause}: {} of {} tasks acknowledged; these are not, though they may be in all the same:",
        acknowledged.len(),
        options.tasks.len()
    ));
    for (index, task) in options.tasks.iter().enumerate() {
        if acknowledged.binary_search(&index).is_err() {
            output.problem(&in_a_line(task));
        }
    }
    Err(Failure::Said)
}

fn print(task: &Task, json: bool, output: &mut Output<'_>) -> Result<(), Failure> {
    match (json, output.is_terminal()) {
        (true, _) => output.line(&task.to_record()),
        (false, true) => output.line(&in_a_line(task)),
        (false, false) => output.line(task.task_id.as_str()),
    }
}

fn in_a_line(task: &Task) -> String {
    format!("{}  {}", task.task_id, task.ip_range)
}

fn resolve(mut reader: Reader) -> Result<Options, Invalid> {
    let targets = reader.value(&IP, parse_targets)?;
    let ports: Ports = reader.value(&PORTS, str::parse)?;
    let band_width: BandWidth = reader.value(&BAND_WIDTH, str::parse)?;
    let priority = reader.value(&PRIORITY, parse_priority)?;
    let retries = reader.value(&RETRIES, values::number(0, RETRIES_MAX))?;
    let wait_s = reader.value(&WAIT, values::seconds(0, WAIT_MAX_S))?;
    let attempts = reader.value(&ATTEMPTS, values::number(1, ATTEMPTS_MAX))?;
    let timeout_s = reader.optional(&TIMEOUT, values::seconds(1, TIMEOUT_MAX_S))?;
    let id: Option<TaskId> = reader.optional(&ID, str::parse)?;
    let json = reader.switch(&JSON);
    let connection = Connection::read(&mut reader)?;
    reader.finish()?;

    check_one_target(id.as_ref(), targets.len())?;
    let task = |target| {
        let task_id = id.clone().unwrap_or_else(TaskId::random);
        let task = Task {
            priority,
            retries,
            wait_s,
            attempts,
            timeout_s,
            ..Task::new(task_id, target, ports.clone(), band_width)
        };
        check(&task).map(|()| task)
    };
    let tasks = targets.into_iter().map(task).collect::<Result<_, _>>()?;
    Ok(Options {
        connection,
        json,
        tasks,
    })
}

fn check_one_target(id: Option<&TaskId>, targets: usize) -> Result<(), Invalid> {
    match id {
        Some(id) if targets > 1 => {
            let many = format!("is one id, but -ip has {targets} targets: push each by itself");
            Err(Invalid::new(id.as_str(), many).of(ID.shown()))
        }
        _ => Ok(()),
    }
}

/// A set of addresses for each entry of the list.
fn parse_targets(text: &str) -> Result<Vec<Targets>, Invalid> {
    let entries: Vec<&str> = text.split(',').map(str::trim).collect();
    if entries.len() > PUSH_TASKS_MAX {
        return Err(Invalid::about(format!(
            "has more than {PUSH_TASKS_MAX} entries"
        )));
    }
    if entries.iter().any(|entry| entry.is_empty()) {
        let wrong =
            "has an empty entry: give addresses, CIDR blocks or ranges, a comma between each two";
        return Err(Invalid::new(text, wrong));
    }
    entries
        .into_iter()
        .map(|entry| Ok(Targets::from_ranges(vec![entry.parse::<AddressRange>()?])))
        .collect()
}

fn parse_priority(text: &str) -> Result<Priority, Invalid> {
    values::number(0, 9)(text).and_then(|number| Priority::try_from(u64::from(number)))
}

/// What scand would reject is refused here: a task counts as valid if its own record reads back.
fn check(task: &Task) -> Result<(), Invalid> {
    match Task::from_record(task.to_record().as_bytes()) {
        Ok(_) => Ok(()),
        Err(rejected) => {
            Err(Invalid::new(&task.ip_range.to_string(), rejected.reason).of(IP.shown()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flags::{self, Asked};
    use std::ffi::OsString;

    fn options(line: &[&str]) -> Result<Options, Invalid> {
        let args = line.iter().map(OsString::from).collect();
        match flags::read(args, COMMAND.flags)? {
            Asked::Run(reader) => resolve(reader),
            other => panic!("{line:?}: {other:?}"),
        }
    }

    fn printed(
        options: &Options,
        columns: Option<usize>,
        err_is_terminal: bool,
        acknowledged: &[usize],
    ) -> (String, String) {
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let mut output = Output::new(&mut out, &mut err, columns, err_is_terminal);
        if acknowledged.len() == options.tasks.len() {
            report_all(options, &mut output).unwrap();
        } else {
            let result = report_some(options, acknowledged, "gone", &mut output);
            assert!(matches!(result, Err(Failure::Said)));
        }
        (
            String::from_utf8(out).unwrap(),
            String::from_utf8(err).unwrap(),
        )
    }

    #[test]
    fn the_originals_command_line_is_one_task() {
        let options =
            options(&["-ip", "172.16.0.0/24", "-ports", "443", "-bandwidth", "800"]).unwrap();
        let [task] = options.tasks.as_slice() else {
            panic!("{options:?}");
        };
        let id = task.task_id.clone();
        let expected = Task::new(
            id,
            "172.16.0.0/24".parse().unwrap(),
            "443".parse().unwrap(),
            "800".parse().unwrap(),
        );
        assert_eq!(*task, expected, "the flags' defaults are the record's");
        assert_eq!(options.connection.topic.as_str(), "scan-tasks");
        assert_eq!(options.connection.kafka.to_string(), "localhost:9092");
        assert!(!options.json);
        assert_eq!(Task::from_record(&record(task).value).as_ref(), Ok(task));
        assert_eq!(record(task).key, task.task_id.as_str().as_bytes());
    }

    #[test]
    fn defaults_and_bounds_are_those_of_the_limits() {
        let options = options(&["-ip", "10.0.0.1", "-ports", "80"]).unwrap();
        assert_eq!(options.tasks[0].band_width, BandWidth::default());
        for (flag, bounds) in [
            (RETRIES, format!("0 to {RETRIES_MAX}")),
            (WAIT, format!("0 to {WAIT_MAX_S}")),
            (ATTEMPTS, format!("1 to {ATTEMPTS_MAX}")),
        ] {
            assert!(flag.help().contains(&bounds), "{}", flag.shown());
        }
    }

    #[test]
    fn each_entry_becomes_its_own_task() {
        let line = [
            "-ip=10.0.0.1, 10.0.0.0/30,10.0.0.5-10.0.0.9,fd00::/120",
            "-ports=80,U:53",
            "-bandwidth=1.5m",
            "-priority=9",
            "-retries=2",
            "-wait=5s",
            "-attempts=1",
            "-timeout=30m",
            "-json",
        ];
        let options = options(&line).unwrap();
        let targets: Vec<String> = options
            .tasks
            .iter()
            .map(|task| task.ip_range.to_string())
            .collect();
        assert_eq!(
            targets,
            ["10.0.0.1", "10.0.0.0/30", "10.0.0.5-10.0.0.9", "fd00::/120"]
        );
        for task in &options.tasks {
            assert_eq!(task.ports.to_string(), "80,U:53");
            assert_eq!(
                (task.band_width.pps(), task.priority.get(), task.retries),
                (1_500_000, 9, 2)
            );
            assert_eq!(
                (task.wait_s, task.attempts, task.timeout_s),
                (5, 1, Some(1800))
            );
        }
        assert_ne!(options.tasks[0].task_id, options.tasks[1].task_id);
        assert!(options.json);
    }

    #[test]
    fn an_id_of_ones_own_names_one_task() {
        let own = options(&["-ip", "10.0.0.1", "-ports", "80", "-id", "my-1"]).unwrap();
        assert_eq!(own.tasks[0].task_id.as_str(), "my-1");
        let error =
            options(&["-ip", "10.0.0.1,10.0.0.2", "-ports", "80", "-id", "my-1"]).unwrap_err();
        assert!(
            error
                .to_string()
                .starts_with("-id: \"my-1\" is one id, but -ip has 2 targets"),
            "{error}"
        );
    }

    #[test]
    fn a_bad_value_is_named_with_its_flag() {
        for (line, named) in [
            (&["-ports", "80"][..], "-ip: is required"),
            (&["-ip", "10.0.0.1"], "-ports: is required"),
            (
                &["-ip", "10.0.0.1,", "-ports", "80"],
                "-ip: \"10.0.0.1,\" has an empty entry",
            ),
            (
                &["-ip", " ", "-ports", "80"],
                "-ip: \" \" has an empty entry",
            ),
            (
                &["-ip", "10.0.0.0/33", "-ports", "80"],
                "-ip: \"10.0.0.0/33\" is not",
            ),
            (&["-ip", "10.0.0.1,x", "-ports", "80"], "-ip: \"x\" is not"),
            (&["-ip", "::/0", "-ports", "80"], "-ip: \"::/0\""),
            (
                &["-ip", "10.0.0.1", "-ports", "70000"],
                "-ports: \"70000\" is not",
            ),
            (
                &["-ip", "10.0.0.1", "-ports", "80", "-bandwidth", "0"],
                "-bandwidth: \"0\" is not",
            ),
            (
                &["-ip", "10.0.0.1", "-ports", "80", "-priority", "10"],
                "-priority: \"10\" is not a number from 0 to 9",
            ),
            (
                &["-ip", "10.0.0.1", "-ports", "80", "-priority=-1"],
                "-priority: \"-1\" is not a number",
            ),
            (
                &["-ip", "10.0.0.1", "-ports", "80", "-retries", "17"],
                "-retries: \"17\" is not a number from 0 to 16",
            ),
            (
                &["-ip", "10.0.0.1", "-ports", "80", "-wait", "11m"],
                "-wait: \"11m\" is not a time from 0 to 600",
            ),
            (
                &["-ip", "10.0.0.1", "-ports", "80", "-attempts", "0"],
                "-attempts: \"0\" is not",
            ),
            (
                &["-ip", "10.0.0.1", "-ports", "80", "-timeout", "0"],
                "-timeout: \"0\" is not",
            ),
            (
                &["-ip", "10.0.0.1", "-ports", "80", "-id", "a b"],
                "-id: \"a b\" is not an id",
            ),
            (
                &["-ip", "10.0.0.1", "-ports", "80", "-topic", "a/b"],
                "-topic: \"a/b\" is not a topic name",
            ),
            (
                &["-ip", "10.0.0.1", "-ports", "80", "-group", "{x}"],
                "-group: \"{x}\" is not a group name",
            ),
            (
                &["-ip", "10.0.0.1", "-ports", "80", "-redis", "x"],
                "-redis: ",
            ),
            (
                &["-ip", "10.0.0.1", "-ports", "80", "-kafka", "k:0"],
                "-kafka: \"k:0\"",
            ),
            (
                &["-ip", "10.0.0.1", "10.0.0.2", "-ports", "80"],
                "\"10.0.0.2\" belongs to no flag",
            ),
        ] {
            let error = options(line).unwrap_err().to_string();
            assert!(error.starts_with(named), "{line:?}: {error}");
            assert!(!error.contains('\n'), "{error}");
        }
    }

    #[test]
    fn a_pipe_gets_ids_a_terminal_targets_too_and_json_the_records() {
        let mut two = options(&["-ip", "10.0.0.1,10.0.0.2", "-ports", "80"]).unwrap();
        let ids: Vec<String> = two
            .tasks
            .iter()
            .map(|task| task.task_id.to_string())
            .collect();
        let (out, err) = printed(&two, None, false, &[0, 1]);
        assert_eq!(
            (out, err),
            (format!("{}\n{}\n", ids[0], ids[1]), String::new())
        );
        let (out, err) = printed(&two, Some(80), true, &[0, 1]);
        assert_eq!(out, format!("{}  10.0.0.1\n{}  10.0.0.2\n", ids[0], ids[1]));
        assert_eq!(
            err,
            "2 tasks are in topic scan-tasks of Kafka at localhost:9092; look with: scanpush status\n"
        );
        two.json = true;
        let (out, _) = printed(&two, Some(80), false, &[0, 1]);
        for (line, task) in out.lines().zip(&two.tasks) {
            let record: serde_json::Value = serde_json::from_str(line).unwrap();
            assert_eq!(record["task_id"], task.task_id.as_str());
            assert_eq!(record["band_width"], "1000");
        }
    }

    #[test]
    fn what_kafka_did_not_acknowledge_is_on_stderr_only() {
        let three = options(&["-ip", "10.0.0.1,10.0.0.2,10.0.0.3", "-ports", "80"]).unwrap();
        let (out, err) = printed(&three, None, false, &[1]);
        assert_eq!(out, format!("{}\n", three.tasks[1].task_id));
        let expected = format!(
            "scanpush: Kafka: gone: 1 of 3 tasks acknowledged; these are not, though they may be in all the same:\n{}  10.0.0.1\n{}  10.0.0.3\n",
            three.tasks[0].task_id, three.tasks[2].task_id
        );
        assert_eq!(err, expected);
    }
}
