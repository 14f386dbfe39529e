//! Virtual memory areas of an address space, sorted, and how they split and merge.

use super::frames::Root;

/// What a VMA allows.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Protection {
    /// Reading.
    pub read: bool,
    /// Writing.
    pub write: bool,
}

impl Protection {
    /// Reading and writing.
    pub const READ_WRITE: Protection = Protection { read: true, write: true };
    /// Reading.
    pub const READ: Protection = Protection { read: true, write: false };
    /// Nothing.
    pub const NONE: Protection = Protection { read: false, write: false };
}

/// What MADV_HUGEPAGE and MADV_NOHUGEPAGE left.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum ThpAdvice {
    /// Neither.
    None,
    /// MADV_HUGEPAGE.
    Huge,
    /// MADV_NOHUGEPAGE.
    NoHuge,
}

/// What an area shares with those that it was one with when it first got anonymous memory of its own (the
/// anon_vma in the kernel).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct AnonVma {
    /// Its number.
    pub id: u32,
    /// The area was copied by fork, and has its parent's too.
    pub inherited: bool,
}

/// What is known of an area of huge pages.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct HugetlbArea {
    /// MAP_SHARED rather than MAP_PRIVATE.
    pub shared: bool,
    /// Pages of a private mapping are promised to this area (HPAGE_RESV_OWNER): it is no copy that fork made.
    pub owner: bool,
    /// A page was taken away from this area for the owner's sake (HPAGE_RESV_UNMAPPED): where nothing is mapped, a
    /// touch is a SIGBUS.
    pub robbed: bool,
}

/// What an area maps of a file.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct FileArea {
    /// The file, by its root.
    pub root: Root,
    /// Writes go to the file (MAP_SHARED), not to copies of its pages.
    pub shared: bool,
}

/// An area of an address space; addresses and offsets are in pages.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Vma {
    /// The first page.
    pub start: u64,
    /// The first page behind it.
    pub end: u64,
    /// The offset of the first page: folios of page `index` are found at `start + index − offset`.
    pub offset: u64,
    /// What it allows.
    pub protection: Protection,
    /// Advice about huge pages.
    pub advice: ThpAdvice,
    /// VM_LOCKED.
    pub locked: bool,
    /// VM_MERGEABLE: ksmd may merge its pages.
    pub mergeable: bool,
    /// Whose anonymous folios it may map; of a shared file mapping the file's folios, it has no others.
    pub root: Root,
    /// The file that it maps.
    pub file: Option<FileArea>,
    /// With which areas it can become one; `None` while it has mapped nothing but the zero page.
    pub anon: Option<AnonVma>,
    /// VM_HUGETLB: it maps huge pages of the pool; its ends are multiples of their size.
    pub hugetlb: Option<HugetlbArea>,
}

/// Which memory areas may have that become one: a range has changed, and its neighbours may take it in
/// (`is_mergeable_anon_vma()`, mm/mmap.c, v5.10; mm/vma.c, v6.12, v7.2).
#[derive(Clone, Copy, Debug)]
pub struct Joining {
    /// The end of what has changed.
    pub end: u64,
    /// The memory that its last area had before any joined.
    pub last: Option<AnonVma>,
    /// An area with memory joins a neighbour that has none, as well as the other way round.
    pub either_way: bool,
}

impl Joining {
    /// Whether the memory of these two neighbours may be one.
    pub fn suits(&self, left: &Vma, right: &Vma) -> bool {
        let (neighbour, changed) =
            if left.end < self.end { (left.anon, right.anon) } else { (right.anon, self.last) };
        let joins = match (changed, neighbour) {
            (None, Some(neighbour)) => !neighbour.inherited,
            (Some(changed), None) => self.either_way && !changed.inherited,
            (changed, neighbour) => changed == neighbour,
        };
        joins && (left.anon.is_none() || right.anon.is_none() || left.anon == right.anon)
    }
}

impl Vma {
    /// Whether `at` lies in it.
    pub const fn contains(&self, at: u64) -> bool {
        at >= self.start && at < self.end
    }

    /// Whether `next` continues this area in every respect but its memory, so that both can be one (`vma_merge()`,
    /// mm/mmap.c). Areas of huge pages never become one (VM_DONTEXPAND).
    fn continues_in(&self, next: &Vma) -> bool {
        let huge = self.hugetlb.is_some() || next.hugetlb.is_some();
        !huge && self.protection == next.protection && self.could_share_anon(next)
    }

    /// Whether `next` continues this area but for what it allows: then both use one anon_vma
    /// (`anon_vma_compatible()`, mm/mmap.c).
    fn could_share_anon(&self, next: &Vma) -> bool {
        self.end == next.start
            && self.offset + (self.end - self.start) == next.offset
            && self.could_share_root(next)
            && self.file == next.file
            && self.advice == next.advice
            && self.locked == next.locked
            && self.mergeable == next.mergeable
    }

    /// Whether both have one root, or one of them has no memory of its own yet, and so could take the other's.
    fn could_share_root(&self, next: &Vma) -> bool {
        let is_unused = |area: &Vma| area.anon.is_none() && area.file.is_none();
        self.root == next.root || is_unused(self) || is_unused(next)
    }

    /// Whether writes go to a file, or to huge pages that all see (VM_SHARED).
    pub const fn is_shared(&self) -> bool {
        matches!(self.file, Some(FileArea { shared: true, .. }))
            || matches!(self.hugetlb, Some(HugetlbArea { shared: true, .. }))
    }

    /// The roots whose folios it may map.
    pub fn roots(&self) -> impl Iterator<Item = Root> {
        let file = self.file.map(|file| file.root).filter(|root| *root != self.root);
        [self.root].into_iter().chain(file)
    }

    /// The offset of page `at`.
    pub const fn offset_of(&self, at: u64) -> u64 {
        self.offset + (at - self.start)
    }

    /// Its permissions as /proc/pid/maps prints them.
    pub const fn permissions(&self) -> &'static str {
        match (self.protection.read, self.protection.write, self.is_shared()) {
            (true, true, false) => "rw-p",
            (true, false, false) => "r--p",
            (false, true, false) => "-w-p",
            (false, false, false) => "---p",
            (true, true, true) => "rw-s",
            (true, false, true) => "r--s",
            (false, true, true) => "-w-s",
            (false, false, true) => "---s",
        }
    }
}

/// The areas of an address space.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub struct Vmas {
    areas: Vec<Vma>,
}

impl Vmas {
    /// The area that holds `at`.
    pub fn find(&self, at: u64) -> Option<Vma> {
        let index = self.areas.partition_point(|vma| vma.end <= at);
        self.areas.get(index).copied().filter(|vma| vma.contains(at))
    }

    /// The areas that overlap `start..end`.
    pub fn overlapping(&self, start: u64, end: u64) -> &[Vma] {
        let first = self.areas.partition_point(|vma| vma.end <= start);
        let last = self.areas.partition_point(|vma| vma.start < end);
        &self.areas[first.min(last)..last]
    }

    /// All areas.
    pub fn all(&self) -> &[Vma] {
        &self.areas
    }

    /// Whether areas cover `start..end` without a hole.
    pub fn covers(&self, start: u64, end: u64) -> bool {
        let mut at = start;
        for vma in self.overlapping(start, end) {
            if vma.start > at {
                return false;
            }
            at = vma.end;
        }
        at >= end
    }

    /// Gives the area that holds `at` an anon_vma, if it has none: that of a neighbour that it could be one
    /// with, the next one before the previous one, else a new one (`__anon_vma_prepare()`, mm/rmap.c).
    pub fn prepare_anon(&mut self, at: u64, new: impl FnOnce() -> u32) {
        let index = self.areas.partition_point(|vma| vma.end <= at);
        let Some(vma) = self.areas.get(index).filter(|vma| vma.anon.is_none()) else { return };
        let of = |neighbour: &Vma| {
            neighbour.anon.filter(|anon| !anon.inherited).map(|anon| (anon, neighbour.root))
        };
        let next = self.areas.get(index + 1).filter(|next| vma.could_share_anon(next)).and_then(of);
        let previous = || {
            let previous = self.areas[..index].last().filter(|previous| previous.could_share_anon(vma));
            previous.and_then(of)
        };
        let own = vma.root;
        let (anon, root) =
            next.or_else(previous).unwrap_or_else(|| (AnonVma { id: new(), inherited: false }, own));
        let vma = &mut self.areas[index];
        (vma.anon, vma.root) = (Some(anon), root);
    }

    /// Puts an area where none is.
    pub fn insert(&mut self, vma: Vma) {
        let index = self.areas.partition_point(|other| other.start < vma.start);
        self.areas.insert(index, vma);
    }

    /// Cuts the area that holds `at` behind its first page into two.
    pub fn split(&mut self, at: u64) {
        let index = self.areas.partition_point(|vma| vma.end <= at);
        let Some(vma) = self.areas.get_mut(index).filter(|vma| vma.start < at && at < vma.end) else {
            return;
        };
        let right = Vma { start: at, offset: vma.offset_of(at), ..*vma };
        vma.end = at;
        self.areas.insert(index + 1, right);
    }

    /// Takes away the areas within `start..end`, at whose ends areas were cut before.
    pub fn remove(&mut self, start: u64, end: u64) {
        self.areas.retain(|vma| vma.start < start || vma.end > end);
    }

    /// Changes the areas within `start..end`, at whose ends areas were cut before.
    pub fn update(&mut self, start: u64, end: u64, change: impl Fn(&mut Vma)) {
        let first = self.areas.partition_point(|vma| vma.start < start);
        for vma in self.areas[first..].iter_mut().take_while(|vma| vma.end <= end) {
            change(vma);
        }
    }

    /// The first place in `start..=end` where two areas can become one, as far as `suits` allows it for their memory.
    pub fn mergeable(&self, start: u64, end: u64, suits: impl Fn(&Vma, &Vma) -> bool) -> Option<u64> {
        let first = self.areas.partition_point(|vma| vma.end < start);
        self.areas[first..]
            .windows(2)
            .take_while(|pair| pair[0].end <= end)
            .find(|pair| pair[0].continues_in(&pair[1]) && suits(&pair[0], &pair[1]))
            .map(|pair| pair[0].end)
    }

    /// How far areas reach from `start` on without a hole.
    pub fn covered_to(&self, start: u64) -> u64 {
        let mut end = start;
        while let Some(area) = self.find(end) {
            end = area.end;
        }
        end
    }

    /// Joins the areas that meet at `at`.
    pub fn merge(&mut self, at: u64) {
        let index = self.areas.partition_point(|vma| vma.end <= at);
        let right = self.areas.remove(index);
        let left = &mut self.areas[index - 1];
        left.end = right.end;
        if left.anon.is_none() && right.anon.is_some() {
            (left.anon, left.root) = (right.anon, right.root);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{AnonVma, Joining, Protection, ThpAdvice, Vma, Vmas};
    use crate::machine::frames::Root;

    fn area(start: u64, end: u64) -> Vma {
        Vma {
            start,
            end,
            offset: start,
            protection: Protection::READ_WRITE,
            advice: ThpAdvice::None,
            locked: false,
            mergeable: false,
            root: Root(1),
            file: None,
            anon: None,
            hugetlb: None,
        }
    }

    /// Where two can become one, if it does not matter which of them has changed.
    fn joint(vmas: &Vmas, start: u64, end: u64) -> Option<u64> {
        vmas.mergeable(start, end, |left, right| {
            Joining { end, last: left.anon, either_way: true }.suits(left, right)
        })
    }

    #[test]
    fn who_has_memory_joins_who_has_none_from_some_release_on() {
        let own = Some(AnonVma { id: 1, inherited: false });
        let (left, right) = (Vma { anon: own, ..area(0, 8) }, area(8, 16));
        for either_way in [false, true] {
            let changed_left = Joining { end: 8, last: own, either_way };
            assert_eq!(changed_left.suits(&left, &right), either_way);
            let changed_right = Joining { end: 16, last: None, either_way };
            assert!(changed_right.suits(&left, &right), "it has nothing to lose");
        }
        let inherited = Some(AnonVma { id: 1, inherited: true });
        let left = Vma { anon: inherited, ..left };
        assert!(!Joining { end: 16, last: None, either_way: true }.suits(&left, &right));
        // In the middle of two that differ it joins the first alone.
        let other = Vma { anon: Some(AnonVma { id: 2, inherited: false }), ..right };
        assert!(!Joining { end: 8, last: None, either_way: true }.suits(&Vma { anon: own, ..left }, &other));
    }

    #[test]
    fn areas_split_and_merge_where_they_are_alike() {
        let mut vmas = Vmas::default();
        vmas.insert(area(0, 512));
        vmas.split(256);
        vmas.split(257);
        vmas.update(256, 257, |vma| vma.protection = Protection::READ);
        assert_eq!(vmas.all().len(), 3);
        assert_eq!(joint(&vmas, 0, 512), None);
        vmas.update(256, 257, |vma| vma.protection = Protection::READ_WRITE);
        while let Some(at) = joint(&vmas, 0, 512) {
            vmas.merge(at);
        }
        assert_eq!(vmas.all(), &[area(0, 512)]);
    }

    #[test]
    fn holes_are_seen() {
        let mut vmas = Vmas::default();
        vmas.insert(area(0, 10));
        vmas.insert(area(12, 20));
        assert!(vmas.covers(2, 10) && vmas.covers(12, 20));
        assert!(!vmas.covers(9, 13) && !vmas.covers(10, 12) && !vmas.covers(15, 21));
        assert_eq!(vmas.overlapping(5, 13).len(), 2);
        assert_eq!(vmas.overlapping(10, 12).len(), 0);
    }

    #[test]
    fn an_area_without_memory_takes_its_neighbours_root() {
        let mut vmas = Vmas::default();
        vmas.insert(area(0, 8));
        vmas.insert(Vma { root: Root(2), locked: true, ..area(8, 16) });
        vmas.prepare_anon(8, || 1);
        vmas.update(8, 16, |vma| vma.locked = false);
        assert_eq!(joint(&vmas, 0, 16), Some(8));
        vmas.merge(8);
        assert_eq!(vmas.all().len(), 1);
        assert_eq!((vmas.all()[0].root, vmas.all()[0].anon.map(|anon| anon.id)), (Root(2), Some(1)));
        let mut apart = Vmas::default();
        apart.insert(area(0, 8));
        apart.insert(Vma { root: Root(2), locked: true, ..area(8, 16) });
        apart.prepare_anon(0, || 1);
        apart.prepare_anon(8, || 2);
        apart.update(8, 16, |vma| vma.locked = false);
        assert_eq!(joint(&apart, 0, 16), None, "each has memory of its own");
    }

    #[test]
    fn areas_with_memory_of_their_own_stay_apart() {
        let mut vmas = Vmas::default();
        vmas.insert(area(0, 16));
        vmas.split(8);
        vmas.update(0, 8, |vma| vma.locked = true);
        vmas.prepare_anon(0, || 1);
        vmas.update(0, 8, |vma| vma.locked = false);
        assert_eq!(joint(&vmas, 0, 16), Some(8), "one has none yet");
        vmas.prepare_anon(8, || 2);
        assert_eq!(joint(&vmas, 0, 16), Some(8), "it took its neighbour's");
        vmas.update(8, 16, |vma| vma.anon = Some(AnonVma { id: 2, inherited: false }));
        assert_eq!(joint(&vmas, 0, 16), None);
    }
}
