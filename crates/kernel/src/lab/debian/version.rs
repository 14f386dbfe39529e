//! The order of Debian's package versions (Debian Policy, 5.6.12).

use std::cmp::Ordering;

/// Which of two versions is older.
pub(super) fn compare(a: &str, b: &str) -> Ordering {
    let (epoch_a, a) = epoch(a);
    let (epoch_b, b) = epoch(b);
    let (upstream_a, revision_a) = a.rsplit_once('-').unwrap_or((a, ""));
    let (upstream_b, revision_b) = b.rsplit_once('-').unwrap_or((b, ""));
    epoch_a
        .cmp(&epoch_b)
        .then_with(|| parts(upstream_a, upstream_b))
        .then_with(|| parts(revision_a, revision_b))
}

fn epoch(version: &str) -> (u64, &str) {
    let split = version.split_once(':').and_then(|(epoch, rest)| Some((epoch.parse().ok()?, rest)));
    split.unwrap_or((0, version))
}

/// Texts and numbers in turn: texts by letters, where `~` is less than the end, and numbers by value.
fn parts(mut a: &str, mut b: &str) -> Ordering {
    while !a.is_empty() || !b.is_empty() {
        let (text_a, rest_a) = cut(a, |c| !c.is_ascii_digit());
        let (text_b, rest_b) = cut(b, |c| !c.is_ascii_digit());
        let (number_a, next_a) = cut(rest_a, |c| c.is_ascii_digit());
        let (number_b, next_b) = cut(rest_b, |c| c.is_ascii_digit());
        let by_number = || {
            let (a, b) = (number_a.trim_start_matches('0'), number_b.trim_start_matches('0'));
            a.len().cmp(&b.len()).then_with(|| a.cmp(b))
        };
        let order = texts(text_a, text_b).then_with(by_number);
        if order.is_ne() {
            return order;
        }
        (a, b) = (next_a, next_b);
    }
    Ordering::Equal
}

fn cut(text: &str, belongs: impl Fn(char) -> bool) -> (&str, &str) {
    text.split_at(text.find(|c| !belongs(c)).unwrap_or(text.len()))
}

fn texts(a: &str, b: &str) -> Ordering {
    let weight = |c: Option<char>| match c {
        Some('~') => 0,
        None => 1,
        Some(c) if c.is_ascii_alphabetic() => 2 + u32::from(c),
        Some(c) => 0x200 + u32::from(c),
    };
    let (mut a, mut b) = (a.chars(), b.chars());
    loop {
        let (next_a, next_b) = (a.next(), b.next());
        let order = weight(next_a).cmp(&weight(next_b));
        if order.is_ne() || next_a.is_none() {
            return order;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cmp::Ordering;

    use super::compare;

    #[test]
    fn versions_are_ordered_as_the_policy_says() {
        let ascending = [
            "5.10.223-1",
            "6.1.0~rc7-1~exp1",
            "6.1.0-1",
            "6.1.190-1~deb11u1",
            "6.1.190-1",
            "6.12.9-1",
            "6.12.107-1~bpo12+1",
            "6.12.107-1",
            "6.12.107-2",
            "6.12.107+1-1",
            "7.3~rc7-1~exp1",
            "7.3-1",
            "1:1.0-1",
        ];
        for (index, a) in ascending.iter().enumerate() {
            for (other, b) in ascending.iter().enumerate() {
                assert_eq!(compare(a, b), index.cmp(&other), "{a} and {b}");
            }
        }
    }

    #[test]
    fn numbers_are_numbers_however_long() {
        assert_eq!(compare("1.010", "1.10"), Ordering::Equal);
        assert_eq!(compare("99999999999999999999999", "100000000000000000000000"), Ordering::Less);
        assert_eq!(compare("", "~"), Ordering::Greater);
    }
}
