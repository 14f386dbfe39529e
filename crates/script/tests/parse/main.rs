//! The front end of the scenario language: what parses, as what, and what is said of what does not.

mod errors;
mod forms;
mod input;
mod round_trip;
mod scenarios;
mod tree;
