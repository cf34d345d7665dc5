//! `scanpush servers`: the servers of the group with their load. Reads Redis only.

use super::Command;
use super::output::Output;
use super::table::{self, Column, Row, Side};
use super::tasks::short;
use crate::claim_table::HEARTBEAT_FRESH;
use crate::claim_table::{ClaimTable, LiveServer};
use crate::connection::Connection;
use crate::exit::Failure;
use crate::flags::{Flag, Reader};
use crate::model::text::one_line;
use std::borrow::Cow;

const JSON: Flag = Flag::switch("--json", "print each server as one line of JSON");

pub(super) const COMMAND: Command = Command {
    name: "servers",
    about: "shows the servers (scand) of the group with their load",
    usage: "servers [flags]",
    flags: &[JSON],
    more: "\
TASKS is the number of tasks that a server holds, SENDING the number of its
slots in use (a scan that only waits for late answers does not use one). RATE is
what the sending scans may use, of MAX, in packets per second. SEEN is the age
of the last heartbeat: after 5 seconds the server is marked late, after a minute
it is dropped from the list. A server that is shut down leaves the list at once.
A server that cannot scan (no masscan, a full disk) claims nothing until its own
test passes; the reason is printed below its line. Needs Redis only.
Exit code 0: done, even if there are none; 1: Redis is unreachable; 2: invalid
flags.

examples:
  scanpush servers
  scanpush servers -json | jq -s 'map(.free) | add'
",
    run,
};

/// Characters before the lines below a row.
const INDENT: usize = 2;
/// Text is not wrapped to less than this many characters.
const WIDTH_MIN: usize = 20;

const COLUMNS: &[Column] = &[
    Column::new("SERVER", Side::Left, Some(20)),
    Column::new("TASKS", Side::Right, None),
    Column::new("SENDING", Side::Right, None),
    Column::new("RATE", Side::Right, None),
    Column::new("MAX", Side::Right, None),
    Column::new("SEEN", Side::Right, None),
    Column::new("VERSION", Side::Left, Some(7)),
];

fn run(mut reader: Reader, output: &mut Output<'_>) -> Result<(), Failure> {
    let json = reader.switch(&JSON);
    let connection = Connection::read(&mut reader)?;
    reader.finish()?;
    let Connection { redis, group, .. } = &connection;
    let servers = ClaimTable::connect(redis, group.as_str())
        .and_then(|mut claim_table| claim_table.servers())
        .map_err(|error| Failure::Runtime(error.to_string()))?;
    show(&servers, json, output)?;
    output.flush()?;
    if servers.is_empty() {
        output.remark(&format!("no server of group {group} reports to {redis}"));
    }
    Ok(())
}

fn show(servers: &[LiveServer], json: bool, output: &mut Output<'_>) -> Result<(), Failure> {
    if json {
        return servers.iter().try_for_each(|server| output.json(server));
    }
    if servers.is_empty() {
        return Ok(());
    }
    let width = output.columns();
    let rows: Vec<Row> = servers.iter().map(|server| row(server, width)).collect();
    table::lines(COLUMNS, &rows, width)
        .iter()
        .try_for_each(|line| output.line(line))
}

/// The row of a server in a table of `width` characters. Below it: that it is late, or else its fault, wrapped and not cut.
fn row(server: &LiveServer, width: usize) -> Row {
    let sending = server.slots.saturating_sub(server.free);
    let late = server.age_ms > HEARTBEAT_FRESH.as_millis() as u64;
    Row {
        cells: vec![
            one_line(&server.server),
            server.held.to_string(),
            format!("{sending} of {}", server.slots),
            short(server.rate_used as f64),
            short(server.max_rate as f64),
            format!("{:.1}s", server.age_ms as f64 / 1000.0),
            one_line(&server.version),
        ],
        below: match &server.fault {
            _ if late => vec!["late: no heartbeat, or it cannot reach Redis".to_owned()],
            Some(fault) => {
                let text = format!(
                    "claims nothing, because it cannot scan: {}",
                    one_line(fault)
                );
                let lines = textwrap::wrap(&text, width.saturating_sub(INDENT).max(WIDTH_MIN));
                lines.into_iter().map(Cow::into_owned).collect()
            }
            None => Vec::new(),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(name: &str) -> LiveServer {
        LiveServer {
            server: name.into(),
            slots: 4,
            free: 1,
            held: 5,
            rate_used: 12_345,
            max_rate: 50_000,
            fault: None,
            version: "0.1.0".into(),
            seen_ms: 1_795_333_296_000,
            age_ms: 412,
        }
    }

    fn shown(servers: &[LiveServer], json: bool) -> String {
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let mut output = Output::new(&mut out, &mut err, None, true);
        show(servers, json, &mut output).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn the_table_fits_80_columns() {
        let late = LiveServer {
            age_ms: 7040,
            ..server(&"x".repeat(64))
        };
        let out = shown(&[server("scanhost-eu-1-k3f9"), late], false);
        let expected = "\
SERVER                             TASKS SENDING  RATE   MAX SEEN VERSION
scanhost-eu-1-k3f9                     5  3 of 4 12.3k 50.0k 0.4s 0.1.0
xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx…     5  3 of 4 12.3k 50.0k 7.0s 0.1.0
  late: no heartbeat, or it cannot reach Redis
";
        assert!(out.lines().all(|line| line.chars().count() <= 80), "{out}");
        let words = |text: &str| {
            text.split_whitespace()
                .map(str::to_owned)
                .collect::<Vec<_>>()
        };
        assert_eq!(words(&out)[..14], words(expected)[..14]);
        assert!(out.ends_with("  late: no heartbeat, or it cannot reach Redis\n"));
    }

    #[test]
    fn the_reason_of_a_server_that_cannot_scan_is_below_its_line() {
        let faulty = LiveServer {
            fault: Some("masscan not found: install masscan (apt install masscan) or give its path in -masscan".to_owned()),
            ..server("a")
        };
        let out = shown(&[faulty], false);
        let text = "  claims nothing, because it cannot scan: masscan not found: install masscan\n  (apt install masscan) or give its path in -masscan\n";
        assert!(out.ends_with(text), "{out}");
    }

    #[test]
    fn json_has_the_names_of_redis_and_nothing_hostile_gets_through() {
        let hostile = LiveServer {
            version: "\x1b[2J".into(),
            ..server("a\x07")
        };
        for json in [false, true] {
            let out = shown(std::slice::from_ref(&hostile), json);
            assert!(out.chars().all(|c| c == '\n' || !c.is_control()), "{out:?}");
        }
        let object: serde_json::Value = serde_json::from_str(&shown(&[server("a")], true)).unwrap();
        assert_eq!(
            (&object["held"], &object["rate_used"]),
            (&5.into(), &12345.into())
        );
        assert!(shown(&[], false).is_empty());
    }
}
