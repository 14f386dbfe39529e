//! Diagnostics as text. The library draws; what it is given is prepared here: only the lines in
//! question rather than the whole file, long lines cut down, bytes that are not UTF-8 replaced.

use annotate_snippets::{Annotation, AnnotationKind, Element, Level, Origin, Renderer, Snippet};

use crate::diagnostic::{Diagnostic, Severity, Span};

/// Lines of more bytes than this are cut down to as many, around the primary label or else the first.
const WIDEST: usize = 400;
/// Labels that are further apart than this are shown apart, each under its own place.
const FURTHEST: u32 = 100;

struct Mark<'a> {
    span: Span,
    kind: AnnotationKind,
    text: &'a str,
}

/// A place that has another column in the cut line than in the file.
struct Moved {
    span: Span,
    column: usize,
}

/// See [`Diagnostic::render`].
pub(super) fn render(diagnostic: &Diagnostic, file_name: &str, source: &[u8], color: bool) -> String {
    let level = match diagnostic.severity {
        Severity::Warning => Level::WARNING,
        Severity::Error => Level::ERROR,
    };
    let path = shown_path(file_name);
    let mut group = level.primary_title(diagnostic.message.as_str()).elements(None::<Element<'_>>);
    let clusters = clusters(diagnostic, source);
    if clusters.is_empty() {
        group = group.element(Origin::path(path.as_str()));
    }
    let mut moved = Vec::new();
    for cluster in &clusters {
        group = group.element(snippet(cluster, source, &mut moved).path(path.as_str()));
    }
    for note in &diagnostic.notes {
        group = group.element(Level::NOTE.message(note.as_str()));
    }
    if let Some(help) = &diagnostic.help {
        group = group.element(Level::HELP.message(help.as_str()));
    }
    let renderer = if color { Renderer::styled() } else { Renderer::plain() };
    let mut text = renderer.render(&[group]);
    // The library names the column that the place has in what it was given.
    let mut from = diagnostic.message.len();
    for Moved { span, column } in moved {
        let wrong = format!("{path}:{}:{column}", span.line);
        let found = text.get(from..).and_then(|rest| {
            let at = rest.find(&wrong)?;
            (!rest[at + wrong.len()..].starts_with(|c: char| c.is_ascii_digit())).then_some(at)
        });
        if let Some(at) = found {
            let right = format!("{path}:{}:{}", span.line, span.column);
            text.replace_range(from + at..from + at + wrong.len(), &right);
            from += at + right.len();
        }
    }
    text
}

/// A file name can hold anything, escape sequences too.
fn shown_path(file_name: &str) -> String {
    file_name.chars().map(|c| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c }).collect()
}

/// The labels in the order of the file, neighbours together, those around the primary one first.
fn clusters<'a>(diagnostic: &'a Diagnostic, source: &[u8]) -> Vec<Vec<Mark<'a>>> {
    let primary =
        Mark { span: diagnostic.span, kind: AnnotationKind::Primary, text: diagnostic.label.as_str() };
    let others = diagnostic.labels.iter().map(|label| Mark {
        span: label.span,
        kind: AnnotationKind::Context,
        text: label.text.as_str(),
    });
    let mut marks: Vec<_> = std::iter::once(primary)
        .chain(others)
        .filter(|mark| mark.span.line > 0 && mark.span.end as usize <= source.len())
        .collect();
    marks.sort_by_key(|mark| mark.span.start);
    let mut clusters: Vec<Vec<Mark<'a>>> = Vec::new();
    for mark in marks {
        match clusters.last_mut() {
            Some(cluster)
                if cluster.last().is_some_and(|last| mark.span.line - last.span.line <= FURTHEST) =>
            {
                cluster.push(mark);
            }
            _ => clusters.push(vec![mark]),
        }
    }
    clusters.sort_by_key(|cluster| !cluster.iter().any(|mark| mark.kind == AnnotationKind::Primary));
    clusters
}

/// The lines from the first to the last mark.
fn snippet<'a>(cluster: &[Mark<'a>], source: &[u8], moved: &mut Vec<Moved>) -> Snippet<'a, Annotation<'a>> {
    let first = &cluster[0];
    let mut start = line_start(source, first.span.start as usize);
    let last = cluster[cluster.len() - 1].span.line;
    let mut text = String::new();
    let mut annotations = Vec::new();
    for number in first.span.line..=last {
        let end = source[start..].iter().position(|&byte| byte == b'\n').map_or(source.len(), |n| start + n);
        let marks: Vec<_> = cluster.iter().filter(|mark| mark.span.line == number).collect();
        let center = marks.iter().find(|mark| mark.kind == AnnotationKind::Primary).or(marks.first());
        let window = Window::new(&source[start..end], start, center.map(|mark| mark.span));
        for mark in marks {
            let place = window.place(mark.span.start as usize);
            let column = window.text[..place].chars().count() + 1;
            if column != mark.span.column as usize {
                moved.push(Moved { span: mark.span, column });
            }
            let end = window.place(mark.span.end as usize);
            let annotation = mark.kind.span(text.len() + place..text.len() + end);
            annotations.push(annotation.label((!mark.text.is_empty()).then_some(mark.text)));
        }
        text.push_str(&window.text);
        text.push('\n');
        start = (end + 1).min(source.len());
    }
    Snippet::source(text).line_start(first.span.line as usize).annotations(annotations)
}

fn line_start(source: &[u8], offset: usize) -> usize {
    let start = source[..offset].iter().rposition(|&byte| byte == b'\n').map_or(0, |n| n + 1);
    // The byte order mark is no part of the first line.
    if start == 0 && source.starts_with(b"\xef\xbb\xbf") { 3.min(offset) } else { start }
}

/// What is shown of a line, and where in it the line's bytes are.
struct Window {
    text: String,
    /// For each character shown: its offset in the file and in `text`. One more for the end.
    places: Vec<(usize, usize)>,
}

impl Window {
    fn new(line: &[u8], offset: usize, around: Option<Span>) -> Window {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let center = around.map_or(0, |span| (span.start as usize).saturating_sub(offset));
        let (from, to) = if line.len() <= WIDEST {
            (0, line.len())
        } else {
            let from = boundary(line, center.saturating_sub(WIDEST / 4));
            (from, boundary(line, (from + WIDEST).min(line.len())))
        };
        let mut window = Window { text: String::new(), places: Vec::new() };
        if from > 0 {
            window.text.push('…');
        }
        let mut at = offset + from;
        for chunk in line[from..to].utf8_chunks() {
            for c in chunk.valid().chars() {
                window.push(at, c);
                at += c.len_utf8();
            }
            if !chunk.invalid().is_empty() {
                window.push(at, char::REPLACEMENT_CHARACTER);
                at += chunk.invalid().len();
            }
        }
        window.places.push((at, window.text.len()));
        if to < line.len() {
            window.text.push('…');
        }
        window
    }

    fn push(&mut self, at: usize, c: char) {
        self.places.push((at, self.text.len()));
        // A carriage return would end the line in the eyes of the library.
        self.text.push(if c == '\r' { '␍' } else { c });
    }

    /// Where the byte at this offset of the file is in `text`; its nearest end if it is not shown.
    fn place(&self, offset: usize) -> usize {
        let index = self.places.partition_point(|&(at, _)| at < offset);
        self.places.get(index).or(self.places.last()).map_or(0, |&(_, place)| place)
    }
}

/// The first byte at or before `at` that does not continue a character.
fn boundary(line: &[u8], at: usize) -> usize {
    (at.saturating_sub(3)..=at)
        .rev()
        .find(|&at| line.get(at).is_none_or(|byte| byte & 0xc0 != 0x80))
        .unwrap_or(at)
}

#[cfg(test)]
mod tests {
    use crate::diagnostic::{Diagnostic, Diagnostics, Span};

    const SOURCE: &str =
        "title \"ä\"\nA: mmap x pmd thp\n\nA: write x\nA: fork B\nexpect A.x[0].refcount == 3\n";

    fn span(source: &str, line: u32, text: &str) -> Span {
        let start: usize = source.split_inclusive('\n').take(line as usize - 1).map(str::len).sum();
        let at = source[start..].find(text).expect("the text is on the line");
        let column = source[start..start + at].chars().count() + 1;
        Span {
            line,
            column: u32::try_from(column).expect("small"),
            start: u32::try_from(start + at).expect("small"),
            end: u32::try_from(start + at + text.len()).expect("small"),
        }
    }

    #[test]
    fn a_finding_shows_the_steps_that_led_to_it() {
        let finding = Diagnostic::error("refcount is 2", span(SOURCE, 6, "refcount"), "expected 3")
            .also(span(SOURCE, 2, "A: mmap x pmd thp"), "0 -> 1")
            .also(span(SOURCE, 5, "A: fork B"), "1 -> 2")
            .note("the model of 6.18")
            .help("count again");
        let expected = "\
error: refcount is 2
 --> seed.mc:6:15
  |
2 | A: mmap x pmd thp
  | ----------------- 0 -> 1
...
5 | A: fork B
  | --------- 1 -> 2
6 | expect A.x[0].refcount == 3
  |               ^^^^^^^^ expected 3
  |
  = note: the model of 6.18
  = help: count again";
        assert_eq!(finding.render("seed.mc", SOURCE.as_bytes(), false), expected);
        assert!(finding.render("seed.mc", SOURCE.as_bytes(), true).contains("\u{1b}["));
    }

    #[test]
    fn places_far_apart_are_shown_apart() {
        let source = format!("nodes 1\n{}nodes 2\n", "\n".repeat(500));
        let twice = Diagnostic::warning("`nodes` is given twice", span(&source, 502, "nodes"), "")
            .also(span(&source, 1, "nodes"), "first here");
        let expected = "\
warning: `nodes` is given twice
   --> a.mc:502:1
    |
502 | nodes 2
    | ^^^^^
    |
   ::: a.mc:1:1
    |
  1 | nodes 1
    | ----- first here";
        assert_eq!(twice.render("a.mc", source.as_bytes(), false), expected);
    }

    #[test]
    fn a_place_may_be_the_whole_file_or_behind_its_end() {
        let whole = Diagnostic::error("too long", Span::NOWHERE, "").help("split it");
        assert_eq!(
            whole.render("a\u{1b}[2J.mc", b"", false),
            "error: too long\n --> a\u{fffd}[2J.mc\n  = help: split it"
        );
        let past = Span { line: 9, column: 1, start: 99, end: 100 };
        assert_eq!(
            Diagnostic::error("gone", past, "here").render("a.mc", b"A", false),
            "error: gone\n --> a.mc"
        );
    }

    #[test]
    fn a_long_line_is_cut_around_the_place() {
        let source = format!("title \"{}\" junk # {}", "ä".repeat(500_000), "x".repeat(500_000));
        let text = Diagnostic::error("unexpected `junk`", span(&source, 1, "junk"), "expected nothing")
            .render("a.mc", source.as_bytes(), false);
        assert!(text.contains(" --> a.mc:1:500010\n"), "{text}");
        assert!(text.lines().all(|line| line.chars().count() < 200), "{text}");
        let lines: Vec<_> = text.lines().collect();
        let column = |line: &str, wanted: &str| line.find(wanted).map(|at| line[..at].chars().count());
        assert_eq!(column(lines[3], "junk"), column(lines[4], "^^^^ expected nothing"), "{text}");
        assert!(column(lines[3], "junk").is_some(), "{text}");

        let open = Diagnostic::error("the text does not end", span(&source, 1, "\" junk"), "here")
            .also(span(&source, 1, "title"), "begins here");
        let text = open.render("a.mc", source.as_bytes(), false);
        assert!(text.contains(" --> a.mc:1:500008\n") && text.contains("^^^^^^ here"), "{text}");
    }

    #[test]
    fn bytes_that_are_no_characters_are_shown_as_such() {
        let place = Span { line: 1, column: 3, start: 5, end: 6 };
        let text = Diagnostic::error("no UTF-8", place, "here").render(
            "a.mc",
            b"\xef\xbb\xbfA:\xff\xfe\t\rx\r\n",
            false,
        );
        assert_eq!(text, "error: no UTF-8\n --> a.mc:1:3\n  |\n1 | A:\u{fffd}\u{fffd}    ␍x\n  |   ^ here");
    }

    #[test]
    fn the_rest_is_counted() {
        let one = Diagnostic::error("bad", Span::NOWHERE, "");
        let mut all = Diagnostics { shown: vec![one.clone(), one], omitted: 0, complete: true };
        assert_eq!(all.render("a.mc", b"", false), "error: bad\n --> a.mc\n\nerror: bad\n --> a.mc\n");
        all.omitted = 1;
        assert!(all.render("a.mc", b"", false).ends_with("\n\na.mc: and 1 more error\n"));
        all.complete = false;
        all.omitted = 7;
        assert_eq!(all.to_string(), "error: bad\nerror: bad\nand 7 more errors; the rest was not read");
        assert_eq!(all.count(), 9);
    }
}
