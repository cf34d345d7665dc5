//! Findings of one scan on their way to `publish-N`.

use super::publish::{Batch, Delivery, FindingsBuffer};
use crate::claim_table::Claimed;
use crate::kafka::Messages;
use crate::model::Finding;
use crate::model::finding::FindingWriter;
use crossbeam_channel::{Sender, TrySendError};
use std::sync::Arc;

/// Turns the findings of an attempt into records and hands them over. Counts those that masscan printed and those that Kafka has acknowledged.
pub(super) struct OutgoingFindings<'a> {
    buffer: &'a FindingsBuffer,
    publish: &'a Sender<Batch>,
    writer: FindingWriter,
    /// Where the key of each record is written.
    key: Vec<u8>,
    /// Records that were not handed over yet.
    pending: Messages,
    printed: u64,
    delivery: Arc<Delivery>,
}

impl<'a> OutgoingFindings<'a> {
    pub(super) fn new(
        claimed: &Claimed,
        server: &str,
        pass: u32,
        buffer: &'a FindingsBuffer,
        publish: &'a Sender<Batch>,
    ) -> OutgoingFindings<'a> {
        OutgoingFindings {
            buffer,
            publish,
            writer: writer(claimed, server, pass),
            key: Vec::new(),
            pending: Messages::default(),
            printed: 0,
            delivery: Arc::default(),
        }
    }

    /// What is added from now on is of `pass`.
    pub(super) fn begin_pass(&mut self, claimed: &Claimed, server: &str, pass: u32) {
        self.writer = writer(claimed, server, pass);
    }

    /// Findings that masscan has printed in this attempt.
    pub(super) fn printed(&self) -> u64 {
        self.printed
    }

    /// How many of them Kafka has acknowledged: the first ones.
    pub(super) fn acknowledged(&self) -> u64 {
        self.delivery.acknowledged()
    }

    /// Whether Kafka has acknowledged everything that masscan printed.
    pub(super) fn all_acknowledged(&self) -> bool {
        self.acknowledged() == self.printed
    }

    /// Adds findings in the order in which masscan printed them. Their bytes count in the findings buffer from now on.
    pub(super) fn add(&mut self, findings: &[Finding]) {
        let before = self.pending.bytes();
        for finding in findings {
            self.key.clear();
            finding.write_key(|piece| self.key.extend_from_slice(piece.as_bytes()));
            self.pending
                .push(&self.key, |record| self.writer.write(finding, record));
        }
        self.printed += findings.len() as u64;
        self.buffer.grow(self.pending.bytes() - before);
    }

    /// Hands everything over to `publish-N`. If its queue is full, the records stay here. So they do if the claim is not trusted: a server
    /// that was frozen writes nothing more, and the next run finds them again.
    pub(super) fn hand_over(&mut self, is_trusted: bool) {
        if self.pending.is_empty() || !is_trusted {
            return;
        }
        let batch = Batch {
            messages: std::mem::take(&mut self.pending),
            delivery: self.delivery.clone(),
        };
        if let Err(TrySendError::Full(batch) | TrySendError::Disconnected(batch)) =
            self.publish.try_send(batch)
        {
            self.pending = batch.messages;
        }
    }
}

fn writer(claimed: &Claimed, server: &str, pass: u32) -> FindingWriter {
    FindingWriter::new(&claimed.task.task_id, server, claimed.lineage.attempt, pass)
}

impl Drop for OutgoingFindings<'_> {
    /// What was never handed over no longer occupies the buffer.
    fn drop(&mut self) {
        self.buffer.shrink(self.pending.bytes());
    }
}
