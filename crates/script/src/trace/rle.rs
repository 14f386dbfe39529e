//! Run-length encoded lists over pages: `[[512,-1]]` is 512 pages with −1.

use std::fmt;

use serde::de::{Error, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A list over pages, stored as runs of equal values and never expanded. Always canonical: no run
/// is empty and neighbouring runs differ, so that equal lists are equal runs.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Rle<T>(Vec<(u64, T)>);

impl<T> Default for Rle<T> {
    fn default() -> Rle<T> {
        Rle(Vec::new())
    }
}

impl<T: PartialEq> Rle<T> {
    /// The list of no pages.
    pub fn new() -> Rle<T> {
        Rle::default()
    }

    /// Appends `pages` pages with `value`; nothing if `pages` is 0.
    pub fn push_run(&mut self, pages: u64, value: T) {
        if pages == 0 {
            return;
        }
        match self.0.last_mut() {
            Some((run, last)) if *last == value => *run = run.saturating_add(pages),
            _ => self.0.push((pages, value)),
        }
    }

    /// The value of page `index`, counted from the start of the list.
    pub fn get(&self, index: u64) -> Option<&T> {
        let mut end = 0_u64;
        self.0.iter().find_map(|(pages, value)| {
            end = end.saturating_add(*pages);
            (index < end).then_some(value)
        })
    }
}

impl<T> Rle<T> {
    /// The runs: how many pages, and their value.
    pub fn runs(&self) -> &[(u64, T)] {
        &self.0
    }

    /// How many pages the list covers.
    pub fn len(&self) -> u64 {
        self.0.iter().fold(0, |sum, (pages, _)| sum.saturating_add(*pages))
    }

    /// Whether the list covers no page.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// From runs, not from pages: `[(512, -1)]`.
impl<T: PartialEq> FromIterator<(u64, T)> for Rle<T> {
    fn from_iter<I: IntoIterator<Item = (u64, T)>>(runs: I) -> Rle<T> {
        let mut list = Rle::new();
        for (pages, value) in runs {
            list.push_run(pages, value);
        }
        list
    }
}

/// As in the trace: `[[511,0],[1,-1]]`.
impl<T: fmt::Display> fmt::Display for Rle<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[")?;
        for (index, (pages, value)) in self.0.iter().enumerate() {
            let comma = if index == 0 { "" } else { "," };
            write!(f, "{comma}[{pages},{value}]")?;
        }
        f.write_str("]")
    }
}

impl<T: Serialize> Serialize for Rle<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl<'de, T: Deserialize<'de> + PartialEq> Deserialize<'de> for Rle<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Rle<T>, D::Error> {
        deserializer.deserialize_seq(Runs(std::marker::PhantomData))
    }
}

struct Runs<T>(std::marker::PhantomData<T>);

impl<'de, T: Deserialize<'de> + PartialEq> Visitor<'de> for Runs<T> {
    type Value = Rle<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of runs, each [pages, value]")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Rle<T>, A::Error> {
        let mut list = Rle::new();
        let mut total = 0_u64;
        while let Some((pages, value)) = seq.next_element::<(u64, T)>()? {
            if pages == 0 {
                return Err(A::Error::custom("a run of 0 pages"));
            }
            total = total.checked_add(pages).ok_or_else(|| {
                A::Error::custom(format_args!("a run of {pages} pages: there are none so many"))
            })?;
            list.push_run(pages, value);
        }
        Ok(list)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{prop_assert_eq, proptest};

    use super::Rle;

    #[test]
    fn runs_join_and_empty_ones_vanish() {
        let list: Rle<i64> = [(1, 5), (0, 7), (2, 5), (3, 0)].into_iter().collect();
        assert_eq!(list.runs(), &[(3, 5), (3, 0)]);
        assert_eq!(list.to_string(), "[[3,5],[3,0]]");
        assert_eq!(list.len(), 6);
        assert_eq!((list.get(2), list.get(3), list.get(6)), (Some(&5), Some(&0), None));
        assert!(Rle::<i64>::new().is_empty());
    }

    #[test]
    fn the_longest_lists_stay_a_few_runs() {
        let list: Rle<i64> =
            serde_json::from_str("[[9223372036854775807,0],[9223372036854775808,1]]").unwrap();
        assert_eq!(list.len(), u64::MAX);
        assert_eq!(list.get(u64::MAX - 1), Some(&1));
        assert!(serde_json::from_str::<Rle<i64>>("[[18446744073709551615,0],[1,1]]").is_err());
        assert!(serde_json::from_str::<Rle<i64>>("[[0,0]]").is_err());
    }

    proptest! {
        #[test]
        fn a_list_is_what_its_pages_are(pages in proptest::collection::vec(-1_i64..2, 0..40)) {
            let list: Rle<i64> = pages.iter().map(|value| (1, *value)).collect();
            prop_assert_eq!(list.len(), pages.len() as u64);
            for (index, value) in pages.iter().enumerate() {
                prop_assert_eq!(list.get(index as u64), Some(value));
            }
            let text = serde_json::to_string(&list).unwrap();
            prop_assert_eq!(&text, &list.to_string());
            prop_assert_eq!(serde_json::from_str::<Rle<i64>>(&text).unwrap(), list);
        }
    }
}
