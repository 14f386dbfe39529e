//! What the kernel or its administrator does: files of debugfs, sysfs and procfs, and calls of the driver.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use mapcount_script::ast::{FileKind, KernelVerb, Name, Region, Size, Value};
use mapcount_script::diagnostic::{Diagnostic, Span};

use super::files::{mount, own_mounts};
use super::{Ended, PAGE, PMD_ORDER, Subject, Trouble, errno, khugepaged};

const THP: &str = "/sys/kernel/mm/transparent_hugepage";
const DEBUGFS: &str = "/sys/kernel/debug";
const SPLIT: &str = "/sys/kernel/debug/split_huge_pages";
const HUGETLB: &str = "/proc/sys/vm/nr_hugepages";
const HUGE_PAGES: &str = "/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages";
const DROP_CACHES: &str = "/proc/sys/vm/drop_caches";

/// The flags of move_pages(2) (linux/mempolicy.h).
const MPOL_MF_MOVE: libc::c_long = 2;
const MPOL_MF_MOVE_ALL: libc::c_long = 4;

type Done = Result<Ended, Trouble>;

impl Subject {
    /// Why this machine cannot do it at all.
    pub(super) fn lacks_verb(&self, verb: &KernelVerb) -> Option<&'static str> {
        match verb {
            KernelVerb::Split { list: true, .. } => Some("debugfs passes no list"),
            KernelVerb::Split { .. } => match self.splitter {
                Splitter::Beyond(why) => Some(why),
                _ => None,
            },
            KernelVerb::File { kind: FileKind::Memfd, huge: Some(_), .. } => {
                Some("a memfd has no huge= of its own")
            }
            KernelVerb::File { kind, .. } => self.files.lacks(*kind),
            KernelVerb::Beyond(..) => Some("the model does not have it"),
            KernelVerb::Khugepaged(_) => khugepaged::lacks(),
            KernelVerb::Ksm(_) => self.ksmd.lacks(|pid| self.live.values().any(|process| process.pid == pid)),
            KernelVerb::SwapOn(size) => self.swap.lacks(size.and_then(|size| size.pages(PMD_ORDER))),
            KernelVerb::SwapOff => self.swap.lacks(None),
            KernelVerb::Hugetlb(_) => (!Path::new(HUGETLB).exists()).then_some("hugetlb is not built in"),
            KernelVerb::Migrate { .. } => (!self.drain.moves()).then_some("move_pages is not built in"),
            KernelVerb::DropCaches(_) => (!Path::new(DROP_CACHES).exists()).then_some("no drop_caches"),
            _ => None,
        }
    }

    pub(super) fn kernel_verb(&mut self, verb: &KernelVerb, span: Span) -> Done {
        if let Some(why) = self.lacks_verb(verb) {
            return Ok(Ended::Unsupported(why.to_owned()));
        }
        // A daemon that starts anew begins at once.
        if matches!(verb, KernelVerb::Thp(_) | KernelVerb::Mthp(..) | KernelVerb::ShmemMthp(..)) {
            self.khugepaged_rests = false;
        }
        let result = match verb {
            KernelVerb::File { name, size, kind, huge } => {
                let pages = Subject::size(*size, span)?;
                self.files.make((name, pages), *kind, *huge, &mut self.settings)
            }
            KernelVerb::Truncate { file, size } => {
                let pages = size.pages_or_zero(PMD_ORDER).unwrap_or(0);
                self.files.truncate(file, pages)?
            }
            KernelVerb::Punch { file, start, end } => self.files.punch(file, *start, *end)?,
            KernelVerb::DropCaches(which) => {
                self.drain.others_work();
                write(Path::new(DROP_CACHES), &which.to_string())
            }
            KernelVerb::Split { region, order, at, .. } => return self.split(region, *order, *at),
            // No list was ever filled.
            KernelVerb::PutBack => Ok(()),
            KernelVerb::Migrate { region, node, all } => return self.migrate(region, *node, *all),
            KernelVerb::Khugepaged(region) => return self.khugepaged(region),
            KernelVerb::Beyond(..) => unreachable!("lacking everywhere"),
            // A pass over nothing changes nothing.
            KernelVerb::Ksm(_) if !self.merges => Ok(()),
            KernelVerb::Ksm(passes) => {
                self.drain.others_work();
                self.ksmd.scan(*passes, &mut self.settings)
            }
            // The header of a device that is in use is left alone.
            KernelVerb::SwapOn(_) if self.swap.is_on() => Err(io::Error::from_raw_os_error(libc::EBUSY)),
            KernelVerb::SwapOn(size) => {
                self.drain.others_work();
                let room = size.map(|size| Subject::size(size, span)).transpose()?;
                self.swap.on(room, &mut self.settings)
            }
            KernelVerb::SwapOff if !self.swap.is_on() => Err(io::Error::from_raw_os_error(libc::EINVAL)),
            KernelVerb::SwapOff => {
                self.drain.others_work();
                self.swap.off()?
            }
            KernelVerb::Hugetlb(pages) => {
                let pages = u64::from(*pages) + self.others_huge;
                let result = self.settings.set(HUGETLB, &pages.to_string());
                if result.is_ok() && huge_pages() < pages {
                    return Ok(Ended::Unsupported(
                        "memory is too scattered for so many huge pages".to_owned(),
                    ));
                }
                result
            }
            KernelVerb::Thp(mode) => self.settings.set(Path::new(THP).join("enabled"), &mode.to_string()),
            KernelVerb::Mthp(size, mode) => {
                let path = size_file(Subject::size(*size, span)?, "enabled");
                self.settings.set(path, &mode.to_string())
            }
            KernelVerb::ShmemMthp(size, mode) => {
                let path = size_file(Subject::size(*size, span)?, "shmem_enabled");
                self.settings.set(path, &mode.to_string())
            }
            KernelVerb::Tune { key, value } => return self.tune(key, value),
            KernelVerb::Lru(batches) => {
                self.set_batches(*batches);
                Ok(())
            }
        };
        Ok(Ended::With(errno::of(&result)))
    }

    fn size(size: Size, span: Span) -> Result<u64, Trouble> {
        size.pages(PMD_ORDER).ok_or_else(|| {
            let error = Diagnostic::error("this size is not a number of pages", span, "in this step");
            Trouble::Scenario(Box::new(error))
        })
    }

    fn split(&self, region: &Region, order: Option<u8>, at: Option<u64>) -> Done {
        let process = region.process.as_ref().expect("the parser asks for one");
        let (start, bytes) = self.region(process, region)?;
        let pid = self.process(process)?.pid;
        let text = match self.splitter {
            Splitter::None => return Ok(Ended::With("ENOENT")),
            Splitter::All => "1".to_owned(),
            Splitter::Ranges => {
                let mut text = format!("{pid},{start:#x},{:#x}", start + bytes);
                if order.is_some() || at.is_some() {
                    text.push_str(&format!(",{}", order.unwrap_or(0)));
                }
                if let Some(at) = at {
                    text.push_str(&format!(",{at}"));
                }
                text
            }
            Splitter::Beyond(_) => unreachable!("lacking"),
        };
        Ok(Ended::With(errno::of(&write(Path::new(SPLIT), &text))))
    }

    fn migrate(&mut self, region: &Region, node: u32, all: bool) -> Done {
        let process = region.process.as_ref().expect("the parser asks for one");
        let (start, bytes) = self.region(process, region)?;
        let pid = self.process(process)?.pid;
        let pages: Vec<u64> = (start..start + bytes).step_by(PAGE as usize).collect();
        let nodes = vec![libc::c_int::try_from(node).unwrap_or(libc::c_int::MAX); pages.len()];
        let mut status = vec![0 as libc::c_int; pages.len()];
        let flags = if all { MPOL_MF_MOVE_ALL } else { MPOL_MF_MOVE };
        self.drain.others_work();
        // SAFETY: the three arrays have as many elements as stated; the addresses are the other process's.
        let moved = unsafe {
            libc::syscall(
                libc::SYS_move_pages,
                pid,
                pages.len(),
                pages.as_ptr(),
                nodes.as_ptr(),
                status.as_mut_ptr(),
                flags,
            )
        };
        let result = if moved < 0 { Err(io::Error::last_os_error()) } else { Ok(()) };
        Ok(Ended::With(errno::of(&result)))
    }

    fn tune(&mut self, key: &Name, value: &Value) -> Done {
        let number = match value {
            Value::Int(number) => *number,
            Value::Bool(on) => i64::from(*on),
            Value::Null | Value::Text(_) => {
                let error = Diagnostic::error("a tunable is a number", key.span, "expected a number");
                return Err(Trouble::Scenario(Box::new(error)));
            }
        };
        let path = match key.as_str() {
            "max_ptes_none" | "max_ptes_shared" | "max_ptes_swap" => {
                Path::new(THP).join("khugepaged").join(key.as_str())
            }
            "shrink_underused" => Path::new(THP).join(key.as_str()),
            other => return Ok(Ended::Unsupported(format!("`tune {other}` is not known"))),
        };
        Ok(Ended::With(errno::of(&self.settings.set(path, &number.to_string()))))
    }
}

/// The file of a size's setting.
fn size_file(pages: u64, file: &str) -> PathBuf {
    Path::new(THP).join(format!("hugepages-{}kB", (pages * PAGE) >> 10)).join(file)
}

/// debugfs' `split_huge_pages`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Splitter {
    /// It takes a process and a range (5.13 on).
    Ranges,
    /// It takes a 1, for every THP of the machine.
    All,
    /// There is no such file (up to 4.4).
    None,
    /// It cannot be reached: why.
    Beyond(&'static str),
}

impl Splitter {
    /// Looks for it. Mounts debugfs, where it is built in but not mounted, so that nobody else sees it.
    pub(super) fn find() -> Splitter {
        let is_mounted = || fs::read_dir(DEBUGFS).is_ok_and(|mut entries| entries.next().is_some());
        let reached = is_mounted()
            || (own_mounts().is_ok() && mount(Some("debugfs"), Path::new(DEBUGFS), 0, "").is_ok());
        if !reached {
            return Splitter::Beyond("debugfs is not built in");
        }
        // One that takes ranges says ESRCH for a process that is not there; one that takes a number cannot
        // read this.
        let asked = write(Path::new(SPLIT), "0,0x0,0x1000");
        match asked.map_err(|error| error.raw_os_error()) {
            Err(Some(libc::ENOENT)) => Splitter::None,
            Err(Some(libc::EPERM | libc::EACCES)) => Splitter::Beyond("lockdown keeps debugfs closed"),
            Err(Some(libc::EINVAL)) => Splitter::All,
            _ => Splitter::Ranges,
        }
    }
}

/// How many huge pages there are, those that were taken beyond the pool's size among them; 0 without hugetlb. With a pool
/// of none these are the ones that others use or have reserved.
pub(super) fn huge_pages() -> u64 {
    let text = fs::read_to_string(HUGE_PAGES).unwrap_or_default();
    text.trim().parse().unwrap_or(0)
}

/// Writes to a file of the kernel in one call.
fn write(path: &Path, text: &str) -> io::Result<()> {
    OpenOptions::new().write(true).open(path)?.write_all(text.as_bytes())
}
