//! In what state the memory is that a step is about: what coverage is counted in.

use std::fmt;

use mapcount_model::machine::holders::HoldKind;
use mapcount_model::machine::page_table::{Alike, Pmd};
use mapcount_model::units::{Folio, Kind, PageRange};

use super::Runner;
use crate::ast::{Action, KernelVerb, ProcessVerb, Step};

/// What a page of a mapping holds, and how that is mapped, as far as kernels tell such states apart.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum State {
    /// The step names no page.
    None,
    /// Nothing is there.
    Empty,
    /// A swap entry.
    Swapped,
    /// A folio.
    Folio {
        /// What it holds.
        kind: Kind,
        /// Its size.
        size: Size,
        /// How it is mapped, by all that map it.
        mapped: Mapped,
        /// More than one address space maps it.
        shared: bool,
        /// Somebody holds references of it, or pins.
        held: Option<HoldKind>,
        /// It is in the swap cache.
        cached: bool,
    },
}

/// The size of a folio.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Size {
    /// One page.
    Small,
    /// Fewer pages than a PMD maps.
    Middle,
    /// As many as a PMD maps.
    Pmd,
}

/// How a folio is mapped.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Mapped {
    /// Each page by PTEs.
    Ptes,
    /// By PMDs.
    Pmds,
    /// By PMDs and PTEs.
    Both,
    /// Some pages by nothing.
    Partly,
}

impl State {
    /// The state of the first page that a step names, as it is now; of a mapping for what a step says of no
    /// page.
    pub fn of(runner: &Runner<'_>, step: &Step) -> State {
        let Some((process, region)) = step.action.region() else { return State::None };
        let Some(process) = runner.processes.get(process.as_str()) else { return State::None };
        let Some(window) = process.windows.get(region.mapping.as_str()) else { return State::None };
        let at = window.start + region.pages.of(window.pages).start;
        let entry = process.mm.table.read(at);
        if entry.is_swap() {
            return State::Swapped;
        }
        if !entry.is_present() {
            return State::Empty;
        }
        State::of_folio(runner, runner.machine.folio(entry.page()))
    }

    fn of_folio(runner: &Runner<'_>, folio: Folio) -> State {
        let pages = folio.range();
        let pmd_order = runner.machine.config.borrow().pmd_order;
        let size = match folio.order.0 {
            0 => Size::Small,
            order if order < pmd_order => Size::Middle,
            _ => Size::Pmd,
        };
        let mut seen = vec![false; pages.len as usize];
        let (mut pmds, mut ptes, mut spaces) = (false, false, 0);
        for process in runner.processes.values() {
            let mut maps = false;
            process.mm.table.each_pud(|_, entry| {
                if entry.page() == pages.first {
                    seen.fill(true);
                    (pmds, maps) = (true, true);
                }
            });
            for area in process.mm.vmas.borrow().all() {
                let mut at = area.start;
                while let Some(found) = process.mm.table.next_pmd(at, area.end) {
                    let stop = area.end.min(process.mm.table.pmd_end(found));
                    let leaf = matches!(process.mm.table.pmd(found), Pmd::Leaf(_));
                    let mut page = found;
                    while page < stop {
                        let (entry, len) = if leaf {
                            (process.mm.table.read(page), stop - page)
                        } else {
                            process.mm.table.run(page, stop - page, Alike::IgnoringWrite)
                        };
                        page += len;
                        if !entry.is_present() {
                            continue;
                        }
                        let first = entry.page().0.max(pages.first.0);
                        let end = (entry.page().0 + len as u32).min(pages.first.0 + pages.len);
                        if first < end {
                            let range = (first - pages.first.0) as usize..(end - pages.first.0) as usize;
                            seen[range].fill(true);
                            (pmds, ptes, maps) = (pmds | leaf, ptes | !leaf, true);
                        }
                    }
                    at = stop;
                }
            }
            spaces += u32::from(maps);
        }
        let mapped = match (pmds, ptes) {
            _ if seen.contains(&false) => Mapped::Partly,
            (true, true) => Mapped::Both,
            (true, false) => Mapped::Pmds,
            _ => Mapped::Ptes,
        };
        State::Folio {
            kind: folio.kind,
            size,
            mapped,
            shared: spaces > 1,
            held: held(runner, pages),
            cached: runner.machine.swap.holds(folio),
        }
    }
}

/// Who holds pages of these: pins tell more than other references.
fn held(runner: &Runner<'_>, pages: PageRange) -> Option<HoldKind> {
    let mut held = None;
    runner.machine.holders.each(|kind, range| {
        let meets = range.first.0 < pages.first.0 + pages.len && pages.first.0 < range.first.0 + range.len;
        if meets && held != Some(HoldKind::Pin) {
            held = Some(kind);
        }
    });
    held
}

/// The operation of a step, without who does it and to what: `write`, `madvise pageout`, `split order`.
pub fn operation(step: &Step) -> String {
    let text = step.text.split_once(':').map_or(&*step.text, |(_, verb)| verb.trim());
    let mut words = text.split_whitespace();
    let verb = words.next().unwrap_or_default().to_owned();
    let more = match &step.action {
        Action::Process { verb: ProcessVerb::Madvise(_, advice), .. } => advice.to_string(),
        Action::Process { verb: ProcessVerb::Mprotect(_, protection), .. } => protection.to_string(),
        Action::Kernel(KernelVerb::Split { order: Some(1..), .. }) => "order".to_owned(),
        Action::Kernel(KernelVerb::SwapOn(_)) => "on".to_owned(),
        Action::Kernel(KernelVerb::SwapOff) => "off".to_owned(),
        Action::Kernel(KernelVerb::Migrate { all: true, .. }) => "all".to_owned(),
        _ => return verb,
    };
    format!("{verb} {more}")
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let State::Folio { kind, size, mapped, shared, held, cached } = self else {
            return f.write_str(match self {
                State::Empty => "empty",
                State::Swapped => "swapped",
                _ => "-",
            });
        };
        let size = match size {
            Size::Small => "small",
            Size::Middle => "middle",
            Size::Pmd => "pmd-sized",
        };
        let mapped = match mapped {
            Mapped::Ptes => "ptes",
            Mapped::Pmds => "pmds",
            Mapped::Both => "pmds+ptes",
            Mapped::Partly => "partly",
        };
        write!(f, "{} {size} {mapped}", kind.name())?;
        for (word, said) in [
            ("shared", *shared),
            ("pinned", *held == Some(HoldKind::Pin)),
            ("held", held.is_some_and(|held| held != HoldKind::Pin)),
            ("swapcache", *cached),
        ] {
            if said {
                write!(f, " {word}")?;
            }
        }
        Ok(())
    }
}
