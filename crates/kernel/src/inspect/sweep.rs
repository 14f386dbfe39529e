//! A pass over all memory for the census: by two threads, and without the `struct page`s that say nothing.
//!
//! What matters of a folio of 512 pages or more stands in its first few `struct page`s; the others, 32 KiB and more of
//! them, are most of what there would be to copy where memory is free or in huge pages. So a glance at the first two of
//! every 512 pages tells beforehand what can be left out. Memory changes meanwhile: what has been read has to say the same
//! as the glance, else all of it is read.

use std::sync::atomic::{AtomicUsize, Ordering};

use mapcount_model::field::Field;
use mapcount_model::profile::Profile;

use super::census::{Census, Seen, count, within};
use super::extent::BLOCK;
use super::frames::{Chunk, Frames, PART};
use super::marks::{Marks, Plains};
use super::zones::{Zone, node_of};
use crate::Unavailable;
use crate::memory::Span;

/// A census, and the first frames of those folios whose counters contradicted each other.
pub(super) type Counted = (Census, Vec<u64>);

/// Chunks that a thread takes at a time: one call tells what of them has to be read.
const AT_A_TIME: usize = 8;

/// Frames of which the first two are glanced at.
const STRIDE: u64 = 512;

/// All parts of a block of frames.
const ALL: u64 = u64::MAX;

/// Which folios are counted.
pub(super) struct Sweep<'a, B> {
    profile: &'a Profile,
    /// Whether these are all.
    all: bool,
    /// Which of them, by the words of their first page.
    belongs: &'a B,
    /// The first frames of all chunks.
    chunks: Vec<u64>,
    /// The place of the first chunk that no thread has taken yet.
    next: AtomicUsize,
}

impl<'a, B: Fn(&Marks, &[u64]) -> bool + Sync> Sweep<'a, B> {
    /// A pass that counts `all` folios, or those that `belongs` picks.
    pub(super) fn new(frames: &Frames, profile: &'a Profile, all: bool, belongs: &'a B) -> Sweep<'a, B> {
        Sweep { profile, all, belongs, chunks: frames.chunks(), next: AtomicUsize::new(0) }
    }

    /// Counts by two threads, where there are two processors and the kernel can be read twice at a time. Each takes the
    /// next chunks that are left, so that a busy processor holds up neither.
    pub(super) fn run(&self, frames: &mut Frames) -> Result<Counted, Unavailable> {
        let Some(twin) = frames.twin() else { return self.count(frames) };
        std::thread::scope(|scope| {
            let other = scope.spawn(|| match twin() {
                Ok(mut twin) => self.count(&mut twin),
                // Then the first thread counts all.
                Err(_) => Ok(Counted::default()),
            });
            let (mut census, mut again) = self.count(frames)?;
            let (more, torn) = other.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
            census.add(&more);
            again.extend(torn);
            Ok((census, again))
        })
    }

    /// Counts the folios of chunks until none is left.
    fn count(&self, frames: &mut Frames) -> Result<Counted, Unavailable> {
        let mut counted = Counted::default();
        let zones = frames.zones.clone();
        let step = frames.chunk_frames();
        let glances = step == BLOCK && frames.memory.reads_parts();
        loop {
            let from = self.next.fetch_add(AT_A_TIME, Ordering::Relaxed);
            let Some(chunks) = self.chunks.get(from..) else { return Ok(counted) };
            let chunks = &chunks[..chunks.len().min(AT_A_TIME)];
            let needed = if glances { self.glance(frames, chunks)? } else { [ALL; AT_A_TIME] };
            for (first, parts) in chunks.iter().zip(needed) {
                let mut is_counted = false;
                if parts != ALL {
                    frames.visit_parts(*first, parts, &mut |marks, chunk| {
                        let still = self.needed(marks, *first, |frame| chunk.from(marks, frame));
                        is_counted = still & !parts == 0;
                        if is_counted {
                            self.count_chunk(marks, &chunk, &zones, &mut counted);
                        }
                    })?;
                }
                if !is_counted {
                    frames.visit(*first..*first + step, &mut |marks, chunk| {
                        self.count_chunk(marks, &chunk, &zones, &mut counted);
                    })?;
                }
            }
        }
    }

    /// Which parts of some blocks of frames have to be read, by the first pages of every 512.
    fn glance(&self, frames: &mut Frames, blocks: &[u64]) -> Result<[u64; AT_A_TIME], Unavailable> {
        let pages = 2 * frames.marks.page_words;
        let address = |frame| frames.address(frame);
        let starts = blocks.iter().flat_map(|first| (*first..first + BLOCK).step_by(STRIDE as usize));
        let spans: Vec<Span> = starts.map(|frame| Span { address: address(frame), words: pages }).collect();
        let (mut words, mut readable) = (Vec::with_capacity(spans.len() * pages), Vec::new());
        frames.memory.read(&spans, &mut words, &mut readable)?;
        let strides = (BLOCK / STRIDE) as usize;
        let mut needed = [ALL; AT_A_TIME];
        let seen = words.chunks(strides * pages).zip(readable.chunks(strides));
        for ((parts, first), (words, readable)) in needed.iter_mut().zip(blocks).zip(seen) {
            if readable.iter().all(|is| *is) {
                let at = |frame: u64| ((frame - first) / STRIDE) as usize * pages;
                *parts = self.needed(&frames.marks, *first, |frame| &words[at(frame)..]);
            }
        }
        Ok(needed)
    }

    /// Which parts of the block of frames from `first` on have to be read, where `words_from` has the words of a frame, of
    /// every 512th of them.
    fn needed<'w>(&self, marks: &Marks, first: u64, words_from: impl Fn(u64) -> &'w [u64]) -> u64 {
        // The counts of each page are of no interest where the folio has one of all of its entries.
        let says_all = self.profile.scheme.info().fields.contains(&Field::LargeMapcount);
        let mut needed = ALL;
        let mut frame = first;
        while frame < first + BLOCK {
            let head = marks.head(words_from(frame)).map(|head| within(head, frame));
            let large = head.filter(|head| head.pages() >= STRIDE);
            match large {
                Some(head) if says_all || head.used.kind().is_none() => {
                    let end = (frame + head.pages()).min(first + BLOCK);
                    let tails = (frame - first) / PART + 1..(end - first) / PART;
                    needed &= !tails.fold(0, |bits, part| bits | 1 << part);
                    frame = end;
                }
                _ => frame += STRIDE,
            }
        }
        needed
    }

    fn count_chunk(&self, marks: &Marks, chunk: &Chunk<'_>, zones: &[Zone], (census, again): &mut Counted) {
        let end = chunk.first + chunk.frames(marks);
        // Zones start and end at multiples of a chunk but for the first megabytes.
        let number = node_of(zones, chunk.first).or_else(|| node_of(zones, end - 1)).unwrap_or(0);
        let node = census.node(number);
        census.frames += end - chunk.first;
        let mut plains = Plains::default();
        let mut at = chunk.first;
        while at < end {
            if self.all {
                at = plains.pass(marks, chunk, at);
                if at >= end {
                    break;
                }
            }
            let words = chunk.from(marks, at);
            let Some(head) = marks.head(words) else {
                at += 1;
                continue;
            };
            let head = within(head, at);
            if (self.belongs)(marks, words)
                && count(marks, self.profile, chunk, at, &head, census.at(node, &head)) == Seen::Contradicts
            {
                again.push(at);
            }
            at += head.pages();
        }
        census.add_plain(node, &plains);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use mapcount_model::profile::Profile;

    use super::{ALL, BLOCK, Sweep};
    use crate::btf::Btf;
    use crate::inspect::marks::Marks;
    use crate::require;

    /// The first two pages of a block of the page allocator, where types are bytes (6.12 on).
    fn free(order: u64) -> [u64; 16] {
        let mut words = [0; 16];
        (words[5], words[6]) = (order, 0xf000_0000);
        words
    }

    #[test]
    fn tails_of_large_folios_and_of_free_blocks_need_not_be_read() {
        let Some(btf) = require::or_skip("sweep", Btf::live()) else { return };
        let profile = Profile::resolve("6.18").expect("modelled");
        let marks = Marks::of(&btf, &profile.policy).expect("a struct page");
        if btf.enumerator("pagetype", "PGTY_buddy") != Some(0xf0) || marks.page_words != 8 {
            return eprintln!("sweep: skipped: this kernel marks free blocks in another way");
        }
        let folio = {
            let mut words = [0; 16];
            // A file's: PG_head, a mapping, an order.
            (words[0], words[3], words[6]) = (marks.flags.head, 0xffff_8880_0000_1000, 0x200_ffff_ffff);
            words[8] = 9;
            words
        };
        let needed = |release: &str, first: u64, frames: [[u64; 16]; 8]| {
            let profile = Profile::resolve(release).expect("modelled");
            let belongs = |_: &Marks, _: &[u64]| true;
            let next = AtomicUsize::new(0);
            let sweep = Sweep { profile: &profile, all: true, belongs: &belongs, chunks: Vec::new(), next };
            sweep.needed(&marks, first, |frame| &frames[((frame - first) / 512) as usize])
        };
        let page = [0; 16];
        assert_eq!(needed("6.18", 0, [page; 8]), ALL);
        // Of each stride eight parts, of which the first one is read.
        assert_eq!(needed("6.18", 0, [free(9); 8]), 0x0101_0101_0101_0101);
        assert_eq!(needed("6.18", 7 * BLOCK, [free(10); 8]), 0x0001_0001_0001_0001);
        assert_eq!(needed("6.18", 0, [free(8); 8]), ALL);
        let mixed = [page, free(9), free(10), free(9), page, page, free(10), folio];
        // The third and the seventh have what follows them in it.
        assert_eq!(needed("6.18", 0, mixed), 0x0001_ffff_0001_01ff);
        // What begins where it cannot was read in the middle of a change.
        assert_eq!(needed("6.18", 0, [page, free(10), page, page, page, page, page, page]), ALL);
        let folios = [page, folio, page, page, page, page, page, page];
        assert_eq!(needed("6.18", 0, folios), 0xffff_ffff_ffff_01ff);
        // Up to 6.9 the count of all entries is that of each page.
        assert_eq!(needed("6.6", 0, folios), ALL);
    }
}
