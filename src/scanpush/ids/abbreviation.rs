//! Completes abbreviated ids, and explains why an id is unknown or ambiguous. Pure.

use crate::model::TaskId;
use crate::model::text::quoted;
use std::fmt::Display;

/// Length from which a prefix of an id may stand for it, if only one known id starts with it.
const ID_PREFIX_MIN_BYTES: usize = 4;
/// Candidates that are named if an abbreviated id is ambiguous.
const CANDIDATES_SHOWN_MAX: usize = 5;

/// Why Redis may not know a task.
pub const UNKNOWN_TASK_REASON: &str = "not ingested yet, or ended more than 7 days ago";
/// Why Redis may not know a job.
const UNKNOWN_JOB_REASON: &str = "no task of it is ingested yet, or all ended more than 7 days ago";

/// The ids that a name may stand for.
#[derive(Debug, PartialEq, Eq)]
pub enum Match {
    /// None.
    None,
    /// This one.
    One(TaskId),
    /// Any of these.
    Several(Vec<TaskId>),
}

/// The id that `name` stands for: itself if it is `known`, else the only one that starts with it. `with_prefix` returns the known ids
/// that start with a text.
pub fn complete<E>(
    name: &TaskId,
    known: bool,
    with_prefix: impl FnOnce(&str) -> Result<Vec<TaskId>, E>,
) -> Result<Match, E> {
    if known {
        return Ok(Match::One(name.clone()));
    }
    if is_too_short(name) {
        return Ok(Match::None);
    }
    let mut ids = with_prefix(name.as_str())?;
    Ok(match ids.len() {
        0 => Match::None,
        1 => Match::One(ids.remove(0)),
        _ => Match::Several(ids),
    })
}

/// Those of `ids`, which are in ascending order, that start with `prefix`.
pub fn with_prefix(ids: &[TaskId], prefix: &str) -> Vec<TaskId> {
    let from = ids.partition_point(|id| id.as_str() < prefix);
    ids[from..]
        .iter()
        .take_while(|id| id.as_str().starts_with(prefix))
        .cloned()
        .collect()
}

/// The message for an unknown task.
pub fn unknown_task(id: &TaskId, group: impl Display) -> String {
    unknown(id, "task", group, UNKNOWN_TASK_REASON)
}

/// The message for an unknown job.
pub fn unknown_job(id: &TaskId, group: impl Display) -> String {
    unknown(id, "job", group, UNKNOWN_JOB_REASON)
}

fn unknown(id: &TaskId, what: &str, group: impl Display, why: &str) -> String {
    let hint = match is_too_short(id) {
        true => {
            format!("; an abbreviated id needs at least {ID_PREFIX_MIN_BYTES} characters")
        }
        false => String::new(),
    };
    let id = quoted(id.as_str());
    format!("{id} is not a {what} of group {group} ({why}{hint})")
}

/// Whether a name is too short to be an abbreviated id.
pub fn is_too_short(name: &TaskId) -> bool {
    name.as_str().len() < ID_PREFIX_MIN_BYTES
}

/// The message for an abbreviated id of several `what`, such as `tasks`.
pub fn ambiguous(name: &TaskId, what: &str, ids: &[TaskId]) -> String {
    let shown: Vec<&str> = ids
        .iter()
        .take(CANDIDATES_SHOWN_MAX)
        .map(TaskId::as_str)
        .collect();
    let more = match ids.len().saturating_sub(CANDIDATES_SHOWN_MAX) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    format!(
        "{} is ambiguous: {} {what} begin with it: {}{more}",
        quoted(name.as_str()),
        ids.len(),
        shown.join(", ")
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::convert::Infallible;

    fn id(text: &str) -> TaskId {
        text.parse().unwrap()
    }

    #[test]
    fn an_abbreviated_id_stands_for_the_only_id_that_starts_with_it() {
        let one = |text: &str| Match::One(id(text));
        let ids = ["abcdef", "abcxyz", "abcd", "zyx"];
        for (name, ids, expected) in [
            ("abcx", &ids[..], one("abcxyz")),
            ("abcde", &ids, one("abcdef")),
            // A complete id wins.
            ("abcd", &ids, one("abcd")),
            ("zyx", &ids, one("zyx")),
            // Too short.
            ("zy", &ids, Match::None),
            ("nope", &ids, Match::None),
            (
                "abcd",
                &["abcd1", "abcd2"],
                Match::Several(vec![id("abcd1"), id("abcd2")]),
            ),
        ] {
            let known = ids.contains(&name);
            let mut ids: Vec<TaskId> = ids.iter().map(|text| id(text)).collect();
            ids.sort();
            let find = |prefix: &str| Ok::<_, Infallible>(with_prefix(&ids, prefix));
            assert_eq!(complete(&id(name), known, find), Ok(expected), "{name}");
        }
    }

    #[test]
    fn a_name_that_is_too_short_to_be_an_abbreviated_id_has_a_hint() {
        let why = UNKNOWN_JOB_REASON;
        assert_eq!(
            unknown_job(&id("CnW"), "scanners"),
            format!(
                "\"CnW\" is not a job of group scanners ({why}; an abbreviated id needs at least 4 characters)"
            )
        );
        assert_eq!(
            unknown_job(&id("CnWx"), "scanners"),
            format!("\"CnWx\" is not a job of group scanners ({why})")
        );
    }

    #[test]
    fn the_candidates_are_named_up_to_a_bound() {
        let ids: Vec<TaskId> = (10..30).map(|n| id(&format!("abcd{n}"))).collect();
        let line = ambiguous(&id("abcd"), "tasks", &ids);
        assert!(
            line.starts_with("\"abcd\" is ambiguous: 20 tasks begin with it: abcd10, abcd11"),
            "{line}"
        );
        assert!(line.ends_with(&format!("and {} more", 20 - CANDIDATES_SHOWN_MAX)));
    }
}
