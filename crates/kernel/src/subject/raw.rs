//! System calls and touches of memory as bare instructions.
//!
//! A worker is a fork of this program that must leave no mark of its own: what it writes outside of the
//! scenario's mappings becomes anonymous memory that the statistics count. The C library's wrappers write
//! `errno`, so they are not used here.

use std::arch::{asm, global_asm};

/// A system call: its number and six arguments. Returns what the kernel returned, errors as `-errno`.
///
/// # Safety
/// The call must be sound with these arguments: pointers in them must be good for what the kernel does with
/// them, and memory that Rust owns must not be unmapped or changed.
pub(super) unsafe fn syscall(number: libc::c_long, arguments: [u64; 6]) -> i64 {
    let [a, b, c, d, e, f] = arguments;
    let result: i64;
    // SAFETY: the instruction clobbers rcx and r11 and returns in rax, as stated; whether the call itself is
    // sound is the caller's to say.
    unsafe {
        asm!(
            "syscall",
            inlateout("rax") number => result,
            in("rdi") a, in("rsi") b, in("rdx") c, in("r10") d, in("r8") e, in("r9") f,
            lateout("rcx") _, lateout("r11") _,
            options(nostack),
        );
    }
    result
}

global_asm!(
    ".pushsection .text.mapcount_touch,\"ax\",@progbits",
    ".globl mapcount_touch_write",
    ".globl mapcount_touch_read",
    ".globl mapcount_touch_fill",
    ".globl mapcount_touch_fault",
    // rdi: the first address, rsi: the end, rdx: from one to the next, cl: the byte.
    "mapcount_touch_write:",
    "2: cmp rdi, rsi",
    "jae 3f",
    "mov byte ptr [rdi], cl",
    "add rdi, rdx",
    "jmp 2b",
    "mapcount_touch_read:",
    "2: cmp rdi, rsi",
    "jae 3f",
    "mov cl, byte ptr [rdi]",
    "add rdi, rdx",
    "jmp 2b",
    // Eight bytes at a time; rdx and cl as above, but every byte.
    "mapcount_touch_fill:",
    "movzx eax, cl",
    "movabs rdx, 0x0101010101010101",
    "imul rax, rdx",
    "mov rcx, rsi",
    "sub rcx, rdi",
    "shr rcx, 3",
    "rep stosq",
    "3: xor eax, eax",
    "ret",
    // The fault handler goes on here: no instruction above moves the stack.
    "mapcount_touch_fault:",
    "mov eax, 1",
    "ret",
    ".popsection",
);

unsafe extern "C" {
    fn mapcount_touch_write(start: u64, end: u64, stride: u64, byte: u64) -> u64;
    fn mapcount_touch_read(start: u64, end: u64, stride: u64, byte: u64) -> u64;
    fn mapcount_touch_fill(start: u64, end: u64, stride: u64, byte: u64) -> u64;
    fn mapcount_touch_fault();
}

/// How memory is touched.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Touch {
    /// The first byte of each page is read.
    Read,
    /// The first byte of each page is written.
    Write(u8),
    /// Every byte is written.
    Fill(u8),
}

/// Touches the pages of `start..end`, both multiples of the page size; `false` if one of them may not be
/// touched: then those behind it were not. The fault handler must be installed.
///
/// # Safety
/// Nothing that Rust owns may lie there.
pub(super) unsafe fn touch(start: u64, end: u64, how: Touch) -> bool {
    const PAGE: u64 = 4096;
    // SAFETY: these read or write nothing but `start..end`, which the caller answers for; where that faults,
    // the handler continues at the routine's other return.
    let faulted = unsafe {
        match how {
            Touch::Read => mapcount_touch_read(start, end, PAGE, 0),
            Touch::Write(byte) => mapcount_touch_write(start, end, PAGE, byte.into()),
            Touch::Fill(byte) => mapcount_touch_fill(start, end, PAGE, byte.into()),
        }
    };
    faulted == 0
}

/// Installs the handler that turns a fault of [`touch`] into its result. Inherited over fork.
pub(super) fn install_fault_handler() {
    // SAFETY: the action is fully initialised, and the handler has the signature that SA_SIGINFO asks for.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        let handler: extern "C" fn(libc::c_int, *mut libc::siginfo_t, *mut libc::c_void) = on_fault;
        action.sa_sigaction = handler as libc::sighandler_t;
        action.sa_flags = libc::SA_SIGINFO | libc::SA_NODEFER;
        libc::sigaction(libc::SIGSEGV, &raw const action, std::ptr::null_mut());
        libc::sigaction(libc::SIGBUS, &raw const action, std::ptr::null_mut());
    }
}

/// Continues behind a touch that faulted; a fault of anything else ends the process.
extern "C" fn on_fault(signal: libc::c_int, _info: *mut libc::siginfo_t, context: *mut libc::c_void) {
    let routines = mapcount_touch_write as *const () as usize..mapcount_touch_fault as *const () as usize;
    // SAFETY: the kernel passes a `ucontext_t` that nobody else uses while the handler runs.
    let context = unsafe { &mut *context.cast::<libc::ucontext_t>() };
    let at = &mut context.uc_mcontext.gregs[libc::REG_RIP as usize];
    if routines.contains(&(*at as usize)) {
        *at = mapcount_touch_fault as *const () as i64;
        return;
    }
    // SAFETY: exit_group takes a number and does not return.
    unsafe { syscall(libc::SYS_exit_group, [128 + signal as u64, 0, 0, 0, 0, 0]) };
}

#[cfg(test)]
mod tests {
    use super::{Touch, install_fault_handler, syscall, touch};

    #[test]
    fn a_touch_that_faults_is_an_outcome() {
        install_fault_handler();
        let flags = (libc::MAP_PRIVATE | libc::MAP_ANONYMOUS) as u64;
        // SAFETY: fresh mappings at addresses that the kernel chooses, known to nobody else.
        unsafe {
            let all = (libc::PROT_READ | libc::PROT_WRITE) as u64;
            let start = syscall(libc::SYS_mmap, [0, 3 * 4096, all, flags, u64::MAX, 0]);
            assert!(start > 0, "{start}");
            let start = start as u64;
            assert_eq!(syscall(libc::SYS_munmap, [start + 8192, 4096, 0, 0, 0, 0]), 0);
            assert!(touch(start, start + 8192, Touch::Write(7)));
            assert!(touch(start, start + 4096, Touch::Fill(9)));
            assert_eq!(*((start + 4095) as *const u8), 9);
            assert_eq!(*((start + 4096) as *const u8), 7);
            assert!(touch(start, start + 8192, Touch::Read));
            assert!(!touch(start, start + 12288, Touch::Read));
            assert!(!touch(start, start + 12288, Touch::Write(1)));
            assert!(!touch(start, start + 12288, Touch::Fill(1)));
            assert_eq!(syscall(libc::SYS_mprotect, [start, 4096, 1, 0, 0, 0]), 0);
            assert!(!touch(start, start + 4096, Touch::Write(1)));
            syscall(libc::SYS_munmap, [start, 8192, 0, 0, 0, 0]);
        }
    }

    #[test]
    fn errors_come_back_negative() {
        // SAFETY: there is no such descriptor.
        assert_eq!(unsafe { syscall(libc::SYS_close, [u64::MAX, 0, 0, 0, 0, 0]) }, -i64::from(libc::EBADF));
    }
}
