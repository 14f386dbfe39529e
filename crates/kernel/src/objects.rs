//! Objects of the kernel's that belong to this process, found from its `task_struct` by the names of members:
//! task → files → file → what the file is for.

use std::os::fd::{AsRawFd, BorrowedFd};

use crate::Unavailable;
use crate::btf::Btf;
use crate::memory::{Memory, word};

/// Bytes to members along the way; all of them are pointers but the last.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Objects {
    task_files: u64,
    files_table: u64,
    table_files: u64,
    file_private: u64,
    /// `pipe_inode_info.bufs`, `pipe_buffer.page`.
    pipe: Option<(u64, u64)>,
    /// `mm_struct.mm_id`.
    mm_id: Option<u64>,
}

impl Objects {
    /// The way to the objects; `None` if `btf` does not describe it.
    pub(crate) fn of(btf: &Btf) -> Option<Objects> {
        let offset = |of: &str, name: &str| Some(btf.member(btf.structure(of)?, name)?.offset);
        let pipe = || Some((offset("pipe_inode_info", "bufs")?, offset("pipe_buffer", "page")?));
        Some(Objects {
            task_files: offset("task_struct", "files")?,
            files_table: offset("files_struct", "fdt")?,
            table_files: offset("fdtable", "fd")?,
            file_private: offset("file", "private_data")?,
            pipe: pipe(),
            mm_id: offset("mm_struct", "mm_id"),
        })
    }

    /// What the open file `fd` of this process is for, its `private_data`.
    pub(crate) fn private(
        &self,
        memory: &mut dyn Memory,
        fd: BorrowedFd<'_>,
    ) -> Result<Option<u64>, Unavailable> {
        let number = u64::from(fd.as_raw_fd().unsigned_abs());
        let Some(mut address) = memory.task()? else { return Ok(None) };
        for offset in [self.task_files, self.files_table, self.table_files, 0] {
            // The last step but one led to an array of files.
            let offset = if offset == 0 { number * 8 } else { offset };
            match word(memory, address.wrapping_add(offset))? {
                Some(next) if next != 0 => address = next,
                _ => return Ok(None),
            }
        }
        Ok(word(memory, address.wrapping_add(self.file_private))?.filter(|private| *private != 0))
    }

    /// The `struct page` of what lies first in a pipe that nothing was read from yet.
    pub(crate) fn page_in_pipe(
        &self,
        memory: &mut dyn Memory,
        pipe: BorrowedFd<'_>,
    ) -> Result<Option<u64>, Unavailable> {
        let Some((bufs, page)) = self.pipe else { return Ok(None) };
        let Some(info) = self.private(memory, pipe)? else { return Ok(None) };
        match word(memory, info.wrapping_add(bufs))? {
            Some(first) if first != 0 => word(memory, first.wrapping_add(page)),
            _ => Ok(None),
        }
    }

    /// The number of the address space whose `/proc/PID/pagemap` this process has open: the file's private
    /// data is the `mm_struct` (pagemap_open(), fs/proc/task_mmu.c, v4.4, v5.10, v7.2).
    pub(crate) fn mm_id(
        &self,
        memory: &mut dyn Memory,
        pagemap: BorrowedFd<'_>,
    ) -> Result<Option<u32>, Unavailable> {
        let Some(mm_id) = self.mm_id else { return Ok(None) };
        let Some(mm) = self.private(memory, pagemap)? else { return Ok(None) };
        Ok(word(memory, mm.wrapping_add(mm_id))?.map(|word| word as u32).filter(|id| *id != 0))
    }
}
