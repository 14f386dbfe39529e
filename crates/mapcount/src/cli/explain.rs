//! `mapcount explain`.

mod ask;

use mapcount_model::field::Field;
use mapcount_model::profile::{NO_PAGE_MAPCOUNT, Profile};
use mapcount_model::query::Query;
use mapcount_script::ast::Item;
use mapcount_script::diagnostic::{closest, shown};

use super::{Exit, input, output};
use crate::report::calls;
use crate::report::explain::{grouped, render};
use crate::report::layout::Style;
use crate::report::text::{list, wrapped};
use ask::explain;

/// Show what a kernel adds and subtracts to answer a query, and which step left each number.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// A query (total_mapcount, page_mapcount, expected_refcount …) or a counter of the trace (mapcount_raw …).
    #[arg(value_parser = asked, required_unless_present = "calls")]
    query: Option<Asked>,
    /// A page that a process maps: A.x[5].
    #[arg(value_parser = place, required_unless_present = "calls")]
    path: Option<Place>,
    /// The scenario; - reads it from standard input.
    #[arg(required_unless_present = "calls")]
    file: Option<String>,
    /// Instead: which operation calls which rmap functions, with which level, on these kernels.
    #[arg(long, conflicts_with_all = ["query", "path", "file", "after"])]
    calls: bool,
    /// Stop behind the step or expectation in this line [default: at the end].
    #[arg(long, value_name = "LINE")]
    after: Option<u32>,
    /// A kernel (5.10, 7.2-no-page-mapcount) or a scheme; may be given several times [default: the newest].
    #[arg(long, value_name = "K", value_parser = input::kernel_name, conflicts_with = "all")]
    kernel: Vec<String>,
    /// Every scheme of counting (with --calls every release), grouped where they give the same answer for the same
    /// reasons.
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

/// What is asked of which page of which scenario.
struct Question<'a> {
    query: Asked,
    path: &'a Place,
    after: Option<u32>,
}

pub(super) fn main(args: &Args) -> Exit {
    match (args.query, &args.path, &args.file) {
        (Some(query), Some(path), Some(file)) => {
            answers(args, &Question { query, path, after: args.after }, file)
        }
        _ => output::print(&calls::render(&kernels(args, Profile::all)), Exit::Success),
    }
}

fn kernels(args: &Args, all: impl Fn() -> Vec<Profile>) -> Vec<Profile> {
    match (&args.kernel[..], args.all) {
        (_, true) => all(),
        ([], false) => vec![Profile::newest()],
        (given, false) => given.iter().map(|name| input::named(name)).collect(),
    }
}

fn answers(args: &Args, question: &Question<'_>, file: &str) -> Exit {
    let source = match input::scenario(file) {
        Ok(source) => source,
        Err(exit) => return exit,
    };
    if let Some(message) = args.after.and_then(|line| no_step(&source.scenario.items, line)) {
        eprintln!("mapcount: {}: {message}", source.path);
        return Exit::Malformed;
    }
    let kernels = kernels(args, Profile::all_schemes);
    let mut told = 0;
    let mut wrong = false;
    let answers = kernels.iter().map(|profile| match explain(&source, profile, question) {
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
    let about = format!("{} {}", question.path.text(), moment(&source, args.after));
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
