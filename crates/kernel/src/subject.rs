//! The subject: a scenario's processes as real processes, and its steps as the system calls that they stand
//! for.
//!
//! Every process is a fork(2) of its parent at the point that the scenario says, and all of them die with the
//! program. Steps are done one after the other, on one CPU, so that pages that wait for the LRU wait in the
//! batches of that CPU.

mod abilities;
mod daemon;
mod drain;
mod errno;
mod exit;
mod files;
mod idle;
mod kernel;
mod khugepaged;
mod ksm;
mod process;
mod raw;
mod shared;
mod swap;
mod worker;
mod zygote;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::os::fd::OwnedFd;
use std::path::PathBuf;

use mapcount_model::release::Release;
use mapcount_script::ast::{
    Action, Advice, FileKind, Hold as Batches, Item, KernelVerb, Name, Pages, ProcessVerb, Region, Scenario,
    Step,
};
use mapcount_script::diagnostic::Diagnostic;

use crate::Unavailable;
use crate::observer::{Watched, Window};
use crate::settings::Settings;
use abilities::Abilities;
use drain::Drain;
use files::Files;
use idle::Idle;
use shared::SLOTS;
use swap::Swap;
use zygote::{Silent, Zygote};

/// Bytes of a base page.
const PAGE: u64 = 4096;
/// Pages of address space that a mapping gets at least: 1 GiB, as in the language.
const WINDOW: u64 = 1 << 18;
/// Windows end below the addresses where Linux puts programs and libraries: 64 TiB.
const ADDRESS_SPACE: u64 = 1 << 34;
/// The order of a folio that a PMD maps.
const PMD_ORDER: u8 = 9;

/// What a run may use.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Options {
    /// A block device to swap to, whose content is lost; a file behind a loop device if `None`.
    pub swap: Option<PathBuf>,
    /// A folder on a disk for files of scenarios, and for the file to swap to.
    pub scratch: PathBuf,
}

impl Default for Options {
    /// The device that `MAPCOUNT_SWAP` names, and the folder for temporary files.
    fn default() -> Options {
        let swap = std::env::var_os("MAPCOUNT_SWAP").filter(|device| !device.is_empty());
        Options { swap: swap.map(PathBuf::from), scratch: std::env::temp_dir() }
    }
}

/// How a step ended on the real kernel.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Ended {
    /// With `ok` or the name of an error.
    With(&'static str),
    /// This kernel, or this machine, does not have what the step asks for; nothing was done.
    Unsupported(String),
}

/// Why a run cannot go on.
#[derive(Clone, PartialEq, Debug)]
pub enum Trouble {
    /// The scenario makes no sense at this point.
    Scenario(Box<Diagnostic>),
    /// A process did not answer, or died: what it was asked.
    Lost(String),
    /// Something outside is missing.
    Unavailable(Unavailable),
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Trouble::Scenario(diagnostic) => f.write_str(&diagnostic.message),
            Trouble::Lost(what) => f.write_str(what),
            Trouble::Unavailable(unavailable) => write!(f, "{unavailable}"),
        }
    }
}

impl std::error::Error for Trouble {}

impl From<Unavailable> for Trouble {
    fn from(unavailable: Unavailable) -> Trouble {
        Trouble::Unavailable(unavailable)
    }
}

/// A live process of the scenario.
struct Live {
    slot: usize,
    pid: libc::pid_t,
    /// To learn of its end; none on kernels before 5.3.
    pidfd: Option<OwnedFd>,
    /// What its names stand for.
    windows: BTreeMap<String, Window>,
    /// Those of them that hold huge pages of the pool.
    huge: BTreeSet<String>,
    held: Vec<Held>,
}

/// References that a process took.
struct Held {
    start: u64,
    bytes: u64,
    is_pin: bool,
    number: u64,
}

/// A real kernel, driven.
pub struct Subject {
    live: BTreeMap<String, Live>,
    next_window: u64,
    next_hold: u64,
    /// Batches are drained before each observation.
    drains: bool,
    drain: Drain,
    /// Some process of the scenario let memory be merged.
    merges: bool,
    ksmd: ksm::Ksmd,
    files: Files,
    swap: Swap,
    abilities: Abilities,
    nodes: u32,
    splitter: kernel::Splitter,
    /// Huge pages that are not the scenario's.
    others_huge: u64,
    /// What khugepaged looks at when it must not look at the scenario.
    idle: Idle,
    /// It is at the end of its list: one wake is one pass.
    khugepaged_rests: bool,
    // The order of what follows matters: processes end before the settings are restored.
    zygote: Zygote,
    settings: Settings,
}

impl Subject {
    /// Takes the kernel over: remembers its settings, sets those that a scenario starts from.
    ///
    /// # Errors
    /// Without root, without transparent huge pages, or while another run goes on.
    pub fn start(options: &Options) -> Result<Subject, Unavailable> {
        // SAFETY: geteuid has no conditions.
        if unsafe { libc::geteuid() } != 0 {
            let what = "running steps on the kernel needs root";
            return Err(Unavailable::new(what, "run it as root, or in a guest with `mapcount lab`"));
        }
        if !std::path::Path::new("/sys/kernel/mm/transparent_hugepage/enabled").exists() {
            let what = "this kernel has no transparent huge pages, or sysfs is not mounted";
            return Err(Unavailable::new(what, "use a kernel built with CONFIG_TRANSPARENT_HUGEPAGE"));
        }
        let mut settings = Settings::start()?;
        let drain = Drain::start()?;
        let zygote = Zygote::start().map_err(|error| {
            Unavailable::new(format!("cannot start processes: {error}"), "free memory or end processes")
        })?;
        settings.quiet()?;
        Ok(Subject {
            live: BTreeMap::new(),
            next_window: WINDOW,
            next_hold: 1,
            drains: true,
            drain,
            merges: false,
            ksmd: ksm::Ksmd::default(),
            files: Files::new(options.scratch.clone()),
            swap: Swap::new(options.clone()),
            nodes: nodes(),
            splitter: kernel::Splitter::find(),
            abilities: Abilities::find(release()),
            others_huge: 0,
            idle: Idle::start()?,
            khugepaged_rests: false,
            zygote,
            settings,
        })
    }

    /// How many NUMA nodes the machine has.
    pub const fn nodes(&self) -> u32 {
        self.nodes
    }

    /// The processes of this program, which map more than the scenario has.
    pub fn own_processes(&self) -> Vec<u32> {
        let helpers = [std::process::id(), self.zygote.pid().cast_unsigned(), self.settings.keeper_pid()];
        let live = self.live.values().map(|process| process.pid.cast_unsigned());
        helpers.into_iter().chain(live).collect()
    }

    /// Ends what is left of the scenario before, and starts another one: process `A`, on a quiet machine.
    /// `Err` in the inner result says why this machine cannot run it.
    ///
    /// # Errors
    /// If the processes or the settings are out of control.
    pub fn begin(&mut self, scenario: &Scenario) -> Result<Result<(), String>, Trouble> {
        self.end()?;
        if scenario.pmd_order != PMD_ORDER {
            let pages = 1u32 << scenario.pmd_order;
            return Ok(Err(format!("a PMD of this kernel maps 512 pages, not {pages}")));
        }
        if scenario.nodes > self.nodes {
            return Ok(Err(format!("it needs {} NUMA nodes, and there is {}", scenario.nodes, self.nodes)));
        }
        self.next_window = WINDOW;
        self.drains = true;
        self.drain.come_back();
        self.merges = false;
        self.others_huge = kernel::huge_pages();
        let pid = self.zygote.spawn(0).map_err(|silent| lost(silent, "the first process"))?;
        let first = Live::new(0, pid, BTreeMap::new());
        self.live.insert(mapcount_script::run::FIRST_PROCESS.to_owned(), first);
        self.drain.thoroughly();
        // A khugepaged that knew no address space wakes at the first advice, and scans; and it drains all batches.
        let scans = |item: &Item| {
            let Item::Step(Step { action, .. }) = item else { return false };
            match action {
                Action::Kernel(verb) => {
                    matches!(verb, KernelVerb::Khugepaged(_) | KernelVerb::Lru(Batches::Hold))
                }
                Action::Process { verb, .. } => matches!(verb, ProcessVerb::Madvise(_, Advice::Hugepage)),
            }
        };
        if scenario.items.iter().any(scans) {
            self.rest_khugepaged(&Name::new(mapcount_script::run::FIRST_PROCESS))?;
        }
        Ok(Ok(()))
    }

    /// Ends all processes of the scenario and puts the settings back to those that a scenario starts from.
    ///
    /// # Errors
    /// If a process does not end, or a setting cannot be written.
    pub fn end(&mut self) -> Result<(), Trouble> {
        let names: Vec<String> = self.live.keys().cloned().collect();
        for name in names {
            self.exit_process(&name)?;
        }
        self.files.clear();
        self.swap.leave()?;
        self.settings.quiet()?;
        self.khugepaged_rests = false;
        Ok(())
    }

    /// Does a step.
    ///
    /// # Errors
    /// If it names what is not there, or a process is lost.
    pub fn step(&mut self, step: &Step) -> Result<Ended, Trouble> {
        if knows_swap(&step.action) {
            self.swap.gone()?;
        }
        match &step.action {
            Action::Process { name, verb } => self.process_verb(name, verb, step.span),
            Action::Kernel(verb) => {
                self.drain.come_back();
                let ended = self.kernel_verb(verb, step.span);
                if !self.drains {
                    self.drain.step_aside();
                }
                ended
            }
        }
    }

    /// Why this machine cannot do a step, wherever in a scenario it stands; `None` if it can.
    pub fn lacks(&self, action: &Action) -> Option<&'static str> {
        match action {
            Action::Process { verb, .. } => self.abilities.lacks(verb),
            Action::Kernel(verb) => self.lacks_verb(verb),
        }
    }

    /// The file systems on disks on which it can make files.
    pub fn disks(&self) -> Vec<FileKind> {
        [FileKind::Ext4, FileKind::Xfs].into_iter().filter(|kind| self.files.lacks(*kind).is_none()).collect()
    }

    /// To be called before the state is looked at: empties the batches of pages that wait for the LRU, unless
    /// the scenario holds them.
    pub fn settle(&mut self) {
        if self.drains {
            self.drain.before_observation();
        }
    }

    /// As [`Subject::settle`], on every CPU and with time for what ends by itself: for whoever is about to
    /// believe a difference. `round` counts the attempts from 0; later ones wait longer.
    ///
    /// # Errors
    /// If swapoff of the scenario before fails.
    pub fn settle_thoroughly(&mut self, round: u32) -> Result<(), Trouble> {
        self.swap.gone()?;
        if round > 0 {
            std::thread::sleep(std::time::Duration::from_micros(200 << (2 * round.min(5))));
        }
        if self.drains {
            self.drain.thoroughly();
        }
        Ok(())
    }

    /// The live processes and what their names stand for.
    pub fn watched(&self) -> Vec<Watched> {
        let watched = self.live.iter().map(|(name, process)| Watched {
            name: name.clone(),
            pid: process.pid.cast_unsigned(),
            windows: process.windows.clone(),
        });
        watched.collect()
    }

    fn process(&self, name: &Name) -> Result<&Live, Trouble> {
        self.live.get(name.as_str()).ok_or_else(|| {
            let message = format!("there is no process `{}` at this point", name.as_str());
            Trouble::Scenario(Box::new(Diagnostic::error(message, name.span, "not alive here")))
        })
    }

    fn window(&self, process: &Name, mapping: &Name) -> Result<Window, Trouble> {
        self.process(process)?.windows.get(mapping.as_str()).copied().ok_or_else(|| {
            let message =
                format!("`{}` has no mapping `{}` at this point", process.as_str(), mapping.as_str());
            Trouble::Scenario(Box::new(Diagnostic::error(
                message,
                mapping.span,
                "neither mapped nor reserved",
            )))
        })
    }

    /// The address and the bytes of a region of `process`.
    fn region(&self, process: &Name, region: &Region) -> Result<(u64, u64), Trouble> {
        let window = self.window(process, &region.mapping)?;
        let pages = region.pages.of(window.pages);
        if pages.end > window.pages || pages.is_empty() {
            let message = format!("`{}` has {} pages", region.mapping.as_str(), window.pages);
            let label = match region.pages {
                Pages::One(page) => format!("page {page} is behind its end"),
                _ => format!("this reaches to page {}", pages.end.max(pages.start)),
            };
            return Err(Trouble::Scenario(Box::new(Diagnostic::error(message, region.span, label))));
        }
        Ok((window.start + pages.start * PAGE, (pages.end - pages.start) * PAGE))
    }

    /// Address space for a mapping; `None` when there is no more.
    fn take_window(&mut self, pages: u64) -> Option<Window> {
        // A free PMD at least behind each, so that mappings never meet.
        let room = pages.checked_add(512)?.checked_next_multiple_of(WINDOW)?;
        let start = self.next_window;
        let next = start.checked_add(room).filter(|end| *end <= ADDRESS_SPACE)?;
        self.next_window = next;
        Some(Window { start: start * PAGE, pages, room })
    }

    fn free_slot(&self) -> Option<usize> {
        (0..SLOTS).find(|slot| self.live.values().all(|process| process.slot != *slot))
    }

    fn set_batches(&mut self, batches: Batches) {
        match batches {
            Batches::Hold => {
                // What the driver itself has there must not count.
                if self.drains {
                    self.drain.thoroughly();
                }
                self.drains = false;
            }
            Batches::Auto => self.drains = true,
            Batches::Drain => self.drain.thoroughly(),
        }
    }
}

impl Drop for Subject {
    fn drop(&mut self) {
        // Nobody is there to be told of an error; what is left ends with the zygote, and the keeper restores.
        drop(self.end());
    }
}

impl Live {
    fn new(slot: usize, pid: libc::pid_t, windows: BTreeMap<String, Window>) -> Live {
        Live { slot, pid, pidfd: exit::pidfd(pid), windows, huge: BTreeSet::new(), held: Vec::new() }
    }
}

/// Whether a step depends on whether there is swap, or on what swapoff(2) does to the batches of pages for the LRU.
fn knows_swap(action: &Action) -> bool {
    match action {
        Action::Process { verb: ProcessVerb::Madvise(_, advice), .. } => {
            matches!(advice, Advice::Pageout | Advice::Cold | Advice::Free)
        }
        Action::Process { .. } => false,
        Action::Kernel(verb) => matches!(
            verb,
            KernelVerb::SwapOn(_) | KernelVerb::SwapOff | KernelVerb::Lru(_) | KernelVerb::DropCaches(_)
        ),
    }
}

/// A process that did not answer.
fn lost(silent: Silent, what: &str) -> Trouble {
    Trouble::Lost(match silent {
        Silent::Gone => format!("{what}: the process died"),
        Silent::Hung => format!("{what}: no answer within a minute"),
        Silent::Broken(error) => format!("{what}: {error}"),
    })
}

/// The running kernel's release.
fn release() -> Option<Release> {
    let text = std::fs::read_to_string("/proc/sys/kernel/osrelease").ok()?;
    Release::parse(text.trim())
}

/// How many nodes have memory.
fn nodes() -> u32 {
    let text = std::fs::read_to_string("/sys/devices/system/node/has_memory").unwrap_or_default();
    let ranges = text.trim().split(',').filter(|range| !range.is_empty());
    let counts = ranges.filter_map(|range| match range.split_once('-') {
        Some((first, last)) => Some(last.parse::<u32>().ok()? - first.parse::<u32>().ok()? + 1),
        None => range.parse::<u32>().ok().map(|_| 1),
    });
    counts.sum::<u32>().max(1)
}
