//! How to connect to Redis, as validated settings. Pure: files are named here, not read.

use super::url::{Node, Place, RedisUrl};
use crate::credentials::{CredentialFile, Password, Tls};
use crate::model::Invalid;
use crate::model::backoff::CONNECT_WAIT;
use std::fmt;
use std::time::Duration;

/// How long a Redis command may take.
const REDIS_ANSWER_WAIT: Duration = Duration::from_secs(3);

/// How long a connection to Redis, and a command, may take while a request of the page or the API waits for it.
const REDIS_REQUEST_WAIT: Duration = Duration::from_secs(1);

/// How to connect to Redis.
#[derive(Clone, Debug)]
pub struct RedisSettings {
    url: RedisUrl,
    user: Option<String>,
    password: Option<Password>,
    tls: Tls,
    waits: Waits,
}

/// How long Redis may take.
#[derive(Clone, Copy, Debug)]
pub(super) struct Waits {
    /// For a connection, and for each of the commands that set it up.
    pub(super) connect: Duration,
    /// For an answer.
    pub(super) answer: Duration,
    /// Whether a new connection tells the name of the library, and waits for the answer. It goes on without one, so that a Redis that does not answer
    /// takes that time twice.
    pub(super) tells_library: bool,
}

impl Default for Waits {
    fn default() -> Waits {
        Waits {
            connect: CONNECT_WAIT,
            answer: REDIS_ANSWER_WAIT,
            tells_library: true,
        }
    }
}

impl RedisSettings {
    /// Settings for the Redis at `url`. `user` replaces the user name of the URL. Errs if the URL has a password beside `password`, if a user name has no
    /// password, or if there are certificates but no TLS.
    pub fn new(
        url: RedisUrl,
        user: Option<String>,
        password: Option<Password>,
        tls: Tls,
    ) -> Result<RedisSettings, Invalid> {
        let login = url.login();
        if let (Some(password), Some(_)) = (&password, login.password()) {
            let other = match password {
                Password::File(_) => "-redis-password-file",
                Password::Variable(_) => "SCAN_REDIS_PASSWORD",
            };
            return Err(Invalid::about(format!(
                "the URL of -redis has a password, and so has {other}: give only one of them"
            )));
        }
        let has_user = user.is_some() || login.username().is_some_and(|user| !user.is_empty());
        if has_user && password.is_none() && login.password().is_none() {
            return Err(Invalid::about(
                "a user name for Redis needs a password too: give -redis-password-file, or the password in the environment variable SCAN_REDIS_PASSWORD",
            ));
        }
        if !url.uses_tls()
            && let Some(file) = tls.files().next()
        {
            return Err(file.invalid("is for TLS: give a rediss:// URL in -redis"));
        }
        Ok(RedisSettings {
            url,
            user,
            password,
            tls,
            waits: Waits::default(),
        })
    }

    /// The same settings for a program that somebody waits for: Redis has [`REDIS_REQUEST_WAIT`] for a connection and for an answer.
    pub fn for_requests(&self) -> RedisSettings {
        RedisSettings {
            waits: Waits {
                connect: REDIS_REQUEST_WAIT,
                answer: REDIS_REQUEST_WAIT,
                tells_library: false,
            },
            ..self.clone()
        }
    }

    /// How long Redis may take.
    pub(super) fn waits(&self) -> Waits {
        self.waits
    }

    /// The address.
    pub(super) fn url(&self) -> &RedisUrl {
        &self.url
    }

    /// The user name of `-redis-user`; none for the URL's.
    pub fn user(&self) -> Option<&str> {
        self.user.as_deref()
    }

    /// The `HOST:PORT` of each server or Sentinel in the URL; none for a socket.
    pub fn addresses(&self) -> Vec<String> {
        match self.url.place() {
            Place::Node { node, .. } => vec![node.to_string()],
            Place::Sentinels { sentinels, .. } => sentinels.iter().map(Node::to_string).collect(),
            Place::Socket(_) => Vec::new(),
        }
    }

    /// The password that is not in the URL.
    pub(super) fn password(&self) -> Option<&Password> {
        self.password.as_ref()
    }

    /// The file with the password.
    pub fn password_file(&self) -> Option<&CredentialFile> {
        self.password.as_ref().and_then(Password::file)
    }

    /// The certificates; they are only used if the URL wants TLS.
    pub fn tls(&self) -> &Tls {
        &self.tls
    }

    /// The files with secrets.
    pub fn secret_files(&self) -> impl Iterator<Item = &CredentialFile> {
        let key = self.tls.client.iter().map(|client| &client.key);
        key.chain(self.password_file())
    }
}

impl From<RedisUrl> for RedisSettings {
    /// Settings for a Redis about which the URL says all.
    fn from(url: RedisUrl) -> RedisSettings {
        RedisSettings {
            url,
            user: None,
            password: None,
            tls: Tls::default(),
            waits: Waits::default(),
        }
    }
}

impl fmt::Display for RedisSettings {
    /// The URL without user and password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.url.fmt(f)
    }
}
