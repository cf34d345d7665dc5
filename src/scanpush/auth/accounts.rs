//! The file of `-auth-file`: a line for each user and each token.
//!
//! ```text
//! # NAME          what proves it                       right (default: change)
//! user  anna      $argon2id$v=19$m=19456,t=2,p=1$…     change
//! token exporter  0f3a…                                read
//! ```

use super::secrets::{Digest, StoredPassword};
use crate::credentials::CredentialFile;
use crate::model::Invalid;
use crate::model::text::{quoted, without_byte_order_mark};
use std::collections::HashSet;
use std::str::FromStr;

/// Users and tokens of a file at most.
pub const ACCOUNTS_MAX: usize = 1_000;
/// Longest name of a user or a token, in bytes.
pub const USER_NAME_MAX_BYTES: usize = 64;

/// What somebody may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Right {
    /// See everything.
    Read,
    /// Change everything too.
    Change,
}

impl Right {
    /// All rights.
    pub const WORDS: &[&str] = &["read", "change"];

    /// As it is in the file.
    pub fn word(self) -> &'static str {
        match self {
            Right::Read => "read",
            Right::Change => "change",
        }
    }
}

impl FromStr for Right {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Right, Invalid> {
        match text {
            "read" => Ok(Right::Read),
            "change" => Ok(Right::Change),
            _ => Err(Invalid::new(text, "is not a right: use read or change")),
        }
    }
}

/// The name of a user or a token. It becomes part of log lines.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct UserName(String);

impl UserName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for UserName {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<UserName, Invalid> {
        let is_plain = |c: u8| c.is_ascii_alphanumeric() || b"._-@+".contains(&c);
        let is_valid = !text.is_empty()
            && text.len() <= USER_NAME_MAX_BYTES
            && !text.starts_with('-')
            && text.bytes().all(is_plain);
        match is_valid {
            true => Ok(UserName(text.to_owned())),
            false => Err(Invalid::new(
                text,
                format!("is not a name: 1 to {USER_NAME_MAX_BYTES} of A-Z a-z 0-9 . _ - @ +"),
            )),
        }
    }
}

/// Somebody who logs in with a password.
#[derive(Clone, Debug)]
pub struct UserAccount {
    /// The name.
    pub name: UserName,
    /// The hash of the password.
    pub password: StoredPassword,
    /// What this user may do.
    pub right: Right,
}

/// A program that sends a token.
#[derive(Clone, Debug)]
pub struct TokenAccount {
    /// The name, for the log.
    pub name: UserName,
    /// The digest of the token.
    pub digest: Digest,
    /// What may be done with this token.
    pub right: Right,
}

/// The users and tokens of a file.
#[derive(Clone, Debug, Default)]
pub struct Accounts {
    /// The users, in the order of the file.
    pub users: Vec<UserAccount>,
    /// The tokens, in the order of the file.
    pub tokens: Vec<TokenAccount>,
}

impl Accounts {
    /// Reads the file. The error names the line.
    pub fn read(file: &CredentialFile) -> Result<Accounts, Invalid> {
        let bytes = file.read()?;
        Accounts::parse(&bytes).map_err(|error| file.invalid(&error.to_string()))
    }

    fn parse(bytes: &[u8]) -> Result<Accounts, Invalid> {
        let bytes = without_byte_order_mark(bytes)?;
        let text = std::str::from_utf8(bytes).map_err(|_| Invalid::about("is not UTF-8 text"))?;
        let mut accounts = Accounts::default();
        let mut names = HashSet::new();
        for (number, line) in (1..).zip(text.lines()) {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let at_line = |error| Invalid::about(format!("line {number}: {error}"));
            let name = accounts.add(line).map_err(at_line)?;
            if !names.insert(name.clone()) {
                let twice = format!("the name {} is given twice", quoted(name.as_str()));
                return Err(at_line(Invalid::about(twice)));
            }
            if names.len() > ACCOUNTS_MAX {
                let many = format!("more than {ACCOUNTS_MAX} users and tokens");
                return Err(at_line(Invalid::about(many)));
            }
        }
        match names.is_empty() {
            true => Err(Invalid::about(
                "has no users and no tokens: add the lines that scanpush auth user NAME and scanpush auth token NAME print",
            )),
            false => Ok(accounts),
        }
    }

    /// Adds the account of a line. Errors never quote a hash.
    fn add(&mut self, line: &str) -> Result<UserName, Invalid> {
        let words: Vec<&str> = line.split_whitespace().collect();
        let (kind, name, proof, right) = match words[..] {
            [kind, name, proof] => (kind, name, proof, Right::Change),
            [kind, name, proof, right] => (kind, name, proof, right.parse()?),
            _ => {
                return Err(Invalid::about(
                    "is not user NAME HASH [read|change] or token NAME SHA256 [read|change]",
                ));
            }
        };
        let name: UserName = name.parse()?;
        match kind {
            "user" => self.users.push(UserAccount {
                name: name.clone(),
                password: StoredPassword::parse(proof)?,
                right,
            }),
            "token" => {
                let digest = Digest::from_hex(proof).ok_or_else(|| {
                    Invalid::about("the token's SHA-256 is not 64 hexadecimal digits")
                })?;
                let name = name.clone();
                self.tokens.push(TokenAccount {
                    name,
                    digest,
                    right,
                });
            }
            _ => {
                let wrong = "is unknown: a line begins with user or token";
                return Err(Invalid::new(kind, wrong));
            }
        }
        Ok(name)
    }

    /// The user with this name.
    pub fn user(&self, name: &str) -> Option<&UserAccount> {
        self.users.iter().find(|user| user.name.as_str() == name)
    }

    /// The account of a token. All are compared, so that the time shows nothing.
    pub fn token(&self, token: &str) -> Option<&TokenAccount> {
        let digest = Digest::of(token.as_bytes());
        let mut found = None;
        for account in &self.tokens {
            if account.digest.is(&digest) {
                found = Some(account);
            }
        }
        found
    }
}

/// The line of a user.
pub fn user_line(name: &UserName, password: &StoredPassword, right: Right) -> String {
    format!(
        "user {} {} {}",
        name.as_str(),
        password.text(),
        right.word()
    )
}

/// The line of a token.
pub fn token_line(name: &UserName, token: &str, right: Right) -> String {
    let digest = Digest::of(token.as_bytes());
    format!(
        "token {} {} {}",
        name.as_str(),
        digest.to_hex(),
        right.word()
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fuzz::{ACCEPTED, fuzz, one_bounded_line};

    #[test]
    fn any_file_of_accounts_is_read_or_is_one_bounded_line() {
        let digest = Digest::of(b"secret").to_hex();
        let user = StoredPassword::quick("secret").text();
        let sample = format!("# users\nuser anna {user}\ntoken ci {digest} read\n");
        let words = [
            "user ",
            "token ",
            " change",
            "$argon2id$v=19$m=",
            "t=",
            "p=",
        ];
        fuzz(
            "accounts",
            &[sample.as_bytes()],
            &words,
            |input| match Accounts::parse(input) {
                Ok(_) => ACCEPTED.to_owned(),
                Err(error) => one_bounded_line(&error),
            },
        );
    }

    fn parsed(text: &str) -> Result<Accounts, String> {
        Accounts::parse(text.as_bytes()).map_err(|error| error.to_string())
    }

    #[test]
    fn the_lines_that_are_printed_are_read() {
        let (anna, ci) = ("anna".parse().unwrap(), "ci@build".parse().unwrap());
        let password = StoredPassword::quick("correct horse");
        let text = format!(
            "\u{feff}# people\n\n  {}\r\n{}\n",
            user_line(&anna, &password, Right::Change),
            token_line(&ci, "scanpush_1", Right::Read)
        );
        let accounts = parsed(&text).unwrap();
        let user = accounts.user("anna").unwrap();
        assert!(user.password.verify("correct horse") && user.right == Right::Change);
        assert!(accounts.user("ci@build").is_none());
        let token = accounts.token("scanpush_1").unwrap();
        assert_eq!((&token.name, token.right), (&ci, Right::Read));
        assert!(accounts.token("scanpush_2").is_none() && accounts.token("").is_none());
    }

    #[test]
    fn a_right_is_optional() {
        let digest = "0".repeat(64);
        let accounts = parsed(&format!("token a {digest}\ntoken b {digest} read")).unwrap();
        let rights: Vec<Right> = accounts.tokens.iter().map(|token| token.right).collect();
        assert_eq!(rights, [Right::Change, Right::Read]);
    }

    #[test]
    fn an_error_names_the_line_and_quotes_no_hash() {
        let digest = "ab".repeat(32);
        for (text, wrong) in [
            (String::new(), "has no users"),
            ("# nobody\n".into(), "has no users"),
            ("anna:secret".into(), "line 1: is not user NAME HASH"),
            ("\nuser anna".into(), "line 2: is not user NAME HASH"),
            (format!("user anna {digest} read x"), "line 1: is not user"),
            (format!("usr anna {digest}"), "line 1: \"usr\" is unknown"),
            (
                format!("token an/na {digest}"),
                "line 1: \"an/na\" is not a name",
            ),
            (
                format!("token a {digest} all"),
                "line 1: \"all\" is not a right",
            ),
            (
                format!("user a {digest}"),
                "line 1: the hash of the password is not",
            ),
            (
                format!("token a {}", &digest[1..]),
                "line 1: the token's SHA-256",
            ),
            (
                format!("token a {digest}\ntoken a {digest}"),
                "line 2: the name \"a\" is given twice",
            ),
        ] {
            let error = parsed(&text).unwrap_err();
            assert!(error.starts_with(wrong), "{text}: {error}");
            assert!(!error.contains("abab"), "{error}");
        }
        let many: String = (0..=ACCOUNTS_MAX)
            .map(|n| format!("token t{n} {digest}\n"))
            .collect();
        assert!(parsed(&many).unwrap_err().contains("more than 1000 users"));
        assert!(Accounts::parse(b"\xff\xfe").is_err() && Accounts::parse(b"\xff").is_err());
    }
}
