//! What the kernel or its administrator does.

use std::rc::Rc;

use mapcount_model::event::Errno;
use mapcount_model::machine::config::ThpMode as Mode;
use mapcount_model::ops::{collapse, ksm, migrate, shrink, split, swap_in};
use mapcount_model::policy::DeferredQueue;
use mapcount_model::units::Order;

use super::process::Done;
use super::{Finding, Runner};
use crate::ast::{Hold, KernelVerb, MthpMode, Name, Region, Size, ThpMode, Value};
use crate::diagnostic::{Diagnostic, Span};

impl Runner<'_> {
    pub(super) fn kernel_verb(&mut self, verb: &KernelVerb, span: Span) -> Done {
        let m = &self.machine;
        Ok(match verb {
            KernelVerb::Split { region, order, at, list } => {
                let request = split::Request { order: Order(order.unwrap_or(0)), at: *at, list: *list };
                return self.split(region, request);
            }
            KernelVerb::PutBack => {
                split::put_back(m);
                Ok(())
            }
            KernelVerb::DropCaches(which) => {
                // 1 and 3 give up page cache, 2 and 3 run the shrinkers.
                if *which != 2 {
                    shrink::drop_page_cache(m);
                }
                if *which >= 2 {
                    shrink::deferred_split(m);
                    shrink::shared_memory(m);
                }
                Ok(())
            }
            KernelVerb::Thp(mode) => {
                m.config.borrow_mut().thp = match mode {
                    ThpMode::Always => Mode::Always,
                    ThpMode::Madvise => Mode::Madvise,
                    ThpMode::Never => Mode::Never,
                };
                Ok(())
            }
            KernelVerb::Mthp(size, mode) => return self.mthp(*size, *mode, span),
            KernelVerb::Tune { key, value } => return self.tune(key, value),
            KernelVerb::Lru(hold) => {
                match hold {
                    Hold::Hold => m.set_lru_hold(true),
                    Hold::Auto => m.set_lru_hold(false),
                    Hold::Drain => m.lru_drain(),
                }
                Ok(())
            }
            KernelVerb::File { name, size, kind, huge } => {
                return self.make_file((name, *size), *kind, *huge, span);
            }
            KernelVerb::Truncate { file, size } => return self.truncate(file, *size, span),
            KernelVerb::Punch { file, start, end } => return self.punch(file, (*start, *end)),
            KernelVerb::Migrate { region, node, all } => return self.migrate(region, *node, *all),
            KernelVerb::Khugepaged(region) => return self.khugepaged(region, span),
            KernelVerb::Ksm(_) if m.swap.is_used() => {
                return Err(Finding::not_modelled(
                    "`ksm` while something is in swap or in the swap cache",
                    span,
                ));
            }
            KernelVerb::Ksm(passes) => {
                ksm::scan(m, *passes);
                Ok(())
            }
            KernelVerb::Swap(true) => swap_in::swapon(m),
            KernelVerb::Swap(false) => swap_in::swapoff(m),
            KernelVerb::Hugetlb(pages) => {
                m.set_hugetlb_pool(*pages);
                Ok(())
            }
            KernelVerb::ShmemMthp(size, mode) => return self.shmem_mthp(*size, *mode, span),
        })
    }

    fn split(&self, region: &Region, request: split::Request) -> Done {
        let process = region.process.as_ref().expect("the parser asks for one");
        let range = self.region(process, region)?;
        let mm = Rc::clone(&self.process(process)?.mm);
        Ok(split::debugfs(&self.machine, &mm, range, request))
    }

    /// From 7.2 on khugepaged also makes folios smaller than a PMD, where their sizes are enabled.
    fn khugepaged(&self, region: &Region, span: Span) -> Done {
        let process = region.process.as_ref().expect("the parser asks for one");
        let range = self.region(process, region)?;
        let config = self.machine.config.borrow().clone();
        let smaller = &config.sizes[..usize::from(config.pmd_order)];
        let enabled = smaller.iter().any(|mode| *mode != Mode::Never);
        if enabled && self.machine.policy.khugepaged_mthp {
            return Err(Finding::not_modelled("khugepaged with sizes below a PMD", span));
        }
        let mm = Rc::clone(&self.process(process)?.mm);
        if self.maps_file(&mm, range) {
            return Err(Finding::not_modelled("collapsing pages of files", span));
        }
        if collapse::meets_swap(&self.machine, &mm, range) {
            return Err(Finding::not_modelled("collapsing what is in swap or in the swap cache", span));
        }
        collapse::khugepaged(&self.machine, &mm, range);
        Ok(Ok(()))
    }

    fn migrate(&self, region: &Region, node: u32, all: bool) -> Done {
        let process = region.process.as_ref().expect("the parser asks for one");
        let range = self.region(process, region)?;
        let mm = Rc::clone(&self.process(process)?.mm);
        let Ok(node) = u8::try_from(node) else { return Ok(Err(Errno::Enodev)) };
        Ok(migrate::move_pages(&self.machine, &mm, range, migrate::Target { node, all }))
    }

    /// Sizes of anonymous folios have files in sysfs from 6.8 on: orders 2 to that of a PMD.
    fn mthp(&self, size: Size, mode: MthpMode, span: Span) -> Done {
        let pages = self.pages(size, span)?;
        let order = pages.trailing_zeros() as usize;
        let m = &self.machine;
        let pmd = usize::from(m.config.borrow().pmd_order);
        if !m.policy.mthp || order > pmd || (order < 2 && order != pmd) {
            return Ok(Err(Errno::Enoent));
        }
        m.config.borrow_mut().sizes[order] = match mode {
            MthpMode::Always => Mode::Always,
            MthpMode::Madvise => Mode::Madvise,
            MthpMode::Inherit => Mode::Inherit,
            MthpMode::Never => Mode::Never,
        };
        Ok(Ok(()))
    }

    fn tune(&self, key: &Name, value: &Value) -> Done {
        let mut config = self.machine.config.borrow_mut();
        match (key.as_str(), value) {
            ("max_ptes_none", Value::Int(number)) => {
                let most = (1i64 << config.pmd_order) - 1;
                if !(0..=most).contains(number) {
                    return Ok(Err(Errno::Einval));
                }
                // Lossless: at most 511.
                config.max_ptes_none = *number as u32;
                Ok(Ok(()))
            }
            ("max_ptes_shared", Value::Int(number)) => {
                if !self.machine.policy.collapse_takes_shared {
                    return Ok(Err(Errno::Enoent));
                }
                if !(0..=1i64 << config.pmd_order).contains(number) {
                    return Ok(Err(Errno::Einval));
                }
                // Lossless: at most 512.
                config.max_ptes_shared = *number as u32;
                Ok(Ok(()))
            }
            // The file came with the flag.
            ("shrink_underused", _) if self.machine.policy.deferred_queue != DeferredQueue::Flagged => {
                Ok(Err(Errno::Enoent))
            }
            ("shrink_underused", Value::Int(number @ (0 | 1))) => {
                config.shrink_underused = *number == 1;
                Ok(Ok(()))
            }
            ("shrink_underused", Value::Bool(on)) => {
                config.shrink_underused = *on;
                Ok(Ok(()))
            }
            ("max_ptes_none" | "max_ptes_shared" | "shrink_underused", _) => {
                let message = format!("`{}` cannot be set to this", key.as_str());
                let error = Diagnostic::error(message, key.span, "expected a number");
                Err(Finding::scenario(error))
            }
            (other, _) => Err(Finding::not_modelled(&format!("`tune {other}`"), key.span)),
        }
    }
}
