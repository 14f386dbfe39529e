//! An answer taken apart: the terms that a kernel adds and subtracts, the step that left each counter as it is,
//! and what the page tables say.

mod evidence;
mod group;
mod story;

use std::fmt::Write as _;

use mapcount_model::query::{Answer, Query, QueryName, Term};
use mapcount_model::release::Release;
use mapcount_model::truth::{FolioTruth, PageTruth};
use mapcount_model::units::{Folio, Kind, PageRange, Pfn};
use mapcount_script::run::{Change, LastChange};

use super::layout::Style;
use super::text::{Mark, aside, count, list, marked, paragraph};
pub use group::{Group, grouped, render};
pub use story::CounterStory;

/// So many runs of pages are told of a term that reads many counters.
const MAX_RUNS: usize = 4;

/// So many values are told of a counter within a step.
const MAX_VALUES: usize = 6;

/// What a kernel answers to a query, and why.
pub struct Explanation {
    /// What this release calls the query.
    pub name: &'static QueryName,
    /// Where the formula was read.
    pub source: String,
    /// The release whose names the counters have.
    pub release: Release,
    /// The page asked about.
    pub page: Pfn,
    /// Its folio.
    pub folio: Folio,
    /// The answer.
    pub answer: Answer<i64>,
    /// The formula's terms, each with the changes that left its counters as they are.
    pub terms: Vec<(Term, Vec<Left>)>,
    /// What the page tables and holders say.
    pub facts: Facts,
    /// The texts of the steps, by number.
    pub steps: Vec<String>,
}

/// What is true, whatever the counters say.
#[derive(Clone, Copy)]
pub struct Facts {
    /// The answer that the page tables give, where they give one.
    pub answer: Option<i64>,
    /// Of the page.
    pub page: PageTruth,
    /// Of the folio.
    pub folio: FolioTruth,
    /// The folio's reference count, as stored.
    pub references: i32,
    /// References are taken for areas, not for entries.
    pub references_of_areas: bool,
}

/// Counters that a step left alike.
pub struct Left {
    /// The pages.
    pub pages: PageRange,
    /// Their raw value.
    pub raw: i32,
    /// The steps that changed it last.
    pub change: LastChange,
}

impl Explanation {
    /// Whether a sure answer is not what the page tables say.
    pub fn is_wrong(&self) -> bool {
        matches!((self.answer, self.facts.answer), (Answer::Exact(value), Some(truth)) if value != truth)
    }

    /// The answer in a few words.
    pub fn headline(&self) -> String {
        let value = self.answer.value().unwrap_or_default();
        let shown = match (self.name.query.is_yes_or_no(), value) {
            (true, 0) => "no (0)".to_owned(),
            (true, _) => format!("yes ({value})"),
            (false, _) => value.to_string(),
        };
        let sure = if matches!(self.answer, Answer::Exact(_)) { "exact" } else { "an estimate" };
        format!("{} is {shown}, {sure},", self.name.text)
    }

    /// All but the headline, lines ended by `\n`.
    pub fn body(&self, style: Style) -> String {
        let mut out = String::new();
        paragraph(&mut out, "  ", "  ", &subject(self.folio, self.page));
        out.push('\n');
        self.formula(&mut out, style);
        self.evidence(&mut out, style);
        aside(&mut out, style, "  read in       ", "                ", &self.source);
        out
    }

    fn formula(&self, out: &mut String, style: Style) {
        if self.terms.is_empty() {
            let why = "entries for the zero page are special: they are not counted and own no reference";
            return paragraph(out, "  ", "  ", why);
        }
        let total = self.total();
        let values = self.terms.iter().map(|(term, _)| term.value.to_string().len());
        let column = values.chain([total.1.len()]).max().unwrap_or(0) + 2;
        // The sign of what is added up stands in a column of its own.
        let text = |term: &Term| match term.text_in(self.release).strip_prefix("− ") {
            Some(text) if term.counts => ("−", text.to_owned()),
            _ => (if term.counts { "+" } else { "?" }, term.text_in(self.release)),
        };
        let texts: Vec<(&str, String)> = self.terms.iter().map(|(term, _)| text(term)).collect();
        let width = texts.iter().map(|(_, text)| text.chars().count());
        let width = width.chain([total.0.chars().count()]).max().unwrap_or(0);
        for ((term, left), (sign, text)) in self.terms.iter().zip(&texts) {
            let fill = " ".repeat(width - text.chars().count());
            let value = if *sign == "−" { -term.value } else { term.value };
            let _ = writeln!(out, "  {sign} {text}{fill}{value:>column$}");
            self.left(out, style, left);
        }
        let fill = " ".repeat(width - total.0.chars().count());
        let value = marked(style, Mark::Answer, &format!("{:>column$}", total.1));
        let _ = writeln!(out, "  = {}{fill}{value}", total.0);
    }

    /// The last line of the formula: the numbers added up, and the answer.
    fn total(&self) -> (String, String) {
        let value = self.answer.value().unwrap_or_default();
        if self.name.query.is_yes_or_no() {
            return (String::new(), if value == 0 { "no" } else { "yes" }.to_owned());
        }
        let mut sum = String::new();
        if self.terms.iter().filter(|(term, _)| term.counts).count() == 1 {
            return (sum, value.to_string());
        }
        for (term, _) in self.terms.iter().filter(|(term, _)| term.counts) {
            let minus = term.text.starts_with("− ");
            match (sum.is_empty(), minus) {
                (true, false) => {}
                (true, true) => sum.push_str("− "),
                (false, false) => sum.push_str(" + "),
                (false, true) => sum.push_str(" − "),
            }
            let _ = write!(sum, "{}", if minus { -term.value } else { term.value });
        }
        (sum, value.to_string())
    }

    fn left(&self, out: &mut String, style: Style, left: &[Left]) {
        for run in left.iter().take(MAX_RUNS) {
            let mut text = String::new();
            if left.len() > 1 {
                let first = run.pages.first.0 - self.folio.head.0;
                let _ = match run.pages.len {
                    1 => write!(text, "page {first}: "),
                    len => write!(text, "pages {first}..{}: ", first + len),
                };
            } else if run.pages.len > 1 {
                text.push_str("each page: ");
            }
            text.push_str(&self.changed(run));
            aside(out, style, "        ", "        ", &text);
        }
        if left.len() > MAX_RUNS {
            let more = count((left.len() - MAX_RUNS) as i64, "more run");
            aside(out, style, "        ", "        ", &format!("and {more} of pages"));
        }
    }

    fn changed(&self, run: &Left) -> String {
        let tell = |change: &Change| format!("{} in {}", way(&change.values), step(&self.steps, change.step));
        match (&run.change.lasting, &run.change.passing) {
            (Some(lasting), Some(passing)) => format!("{}; {}", tell(lasting), tell(passing)),
            (Some(lasting), None) => tell(lasting),
            (None, Some(passing)) => tell(passing),
            (None, None) => format!("{} since the folio was allocated", run.raw),
        }
    }

    fn evidence(&self, out: &mut String, style: Style) {
        let truth = evidence::of(self.name.query, &self.facts, self.folio);
        let verdict = match (self.answer.value(), self.facts.answer) {
            (Some(value), Some(truth)) if value == truth => {
                let what = if matches!(self.answer, Answer::Exact(_)) { "answer" } else { "estimate" };
                format!("the {what} is right")
            }
            (Some(_), Some(truth)) => {
                let truth = match (self.name.query.is_yes_or_no(), truth) {
                    (false, _) => truth.to_string(),
                    (true, 0) => "no".to_owned(),
                    (true, _) => "yes".to_owned(),
                };
                let wrong =
                    if self.is_wrong() { "the counters are WRONG" } else { "the estimate is wrong here" };
                format!("{wrong}, the truth is {truth}")
            }
            _ => String::new(),
        };
        out.push('\n');
        let end = if verdict.is_empty() { String::new() } else { format!(": {verdict}") };
        let mut text = String::new();
        paragraph(&mut text, "  page tables   ", "                ", &format!("{truth}{end}"));
        if self.is_wrong() {
            text = marked(style, Mark::Wrong, text.trim_end()) + "\n";
        }
        out.push_str(&text);
    }
}

/// `-1 → 0 → 1`; of a long way its ends.
fn way(values: &[i32]) -> String {
    let texts: Vec<String> = values.iter().map(i32::to_string).collect();
    match texts.as_slice() {
        [first, second, .., last] if texts.len() > MAX_VALUES => {
            format!("{first} → {second} → … → {last} ({} writes)", texts.len() - 1)
        }
        all => all.join(" → "),
    }
}

/// `page 5 of an anonymous folio of 512 pages`.
fn subject(folio: Folio, page: Pfn) -> String {
    let kind = match folio.kind {
        Kind::Anon => "an anonymous",
        Kind::File => "a file's",
        Kind::Shmem => "a shmem",
        Kind::Hugetlb => "a hugetlb",
        Kind::Ksm => "a KSM",
        Kind::Device => "a DAX device's",
        Kind::Zero if folio.is_large() => "the huge zero",
        Kind::Zero => return "the shared zero page".to_owned(),
    };
    if folio.is_large() {
        format!("page {} of {kind} folio of {} pages", page.0 - folio.head.0, folio.pages())
    } else {
        format!("{kind} page of its own")
    }
}

fn step(steps: &[String], number: u32) -> String {
    match steps.get(number as usize) {
        Some(text) => format!("step {number} `{text}`"),
        None => format!("step {number}"),
    }
}

/// Why a release has no such query, with the releases that have it.
pub fn no_such_query(query: Query) -> String {
    let names: Vec<String> = query.names().map(|name| format!("{} ({})", name.text, name.kernels)).collect();
    format!("no query {query}; kernels that have it: {}", list(&names))
}

#[cfg(test)]
mod tests {
    use mapcount_model::query::{Answer, Query, Source, Term};
    use mapcount_model::release::Release;
    use mapcount_model::truth::{FolioTruth, PageTruth};
    use mapcount_model::units::{Folio, Kind, Order, Pfn};

    use super::{Explanation, Facts, way};
    use crate::report::layout::Style;

    fn explanation(answer: Answer<i64>, truth: i64) -> Explanation {
        let release = Release::new(6, 1, 0);
        let folio = Folio { head: Pfn(0), order: Order::ZERO, kind: Kind::Anon };
        let term = Term { text: "{} + 1", value: 2, source: Source::Known, counts: true };
        let facts = Facts {
            answer: Some(truth),
            page: PageTruth::default(),
            folio: FolioTruth::default(),
            references: 1,
            references_of_areas: false,
        };
        Explanation {
            name: Query::FolioMapcount.name_in(release).expect("6.1 has it"),
            source: String::new(),
            release,
            page: Pfn(0),
            folio,
            answer,
            terms: vec![(term, Vec::new())],
            facts,
            steps: Vec::new(),
        }
    }

    #[test]
    fn a_sure_answer_that_is_not_true_is_wrong() {
        for (answer, truth, wrong, text) in [
            (Answer::Exact(2), 2, false, "the answer is right"),
            (Answer::Exact(2), 1, true, "the counters are WRONG, the truth is 1"),
            (Answer::Estimate(2), 1, false, "the estimate is wrong here, the truth is 1"),
        ] {
            let explanation = explanation(answer, truth);
            assert_eq!(explanation.is_wrong(), wrong);
            let body = explanation.body(Style::Plain);
            assert!(body.contains(text), "{body}");
            let escapes = explanation.body(Style::Color).contains('\u{1b}');
            assert!(escapes && !body.contains('\u{1b}'));
        }
    }

    #[test]
    fn long_ways_are_told_by_their_ends() {
        assert_eq!(way(&[-1, 0]), "-1 → 0");
        assert_eq!(way(&(0..100).collect::<Vec<_>>()), "0 → 1 → … → 99 (99 writes)");
    }
}
