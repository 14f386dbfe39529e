//! What a comparison with the running kernel came to: for people, for the kernel's test tools, for machines.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::PathBuf;

use mapcount_kernel::conform::{Coverage, Drift, Found, Report, Stop, Verdict};
use serde_json::{Value, json};

/// Differences that are told of a scenario.
const TOLD: usize = 8;

/// How it is printed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Format {
    /// For people.
    Table,
    /// The kernel's test protocol, version 1.
    Ktap,
    /// One JSON object a scenario.
    Jsonl,
}

/// What is compared with what.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Head {
    /// The running kernel.
    pub kernel: String,
    /// Through what it is looked at.
    pub observer: &'static str,
    /// The model's kernel.
    pub model: String,
    /// How that counts.
    pub scheme: &'static str,
    /// How many scenarios there are.
    pub scenarios: u64,
    /// Why the statistics of the system are not compared, if they are not.
    pub unwatched: Option<String>,
}

/// A scenario and what came of it.
#[derive(Clone, Copy, Debug)]
pub struct Line<'a> {
    /// Its number, from 1.
    pub number: u64,
    /// Its name.
    pub name: &'a str,
    /// What came of it.
    pub report: &'a Report,
    /// The smallest scenario that still differs.
    pub written: Option<&'a Written>,
}

/// A minimised scenario that was written to a file.
#[derive(Clone, PartialEq, Debug)]
pub struct Written {
    /// Where.
    pub scenario: PathBuf,
    /// Where its recording is.
    pub recording: PathBuf,
    /// What it says.
    pub text: String,
    /// What came of it.
    pub report: Report,
}

/// What all scenarios came to.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Summary {
    agree: u64,
    differ: u64,
    unsteady: u64,
    fails: u64,
    stopped: BTreeMap<&'static str, u64>,
    steps: u64,
    values: u64,
    noise: u64,
    hunted: u64,
    /// Scenarios that show a known bug, by its number.
    bugs: BTreeMap<&'static str, u64>,
    left_out: BTreeMap<(String, &'static str), u64>,
    /// Scenarios that were to be run.
    pub planned: u64,
    /// Readings that were repeated, and observations that never came to rest.
    pub unrest: (u64, u64),
}

impl Summary {
    /// Counts a scenario.
    pub fn add(&mut self, report: &Report) {
        match &report.verdict {
            Verdict::Agrees => self.agree += 1,
            Verdict::Differs(_) => self.differ += 1,
            Verdict::Unsteady(_) => self.unsteady += 1,
            Verdict::ModelFails(_) => self.fails += 1,
            Verdict::Stopped(stop) => *self.stopped.entry(word(stop)).or_default() += 1,
        }
        self.steps += report.steps;
        self.values += report.values;
        self.noise += report.noise;
        self.hunted += report.hunted;
        let bugs: BTreeSet<&str> = report.drift.iter().filter_map(|drift| drift.reason.bug).collect();
        for bug in bugs {
            *self.bugs.entry(bug).or_default() += 1;
        }
    }

    /// Counts steps that were left out of a random scenario.
    pub fn leave_out(&mut self, steps: &[(String, &'static str)]) {
        for step in steps {
            *self.left_out.entry(step.clone()).or_default() += 1;
        }
    }

    /// Scenarios so far.
    pub fn scenarios(&self) -> u64 {
        self.agree + self.differ + self.unsteady + self.fails + self.stopped.values().sum::<u64>()
    }

    /// Scenarios in which model and kernel differ, so far.
    pub const fn differing(&self) -> usize {
        (self.differ + self.fails) as usize
    }

    /// That not all scenarios were run.
    fn cut_short(&self) -> Option<String> {
        let (done, planned) = (self.scenarios(), self.planned);
        (done < planned).then(|| format!("only {done} of {planned} scenarios were run"))
    }

    /// Steps that both did, so far.
    pub const fn steps(&self) -> u64 {
        self.steps
    }
}

/// Why a scenario was not run to its end, in a word.
const fn word(stop: &Stop) -> &'static str {
    match stop {
        Stop::OtherKernels => "for other kernels",
        Stop::Machine(_) => "for another machine",
        Stop::NotModelled(..) => "not modelled",
        Stop::Unsupported(..) => "unsupported by this kernel",
        Stop::Interrupted => "interrupted",
    }
}

/// The same with its reason.
fn reason(stop: &Stop) -> String {
    match stop {
        Stop::OtherKernels | Stop::Interrupted => word(stop).to_owned(),
        Stop::Machine(why) => format!("for another machine: {why}"),
        Stop::NotModelled(step, what) => format!("from step {step} on: {what}"),
        Stop::Unsupported(step, why) => format!("from step {step} on unsupported by this kernel: {why}"),
    }
}

impl Format {
    /// What stands before all scenarios.
    pub fn head(self, head: &Head) -> String {
        let Head { kernel, observer, model, scheme, scenarios, unwatched } = head;
        let what = format!("Linux {kernel} by {observer}, against the model of {model} ({scheme})");
        let statistics =
            unwatched.as_ref().map(|why| format!("the statistics of the system are not compared: {why}"));
        match self {
            Format::Table => {
                let mut text = format!("{what}\n");
                if let Some(line) = statistics {
                    let _ = writeln!(text, "{line}");
                }
                text.push('\n');
                text
            }
            Format::Ktap => {
                let mut text = format!("KTAP version 1\n# {what}\n");
                if let Some(line) = statistics {
                    let _ = writeln!(text, "# {line}");
                }
                let _ = writeln!(text, "1..{scenarios}");
                text
            }
            Format::Jsonl => line_of(&json!({
                "kernel": kernel, "observer": observer, "model": model, "scheme": scheme,
                "scenarios": scenarios, "statistics": unwatched.is_none(),
            })),
        }
    }

    /// A scenario.
    pub fn line(self, line: &Line<'_>) -> String {
        match self {
            Format::Table => table(line),
            Format::Ktap => ktap(line),
            Format::Jsonl => line_of(&object(line)),
        }
    }

    /// What stands behind all scenarios.
    pub fn end(self, summary: &Summary, coverage: &Coverage) -> String {
        match self {
            Format::Table => {
                totals(summary, coverage).fold(String::from("\n"), |text, line| text + &line + "\n")
            }
            Format::Ktap => {
                let text =
                    totals(summary, coverage).fold(String::new(), |text, line| text + "# " + &line + "\n");
                // Who reads this counts the tests that the plan promised.
                match summary.cut_short() {
                    Some(why) => text + "Bail out! " + &why + "\n",
                    None => text,
                }
            }
            Format::Jsonl => line_of(&json!({
                "planned": summary.planned, "agree": summary.agree, "differ": summary.differ, "unsteady": summary.unsteady, "model_fails": summary.fails,
                "stopped": summary.stopped, "steps": summary.steps, "values": summary.values,
                "noise": summary.noise, "statistics_steps": summary.hunted, "known_bugs": summary.bugs,
                "left_out": summary.left_out.iter().map(|((operation, why), steps)| json!({
                    "operation": operation, "why": why, "steps": steps,
                })).collect::<Vec<_>>(),
                "coverage": coverage.operations().map(|(operation, reached)| json!({
                    "operation": operation, "steps": reached.steps,
                    "pairs": reached.pairs.iter()
                        .map(|(before, after)| [before.to_string(), after.to_string()])
                        .collect::<Vec<_>>(),
                })).collect::<Vec<_>>(),
            })),
        }
    }
}

fn line_of(value: &Value) -> String {
    format!("{value}\n")
}

fn table(line: &Line<'_>) -> String {
    let Line { name, report, written, .. } = line;
    let (word, more) = match &report.verdict {
        Verdict::Agrees => ("agrees", extent(report)),
        Verdict::Stopped(stop) if report.steps == 0 => ("skipped", reason(stop)),
        Verdict::Stopped(stop) => ("stopped", format!("{}; {}", extent(report), reason(stop))),
        Verdict::Differs(_) => ("DIFFERS", extent(report)),
        Verdict::Unsteady(_) => {
            ("unsteady", format!("{}; differed once, and agreed when run again", extent(report)))
        }
        Verdict::ModelFails(finding) => ("FAILS", finding.diagnostic.message.clone()),
    };
    let mut text = format!("{word:8} {name:28} {more}\n");
    for detail in details(report, *written) {
        let _ = writeln!(text, "         {detail}");
    }
    text
}

fn extent(report: &Report) -> String {
    format!("{} steps, {} values", report.steps, report.values)
}

/// What is to be said below a scenario.
fn details(report: &Report, written: Option<&Written>) -> Vec<String> {
    let mut lines = Vec::new();
    if let Verdict::Differs(found) | Verdict::Unsteady(found) = &report.verdict {
        lines.extend(differences(found));
    }
    lines.extend(report.drift.iter().map(drift));
    // What nothing takes back is there for ever.
    for (at, last) in report.drift.iter().enumerate().filter(|(_, drift)| !drift.is_over()) {
        if report.drift[at + 1..].iter().all(|later| later.statistic != last.statistic) {
            let Drift { statistic, kernel, mapped, .. } = last;
            lines.push(format!("at the end {statistic} is still off by {:+}", kernel - mapped));
        }
    }
    if let Some(written) = written {
        let (scenario, recording) = (written.scenario.display(), written.recording.display());
        lines.push(format!(
            "the smallest scenario that differs is in {scenario}, its recording in {recording}:"
        ));
        lines.extend(written.text.lines().map(|line| format!("  {line}")));
        if let Verdict::Differs(found) = &written.report.verdict {
            lines.extend(differences(found).into_iter().map(|line| format!("  {line}")));
        }
    }
    lines
}

/// How far a statistic is off, and what made it so.
fn drift(drift: &Drift) -> String {
    let Drift { step, op, statistic, kernel, mapped, reason } = drift;
    let name = match reason.bug {
        Some(bug) => format!("known kernel bug {bug}"),
        None => "by design of this kernel's counting".to_owned(),
    };
    if drift.is_over() {
        return format!("{name}: {statistic} is right again behind step {step} `{op}`");
    }
    format!(
        "{name}: from step {step} `{op}` on {statistic} is {kernel}, mapped are {mapped}: {}",
        reason.what
    )
}

fn differences(found: &Found) -> Vec<String> {
    let told = found.differences.iter().take(TOLD).map(|difference| {
        // In this command the recording is the kernel as it runs.
        difference
            .to_string()
            .replace(", recording ", ", kernel ")
            .replace("model has no value, recording", "model has no value, kernel")
    });
    let mut lines: Vec<String> = told.collect();
    let more = found.differences.len().saturating_sub(TOLD);
    if more > 0 {
        lines.push(format!("and {more} more differences"));
    }
    lines.extend(found.history.iter().map(|note| format!("the model's {note}")));
    lines
}

fn ktap(line: &Line<'_>) -> String {
    let Line { number, name, report, written } = line;
    let mut text = String::new();
    for detail in details(report, *written) {
        let _ = writeln!(text, "# {detail}");
    }
    // A test is what stands between these two.
    let _ = match &report.verdict {
        Verdict::Agrees => writeln!(text, "ok {number} {name}"),
        Verdict::Stopped(stop) => writeln!(text, "ok {number} {name} # SKIP {}", reason(stop)),
        Verdict::Differs(_) => writeln!(text, "not ok {number} {name}"),
        Verdict::Unsteady(_) => {
            writeln!(text, "ok {number} {name} # differed once, and agreed when run again")
        }
        Verdict::ModelFails(finding) => {
            writeln!(text, "# {}\nnot ok {number} {name}", finding.diagnostic.message)
        }
    };
    text
}

fn object(line: &Line<'_>) -> Value {
    let Line { name, report, written, .. } = line;
    let mut object = json!({
        "scenario": name, "steps": report.steps, "values": report.values, "noise": report.noise,
    });
    match &report.verdict {
        Verdict::Agrees => object["verdict"] = json!("agrees"),
        Verdict::Stopped(stop) => {
            object["verdict"] = json!(word(stop));
            object["why"] = json!(reason(stop));
        }
        Verdict::Differs(found) | Verdict::Unsteady(found) => {
            let is_lasting = matches!(report.verdict, Verdict::Differs(_));
            object["verdict"] = json!(if is_lasting { "differs" } else { "unsteady" });
            object["differences"] = found
                .differences
                .iter()
                .map(|found| {
                    json!({
                        "step": found.step, "op": found.op, "field": found.field, "path": found.path,
                        "pages": found.pages, "model": found.model, "kernel": found.recording,
                    })
                })
                .collect();
            object["history"] = json!(found.history);
        }
        Verdict::ModelFails(finding) => {
            object["verdict"] = json!("model fails");
            object["why"] = json!(finding.diagnostic.message);
        }
    }
    if !report.drift.is_empty() {
        let drift = report.drift.iter().map(|drift| {
            json!({
                "step": drift.step, "op": drift.op, "statistic": drift.statistic, "kernel": drift.kernel,
                "mapped": drift.mapped, "bug": drift.reason.bug, "why": drift.reason.what,
            })
        });
        object["drift"] = drift.collect();
    }
    if let Some(written) = written {
        object["minimised"] = json!({
            "file": written.scenario.to_string_lossy(),
            "recording": written.recording.to_string_lossy(),
            "text": written.text,
        });
    }
    object
}

/// What all came to, line by line.
fn totals(summary: &Summary, coverage: &Coverage) -> impl Iterator<Item = String> {
    let mut lines = Vec::new();
    let mut words = vec![format!("{} agree", summary.agree), format!("{} differ", summary.differ)];
    if summary.fails > 0 {
        words.push(format!("in {} the model fails", summary.fails));
    }
    if summary.unsteady > 0 {
        words.push(format!("{} unsteady", summary.unsteady));
    }
    words.extend(summary.stopped.iter().map(|(why, count)| format!("{count} {why}")));
    lines.push(format!("{} scenarios: {}", summary.scenarios(), words.join(", ")));
    lines.extend(summary.cut_short());
    lines.push(format!("{} steps, {} values compared", summary.steps, summary.values));
    if summary.noise > 0 {
        lines.push(format!("{} steps agreed only after a second look", summary.noise));
    }
    let (retries, unsettled) = summary.unrest;
    if retries + unsettled > 0 {
        lines.push(format!("{retries} readings repeated, {unsettled} that never came to rest"));
    }
    if summary.hunted > 0 {
        lines.push(format!(
            "drift hunt: statistics compared with page tables behind {} steps",
            summary.hunted
        ));
    }
    for (bug, scenarios) in &summary.bugs {
        let plural = if *scenarios == 1 { "" } else { "s" };
        lines.push(format!("known kernel bug {bug}: shown by {scenarios} scenario{plural}"));
    }
    for ((operation, why), steps) in &summary.left_out {
        lines.push(format!("left out: {steps} × {operation}: {why}"));
    }
    lines.push(format!("coverage: {} pairs of states before and behind a step", coverage.pairs()));
    for (operation, reached) in coverage.operations() {
        lines.push(format!("  {operation:24} {:6} steps {:4} pairs", reached.steps, reached.pairs.len()));
    }
    lines.into_iter()
}

#[cfg(test)]
mod tests {
    use mapcount_kernel::conform::{Coverage, Drift, Found, Reason, Report, Stop, Verdict};
    use mapcount_script::diff::{Difference, Kind};
    use mapcount_script::run::State;

    use super::{Format, Head, Line, Summary};

    fn report(verdict: Verdict) -> Report {
        Report { verdict, steps: 3, values: 120, noise: 0, hunted: 0, drift: Vec::new() }
    }

    fn differs() -> Report {
        let difference = Difference {
            step: 2,
            op: "A: fork B".to_owned(),
            kind: Kind::Value,
            field: "refcount",
            path: "folio 0 (order 9) refcount".to_owned(),
            frame: Some(0),
            pages: None,
            model: "2".to_owned(),
            recording: "3".to_owned(),
        };
        let history = vec!["refcount: 1 → 2 in step 2 `A: fork B`".to_owned()];
        report(Verdict::Differs(Box::new(Found { differences: vec![difference], history })))
    }

    fn line(report: &Report) -> Line<'_> {
        Line { number: 4, name: "cow", report, written: None }
    }

    #[test]
    fn people_are_told_both_values_and_where_the_model_has_its_from() {
        let text = Format::Table.line(&line(&differs()));
        assert!(text.starts_with("DIFFERS  cow "), "{text}");
        assert!(text.contains("step 2 `A: fork B`: folio 0 (order 9) refcount: model 2, kernel 3"), "{text}");
        assert!(text.contains("the model's refcount: 1 → 2 in step 2"), "{text}");
    }

    #[test]
    fn ktap_has_a_line_that_begins_with_ok_or_not_ok() {
        let cases = [
            (report(Verdict::Agrees), "ok 4 cow\n"),
            (report(Verdict::Stopped(Stop::OtherKernels)), "ok 4 cow # SKIP for other kernels\n"),
            (differs(), "not ok 4 cow\n"),
        ];
        for (report, expected) in cases {
            let text = Format::Ktap.line(&line(&report));
            assert!(text.ends_with(expected), "{text}");
            assert!(text.lines().rev().skip(1).all(|line| line.starts_with("# ")), "{text}");
        }
    }

    #[test]
    fn machines_get_one_object_a_line() {
        let mut summary = Summary::default();
        summary.add(&differs());
        summary.leave_out(&[("swap on".to_owned(), "no disk"), ("swap on".to_owned(), "no disk")]);
        let mut coverage = Coverage::default();
        coverage.add("fork", State::None, State::Empty);
        let head = Head {
            kernel: "6.18.1".to_owned(),
            observer: "bpf",
            model: "6.18".to_owned(),
            scheme: "mm-id",
            scenarios: 1,
            unwatched: None,
        };
        let text = [
            Format::Jsonl.head(&head),
            Format::Jsonl.line(&line(&differs())),
            Format::Jsonl.end(&summary, &coverage),
        ];
        let values = text.map(|line| serde_json::from_str::<serde_json::Value>(&line).expect("JSON"));
        assert_eq!(values[0]["statistics"], true);
        assert_eq!(values[1]["differences"][0]["kernel"], "3");
        assert_eq!(values[2]["left_out"][0]["steps"], 2);
        assert_eq!(values[2]["coverage"][0]["pairs"][0][1], "empty");
    }

    #[test]
    fn a_known_bug_is_told_with_its_number_and_the_step_that_causes_it_and_is_no_failure() {
        let reason = Reason { bug: Some("Q3"), what: "pages count twice" };
        let drift = |step, kernel| Drift {
            step,
            op: "kernel: migrate A.x to 1 all".to_owned(),
            statistic: "anon_mapped",
            kernel,
            mapped: 512,
            reason,
        };
        let report =
            Report { hunted: 3, drift: vec![drift(1, 1024), drift(2, 512)], ..report(Verdict::Agrees) };
        let text = Format::Table.line(&line(&report));
        assert!(text.starts_with("agrees   cow "), "{text}");
        let from = "known kernel bug Q3: from step 1 `kernel: migrate A.x to 1 all` on anon_mapped is 1024, \
            mapped are 512: pages count twice";
        assert!(text.contains(from), "{text}");
        assert!(text.contains("known kernel bug Q3: anon_mapped is right again behind step 2"), "{text}");
        assert!(!text.contains("still"), "{text}");
        let lasting = Report { drift: report.drift[..1].to_vec(), ..report.clone() };
        let text = Format::Table.line(&line(&lasting));
        assert!(text.contains("at the end anon_mapped is still off by +512"), "{text}");
        assert!(Format::Ktap.line(&line(&report)).ends_with("\nok 4 cow\n"));
        let object = serde_json::from_str::<serde_json::Value>(&Format::Jsonl.line(&line(&report)));
        assert_eq!(object.expect("JSON")["drift"][0]["bug"], "Q3");
        let mut summary = Summary::default();
        summary.add(&report);
        let text = Format::Table.end(&summary, &Coverage::default());
        assert!(text.contains("drift hunt: statistics compared with page tables behind 3 steps"), "{text}");
        assert!(text.contains("known kernel bug Q3: shown by 1 scenario\n"), "{text}");
    }

    #[test]
    fn what_differed_once_is_told_and_is_no_failure() {
        let Verdict::Differs(found) = differs().verdict else { unreachable!("it differs") };
        let once = report(Verdict::Unsteady(found));
        let text = Format::Table.line(&line(&once));
        assert!(text.starts_with("unsteady cow "), "{text}");
        assert!(text.contains("model 2, kernel 3"), "{text}");
        assert!(Format::Ktap.line(&line(&once)).contains("\nok 4 cow # differed once"));
        assert!(Format::Jsonl.line(&line(&once)).contains("\"unsteady\""));
        let mut summary = Summary::default();
        summary.add(&once);
        assert_eq!((summary.differing(), summary.scenarios()), (0, 1));
        let text = Format::Table.end(&summary, &Coverage::default());
        assert!(text.contains("1 scenarios: 0 agree, 0 differ, 1 unsteady"), "{text}");
    }

    #[test]
    fn a_run_that_was_cut_short_says_so() {
        let mut summary = Summary { planned: 2, ..Summary::default() };
        summary.add(&differs());
        let text = Format::Ktap.end(&summary, &Coverage::default());
        assert!(text.ends_with("\nBail out! only 1 of 2 scenarios were run\n"), "{text}");
        assert!(Format::Table.end(&summary, &Coverage::default()).contains("only 1 of 2 scenarios"));
        summary.add(&differs());
        assert!(!Format::Ktap.end(&summary, &Coverage::default()).contains("Bail out"));
    }

    #[test]
    fn what_was_left_out_and_reached_is_told_in_the_end() {
        let mut summary = Summary::default();
        summary.add(&report(Verdict::Agrees));
        summary.add(&report(Verdict::Stopped(Stop::Unsupported(1, "no ksmd".to_owned()))));
        summary.leave_out(&[("ksm".to_owned(), "no ksmd")]);
        let text = Format::Table.end(&summary, &Coverage::default());
        assert!(text.contains("2 scenarios: 1 agree, 0 differ, 1 unsupported by this kernel"), "{text}");
        assert!(text.contains("left out: 1 × ksm: no ksmd"), "{text}");
    }
}
