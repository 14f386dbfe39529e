//! What /proc/sys/vm/drop_caches does: it gives up clean page cache that nobody maps, and runs the shrinkers, those of
//! the deferred split queue and of shared memory among them.

use super::split::{Request, split, split_held};
use crate::event::Refusal;
use crate::field::Field;
use crate::machine::Machine;
use crate::machine::files::File;
use crate::policy::DeferredQueue;
use crate::units::Folio;

/// Splits what is queued (`deferred_split_scan()`, mm/huge_memory.c): up to 6.11 every folio; from 6.12 on
/// those that are partially mapped or underused, and other candidates leave the queue.
pub fn deferred_split(m: &Machine) {
    let flagged = m.policy.deferred_queue == DeferredQueue::Flagged;
    for head in m.queued() {
        let folio = m.folio(head);
        m.get_refs(folio, 1);
        let partial = flagged && m.counters().read(Field::PartiallyMapped, head) != 0;
        let wanted = !flagged || partial || is_underused(m, folio);
        let refused = if wanted { split(m, folio, Request::PAGES).err() } else { None };
        if let Some(why) = refused {
            m.refuse(Refusal { folio, why });
        }
        let left = !wanted || refused.is_some();
        if flagged && left && !partial {
            m.unqueue(folio);
        }
        m.put_refs(m.folio(head), 1);
    }
}

/// More pages hold only zeroes than khugepaged would fill in (`thp_underused()`, mm/huge_memory.c, v6.12).
fn is_underused(m: &Machine, folio: Folio) -> bool {
    let limit = m.config.borrow().max_ptes_none;
    limit + 1 < folio.pages() && m.frames.zero_filled(folio) > limit
}

/// Gives up the folios of the page cache that are clean and that nobody else holds (`invalidate_mapping_pages()`,
/// `mapping_evict_folio()`, mm/truncate.c). The LRU batches are drained first: up to 6.5 by what releases the pages of
/// the first file that has any (`__pagevec_release()`, mm/swap.c, v5.10, v6.1), from 6.6 on on purpose
/// (`drop_caches_sysctl_handler()`, fs/drop_caches.c, v6.12).
pub fn drop_page_cache(m: &Machine) {
    m.lru_drain();
    for file in m.files.all() {
        let mut at = 0;
        while let Some((index, folio)) = file.cache.folio_from(m, at, u64::MAX) {
            at = index + u64::from(folio.pages());
            let clean = !file.cache.state(index).dirty;
            if clean && m.refcount(folio) == m.cache_references(folio) {
                m.remove_from_page_cache(&file, folio);
            } else if !clean && !m.is_mapped(folio) {
                // It is to be written soon; that bit is also the one that says to read on
                // (`lru_deactivate_file()`, mm/swap.c, v5.10 to v6.18).
                file.cache.mark(index);
            }
        }
    }
}

/// The shrinker of tmpfs: splits huge pages that reach behind the end of their file, whose pages there can be
/// dropped (`shmem_unused_huge_shrink()`, mm/shmem.c, v4.8 to v7.2).
pub fn shared_memory(m: &Machine) {
    for file in m.files.all().iter().filter(|file| file.on_shrinklist.get()) {
        let refused = last_large(m, file).is_some_and(|folio| !split_held(m, folio, Request::PAGES));
        file.on_shrinklist.set(refused);
    }
}

/// The large folio that a file ends in. Some kernels look for it where the huge page begins in which the file ends.
fn last_large(m: &Machine, file: &File) -> Option<Folio> {
    let pages = u64::from(m.pmd_order().pages());
    let size = file.size.get();
    let start = if m.policy.shrinker_finds_the_end { size } else { size & !(pages - 1) };
    let (index, folio) = file.cache.folio_from(m, start, start + 1)?;
    let ends_inside = if m.policy.shrinker_finds_the_end { index < size } else { start < size };
    Some(folio).filter(|folio| folio.is_large() && ends_inside)
}
