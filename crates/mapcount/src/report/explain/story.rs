//! One counter, and every step that changed it.

use std::fmt::Write as _;

use mapcount_model::field::Field;
use mapcount_model::release::Release;
use mapcount_model::units::{Folio, Pfn};
use mapcount_script::run::Change;

use super::{step, subject, way};
use crate::report::layout::Style;
use crate::report::text::{aside, count, paragraph};

/// So many changes are told.
const MAX_CHANGES: usize = 16;

/// The story of one counter.
pub struct CounterStory {
    /// The counter.
    pub field: Field,
    /// The release whose name it has.
    pub release: Release,
    /// The page asked about.
    pub page: Pfn,
    /// Its folio.
    pub folio: Folio,
    /// Its raw value.
    pub raw: i32,
    /// The steps that changed it, oldest first.
    pub changes: Vec<Change>,
    /// The texts of the steps, by number.
    pub steps: Vec<String>,
}

impl CounterStory {
    /// The value in a few words.
    pub fn headline(&self) -> String {
        format!("{} is {} as stored,", self.field.kernel_name(self.release), self.raw)
    }

    /// All but the headline, lines ended by `\n`.
    pub fn body(&self, style: Style) -> String {
        let row = self.field.row();
        let mut out = String::new();
        paragraph(&mut out, "  ", "  ", &subject(self.folio, self.page));
        paragraph(&mut out, "  ", "  ", row.meaning.trim());
        out.push('\n');
        let skipped = self.changes.len().saturating_sub(MAX_CHANGES);
        if skipped > 0 {
            let text = format!("changed in {}", count(skipped as i64, "earlier step"));
            aside(&mut out, style, "  ", "  ", &text);
        }
        for change in &self.changes[skipped..] {
            let step = step(&self.steps, change.step);
            let _ = writeln!(out, "  {}", way(&change.values));
            aside(&mut out, style, "        ", "        ", &format!("in {step}"));
        }
        if self.changes.is_empty() {
            let _ = writeln!(out, "  no step changed it since the folio was allocated");
        }
        out
    }
}
