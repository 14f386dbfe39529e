//! Folios with references that neither mappings nor caches explain, in groups.

use std::collections::BTreeMap;

use mapcount_model::profile::Profile;
use mapcount_model::verdict::References;

use super::drain::drain_lru;
use super::frames::{Chunk, Frames};
use super::marks::{Head, Marks, Use};
use crate::Unavailable;

/// What references that nobody is known for can be, as flags and numbers suggest.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Holder {
    /// FOLL_PIN pins: io_uring buffers, RDMA, VFIO, direct I/O under way.
    Pins,
    /// A per-CPU batch that is bound for the LRU.
    Batch,
    /// Somebody took it off the LRU: reclaim, compaction, migration.
    Isolation,
    /// It is being written out, or read in.
    Io,
    /// An ordinary reference of somebody (GUP, vmsplice, a lookup).
    Somebody,
    /// There are fewer references than mappings and caches: something is being taken away.
    TooFew,
}

impl Holder {
    /// The name in reports.
    pub const fn name(self) -> &'static str {
        match self {
            Holder::Pins => "pins",
            Holder::Batch => "lru-batch",
            Holder::Isolation => "isolated",
            Holder::Io => "io",
            Holder::Somebody => "somebody",
            Holder::TooFew => "too-few",
        }
    }

    /// The same in words.
    pub const fn text(self) -> &'static str {
        match self {
            Holder::Pins => "FOLL_PIN: a registered io_uring buffer, RDMA, VFIO, or direct I/O under way",
            Holder::Batch => "a per-CPU batch of pages bound for the LRU",
            Holder::Isolation => "off the LRU: reclaim, compaction or migration has isolated it",
            Holder::Io => "it is locked or written out: I/O under way",
            Holder::Somebody => "an ordinary reference (GUP without FOLL_PIN, vmsplice, a lookup under way)",
            Holder::TooFew => "fewer references than mappings and caches: something is being taken away",
        }
    }

    pub(crate) fn of(references: &References, head: &Head, locked: u64) -> Holder {
        match references.rest {
            _ if references.pinned > 0 => Holder::Pins,
            ..=-1 => Holder::TooFew,
            1 if !head.state.lru && head.order == 0 => Holder::Batch,
            _ if head.state.writeback || head.flags & locked != 0 => Holder::Io,
            1 if !head.state.lru => Holder::Isolation,
            _ => Holder::Somebody,
        }
    }
}

/// What folios of a group have in common.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Group {
    /// Who may hold them.
    pub holder: Holder,
    /// What they are used for.
    pub used: Use,
    /// Their order.
    pub order: u8,
    /// References that mappings and caches do not explain, of each.
    pub unexplained: i64,
}

/// The folios of a group.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Members {
    /// How many at the first look.
    pub folios: u64,
    /// How many of them had the same references still when the batches had been drained.
    pub lasting: u64,
    /// The frame of one that lasted, else of one that did not.
    pub example: u64,
}

/// Folios whose references are not explained.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Unexpected {
    /// The groups.
    pub groups: BTreeMap<Group, Members>,
    /// Folios that were looked at.
    pub folios: u64,
    /// Whether batches were drained between the two looks.
    pub drained: bool,
    /// Folios beyond what is remembered for the second look.
    pub beyond: u64,
}

/// Folios that are remembered for the second look: 48 MiB.
const MOST: usize = 1 << 20;

/// Looks twice at all memory, with a drain of the LRU's batches in between.
pub(crate) fn look(frames: &mut Frames, profile: &Profile) -> Result<Unexpected, Unavailable> {
    let mut found = Unexpected::default();
    let mut first: Vec<(u64, Group)> = Vec::new();
    frames.each_chunk(&mut |marks, chunk| {
        let end = chunk.first + chunk.frames(marks);
        let mut at = chunk.first;
        while at < end {
            let Some(head) = marks.head(chunk.from(marks, at)) else {
                at += 1;
                continue;
            };
            found.folios += u64::from(head.used.kind().is_some());
            if let Some(group) = group(marks, profile, &chunk, at, &head) {
                if first.len() < MOST {
                    first.push((at, group));
                } else {
                    found.beyond += 1;
                }
            }
            at += head.pages();
        }
    })?;
    found.drained = drain_lru();
    for (frame, before) in first {
        let mut after = None;
        // Some words behind the head: of a large folio those that have counters for the whole.
        let pages = (1u64 << before.order).min(frames.chunk_frames());
        frames.visit(frame..frame + pages, &mut |marks, chunk| {
            if chunk.first == frame {
                let head = marks.head(chunk.words);
                after = head.and_then(|head| group(marks, profile, &chunk, frame, &head));
            }
        })?;
        let lasts = after.is_some_and(|after| Group { holder: before.holder, ..after } == before);
        let members = found.groups.entry(before).or_default();
        if members.folios == 0 || (lasts && members.lasting == 0) {
            members.example = frame;
        }
        members.folios += 1;
        members.lasting += u64::from(lasts);
    }
    Ok(found)
}

/// The group of a folio; `None` if its references are explained, or nothing is known of them.
fn group(marks: &Marks, profile: &Profile, chunk: &Chunk<'_>, at: u64, head: &Head) -> Option<Group> {
    let references = if head.order == 0 {
        small(marks, chunk.from(marks, at), head)?;
        chunk.ask(marks, profile, (at, head), |subject, _| subject.references())??
    } else {
        chunk.ask(marks, profile, (at, head), |subject, _| {
            subject.is_consistent().then(|| subject.references()).flatten()
        })??
    };
    let unexplained = references.unexplained();
    let holder = Holder::of(&references, head, marks.flags.locked);
    (unexplained != 0).then_some(Group { holder, used: head.used, order: head.order, unexplained })
}

/// Quickly passes over single pages that are explained, which are most of memory.
fn small(marks: &Marks, page: &[u64], head: &Head) -> Option<()> {
    head.used.kind()?;
    let cached =
        i32::from(head.state.swapcache) + i32::from(head.state.pagecache) + i32::from(head.state.private);
    (marks.refcount(page) != marks.mapcount(page) + 1 + cached).then_some(())
}
