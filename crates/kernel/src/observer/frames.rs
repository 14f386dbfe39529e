//! How an observer sees frames: which folio one is part of, and a folio's row.

use mapcount_script::trace::FolioRow;

use crate::Unavailable;

/// Consecutive frames.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct Run {
    /// The first.
    pub(crate) first: u64,
    /// How many.
    pub(crate) count: u64,
}

impl Run {
    pub(crate) fn end(self) -> u64 {
        self.first + self.count
    }
}

/// A folio by its place.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct Block {
    /// The first frame.
    pub(crate) head: u64,
    /// The base-2 logarithm of its number of pages.
    pub(crate) order: u8,
}

impl Block {
    pub(crate) fn pages(self) -> u64 {
        1 << self.order
    }

    pub(crate) fn end(self) -> u64 {
        self.head + self.pages()
    }
}

/// The greatest order that is believed: a hugetlb page of 1 GiB.
pub(crate) const GREATEST_ORDER: u8 = 18;

/// Which process has which number of an address space.
pub(crate) type Owners = [(u32, String)];

/// A look at some frames.
pub(crate) trait Frames {
    /// `bpf`, `kcore` or `proc`.
    fn name(&self) -> &'static str;

    /// Looks at the frames of `runs`, which are sorted and do not overlap, and at the folios that they are in.
    fn look(&mut self, runs: &[Run]) -> Result<(), Unavailable>;

    /// Looks at the same once more; false if what counts is not what it was.
    fn look_again(&mut self) -> Result<bool, Unavailable>;

    /// The folio that `frame`, which was looked at, is in.
    fn folio(&self, frame: u64) -> Block;

    /// Whether `folio` has the same row as `like`, which has as many pages; only a hint, false if it would take
    /// long to find out.
    fn is_alike(&self, folio: Block, like: Block) -> bool;

    /// The row of `folio`.
    fn row(&self, folio: Block, id: u64, owners: &Owners) -> FolioRow;

    /// The number of the address space that the open `pagemap` of a process is of.
    fn mm_id(&mut self, pagemap: &std::fs::File) -> Result<Option<u32>, Unavailable>;
}

/// Sorts `runs` and joins those that overlap or adjoin.
pub(crate) fn merged(runs: Vec<Run>) -> Vec<Run> {
    join_where(runs, |_, _| false)
}

/// As [`merged`], and joins those that have only few frames between them within a block of memory that is there as a
/// whole: to read those too takes less time than to read twice.
pub(crate) fn joined(runs: Vec<Run>) -> Vec<Run> {
    const FEW: u64 = 16;
    // Memory comes in sections of 128 MiB, or parts of 2 MiB of them.
    const SECTION: u64 = 512;
    join_where(runs, |end, first| first - end <= FEW && (end - 1) / SECTION == first / SECTION)
}

/// Sorts `runs` and joins those that overlap, adjoin, or are `near`: the end of one, and where another begins behind it.
fn join_where(mut runs: Vec<Run>, near: impl Fn(u64, u64) -> bool) -> Vec<Run> {
    runs.sort_unstable();
    runs.dedup_by(|next, last| {
        let joins = next.first <= last.end() || near(last.end(), next.first);
        if joins {
            last.count = last.count.max(next.end() - last.first);
        }
        joins
    });
    runs
}

#[cfg(test)]
mod tests {
    use super::{Run, joined, merged};

    #[test]
    fn runs_are_joined_over_small_gaps_but_not_from_block_to_block() {
        let run = |first, count| Run { first, count };
        let runs =
            vec![run(20, 4), run(10, 5), run(12, 1), run(17, 2), run(510, 2), run(513, 1), run(512, 1)];
        assert_eq!(merged(runs.clone()), [run(10, 5), run(17, 2), run(20, 4), run(510, 4)]);
        assert_eq!(joined(runs), [run(10, 14), run(510, 4)]);
        assert_eq!(joined(vec![run(510, 1), run(513, 1)]), [run(510, 1), run(513, 1)]);
        assert_eq!(joined(Vec::new()), []);
    }
}
