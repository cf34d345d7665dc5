//! Kafka's error codes as texts. Pure.

/// The text for an error code of Kafka, with the remedy if there is one (<https://kafka.apache.org/protocol#protocol_error_codes>).
pub(super) fn describe_code(code: i16) -> &'static str {
    match code {
        -1 => "the broker failed to do it (is its disk full?): see the broker's log",
        1 => "the offset is outside the log",
        2 => "a message is damaged",
        3 => "the topic or partition does not exist",
        4 => "a message has an impossible size",
        5 => "the partition currently has no leader",
        6 => "the partition's leader has moved",
        7 => "the replicas did not answer the broker in time",
        8 => "the broker is not available",
        9 => "a replica is not available",
        10 => "a message is larger than the topic accepts (max.message.bytes)",
        11 => "the broker is out of date",
        12 | 28 => "the offset's metadata is too large",
        13 => "the broker lost a connection",
        14 => "the group is still being loaded",
        15 => "the group currently has no coordinator",
        16 => "the group's coordinator has moved",
        17 => "the topic's name is not valid, or the topic is internal to Kafka",
        18 => "a request is larger than the topic's segment (segment.bytes)",
        19 | 20 => "fewer replicas are in sync than the topic requires (min.insync.replicas)",
        21 => "the broker does not accept acks=all",
        22 | 23 | 25 | 26 | 27 => {
            "other consumers have joined the group: use a group name that nothing else uses"
        }
        24 => "the group's name is not valid",
        29 => "this user has no right on the topic (docs/security.md lists the ACLs that it needs)",
        30 => "this user has no right on the group (docs/security.md lists the ACLs that it needs)",
        31 => "this user has no right on the cluster: see Kafka's ACLs",
        32 => "the topic does not accept messages without a timestamp",
        33 | 34 => "the listener does not accept this SASL mechanism: see -kafka-sasl",
        35 => "the broker refuses this program's protocol version",
        56 => "the broker's disk has failed",
        58 => "wrong user name or password: see -kafka-user and -kafka-password-file",
        74 | 75 => "the partition's leader has moved",
        _ => "unknown error code: see the broker's log",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_have_texts() {
        for (code, text) in [
            (6, "the partition's leader has moved"),
            (29, "this user has no right on the topic"),
            (-1, "the broker failed to do it"),
            (9999, "unknown error code"),
        ] {
            assert!(describe_code(code).starts_with(text), "{code}");
        }
    }
}
