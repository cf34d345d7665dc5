//! Fuzzing of what Redis contains.

use super::claims::{claimed, reaped, waiting};
use super::control::retry_of;
use super::fields::Fields;
use super::url::RedisUrl;
use super::view::{live_server, live_task};
use crate::fuzz::{ACCEPTED, fuzz_text, one_bounded_line};

/// The input is names and values, separated by line feeds, as a script returns them.
#[test]
fn any_hash_in_redis_is_a_task_or_one_bounded_line() {
    let samples: [&[u8]; 2] = [
        b"task_id\na\nstatus\nqueued\nprogress\n12.5\nfound\n3\nfound_by_pass\n3,4\nattempt\n1\nfence\n1795333296000000\npartition\n0\n\
          offset\n4\nqueued_ms\n1795333296000\nupdated_ms\n1795333296000\nfinished_ms\n1795333296000\nresume_pass\n1\nresume_index\n5\n\
          resume_for\n1:0123456789abcdef\nretry\n1\nshard\n1/2\nrecord\n\
          {\"task_id\":\"a\",\"ip_range\":\"10.0.0.0/8\",\"ports\":\"80\",\"band_width\":\"100\"}",
        b"slots\n8\nfree\n4\nheld\n4\nrate_used\n800\nmax_rate\n0\nversion\n0.1.0\nseen_ms\n1795333296000\nfault\nx",
    ];
    let words = [
        "failed",
        "cancelled",
        "rejected",
        "running",
        "order",
        "cancel",
        "server_exclude",
        "begun_ms",
        "ending",
        "requeued",
        "\n\n",
        "NaN",
        "inf",
    ];
    fuzz_text("hashes", &samples, &words, |text| {
        let flat = || text.split('\n').map(str::to_owned).collect::<Vec<String>>();
        let fields = || Fields::from_flat(flat());
        let mut outcomes = vec![
            waiting(&fields()).map(drop),
            retry_of(&fields()).map(drop),
            claimed(fields()).map(drop),
            reaped([vec!["requeued".to_owned(), "s".to_owned()], flat()].concat()).map(drop),
            reaped(flat()).map(drop),
        ];
        if let Some(task) = live_task(&fields()) {
            serde_json::to_string(&task).unwrap();
        }
        if let Some(server) = live_server("s", &fields(), 4, 5) {
            serde_json::to_string(&server).unwrap();
        }
        match outcomes.iter().any(Result::is_ok) {
            true => ACCEPTED.to_owned(),
            false => outcomes
                .drain(..)
                .map(|outcome| one_bounded_line(&outcome.unwrap_err()))
                .collect(),
        }
    });
}

#[test]
fn any_url_of_redis_is_displayed_without_its_password() {
    let samples: [&[u8]; 4] = [
        b"redis://user:secret@host:6379/1",
        b"rediss://:secret@[::1]",
        b"redis+sentinel://a:26379,b/primary/2",
        b"unix:///run/redis.sock?db=1",
    ];
    fuzz_text(
        "URLs of Redis",
        &samples,
        &[
            "redis://",
            "rediss://",
            "unix://",
            "@",
            "%40",
            "#",
            "?",
            "secret@",
        ],
        |text| match text.parse::<RedisUrl>() {
            Err(error) => one_bounded_line(&error),
            Ok(url) => {
                url.to_string();
                ACCEPTED.to_owned()
            }
        },
    );
}
