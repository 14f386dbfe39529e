//! Running a scenario and looking at everything that has to hold of a run.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hasher};
use std::panic::{self, AssertUnwindSafe};
use std::sync::Once;

use mapcount_model::invariant::Law;
use mapcount_model::machine::{Machine, Mode};
use mapcount_model::ops::{exit, split, swap_in, truncate};
use mapcount_model::profile::Profile;
use mapcount_model::units::{Folio, Kind};
use mapcount_script::ast::{Action, KernelVerb, Scenario};
use mapcount_script::run::{FindingKind, Next, Options, Runner, StepReport, observe};
use mapcount_script::trace::{read, write_line};

use crate::properties;

/// What happened in runs.
#[derive(Clone, Default)]
pub(crate) struct Seen {
    /// Steps done.
    pub(crate) steps: u64,
    /// How they ended.
    pub(crate) outcomes: BTreeMap<&'static str, u64>,
    /// Laws that the scheme breaks by design, and did.
    pub(crate) breaks: BTreeMap<Law, u64>,
    /// Folios that were not split.
    pub(crate) refusals: u64,
    /// Folios that some process mapped a part of, at most at once.
    pub(crate) partial: u64,
}

/// How a scenario is run.
#[derive(Clone, Copy)]
pub(crate) struct How {
    /// Frames of memory; the machine's default if `None`.
    pub(crate) frames: Option<u32>,
    /// Whether a scenario that runs out of memory, and so of what its steps name, is no failure.
    pub(crate) may_end_early: bool,
    /// Whether to run again in other ways, and to read the trace back.
    pub(crate) again: bool,
}

pub(crate) const ROOMY: How = How { frames: None, may_end_early: false, again: true };

/// Runs `scenario`: what is wrong with the run, or what was seen in it. A panic is wrong.
pub(crate) fn check(scenario: &Scenario, profile: &Profile, how: How, seen: &mut Seen) -> Result<(), String> {
    thread_local! { static PANIC: RefCell<String> = const { RefCell::new(String::new()) } }
    static QUIET: Once = Once::new();
    QUIET.call_once(|| {
        panic::set_hook(Box::new(|info| {
            let text = info.to_string();
            eprintln!("{text}");
            PANIC.with(|panic| *panic.borrow_mut() = text);
        }));
    });
    let run = panic::catch_unwind(AssertUnwindSafe(|| check_run(scenario, profile, how, seen)));
    run.unwrap_or_else(|_| Err(PANIC.with(|panic| panic.borrow().clone())))
}

fn check_run(scenario: &Scenario, profile: &Profile, how: How, seen: &mut Seen) -> Result<(), String> {
    let options = |mode| Options { mode, frames: how.frames, ..Options::default() };
    let start = |mode| {
        let runner =
            Runner::new(scenario, profile, options(mode)).map_err(|finding| format!("{finding:?}"))?;
        runner.ok_or_else(|| "it does not apply".to_owned())
    };
    let mut runner = start(Mode::Checked)?;
    let mut trace = Vec::new();
    let mut hashes = Vec::new();
    let mut branch = None;
    let middle = scenario.items.len() / 2;
    loop {
        if how.again && hashes.len() == middle {
            branch = Some((trace.len(), runner.clone()));
        }
        let Some(next) = runner.advance() else { break };
        let report = match next {
            Next::Step(report, Ok(())) => report,
            Next::Step(_, Err(finding))
                if how.may_end_early
                    && matches!(finding.kind, FindingKind::Scenario | FindingKind::Outcome) =>
            {
                break;
            }
            Next::Step(report, Err(finding)) => return Err(format!("step {}: {finding:?}", report.index)),
            Next::Expect(_) => return Err("no expectation was generated".to_owned()),
        };
        if how.again {
            line(&runner, &report, &mut trace);
            hashes.push(hash(&runner.machine));
        }
        look(&runner, &report, seen).map_err(|what| format!("step {}: {what}", report.index))?;
    }
    if !how.again {
        return leaves_nothing(&runner);
    }
    let recorded = replay(start(Mode::Recorded)?, hashes.len());
    same("recorded", &recorded, &(trace.clone(), hashes.clone()))?;
    if let Some((length, runner)) = branch {
        let rest = (trace[length..].to_vec(), hashes[middle..].to_vec());
        same("a clone's", &replay(runner, hashes.len() - middle), &rest)?;
    }
    reads_back(&trace)?;
    leaves_nothing(&runner)
}

/// Goes on for some steps: what is printed, and the states' hashes.
fn replay(mut runner: Runner<'_>, steps: usize) -> (Vec<u8>, Vec<u64>) {
    let (mut trace, mut hashes) = (Vec::new(), Vec::new());
    for _ in 0..steps {
        let Some(Next::Step(report, _)) = runner.advance() else { break };
        line(&runner, &report, &mut trace);
        hashes.push(hash(&runner.machine));
    }
    (trace, hashes)
}

fn line(runner: &Runner<'_>, report: &StepReport, trace: &mut Vec<u8>) {
    write_line(&observe(runner, report, "random"), trace).expect("memory takes every byte");
}

fn hash(machine: &Machine) -> u64 {
    let mut hasher = DefaultHasher::new();
    machine.hash_into(&mut hasher);
    hasher.finish()
}

fn same(whose: &str, found: &(Vec<u8>, Vec<u64>), wanted: &(Vec<u8>, Vec<u64>)) -> Result<(), String> {
    if found.0 != wanted.0 {
        let lines =
            |trace: &[u8]| String::from_utf8_lossy(trace).lines().map(str::to_owned).collect::<Vec<_>>();
        let (found, wanted) = (lines(&found.0), lines(&wanted.0));
        let at = found.iter().zip(&wanted).position(|(found, wanted)| found != wanted);
        let at = at.unwrap_or(found.len().min(wanted.len()));
        return Err(format!("{whose} trace differs:\n{:?}\n{:?}", found.get(at), wanted.get(at)));
    }
    if found.1 == wanted.1 { Ok(()) } else { Err(format!("{whose} states hash differently")) }
}

/// What was written is what is read.
fn reads_back(trace: &[u8]) -> Result<(), String> {
    if trace.is_empty() {
        return Ok(());
    }
    let recording =
        read(trace, "random").map_err(|errors| format!("the trace does not parse: {errors:?}"))?;
    let mut again = Vec::new();
    for step in &recording.steps {
        write_line(step, &mut again).expect("memory takes every byte");
    }
    if again == trace && recording.ignored.is_empty() {
        Ok(())
    } else {
        Err("the trace reads back as something else".to_owned())
    }
}

/// When everybody has left, no folio is left.
fn leaves_nothing(runner: &Runner<'_>) -> Result<(), String> {
    let machine = runner.machine.clone();
    for mm in machine.mms() {
        exit::exit(&machine, &mm);
    }
    split::put_back(&machine);
    machine.lru_drain();
    for file in machine.files.all() {
        truncate::truncate(&machine, file.root, 0);
    }
    // What nobody maps any more may stay in the swap cache.
    if machine.swap.is_on() {
        swap_in::swapoff(&machine).map_err(|errno| format!("swapoff: {}", errno.name()))?;
    }
    if let Some(bad) = machine.take_bad_frees().first() {
        return Err(format!("when everybody left: {bad:?}"));
    }
    machine.set_hugetlb_pool(0);
    // mremap of a part of a mapping loses what was promised to the rest: such pages never leave the pool.
    let (free, lost) = (i64::from(machine.hugetlb.free_pages()), machine.hugetlb.counts().lost);
    if free != lost {
        return Err(format!("when everybody left, the pool had {free} pages, {lost} of them lost"));
    }
    // Devices stay, with their own reference on each folio.
    let other = |folio: &Folio| match folio.kind {
        Kind::Zero | Kind::Hugetlb => false,
        Kind::Device => machine.refcount(*folio) != 1,
        _ => true,
    };
    match machine.frames.folios().find(other) {
        Some(folio) => Err(format!("when everybody left, {folio:?} was left")),
        None => Ok(()),
    }
}

/// What has to hold besides the laws that the runner checks.
fn look(runner: &Runner<'_>, report: &StepReport, seen: &mut Seen) -> Result<(), String> {
    seen.steps += 1;
    *seen.outcomes.entry(report.outcome.map_or("ok", |errno| errno.name())).or_default() += 1;
    seen.refusals += report.refusals.len() as u64;
    for violation in &report.known_breaks {
        *seen.breaks.entry(violation.law).or_default() += 1;
    }
    let partial = properties::hold(&runner.machine, splits_to_large(runner, report))?;
    seen.partial = seen.partial.max(partial);
    Ok(())
}

/// Whether any step so far may have left large pieces of a folio.
fn splits_to_large(runner: &Runner<'_>, report: &StepReport) -> bool {
    let steps = (0..=report.item).filter_map(|item| runner.step_at(item));
    steps.map(|step| &step.action).any(|action| {
        matches!(action, Action::Kernel(KernelVerb::Split { order, at, .. }) if order.is_some() || at.is_some())
    })
}
