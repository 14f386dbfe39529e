//! What several kernels say of a step, put together: what they agree on is said once.

use super::change::{Fact, Place};
use super::kernel_names::{KernelNames, Set};

/// A place, with the kernels that speak of it.
pub(super) struct Shared {
    /// The place, without its facts.
    pub(super) place: Place,
    /// Who has it.
    pub(super) kernels: Set,
    /// What is said there, and by whom.
    pub(super) facts: Vec<(Fact, Set)>,
}

impl Shared {
    /// The facts by the kernels that state them: what all state first, then kernels, then proposals.
    pub(super) fn by_kernels(&self, names: &KernelNames, all: &Set) -> Vec<(Set, Vec<&Fact>)> {
        let mut groups: Vec<(Set, Vec<&Fact>)> = Vec::new();
        for (fact, kernels) in &self.facts {
            for part in names.parts(kernels, &self.kernels) {
                match groups.iter_mut().find(|(known, _)| *known == part) {
                    Some((_, facts)) => facts.push(fact),
                    None => groups.push((part, vec![fact])),
                }
            }
        }
        for (_, facts) in &mut groups {
            facts.sort_by_key(|fact| fact.rank);
        }
        let mut groups = joined(groups, |set| names.is_short(set, all));
        groups.sort_by_key(|(kernels, _)| {
            (*kernels != self.kernels, kernels.first().copied(), std::cmp::Reverse(kernels.len()))
        });
        groups
    }
}

/// Kernels and proposals that state the same, in one group where that has a short name.
fn joined(groups: Vec<(Set, Vec<&Fact>)>, is_short: impl Fn(&Set) -> bool) -> Vec<(Set, Vec<&Fact>)> {
    let mut joined: Vec<(Set, Vec<&Fact>)> = Vec::new();
    for (kernels, facts) in groups {
        let union = |known: &Set| known.union(&kernels).copied().collect::<Set>();
        match joined.iter_mut().find(|(known, same)| *same == facts && is_short(&union(known))) {
            Some((known, _)) => known.extend(kernels),
            None => joined.push((kernels, facts)),
        }
    }
    joined
}

/// Merges the places of several kernels. Each kernel's order is kept; where the kernels' orders disagree
/// a place may occur twice.
pub(super) fn merge(lists: Vec<(usize, Vec<Place>)>) -> Vec<Shared> {
    let mut merged: Vec<Shared> = Vec::new();
    for (kernel, places) in lists {
        let mut cursor = 0;
        let mut waiting: Vec<Place> = Vec::new();
        for place in places {
            match merged[cursor..].iter().position(|shared| shared.place.is_same(&place)) {
                Some(offset) => {
                    cursor = insert(&mut merged, cursor + offset, kernel, &mut waiting);
                    add(&mut merged[cursor], kernel, place.facts);
                    cursor += 1;
                }
                None => waiting.push(place),
            }
        }
        let end = merged.len();
        insert(&mut merged, end, kernel, &mut waiting);
    }
    merged
}

/// Puts places that only this kernel has so far at `at`; returns the place behind them.
fn insert(merged: &mut Vec<Shared>, mut at: usize, kernel: usize, waiting: &mut Vec<Place>) -> usize {
    for place in waiting.drain(..) {
        let shared = Shared { place: place.without_facts(), kernels: Set::new(), facts: Vec::new() };
        merged.insert(at, shared);
        add(&mut merged[at], kernel, place.facts);
        at += 1;
    }
    at
}

fn add(shared: &mut Shared, kernel: usize, facts: Vec<Fact>) {
    shared.kernels.insert(kernel);
    let mut cursor = 0;
    for fact in facts {
        let at = match shared.facts.iter().position(|(known, _)| *known == fact) {
            Some(at) => at,
            None => {
                shared.facts.insert(cursor, (fact, Set::new()));
                cursor
            }
        };
        shared.facts[at].1.insert(kernel);
        cursor = at + 1;
    }
}

#[cfg(test)]
mod tests {
    use super::{Set, merge};
    use crate::report::change::{Fact, Place};
    use crate::report::paint::{Phrase, Tone};

    fn place(word: &str, facts: &[&str]) -> Place {
        let fact = |fact: &&str| Fact::new(Phrase::new(Tone::Plain, fact));
        Place::word(Tone::Plain, word, facts.iter().map(fact).collect())
    }

    #[test]
    fn places_keep_the_order_of_each_kernel_and_equal_facts_are_one() {
        let merged = merge(vec![
            (0, vec![place("a", &["x"]), place("c", &["z"])]),
            (1, vec![place("a", &["x", "y"]), place("b", &[]), place("c", &["w", "z"])]),
            (2, vec![place("c", &[]), place("d", &[])]),
        ]);
        let words: Vec<String> = merged.iter().map(|shared| shared.place.head.plain()).collect();
        assert_eq!(words, ["a", "b", "c", "d"]);
        assert_eq!(merged[0].kernels, Set::from([0, 1]));
        let facts: Vec<(String, Set)> =
            merged[2].facts.iter().map(|(fact, kernels)| (fact.phrase.plain(), kernels.clone())).collect();
        assert_eq!(facts, [("w".to_owned(), Set::from([1])), ("z".to_owned(), Set::from([0, 1]))]);
    }

    #[test]
    fn orders_that_disagree_lose_nothing() {
        let merged = merge(vec![
            (0, vec![place("a", &["x"]), place("b", &["y"])]),
            (1, vec![place("b", &["y"]), place("a", &["x"])]),
        ]);
        let told = |kernel: usize| merged.iter().filter(|shared| shared.kernels.contains(&kernel)).count();
        assert_eq!((told(0), told(1)), (2, 2));
    }
}
