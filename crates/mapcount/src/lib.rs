//! The program `mapcount`, as a library so that its reports can be tested.
#![forbid(unsafe_code)]

pub mod cli;
pub mod report;
pub mod view;
