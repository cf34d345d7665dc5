//! masscan's `-oG`: nmap's grepable format with a leading timestamp, one line for each answer.

use super::port_names::PortNames;
use super::time::weekday_form;
use super::{Context, Formatter};
use crate::model::FindingRecord;
use crate::model::ports::{PortRange, Proto};
use std::fmt::Write;

/// The masscan version of this format. Parsers recognize the format by the first line.
const VERSION: &str = "1.3.2";

pub struct Grepable {
    ports: Vec<PortRange>,
    port_names: PortNames,
}

impl Grepable {
    pub fn new(context: Context) -> Grepable {
        Grepable {
            ports: context.ports,
            port_names: context.port_names,
        }
    }

    /// `TCP(3;80-81,443-443)`
    fn push_ports(&self, text: &mut String, name: &str, proto: Proto) {
        let ranges = || self.ports.iter().filter(|range| range.proto == proto);
        let count: u64 = ranges()
            .map(|range| u64::from(range.last - range.first) + 1)
            .sum();
        let shown: Vec<String> = ranges()
            .map(|range| format!("{}-{}", range.first, range.last))
            .collect();
        let _ = write!(text, " {name}({count};{})", shown.join(","));
    }
}

impl Formatter for Grepable {
    fn begin(&mut self, text: &mut String, at_s: u64) {
        let _ = write!(
            text,
            "# Masscan {VERSION} scan initiated {}\n# Ports scanned:",
            weekday_form(at_s)
        );
        for (name, proto) in [
            ("TCP", Proto::Tcp),
            ("UDP", Proto::Udp),
            ("SCTP", Proto::Sctp),
        ] {
            self.push_ports(text, name, proto);
        }
        text.push_str(" PROTOCOLS(0;)\n");
    }

    fn finding(&mut self, text: &mut String, found: &FindingRecord<'_>) {
        let finding = &found.finding;
        let _ = writeln!(
            text,
            "Timestamp: {}\tHost: {} ()\tPorts: {}/{}/{}//{}//",
            finding.timestamp,
            finding.ip,
            finding.port,
            finding.status,
            finding.proto.as_str(),
            self.port_names
                .name(finding.proto, finding.port)
                .unwrap_or("unknown")
        );
    }

    fn end(&mut self, text: &mut String, at_s: u64) {
        let _ = writeln!(text, "# Masscan done at {}", weekday_form(at_s));
    }
}
