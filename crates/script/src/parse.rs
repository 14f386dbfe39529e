//! Reading a scenario.
//!
//! A statement is a line, and an error ends its line, never the reading: a file's errors are all
//! told, one a line. Time is linear in the size of the file.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::ast::{Action, Errno, Item, Outcome, Scenario, Step, Word, words};
use crate::diagnostic::{Diagnostic, Diagnostics, SHOWN_ERRORS, Span, closest, shown};
use crate::lex::{Cursor, Mark, Parsed, check_characters};

mod expect;
mod kernel;
mod kernels;
mod operand;
mod process;

/// The largest file that is read, in bytes. Recorded and generated scenarios are far smaller; what is
/// larger is no scenario, and would take some ten times its size in memory.
pub const MAX_BYTES: u64 = 64 << 20;

/// Behind this many errors a file is no scenario, and the rest of it is not read.
const MAX_ERRORS: usize = 1000;

/// NUMA nodes that Linux can have.
const MAX_NODES: u64 = 1024;

/// What to say where `x [3]` or `A. x` stands.
const NO_BLANK: &str = "a region is written without blanks: `A.x[3]`";

/// Names that stand for somebody already.
const RESERVED: [&str; 2] = ["kernel", "system"];

words! {
    /// What a line that is no step begins with.
    enum Directive {
        /// A line for people.
        Title = "title",
        /// The order of a PMD-sized folio.
        PmdOrder = "pmd_order",
        /// Where the scenario applies.
        Kernels = "kernels",
        /// NUMA nodes.
        Nodes = "nodes",
        /// No directive, but it is told from steps in the same way.
        Expect = "expect",
    }
}

/// Refuses a file of `length` bytes that is too large to be read. `parse` does this too; a program
/// that knows the length beforehand need not read the file at all.
pub fn check_length(length: u64) -> Result<(), Diagnostics> {
    if length <= MAX_BYTES {
        return Ok(());
    }
    let message = format!("the file has {length} bytes, more than the {MAX_BYTES} that a scenario may have");
    Err(Diagnostic::error(message, Span::NOWHERE, "").into())
}

/// Reads a scenario: UTF-8 with or without a byte order mark, lines that end in LF or CR LF.
pub fn parse(bytes: &[u8]) -> Result<Scenario, Diagnostics> {
    check_length(bytes.len() as u64)?;
    let start = if bytes.starts_with(b"\xef\xbb\xbf") { 3 } else { 0 };
    let mut reader = Reader::default();
    let mut errors = Diagnostics { shown: Vec::new(), omitted: 0, complete: true };
    let mut offset = start;
    for (line, number) in bytes[start..].split(|&byte| byte == b'\n').zip(1..) {
        let text = line.strip_suffix(b"\r").unwrap_or(line);
        // Lossless: the length was checked.
        if let Err(error) = reader.line(text, number, offset as u32) {
            if errors.shown.len() < SHOWN_ERRORS {
                errors.shown.push(*error);
            } else {
                errors.omitted += 1;
            }
            if errors.count() == MAX_ERRORS {
                errors.complete = bytes.len() <= offset + line.len() + 1;
                break;
            }
        }
        offset += line.len() + 1;
    }
    if errors.shown.is_empty() { Ok(reader.scenario) } else { Err(errors) }
}

/// The names met so far: equal names share their text.
#[derive(Default)]
struct Names(BTreeSet<Arc<str>>);

impl Names {
    fn intern(&mut self, text: &str) -> Arc<str> {
        if let Some(known) = self.0.get(text) {
            return Arc::clone(known);
        }
        let new: Arc<str> = text.into();
        self.0.insert(Arc::clone(&new));
        new
    }
}

/// A scenario that is being read.
#[derive(Default)]
struct Reader {
    scenario: Scenario,
    names: Names,
    /// Where each directive stands.
    directives: Vec<(Directive, Span)>,
    first_step: Option<Span>,
}

/// A statement that is being read.
struct Statement<'a, 'n> {
    cursor: Cursor<'a>,
    names: &'n mut Names,
    pmd_order: u8,
}

impl Reader {
    fn line(&mut self, bytes: &[u8], number: u32, offset: u32) -> Parsed<()> {
        let line = check_characters(bytes, number, offset)?;
        let cursor = Cursor::new(line, number, offset);
        let pmd_order = self.scenario.pmd_order;
        let mut statement = Statement { cursor, names: &mut self.names, pmd_order };
        if statement.cursor.at_end() {
            return Ok(());
        }
        let start = statement.cursor.mark();
        let word = statement.cursor.word();
        let span = statement.cursor.span_from(start);
        statement.cursor.skip_blanks();
        if !word.is_empty() && statement.cursor.eat(":") {
            // Also if something is wrong with it: a directive behind it is no less out of place.
            self.first_step.get_or_insert(span);
            let step = statement.step(start, word, span)?;
            self.scenario.items.push(Item::Step(step));
            return Ok(());
        }
        match Directive::from_word(word) {
            Some(Directive::Expect) => {
                let expect = statement.expect(start)?;
                self.scenario.items.push(Item::Expect(expect));
                Ok(())
            }
            Some(directive) => {
                let cursor = statement.cursor;
                self.directive(directive, span, cursor)
            }
            None => Err(statement.not_a_statement(start, word, span)),
        }
    }

    /// A directive, from behind its word.
    fn directive(&mut self, directive: Directive, span: Span, cursor: Cursor<'_>) -> Parsed<()> {
        if let Some((_, first)) = self.directives.iter().find(|(other, _)| *other == directive) {
            let message = format!("`{directive}` is given twice");
            return Err(Diagnostic::error(message, span, "expected at most once")
                .also(*first, "first here")
                .into());
        }
        if let Some(first) = self.first_step {
            let message = format!("`{directive}` behind the first step");
            return Err(Diagnostic::error(message, span, "directives stand before the steps")
                .also(first, "the first step")
                .into());
        }
        self.directives.push((directive, span));
        let pmd_order = self.scenario.pmd_order;
        let mut statement = Statement { cursor, names: &mut self.names, pmd_order };
        match directive {
            Directive::Title => self.scenario.title = Some(statement.cursor.quoted()?),
            Directive::PmdOrder => {
                // Lossless: at most 9.
                self.scenario.pmd_order = statement.number_in("an order", 1, 9)? as u8;
            }
            Directive::Kernels => self.scenario.kernels = Some(statement.kernel_set()?),
            // Lossless: at most MAX_NODES.
            Directive::Nodes => {
                self.scenario.nodes = statement.number_in("a number of nodes", 1, MAX_NODES)? as u32
            }
            Directive::Expect => unreachable!("not a directive"),
        }
        statement.end()
    }
}

impl Statement<'_, '_> {
    /// A step, from behind the colon.
    fn step(&mut self, start: Mark, subject: &str, span: Span) -> Parsed<Step> {
        let action = if subject == "kernel" {
            Action::Kernel(self.kernel_action()?)
        } else {
            let name = self.process_name(subject, span)?;
            let verb = self.process_action(&name)?;
            Action::Process { name, verb }
        };
        let span = self.cursor.span_from(start);
        let text = collapse(self.cursor.text_from(start));
        let (outcome, outcome_span) = self.outcome()?;
        self.end()?;
        Ok(Step { span, text, action, outcome, outcome_span })
    }

    fn outcome(&mut self) -> Parsed<(Outcome, Span)> {
        let behind = self.cursor.behind();
        self.cursor.skip_blanks();
        if !self.cursor.eat("=>") {
            return Ok((Outcome::Ok, behind));
        }
        let start = self.cursor.mark();
        let word = self.cursor.word();
        let outcome = match word {
            "ok" => Outcome::Ok,
            "any" => Outcome::Any,
            word => match Word::from_word(word) {
                Some(errno) => Outcome::Errno(errno),
                None => {
                    self.cursor.back(start);
                    let errnos = Errno::ALL.iter().map(|errno| errno.word());
                    let what = "`ok`, `any` or the name of an error";
                    return Err(self.unexpected(what, errnos.chain(["ok", "any"])));
                }
            },
        };
        Ok((outcome, self.cursor.span_from(start)))
    }

    /// Nothing may follow.
    fn end(&mut self) -> Parsed<()> {
        if self.cursor.at_end() {
            return Ok(());
        }
        let (span, found) = self.cursor.found();
        let error =
            Diagnostic::error(format!("unexpected {found}"), span, "expected the end of the statement");
        let blank = matches!(self.cursor.peek(), b'[' | b'.').then_some(NO_BLANK);
        Err(blank.into_iter().fold(error, Diagnostic::help).into())
    }

    fn not_a_statement(&mut self, start: Mark, word: &str, span: Span) -> Box<Diagnostic> {
        if word.is_empty() {
            self.cursor.back(start);
            return self.cursor.expected("a statement");
        }
        let message = format!("`{}` begins no statement", shown(word));
        let error = Diagnostic::error(
            message,
            span,
            "expected a process or `kernel` and `:`, a directive, or `expect`",
        );
        let directives = Directive::ALL.iter().map(|directive| directive.word());
        let help = if process::is_verb(word) {
            Some(format!("say who does it: `A: {word} …`"))
        } else if kernel::is_verb(word) {
            Some(format!("say who does it: `kernel: {word} …`"))
        } else {
            closest(word, directives.chain(["kernel:"])).map(|word| format!("did you mean `{word}`?"))
        };
        Box::new(match help {
            Some(help) => error.help(help),
            None => error,
        })
    }
}

/// `text` with each run of blanks as one.
fn collapse(text: &str) -> Box<str> {
    if !text.contains('\t') && !text.contains("  ") {
        return text.into();
    }
    text.split_ascii_whitespace().collect::<Vec<_>>().join(" ").into()
}
