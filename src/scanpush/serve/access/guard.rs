//! What is known about users, and who sent a request.

use super::attempts::{Attempts, Subject};
use super::cookies;
use super::failure_log::FailureLog;
use super::options::{AccessOptions, Proxies};
use super::origin;
use super::sessions::Sessions;
use super::user::{By, User};
use crate::http_server::Request;
use crate::model::Invalid;
use crate::scanpush::auth::{Accounts, Right, StoredPassword, UserName, WatchedFile, random};
use crate::scanpush::serve::problem::Problem;
use http::HeaderName;
use ring::hmac;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

/// Longest name of a user that a proxy sends, in bytes.
const PROXY_USER_MAX_BYTES: usize = 128;

/// Who may use the server, and who is logged in.
pub struct Guard {
    address: SocketAddr,
    file: Option<WatchedFile>,
    header: Option<HeaderName>,
    proxies: Proxies,
    sessions: Sessions,
    attempts: Attempts,
    /// Signs the cookies of browsers that somebody has logged in with.
    browser_key: hmac::Key,
    failures: FailureLog,
}

/// Why somebody could not log in.
#[derive(Debug, PartialEq, Eq)]
pub enum LoginRefused {
    /// The name or the password is wrong.
    Wrong,
    /// There were too many attempts; the time to wait.
    TooMany(Duration),
    /// Too many passwords are being verified.
    Busy,
}

/// What a browser gets after a login.
#[derive(Debug)]
pub struct Login {
    /// The value of the session's cookie.
    pub session: String,
    /// The value of the browser's cookie.
    pub browser: String,
}

impl Guard {
    /// The guard of a server at `address`. Errs if the file of users is invalid, or the system has no random numbers.
    pub fn new(options: AccessOptions, address: SocketAddr) -> Result<Guard, Invalid> {
        let key: [u8; 32] = random().map_err(Invalid::about)?;
        Ok(Guard {
            address,
            file: options.auth_file.map(WatchedFile::open).transpose()?,
            header: options.header,
            proxies: options.proxies,
            sessions: Sessions::default(),
            attempts: Attempts::default(),
            browser_key: hmac::Key::new(hmac::HMAC_SHA256, &key),
            failures: FailureLog::default(),
        })
    }

    /// Whether users log in on a page.
    pub fn has_login(&self) -> bool {
        self.file.is_some()
    }

    /// If there are neither users nor a proxy, checks that the header `Host` names this machine.
    pub fn check_host(&self, request: &Request) -> Result<(), Problem> {
        match self.file.is_none() && self.header.is_none() {
            true => origin::check_local_host(request, self.address).map_err(Problem::forbidden),
            false => Ok(()),
        }
    }

    /// Who sent the request. Errs with 401 or 403.
    pub fn identify(&self, request: &Request) -> Result<User, Problem> {
        let accounts = self.file.as_ref().map(WatchedFile::accounts);
        if accounts.is_none() && self.header.is_none() {
            return Ok(User::of_machine());
        }
        if let Some(accounts) = &accounts
            && request.headers.contains_key("authorization")
        {
            return self.by_token(request, accounts);
        }
        let is_proxy = self.proxies.has(request.peer.ip());
        if let (Some(name), true) = (&self.header, is_proxy)
            && request.headers.contains_key(name)
        {
            return by_proxy(request, name);
        }
        match (accounts, is_proxy) {
            (Some(accounts), _) => self.by_session(request, &accounts).ok_or_else(|| {
                Problem::unauthorized("log in, or send a token (Authorization: Bearer TOKEN)")
            }),
            (None, true) => Err(Problem::unauthorized(
                "the reverse proxy did not send the user's name in the header field of -trust-header",
            )),
            (None, false) => {
                self.note_failure(&format!(
                    "refused a connection from {}, which is not the proxy of -trust-proxy",
                    request.peer.ip()
                ));
                Err(Problem::forbidden(
                    "this server is used through its reverse proxy",
                ))
            }
        }
    }

    fn by_token(&self, request: &Request, accounts: &Accounts) -> Result<User, Problem> {
        match request
            .bearer_token()
            .and_then(|token| accounts.token(token))
        {
            Some(account) => Ok(User {
                name: account.name.as_str().to_owned(),
                by: By::Token,
                may_change: account.right == Right::Change,
            }),
            None => {
                let from = self.client(request);
                self.note_failure(&format!("refused an unknown token at {from}"));
                Err(Problem::unauthorized(
                    "the token is unknown: send Authorization: Bearer TOKEN",
                ))
            }
        }
    }

    fn by_session(&self, request: &Request, accounts: &Accounts) -> Option<User> {
        let value = cookies::session(request, self.is_encrypted(request))?;
        let (name, password) = self.sessions.find(value)?;
        match accounts.user(name.as_str()) {
            Some(account) if account.password == password => Some(User {
                name: name.as_str().to_owned(),
                by: By::Session,
                may_change: account.right == Right::Change,
            }),
            // Removed, or has another password now.
            _ => {
                self.sessions.end(value);
                None
            }
        }
    }

    /// Whether the sender of an earlier request would still be accepted: the session has not ended, and the file has the user or token.
    pub fn is_still(&self, request: &Request, user: &User) -> bool {
        match user.by {
            By::Nothing | By::Machine | By::Proxy => true,
            By::Session => {
                let value = cookies::session(request, self.is_encrypted(request));
                let session = value.and_then(|value| self.sessions.peek(value));
                session.is_some_and(|(name, password)| {
                    let accounts = self.accounts();
                    let account = accounts.user(name.as_str());
                    account.is_some_and(|account| account.password == password)
                })
            }
            By::Token => {
                let accounts = self.accounts();
                self.by_token(request, &accounts).is_ok()
            }
        }
    }

    /// Logs a user in.
    pub fn log_in(
        &self,
        request: &Request,
        name: &str,
        password: &str,
    ) -> Result<Login, LoginRefused> {
        let accounts = self.accounts();
        let account = accounts.user(name);
        let from = self.client(request);
        let browser = cookies::browser(request).and_then(|value| self.known_browser(value, name));
        let subjects = match (browser, account) {
            (Some(browser), Some(_)) => vec![Subject::Browser(browser)],
            (_, Some(_)) => vec![Subject::Name(name.to_owned()), Subject::address(from)],
            (_, None) => vec![Subject::UnknownName, Subject::address(from)],
        };
        // An unknown name is never logged: people sometimes type their password into its field.
        let shown = match account {
            Some(account) => account.name.as_str(),
            None => "an unknown user",
        };
        if let Err(wait) = self.attempts.take(&subjects) {
            self.note_failure(&format!(
                "refused a login as {shown} at {from}: too many attempts"
            ));
            return Err(LoginRefused::TooMany(wait));
        }
        // For an unknown name another user's password is verified, so that the time does not show which names there are.
        let stored: Option<&StoredPassword> = account
            .or(accounts.users.first())
            .map(|account| &account.password);
        let checked = self
            .attempts
            .verify(|| stored.is_some_and(|stored| stored.verify(password)));
        match (checked, account) {
            (None, _) => Err(LoginRefused::Busy),
            (Some(true), Some(account)) => {
                self.attempts.give_back(&subjects);
                self.begin_session(&account.name, &account.password, from)
            }
            _ => {
                self.note_failure(&format!("wrong password for {shown} at {from}"));
                Err(LoginRefused::Wrong)
            }
        }
    }

    fn begin_session(
        &self,
        name: &UserName,
        password: &StoredPassword,
        from: IpAddr,
    ) -> Result<Login, LoginRefused> {
        let random_value = |error: String| {
            log::error!("{error}");
            LoginRefused::Busy
        };
        let session = self.sessions.begin(name, password).map_err(random_value)?;
        let nonce = crate::scanpush::auth::hex(&random::<16>().map_err(random_value)?);
        log::info!("{} logged in at {from}", name.as_str());
        Ok(Login {
            session,
            browser: format!("{nonce}.{}", self.browser_proof(&nonce, name.as_str())),
        })
    }

    /// Ends the session of the request, if there is one.
    pub fn log_out(&self, request: &Request) {
        let Some(value) = cookies::session(request, self.is_encrypted(request)) else {
            return;
        };
        if let Some((name, _)) = self.sessions.find(value) {
            log::info!("{} logged out at {}", name.as_str(), self.client(request));
        }
        self.sessions.end(value);
    }

    /// Where a request comes from: the client's address that a trusted proxy has added, else the other end of the connection.
    pub fn client(&self, request: &Request) -> IpAddr {
        let peer = request.peer.ip().to_canonical();
        if !self.proxies.has(peer) {
            return peer;
        }
        // The last entry is the proxy's; those before it are what the client claims.
        let fields = request.headers.get_all("x-forwarded-for");
        let last = fields
            .iter()
            .next_back()
            .and_then(|field| field.to_str().ok());
        let last = last.and_then(|field| field.rsplit(',').next());
        last.and_then(|text| text.trim().parse::<IpAddr>().ok())
            .map_or(peer, |address| address.to_canonical())
    }

    /// Logs that somebody was refused, unless there are too many such lines.
    pub fn note_failure(&self, line: &str) {
        self.failures.note(line);
    }

    /// Whether the browser reached the server over TLS, which the reverse proxy terminates.
    pub fn is_encrypted(&self, request: &Request) -> bool {
        let by_proxy = request.header("x-forwarded-proto");
        by_proxy.is_some_and(|protocol| protocol.starts_with("https"))
            || origin::is_own_https_page(request)
    }

    fn accounts(&self) -> Arc<Accounts> {
        match &self.file {
            Some(file) => file.accounts(),
            None => Arc::default(),
        }
    }

    /// The random part of the browser's cookie, if the cookie is ours and this user has logged in with it.
    fn known_browser(&self, cookie: &str, name: &str) -> Option<String> {
        let (nonce, proof) = cookie.split_once('.')?;
        let ours = self.browser_proof(nonce, name);
        let is_ours: bool = subtle::ConstantTimeEq::ct_eq(ours.as_bytes(), proof.as_bytes()).into();
        is_ours.then(|| nonce.to_owned())
    }

    fn browser_proof(&self, nonce: &str, name: &str) -> String {
        let text = format!("{nonce} {name}");
        let tag = hmac::sign(&self.browser_key, text.as_bytes());
        crate::scanpush::auth::hex(tag.as_ref())
    }
}

fn by_proxy(request: &Request, name: &HeaderName) -> Result<User, Problem> {
    // None if there are several, or one that is not ASCII.
    let user = request.header(name.as_str()).unwrap_or_default().trim();
    match user.is_empty() || user.len() > PROXY_USER_MAX_BYTES {
        true => Err(Problem::unauthorized(format!(
            "the reverse proxy must send the name of one user in {name}: 1 to {PROXY_USER_MAX_BYTES} visible ASCII characters"
        ))),
        false => Ok(User {
            name: user.to_owned(),
            by: By::Proxy,
            may_change: true,
        }),
    }
}
