//! One kernel's run, and what it has to say.

use std::collections::BTreeSet;

use mapcount_model::field::{Field, Scope};
use mapcount_model::machine::Mode;
use mapcount_model::profile::Profile;
use mapcount_model::query::{Answer, Query, Source as Read, Tally, Term};
use mapcount_model::truth::Truth;
use mapcount_model::units::{Folio, PageRange, Pfn};
use mapcount_script::ast::Item;
use mapcount_script::run::{self, FindingKind, Next, Runner, last_changes};

use super::super::input;
use super::{Asked, Place, Question, line_of, text_of};
use crate::report::explain::{CounterStory, Explanation, Facts, Left, no_such_query};
use crate::report::layout::Style;
use crate::report::text::list;

/// What one kernel has to say.
pub(super) struct Told {
    /// The answer in a few words.
    pub(super) headline: String,
    /// The rest.
    pub(super) body: String,
    /// A sure answer is not true.
    pub(super) wrong: bool,
}

/// Runs the scenario on a kernel and asks; `Err` says why there is no answer.
pub(super) fn explain(
    source: &input::Source,
    profile: &Profile,
    question: &Question<'_>,
) -> Result<Told, String> {
    if let Asked::Query(query) = question.query
        && query.name_in(profile.release).is_none()
    {
        return Err(no_such_query(query));
    }
    let options = run::Options { mode: Mode::Recorded, ..run::Options::default() };
    let runner = Runner::new(&source.scenario, profile, options).map_err(|found| found.diagnostic.message)?;
    let Some(mut runner) = runner else {
        return Err("the scenario does not apply to it".to_owned());
    };
    let last_mapped = advance(&mut runner, source, question)?;
    let page = page_of(&runner, question.path).map_err(|message| match last_mapped {
        Some(line) => format!("{message}; it was mapped last after line {line}"),
        None => message,
    })?;
    let folio = runner.machine.folio(page);
    match question.query {
        Asked::Query(query) => answer(&runner, source, query, (folio, page)),
        Asked::Counter(field) => counter(&runner, source, field, (folio, page)),
    }
}

/// Runs up to the line; returns the last line after which the page was mapped.
fn advance(
    runner: &mut Runner<'_>,
    source: &input::Source,
    question: &Question<'_>,
) -> Result<Option<u32>, String> {
    let mut last_mapped = None;
    for item in &source.scenario.items {
        let line = line_of(item);
        let Some(next) = runner.advance() else { break };
        let stop = question.after == Some(line);
        if let Next::Step(_, Err(found)) = next {
            let message = format!("line {line} `{}`: {}", text_of(item), found.diagnostic.message);
            if !stop || !found.kind.leaves_a_state() {
                let how = if found.kind == FindingKind::NotModelled { "ends there" } else { "fails there" };
                return Err(format!("{message}; the scenario {how} on {}", runner.profile.name));
            }
            // The very state that is looked at: tell it, and go on.
            eprintln!("mapcount: {message}");
        }
        if page_of(runner, question.path).is_ok() {
            last_mapped = Some(line);
        }
        if stop {
            break;
        }
    }
    Ok(last_mapped)
}

fn page_of(runner: &Runner<'_>, place: &Place) -> Result<Pfn, String> {
    let Place { process: name, mapping, page } = place;
    let Some(process) = runner.processes.get(name) else {
        let alive: Vec<&String> = runner.processes.keys().collect();
        let alive = if alive.is_empty() { "none".to_owned() } else { list(&alive) };
        return Err(format!("there is no process `{name}` then (alive: {alive})"));
    };
    let Some(window) = process.windows.get(mapping) else {
        return Err(format!("`{name}` has no mapping `{mapping}` then"));
    };
    if *page >= window.pages {
        return Err(format!("`{mapping}` has {} pages", window.pages));
    }
    let entry = process.mm.table.read(window.start + page);
    if entry.is_present() { Ok(entry.page()) } else { Err(format!("{} is not mapped then", place.text())) }
}

fn steps(source: &input::Source) -> Vec<String> {
    let steps = source.scenario.items.iter().filter(|item| matches!(item, Item::Step(_)));
    steps.map(|step| text_of(step).to_owned()).collect()
}

fn answer(
    runner: &Runner<'_>,
    source: &input::Source,
    query: Query,
    (folio, page): (Folio, Pfn),
) -> Result<Told, String> {
    let m = &runner.machine;
    let mut tally = Tally::on();
    let answer = m.ask(query, page, &mut tally);
    if answer == Answer::Unknown {
        return Err(cannot(runner, query, folio));
    }
    let truth = Truth::of(m);
    let facts = Facts {
        answer: truth.answer(m, query, folio, page),
        page: truth.page(page),
        folio: *truth.folio(folio),
        references: m.refcount(folio),
        references_of_areas: m.scheme.info().capabilities.reference_per_vma && folio.is_large(),
    };
    let terms = tally.into_terms().into_iter().map(|term| {
        let left = left(runner, &term);
        (term, left)
    });
    let steps = steps(source);
    let name = query.name_in(runner.profile.release).expect("looked at before it ran");
    let scheme = m.scheme.info();
    // A proposal has the names of the release that it would change, and a formula of its own.
    let source = if scheme.kernels.is_some() { name.source.to_owned() } else { scheme.sources.join("; ") };
    let explanation = Explanation {
        name,
        source,
        release: runner.profile.release,
        page,
        folio,
        answer,
        terms: terms.collect(),
        facts,
        steps,
    };
    Ok(Told {
        headline: explanation.headline(),
        body: explanation.body(Style::Color),
        wrong: explanation.is_wrong(),
    })
}

/// The changes that left the counters of a term as they are.
fn left(runner: &Runner<'_>, term: &Term) -> Vec<Left> {
    let (field, pages) = match term.source {
        Read::Counter(field, page) => (field, PageRange::one(page)),
        Read::Counters(field, pages) => (field, pages),
        Read::Known => return Vec::new(),
    };
    let raw = |page| runner.machine.counters().read(field, page);
    let changes = last_changes(runner, field, pages);
    changes.into_iter().map(|(pages, change)| Left { pages, raw: raw(pages.first), change }).collect()
}

/// Why the scheme has no answer.
fn cannot(runner: &Runner<'_>, query: Query, folio: Folio) -> String {
    if !folio.is_large() {
        return format!("{query} is not asked of a page of its own");
    }
    let scheme = runner.profile.scheme.info();
    format!("no answer to {query} for this folio; {} cannot {}", scheme.id, scheme.cannot.join("; nor "))
}

fn counter(
    runner: &Runner<'_>,
    source: &input::Source,
    field: Field,
    (folio, page): (Folio, Pfn),
) -> Result<Told, String> {
    let m = &runner.machine;
    let row = field.row();
    if !m.has_field(folio, field) {
        let names: BTreeSet<String> =
            row.names.iter().map(|(name, kernels)| format!("{name} ({kernels})")).collect();
        let names: Vec<String> = names.into_iter().collect();
        let have = if names.is_empty() { "proposals alone".to_owned() } else { list(&names) };
        return Err(format!("no {} for this folio; kernels that have it: {have}", row.key));
    }
    // The trace shows the head's references; those of tails only where they have some.
    let tail_has_some = field == Field::Refcount && m.counters().read(field, page) > 0;
    let at = match row.scope {
        Scope::Page if field != Field::Refcount || tail_has_some => page,
        _ => folio.head,
    };
    let story = CounterStory {
        field,
        release: runner.profile.release,
        page,
        folio,
        raw: m.counters().read(field, at),
        changes: run::story(runner, field, at),
        steps: steps(source),
    };
    Ok(Told { headline: story.headline(), body: story.body(Style::Color), wrong: false })
}
