//! Parses a line of masscan's NDJSON output (`-oD -`). Pure.

use crate::model::finding::Word;
use crate::model::moment::MOMENT_MAX_S;
use crate::model::ports::Proto;
use crate::model::text::one_line;
use crate::model::{Finding, Invalid};
use serde::de::Visitor;
use serde::{Deserialize, Deserializer};
use std::fmt;
use std::net::IpAddr;

/// Parses one line without its line break. None for an empty line and for a record that is not the status of a port (a banner). Errs, with the
/// line quoted, if it is not what masscan 1.3.2 prints.
pub(super) fn parse(line: &[u8]) -> Result<Option<Finding>, Invalid> {
    let line = line.trim_ascii();
    if line.is_empty() {
        return Ok(None);
    }
    let not_a_finding = |error: &dyn fmt::Display| {
        Invalid::new(
            &String::from_utf8_lossy(line),
            // The error may repeat text of the line, of any length and with line breaks.
            format!(
                "is not a finding of masscan: {}",
                one_line(&error.to_string())
            ),
        )
    };
    // UTF-8 is checked once for the whole line; from bytes, serde_json would check each word.
    let text = str::from_utf8(line).map_err(|error| not_a_finding(&error))?;
    let printed: OutputLine<'_> =
        serde_json::from_str(text).map_err(|error| not_a_finding(&error))?;
    if printed.rec_type != "status" {
        return Ok(None);
    }
    let (Some(status), Some(reason), Some(ttl)) =
        (printed.data.status, printed.data.reason, printed.data.ttl)
    else {
        return Err(not_a_finding(&"no status, reason or ttl"));
    };
    if printed.timestamp > MOMENT_MAX_S {
        return Err(not_a_finding(&"its timestamp is after the year 9999"));
    }
    Ok(Some(Finding {
        ip: printed.ip,
        port: printed.port,
        proto: printed.proto,
        status,
        reason,
        ttl,
        timestamp: printed.timestamp,
    }))
}

/// `{"ip":"172.16.0.130","timestamp":"1795333296","port":443,"proto":"tcp","rec_type":"status","data":{…}}`
#[derive(Deserialize)]
struct OutputLine<'a> {
    ip: IpAddr,
    #[serde(deserialize_with = "number_or_text")]
    timestamp: u64,
    port: u16,
    proto: Proto,
    #[serde(borrow)]
    rec_type: &'a str,
    data: Data,
}

/// The data of a port's status; a banner has other fields.
#[derive(Deserialize)]
struct Data {
    status: Option<Word>,
    reason: Option<Word>,
    ttl: Option<u8>,
}

/// masscan prints the timestamp as a string of digits. An untagged enum would copy the text first.
fn number_or_text<'de, D: Deserializer<'de>>(from: D) -> Result<u64, D::Error> {
    struct Seconds;
    impl Visitor<'_> for Seconds {
        type Value = u64;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("unix seconds")
        }

        fn visit_u64<E>(self, number: u64) -> Result<u64, E> {
            Ok(number)
        }

        fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<u64, E> {
            text.parse().map_err(E::custom)
        }
    }
    from.deserialize_any(Seconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINE: &str = r#"{"ip":"172.16.0.130","timestamp":"1795333296","port":443,"proto":"tcp","rec_type":"status","data":{"status":"open","reason":"syn-ack","ttl":64}}"#;

    #[test]
    fn a_line_of_masscan_is_parsed() {
        let finding = parse(format!("{LINE}\r").as_bytes()).unwrap().unwrap();
        assert_eq!(finding.ip.to_string(), "172.16.0.130");
        assert_eq!(
            (finding.port, finding.ttl, finding.timestamp),
            (443, 64, 1_795_333_296)
        );
        assert_eq!(finding.proto, Proto::Tcp);
        assert_eq!(
            (finding.status.as_str(), finding.reason.as_str()),
            ("open", "syn-ack")
        );
        let v6 = LINE.replace("172.16.0.130", "fd00::1");
        assert!(parse(v6.as_bytes()).unwrap().unwrap().ip.is_ipv6());
    }

    #[test]
    fn other_lines_are_skipped_or_rejected() {
        assert_eq!(parse(b""), Ok(None));
        assert_eq!(parse(b" \r"), Ok(None));
        let banner = r#"{"ip":"172.16.0.1","timestamp":"1","port":80,"proto":"tcp","rec_type":"banner","data":{"service_name":"http","banner":"x"}}"#;
        assert_eq!(parse(banner.as_bytes()), Ok(None));
        for line in [
            "{".to_owned(),
            "rate: 1".to_owned(),
            LINE[..60].to_owned(),
            LINE.replace("443", "70000"),
            LINE.replace("\"tcp\"", "\"ip\""),
            LINE.replace("172.16.0.130", "172.16.0.300"),
            LINE.replace("\"open\"", "\"OPEN; rm\""),
            LINE.replace("1795333296", "soon"),
            LINE.replace("1795333296", "253402300800"),
        ] {
            assert!(parse(line.as_bytes()).is_err(), "{line}");
        }
        assert!(parse(b"{\"ip\":\"\xff\"}").is_err());
    }
}
