//! "Did you mean …?": finds the name that is most similar to a misspelt one, among flags, commands and other short lists of names. Pure.

/// Longest word that is compared, in characters. The cost grows with the length, and no flag or command is longer.
const WORD_MAX_CHARS: usize = 32;
/// Shortest prefix of a name that counts as a match, in characters.
const PREFIX_MIN_CHARS: usize = 2;

/// The name in `known` that `word` probably means: the only one that starts with it, else the one with the fewest typing errors (a letter is
/// missing, added or wrong, or two neighbours are swapped), at most one error per three letters. None if no name is similar enough.
pub fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    if word.chars().nth(WORD_MAX_CHARS).is_some() {
        return None;
    }
    let word = word.to_lowercase();
    let known: Vec<&str> = known.into_iter().collect();
    only_name_with_prefix(&word, &known).or_else(|| fewest_errors(&word, &known))
}

fn only_name_with_prefix<'a>(prefix: &str, known: &[&'a str]) -> Option<&'a str> {
    let mut matches = known.iter().filter(|name| name.starts_with(prefix));
    let first = matches.next()?;
    let is_long_enough = prefix.chars().count() >= PREFIX_MIN_CHARS;
    (is_long_enough && matches.next().is_none()).then_some(first)
}

fn fewest_errors<'a>(word: &str, known: &[&'a str]) -> Option<&'a str> {
    let errors = |name: &str| strsim::osa_distance(word, name);
    let (count, name) = known.iter().map(|name| (errors(name), name)).min()?;
    let chars = word.chars().count();
    let tolerated = (name.chars().count().max(chars) / 3).max(1);
    // Any letter is one error away from a one-letter flag, so such a match means nothing.
    (count <= tolerated && count < chars).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_similar_name_is_found_and_no_dissimilar_one() {
        let known = [
            "ip",
            "ports",
            "priority",
            "bandwidth",
            "retries",
            "wait",
            "kafka",
            "status",
            "v",
        ];
        for (word, meant) in [
            ("prots", Some("ports")),
            ("port", Some("ports")),
            ("PORTS", Some("ports")),
            ("portss", Some("ports")),
            ("band", Some("bandwidth")),
            ("bandwith", Some("bandwidth")),
            ("pr", Some("priority")),
            ("statsu", Some("status")),
            ("pi", Some("ip")),
            ("rteries", Some("retries")),
            ("pxriorit", Some("priority")),
            ("ips", Some("ip")),
            ("vv", Some("v")),
            ("x", None),
            ("p", None),
            ("", None),
            ("banners", None),
            ("oX", None),
            ("reboot", None),
        ] {
            assert_eq!(nearest(word, known), meant, "{word}");
        }
        assert_eq!(nearest(&"p".repeat(1 << 20), known), None);
        assert_eq!(nearest("x", []), None);
    }
}
