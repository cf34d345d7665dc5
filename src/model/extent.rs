//! What a completed task's scan covered: what a reader needs to conclude something from a service that was not found. Pure.

use super::moment::MOMENT_MAX_MS;
use super::record_fields::RecordFields;
use super::targets::Targets;
use super::text::Invalid;
use serde::{Deserialize, Serialize, Serializer};
use serde_json::{Map, Value};

/// Maximum length of `server_exclude`. Beyond it, all of the task's addresses count as left out.
pub const SERVER_EXCLUDE_MAX_BYTES: usize = 64 * 1024;
/// Maximum number of partitions in `results_end`. With more, it is left out.
pub const RESULTS_END_MAX_PARTITIONS: usize = 1024;
/// The fields of a `completed` record of `scan-status` about what the scan proves. Everything is empty in records of other states, in those of
/// older versions, and if one of the fields is not valid.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Map<String, Value>")]
pub struct Extent {
    /// When the scan began whose probes count, in unix milliseconds by Redis' clock; never too late. Absent if that is unknown: then nothing is
    /// known about what was covered, `server_exclude` included.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub begun_ms: Option<u64>,
    /// Targets of the task that were not scanned because they are outside the scope of the server. May contain other addresses too.
    #[serde(
        skip_serializing_if = "Targets::is_empty",
        serialize_with = "serialize_text"
    )]
    pub server_exclude: Targets,
    /// For each partition of the results topic, the offset after all findings of the scan, from all attempts that count. Absent if Kafka did not
    /// say.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub results_end: Option<Vec<i64>>,
}

impl Extent {
    /// The extent of a scan of `targets` that began at `begun_ms` and left `denied` out. `results_end` is not known yet.
    pub fn new(begun_ms: Option<u64>, targets: &Targets, denied: &Targets) -> Extent {
        let fits = denied.ranges().len() <= super::targets::TASK_TARGETS_MAX
            && denied.to_string().len() <= SERVER_EXCLUDE_MAX_BYTES;
        let server_exclude = match fits {
            true => denied.clone(),
            false => targets.hull(),
        };
        Extent {
            begun_ms,
            server_exclude,
            results_end: None,
        }
    }

    /// The extent that the claim table has kept: when the scan began, and [`Extent::server_exclude_text`]. Empty if the text is not valid.
    pub fn kept(begun_ms: Option<u64>, server_exclude: &str) -> Extent {
        match parse_excluded(server_exclude) {
            Ok(server_exclude) => Extent {
                begun_ms,
                server_exclude,
                results_end: None,
            },
            Err(_) => Extent::default(),
        }
    }

    /// `server_exclude` as text; empty if nothing was left out.
    pub fn server_exclude_text(&self) -> String {
        self.server_exclude.to_string()
    }

    /// Sets `results_end`, if it is not too long.
    pub fn set_results_end(&mut self, ends: &[i64]) {
        self.results_end = (ends.len() <= RESULTS_END_MAX_PARTITIONS).then(|| ends.to_vec());
    }

    fn from_fields(fields: &RecordFields<'_>) -> Result<Extent, Invalid> {
        let begun_ms = fields.number("begun_ms")?;
        if begun_ms.is_some_and(|ms| ms > MOMENT_MAX_MS) {
            return Err(Invalid::about("after the year 9999").of("begun_ms"));
        }
        let server_exclude = fields.text("server_exclude")?.unwrap_or_default();
        let results_end = fields.numbers("results_end")?;
        Ok(Extent {
            begun_ms,
            server_exclude: parse_excluded(server_exclude)
                .map_err(|error| error.of("server_exclude"))?,
            results_end: results_end
                .map(|ends| offsets(&ends))
                .transpose()
                .map_err(|error| error.of("results_end"))?,
        })
    }
}

impl From<Map<String, Value>> for Extent {
    /// Reads the fields of a record. If one is not valid, all count as absent: a state must not be lost because of them, and an exclusion that
    /// cannot be read must not count as none.
    fn from(record: Map<String, Value>) -> Extent {
        Extent::from_fields(&RecordFields::of(&record)).unwrap_or_default()
    }
}

fn serialize_text<S: Serializer>(targets: &Targets, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(targets)
}

/// Parses `server_exclude`; an empty text is an empty set.
fn parse_excluded(text: &str) -> Result<Targets, Invalid> {
    if text.len() > SERVER_EXCLUDE_MAX_BYTES {
        let wrong = format!("longer than {SERVER_EXCLUDE_MAX_BYTES} bytes");
        return Err(Invalid::about(wrong));
    }
    match text {
        "" => Ok(Targets::default()),
        text => text.parse(),
    }
}

fn offsets(numbers: &[u64]) -> Result<Vec<i64>, Invalid> {
    if numbers.len() > RESULTS_END_MAX_PARTITIONS {
        let wrong = format!("more than {RESULTS_END_MAX_PARTITIONS} partitions");
        return Err(Invalid::about(wrong));
    }
    numbers
        .iter()
        .map(|&number| i64::try_from(number).map_err(|_| Invalid::about("not an offset")))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn targets(text: &str) -> Targets {
        text.parse().unwrap()
    }

    fn extent() -> Extent {
        let mut extent = Extent::new(
            Some(1_795_333_284_123),
            &targets("10.0.0.0/24"),
            &targets("10.0.0.7,10.0.0.64/26"),
        );
        extent.set_results_end(&[0, 7, i64::MAX]);
        extent
    }

    #[test]
    fn the_fields_of_a_record_parse_back() {
        let record = json!({
            "begun_ms": 1_795_333_284_123_u64,
            "server_exclude": "10.0.0.7,10.0.0.64/26",
            "results_end": [0, 7, i64::MAX],
        });
        assert_eq!(serde_json::to_value(extent()).unwrap(), record);
        assert_eq!(serde_json::from_value::<Extent>(record).unwrap(), extent());
        let none = Extent::default();
        assert_eq!(serde_json::to_value(&none).unwrap(), json!({}));
        assert_eq!(serde_json::from_value::<Extent>(json!({})).unwrap(), none);
    }

    #[test]
    fn one_invalid_field_makes_all_count_as_absent() {
        let long = "10.0.0.1,".repeat(SERVER_EXCLUDE_MAX_BYTES / 9) + "10.0.0.1";
        for (name, value) in [
            ("begun_ms", json!("1795333284123")),
            ("begun_ms", json!(-1)),
            ("begun_ms", json!(u64::MAX)),
            ("server_exclude", json!(7)),
            ("server_exclude", json!("example.org")),
            ("server_exclude", json!("10.0.0.1,")),
            ("server_exclude", json!(long)),
            ("results_end", json!("7")),
            ("results_end", json!([1, -1])),
            ("results_end", json!([u64::MAX])),
            (
                "results_end",
                json!(vec![0; RESULTS_END_MAX_PARTITIONS + 1]),
            ),
        ] {
            let mut record = serde_json::to_value(extent()).unwrap();
            record[name] = value;
            let parsed = serde_json::from_value::<Extent>(record).unwrap();
            assert_eq!(parsed, Extent::default(), "{name}");
        }
    }

    #[test]
    fn exclusions_that_are_too_long_leave_all_targets_out() {
        let every_other = |count: u32| {
            let list: Vec<String> = (0..count)
                .map(|i| format!("100.100.{}.{}", 100 + i / 128, 2 * (i % 128)))
                .collect();
            // More entries than a list may have.
            let (one, two) = list.split_at(list.len() / 2);
            let ranges = [one, two].map(|part| targets(&part.join(",")));
            Targets::from_ranges([ranges[0].ranges(), ranges[1].ranges()].concat())
        };
        let all = targets("100.100.0.0-100.100.255.254,fd00::5");
        let of = |denied: &Targets| Extent::new(Some(1), &all, denied);
        let fits = every_other(4000);
        assert_eq!(of(&fits).server_exclude, fits);
        for too_many in [4097, 5000] {
            let extent = of(&every_other(too_many));
            assert_eq!(extent.server_exclude, all, "{too_many}");
        }
        // Whatever the writer made, a reader accepts.
        for extent in [of(&fits), of(&every_other(5000))] {
            let record = serde_json::to_value(&extent).unwrap();
            assert_eq!(serde_json::from_value::<Extent>(record).unwrap(), extent);
            let text = extent.server_exclude_text();
            assert_eq!(Extent::kept(Some(1), &text), extent);
        }
    }

    #[test]
    fn too_many_partitions_are_left_out() {
        let mut extent = extent();
        extent.set_results_end(&[5; RESULTS_END_MAX_PARTITIONS]);
        assert!(extent.results_end.is_some());
        extent.set_results_end(&[5; RESULTS_END_MAX_PARTITIONS + 1]);
        assert_eq!(extent.results_end, None);
    }

    #[test]
    fn what_the_claim_table_cannot_have_written_counts_as_unknown() {
        assert_eq!(Extent::kept(Some(5), "").begun_ms, Some(5));
        assert_eq!(Extent::kept(Some(5), "x"), Extent::default());
    }
}
