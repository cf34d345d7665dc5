//! Finds the primary through Redis Sentinels. Each new connection asks them again, so that it follows a failover.

use super::connector::{Connector, Credentials, Opened};
use super::error::{ClaimTableError, Stage};
use super::url::Node;
use crate::model::text::one_line;
use redis::{Connection, RedisResult, Value};
use std::time::{Duration, Instant};

/// How long a Sentinel may take for a connection, and for each answer.
const SENTINEL_WAIT: Duration = Duration::from_secs(1);

/// How long all Sentinels together may take; a Sentinel that was asked before that still gets its time.
const SENTINELS_WAIT: Duration = Duration::from_secs(5);

/// Connects to the primary with this name. Asks the Sentinels one after another until one names a server that is a primary: after a failover,
/// one of them may still name the old one. Errs with the reason of each.
pub(super) fn open_primary(
    connector: &Connector,
    credentials: &Credentials,
    sentinels: &[Node],
    primary: &str,
) -> Result<Opened, ClaimTableError> {
    let (mut tried, mut reasons) = (Vec::new(), Vec::new());
    let deadline = Instant::now() + SENTINELS_WAIT;
    for sentinel in sentinels {
        if Instant::now() >= deadline {
            reasons.push(format!("Sentinel {sentinel}: not asked, for lack of time"));
            break;
        }
        let reason = match ask(connector, credentials, sentinel, primary) {
            Ok(node) if tried.contains(&node) => continue,
            Ok(node) => {
                let opened = connector.open_node(&node, credentials).and_then(checked);
                match opened {
                    Ok(opened) => return Ok(opened),
                    Err(error) => {
                        tried.push(node);
                        format!("{error}, which Sentinel {sentinel} names")
                    }
                }
            }
            Err(reason) => format!("Sentinel {sentinel}: {reason}"),
        };
        reasons.push(reason);
    }
    Err(ClaimTableError::Redis {
        at: connector.shown(),
        cause: format!("no primary: {}", reasons.join("; ")),
    })
}

/// The address of the primary, as this Sentinel knows it; else the reason.
fn ask(
    connector: &Connector,
    credentials: &Credentials,
    sentinel: &Node,
    primary: &str,
) -> Result<Node, String> {
    let question = |logs_in: bool| -> Result<Option<Vec<String>>, ClaimTableError> {
        let mut connection =
            connector.open_sentinel(sentinel, credentials, logs_in, SENTINEL_WAIT)?;
        address(&mut connection, primary)
            .map_err(|error| ClaimTableError::redis(&sentinel, &error, Stage::Connected))
    };
    let answer = match question(false) {
        // A Sentinel with a password of its own: the user and password of Redis have to be valid there too.
        Err(error) if error.needs_password() => question(true),
        answer => answer,
    };
    let found = answer.map_err(|error| match error {
        ClaimTableError::Redis { cause, .. } => cause,
        other => other.to_string(),
    })?;
    match found.as_deref() {
        None => Err(format!(
            "knows no primary {primary:?} (SENTINEL MASTERS lists them)"
        )),
        Some([host, port]) => Node::named(&format!("{host}:{port}"), None)
            .ok_or_else(|| format!("answers with the port {port:?}")),
        Some(other) => Err(one_line(&format!("answers with {other:?}"))),
    }
}

fn address(connection: &mut Connection, primary: &str) -> RedisResult<Option<Vec<String>>> {
    redis::cmd("SENTINEL")
        .arg("GET-MASTER-ADDR-BY-NAME")
        .arg(primary)
        .query(connection)
}

/// Errs if the server is not a primary.
fn checked(mut opened: Opened) -> Result<Opened, ClaimTableError> {
    let role: RedisResult<Vec<Value>> = redis::cmd("ROLE").query(&mut opened.connection);
    let role =
        role.map_err(|error| ClaimTableError::redis(&opened.at, &error, Stage::Connected))?;
    let role = role.into_iter().next();
    match role.and_then(|role| redis::from_redis_value::<String>(role).ok()) {
        Some(role) if role == "master" => Ok(opened),
        _ => Err(ClaimTableError::Redis {
            at: opened.at,
            cause: "is not a primary (now)".to_owned(),
        }),
    }
}
