//! What runs in a process of the scenario: a loop that takes a request, makes the system call, and answers.
//!
//! Nothing here allocates, panics or writes outside of its own stack, which lies in shared memory: a worker
//! leaves no anonymous page besides those of the scenario.

use super::raw::{Touch, syscall, touch};
use super::shared::{HOLDS, Hold, Holder, Op, Reply, SLOTS, Shared, Slot, words};

const PAGE: u64 = 4096;
const PMD: u64 = 512 * PAGE;

/// Pages that one buffer may have: 1 GiB.
const BUFFER_PAGES: u64 = 1 << 18;
/// Pages that one pipe may have without asking for more than `fs.pipe-max-size`.
const PIPE_PAGES: u64 = 256;

/// io_uring_register(2)'s operations, and the size of what io_uring_setup(2) fills in.
const REGISTER_BUFFERS: u64 = 0;
pub(super) const UNREGISTER_BUFFERS: u64 = 1;
const URING_PARAMS: usize = 120;

/// Starts a worker in `slot` as a copy of the calling process; `parent` is the slot that calls, or [`SLOTS`]
/// for the process that first workers come from. Returns the child's process id or `-errno`.
///
/// # Safety
/// `shared` comes from [`Shared::map`], `slot` is below [`SLOTS`] and has no live worker.
pub(super) unsafe fn spawn(shared: *mut Shared, slot: usize, parent: usize) -> i64 {
    // Every worker is a child of one process, with which all of them die: fork(2) but for the parent.
    let flags = libc::SIGCHLD | if parent < SLOTS { libc::CLONE_PARENT } else { 0 };
    // SAFETY: the slot is in bounds and its stack is free, as it has no live worker.
    unsafe {
        let own = &raw mut (*shared).slots[slot];
        (*own).index = slot;
        (*own).parent = parent;
        (*own).shared = shared;
        let pid = libc::clone(main, Shared::stack(shared, slot), flags, own.cast());
        if pid < 0 { -i64::from(*libc::__errno_location()) } else { i64::from(pid) }
    }
}

/// Where a worker begins, on its own stack.
extern "C" fn main(slot: *mut libc::c_void) -> libc::c_int {
    let own = slot.cast::<Slot>();
    // SAFETY: `spawn` filled in the slot, and nobody else uses it while this worker lives.
    unsafe {
        let shared = (*own).shared;
        syscall(libc::SYS_prctl, [libc::PR_SET_PDEATHSIG as u64, libc::SIGKILL as u64, 0, 0, 0, 0]);
        // Who was supposed to be outlived may have died before that.
        if syscall(libc::SYS_getppid, [0; 6]) != i64::from((*shared).zygote) {
            leave();
        }
        let parent = (*own).parent;
        if parent < SLOTS {
            close_all(&raw mut (*shared).slots[parent].holds);
        }
        for hold in 0..HOLDS {
            (*own).holds[hold] = Hold::NONE;
        }
        send(own, [0, syscall(libc::SYS_getpid, [0; 6])]);
        serve(own)
    }
}

/// Closes what a parent holds: the child has copies of the descriptors, which would keep the pages held.
unsafe fn close_all(holds: *mut [Hold; HOLDS]) {
    for index in 0..HOLDS {
        // SAFETY: the parent waits for this to be done; closing a descriptor of one's own is sound.
        unsafe {
            let hold = (*holds)[index];
            if hold.holder != Holder::None {
                close(hold.fds[0]);
                if hold.holder == Holder::Pipe {
                    close(hold.fds[1]);
                }
            }
        }
    }
}

unsafe fn close(fd: i32) {
    // SAFETY: the caller's: the descriptor is this process's own.
    unsafe { syscall(libc::SYS_close, [fd as u64, 0, 0, 0, 0, 0]) };
}

fn leave() -> ! {
    loop {
        // SAFETY: exit_group takes a number and does not return.
        unsafe { syscall(libc::SYS_exit_group, [0; 6]) };
    }
}

unsafe fn send(own: *mut Slot, reply: Reply) {
    // SAFETY: the channel is a socket, and `reply` is good for reading.
    unsafe {
        let pointer = (&raw const reply) as u64;
        let flags = libc::MSG_NOSIGNAL as u64;
        syscall(libc::SYS_sendto, [(*own).channel as u64, pointer, size_of::<Reply>() as u64, flags, 0, 0]);
    }
}

unsafe fn serve(own: *mut Slot) -> ! {
    let mut message = [0u8; 56];
    loop {
        // SAFETY: `message` is good for writing so many bytes.
        let got = unsafe {
            let pointer = (&raw mut message) as u64;
            syscall(libc::SYS_recvfrom, [(*own).channel as u64, pointer, 56, 0, 0, 0])
        };
        if got == -i64::from(libc::EINTR) {
            continue;
        }
        // Whoever drove is gone, or sent what is no request.
        if got != 56 {
            leave();
        }
        let [op, a, b, c, d, e, f] = words::<7>(&message);
        let Some(op) = Op::of(op) else { leave() };
        // SAFETY: requests come from the driver, which names only the scenario's own windows.
        let reply = unsafe { answer(own, op, [a, b, c, d, e, f]) };
        // SAFETY: the channel is this worker's.
        unsafe { send(own, reply) };
    }
}

/// # Safety
/// The addresses are the scenario's: nothing of this program lies there.
unsafe fn answer(own: *mut Slot, op: Op, arguments: [u64; 6]) -> Reply {
    let [start, bytes, c, d, _, _] = arguments;
    // SAFETY: by the caller's promise, as below.
    let one = |number| move |arguments: [u64; 6]| unsafe { syscall(number, arguments) };
    // SAFETY: by the caller's promise these calls change the scenario's own mappings and nothing else.
    let result = unsafe {
        match op {
            Op::Mmap => mmap(own, arguments),
            Op::Madvise => one(libc::SYS_madvise)([start, bytes, c, 0, 0, 0]),
            Op::Mprotect => one(libc::SYS_mprotect)([start, bytes, c, 0, 0, 0]),
            Op::Munmap => one(libc::SYS_munmap)([start, bytes, 0, 0, 0, 0]),
            Op::Mlock => one(libc::SYS_mlock)([start, bytes, 0, 0, 0, 0]),
            Op::Munlock => one(libc::SYS_munlock)([start, bytes, 0, 0, 0, 0]),
            Op::Mremap => {
                let flags = (libc::MREMAP_MAYMOVE | libc::MREMAP_FIXED) as u64;
                ok(one(libc::SYS_mremap)([start, bytes, bytes, flags, c, 0]))
            }
            Op::Touch => {
                let how = match c {
                    0 => Touch::Read,
                    1 => Touch::Write(d as u8),
                    _ => Touch::Fill(d as u8),
                };
                if touch(start, start + bytes, how) { 0 } else { -i64::from(libc::EFAULT) }
            }
            Op::Fork => spawn((*own).shared, start as usize % SLOTS, (*own).index),
            Op::Exit => leave(),
            Op::Get => get(own, (start, bytes), c),
            Op::Pin => pin(own, (start, bytes), c),
            Op::Drop => drop_holds(own, start),
            Op::SplitPmd => split_pmd(start, bytes),
            Op::Register => register(),
            Op::DisableThp => one(libc::SYS_prctl)([libc::PR_SET_THP_DISABLE as u64, start, 0, 0, 0, 0]),
        }
    };
    [result, 0]
}

/// Success without the address.
const fn ok(result: i64) -> i64 {
    if result > 0 || result < -4095 { 0 } else { result }
}

unsafe fn mmap(own: *mut Slot, [start, bytes, protection, flags, offset, file]: [u64; 6]) -> i64 {
    // SAFETY: the path in the region ends with a 0; the place is the scenario's, so that MAP_FIXED replaces
    // nothing of this program.
    unsafe {
        let mut fd = -1i64;
        if file != 0 {
            let path = (&raw const (*(*own).shared).path) as u64;
            // A mapping that may not write shared memory is a matter of its protection, not of the file.
            let how = (libc::O_RDWR | libc::O_CLOEXEC) as u64;
            fd = syscall(libc::SYS_openat, [libc::AT_FDCWD as u64, path, how, 0, 0, 0]);
            if fd < 0 {
                return fd;
            }
        }
        let result = syscall(libc::SYS_mmap, [start, bytes, protection, flags, fd as u64, offset]);
        if fd >= 0 {
            close(fd as i32);
        }
        ok(result)
    }
}

/// Touches a huge page in an area that is gone again afterwards: from then on khugepaged knows the address space
/// (`do_huge_pmd_anonymous_page()`, mm/huge_memory.c, v4.8 to v7.2).
fn register() -> i64 {
    let bytes = 2 * PMD;
    // SAFETY: a fresh mapping where the kernel likes it, of which one byte is written before it goes.
    unsafe {
        let all = (libc::PROT_READ | libc::PROT_WRITE) as u64;
        let flags = (libc::MAP_PRIVATE | libc::MAP_ANONYMOUS) as u64;
        let start = syscall(libc::SYS_mmap, [0, bytes, all, flags, u64::MAX, 0]);
        if (-4095..0).contains(&start) {
            return start;
        }
        let start = start as u64;
        syscall(libc::SYS_madvise, [start, bytes, libc::MADV_HUGEPAGE as u64, 0, 0, 0]);
        let huge = start.next_multiple_of(PMD);
        touch(huge, huge + PAGE, Touch::Write(1));
        syscall(libc::SYS_munmap, [start, bytes, 0, 0, 0, 0])
    }
}

/// Splits the PMDs of a range: changing a flag of one page's area and back splits the area there, and with it
/// the PMD, and joins the area again. MADV_DONTFORK changes no page-table entry.
unsafe fn split_pmd(start: u64, bytes: u64) -> i64 {
    // SAFETY: none of these changes what memory contains.
    unsafe {
        // As the model has it: a range with holes is refused before anything is done.
        let covered = syscall(libc::SYS_msync, [start, bytes, libc::MS_ASYNC as u64, 0, 0, 0]);
        if covered < 0 {
            return covered;
        }
        let mut at = start;
        while at < start + bytes {
            for advice in [libc::MADV_DONTFORK, libc::MADV_DOFORK] {
                let done = syscall(libc::SYS_madvise, [at, PAGE, advice as u64, 0, 0, 0]);
                if done < 0 {
                    return done;
                }
            }
            at = (at / PMD + 1) * PMD;
        }
        0
    }
}

/// A free entry of the worker's holds.
unsafe fn free_hold(own: *mut Slot) -> Option<*mut Hold> {
    // SAFETY: the slot is this worker's own.
    unsafe {
        (0..HOLDS).map(|index| &raw mut (*own).holds[index]).find(|hold| (**hold).holder == Holder::None)
    }
}

/// Cuts a range into parts that one holder takes, and calls `part` for each; drops all if one fails.
unsafe fn by_parts(
    own: *mut Slot,
    (start, bytes): (u64, u64),
    number: u64,
    most: u64,
    part: unsafe fn(*mut Slot, (u64, u64), u64) -> i64,
) -> i64 {
    let mut done = 0;
    while done < bytes {
        let some = (bytes - done).min(most * PAGE);
        // SAFETY: the caller's: the range is the scenario's.
        let result = unsafe { part(own, (start + done, some), number) };
        if result < 0 {
            // SAFETY: what was taken so far belongs to this number.
            unsafe { drop_holds(own, number) };
            return result;
        }
        done += some;
    }
    0
}

unsafe fn get(own: *mut Slot, range: (u64, u64), number: u64) -> i64 {
    // SAFETY: the range is the scenario's.
    unsafe { by_parts(own, range, number, PIPE_PAGES, pipe_part) }
}

unsafe fn pipe_part(own: *mut Slot, (start, bytes): (u64, u64), number: u64) -> i64 {
    let mut fds = [-1i32; 2];
    // SAFETY: the descriptors are this worker's, and `fds` and `iovec` are good for reading and writing.
    unsafe {
        let Some(hold) = free_hold(own) else { return -i64::from(libc::EMFILE) };
        let flags = (libc::O_NONBLOCK | libc::O_CLOEXEC) as u64;
        let made = syscall(libc::SYS_pipe2, [(&raw mut fds) as u64, flags, 0, 0, 0, 0]);
        if made < 0 {
            return made;
        }
        *hold = Hold { number, holder: Holder::Pipe, fds };
        // A page takes one of the pipe's places, whatever its size.
        let sized = syscall(libc::SYS_fcntl, [fds[1] as u64, libc::F_SETPIPE_SZ as u64, bytes, 0, 0, 0]);
        if sized < 0 {
            return sized;
        }
        let mut done = 0;
        while done < bytes {
            let iovec = [start + done, bytes - done];
            let pointer = (&raw const iovec) as u64;
            let spliced = syscall(
                libc::SYS_vmsplice,
                [fds[1] as u64, pointer, 1, libc::SPLICE_F_NONBLOCK as u64, 0, 0],
            );
            if spliced <= 0 {
                return if spliced == 0 { -i64::from(libc::EFAULT) } else { spliced };
            }
            done += spliced as u64;
        }
        0
    }
}

unsafe fn pin(own: *mut Slot, range: (u64, u64), number: u64) -> i64 {
    // SAFETY: the range is the scenario's.
    unsafe { by_parts(own, range, number, BUFFER_PAGES, ring_part) }
}

/// Registers the range as one buffer.
unsafe fn ring_part(own: *mut Slot, (start, bytes): (u64, u64), number: u64) -> i64 {
    // SAFETY: the ring is this worker's; parameters and vector are on its stack, good for what the calls do.
    unsafe {
        let idle = (0..HOLDS)
            .map(|index| &raw mut (*own).holds[index])
            .find(|hold| (**hold).holder == Holder::IdleRing);
        let hold = match idle {
            Some(hold) => hold,
            None => {
                let Some(hold) = free_hold(own) else { return -i64::from(libc::EMFILE) };
                let mut params = [0u64; URING_PARAMS / 8];
                let ring = syscall(libc::SYS_io_uring_setup, [1, (&raw mut params) as u64, 0, 0, 0, 0]);
                if ring < 0 {
                    return ring;
                }
                *hold = Hold { number: 0, holder: Holder::IdleRing, fds: [ring as i32, -1] };
                hold
            }
        };
        let iovec = [start, bytes];
        let pointer = (&raw const iovec) as u64;
        let ring = (*hold).fds[0] as u64;
        let done = syscall(libc::SYS_io_uring_register, [ring, REGISTER_BUFFERS, pointer, 1, 0, 0]);
        if done >= 0 {
            (*hold).number = number;
            (*hold).holder = Holder::Ring;
        }
        done
    }
}

/// Drops all parts of a hold.
unsafe fn drop_holds(own: *mut Slot, number: u64) -> i64 {
    let mut result = 0;
    for index in 0..HOLDS {
        // SAFETY: the slot and the descriptors in it are this worker's.
        unsafe {
            let hold = &raw mut (*own).holds[index];
            if (*hold).number != number {
                continue;
            }
            match (*hold).holder {
                Holder::Pipe => {
                    close((*hold).fds[0]);
                    close((*hold).fds[1]);
                    *hold = Hold::NONE;
                }
                Holder::Ring => {
                    let ring = (*hold).fds[0] as u64;
                    let done = syscall(libc::SYS_io_uring_register, [ring, UNREGISTER_BUFFERS, 0, 0, 0, 0]);
                    result = if done < 0 { done } else { result };
                    (*hold).number = 0;
                    (*hold).holder = Holder::IdleRing;
                }
                Holder::None | Holder::IdleRing => {}
            }
        }
    }
    result
}
