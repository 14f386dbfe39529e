//! What is wrong with a trace, where, and what would mend it.

use std::fmt;
use std::str::Utf8Error;

use mapcount_model::field::Field;
use serde_json::error::Category;

use super::node::Context;
use crate::trace::{Shape, VERSION, plain, shape};

/// Messages quote the input; a quoted line of many megabytes helps nobody.
const MAX_QUOTE: usize = 200;

/// Something wrong with a trace.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TraceError {
    /// The file's name.
    pub name: String,
    /// The line, from 1.
    pub line: u64,
    /// The column in characters, from 1: the last one that was read when the error showed.
    pub column: u64,
    /// What is wrong.
    pub message: String,
    /// What would mend it.
    pub help: String,
}

impl TraceError {
    pub(super) fn empty(name: &str) -> TraceError {
        TraceError {
            name: name.to_owned(),
            line: 1,
            column: 1,
            message: "there is no step in it".to_owned(),
            help: "a trace has one JSON object a line, one for each step".to_owned(),
        }
    }
}

impl fmt::Display for TraceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let TraceError { name, line, column, message, help } = self;
        write!(f, "{name}:{line}:{column}: {message}; {help}")
    }
}

impl std::error::Error for TraceError {}

/// Why a line could not be read.
pub(super) enum Failure {
    Utf8(Utf8Error),
    Json(serde_json::Error),
}

impl Failure {
    pub(super) fn at(self, name: &str, line: u64, text: &[u8], context: &Context) -> TraceError {
        let (bytes, message, help) = match &self {
            Failure::Utf8(error) => {
                let help = "a trace is UTF-8; the file may be damaged, compressed or of another kind";
                (error.valid_up_to() + 1, "this is not UTF-8".to_owned(), help.to_owned())
            }
            Failure::Json(error) => (error.column(), message(error, &context.path), help(error, context)),
        };
        TraceError { name: name.to_owned(), line, column: column(text, bytes), message, help }
    }
}

/// The column in characters of the byte with this column.
fn column(text: &[u8], bytes: usize) -> u64 {
    let before = &text[..bytes.saturating_sub(1).min(text.len())];
    // Each character has one byte that does not go on with another.
    let characters = before.iter().filter(|byte| **byte & 0xc0 != 0x80).count();
    characters as u64 + 1
}

fn message(error: &serde_json::Error, path: &str) -> String {
    let text = error.to_string();
    let place = format!(" at line {} column {}", error.line(), error.column());
    let text = plain(text.strip_suffix(&place).unwrap_or(&text), MAX_QUOTE);
    if path.is_empty() { text } else { format!("{}: {text}", plain(path, MAX_QUOTE)) }
}

fn help(error: &serde_json::Error, context: &Context) -> String {
    match error.classify() {
        Category::Eof => {
            "the object has to end on the line where it begins; the file may have been cut off".to_owned()
        }
        Category::Syntax | Category::Io => "each line is one JSON object and nothing else".to_owned(),
        Category::Data => context.help.clone().unwrap_or_else(|| expected(&context.path)),
    }
}

const RUNS: &str = "a list of runs [pages, value] over the folio's pages";
const FLAG: &str = "true or false";
const NUMBER: &str = "a whole number";

/// What belongs under the key at which `path` ends.
fn expected(path: &str) -> String {
    let key = path.rsplit('.').next().unwrap_or(path);
    let key = key.split('[').next().unwrap_or(key);
    let text = match key {
        "" => return "each line is an object with the keys `step` and `op` at least".to_owned(),
        "v" => return format!("the version of the format belongs here: {VERSION}"),
        "step" | "id" | "count" | "order" => return format!("`{key}` is a whole number, 0 or more"),
        "op" | "why" => return format!("`{key}` is text"),
        "kernel" | "scheme" | "scenario" | "outcome" | "kind" => "text",
        "vmas" => "a list of areas [first page, pages, permissions]",
        "map" => {
            "a list of runs [first page, pages, frame], with \"same\" behind it or a word such as \"swap\" for the frame,"
        }
        "mm_ids" => "a list of the names of two processes, null for an empty slot,",
        "mm_id_mapcount_raw" => "a list of two numbers",
        "processes" => "an object of processes, each an object of mappings,",
        "folios" => "a list of folios, each with `id`, `count` and `order`,",
        "refused" => "a list of {\"id\":…,\"why\":…}",
        "system" => "an object of numbers",
        "tail_refcount" | "kpagecount" => RUNS,
        "swapcache" => FLAG,
        "folio_mapcount" | "expected_refcount" => NUMBER,
        _ => match Field::by_key(key).and_then(shape) {
            Some(Shape::Pages) => RUNS,
            Some(Shape::Flag) => FLAG,
            Some(Shape::Number) => NUMBER,
            None if key.ends_with("_kb") || path.starts_with("system.") => NUMBER,
            None => "an object of this format",
        },
    };
    format!("{text} belongs here, or the key is left out")
}
