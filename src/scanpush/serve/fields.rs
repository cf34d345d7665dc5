//! The fields of queries and forms, read as flags of the same names, so that a page accepts and refuses what the command does.

use super::problem::Problem;
use crate::flags::suggest::nearest;
use crate::flags::{self, Asked, Flag, Reader};
use crate::model::text::quoted;
use std::borrow::Cow;
use std::ffi::OsString;

/// Fields of a query or form at most.
const FIELDS_MAX: usize = 64;

/// A reader of `fields`, which may have the names of `table`. Empty fields are left out, as a browser sends them for inputs that were not filled in.
/// Errs with 400 if one is unknown or given twice.
pub fn reader<'a>(
    fields: impl Iterator<Item = (Cow<'a, str>, Cow<'a, str>)>,
    table: &[Flag],
) -> Result<Reader, Problem> {
    let mut args: Vec<OsString> = Vec::new();
    for (name, value) in fields.filter(|(_, value)| !value.is_empty()) {
        if args.len() == FIELDS_MAX {
            return Err(Problem::bad_request(format!(
                "there are more than {FIELDS_MAX} fields"
            )));
        }
        let Some(flag) = table.iter().find(|flag| flag.name() == name) else {
            return Err(unknown(&name, table));
        };
        args.push(format!("--{}={value}", flag.name()).into());
    }
    // The environment belongs to the operator, not to those who send requests.
    match flags::read(args, table, |_| None) {
        Ok(Asked::Run(reader)) => Ok(reader),
        Ok(Asked::Help | Asked::Version) => Err(Problem::bad_request("no such field".to_owned())),
        Err(error) => Err(Problem::from(error)),
    }
}

fn unknown(name: &str, table: &[Flag]) -> Problem {
    let names = || table.iter().map(|flag| flag.name());
    let hint = match nearest(name, names()) {
        Some(near) => format!("did you mean {near}?"),
        None => format!("the fields are {}", names().collect::<Vec<_>>().join(", ")),
    };
    Problem::bad_request(format!("{} is an unknown field: {hint}", quoted(name)))
}
