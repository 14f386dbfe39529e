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

/// What is missing where the kernel does not let even root read its memory; `None` where it does.
pub(crate) fn locked_down() -> Option<Unavailable> {
    let read = |path| std::fs::read_to_string(path).unwrap_or_default();
    let is = is_confidential(&read("/sys/kernel/security/lockdown"), &read("/proc/cmdline"));
    is.then(|| {
        Unavailable::new(
            "this kernel is locked down (confidentiality): nobody may read its memory",
            "boot it without lockdown=confidentiality, or use --observer proc",
        )
    })
}

/// By the state that securityfs shows, or by the command line where that is not mounted.
fn is_confidential(state: &str, command_line: &str) -> bool {
    state.contains("[confidentiality]")
        || state.is_empty() && command_line.split_whitespace().any(|word| word == "lockdown=confidentiality")
}

#[cfg(test)]
mod tests {
    use super::is_confidential;

    #[test]
    fn only_the_strictest_lockdown_forbids_reading() {
        assert!(is_confidential("none integrity [confidentiality]\n", ""));
        assert!(!is_confidential("none [integrity] confidentiality\n", "lockdown=confidentiality"));
        assert!(is_confidential("", "quiet lockdown=confidentiality"));
        assert!(!is_confidential("", "quiet lockdown=integrity"));
    }
}
