//! The machine by files of /proc alone, where kernel memory cannot be read: what a folio is, how large, and how often its
//! pages are mapped. Who holds references, pins and queues are not told there.

use std::collections::BTreeSet;

use mapcount_model::verdict::Reason;

use super::census::{Census, Count};
use super::extent::Extent;
use super::inspector::Processes;
use super::marks::{Head, Use};
use super::pagemap;
use super::procs::Process;
use super::usage::{Class, Usage};
use super::zones::{Zone, node_of, spans, zones};
use crate::Unavailable;
use crate::procfs::{KPAGECOUNT, KPAGEFLAGS, Words, kpf, true_flags};

/// Frames that are read at once; no folio but a gigantic one crosses a multiple of it.
const STEP: u64 = 8192;

/// More words of /proc/kpageflags (include/uapi/linux/kernel-page-flags.h).
mod more {
    pub(super) const SLAB: u64 = 1 << 7;
    pub(super) const BUDDY: u64 = 1 << 10;
    pub(super) const NOPAGE: u64 = 1 << 20;
    pub(super) const OFFLINE: u64 = 1 << 23;
    pub(super) const PGTABLE: u64 = 1 << 26;
    pub(super) const RESERVED: u64 = 1 << 32;
    pub(super) const MLOCKED: u64 = 1 << 33;
    /// On an LRU list, or mapped: a page of somebody's memory.
    pub(super) const LRU: u64 = 1 << 5;
    pub(super) const MMAP: u64 = 1 << 11;
}

/// The machine by files of /proc.
pub struct Files {
    flags: Words,
    /// The flags that are believed.
    known: u64,
    counts: Words,
    zones: Vec<Zone>,
    /// Flags and counts of the frames at hand.
    flagged: Vec<u64>,
    counted: Vec<u64>,
    /// Whether pagemap told which pages PMDs map, when it was asked last.
    pub knows_pmds: bool,
}

/// A folio by its flags.
struct Found {
    head: Head,
    flags: u64,
}

impl Files {
    /// Opens the files.
    ///
    /// # Errors
    /// If they are not there, or not for us.
    pub fn open() -> Result<Files, Unavailable> {
        Ok(Files {
            flags: Words::need(KPAGEFLAGS)?,
            known: true_flags(),
            counts: Words::need(KPAGECOUNT)?,
            zones: zones()?,
            flagged: Vec::new(),
            counted: Vec::new(),
            knows_pmds: true,
        })
    }

    fn read(&mut self, first: u64) -> Result<(), Unavailable> {
        self.flagged.clear();
        self.counted.clear();
        self.flags.read(first, STEP, &mut self.flagged)?;
        self.flagged.iter_mut().for_each(|flags| *flags &= self.known);
        self.counts.read(first, STEP, &mut self.counted)
    }

    /// The folio that starts at a frame of those at hand; `None` for a tail and for no page.
    fn folio(&self, at: usize) -> Option<Found> {
        let flags = self.flagged[at];
        if flags & (kpf::TAIL | more::NOPAGE) != 0 {
            return None;
        }
        let tails = || self.flagged[at + 1..].iter().take_while(|flags| **flags & kpf::TAIL != 0).count();
        let pages = if flags & kpf::HEAD != 0 { tails() + 1 } else { 1 };
        let used = use_of(flags);
        let head = Head {
            used,
            order: pages.ilog2() as u8,
            flags: 0,
            state: mapcount_model::verdict::State {
                swapcache: flags & kpf::SWAPCACHE != 0 && flags & kpf::SWAPBACKED != 0,
                ..Default::default()
            },
        };
        Some(Found { head, flags })
    }

    /// Takes the census. Which entries map a folio, references, pins and queues are not in it.
    ///
    /// # Errors
    /// If a file cannot be read.
    pub fn census(&mut self) -> Result<Census, Unavailable> {
        let mut census = Census::default();
        for span in spans(&self.zones, STEP) {
            let mut first = span.start;
            while first < span.end {
                self.read(first)?;
                let number = node_of(&self.zones, first).unwrap_or(0);
                let node = census.node(number);
                let mut at = 0;
                while at < STEP as usize {
                    match self.folio(at) {
                        Some(found) => {
                            self.count(at, &found, census.at(node, &found.head));
                            census.frames += found.head.pages();
                            at += found.head.pages() as usize;
                        }
                        None => {
                            census.holes += u64::from(self.flagged[at] & more::NOPAGE != 0);
                            at += 1;
                        }
                    }
                }
                first += STEP;
            }
        }
        Ok(census)
    }

    fn count(&self, at: usize, found: &Found, count: &mut Count) {
        let pages = found.head.pages();
        count.folios += 1;
        count.pages += pages;
        if found.head.used.kind().is_none() {
            return;
        }
        let mapped = self.mapped(at, pages);
        count.pages_unmapped += if mapped == 0 { pages } else { 0 };
        if mapped > 0 && mapped < pages {
            count.pages_partial += pages;
            count.folios_partial += 1;
            count.pages_held += pages - mapped;
        }
        count.swapcache += u64::from(found.head.state.swapcache);
        count.mlocked += u64::from(found.flags & more::MLOCKED != 0);
    }

    /// Pages of a folio that are mapped.
    fn mapped(&self, at: usize, pages: u64) -> u64 {
        self.counted[at..at + pages as usize].iter().filter(|count| **count > 0).count() as u64
    }

    /// What processes use, by pagemap, kpageflags and kpagecount.
    ///
    /// # Errors
    /// If a file cannot be read; that a process is gone or closed to us is none.
    pub fn processes(&mut self, wanted: &[Process], orders: &[u8]) -> Result<Processes, Unavailable> {
        let mut found = Processes::default();
        let mut extents = Vec::new();
        let mut seen = BTreeSet::new();
        for process in wanted.iter().filter(|process| seen.insert(process.pid)) {
            match pagemap::walk(process.pid, found.used.len() as u32, &mut extents)? {
                Ok(told) => {
                    self.knows_pmds &= told.knows_pmds;
                    found.used.push((process.clone(), Usage::default()));
                }
                Err(missed) => found.missed.push((process.clone(), missed)),
            }
        }
        extents.sort_unstable_by_key(|extent| (extent.frame / STEP, extent.owner, extent.frame));
        let mut rest = &extents[..];
        while let Some(first) = rest.first() {
            let chunk = first.frame / STEP;
            let here = rest.partition_point(|extent| extent.frame / STEP == chunk);
            self.read(chunk * STEP)?;
            for part in rest[..here].chunk_by(|left, right| left.owner == right.owner) {
                let owner = part[0].owner as usize;
                self.join(chunk * STEP, part, orders, &mut found.used[owner].1);
            }
            rest = &rest[here..];
        }
        Ok(found)
    }

    /// Adds extents of one owner, which start in the frames at hand and stand by rising frame.
    fn join(&self, first: u64, extents: &[Extent], orders: &[u8], usage: &mut Usage) {
        let mut segments: Vec<Extent> = Vec::new();
        let mut folio: Option<(usize, Found)> = None;
        for extent in extents {
            let mut rest = *extent;
            while rest.pages > 0 {
                let at = (rest.frame - first) as usize;
                if at >= STEP as usize {
                    break;
                }
                let inside = folio.as_ref().is_some_and(|(start, found)| {
                    (*start..*start + found.head.pages() as usize).contains(&at)
                });
                if !inside {
                    self.flush(first, folio.take(), &mut segments, orders, usage);
                    let start = (0..=at).rev().find(|at| self.flagged[*at] & kpf::TAIL == 0).unwrap_or(at);
                    folio = self.folio(start).map(|found| (start, found));
                }
                let Some((start, found)) = &folio else {
                    usage.add_uncounted(Use::Kernel, rest.pages.into());
                    break;
                };
                let behind = (*start as u64 + found.head.pages()).max(at as u64 + 1);
                let pages = u64::from(rest.pages).min(behind - at as u64) as u32;
                segments.push(Extent { pages, ..rest });
                rest.page += u64::from(pages);
                rest.frame += u64::from(pages);
                rest.pages -= pages;
            }
        }
        self.flush(first, folio.take(), &mut segments, orders, usage);
    }

    fn flush(
        &self,
        first: u64,
        folio: Option<(usize, Found)>,
        segments: &mut Vec<Extent>,
        orders: &[u8],
        usage: &mut Usage,
    ) {
        if let Some((at, found)) = folio.filter(|(_, found)| found.flags & kpf::ZERO == 0) {
            let counts = |segment: &Extent| {
                let at = (segment.frame - first) as usize;
                &self.counted[at..(at + segment.pages as usize).min(self.counted.len())]
            };
            for segment in segments.iter() {
                usage.add_counted(found.head.used, counts(segment));
                if found.head.order > 0 && found.head.used.kind().is_some() && found.head.used != Use::Hugetlb
                {
                    let class = if matches!(found.head.used, Use::Anon | Use::Ksm) {
                        Class::Anon
                    } else {
                        Class::File
                    };
                    usage.add_mapped(class, &found.head, segment, orders);
                }
            }
            if found.head.used == Use::Anon && found.head.order > 0 {
                let pages = found.head.pages().min(self.counted.len() as u64 - at as u64);
                let mapped = self.mapped(at, pages);
                usage.add_partial(&found.head, (mapped, segments), (None, Reason::Unknown), false);
            }
        }
        segments.clear();
    }
}

fn use_of(flags: u64) -> Use {
    let is = |mask: u64| flags & mask != 0;
    match () {
        () if is(kpf::HUGE) => Use::Hugetlb,
        () if is(more::BUDDY) => Use::Free,
        () if is(more::SLAB) => Use::Slab,
        () if is(more::PGTABLE) => Use::PageTable,
        () if is(more::OFFLINE) => Use::Offline,
        () if is(more::RESERVED) => Use::Reserved,
        () if is(kpf::KSM) => Use::Ksm,
        () if is(kpf::ANON) => Use::Anon,
        () if is(kpf::SWAPBACKED) => Use::Shmem,
        () if is(more::LRU | more::MMAP) => Use::File,
        () => Use::Kernel,
    }
}
