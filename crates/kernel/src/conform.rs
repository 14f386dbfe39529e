//! Model and kernel in lockstep: each step is done by both, and what they left is compared field by field.

mod coverage;
mod drift;
mod extend;
mod held;
mod left_out;

use mapcount_model::invariant::Violation;
use mapcount_model::machine::Mode;
use mapcount_model::profile::Profile;
use mapcount_script::ast::Scenario;
use mapcount_script::diff::{self, Difference, Kind, diff, values};
use mapcount_script::random::{Shape, generate, minimise};
use mapcount_script::run::{
    self, Finding, FindingKind, Next, Runner, State, frame_history, observe, operation,
};
use mapcount_script::trace;

use crate::driven::{Driven, Recorded, Seen};
use crate::signals::interrupted;
use crate::subject::Trouble;
pub use coverage::Coverage;
pub use drift::{Drift, Reason};
use drift::{Hunt, is_about_statistics};
use held::Held;
use left_out::leave_out;

/// Looks at a state that differs before it is believed: what ends by itself has so many times as long.
const ROUNDS: u32 = 7;

/// How often a scenario that differed is run again before it is believed that it agrees.
const TRIES: u32 = 3;

/// How a scenario ended.
#[derive(Clone, PartialEq, Debug)]
pub enum Verdict {
    /// Model and kernel agree in every step that both could do, and these are all.
    Agrees,
    /// Up to this point they agree; why it went no further.
    Stopped(Stop),
    /// They differ.
    Differs(Box<Found>),
    /// They differed once and never again: somebody else was at work, or the kernel does not do the same each time.
    Unsteady(Box<Found>),
    /// The model breaks a law of its own.
    ModelFails(Box<Finding>),
}

/// Why a scenario was not run, or not to its end.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Stop {
    /// It is for other kernels.
    OtherKernels,
    /// The machine does not fit: it says why.
    Machine(String),
    /// The model does not have the step with this number: what is missing.
    NotModelled(u64, String),
    /// The kernel does not have the step with this number: what is missing.
    Unsupported(u64, String),
    /// Somebody pressed Ctrl-C.
    Interrupted,
}

/// A difference.
#[derive(Clone, PartialEq, Debug)]
pub struct Found {
    /// What differs behind the first step where anything does.
    pub differences: Vec<Difference>,
    /// Which steps of the model changed the counter that the first difference is about.
    pub history: Vec<String>,
}

/// What a scenario came to.
#[derive(Clone, PartialEq, Debug)]
pub struct Report {
    /// How it ended.
    pub verdict: Verdict,
    /// Steps that both did.
    pub steps: u64,
    /// Values compared.
    pub values: u64,
    /// Steps behind which a second look was needed, because something went on by itself.
    pub noise: u64,
    /// Steps behind which the statistics of the system were compared with the kernel's own page tables.
    pub hunted: u64,
    /// How far these statistics were off for a known reason: each change of that.
    pub drift: Vec<Drift>,
}

/// What a run of scenarios may do.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Options {
    /// Keys that are not compared.
    pub ignore: Vec<String>,
    /// Let all processes exit in the end, so that statistics that do not come back are seen.
    pub exits: bool,
    /// An error that is planted in what was observed, to show that it is found: the key, and what is added.
    pub plant: Option<(String, i64)>,
}

/// The comparison.
pub struct Conform {
    driven: Driven,
    profile: Profile,
    options: Options,
    diff: diff::Options,
    coverage: Coverage,
}

impl Conform {
    /// Compares the kernel with the model of `profile`.
    pub fn new(driven: Driven, profile: Profile, options: Options) -> Conform {
        let diff = diff::Options { ignore: options.ignore.clone(), ..diff::Options::default() };
        Conform { driven, profile, options, diff, coverage: Coverage::default() }
    }

    /// The kernel.
    pub const fn driven(&self) -> &Driven {
        &self.driven
    }

    /// The model's kernel.
    pub const fn profile(&self) -> &Profile {
        &self.profile
    }

    /// What was reached so far.
    pub const fn coverage(&self) -> &Coverage {
        &self.coverage
    }

    /// The random scenario of a seed, without the steps that this machine cannot do; and those, each with its
    /// operation and why.
    pub fn random(&self, seed: u64, steps: u32) -> (Scenario, Vec<(String, &'static str)>) {
        let subject = self.driven.subject();
        let shape = Shape {
            steps,
            pmd_order: Some(9),
            nodes: subject.nodes().min(255),
            disks: subject.disks(),
            memfd_huge: false,
            dax: false,
            ..Shape::of(&self.profile)
        };
        let mut scenario = generate(seed, &shape);
        held::from_start(&mut scenario, seed);
        let mut held = Held::of(&scenario, &self.profile);
        let left_out =
            leave_out(&mut scenario, |action| self.driven.lacks(action).or_else(|| held.lacks(action)));
        (scenario, left_out)
    }

    /// Runs a scenario on both.
    ///
    /// # Errors
    /// If the machine is out of control.
    pub fn check(&mut self, scenario: &Scenario, name: &str) -> Result<Report, Trouble> {
        let extended = self.options.exits.then(|| extend::with_exits(scenario));
        let report = self.lockstep(extended.as_ref().unwrap_or(scenario), name);
        // The machine is left as it was found even where something went wrong.
        let ended = self.driven.end();
        let report = report?;
        ended?;
        Ok(report)
    }

    /// Runs a scenario on both, and again if they differ: what differs for good differs again.
    ///
    /// # Errors
    /// If the machine is out of control.
    pub fn confirm(&mut self, scenario: &Scenario, name: &str) -> Result<Report, Trouble> {
        let mut report = self.check(scenario, name)?;
        let Verdict::Differs(found) = &report.verdict else { return Ok(report) };
        let found = found.clone();
        for _ in 0..TRIES {
            let again = self.check(scenario, name)?;
            match again.verdict {
                Verdict::Agrees | Verdict::Stopped(Stop::Unsupported(..)) => {}
                _ => return Ok(again),
            }
        }
        report.verdict = Verdict::Unsteady(found);
        Ok(report)
    }

    /// The smallest scenario found that still differs.
    ///
    /// # Errors
    /// If the machine is out of control.
    pub fn minimise(&mut self, scenario: &Scenario, name: &str) -> Result<Scenario, Trouble> {
        let mut trouble = None;
        let coverage = self.coverage.clone();
        let extended = if self.options.exits { extend::with_exits(scenario) } else { scenario.clone() };
        let exits = std::mem::replace(&mut self.options.exits, false);
        let smallest = minimise(&extended, |candidate| {
            if trouble.is_some() || interrupted() {
                return false;
            }
            match self.check(candidate, name) {
                Ok(report) => matches!(report.verdict, Verdict::Differs(_)),
                // A step was taken away that a later one needs.
                Err(Trouble::Scenario(_)) => false,
                Err(other) => {
                    trouble = Some(other);
                    false
                }
            }
        });
        self.options.exits = exits;
        self.coverage = coverage;
        trouble.map_or(Ok(smallest), Err)
    }

    /// What the kernel does in a scenario, as a recording.
    ///
    /// # Errors
    /// If the machine is out of control.
    pub fn record(&mut self, scenario: &Scenario, name: &str) -> Result<Recorded, Trouble> {
        self.driven.record(scenario, name)
    }

    fn lockstep(&mut self, scenario: &Scenario, name: &str) -> Result<Report, Trouble> {
        let mut report =
            Report { verdict: Verdict::Agrees, steps: 0, values: 0, noise: 0, hunted: 0, drift: Vec::new() };
        let stop = |stop, report: Report| Ok(Report { verdict: Verdict::Stopped(stop), ..report });
        let options = run::Options { mode: Mode::Fast, laws: self.options.exits, ..run::Options::default() };
        let mut runner = match Runner::new(scenario, &self.profile, options) {
            Ok(Some(runner)) => runner,
            Ok(None) => return stop(Stop::OtherKernels, report),
            Err(finding) if finding.kind == FindingKind::NotModelled => {
                return stop(Stop::NotModelled(0, finding.diagnostic.message.clone()), report);
            }
            Err(finding) => return Ok(Report { verdict: Verdict::ModelFails(finding), ..report }),
        };
        if let Err(why) = self.driven.begin(scenario)? {
            return stop(Stop::Machine(why), report);
        }
        let mut hunt = Hunt::default();
        loop {
            (report.hunted, report.drift) = (hunt.steps, hunt.found.clone());
            if interrupted() {
                return stop(Stop::Interrupted, report);
            }
            let before = runner.next_step().map(|step| State::of(&runner, step));
            let Some(next) = runner.advance() else { return Ok(report) };
            // What a scenario expects is `run`'s business; the kernel is the measure here.
            let Next::Step(done, result) = next else { continue };
            let number = u64::from(done.index);
            match result {
                Ok(()) => {}
                Err(finding) if finding.kind == FindingKind::NotModelled => {
                    return stop(Stop::NotModelled(number, finding.diagnostic.message.clone()), report);
                }
                Err(finding) if finding.kind == FindingKind::Outcome => {}
                Err(finding) => return Ok(Report { verdict: Verdict::ModelFails(finding), ..report }),
            }
            let step = runner.step_at(done.item).expect("the report is of a step");
            let model = observe(&runner, &done, name);
            let done_there = self.driven.step(step, number, name).map_err(|trouble| match trouble {
                // The model took the step.
                Trouble::Scenario(diagnostic) => Trouble::Lost(format!(
                    "{name}, step {number} `{}`: the subject is not where the model is: {}",
                    step.text, diagnostic.message
                )),
                other => other,
            });
            let mut seen = match done_there? {
                Seen::Step(seen) => *seen,
                Seen::Unsupported(why) => return stop(Stop::Unsupported(number, why), report),
            };
            let differences = self.compare(&model, &mut seen, &mut report)?;
            report.steps += 1;
            report.values += values(std::slice::from_ref(&seen));
            self.coverage.add(&operation(step), before.unwrap_or(State::None), State::of(&runner, step));
            if !differences.is_empty() {
                let history = self.history(scenario, number, &differences);
                let found = Box::new(Found { differences, history });
                return Ok(Report { verdict: Verdict::Differs(found), ..report });
            }
            if !self.options.exits {
                continue;
            }
            let known: Vec<Violation> =
                done.known_breaks.iter().filter(|found| is_about_statistics(found.law)).cloned().collect();
            if let Err(wrong) = hunt.look(&seen, &self.profile, &known) {
                let found = Box::new(Found { differences: vec![drifted(&seen, wrong)], history: Vec::new() });
                return Ok(Report { verdict: Verdict::Differs(found), ..report });
            }
        }
    }

    /// What differs for good: a state that does is looked at again, with more and more time.
    fn compare(
        &mut self,
        model: &trace::Step,
        seen: &mut trace::Step,
        report: &mut Report,
    ) -> Result<Vec<Difference>, Trouble> {
        let mut round = 0;
        loop {
            self.plant(seen);
            let differences = diff(std::slice::from_ref(model), std::slice::from_ref(seen), &self.diff);
            // What a call returned stays what it was.
            let lasting = differences.iter().any(|found| found.field == "outcome");
            if differences.is_empty() || lasting || round == ROUNDS {
                report.noise += u64::from(round > 0 && differences.is_empty());
                return Ok(differences);
            }
            self.driven.look_again(seen, round)?;
            round += 1;
        }
    }

    /// The planted error, in every folio of a THP's size.
    fn plant(&self, seen: &mut trace::Step) {
        let Some((key, by)) = &self.options.plant else { return };
        for row in seen.folios.iter_mut().flatten().filter(|row| row.order == 9) {
            for (field, value) in &mut row.fields {
                if field.key() == key
                    && let trace::FieldValue::Number(number) = value
                {
                    *number += by;
                }
            }
        }
    }

    /// The history of the first counter that differs, from a run of the model that remembers.
    fn history(&self, scenario: &Scenario, number: u64, differences: &[Difference]) -> Vec<String> {
        let of_counter = differences.iter().find_map(|found| Some((found.field, found.frame?)));
        let Some((key, frame)) = of_counter else { return Vec::new() };
        let options = run::Options { mode: Mode::Recorded, laws: false, ..run::Options::default() };
        let Ok(Some(mut runner)) = Runner::new(scenario, &self.profile, options) else { return Vec::new() };
        while let Some(next) = runner.advance() {
            if let Next::Step(done, _) = next
                && u64::from(done.index) == number
            {
                return frame_history(&runner, key, frame);
            }
        }
        Vec::new()
    }
}

/// A statistic of the kernel's that its own page tables do not bear out, though the model has the same.
fn drifted(seen: &trace::Step, (key, kernel, mapped): (&'static str, i64, i64)) -> Difference {
    Difference {
        step: seen.step,
        op: seen.op.clone(),
        kind: Kind::Value,
        field: key,
        path: format!("system {key}, against what is mapped"),
        frame: None,
        pages: None,
        model: mapped.to_string(),
        recording: kernel.to_string(),
    }
}
