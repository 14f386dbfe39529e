//! What differs between the model and a recording.

use std::fmt::Write as _;

use mapcount_script::diff::{Difference, Kind, summary};

use super::layout::Style;
use super::text::{Mark, aside, count, marked, paragraph};

/// A recording and the model of its kernel, compared.
pub struct Compared {
    /// The recording's file.
    pub recording: String,
    /// The kernel whose model ran.
    pub kernel: String,
    /// How it counts.
    pub scheme: &'static str,
    /// What differs.
    pub differences: Vec<Difference>,
    /// Steps of the recording.
    pub steps: usize,
    /// Values that the recording has.
    pub values: u64,
    /// Why the model did not run to the end, if it did not.
    pub stopped: Option<String>,
}

impl Compared {
    /// Whether the model says all that the recording says.
    pub fn is_equal(&self) -> bool {
        self.differences.is_empty() && self.stopped.is_none()
    }

    /// How much was compared.
    fn extent(&self) -> String {
        let values = if self.values == 1 { "1 value" } else { &format!("{} values", self.values) };
        format!("{}, {values}", count(self.steps as i64, "step"))
    }

    fn verdict(&self) -> String {
        match (&self.stopped, self.differences.len()) {
            (None, 0) => "no difference".to_owned(),
            (Some(why), _) => format!("the model stopped in {why}"),
            (None, _) => summary(&self.differences).to_string(),
        }
    }
}

/// Each difference, step by step, and what they come to.
pub fn render(compared: &Compared, limit: usize, style: Style) -> String {
    let mut out = String::new();
    let of = format!("{} against the model of {} ({})", compared.recording, compared.kernel, compared.scheme);
    paragraph(&mut out, "", "  ", &of);
    differences(&mut out, compared, limit, style);
    paragraph(&mut out, "", "  ", &format!("{}: {}", compared.extent(), compared.verdict()));
    out
}

fn differences(out: &mut String, compared: &Compared, limit: usize, style: Style) {
    let mut step = None;
    for found in compared.differences.iter().take(limit) {
        if step != Some(found.step) {
            step = Some(found.step);
            let head = format!("step {} `{}`", found.step, found.op);
            let _ = writeln!(out, "\n  {}", marked(style, Mark::Answer, &head));
        }
        let pages = found.pages.as_ref().map_or_else(String::new, |pages| format!(", {pages}"));
        paragraph(out, "    ", "      ", &format!("{}{pages}", found.path));
        if found.kind == Kind::OtherScenario {
            paragraph(out, "      ", "      ", "the recording is of another scenario");
        }
        let model = if found.kind == Kind::NoModelValue { "no value" } else { &found.model };
        paragraph(out, "      model      ", "                 ", model);
        paragraph(out, "      recording  ", "                 ", &found.recording);
    }
    let more = compared.differences.len().saturating_sub(limit);
    if more > 0 {
        out.push('\n');
        aside(
            out,
            style,
            "  ",
            "  ",
            &format!("and {}; --limit shows more", count(more as i64, "more difference")),
        );
    }
    if !compared.differences.is_empty() {
        out.push('\n');
    }
}

/// A line for each kernel; behind them the differences of those that have some.
pub fn table(compared: &[Compared], limit: usize, style: Style) -> String {
    let mut out = String::new();
    for result in compared {
        let first = format!("{:<28}{:<18}{:<29}", result.kernel, result.scheme, result.extent());
        paragraph(&mut out, &first, "    ", &result.verdict());
    }
    let differing: Vec<&Compared> = compared.iter().filter(|result| !result.is_equal()).collect();
    for result in &differing {
        out.push('\n');
        out.push_str(&render(result, limit, style));
    }
    let values: u64 = compared.iter().map(|result| result.values).sum();
    let equal = compared.len() - differing.len();
    let _ = writeln!(
        out,
        "\n{equal} of {} equal, {values} values compared",
        count(compared.len() as i64, "recording")
    );
    out
}
