//! scand's options: the command line is parsed ([`parse`]) and resolved into validated [`Options`]. No other file of scand reads the command line
//! or its environment variables, and nothing here opens a connection or a file.
//!
//! | file | contents |
//! |---|---|
//! | `flags.rs` | the flags and the help text |
//! | `resolved.rs` | [`Options`], and their validation |

mod flags;
mod resolved;

pub use resolved::Options;

use self::flags::{FLAGS, help};
use crate::flags::{self as command_line, Asked};
use crate::model::{Invalid, ServerName};
use std::ffi::OsString;

/// Length of the random suffix of a default server name, in characters. With 36 letters and digits, two servers on one host get the same name with
/// a probability of 1 in 1.7 million.
const SUFFIX_CHARS: usize = 4;

/// What a command line asks for.
#[derive(Debug)]
pub enum Request {
    /// Print this text.
    Show(String),
    /// Run with these settings.
    Run(Box<Options>),
}

/// Parses and validates `args` (without the program's name). An error is one line that names the flag or variable and its value.
pub fn parse(args: Vec<OsString>) -> Result<Request, Invalid> {
    match command_line::read(args, FLAGS, |name| std::env::var_os(name))? {
        Asked::Help => Ok(Request::Show(help())),
        Asked::Version => Ok(Request::Show(format!(
            "scand {}\n",
            env!("CARGO_PKG_VERSION")
        ))),
        Asked::Run(reader) => {
            let options = resolved::resolve(reader, default_name)?;
            Ok(Request::Run(Box::new(options)))
        }
    }
}

/// The host name, so that logs show the machine, and a random suffix, so that servers on one host have different names.
fn default_name() -> ServerName {
    const ALPHABET: [char; 36] = [
        'a', 'b', 'c', 'd', 'e', 'f', 'g', 'h', 'i', 'j', 'k', 'l', 'm', 'n', 'o', 'p', 'q', 'r',
        's', 't', 'u', 'v', 'w', 'x', 'y', 'z', '0', '1', '2', '3', '4', '5', '6', '7', '8', '9',
    ];
    let system = rustix::system::uname();
    let suffix = nanoid::nanoid!(SUFFIX_CHARS, &ALPHABET);
    ServerName::of_host(&system.nodename().to_string_lossy(), &suffix)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(line: &[&str]) -> Result<Request, Invalid> {
        parse(line.iter().map(OsString::from).collect())
    }

    #[test]
    fn two_servers_on_one_host_have_different_names() {
        let (one, other) = (default_name(), default_name());
        assert_ne!(one, other);
        assert_eq!(one.as_str().parse::<ServerName>().as_ref(), Ok(&one));
    }

    #[test]
    fn help_fits_80_columns_and_has_every_flag() {
        let Ok(Request::Show(text)) = request(&["-help"]) else {
            panic!("-help shows no text");
        };
        for flag in FLAGS {
            assert!(
                text.contains(&format!("\n  {}", flag.usage())),
                "{}",
                flag.shown()
            );
        }
        assert!(
            text.lines().all(|line| line.chars().count() <= 80),
            "{text}"
        );
        assert!(
            matches!(request(&["-version"]), Ok(Request::Show(text)) if text.starts_with("scand "))
        );
    }
}
