//! The parts of the program `mapcount` that do not read its command line.
#![forbid(unsafe_code)]

pub mod report;
