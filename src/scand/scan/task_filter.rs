//! Drops findings that do not belong to the task: its scope holds whatever masscan scans. Pure.

use crate::model::{Finding, Ports, Targets};

/// The addresses and ports that a scan may report, and what it reported besides.
#[derive(Debug)]
pub(super) struct TaskFilter {
    targets: Targets,
    ports: Ports,
    dropped: u64,
}

impl TaskFilter {
    /// For a scan of `ports` at `targets`, which are without all exclusions.
    pub(super) fn new(targets: Targets, ports: Ports) -> TaskFilter {
        TaskFilter {
            targets,
            ports,
            dropped: 0,
        }
    }

    /// Removes the findings at other addresses or ports, and counts them. Returns the first one that this scan has dropped.
    pub(super) fn retain(&mut self, findings: &mut Vec<Finding>) -> Option<Finding> {
        let mut first = None;
        findings.retain(|finding| {
            let belongs = self.targets.contains(finding.ip)
                && self.ports.contains(finding.proto, finding.port);
            if !belongs {
                self.dropped += 1;
                if self.dropped == 1 {
                    first = Some(finding.clone());
                }
            }
            belongs
        });
        first
    }

    /// A text about dropped findings for the task; none if there are none.
    pub(super) fn note(&self) -> Option<String> {
        (self.dropped > 0).then(|| {
            format!(
                "{} findings outside the task's targets, exclusions or ports were dropped: masscan scans something else than it was given",
                self.dropped
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::ports::Proto;

    fn finding(ip: &str, port: u16, proto: Proto) -> Finding {
        Finding {
            ip: ip.parse().unwrap(),
            port,
            proto,
            status: "open".parse().unwrap(),
            reason: "syn-ack".parse().unwrap(),
            ttl: 64,
            timestamp: 1,
        }
    }

    #[test]
    fn only_findings_of_the_task_are_kept() {
        let targets: Targets = "10.0.0.0-10.0.0.9,fd00::/120".parse().unwrap();
        let hole = "10.0.0.5".parse().unwrap();
        let mut filter = TaskFilter::new(targets.without(&hole), "80-90,U:53".parse().unwrap());
        let of_the_task = [
            finding("10.0.0.0", 80, Proto::Tcp),
            finding("10.0.0.9", 90, Proto::Tcp),
            finding("fd00::ff", 53, Proto::Udp),
        ];
        let mut kept = of_the_task.to_vec();
        assert_eq!(filter.retain(&mut kept), None);
        assert_eq!((kept.as_slice(), filter.note()), (&of_the_task[..], None));
        let mut others = vec![
            finding("10.0.0.5", 80, Proto::Tcp),
            finding("10.0.0.10", 80, Proto::Tcp),
            finding("fd00::100", 53, Proto::Udp),
            finding("10.0.0.1", 53, Proto::Tcp),
            finding("10.0.0.1", 80, Proto::Udp),
            finding("10.0.0.1", 91, Proto::Tcp),
        ];
        assert_eq!(
            filter.retain(&mut others),
            Some(finding("10.0.0.5", 80, Proto::Tcp))
        );
        assert_eq!(others, []);
        let mut more = vec![finding("10.0.0.10", 80, Proto::Tcp)];
        assert_eq!(filter.retain(&mut more), None, "only the first is returned");
        assert!(filter.note().unwrap().starts_with("7 findings outside"));
    }
}
