//! Physical memory: which frames form which folio, what they hold, which are free.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;

use super::free_blocks::FreeBlocks;
use crate::units::{Folio, Kind, Order, PageRange, Pfn};

/// Orders that blocks of free memory can have.
const ORDERS: usize = 10;

/// NUMA nodes that a machine can have.
pub const MAX_NODES: u32 = 16;

/// A reverse mapping's root: all address spaces that inherited an anonymous mapping by fork share it
/// (anon_vma and its chain in the kernel). A file is one too: all who map it share it (its address_space, with its tree
/// of areas). From a folio's root the reverse walk finds who may map it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Root(pub u32);

/// Where a folio belongs (`folio->mapping` and `folio->index`): in every VMA of the root, the page `index` pages from the
/// VMA's offset 0. Root 0 is nobody's: that of folios that truncation took out of their file.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Mapping {
    /// Who may map it.
    pub root: Root,
    /// The offset of the folio's first page.
    pub index: u64,
}

/// What a page holds, as far as steps can tell: its first byte, and the byte that fills the rest.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Content {
    /// The first byte.
    pub first: u8,
    /// Every other byte.
    pub rest: u8,
}

/// What is known of a frame. Only `first_byte` differs between the pages of a folio.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Frame {
    /// The order in the low half, the NUMA node in the high one.
    order_and_node: u8,
    /// `None` if it is free.
    kind: Option<Kind>,
    /// The first byte of its content; it is 0 only where all are, since nobody writes a 0 alone.
    first_byte: u8,
    /// The index in two parts: 37 bits are enough for 512 TiB, and keep a frame small. The high part is in the
    /// low bits, above it are the order's fifth bit and flags.
    index_high_and_flags: u8,
    index_low: u32,
    root: Root,
}

const FREE: Frame = Frame {
    order_and_node: 0,
    kind: None,
    first_byte: 0,
    index_high_and_flags: 0,
    index_low: 0,
    root: Root(0),
};

/// Bits of the index in `index_high_and_flags`.
const INDEX_HIGH: u8 = 0x1f;

/// The fifth bit of the order, in `index_high_and_flags`: only device memory that a PUD maps has it.
const ORDER_16: u8 = 1 << 5;

/// What the kernel knows of a folio besides its counters; the first page stands for it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum FolioFlag {
    /// PG_dirty: somebody wrote to it through an entry that is gone.
    Dirty = 1 << 6,
    /// PG_swapbacked is off: MADV_FREE gave it up, so that reclaim may drop it.
    LazyFree = 1 << 7,
}

impl Frame {
    const fn order(&self) -> u8 {
        self.order_and_node & 0xf | (self.index_high_and_flags & ORDER_16) >> 1
    }

    const fn node(&self) -> u8 {
        self.order_and_node >> 4
    }

    const fn index(&self) -> u64 {
        ((self.index_high_and_flags & INDEX_HIGH) as u64) << 32 | self.index_low as u64
    }

    fn set_index(&mut self, index: u64) {
        debug_assert!(index >> 37 == 0, "an offset of {index} pages");
        let flags = self.index_high_and_flags & !INDEX_HIGH;
        (self.index_high_and_flags, self.index_low) = (flags | (index >> 32) as u8, index as u32);
    }
}

/// All frames.
#[derive(Clone, Debug)]
pub struct Frames {
    frames: RefCell<Vec<Frame>>,
    /// The byte that fills a page, where it is not 0; few pages have one.
    fills: RefCell<BTreeMap<Pfn, u8>>,
    free: RefCell<[FreeBlocks; ORDERS]>,
    used: Cell<u32>,
    /// Frames of memory that were ever used; those of devices are beside it.
    memory: Cell<u32>,
    limit: u32,
    /// The order of the largest blocks.
    largest: u8,
}

impl Frames {
    /// Memory of `limit` frames, taken in blocks of the order `largest`; no folio is larger.
    pub fn new(limit: u32, largest: Order) -> Frames {
        Frames {
            frames: RefCell::default(),
            fills: RefCell::default(),
            free: RefCell::default(),
            used: Cell::new(0),
            memory: Cell::new(0),
            limit,
            largest: largest.0,
        }
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
        let mapping = mapping.unwrap_or(Mapping { root: Root(0), index: 0 });
        let mut frame = Frame { order_and_node: order.0, kind: Some(kind), root: mapping.root, ..FREE };
        frame.set_index(mapping.index);
        let folio = Folio { head: Pfn(first), order, kind };
        self.frames.borrow_mut()[folio.range().indexes()].fill(frame);
        self.used.set(self.used.get() + order.pages());
        Some(folio)
    }

    fn take_free(&self, order: Order, limit: u32) -> Option<u32> {
        loop {
            let mut free = self.free.borrow_mut();
            let found = (order.0..=self.largest)
                .find_map(|o| free[usize::from(o)].pop_first().map(|block| (o, block)));
            let Some((mut have, mut block)) = found else {
                drop(free);
                self.grow(limit)?;
                continue;
            };
            while have > order.0 {
                have -= 1;
                block *= 2;
                free[usize::from(have)].insert(block + 1);
            }
            return Some(block << order.0);
        }
    }

    /// Frees frames that were never used, a block of the greatest order if so many are left; `None` if there
    /// are none.
    fn grow(&self, limit: u32) -> Option<()> {
        let mut frames = self.frames.borrow_mut();
        let memory = self.memory.get();
        let more = limit.saturating_sub(memory).min(1 << self.largest);
        if more == 0 {
            return None;
        }
        self.memory.set(memory + more);
        let mut first = frames.len() as u32;
        let end = first + more;
        frames.resize(end as usize, FREE);
        while first < end {
            let order = first.trailing_zeros().min((end - first).ilog2()).min(u32::from(self.largest));
            self.free.borrow_mut()[order as usize].insert(first >> order);
            first += 1 << order;
        }
        Some(())
    }

    /// Adds the memory of a device, beside the machine's own: folios of `order` that follow each other and belong
    /// to consecutive parts of `mapping`. They stay for ever.
    pub fn add_device(&self, pages: u32, order: Order, mapping: Mapping) -> PageRange {
        let mut frames = self.frames.borrow_mut();
        let block = 1u32 << self.largest;
        let first = (frames.len() as u32).next_multiple_of(block.max(order.pages()));
        frames.resize(first as usize, FREE);
        let high = if order.0 < 16 { 0 } else { ORDER_16 };
        let mut frame = Frame {
            order_and_node: order.0 & 0xf,
            kind: Some(Kind::Device),
            root: mapping.root,
            index_high_and_flags: high,
            ..FREE
        };
        for index in (0..u64::from(pages)).step_by(order.pages() as usize) {
            frame.set_index(mapping.index + index);
            let len = frames.len() + order.pages() as usize;
            frames.resize(len, frame);
        }
        // What comes behind it is aligned again.
        let end = frames.len().next_multiple_of(block as usize);
        frames.resize(end, FREE);
        PageRange::new(Pfn(first), pages)
    }

    /// Gives a folio's frames back and joins them with free neighbours.
    pub fn free(&self, folio: Folio) {
        self.frames.borrow_mut()[folio.range().indexes()].fill(FREE);
        self.set_fills(folio.range(), 0);
        self.used.set(self.used.get() - folio.pages());
        let mut free = self.free.borrow_mut();
        let (mut block, mut order) = (folio.head.0 >> folio.order.0, folio.order.0);
        while order < self.largest && free[usize::from(order)].remove(block ^ 1) {
            block /= 2;
            order += 1;
        }
        free[usize::from(order)].insert(block);
    }

    /// The same of pages in a row that are folios of their own, in the largest blocks that they are.
    pub fn free_small(&self, pages: PageRange) {
        let (mut first, end) = (pages.first.0, pages.first.0 + pages.len);
        while first < end {
            let order = first.trailing_zeros().min((end - first).ilog2()).min(u32::from(self.largest));
            self.free(Folio { head: Pfn(first), order: Order(order as u8), kind: Kind::Anon });
            first += 1 << order;
        }
    }

    /// The folio that a frame belongs to; `None` for a free frame.
    #[inline]
    pub fn folio(&self, page: Pfn) -> Option<Folio> {
        let frame = self.frames.borrow().get(page.index()).copied()?;
        let head = Pfn(page.0 & !((1 << frame.order()) - 1));
        frame.kind.map(|kind| Folio { head, order: Order(frame.order()), kind })
    }

    /// How many of these pages, from the first on, are folios of one page each that hold pages of files.
    pub fn small_file_pages(&self, pages: PageRange) -> u32 {
        let small = |frame: &&Frame| {
            let of_file = matches!(frame.kind, Some(Kind::File | Kind::Shmem | Kind::Device));
            frame.order() == 0 && of_file
        };
        self.frames.borrow()[pages.indexes()].iter().take_while(small).count() as u32
    }

    /// Where a folio belongs.
    pub fn mapping(&self, folio: Folio) -> Mapping {
        let frame = self.frames.borrow()[folio.head.index()];
        Mapping { root: frame.root, index: frame.index() }
    }

    /// Cuts a folio into `pieces`, which must cover it; each belongs to its part of the mapping.
    pub fn split(&self, folio: Folio, pieces: &[Folio]) {
        let mut frames = self.frames.borrow_mut();
        let index = frames[folio.head.index()].index();
        let flags = frames[folio.head.index()].index_high_and_flags & !INDEX_HIGH;
        for piece in pieces {
            for frame in &mut frames[piece.range().indexes()] {
                frame.order_and_node = frame.node() << 4 | piece.order.0;
                frame.index_high_and_flags = flags;
                frame.set_index(index + u64::from(piece.head.0 - folio.head.0));
            }
        }
    }

    /// Whether a folio has a flag.
    pub fn has_flag(&self, folio: Folio, flag: FolioFlag) -> bool {
        self.frames.borrow()[folio.head.index()].index_high_and_flags & flag as u8 != 0
    }

    /// Sets or clears a flag of a folio.
    pub fn set_flag(&self, folio: Folio, flag: FolioFlag, on: bool) {
        let flags = &mut self.frames.borrow_mut()[folio.head.index()].index_high_and_flags;
        *flags = if on { *flags | flag as u8 } else { *flags & !(flag as u8) };
    }

    /// Gives a folio the flags of another one, in whose place it is.
    pub fn copy_flags(&self, from: Folio, to: Folio) {
        for flag in [FolioFlag::Dirty, FolioFlag::LazyFree] {
            self.set_flag(to, flag, self.has_flag(from, flag));
        }
    }

    /// The NUMA node that a folio is on.
    pub fn node(&self, folio: Folio) -> u8 {
        self.frames.borrow()[folio.head.index()].node()
    }

    /// Says on which NUMA node a fresh folio is. Frames are not bound to nodes here: any frame can be on any.
    pub fn set_node(&self, folio: Folio, node: u8) {
        debug_assert!(u32::from(node) < MAX_NODES, "node {node}");
        for frame in &mut self.frames.borrow_mut()[folio.range().indexes()] {
            frame.order_and_node = node << 4 | frame.order();
        }
    }

    /// Says what a page of one becomes, and where it belongs from now on: KSM takes pages and gives them back.
    pub fn set_kind(&self, folio: Folio, kind: Kind, mapping: Mapping) {
        for frame in &mut self.frames.borrow_mut()[folio.range().indexes()] {
            (frame.kind, frame.root) = (Some(kind), mapping.root);
            frame.set_index(mapping.index);
        }
    }

    /// Notes that a byte, which is not 0, was written to the start of each page.
    pub fn write(&self, pages: PageRange, byte: u8) {
        debug_assert!(byte != 0, "a page that starts with 0 is taken for empty");
        for frame in &mut self.frames.borrow_mut()[pages.indexes()] {
            frame.first_byte = byte;
        }
    }

    /// Notes that a byte was written throughout each page.
    pub fn fill(&self, pages: PageRange, byte: u8) {
        for frame in &mut self.frames.borrow_mut()[pages.indexes()] {
            frame.first_byte = byte;
        }
        self.set_fills(pages, byte);
    }

    fn set_fills(&self, pages: PageRange, byte: u8) {
        let mut fills = self.fills.borrow_mut();
        if byte != 0 {
            fills.extend(pages.iter().map(|page| (page, byte)));
        } else if !fills.is_empty() {
            for page in pages.iter() {
                fills.remove(&page);
            }
        }
    }

    /// What a page holds.
    pub fn content(&self, page: Pfn) -> Content {
        let rest = self.fills.borrow().get(&page).copied().unwrap_or(0);
        Content { first: self.frames.borrow()[page.index()].first_byte, rest }
    }

    /// Notes what a page holds from now on.
    pub fn set_content(&self, page: Pfn, content: Content) {
        self.frames.borrow_mut()[page.index()].first_byte = content.first;
        self.set_fills(PageRange::one(page), content.rest);
    }

    /// Copies what pages hold to others.
    pub fn copy_content(&self, from: PageRange, to: Pfn) {
        let mut frames = self.frames.borrow_mut();
        for i in 0..from.len {
            let first_byte = frames[from.first.add(i).index()].first_byte;
            frames[to.add(i).index()].first_byte = first_byte;
        }
        if self.fills.borrow().is_empty() {
            return;
        }
        for i in 0..from.len {
            let fill = self.fills.borrow().get(&from.first.add(i)).copied();
            self.set_fills(PageRange::one(to.add(i)), fill.unwrap_or(0));
        }
    }

    /// Whether a page holds zeroes only.
    pub fn is_zero_filled(&self, page: Pfn) -> bool {
        self.frames.borrow()[page.index()].first_byte == 0
    }

    /// How many frames from `first` on, `most` at most, are anonymous folios of one page each; with `written` up
    /// to the first one that holds zeroes only.
    pub fn small_run(&self, first: Pfn, most: u32, written: bool) -> u32 {
        let frames = self.frames.borrow();
        let frames = &frames[PageRange::new(first, most).indexes()];
        let fits = |frame: &&Frame| {
            frame.order() == 0 && frame.kind == Some(Kind::Anon) && !(written && frame.first_byte == 0)
        };
        frames.iter().take_while(fits).count() as u32
    }

    /// How many pages of a folio hold zeroes only.
    pub fn zero_filled(&self, folio: Folio) -> u32 {
        self.frames.borrow()[folio.range().indexes()].iter().filter(|frame| frame.first_byte == 0).count()
            as u32
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
        let free: usize = self.free.borrow().iter().map(FreeBlocks::bytes).sum();
        let fills = self.fills.borrow().len() * size_of::<(Pfn, u8)>();
        self.frames.borrow().capacity() * size_of::<Frame>() + free + fills
    }
}

#[cfg(test)]
mod tests {
    use super::{Frames, Mapping, Root};
    use crate::units::{Kind, Order, PageRange, Pfn};

    #[test]
    fn freed_neighbours_join_again() {
        let frames = Frames::new(512, Order(9));
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
    fn memory_goes_on_behind_a_device() {
        let frames = Frames::new(1024, Order(9));
        let alloc = |order| frames.alloc(Order(order), Kind::Anon, None).map(|folio| folio.head);
        assert_eq!(alloc(9), Some(Pfn(0)));
        let mapping = Mapping { root: Root(1), index: 0 };
        let device = frames.add_device(2 << 18, Order(18), mapping);
        assert_eq!(device, PageRange::new(Pfn(1 << 18), 2 << 18));
        let second = frames.folio(Pfn((2 << 18) + 5)).expect("it is there");
        assert_eq!((second.head, second.order, second.kind), (Pfn(2 << 18), Order(18), Kind::Device));
        assert_eq!(frames.mapping(second).index, 1 << 18);
        assert_eq!(frames.add_device(3, Order::ZERO, mapping).first, Pfn(3 << 18));
        assert_eq!(alloc(9), Some(Pfn((3 << 18) + 512)));
        assert_eq!(alloc(0), None, "the device's memory is nobody else's");
        assert_eq!(frames.used(), 1024);
    }

    #[test]
    fn a_block_is_cut_to_what_is_needed() {
        let frames = Frames::new(1024, Order(9));
        let first = frames.alloc(Order(2), Kind::Anon, None).expect("room");
        let second = frames.alloc(Order(4), Kind::Anon, None).expect("room");
        assert_eq!((first.head, second.head), (Pfn(0), Pfn(16)));
        assert_eq!(frames.folio(Pfn(4)), None);
        assert_eq!(frames.folios().count(), 2);
    }

    #[test]
    fn memory_may_end_anywhere_and_the_zero_page_is_beside_it() {
        let frames = Frames::new(7, Order(9));
        let orders = [2, 1, 0].map(|order| frames.alloc(Order(order), Kind::Anon, None).expect("room").head);
        assert_eq!(orders, [Pfn(0), Pfn(4), Pfn(6)]);
        assert_eq!(frames.alloc(Order::ZERO, Kind::Anon, None), None);
        assert!(frames.alloc(Order::ZERO, Kind::Zero, None).is_some());
        assert_eq!(frames.alloc(Order::ZERO, Kind::Anon, None), None);
    }
}
