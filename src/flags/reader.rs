//! Typed values of a command line. pico-args does the lookup. Pure.

use super::flag::Flag;
use super::line::{Line, normalised, utf8};
use super::shared::CONNECTION;
use crate::credentials::{CredentialFile, Password, Secret};
use crate::model::Invalid;
use std::convert::Infallible;
use std::ffi::OsString;
use std::fmt;

/// What a command line asks for.
#[derive(Debug)]
pub enum Asked {
    /// Show help: `-help` or `-h` occurs anywhere, even if the rest is invalid.
    Help,
    /// Show the version.
    Version,
    /// Do the work.
    Run(Reader),
}

/// A checked command line, from which a command takes its values. [`Reader::finish`] comes last.
#[derive(Clone, Debug)]
pub struct Reader {
    flags: pico_args::Arguments,
    /// The keys of the flags on the command line.
    given: Vec<&'static str>,
    environment: Vec<Variable>,
    words: Vec<String>,
}

/// An environment variable that replaces a flag.
#[derive(Clone)]
struct Variable {
    /// The flag's key.
    key: &'static str,
    name: &'static str,
    value: String,
}

impl fmt::Debug for Variable {
    /// Without the value, which may be a password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

/// Checks `args` (without the names of the program and the command) against a command's own table and [`CONNECTION`]; `variable` returns the value of an environment
/// variable. Errs on everything that can be checked without knowing values: an unknown flag, a flag that is given twice, without its value or
/// with an empty one, and text that is not UTF-8. A value that begins with a dash must be written `-name=-value` (a lone `-` is a value); after
/// `--` there are only words.
pub fn read(
    args: Vec<OsString>,
    table: &[Flag],
    variable: impl Fn(&str) -> Option<OsString>,
) -> Result<Asked, Invalid> {
    let table = [table, CONNECTION].concat();
    let (given, words) = match Line::split(args, &table)? {
        Line::Help => return Ok(Asked::Help),
        Line::Version => return Ok(Asked::Version),
        Line::Run { given, words } => (given, words),
    };
    let normal = given.iter().filter_map(normalised).collect();
    let given: Vec<&str> = given.iter().map(|given| given.flag.key).collect();
    let environment = in_environment(&table, &given, variable)?;
    Ok(Asked::Run(Reader {
        flags: pico_args::Arguments::from_vec(normal),
        given,
        environment,
        words,
    }))
}

impl Reader {
    /// The value of a flag that is required or has a default, as parsed by `parse`: from the command line, else from the environment, else the
    /// default. Errs if it is missing or `parse` refuses it; the error begins with the name of the flag or variable.
    pub fn value<T>(
        &mut self,
        flag: &Flag,
        parse: impl FnOnce(&str) -> Result<T, Invalid>,
    ) -> Result<T, Invalid> {
        let (text, source) = match (self.text(flag)?, self.variable(flag), flag.default()) {
            (Some(text), ..) => (text, flag.shown()),
            (None, Some(variable), _) => (variable.value.clone(), variable.name),
            (None, None, Some(default)) => (default.to_owned(), flag.shown()),
            (None, None, None) => return Err(flag.missing()),
        };
        parse(&text).map_err(|error| error.of(source))
    }

    /// The value of an optional flag, as parsed by `parse`: from the command line, else from the environment; none if it is in neither.
    pub fn optional<T>(
        &mut self,
        flag: &Flag,
        parse: impl FnOnce(&str) -> Result<T, Invalid>,
    ) -> Result<Option<T>, Invalid> {
        let (text, source) = match (self.text(flag)?, self.variable(flag)) {
            (Some(text), _) => (text, flag.shown()),
            (None, Some(variable)) => (variable.value.clone(), variable.name),
            (None, None) => return Ok(None),
        };
        parse(&text).map(Some).map_err(|error| error.of(source))
    }

    /// The password in the file that a flag names, else in the flag's environment variable; none if neither is given. The file is not read here.
    pub fn password(&mut self, flag: &Flag) -> Result<Option<Password>, Invalid> {
        if let Some(file) = self.credential_file(flag)? {
            return Ok(Some(Password::File(file)));
        }
        let Some(variable) = self.variable(flag) else {
            return Ok(None);
        };
        let secret = Secret::new(&variable.value).map_err(|error| error.of(variable.name))?;
        Ok(Some(Password::Variable(secret)))
    }

    /// The file with a certificate or key that a flag names; none if it is not given. The file is not read here.
    pub fn credential_file(&mut self, flag: &Flag) -> Result<Option<CredentialFile>, Invalid> {
        let path = self.text(flag)?;
        Ok(path.map(|path| CredentialFile::new(flag.shown(), path.into())))
    }

    /// Whether the flag is on the command line; the environment does not count.
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

    /// Errs if there are words that nobody took.
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

    fn variable(&self, flag: &Flag) -> Option<&Variable> {
        let mut variables = self.environment.iter();
        variables.find(|variable| variable.key == flag.key)
    }

    fn text(&mut self, flag: &Flag) -> Result<Option<String>, Invalid> {
        self.flags
            .opt_value_from_fn(flag.key, |text| Ok::<_, Infallible>(text.to_owned()))
            .map_err(|error| Invalid::about(error).of(flag.shown()))
    }
}

/// The variables that replace flags of `table` that are not `given`. An empty variable counts as unset.
fn in_environment(
    table: &[Flag],
    given: &[&str],
    variable: impl Fn(&str) -> Option<OsString>,
) -> Result<Vec<Variable>, Invalid> {
    let mut variables = Vec::new();
    for flag in table.iter().filter(|flag| !given.contains(&flag.key)) {
        let Some(name) = flag.variable else { continue };
        let Some(value) = variable(name).filter(|value| !value.is_empty()) else {
            continue;
        };
        variables.push(Variable {
            key: flag.key,
            name,
            value: utf8(value).map_err(|error| error.of(name))?,
        });
    }
    Ok(variables)
}

/// For tests of commands: the result of `resolve` for a command line, without an environment.
#[cfg(test)]
pub fn read_line<T>(
    line: &[&str],
    table: &[Flag],
    resolve: impl FnOnce(Reader) -> Result<T, Invalid>,
) -> Result<T, Invalid> {
    let args = line.iter().map(OsString::from).collect();
    match read(args, table, |_| None)? {
        Asked::Run(reader) => resolve(reader),
        other => panic!("{line:?}: {other:?}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flags::help_of;
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
        match read(args(line), TABLE, |_| None)? {
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
    fn a_missing_flag_a_bad_value_and_a_word_too_many_are_errors() {
        for (line, error) in [
            (&[][..], "-ip: is required: write -ip TARGETS: addresses"),
            (
                &["-ip", "a", "b"],
                "\"b\" is an unexpected argument (separate list items with commas, not spaces)",
            ),
            (
                &["-ip", "a", "--", "-x"],
                "\"-x\" is an unexpected argument",
            ),
            (
                &["-ip", "a", "-ports", "0"],
                "-ports: \"0\" contains port 0",
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
    fn words_keep_their_order() {
        let mut reader = reader(&["b", "-v", "a", "--", "-c", "--"]).unwrap();
        assert_eq!(reader.words(), ["b", "a", "-c", "--"]);
        assert!(reader.switch(&V));
        reader.finish().unwrap();
    }

    #[test]
    fn a_variable_replaces_a_flag_that_is_not_given() {
        const K: Flag = Flag::with_default("--k", "PPS", "5", "k").or_variable("SCAN_K");
        let taken = |line: &[&str], value: Option<&str>| -> Result<u64, Invalid> {
            let variable = |name: &str| value.filter(|_| name == "SCAN_K").map(OsString::from);
            let Asked::Run(mut reader) = read(args(line), &[K], variable)? else {
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
        let error = read(args(&[]), &[K], bad).unwrap_err().to_string();
        assert!(
            error.starts_with("SCAN_K: ") && error.contains("UTF-8"),
            "{error}"
        );
        assert!(help_of(&[K]).contains("k (default $SCAN_K, else 5)"));
    }
}
