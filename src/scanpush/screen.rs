//! What `watch` prints: progress bars on a terminal, lines elsewhere, objects for programs.
//!
//! **Invariant:** no control character from outside reaches the terminal: bars consist of numbers and of text without such
//! characters.

use super::output::Output;
use super::tasks::{short, span, state_of};
use super::watched::Watched;
use crate::claim_table::LiveTask;
use crate::exit::Failure;
use crate::model::State;
use crate::model::text::{one_line, visible};
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::collections::HashMap;

/// Progress bars that are shown at the same time, besides the one for all tasks.
const WATCH_BARS_MAX: usize = 10;
/// With more tasks than this, only this many of those that did not complete get a line each.
const WATCH_LINES_MAX: usize = 50;
/// Without a terminal, a line is printed each time a task has progressed by this many percent.
const WATCH_LINE_PERCENT: u32 = 10;

/// Length of a complete bar, in hundredths of a percent.
const STEPS: u64 = 10_000;
/// Characters of an id before its bar.
const ID_COLUMNS: usize = 12;
/// The first task without a line of its own.
const WATCH_LINES_CUT: usize = WATCH_LINES_MAX + 1;
/// With `-json`, a task is printed each time it has progressed by this many percent.
const JSON_PERCENT: u32 = 1;

/// Where tasks are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// stdout: bars on a terminal, else lines.
    Stdout,
    /// stderr in the same way, because stdout is used for something else.
    Stderr,
    /// stdout, an object for each change.
    Json,
}

/// What has been shown so far.
pub struct Screen {
    place: Place,
    bars: Option<Bars>,
    /// For each task, by its position: the state and progress of its last line.
    last_steps: HashMap<usize, Step>,
    last_total: Option<u32>,
    /// Lines printed about tasks that did not complete, if there are many tasks.
    incomplete: usize,
    last_message: String,
}

/// A task's state, and its progress in whole steps.
type Step = (&'static str, u32);

struct Bars {
    multi: MultiProgress,
    /// For each task, by its position.
    each: HashMap<usize, ProgressBar>,
    all: Option<ProgressBar>,
}

impl Screen {
    /// Nothing is shown yet. Bars are used if the stream is a terminal.
    pub fn new(place: Place, output: &Output<'_>) -> Screen {
        let target = match place {
            Place::Stdout if output.is_terminal() => Some(ProgressDrawTarget::stdout()),
            Place::Stderr if output.err_is_terminal() => Some(ProgressDrawTarget::stderr()),
            _ => None,
        };
        Screen {
            place,
            bars: target.map(|target| Bars {
                multi: MultiProgress::with_draw_target(target),
                each: HashMap::new(),
                all: None,
            }),
            last_steps: HashMap::new(),
            last_total: None,
            incomplete: 0,
            last_message: String::new(),
        }
    }

    /// Shows what has changed.
    pub fn draw(&mut self, tasks: &[Watched], output: &mut Output<'_>) -> Result<(), Failure> {
        let per_step = match self.place {
            Place::Json => JSON_PERCENT,
            _ => WATCH_LINE_PERCENT,
        };
        for (at, one) in tasks.iter().enumerate() {
            let Some(task) = &one.task else { continue };
            let step = (
                state_of(task),
                task.progress.clamp(0.0, 100.0) as u32 / per_step,
            );
            if self.last_steps.get(&at) == Some(&step) {
                continue;
            }
            self.last_steps.insert(at, step);
            self.show_change(task, tasks.len(), output)?;
        }
        match &mut self.bars {
            Some(bars) => bars.draw(tasks),
            None => self.show_total(tasks, output)?,
        }
        output.flush()
    }

    /// A task has changed its state, or progressed by a step.
    fn show_change(
        &mut self,
        task: &LiveTask,
        tasks: usize,
        output: &mut Output<'_>,
    ) -> Result<(), Failure> {
        if self.place == Place::Json {
            return output.json(task);
        }
        let ended = task.status.is_terminal();
        if tasks > WATCH_LINES_MAX {
            return self.show_incomplete(task, output);
        }
        match ended || self.bars.is_none() {
            true => self.line(&line_of(task), output),
            // Its bar shows the change.
            false => Ok(()),
        }
    }

    /// With many tasks, only the first ones that did not complete get a line.
    fn show_incomplete(&mut self, task: &LiveTask, output: &mut Output<'_>) -> Result<(), Failure> {
        if !task.status.is_terminal() || task.status == State::Completed {
            return Ok(());
        }
        self.incomplete += 1;
        match self.incomplete {
            ..=WATCH_LINES_MAX => self.line(&line_of(task), output),
            WATCH_LINES_CUT => {
                let more =
                    "… more did not complete: scanpush list -state failed,cancelled,rejected";
                self.line(more, output)
            }
            _ => Ok(()),
        }
    }

    /// With many tasks, prints the total progress.
    fn show_total(&mut self, tasks: &[Watched], output: &mut Output<'_>) -> Result<(), Failure> {
        let step = (progress_of_all(tasks) as u32) / WATCH_LINE_PERCENT;
        let many = tasks.len() > WATCH_LINES_MAX && self.place != Place::Json;
        if !many || self.last_total == Some(step) {
            return Ok(());
        }
        self.last_total = Some(step);
        let line = format!(
            "{:.0}% of all, {}",
            progress_of_all(tasks).floor(),
            counts(tasks)
        );
        self.line(&line, output)
    }

    /// Prints a message that is not about a task on stderr, but not twice in a row.
    pub fn say(&mut self, text: &str, output: &mut Output<'_>) -> Result<(), Failure> {
        if self.last_message == text {
            return Ok(());
        }
        self.last_message = text.to_owned();
        match &self.bars {
            Some(bars) => Ok(bars
                .multi
                .println(format!("scanpush: {}", one_line(text)))?),
            None => {
                output.problem(&format!("scanpush: {text}"));
                Ok(())
            }
        }
    }

    fn line(&self, line: &str, output: &mut Output<'_>) -> Result<(), Failure> {
        match (&self.bars, self.place) {
            (Some(bars), _) => Ok(bars.multi.println(visible(line))?),
            (None, Place::Stderr) => {
                output.problem(line);
                Ok(())
            }
            (None, _) => output.line(line),
        }
    }

    /// Stops drawing and leaves the bars as they are. For Ctrl-C, which may have moved the cursor, so that clearing could hit
    /// other lines.
    pub fn leave(&mut self, output: &mut Output<'_>) -> Result<(), Failure> {
        let Some(bars) = self.bars.take() else {
            return Ok(());
        };
        bars.multi.set_draw_target(ProgressDrawTarget::hidden());
        // The cursor is after the last bar.
        match self.place {
            Place::Stderr => output.problem(""),
            _ => output.line("")?,
        }
        output.flush()
    }

    /// Stops drawing: bars are cleared, lines stay.
    pub fn close(&mut self) {
        if let Some(bars) = &mut self.bars {
            for bar in bars.each.values().chain(&bars.all) {
                bar.finish_and_clear();
            }
            // If the terminal is gone, there is nothing to clear.
            let _ = bars.multi.clear();
        }
    }
}

impl Bars {
    fn draw(&mut self, tasks: &[Watched]) {
        let shown = with_bars(tasks);
        self.each.retain(|at, bar| {
            let stays = shown.contains(at);
            if !stays {
                bar.finish_and_clear();
                self.multi.remove(bar);
            }
            stays
        });
        for at in shown {
            let Some(task) = &tasks[at].task else {
                continue;
            };
            let position = (task.progress.clamp(0.0, 100.0) * 100.0) as u64;
            if let Some(bar) = self.each.get(&at) {
                show(bar, bar_message(task), position);
                continue;
            }
            let bar = new_bar(bar_prefix(&task.task_id), bar_message(task), position);
            let bar = match &self.all {
                Some(all) => self.multi.insert_before(all, bar),
                None => self.multi.add(bar),
            };
            bar.tick();
            self.each.insert(at, bar);
        }
        if tasks.len() > 1 {
            let position = (progress_of_all(tasks) * 100.0) as u64;
            let all = self.all.get_or_insert_with(|| {
                let name = format!("{:ID_COLUMNS$}", "all");
                self.multi.add(new_bar(name, String::new(), position))
            });
            show(all, counts(tasks), position);
        }
    }
}

fn new_bar(prefix: String, message: String, position: u64) -> ProgressBar {
    ProgressBar::new(STEPS)
        .with_style(style())
        .with_prefix(prefix)
        .with_message(message)
        .with_position(position)
}

/// Redraws only what has changed.
fn show(bar: &ProgressBar, message: String, position: u64) {
    if bar.message() != message {
        bar.set_message(message);
    }
    if bar.position() != position {
        bar.set_position(position);
    }
}

fn style() -> ProgressStyle {
    ProgressStyle::with_template("{prefix} [{bar:20}] {percent:>3}% {wide_msg}")
        .expect("the template is a constant that a test draws")
        .progress_chars("=> ")
}

/// The tasks that get bars: running ones first, then waiting ones.
fn with_bars(tasks: &[Watched]) -> Vec<usize> {
    let open = |running: bool| {
        tasks.iter().enumerate().filter(move |(_, one)| {
            let status = one.task.as_ref().map(|task| task.status);
            !one.has_ended() && status.is_some_and(|s| (s == State::Running) == running)
        })
    };
    open(true)
        .chain(open(false))
        .map(|(at, _)| at)
        .take(WATCH_BARS_MAX)
        .collect()
}

fn bar_prefix(id: &str) -> String {
    let id: String = one_line(id).chars().take(ID_COLUMNS).collect();
    format!("{id:ID_COLUMNS$}")
}

/// The text after a bar, the most important first, because a narrow terminal cuts the end.
fn bar_message(task: &LiveTask) -> String {
    let found = format!("found {}", task.found);
    if task.status != State::Running {
        return format!("{} {found}", state_of(task));
    }
    let mut parts = vec![format!("{} pps", short(task.rate_pps)), found];
    match task.order {
        Some(_) => parts.push(state_of(task).to_owned()),
        None => parts.extend(task.remaining_s.map(|s| format!("{} left", span(s)))),
    }
    parts.extend(task.server.as_deref().map(one_line));
    parts.join(" ")
}

/// A task as a line.
fn line_of(task: &LiveTask) -> String {
    let mut line = format!(
        "{}  {} {:.0}% found {}",
        task.task_id,
        state_of(task),
        task.progress.clamp(0.0, 100.0).floor(),
        task.found
    );
    if task.status == State::Running {
        line += &format!(", {} pps", short(task.rate_pps));
        if let Some(s) = task.remaining_s {
            line += &format!(", {} left", span(s));
        }
    }
    if let Some(server) = &task.server {
        line += &format!(", {server}");
    }
    if let Some(error) = &task.error {
        line += &format!(": {error}");
    }
    line
}

/// How many tasks are in each state, and the number of findings.
fn counts(tasks: &[Watched]) -> String {
    let known = || tasks.iter().filter_map(|one| one.task.as_ref());
    let mut parts: Vec<String> = State::ALL
        .iter()
        .map(|&state| (state, known().filter(|task| task.status == state).count()))
        .filter(|&(_, count)| count > 0)
        .map(|(state, count)| format!("{count} {state}"))
        .collect();
    let unknown = tasks.len() - known().count();
    if unknown > 0 {
        parts.push(format!("{unknown} not ingested"));
    }
    let found = known().fold(0, |sum, task| u64::saturating_add(sum, task.found));
    format!("{}, found {found}", parts.join(" "))
}

/// The share of all probes that was sent, in percent.
fn progress_of_all(tasks: &[Watched]) -> f64 {
    let (mut done, mut whole) = (0.0, 0.0);
    for one in tasks {
        let probes = one.task.as_ref().and_then(|task| task.probes);
        let weight = probes.map_or(1.0, |probes| probes.max(1) as f64);
        let percent = one.task.as_ref().map_or(0.0, |task| task.progress);
        whole += weight;
        done += weight * percent.clamp(0.0, 100.0);
    }
    if whole > 0.0 { done / whole } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::super::tasks::sample::task;
    use super::*;

    fn watched(status: State, progress: f64) -> Watched {
        let id = "Wb3ZtqLk9Xe_fJ2vR0yAc".parse().unwrap();
        let finished_ms = status.is_terminal().then_some(1);
        Watched {
            id,
            gone_since: None,
            task: Some(LiveTask {
                status,
                progress,
                finished_ms,
                ..task()
            }),
        }
    }

    fn drawn(place: Place, frames: &[Vec<Watched>]) -> (String, String) {
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let mut output = Output::new(&mut out, &mut err, None, false);
        let mut screen = Screen::new(place, &output);
        for tasks in frames {
            screen.draw(tasks, &mut output).unwrap();
        }
        screen.say("redis is away", &mut output).unwrap();
        screen.say("redis is away", &mut output).unwrap();
        screen.close();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (text(out), text(err))
    }

    #[test]
    fn without_a_terminal_a_change_is_a_line() {
        let frames: Vec<Vec<Watched>> = [
            (State::Queued, 0.0),
            (State::Queued, 0.0),
            (State::Running, 1.0),
            (State::Running, 9.0),
            (State::Running, 31.5),
            (State::Completed, 100.0),
        ]
        .map(|(status, progress)| vec![watched(status, progress)])
        .into();
        let expected = "\
Wb3ZtqLk9Xe_fJ2vR0yAc  queued 0% found 785, scanhost-eu-1-k3f9
Wb3ZtqLk9Xe_fJ2vR0yAc  running 1% found 785, 812 pps, 1:23 left, scanhost-eu-1-k3f9
Wb3ZtqLk9Xe_fJ2vR0yAc  running 31% found 785, 812 pps, 1:23 left, scanhost-eu-1-k3f9
Wb3ZtqLk9Xe_fJ2vR0yAc  completed 100% found 785, scanhost-eu-1-k3f9
";
        let message = "scanpush: redis is away\n".to_owned();
        assert_eq!(
            drawn(Place::Stdout, &frames),
            (expected.to_owned(), message.clone())
        );
        let (out, err) = drawn(Place::Stderr, &frames);
        assert_eq!((out, err), (String::new(), expected.to_owned() + &message));
        let (out, _) = drawn(Place::Json, &frames);
        let states: Vec<String> = out
            .lines()
            .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap())
            .map(|object| object["status"].as_str().unwrap().to_owned())
            .collect();
        assert_eq!(
            states,
            ["queued", "running", "running", "running", "completed"]
        );
    }

    #[test]
    fn of_many_tasks_only_those_that_did_not_complete_have_a_line() {
        let mut tasks: Vec<Watched> = (0..99).map(|_| watched(State::Completed, 100.0)).collect();
        tasks.push(watched(State::Failed, 50.0));
        let (out, _) = drawn(Place::Stdout, &[tasks]);
        let lines: Vec<&str> = out.lines().collect();
        assert_eq!(lines.len(), 2, "{out}");
        assert!(lines[0].contains("failed 50%"), "{out}");
        assert_eq!(lines[1], "99% of all, 99 completed 1 failed, found 78500");
        let tasks: Vec<Watched> = (0..999).map(|_| watched(State::Cancelled, 1.0)).collect();
        let (out, _) = drawn(Place::Stdout, &[tasks]);
        assert_eq!(out.lines().count(), WATCH_LINES_CUT + 1, "{out}");
        assert!(out.contains("… more did not complete"), "{out}");
    }

    #[test]
    fn bars_are_bounded_and_those_that_run_come_first() {
        let mut tasks: Vec<Watched> = (0..20).map(|_| watched(State::Queued, 0.0)).collect();
        tasks[15] = watched(State::Running, 10.0);
        tasks[3] = watched(State::Completed, 100.0);
        let shown = with_bars(&tasks);
        assert_eq!(shown.len(), WATCH_BARS_MAX);
        assert_eq!(shown[..4], [15, 0, 1, 2]);
        assert!(!shown.contains(&3));
    }

    #[test]
    fn bars_are_drawn_and_removed() {
        let mut bars = Bars {
            multi: MultiProgress::with_draw_target(ProgressDrawTarget::hidden()),
            each: HashMap::new(),
            all: None,
        };
        bars.draw(&[watched(State::Running, 10.0), watched(State::Queued, 0.0)]);
        assert_eq!((bars.each.len(), bars.all.is_some()), (2, true));
        assert_eq!(bars.each[&0].position(), 1000);
        assert_eq!(
            bars.each[&0].message(),
            "812 pps found 785 1:23 left scanhost-eu-1-k3f9"
        );
        assert_eq!(bars.each[&0].prefix(), "Wb3ZtqLk9Xe_");
        bars.draw(&[
            watched(State::Completed, 100.0),
            watched(State::Running, 5.0),
        ]);
        assert_eq!(bars.each.keys().collect::<Vec<_>>(), [&1]);
    }

    #[test]
    fn hostile_text_from_redis_stays_harmless() {
        let mut one = watched(State::Failed, f64::NAN);
        if let Some(task) = &mut one.task {
            task.task_id = "a\x1b[2J".into();
            task.server = Some("b\r\n".into());
            task.error = Some("\u{9b}31m\x07".into());
        }
        let running = LiveTask {
            status: State::Running,
            ..one.task.clone().unwrap()
        };
        for text in [bar_message(&running), bar_prefix(&running.task_id)] {
            assert!(!text.chars().any(char::is_control), "{text:?}");
        }
        for place in [Place::Stdout, Place::Json] {
            let (out, _) = drawn(place, &[vec![watched(State::Running, 1.0)]]);
            assert!(out.chars().all(|c| c == '\n' || !c.is_control()), "{out:?}");
        }
        let (out, _) = drawn(Place::Stdout, &[vec![one]]);
        assert!(out.chars().all(|c| c == '\n' || !c.is_control()), "{out:?}");
    }
}
