//! What is missing outside of mapcount.

use std::fmt;

/// Something outside that the work needs and that is not there: root, BTF, QEMU, a kernel image. The program
/// ends with 69.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Unavailable {
    /// What is missing.
    pub what: String,
    /// What would provide it.
    pub remedy: String,
}

impl Unavailable {
    /// `what` is missing; `remedy` would provide it.
    pub fn new(what: impl Into<String>, remedy: impl Into<String>) -> Unavailable {
        Unavailable { what: what.into(), remedy: remedy.into() }
    }
}

impl fmt::Display for Unavailable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}; {}", self.what, self.remedy)
    }
}

impl std::error::Error for Unavailable {}
