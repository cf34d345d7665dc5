//! The threads `publish-N`: send findings to Kafka. A batch counts when all in-sync replicas have acknowledged it.
//!
//! A scan always uses the same thread, so its findings are acknowledged in the order in which masscan printed them. Checkpoints rely on
//! this. Nothing is ever dropped here; scans limit the memory by checking [`FindingsBuffer::has_room`].

use crate::kafka::{Messages, Producer};
use crate::scand::metrics::{Operation, ServerMetrics};
use crate::scand::retry_log::RetryLog;
use crossbeam_channel::Receiver;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// Batches are combined into one produce request until it has this many findings.
const REQUEST_FINDINGS_MIN: usize = 1000;

/// How many findings of one scan Kafka has acknowledged.
#[derive(Debug, Default)]
pub struct Delivery(AtomicU64);

impl Delivery {
    /// The number of acknowledged findings; they are the scan's first ones.
    pub fn acknowledged(&self) -> u64 {
        self.0.load(Ordering::Acquire)
    }
}

/// Bytes of findings that this server holds unacknowledged.
#[derive(Debug)]
pub struct FindingsBuffer {
    held: AtomicUsize,
    bound: usize,
}

impl FindingsBuffer {
    /// For about `bound` bytes.
    pub fn new(bound: usize) -> FindingsBuffer {
        FindingsBuffer {
            held: AtomicUsize::new(0),
            bound,
        }
    }

    /// Bytes that are held now.
    pub fn held(&self) -> usize {
        self.held.load(Ordering::Relaxed)
    }

    /// Bytes at which scans are suspended.
    pub fn bound(&self) -> usize {
        self.bound
    }

    /// Whether scans may continue.
    pub fn has_room(&self) -> bool {
        self.held.load(Ordering::Relaxed) < self.bound
    }

    /// Whether new scans may start: half of the buffer is kept for running ones.
    pub fn has_room_for_more_scans(&self) -> bool {
        self.held.load(Ordering::Relaxed) < self.bound / 2
    }

    /// `bytes` of findings were added.
    pub fn grow(&self, bytes: usize) {
        self.held.fetch_add(bytes, Ordering::Relaxed);
    }

    /// `bytes` of findings were acknowledged, or dropped.
    pub fn shrink(&self, bytes: usize) {
        self.held.fetch_sub(bytes, Ordering::Relaxed);
    }
}

/// Findings of one scan, in the order in which masscan printed them.
#[derive(Debug)]
pub struct Batch {
    /// Records for `scan-results`.
    pub messages: Messages,
    /// Where their acknowledgement is counted.
    pub delivery: Arc<Delivery>,
}

/// Sends every batch until the channel is closed and empty. If Kafka is unreachable, retries for ever.
pub fn run(
    mut producer: Producer,
    batches: Receiver<Batch>,
    buffer: &FindingsBuffer,
    metrics: &Arc<ServerMetrics>,
) {
    let mut retry_log = RetryLog::new("write findings", Operation::WriteFindings, metrics);
    while let Ok(first) = batches.recv() {
        let mut together = vec![first];
        let mut count = together[0].messages.len();
        while count < REQUEST_FINDINGS_MIN
            && let Ok(next) = batches.try_recv()
        {
            count += next.messages.len();
            together.push(next);
        }
        deliver(&mut producer, together, buffer, &mut retry_log);
        metrics.acknowledged(count as u64);
    }
}

fn deliver(
    producer: &mut Producer,
    together: Vec<Batch>,
    buffer: &FindingsBuffer,
    retry_log: &mut RetryLog,
) {
    let (mut messages, mut counts) = (Messages::default(), Vec::new());
    for batch in together {
        counts.push((batch.delivery, batch.messages.len() as u64));
        messages.append(batch.messages);
    }
    let bytes = messages.bytes();
    let mut messages = Arc::new(messages);
    // After a broken connection it is unknown whether they arrived, so they are sent again: delivery is at least once. Those that were
    // acknowledged are left out, so that one partition without a leader does not fill the others with repeated findings.
    while let Err(error) = producer.send(&messages) {
        std::thread::sleep(retry_log.note(&error));
        messages = Arc::new(messages.without(&error.acknowledged));
    }
    retry_log.over();
    buffer.shrink(bytes);
    for (delivery, count) in counts {
        delivery.0.fetch_add(count, Ordering::Release);
    }
}
