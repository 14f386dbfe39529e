//! What can be asked of a running kernel.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::os::unix::fs::FileExt;

use mapcount_model::profile::Profile;

use super::blocks::Blocks;
use super::extent::Extent;
use super::folio::{self, Mapper, View};
use super::frames::Frames;
use super::maps::{Area, areas};
use super::marks::Marks;
use super::pagemap;
use super::pieces::{self, Piece};
use super::procs::Process;
use super::space::{Missed, Space, Spaces};
use super::tables::Walked;
use super::unexpected::{self, Unexpected};
use super::usage::Usage;
use super::{Census, census, join};
use crate::bpf::Bpf;
use crate::btf::Btf;
use crate::kcore::Kcore;
use crate::memory::Memory;
use crate::objects::Objects;
use crate::observer::Choice;
use crate::{Unavailable, fields::Fields, live, vmemmap};

/// A running kernel, opened to be looked at.
pub struct Inspector {
    profile: Profile,
    frames: Frames,
    walker: Walker,
    source: String,
}

/// How it is found out what processes map.
enum Walker {
    /// By their page tables.
    Tables(Spaces),
    /// By /proc.
    Pagemap,
}

/// What processes use.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Processes {
    /// Each with what it uses.
    pub used: Vec<(Process, Usage)>,
    /// Processes that share their memory with one of `used` (vfork, CLONE_VM): they are not counted again.
    pub same: Vec<(Process, u32)>,
    /// Processes that were not looked at, and why.
    pub missed: Vec<(Process, Missed)>,
    /// What the walks met.
    pub walked: Walked,
}

/// What a mapping of a process uses.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Mapping {
    /// The area.
    pub area: Area,
    /// What is mapped in it. Folios that reach into other mappings are held by each.
    pub usage: Usage,
    /// The extents in it, by rising address.
    pub extents: Vec<Extent>,
}

/// A process that maps folios which others map too.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Other {
    /// The process.
    pub process: Process,
    /// Pages of those folios that it maps.
    pub pages: u64,
}

/// A way through the address spaces of processes, one after the other.
#[derive(Default)]
struct Tour {
    found: Processes,
    seen: BTreeSet<u32>,
    /// Processes by their `mm_struct`.
    known: BTreeMap<u64, u32>,
    /// Kept open as long as what they map is of interest, so that nobody else gets their tables.
    spaces: Vec<Space>,
}

/// Extents that are joined with counters at once: more than most processes have, and 16 MiB at most. A process that has
/// more is joined at once all the same, since a folio may be mapped in several places.
const AT_ONCE: usize = 1 << 20;

impl Inspector {
    /// Opens the running kernel. `pagemap` asks for the documented interface to page tables, /proc/PID/pagemap, which
    /// takes the lock of the process that is walked; it stands in too where page tables cannot be read.
    ///
    /// # Errors
    /// What is missing to read `struct page`s by `choice`; [`Choice::Proc`] cannot, see [`super::Files`].
    pub fn open(choice: Choice, pagemap: bool) -> Result<Inspector, Unavailable> {
        if choice == Choice::Proc {
            return Err(Unavailable::new("/proc does not show struct page", "use --observer bpf or kcore"));
        }
        let btf = Btf::live()?;
        let fields = Fields::of(&btf)?;
        let by_bpf = || Inspector::with("BPF", Box::new(Bpf::load()?), &[], (&btf, &fields), pagemap);
        let by_kcore = || {
            let mut kcore = Kcore::open(&btf)?;
            let bases = kcore.bases(&fields);
            Inspector::with("/proc/kcore", Box::new(kcore), &bases, (&btf, &fields), pagemap)
        };
        match choice {
            Choice::Bpf => by_bpf(),
            Choice::Kcore => by_kcore(),
            Choice::Auto | Choice::Proc => by_bpf().or_else(|why| by_kcore().map_err(|_| why)),
        }
    }

    fn with(
        name: &str,
        mut memory: Box<dyn Memory>,
        bases: &[u64],
        (btf, fields): (&Btf, &Fields),
        pagemap: bool,
    ) -> Result<Inspector, Unavailable> {
        let objects = Objects::of(btf);
        let vmemmap = vmemmap::find(&mut *memory, fields, objects.as_ref(), bases)?;
        let release = live::release()?;
        let profile = Profile::resolve(&release).map_err(|error| {
            Unavailable::new(
                format!("this kernel is not modelled: {error}"),
                "use a kernel that `mapcount kernels` lists",
            )
        })?;
        let profile = Profile { scheme: live::scheme(fields, &mut *memory, vmemmap)?, ..profile };
        let mut frames = Frames::new(memory, Marks::of(btf, &profile.policy)?, vmemmap)?;
        let end = frames.end();
        let (walker, how) = match Spaces::find(&mut *frames.memory, btf, end) {
            _ if pagemap => (Walker::Pagemap, "/proc/PID/pagemap, as asked for".to_owned()),
            Ok(spaces) => (Walker::Tables(spaces), format!("page tables through {name}")),
            Err(missing) => (Walker::Pagemap, format!("/proc/PID/pagemap ({})", missing.what)),
        };
        let source = format!("struct page through {name}, {how}");
        Ok(Inspector { profile, frames, walker, source })
    }

    /// The kernel's rules.
    pub const fn profile(&self) -> &Profile {
        &self.profile
    }

    /// How its memory is read.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// Takes the census of all memory.
    ///
    /// # Errors
    /// If the kernel does not let it look any more.
    pub fn census(&mut self) -> Result<Census, Unavailable> {
        census::take(&mut self.frames, &self.profile)
    }

    /// Takes the census of what is charged to memory cgroups, by the inode numbers of their folders; `None` where the
    /// kernel does not tell whom a page is charged to.
    ///
    /// # Errors
    /// If the kernel does not let it look any more.
    pub fn charged(&mut self, inodes: &BTreeSet<u64>) -> Result<Option<Census>, Unavailable> {
        let Some(word) = self.frames.marks.memcg else { return Ok(None) };
        let Ok(names) = File::open("/proc/kpagecgroup") else { return Ok(None) };
        // A group is a pointer in `struct page`; whose it is tells the kernel for one page of each.
        let mut groups: BTreeMap<u64, u64> = BTreeMap::new();
        self.frames.each_chunk(&mut |marks, chunk| {
            let end = chunk.first + chunk.frames(marks);
            let mut at = chunk.first;
            let mut last = 0;
            while at < end {
                let page = chunk.from(marks, at);
                let Some(head) = marks.head(page) else {
                    at += 1;
                    continue;
                };
                let group = group_of(page[word]);
                if group != 0 && group != last && head.used.kind().is_some() {
                    groups.entry(group).or_insert(at);
                    last = group;
                }
                at += head.pages();
            }
        })?;
        let is_wanted = |frame: u64| cgroup_of(&names, frame).is_some_and(|inode| inodes.contains(&inode));
        let wanted: BTreeSet<u64> =
            groups.into_iter().filter(|(_, frame)| is_wanted(*frame)).map(|(group, _)| group).collect();
        let belongs = |_: &Marks, page: &[u64]| wanted.contains(&group_of(page[word]));
        census::take_where(&mut self.frames, &self.profile, belongs).map(Some)
    }

    /// Folios whose references are not explained: looks twice, with a drain of the LRU's batches in between.
    ///
    /// # Errors
    /// If the kernel does not let it look any more.
    pub fn unexpected(&mut self) -> Result<Unexpected, Unavailable> {
        unexpected::look(&mut self.frames, &self.profile)
    }

    /// What processes use. Blocks of `orders` are looked for (see [`Usage::blocks`]).
    ///
    /// # Errors
    /// If the kernel does not let it look any more; that a process is gone or closed to us is none.
    pub fn processes(&mut self, wanted: &[Process], orders: &[u8]) -> Result<Processes, Unavailable> {
        let mut tour = Tour::default();
        let mut blocks = Blocks::new();
        let mut usages: Vec<Usage> = Vec::new();
        for (index, process) in wanted.iter().enumerate() {
            self.step(&mut tour, process, &mut |extent| blocks.add(extent))?;
            if blocks.len() >= AT_ONCE || index + 1 == wanted.len() {
                usages.resize_with(tour.found.used.len(), Usage::default);
                join::join(&mut self.frames, &self.profile, &mut blocks, &mut usages, orders)?;
                tour.spaces.clear();
                tour.known.clear();
            }
        }
        for ((_, place), usage) in tour.found.used.iter_mut().zip(usages) {
            *place = usage;
        }
        Ok(tour.found)
    }

    /// Shows `sink` what a process maps, unless it was walked already, by any of its threads or under another name.
    /// Extents name it by its place among the processes found.
    fn step(
        &mut self,
        tour: &mut Tour,
        process: &Process,
        sink: &mut dyn FnMut(&Extent),
    ) -> Result<(), Unavailable> {
        if !tour.seen.insert(process.pid) {
            return Ok(());
        }
        let owner = tour.found.used.len() as u32;
        let Walker::Tables(spaces) = &self.walker else {
            let mut extents = Vec::new();
            match pagemap::walk(process.pid, owner, &mut extents)? {
                Ok(_) => tour.found.used.push((process.clone(), Usage::default())),
                Err(missed) => tour.found.missed.push((process.clone(), missed)),
            }
            extents.iter().for_each(sink);
            return Ok(());
        };
        let memory = &mut *self.frames.memory;
        let space = match spaces.open(memory, process.pid)? {
            Ok(space) => space,
            Err(missed) => {
                tour.found.missed.push((process.clone(), missed));
                return Ok(());
            }
        };
        if let Some(first) = tour.known.get(&space.mm) {
            tour.found.same.push((process.clone(), *first));
            return Ok(());
        }
        tour.known.insert(space.mm, process.pid);
        let walked = spaces.walk(memory, &space, owner, sink)?;
        tour.found.walked.add(&walked);
        tour.found.used.push((process.clone(), Usage::default()));
        tour.spaces.push(space);
        Ok(())
    }

    /// Shows `sink` what processes map.
    fn walk(&mut self, wanted: &[Process], sink: &mut dyn FnMut(&Extent)) -> Result<Tour, Unavailable> {
        let mut tour = Tour::default();
        for process in wanted {
            self.step(&mut tour, process, sink)?;
        }
        Ok(tour)
    }

    /// What each mapping of a process uses.
    ///
    /// # Errors
    /// If the kernel does not let it look any more; that the process is gone or closed to us is none.
    pub fn mappings(&mut self, process: &Process) -> Result<Result<Vec<Mapping>, Missed>, Unavailable> {
        let areas = match areas(process.pid) {
            Ok(areas) => areas,
            Err(missed) => return Ok(Err(missed)),
        };
        let mut extents = Vec::new();
        let tour = self.walk(std::slice::from_ref(process), &mut |extent| extents.push(*extent))?;
        if let Some((_, missed)) = tour.found.missed.first() {
            return Ok(Err(*missed));
        }
        let extents = by_area(&extents, &areas);
        let mut blocks = Blocks::new();
        extents.iter().for_each(|extent| blocks.add(extent));
        let mut usages = vec![Usage::default(); areas.len()];
        join::join(&mut self.frames, &self.profile, &mut blocks, &mut usages, &[])?;
        let mut mappings: Vec<Mapping> = areas
            .into_iter()
            .zip(usages)
            .map(|(area, usage)| Mapping { area, usage, extents: Vec::new() })
            .collect();
        for extent in extents {
            mappings[extent.owner as usize].extents.push(extent);
        }
        Ok(Ok(mappings))
    }

    /// The pieces of a mapping, one for each folio that stands in a row, by rising address.
    ///
    /// # Errors
    /// If the kernel does not let it look any more.
    pub fn pieces(&mut self, mapping: &Mapping) -> Result<Vec<Piece>, Unavailable> {
        pieces::pieces(&mut self.frames, &self.profile, mapping.extents.clone())
    }

    /// The frame that an address of a process maps; `None` if nothing does.
    ///
    /// # Errors
    /// If the kernel does not let it look any more; that the process is gone or closed to us is none.
    pub fn frame(
        &mut self,
        process: &Process,
        address: u64,
    ) -> Result<Result<Option<u64>, Missed>, Unavailable> {
        let page = address / vmemmap::PAGE;
        let mut frame = None;
        let tour = self.walk(std::slice::from_ref(process), &mut |extent| {
            if (extent.page..extent.page + u64::from(extent.pages)).contains(&page) {
                frame = Some(extent.frame + (page - extent.page));
            }
        })?;
        Ok(tour.found.missed.first().map_or(Ok(frame), |(_, missed)| Err(*missed)))
    }

    /// The folio of a frame, with those of `processes` that map it; `None` if there is no such frame.
    ///
    /// # Errors
    /// If the kernel does not let it look any more.
    pub fn folio(&mut self, frame: u64, processes: &[Process]) -> Result<Option<View>, Unavailable> {
        let Some(mut view) = folio::look(&mut self.frames, &self.profile, frame)? else { return Ok(None) };
        if !processes.is_empty() {
            let (first, pages) = (view.first, view.head.pages());
            let mut extents = Vec::new();
            let tour =
                self.walk(processes, &mut |extent| extents.extend(folio::within(extent, first, pages)))?;
            view.mappers.extend(extents.into_iter().map(|extent| {
                let (process, _) = &tour.found.used[extent.owner as usize];
                Mapper { process: process.clone(), extent }
            }));
        }
        view.cgroup = File::open("/proc/kpagecgroup").ok().and_then(|names| cgroup_of(&names, view.first));
        Ok(Some(view))
    }

    /// Which of `all` map pages of the anonymous folios that `process` maps a part of, by falling number of pages.
    ///
    /// # Errors
    /// If the kernel does not let it look any more.
    pub fn others(&mut self, process: &Process, all: &[Process]) -> Result<Vec<Other>, Unavailable> {
        let mut own = Vec::new();
        self.walk(std::slice::from_ref(process), &mut |extent| own.push(*extent))?;
        let folios = pieces::shared_folios(&mut self.frames, &self.profile, own)?;
        let rest: Vec<Process> = all.iter().filter(|other| other.pid != process.pid).cloned().collect();
        let mut pages: BTreeMap<u32, u64> = BTreeMap::new();
        let tour = self.walk(&rest, &mut |extent| {
            let from = folios.partition_point(|(_, end)| *end <= extent.frame);
            let met = folios[from..].iter().take_while(|(start, _)| *start < extent.end());
            for (start, end) in met {
                let common = extent.end().min(*end) - extent.frame.max(*start);
                *pages.entry(extent.owner).or_default() += common;
            }
        })?;
        // One that shares its memory with the process is the process.
        let others = pages
            .into_iter()
            .map(|(owner, pages)| Other { process: tour.found.used[owner as usize].0.clone(), pages });
        let mut others: Vec<Other> = others.collect();
        others.sort_by_key(|other| (std::cmp::Reverse(other.pages), other.process.pid));
        Ok(others)
    }
}

/// The pointer to a cgroup in a page's word; the lowest bits say of what kind it is (`enum page_memcg_data_flags`,
/// include/linux/memcontrol.h, v6.1, v6.18).
const fn group_of(word: u64) -> u64 {
    word & !7
}

/// The inode number of the cgroup that a frame is charged to.
fn cgroup_of(names: &File, frame: u64) -> Option<u64> {
    let mut word = [0; 8];
    names.read_exact_at(&mut word, frame * 8).ok()?;
    Some(u64::from_le_bytes(word)).filter(|inode| *inode != 0)
}

/// Extents in pieces that lie in one area each, whose place in the list becomes their owner. Both stand by rising
/// address. What lies in no area was unmapped since.
fn by_area(extents: &[Extent], areas: &[Area]) -> Vec<Extent> {
    let mut pieces = Vec::with_capacity(extents.len());
    for extent in extents {
        let end = extent.page + u64::from(extent.pages);
        let from = areas.partition_point(|area| area.end <= extent.page);
        for (index, area) in (from..).zip(&areas[from..]).take_while(|(_, area)| area.start < end) {
            let (start, behind) = (extent.page.max(area.start), end.min(area.end));
            pieces.push(Extent {
                page: start,
                frame: extent.frame + (start - extent.page),
                pages: (behind - start) as u32,
                owner: index as u32,
                by: extent.by,
            });
        }
    }
    pieces
}

#[cfg(test)]
mod tests {
    use super::{Area, Extent, by_area};
    use crate::inspect::By;

    #[test]
    fn extents_are_cut_where_areas_are() {
        let area = |start, end| Area { start, end, access: String::new(), name: String::new() };
        let extent = Extent { page: 10, frame: 100, pages: 10, owner: 0, by: By::Pte };
        let pieces = by_area(&[extent], &[area(0, 5), area(8, 12), area(12, 15), area(18, 40)]);
        let found: Vec<_> = pieces.iter().map(|p| (p.page, p.frame, p.pages, p.owner)).collect();
        assert_eq!(found, [(10, 100, 2, 1), (12, 102, 3, 2), (18, 108, 2, 3)]);
    }
}
