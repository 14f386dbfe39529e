//! The kernel's own memory, read-only.

use std::ops::Range;

use crate::Unavailable;

/// A range of kernel addresses to read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Span {
    /// The first address.
    pub(crate) address: u64,
    /// How many words of 8 bytes.
    pub(crate) words: usize,
}

/// Opens kernel memory.
pub(crate) type Opener = fn() -> Result<Box<dyn Memory>, Unavailable>;

/// A way to read kernel memory.
pub(crate) trait Memory: Send {
    /// Appends the words of all `spans` to `into`, one span behind the other, and to `readable` for each span
    /// whether it could be read; one that could not is zeroes.
    fn read(
        &mut self,
        spans: &[Span],
        into: &mut Vec<u64>,
        readable: &mut Vec<bool>,
    ) -> Result<(), Unavailable>;

    /// The words that a call reads best at once.
    fn chunk_words(&self) -> usize;

    /// Shows `visit` the words from `address` on, without a copy where that can be done; `None` if they cannot
    /// be read. `words` is at most [`Memory::chunk_words`].
    fn look(&mut self, span: Span, visit: &mut dyn FnMut(Option<&[u64]>)) -> Result<(), Unavailable>;

    /// Shows `visit` the words of `window`, at most [`Memory::chunk_words`], when `parts` of it have been read: ranges of
    /// its words, 32 at most. Elsewhere stands what the calls before this one have left, or what is there. `None` if a
    /// part cannot be read.
    fn look_at_parts(
        &mut self,
        window: Span,
        _parts: &[Range<usize>],
        visit: &mut dyn FnMut(Option<&[u64]>),
    ) -> Result<(), Unavailable> {
        self.look(window, visit)
    }

    /// Whether [`Memory::look_at_parts`] reads no more than the parts.
    fn reads_parts(&self) -> bool {
        false
    }

    /// How another thread gets a way of its own to the same memory; `None` if there is none.
    fn twin(&self) -> Option<Opener> {
        None
    }

    /// The `task_struct` of this thread or of its process.
    fn task(&mut self) -> Result<Option<u64>, Unavailable>;
}

/// The word at `address`.
pub(crate) fn word(memory: &mut dyn Memory, address: u64) -> Result<Option<u64>, Unavailable> {
    let mut found = None;
    // Members need not be aligned to words.
    let inside = (address % 8) as u32 * 8;
    let words = if inside == 0 { 1 } else { 2 };
    memory.look(Span { address: address - address % 8, words }, &mut |seen| {
        found = seen.map(|seen| match seen {
            [low, high, ..] => low >> inside | high << (64 - inside),
            [one] => *one,
            [] => 0,
        });
    })?;
    Ok(found)
}
