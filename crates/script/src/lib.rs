//! The scenario language of mapcount: parse, run, expect, trace, diff.
#![forbid(unsafe_code)]

pub mod ast;
pub mod diagnostic;
mod lex;
pub mod parse;
