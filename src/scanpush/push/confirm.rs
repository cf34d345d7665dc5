//! Asks for confirmation before a push with very many addresses.

use super::flags::YES;
use super::size::Size;
use crate::exit::Failure;
use crate::model::Invalid;
use crate::scanpush::output::Output;
use std::io::BufRead;

/// A push of more addresses than this (2^24, an IPv4 /8) must be confirmed.
pub const UNCONFIRMED_ADDRESSES_MAX: u128 = 1 << 24;

/// The answer that confirms.
const ANSWER: &str = "yes";
/// Bytes of an answer that are read.
const ANSWER_MAX_BYTES: u64 = 100;

/// Whether a push of this size needs a confirmation.
pub fn is_needed(size: &Size) -> bool {
    size.addresses > UNCONFIRMED_ADDRESSES_MAX
}

/// Asks at `terminal`. Fails if there is no terminal, or if the answer is not [`ANSWER`].
pub fn ask(
    size: &Size,
    terminal: Option<&mut dyn BufRead>,
    output: &mut Output<'_>,
) -> Result<(), Failure> {
    let Some(terminal) = terminal else {
        return Err(Failure::Usage(Invalid::about(format!(
            "more than {UNCONFIRMED_ADDRESSES_MAX} addresses need {}, and this push has {size}: nothing was sent",
            YES.shown()
        ))));
    };
    output.question(&format!(
        "This push has {size}.\nType {ANSWER} to push it: "
    ));
    let mut answer = String::new();
    // A read error leaves the answer empty, which does not confirm.
    let _ = std::io::Read::take(terminal, ANSWER_MAX_BYTES).read_line(&mut answer);
    match answer.trim() {
        ANSWER => Ok(()),
        _ => Err(Failure::Runtime(
            "not confirmed: nothing was sent".to_owned(),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LARGE: Size = Size {
        addresses: 1 << 32,
        probes: 1 << 33,
        rate_pps: 1000,
        duration_s: 4_294_967.0,
    };

    fn asked(answer: Option<&[u8]>) -> (Result<(), Failure>, String) {
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let mut output = Output::new(&mut out, &mut err, None, true);
        let mut answer = answer;
        let person = answer.as_mut().map(|bytes| bytes as &mut dyn BufRead);
        let result = ask(&LARGE, person, &mut output);
        assert!(out.is_empty());
        (result, String::from_utf8(err).unwrap())
    }

    #[test]
    fn more_than_a_slash_8_needs_confirmation() {
        for (addresses, needed) in [(1 << 24, false), ((1 << 24) + 1, true)] {
            assert_eq!(is_needed(&Size { addresses, ..LARGE }), needed);
        }
    }

    #[test]
    fn only_a_typed_yes_confirms() {
        let (result, question) = asked(Some(b"yes\n"));
        assert!(result.is_ok());
        assert_eq!(
            question,
            "This push has 4294967296 addresses, 8589934592 probes, 49 d 17 h at 1000 packets per second.\n\
             Type yes to push it: "
        );
        for answer in [
            &b""[..],
            b"\n",
            b"y\n",
            b"no\n",
            b"YES\n",
            b"yes please\n",
            b"\xff\n",
        ] {
            let (result, _) = asked(Some(answer));
            assert!(
                matches!(result, Err(Failure::Runtime(line)) if line.contains("nothing was sent"))
            );
        }
    }

    #[test]
    fn without_a_terminal_the_error_names_the_flag() {
        let (result, err) = asked(None);
        let Err(Failure::Usage(error)) = result else {
            panic!("{result:?}");
        };
        assert!(err.is_empty());
        let error = error.to_string();
        for part in [
            "16777216 addresses need -yes",
            "4294967296 addresses",
            "8589934592 probes",
            "49 d 17 h",
        ] {
            assert!(error.contains(part), "{error}");
        }
    }
}
