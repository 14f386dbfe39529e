//! The history of a counter: which steps changed it, from what to what.

use mapcount_model::counters::Write;
use mapcount_model::field::{Field, Scope};
use mapcount_model::units::Pfn;

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
