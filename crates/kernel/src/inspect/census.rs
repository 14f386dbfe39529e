//! The census: every folio of the machine by what it is used for and how large it is, and how it is mapped and held.

use mapcount_model::field::Field;
use mapcount_model::policy::Pin;
use mapcount_model::profile::Profile;
use mapcount_model::query::{Answer, Query};
use mapcount_model::scheme::PIN_BIAS;
use mapcount_model::units::Kind;
use mapcount_model::verdict::Subject;

use super::frames::{Chunk, Frames};
use super::marks::{Head, Marks, Plains, Use};
use super::sweep::Sweep;
use super::zones::node_of;
use crate::Unavailable;

/// Orders that are told apart: up to 16 GiB of 4 KiB pages.
pub const ORDERS: usize = 23;

/// What is counted of folios of one use and order. `pages…` are base pages.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Count {
    /// Folios.
    pub folios: u64,
    /// Their pages.
    pub pages: u64,
    /// Pages of folios that are mapped as a whole and not by PTEs.
    pub pages_by_pmd: u64,
    /// Pages of folios that are mapped by PTEs alone, every page of them.
    pub pages_by_pte: u64,
    /// Pages of folios that are mapped as a whole and by PTEs too.
    pub pages_both: u64,
    /// Pages of folios of which some pages are mapped and some are not.
    pub pages_partial: u64,
    /// Those folios.
    pub folios_partial: u64,
    /// Pages that nothing maps, of such folios: held, though nobody uses them, where the memory is anonymous.
    pub pages_held: u64,
    /// Pages of folios that nothing maps.
    pub pages_unmapped: u64,
    /// Pages of folios of whose mapped pages this kernel does not keep a count, so that it was estimated.
    pub pages_estimated: u64,
    /// Folios on a deferred split queue.
    pub deferred: u64,
    /// Folios flagged as partially mapped (6.12 on).
    pub flagged_partial: u64,
    /// Mapped folios that the kernel takes for one address space's.
    pub exclusive: u64,
    /// Mapped folios that the kernel takes for shared.
    pub maybe_shared: u64,
    /// Folios with FOLL_PIN pins, as far as these are counted.
    pub pinned: u64,
    /// Folios with references that mappings, caches and pins do not explain.
    pub unexplained: u64,
    /// Folios in the swap cache.
    pub swapcache: u64,
    /// Folios that are mlocked.
    pub mlocked: u64,
}

impl Count {
    fn add(&mut self, other: &Count) {
        let Count {
            folios,
            pages,
            pages_by_pmd,
            pages_by_pte,
            pages_both,
            pages_partial,
            folios_partial,
            pages_held,
            pages_unmapped,
            pages_estimated,
            deferred,
            flagged_partial,
            exclusive,
            maybe_shared,
            pinned,
            unexplained,
            swapcache,
            mlocked,
        } = other;
        self.folios += folios;
        self.pages += pages;
        self.pages_by_pmd += pages_by_pmd;
        self.pages_by_pte += pages_by_pte;
        self.pages_both += pages_both;
        self.pages_partial += pages_partial;
        self.folios_partial += folios_partial;
        self.pages_held += pages_held;
        self.pages_unmapped += pages_unmapped;
        self.pages_estimated += pages_estimated;
        self.deferred += deferred;
        self.flagged_partial += flagged_partial;
        self.exclusive += exclusive;
        self.maybe_shared += maybe_shared;
        self.pinned += pinned;
        self.unexplained += unexplained;
        self.swapcache += swapcache;
        self.mlocked += mlocked;
    }
}

/// The counts of a node.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Node {
    number: u32,
    /// By use and order.
    counts: Vec<[Count; ORDERS]>,
}

/// The counts of a machine, or of a part of it.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Census {
    nodes: Vec<Node>,
    /// Frames whose `struct page` was read.
    pub frames: u64,
    /// Frames that have none.
    pub holes: u64,
    /// Folios that were read again because their counters did not fit together.
    pub read_again: u64,
    /// Folios that did not fit together either when read again: they are counted by use and order only.
    pub unstable: u64,
}

impl Census {
    /// The counts that are not empty, by use and order.
    pub fn rows(&self) -> impl Iterator<Item = (Use, u8, Count)> {
        let all = Use::ALL.iter().flat_map(|used| (0..ORDERS as u8).map(move |order| (*used, order)));
        let counts = all.map(|(used, order)| (used, order, self.of(used, order)));
        counts.filter(|(_, _, count)| count.folios > 0)
    }

    /// The count of one use and order.
    pub fn of(&self, used: Use, order: u8) -> Count {
        let mut total = Count::default();
        for node in &self.nodes {
            total.add(&node.counts[used as usize][usize::from(order).min(ORDERS - 1)]);
        }
        total
    }

    /// The count of one use, whatever the order.
    pub fn total(&self, used: Use) -> Count {
        let mut total = Count::default();
        for (_, _, count) in self.rows().filter(|row| row.0 == used) {
            total.add(&count);
        }
        total
    }

    /// The counts of each node and use that are not empty, whatever the order.
    pub fn nodes(&self) -> impl Iterator<Item = (u32, Use, Count)> {
        self.nodes.iter().flat_map(|node| {
            let uses = Use::ALL.iter().zip(&node.counts).map(|(used, counts)| {
                let mut total = Count::default();
                counts.iter().for_each(|count| total.add(count));
                (node.number, *used, total)
            });
            uses.filter(|(_, _, total)| total.folios > 0)
        })
    }

    /// The place of a node in the list, which grows by it if it is new.
    pub(super) fn node(&mut self, number: u32) -> usize {
        if let Some(place) = self.nodes.iter().position(|known| known.number == number) {
            return place;
        }
        self.nodes.push(Node { number, counts: vec![[Count::default(); ORDERS]; Use::ALL.len()] });
        self.nodes.sort_by_key(|node| node.number);
        self.node(number)
    }

    /// Adds the census of another part of memory.
    pub(super) fn add(&mut self, other: &Census) {
        for node in &other.nodes {
            let place = self.node(node.number);
            let sums = self.nodes[place].counts.iter_mut().flatten();
            sums.zip(node.counts.iter().flatten()).for_each(|(sum, count)| sum.add(count));
        }
        self.frames += other.frames;
        self.read_again += other.read_again;
        self.unstable += other.unstable;
    }

    /// Adds folios that needed no second look.
    pub(super) fn add_plain(&mut self, node: usize, plains: &Plains) {
        let Plains { cached, own, unused, reserved } = plains;
        let counts = &mut self.nodes[node].counts;
        let anon = &mut counts[Use::Anon as usize][0];
        anon.folios += own;
        anon.pages += own;
        anon.pages_by_pte += own;
        anon.exclusive += own;
        for (order, (count, folios)) in counts[Use::File as usize].iter_mut().zip(cached).enumerate() {
            count.folios += folios;
            count.pages += folios << order;
            count.pages_unmapped += folios << order;
        }
        for (used, pages) in [(Use::Free, unused), (Use::Reserved, reserved)] {
            let count = &mut counts[used as usize][0];
            count.folios += pages;
            count.pages += pages;
        }
    }

    #[inline]
    pub(super) fn at(&mut self, node: usize, head: &Head) -> &mut Count {
        &mut self.nodes[node].counts[head.used as usize][usize::from(head.order).min(ORDERS - 1)]
    }
}

/// Whether the counters of a folio fit together; one that does not is not counted.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Seen {
    Counted,
    Contradicts,
}

/// Takes the census.
///
/// # Errors
/// If the kernel does not let it look any more.
pub(crate) fn take(frames: &mut Frames, profile: &Profile) -> Result<Census, Unavailable> {
    take_picked(frames, profile, true, |_, _| true)
}

/// Takes the census of the folios that `belongs` picks by the words of their first page.
pub(crate) fn take_where(
    frames: &mut Frames,
    profile: &Profile,
    belongs: impl Fn(&Marks, &[u64]) -> bool + Sync,
) -> Result<Census, Unavailable> {
    take_picked(frames, profile, false, belongs)
}

fn take_picked(
    frames: &mut Frames,
    profile: &Profile,
    all: bool,
    belongs: impl Fn(&Marks, &[u64]) -> bool + Sync,
) -> Result<Census, Unavailable> {
    let spanned: u64 = frames.zones.iter().map(|zone| zone.frames.end - zone.frames.start).sum();
    let (census, again) = Sweep::new(frames, profile, all, &belongs).run(frames)?;
    let mut census = Census { holes: spanned.saturating_sub(census.frames), ..census };
    for frame in again {
        recount(frames, profile, frame, &mut census)?;
    }
    Ok(census)
}

/// A folio starts at a multiple of its size; what does not was read in the middle of a change.
#[inline]
pub(super) fn within(head: Head, at: u64) -> Head {
    let order = if at & (head.pages() - 1) == 0 { head.order } else { 0 };
    Head { order, ..head }
}

/// How often a folio is read again before it is called unstable.
const READINGS: u32 = 5;

/// Reads a folio again until its counters fit together, and counts it; one that never does is counted as unstable,
/// by its use and order only.
fn recount(
    frames: &mut Frames,
    profile: &Profile,
    frame: u64,
    census: &mut Census,
) -> Result<(), Unavailable> {
    census.read_again += 1;
    let node = node_of(&frames.zones, frame).unwrap_or(0);
    let node = census.node(node);
    let end = (frame + 1).next_multiple_of(frames.chunk_frames());
    let mut done = false;
    for reading in 1..=READINGS {
        frames.visit(frame..end, &mut |marks, chunk| {
            // What became a tail since is counted with its new head.
            let Some(head) = marks.head(chunk.words).filter(|_| chunk.first == frame) else {
                done |= chunk.first == frame;
                return;
            };
            let head = within(head, frame);
            let place = census.at(node, &head);
            done = count(marks, profile, &chunk, frame, &head, place) == Seen::Counted;
            if !done && reading == READINGS {
                place.folios += 1;
                place.pages += head.pages();
                census.unstable += 1;
            }
        })?;
        if done {
            break;
        }
    }
    Ok(())
}

#[inline]
pub(super) fn count(
    marks: &Marks,
    profile: &Profile,
    chunk: &Chunk<'_>,
    frame: u64,
    head: &Head,
    place: &mut Count,
) -> Seen {
    let Some(kind) = head.used.kind() else {
        place.folios += 1;
        place.pages += head.pages();
        return Seen::Counted;
    };
    if head.order == 0 {
        return count_small(marks, profile, chunk.from(marks, frame), head, kind, place);
    }
    let seen =
        chunk.ask(marks, profile, (frame, head), |subject, _| count_large(&subject, head, marks, place));
    seen.unwrap_or(Seen::Contradicts)
}

/// Single pages, which every kernel counts alike: most of memory, so without asking a scheme.
#[inline]
fn count_small(
    marks: &Marks,
    profile: &Profile,
    page: &[u64],
    head: &Head,
    kind: Kind,
    count: &mut Count,
) -> Seen {
    let mapped = i64::from(marks.mapcount(page)) + 1;
    let references = i64::from(marks.refcount(page));
    let state = &head.state;
    let cached = i64::from(state.swapcache) + i64::from(state.pagecache) + i64::from(state.private);
    if mapped < 0 || references < mapped {
        return Seen::Contradicts;
    }
    count.folios += 1;
    count.pages += 1;
    count.pages_unmapped += u64::from(mapped == 0);
    count.pages_by_pte += u64::from(mapped > 0);
    count.exclusive += u64::from(mapped == 1);
    count.maybe_shared += u64::from(mapped > 1);
    count.swapcache += u64::from(state.swapcache);
    count.mlocked += u64::from(head.flags & marks.flags.mlocked != 0);
    let rest = references - mapped - cached;
    if rest != 0 {
        let biased = i64::from(PIN_BIAS);
        let pinned =
            matches!(profile.policy.pin, Pin::Counted { .. }) && rest >= biased && kind != Kind::Zero;
        count.pinned += u64::from(pinned);
        count.unexplained += u64::from(!pinned || rest % biased != 0);
    }
    Seen::Counted
}

/// Whether the page cache holds every reference on a file's folio and no page of it is mapped.
fn is_cached_only(subject: &Subject<'_>, head: &Head) -> bool {
    let state = &head.state;
    let plain = head.used == Use::File && state.pagecache && !state.private && !state.swapcache;
    let at = subject.folio.head;
    plain
        && i64::from(subject.counters.read(Field::Refcount, at)) == head.pages() as i64
        && subject.ask(Query::FolioMapcount, at) == Answer::Exact(0)
}

fn count_large(subject: &Subject<'_>, head: &Head, marks: &Marks, count: &mut Count) -> Seen {
    let pages = head.pages();
    if is_cached_only(subject, head) {
        // Most of the page cache: nothing but the cache holds it, and nothing is mapped.
        count.folios += 1;
        count.pages += pages;
        count.pages_unmapped += pages;
        return Seen::Counted;
    }
    if !subject.is_consistent() {
        return Seen::Contradicts;
    }
    let at = subject.folio.head;
    count.folios += 1;
    count.pages += pages;
    count.swapcache += u64::from(head.state.swapcache);
    count.mlocked += u64::from(head.flags & marks.flags.mlocked != 0);
    let entries = subject.ask(Query::FolioMapcount, at).value().unwrap_or(0);
    let whole = subject.ask(Query::EntireMapcount, at).value().unwrap_or(0);
    let mapped = subject.mapped_pages();
    let mapped_pages = mapped.value().map_or(0, u64::from).min(pages);
    match mapped_pages {
        0 => count.pages_unmapped += pages,
        _ if whole > 0 && entries == whole => count.pages_by_pmd += pages,
        _ if whole > 0 => count.pages_both += pages,
        _ if mapped_pages == pages => count.pages_by_pte += pages,
        _ => {
            count.pages_partial += pages;
            count.folios_partial += 1;
            count.pages_held += pages - mapped_pages;
        }
    }
    if matches!(mapped, Answer::Estimate(_)) {
        count.pages_estimated += pages;
    }
    let flag = |field| u64::from(subject.counters.read(field, at) != 0);
    if head.used == Use::Anon {
        count.deferred += flag(Field::Deferred);
        count.flagged_partial += flag(Field::PartiallyMapped);
    }
    if entries > 0 {
        let shared = subject.ask(Query::MaybeShared, at).value() == Some(1);
        count.maybe_shared += u64::from(shared);
        count.exclusive += u64::from(!shared);
    }
    if let Some(references) = subject.references() {
        count.pinned += u64::from(references.pins.value().is_some_and(|pins| pins > 0));
        count.unexplained += u64::from(references.rest != 0);
    }
    Seen::Counted
}
