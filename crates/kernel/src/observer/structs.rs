//! Frames by their `struct page`s: the observers that read kernel memory.

mod row;
mod snapshot;

use std::fs::File;
use std::os::fd::AsFd;

use mapcount_model::scheme::Scheme;
use mapcount_script::trace::FolioRow;

use super::frames::{Block, Frames, GREATEST_ORDER, Owners, Run};
use crate::bpf::Bpf;
use crate::btf::Btf;
use crate::fields::Fields;
use crate::kcore::Kcore;
use crate::memory::Memory;
use crate::objects::Objects;
use crate::procfs::{KPAGECOUNT, KPAGEFLAGS, Words, kpf};
use crate::vmemmap::PAGE;
use crate::{Unavailable, live, vmemmap};
use snapshot::Snapshot;

/// Frames by kernel memory.
pub(crate) struct Structs {
    name: &'static str,
    memory: Box<dyn Memory>,
    fields: Fields,
    scheme: &'static dyn Scheme,
    objects: Option<Objects>,
    /// Where the `struct page` of frame 0 is, or would be.
    base: u64,
    pages: Snapshot,
    folios: Vec<Folio>,
    counts: Words,
    flags: Words,
    /// A bit for each order of hugetlb pages that this kernel has.
    huge_orders: u32,
    /// What kpagecount says of the pages that were read.
    counted: Vec<u64>,
    flagged: Vec<u64>,
    /// The words of the last look but one.
    before: Vec<u64>,
    masks: row::Masks,
}

/// A folio that was found.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
struct Folio {
    block: Block,
    /// Where the words of its pages start.
    words: usize,
    /// What kpageflags says of its head.
    flags: u64,
}

impl Structs {
    /// By BPF.
    pub(crate) fn bpf() -> Result<Structs, Unavailable> {
        let btf = Btf::live()?;
        Structs::new("bpf", Box::new(Bpf::load()?), &btf, &[])
    }

    /// By /proc/kcore.
    pub(crate) fn kcore() -> Result<Structs, Unavailable> {
        let btf = Btf::live()?;
        let mut kcore = Kcore::open(&btf)?;
        let bases = kcore.bases(&Fields::of(&btf)?);
        Structs::new("kcore", Box::new(kcore), &btf, &bases)
    }

    /// By `memory`; `bases` are candidates for where the array of `struct page`s starts.
    fn new(
        name: &'static str,
        mut memory: Box<dyn Memory>,
        btf: &Btf,
        bases: &[u64],
    ) -> Result<Structs, Unavailable> {
        let fields = Fields::of(btf)?;
        let objects = Objects::of(btf);
        let base = vmemmap::find(&mut *memory, &fields, objects.as_ref(), bases)?;
        let scheme = live::scheme(&fields, &mut *memory, base)?;
        Ok(Structs {
            name,
            memory,
            masks: row::Masks::of(&fields, scheme),
            scheme,
            fields,
            objects,
            base,
            pages: Snapshot::default(),
            folios: Vec::new(),
            counts: Words::need(KPAGECOUNT)?,
            flags: Words::need(KPAGEFLAGS)?,
            huge_orders: huge_orders(),
            counted: Vec::new(),
            flagged: Vec::new(),
            before: Vec::new(),
        })
    }

    /// The folio whose head is `frame`, if it is the head of a large one; `Err` with what has to be read first.
    fn large(&self, frame: u64) -> Result<Option<Block>, Run> {
        // The order is in the page behind the head.
        let two = Run { first: frame, count: 2 };
        let one = Run { first: frame, count: 1 };
        let words = self.pages.words(one).ok_or(two)?;
        if !self.fields.head.is_set(words) || self.fields.tail.is_set(words) {
            return Ok(None);
        }
        let order = self.fields.order.get(self.pages.words(two).ok_or(two)?);
        let is_large = (1..=i64::from(GREATEST_ORDER)).contains(&order) && frame.is_multiple_of(1 << order);
        Ok(is_large.then_some(Block { head: frame, order: order as u8 }))
    }

    /// The folio that `frame` is in; `None` after adding what has to be read first to `missing`.
    fn enclosing(&self, frame: u64, missing: &mut Vec<Run>) -> Option<Block> {
        let small = Block { head: frame, order: 0 };
        let Some(words) = self.pages.words(Run { first: frame, count: 1 }) else { return Some(small) };
        if !self.fields.tail.is_set(words) {
            return match self.large(frame) {
                Ok(large) => Some(large.unwrap_or(small)),
                Err(run) => {
                    missing.push(run);
                    None
                }
            };
        }
        // The head is found by alignment and its order: tails refer to it in more than one way. Buddies are of
        // order 10 at most; hugetlb pages of 1 GiB are tried last.
        for orders in [1..=10, 11..=GREATEST_ORDER] {
            let known = missing.len();
            for head in orders.map(|order| frame >> order << order) {
                match self.large(head) {
                    Ok(Some(folio)) if folio.end() > frame => {
                        missing.truncate(known);
                        return Some(folio);
                    }
                    Ok(_) => {}
                    Err(run) => missing.push(run),
                }
            }
            if missing.len() > known {
                return None;
            }
        }
        Some(small)
    }

    /// Finds the folios that `runs` are in and reads them whole.
    fn find(&mut self, runs: &[Run]) -> Result<(), Unavailable> {
        let mut wanted = runs.to_vec();
        // A head, its order, its other pages: some rounds, and more if something changes meanwhile.
        for _ in 0..8 {
            self.pages.read(wanted, &mut *self.memory, self.base, &self.fields)?;
            let mut missing = Vec::new();
            self.folios.clear();
            for run in runs {
                let mut frame = run.first;
                while frame < run.end() {
                    let Some(block) = self.enclosing(frame, &mut missing) else {
                        frame += 1;
                        continue;
                    };
                    match self.pages.place(Run { first: block.head, count: block.pages() }) {
                        Some(place) => {
                            self.folios.push(Folio { block, words: place.start, flags: 0 });
                        }
                        None => missing.push(Run { first: block.head, count: block.pages() }),
                    }
                    frame = block.end();
                }
            }
            if missing.is_empty() {
                break;
            }
            missing.extend_from_slice(self.pages.runs());
            wanted = missing;
        }
        self.folios.sort_unstable();
        self.folios.dedup();
        Ok(())
    }

    /// Reads what /proc says of the pages: how often each is mapped, in the runs that were read anyway, since a call
    /// for each folio would take longer than all else; and the flags of those few that may be special.
    fn read_proc(&mut self) -> Result<(), Unavailable> {
        self.counted.clear();
        for run in self.pages.runs() {
            self.counts.read(run.first, run.count, &mut self.counted)?;
        }
        for folio in &mut self.folios {
            // Whether it is a zero page, which has no mapping, or of hugetlb.
            let words = &self.pages.all()[folio.words..];
            let may_be_huge = self.huge_orders >> folio.block.order & 1 != 0;
            if may_be_huge || self.fields.mapping.get(words) == 0 {
                self.flagged.clear();
                self.flags.read(folio.block.head, 1, &mut self.flagged)?;
                folio.flags = self.flagged[0] & (kpf::ZERO | kpf::HUGE);
            }
        }
        Ok(())
    }

    /// Where the pages of a folio start in what /proc says: as far in as in the words.
    fn counted(&self, folio: &Folio) -> usize {
        folio.words / self.fields.page_words
    }

    fn found(&self, block: Block) -> Option<&Folio> {
        let index = self.folios.binary_search_by_key(&block, |folio| folio.block).ok()?;
        self.folios.get(index)
    }

    /// The words of a folio's pages.
    fn words(&self, folio: &Folio) -> &[u64] {
        &self.pages.all()[folio.words..][..folio.block.pages() as usize * self.fields.page_words]
    }
}

/// The orders of hugetlb pages, a bit for each.
fn huge_orders() -> u32 {
    let folders = std::fs::read_dir("/sys/kernel/mm/hugepages").into_iter().flatten().filter_map(Result::ok);
    let kib = folders.filter_map(|folder| {
        let name = folder.file_name();
        name.to_str()?.strip_prefix("hugepages-")?.strip_suffix("kB")?.parse::<u64>().ok()
    });
    kib.map(|kib| kib / (PAGE / 1024))
        .filter(|pages| *pages > 1)
        .fold(0, |orders, pages| orders | 1 << pages.ilog2())
}

impl Frames for Structs {
    fn name(&self) -> &'static str {
        self.name
    }

    fn look(&mut self, runs: &[Run]) -> Result<(), Unavailable> {
        self.find(runs)?;
        self.read_proc()
    }

    fn look_again(&mut self) -> Result<bool, Unavailable> {
        self.before.clear();
        self.before.extend_from_slice(self.pages.all());
        self.pages.refresh(&mut *self.memory)?;
        Ok(self.folios.iter().all(|folio| {
            let length = folio.block.pages() as usize * self.fields.page_words;
            let before = &self.before[folio.words..][..length];
            self.masks.same(before, self.words(folio), self.address(folio.block))
        }))
    }

    fn folio(&self, frame: u64) -> Block {
        let behind = self.folios.partition_point(|folio| folio.block.head <= frame);
        match self.folios[..behind].last() {
            Some(folio) if folio.block.end() > frame => folio.block,
            _ => Block { head: frame, order: 0 },
        }
    }

    fn is_alike(&self, folio: Block, like: Block) -> bool {
        let (Some(folio), Some(like)) = (self.found(folio), self.found(like)) else { return false };
        folio.block.order == 0
            && like.block.order == 0
            && folio.flags == like.flags
            && self.counted[self.counted(folio)] == self.counted[self.counted(like)]
            && self.masks.same(self.words(like), self.words(folio), 0)
    }

    fn row(&self, folio: Block, id: u64, owners: &Owners) -> FolioRow {
        match self.found(folio) {
            Some(folio) => self.told(folio, id, owners),
            None => FolioRow::new(id, folio.order),
        }
    }

    fn mm_id(&mut self, pagemap: &File) -> Result<Option<u32>, Unavailable> {
        match &self.objects {
            Some(objects) => objects.mm_id(&mut *self.memory, pagemap.as_fd()),
            None => Ok(None),
        }
    }
}
