//! What can be completed, from the tables of the commands. Pure.

use crate::flags::Flag;
use crate::flags::shared::CONNECTION;
use crate::scanpush::Command;

/// `-help` and `-version`, which every command takes and no table has.
pub const EVERYWHERE: [(&str, &str); 2] = [
    ("help", "show the command's flags and examples"),
    ("version", "show the version"),
];

/// What a flag takes.
pub enum Takes {
    /// No value.
    Nothing,
    /// A file's name.
    File,
    /// One of these words.
    OneOf(&'static [&'static str]),
    /// A value that cannot be completed.
    Other,
}

/// What `flag` takes.
pub fn takes(flag: &Flag) -> Takes {
    match (flag.value(), flag.words()) {
        (None, _) => Takes::Nothing,
        (_, Some(words)) => Takes::OneOf(words),
        (Some("FILE" | "PATH"), _) => Takes::File,
        _ => Takes::Other,
    }
}

/// Shell patterns of the flags that may stand before a command's name: those that are followed by a value, and those that are one word (with
/// `=value`, or a switch).
pub fn before_the_command() -> (Vec<String>, Vec<String>) {
    let (with_value, switches): (Vec<&Flag>, Vec<&Flag>) =
        CONNECTION.iter().partition(|flag| flag.value().is_some());
    let shown = |flag: &&Flag| flag.shown().to_owned();
    let attached = with_value.iter().map(|flag| format!("{}=*", flag.shown()));
    (
        with_value.iter().map(shown).collect(),
        attached.chain(switches.iter().map(shown)).collect(),
    )
}

/// The words that may follow a command's name, if its usage lists them: `completion bash|zsh|fish`.
pub fn words_of(command: &Command) -> Option<Vec<&'static str>> {
    let lower = |word: &str| word.bytes().all(|byte| byte.is_ascii_lowercase());
    let mut lists = command.usage.split(' ').map(|list| list.split('|'));
    let list = lists.find(|list| list.clone().count() > 1 && list.clone().all(lower))?;
    Some(list.collect())
}

/// The help up to its first clause, because a menu has little room.
pub fn short(help: &str) -> &str {
    let ends = ["; ", ": ", " ("];
    let end = ends.iter().filter_map(|end| help.find(end)).min();
    &help[..end.unwrap_or(help.len())]
}

/// `template` with each `@NAME@` replaced by the text of that name.
pub fn fill(template: &str, texts: &[(&str, &str)]) -> String {
    let mut filled = template.to_owned();
    for (name, text) in texts {
        filled = filled.replace(&format!("@{name}@"), text);
    }
    filled
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn menus_get_the_first_clause() {
        for (help, menu) in [
            ("as JSON", "as JSON"),
            ("0 to 9; higher first", "0 to 9"),
            ("a file (new)", "a file"),
            ("Redis, like redis://x", "Redis, like redis://x"),
        ] {
            assert_eq!(short(help), menu);
        }
    }
}
