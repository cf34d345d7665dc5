//! The flags for who may use the page.

use crate::credentials::CredentialFile;
use crate::flags::shared::METRICS_TOKEN_FILE;
use crate::flags::{Flag, Reader};
use crate::model::Invalid;
use http::HeaderName;
use ipnet::IpNet;
use std::net::{IpAddr, SocketAddr};

/// `-auth-file`
pub const AUTH_FILE: Flag = Flag::optional(
    "--auth-file",
    "FILE",
    "users and tokens, as scanpush auth prints them",
);
/// `-trust-header`
pub const TRUST_HEADER: Flag = Flag::optional(
    "--trust-header",
    "NAME",
    "header field in which the reverse proxy of -trust-proxy sends the user's name",
);
/// `-trust-proxy`
pub const TRUST_PROXY: Flag = Flag::optional(
    "--trust-proxy",
    "ADDRESS",
    "address or network of the reverse proxy; several with commas",
);

/// Addresses of `-trust-proxy` at most.
const TRUSTED_PROXIES_MAX: usize = 32;
/// Header fields that have a meaning of their own.
const RESERVED_FIELDS: &[&str] = &[
    "authorization",
    "connection",
    "content-length",
    "content-type",
    "cookie",
    "host",
    "origin",
    "referer",
    "sec-fetch-site",
    "transfer-encoding",
    "x-forwarded-for",
    "x-forwarded-proto",
];

/// How users are known.
#[derive(Clone, Debug, Default)]
pub struct AccessOptions {
    /// The file with users and tokens.
    pub auth_file: Option<CredentialFile>,
    /// The header field with the user's name; only from a proxy of [`AccessOptions::proxies`].
    pub header: Option<HeaderName>,
    /// The reverse proxies.
    pub proxies: Proxies,
}

impl AccessOptions {
    /// Whether only users may use the page. If not, every program of this machine may.
    pub fn has_users(&self) -> bool {
        self.auth_file.is_some() || self.header.is_some()
    }
}

/// The addresses of reverse proxies.
#[derive(Clone, Debug, Default)]
pub struct Proxies(Vec<IpNet>);

impl Proxies {
    fn parse(text: &str) -> Result<Proxies, Invalid> {
        let networks: Result<Vec<IpNet>, Invalid> = text.split(',').map(parse_network).collect();
        let networks = networks?;
        match networks.len() > TRUSTED_PROXIES_MAX {
            true => Err(Invalid::about(format!(
                "has more than {TRUSTED_PROXIES_MAX} addresses"
            ))),
            false => Ok(Proxies(networks)),
        }
    }

    /// Whether this address is a proxy's.
    pub fn has(&self, address: IpAddr) -> bool {
        // A socket for IPv6 and IPv4 shows an IPv4 client as ::ffff:192.0.2.1.
        let address = address.to_canonical();
        self.0.iter().any(|network| network.contains(&address))
    }
}

fn parse_network(text: &str) -> Result<IpNet, Invalid> {
    let network = text.parse::<IpNet>().ok();
    let network = network.or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from));
    match network {
        Some(network) if network.prefix_len() == 0 => Err(Invalid::new(
            text,
            "is every address: whoever connects could claim to be any user",
        )),
        Some(network) => Ok(network),
        None => Err(Invalid::new(
            text,
            "is not an address or network like 10.0.0.5 or 10.0.0.0/24",
        )),
    }
}

fn parse_header(text: &str) -> Result<HeaderName, Invalid> {
    let name: HeaderName = text
        .parse()
        .map_err(|_| Invalid::new(text, "is not the name of a header field"))?;
    match RESERVED_FIELDS.contains(&name.as_str()) {
        true => Err(Invalid::new(
            text,
            "has another meaning: use a name like X-Forwarded-User",
        )),
        false => Ok(name),
    }
}

/// Takes the flags. Errs if `address`, where the page is, can be reached from other machines and everybody could use it.
pub fn read(reader: &mut Reader, address: SocketAddr) -> Result<AccessOptions, Invalid> {
    let options = AccessOptions {
        auth_file: reader.credential_file(&AUTH_FILE)?,
        header: reader.optional(&TRUST_HEADER, parse_header)?,
        proxies: reader
            .optional(&TRUST_PROXY, Proxies::parse)?
            .unwrap_or_default(),
    };
    let has_proxy = !options.proxies.0.is_empty();
    if options.header.is_some() && !has_proxy {
        let wrong = "needs -trust-proxy ADDRESS too: only from there the header field is believed";
        return Err(Invalid::about(wrong).of(TRUST_HEADER.shown()));
    }
    if has_proxy && options.header.is_none() && options.auth_file.is_none() {
        let wrong = "needs -trust-header NAME or -auth-file FILE too";
        return Err(Invalid::about(wrong).of(TRUST_PROXY.shown()));
    }
    let is_local = address.ip().to_canonical().is_loopback();
    if !is_local && !options.has_users() {
        return Err(Invalid::new(
            &address.to_string(),
            "can be reached from other machines: use -auth-file FILE (scanpush auth makes it), or -trust-header NAME and -trust-proxy ADDRESS behind a reverse proxy",
        )
        .of("-http"));
    }
    Ok(options)
}

/// The warnings about files with secrets that every user of this machine can read.
pub fn permission_warnings(reader: &Reader) -> impl Iterator<Item = String> {
    let mut reader = reader.clone();
    let users = reader.credential_file(&AUTH_FILE).ok().flatten();
    let token = reader.password(&METRICS_TOKEN_FILE).ok().flatten();
    let token = token.and_then(|token| token.file().cloned());
    let files = users.into_iter().chain(token);
    files.filter_map(|file| file.permission_warning())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flags::read_line;

    fn read_at(address: &str, line: &[&str]) -> Result<AccessOptions, String> {
        let table = &[AUTH_FILE, TRUST_HEADER, TRUST_PROXY];
        read_line(line, table, |mut reader| {
            read(&mut reader, address.parse().unwrap())
        })
        .map_err(|error| error.to_string())
    }

    #[test]
    fn other_machines_need_a_password_or_a_proxy() {
        let proxy = &["-trust-header", "X-User", "-trust-proxy", "10.0.0.5"][..];
        for (address, line, wrong) in [
            ("127.0.0.1:0", &[][..], ""),
            ("127.9.9.9:0", &[], ""),
            ("[::1]:0", &[], ""),
            ("[::ffff:127.0.0.1]:0", &[], ""),
            ("0.0.0.0:0", &["-auth-file", "auth"], ""),
            ("[::]:0", proxy, ""),
            (
                "0.0.0.0:0",
                &["-auth-file", "a", "-trust-proxy", "10.0.0.0/8"],
                "",
            ),
            (
                "0.0.0.0:0",
                &[],
                "-http: \"0.0.0.0:0\" can be reached from other machines: use -auth-file FILE",
            ),
            (
                "[::]:0",
                &[],
                "or -trust-header NAME and -trust-proxy ADDRESS",
            ),
            ("192.0.2.1:80", &[], "can be reached"),
            (
                "127.0.0.1:0",
                &["-trust-header", "X-User"],
                "-trust-header: needs -trust-proxy",
            ),
            (
                "127.0.0.1:0",
                &["-trust-proxy", "::1"],
                "-trust-proxy: needs -trust-header",
            ),
            (
                "127.0.0.1:0",
                &["-trust-header", "Host", "-trust-proxy", "::1"],
                "another meaning",
            ),
            (
                "127.0.0.1:0",
                &["-trust-header", "X User", "-trust-proxy", "::1"],
                "is not the name",
            ),
            (
                "127.0.0.1:0",
                &["-trust-header", "X-User", "-trust-proxy", "proxy"],
                "is not an address",
            ),
            (
                "127.0.0.1:0",
                &["-trust-header", "X-User", "-trust-proxy", "0.0.0.0/0"],
                "is every address",
            ),
        ] {
            match read_at(address, line) {
                Ok(_) => assert_eq!(wrong, "", "{address} {line:?}"),
                Err(error) => assert!(
                    !wrong.is_empty() && error.contains(wrong),
                    "{address} {line:?}: {error}"
                ),
            }
        }
    }

    #[test]
    fn a_proxy_is_an_address_or_a_network() {
        let proxies = Proxies::parse("10.0.0.5,192.0.2.0/24,2001:db8::/64").unwrap();
        for (address, is_proxy) in [
            ("10.0.0.5", true),
            ("::ffff:10.0.0.5", true),
            ("10.0.0.6", false),
            ("192.0.2.77", true),
            ("2001:db8::1", true),
            ("2001:db8:1::1", false),
        ] {
            assert_eq!(proxies.has(address.parse().unwrap()), is_proxy, "{address}");
        }
    }
}
