//! What verbs are applied to: names, numbers, sizes, regions.

use crate::ast::{MAX_PAGES, Name, Pages, Region, Size, Word};
use crate::diagnostic::{Diagnostic, Span, closest, shown};
use crate::lex::{Mark, Parsed};
use crate::parse::{NO_BLANK, RESERVED, Statement};

/// `a`, `b` or `c`, each in quotes for a message.
pub(super) fn listing<'a>(words: impl IntoIterator<Item = &'a str>) -> String {
    let mut words: Vec<_> = words.into_iter().map(|word| format!("`{word}`")).collect();
    let last = words.pop().unwrap_or_default();
    if words.is_empty() { last } else { format!("{} or {last}", words.join(", ")) }
}

impl Statement<'_, '_> {
    /// The error that `what` should have come next, with the candidate that was probably meant.
    pub(super) fn unexpected<'c>(
        &mut self,
        what: &str,
        candidates: impl IntoIterator<Item = &'c str>,
    ) -> Box<Diagnostic> {
        let error = self.cursor.expected(what);
        let start = self.cursor.mark();
        let word = self.cursor.word();
        self.cursor.back(start);
        match closest(word, candidates) {
            Some(meant) => Box::new(error.help(format!("did you mean `{meant}`?"))),
            None => error,
        }
    }

    /// One of a closed set of words.
    pub(super) fn choice<W: Word>(&mut self) -> Parsed<W> {
        let start = self.cursor.mark();
        if let Some(word) = W::from_word(self.cursor.word()) {
            return Ok(word);
        }
        self.cursor.back(start);
        let words = W::ALL.iter().map(|word| word.word());
        let what = listing(words.clone());
        Err(self.unexpected(&what, words))
    }

    /// This word.
    pub(super) fn keyword(&mut self, keyword: &str) -> Parsed<()> {
        if self.has_keyword(keyword) {
            Ok(())
        } else {
            Err(self.unexpected(&format!("`{keyword}`"), [keyword]))
        }
    }

    /// Reads this word if it comes next.
    pub(super) fn has_keyword(&mut self, keyword: &str) -> bool {
        let start = self.cursor.mark();
        let found = self.cursor.word() == keyword;
        if !found {
            self.cursor.back(start);
        }
        found
    }

    /// This symbol, blanks before it or not.
    pub(super) fn symbol(&mut self, symbol: &str) -> Parsed<()> {
        self.cursor.skip_blanks();
        if self.cursor.eat(symbol) { Ok(()) } else { Err(self.cursor.expected(&format!("`{symbol}`"))) }
    }

    /// A name: a letter or `_`, then letters, digits and `_`.
    pub(super) fn name(&mut self, what: &str) -> Parsed<Name> {
        let start = self.cursor.mark();
        let word = self.cursor.word();
        if word.is_empty() || word.starts_with(|c: char| c.is_ascii_digit()) {
            self.cursor.back(start);
            return Err(self.cursor.expected(what));
        }
        Ok(Name { text: self.names.intern(word), span: self.cursor.span_from(start) })
    }

    /// A name that follows a `.`.
    pub(super) fn member(&mut self, what: &str) -> Parsed<Name> {
        if matches!(self.cursor.peek(), b' ' | b'\t') {
            return Err(self.cursor.expected(what).help(NO_BLANK).into());
        }
        self.name(what)
    }

    /// A `.`, right behind what it belongs to.
    pub(super) fn dot(&mut self) -> Parsed<()> {
        if self.cursor.eat(".") { Ok(()) } else { Err(self.cursor.expected("`.`")) }
    }

    /// A word that was read already, as the name of a process.
    pub(super) fn process_name(&mut self, word: &str, span: Span) -> Parsed<Name> {
        if word.starts_with(|c: char| c.is_ascii_digit()) {
            let message = format!("`{}` is no name", shown(word));
            return Err(Diagnostic::error(message, span, "a name begins with a letter or `_`").into());
        }
        if RESERVED.contains(&word) {
            let message = format!("`{word}` is no process");
            return Err(Diagnostic::error(message, span, "expected the name of a process").into());
        }
        Ok(Name { text: self.names.intern(word), span })
    }

    /// A decimal number, or a hexadecimal one behind `0x`, of these and those between them.
    pub(super) fn number_in(&mut self, what: &str, least: u64, most: u64) -> Parsed<u64> {
        let start = self.cursor.mark();
        let word = self.cursor.word();
        if !word.starts_with(|c: char| c.is_ascii_digit()) {
            self.cursor.back(start);
            return Err(self.cursor.expected(what));
        }
        let (digits, radix) = word.strip_prefix("0x").map_or((word, 10), |digits| (digits, 16));
        let span = self.cursor.span_from(start);
        if digits.is_empty() || !digits.chars().all(|c| c.is_digit(radix)) {
            let message = format!("`{}` is no number", shown(word));
            return Err(Diagnostic::error(message, span, format!("expected {what}")).into());
        }
        // All digits: nothing else can go wrong but that there are too many.
        let number = u64::from_str_radix(digits, radix).ok();
        number.filter(|number| (least..=most).contains(number)).ok_or_else(|| {
            let message = format!("{what} cannot be {}", shown(word));
            Diagnostic::error(message, span, format!("expected {least} to {most}")).into()
        })
    }

    /// The number of a page.
    pub(super) fn page(&mut self) -> Parsed<u64> {
        self.number_in("the number of a page", 0, MAX_PAGES - 1)
    }

    /// A size of at least a page.
    pub(super) fn size(&mut self) -> Parsed<Size> {
        let start = self.cursor.mark();
        let size = self.size_or_zero()?;
        if size.pages(self.pmd_order).is_none() {
            let span = self.cursor.span_from(start);
            return Err(Diagnostic::error("a size of zero", span, "expected at least a page").into());
        }
        Ok(size)
    }

    /// A size that may be zero.
    pub(super) fn size_or_zero(&mut self) -> Parsed<Size> {
        const WHAT: &str = "a size such as `64K`, `16p` or `pmd`";
        let start = self.cursor.mark();
        let word = self.cursor.word();
        let digits = word.bytes().take_while(u8::is_ascii_digit).count();
        let (number, unit) = word.split_at(digits);
        if word.is_empty() || (number.is_empty() && unit != "pmd") {
            self.cursor.back(start);
            return Err(self.unexpected(WHAT, ["pmd"]));
        }
        let span = self.cursor.span_from(start);
        let count = if number.is_empty() { Some(1) } else { number.parse::<u64>().ok() };
        let bytes = |shift: u32| count.and_then(|count| count.checked_mul(1 << shift)).map(Size::Bytes);
        let size = match unit {
            "K" => bytes(10),
            "M" => bytes(20),
            "G" => bytes(30),
            "p" => count.map(Size::Pages),
            "pmd" => count.map(Size::Pmds),
            // Nothing is nothing in any unit.
            "" if count == Some(0) => Some(Size::Bytes(0)),
            unit => return Err(no_size(word, number, unit, span)),
        };
        let too_large = || {
            Diagnostic::error(
                format!("`{}` is too large", shown(word)),
                span,
                "expected less than 2^64 bytes",
            )
        };
        let size = size.ok_or_else(too_large)?;
        if matches!(size, Size::Bytes(bytes) if bytes % 4096 != 0) {
            let message = format!("`{}` is not a multiple of 4K", shown(word));
            return Err(Diagnostic::error(message, span, "expected whole pages").into());
        }
        size.pages_or_zero(self.pmd_order).ok_or_else(too_large)?;
        Ok(size)
    }

    /// A size that a folio can have: a power of two.
    pub(super) fn folio_size(&mut self) -> Parsed<Size> {
        let start = self.cursor.mark();
        let size = self.size()?;
        if !size.pages(self.pmd_order).is_some_and(u64::is_power_of_two) {
            let span = self.cursor.span_from(start);
            let message = format!("no folio has {size}");
            return Err(Diagnostic::error(message, span, "expected a power of two").into());
        }
        Ok(size)
    }

    /// `x`, `x[3]`, `A.x[0..16]`: whose mapping is for the caller to judge.
    pub(super) fn region(&mut self) -> Parsed<Region> {
        let start = self.cursor.mark();
        let first = self.name("a mapping")?;
        let (process, mapping) = if self.cursor.eat(".") {
            let process = self.process_name(first.as_str(), first.span)?;
            (Some(process), self.member("a mapping")?)
        } else {
            (None, first)
        };
        let pages = self.pages()?.unwrap_or(Pages::All);
        Ok(Region { process, mapping, pages, span: self.cursor.span_from(start) })
    }

    /// A region of the process itself.
    pub(super) fn own_region(&mut self, own: &Name) -> Parsed<Region> {
        let mut region = self.region()?;
        if let Some(process) = region.process.take_if(|process| process != own) {
            let message =
                format!("`{}` cannot reach into `{}`", shown(own.as_str()), shown(process.as_str()));
            return Err(Diagnostic::error(
                message,
                process.span,
                format!("expected a mapping of `{}`", shown(own.as_str())),
            )
            .help(format!("if `{0}` is meant, let the line begin with `{0}:`", shown(process.as_str())))
            .into());
        }
        region.process = None;
        Ok(region)
    }

    /// A region of a process that is named.
    pub(super) fn foreign_region(&mut self) -> Parsed<Region> {
        let region = self.region()?;
        if region.process.is_none() {
            let mapping = shown(region.mapping.as_str());
            let message = format!("whose `{mapping}`?");
            return Err(Diagnostic::error(
                message,
                region.mapping.span,
                "expected a process, `.` and its mapping",
            )
            .help(format!("a mapping of process `A` is `A.{mapping}`"))
            .into());
        }
        Ok(region)
    }

    /// `[3]`, `[0..16]`, `[16..]`, or nothing.
    pub(super) fn pages(&mut self) -> Parsed<Option<Pages>> {
        if !self.cursor.eat("[") {
            return Ok(None);
        }
        let start = self.cursor.mark();
        let first = self.page()?;
        self.cursor.skip_blanks();
        let pages = if self.cursor.eat("..") {
            self.cursor.skip_blanks();
            let end = if self.cursor.peek().is_ascii_digit() {
                Some(self.number_in("the end of a range", 0, MAX_PAGES)?)
            } else {
                None
            };
            if end.is_some_and(|end| end <= first) {
                return Err(self.no_pages(start, first));
            }
            Pages::Range { start: first, end }
        } else {
            Pages::One(first)
        };
        self.symbol("]")?;
        Ok(Some(pages))
    }

    fn no_pages(&mut self, start: Mark, first: u64) -> Box<Diagnostic> {
        let span = self.cursor.span_from(start);
        let message = format!("no page is in `{}`", shown(self.cursor.text_from(start)));
        Diagnostic::error(message, span, format!("expected an end behind {first}"))
            .help(format!("the end of a range is not in it: page {first} alone is `[{first}]`"))
            .into()
    }
}

fn no_size(word: &str, number: &str, unit: &str, span: Span) -> Box<Diagnostic> {
    let message = format!("`{}` is no size", shown(word));
    let error =
        Diagnostic::error(message, span, "expected one of the units `K`, `M`, `G`, `p` (pages) and `pmd`");
    let number = shown(number);
    let unit = match unit.to_ascii_lowercase().as_str() {
        "" => return error.help(format!("{number} pages are `{number}p`")).into(),
        "k" | "kb" | "kib" => "K",
        "m" | "mb" | "mib" => "M",
        "g" | "gb" | "gib" => "G",
        "pages" | "page" => "p",
        "pmds" => "pmd",
        _ => return error.into(),
    };
    error.help(format!("did you mean `{number}{unit}`?")).into()
}

/// An error about an unknown verb; where none is near, it lists them all.
pub(super) fn listing_verbs(
    error: Box<Diagnostic>,
    verbs: impl Iterator<Item = &'static str>,
) -> Box<Diagnostic> {
    if error.help.is_some() {
        return error;
    }
    Box::new(error.note(format!("the verbs are {}", verbs.collect::<Vec<_>>().join(", "))))
}
