//! exit: an address space goes away, then what its files held.

use super::{hold, hugetlb, zap};
use crate::machine::lock::Lock;
use crate::machine::vma::Vmas;
use crate::machine::{Machine, Mm};

/// Ends a process: everything is unmapped, then pipes and buffers drop the pages that they hold.
pub fn exit(m: &Machine, mm: &Mm) {
    {
        let _guard = m.lock(Lock::Mmap(mm.id));
        m.lru_drain();
        let areas = mm.vmas.borrow().all().to_vec();
        for area in &areas {
            zap::zap(m, mm, area, (area.start, area.end));
        }
        mm.table.clear_all();
        m.flush_gathered();
        *mm.vmas.borrow_mut() = Vmas::default();
        hugetlb::close(m, &areas);
    }
    m.remove_mm(mm.id);
    while let Some(held) = m.holders.take_any(mm.id) {
        hold::release(m, &held);
    }
}
