//! The history of a counter: which steps changed it, from what to what.

use mapcount_model::counters::Write;
use mapcount_model::field::{Field, Scope};
use mapcount_model::units::{PageRange, Pfn};

use super::Runner;
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

/// The step that last changed each of these counters, as runs of pages that it left alike; `None` for those
/// that no step changed. Of a field of a large folio `pages` is its first page. Empty unless the machine
/// records its writes.
pub fn last_changes(runner: &Runner<'_>, field: Field, pages: PageRange) -> Vec<(PageRange, Option<Write>)> {
    let Some(log) = runner.machine.counter_memory().log() else { return Vec::new() };
    let mut last: Vec<LastChange> = vec![LastChange::default(); pages.len as usize];
    for write in log.into_iter().filter(|write| write.field == field) {
        for page in write.pages.iter().filter(|page| pages.contains(*page)) {
            last[(page.0 - pages.first.0) as usize].add(write);
        }
    }
    let mut runs: Vec<(PageRange, Option<Write>)> = Vec::new();
    for (page, last) in pages.iter().zip(last) {
        let change = last.get();
        match runs.last_mut().filter(|(_, before)| alike(*before, change)) {
            Some((run, _)) => run.len += 1,
            None => runs.push((PageRange::one(page), change)),
        }
    }
    runs
}

/// Whether two changes are of the same step and from the same to the same value.
fn alike(a: Option<Write>, b: Option<Write>) -> bool {
    let of = |change: Option<Write>| change.map(|change| (change.step, change.before, change.after));
    of(a) == of(b)
}

/// The last step that left one counter with another value than it found.
#[derive(Clone, Copy, Default)]
struct LastChange {
    /// What is told if the step under way comes to nothing.
    settled: Option<Write>,
    under_way: Option<Write>,
}

impl LastChange {
    fn add(&mut self, write: Write) {
        match &mut self.under_way {
            Some(step) if step.step == write.step => step.after = write.after,
            _ => {
                self.settled = self.get();
                self.under_way = Some(write);
            }
        }
    }

    fn get(self) -> Option<Write> {
        self.under_way.filter(|step| step.before != step.after).or(self.settled)
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

/// The text of a step.
fn op<'s>(runner: &Runner<'s>, step: u32) -> Option<&'s str> {
    let steps = runner.scenario.items.iter().filter_map(|item| match item {
        Item::Step(step) => Some(step),
        Item::Expect(_) => None,
    });
    steps.map(|step| &*step.text).nth(step as usize)
}
