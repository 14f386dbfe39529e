//! All `struct page`s of the machine, a chunk at a time.

use std::ops::Range;

use mapcount_model::profile::Profile;
use mapcount_model::snapshot::Snapshot;
use mapcount_model::units::{Folio, Order, Pfn};
use mapcount_model::verdict::Subject;

use super::extent::BLOCK;
use super::marks::{Head, Marks};
use super::zones::{Zone, spans, zones};
use crate::Unavailable;
use crate::memory::{Memory, Span};

/// Copied `struct page`s of consecutive frames.
#[derive(Clone, Copy)]
pub(crate) struct Chunk<'w> {
    /// The first frame.
    pub(crate) first: u64,
    /// Their words.
    pub(crate) words: &'w [u64],
    /// Where the first of them stands in the kernel.
    pub(crate) address: u64,
}

impl<'w> Chunk<'w> {
    /// How many frames.
    pub(crate) fn frames(&self, marks: &Marks) -> u64 {
        (self.words.len() / marks.page_words) as u64
    }

    /// The words from a frame of the chunk on.
    #[inline]
    pub(crate) fn from(&self, marks: &Marks, frame: u64) -> &'w [u64] {
        &self.words[(frame - self.first) as usize * marks.page_words..]
    }

    /// The folio that starts at `frame` with its counters, for the model's queries; `None` for what no process can
    /// map. Counters behind the chunk's end read as 0.
    pub(crate) fn ask<T>(
        &self,
        marks: &Marks,
        profile: &Profile,
        (frame, head): (u64, &Head),
        question: impl FnOnce(Subject<'_>, &Snapshot<'_>) -> T,
    ) -> Option<T> {
        let kind = head.used.kind()?;
        let counters = Snapshot::new(&marks.places, self.words, self.address);
        let at = Pfn(u32::try_from(frame - self.first).ok()?);
        let subject = Subject {
            scheme: profile.scheme,
            policy: &profile.policy,
            counters: &counters,
            folio: Folio { head: at, order: Order(head.order), kind },
            state: head.state,
        };
        Some(question(subject, &counters))
    }
}

/// The running kernel's `struct page`s.
pub(crate) struct Frames {
    /// How its memory is read.
    pub(crate) memory: Box<dyn Memory>,
    /// How its words are understood.
    pub(crate) marks: Marks,
    /// The address of the `struct page` of frame 0.
    pub(crate) vmemmap: u64,
    /// Which frames there are.
    pub(crate) zones: Vec<Zone>,
}

/// Frames of a part of a [`BLOCK`], of which there are 64: their `struct page`s fill a page or two.
pub(crate) const PART: u64 = BLOCK / 64;

/// Frames below which an unreadable chunk is not divided any more: the pages of `struct page`s themselves.
const SMALLEST: u64 = 64;

impl Frames {
    /// With the frames that /proc/zoneinfo names.
    ///
    /// # Errors
    /// If it names none.
    pub(crate) fn new(memory: Box<dyn Memory>, marks: Marks, vmemmap: u64) -> Result<Frames, Unavailable> {
        Ok(Frames { memory, marks, vmemmap, zones: zones()? })
    }

    /// Frames of a chunk: a power of two.
    pub(crate) fn chunk_frames(&self) -> u64 {
        let most = (self.memory.chunk_words() / self.marks.page_words).max(1) as u64;
        1 << most.ilog2()
    }

    /// The address of a frame's `struct page`.
    pub(crate) fn address(&self, frame: u64) -> u64 {
        self.vmemmap.wrapping_add(frame.wrapping_mul(self.marks.page_words as u64 * 8))
    }

    /// The frame whose `struct page` stands at `address`.
    pub(crate) fn frame_at(&self, address: u64) -> u64 {
        address.wrapping_sub(self.vmemmap) / (self.marks.page_words as u64 * 8)
    }

    /// How another thread reads the same frames at the same time; `None` where that is of no use.
    pub(crate) fn twin(&self) -> Option<impl FnOnce() -> Result<Frames, Unavailable> + Send + use<>> {
        if std::thread::available_parallelism().is_ok_and(|processors| processors.get() < 2) {
            return None;
        }
        let open = self.memory.twin()?;
        let (marks, vmemmap, zones) = (self.marks.clone(), self.vmemmap, self.zones.clone());
        Some(move || Ok(Frames { memory: open()?, marks, vmemmap, zones }))
    }

    /// The chunks that all frames of the machine stand in, by their first frames, which are multiples of their size.
    pub(crate) fn chunks(&self) -> Vec<u64> {
        let step = self.chunk_frames();
        let spans = spans(&self.zones, step);
        spans.into_iter().flat_map(|span| span.step_by(step as usize)).collect()
    }

    /// Shows `visit` all frames of the machine, chunk by chunk.
    ///
    /// # Errors
    /// If the kernel does not let it look any more.
    pub(crate) fn each_chunk(&mut self, visit: &mut dyn FnMut(&Marks, Chunk<'_>)) -> Result<(), Unavailable> {
        let step = self.chunk_frames();
        self.chunks().into_iter().try_for_each(|first| self.visit(first..first + step, visit))
    }

    /// Shows `visit` some frames; those that cannot be read (holes) are left out, and the rest comes in smaller chunks
    /// then.
    pub(crate) fn visit(
        &mut self,
        frames: Range<u64>,
        visit: &mut dyn FnMut(&Marks, Chunk<'_>),
    ) -> Result<(), Unavailable> {
        let count = frames.end - frames.start;
        let address = self.address(frames.start);
        let span = Span { address, words: count as usize * self.marks.page_words };
        let Frames { memory, marks, .. } = self;
        let mut seen = false;
        memory.look(span, &mut |words| {
            if let Some(words) = words {
                seen = true;
                visit(marks, Chunk { first: frames.start, words, address });
            }
        })?;
        if !seen && count > SMALLEST && !self.is_hole(&frames)? {
            let middle = frames.start + count / 2;
            self.visit(frames.start..middle, visit)?;
            self.visit(middle..frames.end, visit)?;
        }
        Ok(())
    }

    /// Shows `visit` the block of frames from `first` on when those of its parts that have a bit in `parts` have been read.
    /// In the others stands what the calls before have left there. False, and `visit` was not called, where a part cannot
    /// be read, or this kernel's `struct page`s are too large for a block.
    pub(crate) fn visit_parts(
        &mut self,
        first: u64,
        parts: u64,
        visit: &mut dyn FnMut(&Marks, Chunk<'_>),
    ) -> Result<bool, Unavailable> {
        if self.chunk_frames() < BLOCK {
            return Ok(false);
        }
        let address = self.address(first);
        let Frames { memory, marks, .. } = self;
        let window = Span { address, words: BLOCK as usize * marks.page_words };
        let words = PART as usize * marks.page_words;
        let mut runs: [Range<usize>; 32] = std::array::from_fn(|_| 0..0);
        let mut count = 0;
        let mut bit = 0;
        while bit < 64 && parts >> bit != 0 {
            let from = bit + (parts >> bit).trailing_zeros();
            let to = from + (parts >> from).trailing_ones();
            runs[count] = from as usize * words..to as usize * words;
            count += 1;
            bit = to;
        }
        let mut seen = false;
        memory.look_at_parts(window, &runs[..count], &mut |words| {
            if let Some(words) = words {
                seen = true;
                visit(marks, Chunk { first, words, address });
            }
        })?;
        Ok(seen)
    }

    /// Whether neither the first nor the last of some frames has a `struct page`: memory comes and goes in sections of
    /// 128 MiB, which are larger than what is read at once.
    fn is_hole(&mut self, frames: &Range<u64>) -> Result<bool, Unavailable> {
        let mut readable = false;
        for frame in [frames.start, frames.end - 1] {
            let span = Span { address: self.address(frame), words: 1 };
            self.memory.look(span, &mut |words| readable |= words.is_some())?;
        }
        Ok(!readable)
    }

    /// Whether no zone spans a frame.
    pub(crate) fn lacks(&self, frame: u64) -> bool {
        !self.zones.iter().any(|zone| zone.frames.contains(&frame))
    }

    /// Behind the last frame.
    pub(crate) fn end(&self) -> u64 {
        self.zones.iter().map(|zone| zone.frames.end).max().unwrap_or(0)
    }
}
