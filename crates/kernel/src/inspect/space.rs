//! Address spaces of processes: from a process id to the root of its page tables, and where the kernel sees physical
//! memory. Everything is found by evidence and tried on a page of this process whose frame is known.

use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;
use std::path::Path;

use super::extent::Extent;
use super::tables::{Paging, Walk, Walked};
use crate::Unavailable;
use crate::btf::Btf;
use crate::memory::{Memory, Span, word};
use crate::objects::Objects;
use crate::vmemmap::{FRAME_BITS, PAGE, PRESENT};

/// Words of a base page.
const WORDS: usize = PAGE as usize / 8;

/// An open address space: while its pagemap file is open, its `mm_struct` and the root table are not given to others.
pub(crate) struct Space {
    pagemap: File,
    /// Its `mm_struct`.
    pub(crate) mm: u64,
    root: u64,
}

/// Why a process was not looked at.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Missed {
    /// It is gone.
    Vanished,
    /// The kernel does not let us.
    Denied,
    /// It has no memory of its own: a kernel thread, or about to be gone.
    NoMemory,
}

impl Missed {
    /// Why a file of a process in /proc could not be opened or read.
    pub(crate) fn of(pid: u32, error: &io::Error) -> Missed {
        match error.raw_os_error() {
            Some(libc::EACCES | libc::EPERM) => Missed::Denied,
            // A zombie is there still, without memory.
            _ if Path::new(&format!("/proc/{pid}/stat")).exists() => Missed::NoMemory,
            _ => Missed::Vanished,
        }
    }
}

/// How address spaces are found and walked.
pub(crate) struct Spaces {
    objects: Objects,
    pgd: u64,
    paging: Paging,
}

/// A page of this process with words that nothing else has.
struct Mark {
    words: Vec<u64>,
    at: usize,
}

impl Mark {
    fn new() -> Mark {
        let seed = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        let seed = seed.map_or(0, |since| since.as_nanos() as u64) | 1;
        let mut value = seed;
        let words: Vec<u64> = (0..2 * WORDS)
            .map(|_| {
                value = value.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(seed);
                value
            })
            .collect();
        let address = words.as_ptr().addr();
        let at = (address.next_multiple_of(PAGE as usize) - address) / 8;
        Mark { words, at }
    }

    fn page(&self) -> &[u64] {
        &self.words[self.at..self.at + WORDS]
    }

    /// The page's number in this address space.
    fn number(&self) -> u64 {
        self.page().as_ptr().addr() as u64 / PAGE
    }

    fn frame(&self, pagemap: &File) -> Option<u64> {
        let mut word = [0; 8];
        pagemap.read_exact_at(&mut word, self.number() * 8).ok()?;
        let word = u64::from_le_bytes(word);
        (word & PRESENT != 0 && word & FRAME_BITS != 0).then_some(word & FRAME_BITS)
    }
}

/// Where the kernel sees all memory without randomisation, with four and with five levels of tables
/// (Documentation/arch/x86/x86_64/mm.rst, v7.2).
const USUAL: [u64; 2] = [0xffff_8880_0000_0000, 0xff11_0000_0000_0000];

/// Randomisation moves it by multiples of this (arch/x86/mm/kaslr.c, v6.18), so that a root table, which is in it, is less
/// than all memory above a multiple.
const STEP: u64 = 1 << 30;

impl Spaces {
    /// Finds out how; `frames` is behind the last frame of memory.
    ///
    /// # Errors
    /// If this kernel's page tables cannot be walked: then /proc/PID/pagemap can.
    pub(crate) fn find(memory: &mut dyn Memory, btf: &Btf, frames: u64) -> Result<Spaces, Unavailable> {
        let missing = |what: &str| Unavailable::new(what, "use --pagemap");
        if cfg!(not(target_arch = "x86_64")) {
            return Err(missing("page tables are walked on x86-64 only"));
        }
        let objects = Objects::of(btf).ok_or_else(|| missing("BTF does not tell the way to an mm_struct"))?;
        let pgd = btf.structure("mm_struct").and_then(|mm| btf.member(mm, "pgd"));
        let pgd = pgd.ok_or_else(|| missing("BTF does not describe mm_struct.pgd"))?.offset;
        let none = Paging { direct_map: 0, levels: 4, frames };
        let mut spaces = Spaces { objects, pgd, paging: none };
        let own = spaces
            .open(memory, std::process::id())?
            .map_err(|missed| missing(&format!("the root of this process's page tables: {missed:?}")))?;
        let mark = Mark::new();
        let frame = mark.frame(&own.pagemap).ok_or_else(|| missing("/proc/self/pagemap tells no frames"))?;
        let by_root =
            (0..=frames.div_ceil(STEP / PAGE)).map(|n| (own.root & !(STEP - 1)).wrapping_sub(n * STEP));
        for direct_map in USUAL.into_iter().chain(by_root) {
            if holds(memory, direct_map, frame, mark.page())?
                && spaces.try_levels(memory, &own, &mark, direct_map)?
            {
                return Ok(spaces);
            }
        }
        Err(missing("the kernel's map of all memory was not found"))
    }

    /// Takes the levels of tables with which a walk finds the frame of the mark.
    fn try_levels(
        &mut self,
        memory: &mut dyn Memory,
        own: &Space,
        mark: &Mark,
        direct_map: u64,
    ) -> Result<bool, Unavailable> {
        for levels in [4, 5] {
            self.paging = Paging { direct_map, levels, ..self.paging };
            let mut extents = Vec::new();
            self.walk(memory, own, 0, &mut |extent| extents.push(*extent))?;
            let page = mark.number();
            let found = extents.iter().find(|e| (e.page..e.page + u64::from(e.pages)).contains(&page));
            // The page may have been moved since its frame was looked up.
            let now = mark.frame(&own.pagemap);
            if found.is_some_and(|extent| Some(extent.frame + (page - extent.page)) == now) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Opens the address space of a process.
    ///
    /// # Errors
    /// If the kernel does not let us look any more; that a process is gone is none.
    pub(crate) fn open(
        &self,
        memory: &mut dyn Memory,
        pid: u32,
    ) -> Result<Result<Space, Missed>, Unavailable> {
        let pagemap = match File::open(format!("/proc/{pid}/pagemap")) {
            Ok(file) => file,
            Err(error) => return Ok(Err(Missed::of(pid, &error))),
        };
        let Some(mm) = self.objects.private(memory, pagemap.as_fd())? else {
            return Ok(Err(Missed::NoMemory));
        };
        let root = word(memory, mm.wrapping_add(self.pgd))?.filter(|root| *root != 0);
        Ok(root.map(|root| Space { pagemap, mm, root }).ok_or(Missed::NoMemory))
    }

    /// Shows `sink` what an address space maps, by rising address.
    ///
    /// # Errors
    /// If the kernel does not let us look any more.
    pub(crate) fn walk(
        &self,
        memory: &mut dyn Memory,
        space: &Space,
        owner: u32,
        sink: &mut dyn FnMut(&Extent),
    ) -> Result<Walked, Unavailable> {
        Walk::new(memory, self.paging, owner, sink).run(space.root)
    }
}

/// Whether the kernel sees `words` in `frame`, if its map of all memory starts at `direct_map`.
fn holds(memory: &mut dyn Memory, direct_map: u64, frame: u64, words: &[u64]) -> Result<bool, Unavailable> {
    let mut same = false;
    let address = direct_map.wrapping_add(frame * PAGE);
    memory.look(Span { address, words: WORDS }, &mut |seen| same = seen == Some(words))?;
    Ok(same)
}
