//! Findings: what is not as a scenario, a law or the model demands, told as a compiler tells an error.

use mapcount_model::invariant::Violation;
use mapcount_model::machine::BadFree;
use mapcount_model::units::{Folio, Pfn};

use super::{Runner, history_notes};
use crate::ast::{Outcome, Step};
use crate::diagnostic::{Diagnostic, Span};

/// What kind of finding it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FindingKind {
    /// The scenario makes no sense at this point: it names what is not there.
    Scenario,
    /// The model does not have what the scenario asks for.
    NotModelled,
    /// A step ended in another way than the scenario says.
    Outcome,
    /// An expectation does not hold.
    Expectation,
    /// A law does not hold.
    Law,
}

impl FindingKind {
    /// Whether the step was done, so that the state after it can be shown.
    pub const fn leaves_a_state(self) -> bool {
        !matches!(self, FindingKind::Scenario | FindingKind::NotModelled)
    }
}

/// Something that is not as it has to be.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Finding {
    /// What kind of thing.
    pub kind: FindingKind,
    /// What, where, and what is known of its history.
    pub diagnostic: Diagnostic,
}

impl Finding {
    pub(crate) fn scenario(diagnostic: Diagnostic) -> Box<Finding> {
        Box::new(Finding { kind: FindingKind::Scenario, diagnostic })
    }

    pub(crate) fn not_modelled(what: &str, span: Span) -> Box<Finding> {
        let message = format!("{what} is not modelled yet");
        let diagnostic = Diagnostic::error(message, span, "no model of this step")
            .note("the scenario is well-formed; nothing was made up in place of the step");
        Box::new(Finding { kind: FindingKind::NotModelled, diagnostic })
    }

    pub(crate) fn outcome(step: &Step, index: u32, got: &str) -> Box<Finding> {
        let wanted = match step.outcome {
            Outcome::Ok => "ok".to_owned(),
            Outcome::Errno(errno) => errno.to_string(),
            Outcome::Any => "any".to_owned(),
        };
        let message = format!("step {index} ended with {got}, not with {wanted}");
        let mut diagnostic = Diagnostic::error(message, step.span, format!("{got} here"));
        if step.outcome == Outcome::Ok {
            diagnostic = diagnostic.help(format!("if that is right, say `{} => {got}`", step.text));
        } else {
            diagnostic = diagnostic.also(step.outcome_span, "stated here");
        }
        Box::new(Finding { kind: FindingKind::Outcome, diagnostic })
    }

    pub(crate) fn law(runner: &Runner<'_>, span: Span, index: u32, found: &Violation) -> Box<Finding> {
        let place = place(found.folio, found.page);
        let message = format!(
            "law {} does not hold after step {index}: {}{place} is {}, the page tables say {}",
            found.law.name(),
            found.what,
            found.found,
            found.expected,
        );
        let mut diagnostic = Diagnostic::error(message, span, "after this step").note(format!(
            "{}: {}",
            found.law.name(),
            squeeze(found.law.meaning())
        ));
        if let (Some(field), Some(folio)) = (found.field, found.folio) {
            let page = found.page.unwrap_or(folio.head);
            diagnostic.notes.extend(history_notes(runner, field, page));
        }
        Box::new(Finding { kind: FindingKind::Law, diagnostic })
    }

    pub(crate) fn bad_free(span: Span, index: u32, bad: BadFree) -> Box<Finding> {
        let message = format!(
            "step {index} freed a folio of order {} while {} of its page {} was {} instead of {}",
            bad.folio.order.0,
            bad.field.key(),
            bad.page.0 - bad.folio.head.0,
            bad.value,
            bad.field.row().initial,
        );
        let diagnostic = Diagnostic::error(message, span, "freed here")
            .note("a kernel with debugging would report a bad page here");
        Box::new(Finding { kind: FindingKind::Law, diagnostic })
    }
}

/// ` of page 3 of the folio at frame 512`, or nothing.
fn place(folio: Option<Folio>, page: Option<Pfn>) -> String {
    match (folio, page) {
        (Some(folio), Some(page)) if folio.is_large() => {
            format!(" of page {} of the order-{} folio", page.0 - folio.head.0, folio.order.0)
        }
        (Some(folio), _) => format!(" of the order-{} folio", folio.order.0),
        (None, _) => String::new(),
    }
}

/// Doc comments wrap; a message does not.
fn squeeze(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
