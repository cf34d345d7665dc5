//! Fuzzing of what masscan prints.

use super::lines::Cutter;
use super::stderr::{Line, announced_size, announced_version, cause, is_interrupt};
use super::{findings, stderr};
use crate::fuzz::{ACCEPTED, fuzz, one_bounded_line};
use crate::model::FindingRecord;
use crate::model::finding::FindingWriter;

#[test]
fn any_output_of_masscan_is_findings_or_one_bounded_line() {
    let samples: [&[u8]; 2] = [
        br#"{"ip":"172.16.0.130","timestamp":"1795333296","port":443,"proto":"tcp","rec_type":"status","data":{"status":"open","reason":"syn-ack","ttl":64}}"#,
        br#"{"ip":"2001:db8::1","timestamp":"1","port":53,"proto":"udp","rec_type":"banner","data":{"service_name":"X","banner":"y"}}"#,
    ];
    let words = ["status", "closed", "rst", "sctp", "rec_type", "\n{", "}\r{"];
    fuzz("findings of masscan", &samples, &words, |input| {
        let writer = FindingWriter::new(&"t".parse().unwrap(), "s", 1, 1);
        let (mut cutter, mut outcome) = (Cutter::default(), String::new());
        let mut on_line = |line: &[u8]| {
            outcome += &match findings::parse(line) {
                Ok(None) => "nothing".to_owned(),
                Ok(Some(finding)) => {
                    let mut record = Vec::new();
                    writer.write(&finding, &mut record);
                    let read = FindingRecord::from_record(&record).map(|read| read.finding);
                    assert_eq!(read, Ok(finding), "{}", record.escape_ascii());
                    ACCEPTED.to_owned()
                }
                Err(error) => one_bounded_line(&error),
            }
        };
        for piece in input.chunks(1 + input.len() / 3) {
            cutter.push(piece, &mut on_line);
        }
        cutter.end(&mut on_line);
        outcome
    });
}

#[test]
fn any_message_of_masscan_is_progress_or_one_bounded_line() {
    let samples: [&[u8]; 5] = [
        b"rate:  2.00-kpps, 20.80% done,   0:01:23 remaining, found=785",
        b"rate:  0.00-kpps, 100.00% done, waiting -694-secs, found=208",
        b"Starting masscan 1.3.2 (http://bit.ly/14GZzcT) at 2026-11-26 10:00:00 GMT",
        b"Scanning 256 hosts [1 port/host]",
        b"FAIL: failed to detect router for interface: \"eth0\"",
    ];
    let words = [
        "rate:",
        "-kpps",
        "% done",
        "waiting",
        "-secs",
        "found=",
        "nan",
        "inf",
        "Scanning ",
        " hosts [",
        "FAIL: ",
    ];
    fuzz(
        "messages of masscan",
        &samples,
        &words,
        |input| match stderr::parse(input) {
            None => "blank".to_owned(),
            Some(Line::Progress(progress)) => {
                assert!(
                    progress.percent.is_finite() && progress.rate_pps.is_finite(),
                    "{progress:?}"
                );
                ACCEPTED.to_owned()
            }
            Some(Line::Message(message)) => {
                let parts = (
                    announced_size(&message),
                    announced_version(&message),
                    is_interrupt(&message),
                );
                if let Some(cause) = cause([message.as_str()].into_iter()) {
                    one_bounded_line(&cause);
                }
                format!("{parts:?} {}", one_bounded_line(&message))
            }
        },
    );
}
