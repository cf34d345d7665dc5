//! The script for fish.

use super::candidates::{EVERYWHERE, Takes, before_the_command, fill, short, takes, words_of};
use crate::scanpush::{COMMANDS, Command};

/// The whole script.
pub fn script() -> String {
    let (with_value, one_word) = before_the_command();
    fill(
        include_str!("scripts/scanpush.fish"),
        &[
            ("CONNECTION", &both_spellings(&with_value)),
            ("CONNECTION_ONE_WORD", &both_spellings(&one_word)),
            ("LINES", &COMMANDS.iter().map(lines).collect::<String>()),
        ],
    )
}

/// These patterns with one dash and with two.
fn both_spellings(patterns: &[String]) -> String {
    let both = patterns
        .iter()
        .flat_map(|pattern| [format!("'{pattern}'"), format!("'-{pattern}'")]);
    both.collect::<Vec<_>>().join(" ")
}

/// A line for a command and for each of its flags and words.
fn lines(command: &Command) -> String {
    let (name, about) = (command.name, quoted(short(command.about)));
    let mut lines =
        format!("complete -c scanpush -n __scanpush_no_command -a {name} -d '{about}'\n");
    let condition = format!("complete -c scanpush -n '__scanpush_is {name}'");
    for flag in command.all_flags() {
        let value = match takes(flag) {
            Takes::Nothing => String::new(),
            Takes::File => " -r -F".to_owned(),
            Takes::OneOf(words) => format!(" -x -a '{}'", words.join(" ")),
            Takes::Other => " -x".to_owned(),
        };
        let help = quoted(short(flag.help()));
        lines += &format!("{condition} -o {}{value} -d '{help}'\n", flag.name());
    }
    for (flag, help) in EVERYWHERE {
        lines += &format!("{condition} -o {flag} -d '{}'\n", quoted(help));
    }
    if let Some(words) = words_of(command) {
        lines += &format!("{condition} -a '{}'\n", words.join(" "));
    }
    lines
}

/// `text` inside single quotes.
fn quoted(text: &str) -> String {
    text.replace('\\', "\\\\").replace('\'', "\\'")
}
