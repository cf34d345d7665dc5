//! `-follow`: polls Redis for the state of the tasks while their findings are read, until all tasks have ended.

use super::collector::Collector;
use super::selected::SelectedTasks;
use super::topic_reader::{Offsets, TopicReader};
use crate::exit::Failure;
use crate::scanpush::output::Output;
use std::time::{Duration, Instant};

/// Interval between two polls of Redis.
const FOLLOW_POLL_INTERVAL: Duration = Duration::from_millis(500);

/// How far reading goes.
#[derive(Debug)]
pub enum Phase {
    /// Without an end: the tasks are still running.
    Following(Follower),
    /// Up to these offsets, one for each partition: what comes later is not read.
    ReadingTo(Offsets),
}

impl Phase {
    /// The offsets at which reading ends, if they are known.
    pub fn end(&self) -> Option<&Offsets> {
        match self {
            Phase::Following(_) => None,
            Phase::ReadingTo(end) => Some(end),
        }
    }

    /// Polls the tasks if it is time. Once all have ended, the topic is read up to its present end: a server reports the end of a
    /// task only after Kafka has acknowledged all findings.
    pub fn advance(
        &mut self,
        selected: &mut SelectedTasks,
        topic: &mut TopicReader,
        collector: &mut Collector,
        output: &mut Output<'_>,
    ) -> Result<(), Failure> {
        if let Phase::Following(follower) = self
            && follower.poll(selected, topic, collector, output)
        {
            *self = Phase::ReadingTo(topic.end_offsets()?);
        }
        Ok(())
    }
}

/// Polls the tasks at intervals, and reports outages once each.
#[derive(Debug)]
pub struct Follower {
    last_poll: Option<Instant>,
    /// The cursors at the last poll. A task that was unknown to Redis then has no finding below them.
    cursors_at_poll: Offsets,
    redis_away: bool,
    kafka_away: bool,
    unknown_reported: bool,
}

impl Follower {
    /// Reading starts at `cursors`.
    pub fn new(cursors: &Offsets) -> Follower {
        Follower {
            last_poll: None,
            cursors_at_poll: cursors.clone(),
            redis_away: false,
            kafka_away: false,
            unknown_reported: false,
        }
    }

    /// Returns true once all tasks have ended. Polls Redis at most every [`FOLLOW_POLL_INTERVAL`].
    fn poll(
        &mut self,
        selected: &mut SelectedTasks,
        topic: &mut TopicReader,
        collector: &mut Collector,
        output: &mut Output<'_>,
    ) -> bool {
        let is_due = |at: Instant| at.elapsed() >= FOLLOW_POLL_INTERVAL;
        if !self.last_poll.is_none_or(is_due) {
            return false;
        }
        self.last_poll = Some(Instant::now());
        self.report_kafka(topic.trouble(), output);
        match selected.refresh() {
            Ok(added) => {
                self.redis_away = false;
                for id in &added {
                    collector.add(id);
                }
                let cursors = topic.cursors().clone();
                if !added.is_empty() {
                    topic.seek(self.cursors_at_poll.clone());
                }
                self.cursors_at_poll = cursors;
            }
            Err(error) => {
                if !self.redis_away {
                    output.problem(&format!("scanpush: {error}; still trying"));
                }
                self.redis_away = true;
                return false;
            }
        }
        self.report_unknown(selected, output);
        selected.have_ended()
    }

    fn report_kafka(&mut self, trouble: Option<&str>, output: &mut Output<'_>) {
        if let Some(reason) = trouble.filter(|_| !self.kafka_away) {
            output.problem(&format!("scanpush: {reason}; still trying"));
        }
        self.kafka_away = trouble.is_some();
    }

    fn report_unknown(&mut self, selected: &SelectedTasks, output: &mut Output<'_>) {
        if self.unknown_reported || !selected.are_named_by_id() {
            return;
        }
        if let Some(task) = selected.tasks.iter().find(|task| task.live.is_none()) {
            self.unknown_reported = true;
            output.remark(&format!("no server has ingested {} yet: waiting", task.id));
        }
    }
}
