//! What changed in folios: those with the same change, size and mappings are one place.

use mapcount_model::units::Folio;

use super::words::{self, Mapper, description};
use super::{Fact, Place, Reading, counters};
use crate::report::paint::{Phrase, Tone};
use crate::report::scene::{Claim, Holds, Scene, Segment};

/// More places than this are not listed; the trace has them all.
const MOST: usize = 16;

/// Folios that are told of together.
struct Group {
    folio: Folio,
    mappers: Vec<Mapper>,
    holds: Holds,
    origin: String,
    facts: Vec<Fact>,
    claims: Vec<Claim>,
    count: u64,
}

/// The folios that changed.
pub(in crate::report) fn folios(reading: &Reading<'_>, before: &Scene, after: &Scene) -> Vec<Place> {
    let mut groups: Vec<Group> = Vec::new();
    for segment in &after.segments {
        let (start, end) = segment.frames();
        let mut at = start;
        for old in before.overlapping(start, end) {
            let (from, to) = (old.frames().0.max(start), old.frames().1.min(end));
            let same = (old.image.folio.order, old.image.folio.kind)
                == (segment.image.folio.order, segment.image.folio.kind);
            if !same {
                continue;
            }
            if at < from {
                add(reading, &mut groups, before, segment, (at, from), None);
            }
            add(reading, &mut groups, before, segment, (from, to), Some(old));
            at = to;
        }
        if at < end {
            add(reading, &mut groups, before, segment, (at, end), None);
        }
    }
    let more: u64 = groups.iter().skip(MOST).map(|group| group.count).sum();
    let mut places: Vec<Place> = groups.into_iter().take(MOST).map(place).collect();
    if more > 0 {
        let text = format!("… and {more} more folios; --format jsonl has them all");
        places.push(Place::block(Phrase::new(Tone::Dim, &text), Vec::new()));
    }
    places.extend(freed(before, after));
    places
}

/// Adds the part `start..end` of a segment to the group that it is like.
fn add(
    reading: &Reading<'_>,
    groups: &mut Vec<Group>,
    before: &Scene,
    segment: &Segment,
    (start, end): (u32, u32),
    old: Option<&Segment>,
) {
    let folio = segment.image.folio;
    let count = u64::from((end - start) / folio.pages());
    let claims = segment.claims_on(start, end);
    let mut facts = counters(reading, old.map(|old| &old.image), &segment.image);
    let moved = old.is_some_and(|old| old.claims_on(start, end) != claims || old.holds != segment.holds);
    if facts.is_empty() && !moved && old.is_some() {
        return;
    }
    if facts.is_empty() {
        facts.push(Fact::new(Phrase::new(Tone::Dim, "counters unchanged")));
    }
    let origin = if old.is_some() { String::new() } else { origin(before, folio, start, end) };
    let mappers = words::mappers(&claims, folio, count);
    let alike = |group: &&mut Group| {
        (group.folio.order, group.folio.kind, group.holds) == (folio.order, folio.kind, segment.holds)
            && (&group.mappers, &group.origin, &group.facts) == (&mappers, &origin, &facts)
    };
    match groups.iter_mut().find(alike) {
        Some(group) => {
            group.count += count;
            group.claims.extend(claims);
        }
        None => groups.push(Group { folio, mappers, holds: segment.holds, origin, facts, claims, count }),
    }
}

/// What a folio was made of, if it was not allocated.
fn origin(before: &Scene, folio: Folio, start: u32, end: u32) -> String {
    match before.overlapping(start, end).next() {
        Some(old) if old.image.folio.order > folio.order => {
            format!(" split from order {}", old.image.folio.order.0)
        }
        _ => String::new(),
    }
}

fn place(group: Group) -> Place {
    let Group { folio, mappers, holds, origin, facts, claims, count } = group;
    let what = format!("{}{origin},", description(folio, count));
    let how = format!("{}{}", words::mapped(&mappers, &claims, folio, count), words::held(holds));
    Place::block(Phrase::new(Tone::Heading, &what).then(Tone::Plain, &how), facts)
}

/// The folios whose frames nobody uses any more.
fn freed(before: &Scene, after: &Scene) -> Option<Place> {
    let mut sums: Vec<(Folio, u64)> = Vec::new();
    for segment in &before.segments {
        let (start, end) = segment.frames();
        let used: u32 = after
            .overlapping(start, end)
            .map(|new| new.frames().1.min(end) - new.frames().0.max(start))
            .sum();
        let folio = segment.image.folio;
        let gone = u64::from((end - start - used) / folio.pages());
        // A folio that was split and freed in part is told of by its pieces.
        let gone = if used > 0 && folio.is_large() && gone == 0 { 0 } else { gone };
        if gone == 0 {
            continue;
        }
        let alike = |(known, _): &&mut (Folio, u64)| (known.order, known.kind) == (folio.order, folio.kind);
        match sums.iter_mut().find(alike) {
            Some((_, count)) => *count += gone,
            None => sums.push((folio, gone)),
        }
    }
    let facts: Vec<Fact> = sums
        .into_iter()
        .map(|(folio, count)| Fact::new(Phrase::new(Tone::Changed, &description(folio, count))))
        .collect();
    (!facts.is_empty()).then(|| Place::word(Tone::Plain, "freed", facts))
}
