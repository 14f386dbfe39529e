//! The suites of the archive that have kernels.

use super::sources::Part;

/// The releases, oldest first.
pub(super) const NAMES: [&str; 5] = ["bullseye", "bookworm", "trixie", "forky", "sid"];

/// A suite of the archive.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Suite {
    /// Its name on the server.
    pub(super) name: String,
    /// The part of the archive that it is in.
    pub(super) part: Part,
}

/// The suites with the newest kernels, whose indexes are short.
pub(super) fn updates() -> Vec<Suite> {
    let named = |name: String, part| Suite { name, part };
    // Everything but the last becomes a release; a suite that does not exist yet, or no more, is passed over.
    let releases = &NAMES[..NAMES.len() - 1];
    let security = releases.iter().map(|name| named(format!("{name}-security"), Part::Security));
    let backports = releases.iter().map(|name| named(format!("{name}-backports"), Part::Main));
    security.chain(backports).chain([named("experimental".to_owned(), Part::Main)]).collect()
}

/// The releases themselves, whose indexes are long: other kernels than the newest of a release.
pub(super) fn releases() -> Vec<Suite> {
    NAMES.iter().map(|name| Suite { name: (*name).to_owned(), part: Part::Main }).collect()
}
