//! The address of Redis. The password in the URL is only used for the connection and never shown.

use crate::model::Invalid;
use crate::model::text::one_line;
use redis::{ConnectionAddr, ConnectionInfo, IntoConnectionInfo, RedisConnectionInfo};
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

/// Port of a Sentinel whose URL has none.
const SENTINEL_PORT: u16 = 26379;
/// Sentinels in a URL.
const SENTINELS_MAX: usize = 16;
/// Longest name of a primary that Sentinels watch, in bytes.
const PRIMARY_NAME_MAX_BYTES: usize = 128;

/// A validated URL: `redis://[user:password@]host[:port][/db]`, `rediss://` with TLS, `unix:///path`, or
/// `redis+sentinel://[user:password@]host[:port][,host[:port]…]/primary[/db]`, `rediss+sentinel://` with TLS.
#[derive(Clone)]
pub struct RedisUrl {
    place: Place,
    /// User, password and database.
    login: RedisConnectionInfo,
}

/// Where Redis is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Place {
    Node {
        node: Node,
        tls: bool,
    },
    Socket(PathBuf),
    /// Wherever these Sentinels say that the primary with this name is.
    Sentinels {
        sentinels: Vec<Node>,
        primary: String,
        tls: bool,
    },
}

/// A server of Redis, a node of a Redis Cluster or a Sentinel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Node {
    pub(super) host: String,
    pub(super) port: u16,
}

impl RedisUrl {
    pub(super) fn place(&self) -> &Place {
        &self.place
    }

    /// User, password and database.
    pub(super) fn login(&self) -> &RedisConnectionInfo {
        &self.login
    }

    pub(super) fn uses_tls(&self) -> bool {
        match self.place {
            Place::Node { tls, .. } | Place::Sentinels { tls, .. } => tls,
            Place::Socket(_) => false,
        }
    }

    /// The URL of a node that Redis itself or a Sentinel has named, without user and password.
    pub(super) fn of_node(&self, node: &Node) -> String {
        let scheme = if self.uses_tls() { "rediss" } else { "redis" };
        format!("{scheme}://{node}{}", self.shown_db())
    }

    fn shown_db(&self) -> String {
        match self.login.db() {
            0 => String::new(),
            db => format!("/{db}"),
        }
    }
}

impl FromStr for RedisUrl {
    type Err = Invalid;

    /// Errors quote no part of the text, because it may contain a password.
    fn from_str(text: &str) -> Result<RedisUrl, Invalid> {
        if has_unescaped_password(text) {
            return Err(Invalid::about(
                "the value contains #, or a / or ? before an @: in a user name or password write # as %23, / as %2F, ? as %3F, @ as %40, % as %25",
            ));
        }
        match text.split_once("://") {
            Some(("redis+sentinel", rest)) => sentinels(rest, false),
            Some(("rediss+sentinel", rest)) => sentinels(rest, true),
            Some(("redis" | "rediss" | "unix" | "redis+unix", _)) => server(text),
            _ => Err(expected()),
        }
    }
}

fn expected() -> Invalid {
    Invalid::about(
        "the value is not a URL like redis://localhost:6379, rediss://user:password@host:6379/0, unix:///run/redis.sock or redis+sentinel://host:26379,host2:26379/PRIMARY",
    )
}

fn server(text: &str) -> Result<RedisUrl, Invalid> {
    let info = parsed(text)?;
    let place = match info.addr() {
        ConnectionAddr::Unix(path) => Place::Socket(path.clone()),
        addr => {
            let (node, tls) = node_of(addr).ok_or_else(expected)?;
            Place::Node { node, tls }
        }
    };
    Ok(RedisUrl {
        place,
        login: info.redis_settings().clone(),
    })
}

/// `rest` is what follows the scheme. User, password, hosts and database are parsed as those of a plain URL.
fn sentinels(rest: &str, tls: bool) -> Result<RedisUrl, Invalid> {
    let (authority, path) = rest.split_once('/').ok_or_else(expected)?;
    let (login, hosts) = match authority.rsplit_once('@') {
        Some((login, hosts)) => (format!("{login}@"), hosts),
        None => (String::new(), authority),
    };
    let (primary, db) = path.split_once('/').unwrap_or((path, ""));
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    if primary.is_empty()
        || primary.len() > PRIMARY_NAME_MAX_BYTES
        || !primary.chars().all(is_plain)
    {
        return Err(Invalid::about(format!(
            "the value has no name of a primary after the Sentinels, of at most {PRIMARY_NAME_MAX_BYTES} letters, digits, dots, dashes and underscores, like \
             redis+sentinel://host:26379,host2:26379/PRIMARY"
        )));
    }
    if hosts.split(',').count() > SENTINELS_MAX {
        return Err(Invalid::about(format!(
            "the value has more than {SENTINELS_MAX} Sentinels"
        )));
    }
    let sentinels = hosts.split(',').map(sentinel).collect::<Result<_, _>>()?;
    let info = parsed(&format!("redis://{login}localhost/{db}"))?;
    Ok(RedisUrl {
        place: Place::Sentinels {
            sentinels,
            primary: primary.to_owned(),
            tls,
        },
        login: info.redis_settings().clone(),
    })
}

fn sentinel(host: &str) -> Result<Node, Invalid> {
    let after_address = host.rsplit_once(']').map_or(host, |(_, after)| after);
    let info = match after_address.contains(':') {
        true => parsed(&format!("redis://{host}"))?,
        false => parsed(&format!("redis://{host}:{SENTINEL_PORT}"))?,
    };
    let (node, _) = node_of(info.addr()).ok_or_else(expected)?;
    Ok(node)
}

fn parsed(text: &str) -> Result<ConnectionInfo, Invalid> {
    text.into_connection_info().map_err(|_| expected())
}

fn node_of(addr: &ConnectionAddr) -> Option<(Node, bool)> {
    let (host, port, tls) = match addr {
        ConnectionAddr::Tcp(host, port) => (host, *port, false),
        ConnectionAddr::TcpTls { host, port, .. } => (host, *port, true),
        _ => return None,
    };
    let host = host.clone();
    Some((Node { host, port }, tls))
}

/// Whether a special character of the user name or password is not escaped. `redis://:a#b@host` would be parsed as the host `` with password
/// `a` cut off, or, worse, part of the password as the host.
fn has_unescaped_password(text: &str) -> bool {
    let after_scheme = text.split_once("://").map_or(text, |(_, rest)| rest);
    let authority_end = after_scheme.find(['/', '?', '#']);
    let is_socket = text.starts_with("unix://") || text.starts_with("redis+unix://");
    let has_late_at = authority_end.is_some_and(|end| after_scheme[end..].contains('@'));
    after_scheme.contains('#') || (has_late_at && !is_socket)
}

impl Node {
    /// The node in `text`, such as `192.0.2.7:6381` or `::1:6381`, as a Redis Cluster names it. An empty host is that of `here`, the node that
    /// answered.
    pub(super) fn named(text: &str, here: Option<&Node>) -> Option<Node> {
        let (host, port) = text.rsplit_once(':')?;
        let port = port.parse().ok()?;
        let host = match (host, here) {
            ("" | "?", here) => here?.host.clone(),
            (host, _) => host.to_owned(),
        };
        Some(Node { host, port })
    }
}

impl fmt::Display for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Node { host, port } = self;
        let host = one_line(host);
        match host.contains(':') {
            true => write!(f, "[{host}]:{port}"),
            false => write!(f, "{host}:{port}"),
        }
    }
}

impl fmt::Display for RedisUrl {
    /// The URL without user and password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            Place::Node { node, .. } => f.write_str(&self.of_node(node)),
            Place::Socket(path) => write!(f, "unix://{}{}", path.display(), self.shown_db()),
            Place::Sentinels {
                sentinels,
                primary,
                tls,
            } => {
                let scheme = if *tls { "rediss" } else { "redis" };
                let nodes: Vec<String> = sentinels.iter().map(Node::to_string).collect();
                let (nodes, db) = (nodes.join(","), self.shown_db());
                write!(f, "{scheme}+sentinel://{nodes}/{primary}{db}")
            }
        }
    }
}

impl fmt::Debug for RedisUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_displayed_url_has_no_password() {
        for (text, shown) in [
            ("redis://localhost", "redis://localhost:6379"),
            ("redis://localhost:7000", "redis://localhost:7000"),
            ("redis://me:secret@host:1/2", "redis://host:1/2"),
            ("redis://:secret@host", "redis://host:6379"),
            ("redis://[::1]:7", "redis://[::1]:7"),
            ("rediss://me:secret@host:1/2", "rediss://host:1/2"),
            ("unix:///run/r.sock", "unix:///run/r.sock"),
            (
                "redis+sentinel://me:secret@a,b:7,[::1],[::2]:9/main/3",
                "redis+sentinel://a:26379,b:7,[::1]:26379,[::2]:9/main/3",
            ),
            (
                "rediss+sentinel://:se%63ret@a/main-1.x_y",
                "rediss+sentinel://a:26379/main-1.x_y",
            ),
        ] {
            let url: RedisUrl = text.parse().unwrap();
            assert_eq!(url.to_string(), shown);
            assert!(!format!("{url} {url:?}").contains("secret"));
        }
    }

    #[test]
    fn user_password_and_database_are_those_of_redis() {
        for (text, user, password, db) in [
            ("redis://h", None, None, 0),
            ("redis://me:s%40t@h/2", Some("me"), Some("s@t"), 2),
            ("redis+sentinel://h,i/m", None, None, 0),
            ("redis+sentinel://:s@h,i/m", None, Some("s"), 0),
            (
                "rediss+sentinel://me:s%40t@h,i/m/2",
                Some("me"),
                Some("s@t"),
                2,
            ),
        ] {
            let url: RedisUrl = text.parse().unwrap();
            let login = url.login();
            assert_eq!(
                (login.username(), login.password(), login.db()),
                (user, password, db),
                "{text}"
            );
            assert_eq!(url.uses_tls(), text.starts_with("rediss"), "{text}");
        }
    }

    #[test]
    fn an_invalid_url_is_refused_without_quoting_it() {
        for text in [
            "",
            "localhost:6379",
            "http://:secret@x",
            "rediss://:secret@x/#insecure",
            "redis://:secret@x:port",
            "redis://:P@ss#secret@host",
            "redis://:P/secret@host",
            "redis://:P?secret@host",
            "redis://me:secret@host/0#1",
            "redis+sentinel://:secret@host",
            "redis+sentinel://:secret@host/",
            "redis+sentinel://:secret@host,/m",
            "redis+sentinel://:secret@host:port/m",
            "redis+sentinel://:secret@host/m/db",
            "redis+sentinel://:secret@host/a b",
            "redis+sentinel://:P/secret@host/m",
        ] {
            let error = text.parse::<RedisUrl>().unwrap_err().to_string();
            assert!(!error.contains("secret"), "{error}");
        }
    }

    #[test]
    fn a_cluster_names_nodes_without_brackets_and_sometimes_without_a_host() {
        let here = "here:1".rsplit_once(':').map(|(host, _)| Node {
            host: host.to_owned(),
            port: 1,
        });
        for (text, shown) in [
            ("192.0.2.7:6381", Some("192.0.2.7:6381")),
            ("::1:6381", Some("[::1]:6381")),
            ("host.example:1", Some("host.example:1")),
            (":6381", Some("here:6381")),
            ("?:6381", Some("here:6381")),
            ("host", None),
            ("host:99999", None),
        ] {
            let node = Node::named(text, here.as_ref());
            assert_eq!(node.map(|node| node.to_string()).as_deref(), shown);
        }
        assert_eq!(Node::named(":1", None), None);
    }
}
