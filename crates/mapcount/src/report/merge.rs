//! What several kernels say of a step, put together: what they agree on is said once.

use super::change::{Fact, Place};
use super::kernel_names::Set;

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
    /// The facts by the kernels that state them, those of the most kernels first.
    pub(super) fn by_kernels(&self) -> Vec<(&Set, Vec<&Fact>)> {
        let mut groups: Vec<(&Set, Vec<&Fact>)> = Vec::new();
        for (fact, kernels) in &self.facts {
            match groups.iter_mut().find(|(known, _)| *known == kernels) {
                Some((_, facts)) => facts.push(fact),
                None => groups.push((kernels, vec![fact])),
            }
        }
        // What all say comes first; the rest in the order of the kernels.
        groups
            .sort_by_key(|(kernels, _)| (**kernels != self.kernels, kernels.first().copied(), kernels.len()));
        groups
    }
}

/// Merges the places of several kernels. Each kernel's order is kept; where the kernels' orders disagree
/// a place may occur twice.
pub(super) fn merge(lists: Vec<(usize, Vec<Place>)>) -> Vec<Shared> {
    let mut merged: Vec<Shared> = Vec::new();
    for (kernel, places) in lists {
        let mut cursor = 0;
        for place in places {
            let found = merged[cursor..].iter().position(|shared| shared.place.is_same(&place));
            let at = match found {
                Some(offset) => cursor + offset,
                None => {
                    let shared =
                        Shared { place: place.without_facts(), kernels: Set::new(), facts: Vec::new() };
                    merged.insert(cursor, shared);
                    cursor
                }
            };
            cursor = at + 1;
            add(&mut merged[at], kernel, place.facts);
        }
    }
    merged
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
