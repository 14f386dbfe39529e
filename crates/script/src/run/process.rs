//! What processes do: each verb is an operation of the model.

use std::rc::Rc;

use mapcount_model::event::Errno;
use mapcount_model::machine::vma::{Protection as Allowed, ThpAdvice, Vma};
use mapcount_model::machine::{Mm, lock::Lock};
use mapcount_model::ops::fault::Access;
use mapcount_model::ops::{
    collapse, dax, exit, fault, fork, hold, hugetlb, ksm, madvise, mlock, mprotect, mremap, munmap, pageout,
    split_pmd,
};
use mapcount_model::units::Order;

use super::{Finding, Process, Runner};
use crate::ast::{Advice, Backing, DaxAlign, Name, ProcessVerb, Protection, Region, Size, Thp};
use crate::diagnostic::{Diagnostic, Span};

/// Pages of all DAX devices of a machine together: 4 GiB.
const DEVICE_PAGES: u64 = 1 << 20;

pub(super) type Done = Result<Result<(), Errno>, Box<Finding>>;

impl Runner<'_> {
    pub(super) fn process_verb(&mut self, name: &Name, verb: &ProcessVerb, span: Span) -> Done {
        let mm = Rc::clone(&self.process(name)?.mm);
        let m = &self.machine;
        Ok(match verb {
            ProcessVerb::Mmap { .. } => return self.mmap(name, verb, span),
            ProcessVerb::Reserve { name: mapping, size } => return self.reserve(name, mapping, *size, span),
            ProcessVerb::Read(region) => fault::touch(m, &mm, self.region(name, region)?, Access::Read),
            ProcessVerb::Write(region) => fault::touch(m, &mm, self.region(name, region)?, Access::Write),
            ProcessVerb::Fill(region, byte) => {
                fault::touch(m, &mm, self.region(name, region)?, Access::Fill(*byte))
            }
            ProcessVerb::Munmap(region) => munmap::unmap(m, &mm, self.region(name, region)?),
            ProcessVerb::Mprotect(region, protection) => {
                let protection = match protection {
                    Protection::Ro => Allowed::READ,
                    Protection::Rw => Allowed::READ_WRITE,
                    Protection::None => Allowed::NONE,
                };
                mprotect::protect(m, &mm, self.region(name, region)?, protection)
            }
            ProcessVerb::Mlock(region) => mlock::lock(m, &mm, self.region(name, region)?),
            ProcessVerb::Munlock(region) => mlock::unlock(m, &mm, self.region(name, region)?),
            ProcessVerb::Mremap { from, to, page } => return self.mremap(name, from, to, *page),
            ProcessVerb::Madvise(region, advice) => {
                return self.madvise(&mm, self.region(name, region)?, *advice);
            }
            ProcessVerb::Fork(child) => return self.fork(name, child),
            ProcessVerb::Exit => {
                exit::exit(m, &mm);
                self.processes.remove(name.as_str());
                Ok(())
            }
            ProcessVerb::Get(region) => hold::get(m, &mm, self.region(name, region)?),
            ProcessVerb::Pin(region) => hold::pin(m, &mm, self.region(name, region)?),
            ProcessVerb::Put(region) => {
                let held = hold::put(m, &mm, self.region(name, region)?);
                return self.dropped(held, name, region, "get");
            }
            ProcessVerb::Unpin(region) => {
                let held = hold::unpin(m, &mm, self.region(name, region)?);
                return self.dropped(held, name, region, "pin");
            }
            ProcessVerb::Userfault(..) => return Err(Finding::not_modelled("userfaultfd", span)),
            ProcessVerb::SplitPmd(region) => self.split_pmds(&mm, self.region(name, region)?),
        })
    }

    fn dropped(&self, held: bool, name: &Name, region: &Region, took: &str) -> Done {
        if held {
            return Ok(Ok(()));
        }
        let message = format!("`{}` holds no `{took}` of exactly this region", name.as_str());
        let error = Diagnostic::error(message, region.span, "nothing to drop");
        Err(Finding::scenario(
            error.help(format!("name the region of an earlier `{took}` that was not dropped yet")),
        ))
    }

    fn mmap(&mut self, name: &Name, verb: &ProcessVerb, span: Span) -> Done {
        let ProcessVerb::Mmap { name: mapping, size, backing, shared, advice, read_only } = verb else {
            unreachable!("called for mmap");
        };
        if let Backing::File { file, .. } = backing {
            self.file(file)?;
        }
        let mut pages = self.pages(*size, span)?;
        if *backing == Backing::Hugetlb {
            pages = self.huge_pages(pages, *shared, span)?;
        }
        let existing = self.process(name)?.windows.get(mapping.as_str()).copied();
        let mm = Rc::clone(&self.process(name)?.mm);
        let window = match existing {
            Some(window)
                if !mm.vmas.borrow().overlapping(window.start, window.start + window.room).is_empty() =>
            {
                let message = format!("`{}` is mapped already", mapping.as_str());
                let error = Diagnostic::error(message, mapping.span, "in use");
                return Err(Finding::scenario(error.help("unmap it first, or take another name")));
            }
            Some(window) if pages + 512 <= window.room => {
                super::Window { pages: pages.max(window.pages), ..window }
            }
            _ => match self.take_window(pages) {
                Some(window) => window,
                None => return Ok(Err(Errno::Enomem)),
            },
        };
        let advice = match advice {
            None => ThpAdvice::None,
            Some(Thp::Huge) => ThpAdvice::Huge,
            Some(Thp::NoHuge) => ThpAdvice::NoHuge,
        };
        let protection = if *read_only { Allowed::READ } else { Allowed::READ_WRITE };
        let range = (window.start, pages);
        if let Backing::Dax(align) = backing {
            let align = self.device_order(*align, pages, span)?;
            let no_huge = advice == ThpAdvice::NoHuge;
            let request = dax::Request { align, shared: *shared, protection, no_huge };
            if let Err(errno) = dax::map(&self.machine, &mm, range, request) {
                return Ok(Err(errno));
            }
        } else if *backing == Backing::Hugetlb {
            if let Err(errno) = hugetlb::map(&self.machine, &mm, range, protection, *shared) {
                return Ok(Err(errno));
            }
        } else {
            self.map(&mm, range, verb, (protection, advice))?;
        }
        self.process_mut(name).windows.insert(mapping.as_str().to_owned(), window);
        Ok(Ok(()))
    }

    /// The size of a mapping of huge pages: the kernel rounds it up. Processes that share as many as a PUD maps share
    /// the page table as well.
    fn huge_pages(&self, pages: u64, shared: bool, span: Span) -> Result<u64, Box<Finding>> {
        let order = self.scenario.pmd_order;
        if shared && pages >= u64::from(self.machine.pud_order().pages()) {
            let what = "a shared hugetlb mapping of a PUD's size, whose page tables processes share";
            return Err(Finding::not_modelled(what, span));
        }
        Ok(pages.checked_next_multiple_of(1 << order).unwrap_or(pages))
    }

    /// What one entry of a new DAX device of so many pages maps.
    fn device_order(&self, align: DaxAlign, pages: u64, span: Span) -> Result<Order, Box<Finding>> {
        let m = &self.machine;
        if m.policy.dax_is_mixed_map {
            let what = "DAX before 4.19, whose mappings are mixed maps (VM_MIXEDMAP)";
            return Err(Finding::not_modelled(what, span));
        }
        let mut used = 0;
        m.files.each(|file| used += file.device.map_or(0, |device| u64::from(device.frames.len)));
        if used.saturating_add(pages) > DEVICE_PAGES {
            return Err(Finding::not_modelled("DAX devices of more than 4 GiB together", span));
        }
        Ok(match align {
            DaxAlign::Pte => Order::ZERO,
            DaxAlign::Pmd => m.pmd_order(),
            DaxAlign::Pud => m.pud_order(),
        })
    }

    fn reserve(&mut self, name: &Name, mapping: &Name, size: Size, span: Span) -> Done {
        let pages = self.pages(size, span)?;
        let existing = self.process(name)?.windows.get(mapping.as_str()).copied();
        let window = match existing {
            Some(window) if pages + 512 <= window.room => {
                Some(super::Window { pages: pages.max(window.pages), ..window })
            }
            Some(_) => None,
            None => self.take_window(pages),
        };
        match window {
            Some(window) => {
                self.process_mut(name).windows.insert(mapping.as_str().to_owned(), window);
                Ok(Ok(()))
            }
            None => Ok(Err(Errno::Enomem)),
        }
    }

    fn process_mut(&mut self, name: &Name) -> &mut Process {
        self.processes.get_mut(name.as_str()).expect("looked up before")
    }

    /// A size in pages.
    pub(super) fn pages(&self, size: Size, span: Span) -> Result<u64, Box<Finding>> {
        size.pages(self.scenario.pmd_order).ok_or_else(|| {
            let error = Diagnostic::error("this size is not a number of pages", span, "in this step");
            Finding::scenario(error.help("sizes are multiples of 4K and fit 64 bits"))
        })
    }

    fn mremap(&mut self, name: &Name, from: &Region, to: &Name, page: u64) -> Done {
        let (start, pages) = self.region(name, from)?;
        let window = self.window(name, to)?;
        // What is reserved bounds it where something is; else the address space that the name has.
        if page + pages > window.room {
            let message = format!("`{}` has room for {} pages", to.as_str(), window.room);
            let label = format!("this would need {}", page.saturating_add(pages));
            return Err(Finding::scenario(Diagnostic::error(message, to.span, label)));
        }
        let mm = Rc::clone(&self.process(name)?.mm);
        let touches_device = |start| self.maps_device(&mm, (start, pages));
        if touches_device(start) || touches_device(window.start + page) {
            return Err(Finding::not_modelled("`mremap` of a DAX device", from.span));
        }
        Ok(mremap::remap(&self.machine, &mm, start, window.start + page, pages))
    }

    /// Whether a range of addresses maps a DAX device.
    fn maps_device(&self, mm: &Mm, (start, pages): (u64, u64)) -> bool {
        let vmas = mm.vmas.borrow();
        vmas.overlapping(start, start + pages).iter().any(|area| self.machine.device_of(area).is_some())
    }

    fn madvise(&self, mm: &Mm, region: (u64, u64), advice: Advice) -> Done {
        let m = &self.machine;
        Ok(match advice {
            Advice::DontNeed => madvise::dontneed(m, mm, region),
            Advice::Remove => madvise::remove(m, mm, region),
            Advice::Cold => pageout::cold(m, mm, region),
            Advice::Pageout => pageout::madvise(m, mm, region),
            Advice::Collapse => collapse::madvise(m, mm, region),
            Advice::Free => madvise::free(m, mm, region),
            Advice::Hugepage => madvise::advise_thp(m, mm, region, ThpAdvice::Huge),
            Advice::NoHugepage => madvise::advise_thp(m, mm, region, ThpAdvice::NoHuge),
            Advice::Mergeable => ksm::advise(m, mm, region, true),
            Advice::Unmergeable => ksm::advise(m, mm, region, false),
            Advice::PopulateRead => madvise::populate(m, mm, region, false),
            Advice::PopulateWrite => madvise::populate(m, mm, region, true),
        })
    }

    fn fork(&mut self, name: &Name, child: &Name) -> Done {
        if self.processes.contains_key(child.as_str()) {
            let message = format!("`{}` is alive already", child.as_str());
            let error = Diagnostic::error(message, child.span, "taken");
            return Err(Finding::scenario(error.help("take another name, or let it exit first")));
        }
        let parent = self.process(name)?;
        let windows = parent.windows.clone();
        match fork::fork(&self.machine, &parent.mm) {
            Ok(mm) => {
                self.processes.insert(child.as_str().to_owned(), Process { mm, windows });
                Ok(Ok(()))
            }
            Err(errno) => Ok(Err(errno)),
        }
    }

    fn split_pmds(&self, mm: &Mm, (start, pages): (u64, u64)) -> Result<(), Errno> {
        let _guard = self.machine.lock(Lock::Mmap(mm.id));
        let end = start + pages;
        // Changing what one page of them allows, which is how a process does it, is refused.
        let m = &self.machine;
        let large = |area: &Vma| m.device_of(area).is_some_and(|device| device.align > Order::ZERO);
        let whole = |area: &Vma| area.hugetlb.is_some() || large(area);
        if mm.vmas.borrow().overlapping(start, end).iter().any(whole) {
            return Err(Errno::Einval);
        }
        if !mm.vmas.borrow().covers(start, end) {
            return Err(Errno::Enomem);
        }
        let mut at = start;
        while let Some(found) = mm.table.next_pmd(at, end) {
            let vma = mm.vmas.borrow().find(found).expect("the range is covered");
            split_pmd::split_pmd(&self.machine, mm, &vma, found);
            at = mm.table.pmd_end(found);
        }
        Ok(())
    }
}
