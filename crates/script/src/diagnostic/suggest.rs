//! Did you mean …?

/// Longer words are nobody's slip of the pen.
const LONGEST: usize = 32;

/// The candidate that `word` is probably meant to be, the first of equally close ones.
pub fn closest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    if word.len() > LONGEST {
        return None;
    }
    let lower = word.to_ascii_lowercase();
    let allowed = (word.len() / 3).max(1);
    candidates
        .into_iter()
        .map(|candidate| (distance(lower.as_bytes(), candidate.to_ascii_lowercase().as_bytes()), candidate))
        // A word of which nothing is left is no slip either: `x` is not `ro`.
        .filter(|&(distance, candidate)| distance <= allowed && distance < candidate.len().min(word.len()))
        .min_by_key(|&(distance, _)| distance)
        .map(|(_, candidate)| candidate)
}

/// How many letters must be put in, left out, changed, or swapped with their neighbour.
fn distance(a: &[u8], b: &[u8]) -> usize {
    let mut before: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for i in 1..=a.len() {
        let mut row = vec![i];
        for j in 1..=b.len() {
            let changed = last[j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut best = changed.min(last[j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                best = best.min(before[j - 2] + 1);
            }
            row.push(best);
        }
        before = std::mem::replace(&mut last, row);
    }
    last[b.len()]
}

/// `text` for a message: not too long, and harmless to a terminal.
pub fn shown(text: &str) -> String {
    let mut shown: String = text.chars().take(LONGEST).flat_map(char::escape_debug).collect();
    if text.chars().nth(LONGEST).is_some() {
        shown.push('…');
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::{closest, distance, shown};

    #[test]
    fn slips_are_counted() {
        for (a, b, expected) in [
            ("", "abc", 3),
            ("write", "write", 0),
            ("wirte", "write", 1),
            ("rea", "read", 1),
            ("kitten", "sitting", 3),
            ("ca", "abc", 3),
        ] {
            assert_eq!(distance(a.as_bytes(), b.as_bytes()), expected, "{a} {b}");
            assert_eq!(distance(b.as_bytes(), a.as_bytes()), expected, "{b} {a}");
        }
    }

    #[test]
    fn the_closest_word_is_suggested_if_it_is_close() {
        let words = ["mlock", "munlock", "mmap", "munmap", "ro", "EAGAIN"];
        for (word, expected) in [
            ("mlok", Some("mlock")),
            ("unmap", Some("munmap")),
            ("eagain", Some("EAGAIN")),
            ("x", None),
            ("frobnicate", None),
        ] {
            assert_eq!(closest(word, words), expected, "{word}");
        }
        assert_eq!(closest(&"m".repeat(1 << 20), words), None);
    }

    #[test]
    fn long_and_strange_words_are_cut_and_escaped() {
        assert_eq!(shown("a\u{7}b"), "a\\u{7}b");
        assert_eq!(shown(&"x".repeat(100)), format!("{}…", "x".repeat(32)));
    }
}
