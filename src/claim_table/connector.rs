//! Opens connections to Redis: reads the credentials, and finds the primary through Sentinels.
//!
//! **Invariant:** certificates, key and password are read again for each connection, so that a changed file needs no restart.

use super::error::{ClaimTableError, Stage};
use super::sentinel;
use super::settings::{RedisSettings, Waits};
use super::url::{Node, Place};
use crate::credentials::{Secret, Tls};
use crate::model::Invalid;
use redis::{
    Client, ClientTlsConfig, Connection, ConnectionAddr, IntoConnectionInfo, RedisResult,
    TlsCertificates,
};
use std::time::Duration;

/// Opens connections to the Redis of one URL.
pub(super) struct Connector {
    settings: RedisSettings,
}

/// A new connection.
pub(super) struct Opened {
    pub(super) connection: Connection,
    /// The server's address for errors, without user and password.
    pub(super) at: String,
    /// The server; none for a socket.
    pub(super) node: Option<Node>,
}

/// What the files contain now.
pub(super) struct Credentials {
    password: Option<Secret>,
    certificates: Option<TlsCertificates>,
}

impl Connector {
    pub(super) fn new(settings: &RedisSettings) -> Connector {
        Connector {
            settings: settings.clone(),
        }
    }

    /// The URL, without user and password.
    pub(super) fn shown(&self) -> String {
        self.settings.url().to_string()
    }

    /// Connects to where the URL says, or to `node`, which the Redis there has named.
    pub(super) fn open(&self, node: Option<&Node>) -> Result<Opened, ClaimTableError> {
        let credentials = self.credentials().map_err(ClaimTableError::Credentials)?;
        match (node, self.settings.url().place()) {
            (Some(node), _) | (None, Place::Node { node, .. }) => {
                self.open_node(node, &credentials)
            }
            (None, Place::Socket(path)) => {
                let addr = ConnectionAddr::Unix(path.clone());
                self.open_at(addr, self.shown(), None, &credentials)
            }
            (
                None,
                Place::Sentinels {
                    sentinels, primary, ..
                },
            ) => sentinel::open_primary(self, &credentials, sentinels, primary),
        }
    }

    /// Connects to a server.
    pub(super) fn open_node(
        &self,
        node: &Node,
        credentials: &Credentials,
    ) -> Result<Opened, ClaimTableError> {
        let at = self.settings.url().of_node(node);
        self.open_at(self.addr(node), at, Some(node.clone()), credentials)
    }

    /// Connects to a Sentinel: to database 0, and with user and password only if `logs_in`. It has the time `wait` for the connection and each answer.
    pub(super) fn open_sentinel(
        &self,
        node: &Node,
        credentials: &Credentials,
        logs_in: bool,
        wait: Duration,
    ) -> Result<Connection, ClaimTableError> {
        let mut login = redis::RedisConnectionInfo::default();
        if logs_in {
            login = self.login(credentials).set_db(0);
        }
        let waits = Waits {
            connect: wait,
            answer: wait,
            tells_library: true,
        };
        let opened = open_with(self.addr(node), login, credentials, waits);
        opened.map_err(|error| self.refused(&node.to_string(), &error))
    }

    /// Reads the password and the certificates.
    fn credentials(&self) -> Result<Credentials, Invalid> {
        let password = self.settings.password();
        let uses_tls = self.settings.url().uses_tls();
        Ok(Credentials {
            password: password.map(|password| password.read()).transpose()?,
            certificates: uses_tls
                .then(|| certificates(self.settings.tls()))
                .transpose()?,
        })
    }

    fn open_at(
        &self,
        addr: ConnectionAddr,
        at: String,
        node: Option<Node>,
        credentials: &Credentials,
    ) -> Result<Opened, ClaimTableError> {
        let waits = self.settings.waits();
        match open_with(addr, self.login(credentials), credentials, waits) {
            Ok(connection) => Ok(Opened {
                connection,
                at,
                node,
            }),
            Err(error) => Err(self.refused(&at, &error)),
        }
    }

    fn refused(&self, at: &str, error: &redis::RedisError) -> ClaimTableError {
        let stage = match self.settings.url().place() {
            Place::Socket(_) => Stage::Connected,
            _ if self.settings.url().uses_tls() => Stage::HandshakeOfTls,
            _ => Stage::FirstPlaintext,
        };
        ClaimTableError::redis(&at, error, stage)
    }

    fn addr(&self, node: &Node) -> ConnectionAddr {
        let Node { host, port } = node.clone();
        match self.settings.url().uses_tls() {
            false => ConnectionAddr::Tcp(host, port),
            true => ConnectionAddr::TcpTls {
                host,
                port,
                insecure: false,
                tls_params: None,
            },
        }
    }

    fn login(&self, credentials: &Credentials) -> redis::RedisConnectionInfo {
        let mut login = self.settings.url().login().clone();
        if let Some(user) = self.settings.user() {
            login = login.set_username(user);
        }
        if let Some(password) = &credentials.password {
            login = login.set_password(password.reveal());
        }
        login
    }
}

fn open_with(
    addr: ConnectionAddr,
    login: redis::RedisConnectionInfo,
    credentials: &Credentials,
    waits: Waits,
) -> RedisResult<Connection> {
    let login = match waits.tells_library {
        true => login,
        false => login.set_skip_set_lib_name(),
    };
    let info = addr.into_connection_info()?.set_redis_settings(login);
    let client = match &credentials.certificates {
        None => Client::open(info)?,
        Some(certificates) => Client::build_with_tls(info, certificates.clone())?,
    };
    let connection = client.get_connection_with_timeout(waits.connect)?;
    connection.set_read_timeout(Some(waits.answer))?;
    connection.set_write_timeout(Some(waits.answer))?;
    Ok(connection)
}

/// Reads the files of `tls`, and checks that they can be parsed.
fn certificates(tls: &Tls) -> Result<TlsCertificates, Invalid> {
    // An error means that it was installed before.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let root_cert = tls.ca.as_ref().map(|ca| ca.certificates()).transpose()?;
    let client_tls = match &tls.client {
        None => None,
        Some(client) => Some(ClientTlsConfig {
            client_cert: client.certificate.certificates()?,
            client_key: client.key.unencrypted_private_key()?,
        }),
    };
    let certificates = TlsCertificates {
        client_tls: None,
        root_cert,
    };
    let can_be_parsed = |certificates: &TlsCertificates| {
        let addr = ConnectionAddr::TcpTls {
            host: String::new(),
            port: 0,
            insecure: false,
            tls_params: None,
        };
        Client::build_with_tls(addr, certificates.clone()).map(drop)
    };
    if let (Some(ca), Err(_)) = (&tls.ca, can_be_parsed(&certificates)) {
        return Err(ca.invalid("contains a certificate that cannot be parsed"));
    }
    let certificates = TlsCertificates {
        client_tls,
        ..certificates
    };
    if let (Some(client), Err(error)) = (&tls.client, can_be_parsed(&certificates)) {
        // The crate's words say which of the two files it is.
        return Err(match error.to_string().contains("private key") {
            true => client.key.invalid("contains a key that cannot be parsed"),
            false => client
                .certificate
                .invalid("contains a certificate that cannot be parsed"),
        });
    }
    Ok(certificates)
}
