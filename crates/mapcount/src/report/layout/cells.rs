//! What stands in the boxes of the picture, before it is drawn.

use mapcount_model::layout::{Layout, Member};

/// A text in a box, its mark included.
#[derive(Clone, Default)]
pub(super) struct Text {
    /// The mark and the name.
    pub(super) text: String,
    /// Whether mapcount counts it.
    pub(super) counted: bool,
}

/// A line in the box of a word.
pub(super) enum Line {
    /// About the whole word.
    Whole(Text),
    /// About its low and its high half.
    Halves(Text, Text),
}

/// The words of one page.
pub(super) struct Column {
    page: u8,
    /// The lines of each word.
    pub(super) words: Vec<Vec<Line>>,
    /// The widest text in a low half.
    pub(super) low: usize,
    high: usize,
    whole: usize,
}

impl Column {
    /// The column of `page`.
    pub(super) fn new(layout: &Layout, page: u8) -> Column {
        let members: Vec<&Member> = layout.page(page).collect();
        let words = (0..layout.page_bytes / 8).map(|word| lines(&members, word)).collect();
        let mut column = Column { page, words, low: 0, high: 0, whole: 0 };
        column.whole = column.title().chars().count() + 1;
        for line in column.words.iter().flatten() {
            match line {
                Line::Whole(text) => column.whole = column.whole.max(text.text.chars().count()),
                Line::Halves(low, high) => {
                    column.low = column.low.max(low.text.chars().count());
                    column.high = column.high.max(high.text.chars().count());
                }
            }
        }
        column
    }

    /// The width of its box inside, with `pad` spaces behind each text.
    pub(super) fn width(&self, pad: usize) -> usize {
        (self.whole + pad).max(self.low + self.high + 1 + 2 * pad)
    }

    /// What stands in its upper border.
    pub(super) fn title(&self) -> String {
        match self.page {
            0 => "─ page[0], the head ".to_owned(),
            page => format!("─ page[{page}] "),
        }
    }
}

/// The lines of a word: what it usually is, then `/` unions, then bits.
fn lines(members: &[&Member], word: u16) -> Vec<Line> {
    let start = word * 8;
    let here = |member: &&&Member| {
        let from = u16::from(member.offset);
        from < start + 8 && start < from + u16::from(member.bytes)
    };
    let mut lines: Vec<Line> = Vec::new();
    let mut taken = [false; 8];
    for member in members.iter().filter(here) {
        let first = u16::from(member.offset).saturating_sub(start) as usize;
        let last = (u16::from(member.offset) + u16::from(member.bytes) - start).min(8) as usize;
        let of_word = is_bits(member) && member.bytes == 8;
        let union = !of_word && taken[first..last].contains(&true);
        let text = Text { text: name(member, start, union), counted: member.field.is_some() };
        if last - first == 8 {
            lines.push(Line::Whole(text));
        } else {
            place(&mut lines, text, first >= 4, union);
        }
        if !of_word {
            taken[first..last].fill(true);
        }
    }
    lines
}

/// Puts a text into the low or the high half of the first line where that is free; a union gets a line
/// of its own.
fn place(lines: &mut Vec<Line>, text: Text, in_high: bool, union: bool) {
    let free = lines.iter_mut().find_map(|line| match line {
        Line::Halves(low, high) => Some(if in_high { high } else { low }).filter(|half| half.text.is_empty()),
        Line::Whole(_) => None,
    });
    match free {
        Some(half) if !union => *half = text,
        _ if in_high => lines.push(Line::Halves(Text::default(), text)),
        _ => lines.push(Line::Halves(text, Text::default())),
    }
}

fn is_bits(member: &Member) -> bool {
    member.flag || member.bits.is_some()
}

/// The name with its marks: `/` for a union with what stands above, `*` for a counter, the numbers of
/// its bits within the word that starts at byte `start`.
fn name(member: &Member, start: u16, union: bool) -> String {
    let mark = match (union, member.field.is_some()) {
        (true, true) => "/*",
        (true, false) => "/",
        (false, true) => "*",
        (false, false) => " ",
    };
    let shift = u16::from(member.offset).saturating_sub(start) * 8;
    let bits = match member.bits {
        Some((low, high)) if low == high => format!("{}:", u16::from(low) + shift),
        Some((low, high)) => format!("{}-{}:", u16::from(low) + shift, u16::from(high) + shift),
        None if member.flag => "?:".to_owned(),
        None => String::new(),
    };
    let part = match (member.bytes, u16::from(member.offset) == start) {
        (16, true) => ".next",
        (16, false) => ".prev",
        _ => "",
    };
    format!("{mark}{bits}{}{part}", member.name)
}
