//! `mapcount explain`.

use std::collections::BTreeSet;

use mapcount_model::field::{Field, Scope};
use mapcount_model::machine::Mode;
use mapcount_model::profile::{NO_PAGE_MAPCOUNT, Profile};
use mapcount_model::query::{Answer, Query, Source as Read, Tally, Term};
use mapcount_model::truth::Truth;
use mapcount_model::units::{Folio, PageRange, Pfn};
use mapcount_script::ast::Item;
use mapcount_script::diagnostic::{closest, shown};
use mapcount_script::run::{self, FindingKind, Next, Runner, has_field, last_changes};

use super::{Exit, input, output};
use crate::report::explain::{CounterStory, Explanation, Facts, Left, grouped, no_such_query, render};
use crate::report::layout::Style;
use crate::report::text::{list, wrapped};

/// Show what a kernel adds and subtracts to answer a query, and which step left each number.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// A query (total_mapcount, page_mapcount, expected_refcount …) or a counter of the trace (mapcount_raw …).
    #[arg(value_parser = asked)]
    query: Asked,
    /// A page that a process maps: A.x[5].
    #[arg(value_parser = place)]
    path: Place,
    /// The scenario; - reads it from standard input.
    file: String,
    /// Stop behind the step or expectation in this line [default: at the end].
    #[arg(long, value_name = "LINE")]
    after: Option<u32>,
    /// A kernel (5.10, 7.2-no-page-mapcount) or a scheme; may be given several times [default: the newest].
    #[arg(long, value_name = "K", value_parser = input::kernel_name, conflicts_with = "all")]
    kernel: Vec<String>,
    /// Every scheme of counting, grouped where they give the same answer for the same reasons.
    #[arg(long)]
    all: bool,
}

/// What is asked.
#[derive(Clone, Copy, Debug)]
enum Asked {
    Query(Query),
    Counter(Field),
}

/// A page of a mapping of a process.
#[derive(Clone, Debug)]
struct Place {
    process: String,
    mapping: String,
    page: u64,
}

impl Place {
    fn text(&self) -> String {
        format!("{}.{}[{}]", self.process, self.mapping, self.page)
    }
}

fn asked(word: &str) -> Result<Asked, String> {
    if let Some(query) = Query::by_word(word) {
        return Ok(Asked::Query(query));
    }
    if let Some(field) = Field::by_key(word) {
        return Ok(Asked::Counter(field));
    }
    let counters: Vec<&str> = mapcount_model::field::TABLE.iter().map(|row| row.key).collect();
    let candidates: Vec<&str> = Query::words().chain(counters.iter().copied()).collect();
    if let Some(candidate) = closest(word, candidates) {
        return Err(format!("did you mean `{candidate}`?"));
    }
    let queries: Vec<&str> = Query::ALL.iter().map(|query| query.key()).collect();
    let known = format!("queries are {}; counters are {}", list(&queries), list(&counters));
    Err(format!("no such query and no such counter\n{}", wrapped("  ", "  ", &known).join("\n")))
}

fn place(text: &str) -> Result<Place, String> {
    let wrong = || format!("`{}` is not a page of a mapping, such as A.x[5]", shown(text));
    let (process, rest) = text.split_once('.').ok_or_else(wrong)?;
    let (mapping, page) = rest.strip_suffix(']').and_then(|rest| rest.split_once('[')).ok_or_else(wrong)?;
    let is_name = |name: &str| !name.is_empty() && name.chars().all(|c| c.is_alphanumeric() || c == '_');
    if !is_name(process) || !is_name(mapping) {
        return Err(wrong());
    }
    let page = page.parse().map_err(|_| wrong())?;
    Ok(Place { process: process.to_owned(), mapping: mapping.to_owned(), page })
}

pub(super) fn main(args: &Args) -> Exit {
    let source = match input::scenario(&args.file) {
        Ok(source) => source,
        Err(exit) => return exit,
    };
    if let Some(message) = args.after.and_then(|line| no_step(&source.scenario.items, line)) {
        eprintln!("mapcount: {}: {message}", source.path);
        return Exit::Malformed;
    }
    let kernels = match (&args.kernel[..], args.all) {
        (_, true) => Profile::all_schemes(),
        ([], false) => vec![Profile::newest()],
        (given, false) => given.iter().map(|name| input::named(name)).collect(),
    };
    let mut told = 0;
    let mut wrong = false;
    let answers = kernels.iter().map(|profile| match explain(&source, profile, args) {
        Ok(answer) => {
            told += 1;
            wrong |= answer.wrong;
            (label(profile), answer.headline, answer.body)
        }
        Err(message) => (label(profile), String::new(), message),
    });
    let groups = grouped(answers.collect::<Vec<_>>());
    if told == 0 {
        for group in groups {
            let text = format!("{}: {}", list(&group.kernels), group.body);
            eprintln!("{}", wrapped("mapcount: ", "  ", &text).join("\n"));
        }
        return Exit::Finding;
    }
    let about = format!("{} {}", args.path.text(), moment(&source, args.after));
    let text = render(&about, &groups, Style::Color);
    output::print(&text, if wrong { Exit::Finding } else { Exit::Success })
}

/// `5.10 (double-map)`; a scheme by its id: `double-map (6.1)`.
fn label(profile: &Profile) -> String {
    let scheme = profile.scheme.info();
    if profile.name == scheme.id {
        format!("{} ({})", scheme.id, scheme.runs_as.trim_end_matches(NO_PAGE_MAPCOUNT))
    } else {
        format!("{} ({})", profile.name, scheme.id)
    }
}

fn line_of(item: &Item) -> u32 {
    match item {
        Item::Step(step) => step.span.line,
        Item::Expect(expect) => expect.span.line,
    }
}

fn text_of(item: &Item) -> &str {
    match item {
        Item::Step(step) => &step.text,
        Item::Expect(expect) => &expect.text,
    }
}

/// What is wrong with a line that has neither step nor expectation.
fn no_step(items: &[Item], line: u32) -> Option<String> {
    if items.iter().any(|item| line_of(item) == line) {
        return None;
    }
    let at = |item: &Item| format!("line {} `{}`", line_of(item), text_of(item));
    let before = items.iter().rfind(|item| line_of(item) < line).map(at);
    let behind = items.iter().find(|item| line_of(item) > line).map(at);
    let near: Vec<String> = before.into_iter().chain(behind).collect();
    let near = if near.is_empty() { String::new() } else { format!("; nearest: {}", list(&near)) };
    Some(format!("line {line} has no step and no expectation{near}"))
}

/// Where the scenario was stopped.
fn moment(source: &input::Source, after: Option<u32>) -> String {
    let stop = after.and_then(|line| source.scenario.items.iter().find(|item| line_of(item) == line));
    match stop {
        Some(item) => format!("in {} after line {} `{}`", source.name, line_of(item), text_of(item)),
        None => format!("at the end of {}", source.name),
    }
}

/// What one kernel has to say.
struct Told {
    headline: String,
    body: String,
    wrong: bool,
}

fn explain(source: &input::Source, profile: &Profile, args: &Args) -> Result<Told, String> {
    if let Asked::Query(query) = args.query
        && query.name_in(profile.release).is_none()
    {
        return Err(no_such_query(query));
    }
    let options = run::Options { mode: Mode::Recorded, ..run::Options::default() };
    let runner = Runner::new(&source.scenario, profile, options).map_err(|found| found.diagnostic.message)?;
    let Some(mut runner) = runner else {
        return Err("the scenario does not apply to it".to_owned());
    };
    let last_mapped = advance(&mut runner, source, args)?;
    let page = page_of(&runner, &args.path).map_err(|message| match last_mapped {
        Some(line) => format!("{message}; it was mapped last after line {line}"),
        None => message,
    })?;
    let folio = runner.machine.folio(page);
    match args.query {
        Asked::Query(query) => answer(&runner, source, query, (folio, page)),
        Asked::Counter(field) => counter(&runner, source, field, (folio, page)),
    }
}

/// Runs up to the line; returns the last line after which the page was mapped.
fn advance(runner: &mut Runner<'_>, source: &input::Source, args: &Args) -> Result<Option<u32>, String> {
    let mut last_mapped = None;
    for item in &source.scenario.items {
        let line = line_of(item);
        let Some(next) = runner.advance() else { break };
        let stop = args.after == Some(line);
        if let Next::Step(_, Err(found)) = next {
            let message = format!("line {line} `{}`: {}", text_of(item), found.diagnostic.message);
            if !stop || !found.kind.leaves_a_state() {
                let how = if found.kind == FindingKind::NotModelled { "ends there" } else { "fails there" };
                return Err(format!("{message}; the scenario {how} on {}", runner.profile.name));
            }
            // The very state that is looked at: tell it, and go on.
            eprintln!("mapcount: {message}");
        }
        if page_of(runner, &args.path).is_ok() {
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
    if !has_field(m, folio, field) {
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
