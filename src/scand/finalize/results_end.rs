//! The ends of the results topic for the records of completed tasks (`results_end`).

use super::steps::{After, Step};
use crate::kafka::{KafkaError, Producer};
use crate::model::{State, StatusRecord, TopicName};
use log::{debug, warn};
use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Longest time for which the records of ends wait for the ends of the results topic.
const RESULTS_END_WAIT: Duration = Duration::from_secs(1);
/// After a failure Kafka is not asked for this long, so that ends do not wait again and again.
const RESULTS_END_PAUSE: Duration = Duration::from_secs(10);

/// Asks for the ends of the results topic.
pub struct ResultsEnd {
    topic: String,
    failed_at: Option<Instant>,
}

impl ResultsEnd {
    /// For this results topic.
    pub fn new(topic: &TopicName) -> ResultsEnd {
        ResultsEnd {
            topic: topic.to_string(),
            failed_at: None,
        }
    }

    /// Sets `results_end` in the records of completed tasks in `steps` that are to be sent now, with one question for all. Leaves it out if
    /// Kafka does not answer within [`RESULTS_END_WAIT`], or did not a moment ago.
    pub(super) fn note(&mut self, steps: &mut VecDeque<Step>, producer: &mut Producer) {
        let topic = self.topic.clone();
        self.note_answer(steps, Instant::now(), || {
            producer.end_offsets(&topic, RESULTS_END_WAIT)
        });
    }

    /// As [`ResultsEnd::note`] at `now`, with what `ask` returns.
    fn note_answer(
        &mut self,
        steps: &mut VecDeque<Step>,
        now: Instant,
        ask: impl FnOnce() -> Result<Vec<i64>, KafkaError>,
    ) {
        let mut completed = steps.iter_mut().filter_map(completed_record).peekable();
        let pauses = self
            .failed_at
            .is_some_and(|at| now.duration_since(at) < RESULTS_END_PAUSE);
        if completed.peek().is_none() || pauses {
            return;
        }
        match ask() {
            Ok(ends) => {
                self.failed_at = None;
                completed.for_each(|record| record.extent.set_results_end(&ends));
            }
            Err(error) => {
                match self.failed_at {
                    None => warn!("completed tasks are recorded without results_end: {error}"),
                    Some(_) => debug!("still without results_end: {error}"),
                }
                self.failed_at = Some(Instant::now());
            }
        }
    }
}

/// The record of a completed task that is to be sent.
fn completed_record(step: &mut Step) -> Option<&mut StatusRecord> {
    match step {
        Step::Publish {
            record,
            after: After::Finish(_),
        } if record.status == State::Completed => Some(record),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::record::state_record;
    use super::*;
    use crate::claim_table::Ending;
    use crate::model::{Extent, FoundByPass, Lineage, Resume};

    fn end(status: State) -> Step {
        let ending = Ending {
            task_id: "t".parse().unwrap(),
            lineage: Lineage::default(),
            status,
            error: None,
            found: FoundByPass::default(),
            resume: Resume::default(),
            extent: Extent::default(),
        };
        Step::Publish {
            record: Box::new(state_record("a", &ending)),
            after: After::Finish(Box::new(ending)),
        }
    }

    fn noted(steps: &VecDeque<Step>) -> Vec<Option<Vec<i64>>> {
        let records = steps.iter().filter_map(|step| match step {
            Step::Publish { record, .. } => Some(record),
            _ => None,
        });
        records
            .map(|record| record.extent.results_end.clone())
            .collect()
    }

    fn failure() -> Result<Vec<i64>, KafkaError> {
        Err(KafkaError::Stopped)
    }

    #[test]
    fn all_completed_tasks_get_the_ends_with_one_question() {
        let mut results_end = ResultsEnd::new(&"scan-results".parse().unwrap());
        let mut steps =
            VecDeque::from([State::Completed, State::Failed, State::Completed].map(end));
        let mut questions = 0;
        results_end.note_answer(&mut steps, Instant::now(), || {
            questions += 1;
            Ok(vec![3, 0])
        });
        let ends = Some(vec![3, 0]);
        assert_eq!(noted(&steps), [ends.clone(), None, ends]);
        assert_eq!(questions, 1);
        let mut others = VecDeque::from([State::Failed, State::Cancelled].map(end));
        results_end.note_answer(&mut others, Instant::now(), || panic!("nothing to ask"));
    }

    #[test]
    fn after_a_failure_kafka_is_not_asked_for_a_while() {
        let mut results_end = ResultsEnd::new(&"scan-results".parse().unwrap());
        let mut steps = VecDeque::from([end(State::Completed)]);
        let start = Instant::now();
        results_end.note_answer(&mut steps, start, failure);
        results_end.note_answer(&mut steps, start, || panic!("asked again at once"));
        assert_eq!(noted(&steps), [None]);
        let later = Instant::now() + RESULTS_END_PAUSE;
        results_end.note_answer(&mut steps, later, || Ok(vec![7]));
        assert_eq!(noted(&steps), [Some(vec![7])]);
    }
}
