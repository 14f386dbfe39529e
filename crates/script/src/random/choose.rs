//! Choosing steps: what can be done at this point, weighted by the seed's taste.

use std::collections::BTreeMap;

use super::huge::Pool;
use super::world::{File, Hold, Page, Process};
use super::{Prng, Shape};
use crate::ast::{
    Action, Advice, Backing, DaxAlign, FileKind, Hold as Batch, Huge, KernelVerb, MthpMode, Name, Outcome,
    Pages, ProcessVerb, Protection, Region, ShmemMthpMode, Size, Thp, ThpMode, Value,
};
use crate::diagnostic::Span;

/// Names of processes; the first is there from the start.
const PROCESSES: [&str; 8] = ["A", "B", "C", "D", "E", "F", "G", "H"];
/// Names of mappings, the last ones for reserved ranges.
pub(super) const MAPPINGS: [&str; 3] = ["x", "y", "z"];
const RESERVED: [&str; 2] = ["u", "v"];
/// Names of files.
const FILES: [&str; 3] = ["f", "g", "h"];

/// A kind of step, and how often it comes where nothing else decides.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Mmap,
    Reserve,
    Read,
    Write,
    Fill,
    Munmap,
    Mprotect,
    Mlock,
    Munlock,
    Mremap,
    DontNeed,
    Advise,
    Populate,
    Mergeable,
    Fork,
    Exit,
    Get,
    Pin,
    Drop,
    SplitPmd,
    MadvFree,
    Split,
    Collapse,
    Migrate,
    Ksm,
    PutBack,
    DropCaches,
    Thp,
    Tune,
    Lru,
    Swap,
    Pageout,
    HugeMmap,
    Pool,
    File,
    Truncate,
    Punch,
    Remove,
    ShmemSize,
    DaxMmap,
}

const KINDS: [(Kind, u32); 40] = [
    (Kind::Mmap, 8),
    (Kind::Reserve, 2),
    (Kind::Read, 6),
    (Kind::Write, 18),
    (Kind::Fill, 3),
    (Kind::Munmap, 7),
    (Kind::Mprotect, 6),
    (Kind::Mlock, 2),
    (Kind::Munlock, 2),
    (Kind::Mremap, 5),
    (Kind::DontNeed, 8),
    (Kind::Advise, 2),
    (Kind::Populate, 3),
    (Kind::Mergeable, 5),
    (Kind::Fork, 10),
    (Kind::Exit, 4),
    (Kind::Get, 4),
    (Kind::Pin, 4),
    (Kind::Drop, 5),
    (Kind::SplitPmd, 6),
    (Kind::Split, 6),
    (Kind::MadvFree, 3),
    (Kind::Collapse, 4),
    (Kind::Migrate, 4),
    (Kind::Ksm, 6),
    (Kind::PutBack, 2),
    (Kind::DropCaches, 3),
    (Kind::Thp, 4),
    (Kind::Tune, 1),
    (Kind::Lru, 2),
    (Kind::Swap, 4),
    (Kind::Pageout, 10),
    (Kind::HugeMmap, 6),
    (Kind::Pool, 2),
    (Kind::File, 6),
    (Kind::Truncate, 3),
    (Kind::Punch, 4),
    (Kind::Remove, 2),
    (Kind::ShmemSize, 3),
    (Kind::DaxMmap, 3),
];

/// Draws steps that are possible.
pub(super) struct Chooser {
    pub(super) prng: Prng,
    weights: Vec<u32>,
    pmd_order: u8,
    /// There is swap now.
    swap: bool,
    pub(super) most_pages: u64,
    most_processes: usize,
    pins: bool,
    nodes: u32,
    pins_shmem: bool,
    memfd_huge: bool,
    disks: Vec<FileKind>,
    /// There are files in this scenario; some were mapped.
    with_files: bool,
    mapped_files: bool,
    /// So were devices.
    mapped_dax: bool,
    /// Pages of files may have been swapped out.
    swapped_files: bool,
    files: Vec<File>,
    pub(super) processes: BTreeMap<&'static str, Process>,
    pub(super) pool: Pool,
}

impl Chooser {
    pub(super) fn new(seed: u64, shape: &Shape) -> Chooser {
        let mut prng = Prng::new(seed);
        let pmd_order = shape.pmd_order.unwrap_or_else(|| prng.pick(&[1, 2, 2, 2, 3, 3, 3, 3, 4, 4, 4, 9]));
        let weights = KINDS.map(|(kind, weight)| match kind {
            Kind::Mmap | Kind::Write => weight,
            // A machine without devices draws the same scenarios as ever.
            Kind::DaxMmap if !shape.dax => 0,
            _ => weight * prng.pick(&[0, 1, 1, 1, 1, 3, 6]),
        });
        let with_files = shape.files && prng.chance(1, 2);
        Chooser {
            prng,
            weights: weights.to_vec(),
            pmd_order,
            swap: false,
            most_pages: shape.pages.unwrap_or(if pmd_order == 9 { 2 << 9 } else { 3 << pmd_order }).max(1),
            most_processes: shape.processes.clamp(1, PROCESSES.len()),
            pins: shape.pins,
            nodes: shape.nodes.clamp(1, 255),
            pins_shmem: shape.pins_shmem,
            memfd_huge: shape.memfd_huge,
            disks: shape.disks.clone(),
            with_files,
            mapped_files: false,
            mapped_dax: false,
            swapped_files: false,
            files: Vec::new(),
            processes: BTreeMap::from([(PROCESSES[0], Process::default())]),
            pool: Pool::default(),
        }
    }

    pub(super) const fn pmd_order(&self) -> u8 {
        self.pmd_order
    }

    /// The next step and how it ends.
    pub(super) fn step(&mut self) -> (Action, Outcome) {
        loop {
            let kind = KINDS[self.prng.weighted(&self.weights)].0;
            let names: Vec<&'static str> = self.processes.keys().copied().collect();
            let name = self.prng.pick(&names);
            let step = match kind {
                Kind::HugeMmap => self.huge_mmap(name),
                Kind::Fork => self.fork(name),
                Kind::Split
                | Kind::Collapse
                | Kind::Migrate
                | Kind::Ksm
                | Kind::PutBack
                | Kind::DropCaches
                | Kind::Thp
                | Kind::Tune
                | Kind::Lru
                | Kind::Pool
                | Kind::Swap
                | Kind::File
                | Kind::Truncate
                | Kind::Punch
                | Kind::ShmemSize => self.kernel(kind, name).map(|verb| (Action::Kernel(verb), Outcome::Any)),
                _ => self
                    .process(kind, name)
                    .map(|(verb, outcome)| (Action::Process { name: Name::new(name), verb }, outcome)),
            };
            if let Some(step) = step {
                return step;
            }
            // Not possible now: a mapping is what most steps need, so make one more often than by chance.
            if self.prng.chance(1, 4)
                && let Some((verb, outcome)) = self.process(Kind::Mmap, name)
            {
                return (Action::Process { name: Name::new(name), verb }, outcome);
            }
        }
    }

    fn process(&mut self, kind: Kind, name: &'static str) -> Option<(ProcessVerb, Outcome)> {
        let verb = match kind {
            Kind::Mmap => return self.mmap(name).map(|verb| (verb, Outcome::Ok)),
            Kind::DaxMmap => return self.dax_mmap(name).map(|verb| (verb, Outcome::Ok)),
            Kind::Mremap if self.mapped_dax => return None,
            Kind::Reserve => return self.reserve(name).map(|verb| (verb, Outcome::Ok)),
            Kind::Exit => return self.exit(name).map(|verb| (verb, Outcome::Ok)),
            Kind::Get | Kind::Pin => {
                return self.hold(name, kind == Kind::Pin).map(|verb| (verb, Outcome::Ok));
            }
            Kind::Drop => return self.drop_hold(name).map(|verb| (verb, Outcome::Ok)),
            Kind::Munmap => {
                let (mapping, range, region) = self.region(name)?;
                let pmd = 1 << self.pmd_order;
                let whole = self.world(name).unmap(&mapping, range, pmd);
                let outcome = if whole { Outcome::Ok } else { Outcome::Any };
                return Some((ProcessVerb::Munmap(region), outcome));
            }
            Kind::Mprotect => return self.mprotect(name).map(|verb| (verb, Outcome::Any)),
            Kind::Mremap => return self.mremap(name).map(|verb| (verb, Outcome::Any)),
            Kind::Read => ProcessVerb::Read(self.region(name)?.2),
            Kind::Write => ProcessVerb::Write(self.region(name)?.2),
            Kind::Fill => ProcessVerb::Fill(self.region(name)?.2, self.prng.pick(&[0, 0, 1, 65, 65, 66])),
            Kind::Mlock => ProcessVerb::Mlock(self.region(name)?.2),
            Kind::Munlock => ProcessVerb::Munlock(self.region(name)?.2),
            Kind::DontNeed => {
                let (mapping, range, region) = self.region(name)?;
                let pmd = 1 << self.pmd_order;
                self.world(name).give_up(&mapping, range, pmd);
                ProcessVerb::Madvise(region, Advice::DontNeed)
            }
            Kind::Advise => {
                let advice = self.prng.pick(&[Advice::Hugepage, Advice::Hugepage, Advice::NoHugepage]);
                ProcessVerb::Madvise(self.region(name)?.2, advice)
            }
            Kind::Populate => {
                let advice = self.prng.pick(&[Advice::PopulateRead, Advice::PopulateWrite]);
                ProcessVerb::Madvise(self.region(name)?.2, advice)
            }
            Kind::Mergeable => {
                let advice = self.prng.pick(&[Advice::Mergeable, Advice::Mergeable, Advice::Unmergeable]);
                ProcessVerb::Madvise(self.region(name)?.2, advice)
            }
            Kind::SplitPmd => ProcessVerb::SplitPmd(self.region(name)?.2),
            Kind::MadvFree => {
                let advice = self.prng.pick(&[Advice::Free, Advice::Collapse, Advice::Collapse]);
                ProcessVerb::Madvise(self.region_to_collapse(name)?, advice)
            }
            Kind::Remove if !self.mapped_files && !self.has_huge() => return None,
            Kind::Remove => {
                let (mapping, _, region) = self.region(name)?;
                self.removed_huge(name, &mapping);
                ProcessVerb::Madvise(region, Advice::Remove)
            }
            Kind::Pageout if self.mapped_dax => return None,
            // Without swap it only splits, or drops what MADV_FREE gave up.
            Kind::Pageout if !self.swap && self.prng.chance(1, 2) => return None,
            Kind::Pageout if self.prng.chance(1, 5) => {
                ProcessVerb::Madvise(self.region(name)?.2, Advice::Cold)
            }
            Kind::Pageout => {
                self.swapped_files |= self.swap && self.mapped_files;
                ProcessVerb::Madvise(self.region(name)?.2, Advice::Pageout)
            }
            _ => unreachable!("the kernel's"),
        };
        Some((verb, Outcome::Any))
    }

    fn kernel(&mut self, kind: Kind, name: &'static str) -> Option<KernelVerb> {
        let pmd = self.pmd_order;
        Some(match kind {
            Kind::Split => {
                let (_, _, region) = self.region(name)?;
                let region = Region { process: Some(Name::new(name)), ..region };
                let some = self.prng.chance(1, 2);
                let order = some.then(|| self.prng.below(u64::from(pmd) + 1) as u8);
                let pages = 1 << pmd;
                let at = self.prng.chance(1, 3).then(|| self.prng.below(pages));
                KernelVerb::Split { region, order, at, list: self.prng.chance(1, 4) }
            }
            Kind::Collapse => {
                let region = self.region_to_collapse(name)?;
                KernelVerb::Khugepaged(Region { process: Some(Name::new(name)), ..region })
            }
            Kind::Migrate => {
                let (_, _, region) = self.region(name)?;
                let region = Region { process: Some(Name::new(name)), ..region };
                KernelVerb::Migrate {
                    region,
                    node: self.prng.below(self.nodes.into()) as u32,
                    all: self.prng.chance(1, 2),
                }
            }
            Kind::Ksm => KernelVerb::Ksm(self.prng.pick(&[1, 2, 2, 2, 3])),
            // Mostly it stays on, so that something is swapped.
            Kind::Swap if self.swap && self.prng.chance(4, 5) => return None,
            Kind::Swap => {
                self.swap = !self.swap;
                let small = self.prng.chance(1, 3).then(|| Size::Pages(1 + self.prng.below(2 << pmd)));
                if self.swap { KernelVerb::SwapOn(small) } else { KernelVerb::SwapOff }
            }
            Kind::File | Kind::Truncate | Kind::Punch | Kind::ShmemSize if !self.with_files => return None,
            Kind::File => return self.make_file(),
            Kind::Truncate | Kind::Punch => return self.cut_file(kind),
            Kind::ShmemSize => self.size_of_shmem(),
            Kind::PutBack => KernelVerb::PutBack,
            Kind::Pool => self.resize_pool(),
            Kind::DropCaches => KernelVerb::DropCaches(self.prng.pick(&[1, 2, 2, 2, 3])),
            Kind::Thp if self.prng.chance(1, 3) => KernelVerb::Thp(self.prng.pick(&[
                ThpMode::Always,
                ThpMode::Always,
                ThpMode::Madvise,
                ThpMode::Never,
            ])),
            Kind::Thp => self.size_of_folios(),
            Kind::Tune if self.prng.chance(1, 4) => KernelVerb::Tune {
                key: Name::new("shrink_underused"),
                value: Value::Int(self.prng.below(2) as i64),
            },
            Kind::Tune => KernelVerb::Tune {
                key: Name::new(self.prng.pick(&["max_ptes_none", "max_ptes_swap", "max_ptes_shared"])),
                value: Value::Int(self.prng.below(1 << pmd) as i64),
            },
            Kind::Lru => {
                KernelVerb::Lru(self.prng.pick(&[Batch::Hold, Batch::Hold, Batch::Auto, Batch::Drain]))
            }
            _ => unreachable!("a process's"),
        })
    }

    pub(super) fn world(&mut self, name: &str) -> &mut Process {
        self.processes.get_mut(name).expect("alive")
    }

    /// A mapping of the process, and some of its pages.
    fn region(&mut self, name: &'static str) -> Option<(String, (u64, u64), Region)> {
        let names: Vec<String> = self.processes[name].mappings.keys().cloned().collect();
        if names.is_empty() {
            return None;
        }
        // A second look finds a mapped one more often.
        let mut mapping = names[self.prng.below(names.len() as u64) as usize].clone();
        if self.processes[name].is_free(&mapping) {
            mapping = names[self.prng.below(names.len() as u64) as usize].clone();
        }
        let pages = self.processes[name].mappings[&mapping].len() as u64;
        let (range, written) = self.pages(pages);
        let region =
            Region { process: None, mapping: Name::new(&mapping), pages: written, span: Span::NOWHERE };
        Some((mapping, range, region))
    }

    /// Some of `pages` pages: all, one, a range; where PMDs begin and end more often than elsewhere.
    /// The same; mostly all of a mapping, since no part that is smaller than a PMD can be collapsed.
    fn region_to_collapse(&mut self, name: &'static str) -> Option<Region> {
        let region = self.region(name)?.2;
        Some(if self.prng.chance(2, 3) { Region { pages: Pages::All, ..region } } else { region })
    }

    fn pages(&mut self, pages: u64) -> ((u64, u64), Pages) {
        let pmd = 1 << self.pmd_order;
        match self.prng.below(8) {
            0 | 1 => ((0, pages), Pages::All),
            2 | 3 => {
                let page = self.prng.below(pages);
                ((page, page + 1), Pages::One(page))
            }
            4 => {
                let start = self.prng.below(pages.div_ceil(pmd)) * pmd;
                let end = (start + pmd).min(pages);
                ((start, end), Pages::Range { start, end: Some(end) })
            }
            5 => {
                let start = self.prng.below(pages);
                ((start, pages), Pages::Range { start, end: None })
            }
            _ => {
                let (one, other) = (self.prng.below(pages), self.prng.below(pages));
                let (start, end) = (one.min(other), one.max(other) + 1);
                ((start, end), Pages::Range { start, end: Some(end) })
            }
        }
    }

    fn size(&mut self) -> (Size, u64) {
        let pmd = 1u64 << self.pmd_order;
        let most = self.most_pages;
        if most >= pmd && self.prng.chance(2, 3) {
            let pmds = 1 + self.prng.below(most / pmd);
            return (Size::Pmds(pmds), pmds * pmd);
        }
        let pages = 1 + self.prng.below(most);
        (Size::Pages(pages), pages)
    }

    fn mmap(&mut self, name: &'static str) -> Option<ProcessVerb> {
        let mapping = self.prng.pick(&MAPPINGS);
        if !self.processes[name].is_free(mapping) {
            return None;
        }
        let (size, pages) = self.size();
        let advice = self.prng.pick(&[Some(Thp::Huge), Some(Thp::Huge), Some(Thp::NoHuge), None]);
        let read_only = self.prng.chance(1, 12);
        let (backing, shared) = if self.with_files { self.backing() } else { (Backing::Anon, false) };
        let kind = if read_only { Page::ReadOnly } else { Page::ReadWrite };
        match &backing {
            Backing::File { file, from_page } => {
                let file = FILES.iter().position(|name| *name == file.as_str()).expect("one of these");
                // Lossless: three files.
                self.world(name).map_file(mapping, pages, (file as u8, *from_page), !read_only);
            }
            // Who pins shared memory may be refused.
            _ if shared => self.world(name).map(mapping, pages, Page::Unknown),
            _ => self.world(name).map(mapping, pages, kind),
        }
        let name = Name::new(mapping);
        Some(ProcessVerb::Mmap { name, size, backing, shared, advice, read_only })
    }

    /// A mapping of a device of its own.
    fn dax_mmap(&mut self, name: &'static str) -> Option<ProcessVerb> {
        let mapping = self.prng.pick(&MAPPINGS);
        if !self.processes[name].is_free(mapping) {
            return None;
        }
        let pmd = 1u64 << self.pmd_order;
        let align = self.prng.pick(&[DaxAlign::Pte, DaxAlign::Pmd, DaxAlign::Pmd, DaxAlign::Pud]);
        let (step, most) = match align {
            DaxAlign::Pte => (1, self.most_pages),
            DaxAlign::Pmd => (pmd, (self.most_pages / pmd).max(1)),
            // Larger ones take long to look at.
            DaxAlign::Pud if self.pmd_order > 2 => return None,
            DaxAlign::Pud => (pmd << 9, 2),
        };
        let pages = step * (1 + self.prng.below(most));
        let advice = self.prng.pick(&[None, None, None, Some(Thp::Huge), Some(Thp::NoHuge)]);
        let read_only = self.prng.chance(1, 12);
        (self.mapped_files, self.mapped_dax) = (true, true);
        let world = self.world(name);
        world.map(mapping, pages, Page::Unknown);
        world.dax.insert(mapping.to_owned(), step);
        let (name, size, backing) = (Name::new(mapping), Size::Pages(pages), Backing::Dax(align));
        Some(ProcessVerb::Mmap { name, size, backing, shared: true, advice, read_only })
    }

    /// What a mapping maps where there are files.
    fn backing(&mut self) -> (Backing, bool) {
        let known = self.files.len() as u64;
        if known > 0 && self.prng.chance(2, 3) {
            self.mapped_files = true;
            let file = self.prng.below(known) as usize;
            let from_page = match self.prng.below(4) {
                0 => self.prng.below(self.files[file].pages + 1),
                1 => 1 << self.pmd_order,
                _ => 0,
            };
            return (Backing::File { file: Name::new(FILES[file]), from_page }, self.prng.chance(2, 3));
        }
        let shared = self.prng.chance(1, 3);
        self.mapped_files |= shared;
        (Backing::Anon, shared)
    }

    /// A size of anonymous folios is allowed or forbidden.
    fn size_of_folios(&mut self) -> KernelVerb {
        let order = self.prng.below(u64::from(self.pmd_order) + 1) as u32;
        let modes =
            [MthpMode::Always, MthpMode::Always, MthpMode::Inherit, MthpMode::Madvise, MthpMode::Never];
        KernelVerb::Mthp(Size::Pages(1 << order), self.prng.pick(&modes))
    }

    /// A size of folios of shared memory is allowed or forbidden.
    fn size_of_shmem(&mut self) -> KernelVerb {
        let order = self.prng.below(u64::from(self.pmd_order) + 1) as u32;
        let modes = [
            ShmemMthpMode::Always,
            ShmemMthpMode::Always,
            ShmemMthpMode::WithinSize,
            ShmemMthpMode::Advise,
            ShmemMthpMode::Inherit,
            ShmemMthpMode::Never,
        ];
        KernelVerb::ShmemMthp(Size::Pages(1 << order), self.prng.pick(&modes))
    }

    fn make_file(&mut self) -> Option<KernelVerb> {
        let name = FILES.get(self.files.len())?;
        let (size, pages) = self.size();
        let kind = self.prng.pick(&[
            FileKind::Tmpfs,
            FileKind::Tmpfs,
            FileKind::Tmpfs,
            FileKind::Memfd,
            FileKind::Memfd,
            FileKind::Ext4,
            FileKind::Xfs,
        ]);
        let is_shmem = matches!(kind, FileKind::Tmpfs | FileKind::Memfd);
        if !is_shmem && !self.disks.contains(&kind) {
            return None;
        }
        let modes =
            [Some(Huge::Always), Some(Huge::Always), Some(Huge::WithinSize), Some(Huge::Advise), None];
        let huge = if is_shmem { self.prng.pick(&modes) } else { None };
        let huge = huge.filter(|_| kind == FileKind::Tmpfs || self.memfd_huge);
        self.files.push(File { pages, is_shmem });
        Some(KernelVerb::File { name: Name::new(name), size, kind, huge })
    }

    fn cut_file(&mut self, kind: Kind) -> Option<KernelVerb> {
        if self.files.is_empty() {
            return None;
        }
        let index = self.prng.below(self.files.len() as u64) as usize;
        let file = Name::new(FILES[index]);
        let pages = self.files[index].pages;
        if kind == Kind::Punch {
            let ((start, end), _) = self.pages(pages.max(1));
            return Some(KernelVerb::Punch { file, start, end });
        }
        let (size, pages) = match self.prng.below(4) {
            0 => self.size(),
            1 => (Size::Pages(0), 0),
            _ => {
                let pages = self.prng.below(pages + 1);
                (Size::Pages(pages), pages)
            }
        };
        let pmd = 1 << self.pmd_order;
        let (size, pages) = if self.swapped_files && pages % pmd != 0 {
            // Some kernels never come back from cutting a folio that is swapped out.
            let whole = pages - pages % pmd;
            (Size::Pages(whole), whole)
        } else {
            (size, pages)
        };
        self.files[index].pages = pages;
        Some(KernelVerb::Truncate { file, size })
    }

    fn reserve(&mut self, name: &'static str) -> Option<ProcessVerb> {
        let mapping = self.prng.pick(&RESERVED);
        if self.processes[name].mappings.contains_key(mapping) {
            return None;
        }
        let (size, pages) = self.size();
        self.world(name).reserve(mapping, pages);
        Some(ProcessVerb::Reserve { name: Name::new(mapping), size })
    }

    fn fork(&mut self, name: &'static str) -> Option<(Action, Outcome)> {
        let free: Vec<&'static str> =
            PROCESSES.into_iter().filter(|name| !self.processes.contains_key(name)).collect();
        if self.processes.len() >= self.most_processes {
            return None;
        }
        if let Some(step) = self.room_for_fork(name)? {
            return Some(step);
        }
        let child = self.prng.pick(&free);
        let copy = Process { holds: Vec::new(), ..self.processes[name].clone() };
        self.processes.insert(child, copy);
        self.forked_huge(child);
        let verb = ProcessVerb::Fork(Name::new(child));
        Some((Action::Process { name: Name::new(name), verb }, Outcome::Ok))
    }

    fn exit(&mut self, name: &'static str) -> Option<ProcessVerb> {
        if self.processes.len() == 1 {
            return None;
        }
        self.processes.remove(name);
        Some(ProcessVerb::Exit)
    }

    fn hold(&mut self, name: &'static str, is_pin: bool) -> Option<ProcessVerb> {
        if is_pin && !self.pins {
            return None;
        }
        let (mapping, range, region) = self.region(name)?;
        let pages = &self.processes[name].mappings[&mapping][range.0 as usize..range.1 as usize];
        if !pages.iter().all(|page| self.can_hold(*page, is_pin)) {
            return None;
        }
        self.held_huge(name, &mapping, is_pin);
        self.world(name).holds.push(Hold { mapping, start: range.0, end: range.1, is_pin });
        Some(if is_pin { ProcessVerb::Pin(region) } else { ProcessVerb::Get(region) })
    }

    /// Whether a page can be held for sure.
    fn can_hold(&self, page: Page, is_pin: bool) -> bool {
        match page {
            Page::ReadWrite => true,
            Page::ReadOnly => !is_pin,
            Page::File { file, index, write } => {
                let file = self.files[usize::from(file)];
                u64::from(index) < file.pages && (!is_pin || (write && file.is_shmem && self.pins_shmem))
            }
            Page::Hole | Page::NoAccess | Page::Unknown => false,
        }
    }

    fn drop_hold(&mut self, name: &'static str) -> Option<ProcessVerb> {
        let count = self.processes[name].holds.len() as u64;
        if count == 0 {
            return None;
        }
        let index = self.prng.below(count) as usize;
        let Hold { mapping, start, end, is_pin } = self.world(name).holds.remove(index);
        let pages = Pages::Range { start, end: Some(end) };
        let region = Region { process: None, mapping: Name::new(&mapping), pages, span: Span::NOWHERE };
        Some(if is_pin { ProcessVerb::Unpin(region) } else { ProcessVerb::Put(region) })
    }

    fn mprotect(&mut self, name: &'static str) -> Option<ProcessVerb> {
        let (mapping, range, region) = self.region(name)?;
        let (protection, kind) = self.prng.pick(&[
            (Protection::Ro, Page::ReadOnly),
            (Protection::Ro, Page::ReadOnly),
            (Protection::Rw, Page::ReadWrite),
            (Protection::Rw, Page::ReadWrite),
            (Protection::None, Page::NoAccess),
        ]);
        let pmd = 1 << self.pmd_order;
        self.world(name).protect(&mapping, range, kind, pmd);
        Some(ProcessVerb::Mprotect(region, protection))
    }

    fn mremap(&mut self, name: &'static str) -> Option<ProcessVerb> {
        let (mapping, range, from) = self.region(name)?;
        let names: Vec<String> = self.processes[name].mappings.keys().cloned().collect();
        let to = names[self.prng.below(names.len() as u64) as usize].clone();
        let (pages, room) = (range.1 - range.0, self.processes[name].mappings[&to].len() as u64);
        let last = room.checked_sub(pages)?;
        let pmd = 1 << self.pmd_order;
        let page = match self.prng.below(3) {
            0 => self.prng.below(last + 1),
            1 => self.prng.below(last / pmd + 1) * pmd,
            // As far into its PMD as the source is.
            _ => Some(self.prng.below(last / pmd + 1) * pmd + range.0 % pmd).filter(|page| *page <= last)?,
        };
        self.moved_huge(name, &mapping);
        self.world(name).move_to((&mapping, range), &to, page, pmd);
        Some(ProcessVerb::Mremap { from, to: Name::new(&to), page })
    }
}
