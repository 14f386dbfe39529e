//! Physical memory: which frames form which folio, what they hold, which are free.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;

use crate::units::{Folio, Kind, Order, PageRange, Pfn};

/// The greatest order of a block of free memory; no folio is larger.
const MAX_ORDER: usize = 9;

/// A reverse mapping's root: all address spaces that inherited an anonymous mapping by fork share it
/// (anon_vma and its chain in the kernel).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct AnonRoot(pub u32);

/// Where an anonymous folio belongs: in every VMA of the root, the page `index` pages from the VMA's offset 0.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Mapping {
    /// Who may map it.
    pub root: AnonRoot,
    /// The offset of the folio's first page.
    pub index: u64,
}

/// What is known of a frame. Only `written` differs between the pages of a folio.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Frame {
    order: u8,
    kind: Kind,
    used: bool,
    /// Holds something else than zeroes.
    written: bool,
    root: AnonRoot,
    index: u64,
}

const FREE: Frame =
    Frame { order: 0, kind: Kind::Anon, used: false, written: false, root: AnonRoot(0), index: 0 };

/// All frames.
#[derive(Clone, Debug)]
pub struct Frames {
    frames: RefCell<Vec<Frame>>,
    free: RefCell<[BTreeSet<u32>; MAX_ORDER + 1]>,
    used: Cell<u32>,
    limit: u32,
}

impl Frames {
    /// Memory of `limit` frames.
    pub fn new(limit: u32) -> Frames {
        Frames { frames: RefCell::default(), free: RefCell::default(), used: Cell::new(0), limit }
    }

    /// Frames that were ever used; the counters need room for these.
    pub fn len(&self) -> u32 {
        self.frames.borrow().len() as u32
    }

    /// Whether no frame was ever used.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Frames in use.
    pub fn used(&self) -> u32 {
        self.used.get()
    }

    /// Takes a free block of `order`, the lowest one that fits; `None` when memory is full.
    pub fn alloc(&self, order: Order, kind: Kind, mapping: Option<Mapping>) -> Option<Folio> {
        // The zero page is part of the kernel's image, beside the memory.
        let beside = u32::from(kind == Kind::Zero && order == Order::ZERO);
        let first = self.take_free(order, self.limit + beside)?;
        let mapping = mapping.unwrap_or(Mapping { root: AnonRoot(0), index: 0 });
        let frame = Frame {
            order: order.0,
            kind,
            used: true,
            written: false,
            root: mapping.root,
            index: mapping.index,
        };
        let folio = Folio { head: Pfn(first), order, kind };
        self.frames.borrow_mut()[folio.range().indexes()].fill(frame);
        self.used.set(self.used.get() + order.pages());
        Some(folio)
    }

    fn take_free(&self, order: Order, limit: u32) -> Option<u32> {
        let wanted = usize::from(order.0);
        loop {
            let mut free = self.free.borrow_mut();
            let found = (wanted..=MAX_ORDER).find_map(|o| free[o].pop_first().map(|first| (o, first)));
            let Some((mut have, first)) = found else {
                drop(free);
                self.grow(limit)?;
                continue;
            };
            while have > wanted {
                have -= 1;
                free[have].insert(first + (1 << have));
            }
            return Some(first);
        }
    }

    /// Frees frames that were never used, a block of the greatest order if so many are left; `None` if there
    /// are none.
    fn grow(&self, limit: u32) -> Option<()> {
        let mut frames = self.frames.borrow_mut();
        let mut first = frames.len() as u32;
        let end = limit.min(first + (1 << MAX_ORDER));
        if first >= end {
            return None;
        }
        frames.resize(end as usize, FREE);
        while first < end {
            let order = first.trailing_zeros().min((end - first).ilog2()).min(MAX_ORDER as u32);
            self.free.borrow_mut()[order as usize].insert(first);
            first += 1 << order;
        }
        Some(())
    }

    /// Gives a folio's frames back and joins them with free neighbours.
    pub fn free(&self, folio: Folio) {
        self.frames.borrow_mut()[folio.range().indexes()].fill(FREE);
        self.used.set(self.used.get() - folio.pages());
        let mut free = self.free.borrow_mut();
        let (mut first, mut order) = (folio.head.0, usize::from(folio.order.0));
        while order < MAX_ORDER && free[order].remove(&(first ^ (1 << order))) {
            first &= !(1 << order);
            order += 1;
        }
        free[order].insert(first);
    }

    /// The folio that a frame belongs to; `None` for a free frame.
    #[inline]
    pub fn folio(&self, page: Pfn) -> Option<Folio> {
        let frame = self.frames.borrow().get(page.index()).copied()?;
        let head = Pfn(page.0 & !((1 << frame.order) - 1));
        frame.used.then_some(Folio { head, order: Order(frame.order), kind: frame.kind })
    }

    /// Where a folio belongs.
    pub fn mapping(&self, folio: Folio) -> Mapping {
        let frame = self.frames.borrow()[folio.head.index()];
        Mapping { root: frame.root, index: frame.index }
    }

    /// Cuts a folio into `pieces`, which must cover it; each belongs to its part of the mapping.
    pub fn split(&self, folio: Folio, pieces: &[Folio]) {
        let mut frames = self.frames.borrow_mut();
        let index = frames[folio.head.index()].index;
        for piece in pieces {
            for frame in &mut frames[piece.range().indexes()] {
                frame.order = piece.order.0;
                frame.index = index + u64::from(piece.head.0 - folio.head.0);
            }
        }
    }

    /// Notes that pages hold something else than zeroes.
    pub fn set_written(&self, pages: PageRange) {
        for frame in &mut self.frames.borrow_mut()[pages.indexes()] {
            frame.written = true;
        }
    }

    /// Copies one page's content to another, as far as it matters here.
    pub fn copy_content(&self, from: PageRange, to: Pfn) {
        let mut frames = self.frames.borrow_mut();
        for i in 0..from.len {
            let written = frames[from.first.add(i).index()].written;
            frames[to.add(i).index()].written = written;
        }
    }

    /// Whether a page holds zeroes only.
    pub fn is_zero_filled(&self, page: Pfn) -> bool {
        !self.frames.borrow()[page.index()].written
    }

    /// How many pages of a folio hold zeroes only.
    pub fn zero_filled(&self, folio: Folio) -> u32 {
        self.frames.borrow()[folio.range().indexes()].iter().filter(|frame| !frame.written).count() as u32
    }

    /// Every folio in use, lowest first.
    pub fn folios(&self) -> impl Iterator<Item = Folio> {
        let mut next = Pfn(0);
        let end = self.len();
        std::iter::from_fn(move || {
            while next.0 < end {
                match self.folio(next) {
                    Some(folio) => {
                        next = next.add(folio.pages());
                        return Some(folio);
                    }
                    None => next = next.add(1),
                }
            }
            None
        })
    }

    /// Bytes held.
    pub fn bytes(&self) -> usize {
        self.frames.borrow().capacity() * size_of::<Frame>()
    }
}

#[cfg(test)]
mod tests {
    use super::Frames;
    use crate::units::{Kind, Order, Pfn};

    #[test]
    fn freed_neighbours_join_again() {
        let frames = Frames::new(512);
        let small: Vec<_> =
            (0..512).map(|_| frames.alloc(Order::ZERO, Kind::Anon, None).expect("room")).collect();
        assert!(frames.alloc(Order::ZERO, Kind::Anon, None).is_none(), "memory is full");
        for folio in small.iter().rev() {
            frames.free(*folio);
        }
        let large = frames.alloc(Order(9), Kind::Anon, None).expect("joined");
        assert_eq!(large.head, Pfn(0));
        assert_eq!(frames.folio(Pfn(511)), Some(large));
    }

    #[test]
    fn a_block_is_cut_to_what_is_needed() {
        let frames = Frames::new(1024);
        let first = frames.alloc(Order(2), Kind::Anon, None).expect("room");
        let second = frames.alloc(Order(4), Kind::Anon, None).expect("room");
        assert_eq!((first.head, second.head), (Pfn(0), Pfn(16)));
        assert_eq!(frames.folio(Pfn(4)), None);
        assert_eq!(frames.folios().count(), 2);
    }

    #[test]
    fn memory_may_end_anywhere_and_the_zero_page_is_beside_it() {
        let frames = Frames::new(7);
        let orders = [2, 1, 0].map(|order| frames.alloc(Order(order), Kind::Anon, None).expect("room").head);
        assert_eq!(orders, [Pfn(0), Pfn(4), Pfn(6)]);
        assert_eq!(frames.alloc(Order::ZERO, Kind::Anon, None), None);
        assert!(frames.alloc(Order::ZERO, Kind::Zero, None).is_some());
        assert_eq!(frames.alloc(Order::ZERO, Kind::Anon, None), None);
    }
}
