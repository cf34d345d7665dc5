//! The pages of the database and their API, through the handler.

use crate::model::State;
use crate::scanpush::sample_store::SampleStore;
use crate::scanpush::serve::for_tests::{Got, get, site};
use crate::scanpush::serve::site::Site;
use crate::scanpush::tasks::now_ms;
use std::collections::BTreeSet;
use std::sync::Arc;

const DAY_S: u64 = 86_400;

/// Two addresses with two services each, one of which has closed and one has reopened, and an IPv6 address.
fn sample() -> (SampleStore, Arc<Site>) {
    let mut store = SampleStore::new();
    let now_s = now_ms() / 1000;
    let day = |n: u64| now_s - n * DAY_S;
    store.push("a", "10.1.0.0/24", "22,443", "");
    store.push("b", "10.1.0.0/24", "22,443", "");
    store.push("=c", "10.1.0.0/24", "22", "");
    let (first, second, third) = ("10.1.0.9", "10.1.0.10", "fd00::1");
    store.find(
        "a",
        &[
            (first, 443, day(20)),
            (first, 22, day(20)),
            (second, 22, day(20)),
        ],
    );
    store.end("a", State::Completed, 3, day(21), day(19));
    store.find("b", &[(first, 443, day(10))]);
    store.end("b", State::Completed, 1, day(11), day(9));
    store.find("=c", &[(second, 22, day(1)), (third, 22, day(1))]);
    store.end("=c", State::Completed, 2, day(2), day(1));
    let site = site(&["-db", &store.url()]);
    (store, site)
}

fn ok(site: &Arc<Site>, target: &str) -> Got {
    let got = get(site, target);
    assert_eq!(got.status, 200, "{target}: {}", got.body);
    got
}

fn services(site: &Arc<Site>, query: &str) -> String {
    let document = ok(site, &format!("/api/v1/services?{query}")).json();
    let rows = document["services"].as_array().unwrap().iter();
    let rows = rows.map(|row| format!("{} {}", row["ip"].as_str().unwrap(), row["port"]));
    rows.collect::<Vec<_>>().join(",")
}

#[test]
fn fields_are_the_flags_of_the_command() {
    let (_store, site) = sample();
    for (query, expected) in [
        ("", "10.1.0.9 22,10.1.0.9 443,10.1.0.10 22,fd00::1 22"),
        ("state=closed&port=", "10.1.0.9 22"),
        (
            "net=10.1.0.10,fd00::/8&port=20-30",
            "10.1.0.10 22,fd00::1 22",
        ),
        ("new-since=2d", "fd00::1 22"),
        ("since=5d&limit=1", "10.1.0.10 22"),
    ] {
        assert_eq!(services(&site, query), expected, "{query}");
        let page = ok(&site, &format!("/services?{query}")).body;
        for row in expected.split(',') {
            let ip = row.split(' ').next().unwrap();
            assert!(page.contains(&format!("/hosts/{ip}\">{ip}</a>")), "{page}");
        }
    }
    let change = |query: &str| {
        let document = ok(&site, &format!("/api/v1/changes?{query}")).json();
        document["changes"].as_array().unwrap().len()
    };
    assert_eq!(change("since=12h"), 0);
    assert_eq!(change("since=5d"), 2);
    assert_eq!(change("since=30d"), 7);
    assert_eq!(change("since=30d&kind=closed,reopened&net=10.1.0.10"), 2);
    assert_eq!(change("since=30d&until=5d"), 5);
}

#[test]
fn wrong_fields_are_named_and_stay_in_the_form() {
    let (_store, site) = sample();
    for (query, wrong) in [
        ("net=office", "net: \"office\" is not an address"),
        ("port=0", "port: \"0\" contains port 0"),
        ("state=up", "state: \"up\" is not a state"),
        ("since=yesterday", "since: \"yesterday\""),
        ("tag=x", "tag: needs -tags FILE"),
        ("limit=1001", "limit: \"1001\" is more than 1000"),
        ("after=x", "after: \"x\" is not a position"),
        ("format=xml", "format: \"xml\" is not a format"),
        (
            "ports=1",
            "\"ports\" is an unknown field: did you mean port?",
        ),
        ("port=1&port=2", "port"),
    ] {
        let got = get(&site, &format!("/api/v1/services?{query}"));
        let problem = got.json();
        assert_eq!((got.status, &problem["status"]), (400, &400.into()));
        let detail = problem["detail"].as_str().unwrap();
        assert!(detail.starts_with(wrong), "{query}: {detail}");
        let page = get(&site, &format!("/services?{query}"));
        assert_eq!(page.status, 400, "{query}");
        assert!(page.body.contains("role=\"alert\""), "{query}");
    }
    let page = get(&site, "/changes?since=1h&until=2h").body;
    assert!(page.contains("until: is not after -since"), "{page}");
    assert!(page.contains("name=\"until\" value=\"2h\""), "{page}");
}

#[test]
fn hostile_text_stays_text() {
    let (_store, site) = sample();
    let hostile = "%22%3E%3Cscript%3Ealert(1)%3C%2Fscript%3E";
    for target in [
        format!("/services?net={hostile}"),
        format!("/services?{hostile}=1"),
        format!("/changes?since={hostile}&kind={hostile}"),
        format!("/changes?after={hostile}"),
        format!("/hosts/{hostile}"),
    ] {
        let got = get(&site, &target);
        assert_eq!(got.status, 400, "{target}");
        assert!(!got.body.contains("<script>"), "{target}: {}", got.body);
        assert!(!got.body.contains("\"\"><"), "{target}: {}", got.body);
    }
}

#[test]
fn pages_continue_until_every_row_was_shown_once() {
    let mut store = SampleStore::new();
    let now_s = now_ms() / 1000;
    let addresses: Vec<String> = (0..250).map(|n| format!("10.9.0.{n}")).collect();
    let found: Vec<(&str, u16, u64)> = addresses
        .iter()
        .map(|ip| (ip.as_str(), 80, now_s))
        .collect();
    store.find("a", &found);
    let site = site(&["-db", &store.url()]);
    for list in ["services", "changes"] {
        let (mut seen, mut pages, mut after) = (BTreeSet::new(), 0, String::new());
        loop {
            let path = format!("/api/v1/{list}?port=80&limit=99&after={after}");
            let document = ok(&site, &path).json();
            for row in document[list].as_array().unwrap() {
                assert!(seen.insert(row["ip"].as_str().unwrap().to_owned()));
            }
            pages += 1;
            match document["next"].as_str() {
                Some(next) => next.clone_into(&mut after),
                None => break,
            }
        }
        assert_eq!((seen.len(), pages), (250, 3), "{list}");
        let page = ok(&site, &format!("/{list}?port=80")).body;
        assert!(page.contains("100 shown, there are more"), "{page}");
        let next = page.split("rel=\"next\"").next().unwrap();
        let href = next.rsplit("href=\"").next().unwrap();
        let href = href.split('"').next().unwrap().replace("&#38;", "&");
        let page = ok(&site, &href).body;
        assert!(
            page.contains("First page") && page.contains("Next page"),
            "{page}"
        );
        let limited = format!("/{list}?limit=200&format=ndjson");
        assert_eq!(ok(&site, &limited).body.lines().count(), 200);
        let all = ok(&site, &format!("/{list}?format=addresses")).body;
        let all: BTreeSet<&str> = all.lines().collect();
        assert_eq!(all.len(), 250);
    }
}

#[test]
fn downloads_are_those_of_the_command() {
    let (_store, site) = sample();
    for path in ["/services", "/api/v1/services"] {
        let csv = ok(&site, &format!("{path}?format=csv&net=10.1.0.10"));
        assert_eq!(
            csv.header("content-type"),
            "text/csv; charset=utf-8; header=present"
        );
        assert_eq!(
            csv.header("content-disposition"),
            "attachment; filename=\"services.csv\""
        );
        let lines: Vec<&str> = csv.body.lines().collect();
        assert!(lines[0].starts_with("ip,port,proto,state,"), "{}", csv.body);
        // Harmless in a spreadsheet.
        assert!(lines[1].contains(",'=c,"), "{}", csv.body);
    }
    let got = ok(&site, "/changes?since=30d&format=ndjson");
    let first = got.body.lines().next().unwrap();
    let change: serde_json::Value = serde_json::from_str(first).unwrap();
    assert!(change["at"].is_u64() && change["task_id"].is_string());
    let host = ok(&site, "/hosts/10.1.0.9?format=csv");
    assert!(host.body.starts_with("record,ip,port,"), "{}", host.body);
}

#[test]
fn a_host_has_services_and_their_history() {
    let (_store, site) = sample();
    let page = ok(&site, "/hosts/10.1.0.9").body;
    assert!(page.contains("1 open, 1 closed"), "{page}");
    assert!(page.contains("/services?net=10.1.0.0%2F24"), "{page}");
    let document = ok(&site, "/api/v1/hosts/::ffff:10.1.0.9").json();
    assert_eq!(document["ip"], "10.1.0.9");
    assert_eq!(document["services"].as_array().unwrap().len(), 2);
    assert_eq!(document["changes"][2]["change"], "closed");
    let unknown = ok(&site, "/hosts/10.9.9.9").body;
    assert!(
        unknown.contains("No scan has found an open port"),
        "{unknown}"
    );
    for (target, status) in [
        ("/hosts/10.1.0.0%2F24", 400),
        ("/api/v1/hosts/x", 400),
        ("/hosts/", 404),
    ] {
        assert_eq!(get(&site, target).status, status, "{target}");
    }
    // An id that looks like a formula or a path.
    let page = ok(&site, "/hosts/fd00::1").body;
    assert!(page.contains("href=\"/tasks/%3Dc\""), "{page}");
}

#[test]
fn while_the_database_is_away_the_last_page_is_shown_with_its_age() {
    let (store, site) = sample();
    ok(&site, "/services?port=443");
    let file = store.url().trim_start_matches("sqlite:").to_owned();
    // Connections that are open would still read the deleted file.
    std::fs::remove_file(&file).unwrap();
    let away = |target: &str| {
        let _ = site.readers.ask(|_| {
            Err::<(), _>(
                crate::store::StoreReader::open(&site.options.store.database)
                    .err()
                    .unwrap(),
            )
        });
        get(&site, target)
    };
    let kept = away("/services?port=443");
    assert_eq!(kept.status, 200);
    assert!(kept.body.contains("This page is 0"), "{}", kept.body);
    assert!(kept.body.contains("10.1.0.9"), "{}", kept.body);
    let other = away("/services?port=22");
    assert_eq!(other.status, 503);
    assert!(
        other.body.contains("the database cannot be read"),
        "{}",
        other.body
    );
    for target in [
        "/api/v1/services?port=443",
        "/services?format=csv",
        "/changes",
    ] {
        assert_eq!(away(target).status, 503, "{target}");
    }
}

#[test]
fn two_tasks_are_compared_with_how_complete_they_are() {
    let (_store, site) = sample();
    assert!(ok(&site, "/diff").body.contains("Enter the ids"));
    let page = ok(&site, "/diff?a=a&b=b").body;
    assert!(page.contains("badge completed\">complete"), "{page}");
    let document = ok(&site, "/api/v1/diff?a=a&b=b").json();
    assert_eq!(
        (&document["opened"], &document["closed"], &document["same"]),
        (&0.into(), &2.into(), &1.into())
    );
    assert_eq!(document["changes"][0]["ip"], "10.1.0.9");
    assert_eq!(document["before"]["complete"], true);
    let first = ok(&site, "/api/v1/diff?a=a&b=b&limit=1").json();
    let next = first["next"].as_str().unwrap();
    let second = ok(&site, &format!("/api/v1/diff?a=a&b=b&limit=1&after={next}")).json();
    assert_eq!(second["changes"][0]["ip"], "10.1.0.10");
    assert_eq!(second["next"], serde_json::Value::Null);
    let csv = ok(&site, "/diff?a=a&b=b&format=csv").body;
    assert_eq!(
        csv,
        "change,ip,port,proto\nclosed,10.1.0.9,22,tcp\nclosed,10.1.0.10,22,tcp\n"
    );
    for (query, status, wrong) in [
        ("a=a", 400, "give two ids"),
        ("", 400, "give two ids"),
        ("a=a&b=a", 404, "both ids stand for task a"),
        ("a=a&b=nope", 404, "\"nope\" is neither a task nor a job"),
        ("a=a&b=x%20y", 400, "b: \"x y\" is not an id"),
    ] {
        let got = get(&site, &format!("/api/v1/diff?{query}"));
        assert_eq!(got.status, status, "{query}: {}", got.body);
        assert!(
            got.json()["detail"].as_str().unwrap().starts_with(wrong),
            "{}",
            got.body
        );
        let page = get(&site, &format!("/diff?{query}"));
        assert_eq!(page.status == 200, query.is_empty(), "{query}");
    }
}

#[test]
fn the_field_at_the_top_finds_addresses_networks_tasks_and_jobs() {
    let mut store = SampleStore::new();
    for task in ["nightly-1", "nightly-2"] {
        store.push(task, "10.1.0.0/24", "22", r#","job_id":"office""#);
    }
    store.push("officer", "10.1.0.0/24", "22", "");
    let site = site(&["-db", &store.url()]);
    for (text, location) in [
        ("10.1.2.3", "/hosts/10.1.2.3"),
        ("%20fd00::1%20", "/hosts/fd00::1"),
        ("10.1.0.0/16", "/services?net=10.1.0.0%2F16"),
        ("10.1.0.1-10.1.0.9", "/services?net=10.1.0.1-10.1.0.9"),
        ("nightly-1", "/tasks/nightly-1"),
        // A complete id wins.
        ("office", "/jobs/office"),
        ("officer", "/tasks/officer"),
        ("443", "/services?port=443&state=open"),
    ] {
        let got = get(&site, &format!("/find?q={text}"));
        assert_eq!(
            (got.status, got.header("location")),
            (303, location),
            "{text}: {}",
            got.body
        );
    }
    let list = ok(&site, "/find?q=nightly").body;
    assert!(
        list.contains("/tasks/nightly-1") && list.contains("/tasks/nightly-2"),
        "{list}"
    );
    assert!(ok(&site, "/find?q=").body.contains("Type an address"));
    let hostile = get(&site, "/find?q=%3Cb%3E%0d%0aSet-Cookie:x");
    assert_eq!(hostile.status, 404);
    assert!(hostile.body.contains("&#60;b&#62;"), "{}", hostile.body);
}

#[test]
fn beside_a_result_stands_which_scans_are_incomplete() {
    let (mut store, first) = sample();
    assert!(
        ok(&first, "/services")
            .body
            .contains("is known to be incomplete")
    );
    let now_s = now_ms() / 1000;
    store.push(
        "broken",
        "10.1.0.0/24",
        "22",
        r#","shard":"1/2","job_id":"office""#,
    );
    store.end("broken", State::Completed, 0, now_s - 60, now_s - 30);
    // The scans are read again after some seconds; another site reads them at once.
    let site = site(&["-db", &store.url()]);
    for path in [
        "/services?net=10.1.0.9",
        "/hosts/10.1.0.9",
        "/network?net=10.1.0.0/16",
        "/changes?since=30d",
        "/services",
    ] {
        let page = ok(&site, path).body;
        assert!(page.contains("href=\"/tasks/broken\""), "{page}");
        assert!(page.contains("waits for shards"), "{page}");
    }
    let elsewhere = ok(&site, "/api/v1/services?net=10.2.0.0/16").json();
    assert_eq!(
        elsewhere["completeness"]["incomplete"],
        serde_json::json!([])
    );
    let here = ok(&site, "/api/v1/changes?net=10.1.0.0/16").json();
    let scan = &here["completeness"]["incomplete"][0];
    assert_eq!(
        (&scan["task_id"], &scan["state"]),
        (&"broken".into(), &"completed".into())
    );
}

#[test]
fn statistics_are_those_that_were_counted_last() {
    let (_store, site) = sample();
    assert_eq!(get(&site, "/api/v1/statistics").status, 503);
    assert!(!ok(&site, "/services").body.contains("<svg"));
    site.statistics.count(&site.readers);
    let document = ok(&site, "/api/v1/statistics").json();
    assert_eq!(
        (&document["open"], &document["closed"]),
        (&3.into(), &1.into())
    );
    assert_eq!(document["top_ports"][0]["port"], 22);
    assert_eq!(document["days"].as_array().unwrap().len(), 30);
    let page = ok(&site, "/services").body;
    assert!(
        page.contains("role=\"img\"") && page.contains("3 open services"),
        "{page}"
    );
    assert!(ok(&site, "/changes").body.contains("Changes per day"));
}

#[test]
fn a_network_has_a_map() {
    let (_store, site) = sample();
    let page = ok(&site, "/network?net=10.1.0.0/16").body;
    assert!(page.contains("10.1.0.0/16: 2 open services"), "{page}");
    assert!(
        page.contains("/services?net=10.1.0.0%2F24&amp;state=open"),
        "{page}"
    );
    assert!(
        ok(&site, "/network?net=10.1.0.0/24")
            .body
            .contains("10.1.0.10: 1 open")
    );
    assert!(
        ok(&site, "/network?net=10.2.0.0/16")
            .body
            .contains("No service is open")
    );
    assert!(
        ok(&site, "/network?net=0.0.0.0/0")
            .body
            .contains("/network?net=")
    );
    // Nothing is open: nothing is drawn, however large it is.
    assert!(ok(&site, "/network?net=128.0.0.0/1").body.len() < 9_000);
    assert_eq!(get(&site, "/network?net=fd00::/8").status, 400);
}
