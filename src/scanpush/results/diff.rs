//! The differences between the findings of two tasks. Pure. A finding with status `closed` counts as no answer: masscan does not
//! report those by default.

use super::super::formats::Format;
use super::endpoints::EndpointSet;
use crate::model::Invalid;
use crate::model::service::ServiceKey;
use std::fmt::Write;

/// A difference.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Change {
    /// What opened or closed.
    pub endpoint: ServiceKey,
    /// True if only the second task found it, false if only the first did.
    pub opened: bool,
}

/// All differences, sorted by address and port.
pub fn changes(before: &EndpointSet, after: &EndpointSet) -> Vec<Change> {
    let opened = after.without(before).map(|endpoint| Change {
        endpoint,
        opened: true,
    });
    let closed = before.without(after).map(|endpoint| Change {
        endpoint,
        opened: false,
    });
    let mut changes: Vec<Change> = opened.chain(closed).collect();
    changes.sort_unstable_by_key(|change| change.endpoint);
    changes
}

/// The formats of differences.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DiffForm {
    /// `+ 192.0.2.1 80/tcp`
    Lines,
    /// One object on each line.
    Ndjson,
    /// An array of the same objects.
    Json,
}

impl TryFrom<Format> for DiffForm {
    type Error = Invalid;

    fn try_from(format: Format) -> Result<DiffForm, Invalid> {
        match format {
            Format::Table => Ok(DiffForm::Lines),
            Format::Ndjson => Ok(DiffForm::Ndjson),
            Format::Json => Ok(DiffForm::Json),
            _ => Err(Invalid::about(
                "-diff is written as -format table, ndjson or json",
            )),
        }
    }
}

/// Writes the document of `changes` piece by piece.
pub fn write<E>(
    form: DiffForm,
    changes: &[Change],
    mut piece: impl FnMut(&str) -> Result<(), E>,
) -> Result<(), E> {
    /// Differences that are formatted at a time.
    const PIECE_CHANGES: usize = 1000;
    if form == DiffForm::Json {
        piece("[\n")?;
    }
    let mut text = String::new();
    for (n, some) in changes.chunks(PIECE_CHANGES).enumerate() {
        for (m, change) in some.iter().enumerate() {
            if form == DiffForm::Json && n + m > 0 {
                text.push_str(",\n");
            }
            push_change(&mut text, form, change);
            if form != DiffForm::Json {
                text.push('\n');
            }
        }
        piece(&text)?;
        text.clear();
    }
    if form == DiffForm::Json {
        piece(if changes.is_empty() { "]\n" } else { "\n]\n" })?;
    }
    Ok(())
}

fn push_change(text: &mut String, form: DiffForm, change: &Change) {
    let ServiceKey { ip, port, proto } = change.endpoint;
    let proto = proto.as_str();
    let _ = match form {
        DiffForm::Lines => {
            let sign = if change.opened { '+' } else { '-' };
            write!(text, "{sign} {ip} {port}/{proto}")
        }
        DiffForm::Ndjson | DiffForm::Json => {
            let word = if change.opened { "opened" } else { "closed" };
            write!(
                text,
                "{{\"change\":\"{word}\",\"ip\":\"{ip}\",\"port\":{port},\"proto\":\"{proto}\"}}"
            )
        }
    };
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::ports::Proto;

    fn seen(endpoints: &[(&str, u16)]) -> EndpointSet {
        let mut seen = EndpointSet::default();
        for (ip, port) in endpoints {
            let endpoint = ServiceKey {
                ip: ip.parse().unwrap(),
                port: *port,
                proto: Proto::Tcp,
            };
            seen.insert(endpoint, 1);
        }
        seen
    }

    fn text(form: DiffForm, changes: &[Change]) -> String {
        let mut all = String::new();
        write::<()>(form, changes, |piece| {
            all.push_str(piece);
            Ok(())
        })
        .unwrap();
        all
    }

    #[test]
    fn opened_and_closed_endpoints_are_written_in_order() {
        let before = seen(&[("192.0.2.10", 80), ("192.0.2.9", 80), ("2001:db8::1", 22)]);
        let after = seen(&[("192.0.2.9", 80), ("192.0.2.9", 443), ("192.0.2.200", 1)]);
        let changes = changes(&before, &after);
        assert_eq!(
            text(DiffForm::Lines, &changes),
            "+ 192.0.2.9 443/tcp\n- 192.0.2.10 80/tcp\n+ 192.0.2.200 1/tcp\n- 2001:db8::1 22/tcp\n"
        );
        let lines = text(DiffForm::Ndjson, &changes);
        assert_eq!(
            lines.lines().next().unwrap(),
            r#"{"change":"opened","ip":"192.0.2.9","port":443,"proto":"tcp"}"#
        );
        let array: Vec<serde_json::Value> =
            serde_json::from_str(&text(DiffForm::Json, &changes)).unwrap();
        let objects: Vec<serde_json::Value> = lines
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        assert_eq!(array, objects);
    }

    #[test]
    fn an_empty_and_a_large_diff_are_valid_documents() {
        assert_eq!(text(DiffForm::Lines, &[]), "");
        assert_eq!(text(DiffForm::Json, &[]), "[\n]\n");
        let endpoints: Vec<(&str, u16)> = (1..=2500).map(|port| ("192.0.2.1", port)).collect();
        let many = changes(&EndpointSet::default(), &seen(&endpoints));
        let array: Vec<serde_json::Value> =
            serde_json::from_str(&text(DiffForm::Json, &many)).unwrap();
        assert_eq!(array.len(), 2500);
        assert_eq!(text(DiffForm::Lines, &many).lines().count(), 2500);
    }
}
