//! Places in lists: where the next page begins. As text they are parts of links, so that a page needs no memory of the one before it.

use crate::model::ports::Proto;
use crate::model::service::ServiceKey;
use crate::model::{Invalid, TaskId};
use std::fmt;
use std::str::FromStr;

/// A place in the list of services, which is ordered by address, port and protocol. As text: `443-tcp-192.0.2.1`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ServicePlace(pub ServiceKey);

/// A place in the list of changes, newest first. As text: `1795531265-7`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ChangePlace {
    /// The time of the change, in unix seconds.
    pub at: u64,
    /// Its number.
    pub id: i64,
}

/// A place in the list of tasks or jobs, those that changed last first. As text: `1795531265000-ID`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TaskPlace {
    /// The time of the last change of its state, in unix milliseconds.
    pub changed_ms: u64,
    /// The task's or the job's id.
    pub id: TaskId,
}

fn invalid(text: &str) -> Invalid {
    Invalid::new(text, "is not a place in this list")
}

impl fmt::Display for ServicePlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ServiceKey { ip, port, proto } = self.0;
        write!(f, "{port}-{}-{ip}", proto.as_str())
    }
}

impl FromStr for ServicePlace {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<ServicePlace, Invalid> {
        let parsed = || {
            let mut parts = text.splitn(3, '-');
            let port = parts.next()?.parse().ok()?;
            let name = parts.next()?;
            let protos = [Proto::Tcp, Proto::Udp, Proto::Sctp];
            let proto = protos.into_iter().find(|proto| proto.as_str() == name)?;
            let ip = parts.next()?.parse().ok()?;
            Some(ServicePlace(ServiceKey { ip, port, proto }))
        };
        parsed().ok_or_else(|| invalid(text))
    }
}

impl fmt::Display for ChangePlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.at, self.id)
    }
}

impl FromStr for ChangePlace {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<ChangePlace, Invalid> {
        let parsed = || {
            let (at, id) = text.split_once('-')?;
            Some(ChangePlace {
                at: at.parse().ok()?,
                id: id.parse().ok()?,
            })
        };
        parsed().ok_or_else(|| invalid(text))
    }
}

impl fmt::Display for TaskPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.changed_ms, self.id)
    }
}

impl FromStr for TaskPlace {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<TaskPlace, Invalid> {
        let parsed = || {
            let (changed_ms, id) = text.split_once('-')?;
            Some(TaskPlace {
                changed_ms: changed_ms.parse().ok()?,
                id: id.parse().ok()?,
            })
        };
        parsed().ok_or_else(|| invalid(text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_parse_back() {
        for text in ["443-tcp-192.0.2.1", "53-udp-2001:db8::1"] {
            let place: ServicePlace = text.parse().unwrap();
            assert_eq!(place.to_string(), text);
        }
        let place: ChangePlace = "1795531265-7".parse().unwrap();
        assert_eq!(place.to_string(), "1795531265-7");
        let place: TaskPlace = "1795531265000-a-b-c".parse().unwrap();
        assert_eq!(
            (place.id.as_str(), place.changed_ms),
            ("a-b-c", 1795531265000)
        );
        for wrong in ["", "7", "443-tcp-", "443-x-192.0.2.1", "a-b"] {
            assert!(wrong.parse::<ServicePlace>().is_err(), "{wrong}");
            assert!(wrong.parse::<ChangePlace>().is_err(), "{wrong}");
        }
        for wrong in ["", "7", "a-b", "7-"] {
            assert!(wrong.parse::<TaskPlace>().is_err(), "{wrong}");
        }
    }
}
