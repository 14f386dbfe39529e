//! Files of a scenario: on a tmpfs mount of their own, on the kernel's internal one, on a disk.

use std::cell::OnceCell;
use std::collections::BTreeMap;
use std::ffi::CString;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::fd::{AsRawFd, FromRawFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use mapcount_model::release::Release;
use mapcount_script::ast::{FileKind, Huge, Name};
use mapcount_script::diagnostic::Diagnostic;

use super::{PAGE, Trouble};
use crate::Unavailable;
use crate::procfs::{KPAGEFLAGS, Words, kpf};
use crate::settings::{Settings, Undo};
use crate::vmemmap::{FRAME_BITS, PRESENT};

/// The files that are open, by the scenario's names. A mapping keeps its file by itself.
pub(super) struct Files {
    open: BTreeMap<String, File>,
    scratch: PathBuf,
    /// This thread has its own mount namespace, with a mount point for tmpfs.
    mount_point: Option<PathBuf>,
    /// Whether files in the scratch folder get large folios, once that was tried.
    large_folios: OnceCell<bool>,
}

/// The release from which on ext4 uses large folios, unless the file system encrypts or verifies files
/// (`ext4_should_enable_large_folio()`, fs/ext4/inode.c, v6.16).
const EXT4_LARGE: Release = Release::new(6, 16, 0);

impl Files {
    pub(super) const fn new(scratch: PathBuf) -> Files {
        Files { open: BTreeMap::new(), scratch, mount_point: None, large_folios: OnceCell::new() }
    }

    /// Why there can be no file of this kind, if so.
    pub(super) fn lacks(&self, kind: FileKind) -> Option<&'static str> {
        let (magic, why) = match kind {
            FileKind::Tmpfs | FileKind::Memfd => return None,
            FileKind::FsDax => return Some("there is no DAX file system"),
            FileKind::Ext4 => (EXT4, "the scratch folder is not on ext4: name another one with --scratch"),
            FileKind::Xfs => (XFS, "the scratch folder is not on xfs: name another one with --scratch"),
        };
        if file_system(&self.scratch) != Some(magic) {
            return Some(why);
        }
        let is_small = kind == FileKind::Ext4
            && super::release() >= Some(EXT4_LARGE)
            && !*self.large_folios.get_or_init(|| large_folios(&self.scratch).unwrap_or(false));
        is_small.then_some(
            "the ext4 of the scratch folder takes no large folios: name another one with --scratch",
        )
    }

    /// Forgets all files.
    pub(super) fn clear(&mut self) {
        self.open.clear();
    }

    /// Makes a file of so many pages.
    pub(super) fn make(
        &mut self,
        (name, pages): (&Name, u64),
        kind: FileKind,
        huge: Option<Huge>,
        settings: &mut Settings,
    ) -> io::Result<()> {
        let file = match kind {
            FileKind::Memfd => {
                // SAFETY: the name ends with a 0; what is returned is a fresh descriptor.
                unsafe {
                    let fd = libc::memfd_create(c"mapcount".as_ptr(), libc::MFD_CLOEXEC);
                    if fd < 0 {
                        return Err(io::Error::last_os_error());
                    }
                    File::from_raw_fd(fd)
                }
            }
            FileKind::Tmpfs => self.on_tmpfs(huge, settings)?,
            FileKind::Ext4 | FileKind::Xfs | FileKind::FsDax => scratch_file(&self.scratch)?,
        };
        file.set_len(pages * PAGE)?;
        self.open.insert(name.as_str().to_owned(), file);
        Ok(())
    }

    /// truncate(2).
    pub(super) fn truncate(&self, name: &Name, pages: u64) -> Result<io::Result<()>, Trouble> {
        Ok(self.file(name)?.set_len(pages * PAGE))
    }

    /// fallocate(2) with FALLOC_FL_PUNCH_HOLE.
    pub(super) fn punch(&self, name: &Name, start: u64, end: u64) -> Result<io::Result<()>, Trouble> {
        let fd = self.file(name)?.as_raw_fd();
        let mode = libc::FALLOC_FL_PUNCH_HOLE | libc::FALLOC_FL_KEEP_SIZE;
        let (offset, length) = (start * PAGE, (end - start) * PAGE);
        // SAFETY: the call takes numbers and a descriptor that is open.
        let done = unsafe { libc::fallocate(fd, mode, offset as libc::off_t, length as libc::off_t) };
        Ok(if done < 0 { Err(io::Error::last_os_error()) } else { Ok(()) })
    }

    /// A path under which a process of the subject can open the file.
    pub(super) fn path(&self, name: &Name) -> Result<String, Trouble> {
        Ok(format!("/proc/{}/fd/{}", std::process::id(), self.file(name)?.as_raw_fd()))
    }

    fn file(&self, name: &Name) -> Result<&File, Trouble> {
        self.open.get(name.as_str()).ok_or_else(|| {
            let message = format!("there is no file `{}` at this point", name.as_str());
            Trouble::Scenario(Box::new(Diagnostic::error(message, name.span, "not made yet")))
        })
    }

    /// A file on a fresh tmpfs, which nobody else sees; it is gone when its file is.
    fn on_tmpfs(&mut self, huge: Option<Huge>, settings: &mut Settings) -> io::Result<File> {
        let point = self.mount_point(settings)?;
        let options = huge.map_or_else(String::new, |huge| format!("huge={huge}"));
        mount(Some("tmpfs"), &point, 0, &options)?;
        let path = point.join("file");
        let file = OpenOptions::new().read(true).write(true).create_new(true).open(&path);
        let point = CString::new(point.as_os_str().as_bytes())?;
        // SAFETY: the path ends with a 0.
        unsafe { libc::umount2(point.as_ptr(), libc::MNT_DETACH) };
        file
    }

    fn mount_point(&mut self, settings: &mut Settings) -> io::Result<PathBuf> {
        if let Some(point) = &self.mount_point {
            return Ok(point.clone());
        }
        let point = self.scratch.join(format!("mapcount-{}", std::process::id()));
        settings.undo(&Undo::RemoveFolder(&point))?;
        fs::create_dir_all(&point)?;
        own_mounts()?;
        self.mount_point = Some(point.clone());
        Ok(point)
    }
}

/// Gives this thread a mount namespace of its own: what it mounts is seen by nobody else.
pub(super) fn own_mounts() -> io::Result<()> {
    // SAFETY: the call takes a number.
    if unsafe { libc::unshare(libc::CLONE_NEWNS) } < 0 {
        return Err(io::Error::last_os_error());
    }
    mount(None, Path::new("/"), libc::MS_REC | libc::MS_PRIVATE, "")
}

/// mount(2) of a file system that has no device.
pub(super) fn mount(kind: Option<&str>, point: &Path, flags: libc::c_ulong, options: &str) -> io::Result<()> {
    let point = CString::new(point.as_os_str().as_bytes())?;
    let kind = CString::new(kind.unwrap_or("none"))?;
    let options = CString::new(options)?;
    // SAFETY: all strings end with a 0.
    let done =
        unsafe { libc::mount(kind.as_ptr(), point.as_ptr(), kind.as_ptr(), flags, options.as_ptr().cast()) };
    if done < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// What statfs(2) says of a file system: EXT4_SUPER_MAGIC and XFS_SUPER_MAGIC (linux/magic.h).
const EXT4: i64 = 0xef53;
const XFS: i64 = 0x5846_5342;

/// The kind of file system that a folder is on.
fn file_system(folder: &Path) -> Option<i64> {
    let folder = CString::new(folder.as_os_str().as_bytes()).ok()?;
    // SAFETY: the path ends with a 0, and a zeroed `statfs` is valid and good for writing.
    unsafe {
        let mut about: libc::statfs = std::mem::zeroed();
        (libc::statfs(folder.as_ptr(), &raw mut about) == 0).then_some(about.f_type)
    }
}

/// A file in a folder on a disk, without a name, that goes with its last user.
pub(super) fn scratch_file(folder: &Path) -> io::Result<File> {
    let path = folder.join(format!("mapcount-{}.scratch", std::process::id()));
    let file = OpenOptions::new().read(true).write(true).create(true).truncate(true).open(&path)?;
    fs::remove_file(&path)?;
    Ok(file)
}

/// Whether a file in `folder` gets large folios: reading ahead through 2 MiB takes some where they are possible.
fn large_folios(folder: &Path) -> io::Result<bool> {
    const BYTES: usize = 2 << 20;
    let file = scratch_file(folder)?;
    file.set_len(BYTES as u64)?;
    // SAFETY: a fresh mapping where the kernel likes it, of a file that is as long; its pages are only read.
    let start = unsafe {
        libc::mmap(std::ptr::null_mut(), BYTES, libc::PROT_READ, libc::MAP_SHARED, file.as_raw_fd(), 0)
    };
    if start == libc::MAP_FAILED {
        return Err(io::Error::last_os_error());
    }
    for at in (0..BYTES).step_by(PAGE as usize) {
        // SAFETY: within the mapping, which nobody else knows.
        unsafe { start.cast::<u8>().add(at).read_volatile() };
    }
    let found = is_any_large(start.addr() as u64 / PAGE, BYTES as u64 / PAGE);
    // SAFETY: the mapping was made above.
    unsafe { libc::munmap(start, BYTES) };
    Ok(found.unwrap_or(false))
}

/// Whether a page of this process is part of a large folio.
fn is_any_large(first: u64, pages: u64) -> Result<bool, Unavailable> {
    let mut words = Vec::new();
    Words::need("/proc/self/pagemap")?.read(first, pages, &mut words)?;
    let mut flags = Words::need(KPAGEFLAGS)?;
    let mut one = Vec::new();
    for word in words.iter().filter(|word| **word & PRESENT != 0) {
        flags.read(word & FRAME_BITS, 1, &mut one)?;
    }
    Ok(one.iter().any(|flags| flags & (kpf::HEAD | kpf::TAIL) != 0))
}

/// Writes at a place of a file.
pub(super) fn write_at(file: &File, bytes: &[u8], offset: u64) -> io::Result<()> {
    file.write_all_at(bytes, offset)
}
