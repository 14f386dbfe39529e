//! Frames by /proc/kpageflags and /proc/kpagecount alone: no counters, but what a folio is and how often its
//! pages are mapped.

use std::fs::File;

use mapcount_model::units::Kind;
use mapcount_script::trace::{FolioRow, Rle};

use super::frames::{Block, Frames, GREATEST_ORDER, Owners, Run, joined};
use crate::Unavailable;
use crate::procfs::{KPAGECOUNT, KPAGEFLAGS, Words, kpf, true_flags};

/// The flags that are told; others change all the time.
const TOLD: u64 =
    kpf::ANON | kpf::SWAPCACHE | kpf::SWAPBACKED | kpf::HEAD | kpf::TAIL | kpf::HUGE | kpf::KSM | kpf::ZERO;

/// Frames by files of /proc.
pub(crate) struct PageFiles {
    counts: Words,
    /// The flags that are believed, of those that are told.
    known: u64,
    flags: Words,
    runs: Vec<Run>,
    /// Where the pages of each run start in what follows.
    starts: Vec<usize>,
    /// The flags and the counts of the pages of all runs.
    flagged: Vec<u64>,
    counted: Vec<u64>,
    folios: Vec<Block>,
}

impl PageFiles {
    /// Opens them.
    pub(crate) fn open() -> Result<PageFiles, Unavailable> {
        // Frames are zero in everybody's pagemap but root's.
        let mut own = Words::need("/proc/self/pagemap")?;
        let mut words = Vec::new();
        let here = &raw const own;
        own.read(here.addr() as u64 / crate::vmemmap::PAGE, 1, &mut words)?;
        if words[0] & crate::vmemmap::FRAME_BITS == 0 {
            return Err(Unavailable::new(
                "/proc/self/pagemap does not tell frames",
                "run as root (CAP_SYS_ADMIN)",
            ));
        }
        Ok(PageFiles {
            counts: Words::need(KPAGECOUNT)?,
            flags: Words::need(KPAGEFLAGS)?,
            known: TOLD & true_flags(),
            runs: Vec::new(),
            starts: Vec::new(),
            flagged: Vec::new(),
            counted: Vec::new(),
            folios: Vec::new(),
        })
    }

    fn read(&mut self) -> Result<(), Unavailable> {
        self.flagged.clear();
        self.counted.clear();
        self.starts.clear();
        for run in &self.runs {
            self.starts.push(self.flagged.len());
            self.flags.read(run.first, run.count, &mut self.flagged)?;
            self.counts.read(run.first, run.count, &mut self.counted)?;
        }
        self.flagged.iter_mut().for_each(|flags| *flags &= self.known);
        Ok(())
    }

    /// Where the pages from `frame` on are, and how many were read.
    fn place(&self, frame: u64) -> Option<(usize, u64)> {
        let index = self.runs.partition_point(|run| run.first <= frame).checked_sub(1)?;
        let run = self.runs[index];
        (frame < run.end()).then(|| (self.starts[index] + (frame - run.first) as usize, run.end() - frame))
    }

    fn flags(&self, frame: u64) -> Option<u64> {
        self.place(frame).map(|(at, _)| self.flagged[at])
    }

    /// The folio whose first page is `head`, by the tails behind it; `Err` if more has to be read.
    fn large(&self, head: u64) -> Result<Option<Block>, Run> {
        let (at, left) = self.place(head).ok_or(Run { first: head, count: 1 })?;
        if self.flagged[at] & kpf::HEAD == 0 {
            return Ok(None);
        }
        let tails =
            self.flagged[at + 1..at + left as usize].iter().take_while(|flags| **flags & kpf::TAIL != 0);
        let pages = 1 + tails.count() as u64;
        if pages == left {
            // It may go on behind what was read: up to what a PMD maps, then twice as much.
            return Err(Run { first: head, count: (left * 2).max(512) + 1 });
        }
        let order = pages.trailing_zeros() as u8;
        Ok((pages.is_power_of_two() && order <= GREATEST_ORDER).then_some(Block { head, order }))
    }

    fn enclosing(&self, frame: u64) -> Result<Block, Run> {
        let small = Block { head: frame, order: 0 };
        let flags = self.flags(frame).ok_or(Run { first: frame, count: 1 })?;
        if flags & kpf::TAIL == 0 {
            return Ok(self.large(frame)?.unwrap_or(small));
        }
        for order in 1..=GREATEST_ORDER {
            let head = frame >> order << order;
            match self.large(head)? {
                Some(folio) if folio.end() > frame => return Ok(folio),
                // A head of another folio, or neither head nor tail: the folio cannot start further down.
                _ if self.flags(head).is_some_and(|flags| flags & kpf::TAIL == 0) => break,
                _ => {}
            }
        }
        Ok(small)
    }

    fn kind(flags: u64) -> Kind {
        let is = |flag| flags & flag != 0;
        match () {
            () if is(kpf::ZERO) => Kind::Zero,
            () if is(kpf::HUGE) => Kind::Hugetlb,
            () if is(kpf::KSM) => Kind::Ksm,
            () if is(kpf::ANON) => Kind::Anon,
            () if is(kpf::SWAPBACKED) => Kind::Shmem,
            () => Kind::File,
        }
    }
}

impl Frames for PageFiles {
    fn name(&self) -> &'static str {
        "proc"
    }

    fn look(&mut self, runs: &[Run]) -> Result<(), Unavailable> {
        self.runs = joined(runs.to_vec());
        for _ in 0..48 {
            self.read()?;
            self.folios.clear();
            let mut missing = Vec::new();
            for run in runs {
                let mut frame = run.first;
                while frame < run.end() {
                    match self.enclosing(frame) {
                        Ok(folio) => {
                            self.folios.push(folio);
                            frame = folio.end();
                        }
                        Err(run) => {
                            missing.push(run);
                            frame += 1;
                        }
                    }
                }
            }
            if missing.is_empty() {
                break;
            }
            missing.extend_from_slice(&self.runs);
            self.runs = joined(missing);
        }
        self.folios.sort_unstable();
        self.folios.dedup();
        Ok(())
    }

    fn look_again(&mut self) -> Result<bool, Unavailable> {
        let before = (self.flagged.clone(), self.counted.clone());
        self.read()?;
        Ok(before.0 == self.flagged && before.1 == self.counted)
    }

    fn folio(&self, frame: u64) -> Block {
        let behind = self.folios.partition_point(|folio| folio.head <= frame);
        let found = self.folios[..behind].last().filter(|folio| folio.end() > frame);
        found.copied().unwrap_or(Block { head: frame, order: 0 })
    }

    fn is_alike(&self, folio: Block, like: Block) -> bool {
        let (Some((a, _)), Some((b, _))) = (self.place(folio.head), self.place(like.head)) else {
            return false;
        };
        folio.order == 0 && self.flagged[a] == self.flagged[b] && self.counted[a] == self.counted[b]
    }

    fn row(&self, folio: Block, id: u64, _owners: &Owners) -> FolioRow {
        let mut row = FolioRow::new(id, folio.order);
        let Some((at, _)) = self.place(folio.head) else { return row };
        let flags = self.flagged[at];
        row.kind = Some(PageFiles::kind(flags));
        row.swapcache = Some(flags & kpf::SWAPCACHE != 0 && flags & kpf::SWAPBACKED != 0);
        if let Some(counts) = self.counted.get(at..at + folio.pages() as usize) {
            let mut list = Rle::new();
            counts.iter().for_each(|count| list.push_run(1, count.cast_signed()));
            row.kpagecount = Some(list);
        }
        row
    }

    fn mm_id(&mut self, _pagemap: &File) -> Result<Option<u32>, Unavailable> {
        Ok(None)
    }
}
