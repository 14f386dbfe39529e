//! Files and their page cache: which folio holds which page of a file. The cache owns a reference on each page of
//! a folio, and one more where the file system keeps data of its own with the folio.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::hash::{Hash, Hasher};
use std::rc::Rc;

use super::Machine;
use super::frames::{Mapping, Root};
use super::swapped::SwapValues;
use super::vma::Vma;
use crate::units::{Folio, Kind, Order, PageRange, Pfn};

/// Where huge pages are used in a file of shared memory: the `huge=` option of its mount.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum ShmemHuge {
    /// Wherever possible, even behind the end of the file.
    Always,
    /// Nowhere.
    Never,
    /// Where the file reaches to the end of the huge page.
    WithinSize,
    /// Where MADV_HUGEPAGE asks for them.
    Advise,
}

/// Where a file lives.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum FileKind {
    /// On a tmpfs mount, under a name.
    Tmpfs,
    /// On the kernel's own tmpfs mount, without a name: memfd_create(2), and shared anonymous memory. What sysfs
    /// says of each size is for these.
    AnonShmem,
    /// ext4 on a disk: pages that are written have buffers.
    Ext4,
    /// XFS on a disk, with large folios from 5.18 on; these have a state of each block.
    Xfs,
    /// A DAX device: its memory is mapped itself, by entries of its alignment and no others.
    Dax,
}

impl FileKind {
    /// What its folios are.
    pub const fn folios(self) -> Kind {
        match self {
            FileKind::Tmpfs | FileKind::AnonShmem => Kind::Shmem,
            FileKind::Ext4 | FileKind::Xfs => Kind::File,
            FileKind::Dax => Kind::Device,
        }
    }

    /// Whether it is shared memory.
    pub const fn is_shmem(self) -> bool {
        matches!(self, FileKind::Tmpfs | FileKind::AnonShmem)
    }
}

/// A file. Its identity is the root through which its folios are found.
#[derive(Clone, Debug)]
pub struct File {
    /// Its identity: the address space of the file in `folio->mapping`.
    pub root: Root,
    /// Where it lives.
    pub kind: FileKind,
    /// Where huge pages are used in it, if it is shared memory.
    pub huge: ShmemHuge,
    /// It has no name and no descriptor: it lives as long as an area maps it.
    pub unnamed: bool,
    /// Its size in pages.
    pub size: Cell<u64>,
    /// What is in the page cache.
    pub cache: PageCache,
    /// What is read next when a marked page is touched, if it is on a disk.
    pub ahead: Cell<ReadAhead>,
    /// It is on the list of those whose last huge page may reach behind their end, if it is shared memory.
    pub on_shrinklist: Cell<bool>,
    /// Its memory, if it is a DAX device.
    pub device: Option<Device>,
}

/// The memory of a DAX device.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Device {
    /// Its frames.
    pub frames: PageRange,
    /// The order of what one entry maps: a page, a PMD's or a PUD's.
    pub align: Order,
}

/// What was read of a file last, and with which folios.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct ReadAhead {
    /// The page behind the last one.
    pub next: u64,
    /// The page that was marked.
    pub mark: u64,
    /// The order of the folios.
    pub order: u8,
}

/// Pages in a chunk of the cache's index.
const CHUNK: u64 = 512;

/// A place of the cache that is empty.
const EMPTY: u32 = u32::MAX;

/// What is known of a cached folio.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Cached {
    /// It was written to since it was read or allocated.
    pub dirty: bool,
    /// The file system keeps data of its own with it (PG_private), which owns a reference.
    pub private: bool,
}

/// The folios of a file, by the pages of the file that they hold.
#[derive(Clone, Debug, Default)]
pub struct PageCache {
    chunks: RefCell<BTreeMap<u64, Box<Chunk>>>,
    pages: Cell<u64>,
    /// What is swapped out of it.
    pub swapped: SwapValues,
}

/// What the cache knows of pages of the file that stand together.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
struct Chunk {
    pages: [u32; CHUNK as usize],
    /// At the first page of each folio.
    flags: [u8; CHUNK as usize],
}

const DIRTY: u8 = 1;
const PRIVATE: u8 = 1 << 1;
const MARKED: u8 = 1 << 2;

impl PageCache {
    /// The page that holds page `index` of the file.
    #[inline]
    pub fn page(&self, index: u64) -> Option<Pfn> {
        let chunks = self.chunks.borrow();
        let page = chunks.get(&(index / CHUNK))?.pages[(index % CHUNK) as usize];
        (page != EMPTY).then_some(Pfn(page))
    }

    /// The first page at or behind `index`, before `end`, that is cached: its index, its frame, and how many
    /// pages from there on are in frames that follow each other.
    pub fn run(&self, index: u64, end: u64) -> Option<(u64, PageRange)> {
        if index >= end {
            return None;
        }
        let chunks = self.chunks.borrow();
        for (number, chunk) in chunks.range(index / CHUNK..) {
            let base = number * CHUNK;
            if base >= end {
                return None;
            }
            let from = index.saturating_sub(base) as usize;
            let to = (end - base).min(CHUNK) as usize;
            if let Some(first) = chunk.pages[from..to].iter().position(|page| *page != EMPTY) {
                let first = from + first;
                let start = chunk.pages[first];
                let follows = |(at, page): &(usize, &u32)| **page == start.wrapping_add(*at as u32);
                let len = chunk.pages[first..to].iter().enumerate().take_while(follows).count();
                return Some((base + first as u64, PageRange::new(Pfn(start), len as u32)));
            }
        }
        None
    }

    /// Whether nothing is known of pages `start..end`: none is cached or swapped out.
    pub fn is_hole(&self, start: u64, end: u64) -> bool {
        self.run(start, end).is_none() && (self.swapped.is_empty() || self.swapped.next(start, end).is_none())
    }

    /// Pages that are cached.
    pub fn pages(&self) -> u64 {
        self.pages.get()
    }

    /// Puts a folio where nothing is.
    pub(super) fn insert(&self, folio: Folio, index: u64) {
        self.set(index, folio.pages(), |n| folio.head.0 + n);
        self.pages.set(self.pages.get() + u64::from(folio.pages()));
    }

    pub(super) fn remove(&self, folio: Folio, index: u64) {
        self.set_flags(index, |_| 0);
        self.set(index, folio.pages(), |_| EMPTY);
        self.pages.set(self.pages.get() - u64::from(folio.pages()));
    }

    fn set(&self, first: u64, pages: u32, page: impl Fn(u32) -> u32) {
        let mut chunks = self.chunks.borrow_mut();
        let mut done = 0;
        while done < pages {
            let at = first + u64::from(done);
            let empty = || Box::new(Chunk { pages: [EMPTY; CHUNK as usize], flags: [0; CHUNK as usize] });
            let chunk = chunks.entry(at / CHUNK).or_insert_with(empty);
            let places = chunk.pages[(at % CHUNK) as usize..].iter_mut();
            for place in places.take((pages - done) as usize) {
                *place = page(done);
                done += 1;
            }
        }
    }

    fn flags(&self, index: u64) -> u8 {
        let chunks = self.chunks.borrow();
        chunks.get(&(index / CHUNK)).map_or(0, |chunk| chunk.flags[(index % CHUNK) as usize])
    }

    fn set_flags(&self, index: u64, change: impl Fn(u8) -> u8) {
        if let Some(chunk) = self.chunks.borrow_mut().get_mut(&(index / CHUNK)) {
            let flags = &mut chunk.flags[(index % CHUNK) as usize];
            *flags = change(*flags);
        }
    }

    /// What is known of the folio that begins with page `index` of the file.
    pub fn state(&self, index: u64) -> Cached {
        let flags = self.flags(index);
        Cached { dirty: flags & DIRTY != 0, private: flags & PRIVATE != 0 }
    }

    fn set_state(&self, index: u64, state: Cached) {
        let new = if state.dirty { DIRTY } else { 0 } | if state.private { PRIVATE } else { 0 };
        self.set_flags(index, |flags| flags & MARKED | new);
    }

    /// Marks the folio that begins with page `index`: it was read ahead, and tells when it is touched that it is
    /// time to read on (PG_readahead).
    pub fn mark(&self, index: u64) {
        self.set_flags(index, |flags| flags | MARKED);
    }

    /// Whether the folio that begins with page `index` is marked.
    pub fn is_marked(&self, index: u64) -> bool {
        self.flags(index) & MARKED != 0
    }

    /// Takes the mark of a folio away; says whether there was one.
    pub fn unmark(&self, index: u64) -> bool {
        let marked = self.is_marked(index);
        if marked {
            self.set_flags(index, |flags| flags & !MARKED);
        }
        marked
    }

    /// The first folio of the cache at or behind `index`, before `end`, with the index of its first page, which
    /// may be before `index`.
    pub fn folio_from(&self, m: &Machine, index: u64, end: u64) -> Option<(u64, Folio)> {
        let (at, pages) = self.run(index, end)?;
        let folio = m.folio(pages.first);
        Some((at - u64::from(pages.first.0 - folio.head.0), folio))
    }

    /// Calls `f` with each folio, by index.
    pub fn each(&self, m: &Machine, mut f: impl FnMut(u64, Folio)) {
        let mut at = 0;
        while let Some((index, folio)) = self.folio_from(m, at, u64::MAX) {
            f(index, folio);
            at = index + u64::from(folio.pages());
        }
    }

    fn hash_into(&self, mut state: &mut dyn Hasher) {
        for (number, chunk) in self.chunks.borrow().iter() {
            if chunk.pages.iter().any(|page| *page != EMPTY) {
                (number, chunk).hash(&mut state);
            }
        }
        for value in self.swapped.borrow().iter() {
            value.hash(&mut state);
        }
    }
}

/// The files of a machine.
#[derive(Clone, Debug, Default)]
pub struct Files {
    files: RefCell<BTreeMap<Root, Rc<File>>>,
}

impl Files {
    /// The file with this root.
    pub fn get(&self, root: Root) -> Option<Rc<File>> {
        self.files.borrow().get(&root).cloned()
    }

    /// All files.
    pub fn all(&self) -> Vec<Rc<File>> {
        self.files.borrow().values().cloned().collect()
    }

    /// Calls `f` with each file.
    pub fn each(&self, mut f: impl FnMut(&File)) {
        self.files.borrow().values().for_each(|file| f(file));
    }

    pub(super) fn add(&self, file: File) {
        self.files.borrow_mut().insert(file.root, Rc::new(file));
    }

    /// Forgets a file of which nothing is cached any more.
    pub(crate) fn remove(&self, root: Root) {
        self.files.borrow_mut().remove(&root);
    }

    /// The same files, which change by themselves from now on.
    pub(super) fn copy(&self) -> Files {
        let files = self.files.borrow();
        let own = files.iter().map(|(root, file)| (*root, Rc::new(File::clone(file))));
        Files { files: RefCell::new(own.collect()) }
    }

    /// Feeds the state to a hasher; `number` tells the roots apart.
    pub(super) fn hash_into(&self, mut state: &mut dyn Hasher, mut number: impl FnMut(Root) -> u32) {
        for file in self.files.borrow().values() {
            (number(file.root), file.kind, file.huge, file.unnamed, file.size.get()).hash(&mut state);
            (file.ahead.get(), file.on_shrinklist.get(), file.device).hash(&mut state);
            file.cache.hash_into(state);
        }
    }
}

impl Machine {
    /// Makes a file of `size` pages, of which nothing is cached; says how it is known.
    pub fn add_file(&self, kind: FileKind, huge: ShmemHuge, size: u64, unnamed: bool) -> Root {
        let root = self.add_file_root();
        let (size, cache) = (Cell::new(size), PageCache::default());
        let (ahead, on_shrinklist) = (Cell::default(), Cell::default());
        self.files.add(File { root, kind, huge, unnamed, size, cache, ahead, on_shrinklist, device: None });
        root
    }

    /// Makes a DAX device of `pages` pages, a multiple of its alignment. Its pages are folios of their own, from 5.17
    /// on as large as an entry; on each the device keeps a reference (`memmap_init_compound()`, mm/mm_init.c, v7.2).
    pub fn add_device(&self, pages: u32, align: Order) -> Root {
        let root = self.add_file_root();
        let order = if self.policy.dax_compound { align } else { Order::ZERO };
        let frames = self.frames.add_device(pages, order, Mapping { root, index: 0 });
        self.counters.grow(self.frames.len());
        for head in frames.iter().step_by(order.pages() as usize) {
            self.scheme.prep_folio(&*self.counters, Folio { head, order, kind: Kind::Device });
        }
        self.files.add(File {
            root,
            kind: FileKind::Dax,
            huge: ShmemHuge::Never,
            unnamed: false,
            size: Cell::new(u64::from(pages)),
            cache: PageCache::default(),
            ahead: Cell::default(),
            on_shrinklist: Cell::default(),
            device: Some(Device { frames, align }),
        });
        root
    }

    /// The DAX device that an area maps.
    pub fn device_of(&self, vma: &Vma) -> Option<Device> {
        self.files.get(vma.file?.root)?.device
    }

    /// The file that an area maps.
    ///
    /// # Panics
    /// If there is no such file: an area that maps one keeps it.
    pub fn file(&self, root: Root) -> Rc<File> {
        self.files.get(root).unwrap_or_else(|| panic!("an area maps file {}, which is gone", root.0))
    }

    /// The file in whose cache a folio is.
    pub fn file_of(&self, folio: Folio) -> Option<Rc<File>> {
        if !matches!(folio.kind, Kind::File | Kind::Shmem) {
            return None;
        }
        self.files.get(self.frames.mapping(folio).root)
    }

    /// Whether a folio is in the page cache.
    #[inline]
    pub fn in_page_cache(&self, folio: Folio) -> bool {
        match folio.kind {
            Kind::File | Kind::Shmem => self.frames.mapping(folio).root != Root(0),
            Kind::Hugetlb => self.hugetlb.is_cached(folio),
            _ => false,
        }
    }

    /// References that caches own on a folio: one for each page, and one for private data.
    pub fn cache_references(&self, folio: Folio) -> i32 {
        let known = self.known(folio);
        let swap = if known.swapcache { folio.pages() as i32 } else { 0 };
        swap + known.pagecache_references(folio) as i32 + i32::from(known.private) + i32::from(known.device)
    }

    /// Allocates a folio for the page cache and puts it there: the cache's references are taken beside that of
    /// the allocation, which the caller holds. `None` when memory is full.
    pub fn add_to_page_cache(&self, file: &File, index: u64, order: Order) -> Option<Folio> {
        let mapping = Mapping { root: file.root, index };
        let folio = self.alloc_kind(order, file.kind.folios(), Some(mapping))?;
        file.cache.insert(folio, index);
        self.get_refs(folio, folio.pages() as i32);
        self.lru_add(folio);
        Some(folio)
    }

    /// Takes a folio out of the page cache and drops the cache's references (`filemap_remove_folio()`,
    /// `filemap_free_folio()`, mm/filemap.c). Who else holds it keeps a folio that belongs to no file.
    pub fn remove_from_page_cache(&self, file: &File, folio: Folio) {
        let references = self.cache_references(folio);
        let index = self.frames.mapping(folio).index;
        file.cache.remove(folio, index);
        self.frames.set_kind(folio, folio.kind, Mapping { root: Root(0), index: 0 });
        self.put_refs(folio, references);
    }

    /// Another folio of the same size takes the place of one in the page cache, with the cache's references.
    pub fn replace_in_page_cache(&self, file: &File, old: Folio, new: Folio) {
        let references = self.cache_references(old);
        let mapping = self.frames.mapping(old);
        let state = file.cache.state(mapping.index);
        file.cache.remove(old, mapping.index);
        self.frames.set_kind(old, old.kind, Mapping { root: Root(0), index: 0 });
        self.frames.set_kind(new, new.kind, mapping);
        file.cache.insert(new, mapping.index);
        file.cache.set_state(mapping.index, state);
        self.get_refs(new, references);
        self.put_refs(old, references);
    }

    /// Allocates a folio that is to take the place of others in the page cache; it belongs to no file yet. `None` when
    /// memory is full.
    pub(crate) fn alloc_for_file(&self, file: &File, order: Order) -> Option<Folio> {
        self.alloc_kind(order, file.kind.folios(), None)
    }

    /// `new` takes the place of everything that is cached of its pages from `index` on, and of what is not. Who has
    /// which references is left to the caller.
    pub(crate) fn replace_in_range(&self, file: &File, new: Folio, index: u64) {
        let end = index + u64::from(new.pages());
        while let Some((first, folio)) = file.cache.folio_from(self, index, end) {
            file.cache.remove(folio, first);
            self.frames.set_kind(folio, folio.kind, Mapping { root: Root(0), index: 0 });
        }
        self.frames.set_kind(new, new.kind, Mapping { root: file.root, index });
        file.cache.insert(new, index);
        if file.kind.is_shmem() {
            self.set_dirty(file, new);
        }
    }

    /// A folio was cut into pieces: each is as dirty as it was, and none has private data.
    pub(crate) fn split_in_page_cache(&self, file: &File, pieces: &[Folio]) {
        let index = |piece: &Folio| self.frames.mapping(*piece).index;
        let Some(first) = pieces.first() else { return };
        let state = Cached { private: false, ..file.cache.state(index(first)) };
        pieces.iter().for_each(|piece| file.cache.set_state(index(piece), state));
    }

    /// Notes that a cached folio was written to.
    pub fn set_dirty(&self, file: &File, folio: Folio) {
        // A mark is taken away: the bit means something else of dirty folios (`folio_mark_dirty()`).
        file.cache.set_flags(self.frames.mapping(folio).index, |flags| (flags | DIRTY) & !MARKED);
    }

    /// Notes that a cached folio was written to its disk. The mark of reclaim goes with that (`folio_end_writeback()`,
    /// mm/filemap.c).
    pub(crate) fn set_clean(&self, file: &File, folio: Folio) {
        file.cache.set_flags(self.frames.mapping(folio).index, |flags| flags & !(DIRTY | MARKED));
    }

    /// Gives a folio private data, which owns a reference, or takes it away.
    pub fn set_private(&self, file: &File, folio: Folio, private: bool) {
        let index = self.frames.mapping(folio).index;
        let state = file.cache.state(index);
        if state.private == private {
            return;
        }
        file.cache.set_state(index, Cached { private, ..state });
        if private {
            self.get_refs(folio, 1);
        } else {
            self.put_refs(folio, 1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{FileKind, PageCache};
    use crate::units::{Folio, Kind, Order, PageRange, Pfn};

    #[test]
    fn runs_end_at_holes_and_where_frames_jump() {
        let cache = PageCache::default();
        let folio = |head, order| Folio { head: Pfn(head), order: Order(order), kind: Kind::Shmem };
        cache.insert(folio(16, 2), 508);
        cache.insert(folio(20, 0), 512);
        cache.insert(folio(40, 0), 513);
        assert_eq!(cache.run(0, 10_000), Some((508, PageRange::new(Pfn(16), 4))));
        assert_eq!(cache.run(510, 511), Some((510, PageRange::new(Pfn(18), 1))));
        assert_eq!(cache.run(512, 600), Some((512, PageRange::new(Pfn(20), 1))));
        assert_eq!(cache.run(514, 600), None);
        assert_eq!((cache.page(513), cache.page(514), cache.pages()), (Some(Pfn(40)), None, 6));
        cache.remove(folio(16, 2), 508);
        assert_eq!(cache.run(0, 512), None);
        assert_eq!(cache.pages(), 2);
    }

    #[test]
    fn shared_memory_is_told_from_disks() {
        assert!(FileKind::AnonShmem.is_shmem() && FileKind::Tmpfs.folios() == Kind::Shmem);
        assert!(!FileKind::Xfs.is_shmem() && FileKind::Ext4.folios() == Kind::File);
    }
}
