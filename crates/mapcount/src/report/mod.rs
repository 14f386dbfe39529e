//! What the program prints.

pub mod diff;
pub mod explain;
pub mod kernels;
pub mod layout;
pub mod schemes;
pub mod text;
