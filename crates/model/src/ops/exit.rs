//! exit: an address space goes away, then what its files held.

use super::{hold, hugetlb, mlock, truncate, zap};
use crate::machine::lock::Lock;
use crate::machine::{Machine, Mm};

/// Ends a process: everything is unmapped, then pipes and buffers drop the pages that they hold.
pub fn exit(m: &Machine, mm: &Mm) {
    let areas = mm.vmas.borrow().all().to_vec();
    {
        let _guard = m.lock(Lock::Mmap(mm.id));
        for area in areas.iter().filter(|area| area.locked) {
            mlock::unlock_unmapped(m, mm, area);
        }
        zap::prepare(m);
        for area in &areas {
            zap::zap(m, mm, area, (area.start, area.end));
        }
        mm.table.clear_all();
        m.flush_gathered();
    }
    m.remove_mm(mm.id);
    hugetlb::close(m, &areas);
    for file in areas.iter().filter_map(|area| area.file) {
        truncate::release(m, file.root);
    }
    while let Some(held) = m.holders.take_any(mm.id) {
        hold::release(m, held.kind, &held.frames);
    }
}
