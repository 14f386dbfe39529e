//! What processes do: each verb is the system call that it stands for.

use mapcount_script::ast::{Advice, Backing, Name, ProcessVerb, Protection, Region, Size, Thp};
use mapcount_script::diagnostic::{Diagnostic, Span};

use super::shared::{Op, Reply, request};
use super::{Ended, Held, Live, PAGE, PMD_ORDER, Subject, Trouble, errno, lost};
use crate::procfs::smaps::eligible;

/// MADV_POPULATE_READ and MADV_POPULATE_WRITE (5.14), MADV_COLLAPSE (6.1), MADV_COLD and MADV_PAGEOUT (5.4).
const MADV_COLD: i32 = 20;
const MADV_PAGEOUT: i32 = 21;
const MADV_POPULATE_READ: i32 = 22;
const MADV_POPULATE_WRITE: i32 = 23;
const MADV_COLLAPSE: i32 = 25;

type Done = Result<Ended, Trouble>;

impl Subject {
    pub(super) fn process_verb(&mut self, name: &Name, verb: &ProcessVerb, span: Span) -> Done {
        if let Some(why) = self.abilities.lacks(verb) {
            return Ok(Ended::Unsupported(why.to_owned()));
        }
        let pages = |region: &Region| self.region(name, region);
        let (op, arguments) = match verb {
            ProcessVerb::Mmap { .. } => return self.mmap(name, verb, span),
            ProcessVerb::Reserve { name: mapping, size } => return self.reserve(name, mapping, *size, span),
            ProcessVerb::Read(region) => (Op::Touch, with(pages(region)?, [0, 0])),
            ProcessVerb::Write(region) => {
                // Not 0, and another than that of any other process that is alive.
                let byte = self.process(name)?.slot as u64 + 1;
                (Op::Touch, with(pages(region)?, [1, byte]))
            }
            ProcessVerb::Fill(region, byte) => (Op::Touch, with(pages(region)?, [2, u64::from(*byte)])),
            ProcessVerb::Munmap(region) => (Op::Munmap, with(pages(region)?, [0, 0])),
            ProcessVerb::Mprotect(region, protection) => {
                let bits = match protection {
                    Protection::Ro => libc::PROT_READ,
                    Protection::Rw => libc::PROT_READ | libc::PROT_WRITE,
                    Protection::None => libc::PROT_NONE,
                };
                (Op::Mprotect, with(pages(region)?, [bits as u64, 0]))
            }
            ProcessVerb::Mlock(region) => (Op::Mlock, with(pages(region)?, [0, 0])),
            ProcessVerb::Munlock(region) => (Op::Munlock, with(pages(region)?, [0, 0])),
            ProcessVerb::Mremap { from, to, page } => {
                let (start, bytes) = pages(from)?;
                let window = self.window(name, to)?;
                if page.saturating_add(bytes / PAGE) > window.room {
                    let message = format!("`{}` has room for {} pages", to.as_str(), window.room);
                    let error = Diagnostic::error(message, to.span, "too small");
                    return Err(Trouble::Scenario(Box::new(error)));
                }
                let arguments = with((start, bytes), [window.start + page * PAGE, 0]);
                if self.process(name)?.huge.contains(from.mapping.as_str()) {
                    self.live_mut(name).huge.insert(to.as_str().to_owned());
                }
                (Op::Mremap, arguments)
            }
            ProcessVerb::Madvise(region, advice) => {
                let region = pages(region)?;
                if *advice == Advice::Pageout && self.swap.is_on() {
                    self.drain.others_work();
                }
                self.merges |= *advice == Advice::Mergeable;
                return self.advise(name, region, *advice);
            }
            ProcessVerb::Userfault(..) => {
                return Ok(Ended::Unsupported("the model does not have it".to_owned()));
            }
            ProcessVerb::Fork(child) => return self.fork(name, child),
            ProcessVerb::Exit => {
                self.process(name)?;
                self.exit_process(name.as_str())?;
                return Ok(Ended::With("ok"));
            }
            ProcessVerb::Get(region) | ProcessVerb::Pin(region) => {
                return self.hold(name, pages(region)?, matches!(verb, ProcessVerb::Pin(_)));
            }
            ProcessVerb::Put(region) | ProcessVerb::Unpin(region) => {
                return self.drop_hold(name, region, matches!(verb, ProcessVerb::Unpin(_)));
            }
            ProcessVerb::SplitPmd(region) if self.has_huge_pages(name, region)? => {
                // An area of huge pages that was cut would not become one again; to cut a huge page is refused.
                let (start, _) = pages(region)?;
                let inside = start - start % (PAGE << PMD_ORDER) + PAGE;
                (Op::Madvise, with((inside, PAGE), [libc::MADV_DONTFORK as u64, 0]))
            }
            ProcessVerb::SplitPmd(region) => (Op::SplitPmd, with(pages(region)?, [0, 0])),
        };
        let [result, _] = self.ask(name, op, arguments)?;
        Ok(Ended::With(errno::outcome(result)))
    }

    /// Whether a region begins with pages of the hugetlb pool. Other areas may have come to their window by mremap(2).
    fn has_huge_pages(&self, name: &Name, region: &Region) -> Result<bool, Trouble> {
        let process = self.process(name)?;
        let Some(window) = process.windows.get(region.mapping.as_str()) else { return Ok(false) };
        if !process.huge.contains(region.mapping.as_str()) {
            return Ok(false);
        }
        let (start, _) = self.region(name, region)?;
        let areas = eligible(process.pid.cast_unsigned(), &[*window])
            .map_err(|error| Trouble::Lost(format!("smaps of {}: {error}", name.as_str())))?;
        Ok(areas.iter().any(|area| area.hugetlb && area.start <= start && start < area.end))
    }

    /// Asks a process to do something.
    pub(super) fn ask(&self, name: &Name, op: Op, arguments: [u64; 6]) -> Result<Reply, Trouble> {
        let slot = self.process(name)?.slot;
        let what = || format!("{}: {op:?}", name.as_str());
        self.zygote.ask(slot, &request(op, arguments)).map_err(|silent| lost(silent, &what()))
    }

    fn advise(&self, name: &Name, region: (u64, u64), advice: Advice) -> Done {
        let number = match advice {
            Advice::DontNeed => libc::MADV_DONTNEED,
            Advice::Free => libc::MADV_FREE,
            Advice::Pageout => MADV_PAGEOUT,
            Advice::Cold => MADV_COLD,
            Advice::Collapse => MADV_COLLAPSE,
            Advice::Hugepage => libc::MADV_HUGEPAGE,
            Advice::NoHugepage => libc::MADV_NOHUGEPAGE,
            Advice::Mergeable => libc::MADV_MERGEABLE,
            Advice::Unmergeable => libc::MADV_UNMERGEABLE,
            Advice::PopulateRead => MADV_POPULATE_READ,
            Advice::PopulateWrite => MADV_POPULATE_WRITE,
            Advice::Remove => libc::MADV_REMOVE,
        };
        let [result, _] = self.ask(name, Op::Madvise, with(region, [number as u64, 0]))?;
        if advice == Advice::Pageout && self.swap.is_on() {
            self.swap.wait_for_writes();
        }
        Ok(Ended::With(errno::outcome(result)))
    }

    fn pages(size: Size, span: Span) -> Result<u64, Trouble> {
        size.pages(PMD_ORDER).ok_or_else(|| {
            let error = Diagnostic::error("this size is not a number of pages", span, "in this step");
            Trouble::Scenario(Box::new(error))
        })
    }

    fn mmap(&mut self, name: &Name, verb: &ProcessVerb, span: Span) -> Done {
        let ProcessVerb::Mmap { name: mapping, size, backing, shared, advice, read_only } = verb else {
            unreachable!("called for mmap");
        };
        let mut pages = Subject::pages(*size, span)?;
        if *backing == Backing::Hugetlb {
            // mmap(2) rounds it up to huge pages.
            pages = pages.next_multiple_of(1 << PMD_ORDER);
        }
        let existing = self.process(name)?.windows.get(mapping.as_str()).copied();
        let window = match existing {
            Some(window) if pages + 512 <= window.room => {
                crate::observer::Window { pages: pages.max(window.pages), ..window }
            }
            _ => match self.take_window(pages) {
                Some(window) => window,
                None => return Ok(Ended::With("ENOMEM")),
            },
        };
        // From 4.17 on the kernel refuses to map over what is there.
        let mut flags = libc::MAP_FIXED | libc::MAP_FIXED_NOREPLACE;
        flags |= if *shared { libc::MAP_SHARED } else { libc::MAP_PRIVATE };
        let (mut offset, mut file) = (0, 0);
        match backing {
            Backing::Anon => flags |= libc::MAP_ANONYMOUS | libc::MAP_NORESERVE,
            Backing::Hugetlb => flags |= libc::MAP_ANONYMOUS | libc::MAP_HUGETLB,
            Backing::Dax(_) => return Ok(Ended::Unsupported("there is no DAX device to map".to_owned())),
            Backing::File { file: name, from_page } => {
                let path = self.files.path(name)?;
                self.zygote.set_path(&path);
                (offset, file) = (from_page * PAGE, 1);
            }
        }
        let protection = libc::PROT_READ | if *read_only { 0 } else { libc::PROT_WRITE };
        let arguments = [window.start, pages * PAGE, protection as u64, flags as u64, offset, file];
        let [mut result, _] = self.ask(name, Op::Mmap, arguments)?;
        if result == -i64::from(libc::EEXIST) {
            let message = format!("`{}` is mapped already", mapping.as_str());
            return Err(Trouble::Scenario(Box::new(Diagnostic::error(message, mapping.span, "in use"))));
        }
        if result >= 0 {
            let advice = match advice {
                None => None,
                Some(Thp::Huge) => Some(libc::MADV_HUGEPAGE),
                Some(Thp::NoHuge) => Some(libc::MADV_NOHUGEPAGE),
            };
            if let Some(advice) = advice {
                let range = (window.start, pages * PAGE);
                [result, _] = self.ask(name, Op::Madvise, with(range, [advice as u64, 0]))?;
            }
            let live = self.live_mut(name);
            live.windows.insert(mapping.as_str().to_owned(), window);
            if *backing == Backing::Hugetlb {
                live.huge.insert(mapping.as_str().to_owned());
            } else {
                live.huge.remove(mapping.as_str());
            }
        }
        Ok(Ended::With(errno::outcome(result)))
    }

    fn reserve(&mut self, name: &Name, mapping: &Name, size: Size, span: Span) -> Done {
        let pages = Subject::pages(size, span)?;
        let existing = self.process(name)?.windows.get(mapping.as_str()).copied();
        let window = match existing {
            Some(window) if pages + 512 <= window.room => {
                Some(crate::observer::Window { pages: pages.max(window.pages), ..window })
            }
            Some(_) => None,
            None => self.take_window(pages),
        };
        let Some(window) = window else { return Ok(Ended::With("ENOMEM")) };
        self.live_mut(name).windows.insert(mapping.as_str().to_owned(), window);
        Ok(Ended::With("ok"))
    }

    fn live_mut(&mut self, name: &Name) -> &mut Live {
        self.live.get_mut(name.as_str()).expect("looked up before")
    }

    fn fork(&mut self, name: &Name, child: &Name) -> Done {
        if self.live.contains_key(child.as_str()) {
            let message = format!("`{}` is alive already", child.as_str());
            return Err(Trouble::Scenario(Box::new(Diagnostic::error(message, child.span, "taken"))));
        }
        let parent = self.process(name)?;
        let (windows, huge) = (parent.windows.clone(), parent.huge.clone());
        let Some(slot) = self.free_slot() else {
            return Ok(Ended::Unsupported("more processes than mapcount keeps track of".to_owned()));
        };
        let [pid, _] = self.ask(name, Op::Fork, [slot as u64, 0, 0, 0, 0, 0])?;
        let Ok(pid) = libc::pid_t::try_from(pid) else { return Ok(Ended::With(errno::outcome(pid))) };
        if pid < 0 {
            return Ok(Ended::With(errno::outcome(pid.into())));
        }
        let what = format!("{}: fork {}", name.as_str(), child.as_str());
        self.zygote.ready(slot).map_err(|silent| lost(silent, &what))?;
        let live = Live { huge, ..Live::new(slot, pid, windows) };
        self.live.insert(child.as_str().to_owned(), live);
        Ok(Ended::With("ok"))
    }

    fn hold(&mut self, name: &Name, (start, bytes): (u64, u64), is_pin: bool) -> Done {
        let number = self.next_hold;
        self.next_hold += 1;
        let op = if is_pin { Op::Pin } else { Op::Get };
        let [result, _] = self.ask(name, op, [start, bytes, number, 0, 0, 0])?;
        if result >= 0 {
            self.live_mut(name).held.push(Held { start, bytes, is_pin, number });
        }
        Ok(Ended::With(errno::outcome(result)))
    }

    fn drop_hold(&mut self, name: &Name, region: &Region, is_pin: bool) -> Done {
        let (start, bytes) = self.region(name, region)?;
        self.process(name)?;
        let held = &mut self.live_mut(name).held;
        let found =
            held.iter().rposition(|held| (held.start, held.bytes, held.is_pin) == (start, bytes, is_pin));
        let Some(index) = found else {
            let took = if is_pin { "pin" } else { "get" };
            let message = format!("`{}` holds no `{took}` of exactly this region", name.as_str());
            let error = Diagnostic::error(message, region.span, "nothing to drop");
            return Err(Trouble::Scenario(Box::new(error)));
        };
        let held = held.remove(index);
        let [result, _] = self.ask(name, Op::Drop, [held.number, 0, 0, 0, 0, 0])?;
        Ok(Ended::With(errno::outcome(result)))
    }
}

/// Address and bytes, then two more arguments.
const fn with((start, bytes): (u64, u64), [c, d]: [u64; 2]) -> [u64; 6] {
    [start, bytes, c, d, 0, 0]
}
