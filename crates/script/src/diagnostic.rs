//! What is wrong, and where: errors of the parser and findings of a run, shown as a compiler would.

use std::fmt;
use std::fmt::Write;

mod render;
mod suggest;

pub use suggest::{closest, shown};

/// How many errors of a file are told in full; of the others there is only the number.
pub const SHOWN_ERRORS: usize = 20;

/// A place in a file.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Span {
    /// The line, from 1; 0 for no place in particular.
    pub line: u32,
    /// The column of the first character, in characters from 1.
    pub column: u32,
    /// The offset of the first byte in the file.
    pub start: u32,
    /// The offset behind the last byte, on the same line. Equal to `start` for a place between two characters.
    pub end: u32,
}

impl Span {
    /// The file as a whole, or no file at all.
    pub const NOWHERE: Span = Span { line: 0, column: 0, start: 0, end: 0 };

    /// From where this begins to where `last` ends; both stand on one line.
    pub fn to(self, last: Span) -> Span {
        Span { end: last.end, ..self }
    }
}

impl Default for Span {
    fn default() -> Span {
        Span::NOWHERE
    }
}

/// How bad it is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Severity {
    /// Does not stop anything.
    Warning,
    /// Does.
    Error,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Severity::Warning => "warning",
            Severity::Error => "error",
        })
    }
}

/// A remark at a place.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Label {
    /// The place.
    pub span: Span,
    /// The remark; may be empty.
    pub text: String,
}

/// Something wrong: in a scenario, or with what came of running it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Diagnostic {
    /// How bad it is.
    pub severity: Severity,
    /// What is wrong, in a line.
    pub message: String,
    /// Where.
    pub span: Span,
    /// The remark at that place: what was expected there.
    pub label: String,
    /// Other places that have to do with it.
    pub labels: Vec<Label>,
    /// What else there is to know, each a line or more.
    pub notes: Vec<String>,
    /// What would mend it.
    pub help: Option<String>,
}

impl Diagnostic {
    /// An error.
    pub fn error(message: impl Into<String>, span: Span, label: impl Into<String>) -> Diagnostic {
        Diagnostic {
            severity: Severity::Error,
            message: message.into(),
            span,
            label: label.into(),
            labels: Vec::new(),
            notes: Vec::new(),
            help: None,
        }
    }

    /// A warning.
    pub fn warning(message: impl Into<String>, span: Span, label: impl Into<String>) -> Diagnostic {
        Diagnostic { severity: Severity::Warning, ..Diagnostic::error(message, span, label) }
    }

    /// The same, with a remark at another place.
    pub fn also(mut self, span: Span, text: impl Into<String>) -> Diagnostic {
        self.labels.push(Label { span, text: text.into() });
        self
    }

    /// The same, with something else to know.
    pub fn note(mut self, note: impl Into<String>) -> Diagnostic {
        self.notes.push(note.into());
        self
    }

    /// The same, with what would mend it.
    pub fn help(mut self, help: impl Into<String>) -> Diagnostic {
        self.help = Some(help.into());
        self
    }

    /// The message, the lines in question with the labels, notes and help: several lines, the last
    /// one without its end. `source` is the file that the spans are of.
    pub fn render(&self, file_name: &str, source: &[u8], color: bool) -> String {
        render::render(self, file_name, source, color)
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.span != Span::NOWHERE {
            write!(f, "{}:{}: ", self.span.line, self.span.column)?;
        }
        write!(f, "{}: {}", self.severity, self.message)
    }
}

impl std::error::Error for Diagnostic {}

/// What is wrong with a file. Never empty.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Diagnostics {
    /// The first ones, in the order of the file; at most [`SHOWN_ERRORS`].
    pub shown: Vec<Diagnostic>,
    /// How many more there are.
    pub omitted: usize,
    /// Whether the file was read to its end; if not there may be more than `omitted`.
    pub complete: bool,
}

impl Diagnostics {
    /// How many there are.
    pub fn count(&self) -> usize {
        self.shown.len() + self.omitted
    }

    /// All of them one below the other, with blank lines between, and the number of those not shown.
    pub fn render(&self, file_name: &str, source: &[u8], color: bool) -> String {
        let mut text = String::new();
        for diagnostic in &self.shown {
            text.push_str(&diagnostic.render(file_name, source, color));
            text.push_str("\n\n");
        }
        if let Some(rest) = self.rest() {
            // Writing to a string cannot fail.
            let _ = write!(text, "{file_name}: {rest}\n\n");
        }
        text.pop();
        text
    }

    fn rest(&self) -> Option<String> {
        let plural = if self.omitted == 1 { "" } else { "s" };
        match (self.omitted, self.complete) {
            (0, true) => None,
            (omitted, true) => Some(format!("and {omitted} more error{plural}")),
            (omitted, false) => Some(format!("and {omitted} more error{plural}; the rest was not read")),
        }
    }
}

impl From<Diagnostic> for Diagnostics {
    fn from(diagnostic: Diagnostic) -> Diagnostics {
        Diagnostics { shown: vec![diagnostic], omitted: 0, complete: true }
    }
}

impl fmt::Display for Diagnostics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, diagnostic) in self.shown.iter().enumerate() {
            write!(f, "{}{diagnostic}", if index == 0 { "" } else { "\n" })?;
        }
        self.rest().iter().try_for_each(|rest| write!(f, "\n{rest}"))
    }
}

impl std::error::Error for Diagnostics {}
