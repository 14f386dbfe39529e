//! Emptying the per-CPU batches that hold references on pages bound for the LRU.

/// Empties them on all CPUs, by asking for a page of our own to be moved to the node where it is: move_pages(2) drains
/// before it looks (`do_pages_move()`, mm/migrate.c, v5.10, v6.1, v6.18), and nothing is moved. Whether the kernel did.
pub fn drain_lru() -> bool {
    let page = vec![1u8; 2 * 4096];
    let pages = [page.as_ptr()];
    let mut status = [-1i32];
    let asked = move_pages(&pages, None, &mut status);
    let [node] = status;
    asked && node >= 0 && move_pages(&pages, Some(&[node]), &mut status)
}

fn move_pages(pages: &[*const u8; 1], nodes: Option<&[i32; 1]>, status: &mut [i32; 1]) -> bool {
    const MPOL_MF_MOVE: libc::c_int = 2;
    let nodes = nodes.map_or(std::ptr::null(), |nodes| nodes.as_ptr());
    // SAFETY: the three arrays hold one element each, as the count says, and live through the call; the kernel writes
    // to `status` alone. The page stays mapped at its address, whatever frame it has.
    let returned = unsafe {
        libc::syscall(libc::SYS_move_pages, 0, 1u64, pages.as_ptr(), nodes, status.as_mut_ptr(), MPOL_MF_MOVE)
    };
    returned >= 0
}
