//! The scenario language of mapcount: parse, run, expect, trace, diff.
#![forbid(unsafe_code)]

pub mod diff;
pub mod trace;
