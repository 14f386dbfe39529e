//! Text in tones, and lines that fit.

use anstyle::{AnsiColor, Style as Ansi};
use unicode_width::UnicodeWidthStr;

use super::layout::{Style, WIDTH};

/// How a word is meant.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Tone {
    /// Like the rest.
    Plain,
    /// Known already, or of little weight.
    Dim,
    /// New in this step.
    Changed,
    /// A heading.
    Heading,
    /// Which kernels.
    Kernels,
    /// Something is not as it has to be.
    Alarm,
}

impl Tone {
    fn ansi(self) -> Ansi {
        let color = |color: AnsiColor| Ansi::new().fg_color(Some(color.into()));
        match self {
            Tone::Plain => Ansi::new(),
            Tone::Dim => Ansi::new().dimmed(),
            Tone::Changed => color(AnsiColor::Green).bold(),
            Tone::Heading => Ansi::new().bold(),
            Tone::Kernels => color(AnsiColor::Cyan),
            Tone::Alarm => color(AnsiColor::Red).bold(),
        }
    }
}

/// `text` in a tone.
pub(super) fn paint(style: Style, tone: Tone, text: &str) -> String {
    match (style, tone) {
        (Style::Plain, _) | (_, Tone::Plain) => text.to_owned(),
        _ if text.is_empty() => String::new(),
        (Style::Color, _) => {
            let ansi = tone.ansi();
            format!("{ansi}{text}{ansi:#}")
        }
    }
}

/// A text whose words have tones. Lines may be broken at its blanks.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Phrase(Vec<(Tone, String)>);

impl Phrase {
    /// A text of one tone.
    pub(super) fn new(tone: Tone, text: &str) -> Phrase {
        Phrase::default().then(tone, text)
    }

    /// With more words behind it.
    pub(super) fn then(mut self, tone: Tone, text: &str) -> Phrase {
        self.0.extend(text.split(' ').filter(|word| !word.is_empty()).map(|word| (tone, word.to_owned())));
        self
    }

    /// With something that follows the last word without a blank.
    pub(super) fn joined(mut self, text: &str) -> Phrase {
        match self.0.last_mut() {
            Some((_, last)) => last.push_str(text),
            None => self.0.push((Tone::Plain, text.to_owned())),
        }
        self
    }

    /// Whether it says nothing.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// With another phrase behind it.
    pub(super) fn and(mut self, other: Phrase) -> Phrase {
        self.0.extend(other.0);
        self
    }

    /// The tone of the first word.
    pub(super) fn tone(&self) -> Tone {
        self.0.first().map_or(Tone::Plain, |(tone, _)| *tone)
    }

    /// The words alone.
    pub(super) fn plain(&self) -> String {
        let words: Vec<&str> = self.0.iter().map(|(_, word)| word.as_str()).collect();
        words.join(" ")
    }

    fn width(&self) -> usize {
        self.0.iter().map(|(_, word)| word.width() + 1).sum::<usize>().saturating_sub(1)
    }
}

/// Puts phrases one behind the other into lines, a phrase undivided where it fits into a line.
pub(super) struct Lines<'o> {
    out: &'o mut String,
    style: Style,
    indent: usize,
    column: usize,
    fresh: bool,
}

impl<'o> Lines<'o> {
    /// Lines that begin with `first` and go on `indent` columns from the left.
    pub(super) fn new(out: &'o mut String, style: Style, first: &[(Tone, &str)], indent: usize) -> Lines<'o> {
        let mut column = 0;
        for (tone, text) in first {
            out.push_str(&paint(style, *tone, text));
            column += text.width();
        }
        let mut lines = Lines { out, style, indent, column, fresh: true };
        if lines.column > indent {
            lines.next_line();
        } else {
            lines.pad();
        }
        lines
    }

    fn pad(&mut self) {
        let blanks = self.indent - self.column;
        self.out.extend(std::iter::repeat_n(' ', blanks));
        self.column = self.indent;
    }

    fn next_line(&mut self) {
        let kept = self.out.trim_end_matches(' ').len();
        self.out.truncate(kept);
        self.out.push('\n');
        self.column = 0;
        self.pad();
        self.fresh = true;
    }

    /// Adds a phrase, `gap` blanks behind the last one.
    pub(super) fn push(&mut self, phrase: &Phrase, gap: usize) {
        let room = WIDTH - self.indent;
        if !self.fresh && self.column + gap + phrase.width() > WIDTH {
            self.next_line();
        }
        let mut blanks = if self.fresh { 0 } else { gap };
        for (tone, word) in &phrase.0 {
            for part in parts(word, room) {
                if !self.fresh && self.column + blanks + part.width() > WIDTH {
                    self.next_line();
                    // What goes on in another line stands a little to the right.
                    self.out.push_str("  ");
                    self.column += 2;
                    blanks = 0;
                }
                self.out.extend(std::iter::repeat_n(' ', blanks));
                self.out.push_str(&paint(self.style, *tone, part));
                self.column += blanks + part.width();
                self.fresh = false;
                blanks = 1;
            }
        }
    }

    /// Ends the last line.
    pub(super) fn end(self) {
        let kept = self.out.trim_end_matches(' ').len();
        self.out.truncate(kept);
        self.out.push('\n');
    }
}

/// A word in parts that fit into `room` columns (less the indent of a continuation).
fn parts(word: &str, room: usize) -> Vec<&str> {
    let room = room.saturating_sub(2).max(8);
    let mut parts = Vec::new();
    let mut rest = word;
    while rest.width() > room {
        let mut width = 0;
        let fits = |c: char| {
            width += unicode_width::UnicodeWidthChar::width(c).unwrap_or(0);
            width > room
        };
        let at = rest.find(fits).unwrap_or(rest.len());
        parts.push(&rest[..at]);
        rest = &rest[at..];
    }
    parts.push(rest);
    parts
}

#[cfg(test)]
mod tests {
    use super::{Lines, Phrase, Tone};
    use crate::report::layout::{Style, WIDTH};

    #[test]
    fn no_line_is_too_wide_and_nothing_is_lost() {
        for length in [1, 7, 97, 98, 99, 250] {
            let mut out = String::new();
            let mut lines = Lines::new(&mut out, Style::Plain, &[(Tone::Plain, "  label")], 12);
            let word = "ä".repeat(length);
            for _ in 0..9 {
                lines.push(&Phrase::new(Tone::Changed, &format!("{word} 1 → 2")), 3);
            }
            lines.end();
            assert!(out.lines().all(|line| line.chars().count() <= WIDTH), "{out}");
            assert_eq!(out.matches('ä').count(), 9 * length);
            assert_eq!(out.matches('→').count(), 9);
        }
    }
}
