//! What the kernel or its administrator does.

use std::rc::Rc;

use mapcount_model::event::Errno;
use mapcount_model::machine::config::ThpMode as Mode;
use mapcount_model::ops::{collapse, ksm, migrate, shrink, split, swap_in};
use mapcount_model::policy::DeferredQueue;
use mapcount_model::units::Order;

use super::process::Done;
use super::{Finding, Runner};
use crate::ast::{Beyond, Hold, KernelVerb, MthpMode, Name, Region, Size, ThpMode, Value};
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
            KernelVerb::Beyond(_, what) => {
                let what = match what {
                    Beyond::Device => "device-private memory (HMM)",
                    Beyond::Poison => "memory failure",
                    Beyond::Uprobe => "a uprobe",
                };
                return Err(Finding::not_modelled(what, span));
            }
            KernelVerb::Khugepaged(region) => return self.khugepaged(region),
            KernelVerb::Ksm(passes) => {
                ksm::scan(m, *passes);
                Ok(())
            }
            KernelVerb::SwapOn(size) => {
                let pages = size.map(|size| self.pages(size, span)).transpose()?;
                // No folio of a larger device would ever be used.
                let most = m.config.borrow().frames;
                swap_in::swapon(m, pages.map_or(most, |pages| pages.min(u64::from(u32::MAX)) as u32))
            }
            KernelVerb::SwapOff => swap_in::swapoff(m),
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

    fn khugepaged(&self, region: &Region) -> Done {
        let process = region.process.as_ref().expect("the parser asks for one");
        let range = self.region(process, region)?;
        let mm = Rc::clone(&self.process(process)?.mm);
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
        let m = &self.machine;
        let mut config = m.config.borrow_mut();
        // The limits of khugepaged: pages of a PMD, less one.
        let limits = [
            ("max_ptes_none", true),
            ("max_ptes_swap", m.policy.khugepaged_swaps_in),
            ("max_ptes_shared", m.policy.collapse_takes_shared),
        ];
        let limit = limits.into_iter().find(|(name, _)| *name == key.as_str());
        let flagged = m.policy.deferred_queue == DeferredQueue::Flagged;
        match (key.as_str(), limit, value) {
            // The file came with what it is about.
            (_, Some((_, false)), _) => Ok(Err(Errno::Enoent)),
            ("shrink_underused", ..) if !flagged => Ok(Err(Errno::Enoent)),
            (name, Some(_), Value::Int(number)) => {
                if !(0..1i64 << config.pmd_order).contains(number) {
                    return Ok(Err(Errno::Einval));
                }
                let limit = match name {
                    "max_ptes_none" => &mut config.max_ptes_none,
                    "max_ptes_swap" => &mut config.max_ptes_swap,
                    _ => &mut config.max_ptes_shared,
                };
                // Lossless: at most 511.
                *limit = *number as u32;
                Ok(Ok(()))
            }
            ("shrink_underused", _, Value::Int(number @ (0 | 1))) => {
                config.shrink_underused = *number == 1;
                Ok(Ok(()))
            }
            ("shrink_underused", _, Value::Bool(on)) => {
                config.shrink_underused = *on;
                Ok(Ok(()))
            }
            (name, known, _) if known.is_some() || name == "shrink_underused" => {
                let message = format!("`{name}` cannot be set to this");
                let error = Diagnostic::error(message, key.span, "expected a number");
                Err(Finding::scenario(error))
            }
            (other, ..) => Err(Finding::not_modelled(&format!("`tune {other}`"), key.span)),
        }
    }
}
