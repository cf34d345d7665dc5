//! The script for zsh: `template.zsh`, filled with the commands and flags. Pure.

use super::menu::{EVERYWHERE, Takes, fill, short, words_of};
use crate::flags::Flag;
use crate::flags::shared::CONNECTION;
use crate::scanpush::{COMMANDS, Command};

pub(super) fn script() -> String {
    let connection: Vec<&str> = CONNECTION.iter().map(Flag::shown).collect();
    let commands = COMMANDS.iter().map(|command| {
        let about = escaped(short(command.about));
        format!("        '{}:{about}'\n", command.name)
    });
    let parts = [
        ("ONE", connection.join("|")),
        ("EQUALS", connection.join("=*|") + "=*"),
        ("COMMANDS", commands.collect()),
        ("CASES", COMMANDS.iter().map(case).collect()),
    ];
    let parts: Vec<(&str, &str)> = parts.iter().map(|(name, part)| (*name, &**part)).collect();
    fill(include_str!("template.zsh"), &parts)
}

/// The command's case: its flags and words as arguments of `_arguments`.
fn case(command: &Command) -> String {
    let mut case = format!("    {})\n        _arguments -S \\\n", command.name);
    for flag in command.flags {
        let (name, help) = (flag.shown(), escaped(short(flag.help())));
        let value = flag.value().unwrap_or_default();
        let spec = match Takes::of(flag) {
            Takes::Nothing => format!("{name}[{help}]"),
            Takes::File => format!("{name}=[{help}]:{value}:_files"),
            Takes::OneOf(words) => format!("{name}=[{help}]:{value}:({})", words.join(" ")),
            Takes::Other => format!("{name}=[{help}]:{value}: "),
        };
        case += &format!("            '{spec}' \\\n");
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

/// For a specification of `_arguments` between single quotes.
fn escaped(text: &str) -> String {
    let mut escaped = String::new();
    for c in text.replace('\'', "'\\''").chars() {
        if matches!(c, '[' | ']' | ':') {
            escaped.push('\\');
        }
        escaped.push(c);
    }
    escaped
}
