//! What a step changed: the places where something happened, and the facts there.

mod folios;
mod values;
mod words;

use mapcount_model::field::Field;
use mapcount_model::stats::Stat;

use super::paint::{Phrase, Tone};
use super::scene::{Area, Scene};

pub(super) use folios::folios;
pub(super) use values::{Reading, counters, logical_name};
pub(super) use words::description;

/// One thing that changed, or is new.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Fact {
    /// Facts of lower rank are told first; those of the same rank in the order in which they were found.
    pub(super) rank: usize,
    /// What is said.
    pub(super) phrase: Phrase,
}

impl Fact {
    /// A fact of no rank.
    pub(super) fn new(phrase: Phrase) -> Fact {
        Fact { rank: 0, phrase }
    }

    /// A fact about a counter.
    pub(super) fn of(field: Field, phrase: Phrase) -> Fact {
        Fact { rank: 1 + field as usize, phrase }
    }
}

/// Where the facts about a place stand.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Form {
    /// Below its head.
    Block,
    /// In the line of the head, which is a word.
    Word,
    /// In the line of the head, which is a few words.
    Phase,
}

/// Something that facts are about: folios, mappings, the system.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Place {
    /// What it is.
    pub(super) head: Phrase,
    /// Where the facts stand.
    pub(super) form: Form,
    /// What is said of it.
    pub(super) facts: Vec<Fact>,
}

impl Place {
    /// A place with a heading of its own line.
    pub(super) fn block(head: Phrase, facts: Vec<Fact>) -> Place {
        Place { head, form: Form::Block, facts }
    }

    /// A place named by a word.
    pub(super) fn word(tone: Tone, word: &str, facts: Vec<Fact>) -> Place {
        Place { head: Phrase::new(tone, word), form: Form::Word, facts }
    }

    /// Whether it is the same place, whatever is said of it.
    pub(super) fn is_same(&self, other: &Place) -> bool {
        self.head == other.head && self.form == other.form
    }

    /// The place alone.
    pub(super) fn without_facts(&self) -> Place {
        Place { head: self.head.clone(), form: self.form, facts: Vec::new() }
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
        let known = before.mappings.get(name).cloned().unwrap_or_default();
        say(name, of_vmas(&known, area));
        say(name, of_sizes(&known, area));
    }
    for name in before.mappings.keys().filter(|name| !after.mappings.contains_key(*name)) {
        say(name, Phrase::new(Tone::Changed, "unmapped"));
    }
    if said.is_empty() {
        return Vec::new();
    }
    let fact = |(names, phrase): (Vec<&str>, Phrase)| {
        Fact::new(Phrase::new(Tone::Plain, &names.join(", ")).joined(":").and(phrase))
    };
    vec![Place::word(Tone::Plain, "memory", said.into_iter().map(fact).collect())]
}

fn of_vmas(before: &Area, area: &Area) -> Phrase {
    if before.vmas == area.vmas {
        return Phrase::default();
    }
    let shown = if area.vmas.len() > 5 { 4 } else { area.vmas.len() };
    let mut list: Vec<String> = area.vmas[..shown]
        .iter()
        .map(|(first, pages, access)| format!("{} {access}", words::range(*first, *pages)))
        .collect();
    if shown < area.vmas.len() {
        list.push(format!("… {} areas in all", area.vmas.len()));
    }
    Phrase::new(Tone::Changed, &list.join(", "))
}

fn of_sizes(before: &Area, area: &Area) -> Phrase {
    let mut phrase = Phrase::default();
    for (key, old, new) in [("rss", before.rss, area.rss), ("pss", before.pss, area.pss)] {
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
            facts.push(Fact::new(arrow(name, &old.to_string(), &new.to_string())));
        }
    }
    if facts.is_empty() { Vec::new() } else { vec![Place::word(Tone::Plain, "system", facts)] }
}
