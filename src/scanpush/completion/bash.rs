//! The script for bash.

use super::candidates::{Takes, before_the_command, fill, takes, words_of};
use crate::flags::Flag;
use crate::scanpush::{COMMANDS, Command};

/// The whole script.
pub fn script() -> String {
    let names: Vec<&str> = COMMANDS.iter().map(|command| command.name).collect();
    let (with_value, one_word) = before_the_command();
    let all = |cases: fn(&Command) -> String| COMMANDS.iter().map(cases).collect::<String>();
    fill(
        include_str!("scripts/scanpush.bash"),
        &[
            ("CONNECTION", &with_value.join("|")),
            ("CONNECTION_ONE_WORD", &one_word.join("|")),
            ("COMMANDS", &names.join(" ")),
            ("FLAGS", &all(flags)),
            ("VALUES", &all(values)),
            ("WORDS", &all(words)),
        ],
    )
}

/// The case that lists the flags of a command.
fn flags(command: &Command) -> String {
    let flags = command.all_flags().map(Flag::shown);
    let flags: Vec<&str> = flags.chain(["-help", "-version"]).collect();
    format!("        {}) flags='{}' ;;\n", command.name, flags.join(" "))
}

/// A case for each flag of a command that takes a value.
fn values(command: &Command) -> String {
    let case = |flag: &Flag| {
        let action = match takes(flag) {
            Takes::Nothing => return String::new(),
            Takes::File => "_scanpush_files \"$cur\"; return".to_owned(),
            Takes::OneOf(words) => format!("words='{}'", words.join(" ")),
            Takes::Other => "return".to_owned(),
        };
        let (name, flag) = (command.name, flag.shown());
        format!("        '{name} {flag}') {action} ;;\n")
    };
    command.all_flags().map(case).collect()
}

/// The case of a command that takes one of some words.
fn words(command: &Command) -> String {
    words_of(command).map_or(String::new(), |words| {
        format!("        {}) words='{}' ;;\n", command.name, words.join(" "))
    })
}
