//! Extents of processes joined with the counters of their folios, a block of frames after the other, for all processes
//! at hand at once.

use mapcount_model::profile::Profile;

use super::blocks::{Blocks, Packed};
use super::extent::{BLOCK, By, Extent};
use super::frames::{Chunk, Frames, PART};
use super::marks::{Head, Marks, Plain, Use};
use super::usage::Usage;
use crate::Unavailable;

/// How often a folio that does not fit together is read again.
const READINGS: u32 = 4;

/// How often parts of a block are added before all of it is read.
const ROUNDS: u32 = 3;

/// More parts of a block than this are not worth to be chosen: all of it is read.
const MOST_PARTS: u32 = 40;

/// Joins extents with counters and adds what each owner uses to the usage at its number. `orders` are the sizes of blocks
/// to look for.
///
/// # Errors
/// If the kernel does not let us look any more.
pub(crate) fn join(
    frames: &mut Frames,
    profile: &Profile,
    blocks: &mut Blocks,
    usages: &mut [Usage],
    orders: &[u8],
) -> Result<(), Unavailable> {
    let mut pending: Vec<(u64, Vec<Extent>)> = Vec::new();
    let mut large: Vec<Extent> = Vec::new();
    for (first, extents) in blocks.drain() {
        let mut run = |marks: &Marks, words: Chunk<'_>, extents: &mut dyn Iterator<Item = Extent>| {
            let (pending, large, usages) = (&mut pending, &mut large, &mut *usages);
            Part { marks, profile, words, orders, usages, pending, large }.run(extents);
        };
        if by_parts(frames, first, &extents, &mut run)? {
            continue;
        }
        let uncounted = by_chunks(frames, first, &extents, &mut run)?;
        for extent in uncounted {
            usages[extent.owner as usize].add_uncounted(Use::Kernel, u64::from(extent.pages));
        }
    }
    for (head, segments) in pending {
        later(frames, profile, head, &segments, orders, usages)?;
    }
    Ok(())
}

/// What counts extents in a chunk.
type Run<'a> = dyn FnMut(&Marks, Chunk<'_>, &mut dyn Iterator<Item = Extent>) + 'a;

/// Reads those parts of the block from the frame `first` on that its extents, and the folios that these are of, stand in.
/// Returns whether all of them could be read, and were counted.
fn by_parts(
    frames: &mut Frames,
    first: u64,
    extents: &[Packed],
    run: &mut Run<'_>,
) -> Result<bool, Unavailable> {
    let parts = extents.iter().map(|extent| match extent.pages() {
        (pages, By::Pte | By::Pmd) => parts_of(extent.frame(), u64::from(pages)),
        (_, By::Pud) => parts_of(extent.frame(), 1),
    });
    let mut wanted = parts.fold(0, |all, parts| all | parts);
    let mut there = 0;
    for round in 1..=ROUNDS {
        if round == ROUNDS || wanted.count_ones() > MOST_PARTS {
            wanted = u64::MAX;
        }
        let mut missing = 0;
        let readable = frames.visit_parts(first, wanted & !there, &mut |marks, words| {
            missing = if wanted == u64::MAX { 0 } else { needed(marks, &words, extents, wanted) & !wanted };
            if missing == 0 {
                run(marks, words, &mut extents.iter().map(|extent| extent.extent(first)));
            }
        })?;
        if !readable || missing == 0 {
            return Ok(readable);
        }
        there = wanted;
        wanted |= missing;
    }
    Ok(false)
}

/// The parts of a block that some frames stand in, a bit each; frames behind the block are left out.
fn parts_of(frame: u64, frames: u64) -> u64 {
    let (from, to) = (frame / PART, (frame + frames).min(BLOCK).div_ceil(PART));
    let bits = to.saturating_sub(from);
    if bits >= 64 { u64::MAX } else { ((1 << bits) - 1) << from }
}

/// The parts that the folios of some extents stand in, as far as can be told from the parts that are `there`.
fn needed(marks: &Marks, words: &Chunk<'_>, extents: &[Packed], there: u64) -> u64 {
    let page_bytes = marks.page_words as u64 * 8;
    let mut needed = 0;
    for extent in extents {
        let mut at = extent.frame();
        let end = (at + u64::from(extent.pages().0)).min(BLOCK);
        while at < end && parts_of(at, 1) & there != 0 {
            let page = words.from(marks, words.first + at);
            if marks.is_single(page) {
                at += 1;
                continue;
            }
            let address = words.address + at * page_bytes;
            let back = address.wrapping_sub(marks.head_address(page, address)) / page_bytes;
            // The first page of a gigantic folio is in another block; those are read by themselves.
            let Some(first) = at.checked_sub(back) else { break };
            needed |= parts_of(first, 1);
            if parts_of(first, 1) & there == 0 {
                break;
            }
            let pages = marks.head(words.from(marks, words.first + first)).map_or(1, |head| head.pages());
            needed |= parts_of(first, pages);
            at = (first + pages).max(at + 1);
        }
    }
    needed
}

/// Reads all of the block from the frame `first` on, in smaller chunks where it has holes. Returns the extents that no
/// `struct page`s were found of: devices' memory.
fn by_chunks(
    frames: &mut Frames,
    first: u64,
    extents: &[Packed],
    run: &mut Run<'_>,
) -> Result<Vec<Extent>, Unavailable> {
    let extents: Vec<Extent> = extents.iter().map(|extent| extent.extent(first)).collect();
    let mut seen: Vec<std::ops::Range<u64>> = Vec::new();
    let step = frames.chunk_frames().min(BLOCK);
    for start in (first..first + BLOCK).step_by(step as usize) {
        frames.visit(start..start + step, &mut |marks, words| {
            let here = words.first..words.first + words.frames(marks);
            run(marks, words, &mut extents.iter().filter(|extent| here.contains(&extent.frame)).copied());
            seen.push(here);
        })?;
    }
    let was_seen = |extent: &Extent| seen.iter().any(|frames| frames.contains(&extent.frame));
    Ok(extents.into_iter().filter(|extent| !was_seen(extent)).collect())
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
    /// Extents at hand that begin in a large folio.
    large: &'a mut Vec<Extent>,
}

impl Part<'_> {
    /// Counts extents, in any order.
    fn run(&mut self, extents: impl Iterator<Item = Extent>) {
        self.large.clear();
        // Pages of an owner that nobody else has: most of them, so without a look at its usage for each.
        let (mut owner, mut own) = (0, 0);
        for extent in extents {
            if extent.owner != owner {
                self.usages[owner as usize].add_own(std::mem::take(&mut own));
                owner = extent.owner;
            }
            own += self.singles(extent);
        }
        self.usages[owner as usize].add_own(own);
        let mut large = std::mem::take(self.large);
        large.sort_unstable_by_key(|extent| (extent.owner, extent.frame, extent.page));
        self.folios(&large);
        *self.large = large;
    }

    /// Counts the single pages that an extent begins with; from the first large folio on it is left for later. Returns how
    /// many anonymous pages there were that nothing but this extent maps or holds: these are not counted yet.
    #[inline]
    fn singles(&mut self, extent: Extent) -> u64 {
        let mut own = 0;
        let end = self.words.first + self.words.frames(self.marks);
        for done in 0..extent.pages {
            let frame = extent.frame + u64::from(done);
            let is_single = extent.by == By::Pte && frame < end;
            let page = if is_single { self.words.from(self.marks, frame) } else { &[] };
            if is_single && self.marks.plain(&page[..self.marks.page_words]) == Plain::Own {
                own += 1;
                continue;
            }
            let rest =
                Extent { page: extent.page + u64::from(done), frame, pages: extent.pages - done, ..extent };
            if !is_single || !self.marks.is_single(page) {
                self.large.push(rest);
                break;
            }
            let usage = &mut self.usages[extent.owner as usize];
            let segment = Extent { pages: 1, ..rest };
            let counted = self.marks.head(page).is_some_and(|head| {
                count(
                    self.marks,
                    self.profile,
                    &self.words,
                    (frame, &head),
                    std::slice::from_ref(&segment),
                    self.orders,
                    usage,
                )
            });
            if !counted {
                self.pending.push((frame, vec![segment]));
            }
        }
        own
    }

    /// Counts extents that stand by owner and by rising frame.
    fn folios(&mut self, extents: &[Extent]) {
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
