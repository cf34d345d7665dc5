//! Fuzzing of scand's command line.

use super::options;
use crate::fuzz::{ACCEPTED, fuzz, one_bounded_line};
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;

/// The input is words, separated by line feeds.
#[test]
fn any_command_line_is_options_or_one_bounded_line() {
    let samples: [&[u8]; 2] = [
        b"-group\nscanners\n-kafka\nk1:9092,k2\n-redis=redis://localhost:6379/1\n-slots\n8\n-max-rate\n10k\n-allow\n10.0.0.0/8,2001:db8::/32\n-exclude\n10.0.0.1",
        b"-name\na\n-lease\n15\n-interface\neth0\n-source-port\n40000-41000\n-router-mac\n02-00-00-00-00-01\n-http\n127.0.0.1:9100\n-v",
    ];
    let words = [
        "\n-allow\n",
        "\n-exclude\n",
        "\n-kafka\n",
        "\n-redis\n",
        "\n-source-ip\n",
        "--",
        "-h",
        "\n-slots\n",
        "\n-poll\n",
    ];
    fuzz("command lines", &samples, &words, |input| {
        let words = input.split(|&byte| byte == b'\n');
        // A file of this machine is not part of the input.
        let words: Vec<OsString> = words
            .map(|word| OsString::from_vec(word.to_vec()))
            .collect();
        match options::parse(words) {
            Ok(_) => ACCEPTED.to_owned(),
            Err(error) => one_bounded_line(&error),
        }
    });
}
