//! Running a scenario on the model of a kernel, step by step.

mod expect;
mod file;
mod finding;
mod history;
mod kernel;
mod observe;
mod process;
mod state;

use std::collections::BTreeMap;
use std::rc::Rc;

use mapcount_model::event::{Errno, Event, Refusal};
use mapcount_model::invariant::{self, Law, Violation};
use mapcount_model::machine::config::Config;
use mapcount_model::machine::frames::{MAX_NODES, Root};
use mapcount_model::machine::{Machine, Mm, Mode, Quirk};
use mapcount_model::profile::Profile;
use mapcount_model::truth::Truth;

use crate::ast::{Action, Item, KernelSet, Name, Outcome, Pages, Region, Scenario, Step};
use crate::diagnostic::{Diagnostic, Span};
pub use finding::{Finding, FindingKind};
pub use history::{Change, LastChange, changes, frame_history, history_notes, last_changes, story};
pub use observe::observe;
pub use state::{State, operation};

/// How to run.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Options {
    /// How the machine keeps its counters.
    pub mode: Mode,
    /// Check the laws after every step.
    pub laws: bool,
    /// Let operations report their phases.
    pub phases: bool,
    /// Frames of memory; the machine's default if `None`.
    pub frames: Option<u32>,
}

impl Default for Options {
    fn default() -> Options {
        Options { mode: Mode::Checked, laws: true, phases: false, frames: None }
    }
}

/// A range of addresses that a mapping's name stands for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Window {
    /// The first page.
    pub start: u64,
    /// Pages that regions may name: the mapping's size, or what was reserved.
    pub pages: u64,
    /// Pages of address space, which nothing else uses.
    pub room: u64,
}

/// A live process of the scenario.
pub struct Process {
    /// Its address space.
    pub mm: Rc<Mm>,
    /// Its mappings and reserved ranges, by name.
    pub windows: BTreeMap<String, Window>,
}

/// What a step did.
#[derive(Debug, Default)]
pub struct StepReport {
    /// The step's number in the trace.
    pub index: u32,
    /// Its place in [`Scenario::items`].
    pub item: usize,
    /// What the system call returned.
    pub outcome: Option<Errno>,
    /// Its phases, if they were asked for.
    pub events: Vec<Event>,
    /// Folios that were left as they were.
    pub refusals: Vec<Refusal>,
    /// Laws that the scheme breaks by design, and did after this step.
    pub known_breaks: Vec<Violation>,
}

/// What happened next in a scenario.
pub enum Next {
    /// A step was done; `Err` if it or the state after it is not as it has to be.
    Step(Box<StepReport>, Result<(), Box<Finding>>),
    /// An expectation was looked at (or skipped, as it is for other kernels).
    Expect(Result<(), Box<Finding>>),
}

/// A scenario on its way.
pub struct Runner<'s> {
    scenario: &'s Scenario,
    /// The kernel.
    pub profile: Profile,
    /// The machine's state.
    pub machine: Machine,
    /// The live processes, by name.
    pub processes: BTreeMap<String, Process>,
    /// The files, by name.
    pub files: BTreeMap<String, Root>,
    options: Options,
    next_item: usize,
    next_step: u32,
    next_window: u64,
    truth: Truth,
    /// The step whose state is looked at, for who writes traces.
    pub last: Option<(u32, usize)>,
    /// Expectations that were looked at so far: those of this kernel, not those skipped as another one's.
    pub evaluated: usize,
}

impl<'s> Clone for Runner<'s> {
    /// The same scenario at the same point, with a machine of its own: both can go on by themselves.
    fn clone(&self) -> Runner<'s> {
        let machine = self.machine.clone();
        let own = |process: &Process| Process {
            mm: machine.mm(process.mm.id).expect("a live process has an address space"),
            windows: process.windows.clone(),
        };
        let processes = self.processes.iter().map(|(name, process)| (name.clone(), own(process)));
        Runner {
            scenario: self.scenario,
            profile: self.profile.clone(),
            processes: processes.collect(),
            files: self.files.clone(),
            machine,
            options: self.options,
            next_item: self.next_item,
            next_step: self.next_step,
            next_window: self.next_window,
            truth: self.truth.clone(),
            last: self.last,
            evaluated: self.evaluated,
        }
    }
}

/// The name of the process that is there from the start.
pub const FIRST_PROCESS: &str = "A";

/// Pages of address space that a mapping gets at least: 1 GiB.
const WINDOW: u64 = 1 << 18;

/// Pages of an address space: 128 TiB.
const ADDRESS_SPACE: u64 = 1 << 35;

impl<'s> Runner<'s> {
    /// Ready to run; `None` if the scenario says that it does not apply to this kernel.
    ///
    /// # Errors
    /// If it names a kernel or scheme that does not exist.
    pub fn new(
        scenario: &'s Scenario,
        profile: &Profile,
        options: Options,
    ) -> Result<Option<Runner<'s>>, Box<Finding>> {
        if let Some(kernels) = &scenario.kernels {
            check_names(kernels)?;
            if !applies(kernels, profile) {
                return Ok(None);
            }
        }
        if scenario.nodes > MAX_NODES {
            let what = format!("a machine of more than {MAX_NODES} NUMA nodes");
            return Err(Finding::not_modelled(&what, Span::NOWHERE));
        }
        let mut config = Config::new(scenario.pmd_order);
        config.nodes = scenario.nodes;
        config.frames = options.frames.unwrap_or(config.frames);
        let machine = Machine::new(profile, config, options.mode);
        machine.watch(options.phases);
        let first = Process { mm: machine.add_mm(), windows: BTreeMap::new() };
        Ok(Some(Runner {
            scenario,
            profile: profile.clone(),
            machine,
            processes: BTreeMap::from([(FIRST_PROCESS.to_owned(), first)]),
            files: BTreeMap::new(),
            options,
            next_item: 0,
            next_step: 0,
            next_window: WINDOW,
            truth: Truth::default(),
            last: None,
            evaluated: 0,
        }))
    }

    /// The step at `item` of the scenario.
    pub fn step_at(&self, item: usize) -> Option<&'s Step> {
        match self.scenario.items.get(item) {
            Some(Item::Step(step)) => Some(step),
            _ => None,
        }
    }

    /// The step that comes next; `None` if it is an expectation, or the end.
    pub fn next_step(&self) -> Option<&'s Step> {
        self.step_at(self.next_item)
    }

    /// Does the next thing that the scenario says; `None` at its end. After a finding of a step the state is
    /// not to be trusted; one of an expectation changes nothing.
    pub fn advance(&mut self) -> Option<Next> {
        let scenario = self.scenario;
        let item = self.next_item;
        self.next_item += 1;
        match scenario.items.get(item)? {
            Item::Expect(expect) => Some(Next::Expect(self.expect(expect))),
            Item::Step(step) => {
                let mut report =
                    Box::new(StepReport { index: self.next_step, item, ..StepReport::default() });
                self.next_step += 1;
                self.machine.counter_memory().begin_step(report.index);
                let result = self.do_step(step, &mut report);
                self.last = Some((report.index, item));
                Some(Next::Step(report, result))
            }
        }
    }

    /// Runs to the end or to the first finding that is not an expectation's; calls `each` after each step.
    pub fn run(&mut self, mut each: impl FnMut(&Runner<'s>, &StepReport)) -> Vec<Finding> {
        let mut findings = Vec::new();
        while let Some(next) = self.advance() {
            match next {
                Next::Step(report, Ok(())) => each(self, &report),
                Next::Step(report, Err(finding)) => {
                    if finding.kind.leaves_a_state() {
                        each(self, &report);
                    }
                    findings.push(*finding);
                    break;
                }
                Next::Expect(Ok(())) => {}
                Next::Expect(Err(finding)) => findings.push(*finding),
            }
        }
        findings
    }

    fn do_step(&mut self, step: &Step, report: &mut StepReport) -> Result<(), Box<Finding>> {
        let outcome = match &step.action {
            Action::Process { name, verb } => self.process_verb(name, verb, step.span)?,
            Action::Kernel(verb) => self.kernel_verb(verb, step.span)?,
        };
        self.machine.settle();
        report.outcome = outcome.err();
        report.events = self.machine.take_events();
        report.refusals = self.machine.take_refusals();
        check_outcome(step, report)?;
        self.check_state(step.span, report)
    }

    /// Checks what was freed, and the laws.
    fn check_state(&mut self, span: Span, report: &mut StepReport) -> Result<(), Box<Finding>> {
        if let Some(bad) = self.machine.take_bad_frees().into_iter().next() {
            return Err(Finding::bad_free(span, report.index, bad));
        }
        if !self.options.laws {
            return Ok(());
        }
        self.truth.collect(&self.machine);
        let mut violations = Vec::new();
        invariant::check(&self.machine, &self.truth, &mut violations);
        let breaks = self.machine.scheme.info().breaks;
        let lost_bias = self.machine.has_quirk(Quirk::LostBias);
        // A lost bias makes the statistic count pages twice: it is never too small.
        let twice = |found: &Violation| lost_bias && found.law == Law::I9 && found.found > found.expected;
        let known = |found: &Violation| breaks.iter().any(|(broken, _)| *broken == found.law) || twice(found);
        let (known, unknown): (Vec<_>, Vec<_>) = violations.into_iter().partition(known);
        report.known_breaks = known;
        match unknown.into_iter().next() {
            Some(violation) => Err(Finding::law(self, span, report.index, &violation)),
            None => Ok(()),
        }
    }

    // Names.

    pub(crate) fn process(&self, name: &Name) -> Result<&Process, Box<Finding>> {
        self.processes.get(name.as_str()).ok_or_else(|| {
            let alive: Vec<_> = self.processes.keys().map(String::as_str).collect();
            let message = format!("there is no process `{name}` at this point", name = name.as_str());
            let error = Diagnostic::error(message, name.span, "not alive here");
            let help = if alive.is_empty() {
                "no process is alive any more".to_owned()
            } else {
                format!("alive are {}; others come from `fork`", alive.join(", "))
            };
            Finding::scenario(error.help(help))
        })
    }

    pub(crate) fn window(&self, process: &Name, mapping: &Name) -> Result<Window, Box<Finding>> {
        let found = self.process(process)?.windows.get(mapping.as_str());
        found.copied().ok_or_else(|| {
            let message =
                format!("`{}` has no mapping `{}` at this point", process.as_str(), mapping.as_str());
            let error = Diagnostic::error(message, mapping.span, "neither mapped nor reserved");
            let names: Vec<_> = self.processes[process.as_str()].windows.keys().map(String::as_str).collect();
            let help = if names.is_empty() {
                format!("make one with `{}: mmap {} SIZE`", process.as_str(), mapping.as_str())
            } else {
                format!("it has {}", names.join(", "))
            };
            Finding::scenario(error.help(help))
        })
    }

    /// The address and length, in pages, of a region of `process`.
    pub(crate) fn region(&self, process: &Name, region: &Region) -> Result<(u64, u64), Box<Finding>> {
        let window = self.window(process, &region.mapping)?;
        let pages = region.pages.of(window.pages);
        if pages.end > window.pages || pages.is_empty() {
            let message = format!("`{}` has {} pages", region.mapping.as_str(), window.pages);
            let label = match region.pages {
                Pages::One(page) => format!("page {page} is behind its end"),
                _ => format!("this reaches to page {}", pages.end.max(pages.start)),
            };
            let help = format!("its last page is {}", window.pages - 1);
            return Err(Finding::scenario(Diagnostic::error(message, region.span, label).help(help)));
        }
        Ok((window.start + pages.start, pages.end - pages.start))
    }

    /// Address space for a mapping; `None` when there is no more.
    fn take_window(&mut self, pages: u64) -> Option<Window> {
        // A free PMD at least behind each, so that mappings never meet.
        let room = (pages + 512).next_multiple_of(WINDOW);
        let start = self.next_window;
        if pages > ADDRESS_SPACE || start + room > ADDRESS_SPACE {
            return None;
        }
        self.next_window = start + room;
        Some(Window { start, pages, room })
    }
}

/// Whether the kernel is one of these.
pub fn applies(kernels: &KernelSet, profile: &Profile) -> bool {
    let option = profile.is_no_page_mapcount().then_some("no-page-mapcount");
    kernels.contains(profile.release, option, profile.scheme.info().id)
}

/// Kernel sets may name schemes and options; those have to exist.
pub(crate) fn check_names(kernels: &KernelSet) -> Result<(), Box<Finding>> {
    use crate::ast::KernelAlternative;
    for alternative in &kernels.alternatives {
        let (name, exists, what) = match alternative {
            KernelAlternative::Releases(_) => continue,
            KernelAlternative::Scheme(id) => {
                (id, mapcount_model::scheme::by_id(id.as_str()).is_some(), "scheme")
            }
            KernelAlternative::Kconfig { kconfig, .. } => {
                (kconfig, kconfig.as_str() == "no-page-mapcount", "kernel option")
            }
        };
        if !exists {
            let known: Vec<_> = match alternative {
                KernelAlternative::Kconfig { .. } => vec!["no-page-mapcount"],
                _ => mapcount_model::scheme::ALL.iter().map(|scheme| scheme.info().id).collect(),
            };
            let message = format!("there is no {what} `{}`", name.as_str());
            let error = Diagnostic::error(message, name.span, "unknown");
            return Err(Finding::scenario(error.note(format!("there is {}", known.join(", ")))));
        }
    }
    Ok(())
}

fn check_outcome(step: &Step, report: &StepReport) -> Result<(), Box<Finding>> {
    let got = report.outcome.map_or("ok", Errno::name);
    let holds = match step.outcome {
        Outcome::Any => true,
        Outcome::Ok => got == "ok",
        Outcome::Errno(errno) => errno.to_string() == got,
    };
    if holds { Ok(()) } else { Err(Finding::outcome(step, report.index, got)) }
}
