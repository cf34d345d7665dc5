//! masscan's `-oX`, which parsers of nmap's XML accept: one host for each answer, with masscan's line ends.

use super::Formatter;
use super::time::date_form;
use crate::model::FindingRecord;
use std::fmt::Write;

#[derive(Default)]
pub struct Xml {
    started_s: u64,
    open: u64,
    closed: u64,
}

impl Formatter for Xml {
    fn begin(&mut self, text: &mut String, at_s: u64) {
        self.started_s = at_s;
        let _ = write!(
            text,
            "<?xml version=\"1.0\"?>\r\n<!-- masscan v1.0 scan -->\r\n\
             <nmaprun scanner=\"masscan\" start=\"{at_s}\" version=\"1.0-BETA\"  xmloutputversion=\"1.03\">\r\n\
             <scaninfo type=\"syn\" protocol=\"tcp\" />\r\n"
        );
    }

    fn finding(&mut self, text: &mut String, found: &FindingRecord<'_>) {
        let finding = &found.finding;
        match finding.status.as_str() {
            "closed" => self.closed += 1,
            _ => self.open += 1,
        }
        // Status and reason contain only letters, digits and dashes: nothing needs escaping.
        let _ = write!(
            text,
            "<host endtime=\"{}\"><address addr=\"{}\" addrtype=\"{}\"/><ports><port protocol=\"{}\" portid=\"{}\">\
             <state state=\"{}\" reason=\"{}\" reason_ttl=\"{}\"/></port></ports></host>\r\n",
            finding.timestamp,
            finding.ip,
            if finding.ip.is_ipv6() { "ipv6" } else { "ipv4" },
            finding.proto.as_str(),
            finding.port,
            finding.status,
            finding.reason,
            finding.ttl
        );
    }

    fn end(&mut self, text: &mut String, at_s: u64) {
        let _ = write!(
            text,
            "<runstats>\r\n<finished time=\"{at_s}\" timestr=\"{}\" elapsed=\"{}\" />\r\n\
             <hosts up=\"{}\" down=\"{}\" total=\"{}\" />\r\n</runstats>\r\n</nmaprun>\r\n",
            date_form(at_s),
            at_s.saturating_sub(self.started_s),
            self.open,
            self.closed,
            self.open + self.closed
        );
    }
}
