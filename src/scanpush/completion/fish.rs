//! The script for fish: `template.fish`, filled with the commands and flags. Pure.

use super::menu::{EVERYWHERE, Takes, fill, short, words_of};
use crate::flags::Flag;
use crate::flags::shared::CONNECTION;
use crate::scanpush::{COMMANDS, Command};

pub(super) fn script() -> String {
    let lines: String = COMMANDS.iter().map(lines).collect();
    let parts = [
        ("ONE", connection("")),
        ("EQUALS", connection("=*")),
        ("LINES", lines),
    ];
    let parts: Vec<(&str, &str)> = parts.iter().map(|(name, part)| (*name, &**part)).collect();
    fill(include_str!("template.fish"), &parts)
}

/// The flags of the connection in both spellings, each with `end`.
fn connection(end: &str) -> String {
    let names = CONNECTION.iter().map(Flag::name);
    let both = names.flat_map(|name| [format!("'-{name}{end}'"), format!("'--{name}{end}'")]);
    both.collect::<Vec<_>>().join(" ")
}

/// The `complete` lines of a command.
fn lines(command: &Command) -> String {
    let (name, about) = (command.name, quoted(short(command.about)));
    let mut lines =
        format!("complete -c scanpush -n __scanpush_no_command -a {name} -d '{about}'\n");
    let condition = format!("complete -c scanpush -n '__scanpush_is {name}'");
    for flag in command.flags {
        let what = match Takes::of(flag) {
            Takes::Nothing => String::new(),
            Takes::File => " -r -F".to_owned(),
            Takes::OneOf(words) => format!(" -x -a '{}'", words.join(" ")),
            Takes::Other => " -x".to_owned(),
        };
        let help = quoted(short(flag.help()));
        lines += &format!("{condition} -o {}{what} -d '{help}'\n", flag.name());
    }
    for (flag, help) in EVERYWHERE {
        lines += &format!("{condition} -o {flag} -d '{}'\n", quoted(help));
    }
    if let Some(words) = words_of(command) {
        lines += &format!("{condition} -a '{}'\n", words.join(" "));
    }
    lines
}

/// For a word between single quotes.
fn quoted(text: &str) -> String {
    text.replace('\\', "\\\\").replace('\'', "\\'")
}
