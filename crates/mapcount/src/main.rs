//! The `mapcount` program.
fn main() {}
