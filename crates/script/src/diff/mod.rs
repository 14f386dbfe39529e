//! Model against recording, field by field: what the recording has is compared, the rest is not.

mod folios;
mod overlay;
mod processes;
mod sink;
mod summary;
mod values;

use std::collections::BTreeMap;
use std::fmt;

use crate::trace::{Refused, Step, System};
use sink::{Place, Sink};

pub use summary::{Summary, summary};
pub use values::values;

/// How to compare.
#[derive(Clone, Debug)]
pub struct Options {
    /// Of the ranges in which a list over pages differs, so many are told one by one; the last of them
    /// says how many more there are.
    pub ranges: usize,
    /// Keys that are not compared, `pss_kb` or `system` for instance.
    pub ignore: Vec<String>,
}

impl Default for Options {
    fn default() -> Options {
        Options { ranges: 4, ignore: Vec::new() }
    }
}

/// What is different.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Kind {
    /// The recording's step is another statement: it is a recording of another scenario, and nothing
    /// behind that step was compared.
    OtherScenario,
    /// One side has steps that the other does not have.
    Steps,
    /// The recording has a value and the model has none.
    NoModelValue,
    /// Both have a value, or one of them has a process, a mapping or a folio that the other lacks.
    Value,
}

/// One difference between the model and a recording.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Difference {
    /// The step's number.
    pub step: u64,
    /// The step's statement, the recording's where it has the step.
    pub op: String,
    /// What is different.
    pub kind: Kind,
    /// The key in the trace.
    pub field: &'static str,
    /// What it is about: `A.x pss_kb`, `folio 512 (order 0) refcount`.
    pub path: String,
    /// The first frame that differs, as the trace numbers them, where it is about folios.
    pub frame: Option<u64>,
    /// The pages that differ, of a list over pages: `pages 10..11`, counted from the start of the folio
    /// or the mapping.
    pub pages: Option<String>,
    /// What the model says; empty if it says nothing.
    pub model: String,
    /// What the recording says.
    pub recording: String,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Difference { step, op, path, model, recording, .. } = self;
        write!(f, "step {step} `{op}`: {path}")?;
        if let Some(pages) = &self.pages {
            write!(f, ", {pages}")?;
        }
        match self.kind {
            Kind::OtherScenario => {
                write!(f, ": the recording is of another scenario: model `{model}`, recording `{recording}`")
            }
            Kind::NoModelValue => write!(f, ": the model has no value, recording {recording}"),
            Kind::Steps | Kind::Value => write!(f, ": model {model}, recording {recording}"),
        }
    }
}

/// Compares the steps of the model with those of a recording, in the order of the steps and, within a
/// step, of the trace. Names of kernel, scheme and scenario are not compared.
///
/// Steps are matched by number. Steps that do not come from [`crate::trace::read`] have to keep what it
/// enforces: numbers counted up, runs and folios in order and without overlap.
pub fn diff(model: &[Step], recording: &[Step], options: &Options) -> Vec<Difference> {
    let by_number: BTreeMap<u64, &Step> = model.iter().map(|step| (step.step, step)).collect();
    let recorded: BTreeMap<u64, &Step> = recording.iter().map(|step| (step.step, step)).collect();
    let mut differences = Vec::new();
    for (number, theirs) in &recorded {
        let Some(ours) = by_number.get(number) else { continue };
        let mut sink = Sink::new(*number, &theirs.op, options, &mut differences);
        if !ours.op.split_whitespace().eq(theirs.op.split_whitespace()) {
            sink.push(Kind::OtherScenario, "op", &Place::Step, None, &ours.op, &theirs.op);
            return differences;
        }
        compare(ours, theirs, &mut sink);
    }
    let alone = |step: &&Step| !(by_number.contains_key(&step.step) && recorded.contains_key(&step.step));
    let both = by_number.values().chain(recorded.values());
    if let Some(first) = both.copied().filter(alone).min_by_key(|step| step.step) {
        let count = |steps: usize| format!("{steps} step{}", if steps == 1 { "" } else { "s" });
        let (ours, theirs) = (count(by_number.len()), count(recorded.len()));
        Sink::new(first.step, &first.op, options, &mut differences).push(
            Kind::Steps,
            "steps",
            &Place::Step,
            None,
            &ours,
            &theirs,
        );
    }
    differences.sort_by_key(|difference| difference.step);
    differences
}

fn compare(model: &Step, recording: &Step, sink: &mut Sink<'_>) {
    sink.value("outcome", &Place::Step, model.outcome.as_ref(), recording.outcome.as_ref());
    processes::compare(model.processes.as_ref(), recording.processes.as_ref(), sink);
    folios::compare(model.folios.as_deref(), recording.folios.as_deref(), sink);
    let refused = |rows: &Option<Vec<Refused>>| {
        rows.as_ref().map(|rows| {
            let rows: Vec<String> = rows.iter().map(|row| format!("folio {}: {}", row.id, row.why)).collect();
            format!("[{}]", rows.join(", "))
        })
    };
    sink.value(
        "refused",
        &Place::Step,
        refused(&model.refused).as_ref(),
        refused(&recording.refused).as_ref(),
    );
    if sink.skips("system") {
        return;
    }
    let ours = model.system.as_ref().map(System::numbers);
    for (index, (key, theirs)) in recording.system.iter().flat_map(System::numbers).enumerate() {
        sink.value(key, &Place::System, ours.and_then(|numbers| numbers[index].1).as_ref(), theirs.as_ref());
    }
}
