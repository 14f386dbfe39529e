//! The shrinker of the deferred split queue.

use super::split::{Request, split};
use crate::event::Refusal;
use crate::field::Field;
use crate::machine::Machine;
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
