//! An executable model of how Linux counts the mappings and the references of its memory: every scheme of
//! counting from 2.6.38 to 7.3, and proposals, on one machine with page tables, faults, fork, copy-on-write
//! and splits.
//!
//! Start at [`profile::Profile`] (which kernel), [`machine::Machine`] (its state) and `ops` (what mm does).
//! To use a scheme without the machine, see [`rmap`].
#![forbid(unsafe_code)]

pub mod counters;
pub mod event;
pub mod field;
pub mod invariant;
pub mod layout;
pub mod machine;
pub mod ops;
pub mod policy;
pub mod profile;
pub mod query;
pub mod release;
pub mod rmap;
pub mod scheme;
pub mod smaps;
pub mod snapshot;
pub mod stats;
pub mod truth;
pub mod units;
pub mod verdict;
