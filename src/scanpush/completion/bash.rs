//! The script for bash: `template.bash`, filled with the commands and flags. Pure.

use super::menu::{Takes, fill, words_of};
use crate::flags::Flag;
use crate::flags::shared::CONNECTION;
use crate::scanpush::{COMMANDS, Command};

pub(super) fn script() -> String {
    let names: Vec<&str> = COMMANDS.iter().map(|command| command.name).collect();
    let connection: Vec<&str> = CONNECTION.iter().map(Flag::shown).collect();
    let all = |lines: fn(&Command) -> String| COMMANDS.iter().map(lines).collect::<String>();
    let parts = [
        ("NAMES", names.join(" ")),
        ("ONE", connection.join("|")),
        ("EQUALS", connection.join("=*|") + "=*"),
        ("FLAGS", all(flags)),
        ("VALUES", all(values)),
        ("WORDS", all(words)),
    ];
    let parts: Vec<(&str, &str)> = parts.iter().map(|(name, part)| (*name, &**part)).collect();
    fill(include_str!("template.bash"), &parts)
}

/// The command's case with its flags.
fn flags(command: &Command) -> String {
    let flags = command.flags.iter().map(Flag::shown);
    let flags: Vec<&str> = flags.chain(["-help", "-version"]).collect();
    format!("        {}) flags='{}' ;;\n", command.name, flags.join(" "))
}

/// A case for each of the command's flags that takes a value.
fn values(command: &Command) -> String {
    let case = |flag: &Flag| {
        let name = format!("'{} {}'", command.name, flag.shown());
        match Takes::of(flag) {
            Takes::Nothing => String::new(),
            Takes::File => format!("        {name}) _scanpush_files \"$cur\"; return ;;\n"),
            Takes::OneOf(words) => format!("        {name}) words='{}' ;;\n", words.join(" ")),
            Takes::Other => format!("        {name}) return ;;\n"),
        }
    };
    command.flags.iter().map(case).collect()
}

/// The command's case with the words that may follow its name.
fn words(command: &Command) -> String {
    words_of(command).map_or(String::new(), |list| {
        format!("        {}) words='{}' ;;\n", command.name, list.join(" "))
    })
}
