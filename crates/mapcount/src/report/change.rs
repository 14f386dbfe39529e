//! What a step changed: the places where something happened, and the facts there.

mod folios;
mod values;
mod words;

use mapcount_model::stats::Stat;

use super::paint::{Phrase, Tone};
use super::scene::{Area, Scene};

pub(super) use folios::folios;
pub(super) use values::{Reading, counters, logical_name};
pub(super) use words::description;

/// One thing that changed, or is new.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Fact(pub(super) Phrase);

/// Something that facts are about: folios, mappings, the system.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Place {
    /// What it is.
    pub(super) head: Phrase,
    /// Whether the facts stand in the line of the head, which is a short word then.
    pub(super) inline: bool,
    /// What is said of it.
    pub(super) facts: Vec<Fact>,
}

impl Place {
    /// A place with a heading of its own line.
    pub(super) fn block(head: Phrase, facts: Vec<Fact>) -> Place {
        Place { head, inline: false, facts }
    }

    /// A place named by a word.
    pub(super) fn inline(tone: Tone, word: &str, facts: Vec<Fact>) -> Place {
        Place { head: Phrase::new(tone, word), inline: true, facts }
    }

    /// Whether it is the same place, whatever is said of it.
    pub(super) fn is_same(&self, other: &Place) -> bool {
        self.head == other.head && self.inline == other.inline
    }

    /// The place alone.
    pub(super) fn without_facts(&self) -> Place {
        Place { head: self.head.clone(), inline: self.inline, facts: Vec::new() }
    }
}

/// `before → after`.
pub(super) fn arrow(phrase: Phrase, before: &str, after: &str) -> Phrase {
    phrase.then(Tone::Dim, before).then(Tone::Dim, "→").then(Tone::Changed, after)
}

/// What changed in the mappings: what was mapped and unmapped, Rss and Pss.
pub(super) fn memory(before: &Scene, after: &Scene) -> Vec<Place> {
    let mut said: Vec<(Vec<&str>, Phrase)> = Vec::new();
    let mut say = |name, phrase: Phrase| {
        if phrase.is_empty() {
            return;
        }
        match said.iter_mut().find(|(_, known)| *known == phrase) {
            Some((names, _)) => names.push(name),
            None => said.push((vec![name], phrase)),
        }
    };
    for (name, area) in &after.mappings {
        say(name, of_area(before.mappings.get(name), area));
    }
    for name in before.mappings.keys().filter(|name| !after.mappings.contains_key(*name)) {
        say(name, Phrase::new(Tone::Changed, "unmapped"));
    }
    if said.is_empty() {
        return Vec::new();
    }
    let fact = |(names, phrase): (Vec<&str>, Phrase)| {
        Fact(Phrase::new(Tone::Plain, &names.join(", ")).joined(":").and(phrase))
    };
    vec![Place::inline(Tone::Plain, "memory", said.into_iter().map(fact).collect())]
}

fn of_area(before: Option<&Area>, area: &Area) -> Phrase {
    let mut phrase = Phrase::default();
    let known = before.cloned().unwrap_or_default();
    if known.vmas != area.vmas {
        let shown = if area.vmas.len() > 5 { 4 } else { area.vmas.len() };
        let mut list: Vec<String> = area.vmas[..shown]
            .iter()
            .map(|(first, pages, access)| format!("{} {access}", words::range(*first, *pages)))
            .collect();
        if shown < area.vmas.len() {
            list.push(format!("… {} areas in all", area.vmas.len()));
        }
        phrase = phrase.then(Tone::Changed, &list.join(", "));
    }
    for (key, old, new) in [("rss", known.rss, area.rss), ("pss", known.pss, area.pss)] {
        if old == new {
            continue;
        }
        if !phrase.is_empty() {
            phrase = phrase.joined(",");
        }
        phrase = arrow(phrase.then(Tone::Plain, key), &old.to_string(), &new.to_string());
        phrase = phrase.then(Tone::Plain, "kB");
    }
    phrase
}

/// The statistics that changed.
pub(super) fn system(before: &Scene, after: &Scene) -> Vec<Place> {
    let mut facts = Vec::new();
    for (index, stat) in Stat::ALL.iter().enumerate() {
        let old = before.stats.get(index).copied().unwrap_or(0);
        let new = after.stats[index];
        if old != new {
            let name = Phrase::new(Tone::Plain, stat.key());
            facts.push(Fact(arrow(name, &old.to_string(), &new.to_string())));
        }
    }
    if facts.is_empty() { Vec::new() } else { vec![Place::inline(Tone::Plain, "system", facts)] }
}
