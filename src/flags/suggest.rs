//! "Did you mean …?": the known word that is most similar to a misspelt one, for flags, commands and other short lists
//! of names.

/// Longer words are not compared, so that a pasted file costs nothing.
const WORD_MAX_CHARS: usize = 32;
/// Shortest beginning of a word that counts as a hint.
const BEGINNING_MIN_CHARS: usize = 2;

/// The one of `known` that was probably meant by `word`: the only one that starts with it, else the one with the fewest typing errors (a letter
/// missing, added, wrong, or two swapped), at most a third of its letters. None if no word is similar enough.
pub fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    if word.chars().nth(WORD_MAX_CHARS).is_some() {
        return None;
    }
    let word = word.to_lowercase();
    let known: Vec<&str> = known.into_iter().collect();
    only_one_starting_with(&word, &known).or_else(|| fewest_errors(&word, &known))
}

fn only_one_starting_with<'a>(beginning: &str, known: &[&'a str]) -> Option<&'a str> {
    let mut matches = known.iter().filter(|name| name.starts_with(beginning));
    let first = matches.next()?;
    let is_long_enough = beginning.chars().count() >= BEGINNING_MIN_CHARS;
    (is_long_enough && matches.next().is_none()).then_some(first)
}

fn fewest_errors<'a>(word: &str, known: &[&'a str]) -> Option<&'a str> {
    let errors = |name: &str| strsim::osa_distance(word, name);
    let (count, name) = known.iter().map(|name| (errors(name), name)).min()?;
    let chars = word.chars().count();
    let tolerated = (name.chars().count().max(chars) / 3).max(1);
    // A one-letter flag is one error away from every other letter, which is not a useful hint.
    (count <= tolerated && count < chars).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_word_is_found_and_nothing_far_off() {
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
