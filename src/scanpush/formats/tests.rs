//! Each form against a golden file, and hostile text against all of them. The goldens of masscan's forms were made by hand after
//! what masscan 1.3.2 wrote in the lab for open and closed TCP ports of IPv4; their lines of IPv6 were not seen there.

use super::*;
use crate::model::Finding;
use crate::model::finding::{FindingWriter, Word};
use crate::model::ports::Proto;
use std::net::IpAddr;

const AT_S: u64 = 1_795_531_265;

fn word(text: &str) -> Word {
    text.parse().unwrap()
}

fn found(ip: &str, port: u16, status: &str, timestamp: u64) -> FindingRecord<'static> {
    let reason = if status == "open" {
        "syn-ack"
    } else {
        "rst-ack"
    };
    FindingRecord {
        task_id: "Wb3ZtqLk9Xe_fJ2vR0yAc".into(),
        finding: Finding {
            ip: ip.parse::<IpAddr>().unwrap(),
            port,
            proto: Proto::Tcp,
            status: word(status),
            reason: word(reason),
            ttl: 64,
            timestamp,
        },
        server: "scan-1".into(),
        attempt: 1,
        pass: 1,
    }
}

fn about() -> Context {
    let ports: crate::model::Ports = "80,81,443".parse().unwrap();
    Context {
        ports: ports.ranges().to_vec(),
        port_names: PortNames::parse("http 80/tcp\nhttps 443/tcp\n"),
        columns: 80,
    }
}

fn written(format: Format, findings: &[FindingRecord<'_>]) -> String {
    let mut printer = Printer::new(format, about());
    for found in findings {
        printer.finding(found);
    }
    printer.end(AT_S + 6);
    printer.text().clone()
}

fn three() -> [FindingRecord<'static>; 3] {
    [
        found("192.0.2.2", 81, "closed", AT_S),
        found("192.0.2.2", 80, "open", AT_S + 1),
        found("2001:db8::1", 443, "open", AT_S + 1),
    ]
}

#[test]
fn masscans_json() {
    let expected = include_str!("golden/masscan.json");
    assert_eq!(written(Format::Json, &three()), expected);
    assert_eq!(written(Format::Json, &[]), "[\n]\n");
}

#[test]
fn masscans_list() {
    let expected = include_str!("golden/masscan.list");
    assert_eq!(written(Format::List, &three()), expected);
    assert_eq!(written(Format::List, &[]), "#masscan\n# end\n");
}

#[test]
fn masscans_grepable_lines() {
    let expected = include_str!("golden/masscan.grepable");
    assert_eq!(written(Format::Grepable, &three()), expected);
    let none = written(Format::Grepable, &[]);
    assert!(none.ends_with("# Masscan done at Tue Nov 24 14:41:11 2026\n"));
}

#[test]
fn masscans_xml() {
    let expected = include_str!("golden/masscan.xml");
    let xml = written(Format::Xml, &three());
    assert_eq!(xml, expected.replace('\n', "\r\n"));
    assert!(written(Format::Xml, &[]).contains("total=\"0\""));
}

#[test]
fn the_records_themselves() {
    let text = written(Format::Ndjson, &three());
    for (line, found) in text.lines().zip(three()) {
        let mut record = Vec::new();
        FindingWriter::new(
            &found.task_id.parse().unwrap(),
            &found.server,
            found.attempt,
            found.pass,
        )
        .write(&found.finding, &mut record);
        assert_eq!(line.as_bytes(), record);
    }
    assert_eq!(text.lines().count(), 3);
    assert_eq!(written(Format::Ndjson, &[]), "");
}

#[test]
fn comma_separated_values() {
    let text = written(Format::Csv, &three()[..1]);
    let expected = "\
task_id,ip,port,proto,status,reason,ttl,timestamp,server,attempt
Wb3ZtqLk9Xe_fJ2vR0yAc,192.0.2.2,81,tcp,closed,rst-ack,64,1795531265,scan-1,1
";
    assert_eq!(text, expected);
    assert_eq!(written(Format::Csv, &[]).lines().count(), 1);
}

#[test]
fn the_table_fits_80_columns() {
    let mut long = found(
        "2001:db8:aaaa:bbbb:cccc:dddd:eeee:ffff",
        443,
        "open",
        u64::MAX,
    );
    long.finding.proto = Proto::Sctp;
    long.finding.port = 65535;
    long.finding.status = word("open-or-filtered-or-else");
    let [closed, open, v6] = three();
    let mut printer = Printer::new(
        Format::Table,
        Context {
            port_names: PortNames::parse(&format!("http 80/tcp\n{} 65535/sctp", "x".repeat(90))),
            ..about()
        },
    );
    for found in [closed, open, v6, long] {
        printer.finding(&found);
    }
    printer.end(AT_S);
    let expected = "\
ADDRESS         PORT       STATE   SEEN (UTC)          SERVICE
192.0.2.2       81/tcp     closed  2026-11-24 14:41:05
192.0.2.2       80/tcp     open    2026-11-24 14:41:06 http
2001:db8::1     443/tcp    open    2026-11-24 14:41:06
2001:db8:aaaa:bbbb:cccc:dddd:eeee:ffff 65535/sctp open-or 9999-12-31 23:59:59 xx
";
    assert_eq!(printer.text(), expected);
    assert!(expected.lines().all(|line| line.len() <= 80));
}

#[test]
fn hostile_text_stays_in_its_place() {
    let hostile = FindingRecord {
        task_id: "a\",\"b\":\"'<>&,;=\\".into(),
        server: "\",\"x\":\"1</host>,\"\u{fffd}".into(),
        ..found("192.0.2.2", 80, "open", AT_S)
    };
    let findings = [hostile.clone()];
    let object: serde_json::Value =
        serde_json::from_str(&written(Format::Ndjson, &findings)).unwrap();
    assert_eq!(object["task_id"], *hostile.task_id);
    assert_eq!(object["server"], *hostile.server);
    assert_eq!(object.as_object().unwrap().len(), 11);
    let csv = written(Format::Csv, &findings);
    assert!(
        csv.lines()
            .nth(1)
            .unwrap()
            .starts_with("\"a\"\",\"\"b\"\":\"\"'<>&,;=\\\",192.0.2.2,"),
        "{csv}"
    );
    // The others show neither.
    for format in [
        Format::Table,
        Format::Json,
        Format::List,
        Format::Grepable,
        Format::Xml,
    ] {
        let plain = written(format, &[found("192.0.2.2", 80, "open", AT_S)]);
        assert_eq!(written(format, &findings), plain);
    }
}

#[test]
fn formats_have_names() {
    for (name, format) in Format::ALL {
        assert_eq!(name.parse(), Ok(format));
    }
    let error = "oJ".parse::<Format>().unwrap_err().to_string();
    assert!(
        error.contains("\"oJ\" is not a format: use one of table, ndjson, json"),
        "{error}"
    );
}
