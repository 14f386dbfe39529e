//! The `struct page`s of some runs of frames, as they were at a moment.

use super::super::frames::{Run, joined};
use crate::Unavailable;
use crate::fields::Fields;
use crate::memory::{Memory, Span};

/// The words of runs of `struct page`s. What could not be read is zeroes.
#[derive(Default)]
pub(super) struct Snapshot {
    runs: Vec<Run>,
    /// Where the words of each run start.
    starts: Vec<usize>,
    words: Vec<u64>,
    page_words: usize,
    spans: Vec<Span>,
    readable: Vec<bool>,
}

impl Snapshot {
    /// Reads `runs`.
    pub(super) fn read(
        &mut self,
        runs: Vec<Run>,
        memory: &mut dyn Memory,
        base: u64,
        fields: &Fields,
    ) -> Result<(), Unavailable> {
        self.runs = joined(runs);
        self.page_words = fields.page_words;
        self.starts.clear();
        self.spans.clear();
        let mut start = 0;
        for run in &self.runs {
            let words = run.count as usize * self.page_words;
            self.starts.push(start);
            let address = base.wrapping_add(run.first.wrapping_mul(fields.page_bytes()));
            self.spans.push(Span { address, words });
            start += words;
        }
        self.refresh(memory)
    }

    /// Reads the same runs once more.
    pub(super) fn refresh(&mut self, memory: &mut dyn Memory) -> Result<(), Unavailable> {
        self.words.clear();
        self.readable.clear();
        memory.read(&self.spans, &mut self.words, &mut self.readable)
    }

    /// What was read.
    pub(super) fn runs(&self) -> &[Run] {
        &self.runs
    }

    /// All words, run behind run.
    pub(super) fn all(&self) -> &[u64] {
        &self.words
    }

    /// Where the words of `run` are in [`Snapshot::all`], if all of it was read.
    pub(super) fn place(&self, run: Run) -> Option<std::ops::Range<usize>> {
        let index = self.runs.partition_point(|known| known.first <= run.first).checked_sub(1)?;
        if run.end() > self.runs[index].end() {
            return None;
        }
        let start = self.starts[index] + (run.first - self.runs[index].first) as usize * self.page_words;
        Some(start..start + run.count as usize * self.page_words)
    }

    /// The words of `run`, if all of it was read.
    pub(super) fn words(&self, run: Run) -> Option<&[u64]> {
        self.words.get(self.place(run)?)
    }
}
