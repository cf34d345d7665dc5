//! A server's scope: the addresses that it may scan, which are all allowed ones except the excluded ones. Some are excluded by default
//! (`default_exclusions.rs`).
//!
//! If no address of a task is in scope, a server leaves the task to other servers. Otherwise it scans the addresses that are in scope. A shard is
//! left to other servers if any address of its job is out of scope (see `scand/claims/dispatch.rs`).

use super::default_exclusions::DefaultExclusions;
use super::targets::Targets;
use super::text::{fingerprint, quoted};

/// The scope of one server.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scope {
    excluded: Targets,
    by_default: DefaultExclusions,
    allowed: Option<Targets>,
    tag: String,
}

impl Scope {
    /// All addresses of `allowed` (none: all addresses) that are not in `excluded`.
    pub fn new(excluded: Targets, allowed: Option<Targets>) -> Scope {
        Scope {
            excluded,
            allowed,
            ..Scope::default()
        }
        .tagged()
    }

    /// The same scope without the addresses of `by_default` too.
    pub fn excluding_by_default(self, by_default: DefaultExclusions) -> Scope {
        Scope { by_default, ..self }.tagged()
    }

    fn tagged(self) -> Scope {
        let by_default = self.by_default.addresses();
        let limited = !self.excluded.is_empty() || !by_default.is_empty() || self.allowed.is_some();
        let allowed = self.allowed.as_ref();
        let tag = match limited {
            true => format!(
                "{:016x}",
                fingerprint(&format!(
                    "{};{by_default};{}",
                    self.excluded,
                    allowed.map_or("all".to_owned(), Targets::to_string)
                ))
            ),
            false => String::new(),
        };
        Scope { tag, ..self }
    }

    /// The only addresses that may be scanned; none: all that are not excluded.
    pub fn allowed(&self) -> Option<&Targets> {
        self.allowed.as_ref()
    }

    /// The addresses that are excluded, without those that are by default.
    pub fn excluded(&self) -> &Targets {
        &self.excluded
    }

    /// What is excluded by default.
    pub fn by_default(&self) -> &DefaultExclusions {
        &self.by_default
    }

    /// The addresses of `targets` that may not be scanned.
    pub fn denied(&self, targets: &Targets) -> Targets {
        let excluded = targets.intersection(&self.excluded);
        let by_default = targets.intersection(self.by_default.addresses());
        let not_allowed = self
            .allowed
            .as_ref()
            .map(|allowed| targets.without(allowed))
            .unwrap_or_default();
        let all = [excluded.ranges(), by_default.ranges(), not_allowed.ranges()];
        Targets::from_ranges(all.concat())
    }

    /// Identifies this scope: equal for equal sets, empty if everything may be scanned. It shows whether the scope of a server has changed since it
    /// refused a task.
    pub fn tag(&self) -> &str {
        &self.tag
    }

    /// Why no address of `targets` may be scanned, in one line.
    pub fn refusal(&self, targets: &Targets) -> String {
        let shown = quoted(&targets.to_string());
        let left = targets.without(&self.excluded);
        let allowed_by_flag = left.without(self.by_default.addresses());
        match left.is_empty() {
            true => format!("all of {shown} is excluded"),
            false if allowed_by_flag.is_empty() => format!(
                "all of {shown} is excluded by default (special networks, Kafka and Redis; an entry of -allow has to name it)"
            ),
            false if left == *targets => format!("nothing of {shown} is allowed"),
            false => format!("all of {shown} is excluded or not allowed"),
        }
    }

    /// The numbers of excluded and allowed addresses, for the log; without what is excluded by default.
    pub fn summary(&self) -> String {
        let excluded = format!("{} excluded", count_of(&self.excluded));
        match &self.allowed {
            None => excluded,
            Some(allowed) => format!("{excluded}, only {} allowed", count_of(allowed)),
        }
    }
}

/// `1 address in 1 range is`, `3 addresses in 2 ranges are`.
fn count_of(set: &Targets) -> String {
    let (addresses, ranges) = (set.count(), set.ranges().len());
    let (es, are) = if addresses == 1 {
        ("", "is")
    } else {
        ("es", "are")
    };
    let s = if ranges == 1 { "" } else { "s" };
    format!("{addresses} address{es} in {ranges} range{s} {are}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::default_exclusions::PeerAddresses;
    use proptest::prelude::*;
    use std::net::Ipv4Addr;

    fn set(text: &str) -> Targets {
        match text {
            "" => Targets::default(),
            text => text.parse().unwrap(),
        }
    }

    #[test]
    fn denied_is_the_part_of_the_targets_that_is_out_of_scope() {
        for (excluded, allowed, targets, denied) in [
            ("", None, "10.0.0.0/24", ""),
            ("10.0.0.7", None, "10.0.0.0/24", "10.0.0.7"),
            ("10.0.0.0/8", None, "10.0.0.0/24", "10.0.0.0/24"),
            ("10.1.0.0/16", None, "10.0.0.0/24", ""),
            ("", Some("10.0.0.0/25"), "10.0.0.0/24", "10.0.0.128/25"),
            ("", Some("10.0.0.0/8"), "10.0.0.0/24", ""),
            ("", Some("11.0.0.0/8"), "10.0.0.0/24", "10.0.0.0/24"),
            (
                "10.0.0.1",
                Some("10.0.0.0/25"),
                "10.0.0.0/24",
                "10.0.0.1,10.0.0.128/25",
            ),
            ("fd00::/16", None, "10.0.0.0/24,fd00::/120", "fd00::/120"),
        ] {
            let scope = Scope::new(set(excluded), allowed.map(set));
            let found = scope.denied(&set(targets));
            assert_eq!(found.to_string(), denied, "{excluded} {allowed:?}");
        }
    }

    #[test]
    fn a_summary_counts_addresses_and_ranges() {
        for (excluded, allowed, summary) in [
            ("10.0.0.7", None, "1 address in 1 range is excluded"),
            (
                "10.0.0.0/24",
                Some("10.0.0.0/31,10.9.0.1"),
                "256 addresses in 1 range are excluded, only 3 addresses in 2 ranges are allowed",
            ),
        ] {
            let scope = Scope::new(set(excluded), allowed.map(set));
            assert_eq!(scope.summary(), summary);
        }
    }

    #[test]
    fn what_is_excluded_by_default_is_denied_and_named_in_a_refusal() {
        let by_default = DefaultExclusions::new(&PeerAddresses::default(), &[]);
        let scope = Scope::new(set("10.0.0.1"), None).excluding_by_default(by_default);
        assert_eq!(
            scope.denied(&set("10.0.0.0/31,127.0.0.0/31")).to_string(),
            "10.0.0.1,127.0.0.0/31"
        );
        assert!(
            scope
                .refusal(&set("127.0.0.1"))
                .starts_with("all of \"127.0.0.1\" is excluded by default")
        );
        assert_ne!(scope.tag(), Scope::new(set("10.0.0.1"), None).tag());
        assert_eq!(scope.summary(), "1 address in 1 range is excluded");
    }

    #[test]
    fn a_refusal_gives_the_reason() {
        let targets = set("10.0.0.0/24");
        for (excluded, allowed, why) in [
            ("10.0.0.0/8", None, "all of \"10.0.0.0/24\" is excluded"),
            (
                "",
                Some("11.0.0.0/8"),
                "nothing of \"10.0.0.0/24\" is allowed",
            ),
            (
                "10.0.0.0/25",
                Some("10.0.0.0/25"),
                "all of \"10.0.0.0/24\" is excluded or not allowed",
            ),
        ] {
            assert_eq!(
                Scope::new(set(excluded), allowed.map(set)).refusal(&targets),
                why
            );
        }
    }

    #[test]
    fn equal_scopes_have_equal_tags() {
        assert_eq!(Scope::default().tag(), "");
        assert_eq!(Scope::new(set(""), None), Scope::default());
        let one = Scope::new(set("10.0.0.1,10.0.0.2"), None);
        assert_eq!(one.tag(), Scope::new(set("10.0.0.2,10.0.0.1"), None).tag());
        let others = [
            Scope::new(set("10.0.0.1"), None),
            Scope::new(set(""), Some(set("10.0.0.1-10.0.0.2"))),
            Scope::new(set("10.0.0.1-10.0.0.2"), Some(set("10.0.0.0/8"))),
        ];
        assert!(others.iter().all(|other| other.tag() != one.tag()));
    }

    proptest! {
        #[test]
        fn denied_agrees_with_a_check_of_each_address(
            spans in prop::collection::vec((0u32..200, 0u32..20), 1..6),
            excluded in prop::collection::vec((0u32..200, 0u32..20), 0..6),
            allowed in prop::option::of(prop::collection::vec((0u32..200, 0u32..60), 0..6)),
        ) {
            let ranges = |spans: &[(u32, u32)]| Targets::from_ranges(spans.iter()
                .map(|&(first, length)| format!("{}-{}", Ipv4Addr::from(first), Ipv4Addr::from(first + length)).parse().unwrap())
                .collect());
            let member = |spans: &[(u32, u32)], address: u32| spans.iter().any(|&(first, length)| (first..=first + length).contains(&address));
            let scope = Scope::new(ranges(&excluded), allowed.as_deref().map(ranges));
            let denied = scope.denied(&ranges(&spans));
            for address in 0..260u32 {
                let expected = member(&spans, address)
                    && (member(&excluded, address) || allowed.as_ref().is_some_and(|allowed| !member(allowed, address)));
                let one: Targets = Ipv4Addr::from(address).to_string().parse().unwrap();
                prop_assert_eq!(!one.intersection(&denied).is_empty(), expected);
            }
        }
    }
}
