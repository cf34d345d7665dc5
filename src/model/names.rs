//! Names of groups, topics and servers. They become parts of Redis keys, Kafka topics and log lines, so they may only contain letters, digits,
//! dots, underscores and dashes.

use super::text::Invalid;
use std::fmt;
use std::str::FromStr;

/// Longest name of a group or a server, in bytes.
const NAME_MAX_BYTES: usize = 64;
/// Longest name of a topic, in bytes: Kafka's own bound.
const TOPIC_MAX_BYTES: usize = 249;

/// The name of a group: the servers that share tasks. It is the part in braces of all their Redis keys.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct GroupName(String);

/// The name of a server in findings, status records and log lines. Each running server has its own name.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ServerName(String);

/// The name of a Kafka topic, by Kafka's own rule.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TopicName(String);

impl GroupName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl ServerName {
    /// The name of a server on the machine `host`: the host's name, so that it can be recognised in logs, and `suffix`, so that two servers on one
    /// machine differ. Invalid characters of `host` become dashes, and a long host name is truncated. `suffix` must be a few letters and digits.
    pub fn of_host(host: &str, suffix: &str) -> ServerName {
        let room = NAME_MAX_BYTES.saturating_sub(suffix.len() + 1);
        let host: String = host
            .chars()
            .map(|c| if is_name_char(c) { c } else { '-' })
            .take(room)
            .collect();
        let host = if host.is_empty() { "server" } else { &host };
        ServerName(format!("{host}-{suffix}"))
    }

    /// Whether `text` is such a name.
    pub(super) fn is_valid(text: &str) -> bool {
        is_name(text, NAME_MAX_BYTES)
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TopicName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for GroupName {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<GroupName, Invalid> {
        parse_name(text, "group", NAME_MAX_BYTES).map(GroupName)
    }
}

impl FromStr for ServerName {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<ServerName, Invalid> {
        parse_name(text, "server", NAME_MAX_BYTES).map(ServerName)
    }
}

impl FromStr for TopicName {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<TopicName, Invalid> {
        if matches!(text, "." | "..") {
            return Err(Invalid::new(text, "is not a topic name: Kafka reserves it"));
        }
        parse_name(text, "topic", TOPIC_MAX_BYTES).map(TopicName)
    }
}

impl fmt::Display for GroupName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for ServerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for TopicName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn is_name_char(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-')
}

/// Whether the text is a name: 1 to `max_bytes` safe characters.
fn is_name(text: &str, max_bytes: usize) -> bool {
    !text.is_empty() && text.len() <= max_bytes && text.chars().all(is_name_char)
}

/// A name of 1 to `max_bytes` safe characters. `kind` says in the error what it is the name of.
pub(super) fn parse_name(text: &str, kind: &str, max_bytes: usize) -> Result<String, Invalid> {
    if !is_name(text, max_bytes) {
        return Err(Invalid::new(
            text,
            format!("is not a {kind} name: 1 to {max_bytes} of A-Z a-z 0-9 . _ -"),
        ));
    }
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_contain_only_safe_characters() {
        for text in ["scanners", "a", "eu-1.dmz_b", &"x".repeat(64)] {
            assert_eq!(text.parse::<GroupName>().unwrap().as_str(), text);
            assert_eq!(text.parse::<ServerName>().unwrap().to_string(), text);
        }
        for text in ["", "a b", "{a}", "a:b", "a\nb", "é", &"x".repeat(65)] {
            assert!(text.parse::<GroupName>().is_err(), "{text:?}");
            assert!(text.parse::<ServerName>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn topics_follow_kafkas_rule() {
        for text in ["scan-tasks", "...", &"x".repeat(249)] {
            assert_eq!(text.parse::<TopicName>().unwrap().as_str(), text);
        }
        for text in ["", ".", "..", "a/b", "a b", &"x".repeat(250)] {
            assert!(text.parse::<TopicName>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn any_host_name_gives_a_valid_server_name() {
        for (host, name) in [
            ("scan-1.example", "scan-1.example-k3f9"),
            ("a host", "a-host-k3f9"),
            ("", "server-k3f9"),
            ("höst", "h-st-k3f9"),
        ] {
            assert_eq!(ServerName::of_host(host, "k3f9").as_str(), name);
        }
        let long = ServerName::of_host(&"x".repeat(300), "k3f9");
        assert_eq!(long.as_str().parse(), Ok(long));
    }
}
