//! The words of a command line as flags and other words, checked against the declared flags; and the form that pico-args reads
//! unambiguously. Pure.

use super::flag::{Flag, Takes};
use super::suggest::nearest;
use crate::model::Invalid;
use crate::model::text::quoted;
use std::ffi::OsString;

/// A command line.
pub(super) enum Line {
    /// Show help: `-help` or `-h` occurs anywhere, whatever else is wrong.
    Help,
    /// Show the version.
    Version,
    /// Flags and words.
    Run {
        /// In the order of the command line, each once.
        given: Vec<Given>,
        /// The words that belong to no flag, in order.
        words: Vec<String>,
    },
}

impl Line {
    /// Splits `args` (without the names of the program and the command). Errs on an unknown flag, a flag given twice, without its value or with
    /// an empty one, and text that is not UTF-8.
    pub(super) fn split(args: Vec<OsString>, table: &[Flag]) -> Result<Line, Invalid> {
        if asks_for(&args, &["-help", "--help", "-h"]) {
            return Ok(Line::Help);
        }
        if asks_for(&args, &["-version", "--version"]) {
            return Ok(Line::Version);
        }
        let (mut given, mut words) = (Vec::<Given>::new(), Vec::new());
        let mut args = args.into_iter();
        while let Some(arg) = args.next() {
            let text = utf8(arg)?;
            if text == "--" {
                words.extend(args.map(utf8).collect::<Result<Vec<_>, _>>()?);
                break;
            }
            if !looks_like_a_flag(&text) {
                words.push(text);
                continue;
            }
            let new = given_flag(&text, &mut args, table)?;
            if let Some(first) = given.iter().find(|first| first.flag.key == new.flag.key) {
                return Err(given_twice(first, &new));
            }
            given.push(new);
        }
        Ok(Line::Run { given, words })
    }
}

/// A flag of the command line with its value; a switch has `true` or `false`.
pub(super) struct Given {
    pub(super) flag: Flag,
    value: String,
}

fn asks_for(args: &[OsString], spellings: &[&str]) -> bool {
    args.iter()
        .take_while(|arg| *arg != "--")
        .any(|arg| spellings.iter().any(|spelling| arg == spelling))
}

/// The flag in the word `text`, with its value from the same word or from `rest`.
fn given_flag(
    text: &str,
    rest: &mut impl Iterator<Item = OsString>,
    table: &[Flag],
) -> Result<Given, Invalid> {
    let (name, attached) = split(text);
    let flag = find(name, table)?;
    let value = match (flag.takes, attached) {
        (Takes::Nothing, attached) => switch_value(&flag, attached)?,
        (_, Some(value)) => value.to_owned(),
        (_, None) => following_value(&flag, rest.next())?,
    };
    if value.is_empty() {
        return Err(flag.needed("\"\" is an empty value"));
    }
    Ok(Given { flag, value })
}

/// Whether a word is a flag. A lone `-` is not: by convention it means standard input.
pub fn looks_like_a_flag(text: &str) -> bool {
    text.len() > 1 && text.starts_with('-')
}

/// Splits `-name=value`; one dash or two.
pub fn split(text: &str) -> (&str, Option<&str>) {
    let bare = text
        .strip_prefix("--")
        .or(text.strip_prefix('-'))
        .unwrap_or(text);
    match bare.split_once('=') {
        Some((name, value)) => (name, Some(value)),
        None => (bare, None),
    }
}

fn find(name: &str, table: &[Flag]) -> Result<Flag, Invalid> {
    if let Some(flag) = table.iter().find(|flag| flag.name() == name) {
        return Ok(*flag);
    }
    let names = table.iter().map(Flag::name).chain(["help", "version"]);
    let hint = match nearest(name, names) {
        Some(near) => format!("did you mean -{near}?"),
        None => "-help lists the flags".to_owned(),
    };
    Err(Invalid::new(
        &format!("-{name}"),
        format!("is an unknown flag: {hint}"),
    ))
}

/// Go's boolean flags accept `=true` and `=false`. A switch with `=false` is left out of the normalised
/// form.
fn switch_value(flag: &Flag, attached: Option<&str>) -> Result<String, Invalid> {
    match attached {
        None | Some("true") => Ok("true".to_owned()),
        Some("false") => Ok("false".to_owned()),
        Some(value) => {
            let error = Invalid::new(
                value,
                format!("is too much: {} takes no value", flag.shown()),
            );
            Err(error.of(flag.shown()))
        }
    }
}

fn following_value(flag: &Flag, next: Option<OsString>) -> Result<String, Invalid> {
    let Some(next) = next else {
        return Err(flag.needed("has no value"));
    };
    let value = utf8(next).map_err(|error| error.of(flag.shown()))?;
    if !looks_like_a_flag(&value) {
        return Ok(value);
    }
    let name = flag.shown();
    let instead = format!(
        "stands where the value should: write {}, or {name}={value} if it is meant",
        flag.usage()
    );
    Err(Invalid::new(&value, instead).of(name))
}

fn given_twice(first: &Given, second: &Given) -> Invalid {
    let (one, other) = (quoted(&first.value), quoted(&second.value));
    Invalid::about(format!("is given twice, {one} and {other}: give it once"))
        .of(first.flag.shown())
}

/// The word for pico-args: `--name`, or `--name="value"` in one word, so that no value is taken for a flag. pico-args removes one pair of
/// quotes around such a value, so the text between them arrives as it was
/// typed.
pub(super) fn normalised(Given { flag, value }: &Given) -> Option<OsString> {
    match (flag.takes, value.as_str()) {
        (Takes::Nothing, "false") => None,
        (Takes::Nothing, _) => Some(flag.key.into()),
        _ => Some(format!("{}=\"{value}\"", flag.key).into()),
    }
}

pub(super) fn utf8(arg: OsString) -> Result<String, Invalid> {
    arg.into_string()
        .map_err(|arg| Invalid::new(&arg.to_string_lossy(), "is not UTF-8 text"))
}
