//! Which rmap functions are called: a record of the waist, and what each kernel calls its functions.

use std::cell::{Cell, RefCell};

use crate::field::{OPEN, series};
use crate::release::{Release, ReleaseRange};
use crate::units::{Folio, Level, PageRange};

/// A function of the waist, whatever level it is called with.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Function {
    /// Maps a fresh anonymous folio.
    AddNewAnon,
    /// Maps an anonymous folio.
    AddAnon,
    /// Maps a folio of a file.
    AddFile,
    /// Copies a mapping of an anonymous folio to a child.
    DupAnon,
    /// Copies a mapping of a file's folio to a child.
    DupFile,
    /// Gives up that an anonymous page is exclusive.
    ShareAnon,
    /// Removes a mapping.
    Remove,
    /// Turns a PMD mapping into PTE mappings.
    SplitPmd,
    /// Maps a fresh private hugetlb folio.
    HugetlbAddNewAnon,
    /// Maps a private hugetlb folio.
    HugetlbAddAnon,
    /// Maps a hugetlb folio of the page cache.
    HugetlbAddFile,
    /// Copies a mapping of a private hugetlb folio to a child.
    HugetlbDupAnon,
    /// Gives up that a private hugetlb folio is exclusive.
    HugetlbShareAnon,
    /// Removes a mapping of a hugetlb folio.
    HugetlbRemove,
}

/// Calls of a function, one after the other and alike.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Call {
    /// The function.
    pub function: Function,
    /// The level.
    pub level: Level,
    /// Pages that each call is about.
    pub pages: u32,
    /// How many calls.
    pub times: u32,
}

/// A record of calls; off until somebody asks for it.
#[derive(Clone, Debug, Default)]
pub struct Calls {
    on: Cell<bool>,
    list: RefCell<Vec<Call>>,
}

impl Calls {
    /// Records from now on, or not any more.
    pub fn record(&self, on: bool) {
        self.on.set(on);
    }

    /// What was called since this was asked last.
    pub fn take(&self) -> Vec<Call> {
        self.list.take()
    }

    #[inline]
    pub(super) fn add(&self, call: Call) {
        if self.on.get() {
            self.push(call);
        }
    }

    #[cold]
    fn push(&self, call: Call) {
        let mut list = self.list.borrow_mut();
        let alike = |last: &&mut Call| Call { times: 0, ..**last } == Call { times: 0, ..call };
        match list.last_mut().filter(alike) {
            Some(last) => last.times += call.times,
            None => list.push(call),
        }
    }
}

impl Call {
    /// A call about a folio as a whole.
    pub(super) const fn whole(function: Function, folio: Folio) -> Call {
        Call { function, level: Level::Pmd, pages: folio.pages(), times: 1 }
    }

    /// A call about pages that PTEs map.
    pub(super) const fn ptes(function: Function, pages: PageRange) -> Call {
        Call { function, level: Level::Pte, pages: pages.len, times: 1 }
    }

    /// A call for each of these pages.
    pub(super) const fn each(function: Function, pages: PageRange) -> Call {
        Call { function, level: Level::Pte, pages: 1, times: pages.len }
    }
}

/// What some releases call a function of the waist.
#[derive(Debug)]
pub struct FunctionName {
    /// The function.
    pub function: Function,
    /// The releases.
    pub kernels: ReleaseRange,
    /// Its name at the level of PTEs.
    pub ptes: &'static str,
    /// Its name at the level of PMDs.
    pub pmd: &'static str,
    /// At the level of PTEs a call is about one page.
    pub page_by_page: bool,
    /// The functions within that both reach.
    pub through: &'static [&'static str],
    /// Where it was read.
    pub source: &'static str,
}

/// The name in a release; `None` where the release has no such function.
pub fn name_in(function: Function, release: Release) -> Option<&'static FunctionName> {
    NAMES.iter().find(|name| name.function == function && name.kernels.contains(release))
}

const ADD_ANON: &[&str] = &["__folio_add_anon_rmap", "__folio_add_rmap"];
const ADD_FILE: &[&str] = &["__folio_add_file_rmap", "__folio_add_rmap"];
const REMOVE: &[&str] = &["__folio_remove_rmap"];

macro_rules! names {
    ($($function:ident { $(($from:expr, $to:expr, $ptes:literal, $pmd:literal, $page_by_page:literal, $through:expr, $source:literal)),+ $(,)? })+) => {
        /// The names, by function and oldest first.
        pub static NAMES: &[FunctionName] = &[$($(FunctionName {
            function: Function::$function,
            kernels: series($from, $to),
            ptes: $ptes,
            pmd: $pmd,
            page_by_page: $page_by_page,
            through: $through,
            source: $source,
        }),+),+];
    };
}

names! {
    AddNewAnon {
        (OPEN, (6, 2), "page_add_new_anon_rmap", "page_add_new_anon_rmap", false, &[], "mm/rmap.c (v2.6.39, v4.9, v5.10, v6.2)"),
        ((6, 3), (6, 7), "folio_add_new_anon_rmap", "page_add_new_anon_rmap", false, &["folio_add_new_anon_rmap"],
            "mm/rmap.c (v6.3); do_anonymous_page(), mm/memory.c, __do_huge_pmd_anonymous_page(), mm/huge_memory.c (v6.3)"),
        ((6, 8), OPEN, "folio_add_new_anon_rmap", "folio_add_new_anon_rmap", false, &[], "mm/rmap.c (v6.8, v6.17, v7.3)"),
    }
    AddAnon {
        (OPEN, (6, 7), "page_add_anon_rmap", "page_add_anon_rmap", true, &[], "mm/rmap.c (v2.6.39, v4.9, v6.3)"),
        ((6, 8), OPEN, "folio_add_anon_rmap_ptes", "folio_add_anon_rmap_pmd", false, ADD_ANON, "mm/rmap.c (v6.8, v6.17, v7.3)"),
    }
    AddFile {
        (OPEN, (6, 7), "page_add_file_rmap", "page_add_file_rmap", true, &[], "mm/rmap.c (v2.6.39, v4.9, v6.3)"),
        ((6, 8), OPEN, "folio_add_file_rmap_ptes", "folio_add_file_rmap_pmd", false, ADD_FILE, "mm/rmap.c (v6.8, v6.17, v7.3)"),
    }
    DupAnon {
        (OPEN, (5, 18), "page_dup_rmap", "page_dup_rmap", true, &[], "include/linux/rmap.h (v2.6.39, v4.9, v5.10)"),
        ((5, 19), (6, 7), "page_try_dup_anon_rmap", "page_try_dup_anon_rmap", true, &[], "include/linux/rmap.h (v5.19, v6.3)"),
        ((6, 8), (6, 8), "folio_try_dup_anon_rmap_pte", "folio_try_dup_anon_rmap_pmd", true, &[], "include/linux/rmap.h (v6.8)"),
        ((6, 9), OPEN, "folio_try_dup_anon_rmap_ptes", "folio_try_dup_anon_rmap_pmd", false, &[], "include/linux/rmap.h (v6.9, v7.3)"),
    }
    DupFile {
        (OPEN, (5, 18), "page_dup_rmap", "page_dup_rmap", true, &[], "include/linux/rmap.h (v2.6.39, v4.9, v5.10)"),
        ((5, 19), (6, 7), "page_dup_file_rmap", "page_dup_file_rmap", true, &[], "include/linux/rmap.h (v5.19, v6.3)"),
        ((6, 8), (6, 8), "folio_dup_file_rmap_pte", "folio_dup_file_rmap_pmd", true, &[], "include/linux/rmap.h (v6.8)"),
        ((6, 9), OPEN, "folio_dup_file_rmap_ptes", "folio_dup_file_rmap_pmd", false, &[], "include/linux/rmap.h (v6.9, v7.3)"),
    }
    ShareAnon {
        ((5, 19), (6, 7), "page_try_share_anon_rmap", "page_try_share_anon_rmap", true, &[], "include/linux/rmap.h (v5.19, v6.3)"),
        ((6, 8), OPEN, "folio_try_share_anon_rmap_pte", "folio_try_share_anon_rmap_pmd", true, &[], "include/linux/rmap.h (v6.8, v7.3)"),
    }
    Remove {
        (OPEN, (6, 7), "page_remove_rmap", "page_remove_rmap", true, &[], "mm/rmap.c (v2.6.39, v4.9, v6.3)"),
        ((6, 8), (6, 8), "folio_remove_rmap_pte", "folio_remove_rmap_pmd", true, REMOVE, "include/linux/rmap.h, mm/rmap.c (v6.8)"),
        ((6, 9), OPEN, "folio_remove_rmap_ptes", "folio_remove_rmap_pmd", false, REMOVE, "mm/rmap.c (v6.9, v7.3)"),
    }
    SplitPmd {
        (OPEN, (4, 4), "", "split_huge_page counts by itself", false, &[], "__split_huge_page_refcount(), mm/huge_memory.c (v2.6.39, v4.4)"),
        ((4, 5), (6, 1), "", "__split_huge_pmd_locked counts by itself", false, &[], "__split_huge_pmd_locked(), mm/huge_memory.c (v4.5, v6.1)"),
        ((6, 2), (6, 7), "", "page_add_anon_rmap of each page, then page_remove_rmap of the PMD", false, &[], "__split_huge_pmd_locked(), mm/huge_memory.c (v6.2)"),
        ((6, 8), OPEN, "", "folio_add_anon_rmap_ptes of all pages, then folio_remove_rmap_pmd", false, &["__folio_add_rmap", "__folio_remove_rmap"],
            "__split_huge_pmd_locked(), mm/huge_memory.c (v6.8, v7.3)"),
    }
    HugetlbAddNewAnon {
        (OPEN, (6, 7), "", "hugepage_add_new_anon_rmap", false, &[], "mm/rmap.c (v2.6.39, v6.3)"),
        ((6, 8), OPEN, "", "hugetlb_add_new_anon_rmap", false, &[], "mm/rmap.c (v6.8, v7.3)"),
    }
    HugetlbAddAnon {
        (OPEN, (6, 7), "", "hugepage_add_anon_rmap", false, &[], "mm/rmap.c (v2.6.39, v6.3)"),
        ((6, 8), OPEN, "", "hugetlb_add_anon_rmap", false, &[], "mm/rmap.c (v6.8, v7.3)"),
    }
    HugetlbAddFile {
        (OPEN, (5, 18), "", "page_dup_rmap", false, &[], "hugetlb_no_page(), mm/hugetlb.c (v2.6.39, v5.10)"),
        ((5, 19), (6, 7), "", "page_dup_file_rmap", false, &[], "hugetlb_no_page(), mm/hugetlb.c (v5.19, v6.3)"),
        ((6, 8), OPEN, "", "hugetlb_add_file_rmap", false, &[], "include/linux/rmap.h (v6.8, v7.3)"),
    }
    HugetlbDupAnon {
        (OPEN, (5, 18), "", "page_dup_rmap", false, &[], "copy_hugetlb_page_range(), mm/hugetlb.c (v2.6.39, v5.10)"),
        ((5, 19), (6, 7), "", "page_try_dup_anon_rmap", false, &[], "copy_hugetlb_page_range(), mm/hugetlb.c (v5.19, v6.3)"),
        ((6, 8), OPEN, "", "hugetlb_try_dup_anon_rmap", false, &[], "include/linux/rmap.h (v6.8, v7.3)"),
    }
    HugetlbShareAnon {
        ((5, 19), (6, 7), "", "page_try_share_anon_rmap", false, &[], "include/linux/rmap.h (v5.19, v6.3)"),
        ((6, 8), OPEN, "", "hugetlb_try_share_anon_rmap", false, &[], "include/linux/rmap.h (v6.8, v7.3)"),
    }
    HugetlbRemove {
        (OPEN, (6, 7), "", "page_remove_rmap", false, &[], "__unmap_hugepage_range(), mm/hugetlb.c (v2.6.39, v6.3)"),
        ((6, 8), OPEN, "", "hugetlb_remove_rmap", false, &[], "include/linux/rmap.h (v6.8, v7.3)"),
    }
}

#[cfg(test)]
mod tests {
    use super::{Function, name_in};
    use crate::profile::RELEASES;

    #[test]
    fn every_release_has_a_name_for_what_it_can_do() {
        for release in RELEASES {
            for function in [Function::AddNewAnon, Function::AddAnon, Function::DupAnon, Function::Remove] {
                let name = name_in(function, *release).expect("it has it");
                assert!(!name.ptes.is_empty() && !name.pmd.is_empty() && !name.source.is_empty());
            }
        }
        assert!(name_in(Function::ShareAnon, RELEASES[0]).is_none(), "there is nothing to give up");
    }
}
