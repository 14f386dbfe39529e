//! Every `struct page` of the machine in one go, as it lies in memory: no rows, no processes, no copies.

use std::fs;
use std::ops::ControlFlow;

use mapcount_model::field::Field;

use crate::bpf::Bpf;
use crate::btf::Btf;
use crate::fields::Fields;
use crate::kcore::Kcore;
use crate::memory::{Memory, Span};
use crate::objects::Objects;
use crate::observer::Choice;
use crate::{Unavailable, vmemmap};

/// The pages of this machine's memory.
pub struct Census {
    memory: Box<dyn Memory>,
    fields: Fields,
    base: u64,
    ranges: Vec<(u64, u64)>,
}

/// What a pass over all pages came to.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Passed {
    /// Pages that were shown.
    pub pages: u64,
    /// Pages of the machine's memory whose `struct page` could not be read.
    pub unreadable: u64,
}

/// The `struct page`s of consecutive frames.
#[derive(Clone, Copy)]
pub struct Pages<'a> {
    first: u64,
    words: &'a [u64],
    fields: &'a Fields,
}

impl Census {
    /// Opens the kernel's memory.
    ///
    /// # Errors
    /// If `choice` cannot read it; [`Choice::Proc`] never can.
    pub fn open(choice: Choice) -> Result<Census, Unavailable> {
        let btf = Btf::live()?;
        let fields = Fields::of(&btf)?;
        let (mut memory, bases): (Box<dyn Memory>, Vec<u64>) = match choice {
            Choice::Proc => {
                return Err(Unavailable::new(
                    "a census needs the words of struct page, which /proc does not show",
                    "use --observer bpf or kcore",
                ));
            }
            Choice::Bpf => (Box::new(Bpf::load()?), Vec::new()),
            Choice::Kcore => {
                let mut kcore = Kcore::open(&btf)?;
                let bases = kcore.bases(&fields);
                (Box::new(kcore), bases)
            }
            Choice::Auto => {
                return Census::open(Choice::Bpf).or_else(|why| Census::open(Choice::Kcore).map_err(|_| why));
            }
        };
        let base = vmemmap::find(&mut *memory, &fields, Objects::of(&btf).as_ref(), &bases)?;
        Ok(Census { memory, fields, base, ranges: memory_ranges()? })
    }

    /// The machine's memory: first frame and number of pages of each range.
    pub fn ranges(&self) -> &[(u64, u64)] {
        &self.ranges
    }

    /// Shows `visit` every page of the machine's memory, thousands at a time and in order. Large folios up to
    /// order 10 are never cut in two. Nothing holds still meanwhile: pages come and go.
    ///
    /// # Errors
    /// Where the kernel does not let it read any more.
    pub fn each(
        &mut self,
        mut visit: impl FnMut(Pages<'_>) -> ControlFlow<()>,
    ) -> Result<Passed, Unavailable> {
        let mut passed = Passed::default();
        let most = (self.memory.chunk_words() / self.fields.page_words) as u64;
        // A power of two, so that pieces begin where folios may.
        let most = if most.is_power_of_two() { most } else { most.next_power_of_two() / 2 };
        for index in 0..self.ranges.len() {
            let (mut frame, pages) = self.ranges[index];
            let end = frame + pages;
            while frame < end {
                let count = (most - frame % most).min(end - frame);
                if self.piece(frame, count, &mut passed, &mut visit)?.is_break() {
                    return Ok(passed);
                }
                frame += count;
            }
        }
        Ok(passed)
    }

    /// Shows `count` pages; where they cannot be read at once, their halves.
    fn piece(
        &mut self,
        first: u64,
        count: u64,
        passed: &mut Passed,
        visit: &mut dyn FnMut(Pages<'_>) -> ControlFlow<()>,
    ) -> Result<ControlFlow<()>, Unavailable> {
        let fields = &self.fields;
        let address = self.base.wrapping_add(first.wrapping_mul(fields.page_bytes()));
        let words = count as usize * fields.page_words;
        let mut seen = None;
        self.memory.look(Span { address, words }, &mut |words| {
            seen = words.map(|words| visit(Pages { first, words, fields }));
        })?;
        match seen {
            Some(flow) => {
                passed.pages += count;
                Ok(flow)
            }
            None if count > LEAST => {
                let half = (count / 2).next_multiple_of(LEAST);
                if self.piece(first, half, passed, visit)?.is_break() {
                    return Ok(ControlFlow::Break(()));
                }
                self.piece(first + half, count - half, passed, visit)
            }
            None => {
                passed.unreadable += count;
                Ok(ControlFlow::Continue(()))
            }
        }
    }
}

/// Pages whose `struct page`s are there or not there together: they fill a page themselves.
const LEAST: u64 = 64;

impl<'a> Pages<'a> {
    /// The first frame.
    pub fn first(&self) -> u64 {
        self.first
    }

    /// How many pages.
    pub fn len(&self) -> usize {
        self.words.len() / self.fields.page_words
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.words.is_empty()
    }

    /// The words of page `index` and of those behind it.
    pub fn words_from(&self, index: usize) -> &'a [u64] {
        self.words.get(index * self.fields.page_words..).unwrap_or(&[])
    }

    /// The words of all pages, one page behind the other.
    pub fn words(&self) -> &'a [u64] {
        self.words
    }

    /// How many words a `struct page` has.
    pub fn page_words(&self) -> usize {
        self.fields.page_words
    }

    /// Whether page `index` is a tail of a compound page.
    pub fn is_tail(&self, index: usize) -> bool {
        self.words_from(index)
            .get(self.fields.tail.word)
            .is_some_and(|_| self.fields.tail.is_set(self.words_from(index)))
    }

    /// Whether page `index` is the head of a compound page.
    pub fn is_head(&self, index: usize) -> bool {
        let words = self.words_from(index);
        words.len() >= self.fields.page_words
            && self.fields.head.is_set(words)
            && !self.fields.tail.is_set(words)
    }

    /// The order of the compound page whose head is page `index`; `None` of another page, or if its order is not
    /// within these pages.
    pub fn order(&self, index: usize) -> Option<u8> {
        let words = self.words_from(index);
        let is_there = words.len() > self.fields.order.word;
        (is_there && self.is_head(index)).then(|| self.fields.order.get(words) as u8)
    }

    /// The raw value of a field: of page `index`, or of the large folio whose head that is. `None` where the
    /// kernel has no such field or its word is not within these pages. Of lists (`deferred`) it is the word that
    /// leads to the next one.
    pub fn get(&self, field: Field, index: usize) -> Option<i64> {
        let slot = self.fields.slot(field)?;
        let words = self.words_from(index);
        (slot.word < words.len()).then(|| slot.get(words))
    }
}

/// The machine's memory by /proc/iomem.
fn memory_ranges() -> Result<Vec<(u64, u64)>, Unavailable> {
    const PATH: &str = "/proc/iomem";
    let text = fs::read_to_string(PATH)
        .map_err(|error| Unavailable::new(format!("{PATH}: {error}"), "mount procfs on /proc"))?;
    let ranges = parse(&text);
    if ranges.is_empty() {
        return Err(Unavailable::new(format!("{PATH} shows no memory"), "run as root (CAP_SYS_ADMIN)"));
    }
    Ok(ranges)
}

/// Whole pages of the lines `00100000-bfffffff : System RAM`.
fn parse(text: &str) -> Vec<(u64, u64)> {
    let page = vmemmap::PAGE;
    let range = |line: &str| {
        let (range, what) = line.split_once(" : ")?;
        let (start, last) = range.trim().split_once('-')?;
        let start = u64::from_str_radix(start, 16).ok()?.div_ceil(page);
        let end = u64::from_str_radix(last, 16).ok()?.checked_add(1)? / page;
        (what == "System RAM" && start < end).then_some((start, end - start))
    };
    text.lines().filter_map(range).collect()
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn memory_is_in_whole_pages_and_nothing_else_is_memory() {
        let text = "00000000-00000fff : Reserved\n00001000-0009fbff : System RAM\n\
            00100000-bfffffff : System RAM\n  01000000-0220bb07 : Kernel code\nbad\n0-x : System RAM\n";
        assert_eq!(parse(text), [(1, 0x9e), (0x100, 0xbff00)]);
        // Without CAP_SYS_ADMIN all addresses are 0.
        assert_eq!(parse("00000000-00000000 : System RAM\n"), []);
    }
}
