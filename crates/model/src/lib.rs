//! An executable model of how Linux counts the mappings and the references of its memory.
#![forbid(unsafe_code)]

pub mod field;
pub mod layout;
pub mod release;
pub mod units;
