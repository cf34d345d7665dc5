//! Comparisons on a real SQLite database.

use super::*;
use crate::flags;
use crate::model::State;
use crate::scanpush::sample_store::SampleStore;

/// What the command prints: stdout and stderr.
fn diff(store: &SampleStore, line: &[&str]) -> Result<(String, String), String> {
    let url = store.url();
    let line = [line, &["-db", &url]].concat();
    let options = flags::read_line(&line, COMMAND.flags, resolve).map_err(|e| e.to_string())?;
    let mut reader = StoreReader::open(&options.database).unwrap();
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let result = show(
        &mut reader,
        &options,
        &mut Output::new(&mut out, &mut err, None, true),
    );
    match result {
        Ok(()) => Ok((
            String::from_utf8(out).unwrap(),
            String::from_utf8(err).unwrap(),
        )),
        Err(Failure::Runtime(line)) => Err(line),
        Err(other) => panic!("{other:?}"),
    }
}

/// A scan: its targets and ports, how it ended, what its server left out, and what it found.
struct Scan {
    targets: &'static str,
    ports: &'static str,
    status: State,
    left_out: &'static str,
    found: &'static [(&'static str, u16)],
}

const WHOLE: Scan = Scan {
    targets: "10.0.0.0/24",
    ports: "22,80",
    status: State::Completed,
    left_out: "",
    found: &[("10.0.0.1", 22), ("10.0.0.2", 80)],
};

fn add(store: &mut SampleStore, id: &str, scan: &Scan, more: &str) {
    store.push(id, scan.targets, scan.ports, more);
    let found: Vec<(&str, u16, u64)> = scan
        .found
        .iter()
        .map(|(ip, port)| (*ip, *port, 1000))
        .collect();
    if !found.is_empty() {
        store.find(id, &found);
    }
    let found = found.len() as u64;
    store.end_without(id, scan.status, found, (900, 1100), scan.left_out);
}

#[test]
fn only_what_both_covered_is_compared() {
    let other = Scan {
        found: &[("10.0.0.1", 22), ("10.0.0.3", 22)],
        ..WHOLE
    };
    for (name, second, lines, counts) in [
        (
            "the same",
            WHOLE,
            "",
            "0 opened, 0 closed, 2 the same, 0 not",
        ),
        (
            "both ways",
            Scan { ..other },
            "- 10.0.0.2 80/tcp\n+ 10.0.0.3 22/tcp\n",
            "1 opened, 1 closed, 1 the same, 0 not",
        ),
        (
            "failed",
            Scan {
                status: State::Failed,
                ..other
            },
            "+ 10.0.0.3 22/tcp\n",
            "1 opened, 0 closed, 1 the same, 1 not",
        ),
        (
            "cancelled",
            Scan {
                status: State::Cancelled,
                ..other
            },
            "+ 10.0.0.3 22/tcp\n",
            "1 opened, 0 closed, 1 the same, 1 not",
        ),
        (
            "fewer ports",
            Scan {
                ports: "22",
                ..other
            },
            "+ 10.0.0.3 22/tcp\n",
            "1 opened, 0 closed, 1 the same, 1 not",
        ),
        (
            "fewer targets",
            Scan {
                targets: "10.0.0.0/31,10.0.0.3",
                ..other
            },
            "+ 10.0.0.3 22/tcp\n",
            "1 opened, 0 closed, 1 the same, 1 not",
        ),
        (
            "left out by the server",
            Scan {
                left_out: "10.0.0.2",
                ..other
            },
            "+ 10.0.0.3 22/tcp\n",
            "1 opened, 0 closed, 1 the same, 1 not",
        ),
        (
            "more targets",
            Scan {
                targets: "10.0.0.0/23",
                found: &[("10.0.1.1", 22)],
                ..WHOLE
            },
            "- 10.0.0.1 22/tcp\n- 10.0.0.2 80/tcp\n",
            "0 opened, 2 closed, 0 the same, 1 not",
        ),
        (
            "nothing found",
            Scan {
                found: &[],
                ..WHOLE
            },
            "- 10.0.0.1 22/tcp\n- 10.0.0.2 80/tcp\n",
            "0 opened, 2 closed, 0 the same, 0 not",
        ),
    ] {
        let mut store = SampleStore::new();
        add(&mut store, "one", &WHOLE, "");
        add(&mut store, "two", &second, "");
        let (out, err) = diff(&store, &["one", "two"]).unwrap();
        assert_eq!(out, lines, "{name}: {err}");
        assert!(
            err.lines().nth(2).unwrap().contains(counts),
            "{name}: {err}"
        );
        // The other way round, what had opened has closed, if both were covered.
        let (back, _) = diff(&store, &["two", "one"]).unwrap();
        if second.status == State::Completed && name == "both ways" {
            assert_eq!(back, "+ 10.0.0.2 80/tcp\n- 10.0.0.3 22/tcp\n");
        }
    }
}

#[test]
fn the_parts_and_the_reasons_are_named() {
    let mut store = SampleStore::new();
    add(&mut store, "one", &WHOLE, "");
    add(
        &mut store,
        "two",
        &Scan {
            status: State::Failed,
            found: &[],
            ..WHOLE
        },
        "",
    );
    let (out, err) = diff(&store, &["one", "two", "-json"]).unwrap();
    assert_eq!(out, "");
    assert_eq!(
        err,
        "\
scanpush: task one: completed 1970-01-01 00:18:20 UTC; covered 10.0.0.0/24 ports 22,80
scanpush: task two: failed 1970-01-01 00:18:20 UTC; covered nothing, since it has not completed
scanpush: 0 opened, 0 closed, 0 the same, 2 not comparable
scanpush: not comparable: 2 that only task one found and task two did not cover
"
    );
    let (out, _) = diff(&store, &["two", "one", "-json"]).unwrap();
    assert_eq!(out, "", "what the failed task did not find is not opened");
}

#[test]
fn shards_cover_only_together() {
    let shard = |found| Scan { found, ..WHOLE };
    for (second_shard, is_comparable) in [
        (Some(State::Completed), true),
        (Some(State::Failed), false),
        (None, false),
    ] {
        let mut store = SampleStore::new();
        add(&mut store, "one", &WHOLE, "");
        let more = |n| format!(r#","job_id":"night","shard":"{n}/2""#);
        add(&mut store, "s1", &shard(&[("10.0.0.1", 22)]), &more(1));
        if let Some(status) = second_shard {
            add(
                &mut store,
                "s2",
                &Scan {
                    status,
                    ..shard(&[])
                },
                &more(2),
            );
        }
        let (out, err) = diff(&store, &["one", "night"]).unwrap();
        let expected = if is_comparable {
            "- 10.0.0.2 80/tcp\n"
        } else {
            ""
        };
        assert_eq!(out, expected, "{second_shard:?}: {err}");
        // A shard alone.
        let (out, err) = diff(&store, &["one", "s1"]).unwrap();
        assert_eq!(out, "", "{err}");
        assert!(err.contains("it is a shard: compare jobs"), "{err}");
    }
}

#[test]
fn a_job_covers_what_its_completed_tasks_cover() {
    let mut store = SampleStore::new();
    let job = r#","job_id":"night""#;
    add(
        &mut store,
        "one",
        &Scan {
            found: &[("10.0.0.1", 22), ("10.0.0.200", 22)],
            ..WHOLE
        },
        "",
    );
    add(
        &mut store,
        "low",
        &Scan {
            targets: "10.0.0.0/25",
            found: &[],
            ..WHOLE
        },
        job,
    );
    let high = Scan {
        targets: "10.0.0.128/25",
        status: State::Cancelled,
        found: &[],
        ..WHOLE
    };
    add(&mut store, "high", &high, job);
    let (out, err) = diff(&store, &["one", "night"]).unwrap();
    assert_eq!(out, "- 10.0.0.1 22/tcp\n", "{err}");
    assert!(
        err.contains(
            "job night: 1 of 2 tasks completed, 1 cancelled; covered 10.0.0.0/25 ports 22,80"
        ),
        "{err}"
    );
}

#[test]
fn findings_that_are_not_kept_prove_nothing() {
    let mut store = SampleStore::with(false);
    add(&mut store, "one", &WHOLE, "");
    add(&mut store, "two", &WHOLE, "");
    let error = diff(&store, &["one", "two"]).unwrap_err();
    assert!(
        error.contains("no findings of task one, which found 2"),
        "{error}"
    );
    assert!(
        error.contains("-keep-findings") && error.contains("scanpush results -diff"),
        "{error}"
    );
    // Some are missing.
    let mut store = SampleStore::new();
    add(&mut store, "one", &WHOLE, "");
    store.push("two", WHOLE.targets, WHOLE.ports, "");
    store.find("two", &[("10.0.0.1", 22, 1000)]);
    store.end("two", State::Completed, 2, 900, 1100);
    let (out, err) = diff(&store, &["one", "two"]).unwrap();
    assert_eq!(out, "");
    assert!(
        err.contains(
            "covered nothing, since findings are missing (the database has 1 findings of 2)"
        ),
        "{err}"
    );
}

#[test]
fn ids_are_found_or_one_line_says_why_not() {
    let mut store = SampleStore::new();
    add(&mut store, "night-1", &WHOLE, r#","job_id":"job-1""#);
    add(&mut store, "night-2", &WHOLE, r#","job_id":"night-1""#);
    add(&mut store, "daily", &WHOLE, "");
    for (line, wrong) in [
        (&["daily"][..], "give two ids of tasks or jobs, not 1"),
        (
            &["daily", "night-2", "x"],
            "give two ids of tasks or jobs, not 3",
        ),
        (&["daily", "daily"], "\"daily\" is given twice"),
        (&["daily", "dail"], "both ids stand for task daily"),
        (
            &["daily", "nobody"],
            "\"nobody\" is neither a task nor a job of the database",
        ),
        (&["daily", "da"], "\"da\" is neither a task nor a job"),
        (
            &["daily", "night-1"],
            "\"night-1\" is both a task and a job of the database",
        ),
        (
            &["daily", "nigh"],
            "\"nigh\" is ambiguous: 2 tasks or jobs begin with it: night-1, night-2",
        ),
    ] {
        let error = diff(&store, line).unwrap_err();
        assert!(error.starts_with(wrong), "{line:?}: {error}");
    }
    assert!(diff(&store, &["dail", "job-"]).is_ok());
}
