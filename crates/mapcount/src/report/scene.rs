//! The state of a machine as the tables show it: folios with their counters, and beside them what is true
//! of them: which process maps them by what, and who else holds them.
//!
//! The trace numbers frames anew in each step, and lists only what is mapped. Here frames keep the machine's
//! numbers, so that two states can be compared folio by folio, and everything in use is there.

use std::collections::BTreeMap;
use std::rc::Rc;

use mapcount_model::event::FolioImage;
use mapcount_model::machine::Machine;
use mapcount_model::machine::holders::HoldKind;
use mapcount_model::machine::page_table::{Alike, Pmd};
use mapcount_model::smaps::{Smaps, smaps};
use mapcount_model::stats::Stat;
use mapcount_model::units::{Folio, Level, Pfn};
use mapcount_script::run::{Process, Runner, Window};

/// The state after a step.
#[derive(Default)]
pub(super) struct Scene {
    /// The folios in use, by frame; neighbours that are alike in everything together.
    pub(super) segments: Vec<Segment>,
    /// The mappings, by their full names (`A.x`).
    pub(super) mappings: BTreeMap<Rc<str>, Area>,
    /// The statistics, in the order of [`Stat::ALL`].
    pub(super) stats: Vec<i64>,
}

/// Neighbouring folios of the same size with the same counters, mapped and held in the same way.
pub(super) struct Segment {
    /// The first folio's counters, and how many folios there are.
    pub(super) image: FolioImage,
    /// Who maps them, ordered by name and page.
    pub(super) claims: Vec<Claim>,
    /// Who holds each of them besides.
    pub(super) holds: Holds,
}

/// Pages of a mapping and the frames that they map.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Claim {
    /// The mapping, `A.x`.
    pub(super) name: Rc<str>,
    /// How many pages the mapping's name stands for.
    pub(super) size: u64,
    /// The first frame.
    pub(super) frame: u32,
    /// How many frames.
    pub(super) frames: u32,
    /// The first page of the mapping.
    pub(super) page: u64,
    /// How many pages; more than frames where they all map the same one.
    pub(super) pages: u64,
    /// By what it is mapped.
    pub(super) level: Level,
}

/// References that are not of mappings.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Debug)]
pub(super) struct Holds {
    /// By `get`.
    pub(super) gets: u32,
    /// By `pin`.
    pub(super) pins: u32,
    /// By a batch on its way to the LRU.
    pub(super) batch: u32,
    /// By the list of whoever split it.
    pub(super) list: u32,
    /// By the swap cache, once for each page.
    pub(super) cached: bool,
}

/// What is said of a mapping.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Area {
    /// First page, pages, permissions.
    pub(super) vmas: Vec<(u64, u64, &'static str)>,
    /// `Rss` in kB.
    pub(super) rss: u64,
    /// `Pss` in kB.
    pub(super) pss: u64,
}

impl Segment {
    /// The frames, `start..end`.
    pub(super) fn frames(&self) -> (u32, u32) {
        let first = self.image.folio;
        (first.head.0, first.head.0 + self.image.count * first.pages())
    }

    /// The claims on the frames `start..end` alone.
    pub(super) fn claims_on(&self, start: u32, end: u32) -> Vec<Claim> {
        self.claims.iter().filter_map(|claim| claim.clipped(start, end)).collect()
    }
}

impl Claim {
    fn clipped(&self, start: u32, end: u32) -> Option<Claim> {
        let (from, to) = (self.frame.max(start), (self.frame + self.frames).min(end));
        if from >= to {
            return None;
        }
        let same = self.pages != u64::from(self.frames);
        if self.level != Level::Pte || same {
            return Some(self.clone());
        }
        Some(Claim {
            frame: from,
            frames: to - from,
            page: self.page + u64::from(from - self.frame),
            pages: u64::from(to - from),
            ..self.clone()
        })
    }
}

impl Scene {
    /// The state of a runner's machine.
    pub(super) fn of(runner: &Runner<'_>) -> Scene {
        let m = &runner.machine;
        let mut claims = Vec::new();
        let mut mappings = BTreeMap::new();
        for (name, process) in &runner.processes {
            for (mapping, window) in &process.windows {
                let full: Rc<str> = format!("{name}.{mapping}").into();
                if let Some(area) = area(m, process, window) {
                    collect_claims(m, process, window, &full, &mut claims);
                    mappings.insert(full, area);
                }
            }
        }
        let holds = holds(m);
        Scene {
            segments: segments(images(m), &claims, &holds),
            mappings,
            stats: Stat::ALL.iter().map(|stat| m.stats.get(*stat)).collect(),
        }
    }

    /// The segments that have frames of `start..end`.
    pub(super) fn overlapping(&self, start: u32, end: u32) -> impl Iterator<Item = &Segment> {
        let first = self.segments.partition_point(|segment| segment.frames().1 <= start);
        self.segments[first..].iter().take_while(move |segment| segment.frames().0 < end)
    }
}

/// The counters of all folios in use.
fn images(m: &Machine) -> Vec<FolioImage> {
    let mut ranges: Vec<mapcount_model::units::PageRange> = Vec::new();
    for folio in m.frames.folios() {
        match ranges.last_mut().filter(|last| last.first.0 + last.len == folio.head.0) {
            Some(last) => last.len += folio.pages(),
            None => ranges.push(folio.range()),
        }
    }
    ranges.into_iter().flat_map(|range| m.image(range)).collect()
}

fn area(m: &Machine, process: &Process, window: &Window) -> Option<Area> {
    let vmas = process.mm.vmas.borrow();
    let areas = vmas.overlapping(window.start, window.start + window.room);
    if areas.is_empty() {
        return None;
    }
    let mut seen = Area::default();
    let mut rss = 0;
    for vma in areas {
        seen.vmas.push((vma.start - window.start, vma.end - vma.start, vma.permissions()));
        let numbers: Smaps = smaps(m, &process.mm, vma);
        rss += numbers.rss;
        seen.pss += numbers.pss_kb();
    }
    seen.rss = rss >> 10;
    Some(seen)
}

fn collect_claims(m: &Machine, process: &Process, window: &Window, name: &Rc<str>, claims: &mut Vec<Claim>) {
    let table = &process.mm.table;
    let end = window.start + window.pages;
    let mut at = window.start;
    while let Some((first, entry)) = table.next_pud(at, end) {
        at = first + table.pud_pages();
        claims.push(Claim {
            name: Rc::clone(name),
            size: window.pages,
            frame: entry.page().0,
            frames: table.pud_pages() as u32,
            page: first - window.start,
            pages: table.pud_pages(),
            level: Level::Pud,
        });
    }
    at = window.start;
    while let Some(found) = table.next_pmd(at, end) {
        let stop = end.min(table.pmd_end(found));
        at = found;
        while at < stop {
            let entry = table.read(at);
            let (level, len) = match table.pmd(at) {
                Pmd::Leaf(_) => (Level::Pmd, stop - at),
                _ => (Level::Pte, table.run(at, stop - at, Alike::IgnoringWrite).1),
            };
            if entry.is_present() {
                let folio = m.folio(entry.page());
                // A run of the zero page maps one frame many times.
                let same = entry.is_zero() && !folio.is_large();
                claims.push(Claim {
                    name: Rc::clone(name),
                    size: window.pages,
                    frame: entry.page().0,
                    frames: if same { 1 } else { len as u32 },
                    page: at - window.start,
                    pages: len,
                    level,
                });
            }
            at += len;
        }
    }
}

/// Who holds which frames, by frame.
fn holds(m: &Machine) -> BTreeMap<Pfn, Holds> {
    let mut by_folio: BTreeMap<Pfn, Holds> = BTreeMap::new();
    m.holders.each(|kind, range| {
        for page in range.iter() {
            let holds = by_folio.entry(m.folio(page).head).or_default();
            match kind {
                HoldKind::Get => holds.gets += 1,
                HoldKind::Pin => holds.pins += 1,
            }
        }
    });
    m.holders.each_in_batch(|page| by_folio.entry(m.folio(page).head).or_default().batch += 1);
    for page in m.holders.list().iter() {
        by_folio.entry(m.folio(*page).head).or_default().list += 1;
    }
    for head in m.swap.heads() {
        by_folio.entry(head).or_default().cached = true;
    }
    by_folio
}

/// Cuts the images where claims or holds begin or end, and gives each piece its own.
fn segments(images: Vec<FolioImage>, claims: &[Claim], holds: &BTreeMap<Pfn, Holds>) -> Vec<Segment> {
    let mut cuts: Vec<u32> = Vec::new();
    for claim in claims {
        cuts.extend([claim.frame, claim.frame + claim.frames]);
    }
    let mut last: Option<(u32, Holds)> = None;
    for (head, held) in holds {
        // Neighbouring small pages that are held alike stay together.
        if last != Some((head.0, *held)) {
            cuts.extend(last.map(|(end, _)| end));
            cuts.push(head.0);
        }
        last = Some((head.0 + 1, *held));
    }
    cuts.extend(last.map(|(end, _)| end));
    cuts.sort_unstable();
    cuts.dedup();
    let mut segments = Vec::new();
    for image in images {
        cut(image, &cuts, holds, &mut segments);
    }
    for claim in claims {
        let (start, end) = (claim.frame, claim.frame + claim.frames);
        let first = segments.partition_point(|segment| segment.frames().1 <= start);
        for segment in segments[first..].iter_mut().take_while(|segment| segment.frames().0 < end) {
            let (from, to) = segment.frames();
            segment.claims.extend(claim.clipped(from, to));
        }
    }
    segments
}

fn cut(image: FolioImage, cuts: &[u32], holds: &BTreeMap<Pfn, Holds>, segments: &mut Vec<Segment>) {
    let size = image.folio.pages();
    let (start, end) = (image.folio.head.0, image.folio.head.0 + image.count * size);
    let first = cuts.partition_point(|cut| *cut <= start);
    let inside = cuts[first..].iter().take_while(|cut| **cut < end);
    // A cut inside a large folio makes it a segment of its own.
    let mut bounds = vec![start, end];
    bounds.extend(
        inside.flat_map(|cut| [(cut - start) / size, (cut - start).div_ceil(size)]).map(|i| start + i * size),
    );
    bounds.sort_unstable();
    bounds.dedup();
    for pair in bounds.windows(2) {
        let head = Pfn(pair[0]);
        segments.push(Segment {
            image: FolioImage {
                folio: Folio { head, ..image.folio },
                count: (pair[1] - pair[0]) / size,
                fields: shifted(&image, head),
            },
            claims: Vec::new(),
            holds: holds.get(&head).copied().unwrap_or_default(),
        });
    }
}

/// The fields of an image whose first folio is at `head`.
fn shifted(
    image: &FolioImage,
    head: Pfn,
) -> Vec<(mapcount_model::field::Field, Vec<(mapcount_model::units::PageRange, i32)>)> {
    let by = head.0 - image.folio.head.0;
    let mut fields = image.fields.clone();
    for (run, _) in fields.iter_mut().flat_map(|(_, runs)| runs.iter_mut()) {
        run.first = run.first.add(by);
    }
    fields
}
