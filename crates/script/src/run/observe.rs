//! Looking at a machine: the trace of a step.

use std::collections::BTreeMap;

use mapcount_model::event::Errno;
use mapcount_model::field::Field;
use mapcount_model::machine::holders::HoldKind;
use mapcount_model::machine::page_table::{Alike, Pmd};
use mapcount_model::machine::{Machine, Mm};
use mapcount_model::query::{Query, Tally};
use mapcount_model::scheme::PIN_BIAS;
use mapcount_model::smaps::{Smaps, smaps};
use mapcount_model::stats::Stat;
use mapcount_model::units::{Folio, Kind, PageRange, Pfn};

use super::{Runner, StepReport, Window};
use crate::trace::{
    FieldValue, FolioRow, Frames, MapRun, Mapping, Present, Refused, Rle, Shape, Step, System, VERSION,
    push_folio, push_map, shape,
};

/// The trace of the step that was done last.
pub fn observe(runner: &Runner<'_>, report: &StepReport, scenario: &str) -> Step {
    let m = &runner.machine;
    let mut frames = Sighted::default();
    let mut processes = BTreeMap::new();
    for (name, process) in &runner.processes {
        let mut mappings = BTreeMap::new();
        for (mapping, window) in &process.windows {
            if let Some(seen) = observe_mapping(m, &process.mm, window, &mut frames) {
                mappings.insert(mapping.clone(), seen);
            }
        }
        processes.insert(name.clone(), mappings);
    }
    let names = OwnerNames::of(runner);
    let held = held_references(m);
    let mut folios = Vec::new();
    for (folio, id) in &frames.seen {
        push_folio(
            &mut folios,
            folio_row(m, *folio, *id, &names, held.get(&folio.head).copied().unwrap_or(0)),
        );
    }
    let step = runner.step_at(report.item).expect("the report is of a step");
    let refused = report.refusals.iter().map(|refusal| Refused {
        id: frames.id_of(refusal.folio).unwrap_or(u64::from(refusal.folio.head.0)),
        why: refusal.why.to_string(),
    });
    let refused: Vec<_> = refused.collect();
    Step {
        v: Some(VERSION),
        kernel: Some(runner.profile.name.clone()),
        scheme: Some(runner.profile.scheme.info().id.to_owned()),
        scenario: Some(scenario.to_owned()),
        step: u64::from(report.index),
        op: step.text.to_string(),
        outcome: Some(report.outcome.map_or("ok", Errno::name).to_owned()),
        processes: Some(processes),
        folios: Some(folios),
        refused: (!refused.is_empty()).then_some(refused),
        system: Some(System {
            anon_mapped: Some(m.stats.get(Stat::AnonMapped)),
            file_mapped: Some(m.stats.get(Stat::FileMapped)),
            anon_thps: Some(m.stats.get(Stat::AnonThps)),
            shmem_pmdmapped: Some(m.stats.get(Stat::ShmemPmdMapped)),
            file_pmdmapped: Some(m.stats.get(Stat::FilePmdMapped)),
        }),
    }
}

/// The page that has this number in the trace of the step that was done last.
pub(super) fn page_of(runner: &Runner<'_>, frame: u64) -> Option<Pfn> {
    let mut sighted = Sighted::default();
    for process in runner.processes.values() {
        for window in process.windows.values() {
            drop(observe_mapping(&runner.machine, &process.mm, window, &mut sighted));
        }
    }
    sighted.seen.iter().find_map(|(folio, id)| {
        let page = frame.checked_sub(*id).filter(|page| *page < u64::from(folio.pages()))?;
        Some(folio.head.add(page as u32))
    })
}

/// The folios in the order of first sight, and their numbers.
#[derive(Default)]
struct Sighted {
    seen: Vec<(Folio, u64)>,
    frames: Frames,
}

impl Sighted {
    fn number(&mut self, folio: Folio) -> u64 {
        let (id, is_new) = self.frames.number(u64::from(folio.head.0), u64::from(folio.pages()));
        if is_new {
            self.seen.push((folio, id));
        }
        id
    }

    fn id_of(&self, folio: Folio) -> Option<u64> {
        self.frames.id_of(u64::from(folio.head.0))
    }
}

fn observe_mapping(m: &Machine, mm: &Mm, window: &Window, frames: &mut Sighted) -> Option<Mapping> {
    let vmas = mm.vmas.borrow();
    let areas = vmas.overlapping(window.start, window.start + window.room);
    if areas.is_empty() {
        return None;
    }
    let mut sum = Smaps::default();
    let mut pss_kb = 0;
    let mut listed = Vec::new();
    for area in areas {
        listed.push((area.start - window.start, area.end - area.start, area.permissions().to_owned()));
        let numbers = smaps(m, mm, area);
        pss_kb += numbers.pss_kb();
        sum.rss += numbers.rss;
        sum.shared += numbers.shared;
        sum.private += numbers.private;
        sum.anon_huge += numbers.anon_huge;
        sum.shmem_pmd += numbers.shmem_pmd;
        sum.file_pmd += numbers.file_pmd;
    }
    Some(Mapping {
        vmas: Some(listed),
        map: Some(present(m, mm, window, frames)),
        rss_kb: Some(sum.rss >> 10),
        pss_kb: Some(pss_kb),
        shared_kb: Some(sum.shared >> 10),
        private_kb: Some(sum.private >> 10),
        anon_huge_kb: Some(sum.anon_huge >> 10),
        shmem_pmd_kb: Some(sum.shmem_pmd >> 10),
        file_pmd_kb: Some(sum.file_pmd >> 10),
    })
}

/// What is present in the pages that the mapping's name stands for.
fn present(m: &Machine, mm: &Mm, window: &Window, frames: &mut Sighted) -> Vec<MapRun> {
    let mut runs = Vec::new();
    let end = window.start + window.pages;
    let mut at = window.start;
    while let Some((start, entry)) = mm.table.next_pud(at, end) {
        at = start + mm.table.pud_pages();
        push_present(m, &mut runs, frames, start - window.start, (entry.page(), mm.table.pud_pages()));
    }
    at = window.start;
    while let Some(found) = mm.table.next_pmd(at, end) {
        let stop = end.min(mm.table.pmd_end(found));
        at = found;
        while at < stop {
            let entry = mm.table.read(at);
            let len = match mm.table.pmd(at) {
                Pmd::Leaf(_) => stop - at,
                _ => mm.table.run(at, stop - at, Alike::IgnoringWrite).1,
            };
            if entry.is_swap() {
                push_map(&mut runs, at - window.start, len, Present::swap());
            }
            if entry.is_present() {
                push_present(m, &mut runs, frames, at - window.start, (entry.page(), len));
            }
            at += len;
        }
    }
    runs
}

fn push_present(
    m: &Machine,
    runs: &mut Vec<MapRun>,
    frames: &mut Sighted,
    first: u64,
    (page, len): (Pfn, u64),
) {
    let folio = m.folio(page);
    if folio.kind == Kind::Zero && !folio.is_large() {
        // The same page again and again.
        let id = frames.number(folio);
        for i in 0..len {
            push_map(runs, first + i, 1, Present::Frames(id));
        }
        return;
    }
    let mut done = 0;
    while done < len {
        let page = page.add(done as u32);
        let folio = m.folio(page);
        let offset = u64::from(page.0 - folio.head.0);
        let part = (len - done).min(u64::from(folio.pages()) - offset);
        push_map(runs, first + done, part, Present::Frames(frames.number(folio) + offset));
        done += part;
    }
}

/// Which process has which address space.
struct OwnerNames(BTreeMap<u32, String>);

impl OwnerNames {
    fn of(runner: &Runner<'_>) -> OwnerNames {
        OwnerNames(runner.processes.iter().map(|(name, process)| (process.mm.id.0, name.clone())).collect())
    }

    fn name(&self, id: i32) -> Option<String> {
        self.0.get(&(id as u32)).cloned()
    }
}

/// References that the scenario holds, by folio.
pub(super) fn held_references(m: &Machine) -> BTreeMap<Pfn, i64> {
    let mut held = BTreeMap::new();
    m.holders.each(|kind, range| {
        for page in range.iter() {
            let folio = m.folio(page);
            let known = m.known(folio);
            let counted = kind == HoldKind::Pin && known.pins_exist && !known.has_pincount;
            *held.entry(folio.head).or_default() += if counted { i64::from(PIN_BIAS) } else { 1 };
        }
    });
    for page in m.holders.list().iter() {
        *held.entry(m.folio(*page).head).or_default() += 1;
    }
    held
}

fn folio_row(m: &Machine, folio: Folio, id: u64, names: &OwnerNames, held: i64) -> FolioRow {
    let c = m.counters();
    let read = |field| i64::from(c.read(field, folio.head));
    let mut row = FolioRow::new(id, folio.order.0);
    row.kind = Some(folio.kind);
    for field in mapcount_model::field::TABLE.iter().map(|row| row.field) {
        let Some(shape) = shape(field).filter(|_| m.has_field(folio, field)) else { continue };
        let value = match shape {
            Shape::Number => FieldValue::Number(read(field)),
            Shape::Flag => FieldValue::Flag(read(field) != 0),
            Shape::Pages => FieldValue::Pages(per_page(folio.range(), |page| i64::from(c.read(field, page)))),
        };
        row.fields.insert(field, value);
    }
    if folio.is_large() {
        let tails = PageRange::new(folio.head.add(1), folio.pages() - 1);
        row.tail_refcount = Some(per_page(tails, |page| i64::from(c.read(Field::Refcount, page))));
    }
    if m.has_field(folio, Field::MmId0) {
        row.mm_ids = Some([Field::MmId0, Field::MmId1].map(|field| names.name(read(field) as i32)));
        row.mm_id_mapcount_raw = Some([read(Field::MmIdMapcount0), read(Field::MmIdMapcount1)]);
    }
    row.swapcache = Some(m.swap.holds(folio));
    let ask = |query, page| m.ask(query, page, &mut Tally::off()).value();
    // Pages with the same raw count get the same answer.
    let mut last: Option<(i32, i64)> = None;
    row.kpagecount = Some(per_page(folio.range(), |page| {
        let raw = c.read(Field::Mapcount, page);
        match last.filter(|(known, _)| *known == raw && page != folio.head.add(1)) {
            Some((_, answer)) => answer,
            None => {
                let answer = ask(Query::Kpagecount, page).unwrap_or(0);
                last = Some((raw, answer));
                answer
            }
        }
    }));
    row.folio_mapcount = ask(Query::FolioMapcount, folio.head);
    if folio.kind != Kind::Zero {
        row.expected_refcount = Some(m.expected_refcount(folio) + held);
    }
    row
}

fn per_page(pages: PageRange, mut value: impl FnMut(Pfn) -> i64) -> Rle<i64> {
    let mut list = Rle::new();
    for page in pages.iter() {
        list.push_run(1, value(page));
    }
    list
}
