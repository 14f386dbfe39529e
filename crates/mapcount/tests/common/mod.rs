//! What tests of several kinds of files share.

use std::path::Path;
use std::{env, fs};

/// Compares `actual` with the file, or writes it there if `MAPCOUNT_BLESS` is set.
pub(crate) fn compare_or_bless(file: &Path, actual: &str) -> Result<(), String> {
    if env::var_os("MAPCOUNT_BLESS").is_some() {
        return fs::write(file, actual).map_err(|error| format!("{}: {error}", file.display()));
    }
    let expected = fs::read_to_string(file).map_err(|error| format!("{}: {error}", file.display()))?;
    let differs = |(_, (old, new)): &(usize, (&str, &str))| old != new;
    match expected.lines().zip(actual.lines()).enumerate().find(differs) {
        _ if expected == actual => Ok(()),
        Some((line, (old, new))) => Err(format!("{}:{}:\n- {old}\n+ {new}", file.display(), line + 1)),
        None => Err(format!("{}: the number of lines differs", file.display())),
    }
}

/// `text` without ANSI escapes.
pub(crate) fn without_escapes(text: &str) -> String {
    let mut plain = String::new();
    let mut rest = text;
    while let Some(start) = rest.find('\u{1b}') {
        plain.push_str(&rest[..start]);
        let end = rest[start..].find('m').expect("an escape ends with m");
        rest = &rest[start + end + 1..];
    }
    plain + rest
}
