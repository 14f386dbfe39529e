//! move_pages(2) of huge pages (`unmap_and_move_huge_page()`, mm/migrate.c).

use crate::event::{Refusal, Why};
use crate::machine::Machine;
use crate::machine::lock::Lock;
use crate::machine::page_table::{Entry, Pmd};
use crate::ops::rmap_walk::{self, Place};
use crate::policy::HugetlbMigrate;
use crate::query::{Query, Tally};
use crate::units::{Folio, PageRange, Pfn};

/// Whether this kernel moves huge pages at all, and this one for the sake of `page` of it.
pub(in crate::ops) fn may_move(m: &Machine, folio: Folio, page: Pfn) -> bool {
    m.policy.hugetlb_migrate != HugetlbMigrate::Never
        && (page == folio.head || m.policy.hugetlb_moves_by_tail)
}

/// Moves a huge page to another node, or says why not; false if it stays.
pub(in crate::ops) fn move_folio(m: &Machine, old: Folio, node: u8) -> bool {
    let fresh = m.policy.hugetlb_migrate == HugetlbMigrate::ToAny;
    let Some(new) = m.take_hugetlb_on(node, old, fresh) else {
        m.refuse(Refusal { folio: old, why: Why::NoMemory });
        return false;
    };
    let _folio = m.lock(Lock::Folio(old.head));
    let _anon = m.lock(Lock::Anon(m.frames.mapping(old).root));
    // Whoever moves it has isolated it, which takes a reference.
    m.get_refs(old, 1);
    let places = rmap_walk::places(m, old);
    for place in &places {
        unmap(m, old, place);
    }
    let cached = m.known(old).pagecache_references(old);
    let (references, explained) = (i64::from(m.refcount(old)), m.expected_refcount(old));
    let expected = 1 + cached;
    let moved = references == expected && explained == cached;
    if moved {
        m.frames.copy_content(old.range(), new.head);
        m.moved_hugetlb(old, new);
        m.get_refs(new, cached as i32);
        m.put_refs(old, cached as i32);
    } else {
        m.refuse(Refusal { folio: old, why: Why::Held { refcount: references, expected } });
    }
    let to = if moved { new } else { old };
    for place in &places {
        remap(m, old, place, to);
    }
    m.put_refs(old, 1);
    m.put_refs(new, 1);
    moved
}

/// Turns the entry of one area into a migration entry; that of an exclusive page that may be pinned stays.
fn unmap(m: &Machine, folio: Folio, place: &Place) {
    let (mm, vma) = (&place.mm, &place.vma);
    let _guard = m.lock_table(mm, place.start);
    let Pmd::Leaf(entry) = mm.table.pmd(place.start) else { return };
    if !entry.is_present() || entry.page() != folio.head {
        return;
    }
    let exclusive = m.rmap().exclusive(PageRange::one(folio.head)) > 0;
    let pinned = m.ask(Query::MaybeDmaPinned, folio.head, &mut Tally::off()).value() == Some(1);
    if exclusive && m.rmap().hugetlb_try_share_anon_rmap(folio, pinned).is_err() {
        return;
    }
    let by = m.removing(mm, vma, folio, folio.pages());
    mm.table.set_pmd(place.start, entry.to_migration(exclusive));
    m.rmap().hugetlb_remove_rmap(folio, &by);
    m.put_refs(folio, m.scheme.references_of_removed(1, &by));
}

/// Maps what stands in the place of `folio` now where a migration entry of one area waits for it.
fn remap(m: &Machine, folio: Folio, place: &Place, to: Folio) {
    let (mm, vma) = (&place.mm, &place.vma);
    let _guard = m.lock_table(mm, place.start);
    let Pmd::Leaf(entry) = mm.table.pmd(place.start) else { return };
    if !entry.is_migration() || entry.page() != folio.head {
        return;
    }
    let by = m.adding(mm, vma, to, to.pages());
    m.get_refs(to, m.scheme.references_of_added(1, &by));
    if m.hugetlb.is_anon(to) {
        m.rmap().hugetlb_add_anon_rmap(to, &by, entry.is_exclusive());
    } else {
        m.rmap().hugetlb_add_file_rmap(to, &by);
    }
    mm.table.set_pmd(place.start, Entry::present(to.head, entry.is_writable()));
}
