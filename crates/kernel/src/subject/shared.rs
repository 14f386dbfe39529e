//! What the driver and its workers share: a region of shared memory, mapped before the first fork, and the
//! messages that go over their sockets.

use std::io;

/// Processes that can be alive at once.
pub(super) const SLOTS: usize = 96;
/// Parts of holds that one process can have at once.
pub(super) const HOLDS: usize = 192;
/// Bytes of a worker's stack.
const STACK: usize = 32 << 10;
/// Bytes of a path.
pub(super) const PATH: usize = 64;

/// What a worker is asked to do.
#[repr(u64)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Op {
    /// mmap: address, bytes, protection, flags, offset, 1 if the path in the shared region is to be mapped.
    Mmap = 1,
    /// madvise: address, bytes, advice.
    Madvise,
    /// mprotect: address, bytes, protection.
    Mprotect,
    /// munmap: address, bytes.
    Munmap,
    /// mlock: address, bytes.
    Mlock,
    /// munlock: address, bytes.
    Munlock,
    /// mremap to a fixed place: address, bytes, new address.
    Mremap,
    /// Touch: address, bytes, 0 to read, 1 to write, 2 to fill, the byte.
    Touch,
    /// fork: the child's slot. The child says that it is ready on its own channel.
    Fork,
    /// Exit.
    Exit,
    /// References of vmsplice: address, bytes, a number for the hold.
    Get,
    /// Pins of io_uring: address, bytes, a number for the hold.
    Pin,
    /// Drop a hold: its number.
    Drop,
    /// Split the PMDs that map a range: address, bytes.
    SplitPmd,
    /// Have khugepaged know this process.
    Register,
    /// Keep huge pages, and with them khugepaged, out of this process (1), or let them in again (0).
    DisableThp,
}

impl Op {
    const ALL: [Op; 16] = [
        Op::Mmap,
        Op::Madvise,
        Op::Mprotect,
        Op::Munmap,
        Op::Mlock,
        Op::Munlock,
        Op::Mremap,
        Op::Touch,
        Op::Fork,
        Op::Exit,
        Op::Get,
        Op::Pin,
        Op::Drop,
        Op::SplitPmd,
        Op::Register,
        Op::DisableThp,
    ];

    /// The operation of this number.
    pub(super) fn of(number: u64) -> Option<Op> {
        Op::ALL.into_iter().find(|op| *op as u64 == number)
    }
}

/// A request, as it is sent: the number of the operation, then its arguments.
pub(super) type Request = [u64; 7];

/// An answer: what the call returned, errors as `-errno`, and a second number.
pub(super) type Reply = [i64; 2];

/// A request in its own words.
pub(super) fn request(op: Op, arguments: [u64; 6]) -> Request {
    let [a, b, c, d, e, f] = arguments;
    [op as u64, a, b, c, d, e, f]
}

/// The bytes of a message.
pub(super) fn bytes<const N: usize, const BYTES: usize>(words: &[u64; N]) -> [u8; BYTES] {
    let mut bytes = [0; BYTES];
    for (to, word) in bytes.chunks_exact_mut(8).zip(words) {
        to.copy_from_slice(&word.to_ne_bytes());
    }
    bytes
}

/// The words of a message.
pub(super) fn words<const N: usize>(bytes: &[u8]) -> [u64; N] {
    let mut words = [0; N];
    for (word, from) in words.iter_mut().zip(bytes.chunks_exact(8)) {
        let mut eight = [0; 8];
        eight.copy_from_slice(from);
        *word = u64::from_ne_bytes(eight);
    }
    words
}

/// What holds pages.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u32)]
pub(super) enum Holder {
    /// Nothing.
    None,
    /// A pipe.
    Pipe,
    /// A ring with registered buffers.
    Ring,
    /// A ring without, to be used again.
    IdleRing,
}

/// Descriptors of a worker that hold pages.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub(super) struct Hold {
    pub(super) number: u64,
    pub(super) holder: Holder,
    pub(super) fds: [i32; 2],
}

impl Hold {
    /// An entry that is free.
    pub(super) const NONE: Hold = Hold { number: 0, holder: Holder::None, fds: [-1; 2] };
}

/// A process of the subject, as the shared region knows it.
#[repr(C)]
pub(super) struct Slot {
    /// The worker's end of its channel; the same number in every process.
    pub(super) channel: i32,
    /// Its number.
    pub(super) index: usize,
    /// The slot that it was forked from; [`SLOTS`] for none.
    pub(super) parent: usize,
    /// The region that it is in.
    pub(super) shared: *mut Shared,
    pub(super) holds: [Hold; HOLDS],
}

/// The region. Only one process of the subject is at work at any time, and the driver waits for it, so that
/// nothing here is used by two at once.
#[repr(C)]
pub(super) struct Shared {
    /// The process that all workers are children of.
    pub(super) zygote: i32,
    pub(super) path: [u8; PATH],
    pub(super) slots: [Slot; SLOTS],
    stacks: [[u8; STACK]; SLOTS],
}

impl Shared {
    /// A fresh region, all zeroes, which is a valid value of every field. It stays mapped until
    /// [`Shared::unmap`].
    pub(super) fn map() -> io::Result<*mut Shared> {
        let all = libc::PROT_READ | libc::PROT_WRITE;
        let flags = libc::MAP_SHARED | libc::MAP_ANONYMOUS;
        // SAFETY: a fresh mapping where the kernel likes it.
        let start = unsafe { libc::mmap(std::ptr::null_mut(), size_of::<Shared>(), all, flags, -1, 0) };
        if start == libc::MAP_FAILED { Err(io::Error::last_os_error()) } else { Ok(start.cast()) }
    }

    /// Gives the region back.
    ///
    /// # Safety
    /// `shared` comes from [`Shared::map`] and is not used again.
    pub(super) unsafe fn unmap(shared: *mut Shared) {
        // SAFETY: the caller's promise.
        unsafe { libc::munmap(shared.cast(), size_of::<Shared>()) };
    }

    /// The top of the stack of a slot: it grows down from here.
    ///
    /// # Safety
    /// `shared` comes from [`Shared::map`], and `slot` is below [`SLOTS`].
    pub(super) unsafe fn stack(shared: *mut Shared, slot: usize) -> *mut libc::c_void {
        // SAFETY: in bounds by the caller's promise; one past the end of the slot's own stack. The size of a
        // stack is a multiple of 16, as the ABI wants its top.
        unsafe { (&raw mut (*shared).stacks).cast::<u8>().add((slot + 1) * STACK).map_addr(|top| top & !15) }
            .cast()
    }
}

#[cfg(test)]
mod tests {
    use super::{Op, bytes, request, words};

    #[test]
    fn a_message_comes_out_as_it_went_in() {
        let sent = request(Op::SplitPmd, [1, u64::MAX, 3, 4, 5, 6]);
        let bytes: [u8; 56] = bytes(&sent);
        assert_eq!(words::<7>(&bytes), sent);
        assert_eq!(Op::of(sent[0]), Some(Op::SplitPmd));
    }

    #[test]
    fn every_operation_is_known_by_its_number() {
        for op in Op::ALL {
            assert_eq!(Op::of(op as u64), Some(op));
        }
        assert_eq!(Op::of(0), None);
        assert_eq!(Op::of(Op::ALL.len() as u64 + 1), None);
    }
}
