//! The phases of a step's operations, each with what it changed: the figures of an article on paper.

use std::collections::BTreeMap;

use mapcount_model::event::{Event, FolioImage};
use mapcount_model::field::Field;
use mapcount_model::units::{Folio, Pfn};

use super::change::{Fact, Form, Place, Reading, counters, description};
use super::paint::{Phrase, Tone};
use super::scene::Scene;

/// The counters that were seen last, by the folio's first frame.
type Seen = BTreeMap<u32, FolioImage>;

/// The places of a step's phases, in order. `before` is the state before the step.
pub(super) fn phases(reading: &Reading<'_>, before: &Scene, events: &[Event]) -> Vec<Place> {
    let mut seen = Seen::new();
    for segment in &before.segments {
        remember(&mut seen, &segment.image);
    }
    folded(events.iter().map(|event| phase(reading, &mut seen, event)).collect())
}

/// The longest cycle of phases that is told once.
const CYCLE: usize = 4;

/// Phases that go round and round (a split that is tried for every page) are told once.
fn folded(mut places: Vec<Place>) -> Vec<Place> {
    let mut folded = Vec::new();
    while !places.is_empty() {
        let rounds = |length: usize| {
            let cycle = &places[..length.min(places.len())];
            places.chunks_exact(length).take_while(|chunk| *chunk == cycle).count()
        };
        let found = (1..=CYCLE).map(|length| (length, rounds(length))).find(|(_, rounds)| *rounds > 2);
        let (length, rounds) = found.unwrap_or((1, 1));
        let rest = places.split_off(length * rounds);
        places.truncate(length);
        folded.append(&mut places);
        if rounds > 1 {
            let head =
                Phrase::new(Tone::Dim, "├").then(Tone::Plain, &format!("and {} times more", rounds - 1));
            folded.push(Place { head, form: Form::Phase, facts: Vec::new() });
        }
        places = rest;
    }
    folded
}

fn phase(reading: &Reading<'_>, seen: &mut Seen, event: &Event) -> Place {
    let mut groups: Vec<(Folio, u64, Vec<Fact>)> = Vec::new();
    for image in &event.folios {
        for index in 0..image.count {
            let folio = Folio { head: Pfn(image.folio.head.0 + index * image.folio.pages()), ..image.folio };
            let same = |old: &&FolioImage| (old.folio.order, old.folio.kind) == (folio.order, folio.kind);
            let facts = counters(reading, seen.get(&folio.head.0).filter(same), image);
            if facts.is_empty() {
                continue;
            }
            let alike = |(known, _, known_facts): &&mut (Folio, u64, Vec<Fact>)| {
                (known.order, known.kind) == (folio.order, folio.kind) && *known_facts == facts
            };
            match groups.iter_mut().find(alike) {
                Some((_, count, _)) => *count += 1,
                None => groups.push((folio, 1, facts)),
            }
        }
        remember(seen, image);
    }
    let mut head = Phrase::new(Tone::Dim, "├").then(Tone::Plain, event.phase.name());
    if let Some(owner) = event.mm.and_then(|mm| reading.owners.get(&mm.0)) {
        head = head.joined(",").then(Tone::Plain, owner);
    }
    let several = groups.len() > 1;
    let mut facts = Vec::new();
    for (group, (folio, count, mut changed)) in groups.into_iter().enumerate() {
        if several || count > 1 || !folio.is_large() {
            let what = Phrase::new(Tone::Plain, &format!("{}:", description(folio, count)));
            changed[0].phrase = what.and(std::mem::take(&mut changed[0].phrase));
        }
        for fact in &mut changed {
            fact.rank += group * (Field::COUNT + 1);
        }
        facts.extend(changed);
    }
    if facts.is_empty() {
        facts.push(Fact::new(Phrase::new(Tone::Dim, "counters unchanged")));
    }
    Place { head, form: Form::Phase, facts }
}

fn remember(seen: &mut Seen, image: &FolioImage) {
    let size = image.folio.pages();
    let (start, end) = (image.folio.head.0, image.folio.head.0 + image.count * size);
    let old: Vec<u32> = seen.range(start..end).map(|(head, _)| *head).collect();
    for head in old {
        seen.remove(&head);
    }
    for index in 0..image.count {
        let head = Pfn(start + index * size);
        let by = index * size;
        let mut fields = image.fields.clone();
        for (run, _) in fields.iter_mut().flat_map(|(_, runs)| runs.iter_mut()) {
            run.first = run.first.add(by);
        }
        seen.insert(head.0, FolioImage { folio: Folio { head, ..image.folio }, count: 1, fields });
    }
}
