//! What stands under the picture.

use std::fmt::Write as _;

use mapcount_model::field::TABLE;
use mapcount_model::layout::{Layout, Member};

use super::{Style, WIDTH};

/// Writes the legend of `layout` to `out`.
pub(super) fn write(out: &mut String, layout: &Layout, style: Style) {
    out.push('\n');
    reading(out, layout);
    counters(out, layout, style);
    notes(out, layout);
    out.push_str("\nread in\n");
    for source in &layout.sources {
        wrapped(out, "  ", "    ", source);
    }
}

/// How to read the picture; only what occurs in it.
fn reading(out: &mut String, layout: &Layout) {
    let any = |test: fn(&Member) -> bool| layout.members.iter().any(test);
    let mut signs = vec![
        ("+n", "bytes from the start of the page; a row is a word of 8 bytes".to_owned()),
        (
            "a ┊ b",
            "two fields in a word: left the low half (bytes +0 to +3), right the high half (+4 to +7)"
                .to_owned(),
        ),
        ("*", "counted by mapcount, see below".to_owned()),
    ];
    let plain: Vec<&Member> =
        layout.members.iter().filter(|member| !member.flag && member.bits.is_none()).collect();
    if plain.iter().enumerate().any(|(index, a)| plain[index + 1..].iter().any(|b| a.overlaps(b))) {
        signs.push(("/", "a union: another meaning of the storage above it".to_owned()));
    }
    if any(|member| member.flag || member.bits.is_some()) {
        let text = "bit n of the word above it";
        let unknown = any(|member| member.flag && member.bits.is_none());
        let text =
            if unknown { format!("{text}; ?: where the number is not recorded") } else { text.to_owned() };
        signs.push(("n:", text));
    }
    if any(|member| member.bytes == 1) {
        signs
            .push(("2 names", "one above the other in a half: single bytes, the upper one first".to_owned()));
    }
    for (sign, text) in signs {
        wrapped(out, &format!("{sign:<8}"), "        ", &text);
    }
}

/// A paragraph for each counter: where, what it starts at, what it counts.
fn counters(out: &mut String, layout: &Layout, style: Style) {
    out.push('\n');
    let _ = writeln!(out, " {:<23} {:<14} {:<9} raw value when allocated", "counted", "where", "size");
    for row in TABLE {
        let places: Vec<&Member> = layout.of(row.field).collect();
        let Some(first) = places.first() else { continue };
        let numbers: Vec<u8> = places.iter().map(|member| member.page).collect();
        let place = format!("{}+{}", pages(&numbers), first.offset);
        let name = style.counted(&format!("*{:<23}", first.name));
        let _ = writeln!(out, "{name} {place:<14} {:<9} {}", size(first), initial(&places));
        wrapped(out, "    ", "    ", row.meaning.trim());
    }
}

fn size(member: &Member) -> String {
    match (member.flag, member.bits) {
        (true, Some((bit, _))) => format!("bit {bit}"),
        (true, None) => "bit ?".to_owned(),
        (false, Some((low, high))) => format!("{} bits", high - low + 1),
        (false, None) => format!("{} bytes", member.bytes),
    }
}

/// What the counter in `places` holds in a new folio, as stored.
fn initial(places: &[&Member]) -> String {
    let mut values = places.iter().filter_map(|member| member.initial());
    let Some(head) = values.next() else { return String::new() };
    match values.find(|value| *value != head) {
        Some(tail) => format!("{head}, in tails {tail}"),
        None if places.iter().any(|member| member.bytes == 16) => "not queued".to_owned(),
        None => head.to_string(),
    }
}

/// `page[1]`, or `page[0-2]` for several in a row.
fn pages(numbers: &[u8]) -> String {
    match numbers {
        [first, .., last] => format!("page[{first}-{last}]"),
        [one] => format!("page[{one}]"),
        [] => String::new(),
    }
}

/// The members' notes, each once, with the members that have it.
fn notes(out: &mut String, layout: &Layout) {
    let mut done = vec![""];
    for member in &layout.members {
        if done.contains(&member.note) {
            continue;
        }
        if done.len() == 1 {
            out.push_str("\nnotes\n");
        }
        done.push(member.note);
        wrapped(out, "  ", "    ", &format!("{}: {}", bearers(layout, member.note), member.note));
    }
}

/// The names of the members with `note`, and the pages they are in.
fn bearers(layout: &Layout, note: &str) -> String {
    let bearers: Vec<&Member> = layout.members.iter().filter(|member| member.note == note).collect();
    let mut text = String::new();
    let mut done: Vec<&str> = Vec::new();
    let mut place = String::new();
    for member in &bearers {
        if done.contains(&member.name) {
            continue;
        }
        let same = bearers.iter().filter(|other| other.name == member.name);
        let numbers: Vec<u8> = same.map(|other| other.page).collect();
        let now = pages(&numbers);
        let _ = match (done.is_empty(), now == place) {
            (true, _) => write!(text, "{now} {}", member.name),
            (false, true) => write!(text, ", {}", member.name),
            (false, false) => write!(text, ", {now} {}", member.name),
        };
        done.push(member.name);
        place = now;
    }
    text
}

/// Writes `text` behind `first`, broken between words so that no line is wider than [`WIDTH`]; further
/// lines start with `next`.
fn wrapped(out: &mut String, first: &str, next: &str, text: &str) {
    let mut line = first.to_owned();
    let mut fresh = true;
    for word in text.split_whitespace() {
        if !fresh && line.chars().count() + 1 + word.chars().count() > WIDTH {
            out.push_str(&line);
            out.push('\n');
            line = next.to_owned();
            fresh = true;
        }
        if !fresh {
            line.push(' ');
        }
        line.push_str(word);
        fresh = false;
    }
    out.push_str(&line);
    out.push('\n');
}
