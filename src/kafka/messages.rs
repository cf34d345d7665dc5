//! Messages for Kafka, many of them in one buffer. Pure.
//!
//! A scan may find a hundred thousand answers per second. Separate allocations for each key and record, made by one thread and freed by
//! another, would cost more than writing them.

use crate::model::Task;

/// Bytes of messages in one produce request. By default a broker accepts 1 MiB for one partition (message.max.bytes), counted after it has
/// packed all messages of a request into one batch.
pub const PRODUCE_REQUEST_BYTES: usize = 1_000_000;

/// One of the [`Messages`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Message<'a> {
    /// Determines the partition. Messages with the same key stay in order unless one fails.
    pub key: &'a [u8],
    /// The record.
    pub value: &'a [u8],
}

/// Messages in the order in which they are sent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Messages {
    /// Key and value of each, one after the other.
    bytes: Vec<u8>,
    ends: Vec<Ends>,
}

/// Where one message and its key end in the bytes; it begins where the previous one ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Ends {
    key_end: usize,
    end: usize,
}

impl Messages {
    /// Adds a message; `write` appends its record.
    pub fn push(&mut self, key: &[u8], write: impl FnOnce(&mut Vec<u8>)) {
        self.bytes.extend_from_slice(key);
        let key_end = self.bytes.len();
        write(&mut self.bytes);
        debug_assert!(self.bytes.len() >= key_end, "`write` only appends");
        self.ends.push(Ends {
            key_end,
            end: self.bytes.len(),
        });
    }

    /// Adds the record of a task, keyed by its id.
    pub fn push_task(&mut self, task: &Task) {
        self.push(task.task_id.as_str().as_bytes(), |value| {
            value.extend_from_slice(task.to_record().as_bytes());
        });
    }

    /// The number of messages.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// Size of all keys and values together.
    pub fn bytes(&self) -> usize {
        self.bytes.len()
    }

    /// The message at `index`, which is less than [`Messages::len`].
    pub fn at(&self, index: usize) -> Message<'_> {
        let start = match index {
            0 => 0,
            _ => self.ends[index - 1].end,
        };
        let Ends { key_end, end } = self.ends[index];
        Message {
            key: &self.bytes[start..key_end],
            value: &self.bytes[key_end..end],
        }
    }

    /// All messages, in order.
    pub fn iter(&self) -> impl Iterator<Item = Message<'_>> {
        (0..self.len()).map(|index| self.at(index))
    }

    /// Appends all of `others`.
    pub fn append(&mut self, others: Messages) {
        if self.is_empty() {
            *self = others;
            return;
        }
        others.iter().for_each(|message| self.add(message));
    }

    /// The messages whose indices are not in `known`, which is ascending.
    pub fn without(&self, known: &[usize]) -> Messages {
        let mut left = Messages::default();
        (0..self.len())
            .filter(|index| known.binary_search(index).is_err())
            .for_each(|index| left.add(self.at(index)));
        left
    }

    fn add(&mut self, Message { key, value }: Message<'_>) {
        self.bytes.extend_from_slice(key);
        let key_end = self.bytes.len();
        self.bytes.extend_from_slice(value);
        self.ends.push(Ends {
            key_end,
            end: self.bytes.len(),
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Messages with these keys. The record of each is the key twice.
    fn messages(keys: &[&str]) -> Messages {
        let mut messages = Messages::default();
        for key in keys {
            messages.push(key.as_bytes(), |value| {
                value.extend_from_slice(key.repeat(2).as_bytes())
            });
        }
        messages
    }

    #[test]
    fn messages_are_returned_as_they_were_pushed() {
        let messages = messages(&["a", "", "bcd"]);
        let each: Vec<(&[u8], &[u8])> = messages.iter().map(|one| (one.key, one.value)).collect();
        assert_eq!(
            each[..],
            [(&b"a"[..], &b"aa"[..]), (b"", b""), (b"bcd", b"bcdbcd")]
        );
        assert_eq!((messages.len(), messages.bytes()), (3, 12));
        assert_eq!(messages.at(2).key, b"bcd");
        assert!(!messages.is_empty() && Messages::default().is_empty());
    }

    #[test]
    fn a_task_is_keyed_by_its_id() {
        let task = Task::new(
            "t1".parse().unwrap(),
            "172.16.0.0/24".parse().unwrap(),
            "443".parse().unwrap(),
            "800".parse().unwrap(),
        );
        let mut messages = Messages::default();
        messages.push_task(&task);
        assert_eq!(messages.at(0).key, b"t1");
        assert_eq!(Task::from_record(messages.at(0).value), Ok(task));
    }

    #[test]
    fn append_and_without_keep_messages_intact() {
        for (first, second) in [(0, 4), (1, 3), (4, 0)] {
            let keys = ["a", "bb", "", "d"];
            let mut all = messages(&keys[..first]);
            all.append(messages(&keys[first..first + second]));
            assert_eq!(all, messages(&keys));
        }
        for (known, left) in [
            (&[][..], &["a", "bb", "", "d"][..]),
            (&[0, 2], &["bb", "d"]),
            (&[3], &["a", "bb", ""]),
            (&[0, 1, 2, 3], &[]),
        ] {
            assert_eq!(
                messages(&["a", "bb", "", "d"]).without(known),
                messages(left)
            );
        }
    }
}
