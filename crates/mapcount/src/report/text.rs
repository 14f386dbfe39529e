//! Paragraphs, columns and colours of reports.

use anstyle::{AnsiColor, Style as Ansi};

use super::layout::{Style, WIDTH};

/// What a piece of text is, and so how it is made to stand out or stand back.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mark {
    /// What the reader asked for.
    Answer,
    /// Something is not as it should be.
    Wrong,
    /// Where something comes from; of less weight than the rest.
    Aside,
}

/// `text` with the escapes of its mark, in the style that has them.
pub fn marked(style: Style, mark: Mark, text: &str) -> String {
    if style == Style::Plain || text.is_empty() {
        return text.to_owned();
    }
    let ansi = match mark {
        Mark::Answer => Ansi::new().bold(),
        Mark::Wrong => Ansi::new().bold().fg_color(Some(AnsiColor::Red.into())),
        Mark::Aside => Ansi::new().dimmed(),
    };
    format!("{ansi}{text}{ansi:#}")
}

/// `text` in lines of at most [`WIDTH`] columns, broken between words: the first begins with `first`, the others
/// with `next`.
pub fn wrapped(first: &str, next: &str, text: &str) -> Vec<String> {
    wrapped_at(WIDTH, first, next, text)
}

/// As [`wrapped`], with lines of at most `width` columns. A word that is wider than a line is cut.
pub fn wrapped_at(width: usize, first: &str, next: &str, text: &str) -> Vec<String> {
    let mut lines = Vec::new();
    let mut line = first.to_owned();
    let mut fresh = true;
    for word in text.split_whitespace() {
        let columns = word.chars().count();
        if !fresh && line.chars().count() + 1 + columns > width {
            lines.push(std::mem::replace(&mut line, next.to_owned()));
            fresh = true;
        }
        if !fresh {
            line.push(' ');
        }
        let room = width.saturating_sub(line.chars().count()).max(2);
        if columns > room {
            line.extend(word.chars().take(room - 1));
            line.push('…');
        } else {
            line.push_str(word);
        }
        fresh = false;
    }
    lines.push(line);
    lines
}

/// Adds `text` to `out` as [`wrapped`] lines, all of them marked.
pub fn paragraph(out: &mut String, first: &str, next: &str, text: &str) {
    for line in wrapped(first, next, text) {
        out.push_str(line.trim_end());
        out.push('\n');
    }
}

/// As [`paragraph`], for what has less weight.
pub fn aside(out: &mut String, style: Style, first: &str, next: &str, text: &str) {
    for line in wrapped(first, next, text) {
        out.push_str(&marked(style, Mark::Aside, line.trim_end()));
        out.push('\n');
    }
}

/// `1 page`, `2 pages`.
pub fn count(number: i64, what: &str) -> String {
    plural(number, what, &format!("{what}s"))
}

/// `1 entry`, `2 entries`.
pub fn plural(number: i64, one: &str, many: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { many })
}

/// Words joined as in a sentence: `a`, `a and b`, `a, b and c`.
pub fn list<T: AsRef<str>>(words: &[T]) -> String {
    match words {
        [] => String::new(),
        [one] => one.as_ref().to_owned(),
        [most @ .., last] => {
            let most: Vec<&str> = most.iter().map(AsRef::as_ref).collect();
            format!("{} and {}", most.join(", "), last.as_ref())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Mark, list, marked, wrapped_at};
    use crate::report::layout::Style;

    #[test]
    fn lines_are_broken_between_words_and_words_cut_where_they_do_not_fit() {
        assert_eq!(wrapped_at(9, "- ", "  ", "one two three"), ["- one two", "  three"]);
        assert_eq!(wrapped_at(9, "- ", "  ", "x abcdefghijk"), ["- x", "  abcdef…"]);
        assert_eq!(wrapped_at(9, "- ", "  ", ""), ["- "]);
    }

    #[test]
    fn words_are_listed_as_in_a_sentence() {
        assert_eq!(list(&["a"]), "a");
        assert_eq!(list(&["a", "b", "c"]), "a, b and c");
        assert_eq!(marked(Style::Plain, Mark::Answer, "x"), "x");
    }
}
