//! What is wrong with a trace, where, and what would mend it.

use std::fmt;
use std::str::Utf8Error;

use serde_json::error::Category;

use super::node::Context;
use crate::trace::VERSION;

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
    let text = plain(text.strip_suffix(&place).unwrap_or(&text));
    if path.is_empty() { text } else { format!("{}: {text}", plain(path)) }
}

fn help(error: &serde_json::Error, context: &Context) -> String {
    match error.classify() {
        Category::Eof => {
            "the object has to end on the line where it begins; the file may have been cut off".to_owned()
        }
        Category::Syntax | Category::Io => "each line is one JSON object and nothing else".to_owned(),
        Category::Data => context
            .help
            .clone()
            .unwrap_or_else(|| format!("{}, or the key left out", expected(&context.path))),
    }
}

/// What belongs under the key at which `path` ends.
fn expected(path: &str) -> String {
    // `A.x.map` of a process and `folios[3].map` are told apart by nothing but their keys: those are unique.
    let key = path.rsplit('.').next().unwrap_or(path);
    let key = key.split('[').next().unwrap_or(key);
    let text = match key {
        "v" => return format!("the version of the format belongs here: {VERSION}"),
        "vmas" => "areas [first page, pages, permissions] belong here, in the order of the pages",
        "map" => {
            "runs [first page, pages, frame], [first page, pages, frame, \"same\"] or [first page, pages, \"swap\"] belong here, in the order of the pages"
        }
        "kind" => "one of anon, file, shmem, hugetlb, ksm, zero belongs here",
        "mm_ids" => "two names of processes belong here, null for an empty slot",
        "mm_id_mapcount_raw" => "two numbers belong here",
        "processes" => "an object of processes, each an object of mappings, belongs here",
        "folios" => {
            "a list of folios belongs here, each with `id`, `count` and `order`, in the order of their frames"
        }
        "refused" => "a list of {\"id\":…,\"why\":…} belongs here",
        "" => "each line is an object with the keys `step` and `op` at least",
        _ => return format!("a value as in the format's description belongs under `{}`", plain(key)),
    };
    text.to_owned()
}

/// `text` cut to a length fit for a message, and without characters that would act on a terminal.
fn plain(text: &str) -> String {
    let mut plain = String::new();
    for (index, character) in text.chars().enumerate() {
        if index == MAX_QUOTE {
            plain.push('…');
            break;
        }
        if character.is_control() { plain.extend(character.escape_default()) } else { plain.push(character) }
    }
    plain
}
