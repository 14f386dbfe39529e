//! The scenario language of mapcount: parse, run, expect, trace, diff.
#![forbid(unsafe_code)]

pub mod ast;
pub mod diagnostic;
pub mod diff;
mod lex;
pub mod parse;
pub mod random;
pub mod run;
pub mod trace;
