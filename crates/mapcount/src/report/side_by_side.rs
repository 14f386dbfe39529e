//! A scenario on one kernel or on several, step by step: what each step changed. What kernels agree on is
//! said once, with their names in front where it is not all of them.

mod lane;
mod page;

use std::io::{self, Write};

use mapcount_model::profile::Profile;
use mapcount_script::ast::{Item, Scenario};
use mapcount_script::diagnostic::SHOWN_ERRORS;
use mapcount_script::run::Finding;

use super::kernel_names::{KernelNames, Set};
use super::layout::Style;
use lane::{Lane, Told};

/// How to show it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Options {
    /// Stored values under the kernel's names, instead of numbers of mappings.
    pub raw: bool,
    /// Show the phases of operations.
    pub phases: bool,
    /// Check the laws after every step.
    pub laws: bool,
    /// Begin with what the names mean.
    pub legend: bool,
    /// In colour or not.
    pub style: Style,
}

/// Every modelled kernel, and every scheme that no kernel has.
pub fn every_kernel() -> Vec<Profile> {
    let proposals =
        Profile::all_schemes().into_iter().filter(|profile| profile.scheme.info().kernels.is_none());
    Profile::all().into_iter().chain(proposals).collect()
}

/// Names the kernels at these places of `profiles`, in short.
pub fn kernels(profiles: &[Profile], which: &[usize]) -> String {
    let all: Set = (0..profiles.len()).collect();
    KernelNames::new(profiles).list(&which.iter().copied().collect(), &all)
}

/// How a scenario ended on a kernel.
#[derive(Default)]
pub struct Ending {
    /// Whether the scenario says that it is not for this kernel.
    pub skipped: bool,
    /// What was not as it has to be, the first of it.
    pub findings: Vec<Finding>,
    /// How many findings there were beside these.
    pub more: usize,
}

impl Ending {
    /// Keeps a finding, or counts it if there are many.
    pub fn keep(&mut self, finding: Finding) {
        if self.findings.len() < SHOWN_ERRORS {
            self.findings.push(finding);
        } else {
            self.more += 1;
        }
    }
}

/// Runs `scenario` on `profiles`, a step on all of them before the next one, and writes what changed. The
/// endings are in the order of the profiles.
///
/// # Errors
/// Those of `out`.
pub fn run(
    scenario: &Scenario,
    name: &str,
    profiles: &[Profile],
    options: Options,
    out: &mut dyn Write,
) -> io::Result<Vec<Ending>> {
    let names = KernelNames::new(profiles);
    let mut lanes: Vec<Lane<'_>> =
        profiles.iter().map(|profile| Lane::new(scenario, profile, options)).collect();
    let mut text = String::new();
    page::head(&mut text, (scenario, name), profiles, &names, &lanes, options);
    for (kernel, lane) in lanes.iter().enumerate() {
        if let Some(message) = lane.error() {
            page::stopped(&mut text, options.style, &names, kernel, message);
        }
    }
    if scenario.items.is_empty() {
        text.push_str("\nThe scenario has no steps.\n");
    }
    out.write_all(text.as_bytes())?;
    for item in &scenario.items {
        let alive: Set = (0..lanes.len()).filter(|kernel| lanes[*kernel].is_alive()).collect();
        if alive.is_empty() {
            break;
        }
        let mut told: Vec<(usize, Told)> = Vec::new();
        for kernel in &alive {
            told.extend(lanes[*kernel].advance().map(|said| (*kernel, said)));
        }
        text.clear();
        match item {
            Item::Step(step) => page::step(&mut text, step, told, (&names, &alive), options.style),
            Item::Expect(_) => page::expectation(&mut text, told, (&names, &alive), options.style),
        }
        out.write_all(text.as_bytes())?;
    }
    Ok(lanes.into_iter().map(Lane::ending).collect())
}
