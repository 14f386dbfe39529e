//! References that somebody asks for: ordinary ones (FOLL_GET) and pins (FOLL_PIN).

use super::Outcome;
use super::fault::{Access, touch};
use crate::event::Errno;
use crate::field::Field;
use crate::machine::files::FileKind;
use crate::machine::holders::{Hold, HoldKind};
use crate::machine::{Machine, Mm};
use crate::policy::{Pin, PinMerge, PinRefuses};
use crate::scheme::PIN_BIAS;
use crate::stats::Stat;
use crate::units::{Folio, PageRange, Pfn};

/// Takes an ordinary reference on each page, which a read fault makes present.
///
/// # Errors
/// EFAULT where a page may not be read: then no reference is kept.
pub fn get(m: &Machine, mm: &Mm, (start, pages): (u64, u64)) -> Outcome {
    let frames = take(m, mm, (start, pages), HoldKind::Get)?;
    m.holders.add(Hold { mm: mm.id, start, pages, kind: HoldKind::Get, frames });
    Ok(())
}

/// Pins each page for long and for writing: shared ones are copied first. Of a buffer that large folios make up
/// later kernels keep one pin a folio.
///
/// # Errors
/// ENOSYS before 5.1, which has nobody who pins so; EFAULT where a page may not be written: then nothing
/// is pinned; EOPNOTSUPP (from 6.5 on EFAULT) for files that cannot be pinned so.
pub fn pin(m: &Machine, mm: &Mm, (start, pages): (u64, u64)) -> Outcome {
    if m.policy.pin == Pin::Absent {
        return Err(Errno::Enosys);
    }
    mm.has_pinned.set(true);
    let files = refused_files(m, mm, (start, pages));
    if files && m.policy.pin_refuses == PinRefuses::SharedDisks {
        return Err(Errno::Efault);
    }
    let mut frames = take(m, mm, (start, pages), HoldKind::Pin)?;
    if files {
        release(m, HoldKind::Pin, &frames);
        return Err(Errno::Eopnotsupp);
    }
    let parts: Vec<(Folio, PageRange)> = frames.iter().flat_map(|range| by_folio(m, *range)).collect();
    if keeps_one_pin_a_folio(m, &parts) {
        for (folio, pages) in parts.iter().filter(|(_, pages)| pages.len > 1) {
            pin_pages(m, *folio, PageRange::new(pages.first.add(1), pages.len - 1), -1);
        }
        frames = parts.iter().map(|(_, pages)| PageRange::one(pages.first)).collect();
    }
    m.holders.add(Hold { mm: mm.id, start, pages, kind: HoldKind::Pin, frames });
    Ok(())
}

/// Takes a reference on each page, from the first on: a page is held before a fault brings the next, so that one that
/// shares its folio finds it held (`__get_user_pages()`, mm/gup.c, v5.10 to v7.2). What is there needs no fault, for
/// pins if it may be written.
///
/// # Errors
/// That of the first fault that fails; nothing is held then.
fn take(m: &Machine, mm: &Mm, (start, pages): (u64, u64), kind: HoldKind) -> Result<Vec<PageRange>, Errno> {
    let access = if kind == HoldKind::Pin { Access::PopulateWrite } else { Access::Read };
    let is_ready = |at: &u64| {
        let entry = mm.table.read(*at);
        entry.is_present() && (entry.is_writable() || !access.writes())
    };
    let mut frames: Vec<PageRange> = Vec::new();
    let (mut at, end) = (start, start + pages);
    while at < end {
        let ready = (at..end).take_while(is_ready).count() as u64;
        let next = at + ready.max(1);
        if let Err(error) = touch(m, mm, (at, next - at), access) {
            release(m, kind, &frames);
            return Err(error);
        }
        for range in present(mm, at, next) {
            hold(m, kind, range);
            match frames.last_mut().filter(|last| last.first.0 + last.len == range.first.0) {
                Some(last) => last.len += range.len,
                None => frames.push(range),
            }
        }
        at = next;
    }
    Ok(frames)
}

/// Whether the buffer that these pages are registered as keeps one pin for each folio
/// (`io_try_coalesce_buffer()`, io_uring/rsrc.c, v6.12).
fn keeps_one_pin_a_folio(m: &Machine, parts: &[(Folio, PageRange)]) -> bool {
    let Some((first, _)) = parts.first() else { return false };
    let ends =
        |(folio, pages): &(Folio, PageRange)| pages.first.0 + pages.len == folio.head.0 + folio.pages();
    let begins =
        |(folio, pages): &(Folio, PageRange)| folio.order == first.order && pages.first == folio.head;
    match m.policy.pin_merge {
        PinMerge::Never => false,
        PinMerge::OneFolio => parts.len() == 1,
        PinMerge::EqualFolios => {
            let (all_but_last, all_but_first) = (&parts[..parts.len() - 1], &parts[1..]);
            first.is_large() && all_but_last.iter().all(ends) && all_but_first.iter().all(begins)
        }
    }
}

/// Whether a range maps files that cannot be pinned for long and for writing.
fn refused_files(m: &Machine, mm: &Mm, (start, pages): (u64, u64)) -> bool {
    let vmas = mm.vmas.borrow();
    vmas.overlapping(start, start + pages).iter().filter_map(|vma| vma.file).any(|area| {
        let kind = m.file(area.root).kind;
        let shmem = kind.is_shmem();
        match m.policy.pin_refuses {
            PinRefuses::Files => true,
            PinRefuses::Disks => !shmem,
            // The memory of a device is written back to nowhere (`mapping_can_writeback()`).
            PinRefuses::SharedDisks => area.shared && !shmem && kind != FileKind::Dax,
        }
    })
}

/// Drops what [`get`] took of the same region; `false` if there is no such hold.
pub fn put(m: &Machine, mm: &Mm, region: (u64, u64)) -> bool {
    drop_hold(m, mm, region, HoldKind::Get)
}

/// Drops what [`pin`] took of the same region; `false` if there is no such hold.
pub fn unpin(m: &Machine, mm: &Mm, region: (u64, u64)) -> bool {
    drop_hold(m, mm, region, HoldKind::Pin)
}

fn drop_hold(m: &Machine, mm: &Mm, (start, pages): (u64, u64), kind: HoldKind) -> bool {
    let held = m.holders.take(mm.id, start, pages, kind);
    if let Some(held) = &held {
        release(m, held.kind, &held.frames);
    }
    held.is_some()
}

/// Takes a reference, or pins, each of consecutive pages.
fn hold(m: &Machine, kind: HoldKind, range: PageRange) {
    match kind {
        HoldKind::Get => range.iter().for_each(|page| m.get_page(page)),
        HoldKind::Pin => {
            by_folio(m, range).into_iter().for_each(|(folio, pages)| pin_pages(m, folio, pages, 1));
        }
    }
}

/// Drops the references of a hold that was taken off the list.
pub(super) fn release(m: &Machine, kind: HoldKind, frames: &[PageRange]) {
    for range in frames {
        match kind {
            HoldKind::Get => range.iter().for_each(|page| m.put_page(page)),
            HoldKind::Pin => {
                by_folio(m, *range).into_iter().for_each(|(folio, pages)| pin_pages(m, folio, pages, -1));
            }
        }
    }
}

/// Pins (`sign` 1) or unpins (−1) consecutive pages of a folio: k references and k in the pincount where
/// there is one, 1024 references a page where not (`try_grab_folio()`, mm/gup.c, v5.10 to v7.3).
fn pin_pages(m: &Machine, folio: Folio, pages: PageRange, sign: i32) {
    let count = pages.len as i32;
    let known = m.known(folio);
    let references = if !known.pins_exist || known.has_pincount { count } else { count * PIN_BIAS };
    if sign > 0 {
        m.get_refs(folio, references);
    }
    if known.pins_exist {
        if known.has_pincount {
            m.counters().add(Field::Pincount, folio.head, sign * count);
        }
        m.stats.add(if sign > 0 { Stat::PinsAcquired } else { Stat::PinsReleased }, i64::from(count));
    }
    if sign < 0 {
        m.put_refs(folio, references);
    }
}

/// The frames of addresses that are present, consecutive ones together.
fn present(mm: &Mm, start: u64, end: u64) -> Vec<PageRange> {
    let mut frames: Vec<PageRange> = Vec::new();
    for at in start..end {
        let page = mm.table.read(at).page();
        match frames.last_mut().filter(|last| last.first.0 + last.len == page.0) {
            Some(last) => last.len += 1,
            None => frames.push(PageRange::one(page)),
        }
    }
    frames
}

/// Cuts a range of frames where folios end.
fn by_folio(m: &Machine, range: PageRange) -> Vec<(Folio, PageRange)> {
    let mut parts = Vec::new();
    let mut first = range.first;
    let end = range.first.0 + range.len;
    while first.0 < end {
        let folio = m.folio(first);
        let stop = end.min(folio.head.0 + folio.pages());
        parts.push((folio, PageRange::new(first, stop - first.0)));
        first = Pfn(stop);
    }
    parts
}
