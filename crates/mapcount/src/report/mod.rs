//! What the program prints.

pub mod layout;
