//! Extents of processes joined with the counters of their folios: each part of memory is read once for all processes
//! that map it.

use mapcount_model::profile::Profile;
use mapcount_model::query::Query;
use mapcount_model::verdict::Subject;

use super::extent::{BLOCK, By, Extent};
use super::frames::{Chunk, Frames};
use super::marks::{Head, Marks, Use};
use super::usage::Usage;
use super::{folio, usage};
use crate::Unavailable;

/// How often a folio that does not fit together is read again.
const READINGS: u32 = 4;

/// Joins extents with counters; the usage of each owner stands at its number. `orders` are the sizes of blocks to look
/// for.
///
/// # Errors
/// If the kernel does not let us look any more.
pub(crate) fn join(
    frames: &mut Frames,
    profile: &Profile,
    extents: Vec<Extent>,
    owners: usize,
    orders: &[u8],
) -> Result<Vec<Usage>, Unavailable> {
    let mut usages = vec![Usage::default(); owners];
    let step = frames.chunk_frames();
    let (mut sorted, starts) = by_chunk(extents, step);
    let mut pending: Vec<(u64, Vec<Extent>)> = Vec::new();
    for (chunk, bounds) in (0u64..).zip(starts.windows(2)) {
        let part = &mut sorted[bounds[0]..bounds[1]];
        if part.is_empty() {
            continue;
        }
        part.sort_unstable_by_key(|extent| (extent.owner, extent.frame, extent.page));
        let mut seen: Vec<std::ops::Range<u64>> = Vec::new();
        frames.visit(chunk * step..(chunk + 1) * step, &mut |marks, words| {
            let end = words.first + words.frames(marks);
            let inside = |extent: &&Extent| (words.first..end).contains(&extent.frame);
            let here: Vec<Extent> = part.iter().filter(inside).copied().collect();
            seen.push(words.first..end);
            Part { marks, profile, words, orders, usages: &mut usages, pending: &mut pending }.run(&here);
        })?;
        // Frames that have no `struct page` are devices'.
        let was_seen = |extent: &Extent| seen.iter().any(|frames| frames.contains(&extent.frame));
        for extent in part.iter().filter(|extent| !was_seen(extent)) {
            usages[extent.owner as usize].add_uncounted(Use::Kernel, u64::from(extent.pages));
        }
    }
    for (head, segments) in pending {
        later(frames, profile, head, &segments, orders, &mut usages)?;
    }
    Ok(usages)
}

/// Extents by the chunk that they start in, and where the extents of each chunk start.
fn by_chunk(extents: Vec<Extent>, step: u64) -> (Vec<Extent>, Vec<usize>) {
    let chunk = |extent: &Extent| (extent.frame / step) as usize;
    let chunks = extents.iter().map(|extent| chunk(extent) + 1).max().unwrap_or(0);
    let mut starts = vec![0usize; chunks + 2];
    for extent in &extents {
        starts[chunk(extent) + 2] += 1;
    }
    for index in 1..starts.len() {
        starts[index] += starts[index - 1];
    }
    let Some(first) = extents.first() else { return (extents, vec![0]) };
    let mut sorted = vec![*first; extents.len()];
    for extent in &extents {
        let place = &mut starts[chunk(extent) + 1];
        sorted[*place] = *extent;
        *place += 1;
    }
    starts.pop();
    (sorted, starts)
}

/// A chunk with the extents that start in it.
struct Part<'a> {
    marks: &'a Marks,
    profile: &'a Profile,
    words: Chunk<'a>,
    orders: &'a [u8],
    usages: &'a mut [Usage],
    /// Folios whose counters have to be read (again) by themselves.
    pending: &'a mut Vec<(u64, Vec<Extent>)>,
}

impl Part<'_> {
    /// Counts extents that stand by owner and by rising frame.
    fn run(&mut self, extents: &[Extent]) {
        let page_bytes = self.marks.page_words as u64 * 8;
        let end = self.words.first + self.words.frames(self.marks);
        // The folio at hand: its owner, its first frame, what is known of it, and where it ends.
        let mut folio: Option<(u32, u64, Head, u64)> = None;
        let mut segments: Vec<Extent> = Vec::new();
        for extent in extents {
            let mut rest = *extent;
            while rest.pages > 0 {
                let same = folio.is_some_and(|(owner, first, _, behind)| {
                    owner == rest.owner && (first..behind).contains(&rest.frame)
                });
                if !same {
                    self.flush(folio.take(), &mut segments);
                    let page = self.words.from(self.marks, rest.frame);
                    let address = self.words.address + (rest.frame - self.words.first) * page_bytes;
                    let head_address = self.marks.head_address(page, address);
                    let first = rest.frame.wrapping_sub(address.wrapping_sub(head_address) / page_bytes);
                    if first > rest.frame || first < self.words.first {
                        // Its first page is elsewhere (a gigantic folio), or the tail was read in a change.
                        self.pending.push((first, vec![rest]));
                        break;
                    }
                    match self.marks.head(self.words.from(self.marks, first)) {
                        Some(head) if first + head.pages() > rest.frame => {
                            folio = Some((rest.owner, first, head, first + head.pages()));
                        }
                        _ => {
                            self.pending.push((rest.frame, vec![rest]));
                            break;
                        }
                    }
                }
                let behind = folio.map_or(end, |folio| folio.3);
                let pages = u64::from(rest.pages).min(behind - rest.frame) as u32;
                segments.push(Extent { pages, ..rest });
                rest.page += u64::from(pages);
                rest.frame += u64::from(pages);
                rest.pages -= pages;
                if rest.pages > 0 && rest.frame >= end {
                    self.flush(folio.take(), &mut segments);
                    self.pending.push((rest.frame, vec![rest]));
                    break;
                }
            }
        }
        self.flush(folio.take(), &mut segments);
    }

    fn flush(&mut self, folio: Option<(u32, u64, Head, u64)>, segments: &mut Vec<Extent>) {
        if let Some((owner, first, head, behind)) = folio {
            let fits = behind <= self.words.first + self.words.frames(self.marks);
            let usage = &mut self.usages[owner as usize];
            let counted = (fits || head.used == Use::Hugetlb)
                && count(self.marks, self.profile, &self.words, (first, &head), segments, self.orders, usage);
            if !counted {
                self.pending.push((first, segments.clone()));
            }
        }
        segments.clear();
    }
}

/// Counts a folio for the owner of its segments; whether it fits together.
fn count(
    marks: &Marks,
    profile: &Profile,
    words: &Chunk<'_>,
    (first, head): (u64, &Head),
    segments: &[Extent],
    orders: &[u8],
    usage: &mut Usage,
) -> bool {
    let pages: u64 = segments.iter().map(|segment| u64::from(segment.pages)).sum();
    match head.used {
        Use::Kernel | Use::Reserved | Use::Movable | Use::Offline => {
            let mapcount = i64::from(marks.mapcount(words.from(marks, first))) + 1;
            if head.order > 0 || !usage.add_small(head.used, pages, mapcount) {
                usage.add_uncounted(head.used, pages);
            }
        }
        // What a process maps is none of these: it was freed and used again since.
        Use::Free | Use::Slab | Use::PageTable => return false,
        _ if head.order == 0 => {
            let mapcount = i64::from(marks.mapcount(words.from(marks, first))) + 1;
            return usage.add_small(head.used, pages, mapcount);
        }
        _ => {
            let counted = words.ask(marks, profile, (first, head), |subject, _| {
                usage.add_large(&subject, head, first, segments, orders)
            });
            return counted.unwrap_or(false);
        }
    }
    true
}

/// Reads a folio by itself, again where it does not fit together.
fn later(
    frames: &mut Frames,
    profile: &Profile,
    head: u64,
    segments: &[Extent],
    orders: &[u8],
    usages: &mut [Usage],
) -> Result<(), Unavailable> {
    let Some(owner) = segments.first().map(|segment| segment.owner as usize) else { return Ok(()) };
    let mut used = Use::Kernel;
    // A tail that was read in a change may have named anything.
    let readings = if frames.lacks(head) { 0 } else { READINGS };
    for _ in 0..readings {
        let mut counted = false;
        let end = (head + 1).next_multiple_of(frames.chunk_frames());
        frames.visit(head..end, &mut |marks, words| {
            if words.first != head || counted {
                return;
            }
            let Some(found) = marks.head(words.words) else { return };
            used = found.used;
            let whole = words.frames(marks) >= found.pages() || found.used == Use::Hugetlb;
            counted =
                whole && count(marks, profile, &words, (head, &found), segments, orders, &mut usages[owner]);
        })?;
        if counted {
            return Ok(());
        }
    }
    usages[owner].add_unstable(used, segments);
    Ok(())
}

/// The anonymous large folios of some extents that others map too, or may: first frame and frame behind, by rising frame.
///
/// # Errors
/// If the kernel does not let us look any more.
pub(crate) fn shared_folios(
    frames: &mut Frames,
    profile: &Profile,
    extents: Vec<Extent>,
) -> Result<Vec<(u64, u64)>, Unavailable> {
    let step = frames.chunk_frames();
    let (mut sorted, starts) = by_chunk(extents, step);
    let mut folios: Vec<(u64, u64)> = Vec::new();
    for (chunk, bounds) in (0u64..).zip(starts.windows(2)) {
        let part = &mut sorted[bounds[0]..bounds[1]];
        if part.is_empty() {
            continue;
        }
        part.sort_unstable_by_key(|extent| extent.frame);
        frames.visit(chunk * step..(chunk + 1) * step, &mut |marks, words| {
            let end = words.first + words.frames(marks);
            let mut at = words.first;
            while at < end {
                let Some(head) = marks.head(words.from(marks, at)) else {
                    at += 1;
                    continue;
                };
                let behind = at + head.pages();
                if head.used == Use::Anon && head.order > 0 && behind <= end {
                    let entries = words.ask(marks, profile, (at, &head), |subject, _| {
                        subject.ask(Query::FolioMapcount, subject.folio.head).value().unwrap_or(0)
                    });
                    // No extent is longer than a block, so that none that starts before reaches here.
                    let from = part.partition_point(|extent| extent.frame + BLOCK <= at);
                    let until = part.partition_point(|extent| extent.frame < behind);
                    let own = folio::within(&part[from..until], at, head.pages());
                    let own_entries: u64 = own.iter().map(usage::entries).sum();
                    if !own.is_empty() && entries.is_some_and(|entries| entries > own_entries as i64) {
                        folios.push((at, behind));
                    }
                }
                at = behind;
            }
        })?;
    }
    folios.sort_unstable();
    Ok(folios)
}

/// How a part of a mapping looks on a map of its folios; where several hold, the last one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Look {
    /// Mapped by PTEs, whole.
    Pte,
    /// Mapped as a whole by one entry.
    Pmd,
    /// Others map it too, or seem to.
    Shared,
    /// Anonymous, and nobody maps some of its pages.
    Partial,
    /// It has pins, as far as these are counted.
    Pinned,
}

/// A part of a mapping that lies in one folio and stands in a row.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Piece {
    /// Its extent.
    pub extent: Extent,
    /// The first frame of the folio.
    pub first: u64,
    /// The folio's order.
    pub order: u8,
    /// How it looks.
    pub look: Look,
}

/// Extents in pieces of one folio each, by rising address. What is no folio that processes map counted is left out.
///
/// # Errors
/// If the kernel does not let us look any more.
pub(crate) fn pieces(
    frames: &mut Frames,
    profile: &Profile,
    extents: Vec<Extent>,
) -> Result<Vec<Piece>, Unavailable> {
    let step = frames.chunk_frames();
    let (mut sorted, starts) = by_chunk(extents, step);
    let mut found: Vec<Piece> = Vec::new();
    for (chunk, bounds) in (0u64..).zip(starts.windows(2)) {
        let part = &mut sorted[bounds[0]..bounds[1]];
        if part.is_empty() {
            continue;
        }
        frames.visit(chunk * step..(chunk + 1) * step, &mut |marks, words| {
            let end = words.first + words.frames(marks);
            for extent in part.iter().filter(|extent| (words.first..end).contains(&extent.frame)) {
                cut(marks, profile, &words, *extent, &mut found);
            }
        })?;
    }
    found.sort_unstable_by_key(|piece| piece.extent.page);
    Ok(found)
}

/// Cuts an extent where its folios end.
fn cut(marks: &Marks, profile: &Profile, words: &Chunk<'_>, mut rest: Extent, found: &mut Vec<Piece>) {
    let page_bytes = marks.page_words as u64 * 8;
    let end = words.first + words.frames(marks);
    while rest.pages > 0 && rest.frame < end {
        let address = words.address + (rest.frame - words.first) * page_bytes;
        let back =
            address.wrapping_sub(marks.head_address(words.from(marks, rest.frame), address)) / page_bytes;
        let first = rest.frame.wrapping_sub(back);
        let inside = (words.first..=rest.frame).contains(&first);
        let head = inside.then(|| marks.head(words.from(marks, first))).flatten();
        let behind = head.map_or(rest.frame + 1, |head| (first + head.pages()).max(rest.frame + 1));
        let pages = u64::from(rest.pages).min(behind - rest.frame) as u32;
        let extent = Extent { pages, ..rest };
        if let Some(head) = head
            && let Some(look) =
                words.ask(marks, profile, (first, &head), |subject, _| look(&subject, &head, &extent))
        {
            found.push(Piece { extent, first, order: head.order, look });
        }
        rest.page += u64::from(pages);
        rest.frame += u64::from(pages);
        rest.pages -= pages;
    }
}

fn look(subject: &Subject<'_>, head: &Head, extent: &Extent) -> Look {
    let at = subject.folio.head;
    let pinned =
        subject.references().and_then(|references| references.pins.value()).is_some_and(|pins| pins > 0);
    let mapped = subject.mapped_pages().value().map_or(head.pages(), u64::from);
    match extent.by {
        _ if pinned => Look::Pinned,
        _ if head.used == Use::Anon && mapped < head.pages() => Look::Partial,
        _ if subject.ask(Query::MaybeShared, at).value() == Some(1) => Look::Shared,
        By::Pte => Look::Pte,
        By::Pmd | By::Pud => Look::Pmd,
    }
}
