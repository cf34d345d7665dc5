//! What opened and what closed between two tasks. Pure. An answer that says `closed` counts as no answer at all: masscan
//! gives none of those by default.

use super::super::formats::Format;
use super::seen::{Place, Seen};
use crate::model::Invalid;
use std::fmt::Write;

/// A difference.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Change {
    /// Where.
    pub place: Place,
    /// True: only the second task found it; false: only the first.
    pub opened: bool,
}

/// All differences, by address, then port.
pub fn changes(before: &Seen, after: &Seen) -> Vec<Change> {
    let opened = after.without(before).map(|place| Change {
        place,
        opened: true,
    });
    let closed = before.without(after).map(|place| Change {
        place,
        opened: false,
    });
    let mut changes: Vec<Change> = opened.chain(closed).collect();
    changes.sort_unstable_by_key(|change| change.place);
    changes
}

/// The forms in which differences are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DiffForm {
    /// `+ 192.0.2.1 80/tcp`
    Lines,
    /// An object a line.
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

/// The document of `changes`, handed out in pieces.
pub fn written<E>(
    form: DiffForm,
    changes: &[Change],
    mut piece: impl FnMut(&str) -> Result<(), E>,
) -> Result<(), E> {
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
    let Place { ip, port, proto } = change.place;
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

    fn seen(places: &[(&str, u16)]) -> Seen {
        let mut seen = Seen::default();
        for (ip, port) in places {
            seen.insert(Place {
                ip: ip.parse().unwrap(),
                port: *port,
                proto: Proto::Tcp,
            });
        }
        seen
    }

    fn text(form: DiffForm, changes: &[Change]) -> String {
        let mut all = String::new();
        written::<()>(form, changes, |piece| {
            all.push_str(piece);
            Ok(())
        })
        .unwrap();
        all
    }

    #[test]
    fn what_opened_and_what_closed() {
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
    fn no_difference_and_many() {
        assert_eq!(text(DiffForm::Lines, &[]), "");
        assert_eq!(text(DiffForm::Json, &[]), "[\n]\n");
        let places: Vec<(&str, u16)> = (1..=2500).map(|port| ("192.0.2.1", port)).collect();
        let many = changes(&Seen::default(), &seen(&places));
        let array: Vec<serde_json::Value> =
            serde_json::from_str(&text(DiffForm::Json, &many)).unwrap();
        assert_eq!(array.len(), 2500);
        assert_eq!(text(DiffForm::Lines, &many).lines().count(), 2500);
    }
}
