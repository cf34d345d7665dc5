//! The thread `findings`: reads the topic of findings ahead of the database.

use super::merge::{Offsets, Portion};
use super::topic::Topic;
use crate::kafka::FETCH_WAIT;
use crate::model::Backoff;
use crate::scanpush::tasks::now_ms;
use crate::store::StoredFinding;
use crossbeam_channel::{Receiver, Sender, TryRecvError, bounded};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// Answers of Kafka that wait for the database; each has at most a few MiB.
const ANSWERS_MAX: usize = 2;
/// How often the ends of the topic are asked for while it is read, to know what remains.
const ENDS_INTERVAL: Duration = Duration::from_secs(2);

/// What the thread has read.
pub enum Read {
    /// Findings, and lines for the log.
    Portions(Vec<Portion<StoredFinding>>, Vec<String>),
    /// The ends of the topic, and when they were asked for.
    Ends(Offsets, Instant),
    /// Kafka could not be read; the thread tries again.
    Failed(String),
}

/// The running thread.
pub struct Feed {
    /// What it has read, in order.
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
    while stop.try_recv() == Err(TryRecvError::Empty) {
        let read = topic.read(None, FETCH_WAIT, now_ms() / 1000);
        let is_end = read.as_ref().is_ok_and(Vec::is_empty);
        let message = match read {
            Ok(portions) => Read::Portions(portions, topic.take_notices()),
            Err(line) => Read::Failed(line),
        };
        let has_failed = matches!(message, Read::Failed(_));
        if sender.send(message).is_err() {
            return;
        }
        if has_failed {
            let pause = crossbeam_channel::after(backoff.pause());
            crossbeam_channel::select! {
                recv(pause) -> _ => {}
                recv(stop) -> _ => return,
            }
            continue;
        }
        backoff.reset();
        if is_end || ends_at.is_none_or(|at| at.elapsed() >= ENDS_INTERVAL) {
            let asked_at = Instant::now();
            ends_at = Some(asked_at);
            let message = match topic.ends() {
                Ok(ends) => Read::Ends(ends, asked_at),
                Err(line) => Read::Failed(line),
            };
            if sender.send(message).is_err() {
                return;
            }
        }
    }
}
