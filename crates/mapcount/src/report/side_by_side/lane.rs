//! One kernel's run, and what it says of each step.

use std::collections::BTreeMap;

use mapcount_model::event::Errno;
use mapcount_model::invariant::Law;
use mapcount_model::profile::Profile;
use mapcount_script::ast::Scenario;
use mapcount_script::run::{self, Next, Runner, StepReport};

use super::{Ending, Options};
use crate::report::change::{self, Fact, Place, Reading};
use crate::report::paint::{Phrase, Tone};
use crate::report::phases::phases;
use crate::report::scene::Scene;

/// What a kernel says of a step or an expectation.
pub(super) struct Told {
    /// The step's number.
    pub(super) index: u32,
    /// How the step ended.
    pub(super) outcome: Option<Errno>,
    /// What changed.
    pub(super) places: Vec<Place>,
    /// What is not as it has to be.
    pub(super) wrong: Option<String>,
}

/// A kernel on its way through a scenario.
pub(super) struct Lane<'s> {
    runner: Option<Runner<'s>>,
    options: Options,
    scene: Scene,
    /// The processes so far by the number of their address space; the dead are remembered.
    owners: BTreeMap<u32, String>,
    /// The laws that are broken by design at this point, with what was said of it.
    broken: BTreeMap<Law, String>,
    /// Those of which the reason was told.
    explained: Vec<Law>,
    ending: Ending,
}

impl<'s> Lane<'s> {
    pub(super) fn new(scenario: &'s Scenario, profile: &Profile, options: Options) -> Lane<'s> {
        let how = run::Options { laws: options.laws, phases: options.phases, ..run::Options::default() };
        let mut ending = Ending::default();
        let runner = match Runner::new(scenario, profile, how) {
            Ok(runner) => {
                ending.skipped = runner.is_none();
                runner
            }
            Err(finding) => {
                ending.keep(*finding);
                None
            }
        };
        Lane {
            runner,
            options,
            scene: Scene::default(),
            owners: BTreeMap::new(),
            broken: BTreeMap::new(),
            explained: Vec::new(),
            ending,
        }
    }

    /// The runner, while there is something to run.
    pub(super) fn runner(&self) -> Option<&Runner<'s>> {
        self.runner.as_ref()
    }

    pub(super) fn is_alive(&self) -> bool {
        self.runner.is_some()
    }

    pub(super) fn is_skipped(&self) -> bool {
        self.ending.skipped
    }

    /// Why it could not begin.
    pub(super) fn error(&self) -> Option<&str> {
        self.ending.findings.first().map(|finding| finding.diagnostic.message.as_str())
    }

    pub(super) fn ending(self) -> Ending {
        self.ending
    }

    /// Does what comes next.
    pub(super) fn advance(&mut self) -> Option<Told> {
        let next = self.runner.as_mut()?.advance()?;
        match next {
            Next::Expect(Ok(())) => None,
            Next::Expect(Err(finding)) => {
                let wrong = Some(finding.diagnostic.message.clone());
                self.ending.keep(*finding);
                Some(Told { index: 0, outcome: None, places: Vec::new(), wrong })
            }
            Next::Step(report, result) => {
                let seen = result.as_ref().err().is_none_or(|finding| finding.kind.leaves_a_state());
                let places = if seen { self.look(&report) } else { Vec::new() };
                let wrong = result.as_ref().err().map(|finding| finding.diagnostic.message.clone());
                if let Err(finding) = result {
                    self.ending.keep(*finding);
                    self.runner = None;
                }
                Some(Told { index: report.index, outcome: report.outcome, places, wrong })
            }
        }
    }

    fn look(&mut self, report: &StepReport) -> Vec<Place> {
        let Some(runner) = &self.runner else { return Vec::new() };
        self.owners.extend(runner.processes.iter().map(|(name, process)| (process.mm.id.0, name.clone())));
        let scene = Scene::of(runner);
        let reading = Reading {
            machine: &runner.machine,
            raw: self.options.raw,
            release: runner.profile.release,
            owners: &self.owners,
        };
        let mut places = Vec::new();
        if !report.events.is_empty() {
            places.extend(phases(&reading, &self.scene, &report.events));
        }
        places.extend(change::folios(&reading, &self.scene, &scene));
        places.extend(refused(report));
        places.extend(change::memory(&self.scene, &scene));
        places.extend(change::system(&self.scene, &scene));
        places.extend(breaks(report, &runner.profile, &mut self.broken, &mut self.explained));
        self.scene = scene;
        places
    }
}

fn refused(report: &StepReport) -> Option<Place> {
    let fact = |refusal: &mapcount_model::event::Refusal| {
        let what = format!("{}:", change::description(refusal.folio, 1));
        Fact::new(Phrase::new(Tone::Plain, &what).then(Tone::Alarm, &refusal.why.to_string()))
    };
    let mut facts: Vec<(Fact, u64)> = Vec::new();
    for fact in report.refusals.iter().map(fact) {
        match facts.iter_mut().find(|(known, _)| *known == fact) {
            Some((_, times)) => *times += 1,
            None => facts.push((fact, 1)),
        }
    }
    let times = |(fact, times): (Fact, u64)| match times {
        1 => fact,
        _ => Fact::new(fact.phrase.then(Tone::Plain, &format!("({times} times)"))),
    };
    let facts: Vec<Fact> = facts.into_iter().map(times).collect();
    (!facts.is_empty()).then(|| Place::word(Tone::Alarm, "refused", facts))
}

/// The laws that the scheme breaks by design: said when that changes, with the reason the first time.
fn breaks(
    report: &StepReport,
    profile: &Profile,
    broken: &mut BTreeMap<Law, String>,
    explained: &mut Vec<Law>,
) -> Option<Place> {
    let mut now: BTreeMap<Law, (String, usize)> = BTreeMap::new();
    for found in &report.known_breaks {
        let said = || format!("{} is {}, the page tables say {}", found.what, found.found, found.expected);
        now.entry(found.law).or_insert_with(|| (said(), 0)).1 += 1;
    }
    let mut facts = Vec::new();
    for law in broken.keys().filter(|law| !now.contains_key(law)) {
        facts.push(Fact::new(Phrase::new(Tone::Heading, law.name()).then(Tone::Plain, "holds again")));
    }
    let mut state = BTreeMap::new();
    for (law, (mut said, count)) in now {
        if count > 1 {
            said.push_str(&format!(" (and {} more)", count - 1));
        }
        if broken.get(&law) != Some(&said) {
            let mut phrase = Phrase::new(Tone::Alarm, law.name()).joined(":").then(Tone::Plain, &said);
            let why = profile.scheme.info().breaks.iter().find(|(known, _)| *known == law);
            if let Some((_, why)) = why.filter(|_| !explained.contains(&law)) {
                phrase = phrase.joined(";").then(Tone::Plain, &format!("by design: {why}"));
                explained.push(law);
            }
            facts.push(Fact::new(phrase));
        }
        state.insert(law, said);
    }
    *broken = state;
    (!facts.is_empty()).then(|| Place::word(Tone::Alarm, "breaks", facts))
}
