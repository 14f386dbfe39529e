//! Real kernels: observers of `struct page`, the subject that runs a scenario's steps as system calls, and
//! the lab that boots other kernels.
//!
//! The only crate of the workspace with unsafe code; every block says why it is sound.
#![deny(unsafe_op_in_unsafe_fn)]
#![warn(clippy::undocumented_unsafe_blocks)]

mod bpf;
pub mod btf;
pub mod census;
pub mod conform;
pub mod driven;
mod fields;
pub mod inspect;
mod kcore;
pub mod lab;
pub mod layout;
pub mod live;
mod memory;
mod objects;
pub mod observer;
mod procfs;
pub mod require;
mod settings;
pub mod signals;
mod statistics;
pub mod subject;
mod thp;
mod unavailable;
mod vmemmap;

pub use unavailable::Unavailable;
