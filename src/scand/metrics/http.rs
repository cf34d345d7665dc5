//! Where Prometheus reads the metrics.

use super::derived::Sources;
use crate::http_server::HttpServer;
use crate::monitoring::{Endpoints, Registry};
use crate::scand::options::Options;
use std::io;

/// Serves metrics and health at `-http`; nothing without it.
pub fn start(options: &Options, sources: &Sources) -> io::Result<Option<HttpServer>> {
    let Some(address) = options.http else {
        return Ok(None);
    };
    let mut registry = Registry::default();
    sources.metrics.register(&mut registry);
    sources.register(&mut registry);
    let parts = {
        let sources = sources.clone();
        move || sources.parts()
    };
    let endpoints = Endpoints::new(registry, parts, options.http_access.clone());
    HttpServer::start(address, endpoints.handler(address)).map(Some)
}
