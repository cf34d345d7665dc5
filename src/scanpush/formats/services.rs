//! Names of ports as the system's `/etc/services` has them, where masscan takes them from too.

use crate::model::ports::Proto;
use std::collections::HashMap;

/// Most of the names that are kept: the file of a system has a few hundred.
const NAMES_MAX: usize = 20_000;

/// The names that are known.
#[derive(Clone, Debug, Default)]
pub struct Services(HashMap<(Proto, u16), String>);

impl Services {
    /// Reads the text of an `/etc/services`; a line that is none is passed over. The first name of a port counts.
    pub fn of_text(text: &str) -> Services {
        let mut services = Services::default();
        for line in text.lines() {
            let line = line.split('#').next().unwrap_or_default();
            let mut words = line.split_ascii_whitespace();
            if let (Some(name), Some(place)) = (words.next(), words.next())
                && let Some(place) = parse_place(place)
                && name.bytes().all(|byte| byte.is_ascii_graphic())
                && services.0.len() < NAMES_MAX
            {
                services.0.entry(place).or_insert_with(|| name.to_owned());
            }
        }
        services
    }

    /// The name of a port, printable ASCII.
    pub fn name(&self, proto: Proto, port: u16) -> Option<&str> {
        self.0.get(&(proto, port)).map(String::as_str)
    }
}

/// `80/tcp`
fn parse_place(text: &str) -> Option<(Proto, u16)> {
    let (port, proto) = text.split_once('/')?;
    let proto = [Proto::Tcp, Proto::Udp, Proto::Sctp]
        .into_iter()
        .find(|known| known.as_str() == proto)?;
    Some((proto, port.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_systems_names() {
        let text =
            "# comment\nhttp\t80/tcp www # WWW\nhttp 80/udp\nalias 80/tcp\nbad 80\nx 99999/tcp\n\n";
        let services = Services::of_text(text);
        assert_eq!(services.name(Proto::Tcp, 80), Some("http"));
        assert_eq!(services.name(Proto::Udp, 80), Some("http"));
        assert_eq!(services.name(Proto::Sctp, 80), None);
        assert_eq!(services.0.len(), 2);
    }
}
