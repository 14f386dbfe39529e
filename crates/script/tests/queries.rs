//! Every query of every kernel and scheme, in states of a THP: a sure answer is what the page tables say, and its
//! terms add up to it.

use std::collections::BTreeSet;

use mapcount_model::profile::Profile;
use mapcount_model::query::{Answer, Query, Tally, Term};
use mapcount_model::truth::Truth;
use mapcount_script::parse::parse;
use mapcount_script::run::{Next, Options, Runner};

/// Walks through the states that a folio of anonymous memory can be in: one or more PMDs, PMDs beside PTEs, PTEs
/// alone, some pages unmapped, copied, pinned, and as small pages after a split.
const WALKS: &[&str] = &[
    "A: mmap x pmd thp\nA: write x\nA: fork B\nA: fork C\nA: split_pmd x\nB: split_pmd x\nC: split_pmd x\n\
     kernel: split A.x => any\nC: exit\nB: exit\nA: munmap x\n",
    "A: mmap x pmd thp\nA: write x\nA: fork B\nB: munmap x[0]\nA: munmap x[1..2]\nB: munmap x[2..]\nB: exit\nA: exit\n",
    "A: mmap x pmd thp\nA: write x\nA: fork B\nB: write x[1]\nA: write x[0]\nA: exit\nB: write x[2]\n",
    "A: mmap x pmd thp\nA: write x\nA: get x[1]\nA: pin x[2] => any\nA: fork B\nA: split_pmd x\nA: put x[1]\n",
    "A: mmap x 4p nothp\nA: write x\nA: fork B\nA: pin x[0] => any\nB: write x[1]\nB: munmap x[2]\n",
    "A: mmap x pmd thp\nA: read x\nA: write x[0]\n",
];

/// Values that are the sum of what is added and subtracted.
fn is_sum(query: Query) -> bool {
    !query.is_yes_or_no()
}

fn check_terms(terms: &[Term], answer: Answer<i64>, query: Query, place: &str) {
    let Some(value) = answer.value().filter(|_| is_sum(query) && !terms.is_empty()) else { return };
    let sum: i64 = terms.iter().filter(|term| term.counts).map(|term| term.value).sum();
    assert_eq!(sum, value, "{place}: {terms:?}");
    for term in terms {
        assert!(!term.text.starts_with("− ") || term.value <= 0, "{place}: {term:?}");
    }
}

/// Asks everything of every page that is mapped; returns the queries that had an answer other than 0.
fn check_state(runner: &Runner<'_>, place: &str, told: &mut BTreeSet<Query>) {
    let m = &runner.machine;
    let truth = Truth::of(m);
    for (name, process) in &runner.processes {
        for window in process.windows.values() {
            for page in window.start..window.start + window.pages {
                let entry = process.mm.table.read(page);
                if !entry.is_present() {
                    continue;
                }
                let (page, folio) = (entry.page(), m.folio(entry.page()));
                for query in Query::ALL.iter().copied() {
                    let place = format!("{place}: {query} of page {} in {name}", page.0 - folio.head.0);
                    let mut tally = Tally::on();
                    let answer = m.ask(query, page, &mut tally);
                    check_terms(&tally.into_terms(), answer, query, &place);
                    if let (Answer::Exact(value), Some(true_value)) =
                        (answer, truth.answer(m, query, folio, page))
                    {
                        assert_eq!(value, true_value, "{place}");
                    }
                    if answer.value().is_some_and(|value| value != 0) {
                        told.insert(query);
                    }
                }
            }
        }
    }
}

fn walk(source: &str, profile: &Profile, told: &mut BTreeSet<Query>) {
    let scenario = parse(source.as_bytes()).unwrap_or_else(|errors| panic!("{source}: {errors}"));
    let runner = Runner::new(&scenario, profile, Options::default()).expect("no names in it");
    let mut runner = runner.expect("applies everywhere");
    while let Some(next) = runner.advance() {
        let Next::Step(report, result) = next else { continue };
        let op = runner.step_at(report.item).map(|step| step.text.to_string()).unwrap_or_default();
        result.unwrap_or_else(|finding| panic!("{} `{op}`: {finding:?}", profile.name));
        check_state(&runner, &format!("{} after `{op}`", profile.name), told);
    }
}

#[test]
fn sure_answers_are_true_and_terms_add_up() {
    for profile in Profile::all().into_iter().chain(Profile::all_schemes()) {
        let mut told = BTreeSet::new();
        for order in [2, 3] {
            for source in WALKS {
                walk(&format!("pmd_order {order}\n{source}"), &profile, &mut told);
            }
        }
        let missing: Vec<_> = Query::ALL.iter().filter(|query| !told.contains(query)).collect();
        let lacks = |query: Query| {
            let folio_wide = query == Query::EntireMapcount || query == Query::AveragePageMapcount;
            let by_class = query == Query::TransHugeMapcount || query == Query::MaybeDmaPinned;
            folio_wide || by_class
        };
        assert!(missing.iter().all(|query| lacks(**query)), "{}: {missing:?}", profile.name);
    }
}

#[test]
fn real_sizes_agree_too() {
    for profile in Profile::all_schemes() {
        walk(WALKS[0], &profile, &mut BTreeSet::new());
    }
}
