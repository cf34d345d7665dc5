//! Turns records into findings, drops repeated ones, and counts invalid records. Pure.
//!
//! **Invariant:** whatever a record contains, its findings are parsed types and text without control characters.

use super::endpoints::EndpointSet;
use crate::kafka::Record;
use crate::model::finding::task_of_record;
use crate::model::service::ServiceKey;
use crate::model::{Finding, FindingRecord, TaskId};
use std::collections::{BTreeMap, HashMap};

/// Collects the findings of tasks.
#[derive(Debug, Default)]
pub struct Collector {
    indexes: HashMap<String, usize>,
    endpoints: Vec<EndpointSet>,
    /// Number of records that are not valid findings.
    pub malformed: u64,
    /// The position and the error of the first of them.
    pub first_malformed: Option<String>,
    /// The time of the first record of each partition, in unix seconds; `None` if that record is invalid.
    pub first_s: BTreeMap<i32, Option<u64>>,
}

impl Collector {
    /// Adds a task. Its findings are collected from now on.
    pub fn add(&mut self, id: &TaskId) {
        self.indexes.insert(id.to_string(), self.endpoints.len());
        self.endpoints.push(EndpointSet::default());
    }

    /// The endpoints found for the `n`-th added task, from 0.
    pub fn endpoints(&self, n: usize) -> &EndpointSet {
        &self.endpoints[n]
    }

    /// The finding of a record, if it belongs to an added task, passes `accept`, and is the first of its endpoint.
    pub fn take<'a>(
        &mut self,
        partition: i32,
        record: &'a Record,
        accept: fn(&Finding) -> bool,
    ) -> Option<FindingRecord<'a>> {
        let first = || FindingRecord::from_record(&record.value).ok();
        self.first_s
            .entry(partition)
            .or_insert_with(|| first().map(|found| found.finding.timestamp));
        let Some(task) = task_of_record(&record.value) else {
            self.reject(partition, record, "has no task_id");
            return None;
        };
        let &n = self.indexes.get(task.as_ref())?;
        let found = match FindingRecord::from_record(&record.value) {
            Ok(found) => found,
            Err(error) => {
                self.reject(partition, record, &error.to_string());
                return None;
            }
        };
        let is_new = accept(&found.finding)
            && self.endpoints[n].insert(ServiceKey::of(&found.finding), found.pass);
        is_new.then_some(found)
    }

    fn reject(&mut self, partition: i32, record: &Record, why: &str) {
        self.malformed += 1;
        self.first_malformed.get_or_insert_with(|| {
            format!("partition {partition}, offset {}: {why}", record.offset)
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RECORD: &str = r#"{"task_id":"a","ip":"192.0.2.1","port":80,"proto":"tcp","status":"open","reason":"syn-ack","ttl":64,"timestamp":1795531265,"server":"s","attempt":1}"#;

    fn record(text: &str) -> Record {
        Record {
            offset: 7,
            value: text.as_bytes().to_vec(),
        }
    }

    fn collector() -> Collector {
        let mut collector = Collector::default();
        collector.add(&"a".parse().unwrap());
        collector.add(&"b".parse().unwrap());
        collector
    }

    #[test]
    fn each_finding_of_a_task_is_returned_once() {
        let mut collector = collector();
        let again = RECORD
            .replace("\"attempt\":1", "\"attempt\":2")
            .replace("265", "299");
        let others = RECORD.replace("\"a\"", "\"c\"");
        let of_b = RECORD.replace("\"a\"", "\"b\"");
        let closed = RECORD
            .replace("192.0.2.1", "192.0.2.9")
            .replace("open", "closed");
        for (text, comes) in [
            (RECORD, true),
            (RECORD, false),
            (&again, false),
            (&others, false),
            (&of_b, true),
            (&of_b, false),
            (&closed, true),
        ] {
            let record = record(text);
            assert_eq!(
                collector.take(0, &record, |_| true).is_some(),
                comes,
                "{text}"
            );
        }
        assert_eq!(
            (collector.endpoints(0).len(), collector.endpoints(1).len()),
            (2, 1)
        );
        assert_eq!(collector.malformed, 0);
        assert_eq!(collector.first_s[&0], Some(1_795_531_265));
    }

    #[test]
    fn a_finding_that_is_not_accepted_is_not_remembered() {
        let mut collector = collector();
        let record = record(RECORD);
        assert!(collector.take(0, &record, |_| false).is_none());
        assert!(collector.take(0, &record, |_| true).is_some());
    }

    #[test]
    fn invalid_records_are_counted_and_the_first_is_described() {
        let mut collector = collector();
        let bad_ip = RECORD.replace("192.0.2.1", "nowhere");
        let bad_but_of_another = RECORD
            .replace("\"a\"", "\"c\"")
            .replace("192.0.2.1", "nowhere");
        for text in [
            "",
            "{",
            "[]",
            "{\"task_id\":5}",
            &bad_ip,
            &bad_but_of_another,
        ] {
            assert!(
                collector.take(3, &record(text), |_| true).is_none(),
                "{text}"
            );
        }
        assert_eq!(collector.malformed, 5);
        let first = collector.first_malformed.unwrap();
        assert_eq!(first, "partition 3, offset 7: has no task_id");
        assert_eq!(collector.first_s[&3], None);
    }

    #[test]
    fn a_finding_of_what_is_no_server_is_malformed() {
        let hostile = RECORD.replace("\"s\"", "\"\\u001b[2J\\u009b\\n,x\"");
        let mut collector = collector();
        assert!(collector.take(0, &record(&hostile), |_| true).is_none());
        assert_eq!(collector.malformed, 1);
    }
}
