//! What tests of real kernels do where there is none that they can use: say why they are skipped, or fail.

use crate::Unavailable;

/// The variable that makes a test fail instead of skipping when what it needs is missing; CI sets it to 1.
pub const VARIABLE: &str = "MAPCOUNT_REQUIRE_KERNEL";

/// Whether what a test needs has to be there.
pub fn is_required() -> bool {
    std::env::var_os(VARIABLE).is_some_and(|value| value == "1")
}

/// What `test` needs, or `None` after saying on stderr that it is skipped and why.
///
/// # Panics
/// If it is missing and [`VARIABLE`] says that it must not be.
pub fn or_skip<T>(test: &str, needed: Result<T, Unavailable>) -> Option<T> {
    match needed {
        Ok(needed) => Some(needed),
        Err(missing) if is_required() => panic!("{test}: {missing} ({VARIABLE} is 1)"),
        Err(missing) => {
            eprintln!("{test}: skipped: {missing}");
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{is_required, or_skip};
    use crate::Unavailable;

    #[test]
    fn what_is_there_is_handed_on_and_what_is_not_skips() {
        assert_eq!(or_skip("a test", Ok(1)), Some(1));
        if !is_required() {
            assert_eq!(or_skip::<u8>("a test", Err(Unavailable::new("no kernel", "boot one"))), None);
        }
    }
}
