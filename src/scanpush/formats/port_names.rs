//! Names of ports from the system's `/etc/services`, as masscan shows them.

use crate::model::ports::Proto;
use std::collections::HashMap;

/// Most names that are kept; the file usually has a few hundred.
const NAMES_MAX: usize = 20_000;

/// Names of ports, printable ASCII.
#[derive(Clone, Debug, Default)]
pub struct PortNames(HashMap<(Proto, u16), String>);

impl PortNames {
    /// Parses the text of an `/etc/services`. Invalid lines are skipped. The first name of a port counts.
    pub fn parse(text: &str) -> PortNames {
        let mut names = PortNames::default();
        for line in text.lines() {
            let line = line.split('#').next().unwrap_or_default();
            let mut words = line.split_ascii_whitespace();
            if let (Some(name), Some(port)) = (words.next(), words.next())
                && let Some(port) = parse_port(port)
                && name.bytes().all(|byte| byte.is_ascii_graphic())
                && names.0.len() < NAMES_MAX
            {
                names.0.entry(port).or_insert_with(|| name.to_owned());
            }
        }
        names
    }

    /// The name of a port, if it has one.
    pub fn name(&self, proto: Proto, port: u16) -> Option<&str> {
        self.0.get(&(proto, port)).map(String::as_str)
    }
}

/// `80/tcp`
fn parse_port(text: &str) -> Option<(Proto, u16)> {
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
    fn the_first_name_of_each_port_is_used() {
        let text =
            "# comment\nhttp\t80/tcp www # WWW\nhttp 80/udp\nalias 80/tcp\nbad 80\nx 99999/tcp\n\n";
        let names = PortNames::parse(text);
        assert_eq!(names.name(Proto::Tcp, 80), Some("http"));
        assert_eq!(names.name(Proto::Udp, 80), Some("http"));
        assert_eq!(names.name(Proto::Sctp, 80), None);
        assert_eq!(names.0.len(), 2);
    }
}
