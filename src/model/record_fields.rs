//! Fields of a JSON object, read with errors that name the field, what it contains, and what is accepted. Pure.

use super::text::{Invalid, quoted};
use serde_json::{Map, Value};

/// The fields of a record. A field that is absent or null counts as missing.
pub struct RecordFields<'a>(&'a Map<String, Value>);

impl<'a> RecordFields<'a> {
    /// Of this object.
    pub fn of(object: &'a Map<String, Value>) -> RecordFields<'a> {
        RecordFields(object)
    }

    fn value(&self, name: &str) -> Option<&'a Value> {
        self.0.get(name).filter(|value| !value.is_null())
    }

    /// An optional string.
    pub fn text(&self, name: &str) -> Result<Option<&'a str>, Invalid> {
        self.value(name)
            .map(|value| value.as_str().ok_or_else(|| other(value, "a string")))
            .transpose()
            .map_err(|error| error.of(name))
    }

    /// A required string.
    pub fn required_text(&self, name: &str) -> Result<&'a str, Invalid> {
        self.text(name)?
            .ok_or_else(|| Invalid::about("missing, a string is required").of(name))
    }

    /// An optional whole number from 0 to 2^64 − 1.
    pub fn number(&self, name: &str) -> Result<Option<u64>, Invalid> {
        self.value(name)
            .map(|value| value.as_u64().ok_or_else(|| other(value, "a whole number")))
            .transpose()
            .map_err(|error| error.of(name))
    }

    /// A required string, or a whole number as one.
    pub fn required_text_or_number(&self, name: &str) -> Result<String, Invalid> {
        let Some(value) = self.value(name) else {
            return Err(Invalid::about("missing, a string of digits is required").of(name));
        };
        match (value.as_str(), value.as_u64()) {
            (Some(text), _) => Ok(text.to_owned()),
            (None, Some(number)) => Ok(number.to_string()),
            (None, None) => Err(other(value, "a string of digits or a whole number").of(name)),
        }
    }

    /// An optional list of whole numbers.
    pub fn numbers(&self, name: &str) -> Result<Option<Vec<u64>>, Invalid> {
        let Some(value) = self.value(name) else {
            return Ok(None);
        };
        let numbers = value
            .as_array()
            .and_then(|list| list.iter().map(Value::as_u64).collect());
        match numbers {
            Some(numbers) => Ok(Some(numbers)),
            None => Err(other(value, "a list of whole numbers").of(name)),
        }
    }
}

/// The error for a value of another type.
fn other(value: &Value, accepted: &str) -> Invalid {
    let found = match value {
        Value::Null => "null".to_owned(),
        Value::Bool(on) => format!("{on}"),
        Value::Number(number) => number.to_string(),
        Value::String(text) => format!("the string {}", quoted(text)),
        Value::Array(_) => "a list".to_owned(),
        Value::Object(_) => "an object".to_owned(),
    };
    Invalid::about(format!("{found} is not {accepted}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn an_error_names_the_field_what_was_found_and_what_is_accepted() {
        type Read = fn(&RecordFields<'_>) -> Result<(), Invalid>;
        let text: Read = |fields| fields.text("x").map(drop);
        let required: Read = |fields| fields.required_text("x").map(drop);
        let number: Read = |fields| fields.number("x").map(drop);
        let either: Read = |fields| fields.required_text_or_number("x").map(drop);
        let numbers: Read = |fields| fields.numbers("x").map(drop);
        for (read, value, error) in [
            (text, json!(443.5), "x: 443.5 is not a string"),
            (text, json!(["80"]), "x: a list is not a string"),
            (required, json!(null), "x: missing, a string is required"),
            (
                number,
                json!("7"),
                "x: the string \"7\" is not a whole number",
            ),
            (number, json!(-1), "x: -1 is not a whole number"),
            (number, json!(1.5), "x: 1.5 is not a whole number"),
            (number, json!({}), "x: an object is not a whole number"),
            (
                either,
                json!(true),
                "x: true is not a string of digits or a whole number",
            ),
            (
                either,
                json!(null),
                "x: missing, a string of digits is required",
            ),
            (
                numbers,
                json!([1, "2"]),
                "x: a list is not a list of whole numbers",
            ),
        ] {
            let record = json!({ "x": value });
            let fields = RecordFields::of(record.as_object().unwrap());
            assert_eq!(read(&fields).unwrap_err().to_string(), error);
        }
    }

    #[test]
    fn values_of_the_right_type_are_read_and_null_is_missing() {
        let record = json!({"text": "a", "number": 7, "list": [1, 2], "null": null});
        let fields = RecordFields::of(record.as_object().unwrap());
        assert_eq!(fields.text("text"), Ok(Some("a")));
        assert_eq!(fields.number("number"), Ok(Some(7)));
        assert_eq!(fields.required_text_or_number("text"), Ok("a".to_owned()));
        assert_eq!(fields.required_text_or_number("number"), Ok("7".to_owned()));
        assert_eq!(fields.numbers("list"), Ok(Some(vec![1, 2])));
        assert_eq!(fields.text("null"), Ok(None));
        assert_eq!(fields.number("absent"), Ok(None));
    }
}
