//! Processes and their mappings.

use std::collections::{BTreeMap, BTreeSet};

use super::Kind;
use super::overlay::{Span, overlay};
use super::sink::{Place, Sink};
use crate::trace::{MapRun, Mapping, Mappings, Present};

/// So many areas of a mapping are told, from the first that differs.
const MAX_AREAS: usize = 4;

pub(super) fn compare(
    model: Option<&BTreeMap<String, Mappings>>,
    recording: Option<&BTreeMap<String, Mappings>>,
    sink: &mut Sink<'_>,
) {
    let Some(theirs) = recording.filter(|_| !sink.skips("processes")) else { return };
    let Some(ours) = model else {
        let names: Vec<&str> = theirs.keys().map(String::as_str).collect();
        sink.push(Kind::NoModelValue, "processes", &Place::Step, None, &"", &names.join(", "));
        return;
    };
    for name in ours.keys().chain(theirs.keys()).collect::<BTreeSet<_>>() {
        match (ours.get(name), theirs.get(name)) {
            (Some(ours), Some(theirs)) => mappings(name, ours, theirs, sink),
            (ours, _) => lacking("processes", &Place::Process(name), ours.is_some(), sink),
        }
    }
}

/// Tells of something that only one side has.
fn lacking(field: &'static str, place: &Place<'_>, in_model: bool, sink: &mut Sink<'_>) {
    let words = if in_model { ["there", "not there"] } else { ["not there", "there"] };
    sink.push(Kind::Value, field, place, None, &words[0], &words[1]);
}

fn mappings(process: &str, ours: &Mappings, theirs: &Mappings, sink: &mut Sink<'_>) {
    for name in ours.keys().chain(theirs.keys()).collect::<BTreeSet<_>>() {
        let place = Place::Mapping(process, name);
        match (ours.get(name), theirs.get(name)) {
            (Some(ours), Some(theirs)) => mapping(&place, ours, theirs, sink),
            (ours, _) => lacking("mappings", &place, ours.is_some(), sink),
        }
    }
}

fn mapping(place: &Place<'_>, ours: &Mapping, theirs: &Mapping, sink: &mut Sink<'_>) {
    match (&ours.vmas, &theirs.vmas) {
        (_, None) => {}
        (None, Some(theirs)) => sink.push(Kind::NoModelValue, "vmas", place, None, &"", &areas(theirs, 0)),
        (Some(ours), Some(theirs)) => {
            if ours != theirs {
                let same = ours.iter().zip(theirs).take_while(|(ours, theirs)| ours == theirs).count();
                sink.push(Kind::Value, "vmas", place, None, &areas(ours, same), &areas(theirs, same));
            }
        }
    }
    match (&ours.map, &theirs.map) {
        (_, None) => {}
        (None, Some(theirs)) => {
            let text = format!("{} runs of pages", theirs.len());
            sink.push(Kind::NoModelValue, "map", place, None, &"", &text);
        }
        (Some(ours), Some(theirs)) => present(place, ours, theirs, sink),
    }
    for ((key, ours), (_, theirs)) in ours.numbers().iter().zip(theirs.numbers().iter()) {
        sink.value(key, place, ours.as_ref(), theirs.as_ref());
    }
}

/// The areas from `first` on, as text.
fn areas(list: &[(u64, u64, String)], first: usize) -> String {
    let mut texts: Vec<String> = list
        .iter()
        .skip(first)
        .take(MAX_AREAS)
        .map(|(start, pages, permissions)| format!("{start}..{} {permissions}", start.saturating_add(*pages)))
        .collect();
    if list.len() > first.saturating_add(MAX_AREAS) {
        texts.push("…".to_owned());
    }
    if texts.is_empty() { "no area there".to_owned() } else { texts.join(", ") }
}

/// Compares what is present page by page, in ranges: how either side cuts its runs does not matter.
fn present(place: &Place<'_>, ours: &[MapRun], theirs: &[MapRun], sink: &mut Sink<'_>) {
    if ours == theirs {
        return;
    }
    let mut ranges = sink.new_ranges();
    overlay(spans(ours), spans(theirs), |start, end, ours, theirs| {
        let at = |span: Option<Span<&MapRun>>| span.map(|span| span.item.what.at(start - span.item.first));
        let (ours, theirs) = (at(ours), at(theirs));
        if !agree(ours.as_ref(), theirs.as_ref(), end - start) {
            let text = |what: Option<Present>| {
                what.map_or_else(|| "not present".to_owned(), |what| what.to_string())
            };
            ranges.add(start, end, || (text(ours), text(theirs)));
        }
    });
    sink.ranges("map", place, ranges);
}

/// Whether both say the same of `pages` pages. Of a single page it does not matter whether its frame
/// is the first of a run or the same throughout.
fn agree(ours: Option<&Present>, theirs: Option<&Present>, pages: u64) -> bool {
    match (ours, theirs) {
        (Some(Present::Frames(a)), Some(Present::Same(b)))
        | (Some(Present::Same(a)), Some(Present::Frames(b))) => a == b && pages == 1,
        (ours, theirs) => ours == theirs,
    }
}

fn spans(runs: &[MapRun]) -> Vec<Span<&MapRun>> {
    runs.iter().map(|run| Span { start: run.first, end: run.end(), item: run }).collect()
}
