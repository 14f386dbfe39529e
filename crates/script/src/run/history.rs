//! The history of a counter: which steps changed it, from what to what.

use mapcount_model::counters::Write;
use mapcount_model::field::{Field, Scope};
use mapcount_model::units::{PageRange, Pfn};

use super::Runner;
use super::observe::page_of;
use crate::ast::Item;

/// How many changes a finding tells.
const SHOWN: usize = 6;

/// The changes of a counter so far, oldest first; empty unless the machine records its writes. Each step
/// has one: from the value before it to the value behind it.
pub fn changes(runner: &Runner<'_>, field: Field, page: Pfn) -> Vec<Write> {
    let covers = |write: &Write| {
        write.field == field
            && match field.row().scope {
                Scope::Page => write.pages.contains(page),
                Scope::LargeFolio => write.pages.first == page,
            }
    };
    let mut changes: Vec<Write> = Vec::new();
    for write in runner.machine.counter_memory().log().unwrap_or_default().into_iter().filter(covers) {
        match changes.last_mut().filter(|last| last.step == write.step) {
            Some(last) => last.after = write.after,
            None => changes.push(write),
        }
    }
    changes.retain(|change| change.before != change.after);
    changes
}

/// What a step did to a counter.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Change {
    /// The step.
    pub step: u32,
    /// The values that the counter had: the first before the step, the last behind it.
    pub values: Vec<i32>,
}

impl Change {
    fn of(write: &Write) -> Change {
        Change { step: write.step, values: vec![write.before, write.after] }
    }

    /// Whether the step left another value than it found.
    fn lasts(&self) -> bool {
        self.values.first() != self.values.last()
    }
}

/// The steps that changed a counter, oldest first, with every value that it had on the way. Empty unless the
/// machine records its writes.
pub fn story(runner: &Runner<'_>, field: Field, page: Pfn) -> Vec<Change> {
    let mut story: Vec<Change> = Vec::new();
    let log = runner.machine.counter_memory().log().unwrap_or_default();
    for write in log.iter().filter(|write| write.field == field && write.pages.contains(page)) {
        match story.last_mut().filter(|last| last.step == write.step) {
            Some(last) => last.values.push(write.after),
            None => story.push(Change::of(write)),
        }
    }
    story
}

/// The steps that changed each of these counters last, as runs of pages that they treated alike. Of a field of a
/// large folio `pages` is its first page. Empty unless the machine records its writes.
pub fn last_changes(runner: &Runner<'_>, field: Field, pages: PageRange) -> Vec<(PageRange, LastChange)> {
    let Some(log) = runner.machine.counter_memory().log() else { return Vec::new() };
    let mut last: Vec<LastChange> = vec![LastChange::default(); pages.len as usize];
    for write in log.iter().filter(|write| write.field == field) {
        for page in write.pages.iter().filter(|page| pages.contains(*page)) {
            last[(page.0 - pages.first.0) as usize].add(write);
        }
    }
    let mut runs: Vec<(PageRange, LastChange)> = Vec::new();
    for (page, mut last) in pages.iter().zip(last) {
        last.settle();
        match runs.last_mut().filter(|(_, before)| *before == last) {
            Some((run, _)) => run.len += 1,
            None => runs.push((PageRange::one(page), last)),
        }
    }
    runs
}

/// What changed a counter last.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct LastChange {
    /// The last step that left another value than it found; `None` if none ever did.
    pub lasting: Option<Change>,
    /// A later step that changed it too, and left the value that it found.
    pub passing: Option<Change>,
}

impl LastChange {
    /// Until it is settled, the step under way stands in `passing`.
    fn add(&mut self, write: &Write) {
        match &mut self.passing {
            Some(change) if change.step == write.step => change.values.push(write.after),
            _ => {
                self.settle();
                self.passing = Some(Change::of(write));
            }
        }
    }

    fn settle(&mut self) {
        if self.passing.as_ref().is_some_and(Change::lasts) {
            self.lasting = self.passing.take();
        }
    }
}

/// The last changes of a counter as notes, newest last.
pub fn history_notes(runner: &Runner<'_>, field: Field, page: Pfn) -> Vec<String> {
    let changes = changes(runner, field, page);
    let skipped = changes.len().saturating_sub(SHOWN);
    let mut notes = Vec::new();
    if skipped > 0 {
        notes.push(format!("{} changed in {skipped} earlier steps", field.key()));
    }
    for change in &changes[skipped..] {
        let what = op(runner, change.step).unwrap_or("the machine's start");
        notes.push(format!(
            "{}: {} → {} in step {} `{what}`",
            field.key(),
            change.before,
            change.after,
            change.step
        ));
    }
    notes
}

/// The last changes of the counter that a trace shows under `key` for this frame, as notes; empty for what
/// is no counter, and unless the machine records its writes.
pub fn frame_history(runner: &Runner<'_>, key: &str, frame: u64) -> Vec<String> {
    let Some(page) = page_of(runner, frame) else { return Vec::new() };
    let folio = runner.machine.folio(page);
    let fields = match key {
        "mm_ids" => vec![Field::MmId0, Field::MmId1],
        "mm_id_mapcount_raw" => vec![Field::MmIdMapcount0, Field::MmIdMapcount1],
        "tail_refcount" | "expected_refcount" => vec![Field::Refcount],
        "folio_mapcount" if runner.machine.has_field(folio, Field::LargeMapcount) => {
            vec![Field::LargeMapcount]
        }
        "kpagecount" | "folio_mapcount" => vec![Field::Mapcount],
        _ => Field::by_key(key).into_iter().collect(),
    };
    let of_folio = |field: Field| field.row().scope == Scope::LargeFolio || key == "refcount";
    let notes = fields
        .iter()
        .map(|field| history_notes(runner, *field, if of_folio(*field) { folio.head } else { page }));
    notes.flatten().collect()
}

/// The text of a step.
fn op<'s>(runner: &Runner<'s>, step: u32) -> Option<&'s str> {
    let steps = runner.scenario.items.iter().filter_map(|item| match item {
        Item::Step(step) => Some(step),
        Item::Expect(_) => None,
    });
    steps.map(|step| &*step.text).nth(step as usize)
}
