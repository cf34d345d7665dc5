//! Parses the fields of a Redis hash. Every value is untrusted text.

use super::error::ClaimTableError;
use crate::model::text::quoted;
use std::collections::HashMap;
use std::str::FromStr;

/// The fields of one hash.
#[derive(Debug, Default)]
pub(super) struct Fields(HashMap<String, String>);

impl Fields {
    /// From a flat list of names and values, as HGETALL and the scripts return it.
    pub(super) fn from_flat(flat: Vec<String>) -> Fields {
        let mut fields = HashMap::with_capacity(flat.len() / 2);
        let mut words = flat.into_iter();
        while let (Some(name), Some(value)) = (words.next(), words.next()) {
            fields.insert(name, value);
        }
        Fields(fields)
    }

    /// Whether the key does not exist.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The text of a field.
    pub(super) fn text(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// A field as a `T`; none if it is missing. Errs if it cannot be parsed.
    pub(super) fn get<T: FromStr>(&self, name: &str) -> Result<Option<T>, ClaimTableError> {
        let Some(text) = self.text(name) else {
            return Ok(None);
        };
        text.parse()
            .map(Some)
            .map_err(|_| self.malformed(name, text))
    }

    /// A field as a `T`; none if it is missing or malformed.
    pub(super) fn readable<T: FromStr>(&self, name: &str) -> Option<T> {
        self.get(name).ok().flatten()
    }

    /// A required field.
    pub(super) fn need<T: FromStr>(&self, name: &str) -> Result<T, ClaimTableError> {
        self.get(name)?
            .ok_or_else(|| self.malformed(name, "missing"))
    }

    fn malformed(&self, name: &str, value: &str) -> ClaimTableError {
        let task = self.text("task_id").unwrap_or("?");
        ClaimTableError::malformed(format!("{name} of task {}", quoted(task)), value)
    }
}
