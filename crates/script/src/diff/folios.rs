//! Folios. The rows of both sides are laid over each other by their frames, since neighbours that are
//! equal on one side, and so one row there, need not be equal on the other.

use super::Kind;
use super::overlay::{Span, overlay};
use super::sink::{Place, Sink};
use crate::trace::{Cell, FolioRow};

pub(super) fn compare(model: Option<&[FolioRow]>, recording: Option<&[FolioRow]>, sink: &mut Sink<'_>) {
    let Some(theirs) = recording.filter(|_| !sink.skips("folios")) else { return };
    let Some(ours) = model else {
        let text = format!("{} rows of folios", theirs.len());
        sink.push(Kind::NoModelValue, "folios", &Place::Step, None, &"", &text);
        return;
    };
    if ours == theirs {
        return;
    }
    overlay(spans(ours), spans(theirs), |start, end, ours, theirs| {
        match (ours.map(|span| span.item), theirs.map(|span| span.item)) {
            (Some(ours), Some(theirs)) => rows(start, end, ours, theirs, sink),
            (Some(row), None) => lacking(start, end, row, true, sink),
            (None, Some(row)) => lacking(start, end, row, false, sink),
            (None, None) => {}
        }
    });
}

/// Tells of folios that only one side has.
fn lacking(start: u64, end: u64, row: &FolioRow, in_model: bool, sink: &mut Sink<'_>) {
    let place = Place::Folios { start, end, order: row.order };
    let there = row.kind.map_or("there", |kind| kind.name());
    let words = if in_model { [there, "not there"] } else { ["not there", there] };
    sink.push(Kind::Value, "folios", &place, None, &words[0], &words[1]);
}

/// Compares the folios in a range of frames, which are in one row on either side.
fn rows(start: u64, end: u64, ours: &FolioRow, theirs: &FolioRow, sink: &mut Sink<'_>) {
    let place = Place::Folios { start, end, order: theirs.order };
    if ours.order != theirs.order {
        // Of folios of different sizes nothing else can be compared.
        sink.push(Kind::Value, "order", &place, None, &ours.order, &theirs.order);
        return;
    }
    let offset = |row: &FolioRow| (start - row.id) % row.size();
    if offset(ours) != offset(theirs) {
        let first = |row: &FolioRow| format!("begins at frame {}", start - offset(row));
        sink.push(Kind::Value, "id", &place, None, &first(ours), &first(theirs));
        return;
    }
    let model = ours.cells();
    for (key, theirs) in theirs.cells() {
        let ours = model.iter().find(|(name, _)| *name == key).map(|(_, cell)| *cell);
        match (ours, theirs) {
            (Some(Cell::Pages(ours)), Cell::Pages(theirs)) => {
                // The list of the tails begins with the folio's page 1.
                let first = u64::from(key == "tail_refcount");
                sink.pages(key, &place, first, ours, theirs);
            }
            (ours, theirs) => sink.value(key, &place, ours.as_ref(), Some(&theirs)),
        }
    }
}

fn spans(rows: &[FolioRow]) -> Vec<Span<&FolioRow>> {
    rows.iter().map(|row| Span { start: row.id, end: row.end(), item: row }).collect()
}
