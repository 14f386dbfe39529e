//! Many differences in a few lines.

use std::collections::BTreeMap;
use std::fmt;

use super::Difference;

/// What a list of differences comes to.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Summary {
    /// How many there are.
    pub differences: usize,
    /// The first step that has one, and its statement.
    pub first: Option<(u64, String)>,
    /// How many each key has, the most frequent first.
    pub fields: Vec<(&'static str, usize)>,
}

/// Counts differences, by key.
pub fn summary(differences: &[Difference]) -> Summary {
    let mut counts: BTreeMap<&'static str, usize> = BTreeMap::new();
    for difference in differences {
        *counts.entry(difference.field).or_default() += 1;
    }
    let mut fields: Vec<(&'static str, usize)> = counts.into_iter().collect();
    // A stable sort: equally frequent ones stay in the order of their keys.
    fields.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    let first = differences.iter().min_by_key(|difference| difference.step);
    Summary {
        differences: differences.len(),
        first: first.map(|difference| (difference.step, difference.op.clone())),
        fields,
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some((step, op)) = &self.first else { return f.write_str("no differences") };
        let s = if self.differences == 1 { "" } else { "s" };
        write!(f, "{} difference{s}, the first in step {step} `{op}`:", self.differences)?;
        for (index, (field, count)) in self.fields.iter().enumerate() {
            write!(f, "{} {field} {count}", if index == 0 { "" } else { "," })?;
        }
        Ok(())
    }
}
