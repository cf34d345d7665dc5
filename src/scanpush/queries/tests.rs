//! The three commands on a real SQLite database.

use super::changes::for_tests::shown as changes;
use super::host::for_tests::shown as host;
use super::services::for_tests::shown;
use crate::model::State;
use crate::scanpush::sample_store::SampleStore;
use std::collections::BTreeSet;

/// 2026-11-24 14:41:05 UTC.
const NOW_S: u64 = 1_795_531_265;
const DAY_S: u64 = 86_400;

/// Two addresses with two services each, one of which has closed and one has reopened, and an IPv6 address.
fn store() -> SampleStore {
    let mut store = SampleStore::new();
    let day = |n: u64| NOW_S - n * DAY_S;
    store.push("a", "10.1.0.0/24", "22,443", "");
    store.push("b", "10.1.0.0/24", "22,443", "");
    store.push("=c", "10.1.0.0/24", "22", "");
    store.find(
        "a",
        &[
            ("10.1.0.9", 443, day(20)),
            ("10.1.0.9", 22, day(20)),
            ("10.1.0.10", 22, day(20)),
        ],
    );
    store.end("a", State::Completed, 3, day(21), day(19));
    store.find("b", &[("10.1.0.9", 443, day(10))]);
    store.end("b", State::Completed, 1, day(11), day(9));
    store.find("=c", &[("10.1.0.10", 22, day(1)), ("fd00::1", 22, day(1))]);
    store.end("=c", State::Completed, 2, day(2), day(1));
    store
}

fn services(store: &SampleStore, line: &[&str]) -> Result<String, String> {
    let url = store.url();
    shown(&[&["-db", &url], line].concat(), NOW_S, None)
}

#[test]
fn a_table_within_80_columns() {
    let table = services(&store(), &[]).unwrap();
    assert_eq!(
        table,
        "\
IP        PORT PROTO STATE  SINCE (UTC) FIRST SEEN  LAST SEEN   LAST TASK
10.1.0.9    22 tcp   closed 11-15 14:41 11-04 14:41 11-04 14:41 a
10.1.0.9   443 tcp   open   11-04 14:41 11-04 14:41 11-14 14:41 b
10.1.0.10   22 tcp   open   11-23 14:41 11-04 14:41 11-23 14:41 =c
fd00::1     22 tcp   open   11-23 14:41 11-23 14:41 11-23 14:41 =c
"
    );
    let wide = shown(&["-db", &store().url()], NOW_S, Some(140)).unwrap();
    assert!(wide.contains("2026-11-15 14:41:05"), "{wide}");
}

#[test]
fn filters_apply_together() {
    let store = store();
    let folder = tempfile::tempdir().unwrap();
    let sites = folder.path().join("sites");
    std::fs::write(
        &sites,
        "10.1.0.0/29 low\n10.1.0.8/31 mid\n10.1.0.10 high\nfd00::/8 six\n",
    )
    .unwrap();
    let sites = sites.to_str().unwrap();
    for (line, expected) in [
        (
            &["-state", "open"][..],
            "10.1.0.9 443,10.1.0.10 22,fd00::1 22",
        ),
        (&["-state", "closed"], "10.1.0.9 22"),
        (&["-state", "closed", "-since", "9d"], "10.1.0.9 22"),
        (&["-state", "closed", "-since", "8d"], ""),
        (&["-port", "443"], "10.1.0.9 443"),
        (
            &["-port", "443,22"],
            "10.1.0.9 22,10.1.0.9 443,10.1.0.10 22,fd00::1 22",
        ),
        (&["-port", "U:22"], ""),
        (
            &["-port", "20-30", "-net", "10.1.0.10-10.1.0.20"],
            "10.1.0.10 22",
        ),
        // Seen since then, or closed since then.
        (&["-since", "5d"], "10.1.0.10 22,fd00::1 22"),
        (&["-since", "9d"], "10.1.0.9 22,10.1.0.10 22,fd00::1 22"),
        (&["-new-since", "2d"], "fd00::1 22"),
        (&["-limit", "1"], "10.1.0.9 22"),
        (
            &["-tags", sites, "-tag", "high,six"],
            "10.1.0.10 22,fd00::1 22",
        ),
        (
            &["-tags", sites, "-tag", "mid", "-net", "10.1.0.9,10.1.0.10"],
            "10.1.0.9 22,10.1.0.9 443",
        ),
        // Networks that have no address in common.
        (&["-tags", sites, "-tag", "low", "-net", "10.2.0.0/16"], ""),
        (
            &[
                "-tags",
                sites,
                "-tag",
                "low",
                "-net",
                "10.2.0.0/16",
                "-state",
                "closed",
            ],
            "",
        ),
    ] {
        let csv = services(&store, &[line, &["-csv"]].concat()).unwrap();
        let rows: Vec<String> = csv
            .lines()
            .skip(1)
            .map(|line| line.split(',').take(2).collect::<Vec<_>>().join(" "))
            .collect();
        assert_eq!(rows.join(","), expected, "{line:?}");
    }
    let none = ["-tags", sites, "-tag", "low", "-net", "10.2.0.0/16", "-db"];
    assert_eq!(
        changes(&[&none[..], &[&store.url()]].concat(), NOW_S).unwrap(),
        ""
    );
}

#[test]
fn each_format_has_the_same_rows() {
    let store = store();
    let folder = tempfile::tempdir().unwrap();
    let sites = folder.path().join("sites");
    std::fs::write(&sites, "10.1.0.10 office berlin\n").unwrap();
    let sites = sites.to_str().unwrap();
    let csv = services(
        &store,
        &["-csv", "-port", "22", "-state", "open", "-tags", sites],
    )
    .unwrap();
    assert_eq!(
        csv,
        "\
ip,port,proto,state,state_since,first_seen,last_seen,last_task,reason,ttl,tags
10.1.0.10,22,tcp,open,1795444865,1793803265,1795444865,'=c,syn-ack,64,office berlin
fd00::1,22,tcp,open,1795444865,1795444865,1795444865,'=c,syn-ack,64,
"
    );
    let json = services(&store, &["-json", "-tags", sites]).unwrap();
    let rows: Vec<serde_json::Value> = json
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(rows.len(), 4);
    assert_eq!(rows[2]["last_task"], "=c");
    assert_eq!(rows[2]["tags"], serde_json::json!(["office", "berlin"]));
    let addresses = services(&store, &["-format", "addresses"]).unwrap();
    assert_eq!(addresses, "10.1.0.9\n10.1.0.10\nfd00::1\n");
    let table = services(&store, &["-tags", sites]).unwrap();
    assert!(
        table.lines().all(|line| line.chars().count() <= 80),
        "{table}"
    );
    assert!(
        table.lines().any(|line| line.ends_with("office berlin")),
        "{table}"
    );
    let empty = services(&store, &["-csv", "-port", "1"]).unwrap();
    assert_eq!(empty.lines().count(), 1, "{empty}");
    assert_eq!(services(&store, &["-port", "1"]).unwrap(), "");
}

#[test]
fn bad_flags_and_databases_are_one_line() {
    let store = store();
    for (line, wrong) in [
        (
            &["-state", "up"][..],
            "-state: \"up\" is not a state of a service: open or closed",
        ),
        (&["-net", "office"], "-net: \"office\" is not an address"),
        (&["-port", "0"], "-port: \"0\" contains port 0"),
        (
            &["-since", "yesterday"],
            "-since: \"yesterday\" is not a point in time",
        ),
        (
            &["-new-since", "7"],
            "-new-since: \"7\" is not a point in time",
        ),
        (&["-tag", "office"], "-tag: needs -tags FILE too"),
        (
            &["-tags", "/nowhere/sites"],
            "-tags: /nowhere/sites can't be read",
        ),
        (&["-limit", "0"], "-limit: \"0\" is not a number from 1 to"),
        (
            &["-format", "xml"],
            "-format: \"xml\" is not a format: use one of table, ndjson, csv, addresses",
        ),
        (
            &["-json", "-csv"],
            "-format, -json and -csv cannot be combined",
        ),
        (&["10.1.0.9"], "\"10.1.0.9\" is an unexpected argument"),
    ] {
        let error = services(&store, line).unwrap_err();
        assert!(
            error.starts_with(wrong) && !error.contains('\n'),
            "{line:?}: {error}"
        );
    }
    let error = shown(&["-db", "sqlite:/nowhere/x.db"], NOW_S, None).unwrap_err();
    assert!(error.contains("`scanpush store` creates it"), "{error}");
}

#[test]
fn thousands_of_services_come_in_order_each_once() {
    let mut store = SampleStore::new();
    let mut expected = BTreeSet::new();
    let mut found = Vec::new();
    let addresses: Vec<String> = (0..1500)
        .map(|n| match n % 3 {
            0 => format!("10.{}.{}.{}", n % 7, n % 13, n / 7),
            1 => format!("fd00::{n:x}"),
            _ => format!("192.168.{}.{}", n / 250, n % 250),
        })
        .collect();
    for address in &addresses {
        for port in [443, 22, 80, 1] {
            found.push((address.as_str(), port, NOW_S));
            let ip: std::net::IpAddr = address.parse().unwrap();
            expected.insert((ip, port));
        }
    }
    store.find("a", &found);
    // Addresses are unique but for a few, which are the same service.
    let rows = |line: &[&str]| -> Vec<(std::net::IpAddr, u16)> {
        let json = services(&store, &[&["-json"], line].concat()).unwrap();
        let rows = json.lines().map(|line| {
            let row: serde_json::Value = serde_json::from_str(line).unwrap();
            let ip = row["ip"].as_str().unwrap().parse().unwrap();
            (ip, row["port"].as_u64().unwrap() as u16)
        });
        rows.collect()
    };
    let expected: Vec<_> = expected.into_iter().collect();
    assert!(expected.len() > 5_000);
    assert_eq!(rows(&[]), expected);
    for (line, keep) in [
        (
            &["-port", "80"][..],
            (|(_, port)| *port == 80) as fn(&(std::net::IpAddr, u16)) -> bool,
        ),
        // Few enough to be sorted here, and too many.
        (&["-port", "1,80"], |(_, port)| [1, 80].contains(port)),
        (&["-port", "1-443"], |_| true),
        (&["-port", "1,80,443"], |(_, port)| *port != 22),
        (&["-net", "fd00::/8"], |(ip, _)| ip.is_ipv6()),
        (&["-net", "0.0.0.0/0", "-port", "22"], |(ip, port)| {
            ip.is_ipv4() && *port == 22
        }),
    ] {
        let some: Vec<_> = expected.iter().filter(|row| keep(row)).copied().collect();
        assert_eq!(rows(line), some, "{line:?}");
    }
    let mut of_changes = changes(&["-json", "-db", &store.url()], NOW_S).unwrap();
    assert_eq!(of_changes.lines().count(), expected.len());
    of_changes = changes(&["-json", "-db", &store.url(), "-limit", "2500"], NOW_S).unwrap();
    let distinct: BTreeSet<&str> = of_changes.lines().collect();
    assert_eq!(distinct.len(), 2500);
}

#[test]
fn changes_are_newest_first() {
    let store = store();
    let url = store.url();
    let shown = |line: &[&str]| changes(&[&["-db", &url], line].concat(), NOW_S);
    let all = "\
TIME (UTC)          CHANGE   IP        PORT PROTO TASK
2026-11-23 14:41:05 opened   fd00::1     22 tcp   =c
2026-11-23 14:41:05 reopened 10.1.0.10   22 tcp   =c
2026-11-15 14:41:05 closed   10.1.0.10   22 tcp   b
2026-11-15 14:41:05 closed   10.1.0.9    22 tcp   b
";
    let table = shown(&["-since", "15d"]).unwrap();
    let sorted = |text: &str| {
        text.lines()
            .map(str::to_owned)
            .collect::<BTreeSet<String>>()
    };
    assert_eq!(sorted(&table), sorted(all), "{table}");
    let times: Vec<&str> = table.lines().skip(1).map(|line| &line[..19]).collect();
    assert!(times.is_sorted_by(|one, next| one >= next), "{table}");
    for (line, rows) in [
        (&[][..], 2),
        (&["-since", "12h"], 0),
        (&["-since", "30d"], 7),
        (&["-since", "30d", "-until", "5d"], 5),
        (&["-since", "30d", "-kind", "closed"], 2),
        (&["-since", "30d", "-kind", "closed, reopened"], 3),
        (&["-since", "30d", "-kind", "closed,opened,reopened"], 7),
        (&["-since", "30d", "-net", "10.1.0.10"], 3),
        (&["-since", "30d", "-net", "10.1.0.10", "-limit", "2"], 2),
        (&["-since", "30d", "-port", "443"], 1),
        (&["-since", "30d", "-port", "443,80"], 1),
    ] {
        let csv = shown(&[line, &["-csv"]].concat()).unwrap();
        assert_eq!(csv.lines().count(), rows + 1, "{line:?}: {csv}");
    }
    for (line, wrong) in [
        (
            &["-kind", "open"][..],
            "-kind: \"open\" is not a change: opened, closed or reopened",
        ),
        (
            &["-until", "2d"],
            "-until: is not after -since (default 24h)",
        ),
        (
            &["-since", "tomorrow"],
            "-since: \"tomorrow\" is not a point in time",
        ),
    ] {
        let error = shown(line).unwrap_err();
        assert!(error.starts_with(wrong), "{error}");
    }
}

#[test]
fn a_host_has_services_and_then_their_history_from_its_beginning() {
    let store = store();
    let url = store.url();
    let shown = |line: &[&str]| host(&[&["-db", &url], line].concat(), NOW_S);
    assert_eq!(
        shown(&["::ffff:10.1.0.10"]).unwrap(),
        "\
IP        PORT PROTO STATE SINCE (UTC) FIRST SEEN  LAST SEEN   LAST TASK
10.1.0.10   22 tcp   open  11-23 14:41 11-04 14:41 11-23 14:41 =c

TIME (UTC)          CHANGE   IP        PORT PROTO TASK
2026-11-04 14:41:05 opened   10.1.0.10   22 tcp   a
2026-11-15 14:41:05 closed   10.1.0.10   22 tcp   b
2026-11-23 14:41:05 reopened 10.1.0.10   22 tcp   =c
"
    );
    let json = shown(&["10.1.0.9", "-json"]).unwrap();
    let records: Vec<String> = json
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap()["record"].to_string())
        .collect();
    assert_eq!(
        records.join(" "),
        "\"service\" \"service\" \"change\" \"change\" \"change\""
    );
    let csv = shown(&["10.1.0.10", "-csv"]).unwrap();
    let lines: Vec<&str> = csv.lines().collect();
    assert_eq!(
        lines[0],
        "record,ip,port,proto,state,state_since,first_seen,last_seen,last_task,reason,ttl,tags,change,at,task_id"
    );
    assert_eq!(
        lines[4],
        "change,10.1.0.10,22,tcp,,,,,,,,,reopened,1795444865,'=c"
    );
    assert_eq!(shown(&["10.9.9.9"]).unwrap(), "");
    for (line, wrong) in [
        (&[][..], "give an address"),
        (
            &["10.1.0.9", "10.1.0.10"],
            "\"10.1.0.10\" is a second address",
        ),
        (
            &["10.1.0.0/24"],
            "\"10.1.0.0/24\" is not one address: for a network use",
        ),
        (&["host.example"], "\"host.example\" is not an address like"),
        (
            &["10.1.0.9", "-format", "addresses"],
            "-format: \"addresses\" is not a format of this command",
        ),
    ] {
        let error = shown(line).unwrap_err();
        assert!(error.starts_with(wrong), "{error}");
    }
}
