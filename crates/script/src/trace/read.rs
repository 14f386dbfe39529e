//! Reading a trace, a recording most of all. Whatever the bytes are, the answer is steps or errors with
//! their places; what is read takes no more memory than a few times its text, since runs stay runs.

mod error;
mod node;
mod objects;

use std::collections::BTreeMap;

use serde::de::DeserializeSeed;

pub use error::TraceError;

use super::Step;
use node::{Context, NodeSeed};

/// Reading stops at so many errors: those behind them seldom tell anything new.
const MAX_ERRORS: usize = 20;

/// A trace that was read.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Recording {
    /// The file's name, as given to [`read`].
    pub name: String,
    /// The steps, in order.
    pub steps: Vec<Step>,
    /// Keys that nobody knows here. They are not compared, which is worth a warning.
    pub ignored: Vec<Ignored>,
}

/// A key that is not part of the format.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Ignored {
    /// The line where it stands first, from 1.
    pub line: u64,
    /// Where it stands, `folios[].KEY` for instance.
    pub key: String,
}

/// Reads a trace: one JSON object a line, steps counted up. Blank lines are passed over.
///
/// # Errors
/// All that is wrong with the first lines that are wrong. No input panics.
pub fn read(bytes: &[u8], name: &str) -> Result<Recording, Vec<TraceError>> {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let mut context = Context::default();
    let mut steps = Vec::new();
    let mut errors = Vec::new();
    for (number, line) in (1_u64..).zip(bytes.split(|byte| *byte == b'\n')) {
        if line.iter().all(u8::is_ascii_whitespace) {
            continue;
        }
        context.start_line(number);
        match step(line, &mut context) {
            Ok(step) => steps.push(step),
            Err(failure) => errors.push(failure.at(name, number, line, &context)),
        }
        if errors.len() == MAX_ERRORS {
            break;
        }
    }
    if steps.is_empty() && errors.is_empty() {
        errors.push(TraceError::empty(name));
    }
    if !errors.is_empty() {
        return Err(errors);
    }
    let ignored = in_order(context.ignored);
    Ok(Recording { name: name.to_owned(), steps, ignored })
}

fn step(line: &[u8], context: &mut Context) -> Result<Step, error::Failure> {
    let text = std::str::from_utf8(line).map_err(error::Failure::Utf8)?;
    let mut json = serde_json::Deserializer::from_str(text);
    let step = NodeSeed::<Step>::new(context).deserialize(&mut json).map_err(error::Failure::Json)?;
    context.path.clear();
    json.end().map_err(error::Failure::Json)?;
    Ok(step)
}

fn in_order(keys: BTreeMap<String, u64>) -> Vec<Ignored> {
    let mut ignored: Vec<Ignored> = keys.into_iter().map(|(key, line)| Ignored { line, key }).collect();
    ignored.sort_by_key(|ignored| ignored.line);
    ignored
}
