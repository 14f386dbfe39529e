//! Walking along one line of a scenario. What is a word depends on what the grammar wants next
//! (`4.5..6.1` is one thing in `expect[…]`, and another in `x[4..5]`), so there are no tokens: the
//! parser asks for what it wants.

use crate::diagnostic::{Diagnostic, Span, shown};

/// What parsing a piece of a line comes to. Errors are rare and large, hence boxed.
pub(crate) type Parsed<T> = Result<T, Box<Diagnostic>>;

/// A place between two characters of a line.
#[derive(Clone, Copy)]
struct Place {
    at: usize,
    column: u32,
}

/// A place to come back to.
#[derive(Clone, Copy)]
pub(crate) struct Mark {
    here: Place,
    read: Place,
}

/// A place on a line. Everything outside titles and comments is ASCII: see [`check_characters`].
#[derive(Clone)]
pub(crate) struct Cursor<'a> {
    line: &'a str,
    number: u32,
    offset: u32,
    here: Place,
    /// Behind the last thing that was read.
    read: Place,
}

const fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

impl<'a> Cursor<'a> {
    /// The beginning of the line `number`, which is `offset` bytes into the file.
    pub(crate) fn new(line: &'a str, number: u32, offset: u32) -> Cursor<'a> {
        let start = Place { at: 0, column: 1 };
        Cursor { line, number, offset, here: start, read: start }
    }

    /// Past blanks. True if there were any.
    pub(crate) fn skip_blanks(&mut self) -> bool {
        let blanks = self.rest().iter().take_while(|byte| matches!(byte, b' ' | b'\t')).count();
        self.here = self.ahead(blanks);
        blanks > 0
    }

    /// The place of the next thing.
    pub(crate) fn mark(&mut self) -> Mark {
        self.skip_blanks();
        self.here()
    }

    /// The place right here, be it a blank.
    pub(crate) fn here(&self) -> Mark {
        Mark { here: self.here, read: self.read }
    }

    /// From `mark` to the end of the last thing read.
    pub(crate) fn span_from(&self, mark: Mark) -> Span {
        self.span(mark.here, self.read)
    }

    /// What was read since `mark`.
    pub(crate) fn text_from(&self, mark: Mark) -> &'a str {
        &self.line[mark.here.at..self.read.at]
    }

    /// Back to `mark`.
    pub(crate) fn back(&mut self, mark: Mark) {
        self.here = mark.here;
        self.read = mark.read;
    }

    /// Just behind the last thing read.
    pub(crate) fn behind(&self) -> Span {
        self.span(self.read, self.read)
    }

    /// The next byte, 0 at the end of the statement.
    pub(crate) fn peek(&self) -> u8 {
        self.rest().first().copied().unwrap_or(0)
    }

    /// Whether the statement is at its end.
    pub(crate) fn at_end(&mut self) -> bool {
        self.skip_blanks();
        self.peek() == 0
    }

    /// Reads `symbol` if it comes next, without blanks before it.
    pub(crate) fn eat(&mut self, symbol: &str) -> bool {
        let found = self.rest().starts_with(symbol.as_bytes());
        if found {
            self.advance(symbol.len());
        }
        found
    }

    /// The next word: letters, digits and `_`. Empty if there is none.
    pub(crate) fn word(&mut self) -> &'a str {
        self.run(is_word)
    }

    /// The next bytes, all of which are `wanted`.
    pub(crate) fn run(&mut self, wanted: impl Fn(u8) -> bool) -> &'a str {
        let from = self.here.at;
        let length = self.rest().iter().take_while(|&&byte| wanted(byte)).count();
        self.advance(length);
        &self.line[from..from + length]
    }

    /// A text in double quotes, in which `\"` and `\\` stand for `"` and `\`.
    pub(crate) fn quoted(&mut self) -> Parsed<String> {
        let start = self.mark().here;
        if !self.eat("\"") {
            return Err(self.expected("a text in double quotes"));
        }
        let mut text = String::new();
        let mut characters = self.line[self.here.at..].char_indices();
        let mut column = self.here.column;
        while let Some((at, c)) = characters.next() {
            let place = Place { at: self.here.at + at, column };
            column += 1;
            match c {
                '"' => {
                    self.here = Place { at: place.at + 1, column };
                    self.read = self.here;
                    return Ok(text);
                }
                '\\' => match characters.next() {
                    Some((_, escaped @ ('"' | '\\'))) => {
                        text.push(escaped);
                        column += 1;
                    }
                    _ => {
                        let after = Place { at: place.at + 1, column };
                        let span = self.span(place, after);
                        return Err(Diagnostic::error("unknown escape", span, r#"expected `\"` or `\\`"#)
                            .help(r"a backslash is written `\\`")
                            .into());
                    }
                },
                c => text.push(c),
            }
        }
        let end = Place { at: self.line.len(), column };
        let span = self.span(end, end);
        let start = self.span(start, self.read);
        Err(Diagnostic::error("the text does not end", span, "expected `\"`")
            .also(start, "it begins here")
            .into())
    }

    /// The error that `what` should have come next.
    pub(crate) fn expected(&mut self, what: &str) -> Box<Diagnostic> {
        let (span, found) = self.found();
        Diagnostic::error(format!("expected {what}, found {found}"), span, format!("expected {what}")).into()
    }

    /// What comes next, and what to call it.
    pub(crate) fn found(&mut self) -> (Span, String) {
        if self.at_end() {
            return (self.behind(), "the end of the line".to_owned());
        }
        let rest = self.rest();
        let length = match rest[0] {
            b'"' => rest[1..].iter().position(|&byte| byte == b'"').map_or(1, |length| length + 2),
            first if is_word(first) => rest.iter().take_while(|&&byte| is_word(byte)).count(),
            first => {
                rest.iter().take_while(|&&byte| byte == first || (first == b'=' && byte == b'>')).count()
            }
        };
        let span = self.span(self.here, self.ahead(length));
        (span, format!("`{}`", shown(&String::from_utf8_lossy(&rest[..length]))))
    }

    /// What is left of the statement: up to the comment.
    fn rest(&self) -> &'a [u8] {
        let rest = &self.line.as_bytes()[self.here.at..];
        if rest.first() == Some(&b'#') { &[] } else { rest }
    }

    fn ahead(&self, bytes: usize) -> Place {
        // Lossless: a file is far shorter than 4 GiB. One column a byte: this is ASCII.
        Place { at: self.here.at + bytes, column: self.here.column + bytes as u32 }
    }

    fn advance(&mut self, bytes: usize) {
        if bytes > 0 {
            self.here = self.ahead(bytes);
            self.read = self.here;
        }
    }

    fn span(&self, from: Place, to: Place) -> Span {
        let offset = |place: Place| self.offset + place.at as u32;
        Span { line: self.number, column: from.column, start: offset(from), end: offset(to) }
    }
}

/// A line as text, if all its bytes are UTF-8 and all its characters may stand where they do.
pub(crate) fn check_characters(bytes: &[u8], number: u32, offset: u32) -> Parsed<&str> {
    if bytes.iter().all(|&byte| matches!(byte, b' '..=b'~' | b'\t')) {
        return Ok(std::str::from_utf8(bytes).expect("ASCII is UTF-8"));
    }
    let place = |before: &str, length: usize| {
        let start = offset + before.len() as u32;
        let column = before.chars().count() as u32 + 1;
        Span { line: number, column, start, end: start + length as u32 }
    };
    let line = std::str::from_utf8(bytes).map_err(|error| {
        let (valid, rest) = bytes.split_at(error.valid_up_to());
        // Lossless: the library has just said so.
        let span = place(&String::from_utf8_lossy(valid), error.error_len().unwrap_or(rest.len()));
        Diagnostic::error("not UTF-8", span, format!("this byte is 0x{:02x}", rest[0]))
            .help("scenarios are text in UTF-8")
    })?;
    let (mut quoted, mut escaped, mut comment) = (false, false, false);
    for (at, c) in line.char_indices() {
        let bad = |message: String, label: &str| {
            Box::new(Diagnostic::error(message, place(&line[..at], c.len_utf8()), label))
        };
        if is_invisible(c) {
            let message = format!("the character U+{:04X} is not allowed", u32::from(c));
            return Err(bad(message, "expected text that can be seen"));
        }
        if !c.is_ascii() && !quoted && !comment {
            let sign = shown(c.encode_utf8(&mut [0; 4]));
            let message = format!("`{sign}` (U+{:04X}) outside of a title or a comment", u32::from(c));
            let error = bad(message, "expected ASCII: names are letters, digits and `_`");
            return Err(match ascii_for(c) {
                Some(ascii) => Box::new(error.help(format!("write {ascii}"))),
                None => error,
            });
        }
        quoted ^= c == '"' && !escaped && !comment;
        comment |= c == '#' && !quoted;
        escaped = c == '\\' && quoted && !escaped;
    }
    Ok(line)
}

/// Control characters, and those that make a line look like another one.
fn is_invisible(c: char) -> bool {
    (c.is_control() && c != '\t')
        || matches!(c, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

/// What was meant by a character that some editors put in of their own accord.
fn ascii_for(c: char) -> Option<&'static str> {
    Some(match c {
        '“' | '”' | '„' => "`\"`",
        '…' => "`..`",
        '⇒' => "`=>`",
        '≤' => "`<=`",
        '≥' => "`>=`",
        '≠' => "`!=`",
        '–' | '−' | '‐' => "`-`",
        '\u{a0}' | '\u{202f}' => "a plain blank",
        _ => return None,
    })
}
