//! Real kernels: observers of `struct page`, the subject that runs a scenario's steps as system calls, and
//! the lab that boots other kernels.
//!
//! The only crate of the workspace with unsafe code; every block says why it is sound.
#![deny(unsafe_op_in_unsafe_fn)]
#![warn(clippy::undocumented_unsafe_blocks)]

pub mod lab;
pub mod live;
pub mod observer;
pub mod require;
pub mod signals;
mod unavailable;

pub use unavailable::Unavailable;
