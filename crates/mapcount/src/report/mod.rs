//! What the program prints.

mod change;
mod kernel_names;
mod legend;
mod merge;
mod paint;
mod phases;
mod scene;

pub mod calls;
pub mod conform;
pub mod diff;
pub mod explain;
pub mod inspect;
pub mod kernels;
pub mod layout;
pub mod schemes;
pub mod side_by_side;
pub mod text;
