//! The thread `findings`: reads the topic of findings ahead of the database.

use super::merge::{Offsets, Portion};
use super::stop::{is_stopped, stopped_after};
use super::topic::{Answer, Notice, Topic};
use crate::kafka::FETCH_WAIT;
use crate::model::Backoff;
use crate::scanpush::tasks::now_ms;
use crate::store::StoredFinding;
use crossbeam_channel::{Receiver, Sender, bounded};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// Answers of Kafka that wait for the database; each has at most a few MiB.
const ANSWERS_MAX: usize = 4;
/// How often the ends of the topic are asked for while it is read, to know what remains.
const ENDS_INTERVAL: Duration = Duration::from_secs(2);

/// What the thread has read.
pub enum Read {
    /// Findings, and what is to be printed.
    Portions(Vec<Portion<StoredFinding>>, Vec<Notice>),
    /// The ends of the topic.
    Ends(Ends),
    /// Kafka could not be read; the thread tries again.
    Failed(String),
}

/// The ends of the topic of findings.
#[derive(Clone, Debug, Default)]
pub struct Ends {
    /// The offset after the last record of each partition that has a leader.
    pub offsets: Offsets,
    /// A partition without a leader.
    pub leaderless: Option<i32>,
    /// When they were asked for; none: never.
    pub asked_at: Option<Instant>,
}

/// The running thread.
pub struct Feed {
    /// What the thread has read, in order.
    pub reads: Receiver<Read>,
    handle: Option<JoinHandle<()>>,
}

impl Feed {
    /// Starts it. It ends once `stop` is closed, or the feed is dropped.
    pub fn start(topic: Topic<StoredFinding>, stop: &Receiver<()>) -> std::io::Result<Feed> {
        let (sender, reads) = bounded(ANSWERS_MAX);
        let stop = stop.clone();
        let handle = thread::Builder::new()
            .name("findings".to_owned())
            .spawn(move || run(topic, &sender, &stop))?;
        Ok(Feed {
            reads,
            handle: Some(handle),
        })
    }
}

impl Drop for Feed {
    fn drop(&mut self) {
        // The thread ends at its next message.
        self.reads = crossbeam_channel::never();
        if let Some(handle) = self.handle.take() {
            // A panic of the thread has been printed.
            let _ = handle.join();
        }
    }
}

fn run(mut topic: Topic<StoredFinding>, sender: &Sender<Read>, stop: &Receiver<()>) {
    let mut backoff = Backoff::new();
    let mut ends_at: Option<Instant> = None;
    while !is_stopped(stop) {
        let (portions, trouble) = match topic.read(None, FETCH_WAIT, now_ms() / 1000) {
            Ok(Answer { portions, trouble }) => (portions, trouble),
            Err(line) => (Vec::new(), Some(line)),
        };
        let is_end = portions.is_empty();
        if sender
            .send(Read::Portions(portions, topic.take_notices()))
            .is_err()
        {
            return;
        }
        match trouble {
            None => backoff.reset(),
            Some(line) => {
                if sender.send(Read::Failed(line)).is_err() || stopped_after(stop, backoff.pause())
                {
                    return;
                }
            }
        }
        if is_end || ends_at.is_none_or(|at| at.elapsed() >= ENDS_INTERVAL) {
            let asked_at = Instant::now();
            ends_at = Some(asked_at);
            let message = match topic.ends() {
                Ok(offsets) => Read::Ends(Ends {
                    leaderless: topic.leaderless(&offsets),
                    offsets,
                    asked_at: Some(asked_at),
                }),
                Err(line) => Read::Failed(line),
            };
            if sender.send(message).is_err() {
                return;
            }
        }
    }
}
