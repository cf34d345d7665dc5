//! Splits a command line into flags and other words, checks the flags against their declarations, and writes them in a form that pico-args
//! cannot misread. Pure.

use super::flag::{Flag, Takes};
use super::suggest::nearest;
use crate::model::Invalid;
use crate::model::text::{QUOTED_TEXT_MAX_CHARS, quoted};
use std::ffi::OsString;

/// A command line.
#[derive(Debug)]
pub(super) enum Line {
    /// `-help` or `-h` occurs anywhere, even if the rest is invalid.
    Help,
    /// `-version` occurs anywhere, and no `-help`.
    Version,
    Run {
        /// In the order of the command line, each once.
        given: Vec<Given>,
        /// The words that belong to no flag, in order.
        words: Vec<String>,
    },
}

impl Line {
    /// Splits `args` (without the names of the program and the command). Errs on an unknown flag, a flag that is given twice, without its value
    /// or with an empty one, and text that is not UTF-8.
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
#[derive(Debug)]
pub(super) struct Given {
    pub(super) flag: Flag,
    value: String,
}

/// Whether a word is a flag. A lone `-` is not: by convention it means standard input.
pub fn looks_like_a_flag(text: &str) -> bool {
    text.len() > 1 && text.starts_with('-')
}

/// The name, without one or two dashes, and the value of `-name=value`; no value if there is no `=`.
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

/// The word for pico-args: `--name`, or `--name="value"` in one word, so that no value is taken for a flag; nothing for a switch that is off.
/// pico-args removes one pair of quotes around such a value, so the text between them arrives as it was typed.
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

/// Switches accept `=true` and `=false`, as Go's boolean flags do.
fn switch_value(flag: &Flag, attached: Option<&str>) -> Result<String, Invalid> {
    match attached {
        None | Some("true") => Ok("true".to_owned()),
        Some("false") => Ok("false".to_owned()),
        Some(value) => {
            let name = flag.shown();
            let wrong = format!("is unexpected: {name} takes no value");
            Err(Invalid::new(value, wrong).of(name))
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
    // A value that cannot be repeated as it is, is only quoted.
    let is_plain = value.len() <= QUOTED_TEXT_MAX_CHARS && !value.contains(char::is_control);
    let shown = if is_plain { value.as_str() } else { "…" };
    let wrong = format!(
        "begins with a dash: write {}, or {name}={shown} if it is the value",
        flag.usage()
    );
    Err(Invalid::new(&value, wrong).of(name))
}

fn given_twice(first: &Given, second: &Given) -> Invalid {
    let (one, other) = (quoted(&first.value), quoted(&second.value));
    Invalid::about(format!("is given twice, {one} and {other}: give it once"))
        .of(first.flag.shown())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::ffi::OsStringExt;

    const IP: Flag = Flag::required("--ip", "TARGETS", "addresses");
    const PORTS: Flag = Flag::optional("--ports", "PORTS", "ports");
    const JSON: Flag = Flag::switch("--json", "as JSON");
    const V: Flag = Flag::switch("--v", "debug");
    const TABLE: &[Flag] = &[IP, PORTS, JSON, V];

    fn split_line(line: &[&str]) -> Result<Line, Invalid> {
        Line::split(line.iter().map(OsString::from).collect(), TABLE)
    }

    #[test]
    fn the_form_for_pico_args_is_unambiguous() {
        for (line, normal) in [
            (&["-ip", "a", "--v"][..], &["--ip=\"a\"", "--v"][..]),
            (&["--ip=-v", "x"], &["--ip=\"-v\""]),
            (
                &["-json=false", "-v=true", "-ip=\""],
                &["--v", "--ip=\"\"\""],
            ),
        ] {
            let Ok(Line::Run { given, .. }) = split_line(line) else {
                panic!("{line:?}");
            };
            let words: Vec<OsString> = given.iter().filter_map(normalised).collect();
            assert_eq!(words, normal, "{line:?}");
        }
    }

    #[test]
    fn an_error_names_the_flag_the_value_and_what_would_be_right() {
        for (line, error) in [
            (
                &["-ip"][..],
                "-ip: has no value: write -ip TARGETS: addresses",
            ),
            (
                &["-ip", ""],
                "-ip: \"\" is an empty value: write -ip TARGETS: addresses",
            ),
            (
                &["-ip="],
                "-ip: \"\" is an empty value: write -ip TARGETS: addresses",
            ),
            (
                &["-ip", "-ports", "80"],
                "-ip: \"-ports\" begins with a dash: write -ip TARGETS, or -ip=-ports if it is the value",
            ),
            (&["-ip", "--", "80"], "-ip: \"--\" begins with a dash"),
            (
                &["-ip", "a", "-ip=b"],
                "-ip: is given twice, \"a\" and \"b\": give it once",
            ),
            (&["-ip", "a", "-v", "--v"], "-v: is given twice"),
            (
                &["-prots", "80"],
                "\"-prots\" is an unknown flag: did you mean -ports?",
            ),
            (
                &["-hepl"],
                "\"-hepl\" is an unknown flag: did you mean -help?",
            ),
            (
                &["-banners"],
                "\"-banners\" is an unknown flag: -help lists the flags",
            ),
            (&["--banners=x"], "\"-banners\" is an unknown flag"),
            (&["---ip", "a"], "\"--ip\" is an unknown flag"),
            (&["-=a"], "\"-\" is an unknown flag"),
            (&["-vv"], "\"-vv\" is an unknown flag: did you mean -v?"),
            (&["-a\nb\x1b"], "\"-a\\nb\\u{1b}\" is an unknown flag"),
            (
                &["-ip", "a", "-json=yes"],
                "-json: \"yes\" is unexpected: -json takes no value",
            ),
        ] {
            let shown = split_line(line).unwrap_err().to_string();
            assert!(shown.contains(error), "{line:?}: {shown}");
            assert!(!shown.contains('\n'), "{line:?}: {shown}");
        }
    }

    #[test]
    fn text_that_is_not_utf8_is_an_error() {
        let bad = || OsString::from_vec(b"a\xff".to_vec());
        for line in [
            vec![bad()],
            vec!["-ip".into(), bad()],
            vec![OsString::from_vec(b"-ip=\xff".to_vec())],
            vec!["--".into(), bad()],
        ] {
            let error = Line::split(line, TABLE).unwrap_err().to_string();
            assert!(error.contains("is not UTF-8 text"), "{error}");
        }
    }

    #[test]
    fn help_and_version_are_shown_even_if_the_rest_is_invalid() {
        for line in [
            &["-help"][..],
            &["--help"],
            &["-h"],
            &["-bogus", "-h"],
            &["-ip", "-help"],
            &["-version", "-help"],
        ] {
            assert!(matches!(split_line(line), Ok(Line::Help)), "{line:?}");
        }
        for line in [&["-version"][..], &["x", "--version"]] {
            assert!(matches!(split_line(line), Ok(Line::Version)), "{line:?}");
        }
        for line in [&["--", "-help"][..], &["-ip=-help"], &["help"]] {
            assert!(matches!(split_line(line), Ok(Line::Run { .. })), "{line:?}");
        }
    }
}
