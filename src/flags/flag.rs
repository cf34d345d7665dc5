//! The declaration of a flag.

use crate::model::Invalid;

/// One flag of a command.
#[derive(Clone, Copy, Debug)]
pub struct Flag {
    /// The form for pico-args, `--ip`; shown as `-ip`.
    pub(super) key: &'static str,
    pub(super) takes: Takes,
    help: &'static str,
    /// The environment variable that is used if the flag is not given.
    pub(super) variable: Option<&'static str>,
    /// The possible values, if there are only a few; for completion.
    words: Option<&'static [&'static str]>,
}

/// Whether the flag has a value; the first text is its name in the help.
#[derive(Clone, Copy, Debug)]
pub(super) enum Takes {
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
        self.needed("is required")
    }

    /// The error if `what` is wrong with it: also how to write it and what it is for.
    pub(super) fn needed(&self, what: &str) -> Invalid {
        // Its help may contain parentheses, so none are added around it.
        Invalid::about(format!("{what}: write {}: {}", self.usage(), self.help)).of(self.shown())
    }

    /// `-ip TARGETS`, or `-json`.
    pub fn usage(&self) -> String {
        match self.value() {
            Some(value) => format!("{} {value}", self.shown()),
            None => self.shown().to_owned(),
        }
    }
}
