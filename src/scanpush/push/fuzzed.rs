//! Fuzzing of the command line of a push.

use super::{flags, options};
use crate::flags::{Asked, read};
use crate::fuzz::{ACCEPTED, fuzz, one_bounded_line};
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;

/// The input is words, separated by line feeds.
#[test]
fn any_command_line_of_a_push_is_options_or_one_bounded_line() {
    let samples: [&[u8]; 2] = [
        b"-ip\n10.0.0.0/24,192.0.2.1-192.0.2.9\n-ports\n80,443,U:53\n-bandwidth\n1.5k\n-retries=2\n-wait\n3\n-priority\n9\n-dry-run",
        b"-ip\n10.0.0.0/8\n-exclude\n10.1.0.0/16\n-ports\n1-65535\n-shards\n16\n-parallel\n4\n-kafka\nk:9092\n-json\n-timeout\n2h",
    ];
    let words = [
        "\n-shards\n",
        "\n-pack\n",
        "\n-timeout\n",
        "\n-attempts\n",
        "\n-seed\n",
        "\n-resume-push\n",
        "U:",
        "k",
        "m",
    ];
    fuzz("command lines of pushes", &samples, &words, |input| {
        let words = input.split(|&byte| byte == b'\n');
        let words: Vec<OsString> = words
            .map(|word| OsString::from_vec(word.to_vec()))
            .collect();
        let parsed = read(words, flags::FLAGS, |_| None).and_then(|asked| match asked {
            Asked::Run(reader) => options::read(reader).map(drop),
            Asked::Help | Asked::Version => Ok(()),
        });
        match parsed {
            Ok(()) => ACCEPTED.to_owned(),
            Err(error) => one_bounded_line(&error),
        }
    });
}
