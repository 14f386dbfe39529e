//! Kernels: a scheme of counting, a policy, and what was configured. The table of modelled releases.

use std::fmt;

use crate::policy::Policy;
use crate::release::Release;
use crate::scheme::{self, Scheme};

/// The suffix that stands for a kernel built with CONFIG_NO_PAGE_MAPCOUNT.
pub const NO_PAGE_MAPCOUNT: &str = "-no-page-mapcount";

/// The modelled releases: each differs from the one before it in its scheme or its policy, or was recorded.
pub static RELEASES: &[Release] = &[
    Release::new(2, 6, 38),
    Release::new(3, 2, 0),
    Release::new(3, 8, 0),
    Release::new(4, 4, 0),
    Release::new(4, 5, 0),
    Release::new(4, 7, 0),
    Release::new(4, 8, 0),
    Release::new(5, 10, 0),
    Release::new(5, 19, 0),
    Release::new(6, 1, 0),
    Release::new(6, 2, 0),
    Release::new(6, 3, 0),
    Release::new(6, 8, 0),
    Release::new(6, 9, 0),
    Release::new(6, 10, 0),
    Release::new(6, 11, 0),
    Release::new(6, 12, 0),
    Release::new(6, 14, 0),
    Release::new(6, 15, 0),
    Release::new(6, 17, 0),
    Release::new(6, 18, 0),
    Release::new(6, 19, 0),
    Release::new(7, 0, 0),
    Release::new(7, 2, 0),
    Release::new(7, 3, 0),
];

/// The kernels that recordings exist for, oldest first: names of folders of the repository's `recordings`. A test
/// of this module compares them with the folders.
pub static RECORDED: &[&str] = &[
    "2.6.39.3",
    "4.4.1",
    "4.5.7",
    "4.8.15",
    "5.10.0-32-cloud-amd64",
    "6.1.0-54-cloud-amd64",
    "6.2.1",
    "6.8.0",
    "6.11.11",
    "6.12.107+deb13-cloud-amd64",
    "6.18.15+deb13-cloud-amd64",
    "7.2.12+deb14-cloud-amd64",
    "7.2.13-no-page-mapcount",
];

/// A kernel as the model runs it.
#[derive(Clone)]
pub struct Profile {
    /// The name it was asked for by: a release, the name of a recorded kernel, a scheme's id.
    pub name: String,
    /// The release whose policy holds.
    pub release: Release,
    /// The modelled release of [`RELEASES`] that it resolves to.
    pub base: Release,
    /// How it counts.
    pub scheme: &'static dyn Scheme,
    /// What it does.
    pub policy: Policy,
}

/// Why a name is no kernel.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum UnknownKernel {
    /// Neither a release nor a scheme.
    NotAName(String),
    /// Older than the first release with transparent huge pages.
    TooOld(Release),
    /// Newer than the newest modelled release.
    TooNew(Release),
    /// CONFIG_NO_PAGE_MAPCOUNT came with 6.15.
    NoSuchOption(Release),
}

impl fmt::Display for UnknownKernel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let first = RELEASES[0];
        let last = RELEASES[RELEASES.len() - 1];
        match self {
            UnknownKernel::NotAName(name) => write!(
                f,
                "`{name}` is neither a kernel release ({first} to {last}, such as 6.12 or 7.2{NO_PAGE_MAPCOUNT}) nor a scheme's id"
            ),
            UnknownKernel::TooOld(release) => {
                write!(f, "{release} is older than {first}, the first release with transparent huge pages")
            }
            UnknownKernel::TooNew(release) => {
                write!(f, "{release} is newer than {last}, the newest release that is modelled")
            }
            UnknownKernel::NoSuchOption(release) => {
                write!(f, "{release} has no CONFIG_NO_PAGE_MAPCOUNT, which came with 6.15")
            }
        }
    }
}

impl std::error::Error for UnknownKernel {}

impl Profile {
    /// The kernel of this name: `6.12`, `6.12.107+deb13-cloud-amd64`, `7.2-no-page-mapcount`, or the id of a
    /// scheme, which runs with the policy of the release that the scheme names.
    pub fn resolve(name: &str) -> Result<Profile, UnknownKernel> {
        if let Some(scheme) = scheme::by_id(name) {
            return Ok(Profile { name: name.to_owned(), scheme, ..Profile::resolve(scheme.info().runs_as)? });
        }
        let (text, no_page_mapcount) = match name.strip_suffix(NO_PAGE_MAPCOUNT) {
            Some(text) => (text, true),
            None => (name, false),
        };
        let release = Release::parse(text).ok_or_else(|| UnknownKernel::NotAName(name.to_owned()))?;
        if release < RELEASES[0] {
            return Err(UnknownKernel::TooOld(release));
        }
        if release.series() > RELEASES[RELEASES.len() - 1].series() {
            return Err(UnknownKernel::TooNew(release));
        }
        let scheme = scheme::ALL.iter().copied().find(|scheme| {
            let is_option = scheme.info().id == "no-page-mapcount";
            is_option == no_page_mapcount
                && scheme.info().kernels.is_some_and(|kernels| kernels.contains(release))
        });
        let scheme = scheme.ok_or(UnknownKernel::NoSuchOption(release))?;
        let base = RELEASES.iter().rev().find(|base| base.series() <= release.series());
        Ok(Profile {
            name: name.to_owned(),
            release,
            base: *base.expect("not older than the first"),
            scheme,
            policy: Policy::of(release),
        })
    }

    /// The newest modelled release.
    pub fn newest() -> Profile {
        Profile::resolve(&RELEASES[RELEASES.len() - 1].to_string()).expect("modelled")
    }

    /// Every modelled release, and the newest one with CONFIG_NO_PAGE_MAPCOUNT.
    pub fn all() -> Vec<Profile> {
        let names = RELEASES.iter().map(Release::to_string);
        let option = format!("{}{NO_PAGE_MAPCOUNT}", RELEASES[RELEASES.len() - 1]);
        names.chain([option]).map(|name| Profile::resolve(&name).expect("modelled")).collect()
    }

    /// Every scheme with the policy of the release that it names.
    pub fn all_schemes() -> Vec<Profile> {
        scheme::ALL.iter().map(|scheme| Profile::resolve(scheme.info().id).expect("listed")).collect()
    }

    /// The modelled release before its base, of kernels that have one.
    pub fn predecessor(&self) -> Option<Release> {
        RELEASES.iter().rev().find(|release| **release < self.base).copied()
    }

    /// The recorded kernels that resolve to the same modelled release and scheme.
    pub fn recordings(&self) -> Vec<&'static str> {
        let same = |name: &str| {
            Profile::resolve(name).is_ok_and(|recorded| {
                recorded.base == self.base && recorded.scheme.info().id == self.scheme.info().id
            })
        };
        RECORDED.iter().copied().filter(|name| same(name)).collect()
    }

    /// Whether the kernel is an option of its release rather than the release itself.
    pub fn is_no_page_mapcount(&self) -> bool {
        self.scheme.info().id == "no-page-mapcount"
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::{Profile, RECORDED, RELEASES, UnknownKernel};
    use crate::release::Release;

    #[test]
    fn names_resolve_to_the_release_that_holds_for_them() {
        for (name, base, scheme) in [
            ("2.6.39.3", Release::new(2, 6, 38), "tail-count"),
            ("3.10", Release::new(3, 8, 0), "tail-pin"),
            ("4.6", Release::new(4, 5, 0), "double-map"),
            ("5.10.0-32-cloud-amd64", Release::new(5, 10, 0), "double-map"),
            ("6.12.107+deb13-cloud-amd64", Release::new(6, 12, 0), "large-mapcount"),
            ("6.16", Release::new(6, 15, 0), "mm-id"),
            ("7.2.13-no-page-mapcount", Release::new(7, 2, 0), "no-page-mapcount"),
            ("lazy-double-map", Release::new(4, 5, 0), "lazy-double-map"),
            ("vma-count", Release::new(7, 3, 0), "vma-count"),
        ] {
            let profile = Profile::resolve(name).expect(name);
            assert_eq!((profile.base, profile.scheme.info().id), (base, scheme), "{name}");
        }
    }

    #[test]
    fn what_is_no_kernel_says_why() {
        let error = |name| Profile::resolve(name).err().expect(name);
        assert!(matches!(error("2.6.32"), UnknownKernel::TooOld(_)));
        assert!(matches!(error("8.0"), UnknownKernel::TooNew(_)));
        assert!(matches!(error("5.10-no-page-mapcount"), UnknownKernel::NoSuchOption(_)));
        assert!(matches!(error("latest"), UnknownKernel::NotAName(_)));
    }

    #[test]
    fn recorded_kernels_are_the_folders_of_recordings() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../recordings");
        let entries = fs::read_dir(&folder).expect("the recordings").map(|entry| entry.expect("readable"));
        // Those of the project's own scenarios lie a folder deeper, by topic.
        let holds_recordings = |folder: &Path| {
            let mut files =
                fs::read_dir(folder).expect("readable").map(|entry| entry.expect("readable").path());
            files.any(|file| file.is_file())
        };
        let folders = entries.filter(|entry| entry.path().is_dir() && holds_recordings(&entry.path()));
        let mut found: Vec<String> =
            folders.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
        found.sort_by_key(|name| Profile::resolve(name).expect("a kernel").release);
        assert_eq!(found, RECORDED);
    }

    #[test]
    fn a_recording_is_evidence_for_the_release_that_it_resolves_to() {
        let recordings = |name| Profile::resolve(name).expect("a kernel").recordings();
        assert_eq!(recordings("5.10"), ["5.10.0-32-cloud-amd64"]);
        assert_eq!(recordings("7.2-no-page-mapcount"), ["7.2.13-no-page-mapcount"]);
        assert!(recordings("7.3").is_empty());
        assert!(recordings("lazy-double-map").is_empty());
        assert_eq!(RECORDED.iter().filter(|name| recordings(name).contains(*name)).count(), RECORDED.len());
    }

    #[test]
    fn every_release_has_exactly_one_scheme() {
        assert_eq!(Profile::all().len(), RELEASES.len() + 1);
        assert!(RELEASES.windows(2).all(|pair| pair[0] < pair[1]));
    }
}
