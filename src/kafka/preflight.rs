//! Checks a connection before it is used, for `-check` and for the start of a server.

use super::choice::{KafkaClient, Reason, choose};
use super::deadline::within;
use super::error::KafkaError;
#[cfg(feature = "librdkafka")]
use super::librdkafka_client;
use super::plain_client::api_versions::first_that_answers;
use super::settings::KafkaSettings;
use crate::model::Invalid;
use std::time::Duration;

/// Reads the files of `settings`, without connecting. Errs with one line that names the flag and the file.
pub fn check_settings(settings: &KafkaSettings) -> Result<(), Invalid> {
    #[cfg(feature = "librdkafka")]
    librdkafka_client::check_settings(settings)?;
    #[cfg(not(feature = "librdkafka"))]
    if settings.security().needs_librdkafka().is_some() {
        return Err(Invalid::about(KafkaError::WithoutLibrdkafka));
    }
    Ok(())
}

/// Checks that this program can connect to one of the brokers and authenticate. Returns the client library it uses. Otherwise fails within
/// `wait`, with the reason for each address.
pub fn preflight(settings: &KafkaSettings, wait: Duration) -> Result<KafkaClient, KafkaError> {
    let asked = settings.clone();
    within(wait, &format!("connect to {settings}"), move || {
        let client = choose(&asked)?;
        match client {
            // The choice has asked the brokers already.
            KafkaClient::Crate(Reason::Supported) => {}
            KafkaClient::Crate(_) => first_that_answers(asked.brokers()).map(drop)?,
            #[cfg(feature = "librdkafka")]
            KafkaClient::Librdkafka(_) => librdkafka_client::try_connection(&asked)?,
            #[cfg(not(feature = "librdkafka"))]
            KafkaClient::Librdkafka(_) => return Err(KafkaError::WithoutLibrdkafka),
        }
        Ok(client)
    })
}
