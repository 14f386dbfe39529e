//! The values of counters, raw or as the numbers that they stand for, and what changed in them.

use std::collections::BTreeMap;

use mapcount_model::event::FolioImage;
use mapcount_model::field::{Field, Scope};
use mapcount_model::machine::Machine;
use mapcount_model::release::Release;
use mapcount_model::units::{Folio, PageRange};

use super::{Fact, arrow, words};
use crate::report::paint::{Phrase, Tone};

/// `_nr_pages_mapped` of a folio that a PMD maps has this added.
const MAPPED_BY_PMD: i32 = 0x80_0000;

/// A stored `_mapcount` up to this is a page type, not a count (PAGE_MAPCOUNT_RESERVE, include/linux/page-flags.h, v6.9).
const LEAST_TYPE: i32 = -128;

/// Of more runs of pages than this it is said how many pages they are, not which.
const RUNS: usize = 5;

/// How counters are read.
pub(in crate::report) struct Reading<'r> {
    /// The machine, which knows what fields its kernel keeps.
    pub(in crate::report) machine: &'r Machine,
    /// Stored values under the kernel's names, instead of numbers of mappings.
    pub(in crate::report) raw: bool,
    /// The release whose names are used.
    pub(in crate::report) release: Release,
    /// The processes, dead ones too, by the number of their address space.
    pub(in crate::report) owners: &'r BTreeMap<u32, String>,
}

/// Runs of pages: the first, and how many.
type Runs = Vec<(u64, u64)>;

/// Pages that changed alike: first page and number, the value before if it is known, and behind.
type Change = (u64, u64, Option<i32>, i32);

impl Reading<'_> {
    fn has(&self, folio: Folio, field: Field) -> bool {
        self.machine.has_field(folio, field)
    }

    /// The name of a field.
    pub(in crate::report) fn name(&self, field: Field) -> String {
        match self.raw {
            true => field.kernel_name(self.release).to_owned(),
            false => logical_name(field).to_owned(),
        }
    }

    fn value(&self, field: Field, value: i32) -> String {
        match field {
            Field::NrPagesMapped if self.raw && value >= MAPPED_BY_PMD => format!("{value:#x}"),
            _ if self.raw => value.to_string(),
            Field::Mapcount if value <= LEAST_TYPE => "page type".to_owned(),
            Field::NrPagesMapped if value == MAPPED_BY_PMD => "PMD".to_owned(),
            Field::NrPagesMapped if value > MAPPED_BY_PMD => format!("{} + PMD", value - MAPPED_BY_PMD),
            _ if field.row().flag => if value == 0 { "no" } else { "yes" }.to_owned(),
            _ if field.row().initial == -1 => (value + 1).to_string(),
            _ => value.to_string(),
        }
    }
}

/// The name of the number that a field stands for: its key without the word for "as stored".
pub(in crate::report) fn logical_name(field: Field) -> &'static str {
    field.key().strip_suffix("_raw").unwrap_or(field.key())
}

/// What changed in a folio's counters; everything that is worth a word if there is no `before`.
pub(in crate::report) fn counters(
    reading: &Reading<'_>,
    before: Option<&FolioImage>,
    after: &FolioImage,
) -> Vec<Fact> {
    let mut facts = Vec::new();
    for (field, runs) in &after.fields {
        if !reading.has(after.folio, *field) {
            continue;
        }
        let old = before.and_then(|image| {
            let runs = image.fields.iter().find(|(known, _)| known == field);
            runs.map(|(_, runs)| (image.folio, runs.as_slice()))
        });
        match field {
            Field::MmId0 | Field::MmId1 | Field::MmIdMapcount0 | Field::MmIdMapcount1 if !reading.raw => {
                if matches!(field, Field::MmId0 | Field::MmId1) {
                    facts.extend(slot(reading, *field, before, after));
                }
                continue;
            }
            _ => {}
        }
        let changes = changes((after.folio, runs), old);
        if *field == Field::Refcount {
            let (head, tails): (Vec<Change>, Vec<Change>) = split_head(&changes);
            facts.extend(fact(reading, *field, reading.name(*field), head, 1));
            let name = format!("tail_{}", reading.name(*field)).replace("tail__", "tail _");
            facts.extend(fact(reading, *field, name, tails, u64::from(after.folio.pages())));
            continue;
        }
        let pages = if field.row().scope == Scope::Page { u64::from(after.folio.pages()) } else { 1 };
        let made = fact(reading, *field, reading.name(*field), changes, pages);
        facts.extend(made.map(|made| with_bias(reading, *field, after, made)));
        if *field == Field::DoubleMap && !reading.raw {
            facts.extend(bias_gone(reading, before, after));
        }
    }
    facts.sort_by_key(|fact| fact.rank);
    facts
}

/// The map counts stand for one mapping more when PG_double_map is cleared and they stay as they are.
fn bias_gone(reading: &Reading<'_>, before: Option<&FolioImage>, after: &FolioImage) -> Option<Fact> {
    let bias = |image| first_value(image, Field::DoubleMap).unwrap_or(0);
    let (old, new) = (first_value(before?, Field::Mapcount)?, first_value(after, Field::Mapcount)?);
    if !after.folio.kind.is_anon() || (bias(before?), bias(after)) != (1, 0) || old != new {
        return None;
    }
    let phrase = Phrase::new(Tone::Plain, &reading.name(Field::Mapcount));
    let count = reading.value(Field::Mapcount, new);
    let phrase = phrase.then(Tone::Plain, &count).then(Tone::Dim, "(none for double_map)");
    Some(Fact::of(Field::Mapcount, phrase))
}

/// While PG_double_map is set the map counts of an anonymous folio's pages are one too high.
fn with_bias(reading: &Reading<'_>, field: Field, image: &FolioImage, fact: Fact) -> Fact {
    let biased = !reading.raw
        && field == Field::Mapcount
        && image.folio.kind.is_anon()
        && reading.has(image.folio, Field::DoubleMap)
        && first_value(image, Field::DoubleMap) == Some(1);
    if biased { Fact::of(field, fact.phrase.then(Tone::Dim, "(1 for double_map)")) } else { fact }
}

fn first_value(image: &FolioImage, field: Field) -> Option<i32> {
    image.fields.iter().find(|(known, _)| *known == field).map(|(_, runs)| runs[0].1)
}

/// One of the two slots: who owns it and how many entries it counts.
fn slot(reading: &Reading<'_>, id: Field, before: Option<&FolioImage>, after: &FolioImage) -> Option<Fact> {
    let (name, count) = match id {
        Field::MmId0 => ("slot0", Field::MmIdMapcount0),
        _ => ("slot1", Field::MmIdMapcount1),
    };
    let read = |image: &FolioImage| {
        let owner = first_value(image, id).unwrap_or(0);
        (owner, first_value(image, count).unwrap_or(-1) + 1)
    };
    let text = |(owner, entries): (i32, i32)| match (owner, reading.owners.get(&(owner as u32))) {
        (0, _) => "empty".to_owned(),
        (_, Some(owner)) => format!("{owner} {entries}"),
        (owner, None) => format!("mm{owner} {entries}"),
    };
    let (old, new) = (before.map_or((0, 0), read), read(after));
    let phrase = Phrase::new(Tone::Plain, name);
    Some(Fact::of(
        id,
        match (old, new) {
            _ if old == new => return None,
            _ if before.is_none() => phrase.then(Tone::Changed, &text(new)),
            ((a, entries), (b, now)) if a == b => {
                let owner = text(new);
                let owner = owner.rsplit_once(' ').map_or("", |(owner, _)| owner);
                arrow(phrase.then(Tone::Plain, owner), &entries.to_string(), &now.to_string())
            }
            _ => arrow(phrase, &text(old), &text(new)),
        },
    ))
}

/// The runs of a field, pages counted from the folio's head, each with its value before.
fn changes(
    (folio, after): (Folio, &[(PageRange, i32)]),
    before: Option<(Folio, &[(PageRange, i32)])>,
) -> Vec<Change> {
    let relative = |folio: Folio, run: &PageRange| u64::from(run.first.0 - folio.head.0);
    let mut changes: Vec<Change> = Vec::new();
    for (run, value) in after {
        let (mut at, end) = (relative(folio, run), relative(folio, run) + u64::from(run.len));
        while at < end {
            let old = before.and_then(|(folio, runs)| {
                let index = runs.partition_point(|(run, _)| relative(folio, run) + u64::from(run.len) <= at);
                runs.get(index).map(|(run, value)| (*value, relative(folio, run) + u64::from(run.len)))
            });
            let stop = old.map_or(end, |(_, stop)| stop.min(end));
            changes.push((at, stop - at, old.map(|(value, _)| value), *value));
            at = stop;
        }
    }
    changes
}

/// The head's change apart from those of the tails.
fn split_head(changes: &[Change]) -> (Vec<Change>, Vec<Change>) {
    let mut head = Vec::new();
    let mut tails = Vec::new();
    for (first, pages, before, after) in changes.iter().copied() {
        if first == 0 {
            head.push((0, 1, before, after));
            if pages > 1 {
                tails.push((1, pages - 1, before, after));
            }
        } else {
            tails.push((first, pages, before, after));
        }
    }
    // That tails have no references goes without saying.
    tails.retain(|(_, _, before, after)| before.is_some() || *after != 0);
    (head, tails)
}

/// The fact of one field: what changed, where only some of the `pages` did with the place.
fn fact(
    reading: &Reading<'_>,
    field: Field,
    name: String,
    mut changes: Vec<Change>,
    pages: u64,
) -> Option<Fact> {
    let row = field.row();
    // Of a folio that is new, flags that are off and counts of things it need not have go without saying.
    let quiet = row.flag || (row.initial == 0 && field != Field::NrPagesMapped);
    changes.retain(|(_, _, before, after)| match before {
        Some(before) => before != after,
        None => !(quiet && *after == row.initial && field != Field::Refcount),
    });
    let mut phrase = Phrase::new(Tone::Plain, &name);
    let value = |phrase: Phrase, before: Option<i32>, after: i32| match before {
        Some(before) => arrow(phrase, &reading.value(field, before), &reading.value(field, after)),
        None => phrase.then(Tone::Changed, &reading.value(field, after)),
    };
    let (_, covered, before, after) = *changes.first()?;
    if changes.len() == 1 && (pages == 1 || covered == pages) {
        return Some(Fact::of(field, value(phrase, before, after)));
    }
    // Pages that changed alike, together.
    let mut told: Vec<((Option<i32>, i32), Runs)> = Vec::new();
    for (first, pages, old, new) in changes {
        match told.iter_mut().find(|(known, _)| *known == (old, new)) {
            Some((_, runs)) => runs.push((first, pages)),
            None => told.push(((old, new), vec![(first, pages)])),
        }
    }
    for (index, ((old, new), runs)) in told.into_iter().enumerate() {
        if index > 0 {
            phrase = phrase.joined(",");
        }
        phrase = value(phrase.then(Tone::Plain, &place(&runs)), old, new);
    }
    Some(Fact::of(field, phrase))
}

/// `[0..16,17]`, or how many pages it is where that would be long.
fn place(runs: &[(u64, u64)]) -> String {
    if runs.len() > RUNS {
        return format!("{} pages", runs.iter().map(|(_, pages)| pages).sum::<u64>());
    }
    words::ranges(runs)
}
