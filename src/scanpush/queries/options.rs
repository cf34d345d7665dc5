//! The flags that the commands have in common, parsed and checked: those that say what is asked for, which are also the fields of the web page and
//! the API, and those that only a command line has. Opens no connection; reads the file of `-tags`.

use super::rows::Look;
use crate::flags::{Flag, Reader, values};
use crate::model::ports::Proto;
use crate::model::{Invalid, Moment, Ports, Tags, Targets};
use crate::scanpush::database;
use crate::scanpush::input_source::InputSource;
use crate::scanpush::tags::{TAGS, networks_of, read_tags};
use crate::store::DatabaseSettings;
use std::str::FromStr;

/// Largest `-limit`.
const QUERY_ROWS_MAX: u32 = 1_000_000_000;

/// `-net`
pub const NET: Flag = Flag::optional(
    "--net",
    "TARGETS",
    "only these addresses, CIDR blocks and a-b ranges, separated by commas",
);
/// `-port`
pub const PORT: Flag = Flag::optional(
    "--port",
    "PORTS",
    "only these ports, like 80,443,8000-8100; UDP after U:, SCTP after S:",
);
/// `-proto`
pub const PROTO: Flag = Flag::optional("--proto", "NAME", "only this protocol: tcp, udp or sctp")
    .one_of(&["tcp", "udp", "sctp"]);
/// `-tag`
pub const TAG: Flag = Flag::optional(
    "--tag",
    "NAMES",
    "only networks with one of these tags, comma-separated; needs -tags",
);
/// `-limit`
pub const LIMIT: Flag = Flag::optional("--limit", "N", "show at most N (default all)");
/// `-format`
pub const FORMAT: Flag = Flag::optional(
    "--format",
    "NAME",
    "table (default), ndjson, csv, or addresses: each address once, for nmap -iL",
)
.one_of(&["table", "ndjson", "csv", "addresses"]);
/// `-json`
pub const JSON: Flag = Flag::switch("--json", "the same as -format ndjson");
/// `-csv`
pub const CSV: Flag = Flag::switch("--csv", "the same as -format csv");

/// What `-format` names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QueryFormat {
    /// Columns for people.
    Table,
    /// One object on each line.
    Ndjson,
    /// A header, then one row on each line.
    Csv,
    /// Each address once.
    Addresses,
}

impl QueryFormat {
    const ALL: [(&'static str, QueryFormat); 4] = [
        ("table", QueryFormat::Table),
        ("ndjson", QueryFormat::Ndjson),
        ("csv", QueryFormat::Csv),
        ("addresses", QueryFormat::Addresses),
    ];

    /// Takes [`FORMAT`], [`JSON`] and [`CSV`].
    pub fn read(reader: &mut Reader) -> Result<QueryFormat, Invalid> {
        let format = reader.optional(&FORMAT, str::parse)?;
        let switches = [
            (reader.switch(&JSON), QueryFormat::Ndjson),
            (reader.switch(&CSV), QueryFormat::Csv),
        ];
        let mut chosen: Vec<QueryFormat> = switches
            .into_iter()
            .filter_map(|(is_on, format)| is_on.then_some(format))
            .chain(format)
            .collect();
        chosen.dedup();
        match chosen[..] {
            [] => Ok(QueryFormat::Table),
            [one] => Ok(one),
            _ => Err(Invalid::about(
                "-format, -json and -csv cannot be combined: give only one format",
            )),
        }
    }
}

impl FromStr for QueryFormat {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<QueryFormat, Invalid> {
        let named = QueryFormat::ALL.into_iter().find(|(name, _)| *name == text);
        named.map(|(_, format)| format).ok_or_else(|| {
            let names = QueryFormat::ALL.map(|(name, _)| name).join(", ");
            Invalid::new(text, format!("is not a format: use one of {names}"))
        })
    }
}

/// Which addresses and ports are asked for.
#[derive(Debug)]
pub struct Scope {
    /// Only these addresses.
    pub networks: Option<Targets>,
    /// Only these ports.
    pub ports: Option<Ports>,
    /// Only this protocol.
    pub proto: Option<Proto>,
}

impl Scope {
    /// Takes [`NET`], [`PORT`], [`PROTO`] and [`TAG`], whose names are those of `tags`.
    pub fn read(reader: &mut Reader, tags: Option<&Tags>) -> Result<Scope, Invalid> {
        let networks = reader.optional(&NET, str::parse::<Targets>)?;
        let ports = reader.optional(&PORT, str::parse)?;
        let proto = reader.optional(&PROTO, parse_proto)?;
        let names = reader.optional(&TAG, |text| Ok(text.to_owned()))?;
        let tagged = match (tags, names) {
            (_, None) => None,
            (Some(tags), Some(names)) => Some(tagged(tags, &names)?),
            (None, Some(_)) => {
                let wrong = "needs -tags FILE too: the networks with their tags";
                return Err(Invalid::about(wrong).of(TAG.shown()));
            }
        };
        let networks = match (networks, tagged) {
            (Some(networks), Some(tagged)) => Some(networks.intersection(&tagged)),
            (networks, tagged) => networks.or(tagged),
        };
        Ok(Scope {
            networks,
            ports,
            proto,
        })
    }
}

/// What the command lines of `services` and `changes` have in common, beside what they ask for.
#[derive(Debug)]
pub struct ListOptions {
    /// The database.
    pub database: DatabaseSettings,
    /// The tags to show; none without `-tags`.
    pub tags: Option<Tags>,
    /// Rows at most; none: all.
    pub limit: Option<u64>,
    /// The form of the output.
    pub format: QueryFormat,
}

impl ListOptions {
    /// Takes [`TAGS`], [`LIMIT`], the flags of the format and those of the database.
    pub fn read(reader: &mut Reader) -> Result<ListOptions, Invalid> {
        Ok(ListOptions {
            limit: limit(reader)?,
            format: QueryFormat::read(reader)?,
            database: database::read(reader)?,
            tags: tags(reader)?,
        })
    }

    /// What rows are made for.
    pub fn look(&self, columns: usize, now_s: u64) -> Look<'_> {
        Look {
            tags: self.tags.as_ref(),
            columns,
            now_s,
        }
    }
}

fn parse_proto(text: &str) -> Result<Proto, Invalid> {
    let mut all = [Proto::Tcp, Proto::Udp, Proto::Sctp].into_iter();
    all.find(|proto| proto.as_str() == text)
        .ok_or_else(|| Invalid::new(text, "is not a protocol: tcp, udp or sctp"))
}

/// Takes [`TAGS`] and reads the file; none without the flag.
pub fn tags(reader: &mut Reader) -> Result<Option<Tags>, Invalid> {
    let source = reader.optional(&TAGS, InputSource::parse)?;
    source.as_ref().map(read_tags).transpose()
}

/// The networks with one of these tags.
fn tagged(tags: &Tags, names: &str) -> Result<Targets, Invalid> {
    let mut ranges = Vec::new();
    for name in names.split(',').map(str::trim) {
        let networks = networks_of(tags, name).map_err(|error| error.of(TAG.shown()))?;
        ranges.extend_from_slice(networks.ranges());
    }
    Ok(Targets::from_ranges(ranges))
}

/// Takes [`LIMIT`].
pub fn limit(reader: &mut Reader) -> Result<Option<u64>, Invalid> {
    let limit = reader.optional(&LIMIT, values::number(1, QUERY_ROWS_MAX))?;
    Ok(limit.map(u64::from))
}

/// Takes a point in time, in unix seconds.
pub fn moment(reader: &mut Reader, flag: &Flag, now_s: u64) -> Result<Option<u64>, Invalid> {
    let moment = reader.optional(flag, str::parse::<Moment>)?;
    Ok(moment.map(|moment| moment.unix_s(now_s)))
}
