//! `tail-pin`: as `tail-count`, but references on a tail are counted in its `_mapcount`, which an unsplit
//! THP does not use; the tail's `_count` stays 0, so that a speculative reference on it never succeeds.
//!
//! Sources: `__get_page_tail()`, `put_compound_page()` (mm/swap.c), `__split_huge_page_refcount()`
//! (mm/huge_memory.c), v3.13 and v4.4; Linux commit 70b50f94f164 ("mm: thp: tail page refcounting fix", v3.2).

use super::tail_count::{AllOrNothing, TailReferences};
use super::{Capabilities, Info};
use crate::invariant::Law;
use crate::release::{Release, ReleaseRange};

pub(super) static TAIL_PIN: AllOrNothing = AllOrNothing {
    tails: TailReferences::InMapcount,
    info: Info {
        id: "tail-pin",
        title: "a THP is mapped by PMDs only; references on tails in the tail's _mapcount and the head's _count",
        kernels: Some(ReleaseRange { from: Some(Release::new(3, 2, 0)), to: Some(Release::new(4, 4, 0)) }),
        runs_as: "4.4",
        fields: &[],
        capabilities: Capabilities {
            pmd_split_splits_folio: true,
            needs_vma_pages: false,
            page_mapcounts: false,
            reference_per_vma: false,
            bias_is_not_restored: false,
            hugetlb_counts_in_head: true,
        },
        laws: &[Law::I1, Law::I2, Law::HeadMapcount, Law::I9, Law::I10],
        breaks: &[],
        cannot: &[
            "map a part of a THP by PTEs: any such need splits the page for all processes",
            "tell a page's map count for a tail of an unsplit THP: page_mapcount() of it is the references on it",
        ],
        equations: &[
            "head _mapcount = D − 1",
            "tail _mapcount = references on that tail − 1",
            "tail _count = 0",
            "head _count = D + all references",
        ],
        sources: &["mm/huge_memory.c, mm/swap.c, include/linux/mm.h (v3.13, v4.4)"],
    },
};
