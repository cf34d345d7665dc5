//! "Did you mean …?": the known word that is most similar to a misspelt one, for flags, commands and other short
//! list of names.

/// Longer words are not compared, so that a pasted file costs nothing.
const WORD_MAX_CHARS: usize = 32;
/// Shortest beginning of a word that counts as a hint.
const BEGINNING_MIN_CHARS: usize = 2;

/// The one of `known` that was probably meant by `word`: the only one that starts with it, else the one with the fewest typing errors (a letter
/// missing, added, wrong, or two swapped), at most a third of its letters. None if no word is similar
/// enough.
pub fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let word: Vec<char> = word.to_lowercase().chars().collect();
    if word.len() > WORD_MAX_CHARS {
        return None;
    }
    let known: Vec<&str> = known.into_iter().collect();
    only_one_begun_by(&word, &known).or_else(|| fewest_slips(&word, &known))
}

fn only_one_begun_by<'a>(word: &[char], known: &[&'a str]) -> Option<&'a str> {
    let beginning: String = word.iter().collect();
    let mut begun = known.iter().filter(|name| name.starts_with(&beginning));
    let first = begun.next()?;
    (word.len() >= BEGINNING_MIN_CHARS && begun.next().is_none()).then_some(first)
}

fn fewest_slips<'a>(word: &[char], known: &[&'a str]) -> Option<&'a str> {
    let slips = |name: &&str| slips(word, &name.chars().collect::<Vec<char>>());
    let (count, name) = known.iter().map(|name| (slips(name), name)).min()?;
    let tolerated = (name.chars().count().max(word.len()) / 3).max(1);
    // A one-letter flag is one error away from every other letter, which is not a useful hint.
    (count <= tolerated && count < word.len()).then_some(name)
}

/// Slips between two words: the optimal string alignment distance, three rows of its table at a time.
fn slips(a: &[char], b: &[char]) -> usize {
    let mut before_last: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for i in 1..=a.len() {
        let mut row = vec![i];
        for j in 1..=b.len() {
            let wrong = last[j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut fewest = wrong.min(last[j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                fewest = fewest.min(before_last[j - 2] + 1);
            }
            row.push(fewest);
        }
        before_last = last;
        last = row;
    }
    last[b.len()]
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

    #[test]
    fn slips_are_counted() {
        for (a, b, count) in [
            ("", "", 0),
            ("", "abc", 3),
            ("abc", "", 3),
            ("abc", "acb", 1),
            ("abc", "abd", 1),
            ("kitten", "sitting", 3),
        ] {
            let chars = |text: &str| text.chars().collect::<Vec<char>>();
            assert_eq!(slips(&chars(a), &chars(b)), count, "{a} {b}");
        }
    }
}
