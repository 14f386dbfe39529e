//! A pass of khugepaged over one region.
//!
//! khugepaged goes round all address spaces that it knows, looks at `pages_to_scan` pages at a time and sleeps for
//! `scan_sleep_millisecs`; writing that wakes it (`khugepaged_do_scan()`, `khugepaged_wait_work()`,
//! `khugepaged_scan_mm_slot()`, mm/khugepaged.c, v5.10 to v7.2). With more pages to scan than there are it stops when it
//! comes to the start of its list for the second time: one wake is worth a pass. It cannot be told where to look, but
//! it can be kept out: of a process by PR_SET_THP_DISABLE, of an area by MADV_NOHUGEPAGE, where MADV_HUGEPAGE can
//! make it what it was. Where that is not enough the step is left out.

use std::fs;
use std::io;
use std::time::{Duration, Instant};

use mapcount_script::ast::{Name, Region};

use super::daemon::Daemon;
use super::shared::Op;
use super::{Ended, PAGE, PMD_ORDER, Subject, Trouble, errno};
use crate::procfs::smaps::{Eligible, eligible};
use crate::settings::{Settings, selected};

const ENABLED: &str = "/sys/kernel/mm/transparent_hugepage/enabled";
const FOLDER: &str = "/sys/kernel/mm/transparent_hugepage/khugepaged";
/// Its thread, which is there while some size of huge pages is enabled.
const NAME: &str = "khugepaged";
/// More pages than any machine has.
const ALL: &str = "4000000000";
/// Two pauses that are never over.
const PAUSES: [&str; 2] = ["2000000000", "2000000001"];
/// Between two looks at what it does.
const GLANCES: Duration = Duration::from_micros(20);
/// The same, once it was woken in vain again and again.
const SLOWEST: Duration = Duration::from_millis(2);
/// After so long it is not expected to come: where huge pages are for all, other processes may have much for it to do.
const PATIENCE: Duration = Duration::from_secs(10);
/// Bytes that a PMD maps.
const PMD: u64 = PAGE << PMD_ORDER;

/// Why khugepaged cannot be used, if so.
pub(super) fn lacks() -> Option<&'static str> {
    (!fs::exists(FOLDER).unwrap_or(false)).then_some("khugepaged is not built in")
}

/// Areas of a process that khugepaged has to be kept out of, so that it looks at a region alone.
fn to_hide(areas: &[Eligible], (start, end): (u64, u64)) -> Result<Vec<(u64, u64)>, &'static str> {
    let pmds = |(from, to): (u64, u64)| (to / PMD).saturating_sub(from.div_ceil(PMD));
    let holds_pmd = |range| pmds(range) > 0;
    let mut hidden = Vec::new();
    for area in areas.iter().filter(|area| area.eligible && holds_pmd((area.start, area.end))) {
        if area.start < end && start < area.end {
            let inside = (area.start.max(start), area.end.min(end));
            if pmds(inside) < pmds((area.start, area.end)) {
                return Err("khugepaged would look at more of an area than the region");
            }
            continue;
        }
        let touches = |other: &Eligible| other.start == area.end || other.end == area.start;
        if !area.advised || areas.iter().any(touches) {
            return Err("khugepaged would look at other areas too, and cannot be kept out of one of them");
        }
        hidden.push((area.start, area.end - area.start));
    }
    Ok(hidden)
}

impl Subject {
    /// Has khugepaged look at a region, and at nothing else that belongs to the scenario.
    ///
    /// # Errors
    /// If a process is lost.
    pub(super) fn khugepaged(&mut self, region: &Region) -> Result<Ended, Trouble> {
        let name = region.process.as_ref().expect("the parser asks for one").clone();
        let (start, bytes) = self.region(&name, region)?;
        let process = self.process(&name)?;
        let Some(thread) = Daemon::find(NAME) else {
            // It runs only while some size of huge pages is enabled.
            return Ok(Ended::With("ok"));
        };
        let windows: Vec<_> = process.windows.values().copied().collect();
        let areas = match eligible(process.pid.cast_unsigned(), &windows) {
            Ok(areas) => areas,
            Err(error) => return Err(Trouble::Lost(format!("smaps of {}: {error}", name.as_str()))),
        };
        let hidden = match to_hide(&areas, (start, start + bytes)) {
            Ok(hidden) => hidden,
            Err(why) => return Ok(Ended::Unsupported(why.to_owned())),
        };
        self.drain.others_work();
        // It knows an address space once a huge page was asked for there.
        self.ask(&name, Op::Register, [0; 6])?;
        self.keep_out(&name, &hidden, true)?;
        if !self.khugepaged_rests {
            self.rest_khugepaged(&name)?;
        }
        let result = self.pass(&thread);
        self.khugepaged_rests = matches!(result, Ok(true));
        self.keep_out(&name, &hidden, false)?;
        match result {
            Ok(true) => Ok(Ended::With("ok")),
            Ok(false) => Ok(Ended::Unsupported("khugepaged did not come by".to_owned())),
            Err(error) => Ok(Ended::With(errno::of(&Err(error)))),
        }
    }

    /// Has it go to the end of its list, wherever it is, so that its next wake is worth one pass and no more. It goes
    /// nowhere while it knows no address space, and would wake as soon as it gets to know one; so it is told of that
    /// of `name`, and kept out of it.
    ///
    /// # Errors
    /// If a process is lost.
    pub(super) fn rest_khugepaged(&mut self, name: &Name) -> Result<(), Trouble> {
        let Some(thread) = Daemon::find(NAME) else { return Ok(()) };
        self.ask(name, Op::Register, [0; 6])?;
        self.ask(name, Op::DisableThp, [1, 0, 0, 0, 0, 0])?;
        self.khugepaged_rests = matches!(self.pass(&thread), Ok(true));
        self.ask(name, Op::DisableThp, [0; 6])?;
        Ok(())
    }

    fn pass(&mut self, thread: &Daemon) -> io::Result<bool> {
        self.idle.hide(true);
        let result = pass(thread, &mut self.settings);
        self.idle.hide(false);
        result
    }

    /// Keeps khugepaged out of all processes but one and of areas of that one, or lets it in again.
    fn keep_out(&self, scanned: &Name, areas: &[(u64, u64)], out: bool) -> Result<(), Trouble> {
        for other in self.live.keys().filter(|other| *other != scanned.as_str()) {
            self.ask(&Name::new(other), Op::DisableThp, [u64::from(out), 0, 0, 0, 0, 0])?;
        }
        let advice = if out { libc::MADV_NOHUGEPAGE } else { libc::MADV_HUGEPAGE };
        for (start, bytes) in areas {
            self.ask(scanned, Op::Madvise, [*start, *bytes, advice as u64, 0, 0, 0])?;
        }
        Ok(())
    }
}

/// Has khugepaged go round once; `false` if it does not come.
fn pass(thread: &Daemon, settings: &mut Settings) -> io::Result<bool> {
    let setting = |name: &str| format!("{FOLDER}/{name}");
    let pages = setting("pages_to_scan");
    let before = full_scans();
    settings.set(setting("alloc_sleep_millisecs"), "10")?;
    settings.set(&pages, ALL)?;
    let come = wake(thread, settings, &setting("scan_sleep_millisecs"), || full_scans() != before)?;
    // Writing anything else would wake it again.
    settings.set(&pages, "1")?;
    if !come {
        // It would go on; a daemon that is started anew looks at one page.
        let before = selected(&fs::read_to_string(ENABLED)?).to_owned();
        settings.set(ENABLED, "never")?;
        settings.set(ENABLED, &before)?;
    }
    Ok(come)
}

/// Wakes it, and whenever it sleeps again without being done; `false` if that does not help.
fn wake(
    thread: &Daemon,
    settings: &mut Settings,
    setting: &str,
    is_done: impl Fn() -> bool,
) -> io::Result<bool> {
    let start = Instant::now();
    // Writing it wakes the daemon; both pauses are longer than any run.
    settings.change(setting, PAUSES)?;
    let mut glances = GLANCES;
    while start.elapsed() < PATIENCE {
        // It counts a pass before it sleeps.
        if thread.sleeps() {
            if is_done() && thread.sleeps() {
                return Ok(true);
            }
            // It may have been in the middle of a pass, or have found no memory.
            settings.change(setting, PAUSES)?;
            glances = (2 * glances).min(SLOWEST);
        }
        std::thread::sleep(glances);
    }
    Ok(false)
}

fn full_scans() -> u64 {
    let text = fs::read_to_string(format!("{FOLDER}/full_scans"));
    text.ok().and_then(|text| text.trim().parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::{PMD, to_hide};
    use crate::procfs::smaps::Eligible;

    fn area(start: u64, end: u64, advised: bool) -> Eligible {
        Eligible { start: start * PMD, end: end * PMD, eligible: true, advised }
    }

    #[test]
    fn areas_beside_the_region_are_hidden_where_they_can_be() {
        let own = area(0, 2, true);
        let range = |start: u64, end: u64| (start * PMD, end * PMD);
        assert_eq!(to_hide(&[own], range(0, 2)), Ok(vec![]));
        assert!(to_hide(&[own], range(0, 1)).is_err(), "it would look at the other half");
        let far = area(8, 9, true);
        assert_eq!(to_hide(&[own, far], range(0, 2)), Ok(vec![(8 * PMD, PMD)]));
        assert!(to_hide(&[own, area(8, 9, false)], range(0, 2)).is_err(), "nothing takes the advice back");
        assert!(
            to_hide(&[own, area(2, 3, true)], range(0, 2)).is_err(),
            "it might become one with its neighbour"
        );
        let not = Eligible { eligible: false, ..area(8, 9, false) };
        assert_eq!(to_hide(&[own, not], range(0, 2)), Ok(vec![]));
    }
}
