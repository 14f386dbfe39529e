//! Emptying the batches in which pages wait for the LRU, with a reference each.

use std::io;
use std::time::Duration;

use crate::Unavailable;

const PAGE: usize = 4096;
/// MADV_COLD, which this needs of no kernel in particular.
const MADV_COLD: libc::c_int = 20;
/// MPOL_MF_MOVE (linux/mempolicy.h).
const MPOL_MF_MOVE: libc::c_long = 2;

/// Empties batches. The whole subject runs on one CPU, so that only its batches fill.
///
/// Between two steps that CPU's are emptied by madvise(MADV_COLD) of an area without pages: `madvise_cold()`
/// calls `lru_add_drain()` before it looks at the area (mm/madvise.c, v5.4 to v7.2). Where the kernel does not
/// know that advice, and wherever another CPU may have been at work, move_pages(2) of one page to the node on
/// which it is empties those of every CPU: `do_pages_move()` begins with `migrate_prep()` or
/// `lru_cache_disable()` (mm/migrate.c, v2.6.39 to v7.2). A kernel without NUMA has no such call: there the advice
/// is given on each CPU in turn.
pub(super) struct Drain {
    /// A page that is there, and behind it one that is not.
    pages: *mut u8,
    /// Other CPUs may have been at work since the batches of all were emptied.
    elsewhere: bool,
    has_cold: bool,
    /// move_pages(2) works.
    moves: bool,
    /// The CPU that the subject runs on.
    cpu: usize,
    /// Another one, if there is one.
    aside: usize,
    /// Where this thread might run before.
    before: libc::cpu_set_t,
}

impl Drain {
    /// Keeps this thread, and what it forks, on the CPU that it is on.
    ///
    /// # Errors
    /// If there is no memory, or the kernel has neither move_pages(2) nor MADV_COLD.
    pub(super) fn start() -> Result<Drain, Unavailable> {
        let failed = |what: &str| {
            let error = io::Error::last_os_error();
            let remedy = "use a kernel of 5.4 or later, or one with CONFIG_MIGRATION and CONFIG_NUMA";
            Unavailable::new(format!("{what}: {error}"), remedy)
        };
        let all = libc::PROT_READ | libc::PROT_WRITE;
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
        // SAFETY: a fresh mapping of two pages, where the kernel likes it, in whose first page a byte is
        // written; the set of CPUs is valid when zeroed and good for writing.
        let mut drain = unsafe {
            let pages = libc::mmap(std::ptr::null_mut(), 2 * PAGE, all, flags, -1, 0);
            if pages == libc::MAP_FAILED {
                return Err(failed("cannot map a page"));
            }
            let pages: *mut u8 = pages.cast();
            pages.write_volatile(1);
            let mut before: libc::cpu_set_t = std::mem::zeroed();
            libc::sched_getaffinity(0, size_of::<libc::cpu_set_t>(), &raw mut before);
            let cpu = libc::sched_getcpu().max(0) as usize;
            let other = |aside: &usize| *aside != cpu && libc::CPU_ISSET(*aside, &before);
            let aside = (0..libc::CPU_SETSIZE as usize).find(other).unwrap_or(cpu);
            Drain { pages, elsewhere: true, has_cold: false, moves: false, cpu, aside, before }
        };
        run_on(drain.cpu);
        drain.has_cold = drain.cool();
        drain.moves = drain.move_page();
        if drain.moves || drain.has_cold {
            Ok(drain)
        } else {
            Err(failed("the batches of pages for the LRU cannot be emptied: move_pages does not work"))
        }
    }

    /// Whether the kernel has move_pages(2).
    pub(super) const fn moves(&self) -> bool {
        self.moves
    }

    /// Another CPU is at work: ksmd, a disk, a worker of the kernel.
    pub(super) const fn others_work(&mut self) {
        self.elsewhere = true;
    }

    /// Empties what may have filled since the last time.
    pub(super) fn before_observation(&mut self) {
        if !self.has_cold {
            self.thoroughly();
        } else if self.elsewhere {
            self.tour();
            self.elsewhere = false;
        } else {
            self.cool();
        }
    }

    /// Leaves the subject's CPU to the subject, where there is another one: what this thread touches and frees would
    /// fill and empty the batches that a scenario holds.
    pub(super) fn step_aside(&self) {
        run_on(self.aside);
    }

    /// Comes back to do what is to be done on the subject's CPU.
    pub(super) fn come_back(&self) {
        run_on(self.cpu);
    }

    /// Empties the batches of the CPU that this runs on.
    fn cool(&self) -> bool {
        // SAFETY: a page of this object's own mapping that holds nothing.
        unsafe { libc::madvise(self.pages.add(PAGE).cast(), PAGE, MADV_COLD) == 0 }
    }

    /// Empties the batches of every CPU, twice: what was on its way from one to another is caught by the
    /// second round.
    pub(super) fn thoroughly(&mut self) {
        self.everywhere();
        std::thread::sleep(Duration::from_micros(100));
        self.everywhere();
        self.elsewhere = false;
    }

    fn everywhere(&self) {
        if self.moves {
            self.move_page();
        } else {
            self.tour();
        }
    }

    /// Empties the batches of each CPU from there, which takes less time than to have the kernel do it: that waits for
    /// every CPU to pass through the scheduler.
    fn tour(&self) {
        for cpu in 0..libc::CPU_SETSIZE as usize {
            // SAFETY: the set was filled in by the kernel, and the number is below its size.
            if unsafe { libc::CPU_ISSET(cpu, &self.before) } {
                run_on(cpu);
                self.cool();
            }
        }
        run_on(self.cpu);
    }

    /// Has the kernel move a page to where it is; false if it has no such call.
    fn move_page(&self) -> bool {
        let pages = [self.pages];
        let node: [libc::c_int; 1] = [self.node()];
        let mut status: [libc::c_int; 1] = [-1];
        // SAFETY: the arrays have one element each, as stated, and the page is this object's own.
        unsafe {
            libc::syscall(
                libc::SYS_move_pages,
                0,
                1usize,
                pages.as_ptr(),
                node.as_ptr(),
                status.as_mut_ptr(),
                MPOL_MF_MOVE,
            ) >= 0
        }
    }

    /// The node on which the page is.
    fn node(&self) -> libc::c_int {
        let pages = [self.pages];
        let mut status: [libc::c_int; 1] = [0];
        // SAFETY: as above; without nodes the call only asks.
        unsafe {
            let nowhere: *const libc::c_int = std::ptr::null();
            libc::syscall(libc::SYS_move_pages, 0, 1usize, pages.as_ptr(), nowhere, status.as_mut_ptr(), 0);
        }
        status[0].max(0)
    }
}

/// Has this thread run on this CPU alone.
fn run_on(cpu: usize) {
    // SAFETY: a set of CPUs is valid when zeroed, and good for reading; the number is below its size.
    unsafe {
        let mut one: libc::cpu_set_t = std::mem::zeroed();
        libc::CPU_SET(cpu, &mut one);
        libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &raw const one);
    }
}

impl Drop for Drain {
    fn drop(&mut self) {
        // SAFETY: the mapping is this object's, and the set was filled in by the kernel.
        unsafe {
            libc::munmap(self.pages.cast(), 2 * PAGE);
            libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &raw const self.before);
        }
    }
}
