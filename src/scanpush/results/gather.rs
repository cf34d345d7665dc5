//! Records in, new findings out. Pure. Knows what came already, and counts what is no finding.
//!
//! **Invariant:** whatever a record holds, what comes out is typed or free of control characters.

use super::seen::{Place, Seen};
use crate::kafka::Record;
use crate::model::finding::task_of_record;
use crate::model::text::one_line;
use crate::model::{Finding, FindingRecord, TaskId};
use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};

/// What was found, task by task.
#[derive(Debug, Default)]
pub struct Gathered {
    places: HashMap<String, usize>,
    seen: Vec<Seen>,
    /// Records that are no findings.
    pub malformed: u64,
    /// What is wrong with the first of them, and where it lies.
    pub first_malformed: Option<String>,
    /// The time of the first record of each partition, in unix seconds; none where that is no finding.
    pub first_s: BTreeMap<i32, Option<u64>>,
}

impl Gathered {
    /// Adds a task; those of it that come from now on are gathered.
    pub fn add(&mut self, id: &TaskId) {
        self.places.insert(id.to_string(), self.seen.len());
        self.seen.push(Seen::default());
    }

    /// What was found of the task that was added as the `n`-th, from 0.
    pub fn seen(&self, n: usize) -> &Seen {
        &self.seen[n]
    }

    /// Takes a record. Some where it is a finding of a task that was added, one that `wanted` takes, and the first of its
    /// place.
    pub fn take<'a>(
        &mut self,
        partition: i32,
        record: &'a Record,
        wanted: fn(&Finding) -> bool,
    ) -> Option<FindingRecord<'a>> {
        let first = || FindingRecord::from_record(&record.value).ok();
        self.first_s
            .entry(partition)
            .or_insert_with(|| first().map(|found| found.finding.timestamp));
        let Some(task) = task_of_record(&record.value) else {
            self.reject(partition, record, "names no task");
            return None;
        };
        let &n = self.places.get(task.as_ref())?;
        let mut found = match FindingRecord::from_record(&record.value) {
            Ok(found) => found,
            Err(error) => {
                self.reject(partition, record, &error.to_string());
                return None;
            }
        };
        found.server = harmless(found.server);
        let is_new = wanted(&found.finding) && self.seen[n].insert(Place::of(&found.finding));
        is_new.then_some(found)
    }

    fn reject(&mut self, partition: i32, record: &Record, why: &str) {
        self.malformed += 1;
        self.first_malformed.get_or_insert_with(|| {
            format!("partition {partition}, offset {}: {why}", record.offset)
        });
    }
}

/// The name of a server, without control characters.
fn harmless(name: Cow<'_, str>) -> Cow<'_, str> {
    match name.bytes().all(|byte| byte.is_ascii_graphic()) && name.len() <= 64 {
        true => name,
        false => Cow::Owned(one_line(&name)),
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

    fn gathered() -> Gathered {
        let mut gathered = Gathered::default();
        gathered.add(&"a".parse().unwrap());
        gathered.add(&"b".parse().unwrap());
        gathered
    }

    #[test]
    fn each_finding_of_a_task_comes_once() {
        let mut gathered = gathered();
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
                gathered.take(0, &record, |_| true).is_some(),
                comes,
                "{text}"
            );
        }
        assert_eq!((gathered.seen(0).len(), gathered.seen(1).len()), (2, 1));
        assert_eq!(gathered.malformed, 0);
        assert_eq!(gathered.first_s[&0], Some(1_795_531_265));
    }

    #[test]
    fn what_is_not_wanted_is_not_remembered() {
        let mut gathered = gathered();
        let record = record(RECORD);
        assert!(gathered.take(0, &record, |_| false).is_none());
        assert!(gathered.take(0, &record, |_| true).is_some());
    }

    #[test]
    fn what_is_no_finding_is_counted_and_the_first_is_named() {
        let mut gathered = gathered();
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
                gathered.take(3, &record(text), |_| true).is_none(),
                "{text}"
            );
        }
        assert_eq!(gathered.malformed, 5);
        let first = gathered.first_malformed.unwrap();
        assert_eq!(first, "partition 3, offset 7: names no task");
        assert_eq!(gathered.first_s[&3], None);
    }

    #[test]
    fn control_characters_of_a_server_do_not_get_through() {
        let hostile = RECORD.replace("\"s\"", "\"\\u001b[2J\\u009b\\n,x\"");
        let record = record(&hostile);
        let found = gathered().take(0, &record, |_| true).unwrap();
        assert!(
            !found.server.chars().any(char::is_control),
            "{:?}",
            found.server
        );
    }
}
