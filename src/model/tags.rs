//! Tags: names for networks, such as sites or owners, from a file with a network and its tags on each line:
//!
//! ```text
//! 10.1.0.0/16            office berlin   # a comment
//! 10.1.7.0/24            printers
//! 10.2.0.1-10.2.0.99     datacenter
//! ```
//!
//! A network is an address, a CIDR block or a range ([`AddressRange`]). Networks may overlap in any way, and one may be in several lines. A tag is
//! plain ASCII, so that it is the same bytes in a shell, a URL and a database; upper and lower case differ.
//!
//! Pure: the text is read elsewhere. Nothing is expanded into single addresses.

use super::names::parse_name;
use super::target_file::{BAD_LINES_MAX, BadLine, entry_from, uncommented};
use super::targets::{AddressRange, Targets};
use super::text::Invalid;
use std::collections::{BTreeMap, HashSet};
use std::net::IpAddr;
use std::ops::Range;
use std::sync::Arc;

/// Maximum length of a tag, in bytes.
pub const TAG_MAX_BYTES: usize = 64;
/// Maximum number of tags in one line.
pub const LINE_TAGS_MAX: usize = 32;
/// Maximum number of networks of a file: a million take 100 MiB, with a few tags each.
pub const TAGGED_NETWORKS_MAX: usize = 1 << 20;

/// The index of a tag in [`Tags::tags`].
type TagIndex = u32;

/// Networks with their tags. The default has none.
#[derive(Clone, Debug, Default)]
pub struct Tags {
    /// Every tag once, in the order of the file.
    tags: Vec<Arc<str>>,
    /// The same tags in alphabetical order, with their indices.
    indices: BTreeMap<Arc<str>, TagIndex>,
    /// Sorted by address; those with the same addresses in the order of the file. Also a binary tree: the root of the networks `low..high` is the
    /// one in the middle ([`middle`]).
    networks: Vec<Network>,
    /// The tags of all networks, one after the other.
    of_networks: Vec<TagIndex>,
}

/// A line of the file.
#[derive(Clone, Debug)]
struct Network {
    range: AddressRange,
    /// The highest address of all networks of which this is the root.
    highest: IpAddr,
    /// Its tags are at these places in [`Tags::of_networks`].
    tags: Range<u32>,
}

impl Tags {
    /// Parses a file. Errs with its bad lines, at most [`BAD_LINES_MAX`]. If there are more than [`TAGGED_NETWORKS_MAX`] networks, the first line
    /// beyond is an error.
    pub fn parse(text: &str) -> Result<Tags, Vec<BadLine>> {
        let mut tags = Tags::default();
        let mut bad = Vec::new();
        for (line, text) in (1..).zip(text.split('\n')) {
            // Several lines separated by CR (files of old editors): a comment must not swallow the next one.
            let parsed = text
                .split('\r')
                .try_for_each(|part| tags.add_line(uncommented(part)));
            if let Err(error) = parsed {
                bad.push(BadLine { line, error });
            }
            let is_full = tags.networks.len() == TAGGED_NETWORKS_MAX;
            if bad.len() == BAD_LINES_MAX || is_full && !bad.is_empty() {
                break;
            }
        }
        if !bad.is_empty() {
            return Err(bad);
        }
        tags.networks.sort_by_key(|network| network.range);
        set_highest(&mut tags.networks);
        Ok(tags)
    }

    /// The tags of all networks that contain `address`, each once, those of the smallest network first; empty if there are none. Takes log n
    /// steps for each network that contains it, with n networks.
    pub fn tags_of(&self, address: IpAddr) -> Vec<&str> {
        let mut containing = Vec::new();
        collect_containing(&self.networks, address.to_canonical(), &mut containing);
        // Stable, so that networks of one size stay in their order.
        containing.sort_by_key(|network| network.range.count());
        let mut seen = HashSet::new();
        containing
            .into_iter()
            .flat_map(|network| self.indices_of(network))
            .filter(|&&index| seen.insert(index))
            .map(|&index| self.tags[index as usize].as_ref())
            .collect()
    }

    /// All addresses with this tag; `None` if no network has it.
    pub fn networks_of(&self, tag: &str) -> Option<Targets> {
        let index = self.indices.get(tag)?;
        let networks = self.networks.iter();
        let ranges = networks
            .filter(|network| self.indices_of(network).contains(index))
            .map(|network| network.range);
        Some(Targets::from_ranges(ranges.collect()))
    }

    /// Every tag once, in alphabetical order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.indices.keys().map(Arc::as_ref)
    }

    /// Whether the file names no network.
    pub fn is_empty(&self) -> bool {
        self.networks.is_empty()
    }

    fn indices_of(&self, network: &Network) -> &[TagIndex] {
        &self.of_networks[network.tags.start as usize..network.tags.end as usize]
    }

    /// Adds the network of a line, unless the line is empty.
    fn add_line(&mut self, line: &str) -> Result<(), Invalid> {
        let mut words = line.split_whitespace().peekable();
        let Some(word) = words.next() else {
            return Ok(());
        };
        if self.networks.len() == TAGGED_NETWORKS_MAX {
            let wrong = format!("exceeds the number of networks: at most {TAGGED_NETWORKS_MAX}");
            return Err(Invalid::new(word, wrong));
        }
        let entry = entry_from(word, &mut words);
        let range: AddressRange = entry.parse()?;
        let start = self.of_networks.len();
        for word in words {
            check_tag(word)?;
            let index = self.index_of(word);
            if self.of_networks[start..].contains(&index) {
                continue;
            }
            if self.of_networks.len() - start == LINE_TAGS_MAX {
                let wrong = format!("is one tag too many: a network has at most {LINE_TAGS_MAX}");
                return Err(Invalid::new(word, wrong));
            }
            self.of_networks.push(index);
        }
        if self.of_networks.len() == start {
            let wrong = format!("has no tag: write tags after the network, like {range} office");
            return Err(Invalid::new(&entry, wrong));
        }
        let at = |length| u32::try_from(length).expect("2^20 lines have at most 2^25 tags");
        self.networks.push(Network {
            highest: range.last(),
            range,
            tags: at(start)..at(self.of_networks.len()),
        });
        Ok(())
    }

    /// The index of a tag, which may be new.
    fn index_of(&mut self, tag: &str) -> TagIndex {
        if let Some(&index) = self.indices.get(tag) {
            return index;
        }
        let index = u32::try_from(self.tags.len()).expect("2^20 lines have at most 2^25 tags");
        let tag: Arc<str> = tag.into();
        self.tags.push(Arc::clone(&tag));
        self.indices.insert(tag, index);
        index
    }
}

/// Errs unless `word` can be a tag: 1 to [`TAG_MAX_BYTES`] of A-Z a-z 0-9 . _ -, the first one a letter or digit, and not a network.
fn check_tag(word: &str) -> Result<(), Invalid> {
    if word.parse::<AddressRange>().is_ok() {
        let wrong = "is a second network in one line: give it a line of its own";
        return Err(Invalid::new(word, wrong));
    }
    if !word.starts_with(|c: char| c.is_ascii_alphanumeric()) {
        let wrong = "is not a tag: it must begin with a letter or digit (A-Z a-z 0-9)";
        return Err(Invalid::new(word, wrong));
    }
    parse_name(word, "tag", TAG_MAX_BYTES).map(drop)
}

/// The index of the root of these networks as a tree: what is before and after it are its two subtrees.
fn middle(networks: &[Network]) -> usize {
    networks.len() / 2
}

/// Sets [`Network::highest`] of sorted networks, and returns that of their root; none if there are no networks.
fn set_highest(networks: &mut [Network]) -> Option<IpAddr> {
    let middle = middle(networks);
    let (before, rest) = networks.split_at_mut(middle);
    let (root, after) = rest.split_first_mut()?;
    let below = set_highest(before).max(set_highest(after));
    root.highest = below.map_or(root.highest, |below| below.max(root.highest));
    Some(root.highest)
}

/// Appends the networks that contain `address`, in their order. The depth of the recursion is the binary logarithm of their number.
fn collect_containing<'a>(networks: &'a [Network], address: IpAddr, found: &mut Vec<&'a Network>) {
    let (before, rest) = networks.split_at(middle(networks));
    let Some((root, after)) = rest.split_first() else {
        return;
    };
    if root.highest < address {
        return;
    }
    collect_containing(before, address, found);
    // IPv4 addresses are less than all IPv6 addresses.
    if root.range.first() <= address {
        if address <= root.range.last() {
            found.push(root);
        }
        collect_containing(after, address, found);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;
    use std::net::Ipv4Addr;

    const SITES: &str = "\
# our sites
10.0.0.0/8 internal
10.1.0.0/16 office berlin   # since 2019

10.1.7.0/24\tprinters berlin
10.1.7.0/24 floor-7
10.1.7.5 - 10.1.7.9 broken
fd00::/8 internal v6
";

    fn sites() -> Tags {
        Tags::parse(SITES).unwrap()
    }

    #[test]
    fn an_address_has_the_tags_of_all_its_networks_and_those_of_the_smallest_first() {
        let sites = sites();
        for (address, tags) in [
            ("10.2.0.1", "internal"),
            ("10.1.0.1", "office berlin internal"),
            ("10.1.7.1", "printers berlin floor-7 office internal"),
            ("10.1.7.7", "broken printers berlin floor-7 office internal"),
            (
                "::ffff:10.1.7.9",
                "broken printers berlin floor-7 office internal",
            ),
            ("fd00::1", "internal v6"),
            ("11.0.0.1", ""),
            ("9.255.255.255", ""),
            ("::1", ""),
        ] {
            assert_eq!(
                sites.tags_of(address.parse().unwrap()).join(" "),
                tags,
                "{address}"
            );
        }
        assert!(
            Tags::default()
                .tags_of("10.0.0.1".parse().unwrap())
                .is_empty()
        );
    }

    #[test]
    fn a_tag_has_the_addresses_of_all_its_networks() {
        let sites = sites();
        let shown = |tag| sites.networks_of(tag).map(|all| all.to_string());
        for (tag, networks) in [
            ("berlin", "10.1.0.0/16"),
            ("internal", "10.0.0.0/8,fd00::/8"),
            ("broken", "10.1.7.5-10.1.7.9"),
        ] {
            assert_eq!(shown(tag).as_deref(), Some(networks), "{tag}");
        }
        assert_eq!((shown("Berlin"), shown("")), (None, None));
        let names: Vec<&str> = sites.names().collect();
        assert_eq!(
            names.join(" "),
            "berlin broken floor-7 internal office printers v6"
        );
        assert!(!sites.is_empty() && Tags::default().is_empty());
        for text in ["", "# nothing\r\n \n"] {
            assert!(Tags::parse(text).unwrap().is_empty());
        }
    }

    #[test]
    fn a_bad_line_is_named_with_its_number_and_word() {
        let long = "x".repeat(TAG_MAX_BYTES + 1);
        let many: String = (0..=LINE_TAGS_MAX).map(|n| format!(" t{n}")).collect();
        for (text, named) in [
            ("10.0.0.0/8\n", "1: \"10.0.0.0/8\" has no tag: write tags"),
            ("\n10.0.0.0/8 # a", "2: \"10.0.0.0/8\" has no tag"),
            (
                "#\r\n10.0.0/8 a",
                "2: \"10.0.0/8\" is not an address, a CIDR block or a range",
            ),
            ("office 10.0.0.0/8", "1: \"office\" is not an address"),
            (
                "10.0.0.1 10.0.0.2 a",
                "1: \"10.0.0.2\" is a second network in one line",
            ),
            ("10.0.0.1 a fd00::/8", "1: \"fd00::/8\" is a second network"),
            ("10.0.0.1 a 10.0.0.2-10.0.0.9", "1: \"10.0.0.2-10.0.0.9\""),
            ("10.0.0.1 - office", "1: \"10.0.0.1-office\" is not"),
            ("10.0.0.1 a -b", "1: \"-b\" is not a tag: it must begin"),
            (
                "10.0.0.1 a,b",
                "1: \"a,b\" is not a tag name: 1 to 64 of A-Z a-z 0-9 . _ -",
            ),
            ("10.0.0.1 büro", "1: \"büro\" is not a tag name"),
            ("10.0.0.1 a\u{1b}[31m", "1: \"a\\u{1b}[31m\" is not a tag"),
            (&format!("10.0.0.1 {long}"), "1: \"xxx"),
            (
                &format!("10.0.0.1{many}"),
                "1: \"t32\" is one tag too many: a network has at most 32",
            ),
        ] {
            let bad = Tags::parse(text).unwrap_err();
            assert_eq!(bad.len(), 1, "{text:?}");
            let line = bad[0].to_string();
            assert!(line.starts_with(named), "{text:?}: {line}");
        }
        let repeated = format!("10.0.0.1{}", " a".repeat(100));
        let tags = Tags::parse(&repeated).unwrap();
        assert_eq!(tags.tags_of("10.0.0.1".parse().unwrap()), ["a"]);
    }

    #[test]
    fn lines_and_their_errors_are_bounded() {
        let bad = Tags::parse(&"x\n".repeat(3 * BAD_LINES_MAX)).unwrap_err();
        assert_eq!(bad.len(), BAD_LINES_MAX);
        let full = "10.0.0.1 a\n".repeat(TAGGED_NETWORKS_MAX);
        let tags = Tags::parse(&full).unwrap();
        assert_eq!(tags.tags_of("10.0.0.1".parse().unwrap()), ["a"]);
        let bad = Tags::parse(&(full + "10.0.0.2 a\n10.0.0.3 a\n")).unwrap_err();
        assert_eq!(bad.len(), 1);
        assert_eq!(bad[0].line, TAGGED_NETWORKS_MAX + 1);
        assert!(bad[0].to_string().contains("at most 1048576"), "{}", bad[0]);
    }

    /// Networks as first address and length, with tags; few of each, so that they overlap often.
    fn networks() -> impl Strategy<Value = Vec<(u32, u32, Vec<u8>)>> {
        let tags = prop::collection::vec(0u8..6, 1..4);
        prop::collection::vec((0u32..64, 0u32..40, tags), 0..40)
    }

    proptest! {
        #[test]
        fn tags_and_networks_are_those_of_a_search_through_all_lines(networks in networks()) {
            let text: String = networks.iter()
                .map(|(first, length, tags)| {
                    let tags: String = tags.iter().map(|tag| format!(" t{tag}")).collect();
                    format!("{}-{}{tags}\n", Ipv4Addr::from(*first), Ipv4Addr::from(first + length))
                })
                .collect();
            let parsed = Tags::parse(&text).unwrap();
            for address in 0..110u32 {
                let mut containing: Vec<_> = networks.iter()
                    .filter(|(first, length, _)| (*first..=first + length).contains(&address))
                    .collect();
                containing.sort_by_key(|(first, length, _)| (*length, *first));
                let mut expected = Vec::new();
                for tag in containing.iter().flat_map(|(.., tags)| tags) {
                    let tag = format!("t{tag}");
                    if !expected.contains(&tag) {
                        expected.push(tag);
                    }
                }
                let address = Ipv4Addr::from(address).into();
                prop_assert_eq!(parsed.tags_of(address), expected);
                for tag in parsed.names() {
                    let is_in = parsed.networks_of(tag).unwrap().contains(address);
                    prop_assert_eq!(is_in, parsed.tags_of(address).contains(&tag));
                }
            }
            let names: BTreeSet<String> = networks.iter()
                .flat_map(|(.., tags)| tags).map(|tag| format!("t{tag}")).collect();
            prop_assert!(parsed.names().eq(&names));
        }

        #[test]
        fn any_text_is_tags_or_bad_lines(text in "[-0-9a-f.:/,;# \r\n\t\u{feff}]{0,200}") {
            if let Err(bad) = Tags::parse(&text) {
                let lines = text.split('\n').count();
                prop_assert!(!bad.is_empty() && bad.iter().all(|bad| (1..=lines).contains(&bad.line)));
                prop_assert!(bad.iter().all(|bad| !bad.to_string().contains(['\n', '\r'])));
            }
        }
    }
}
