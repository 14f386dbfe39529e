//! What was not as it has to be, for people: once for all kernels that it holds of, with the history of the
//! counters that it is about.

use mapcount_model::machine::Mode;
use mapcount_model::profile::Profile;
use mapcount_script::diagnostic::Span;
use mapcount_script::run::{Finding, FindingKind, Next, Options, Runner};

use super::super::Exit;
use super::super::input::Source;
use crate::report::side_by_side::{Ending, kernels};

/// The findings of a scenario on several kernels.
pub(super) struct Findings<'f> {
    source: &'f Source,
    profiles: &'f [Profile],
    endings: Vec<Ending>,
    laws: bool,
}

/// A finding, and on which kernels.
struct Group<'f> {
    finding: &'f Finding,
    kernels: Vec<usize>,
}

impl<'f> Findings<'f> {
    pub(super) fn new(
        source: &'f Source,
        profiles: &'f [Profile],
        endings: Vec<Ending>,
        laws: bool,
    ) -> Findings<'f> {
        Findings { source, profiles, endings, laws }
    }

    /// Prints them to stderr; says how the program is to end.
    pub(super) fn report(&self, color: bool) -> Exit {
        let groups = self.groups();
        let mut exit = Exit::Success;
        for group in &groups {
            exit = exit.max(match group.finding.kind {
                FindingKind::Scenario => Exit::Malformed,
                _ => Exit::Finding,
            });
            let first = group.kernels[0];
            let mut finding = self.with_history(first, group.finding);
            let mut others = group.kernels[1..].iter();
            if self.profiles.len() > 1 && group.kernels.len() == self.profiles.len() {
                finding.diagnostic.notes.push("the same on all kernels".to_owned());
            } else if others.next().is_some() {
                let names = kernels(self.profiles, &group.kernels);
                finding.diagnostic.notes.push(format!("the same on each of {names}"));
            } else if self.profiles.len() > 1 {
                finding.diagnostic.notes.push(format!("on {}", self.profiles[first].name));
            }
            eprintln!("{}\n", finding.diagnostic.render(&self.source.path, &self.source.bytes, color));
        }
        self.summary();
        exit
    }

    /// Equal findings together. What the label says of the kernel does not count.
    fn groups(&self) -> Vec<Group<'_>> {
        let mut groups: Vec<Group<'_>> = Vec::new();
        let key = |finding: &Finding| -> (FindingKind, Span, String) {
            (finding.kind, finding.diagnostic.span, finding.diagnostic.message.clone())
        };
        for (kernel, ending) in self.endings.iter().enumerate() {
            for finding in &ending.findings {
                match groups.iter_mut().find(|group| key(group.finding) == key(finding)) {
                    Some(group) => group.kernels.push(kernel),
                    None => groups.push(Group { finding, kernels: vec![kernel] }),
                }
            }
        }
        groups
    }

    /// The same finding of a run that remembers who wrote the counters.
    fn with_history(&self, kernel: usize, finding: &Finding) -> Finding {
        if matches!(finding.kind, FindingKind::Scenario | FindingKind::NotModelled) {
            return finding.clone();
        }
        let options = Options { mode: Mode::Recorded, laws: self.laws, ..Options::default() };
        let Ok(Some(mut runner)) = Runner::new(&self.source.scenario, &self.profiles[kernel], options) else {
            return finding.clone();
        };
        while let Some(next) = runner.advance() {
            let (Next::Step(_, result) | Next::Expect(result)) = next;
            if let Err(again) = result
                && (again.kind, again.diagnostic.span) == (finding.kind, finding.diagnostic.span)
            {
                return *again;
            }
        }
        finding.clone()
    }

    fn summary(&self) {
        let path = &self.source.path;
        let more: usize = self.endings.iter().map(|ending| ending.more).sum();
        if more > 0 {
            eprintln!("mapcount: {path}: and {more} more findings");
        }
        if self.profiles.len() == 1 {
            return;
        }
        let failed: Vec<usize> =
            (0..self.endings.len()).filter(|kernel| !self.endings[*kernel].findings.is_empty()).collect();
        if !failed.is_empty() {
            let all = self.profiles.len();
            if failed.len() == all {
                eprintln!("mapcount: {path} fails on all {all} kernels");
            } else {
                let names = kernels(self.profiles, &failed);
                eprintln!("mapcount: {path} fails on {} of {all} kernels: {names}", failed.len());
            }
        }
    }
}
