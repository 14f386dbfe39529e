//! Extents cut into the pieces of the folios that they map, for those who look at folios one by one.

use mapcount_model::profile::Profile;
use mapcount_model::query::Query;
use mapcount_model::verdict::Subject;

use super::extent::{BLOCK, By, Extent};
use super::frames::{Chunk, Frames};
use super::marks::{Head, Marks, Use};
use super::{folio, usage};
use crate::Unavailable;

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
                    let own = part[from..until].iter().filter_map(|e| folio::within(e, at, head.pages()));
                    let own_entries: u64 = own.map(|extent| usage::entries(&extent)).sum();
                    if own_entries > 0 && entries.is_some_and(|entries| entries > own_entries as i64) {
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
