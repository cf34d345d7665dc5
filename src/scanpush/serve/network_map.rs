//! The map of an IPv4 network, for the page and the API: how many open services each of its parts has.

use super::answers::MapCounts;
use super::list_export;
use super::list_records::PartRecord;
use super::lists::RECORD_FORMAT;
use super::memo::Remembered;
use super::problem::Problem;
use super::route::{Answer, Context};
use crate::flags::Flag;
use crate::model::Targets;
use crate::scanpush::queries::writer::RecordFormat;
use crate::store::map_network;
use ipnet::Ipv4Net;

const NET: Flag = Flag::optional("--net", "NETWORK", "an IPv4 network like 10.1.0.0/16");

/// The fields of a query.
pub const FIELDS: &[Flag] = &[NET, RECORD_FORMAT];

/// A question for the map of a network.
#[derive(Debug)]
pub struct MapQuery {
    /// The network, if one is given.
    pub network: Option<Ipv4Net>,
    format: Option<RecordFormat>,
}

/// A network with its counts.
pub struct NetworkMap {
    /// The network.
    pub network: Ipv4Net,
    /// The open services of its parts; parts without any are left out.
    pub counts: Remembered<MapCounts>,
}

impl MapQuery {
    /// Reads the query of a request.
    pub fn read(context: &Context<'_>) -> Result<MapQuery, Problem> {
        let mut reader = context.query(FIELDS)?;
        let query = MapQuery {
            network: reader.optional(&NET, map_network)?,
            format: reader.optional(&RECORD_FORMAT, str::parse)?,
        };
        reader.finish()?;
        match query.network.is_none() && query.format.is_some() {
            true => Err(Problem::bad_request(
                "give an IPv4 network: net=10.1.0.0/16",
            )),
            false => Ok(query),
        }
    }

    /// The map; none if no network is given. Errs with 503 if the database cannot be read.
    pub fn map(&self, context: &Context<'_>) -> Result<Option<NetworkMap>, Problem> {
        let Some(network) = self.network else {
            return Ok(None);
        };
        let site = context.site;
        let counts = site.answers.maps.get(network, || {
            site.readers.ask_long(|store| store.open_by_cell(network))
        })?;
        Ok(Some(NetworkMap { network, counts }))
    }

    /// The map as a document, if a format is asked for.
    pub fn export(&self, context: &Context<'_>, map: &NetworkMap) -> Option<Answer> {
        let name = format!("network-{}", map.network).replace('/', "-");
        let format = self.format?;
        Some(list_export::records(context, &name, format, map.parts()))
    }
}

impl NetworkMap {
    /// The parts with open services, by address.
    pub fn parts(&self) -> Vec<PartRecord> {
        let counts = self.counts.value.iter();
        let part = |(network, open): &(Ipv4Net, u64)| PartRecord {
            network: network.to_string(),
            open: *open,
        };
        counts.map(part).collect()
    }

    /// The network as targets.
    pub fn targets(&self) -> Targets {
        Targets::from_ranges(vec![self.network.into()])
    }

    /// Its open services.
    pub fn open(&self) -> u64 {
        self.counts.value.iter().map(|(_, open)| open).sum()
    }
}
