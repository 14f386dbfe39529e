//! What the program prints.

mod change;
mod kernel_names;
mod legend;
mod merge;
mod paint;
mod phases;
mod scene;

pub mod layout;
pub mod side_by_side;
