//! Flags in Go's style for all programs and commands: `-name value`, `-name=value` and `--name` are equivalent.
//!
//! A command lists its flags as a table of [`Flag`]s. [`read`] checks a command line against it and returns a [`Reader`], which hands out typed
//! values. The help text is made from the same table, so that a flag, its default and its help are written
//! once.
//!
//! **Invariant:** pure: nothing here prints, exits or reads the environment. Every error is one line that names the flag, its value and what would
//! be valid.
//!
//! pico-args does the lookup, but refuses words with a single dash and may take a value for a flag. So [`read`] first converts the command line
//! into an unambiguous form.

pub mod shared;
pub mod suggest;
pub mod values;

use crate::model::Invalid;
use crate::model::text::quoted;
use std::convert::Infallible;
use std::ffi::OsString;
use suggest::nearest;

/// One flag of a command.
#[derive(Clone, Copy, Debug)]
pub struct Flag {
    /// The form for pico-args, `--ip`; shown as `-ip`.
    key: &'static str,
    takes: Takes,
    help: &'static str,
    /// The environment variable that is used if the flag is not given.
    variable: Option<&'static str>,
    /// The possible values, if there are only a few; for completion.
    words: Option<&'static [&'static str]>,
}

/// Whether the flag has a value; the first text is its name in the help.
#[derive(Clone, Copy, Debug)]
enum Takes {
    Nothing,
    Required(&'static str),
    Optional(&'static str),
    Default(&'static str, &'static str),
}

impl Flag {
    /// A flag without a value: on if given. `key` has two dashes here and in the other constructors.
    pub const fn switch(key: &'static str, help: &'static str) -> Flag {
        Flag::new(key, Takes::Nothing, help)
    }

    /// A required flag. `value` is the name of its value in the help: `TARGETS`.
    pub const fn required(key: &'static str, value: &'static str, help: &'static str) -> Flag {
        Flag::new(key, Takes::Required(value), help)
    }

    /// An optional flag without a default.
    pub const fn optional(key: &'static str, value: &'static str, help: &'static str) -> Flag {
        Flag::new(key, Takes::Optional(value), help)
    }

    /// An optional flag with a default.
    pub const fn with_default(
        key: &'static str,
        value: &'static str,
        default: &'static str,
        help: &'static str,
    ) -> Flag {
        Flag::new(key, Takes::Default(value, default), help)
    }

    /// The same flag with an environment variable that is used if the flag is not given.
    pub const fn or_variable(mut self, name: &'static str) -> Flag {
        self.variable = Some(name);
        self
    }

    /// The same flag with its possible values. Completion offers them; the command checks the value.
    pub const fn one_of(mut self, words: &'static [&'static str]) -> Flag {
        self.words = Some(words);
        self
    }

    const fn new(key: &'static str, takes: Takes, help: &'static str) -> Flag {
        Flag {
            key,
            takes,
            help,
            variable: None,
            words: None,
        }
    }

    /// The flag as it is written: `-ip`.
    pub fn shown(&self) -> &'static str {
        &self.key[1..]
    }

    /// The flag without dashes: `ip`.
    pub fn name(&self) -> &'static str {
        &self.key[2..]
    }

    /// The name of its value in the help; none for a switch.
    pub fn value(&self) -> Option<&'static str> {
        match self.takes {
            Takes::Nothing => None,
            Takes::Required(value) | Takes::Optional(value) | Takes::Default(value, _) => {
                Some(value)
            }
        }
    }

    /// Its possible values, if there are only a few.
    pub fn words(&self) -> Option<&'static [&'static str]> {
        self.words
    }

    /// Its default, as it would be written.
    pub fn default(&self) -> Option<&'static str> {
        match self.takes {
            Takes::Default(_, default) => Some(default),
            _ => None,
        }
    }

    /// Whether it is required.
    pub fn is_required(&self) -> bool {
        matches!(self.takes, Takes::Required(_))
    }

    /// What it is for, as one line.
    pub fn help(&self) -> &'static str {
        self.help
    }

    /// The error for a command line without it.
    pub fn missing(&self) -> Invalid {
        needed(self, "is required")
    }

    /// `-ip TARGETS`, or `-json`.
    pub fn usage(&self) -> String {
        match self.value() {
            Some(value) => format!("{} {value}", self.shown()),
            None => self.shown().to_owned(),
        }
    }
}

/// What a command line asks for.
#[derive(Debug)]
pub enum Asked {
    /// Show help: `-help` or `-h` occurs anywhere, whatever else is wrong.
    Help,
    /// Show the version.
    Version,
    /// Do the work.
    Run(Reader),
}

/// A checked command line, from which a command takes its values. [`Reader::finish`] comes last.
#[derive(Debug)]
pub struct Reader {
    flags: pico_args::Arguments,
    /// The keys of the flags on the command line.
    given: Vec<&'static str>,
    /// Values from the environment: the flag's key, the variable, its value.
    environment: Vec<(&'static str, &'static str, String)>,
    words: Vec<String>,
}

/// As [`read_with`], without an environment.
pub fn read(args: Vec<OsString>, table: &[Flag]) -> Result<Asked, Invalid> {
    read_with(args, table, |_| None)
}

/// Checks `args` (without the names of the program and the command) against a command's table; `variable` returns the value of an environment
/// variable. Errs on everything that can be checked without knowing
/// values: an unknown flag, a flag given twice, without its value or with an empty one, text that is
/// not UTF-8. A value that begins with a dash must be written `-name=-value` (a lone `-` is a value); after `--`
/// there are only words.
pub fn read_with(
    args: Vec<OsString>,
    table: &[Flag],
    variable: impl Fn(&str) -> Option<OsString>,
) -> Result<Asked, Invalid> {
    if asks_for(&args, &["-help", "--help", "-h"]) {
        return Ok(Asked::Help);
    }
    if asks_for(&args, &["-version", "--version"]) {
        return Ok(Asked::Version);
    }
    let mut given: Vec<Given> = Vec::new();
    let mut words = Vec::new();
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
    let normal = given.iter().filter_map(normalised).collect();
    let given: Vec<&str> = given.iter().map(|given| given.flag.key).collect();
    let environment = in_environment(table, &given, variable)?;
    Ok(Asked::Run(Reader {
        flags: pico_args::Arguments::from_vec(normal),
        given,
        environment,
        words,
    }))
}

/// The values in the environment for flags of `table` that are not `given`. An empty value counts as none.
fn in_environment(
    table: &[Flag],
    given: &[&str],
    variable: impl Fn(&str) -> Option<OsString>,
) -> Result<Vec<(&'static str, &'static str, String)>, Invalid> {
    let mut values = Vec::new();
    for flag in table.iter().filter(|flag| !given.contains(&flag.key)) {
        let Some(name) = flag.variable else { continue };
        match variable(name) {
            Some(value) if !value.is_empty() => {
                let value = utf8(value).map_err(|error| error.of(name))?;
                values.push((flag.key, name, value));
            }
            _ => {}
        }
    }
    Ok(values)
}

impl Reader {
    /// The value of a flag that is required or has a default, through `parse`. Errs if it is missing or `parse` refuses it, with the
    /// flag's name before the reason.
    pub fn value<T>(
        &mut self,
        flag: &Flag,
        parse: impl FnOnce(&str) -> Result<T, Invalid>,
    ) -> Result<T, Invalid> {
        let (text, source) = match (self.text(flag)?, self.variable(flag), flag.default()) {
            (Some(text), ..) => (text, flag.shown()),
            (None, Some((name, value)), _) => (value, name),
            (None, None, Some(default)) => (default.to_owned(), flag.shown()),
            (None, None, None) => return Err(flag.missing()),
        };
        parse(&text).map_err(|error| error.of(source))
    }

    /// The value of an optional flag.
    pub fn optional<T>(
        &mut self,
        flag: &Flag,
        parse: impl FnOnce(&str) -> Result<T, Invalid>,
    ) -> Result<Option<T>, Invalid> {
        self.text(flag)?
            .map(|text| parse(&text))
            .transpose()
            .map_err(|error| error.of(flag.shown()))
    }

    /// Whether the command line itself has this flag.
    pub fn has(&self, flag: &Flag) -> bool {
        self.given.contains(&flag.key)
    }

    /// Whether a switch is on.
    pub fn switch(&mut self, flag: &Flag) -> bool {
        self.flags.contains(flag.key)
    }

    /// The words that belong to no flag (such as task ids), in order.
    pub fn words(&mut self) -> Vec<String> {
        std::mem::take(&mut self.words)
    }

    /// Errs if words are left.
    pub fn finish(self) -> Result<(), Invalid> {
        debug_assert!(
            self.flags.finish().is_empty(),
            "a flag of the table is never read"
        );
        match self.words.first() {
            None => Ok(()),
            Some(word) => Err(Invalid::new(
                word,
                "is an unexpected argument (separate list items with commas, not spaces)",
            )),
        }
    }

    /// The environment variable that replaces a missing flag, and its value.
    fn variable(&self, flag: &Flag) -> Option<(&'static str, String)> {
        let found = self.environment.iter().find(|(key, ..)| *key == flag.key)?;
        Some((found.1, found.2.clone()))
    }

    fn text(&mut self, flag: &Flag) -> Result<Option<String>, Invalid> {
        self.flags
            .opt_value_from_fn(flag.key, |text| Ok::<_, Infallible>(text.to_owned()))
            .map_err(|error| Invalid::about(error).of(flag.shown()))
    }
}

/// The help text's list of flags: usage, then description, in lines of at most 80 columns.
pub fn help_of(table: &[Flag]) -> String {
    let mut help = String::new();
    for flag in table {
        let note = match (flag.is_required(), flag.default(), flag.variable) {
            (true, ..) => " (required)".to_owned(),
            (_, Some(default), None) => format!(" (default {default})"),
            (_, Some(default), Some(name)) => format!(" (default ${name}, else {default})"),
            _ => String::new(),
        };
        help += &entry(&flag.usage(), &format!("{}{note}", flag.help()));
    }
    help + &entry("-help, -h", "show this text") + &entry("-version", "show the version")
}

/// One entry of a help text: `left`, then `right` in a wrapped column.
pub fn entry(left: &str, right: &str) -> String {
    const COLUMN: usize = 24;
    const WIDTH: usize = 80 - COLUMN;
    let mut lines: Vec<String> = vec![String::new()];
    for word in right.split(' ') {
        let line = lines
            .last_mut()
            .expect("begun with one line and never emptied");
        if !line.is_empty() && line.len() + 1 + word.len() > WIDTH {
            lines.push(word.to_owned());
            continue;
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
    }
    let next_line = format!("\n{:COLUMN$}", "");
    let room = COLUMN - 4;
    let first = match left.chars().count() <= room {
        true => format!("  {left:<room$}  "),
        false => format!("  {left}{next_line}"),
    };
    first + &lines.join(&next_line) + "\n"
}

/// A flag of the command line with its value; a switch has `true` or `false`.
struct Given {
    flag: Flag,
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
        return Err(needed(&flag, "\"\" is an empty value"));
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
        return Err(needed(flag, "has no value"));
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
fn normalised(Given { flag, value }: &Given) -> Option<OsString> {
    match (flag.takes, value.as_str()) {
        (Takes::Nothing, "false") => None,
        (Takes::Nothing, _) => Some(flag.key.into()),
        _ => Some(format!("{}=\"{value}\"", flag.key).into()),
    }
}

fn utf8(arg: OsString) -> Result<String, Invalid> {
    arg.into_string()
        .map_err(|arg| Invalid::new(&arg.to_string_lossy(), "is not UTF-8 text"))
}

fn needed(flag: &Flag, what: &str) -> Invalid {
    // Its help may contain parentheses, so none are added around it.
    Invalid::about(format!("{what}: write {}: {}", flag.usage(), flag.help())).of(flag.shown())
}

/// For tests of commands: the result of `resolve` for a command line.
#[cfg(test)]
pub fn read_line<T>(
    line: &[&str],
    table: &[Flag],
    resolve: impl FnOnce(Reader) -> Result<T, Invalid>,
) -> Result<T, Invalid> {
    let args = line.iter().map(OsString::from).collect();
    match read(args, table)? {
        Asked::Run(reader) => resolve(reader),
        other => panic!("{line:?}: {other:?}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Ports;
    use crate::model::task::BandWidth;
    use std::os::unix::ffi::OsStringExt;

    const IP: Flag = Flag::required("--ip", "TARGETS", "addresses");
    const RATE: Flag = Flag::with_default("--rate", "PPS", "1k", "packets per second");
    const PORTS: Flag = Flag::optional("--ports", "PORTS", "ports");
    const JSON: Flag = Flag::switch("--json", "as JSON");
    const V: Flag = Flag::switch("--v", "say more");
    const TABLE: &[Flag] = &[IP, RATE, PORTS, JSON, V];

    fn args(line: &[&str]) -> Vec<OsString> {
        line.iter().map(OsString::from).collect()
    }

    fn reader(line: &[&str]) -> Result<Reader, Invalid> {
        match read(args(line), TABLE)? {
            Asked::Run(reader) => Ok(reader),
            other => panic!("{line:?}: {other:?}"),
        }
    }

    type Taken = (String, u64, Option<String>, bool, bool);

    fn taken(line: &[&str]) -> Result<Taken, Invalid> {
        let mut reader = reader(line)?;
        let text = |text: &str| Ok(text.to_owned());
        let taken = (
            reader.value(&IP, text)?,
            reader.value(&RATE, |text| text.parse::<BandWidth>())?.pps(),
            reader
                .optional(&PORTS, |text| text.parse::<Ports>())?
                .map(|ports| ports.to_string()),
            reader.switch(&JSON),
            reader.switch(&V),
        );
        reader.finish()?;
        Ok(taken)
    }

    #[test]
    fn the_three_spellings_read_alike() {
        let all = ("a".to_owned(), 2000, Some("80".to_owned()), true, true);
        for line in [
            &["-ip", "a", "-rate", "2k", "-ports", "80", "-json", "-v"][..],
            &[
                "--ip", "a", "--rate", "2k", "--ports", "80", "--json", "--v",
            ],
            &["-ip=a", "-rate=2k", "-ports=80", "-json=true", "-v"],
            &["-v", "--json", "--ports=80", "--rate=2000", "--ip=a"],
        ] {
            assert_eq!(taken(line).unwrap(), all, "{line:?}");
        }
        let defaults = ("a".to_owned(), 1000, None, false, false);
        assert_eq!(taken(&["-ip", "a", "-json=false"]).unwrap(), defaults);
    }

    #[test]
    fn a_value_arrives_as_it_was_typed() {
        for (word, value) in [
            ("-ip=--ports", "--ports"),
            ("-ip=-1", "-1"),
            ("-ip=a=b", "a=b"),
            ("-ip=\"a\"", "\"a\""),
            ("-ip=\"", "\""),
            ("-ip='", "'"),
            ("-ip= a ", " a "),
            ("-ip=é\n", "é\n"),
        ] {
            assert_eq!(taken(&[word]).unwrap().0, value, "{word}");
        }
        assert_eq!(taken(&["-ip", "-"]).unwrap().0, "-");
        assert_eq!(taken(&["-ip", "\"a\" "]).unwrap().0, "\"a\" ");
    }

    #[test]
    fn an_error_names_the_flag_the_value_and_what_would_be_right() {
        for (line, error) in [
            (&[][..], "-ip: is required: write -ip TARGETS: addresses"),
            (&["-ip"], "-ip: has no value: write -ip TARGETS: addresses"),
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
                "-ip: \"-ports\" stands where the value should: write -ip TARGETS, or -ip=-ports if it is meant",
            ),
            (&["-ip", "--", "80"], "-ip: \"--\" stands where"),
            (
                &["-ip", "a", "-ip=b"],
                "-ip: is given twice, \"a\" and \"b\": give it once",
            ),
            (&["-ip", "a", "-v", "--v"], "-v: is given twice"),
            (
                &["-ip", "a", "b"],
                "\"b\" is an unexpected argument (separate list items with commas, not spaces)",
            ),
            (
                &["-ip", "a", "--", "-x"],
                "\"-x\" is an unexpected argument",
            ),
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
                "-json: \"yes\" is too much: -json takes no value",
            ),
            (
                &["-ip", "a", "-ports", "0"],
                "-ports: \"0\" is not a port list",
            ),
            (
                &["-ip", "a", "-rate", "fast"],
                "-rate: \"fast\" is not a rate",
            ),
        ] {
            let shown = taken(line).unwrap_err().to_string();
            assert!(shown.contains(error), "{line:?}: {shown}");
            assert!(!shown.contains('\n'), "{line:?}: {shown}");
        }
    }

    #[test]
    fn what_is_not_utf8_is_an_error_and_no_panic() {
        let bad = || OsString::from_vec(b"a\xff".to_vec());
        for line in [
            vec![bad()],
            vec!["-ip".into(), bad()],
            vec![OsString::from_vec(b"-ip=\xff".to_vec())],
            vec!["--".into(), bad()],
        ] {
            let error = read(line, TABLE).unwrap_err().to_string();
            assert!(error.contains("is not UTF-8 text"), "{error}");
        }
    }

    #[test]
    fn help_and_version_win_over_whatever_else_is_wrong() {
        for line in [
            &["-help"][..],
            &["--help"],
            &["-h"],
            &["-bogus", "-h"],
            &["-ip", "-help"],
            &["-version", "-help"],
        ] {
            assert!(
                matches!(read(args(line), TABLE), Ok(Asked::Help)),
                "{line:?}"
            );
        }
        for line in [&["-version"][..], &["x", "--version"]] {
            assert!(
                matches!(read(args(line), TABLE), Ok(Asked::Version)),
                "{line:?}"
            );
        }
        for line in [&["--", "-help"][..], &["-ip=-help"], &["help"]] {
            assert!(
                matches!(read(args(line), TABLE), Ok(Asked::Run(_))),
                "{line:?}"
            );
        }
    }

    #[test]
    fn words_keep_their_order() {
        let mut reader = reader(&["b", "-v", "a", "--", "-c", "--"]).unwrap();
        assert_eq!(reader.words(), ["b", "a", "-c", "--"]);
        assert!(reader.switch(&V));
        reader.finish().unwrap();
    }

    #[test]
    fn the_environment_holds_where_a_flag_is_left_out() {
        const K: Flag = Flag::with_default("--k", "PPS", "5", "k").or_variable("SCAN_K");
        let taken = |line: &[&str], value: Option<&str>| -> Result<u64, Invalid> {
            let variable = |name: &str| value.filter(|_| name == "SCAN_K").map(OsString::from);
            let Asked::Run(mut reader) = read_with(args(line), &[K], variable)? else {
                panic!("{line:?}");
            };
            assert_eq!(reader.has(&K), !line.is_empty());
            let rate: BandWidth = reader.value(&K, str::parse)?;
            reader.finish()?;
            Ok(rate.pps())
        };
        for (line, value, rate) in [
            (&[][..], None, 5),
            (&[], Some(""), 5),
            (&[], Some("7"), 7),
            (&["-k", "9"], Some("7"), 9),
            (&["-k=9"], Some("fast"), 9),
        ] {
            assert_eq!(taken(line, value), Ok(rate), "{line:?} {value:?}");
        }
        let error = taken(&[], Some("fast")).unwrap_err().to_string();
        assert!(
            error.starts_with("SCAN_K: \"fast\" is not a rate"),
            "{error}"
        );
        let error = taken(&["-k=slow"], Some("fast")).unwrap_err().to_string();
        assert!(error.starts_with("-k: \"slow\" is not a rate"), "{error}");
        let bad = |_: &str| Some(OsString::from_vec(b"\xff".to_vec()));
        let error = read_with(args(&[]), &[K], bad).unwrap_err().to_string();
        assert!(
            error.starts_with("SCAN_K: ") && error.contains("UTF-8"),
            "{error}"
        );
        assert!(help_of(&[K]).contains("k (default $SCAN_K, else 5)"));
    }

    #[test]
    fn the_help_lists_every_flag_within_80_columns() {
        let help = help_of(TABLE);
        for flag in TABLE {
            assert!(
                help.contains(&format!("\n  {}", flag.usage()))
                    || help.starts_with("  -ip TARGETS")
            );
        }
        assert!(help.contains("packets per second (default 1k)"));
        assert!(help.contains("addresses (required)"));
        let long = entry("-a-flag-of-quite-some-length VALUE", &"word ".repeat(40));
        assert!(
            long.lines()
                .chain(help.lines())
                .all(|line| line.len() <= 80),
            "{help}{long}"
        );
    }
}
