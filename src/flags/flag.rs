//! The declaration of a flag: name, value, default, help. Pure.

use crate::model::Invalid;

/// One flag of a command.
#[derive(Clone, Copy, Debug)]
pub struct Flag {
    /// The name as pico-args needs it: `--ip`. Users see `-ip`.
    pub(super) key: &'static str,
    pub(super) takes: Takes,
    help: &'static str,
    /// The environment variable that is used if the flag is not given.
    pub(super) variable: Option<&'static str>,
    /// Whether the variable has a secret itself, while the flag names its file.
    pub(super) is_secret: bool,
    /// The possible values, if the flag has a fixed list of them.
    words: Option<&'static [&'static str]>,
}

/// Whether the flag has a value, with the name of the value in the help and its default.
#[derive(Clone, Copy, Debug)]
pub(super) enum Takes {
    Nothing,
    Required(&'static str),
    Optional(&'static str),
    Default(&'static str, &'static str),
}

impl Flag {
    /// A flag without a value, which is on if given. `key` begins with two dashes, here and in the other constructors.
    pub const fn switch(key: &'static str, help: &'static str) -> Flag {
        Flag::new(key, Takes::Nothing, help)
    }

    /// A required flag. `value` is the name of its value in the help, like `TARGETS`.
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

    /// The same flag with an environment variable that contains its value and is used if the flag is not given.
    pub const fn or_variable(mut self, name: &'static str) -> Flag {
        self.variable = Some(name);
        self
    }

    /// The same flag, which names a file with a secret, with an environment variable that contains the secret itself and is used if the flag is
    /// not given.
    pub const fn or_secret_variable(mut self, name: &'static str) -> Flag {
        self.is_secret = true;
        self.or_variable(name)
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
            is_secret: false,
            words: None,
        }
    }

    /// The flag as users write it: `-ip`.
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

    /// The possible values, for completion; none if the flag has no fixed list of them.
    pub fn words(&self) -> Option<&'static [&'static str]> {
        self.words
    }

    /// The default, as a user would write it.
    pub fn default(&self) -> Option<&'static str> {
        match self.takes {
            Takes::Default(_, default) => Some(default),
            _ => None,
        }
    }

    /// Whether a command line without the flag is invalid.
    pub fn is_required(&self) -> bool {
        matches!(self.takes, Takes::Required(_))
    }

    /// The description in help texts and errors, one line.
    pub fn help(&self) -> &'static str {
        self.help
    }

    /// The error if this required flag is not given.
    pub fn missing(&self) -> Invalid {
        self.needed("is required")
    }

    /// The error `what`, followed by the flag's usage and description.
    pub(super) fn needed(&self, what: &str) -> Invalid {
        // The description may contain parentheses, so it gets none.
        Invalid::about(format!("{what}: write {}: {}", self.usage(), self.help)).of(self.shown())
    }

    /// The flag with the name of its value, `-ip TARGETS`; for a switch, the flag alone.
    pub fn usage(&self) -> String {
        match self.value() {
            Some(value) => format!("{} {value}", self.shown()),
            None => self.shown().to_owned(),
        }
    }
}
