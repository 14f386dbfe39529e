//! What the kernel was built with, as far as steps of processes need it.

use std::fs;

use mapcount_model::release::Release;
use mapcount_script::ast::{Advice, Backing, ProcessVerb};

/// The first release that has io_uring.
const FIRST_WITH_RINGS: Release = Release::new(5, 1, 0);

/// What is built in and switched on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Abilities {
    hugetlb: bool,
    ksm: bool,
    /// io_uring is there, or this kernel is too old to have it and refuses as the model says.
    rings: bool,
}

impl Abilities {
    /// Looks for them.
    pub(super) fn find(release: Option<Release>) -> Abilities {
        let is_there = |path: &str| fs::exists(path).unwrap_or(false);
        Abilities {
            hugetlb: is_there("/proc/sys/vm/nr_hugepages"),
            ksm: is_there("/sys/kernel/mm/ksm/run"),
            rings: release < Some(FIRST_WITH_RINGS) || has_rings(),
        }
    }

    /// Why a process cannot do this here; `None` if it can.
    pub(super) fn lacks(self, verb: &ProcessVerb) -> Option<&'static str> {
        match verb {
            ProcessVerb::Mmap { backing: Backing::Dax(_), .. } => Some("there is no DAX device to map"),
            ProcessVerb::Userfault(..) => Some("the model does not have it"),
            ProcessVerb::Mmap { backing: Backing::Hugetlb, .. } if !self.hugetlb => {
                Some("hugetlb is not built in")
            }
            ProcessVerb::Madvise(_, Advice::Mergeable | Advice::Unmergeable) if !self.ksm => {
                Some("ksmd is not built in")
            }
            ProcessVerb::Pin(_) | ProcessVerb::Unpin(_) if !self.rings => {
                Some("io_uring is not built in, or switched off (kernel.io_uring_disabled)")
            }
            _ => None,
        }
    }
}

/// Whether a ring can be made.
fn has_rings() -> bool {
    // The size of what io_uring_setup(2) fills in.
    let mut params = [0u64; 15];
    // SAFETY: `params` is zeroed as the call asks, and good for reading and writing; what it returns is a fresh
    // descriptor that is closed here.
    unsafe {
        let ring = libc::syscall(libc::SYS_io_uring_setup, 1, params.as_mut_ptr());
        if ring >= 0 {
            libc::close(ring as i32);
        }
        ring >= 0
    }
}

#[cfg(test)]
mod tests {
    use mapcount_script::ast::{Action, Item};
    use mapcount_script::parse::parse;

    use super::Abilities;

    fn lacks(abilities: Abilities, text: &str) -> Option<&'static str> {
        let scenario = parse(text.as_bytes()).expect("well-formed");
        let Item::Step(step) = &scenario.items[0] else { panic!("a step") };
        let Action::Process { verb, .. } = &step.action else { panic!("of a process") };
        abilities.lacks(verb)
    }

    #[test]
    fn a_small_kernel_lacks_what_it_was_built_without_and_nothing_else() {
        let small = Abilities { hugetlb: false, ksm: false, rings: false };
        let large = Abilities { hugetlb: true, ksm: true, rings: true };
        for (text, part) in [
            ("A: mmap x 2M hugetlb\n", "hugetlb"),
            ("A: madvise x mergeable\n", "ksmd"),
            ("A: pin x\n", "io_uring"),
            ("A: unpin x\n", "io_uring"),
        ] {
            let why = lacks(small, text).expect("lacking");
            assert!(why.contains(part), "{text}: {why}");
            assert_eq!(lacks(large, text), None);
        }
        assert!(lacks(large, "A: mmap x 2M dax\n").is_some_and(|why| why.contains("DAX")));
        for text in ["A: mmap x 2M thp\n", "A: write x\n", "A: madvise x pageout\n", "A: get x\n"] {
            assert_eq!(lacks(small, text), None, "{text}");
        }
    }
}
