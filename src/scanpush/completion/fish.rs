//! The script for fish.

use super::candidates::{EVERYWHERE, Takes, fill, short, takes, words_of};
use crate::flags::Flag;
use crate::flags::shared::CONNECTION;
use crate::scanpush::{COMMANDS, Command};

/// The whole script.
pub fn script() -> String {
    fill(
        include_str!("scripts/scanpush.fish"),
        &[
            ("CONNECTION", &connection("")),
            ("CONNECTION_EQUALS", &connection("=*")),
            ("LINES", &COMMANDS.iter().map(lines).collect::<String>()),
        ],
    )
}

/// The flags of [`CONNECTION`] in both spellings, each followed by `end`.
fn connection(end: &str) -> String {
    let names = CONNECTION.iter().map(Flag::name);
    let both = names.flat_map(|name| [format!("'-{name}{end}'"), format!("'--{name}{end}'")]);
    both.collect::<Vec<_>>().join(" ")
}

/// A line for a command and for each of its flags and words.
fn lines(command: &Command) -> String {
    let (name, about) = (command.name, quoted(short(command.about)));
    let mut lines =
        format!("complete -c scanpush -n __scanpush_no_command -a {name} -d '{about}'\n");
    let condition = format!("complete -c scanpush -n '__scanpush_is {name}'");
    for flag in command.flags {
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
