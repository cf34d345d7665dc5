//! `scanpush job ID`: a job as a whole, and its tasks. Reads Redis only. The job's state and progress are computed here from
//! its tasks.

use super::Command;
use super::ids::{FoundJob, find_job};
use super::output::Output;
use super::tasks::{self, now_ms, short, span};
use crate::claim_table::{ClaimTable, ClaimTableError, LiveTask};
use crate::connection::Connection;
use crate::exit::Failure;
use crate::flags::{Flag, Reader};
use crate::model::task::Shard;
use crate::model::{Invalid, State, TaskId};
use serde::Serialize;
use std::collections::{BTreeMap, HashMap};

const JSON: Flag = Flag::switch("--json", "print the job with its tasks as one line of JSON");

pub(super) const COMMAND: Command = Command {
    name: "job",
    about: "shows a job as a whole and its tasks",
    usage: "job ID [flags]",
    flags: &[JSON],
    more: "\
A job is running while one of its tasks is, otherwise queued or paused while one
waits. Once all have ended it is failed if one failed or was rejected, otherwise
cancelled if one was, otherwise completed. Its progress is that of all its
probes. -json prints one object that contains all tasks. Needs Redis only.
Exit code 0: found; 1: the ID is unknown or Redis is unreachable; 2: invalid
flags.

examples:
  scanpush job j7Kd0
  scanpush job j7Kd0 -json | jq '{state, progress, found}'
",
    run,
};

/// A job as a whole. Field names are those of `-json`.
#[derive(Debug, Serialize)]
pub struct Job {
    /// Its id.
    pub job_id: String,
    /// Its state, derived from those of its tasks.
    pub state: State,
    /// Tasks in Redis, by state.
    pub states: BTreeMap<&'static str, usize>,
    /// Tasks that ended so long ago that Redis no longer has them.
    pub forgotten: usize,
    /// The share of its probes that was sent, in percent.
    pub progress: f64,
    /// Packets per second of its running tasks together.
    pub rate_pps: f64,
    /// Seconds until its running tasks have sent everything; none while tasks still wait for a server.
    pub remaining_s: Option<u64>,
    /// Findings of all its tasks.
    pub found: u64,
    /// Its tasks in the order in which they were ingested; the shards of the same probes together, by their numbers.
    pub tasks: Vec<LiveTask>,
}

fn run(reader: Reader, output: &mut Output<'_>) -> Result<(), Failure> {
    let (connection, json, name) = resolve(reader)?;
    let job = read(&connection, &name)?;
    show(&job, json, now_ms(), output)?;
    output.flush()
}

fn resolve(mut reader: Reader) -> Result<(Connection, bool, TaskId), Invalid> {
    let connection = Connection::read(&mut reader)?;
    let json = reader.switch(&JSON);
    let words = reader.words();
    reader.finish()?;
    match words.as_slice() {
        [word] => Ok((connection, json, word.parse()?)),
        [] => Err(Invalid::about("give the id of a job")),
        [_, second, ..] => Err(Invalid::new(
            second,
            "is an unexpected argument: give one job",
        )),
    }
}

fn read(connection: &Connection, name: &TaskId) -> Result<Job, Failure> {
    let runtime = |error: ClaimTableError| Failure::Runtime(error.to_string());
    let Connection { redis, group, .. } = connection;
    let mut claim_table = ClaimTable::connect(redis, group.as_str()).map_err(runtime)?;
    let FoundJob { id, tasks: ids } =
        find_job(name, &mut claim_table).map_err(|error| Failure::Runtime(error.to_string()))?;
    let tasks = claim_table.tasks_of(&ids).map_err(runtime)?;
    let tasks: Vec<LiveTask> = tasks.into_iter().flatten().collect();
    let forgotten = ids.len() - tasks.len();
    job(&id, tasks, forgotten).ok_or_else(|| {
        Failure::Runtime(format!(
            "all {forgotten} tasks of job {id} ended more than 7 days ago"
        ))
    })
}

/// The job of these tasks; none if there are no tasks.
pub fn job(job_id: &TaskId, mut tasks: Vec<LiveTask>, forgotten: usize) -> Option<Job> {
    sort(&mut tasks);
    let mut states = BTreeMap::new();
    for task in &tasks {
        *states.entry(task.status.as_str()).or_insert(0) += 1;
    }
    let weight: f64 = tasks.iter().map(weight_of).sum();
    let done: f64 = tasks
        .iter()
        .map(|task| weight_of(task) * task.progress.clamp(0.0, 100.0))
        .sum();
    let running = || tasks.iter().filter(|task| task.status == State::Running);
    let waits = tasks.iter().any(|task| task.status == State::Queued);
    Some(Job {
        job_id: job_id.to_string(),
        state: state_of(&tasks)?,
        states,
        forgotten,
        progress: (done / weight * 100.0).floor() / 100.0,
        rate_pps: running().fold(0.0, |sum, task| sum + task.rate_pps.max(0.0)),
        remaining_s: running()
            .filter_map(|task| task.remaining_s)
            .max()
            .filter(|_| !waits),
        found: tasks
            .iter()
            .fold(0, |sum, task| u64::saturating_add(sum, task.found)),
        tasks,
    })
}

/// Sorts by arrival, but keeps the shards of the same probes together, at the place of the first one.
fn sort(tasks: &mut [LiveTask]) {
    let shard_group = |task: &LiveTask| {
        let shard: Shard = task.shard.as_deref()?.parse().ok()?;
        Some((task.ip_range.clone(), task.ports.clone(), shard.count))
    };
    let mut first_ms: HashMap<_, u64> = HashMap::new();
    for task in tasks.iter() {
        if let Some(group) = shard_group(task) {
            let first = first_ms.entry(group).or_insert(task.queued_ms);
            *first = task.queued_ms.min(*first);
        }
    }
    tasks.sort_by_cached_key(|task| {
        let arrived_ms = shard_group(task).and_then(|group| first_ms.get(&group).copied());
        let shard = task.shard.as_deref().and_then(|shard| shard.parse().ok());
        (
            arrived_ms.unwrap_or(task.queued_ms),
            task.ip_range.clone(),
            task.ports.clone(),
            shard.map(|shard: Shard| (shard.count, shard.index)),
            task.queued_ms,
            task.task_id.clone(),
        )
    });
}

/// A task's weight in its job: its probes, or 1 if they are unknown.
fn weight_of(task: &LiveTask) -> f64 {
    task.probes.map_or(1.0, |probes| probes.max(1) as f64)
}

/// The first of these states that any task is in.
fn state_of(tasks: &[LiveTask]) -> Option<State> {
    let any = |state| tasks.iter().any(|task| task.status == state);
    let by_precedence = [
        State::Running,
        State::Queued,
        State::Paused,
        State::Failed,
        State::Rejected,
        State::Cancelled,
        State::Completed,
    ];
    match by_precedence.into_iter().find(|&state| any(state)) {
        Some(State::Rejected) => Some(State::Failed),
        state => state,
    }
}

fn show(job: &Job, json: bool, now_ms: u64, output: &mut Output<'_>) -> Result<(), Failure> {
    if json {
        return output.json(job);
    }
    let [summary, counts] = heading(job);
    output.line(&summary)?;
    output.line(&format!("  {counts}"))?;
    tasks::show(&job.tasks, false, now_ms, output)
}

/// The state of the job, and how many tasks are in each state.
fn heading(job: &Job) -> [String; 2] {
    let counts: Vec<String> = State::ALL
        .iter()
        .filter_map(|state| Some(format!("{} {state}", job.states.get(state.as_str())?)))
        .chain((job.forgotten > 0).then(|| format!("{} forgotten", job.forgotten)))
        .collect();
    let left = job
        .remaining_s
        .map_or(String::new(), |s| format!(", {} left", span(s)));
    let summary = format!(
        "job {}: {} {}%{left}, {} pps, found {}",
        job.job_id,
        job.state,
        job.progress.floor(),
        short(job.rate_pps),
        job.found
    );
    [summary, counts.join(", ")]
}

#[cfg(test)]
mod tests {
    use super::super::tasks::sample::{NOW_MS, task};
    use super::*;

    fn of(tasks: &[(State, f64, u128)]) -> Job {
        let tasks = tasks.iter().map(|&(status, progress, probes)| LiveTask {
            status,
            progress,
            probes: Some(probes),
            ..task()
        });
        job(&"j1".parse().unwrap(), tasks.collect(), 0).unwrap()
    }

    #[test]
    fn a_job_is_as_far_as_its_tasks() {
        use State::*;
        for (states, state) in [
            (&[Completed, Running, Failed][..], Running),
            (&[Completed, Queued, Paused], Queued),
            (&[Completed, Paused, Failed], Paused),
            (&[Completed, Cancelled, Failed], Failed),
            (&[Completed, Cancelled, Rejected], Failed),
            (&[Completed, Cancelled], Cancelled),
            (&[Completed, Completed], Completed),
        ] {
            let tasks: Vec<_> = states.iter().map(|&state| (state, 50.0, 1)).collect();
            assert_eq!(of(&tasks).state, state, "{states:?}");
        }
        assert!(job(&"j1".parse().unwrap(), vec![], 3).is_none());
    }

    #[test]
    fn progress_counts_probes_and_time_needs_that_none_waits() {
        let whole = of(&[(State::Running, 50.0, 300), (State::Completed, 100.0, 100)]);
        assert_eq!(whole.progress, 62.5);
        assert_eq!((whole.remaining_s, whole.found), (Some(83), 2 * 785));
        let waiting = of(&[(State::Running, 50.0, 300), (State::Queued, 0.0, 100)]);
        assert_eq!(waiting.remaining_s, None);
        let nearly = of(&[
            (State::Completed, 100.0, 1 << 40),
            (State::Running, 99.0, 1),
        ]);
        assert!(nearly.progress < 100.0, "it is not 100 before all is sent");
        assert_eq!(
            heading(&whole),
            [
                "job j1: running 62%, 1:23 left, 812 pps, found 1570",
                "1 running, 1 completed"
            ]
        );
    }

    #[test]
    fn shards_are_together_and_in_order() {
        let of = |task_id: &str, ip_range: &str, shard: Option<&str>, queued_ms| LiveTask {
            task_id: task_id.into(),
            ip_range: ip_range.into(),
            shard: shard.map(str::to_owned),
            queued_ms,
            ..task()
        };
        let mut tasks = [
            of("a", "172.16.1.0/24", Some("10/10"), 3),
            of("b", "172.16.0.0/24", None, 4),
            of("c", "172.16.1.0/24", Some("2/10"), 5),
            of("d", "172.16.1.0/24", Some("1/10"), 4),
            of("e", "172.16.2.0/24", None, 2),
        ];
        sort(&mut tasks);
        let ids: Vec<&str> = tasks.iter().map(|task| task.task_id.as_str()).collect();
        assert_eq!(ids, ["e", "d", "c", "a", "b"]);
    }

    #[test]
    fn json_is_one_object() {
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let mut output = Output::new(&mut out, &mut err, None, false);
        let job = of(&[(State::Running, 50.0, 1), (State::Completed, 100.0, 1)]);
        show(&job, true, NOW_MS, &mut output).unwrap();
        let object: serde_json::Value = serde_json::from_slice(&out).unwrap();
        assert_eq!(
            (&object["state"], &object["progress"]),
            (&"running".into(), &75.0.into())
        );
        assert_eq!(object["states"]["completed"], 1);
        assert_eq!(object["tasks"].as_array().unwrap().len(), 2);
    }
}
