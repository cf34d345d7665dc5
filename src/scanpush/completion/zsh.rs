//! The script for zsh.

use super::candidates::{EVERYWHERE, Takes, before_the_command, fill, short, takes, words_of};
use crate::flags::Flag;
use crate::scanpush::{COMMANDS, Command};

/// The whole script.
pub fn script() -> String {
    let (with_value, one_word) = before_the_command();
    let all = |part: fn(&Command) -> String| COMMANDS.iter().map(part).collect::<String>();
    fill(
        include_str!("scripts/scanpush.zsh"),
        &[
            ("CONNECTION", &with_value.join("|")),
            ("CONNECTION_ONE_WORD", &one_word.join("|")),
            ("COMMANDS", &all(entry)),
            ("CASES", &all(case)),
        ],
    )
}

/// A command in the list of commands.
fn entry(command: &Command) -> String {
    let about = escaped(short(command.about));
    format!("        '{}:{about}'\n", command.name)
}

/// The arguments of a command.
fn case(command: &Command) -> String {
    let mut case = format!("    {})\n        _arguments -S \\\n", command.name);
    for flag in command.all_flags() {
        case += &format!("            '{}' \\\n", argument(flag));
    }
    for (name, help) in EVERYWHERE {
        case += &format!("            '-{name}[{}]' \\\n", escaped(help));
    }
    case += &match words_of(command) {
        Some(words) => format!("            '1:word:({})'\n", words.join(" ")),
        None => "            '*:word: '\n".to_owned(),
    };
    case + "        ;;\n"
}

/// A flag in the notation of `_arguments`.
fn argument(flag: &Flag) -> String {
    let (name, help) = (flag.shown(), escaped(short(flag.help())));
    let value = flag.value().unwrap_or_default();
    match takes(flag) {
        Takes::Nothing => format!("{name}[{help}]"),
        Takes::File => format!("{name}=[{help}]:{value}:_files"),
        Takes::OneOf(words) => format!("{name}=[{help}]:{value}:({})", words.join(" ")),
        Takes::Other => format!("{name}=[{help}]:{value}: "),
    }
}

/// `text` inside single quotes in the notation of `_arguments`.
fn escaped(text: &str) -> String {
    let mut escaped = String::new();
    for c in text.chars() {
        match c {
            '\'' => escaped += "'\\''",
            '[' | ']' | ':' => escaped.extend(['\\', c]),
            c => escaped.push(c),
        }
    }
    escaped
}
