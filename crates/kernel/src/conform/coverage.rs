//! What a run reached: operations, and the states that they found and left.

use std::collections::{BTreeMap, BTreeSet};

use mapcount_script::run::State;

/// Which operation met which state, and what state it left: of the first page that the step names.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Coverage {
    operations: BTreeMap<String, Reached>,
}

/// What one operation reached.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Reached {
    /// Steps.
    pub steps: u64,
    /// Pairs of states, before and behind.
    pub pairs: BTreeSet<(State, State)>,
}

impl Coverage {
    /// Counts a step.
    pub fn add(&mut self, operation: &str, before: State, after: State) {
        // The name is known but for the first step of its kind.
        if !self.operations.contains_key(operation) {
            self.operations.insert(operation.to_owned(), Reached::default());
        }
        let reached = self.operations.get_mut(operation).expect("there now");
        reached.steps += 1;
        reached.pairs.insert((before, after));
    }

    /// By operation, in the order of their names.
    pub fn operations(&self) -> impl Iterator<Item = (&str, &Reached)> {
        self.operations.iter().map(|(name, reached)| (name.as_str(), reached))
    }

    /// How many pairs of states, all operations together.
    pub fn pairs(&self) -> usize {
        self.operations.values().map(|reached| reached.pairs.len()).sum()
    }
}

#[cfg(test)]
mod tests {
    use mapcount_script::run::State;

    use super::Coverage;

    #[test]
    fn a_pair_counts_once_for_each_operation() {
        let mut coverage = Coverage::default();
        for (operation, after) in [
            ("read", State::Swapped),
            ("read", State::Swapped),
            ("write", State::Swapped),
            ("read", State::Empty),
        ] {
            coverage.add(operation, State::Empty, after);
        }
        assert_eq!(coverage.pairs(), 3);
        let steps: Vec<(&str, u64)> =
            coverage.operations().map(|(name, reached)| (name, reached.steps)).collect();
        assert_eq!(steps, [("read", 3), ("write", 1)]);
    }
}
