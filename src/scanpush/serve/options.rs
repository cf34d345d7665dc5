//! The command line of `scanpush serve`.

use super::access::{self, AUTH_FILE, AccessOptions, TRUST_HEADER, TRUST_PROXY};
use crate::flags::shared::METRICS_TOKEN_FILE;
use crate::flags::{Flag, Reader, shared, values};
use crate::model::{Invalid, Tags};
use crate::monitoring;
use crate::scanpush::database::{DB, DB_PASSWORD_FILE};
use crate::scanpush::input_source::InputSource;
use crate::scanpush::store::{self, CLOSED_AFTER, KEEP, KEEP_FINDINGS};
use crate::scanpush::tags::{TAGS, read_tags};
use std::net::SocketAddr;

/// The port of [`HTTP`]'s default, for the error about an invalid address.
const USUAL_PORT: u16 = 8080;

const HTTP: Flag = Flag::with_default(
    "--http",
    "ADDRESS",
    "127.0.0.1:8080",
    "address and port of the page and the API",
);
const READ_ONLY: Flag = Flag::switch(
    "--read-only",
    "nothing can be pushed, cancelled or changed on the page",
);

/// Its flags.
pub const FLAGS: &[Flag] = &[
    HTTP,
    AUTH_FILE,
    TRUST_HEADER,
    TRUST_PROXY,
    DB,
    DB_PASSWORD_FILE,
    READ_ONLY,
    shared::METRICS_TOKEN_FILE,
    TAGS,
    CLOSED_AFTER,
    KEEP,
    KEEP_FINDINGS,
    shared::RESULTS_TOPIC,
    shared::STATUS_TOPIC,
];

/// What the command line asks for.
#[derive(Debug)]
pub struct Options {
    /// Kafka, Redis, the database, and what is kept there.
    pub store: store::Options,
    /// Where the page is.
    pub http: SocketAddr,
    /// How users are known.
    pub access: AccessOptions,
    /// Who may read metrics and health; none: nobody.
    pub metrics: Option<monitoring::Access>,
    /// Nothing can be changed.
    pub read_only: bool,
    /// The tagged networks; none without `-tags`.
    pub tags: Option<Tags>,
}

/// Reads the command line, and the file of `-tags`.
pub fn read(mut reader: Reader) -> Result<Options, Invalid> {
    let http = reader.value(&HTTP, values::socket_address(USUAL_PORT))?;
    let access = access::read(&mut reader, http)?;
    let token = reader.password(&METRICS_TOKEN_FILE)?;
    if let Some(token) = &token {
        token.read()?;
    }
    // Without users only programs of this machine can connect.
    let metrics = (token.is_some() || !access.has_users()).then(|| monitoring::Access::with(token));
    let read_only = reader.switch(&READ_ONLY);
    let tags = reader.optional(&TAGS, InputSource::parse)?;
    let store = store::Options::read(&mut reader)?;
    reader.finish()?;
    Ok(Options {
        http,
        access,
        metrics,
        read_only,
        tags: tags.as_ref().map(read_tags).transpose()?,
        store,
    })
}
