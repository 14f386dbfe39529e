//! The storage of a folio's counters as a picture in text: the words of its first pages side by side,
//! and under it what each counter starts at and counts.
//!
//! Nothing is wider than [`WIDTH`] columns. Boxes are drawn with box-drawing characters, one column
//! each; a word's two halves stand left (low) and right (high) of a dotted line.

mod cells;
mod legend;

use anstyle::{AnsiColor, Style as Ansi};
use mapcount_model::layout::Layout;

use cells::{Column, Line, Text};

/// The widest line, in columns.
pub const WIDTH: usize = 100;

/// How what mapcount counts is made to stand out. Its names have a `*` before them in both styles.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Style {
    /// Text alone.
    Plain,
    /// Bold and coloured as well, with ANSI escapes.
    Color,
}

impl Style {
    /// `text`, made to stand out.
    fn counted(self, text: &str) -> String {
        match self {
            Style::Plain => text.to_owned(),
            Style::Color => {
                let ansi = Ansi::new().bold().fg_color(Some(AnsiColor::Green.into()));
                format!("{ansi}{text}{ansi:#}")
            }
        }
    }
}

/// The picture of `layout` with its legend, lines ended by `\n`.
pub fn render(layout: &Layout, style: Style) -> String {
    let (small, large) = if layout.has_folios { ("folio", "folio") } else { ("page", "compound page") };
    let mut out = format!(
        "Where {} keeps the counters of a {large} (64-bit; struct page has {} bytes)\n\
         A small {small} is page[0] alone; page[1] and what follows are the tails of a large one.\n\n",
        layout.kernel, layout.page_bytes,
    );
    let columns: Vec<Column> = (0..layout.pages()).map(|page| Column::new(layout, page)).collect();
    let roomy = bands(&columns, 1);
    let (bands, pad) =
        if roomy[0].len() >= columns.len().min(3) { (roomy, 1) } else { (bands(&columns, 0), 0) };
    for band in bands {
        draw(&mut out, band, pad, style);
    }
    legend::write(&mut out, layout, style);
    out
}

/// The columns in groups that fit side by side, with `pad` spaces behind each text.
fn bands(columns: &[Column], pad: usize) -> Vec<&[Column]> {
    let mut bands = Vec::new();
    let mut start = 0;
    let mut width = GUTTER + 1;
    for (index, column) in columns.iter().enumerate() {
        let more = column.width(pad) + 1;
        if width + more > WIDTH && index > start {
            bands.push(&columns[start..index]);
            start = index;
            width = GUTTER + 1;
        }
        width += more;
    }
    bands.push(&columns[start..]);
    bands
}

/// Columns before the first box: the offset of a word.
const GUTTER: usize = 4;

fn draw(out: &mut String, columns: &[Column], pad: usize, style: Style) {
    let border = |left: char, middle: char, right: char, titled: bool| {
        let mut line = format!("{:GUTTER$}{left}", "");
        for (index, column) in columns.iter().enumerate() {
            if index > 0 {
                line.push(middle);
            }
            let title = if titled { column.title() } else { String::new() };
            line.push_str(&title);
            line.extend(std::iter::repeat_n('─', column.width(pad) - title.chars().count()));
        }
        line.push(right);
        line.push('\n');
        line
    };
    out.push_str(&border('┌', '┬', '┐', true));
    let words = columns.iter().map(|column| column.words.len()).max().unwrap_or(0);
    for word in 0..words {
        let height = columns.iter().map(|column| column.words[word].len()).max().unwrap_or(0).max(1);
        for row in 0..height {
            let label = if row == 0 { format!("+{}", word * 8) } else { String::new() };
            out.push_str(&format!("{label:<GUTTER$}│"));
            for column in columns {
                out.push_str(&cell(column, column.words[word].get(row), pad, style));
                out.push('│');
            }
            out.push('\n');
        }
    }
    out.push_str(&border('└', '┴', '┘', false));
}

/// A line of a word, filled up to the width of its column.
fn cell(column: &Column, line: Option<&Line>, pad: usize, style: Style) -> String {
    let empty = Text::default();
    match line {
        None => filled(&empty, column.width(pad), style),
        Some(Line::Whole(text)) => filled(text, column.width(pad), style),
        Some(Line::Halves(low, high)) => {
            let left = column.low + pad;
            let right = column.width(pad) - left - 1;
            format!("{}┊{}", filled(low, left, style), filled(high, right, style))
        }
    }
}

fn filled(text: &Text, width: usize, style: Style) -> String {
    let blanks = " ".repeat(width - text.text.chars().count());
    let shown = if text.counted { style.counted(&text.text) } else { text.text.clone() };
    shown + &blanks
}
